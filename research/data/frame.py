"""The columns that a table of bars has on its way into the store."""

import polars as pl

from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.market.timeframes import TIMEFRAMES

PRICES = ("open", "high", "low", "close")
KEY = ("root", "timeframe", "ts_open", "contract")
LENGTH_NS = {"1min": MINUTE_NS, "hourly": HOUR_NS}  # a day has no fixed length
UTC_NS = pl.Datetime("ns", "UTC")

# What the store holds, in this order. contract: with four digits of the year (ESZ2025), since one digit names another
# contract ten years later; "" for a series that names none.
STORED: dict[str, pl.DataType | type[pl.DataType]] = {
    "ts_open": UTC_NS,
    "root": pl.String,
    "contract": pl.String,
    "timeframe": pl.String,
    **dict.fromkeys(PRICES, pl.Float64),
    "volume": pl.Int64,
}
# What a source gives: the same and the row it came from, counted from 1; nothing checked, anything may be null.
READ: dict[str, pl.DataType | type[pl.DataType]] = {"row": pl.Int64, **STORED, "volume": pl.Float64}

assert set(LENGTH_NS) < set(TIMEFRAMES)
