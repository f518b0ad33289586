"""Timeframes of bars: their names, in the order in which bars close within a minute, and how long a bar can be."""

from rooney.market.sessions import HOUR_NS, MINUTE_NS

TIMEFRAMES = ("1min", "hourly", "daily")
LONGEST_NS = {"1min": MINUTE_NS, "hourly": HOUR_NS, "daily": 96 * HOUR_NS}  # a trade date over a holiday: two days
