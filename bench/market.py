"""Years of one-minute bars on disk: what `bench_engine` reads and `bench.peers` compares on.

The same on every machine and in every run: a random walk in ticks per root, one bar for every session minute, one file
per root, contracts as the exchange names them. In the five sessions before a roll the next contract trades too, with a
growing share of the volume, so that choosing the front one is part of what is measured. Files are marked
as judged, as a store's are.
"""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from research.history.columns import CHECKED
from research.history.history import session_windows
from rooney.market.instruments import MONTH_CODES, PRODUCTS, Contract, deadline, group_of
from rooney.market.rolls import STOP_DAYS
from rooney.market.sessions import MINUTE_NS

FIRST_YEAR = 2015
_ROLL_DAYS = 5  # calendar days in which two contracts trade


def write_history(folder: Path, roots: tuple[str, ...], years: int) -> int:
    """One Parquet file per root in `folder`; returns how many bars were written. Files that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for root in roots:
        path = folder / f"{root}_{years}y.parquet"
        if not path.exists():
            _bars(root, years).write_parquet(
                path, compression="zstd", compression_level=1, metadata={CHECKED.decode(): "1"}
            )
        written += pl.scan_parquet(path).select(pl.len()).collect().item()
    return written


def _bars(root: str, years: int) -> pl.DataFrame:
    """All bars of a root, by time and then contract."""
    start, end = (_ns(date(FIRST_YEAR + n, 1, 1)) for n in (0, years))
    windows = session_windows(group_of(root), start, end)
    opens = np.concatenate([np.arange(a, b, MINUTE_NS) for a, b in zip(windows.open_ns, windows.close_ns, strict=True)])
    random = np.random.default_rng(sum(root.encode()) * 1_000 + years)
    steps = random.integers(-6, 7, len(opens))
    close = 40_000 + np.cumsum(steps)
    before = close - steps
    high = np.maximum(before, close) + random.integers(0, 4, len(opens))
    low = np.minimum(before, close) - random.integers(0, 4, len(opens))
    volume = random.integers(1, 2_000, len(opens))
    parts, at = [], 0
    for contract, until_ns in _fronts(root, start, end):
        # A contract trades from a few days before its predecessor is left.
        first = int(np.searchsorted(opens, opens[at] - _ROLL_DAYS * 24 * 60 * MINUTE_NS)) if at else 0
        past = int(np.searchsorted(opens, until_ns))
        traded = slice(first, past)
        share = np.clip((opens[traded] - opens[at]) / (_ROLL_DAYS * 24 * 60 * MINUTE_NS) + 1.0, 0.0, 1.0) if at else 1.0
        parts.append(_frame(root, contract, opens[traded], before, close, high, low, volume, traded, share))
        at = past
        if at >= len(opens):
            break
    return pl.concat(parts).sort("ts_open", "contract", maintain_order=True)


def _frame(
    root: str,
    contract: Contract,
    opens: Any,
    open_: Any,
    close: Any,
    high: Any,
    low: Any,
    volume: Any,
    at: slice,
    share: Any,
) -> pl.DataFrame:
    tick_e9 = round(PRODUCTS[root].tick_size * 1e9)
    offset = contract.number % 100  # contracts differ in price
    prices = {
        name: (values[at] + offset) * tick_e9 / 1e9
        for name, values in (("open", open_), ("high", high), ("low", low), ("close", close))
    }
    frame = pl.DataFrame({"ts_open": opens, **prices, "volume": (volume[at] * share).astype(np.int64) + 1})
    return frame.with_columns(
        pl.lit(root).alias("root"),
        pl.lit(contract.raw).alias("contract"),
        pl.col("ts_open").cast(pl.Datetime("ns", "UTC")),
    ).select("ts_open", "root", "contract", "open", "high", "low", "close", "volume")


def _fronts(root: str, start_ns: int, end_ns: int) -> list[tuple[Contract, int]]:
    """Contracts in order, each with the time it is left."""
    months = sorted(MONTH_CODES.index(code) + 1 for code in PRODUCTS[root].months)
    found = []
    year = datetime.fromtimestamp(start_ns / 1e9, UTC).year
    while True:
        for month in months:
            contract = Contract(root, year, month)
            left = _ns(deadline(contract) - timedelta(days=STOP_DAYS + 1))
            if left > start_ns:
                found.append((contract, left))
            if left > end_ns:
                return found
        year += 1


def _ns(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000_000
