"""The verbs with which an operator acts. Each one asks for a reason and shows what it will do before it does it."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rooney.cli import prompt as asking
from rooney.cli.options import CLOCK, CREDENTIALS, JSON, STATE, configured, load, say, show, strategies_of
from rooney.errors import EXIT_ATTENTION, EXIT_OK, ConfigError
from rooney.ops.position import check_symbols
from rooney.paths import credential_store, find_ledger, ledger_names, state_directory

if TYPE_CHECKING:
    from rooney.clock import Clock
    from rooney.ledger.snapshot import Snapshot
    from rooney.orders.lifecycle import Order


def _acting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a verb that changes something."""
    options = (
        STATE,
        click.option("--reason", help="Why; goes into the ledger. Asked for if left out."),
        click.option("--yes", is_flag=True, help="Do not ask before doing it."),
        JSON,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _clock(name: str) -> "Clock":
    """As the worker's own --clock."""
    from rooney.clock import Clock, ReplayClock

    return ReplayClock() if name == "replay" else Clock()


def _find_order(state: Path, wanted: str) -> "tuple[Snapshot, Order]":
    """The one order whose id begins so. Raises ConfigError."""
    from rooney.ledger.snapshot import read_ledger

    found = []
    for name in ledger_names(state):
        reading = read_ledger(find_ledger(state, name))
        found += [(reading, order) for order in reading.orders if order.id.startswith(wanted)]
    if len(found) != 1 or len(wanted) < 4:
        what = f"{len(found)} orders begin so" if len(wanted) >= 4 else "that is too short"
        raise ConfigError(f"{wanted}: expected the id of one order, at least its first 4 digits; {what}. Nothing done")
    return found[0]


@click.command()
@click.argument("order_id", metavar="ID")
@click.option("--filled", type=float, metavar="PRICE", help="It was filled at this price, in points.")
@click.option("--not-filled", is_flag=True, help="Nothing came of it.")
@CLOCK
@_acting
def resolve(
    order_id: str,
    filled: float | None,
    not_filled: bool,
    clock: str,
    state: Path | None,
    reason: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Say what became of an order whose fate is unknown."""
    from rooney.ops import resolve as act

    if (filled is None) is not not_filled:
        raise ConfigError("expected --filled PRICE or --not-filled, one of both; nothing was done")
    reading, order = _find_order(state_directory(state, os.environ), order_id)
    act.check(order, filled)
    why = asking.reason(reason)
    show(as_json, act.plan(reading.name, order, filled))
    asking.confirm("Write this?", yes)
    done = act.resolve(reading, order, filled, asking.who(), why, _clock(clock))
    say(as_json, {"strategy": reading.name, "intent": order.id, "done": done}, [done], EXIT_OK)


@click.command(context_settings={"ignore_unknown_options": True})  # so that -1 is a number
@click.argument("name")
@click.argument("symbols", nargs=-1, metavar="[SYMBOL … | SYMBOL QUANTITY]")
@click.option("--price", type=float, help="At which it was opened, or closed if QUANTITY is 0; points.")
@CLOCK
@_acting
def position(
    name: str,
    symbols: tuple[str, ...],
    price: float | None,
    clock: str,
    state: Path | None,
    reason: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Show what is open; with QUANTITY (2 long, -1 short, 0 flat) and --price, state it."""
    from rooney.ledger.exposure import exposures
    from rooney.ledger.snapshot import read_ledger
    from rooney.ops import position as positions
    from rooney.orders.control import control_directory, switches

    reading = read_ledger(find_ledger(state_directory(state, os.environ), name))
    if len(symbols) == 2 and symbols[1].lstrip("+-").isdecimal():
        stated = positions.stated(reading, symbols[0], int(symbols[1]), price)
        why = asking.reason(reason)
        show(as_json, positions.plan(reading, stated))
        asking.confirm("Write this?", yes)
        done = positions.state(reading, stated, asking.who(), why, _clock(clock))
        say(as_json, {"strategy": name, "symbol": stated.symbol, "done": done}, [done], EXIT_OK)
    check_symbols(reading, symbols)
    open_now = exposures(reading)
    on = switches(control_directory(os.environ), name)
    is_unclear = any(not exposure.is_certain for exposure in open_now)
    say(
        as_json,
        positions.as_json(reading, open_now, on, symbols),
        positions.lines(reading, open_now, on, symbols),
        EXIT_ATTENTION if is_unclear or on else EXIT_OK,
    )


@click.command()
@click.argument("name", required=False)
@click.option("--all", "is_all", is_flag=True, help="Every strategy.")
@click.option("--exits-too", is_flag=True, help="Send nothing at all: only once the account is flat by hand.")
@_acting
def halt(
    name: str | None,
    is_all: bool,
    exits_too: bool,
    state: Path | None,
    reason: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """No new entries, until `rooney resume`; exits go on."""
    from rooney.orders.control import ALL, Level, control_directory, set_switch

    strategies_of(state_directory(state, os.environ), name, is_all)
    scope, level = name or ALL, Level.STOP if exits_too else Level.HALT
    why = asking.reason(reason)
    effect = "nothing is sent, exits included" if exits_too else "no new entries; exits go on"
    show(as_json, [f"{level} of {scope}: {effect}, until rooney resume {name or '--all'}"])
    asking.confirm("Do it?", yes)
    path = set_switch(control_directory(os.environ), scope, level, asking.who(), why)
    say(as_json, {"scope": scope, "level": str(level), "file": str(path)}, [f"{level} is on: {path}"], EXIT_OK)


@click.command()
@click.argument("name", required=False)
@click.option("--all", "is_all", is_flag=True, help="The switches that hold for every strategy.")
@_acting
def resume(name: str | None, is_all: bool, state: Path | None, reason: str | None, yes: bool, as_json: bool) -> None:
    """Take halt, flatten and stop away, and lift what is latched: daily loss, drawdown, gap, breaker."""
    from rooney.ops import resume as act
    from rooney.orders.control import control_directory

    directory = state_directory(state, os.environ)
    names = strategies_of(directory, name, is_all)
    root = control_directory(os.environ)
    why = asking.reason(reason)
    show(as_json, act.plan(root, name, names))
    asking.confirm("Do it?", yes)
    result = act.resume(root, name, names, asking.who(), why)
    say(as_json, {"cleared": result.cleared, "still_on": result.still_on}, result.lines, result.code)


@click.command()
@click.argument("name", required=False)
@click.argument("symbols", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Every strategy.")
@configured
@CREDENTIALS
@click.option(
    "--wait", "wait_s", type=click.FloatRange(min=0), default=150.0, show_default=True, help="Seconds at most."
)
@click.option(
    "--hung-after", "hung_after_s", type=click.FloatRange(min=0), default=15.0, show_default=True,
    help="Seconds after which a worker that takes no command counts as hung.",
)  # fmt: skip
@CLOCK
@_acting
def flatten(
    name: str | None,
    symbols: tuple[str, ...],
    is_all: bool,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    credentials: Path | None,
    wait_s: float,
    hung_after_s: float,
    clock: str,
    state: Path | None,
    reason: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Close what is open now, and no new entries until `rooney resume`; with SYMBOLS, only close these.

    A worker that lives does it. For one that is down or hangs this command sends the exits itself, from the ledger.
    """
    from rooney import log
    from rooney.ledger.snapshot import read_ledger
    from rooney.ops import flatten as act
    from rooney.ops.position import check_symbols

    directory = state_directory(state, os.environ)
    names = strategies_of(directory, name, is_all)
    readings = [read_ledger(find_ledger(directory, one)) for one in names]
    for reading in readings:
        check_symbols(reading, symbols)
    why = asking.reason(reason)
    show(as_json, act.plan(readings, symbols))
    asking.confirm("Do it?", yes)
    log.setup("flatten")
    order = act.Order(tuple(names), is_all, symbols, asking.who(), why, wait_s, hung_after_s)
    found = act.flatten(
        order,
        {one: find_ledger(directory, one) for one in names},
        act.Means(
            lambda one, mode: load(config_path, (*overrides, f"strategies.{one}.mode={mode}"), env_file),
            credential_store(credentials),
            _clock(clock),
        ),
    )
    lines = [line for one in found for line in one.lines]
    code = max((one.code for one in found), default=EXIT_OK)
    say(as_json, {"strategies": [one.as_json() for one in found]}, lines or ["no strategies"], code)


@click.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--zone", help="Time zone of times that do not say theirs, such as America/Chicago.")
@click.option("--account", default="", help="Whose fills, where the file has several accounts.")
@click.option("--apply", is_flag=True, help="Replace the assumed fills by the real ones.")
@CLOCK
@_acting
def reconcile(
    name: str,
    file: Path,
    zone: str | None,
    account: str,
    apply: bool,
    clock: str,
    state: Path | None,
    reason: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Compare a ledger with the broker's CSV export of fills; 1 if they differ."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from rooney.ledger.snapshot import read_ledger
    from rooney.ops import reconcile as act
    from rooney.ops.broker_fills import read_statement
    from rooney.ops.commands import leave, waiting
    from rooney.orders.control import control_directory

    try:
        tz = ZoneInfo(zone) if zone else None
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(f"--zone: expected a zone such as America/Chicago, got {zone!r}; nothing was done") from None
    reading = read_ledger(find_ledger(state_directory(state, os.environ), name))
    fills = read_statement(file, tz, account)
    said = [act_.command.reason for act_ in reading.acts]
    said += [command.reason for command in waiting(control_directory(os.environ), name)]
    comparison = act.compare(reading, fills, act.through(said))
    if not apply or not act.commands(comparison, "", "", 0):
        say(as_json, act.as_json(comparison), act.lines(comparison), comparison.code)
    why = asking.reason(reason)
    show(as_json, act.lines(comparison))
    asking.confirm("Write these corrections?", yes)
    commands = act.commands(comparison, asking.who(), why, time.time_ns())
    done = [leave(reading, command, _clock(clock)) for command in commands]
    say(as_json, act.as_json(comparison) | {"done": done}, done, comparison.code)


VERBS = (position, flatten, halt, resume, resolve, reconcile)
