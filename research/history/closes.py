"""Files of hourly closes without open, high, low and volume: long series for research that needs no more.

Columns: `ts_event` or `ts_open`, `root`, `close`; if there, `contract` (yyyymm), `close_adj` (back-adjusted) and `kind`
(only rows `hour` are used). A close is known an hour after its stamp. Nothing is invented: open, high and low are the
close and the volume is 0, so an indicator that needs a range sees none.

The series rolls where its contract changes, whatever the market did. Prices of both contracts at that moment are only
known through `close_adj`: the change of its distance from `close` is what the new contract costs more than the old one.
Without it the difference is NaN and features keep the old contract's prices. A root that has `close_adj` alone is read
as one contract without rolls: differences of its prices are right, their level is not.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from research.history.columns import parquet_schema, scan
from research.history.findings import MAX_EXAMPLES, Example, Findings
from research.history.rolls import RollEvent
from rooney.errors import ConfigError
from rooney.format import iso
from rooney.kernels import dtypes
from rooney.kernels.array_types import Records
from rooney.market import sessions
from rooney.market.messages import PRICE_LIMIT, price_floor


def holds(file: Path) -> bool:
    """True for a file that has closes and nothing else of a bar."""
    names = set(parquet_schema(file).names)
    return "close" in names and not names & {"open", "high", "low"}


def read(
    file: Path, roots: Sequence[str], wanted: Sequence[str], span: tuple[int, int], told: Findings
) -> tuple[Records, list[RollEvent]]:
    """Hourly HISTORY records by root and time, and the rolls of the series.

    roots: in the order of the strategy's instruments; wanted: those to read; span: [start, end), UTC ns
    told:  gets prices that cannot be, which are left out
    """
    frame = scan(file)
    schema = frame.collect_schema()
    time = next((name for name in ("ts_open", "ts_event") if name in schema), None)
    kind = schema[time] if time else None
    if time is None or "root" not in schema or not (isinstance(kind, pl.Datetime) and kind.time_zone):
        raise ConfigError(
            f"{file}: closes need the columns ts_open (a time with a zone) and root, it has {', '.join(schema)}"
        )
    if "kind" in schema:
        frame = frame.filter(pl.col("kind") == "hour")
    close = pl.col("close").cast(pl.Float64).fill_nan(None)
    number = pl.col("contract").cast(pl.String).cast(pl.Int64, strict=False) if "contract" in schema else pl.lit(0)
    offset = pl.lit(None, pl.Float64)
    if "close_adj" in schema:
        adjusted = pl.col("close_adj").cast(pl.Float64).fill_nan(None)
        alone = close.is_null().all().over("root")
        offset = close - adjusted
        close, number = pl.when(alone).then(adjusted).otherwise(close), pl.when(alone).then(0).otherwise(number)
    rows = (
        frame.select(
            pl.col("root").cast(pl.String),
            pl.col(time).dt.convert_time_zone("UTC").dt.timestamp("ns").alias("ts_open"),
            close.alias("close"),
            number.fill_null(0).alias("contract"),
            offset.alias("offset"),
        )
        .filter(
            pl.col("root").is_in(list(wanted)),
            pl.col("close").is_not_null(),
            pl.col("ts_open") >= span[0],
            pl.col("ts_open") < span[1],
        )
        .sort("root", "ts_open")
        .collect()
    )
    floor = pl.col("root").replace_strict({root: price_floor(root) for root in wanted}, return_dtype=pl.Float64)
    wrong = ~((pl.col("close") > floor) & (pl.col("close") < PRICE_LIMIT))
    texts = [f"{root} {iso(ts)} {close}" for root, ts, close, *_ in rows.filter(wrong).head(MAX_EXAMPLES).iter_rows()]
    told.add("not_a_number", len(rows.filter(wrong)), [Example(None, text) for text in texts])
    rows = rows.filter(~wrong)
    records = np.zeros(len(rows), dtypes.HISTORY)
    records["instrument"] = [roots.index(root) for root in rows["root"].to_list()]
    for name in ("ts_open", "contract"):
        records[name] = rows[name].to_numpy()
    for name in ("open", "high", "low", "close"):
        records[name] = rows["close"].to_numpy()
    records["ts_close"] = records["ts_open"] + sessions.HOUR_NS
    records["timeframe"] = 1
    return records, _rolls(rows)


def _rolls(rows: pl.DataFrame) -> list[RollEvent]:
    """Rolls, where the contract of a root differs from the row before, at the mark of the first row of the new one."""
    before = rows.with_columns(pl.col("contract", "close", "offset").shift(1).over("root").name.prefix("old_"))
    changed = before.filter(pl.col("contract") != pl.col("old_contract"))
    found: list[RollEvent] = []
    row: dict[str, Any]
    for row in changed.iter_rows(named=True):
        dearer = np.nan if row["offset"] is None or row["old_offset"] is None else row["offset"] - row["old_offset"]
        ts = row["ts_open"] + sessions.HOUR_NS
        found.append(RollEvent(ts, row["root"], row["contract"], row["old_close"], row["old_close"] + dearer))
    return found
