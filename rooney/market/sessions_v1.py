"""The old system's clock, for `profile: v1`: the exchange's own time, and days from 18:00 to 18:00 of it.

Old system §1.3: CME and CBOT products were kept in Chicago time, COMEX and NYMEX products in New York time, and a day
was whatever fell on one calendar day after six hours had been added. So a currency's first session hour belongs to the
day before, and every Sunday evening is a day of one hour.
"""

from rooney.market.sessions import HOUR_NS, Window, utc_offset_ns

DAY_NS = 24 * HOUR_NS
NEW_YORK_GROUPS = ("metals", "energy")


def clock_ns(group: str) -> int:
    """How far the clock of a group's exchange is ahead of Chicago's."""
    return HOUR_NS if group in NEW_YORK_GROUPS else 0


def day_at(group: str, ts_ns: int) -> tuple[int, int]:
    """[open, close) of the old day that holds `ts_ns`, UTC ns."""
    ahead_ns = utc_offset_ns(ts_ns) + clock_ns(group)
    open_ns = (ts_ns + ahead_ns + 6 * HOUR_NS) // DAY_NS * DAY_NS - 6 * HOUR_NS - ahead_ns
    return open_ns, open_ns + DAY_NS


def split(group: str, window: Window) -> list[tuple[int, int, int, int]]:
    """A session window cut where an old day ends: (open, close, day's open, day's close) of each part, UTC ns."""
    parts = []
    at = window.open_ns
    while at < window.close_ns:
        day_open, day_close = day_at(group, at)
        until = min(day_close, window.close_ns)
        parts.append((at, until, day_open, day_close))
        at = until
    return parts
