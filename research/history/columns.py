"""Files of bars → batches of columns, without a string per row: names stay dictionary codes from the file to the scan.

A `Series` is what a bar belongs to: timeframe, root and raw contract symbol; a `Registry` numbers them over all files.
"""

import tempfile
import threading
from collections.abc import Iterator, Sequence
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
from research.history.findings import KINDS, MAX_EXAMPLES, Example, Findings
from research.history.series_names import MINUTES, SPACED_ROWS, TIMEFRAMES, named, rule, spacing
from rooney.errors import ConfigError
from rooney.format import iso
from rooney.kernels.array_types import F64, I64

PRICES = ("open", "high", "low", "close", "volume")
WARM_UP_UNTIL = b"warm_up_until_ns"  # key in a file's own metadata; the demo writes it
BATCH_ROWS = 1 << 15  # small enough that its columns stay in the cache until they are placed
CHECKED = b"rooney.checked"  # in the metadata of a file that the store has written: its rows were judged
FIRST_NS = 10**17  # 1973: an integer below it counts something larger than nanoseconds


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

    span:   [start, end), UTC ns
    origin: the file it was made of, for messages
    Raises ConfigError if the file holds no bars.
    """

    def __init__(
        self, file: Path, roots: Sequence[str], registry: Registry, span: tuple[int, int], origin: Path | None = None
    ) -> None:
        self.file = file
        self.origin = origin or file
        self._span = span
        self._roots = frozenset(roots)
        self._registry = registry
        schema, metadata = parquet_schema(file), pq.read_metadata(file)
        self.is_checked = CHECKED in (metadata.metadata or {})
        have = set(schema.names)
        self.time_column = next((name for name in ("ts_open", "ts_event") if name in have), "")
        named = have & {"root", "symbol", "contract"}
        if not self.time_column or not named or not have.issuperset(PRICES):
            needed = ", ".join(("ts_open", "root or symbol or contract", *PRICES))
            raise ConfigError(f"{file}: no bars: it needs the columns {needed} and has {', '.join(schema.names)}")
        kind = schema.field(self.time_column).type
        if not (pa.types.is_timestamp(kind) and kind.tz) and not pa.types.is_integer(kind):
            raise ConfigError(
                f"{file}: {self.time_column} is {kind}: it needs UTC ns or a time with a zone, so that no hour is "
                "guessed"
            )
        check_numbers(file, schema)
        said = ("timeframe",) if "timeframe" in have else ("rtype",)
        self._names = [name for name in ("root", "symbol", "contract", *said) if name in have]
        if {"root", "contract"} <= named:
            self._names.remove("symbol") if "symbol" in named else None
        texts = [name for name in self._names if not pa.types.is_dictionary(schema.field(name).type)]
        self._texts = [name for name in texts if _is_text(schema.field(name).type)]
        until = (schema.metadata or {}).get(WARM_UP_UNTIL, b"")
        self.warm_up_until_ns = int(until) if until.isdigit() else 0
        self._timeframe = "1min"
        if said[0] not in self._names and metadata.num_rows:
            with pq.ParquetFile(file) as whole:
                first = next(whole.iter_batches(SPACED_ROWS, columns=[self.time_column, *self._names]))
            named_by = [pl.Series(name, first.column(name).cast(pa.string())).fill_null("") for name in self._names]
            rows = pl.DataFrame(named_by).select(pl.concat_str("*").alias("name"), ts=self._stamps(first))
            self._timeframe = spacing(self.origin, rows)
        self.groups = [g for g in range(metadata.num_row_groups) if self._reaches(metadata, g, *span)]
        self._skipped = sum(metadata.row_group(g).num_rows for g in range(self.groups[0] if self.groups else 0))
        self.group_rows = [metadata.row_group(g).num_rows for g in self.groups]

    @property
    def has_coarse(self) -> bool:
        """True if it may hold hourly or daily bars."""
        return TIMEFRAMES[self._timeframe] != MINUTES or "timeframe" in self._names or "rtype" in self._names

    def sorted_copy(self, folder: Path, span: tuple[int, int]) -> "Source":
        """The same bars ordered by time, in a file of its own in `folder`."""
        copy = Path(tempfile.mkdtemp(dir=folder)) / self.file.name
        scan(self.file).sort(self.time_column, maintain_order=True).sink_parquet(copy)
        return Source(copy, sorted(self._roots), self._registry, span, self.origin)

    def batches(
        self,
        columns: Sequence[str],
        first_row: int = 0,
        groups: range | None = None,
        told: Findings | None = None,
    ) -> Iterator[Batch]:
        """Batches from `first_row` on, or all of some of `self.groups`, with the price columns asked for.

        told: gets rows that are no bars; with all columns, they belong to no series
        """
        skip = first_row
        if groups is None:
            at = 0
            while at < len(self.groups) and skip >= self.group_rows[at]:
                skip -= self.group_rows[at]
                at += 1
            groups = range(at, len(self.groups))
        if not len(groups):
            return
        row = self._skipped + sum(self.group_rows[: groups.start])
        with pq.ParquetFile(self.file, read_dictionary=self._texts) as file:
            chosen = [self.groups[g] for g in groups]
            wanted = [self.time_column, *self._names, *columns]
            for part in file.iter_batches(BATCH_ROWS, chosen, wanted, use_threads=False):
                if skip >= len(part):
                    skip -= len(part)
                    continue
                yield self._batch(part.slice(skip), columns, told, row)
                row += len(part)
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

    def _stamps(self, part: Any) -> I64:
        """UTC ns; 0 where a row has none."""
        stamps = part.column(self.time_column)
        if pa.types.is_timestamp(stamps.type):
            stamps = stamps.cast(pa.timestamp("ns", stamps.type.tz), safe=False).cast(pa.int64())
        elif (least := pc.min(stamps).as_py()) is not None and least < FIRST_NS:
            raise ConfigError(
                f"{self.origin}: {self.time_column} {least} is no time in UTC ns; nothing of it was taken"
            )
        found: I64 = pc.fill_null(stamps.cast(pa.int64(), safe=False), 0).to_numpy()
        return found

    def _batch(self, part: Any, columns: Sequence[str], told: Findings | None, first_row: int) -> Batch:
        stamps = self._stamps(part)
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
        present = np.zeros(int(np.prod([len(values) for values in names])) + 1, np.bool_)
        runs.mark_present(keys, present)
        series_of = np.full(len(present), -1, np.int32)  # the last one is of rows that are no bars
        rules = np.full(len(present), runs.NO_RULE)
        for key in np.flatnonzero(present).tolist():
            found, rest = {}, key
            for name, values in zip(reversed(self._names), reversed(names), strict=True):
                rest, code = divmod(rest, len(values))
                found[name] = values[code]
            series, lack = self._series(found)
            if series is not None:
                series_of[key] = self._registry.number(series)
                rules[key] = rule(series.timeframe, series.root, series.raw, lack)
        prices = {}
        for name in columns:
            values = part.column(name)
            if values.type != pa.float64():
                values = values.cast(pa.float64(), safe=False)
            prices[name] = values.to_numpy(zero_copy_only=False)
        lacks = np.empty(len(part), np.uint8)
        values = [prices[name] for name in columns]
        if len(values) == len(PRICES) and runs.judge(stamps, keys, rules, *self._span, *values, lacks):
            for number in np.unique(lacks[lacks > 0]).tolist():
                rows = np.flatnonzero(lacks == number)
                first = rows[:MAX_EXAMPLES]
                shown = part.select([*self._names, *PRICES]).take(first).to_pylist()
                examples = [
                    Example(first_row + int(row) + 1, " ".join(map(str, (iso(stamps[row]), *one.values()))))
                    for row, one in zip(first, shown, strict=True)
                ]
                if told is not None:
                    told.add(runs.LACKS[number], len(rows), examples)
                elif self.is_checked:
                    raise ConfigError(
                        f"{self.origin}: {KINDS[runs.LACKS[number]].text}: {examples[0].value}: it was changed since "
                        "`rooney data import` wrote it; import it anew from its source"
                    )
        return Batch(stamps, keys, series_of, prices)

    def _series(self, found: dict[str, str]) -> tuple[Series | None, str]:
        """What the names of a row mean, and why it is no bar; None for roots that were not asked for."""
        timeframe = found.get("timeframe", found.get("rtype", "")) or self._timeframe
        if timeframe not in TIMEFRAMES:
            raise ConfigError(f"{self.origin}: timeframe {timeframe!r} is none of {', '.join(TIMEFRAMES)}")
        root, raw, lack = named(found.get("contract", found.get("symbol", "")), found.get("root", ""), self._roots)
        return (Series(TIMEFRAMES[timeframe], root, raw) if root in self._roots else None), lack


def check_numbers(file: Path, schema: Any) -> None:
    """Raises ConfigError for a column of prices or volume that holds no numbers."""
    for name in PRICES:
        kind = schema.field(name).type if name in schema.names else pa.float64()
        if not any(test(kind) for test in (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, _is_text)):
            raise ConfigError(f"{file}: {name} is {kind}: it needs numbers; nothing of it was taken")


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
