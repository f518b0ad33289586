"""`rooney status` and `rooney top`: one screen of everything, from ledgers, switches and Redis, read only."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import asdict

from rooney.format import minute_text, second_text, table, usd_text
from rooney.kernels.codes import Pending
from rooney.market import sessions
from rooney.market.sessions import CHICAGO
from rooney.monitor.conditions import Severity, conditions, state_of, worst
from rooney.monitor.market import freshness
from rooney.monitor.portfolio import capacities, combined
from rooney.monitor.system import StrategyLook, System
from rooney.performance.measures import curve, daily, measure
from rooney.systemd import Usage, unit_name

_HEAD = ("strategy", "mode", "state", "position", "open", "day", "of limit", "total", "mark", "last decision", "orders")
_RIGHT = {4, 5, 6, 7}
_LEVELS = {Severity.CRITICAL: "CRITICAL", Severity.ATTENTION: "attention", Severity.NOTE: "note"}


def lines(system: System, units: dict[str, str]) -> list[str]:
    """For a terminal. units: unit → what systemd says of it, empty where there is no systemd."""
    found = conditions(system)
    rows = [_HEAD, *(_row(one, system) for one in system.strategies)]
    usd = "USD, estimated: no fill is ever reported back"
    text = [
        _clock(system),
        _hub(system),
        _redis(system),
        "",
        *table(rows, indent="", right=_RIGHT),
        _sum(system, usd),
    ]
    if usage := [_usage(name, units.get(name, ""), system.usage.get(name)) for name in _unit_names(system, units)]:
        text += ["", *table(usage, indent="")]
    text.append("")
    for one in found:
        text.append(f"{_LEVELS[one.severity]:<10}{one.text}")
        text += [f"            {command}" for command in one.do]
    if not found:
        text.append("ok")
    return text


def code(system: System) -> int:
    """Exit status: 0 nothing to do, 1 attention, 2 critical."""
    return int(worst(conditions(system)))


def _clock(system: System) -> str:
    at = datetime.fromtimestamp(system.now_ns // 1_000_000_000, UTC)
    local = at.astimezone(CHICAGO)
    return f"{second_text(system.now_ns)}  Chicago {local:%H:%M:%S}  trade date {system.trade_date.isoformat()}"


def _hub(system: System) -> str:
    market, hub = system.market, system.hub_now
    states = [freshness(market, symbol, system.now_ns)[0] for symbol in system.symbols]
    counted = ", ".join(f"{states.count(name)} {name}" for name in dict.fromkeys(states))
    if hub is None:
        said = "unknown, Redis is away" if market.away else "no hub"
    else:
        said = f"{hub.state}, session {hub.sessions}, {hub.pending_minutes} minutes wait"
    tape = f"tape {minute_text(market.ts_tape)} ({_ago(system.now_ns - market.ts_tape)})" if market.ts_tape else ""
    return f"hub    {said}  {tape}  instruments: {counted}".replace("   ", "  ")


def _redis(system: System) -> str:
    info = system.market.info
    if system.market.away:
        return f"redis  AWAY: {system.market.away}"
    if info is None:
        return "redis  answers"
    limit = f" of {info.limit_bytes / 2**20:.0f}" if info.limit_bytes else ""
    kept = "append-only file" if info.is_durable else "nothing kept on disk at once"
    return f"redis  {info.version}, {info.used_bytes / 2**20:.1f}{limit} MiB, tape {info.tape_length:,} minutes, {kept}"


def _row(one: StrategyLook, system: System) -> tuple[str, ...]:
    state, _ = state_of(one, system.market)
    mode = str(one.block.mode) if one.block else "?"
    snapshot = one.snapshot
    if snapshot is None or snapshot.account is None:
        return (one.name, mode, state, "", "", "", "", "", minute_text(0), "", "")
    account = snapshot.account
    limit = one.block.daily_stop_loss if one.block else math.nan
    used = max(0.0, -account.day_usd) / limit if limit > 0 else math.nan
    held = " ".join(f"{item.contract} {item.side * item.quantity:+d}" for item in snapshot.open) or "flat"
    pending = " ".join(
        f"{item.contract}?" for item in snapshot.held if item.pending in (Pending.ENTRY, Pending.UNCERTAIN)
    )
    return (
        one.name,
        mode,
        state,
        " ".join(f"{held} {pending}".split()),
        usd_text(account.open_usd),
        usd_text(account.day_usd),
        f"{used:.0%}" if math.isfinite(used) else "",
        usd_text(account.equity_usd - snapshot.start_usd),
        minute_text(snapshot.ts_mark)[11:],
        last_decision(one),
        _orders(one),
    )


def last_decision(one: StrategyLook) -> str:
    """Reason at the newest mark that decided anything: the acting instrument's before the others'."""
    newest = one.newest_decisions
    if not newest:
        return ""
    rest = f" +{len(newest) - 1}" if len(newest) > 1 else ""
    return f"{newest[0].symbol} {newest[0].reason}{rest} {minute_text(newest[0].ts_mark)[11:]}"


def _orders(one: StrategyLook) -> str:
    if one.snapshot is None:
        return ""
    open_now = [order for order in one.snapshot.orders if order.is_open]
    unknown = sum(order.needs_person for order in open_now)
    if unknown:
        return f"{unknown} UNKNOWN"
    return f"{len(open_now)} on the way" if open_now else "ok"


def _sum(system: System, remark: str) -> str:
    accounts = [one.snapshot.account for one in system.strategies if one.snapshot and one.snapshot.account]
    day, open_usd = sum(account.day_usd for account in accounts), sum(account.open_usd for account in accounts)
    return f"all    day {usd_text(day)}, open {usd_text(open_usd)} {remark}"


def _unit_names(system: System, units: dict[str, str]) -> list[str]:
    wanted = ["rooney-hub.service", *(unit_name(one.name) for one in system.strategies if one.is_configured)]
    return [name for name in wanted if name in units or name in system.usage]


def _usage(name: str, said: str, usage: Usage | None) -> tuple[str, ...]:
    if usage is None:
        return name, said, "", ""
    memory = f"{usage.memory_bytes / 2**20:.0f} MiB" if usage.memory_bytes is not None else ""
    return name, said, memory, f"{usage.cpu_s:.1f} s CPU since {second_text(usage.ts_start)}"


def _ago(span_ns: int) -> str:
    seconds = max(0, span_ns) / 1e9
    return f"{seconds:.0f} s old" if seconds < 600 else f"{seconds / 3600:.1f} h old"


def as_json(system: System, units: dict[str, str]) -> dict[str, Any]:
    """The same for programs: USD estimates, times UTC ns, null for what is not known."""
    hub, info = system.hub_now, system.market.info
    return {
        "ts_ns": system.ts_wall,
        "now_ns": system.now_ns,
        "trade_date": system.trade_date.isoformat(),
        "combined": {name: _told(value) for name, value in asdict(combined(system)).items()},
        "capacity": [
            {name: _told(getattr(item, name)) for name in (*item.__struct_fields__, "warning")}
            for item in capacities(system)
        ],
        "comparisons": [
            {
                "name": one.name,
                "kind": one.kind,
                "ts_ns": one.ts_ns,
                "discrepancy": one.discrepancy,
                "clean_days": one.clean_days,
                "is_alarm": one.is_alarm,
                "trouble": one.trouble or None,
            }
            for one in system.verdicts
        ],
        "conditions": [
            {"severity": one.severity.name.lower(), "about": one.about, "text": one.text, "do": list(one.do)}
            for one in conditions(system)
        ],
        "hub": {
            "state": hub.state,
            "ts_tape_ns": hub.ts_tape,
            "ts_last_record_ns": hub.ts_last_record,
            "sessions": hub.sessions,
            "pending_minutes": hub.pending_minutes,
            "counts": hub.counts,
        }
        if hub
        else None,
        "redis": {
            "away": system.market.away or None,
            "used_bytes": info.used_bytes if info else None,
            "tape_length": info.tape_length if info else None,
            "ts_tape_ns": system.market.ts_tape or None,
        },
        "instruments": {
            symbol: {
                "state": freshness(system.market, symbol, system.now_ns)[0],
                "contract": system.market.quotes[symbol].front or None,
                "last": bar.close if (bar := system.market.quotes[symbol].bar) else None,
                "ts_close_ns": bar.ts_close if bar else None,
            }
            for symbol in system.symbols
        },
        "strategies": [_strategy_json(one, system) for one in system.strategies],
        "units": {
            name: {
                "systemd": units.get(name),
                "cpu_s": usage.cpu_s if (usage := system.usage.get(name)) else None,
                "memory_bytes": usage.memory_bytes if usage else None,
                "ts_start_ns": usage.ts_start if usage else None,
            }
            for name in _unit_names(system, units)
        },
    }


def _strategy_json(one: StrategyLook, system: System) -> dict[str, Any]:
    snapshot = one.snapshot
    account = snapshot.account if snapshot else None
    points = curve(snapshot) if snapshot else []
    days = daily(snapshot, sessions.trade_date(snapshot.ts_mark - 1)) if snapshot and snapshot.ts_mark else {}
    measures = measure(snapshot, points, days) if snapshot else None
    return {
        "strategy": one.name,
        "mode": str(one.block.mode) if one.block else None,
        "state": state_of(one, system.market)[0],
        "is_running": one.is_running,
        "ts_mark_ns": snapshot.ts_mark if snapshot else None,
        "equity_usd": account.equity_usd if account else None,
        "open_usd": account.open_usd if account else None,
        "day_usd": account.day_usd if account else None,
        "drawdown_usd": account.drawdown_usd if account else None,
        "total_usd": measures.total_usd if measures else None,
        "trades": measures.trades if measures else None,
        "positions": [
            {
                "symbol": held.symbol,
                "contract": held.contract,
                "side": held.side,
                "quantity": held.quantity,
                "entry_price": held.entry_price,
                "entry_ts_ns": held.entry_ts,
                "last_price": _told(held.mark),
                "open_usd": _told(one.open_usd(held)),
                "bars_held": held.bars_held,
            }
            for held in (snapshot.open if snapshot else [])
        ],
        "open_orders": [
            {"id": order.id, "symbol": order.symbol, "role": order.role.name.lower(), "state": str(order.state)}
            for order in (snapshot.orders if snapshot else ())
            if order.is_open
        ],
        "last_decision": last_decision(one) or None,
        "switches": [str(switch) for switch in one.switches],
        "health": {name: _told(value) for name, value in asdict(one.health).items()} if one.health else None,
        "unreadable": str(one.unreadable) if one.unreadable else None,
    }


def _told(value: Any) -> Any:
    """JSON has neither NaN nor infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def screen(text: Sequence[str], width: int, height: int) -> str:
    """A picture of `rooney top`: cut to the terminal, drawn over the last one without flicker."""
    cut = [line[:width] for line in text[: max(1, height - 1)]]
    return "\x1b[H" + "\n".join(line + "\x1b[K" for line in cut) + "\x1b[J"
