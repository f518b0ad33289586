"""Sessions: UTC nanoseconds → trade date, open, close, per product group.

All hours are Chicago's and become UTC through the time-zone database, so both clock changes come out right. A trade
date is the day on which its session ends: Sunday 17:00 belongs to Monday. A session may consist of several windows
(grains trade a night and a day, index futures had a halt at 15:15 until June 2021).

Hours of the regular week and their changes over the years; holidays and early closes are not in yet, so a closed
holiday looks like a session without trades.
"""

from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

CHICAGO = ZoneInfo("America/Chicago")
MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS

_EARLIER_CLOSE_UNTIL = date(2015, 9, 21)  # until then the day ended 16:15
_INDEX_HALT_UNTIL = date(2021, 6, 28)  # until then index futures paused 15:15-15:30
_GRAIN_CLOSE_UNTIL = date(2015, 7, 6)  # until then the grain day ended 13:15


class Window(msgspec.Struct, frozen=True):
    """One stretch of continuous trading: [open_ns, close_ns), UTC. `ends_day` marks the last one of its trade date."""

    open_ns: int
    close_ns: int
    trade_date: date
    ends_day: bool


def _hours(group: str, day: date) -> list[tuple[int, time, time]]:
    """(days before the trade date on which the window opens, open, close) for one trade date, Chicago time."""
    evening = time(17)
    if group == "grains":
        close = time(13, 15) if day < _GRAIN_CLOSE_UNTIL else time(13, 20)
        return [(1, time(19), time(7, 45)), (0, time(8, 30), close)]
    close = time(16)
    if group in ("equity", "metals", "energy") and day < _EARLIER_CLOSE_UNTIL:
        close = time(16, 15)
    if group == "equity" and day < _INDEX_HALT_UNTIL:
        return [(1, evening, time(15, 15)), (0, time(15, 30), close)]
    return [(1, evening, close)]


def _utc_ns(day: date, at: time) -> int:
    return int(datetime.combine(day, at, CHICAGO).timestamp()) * 1_000_000_000


@lru_cache(maxsize=512)
def _month(group: str, year: int, month: int) -> tuple[tuple[Window, ...], tuple[int, ...]]:
    """Every window of the trade dates of one month, and their opens for bisection."""
    windows: list[Window] = []
    day = date(year, month, 1)
    while day.month == month:
        if day.weekday() < 5:
            hours = _hours(group, day)
            for i, (days_before, opens, closes) in enumerate(hours):
                windows.append(
                    Window(
                        _utc_ns(day - timedelta(days=days_before), opens),
                        _utc_ns(day, closes),
                        day,
                        i == len(hours) - 1,
                    )
                )
        day += timedelta(days=1)
    return tuple(windows), tuple(window.open_ns for window in windows)


def _next_month(year: int, month: int) -> tuple[int, int]:
    return (year + 1, 1) if month == 12 else (year, month + 1)


def trade_date(ts_ns: int) -> date:
    """The trade date an instant belongs to, in session or not: Chicago's calendar moved on by seven hours."""
    local = datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).astimezone(CHICAGO).replace(tzinfo=None)
    day = (local + timedelta(hours=7)).date()
    return day + timedelta(days=max(0, 7 - day.weekday())) if day.weekday() >= 5 else day


def window_at(group: str, ts_ns: int) -> Window | None:
    """The window that holds `ts_ns`, or None when the group is closed then."""
    day = trade_date(ts_ns)
    windows, opens = _month(group, day.year, day.month)
    i = bisect_right(opens, ts_ns) - 1
    return windows[i] if i >= 0 and ts_ns < windows[i].close_ns else None


def next_window(group: str, ts_ns: int) -> Window:
    """The first window that opens at or after `ts_ns`."""
    day = trade_date(ts_ns)
    year, month = day.year, day.month
    while True:
        windows, opens = _month(group, year, month)
        i = bisect_right(opens, ts_ns - 1)
        if i < len(windows):
            return windows[i]
        year, month = _next_month(year, month)


def session_open_ns(group: str, day: date) -> int:
    """When the trade date's first window opens, UTC ns. `day` must be a week day."""
    windows, _ = _month(group, day.year, day.month)
    return next(window.open_ns for window in windows if window.trade_date == day)


def session_close_ns(group: str, day: date) -> int:
    """When the trade date's last window closes, UTC ns. `day` must be a week day."""
    windows, _ = _month(group, day.year, day.month)
    return next(window.close_ns for window in windows if window.trade_date == day and window.ends_day)


def hour_close_ns(group: str, ts_ns: int) -> int:
    """End of the last session minute of the hour that holds `ts_ns`: when that hour's bar closes, UTC ns.

    `ts_ns` must be in session. The hour of a halt in its midst closes at its full end; an hour cut by the end of a
    session or of the grains' night closes there.
    """
    hour_end = ts_ns - ts_ns % HOUR_NS + HOUR_NS
    window = window_at(group, ts_ns)
    if window is None:
        raise ValueError(f"{group} is closed at {ts_ns}: no hour to close")
    while window.close_ns < hour_end:
        following = next_window(group, window.close_ns)
        if following.open_ns >= hour_end:
            return window.close_ns
        window = following
    return hour_end


@lru_cache(maxsize=4096)
def _offset_of_hour(hour: int) -> int:
    offset = datetime.fromtimestamp(hour * 3600, UTC).astimezone(CHICAGO).utcoffset()
    return int(offset.total_seconds()) * 1_000_000_000 if offset is not None else 0


def utc_offset_ns(ts_ns: int) -> int:
    """Chicago's offset from UTC at an instant, ns; negative."""
    return _offset_of_hour(ts_ns // HOUR_NS)
