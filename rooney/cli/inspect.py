"""Verbs with which an operator looks: everything on one screen, why a strategy did or did not trade, its orders."""

import shutil
import sys
import time
from pathlib import Path

import click

from rooney.cli.options import PATH, Call, takes
from rooney.errors import EXIT_ATTENTION, EXIT_OK, ConfigError


@click.command()
@takes("config", "state", "clock", "json")
def status(call: Call) -> None:
    """Show everything on one screen; 0 nothing to do, 1 attention, 2 critical. Works with Redis and workers dead."""
    from rooney.ops import status as act
    from rooney.systemd import states

    looker = call.looker()
    system = looker.look()
    looker.close()
    units = states([strategy.name for strategy in system.strategies if strategy.is_configured])
    call.say(act.as_json(system, units), act.lines(system, units), act.code(system))


@click.command()
@click.option("--every", "every_s", type=click.FloatRange(min=0.2), default=2.0, show_default=True, help="Seconds.")
@click.option("--count", "-n", type=click.IntRange(min=1), help="Pictures [until interrupted].")
@takes("config", "state", "clock")
def top(call: Call, every_s: float, count: int | None) -> None:
    """Show the same, refreshed, until interrupted."""
    from rooney.ops import status as act
    from rooney.systemd import states

    looker = call.looker()
    shown = 0
    while True:
        system = looker.look()
        lines = act.lines(system, states([each.name for each in system.strategies if each.is_configured]))
        if sys.stdout.isatty():
            click.echo(act.screen(lines, *shutil.get_terminal_size()), nl=False)
        else:
            click.echo("\n".join(lines))
        shown += 1
        if shown == count:
            sys.exit(act.code(system))
        time.sleep(every_s)


@click.command()
@click.argument("name")
@click.argument("symbol", required=False)
@click.option("--at", metavar="TIME", help="ISO time, or HH:MM of the last 24 hours; UTC unless it says [now].")
@takes("config", "state", "clock", "json")
def why(call: Call, name: str, symbol: str | None, at: str | None) -> None:
    """Say why NAME did or did not trade: the newest decision of each instrument; of SYMBOL with all its numbers.

    1 if a decision is overdue, or an order that was decided did not get through.
    """
    from rooney.ops import why as act
    from rooney.ops.why_no_decision import is_overdue, silence

    config = call.load()
    rules = act.rules_of(config, name)
    if symbol is not None and symbol not in rules.params:
        raise ConfigError(f"{symbol}: not traded by {name}, which trades {', '.join(rules.params)}")
    looker = call.looker(config)
    system = looker.look()
    looker.close()
    strategy = next(each for each in system.strategies if each.name == name)
    if strategy.unreadable is not None:
        raise strategy.unreadable
    try:
        at_ns = act.instant(at, system.now_ns) if at else system.now_ns
    except ValueError:
        raise ConfigError(f"--at: expected 2026-03-11T15:02 or 15:02, got {at!r}") from None
    path = call.ledger(name)
    answers = []
    for each in [symbol] if symbol else rules.params:
        decision = act.newest_decision(path, at_ns, each) if strategy.snapshot is not None else None
        newest = decision[0] if decision else None
        overdue = is_overdue(rules.timeframe, each, at_ns, newest)
        if overdue:
            answers.append(silence(strategy, system, rules, each, at_ns, newest))
        if decision is not None and strategy.snapshot is not None and (symbol or not overdue):
            answers.append(act.explain(*decision, strategy.snapshot, rules))
    head = f"{name}, {strategy.block.mode if strategy.block else '?'}, decides on {rules.timeframe} bars"
    lines = act.lines(answers, head) if symbol else act.summary(answers, head)
    code = EXIT_ATTENTION if act.needs_look(answers) else EXIT_OK
    call.say({"strategy": name, "answers": act.as_json(answers)}, lines, code)


@click.command()
@click.argument("name", required=False)
@click.option("--open", "only_open", is_flag=True, help="Only orders of which something can still come.")
@click.option("--count", "-n", type=click.IntRange(min=1), default=20, show_default=True, help="Newest per strategy.")
@click.option("--export", type=PATH, help="Write the closed trades of NAME as Parquet.")
@takes("state", "json")
def orders(call: Call, name: str | None, only_open: bool, count: int, export: Path | None) -> None:
    """List orders and what became of them; 1 if one needs a person."""
    from rooney.ops import orders as act

    readings = [call.read(each) for each in call.names(name, name is None)]
    if export is not None:
        if name is None:
            raise ConfigError(f"--export {export}: expected one strategy, got all of them; nothing was written")
        trades = act.export(readings[0], export)
        call.say({"strategy": name, "trades": trades}, [f"{trades} trades of {name} in {export}"])
    shown = [[order for order in reading.orders if order.is_open or not only_open][-count:] for reading in readings]
    rows = list(zip(readings, shown, strict=True))
    needs_person = any(act.needs_attention(order) for reading in readings for order in reading.orders)
    call.say(
        {"strategies": [act.as_json(*row) for row in rows]},
        [line for row in rows for line in act.lines(*row)] or [f"no ledgers in {call.state_directory}"],
        EXIT_ATTENTION if needs_person else EXIT_OK,
    )


VERBS = (status, top, why, orders)
