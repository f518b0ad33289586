"""Outcome of a backtest: trades, equity, summary and the files they are written to."""

from datetime import date
from typing import Any

import msgspec
import polars as pl

from rooney.format import price_text, size_text
from rooney.ledger.records import Held


def opened_text(summary: dict[str, Any]) -> str:
    """Positions of `summary.json` that are open at the end, in words."""
    return ", ".join(
        f"{size_text(one['side'], one['quantity'])} {one['contract']} at {price_text(one['entry_price'])}"
        for one in summary["open_positions"]
    )


class Result(msgspec.Struct, frozen=True):
    """Run of a backtest. trades and equity as written to disk.

    opened: positions open at the end; daily: equity at the end of each trade date; holes: trade dates without any bar,
    left out of it; digest: one number for every decision of the run, 16 hex digits
    """

    strategy: str
    trades: pl.DataFrame
    opened: tuple[Held, ...]
    equity: pl.DataFrame
    daily: pl.DataFrame
    holes: tuple[date, ...]
    measures: dict[str, Any]
    digest: str
    bars: int
    marks: int
    decisions: int
    load_s: float
    engine_s: float
