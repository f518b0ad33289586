"""The verbs with which an operator looks: everything on one screen, why a strategy did or did not trade, its orders."""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rooney.cli.options import CLOCK, JSON, STATE, configured, load, say, strategies_of
from rooney.errors import EXIT_ATTENTION, EXIT_OK, ConfigError
from rooney.paths import find_ledger, state_directory
from rooney.systemd import states

if TYPE_CHECKING:
    from rooney.monitor.system import Looker


def _looker(
    config_path: str | None, overrides: tuple[str, ...], env_file: Path | None, state: Path | None, clock: str
) -> "Looker":
    from rooney.monitor.system import Looker
    from rooney.orders.control import control_directory

    config = load(config_path, overrides, env_file)
    return Looker(config, state_directory(state, os.environ), control_directory(os.environ), replay=clock == "replay")


@click.command()
@configured
@STATE
@CLOCK
@JSON
def status(
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    state: Path | None,
    clock: str,
    as_json: bool,
) -> None:
    """Show everything on one screen; 0 nothing to do, 1 attention, 2 critical. Works with Redis and workers dead."""
    from rooney.ops import status as act

    looker = _looker(config_path, overrides, env_file, state, clock)
    system = looker.look()
    looker.close()
    said = states([one.name for one in system.strategies if one.is_configured])
    say(as_json, act.as_json(system, said), act.lines(system, said), act.code(system))


@click.command()
@configured
@STATE
@CLOCK
@click.option("--every", "every_s", type=click.FloatRange(min=0.2), default=2.0, show_default=True, help="Seconds.")
@click.option("--count", "-n", type=click.IntRange(min=1), help="Pictures [until interrupted].")
def top(
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    state: Path | None,
    clock: str,
    every_s: float,
    count: int | None,
) -> None:
    """The same, refreshed, until interrupted."""
    from rooney.ops import status as act

    looker = _looker(config_path, overrides, env_file, state, clock)
    shown = 0
    while True:
        system = looker.look()
        said = states([one.name for one in system.strategies if one.is_configured])
        text = act.lines(system, said)
        if sys.stdout.isatty():
            click.echo(act.screen(text, *shutil.get_terminal_size()), nl=False)
        else:
            click.echo("\n".join(text))
        shown += 1
        if shown == count:
            sys.exit(act.code(system))
        time.sleep(every_s)


@click.command()
@click.argument("name")
@click.argument("symbol", required=False)
@click.option("--at", metavar="TIME", help="ISO time, or HH:MM of the last 24 hours; UTC unless it says [now].")
@configured
@STATE
@CLOCK
@JSON
def why(
    name: str,
    symbol: str | None,
    at: str | None,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    state: Path | None,
    clock: str,
    as_json: bool,
) -> None:
    """Say why NAME did or did not trade: the newest decision of each instrument; of SYMBOL with all its numbers.

    1 if a decision is overdue, or an order that was decided did not get through.
    """
    from rooney.ops import why as act
    from rooney.ops.why import rules_of

    config = load(config_path, overrides, env_file)
    rules = rules_of(config, name)
    if symbol is not None and symbol not in rules.params:
        raise ConfigError(f"{symbol}: not traded by {name}, which trades {', '.join(rules.params)}")
    looker = _looker(config_path, overrides, env_file, state, clock)
    system = looker.look()
    looker.close()
    one = next(each for each in system.strategies if each.name == name)
    if one.unreadable is not None:
        raise one.unreadable
    try:
        at_ns = act.instant(at, system.now_ns) if at else system.now_ns
    except ValueError:
        raise ConfigError(f"--at: expected 2026-03-11T15:02 or 15:02, got {at!r}") from None
    path = find_ledger(state_directory(state, os.environ), name)
    answers = []
    for each in [symbol] if symbol else rules.params:
        found = act.newest_decision(path, at_ns, each) if one.snapshot is not None else None
        newest = found[0] if found else None
        overdue = act.is_overdue(rules.timeframe, each, at_ns, newest)
        if overdue:
            answers.append(act.silence(one, system, rules, each, at_ns, newest))
        if found is not None and one.snapshot is not None and (symbol or not overdue):
            answers.append(act.explain(*found, one.snapshot, rules))
    head = f"{name}, {one.block.mode if one.block else '?'}, decides on {rules.timeframe} bars"
    text = act.lines(answers, head) if symbol else act.summary(answers, head)
    code = EXIT_ATTENTION if act.needs_look(answers) else EXIT_OK
    say(as_json, {"strategy": name, "answers": act.as_json(answers)}, text, code)


@click.command()
@click.argument("name", required=False)
@STATE
@click.option("--open", "only_open", is_flag=True, help="Only orders of which something can still come.")
@click.option("--count", "-n", type=click.IntRange(min=1), default=20, show_default=True, help="Newest per strategy.")
@click.option("--export", type=click.Path(path_type=Path), help="Write the closed trades of NAME as Parquet.")
@JSON
def orders(
    name: str | None, state: Path | None, only_open: bool, count: int, export: Path | None, as_json: bool
) -> None:
    """List orders and what became of them; 1 if one needs a person."""
    from rooney.ledger.snapshot import read_ledger
    from rooney.ops import orders as listing

    directory = state_directory(state, os.environ)
    names = strategies_of(directory, name, name is None)
    readings = [read_ledger(find_ledger(directory, one)) for one in names]
    if export is not None:
        if name is None:
            raise ConfigError(f"--export {export}: expected one strategy, got all of them; nothing was written")
        written = listing.export(readings[0], export)
        say(as_json, {"strategy": name, "trades": written}, [f"{written} trades of {name} in {export}"], EXIT_OK)
    lines: list[str] = []
    found = []
    code = EXIT_OK
    for reading in readings:
        if any(listing.needs_attention(order) for order in reading.orders):
            code = EXIT_ATTENTION
        shown = [order for order in reading.orders if order.is_open or not only_open][-count:]
        lines += listing.lines(reading, shown)
        found.append(listing.as_json(reading, shown))
    say(as_json, {"strategies": found}, lines or [f"no ledgers in {directory}"], code)


VERBS = (status, top, why, orders)
