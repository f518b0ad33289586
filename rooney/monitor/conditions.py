"""Conditions that a person should know of, most urgent first. Pure.

`attention` names what is stale, unknown or halted, for `rooney watch`; `conditions`, for all else, adds what only
someone who looks is told: switches, exits that do not get through, workers that are down.
"""

import enum
import logging
from collections.abc import Mapping
from datetime import timedelta

import msgspec

from rooney.clock import CLOCK_BEHIND_S
from rooney.errors import EXIT_ATTENTION, EXIT_FAILURE, EXIT_OK, LedgerError
from rooney.ledger.snapshot import Snapshot
from rooney.market import sessions
from rooney.market.instruments import deadline, is_open, parse_contract
from rooney.market.sessions import trade_date
from rooney.monitor.heartbeat import Beat
from rooney.monitor.market import STALE_S, Market
from rooney.monitor.system import Seen, StrategyLook, System
from rooney.orders.control import Level
from rooney.orders.intents import Role, State
from rooney.orders.notices import DAILY_LOSS, DISK, DISK_FULL, EXIT_ALARM_S, STRANGE_LEDGER
from rooney.performance.drift import Light
from rooney.performance.verdict import Verdict

WORKER_LATE_S = 120.0
HUB_SILENT_S = 10.0
SENDER_SILENT_S = 60.0
ROLL_WARNING_DAYS = 2
_RESUMED, _STATED = "rooney resume {name}", "rooney position {name} {symbol} CONTRACTS --price PRICE"
_ENDED_BY = {DISK: "df -h {path}", STRANGE_LEDGER: f"{_RESUMED} --new-ledger"}


class Severity(enum.IntEnum):
    """Also the exit status of `rooney status`: ok, attention, failure."""

    NOTE = EXIT_OK
    ATTENTION = EXIT_ATTENTION
    CRITICAL = EXIT_FAILURE


class Condition(msgspec.Struct, frozen=True):
    """A thing to know. about: a strategy's name, or hub, redis, market; do: commands that end it.

    kind: names it for as long as it lasts, whatever its numbers; where the ledger has a notice of it, by the same name
    """

    severity: Severity
    about: str
    kind: str
    text: str
    do: tuple[str, ...] = ()


def attention(seen: Seen, now_ns: int, *, exposed: bool = False) -> dict[str, Condition]:
    """kind → condition, most urgent first. A kind names one trouble for as long as it lasts, whatever its numbers.

    exposed: positions are open, which nobody watches while nothing is decided
    """
    found: dict[str, Condition] = {}
    snapshots = {name: ledger for name, ledger in seen.ledgers.items() if isinstance(ledger, Snapshot)}
    for name, snapshot in snapshots.items():
        for order in snapshot.orders:
            if order.state is State.UNCONFIRMED:
                text = f"{name}: order {order.id} is unconfirmed: it may be live"
                resolve = f"rooney resolve {order.id}"
                do = (f"{resolve} --filled PRICE", f"{resolve} --not-filled", f"rooney flatten {name}")
                found[f"unconfirmed {name} {order.id}"] = Condition(
                    Severity.CRITICAL, name, f"order {order.id}", text, do
                )
    for name, ledger in seen.ledgers.items():
        if isinstance(ledger, LedgerError):
            found[f"ledger {name}"] = Condition(Severity.CRITICAL, name, "ledger", f"{name}: {ledger}")
        elif ledger is not None and ledger.account is not None and ledger.account.is_halted:
            text = f"{name}: halted by its daily loss ({ledger.account.day_usd:+.2f} USD)"
            found[f"halted {name}"] = Condition(Severity.CRITICAL, name, DAILY_LOSS, text, (f"rooney resume {name}",))
    for kind, text in _of_market(seen, now_ns).items():
        about = "redis" if kind == "redis" else "hub"
        found[kind] = Condition(_graver(exposed), about, kind, text + ("; positions are open" if exposed else ""))
    if seen.redis or seen.hub is None:
        return found
    for name, snapshot in snapshots.items():
        late_s = (seen.hub.ts_tape - snapshot.ts_mark) / 1e9 if snapshot.ts_mark else 0.0
        if late_s > WORKER_LATE_S:
            text = f"{name}: {late_s:.0f} s behind the tape: its worker is stopped, hung or too slow"
            look = f"systemctl status rooney-worker@{name}"
            found[f"late {name}"] = Condition(_graver(exposed), name, "late", text, (look,))
    return found


def _of_market(seen: Seen, now_ns: int) -> dict[str, str]:
    """Kind and text of what keeps bars from coming in, if anything does: then nothing is decided."""
    hub = seen.hub
    if seen.redis:
        return {"redis": seen.redis}
    if hub is None:
        return {"hub": "no hub: nothing says hub:status; no new bars, no new entries"}
    in_session = any(sessions.window_at(group, now_ns) is not None for group in seen.groups)
    silent_s, tape_s = (now_ns - hub.ts_ns) / 1e9, (now_ns - hub.ts_tape) / 1e9
    ahead_s = (hub.ts_last_record - now_ns) / 1e9
    if silent_s > HUB_SILENT_S:
        return {"hub": f"the hub has said nothing for {silent_s:.0f} s"}
    if ahead_s > CLOCK_BEHIND_S:
        return {"clock": f"the newest record is {ahead_s:.1f} s ahead of this machine's clock: the clock is wrong"}
    if hub.state != "live" and in_session:
        return {"feed": f"the hub says: {hub.text}"}
    if in_session and tape_s > STALE_S:
        return {"tape": f"the newest minute on the tape is {tape_s:.0f} s old, in session"}
    return {}


def sender(found: Mapping[str, str], beat: Beat | None, now_ns: int) -> dict[str, str]:
    """Lines left to say beside an alert sender: all of them without one, or while it tells nobody."""
    if beat is None:
        return dict(found)
    silent_s = (now_ns - beat.ts_ns) / 1e9
    if silent_s > SENDER_SILENT_S:
        text = f"the alert sender has said nothing for {silent_s:.0f} s: systemctl status rooney-alert-sender"
        return {"alert sender": text, **found}
    if beat.failing:
        why = "; ".join(f"{channel}: {text}" for channel, text in beat.failing.items())
        return {"alert channel": f"alerts do not arrive: {why}", **found}
    return {}


def worst(found: list[Condition]) -> Severity:
    """Gravest severity of some conditions."""
    return max((one.severity for one in found), default=Severity.NOTE)


def conditions(system: System) -> list[Condition]:
    """Everything, most urgent first."""
    exposed = any(one.snapshot is not None and one.snapshot.open for one in system.strategies)
    found = list(attention(system.seen, system.now_ns, exposed=exposed).values())
    for one in system.strategies:
        found += _of_strategy(one, system)
    if system.market.info is not None and not system.market.info.is_written:
        found.append(Condition(Severity.ATTENTION, "redis", "redis disk", "Redis could not write to its disk"))
    if system.market.info is not None and system.market.info.is_full:
        used, limit = (size // 1_048_576 for size in (system.market.info.used_bytes, system.market.info.limit_bytes))
        text = f"Redis is full: {used} of {limit} MiB; it takes no minute, nothing is decided"
        found.append(Condition(Severity.CRITICAL, "redis", "redis full", text, ("redis-cli info memory",)))
    for symbol, state in (system.market.hub.instruments if system.market.hub else {}).items():
        if state == "refused":
            text = f"{symbol}: its definition differs from the configuration: no entries"
            found.append(Condition(Severity.ATTENTION, "hub", f"definition {symbol}", text))
    found += [_of_verdict(one) for one in system.verdicts if one.is_alarm]
    for name, text in system.unread.items():
        found.append(Condition(Severity.ATTENTION, "compare", f"kept {name}", text))
    return sorted(found, key=lambda one: -one.severity)


def _of_verdict(one: Verdict) -> Condition:
    if one.trouble:
        text = f"{one.name}: {one.kind} could not be done: {one.trouble}"
        return Condition(Severity.ATTENTION, one.name, one.kind, text)
    others = ", ".join(item.b for item in one.comparisons)
    text = (
        f"{one.name}: differs from {others} by {one.discrepancy:.1%} (limit {one.limit:.1%}), says the last {one.kind}"
    )
    return Condition(Severity.ATTENTION, one.name, one.kind, text)


def _graver(exposed: bool) -> Severity:
    return Severity.CRITICAL if exposed else Severity.ATTENTION


def _of_strategy(one: StrategyLook, system: System) -> list[Condition]:
    found = []
    if one.lack:
        found.append(Condition(Severity.ATTENTION, one.name, "configuration", f"{one.name}: {one.lack}"))
    for switch in one.switches:
        traps = switch.level is Level.STOP and one.snapshot is not None and bool(one.snapshot.open)
        do = (f"rooney resume {one.name if switch.scope == one.name else '--all'}",)
        text = f"{one.name}: switch {switch}"
        found.append(Condition(_graver(traps), one.name, f"switch {switch.level}", text, do))
    snapshot = one.snapshot
    if snapshot is None:
        return found
    held = ", ".join(held.contract for held in snapshot.open)
    if held and not one.is_configured:
        text = f"{one.name}: holds {held} and is not in the configuration"
        found.append(Condition(Severity.CRITICAL, one.name, "orphan", text, (f"rooney flatten {one.name}",)))
    elif held and not one.is_enabled:
        text = f"{one.name}: holds {held} and is switched off (strategies.{one.name}.enabled)"
        found.append(Condition(Severity.CRITICAL, one.name, "orphan", text, (f"rooney flatten {one.name}",)))
    elif one.is_enabled and not one.is_running:
        text = f"{one.name}: no worker runs" + (f", and it holds {held}" if held else "")
        do = (f"systemctl start rooney-worker@{one.name}",)
        found.append(Condition(_graver(bool(held)), one.name, "down", text, do))
    is_full = one.is_running and DISK_FULL in one.doing
    if is_full:
        text = f"{one.name}: {one.doing}; no entries"
        found.append(Condition(Severity.CRITICAL, one.name, DISK, text, (f"df -h {snapshot.path.parent}",)))
    if one.health is not None and one.health.light:
        severity = Severity.ATTENTION if one.health.light is Light.RED else Severity.NOTE
        text = f"{one.name}: not as its backtest: {one.health.text}"
        found.append(Condition(severity, one.name, "health", text))
    account = snapshot.account
    for trouble in snapshot.troubles:
        if trouble.about != DAILY_LOSS and not (is_full and trouble.about == DISK):  # said already
            command = _ENDED_BY.get(trouble.about, _STATED if trouble.symbol else _RESUMED)
            found.append(
                Condition(
                    _graver(trouble.level >= logging.CRITICAL),
                    one.name,
                    trouble.about,
                    f"{one.name}: {trouble.text}",
                    (command.format(name=one.name, symbol=trouble.symbol, path=snapshot.path),),
                )
            )
    if account is not None and account.gap_day and account.gap_day == _day_number(snapshot.ts_mark):
        text = f"{one.name}: data was lost, no entries before the next session"
        found.append(Condition(Severity.ATTENTION, one.name, "gap", text, (f"rooney resume {one.name}",)))
    found += _of_orders(one, system)
    for item in snapshot.open:
        contract = parse_contract(item.contract, trade_date(snapshot.ts_mark))
        if contract is not None and deadline(contract) - system.trade_date <= timedelta(days=ROLL_WARNING_DAYS):
            text = f"{one.name}: {item.contract} must be left by {deadline(contract)}"
            found.append(Condition(Severity.ATTENTION, one.name, f"roll {item.contract}", text))
    if one.waiting:
        text = f"{one.name}: {one.waiting} commands wait for its worker"
        found.append(Condition(Severity.ATTENTION, one.name, "commands", text))
    return found


def _of_orders(one: StrategyLook, system: System) -> list[Condition]:
    found = []
    for order in one.snapshot.orders if one.snapshot else ():
        if order.role is not Role.EXIT or not order.is_open or order.state is State.UNCONFIRMED:
            continue
        since_s = (system.now_ns - order.events[0].ts_clock) / 1e9
        do = (f"rooney flatten {one.name} {order.symbol}", f"rooney resolve {order.id} --filled PRICE")
        if order.state is State.REFUSED:
            detail = " ".join(f"{order.events[-1].status} {order.events[-1].detail}".split())
            text = f"{one.name}: exit {order.id} of {order.contract} refused: {detail}"
            found.append(Condition(Severity.CRITICAL, one.name, f"order {order.id}", text, do))
        elif since_s > EXIT_ALARM_S and is_open(order.symbol, system.now_ns):
            text = f"{one.name}: exit {order.id} of {order.contract} is {order.state} for {since_s:.0f} s"
            found.append(Condition(Severity.CRITICAL, one.name, f"order {order.id}", text, do))
    return found


def _day_number(ts_ns: int) -> int:
    return trade_date(ts_ns - 1).toordinal() - 719_163


def state_of(one: StrategyLook, market: Market) -> tuple[str, Severity]:
    """State of a strategy in a word or three, and how grave it is."""
    account = one.snapshot.account if one.snapshot else None
    if one.unreadable is not None:
        return "UNREADABLE", Severity.CRITICAL
    if not one.is_enabled:
        return ("disabled" if one.is_configured else "not configured"), Severity.NOTE
    if one.switches:
        return f"HALTED {one.switches[0].level}", Severity.ATTENTION
    if one.snapshot is not None and one.snapshot.troubles:
        return f"HALTED {one.snapshot.troubles[0].about}", Severity.CRITICAL
    if not one.is_running:
        return ("down" if one.snapshot else "never started"), Severity.ATTENTION
    if one.snapshot is None or not one.snapshot.ts_mark:
        return "starting", Severity.NOTE
    if market.ts_tape - one.snapshot.ts_mark > WORKER_LATE_S * 1e9:
        return "behind", Severity.ATTENTION
    if market.away:
        return "no Redis", Severity.ATTENTION
    if account is not None and account.gap_day == _day_number(one.snapshot.ts_mark):
        return "gap: exits only", Severity.ATTENTION
    return "trading", Severity.NOTE
