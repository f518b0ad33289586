"""Sessions: UTC nanoseconds → trade date, open, halt, close, per product group; read from one table.

`sessions.csv` beside this file is written by `python -m research.data.session_table` to be reviewed: hours of the
regular week by period, and every holiday, early close and late open since 2008 with its reason. Hub, worker and
research read this table and nothing else; no calendar library is needed to trade.

All hours are Chicago's and become UTC through the time-zone database, so both clock changes come out right.

A *trade date* is the day whose business a trade is. What trades from 17:00 on belongs to the next trade date: Sunday
17:00 to Monday, Friday 17:00 to nothing before Monday. A holiday is no trade date, but most groups trade part of it:
that session belongs to the next trade date, as the exchange books it. So the trade date after Thanksgiving opens on
Wednesday 17:00, halts on Thursday 12:00, goes on at 17:00 and ends on Friday 12:15, with one daily bar. Trade dates
are those of the exchange, the same for all groups; a group may be closed on one.

A session consists of *windows*: grains trade a night and a day, index futures had a halt at 15:15 until June 2021.

Where sources disagree on an early close, the day is *disputed* and has two closes. Bars and the sending of exits keep
the later one; entries and the auto-close go by the earlier one, `Window.ends_ns`. So neither is a minute missed nor a
position left in a market that may have closed.

Outside the table's years nothing is known of holidays. There the regular week goes on, so that stops and exits of open
positions still work, but `covered` says no, and who would enter a position or run a backtest there must refuse.
`rooney check` warns from 90 days before.
"""

from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from rooney.errors import ConfigError

CHICAGO = ZoneInfo("America/Chicago")
MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS
GROUPS = ("energy", "equity", "fx", "grains", "metals", "rates")
TABLE = Path(__file__).with_name("sessions.csv")

_REPAIR = "reinstall rooney, or write the table anew (python -m research.data.session_table)"
_DAY = timedelta(days=1)
_EVENING = time(17)  # from here on it is the next day's business
SECOND_NS = 1_000_000_000
# Instants are looked up in blocks of four weeks, made when first asked for.
_BLOCK_NS = 28 * 24 * HOUR_NS

# (open, close) in Chicago; a window that opens later than it closes opens on the evening before.
Hours = tuple[tuple[time, time], ...]


class Window(msgspec.Struct, frozen=True):
    """A stretch of continuous trading: [open_ns, close_ns), UTC.

    ends_ns: when the session ends for entries and the auto-close: with its last window; in a window whose close is
             disputed, at the earlier one
    """

    open_ns: int
    close_ns: int
    ends_ns: int
    trade_date: date


class Regular(msgspec.Struct, frozen=True):
    """Hours of a group's week from a day on; Fridays may have their own."""

    since: date
    hours: Hours
    friday: Hours


class Table(msgspec.Struct, frozen=True):
    """The table as read.

    first, last: the days it speaks of, inclusive
    regular:     per group, by day
    holidays:    weekdays that are no trade date → reason; groups without hours of their own are closed
    days:        (day, group) → hours on a day that is not regular; none = closed
    disputed:    (day, group) → the earlier close of a day whose sources disagree
    """

    first: date
    last: date
    regular: dict[str, list[Regular]]
    holidays: dict[date, str]
    days: dict[tuple[date, str], Hours]
    disputed: dict[tuple[date, str], time]


def parse_hours(text: str) -> Hours:
    """`17:00-15:15 15:30-16:00` → windows by time; empty = closed. Raises ValueError."""
    windows: list[tuple[time, time]] = []
    for part in text.split():
        opens, closes = (time.fromisoformat(word) for word in part.split("-"))
        if windows and not windows[-1][1] < opens < closes:
            raise ValueError(f"{part} does not follow the window before it")
        windows.append((opens, closes))
    return tuple(windows)


def read_table(path: Path) -> Table:
    """Read a table. Raises ConfigError naming file and line."""
    span: dict[str, date] = {}
    regular: dict[str, list[Regular]] = {group: [] for group in GROUPS}
    holidays: dict[date, str] = {}
    days: dict[tuple[date, str], Hours] = {}
    disputed: dict[tuple[date, str], time] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        try:
            kind, text, groups, hours_text, reason = line.split(",", 4)
            day, hours = date.fromisoformat(text), parse_hours(hours_text)
            unknown = set(groups.split()) - set(GROUPS)
            if unknown:
                raise ValueError(f"unknown group {', '.join(sorted(unknown))}")
            if kind in ("first", "last"):
                span[kind] = day
            elif kind == "regular":
                for group in groups.split():
                    regular[group].append(Regular(day, hours, hours))
            elif kind == "friday":
                for group in groups.split():
                    regular[group][-1] = msgspec.structs.replace(regular[group][-1], friday=hours)
            elif kind == "holiday":
                holidays[day] = reason
            elif kind == "day":
                days |= {(day, group): hours for group in groups.split()}
            elif kind == "disputed":
                disputed |= {(day, group): hours[-1][1] for group in groups.split()}
            else:
                raise ValueError(f"unknown kind {kind!r}")
        except (ValueError, IndexError) as error:
            raise ConfigError(f"{path}:{number}: {line!r}: {error}; {_REPAIR}") from error
    if set(span) != {"first", "last"} or not all(regular.values()):
        raise ConfigError(f"{path}: first, last or a group is missing; {_REPAIR}")
    return Table(span["first"], span["last"], regular, holidays, days, disputed)


@cache
def table() -> Table:
    """The table in use, read once."""
    return read_table(TABLE)


def covered(ts_ns: int) -> bool:
    """True if the table knows the holidays of the day an instant belongs to."""
    return table().first <= trade_date(ts_ns) <= table().last


def is_trade_date(day: date) -> bool:
    """True if a day is a trade date (a business day of the exchange)."""
    return day.weekday() < 5 and day not in table().holidays


def next_trade_date(day: date) -> date:
    """The first trade date after `day`."""
    day += _DAY
    while not is_trade_date(day):
        day += _DAY
    return day


def previous_trade_date(day: date) -> date:
    """The last trade date before `day`."""
    day -= _DAY
    while not is_trade_date(day):
        day -= _DAY
    return day


def trade_date(ts_ns: int) -> date:
    """The trade date an instant belongs to, in session or not."""
    begins, days = _calendar(ts_ns // _BLOCK_NS)
    return days[bisect_right(begins, ts_ns) - 1]


def window_at(group: str, ts_ns: int) -> Window | None:
    """The window that holds `ts_ns`, or None when the group is closed then."""
    opens, windows = _block(group, ts_ns // _BLOCK_NS)
    i = bisect_right(opens, ts_ns) - 1
    return windows[i] if i >= 0 and ts_ns < windows[i].close_ns else None


def next_window(group: str, ts_ns: int) -> Window:
    """The first window that opens at or after `ts_ns`."""
    number = ts_ns // _BLOCK_NS
    while True:
        opens, windows = _block(group, number)
        i = bisect_left(opens, ts_ns)
        if i < len(windows):
            return windows[i]
        number += 1


def session_open_ns(group: str, day: date) -> int:
    """When trade date `day` opens, UTC ns; where the group has no session on it, when its next one does."""
    return _session(group, day)[0].open_ns


def session_close_ns(group: str, day: date) -> int:
    """When trade date `day` closes, UTC ns; where the group has no session on it, when its next one does."""
    return _session(group, day)[-1].close_ns


def next_change(group: str, ts_ns: int) -> tuple[int, str]:
    """When trading next begins or ends, UTC ns, and the word for it: `opens`, `closes` or, in mid-session, `pauses`."""
    window = window_at(group, ts_ns)
    if window is None:
        return next_window(group, ts_ns).open_ns, "opens"
    return window.close_ns, "closes" if window.close_ns == session_close_ns(group, window.trade_date) else "pauses"


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


def hours_on(group: str, day: date) -> Hours:
    """Windows that close on one calendar day, Chicago time; none = closed."""
    known = table()
    if (day, group) in known.days:
        return known.days[day, group]
    if day.weekday() >= 5 or day in known.holidays:
        return ()
    periods = known.regular[group]
    i = bisect_right(periods, day, key=lambda period: period.since) - 1
    period = periods[max(i, 0)]
    return period.friday if day.weekday() == 4 else period.hours


def _utc_ns(day: date, at: time) -> int:
    return int(datetime.combine(day, at, CHICAGO).timestamp()) * SECOND_NS


@lru_cache(maxsize=1024)
def _windows_of(group: str, day: date) -> tuple[Window, ...]:
    """The windows of a trade date: those of the days without one before it, and its own."""
    spans = []
    part = previous_trade_date(day) + _DAY
    while part <= day:
        earlier = table().disputed.get((part, group), time.max)
        for opens, closes in hours_on(group, part):
            open_ns = _utc_ns(part - _DAY if opens > closes else part, opens)
            spans.append((open_ns, _utc_ns(part, closes), _utc_ns(part, min(closes, earlier))))
        part += _DAY
    return tuple(Window(opens, closes, ends if ends < closes else spans[-1][2], day) for opens, closes, ends in spans)


def _session(group: str, day: date) -> tuple[Window, ...]:
    if not is_trade_date(day):
        day = next_trade_date(day)
    while not (windows := _windows_of(group, day)):
        day = next_trade_date(day)
    return windows


def _days_of_block(number: int) -> tuple[date, date]:
    """First and last calendar day that may have to do with a block, with some to spare."""
    first = datetime.fromtimestamp(number * _BLOCK_NS // SECOND_NS, UTC).date() - 2 * _DAY
    return first, first + timedelta(days=35)


@lru_cache(maxsize=1024)
def _block(group: str, number: int) -> tuple[tuple[int, ...], tuple[Window, ...]]:
    """Opens and windows of a block by time, those that reach into it from before included."""
    day, last = _days_of_block(number)
    windows: list[Window] = []
    while day <= last:
        day = next_trade_date(day)
        windows += _windows_of(group, day)
    start_ns, end_ns = number * _BLOCK_NS, (number + 1) * _BLOCK_NS
    kept = tuple(window for window in windows if window.close_ns > start_ns and window.open_ns < end_ns)
    return tuple(window.open_ns for window in kept), kept


@lru_cache(maxsize=256)
def _calendar(number: int) -> tuple[tuple[int, ...], tuple[date, ...]]:
    """When each trade date's business of a block begins, the evening after the one before, and the trade dates."""
    first, last = _days_of_block(number)
    days = [previous_trade_date(first)]
    while days[-1] <= last:
        days.append(next_trade_date(days[-1]))
    return tuple(_utc_ns(before, _EVENING) for before in days[:-1]), tuple(days[1:])


@lru_cache(maxsize=4096)
def _offset_of_hour(hour: int) -> int:
    offset = datetime.fromtimestamp(hour * 3600, UTC).astimezone(CHICAGO).utcoffset()
    return int(offset.total_seconds()) * SECOND_NS if offset is not None else 0


def utc_offset_ns(ts_ns: int) -> int:
    """Chicago's offset from UTC at an instant, ns; negative."""
    return _offset_of_hour(ts_ns // HOUR_NS)
