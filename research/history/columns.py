"""Files of bars → batches of columns, without a string per row: names stay dictionary codes from the file to the scan.

A `Series` is what a bar belongs to: timeframe, root and raw contract symbol; a `Registry` numbers them over all files.
"""

import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from research.history import kernels as runs
from rooney.errors import ConfigError
from rooney.kernels.array_types import F64, I64
from rooney.market.instruments import Contract, parse_contract, parse_ticker

MINUTES, HOURS, DAYS = 0, 1, 2
TIMEFRAMES = {"1min": MINUTES, "1m": MINUTES, "hourly": HOURS, "1h": HOURS, "daily": DAYS, "1d": DAYS}
PRICES = ("open", "high", "low", "close", "volume")
WARM_UP_UNTIL = b"warm_up_until_ns"  # key in a file's own metadata; the demo writes it
BATCH_ROWS = 1 << 15  # small enough that its columns stay in the cache until they are placed
_MONTH = re.compile(r"^(\d{4})(0[1-9]|1[0-2])$")
_ANY_DAY = date(2000, 1, 1)  # a root does not depend on the year a one-digit year means


class Series(msgspec.Struct, frozen=True):
    """Bars of one timeframe of one root and contract symbol ("" for a series without contracts)."""

    timeframe: int
    root: str
    raw: str


class Registry:
    """Numbers for series, the same in all files and threads."""

    def __init__(self) -> None:
        self.series: list[Series] = []
        self._numbers: dict[Series, int] = {}
        self._lock = threading.Lock()

    def number(self, series: Series) -> int:
        with self._lock:
            if series not in self._numbers:
                self._numbers[series] = len(self.series)
                self.series.append(series)
            return self._numbers[series]


class Batch(msgspec.Struct, frozen=True):
    """Some rows of a file, in its order.

    ts:        int64[row], UTC ns
    keys:      int32[row]; series_of: int32[key], the series' number or -1
    prices:    float64[row] by column name, those that were asked for; NaN for null
    """

    ts: I64
    keys: NDArray[np.int32]
    series_of: NDArray[np.int32]
    prices: dict[str, F64]


class Source:
    """A Parquet file of bars. Rows are counted over the row groups that reach into the span asked for.

    span: [start, end), UTC ns
    Raises ConfigError if the file holds no bars.
    """

    def __init__(self, file: Path, roots: Sequence[str], registry: Registry, span: tuple[int, int]) -> None:
        self.file = file
        self._roots = frozenset(roots)
        self._registry = registry
        schema, metadata = parquet_schema(file), pq.read_metadata(file)
        have = set(schema.names)
        self.time_column = next((name for name in ("ts_open", "ts_event") if name in have), "")
        named = have & {"root", "symbol", "contract"}
        if not self.time_column or not named or not have.issuperset(PRICES):
            needed = ", ".join(("ts_open", "root or symbol or contract", *PRICES))
            raise ConfigError(f"{file}: no bars: it needs the columns {needed} and has {', '.join(schema.names)}")
        kind = schema.field(self.time_column).type
        if not (pa.types.is_timestamp(kind) and kind.tz) and kind != pa.int64():
            raise ConfigError(
                f"{file}: {self.time_column} is {kind}: it needs UTC ns or a time with a zone, so that no hour is "
                "guessed"
            )
        self._names = [name for name in ("root", "symbol", "contract", "timeframe") if name in have]
        if {"root", "contract"} <= named:
            self._names.remove("symbol") if "symbol" in named else None
        texts = [name for name in self._names if not pa.types.is_dictionary(schema.field(name).type)]
        self._texts = [name for name in texts if _is_text(schema.field(name).type)]
        said = (schema.metadata or {}).get(WARM_UP_UNTIL, b"")
        self.warm_up_until_ns = int(said) if said.isdigit() else 0
        self.groups = [g for g in range(metadata.num_row_groups) if self._reaches(metadata, g, *span)]
        self.group_rows = [metadata.row_group(g).num_rows for g in self.groups]

    @property
    def has_coarse(self) -> bool:
        """True if it may hold hourly or daily bars: it says a timeframe."""
        return "timeframe" in self._names

    def sorted_copy(self, folder: Path, span: tuple[int, int]) -> "Source":
        """The same bars ordered by time, in a file of its own in `folder`."""
        copy = Path(tempfile.mkdtemp(dir=folder)) / self.file.name
        scan(self.file).sort(self.time_column, maintain_order=True).sink_parquet(copy)
        return Source(copy, sorted(self._roots), self._registry, span)

    def batches(self, columns: Sequence[str], first_row: int = 0, groups: range | None = None) -> Iterator[Batch]:
        """Batches from `first_row` on, or all of some of `self.groups`, with the price columns asked for."""
        skip = first_row
        if groups is None:
            at = 0
            while at < len(self.groups) and skip >= self.group_rows[at]:
                skip -= self.group_rows[at]
                at += 1
            groups = range(at, len(self.groups))
        if not len(groups):
            return
        with pq.ParquetFile(self.file, read_dictionary=self._texts) as file:
            chosen = [self.groups[g] for g in groups]
            wanted = [self.time_column, *self._names, *columns]
            for part in file.iter_batches(BATCH_ROWS, chosen, wanted, use_threads=False):
                if skip >= len(part):
                    skip -= len(part)
                    continue
                yield self._batch(part.slice(skip), columns)
                skip = 0

    def _reaches(self, metadata: Any, group: int, start_ns: int, end_ns: int) -> bool:
        """True for a row group that may hold rows in the span; one without statistics may."""
        rows = metadata.row_group(group)
        columns = (rows.column(i) for i in range(rows.num_columns))
        column = next(column for column in columns if column.path_in_schema == self.time_column)
        statistics = column.statistics
        if statistics is None or not statistics.has_min_max:
            return True
        low, high = (_ns(value) for value in (statistics.min, statistics.max))
        return high >= start_ns and low < end_ns

    def _batch(self, part: Any, columns: Sequence[str]) -> Batch:
        stamps = part.column(self.time_column)
        if stamps.null_count:
            raise ConfigError(f"{self.file}: {stamps.null_count} rows without a {self.time_column}: nothing is guessed")
        if pa.types.is_timestamp(stamps.type):
            stamps = stamps.cast(pa.timestamp("ns", stamps.type.tz)).cast(pa.int64())
        keys = np.zeros(len(part), np.int32)
        names: list[list[str]] = []
        for name in self._names:
            column = part.column(name)
            if not pa.types.is_dictionary(column.type):
                column = column.cast(pa.string()).dictionary_encode()
            values = ["" if value is None else str(value) for value in column.dictionary.to_pylist()] + [""]
            codes = column.indices.cast(pa.int32())
            if codes.null_count:
                codes = pc.fill_null(codes, len(values) - 1)
            runs.combine(keys, codes.to_numpy(), len(values))
            names.append(values)
        present = np.zeros(int(np.prod([len(values) for values in names])), np.bool_)
        runs.mark_present(keys, present)
        series_of = np.full(len(present), -1, np.int32)
        for key in np.flatnonzero(present).tolist():
            found, rest = {}, key
            for name, values in zip(reversed(self._names), reversed(names), strict=True):
                rest, code = divmod(rest, len(values))
                found[name] = values[code]
            series = self._series(found)
            if series is not None:
                series_of[key] = self._registry.number(series)
        prices = {}
        for name in columns:
            values = part.column(name)
            if values.type != pa.float64():
                values = values.cast(pa.float64())
            prices[name] = values.to_numpy(zero_copy_only=False)
        return Batch(stamps.to_numpy(), keys, series_of, prices)

    def _series(self, found: dict[str, str]) -> Series | None:
        """Series that the names of a row mean; None for roots that were not asked for, and for spreads."""
        timeframe = found.get("timeframe") or "1min"
        if timeframe not in TIMEFRAMES:
            raise ConfigError(f"{self.file}: timeframe {timeframe!r} is none of {', '.join(TIMEFRAMES)}")
        symbol = found.get("symbol", "")
        is_root = symbol in self._roots
        raw = found.get("contract", "" if is_root else symbol)
        outright = contract_of(raw, found.get("root", ""), _ANY_DAY)
        root = found.get("root", symbol if is_root else outright.root if outright is not None else "")
        raw = "" if raw == root else raw
        is_outright = not raw or (outright is not None and outright.root == root)
        return Series(TIMEFRAMES[timeframe], root, raw) if root in self._roots and is_outright else None


def parquet_schema(file: Path) -> Any:
    """The columns of a Parquet file. Raises ConfigError for any other file."""
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{file}: cannot be read as Parquet: {error}") from error


def scan(file: Path) -> pl.LazyFrame:
    """A Parquet file for polars, which knows zones by their names: an offset (+05:30) would end the process.

    Raises ConfigError for such a one, and for a file that is no Parquet.
    """
    for field in parquet_schema(file):
        zone = field.type.tz if pa.types.is_timestamp(field.type) else None
        if zone and zone[0] in "+-" and zone != "+00:00":
            raise ConfigError(f"{file}: {field.name} is in the zone {zone}: write it in UTC; nothing was read")
    return pl.scan_parquet(file)


def contract_of(raw: str, root: str, day: date) -> Contract | None:
    """The contract a name means on `day`: ESZ5, ESZ25, ESZ2025, or the 202512 of a known root; None for a spread."""
    if match := _MONTH.match(raw):
        return Contract(root, int(match[1]), int(match[2]))
    # Only month and year matter, and fewer questions are remembered.
    return parse_ticker(raw) or parse_contract(raw, day.replace(day=1))


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _ns(value: Any) -> int:
    """A statistic of a time column: a datetime (rounded down to µs by pyarrow), a pandas Timestamp, or ns."""
    if isinstance(value, int):
        return value
    exact = getattr(value, "value", None)
    return int(exact) if exact is not None else int(value.timestamp() * 1e6) * 1_000


class Run(msgspec.Struct, frozen=True):
    """Rows [first, past) of a file, ordered by time, from first_ts to last_ts."""

    source: Source
    first: int
    past: int
    first_ts: int
    last_ts: int


class Cursor:
    """Reads a run forwards, a stretch of time after the other."""

    def __init__(self, run: Run) -> None:
        self._left = run.past - run.first
        self._batches = run.source.batches(PRICES, run.first)
        self._batch: Batch | None = None

    def until(self, end_ns: int) -> Iterator[Batch]:
        """Batches that come next and open before `end_ns`."""
        while self._left or self._batch is not None:
            if self._batch is None:
                self._batch = _cut(next(self._batches), 0, self._left)
                self._left -= len(self._batch.ts)
            batch = self._batch
            at = int(np.searchsorted(batch.ts, end_ns))
            if at < len(batch.ts):
                if at:
                    yield _cut(batch, 0, at)
                self._batch = _cut(batch, at, len(batch.ts))
                return
            self._batch = None
            yield batch

    def close(self) -> None:
        self._batches.close()  # type: ignore[attr-defined]


def _cut(batch: Batch, first: int, past: int) -> Batch:
    prices = {name: values[first:past] for name, values in batch.prices.items()}
    return Batch(batch.ts[first:past], batch.keys[first:past], batch.series_of, prices)
