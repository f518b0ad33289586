"""The market of the comparison: some instruments × 50,000 session minutes, the same in every run.

Prices lie on a grid of quarters, so that every engine holds them exactly and no engine's rounding decides a trade. The
last minute of a session closes in the middle of its range: ours refuses entries at the close, the others know no
sessions. Some minutes have no range at all, and the open is rarely the last close.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from research.history.history import session_windows
from rooney.market.instruments import group_of
from rooney.market.sessions import MINUTE_NS

ROOTS = ("ES", "NQ", "RTY", "YM")
MINUTES = 50_000
FIRST_NS = int(datetime(2024, 1, 7, tzinfo=UTC).timestamp()) * 1_000_000_000
_LONG_ENOUGH_NS = 120 * 24 * 3_600 * 1_000_000_000

Market = dict[str, NDArray[np.float64] | NDArray[np.int64]]


def market(minutes: int = MINUTES) -> Market:
    """ts_open: int64[minute], UTC ns; open, high, low, close: float64[minute, instrument] in points, by ROOTS."""
    windows = session_windows(group_of(ROOTS[0]), FIRST_NS, FIRST_NS + _LONG_ENOUGH_NS)
    spans = [np.arange(a, b, MINUTE_NS) for a, b in zip(windows.open_ns, windows.close_ns, strict=True)]
    is_last = np.concatenate([np.arange(len(span)) == len(span) - 1 for span in spans])[:minutes]
    ts_open = np.concatenate(spans)[:minutes]
    random = np.random.default_rng(20_240_107)
    shape = (minutes, len(ROOTS))
    steps = random.integers(-6, 7, shape)
    close = 80_000 + np.cumsum(steps, axis=0)
    open_ = close - steps + random.integers(-1, 2, shape)
    high = np.maximum(open_, close) + random.integers(0, 4, shape)
    low = np.minimum(open_, close) - random.integers(0, 4, shape)
    high[is_last], low[is_last] = close[is_last] + 8, close[is_last] - 8
    prices = {"open": open_, "high": high, "low": low, "close": close}
    return {"ts_open": ts_open} | {name: values / 4.0 for name, values in prices.items()}


def write(bars: Market, folder: Path) -> tuple[Path, Path]:
    """The same bars as arrays for the other engines and as Parquet for ours."""
    arrays, parquet = folder / "bars.npz", folder / "bars.parquet"
    np.savez(arrays, **bars)  # type: ignore[arg-type]
    names = ("open", "high", "low", "close")
    frames = [
        pl.DataFrame({"ts_open": bars["ts_open"], "root": [root] * len(bars["ts_open"])}).with_columns(
            pl.col("ts_open").cast(pl.Datetime("ns", "UTC")),
            *(pl.Series(name, np.ascontiguousarray(bars[name][:, i])) for name in names),
            pl.lit(1).alias("volume"),
        )
        for i, root in enumerate(ROOTS)
    ]
    pl.concat(frames).sort("ts_open", maintain_order=True).write_parquet(parquet)
    return arrays, parquet
