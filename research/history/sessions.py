"""Sessions as arrays: what `rooney.market.sessions` says of one instant, said of many."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import msgspec
import numpy as np

from research.history.kernels import LAST_DAY
from rooney.kernels.array_types import I64
from rooney.market import sessions
from rooney.market import sessions_v1 as oldclock

EPOCH = date(1970, 1, 1)
DAY_NS = 24 * sessions.HOUR_NS


class Windows(msgspec.Struct, frozen=True):
    """Session windows of one group over a span: arrays of equal length, by time."""

    open_ns: I64
    close_ns: I64
    trade_date: I64
    day_open_ns: I64
    day_close_ns: I64
    utc_offset: I64
    ends_ns: I64


def session_windows(group: str, start_ns: int, end_ns: int) -> Windows:
    """Every window that ends after `start_ns` and opens before `end_ns`."""
    rows = []
    window = sessions.window_at(group, start_ns) or sessions.next_window(group, start_ns)
    while window.open_ns < end_ns:
        day = window.trade_date
        rows.append(
            (
                window.open_ns,
                window.close_ns,
                (day - EPOCH).days,
                sessions.session_open_ns(group, day),
                sessions.session_close_ns(group, day),
                sessions.utc_offset_ns(window.open_ns),
                window.ends_ns,
            )
        )
        window = sessions.next_window(group, window.close_ns)
    columns = np.array(rows, np.int64).reshape(-1, len(Windows.__struct_fields__)).T
    return Windows(*(np.ascontiguousarray(column) for column in columns))


def old_days(group: str, windows: Windows) -> Windows:
    """The same windows cut where an old day ends; that is the day then, and trade dates stay the exchange's."""
    rows = []
    for k, (opens, closes) in enumerate(zip(windows.open_ns.tolist(), windows.close_ns.tolist(), strict=True)):
        trade_date, utc_offset = int(windows.trade_date[k]), int(windows.utc_offset[k])
        window = sessions.Window(opens, closes, closes, EPOCH + timedelta(days=trade_date))
        for begin, end, day_open, day_close in oldclock.split(group, window):
            rows.append((begin, end, trade_date, day_open, day_close, utc_offset, day_close))
    columns = np.array(rows, np.int64).reshape(-1, len(Windows.__struct_fields__)).T
    return Windows(*(np.ascontiguousarray(column) for column in columns))


@lru_cache(maxsize=1)
def trade_dates() -> tuple[I64, I64]:
    """(turns, labels), both by day since 1970: when the next trade date begins on that UTC day, in UTC ns, and the
    trade date of the time before that; days since 1970.

    As `rooney.market.sessions.trade_date` where the session table knows; beyond it weekends alone are no trade dates.
    """
    n = LAST_DAY + 2
    evening = [datetime(1970, 1, 1, 17) + timedelta(days=day) for day in range(n)]
    turns = np.array([int(at.replace(tzinfo=sessions.CHICAGO).timestamp()) for at in evening], np.int64)
    days = np.arange(n, dtype=np.int64)
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday
    turns *= 1_000_000_000
    labels = days + np.where(weekday >= 5, 7 - weekday, 0)
    known = sessions.table()
    for day in range((known.first - EPOCH).days, (known.last - EPOCH).days + 1):
        labels[day] = (sessions.trade_date(int(turns[day]) - 1) - EPOCH).days
    return turns, labels


def trade_date_of(ts: I64) -> I64:
    """Trade dates of stamps, days since 1970."""
    turns, labels = trade_dates()
    day = ts // DAY_NS
    return labels[day + (ts >= turns[day])]


def hour_closes(ts_open: I64, windows: Windows) -> I64:
    """When hourly bars were known: `rooney.market.sessions.hour_close_ns` in session, else an hour after `ts_open`."""
    at = np.searchsorted(windows.open_ns, ts_open, "right") - 1
    in_session = (at >= 0) & (ts_open < windows.close_ns[at])
    hour_end = ts_open - ts_open % sessions.HOUR_NS + sessions.HOUR_NS
    last = np.searchsorted(windows.open_ns, hour_end, "left") - 1
    return np.where(in_session, np.minimum(windows.close_ns[last], hour_end), ts_open + sessions.HOUR_NS)


def day_closes(ts_open: I64, windows: Windows) -> I64:
    """When daily bars were known: the session's close for one that opens with a session, else 24 hours later."""
    at = np.clip(np.searchsorted(windows.day_open_ns, ts_open, "left"), 0, len(windows.day_open_ns) - 1)
    opens_a_session = windows.day_open_ns[at] == ts_open
    return np.where(opens_a_session, windows.day_close_ns[at], ts_open + DAY_NS)


def months(start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """[begin, end) of the UTC months that cover a span, in ns."""
    first = datetime.fromtimestamp(start_ns // 1_000_000_000, UTC)
    begin = datetime(first.year, first.month, 1, tzinfo=UTC)
    found = []
    while to_ns(begin) < end_ns:
        end = datetime(begin.year + begin.month // 12, begin.month % 12 + 1, 1, tzinfo=UTC)
        found.append((to_ns(begin), to_ns(end)))
        begin = end
    return found


def to_ns(at: datetime) -> int:
    """UTC ns of an aware time, exact to the microsecond."""
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
