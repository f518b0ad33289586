"""DBN files → Parquet in a temporary folder, batch after batch, so that everything behind reads one format.

Schemas ohlcv-1m, ohlcv-1h and ohlcv-1d, and trades, which the hub's own fold makes into minutes, by `ts_recv` (by
`ts_event` where a record has none that can be trusted). Records carry numbers; the file's own symbology says which raw
symbol each was on its day. What is no outright (spreads, combos) is left out by whoever reads the Parquet file.
"""

import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from research.history.findings import Findings
from research.history.series_names import contract_of
from research.history.sessions import DAY_NS, EPOCH
from rooney.errors import ConfigError
from rooney.kernels.array_types import F64, I64
from rooney.market.bars import PRICE_SCALE, UNDEF_PRICE, ClosedMinute, MinuteBuilder
from rooney.market.sessions import MINUTE_NS

TIMEFRAMES = {"ohlcv-1m": "1min", "ohlcv-1h": "hourly", "ohlcv-1d": "daily", "trades": "1min"}
_RECORDS = 1 << 18
_READ_BYTES = 1 << 20
_UNDEFINED_TS = (1 << 64) - 1
_BAD_TS_RECV = 8  # a flag: the time of arrival is not to be trusted
_CLOSE_AFTER_NS = 50_000_000  # `data_hub.close_after_ms`
_DROPPED = {  # what the hub counts → kind of finding
    "late": "late",
    "replayed": "late",
    "bad_clock": "bad_clock",
    "absurd_price": "absurd_price",
    "spread": "not_outright",
}


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


def unpack(file: Path, folder: Path, told: Findings) -> Path | None:
    """Bars of a DBN file as Parquet; None where it has no records. Raises as `frames`."""
    out, writer = folder / f"{file.name}.parquet", None
    try:
        for frame in frames(file, told):
            table = frame.to_arrow()
            writer = writer or pq.ParquetWriter(out, table.schema, compression="lz4")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    return out if writer is not None else None


def frames(file: Path, told: Findings, but: str = "") -> Iterator[pl.DataFrame]:
    """Bars of a DBN file: ts_open, contract, timeframe, prices, volume.

    told: gets what was left out; but: a schema that is not taken
    Raises ConfigError for a file without bars and trades, of which a number means nothing, or that is torn.
    """
    import databento
    from databento.common.symbology import InstrumentMap

    with readable(file):
        store = databento.DBNStore.from_file(file)
        schema = str(store.schema) if store.schema is not None else "mixed"
        taken = [name for name in TIMEFRAMES if name != but]
        if schema not in taken:
            what = "bars per UTC day, which cut a session in two" if schema == but else "no bars"
            raise ConfigError(f"{file}: schema {schema}: {what}; taken are {', '.join(taken)}; nothing of it was taken")
        names = InstrumentMap()
        names.insert_metadata(store.metadata)
        parts = store.to_ndarray(count=_RECORDS)
        bars = (_bars(file, records, names, TIMEFRAMES[schema]) for records in parts)
        yield from _minutes(file, store.metadata.start, parts, names, told) if schema == "trades" else bars


def _named(file: Path, ids: I64, stamps: I64, names: Any) -> pl.DataFrame:
    """`symbol` of each record, `id` and `day`: a number may mean another contract on another day."""
    key = pl.DataFrame({"id": ids.astype(np.int64), "day": stamps // DAY_NS})
    pairs = key.unique(maintain_order=True)
    symbols = []
    for number, day in pairs.iter_rows():
        symbols.append(names.resolve(number, EPOCH + timedelta(days=day)))
        if symbols[-1] is None:
            raise ConfigError(
                f"{file}: nothing in it says which contract instrument {number} was on {EPOCH + timedelta(days=day)}; "
                "nothing of it was taken"
            )
    named = pairs.with_columns(pl.Series("symbol", symbols, pl.String))
    return key.join(named, on=["id", "day"], how="left", maintain_order="left")


def _bars(file: Path, records: Any, names: Any, timeframe: str) -> pl.DataFrame:
    stamps = records["ts_event"].astype(np.int64)
    prices = {name: points(records[name]) for name in ("open", "high", "low", "close")}
    frame = _named(file, records["instrument_id"], stamps, names).with_columns(
        pl.Series("ts_open", stamps),
        **{name: pl.Series(values) for name, values in prices.items()},
        volume=pl.Series(records["volume"].astype(np.int64)),
    )
    return _finished(frame, timeframe)


def _minutes(file: Path, start_ns: int, parts: Iterable[Any], names: Any, told: Findings) -> Iterator[pl.DataFrame]:
    """Minutes of trades, by the hub's own fold; what it drops is told."""
    closed: list[ClosedMinute] = []
    builder, last_ns = None, 0
    for records in parts:
        is_bad = (records["ts_recv"] == _UNDEFINED_TS) | (records["flags"] & _BAD_TS_RECV > 0)
        stamps = np.where(is_bad, records["ts_event"], records["ts_recv"]).astype(np.int64)
        if builder is None:
            first_ns = (start_ns or int(stamps[0])) // MINUTE_NS * MINUTE_NS
            builder = MinuteBuilder([], first_ns, _CLOSE_AFTER_NS, closed.append, time.time_ns)
        last_ns = max(last_ns, int(stamps.max()))
        symbols = _named(file, records["instrument_id"], stamps, names)
        meant: dict[int, tuple[str, int]] = {}
        columns = (stamps, records["price"], records["size"])
        for number, day, symbol, *trade in zip(
            *(symbols[name].to_list() for name in ("id", "day", "symbol")), *(c.tolist() for c in columns), strict=True
        ):
            if meant.get(number) != (symbol, day):
                meant[number] = symbol, day
                builder.map(number, contract_of(symbol, "", EPOCH + timedelta(days=day)))
            builder.on_trade(number, *trade)
        yield _taken(closed)
    if builder is not None:
        builder.complete_until(min(last_ns, time.time_ns()) // MINUTE_NS * MINUTE_NS + MINUTE_NS)
        yield _taken(closed)
        for count, kind in _DROPPED.items():
            told.add(kind, builder.counts[count])


def _taken(closed: list[ClosedMinute]) -> pl.DataFrame:
    """Bars of the minutes closed until now, which are taken from the list."""
    rows = []
    for minute in closed:
        for one in minute.contracts:
            bar = one.bar(minute.ts_close - MINUTE_NS, 0, 0)
            rows.append((bar.ts_open, one.contract.ticker, bar.open, bar.high, bar.low, bar.close, bar.volume))
    closed.clear()
    names = ("ts_open", "symbol", "open", "high", "low", "close", "volume")
    kinds = (pl.Int64, pl.String, *[pl.Float64] * 4, pl.Int64)
    return _finished(pl.DataFrame(rows, dict(zip(names, kinds, strict=True)), orient="row"), "1min")


def _finished(frame: pl.DataFrame, timeframe: str) -> pl.DataFrame:
    return frame.select(
        pl.col("ts_open").cast(pl.Datetime("ns", "UTC")),
        pl.col("symbol").alias("contract"),
        pl.lit(timeframe).alias("timeframe"),
        *("open", "high", "low", "close", "volume"),
    )
