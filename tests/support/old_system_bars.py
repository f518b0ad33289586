"""The old system's bars, and features worked out on them as its clock had it: a stamp is the start of a bar, naive."""

from functools import cache

import numpy as np
import polars as pl
import pytest

from rooney.features import KERNELS, PAIRS, Feature
from rooney.features.arrays import over_bars, over_series, over_times, over_two
from rooney.kernels.array_types import F64, I64
from tests.support.paths import RECORDED_RUNS

PARITY = RECORDED_RUNS
needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason=f"the old system's numbers are not at {PARITY}")

TRADED = ("6A", "6E", "GC", "SI")
FILES = {"hourly": "bars_hourly", "daily": "bars_daily", "daily_ahead": "bars_daily"}


@cache
def bars(symbol: str, timeframe: str) -> pl.DataFrame:
    return pl.read_parquet(PARITY / f"{FILES[timeframe]}.parquet").filter(pl.col("symbol") == symbol).sort("datetime")


@cache
def stamps(symbol: str, timeframe: str) -> I64:
    return bars(symbol, timeframe)["datetime"].dt.timestamp("ns").to_numpy()


def newest(symbol: str, timeframe: str, at: I64) -> I64:
    """Number of the bar whose value is read at each stamp, -1 for none; a day is read once the next has begun."""
    return np.searchsorted(stamps(symbol, timeframe), at, side="right") - (2 if timeframe == "daily" else 1)


def read(feature: Feature, symbol: str, at: I64) -> F64:
    """Its value for `symbol` at each stamp."""
    root = PAIRS[symbol] if feature.symbol == "pair" else feature.symbol or symbol
    index = newest(root, feature.timeframe, at)
    return np.where(index >= 0, values(feature, root)[np.maximum(index, 0)], np.nan)


@cache
def values(feature: Feature, root: str) -> F64:
    """Its value after each bar of its timeframe, on the instrument it is worked out on."""
    kernel, n = KERNELS[feature.kernel], feature.length
    at = stamps(root, feature.timeframe)
    if kernel.inputs == "time":
        return over_times(kernel.name, n, at)
    if kernel.inputs == "bar":
        frame = bars(root, feature.timeframe)
        return over_bars(
            kernel.name, n, [frame[c].cast(float).to_numpy() for c in ("open", "high", "low", "close", "volume")]
        )
    # An input is what is known when this bar is: a day that ends with it is not read before the next begins.
    inputs = [
        values(of, root) if not of.symbol and of.timeframe == feature.timeframe else read(of, root, at)
        for of in feature.of
    ]
    return over_series(kernel.name, n, inputs[0]) if kernel.inputs == "series" else over_two(kernel.name, n, *inputs)
