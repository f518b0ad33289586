"""Outcome of a backtest: trades, equity, summary and the files they are written to."""

from typing import Any

import msgspec
import polars as pl


class Result(msgspec.Struct, frozen=True):
    """Run of a backtest. trades and equity as written to disk; daily: equity at the end of each trade date.

    digest: one number for every decision of the run, 16 hex digits
    """

    strategy: str
    trades: pl.DataFrame
    equity: pl.DataFrame
    daily: pl.DataFrame
    measures: dict[str, Any]
    digest: str
    bars: int
    marks: int
    decisions: int
    load_s: float
    engine_s: float
