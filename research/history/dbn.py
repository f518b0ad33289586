"""DBN files → Parquet in a temporary folder, batch after batch, so that everything behind reads one format.

Schemas ohlcv-1m, ohlcv-1h and ohlcv-1d, and trades, which are folded into minutes by `ts_recv` as the hub does it (by
`ts_event` where a record has no `ts_recv`). Records carry numbers; the file's own symbology says which raw symbol each
was on its day. What is no outright (spreads, combos) is left out by whoever reads the Parquet file.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from research.history.sessions import DAY_NS
from rooney.errors import ConfigError
from rooney.kernels.array_types import F64, I64
from rooney.market.bars import MAX_SIZE, PRICE_SCALE, UNDEF_PRICE
from rooney.market.sessions import MINUTE_NS

_TIMEFRAMES = {"ohlcv-1m": "1min", "ohlcv-1h": "hourly", "ohlcv-1d": "daily"}
_RECORDS = 1 << 18
_READ_BYTES = 1 << 20
_UNDEFINED_TS = (1 << 64) - 1


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Whatever is wrong with a DBN file as a ConfigError; one that ends too early, of which the client only warns."""
    import databento
    from databento_dbn import DBNError

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", ".*truncated", databento.common.error.BentoWarning)
            _check_end(file)
            yield
    except (
        OSError,
        ValueError,
        RuntimeError,
        DBNError,
        databento.BentoError,
        databento.common.error.BentoWarning,
    ) as error:
        raise ConfigError(f"{file}: not a readable DBN file: {error}; nothing of it was taken") from error


def _check_end(file: Path) -> None:
    """Raises ValueError where the compressed file was cut off: cut between two records, it would look whole."""
    import zstandard  # comes with databento

    with file.open("rb") as stream:
        if stream.read(4) != zstandard.FRAME_HEADER:
            return
        stream.seek(0)
        frame = None
        while data := stream.read(_READ_BYTES):
            while data:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                frame.decompress(data)
                data, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
        if frame is not None:
            raise ValueError(f"it is cut off after {stream.tell()} bytes")


def points(prices_e9: I64) -> F64:
    """Prices in 1e-9 → points, NaN where Databento gives none.

    By numpy's true division, as the hub's: polars multiplies by the inverse of a constant, and 3702.75 then ends in 05.
    """
    return np.where(prices_e9 == UNDEF_PRICE, np.nan, prices_e9 / PRICE_SCALE)


def unpack(file: Path, folder: Path) -> Path:
    """Bars of a DBN file as Parquet. Raises ConfigError for a file without bars and trades, or one that is torn."""
    with readable(file):
        return _unpack(file, folder)


def _unpack(file: Path, folder: Path) -> Path:
    import databento
    from databento.common.symbology import InstrumentMap

    store = databento.DBNStore.from_file(file)
    schema = str(store.schema)
    if schema not in _TIMEFRAMES and schema != "trades":
        known = ", ".join([*_TIMEFRAMES, "trades"])
        raise ConfigError(f"{file}: schema {store.schema}: a backtest reads {known}")
    names = InstrumentMap()
    names.insert_metadata(store.metadata)
    out = folder / f"{file.name}.parquet"
    frames = _minutes(store, names) if schema == "trades" else _bars(store, names, _TIMEFRAMES[schema])
    writer = None
    try:
        for frame in frames:
            table = frame.to_arrow()
            writer = writer or pq.ParquetWriter(out, table.schema, compression="lz4")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise ConfigError(f"{file}: no records in it; take it out of the folder")
    return out


def _named(records: Any, stamps: Any, names: Any) -> pl.DataFrame:
    """ts_open and raw symbol of records; "" where the file does not say what a number meant."""
    key = pl.DataFrame({"id": records["instrument_id"].astype(np.int64), "day": stamps // DAY_NS})
    found = key.unique().with_columns(
        pl.struct("id", "day")
        .map_elements(lambda row: names.resolve(row["id"], _day(row["day"])) or "", return_dtype=pl.String)
        .alias("symbol")
    )
    return key.join(found, on=["id", "day"], how="left", maintain_order="left").select("symbol")


def _day(number: int) -> date:
    return datetime.fromtimestamp(number * 86_400, UTC).date()


def _bars(store: Any, names: Any, timeframe: str) -> Iterator[pl.DataFrame]:
    for records in store.to_ndarray(count=_RECORDS):
        stamps = records["ts_event"].astype(np.int64)
        prices = {name: pl.Series(points(records[name])) for name in ("open", "high", "low", "close")}
        frame = _named(records, stamps, names).with_columns(
            pl.Series("ts_open", stamps),
            pl.lit(timeframe).alias("timeframe"),
            **prices,
            volume=pl.Series(records["volume"].astype(np.int64)),
        )
        yield _finished(frame)


def _minutes(store: Any, names: Any) -> Iterator[pl.DataFrame]:
    """Minutes of trades; the last one of each batch waits for the rest of it."""
    waiting: pl.DataFrame | None = None
    for records in store.to_ndarray(count=_RECORDS):
        received = records["ts_recv"].astype(np.uint64)
        stamps = np.where(received == _UNDEFINED_TS, records["ts_event"].astype(np.uint64), received).astype(np.int64)
        trades = _named(records, stamps, names).with_columns(
            pl.Series("ts_open", stamps // MINUTE_NS * MINUTE_NS),
            pl.Series("price", points(records["price"])),
            pl.Series("size", records["size"].astype(np.int64)),
        )
        trades = trades.filter(pl.col("price").is_not_nan() & (pl.col("size") < MAX_SIZE))  # as the hub does
        if waiting is not None:
            trades = pl.concat([waiting, trades])
        newest = pl.col("ts_open") == pl.col("ts_open").max()
        waiting = trades.filter(newest)
        yield _folded(trades.filter(~newest))
    if waiting is not None:
        yield _folded(waiting)


def _folded(trades: pl.DataFrame) -> pl.DataFrame:
    price = pl.col("price")
    frame = trades.group_by("ts_open", "symbol", maintain_order=True).agg(
        price.first().alias("open"),
        price.max().alias("high"),
        price.min().alias("low"),
        price.last().alias("close"),
        pl.col("size").sum().alias("volume"),
        pl.lit("1min").first().alias("timeframe"),
    )
    return _finished(frame)


def _finished(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        pl.col("ts_open").cast(pl.Datetime("ns", "UTC")),
        pl.col("symbol").alias("contract"),
        "timeframe",
        "open",
        "high",
        "low",
        "close",
        "volume",
    )
