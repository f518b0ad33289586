"""Runs to compare: trades, folders of backtests, databases of the old system."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from rooney.market.sessions import MINUTE_NS
from rooney.orders.decisions import Trade
from tests.support.command_line import Bench
from tests.support.minutes import START


def trade(at: int, price: float = 100.0, gain: float = 1.0, **more: Any) -> Trade:
    """One contract of ES, long for two minutes, from minute `at` of the run on."""
    entry_ts = START + at * MINUTE_NS
    usual: dict[str, Any] = {
        "symbol": "ES",
        "contract": "ESM6",
        "side": 1,
        "quantity": 1,
        "cause": "rule",
        "costs_usd": 2.5,
        "bars_held": 2,
    }
    given_ = usual | more
    pnl = 50.0 * given_["quantity"] * gain - given_["costs_usd"]
    known = {
        "entry_ts": entry_ts,
        "entry_price": price,
        "exit_ts": entry_ts + 2 * MINUTE_NS,
        "exit_price": price + gain,
        "pnl_usd": pnl,
    }
    return Trade(**(known | given_))


def backtest_of(bench: Bench, trades: Sequence[Trade], folder: Path, **summary: Any) -> Path:
    """A backtest's folder with these trades."""
    folder.mkdir()
    times = ("entry_ts", "exit_ts")
    rows = [msgspec.structs.asdict(one) for one in trades]
    frame = pl.DataFrame(rows, schema_overrides={"score": pl.Float64}, infer_schema_length=None)
    frame = frame.rename({"cause": "exit_reason", "score": "ml_score"})
    frame.with_columns(pl.col(name).cast(pl.Datetime("ns", "UTC")) for name in times).write_parquet(
        folder / "trades.parquet"
    )
    span = [datetime.fromtimestamp((START + k * MINUTE_NS) / 1e9, UTC).isoformat() for k in (0, 600)]
    fills = {"entry": "next minute's open", "stop_fill": "close", "slippage_ticks": {"ES": 1.0}}
    known = {"fills": fills, "span": span, "instruments": ["ES", "NQ"], "data_sha256": "0", "timeframe": "1min"}
    (folder / "summary.json").write_text(json.dumps(known | summary))
    return folder


def old_database(path: Path, rows: Sequence[tuple[Any, ...]]) -> Path:
    """The old system's database. rows: entry, exit and writing time of each trade."""
    with sqlite3.connect(path) as db:
        db.execute(
            "CREATE TABLE trades (id INTEGER PRIMARY KEY, symbol TEXT, side TEXT, entry_time TEXT, entry_price REAL,"
            " entry_size REAL, exit_time TEXT, exit_price REAL, exit_size REAL, pnl REAL, pnl_percent REAL,"
            " exit_reason TEXT, ml_score REAL, ibs_entry REAL, ibs_exit REAL, created_at TEXT,"
            " UNIQUE(symbol, entry_time, exit_time))"
        )
        db.executemany(
            "INSERT INTO trades (symbol, side, entry_time, entry_price, entry_size, exit_time, exit_price, exit_size,"
            " pnl, exit_reason, created_at) VALUES ('ES', 'long', ?, 100.0, 1, ?, 101.0, 1, 47.5, 'IBS exit', ?)",
            rows,
        )
    db.close()
    return path
