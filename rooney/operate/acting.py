"""The operator's verbs on the command line. Each one asks for a reason and shows what it will do before it does it."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rooney.errors import EXIT_ATTENTION, EXIT_OK, ConfigError
from rooney.operate import asking
from rooney.operate.places import credential_store, ledger_names, ledger_path, state_directory
from rooney.operate.shared import JSON, STATE, say
from rooney.options import configured, load

if TYPE_CHECKING:
    from rooney.clock import Clock
    from rooney.operate.reading import Order, Reading
    from rooney.view.system import Looker

_CREDENTIALS = click.option(
    "--credentials", type=click.Path(path_type=Path), help="Directory of the credentials [/etc/rooney/credentials]."
)
_CLOCK = click.option(
    "--clock", type=click.Choice(["live", "replay"]), default="live", help="Time: the wall's or the tape's."
)


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


def _show(as_json: bool, lines: list[str]) -> None:
    """What will be done; beside the JSON, not in it."""
    click.echo("\n".join(lines), err=as_json)


def _scope(state: Path, name: str | None, is_all: bool) -> list[str]:
    """Strategies a verb is about: the one named, or all that have a ledger."""
    if (name is None) is not is_all:
        raise ConfigError("expected the name of a strategy or --all, one of both; nothing was done")
    if name is None:
        return ledger_names(state)
    ledger_path(state, name)
    return [name]


def _looker(
    config_path: str | None, overrides: tuple[str, ...], env_file: Path | None, state: Path | None, clock: str
) -> "Looker":
    from rooney.control import control_directory
    from rooney.view.system import Looker

    config = load(config_path, overrides, env_file)
    return Looker(config, state_directory(state, os.environ), control_directory(os.environ), replay=clock == "replay")


@click.command()
@configured
@STATE
@_CLOCK
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
    from rooney.operate import status as act
    from rooney.operate import units

    looker = _looker(config_path, overrides, env_file, state, clock)
    system = looker.look()
    looker.close()
    said = units.states([one.name for one in system.strategies if one.is_configured])
    say(as_json, act.as_json(system, said), act.lines(system, said), act.code(system))


@click.command()
@configured
@STATE
@_CLOCK
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
    from rooney.operate import status as act
    from rooney.operate import units

    looker = _looker(config_path, overrides, env_file, state, clock)
    shown = 0
    while True:
        system = looker.look()
        said = units.states([one.name for one in system.strategies if one.is_configured])
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
@_CLOCK
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
    from rooney.operate import why as act
    from rooney.operate.rules import rules_of

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
    path = ledger_path(state_directory(state, os.environ), name)
    answers = []
    for each in [symbol] if symbol else rules.params:
        found = act.newest_decision(path, at_ns, each) if one.portrait is not None else None
        newest = found[0] if found else None
        overdue = act.is_overdue(rules.timeframe, each, at_ns, newest)
        if overdue:
            answers.append(act.silence(one, system, rules, each, at_ns, newest))
        if found is not None and one.portrait is not None and (symbol or not overdue):
            answers.append(act.explain(*found, one.portrait, rules))
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
    from rooney.operate import orders as listing
    from rooney.operate.reading import read

    directory = state_directory(state, os.environ)
    names = _scope(directory, name, name is None)
    readings = [read(ledger_path(directory, one)) for one in names]
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


def _find_order(state: Path, wanted: str) -> "tuple[Reading, Order]":
    """The one order whose id begins so. Raises ConfigError."""
    from rooney.operate.reading import read

    found = []
    for name in ledger_names(state):
        reading = read(ledger_path(state, name))
        found += [(reading, order) for order in reading.orders if order.id.startswith(wanted)]
    if len(found) != 1 or len(wanted) < 4:
        what = f"{len(found)} orders begin so" if len(wanted) >= 4 else "that is too short"
        raise ConfigError(f"{wanted}: expected the id of one order, at least its first 4 digits; {what}. Nothing done")
    return found[0]


@click.command()
@click.argument("order_id", metavar="ID")
@click.option("--filled", type=float, metavar="PRICE", help="It was filled at this price, in points.")
@click.option("--not-filled", is_flag=True, help="Nothing came of it.")
@_CLOCK
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
    from rooney.operate import resolve as act

    if (filled is None) is not not_filled:
        raise ConfigError("expected --filled PRICE or --not-filled, one of both; nothing was done")
    reading, order = _find_order(state_directory(state, os.environ), order_id)
    act.check(order, filled)
    why = asking.reason(reason)
    _show(as_json, act.plan(reading.name, order, filled))
    asking.confirm("Write this?", yes)
    done = act.resolve(reading, order, filled, asking.who(), why, _clock(clock))
    say(as_json, {"strategy": reading.name, "intent": order.id, "done": done}, [done], EXIT_OK)


@click.command(context_settings={"ignore_unknown_options": True})  # so that -1 is a number
@click.argument("name")
@click.argument("symbols", nargs=-1, metavar="[SYMBOL … | SYMBOL QUANTITY]")
@click.option("--price", type=float, help="At which it was opened, or closed if QUANTITY is 0; points.")
@_CLOCK
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
    from rooney.control import control_directory, switches
    from rooney.operate import positions, state_position
    from rooney.operate.exposure import exposures
    from rooney.operate.reading import read

    reading = read(ledger_path(state_directory(state, os.environ), name))
    if len(symbols) == 2 and symbols[1].lstrip("+-").isdecimal():
        stated = state_position.stated(reading, symbols[0], int(symbols[1]), price)
        why = asking.reason(reason)
        _show(as_json, state_position.plan(reading, stated))
        asking.confirm("Write this?", yes)
        done = state_position.state(reading, stated, asking.who(), why, _clock(clock))
        say(as_json, {"strategy": name, "symbol": stated.symbol, "done": done}, [done], EXIT_OK)
    state_position.check_symbols(reading, symbols)
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
    from rooney.control import ALL, Level, control_directory, set_switch

    _scope(state_directory(state, os.environ), name, is_all)
    scope, level = name or ALL, Level.STOP if exits_too else Level.HALT
    why = asking.reason(reason)
    effect = "nothing is sent, exits included" if exits_too else "no new entries; exits go on"
    _show(as_json, [f"{level} of {scope}: {effect}, until rooney resume {name or '--all'}"])
    asking.confirm("Do it?", yes)
    path = set_switch(control_directory(os.environ), scope, level, asking.who(), why)
    say(as_json, {"scope": scope, "level": str(level), "file": str(path)}, [f"{level} is on: {path}"], EXIT_OK)


@click.command()
@click.argument("name", required=False)
@click.option("--all", "is_all", is_flag=True, help="The switches that hold for every strategy.")
@_acting
def resume(name: str | None, is_all: bool, state: Path | None, reason: str | None, yes: bool, as_json: bool) -> None:
    """Take halt, flatten and stop away, and lift what is latched: daily loss, drawdown, gap, breaker."""
    from rooney.control import control_directory
    from rooney.operate import resume as act

    directory = state_directory(state, os.environ)
    names = _scope(directory, name, is_all)
    root = control_directory(os.environ)
    why = asking.reason(reason)
    _show(as_json, act.plan(root, name, names))
    asking.confirm("Do it?", yes)
    result = act.resume(root, name, names, asking.who(), why)
    say(as_json, {"cleared": result.cleared, "still_on": result.still_on}, result.lines, result.code)


@click.command()
@click.argument("name", required=False)
@click.argument("symbols", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Every strategy.")
@configured
@_CREDENTIALS
@click.option(
    "--wait", "wait_s", type=click.FloatRange(min=0), default=150.0, show_default=True, help="Seconds at most."
)
@click.option(
    "--hung-after", "hung_after_s", type=click.FloatRange(min=0), default=15.0, show_default=True,
    help="Seconds after which a worker that takes no command counts as hung.",
)  # fmt: skip
@_CLOCK
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
    from rooney.operate import flatten as act
    from rooney.operate.reading import read
    from rooney.operate.state_position import check_symbols

    directory = state_directory(state, os.environ)
    names = _scope(directory, name, is_all)
    readings = [read(ledger_path(directory, one)) for one in names]
    for reading in readings:
        check_symbols(reading, symbols)
    why = asking.reason(reason)
    _show(as_json, act.plan(readings, symbols))
    asking.confirm("Do it?", yes)
    log.setup("flatten")
    order = act.Order(tuple(names), is_all, symbols, asking.who(), why, wait_s, hung_after_s)
    found = act.flatten(
        order,
        {one: ledger_path(directory, one) for one in names},
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
@_CLOCK
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

    from rooney.control import control_directory
    from rooney.operate import reconcile as act
    from rooney.operate.leaving import leave, waiting
    from rooney.operate.reading import read
    from rooney.operate.statement import read_statement

    try:
        tz = ZoneInfo(zone) if zone else None
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(f"--zone: expected a zone such as America/Chicago, got {zone!r}; nothing was done") from None
    reading = read(ledger_path(state_directory(state, os.environ), name))
    fills = read_statement(file, tz, account)
    said = [act_.command.reason for act_ in reading.acts]
    said += [command.reason for command in waiting(control_directory(os.environ), name)]
    comparison = act.compare(reading, fills, act.through(said))
    if not apply or not act.commands(comparison, "", "", 0):
        say(as_json, act.as_json(comparison), act.lines(comparison), comparison.code)
    why = asking.reason(reason)
    _show(as_json, act.lines(comparison))
    asking.confirm("Write these corrections?", yes)
    commands = act.commands(comparison, asking.who(), why, time.time_ns())
    done = [leave(reading, command, _clock(clock)) for command in commands]
    say(as_json, act.as_json(comparison) | {"done": done}, done, comparison.code)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@configured
@_CREDENTIALS
@STATE
@click.option("--with-secrets", is_flag=True, help="Webhooks and keys too: then guard the file like them.")
@JSON
def backup(
    out: Path,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    credentials: Path | None,
    state: Path | None,
    with_secrets: bool,
    as_json: bool,
) -> None:
    """Write ledgers, configuration, strategies, models and switches to one file; workers may go on."""
    from rooney.control import control_directory
    from rooney.operate import backup as act

    config = load(config_path, overrides, env_file)
    items = act.collect(
        config,
        state_directory(state, os.environ),
        control_directory(os.environ),
        credential_store(credentials),
        with_secrets=with_secrets,
    )
    manifest = act.backup(items, out, with_secrets=with_secrets)
    lines = [f"{kept.kind:<14}{kept.path}" for kept in manifest.files]
    lines.append(f"{len(manifest.files)} files in {out}, secrets {'INCLUDED' if with_secrets else 'left out'}")
    say(as_json, {"file": str(out), "files": [kept.path for kept in manifest.files]}, lines, EXIT_OK)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--root", type=click.Path(path_type=Path), default=Path("/"), help="Directory that stands for /.")
@click.option("--force", is_flag=True, help="Put files that are there aside and take their place.")
@click.option("--yes", is_flag=True, help="Do not ask before doing it.")
@JSON
def restore(file: Path, root: Path, force: bool, yes: bool, as_json: bool) -> None:
    """Put back what a backup holds."""
    from rooney.operate import backup as act

    manifest = act.read_manifest(file)
    act.refuse(manifest, root, force=force)
    targets = act.targets(manifest, root)
    _show(as_json, [f"{kept.kind:<14}{path}" for kept, path in targets])
    asking.confirm("Write these files?", yes)
    aside = act.restore(file, root, force=force)
    lines = [f"put aside: {path}" for path in aside]
    lines.append(f"{len(targets)} files restored. Before a worker starts, compare: rooney reconcile NAME FILE")
    found = {"files": [str(path) for _, path in targets], "put_aside": [str(path) for path in aside]}
    say(as_json, found, lines, EXIT_OK)


VERBS = (status, top, why, orders, position, flatten, halt, resume, resolve, reconcile, backup, restore)
