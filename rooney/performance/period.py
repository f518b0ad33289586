"""Periods that are reported on: one trade date, or the five of a week; in exchange time. Pure."""

from datetime import UTC, date, datetime, time, timedelta

import msgspec

from rooney.market.sessions import CHICAGO, trade_date

_CLOSE = time(16)  # of the last product
_TURN = time(17)  # one trade date ends, the next begins


class Period(msgspec.Struct, frozen=True):
    """Trade dates [first, last]."""

    first: date
    last: date

    @property
    def is_week(self) -> bool:
        """Monday to Friday."""
        return self.first != self.last

    @property
    def span(self) -> tuple[int, int]:
        """UTC ns [begin, end)."""
        return span(self.first)[0], span(self.last)[1]

    @property
    def name(self) -> str:
        """For a file."""
        return f"{'weekly' if self.is_week else 'daily'}-{self.last.isoformat()}"

    @property
    def title(self) -> str:
        """For people."""
        if self.is_week:
            return f"Week of trade dates {self.first.isoformat()} to {self.last.isoformat()}"
        return f"Trade date {self.last.isoformat()}"


def day_of(day: date) -> Period:
    """One trade date."""
    return Period(day, day)


def week_of(day: date) -> Period:
    """The week that has a trade date."""
    monday = day - timedelta(days=day.weekday())
    return Period(monday, monday + timedelta(days=4))


def last_week_ended(now_ns: int) -> Period:
    """The newest week that is over."""
    week = week_of(last_ended(now_ns))
    return week if last_ended(now_ns) >= week.last else week_of(week.first - timedelta(days=1))


def last_ended(now_ns: int) -> date:
    """The newest trade date that is over."""
    day = trade_date(now_ns)
    if now_ns >= _ns(day, _CLOSE):
        return day
    day -= timedelta(days=1)
    return day - timedelta(days=max(0, day.weekday() - 4))


def span(day: date) -> tuple[int, int]:
    """A CME trade date: 17:00 the day before to 17:00 Chicago, UTC ns [begin, end)."""
    return _ns(day - timedelta(days=1), _TURN), _ns(day, _TURN)


def _ns(day: date, at: time) -> int:
    return int(datetime.combine(day, at, CHICAGO).astimezone(UTC).timestamp()) * 1_000_000_000
