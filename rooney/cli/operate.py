"""Verbs with which an operator acts. Each asks for a reason and shows what it will do before it does it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rooney.cli import prompt
from rooney.cli.options import ACTS, PATH, Call, takes, zone
from rooney.errors import EXIT_ATTENTION, EXIT_OK, ConfigError

if TYPE_CHECKING:
    from rooney.ledger.snapshot import Snapshot
    from rooney.orders.control import Command


def _leave(call: Call, reading: "Snapshot", command: "Command") -> str:
    from rooney.ops.commands import leave

    return leave(reading, command, call.control, call.clock(), has_units=call.has_units)


@click.command()
@click.argument("order_id", metavar="ID")
@click.option("--filled", type=float, metavar="PRICE", help="It was filled at this price, in points.")
@click.option("--not-filled", is_flag=True, help="Nothing came of it.")
@takes("clock", *ACTS)
def resolve(call: Call, order_id: str, filled: float | None, not_filled: bool) -> None:
    """Say what became of an order whose fate is unknown."""
    from rooney.ops import resolve as act
    from rooney.ops.orders import find_order

    if (filled is None) is not not_filled:
        raise ConfigError("expected --filled PRICE or --not-filled, one of both; nothing was done")
    reading, order = find_order(map(call.read, call.names(None, True)), order_id)
    act.check(order, filled)
    reason = call.agreed(lambda: act.plan(reading.name, order, filled), "Write this?")
    done = _leave(call, reading, act.command(order, filled, prompt.who(), reason, time.time_ns()))
    call.say({"strategy": reading.name, "intent": order.id, "done": done}, [done])


@click.command(context_settings={"ignore_unknown_options": True})  # so that -1 is a number
@click.argument("name")
@click.argument("symbols", nargs=-1, metavar="[SYMBOL … | SYMBOL QUANTITY]")
@click.option("--price", type=float, help="At which it was opened, or closed if QUANTITY is 0; points.")
@takes("clock", *ACTS)
def position(call: Call, name: str, symbols: tuple[str, ...], price: float | None) -> None:
    """Show what is open; with QUANTITY (2 long, -1 short, 0 flat) and --price, state it."""
    from rooney.ledger.exposure import exposures
    from rooney.ops import position as act
    from rooney.orders.control import switches

    reading = call.read(name)
    if len(symbols) == 2 and symbols[1].lstrip("+-").isdecimal():
        stated = act.stated(reading, symbols[0], int(symbols[1]), price)
        reason = call.agreed(lambda: act.plan(reading, stated), "Write this?")
        done = _leave(call, reading, act.command(stated, prompt.who(), reason, time.time_ns()))
        call.say({"strategy": name, "symbol": stated.symbol, "done": done}, [done])
    act.check_symbols(reading, symbols)
    held, on = exposures(reading), switches(call.control, name)
    is_clear = not on and all(exposure.is_certain for exposure in held)
    call.say(
        act.as_json(reading, held, on, symbols),
        act.lines(reading, held, on, symbols),
        EXIT_OK if is_clear else EXIT_ATTENTION,
    )


@click.command()
@click.argument("name", required=False)
@click.option("--all", "is_all", is_flag=True, help="Every strategy.")
@click.option("--exits-too", is_flag=True, help="Send nothing at all: only once the account is flat by hand.")
@takes(*ACTS)
def halt(call: Call, name: str | None, is_all: bool, exits_too: bool) -> None:
    """No new entries, until `rooney resume`; exits go on."""
    from rooney.orders.control import ALL, Level, set_switch

    call.names(name, is_all)
    scope, level = name or ALL, Level.STOP if exits_too else Level.HALT
    effect = "nothing is sent, exits included" if exits_too else "no new entries; exits go on"
    reason = call.agreed(lambda: [f"{level} of {scope}: {effect}, until rooney resume {name or '--all'}"], "Do it?")
    path = set_switch(call.control, scope, level, prompt.who(), reason)
    call.say({"scope": scope, "level": str(level), "file": str(path)}, [f"{level} is on: {path}"])


@click.command()
@click.argument("name", required=False)
@click.option("--all", "is_all", is_flag=True, help="The switches that hold for every strategy.")
@click.option("--new-ledger", is_flag=True, help="The one before is lost: its ledger is the one there is.")
@takes(*ACTS)
def resume(call: Call, name: str | None, is_all: bool, new_ledger: bool) -> None:
    """Take halt, flatten and stop away, and lift what is latched: daily loss, drawdown, gap, breaker."""
    from rooney.ops import resume as act

    names = call.names(name, is_all)
    reason = call.agreed(lambda: act.plan(call.control, name, names), "Do it?")
    result = act.resume(call.control, name, names, prompt.who(), reason, new_ledger=new_ledger)
    call.say({"cleared": result.cleared, "still_on": result.still_on}, result.lines, result.code)


@click.command()
@click.argument("name", required=False)
@click.argument("symbols", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Every strategy.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(min=0), default=150.0, show_default=True, help="Seconds at most."
)
@click.option(
    "--hung-after",
    "hung_after_s",
    type=click.FloatRange(min=0),
    default=15.0,
    show_default=True,
    help="Seconds after which a worker that takes no command counts as hung.",
)
@takes("config", "credentials", "clock", *ACTS)
def flatten(
    call: Call, name: str | None, symbols: tuple[str, ...], is_all: bool, wait_s: float, hung_after_s: float
) -> None:
    """Close what is open now, and no new entries until `rooney resume`; with SYMBOLS, only close these.

    A worker that lives does it. For one that is down or hangs this command sends the exits itself, from the ledger.
    """
    from rooney import log
    from rooney.ops import flatten as act
    from rooney.ops.position import check_symbols

    names = call.names(name, is_all)
    readings = [call.read(each) for each in names]
    for reading in readings:
        check_symbols(reading, symbols)
    reason = call.agreed(lambda: act.plan(readings, symbols), "Do it?")
    log.setup("flatten")
    order = act.Order(tuple(names), is_all, symbols, prompt.who(), reason, wait_s, hung_after_s)
    outcomes = act.flatten(
        order,
        {each: call.ledger(each) for each in names},
        act.Means(
            lambda each, mode: call.load(f"strategies.{each}.mode={mode}"),
            call.credential_store,
            call.clock(),
            call.control,
            call.has_units,
        ),
    )
    lines = [line for each in outcomes for line in each.lines]
    code = max((each.code for each in outcomes), default=EXIT_OK)
    call.say({"strategies": outcomes}, lines or ["no strategies"], code)


@click.command()
@click.argument("name")
@click.argument("file", type=PATH)
@click.option("--zone", "zone_name", help="Time zone of times that do not say theirs, such as America/Chicago.")
@click.option("--account", default="", help="Whose fills, where the file has several accounts.")
@click.option("--apply", is_flag=True, help="Replace the assumed fills by the real ones.")
@takes("clock", *ACTS)
def reconcile(call: Call, name: str, file: Path, zone_name: str | None, account: str, apply: bool) -> None:
    """Compare a ledger with the broker's CSV export of fills; 1 if they differ."""
    from rooney.ops import reconcile as act
    from rooney.ops.broker_fills import read_statement
    from rooney.ops.commands import waiting

    tz = zone(zone_name)
    reading = call.read(name)
    fills = read_statement(file, tz, account)
    said = [act_.command.reason for act_ in reading.acts]
    said += [command.reason for command in waiting(call.control, name)]
    comparison = act.compare(reading, fills, act.through(said))
    if not apply or not act.commands(comparison, "", "", 0):
        call.say(act.as_json(comparison), act.lines(comparison), comparison.code)
    reason = call.agreed(lambda: act.lines(comparison), "Write these corrections?")
    commands = act.commands(comparison, prompt.who(), reason, time.time_ns())
    done = [_leave(call, reading, command) for command in commands]
    call.say(act.as_json(comparison) | {"done": done}, done, comparison.code)


VERBS = (position, flatten, halt, resume, resolve, reconcile)
