"""Answer of `rooney why` for a time without a decision: the first cause that holds."""

import math
from datetime import UTC, datetime

from rooney.format import minute_text, second_text
from rooney.ledger.records import Decision
from rooney.market import sessions
from rooney.market.instruments import group_of, is_open
from rooney.market.sessions import CHICAGO
from rooney.monitor.system import StrategyLook, System
from rooney.ops.why import Answer, Rules


def silence(
    one: StrategyLook, system: System, rules: Rules, symbol: str, at_ns: int, newest: Decision | None
) -> Answer:
    """Answer for an instrument about which nothing was decided around `at_ns`."""
    snapshot = one.snapshot
    market = system.market
    facts = {"clock": _moment(symbol, at_ns)}
    if newest is not None:
        facts["last decision"] = f"{minute_text(newest.ts_mark)} {newest.reason}"
    if snapshot is not None:
        facts["worker"] = ("runs" if one.is_running else "does not run") + (
            f", last minute {minute_text(snapshot.ts_mark)}"
        )
    facts["tape"] = f"last minute {minute_text(market.ts_tape)}"
    hub = system.hub_now
    facts["hub"] = "unknown: Redis is away" if market.away else hub.state if hub is not None else "no hub"
    reason, text = _cause(one, system, rules, symbol, at_ns)
    name = snapshot.name if snapshot else one.name
    return Answer(name, symbol, at_ns, reason, text, facts, {}, math.nan, ())


def _cause(one: StrategyLook, system: System, rules: Rules, symbol: str, at_ns: int) -> tuple[str, str]:
    snapshot, market = one.snapshot, system.market
    if at_ns > system.now_ns:
        return "future", "that is not over yet"
    if not is_open(symbol, at_ns - 1):
        return "closed", "the market was closed: no bar, no decision"
    if snapshot is None or not snapshot.ts_mark:
        return "no_minute", "its worker has not finished a minute yet"
    if at_ns <= snapshot.ts_mark:
        return "no_bar", f"no {rules.timeframe} bar of {symbol} ended then: it decides only where one does"
    if market.away:
        return "no_redis", "Redis is away: the worker gets no minutes, so it decides nothing; exits follow their policy"
    if at_ns > market.ts_tape:
        hub = system.hub_now
        said = f"the hub says {hub.state}" if hub is not None else "no hub says anything"
        return "no_tape", f"no minute of that time is on the tape ({said}): nothing new is decided until it is"
    if not one.is_running:
        return "down", "its worker does not run: it takes these minutes in when it starts"
    return "behind", "its worker has not come that far yet"


def _moment(symbol: str, at_ns: int) -> str:
    local = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).astimezone(CHICAGO)
    window = sessions.window_at(group_of(symbol), at_ns - 1)
    state = f"open until {minute_text(window.close_ns)[11:]}" if window else "market closed"
    return f"{second_text(at_ns)}, Chicago {local:%a %H:%M:%S}, {state}"


def is_overdue(timeframe: str, symbol: str, at_ns: int, newest: Decision | None) -> bool:
    """True where at `at_ns` a newer decision than `newest` could be expected, or the market was closed."""
    window = sessions.window_at(group_of(symbol), at_ns - 1)
    if window is None or newest is None:
        return True
    if timeframe == "daily":
        return at_ns - newest.ts_mark > 24 * sessions.HOUR_NS
    length_ns = sessions.HOUR_NS if timeframe == "hourly" else sessions.MINUTE_NS
    end_ns = at_ns - at_ns % length_ns
    return max(window.open_ns, newest.ts_mark) < end_ns
