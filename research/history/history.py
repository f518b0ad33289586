"""Bars from files → what the scan reads: one front contract per root and trade date, rolls, bars in order.

Parquet columns: `ts_open` (UTC; `ts_event` is an alias), `root`, `contract`, `timeframe` (absent = 1min; `1min`,
`hourly` or `1h`, `daily` or `1d`), and `open`, `high`, `low`, `close`, `volume`. A column `symbol` is the root if it
equals a configured one, else the contract. Where a root has several contracts, the hub's own rule chooses
(`research.history.rolls`). DBN files: `research.history.dbn`. Closes without open, high and low:
`research.history.closes`.

When a bar was known (`ts_close`): a minute at its end; an hour at its end, or at that of the session within it; a day
that opens with its session at the session's close, any other day (Databento's and most vendors' are UTC's) a full 24
hours after its stamp.

Coarser bars are used only where finer ones are absent, decided per root and trade date: with a single one-minute bar
of a root, its hourly and daily bars of that trade date are not used. Closes are used for roots that have nothing else.
Rows that cannot be bars, by the judgement that an import has, too (`research.history.kernels.judge`), are left out,
counted and told; a file that the store has written was judged before.

A Parquet file may say in its own metadata (`warm_up_until_ns`, UTC ns) that what was known by then came before the run
it was recorded from: a backtest warms up with it and trades from there, as the recorded worker did.

Files are read twice: first for bars, volume and last close of each contract and trade date, then a month at a time,
ahead of the scan. Rows are put into place, never sorted: a file is a number of runs ordered by time, each read
forwards. Only a file in no order at all is sorted into a temporary copy first.
"""

import hashlib
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from research.history import closes, dbn
from research.history import kernels as runs
from research.history import sessions as calendar
from research.history.columns import PRICES, Batch, Cursor, Registry, Run, Source
from research.history.findings import Finding, Findings
from research.history.index import count
from research.history.rolls import RollEvent
from research.history.series_choice import Table
from research.history.series_names import MINUTES
from research.history.sessions import DAY_NS, Windows, session_windows, to_ns
from rooney.errors import ConfigError, DataWarning
from rooney.format import iso
from rooney.kernels import dtypes
from rooney.kernels.array_types import I64, Records
from rooney.market import sessions
from rooney.market.instruments import group_of

__all__ = ["History", "RollEvent", "Windows", "files_of", "session_windows"]

_NAMES = ("1min", "hourly", "daily")
_FOREVER_NS = 1 << 62


class History:
    """Bars of some roots, from files, chosen and ordered as the hub would have published them.

    path:    a Parquet or DBN file, or a folder of them
    roots:   in the order of the strategy's instruments
    start, end: [start, end), UTC, of the time a bar opens; None = all there is
    events:  the rolls, by time
    bars:    how many bars there are to step
    start_ns, end_ns: from the first open to the last close, UTC ns
    warm_up_until_ns: bars known by then only warm up, as the files say of themselves; 0: none do, or `start` was given
    finest:  "1min", "hourly" or "daily", the finest timeframe in use
    missing: roots without a bar in the span
    findings: rows that are no bars, which are left out, and DataWarning tells of
    closes_only: whether some bars are closes alone: open, high and low are the close, volume is 0
    Raises ConfigError for files that hold no bars, or two bars of a root for one time.
    """

    def __init__(
        self, path: Path, roots: Sequence[str], start: datetime | None = None, end: datetime | None = None
    ) -> None:
        self.path = path
        self.span = (start, end)
        self.roots = list(roots)
        self.files = files_of(path)
        span = (to_ns(start) if start is not None else -_FOREVER_NS, to_ns(end) if end is not None else _FOREVER_NS)
        alone = [file for file in self.files if file.suffix.lower() == ".parquet" and closes.holds(file)]
        self._scratch = tempfile.TemporaryDirectory(prefix="rooney-history-")  # goes with this object
        registry, sources = Registry(), []
        self.findings: list[Finding] = []
        folder = Path(self._scratch.name)
        for file in self.files:
            told = Findings(str(file))
            part = file if file.name.lower().endswith(".parquet") else dbn.unpack(file, folder, told)
            if part is not None and file not in alone:
                sources.append(Source(part, roots, registry, span, file))
            told.add("empty", part is None or not pq.read_metadata(part).num_rows)
            self.findings += told.list()
        counted = count(sources, span, folder)
        self._table = Table(registry, self.roots, [item.days for item in counted])
        self._runs = [run for item in counted for run in item.runs]
        self._span = span
        self.events = list(self._table.events)
        coarse = [self._table.coarse(item.source, span) for item in counted]
        self.closes_only = False
        wanted = [root for root in self.roots if root not in self._table.roots]
        for file in alone:
            told = Findings(str(file))
            records, rolls = closes.read(file, self.roots, wanted, span, told)
            self.findings += told.list()
            coarse.append(records)
            self.events += rolls
            self.closes_only |= len(records) > 0
        self.findings += [finding for item in counted for finding in item.findings]
        problems = [line for finding in self.findings if finding.problem for line in finding.lines()]
        if problems:
            warnings.warn(DataWarning("\n".join(problems)), stacklevel=2)
        self._coarse = _in_order(coarse, self.roots, path)
        self.events.sort(key=lambda event: (event.ts, self.roots.index(event.root)))
        self.bars = self._table.minutes + len(self._coarse)
        if not self.bars:
            raise ConfigError(f"{path}: no bars of {', '.join(self.roots)} in the span asked for")
        opens, ends = self._coarse["ts_open"], self._coarse["ts_close"]
        self.start_ns = min([self._table.first_ns, *opens.min(initial=_FOREVER_NS, keepdims=True).tolist()])
        self.end_ns = max([self._table.last_ns + sessions.MINUTE_NS, *ends[-1:].tolist()])
        ends_ns = [source.warm_up_until_ns for source in sources if start is None]
        self.warm_up_until_ns = max((ns for ns in ends_ns if self.start_ns < ns < self.end_ns), default=0)
        for ts in (self.start_ns, self.end_ns - 1):
            if not sessions.covered(ts):
                known = sessions.table()
                raise ConfigError(
                    f"{path}: bars of {sessions.trade_date(ts)}: the session table knows {known.first} to {known.last},"
                    " and a backtest beyond it would trade holidays; choose --start and --end within"
                )
        self.finest = _NAMES[MINUTES if self._table.minutes else int(self._coarse["timeframe"].min())]
        held = {self.roots[i] for i in np.unique(self._coarse["instrument"]).tolist()} | self._table.roots
        self.missing = [root for root in self.roots if root not in held]

    @property
    def sparse(self) -> bool:
        """True without minutes in it."""
        return self.finest != _NAMES[MINUTES]

    def digest(self) -> str:
        """sha256 over the bytes of all files, by name: which data a result came from."""
        found = hashlib.sha256()
        for file in self.files:
            found.update(file.name.encode())
            with file.open("rb") as data:
                while block := data.read(1 << 20):
                    found.update(block)
        return found.hexdigest()

    def windows(self, profile: str = "default", more: Iterable[str] = ()) -> dict[str, Windows]:
        """Session windows per group over the whole span, and a week beyond; for profile v1 with the old days.

        more: groups beside those of its roots
        """
        groups = sorted({*map(group_of, self.roots), *more})
        found = {group: session_windows(group, self.start_ns, self.end_ns + 7 * DAY_NS) for group in groups}
        if profile == "v1":
            return {group: calendar.old_days(group, windows) for group, windows in found.items()}
        return found

    def dates(self) -> tuple[I64, I64]:
        """Trade dates of its instruments' sessions, days since 1970: those with a bar in use, and holes without any."""
        found = [
            each.trade_date[(each.close_ns > self.start_ns) & (each.open_ns < self.end_ns)]
            for each in self.windows().values()
        ]
        dates = np.unique(np.concatenate(found))
        has_bar = np.isin(dates, self._table.dates()) | np.isin(
            dates, calendar.trade_date_of(self._coarse["ts_close"] - sessions.MINUTE_NS)
        )
        return dates[has_bar], dates[~has_bar]

    def chunks(self) -> Iterator[Records]:
        """HISTORY records by ts_close, timeframe and instrument, a month at a time; the next one is read meanwhile."""
        months = calendar.months(self.start_ns, self.end_ns)
        spans = [
            (begin_ns, end_ns, following[1] if following is not None else None)
            for (begin_ns, end_ns), following in zip(months, [*months[1:], None], strict=True)
        ]
        with ThreadPoolExecutor(os.cpu_count(), "decode") as pool, ThreadPoolExecutor(1, "history") as ahead:
            reading = _Reading(self._table, self._runs, self._span, self._coarse, pool)
            waiting = ahead.submit(reading.month, *spans[0])
            for span in [*spans[1:], None]:
                records = waiting.result()
                if span is not None:
                    waiting = ahead.submit(reading.month, *span)
                if len(records):
                    yield records


class _Opened:
    """A run that is being read, and what of it is being decoded."""

    def __init__(self, run: Run, start_ns: int, pool: ThreadPoolExecutor) -> None:
        """start_ns: what opens before is read and dropped."""
        self.run = run
        self._start_ns = start_ns
        self._cursor = Cursor(run)
        self._pool = pool
        self._decoded: Future[list[Batch]] | None = None

    def decode(self, until_ns: int) -> None:
        """Begin with what opens before `until_ns`; what was decoded until now has been taken."""
        self._decoded = self._pool.submit(
            lambda: [batch for batch in self._cursor.until(until_ns) if batch.ts[-1] >= self._start_ns]
        )

    def take(self) -> list[Batch]:
        """Records that were decoded last."""
        return self._decoded.result() if self._decoded is not None else []


class _Reading:
    """Months of history, one after the other."""

    def __init__(
        self, table: Table, found: list[Run], span: tuple[int, int], coarse: Records, pool: ThreadPoolExecutor
    ) -> None:
        """pool: decodes, which takes most of the time; rows are put into place by whoever asks for a month."""
        self._table = table
        self._pool = pool
        self._runs = sorted(found, key=lambda run: run.first_ts)
        self._start_ns, self._past_ns = span
        self._coarse = coarse
        self._open: list[_Opened] = []
        self._staged = np.zeros(1 << 16, dtypes.HISTORY)  # kept from month to month: its pages are touched once

    def month(self, begin_ns: int, end_ns: int, then_ns: int | None) -> Records:
        """HISTORY records of the minutes that open in [begin, end) and the coarser bars known in (begin, end].

        then_ns: where the following month ends, which is decoded while this one is put into place; None: there is none
        """
        minutes = self._minutes(begin_ns, end_ns, then_ns)
        first, past = np.searchsorted(self._coarse["ts_close"], (begin_ns, end_ns), "right")
        coarse = self._coarse[first:past]
        if not len(coarse):
            return minutes
        return _ordered(np.concatenate([minutes, coarse])) if len(minutes) else coarse

    def _minutes(self, begin_ns: int, end_ns: int, then_ns: int | None) -> Records:
        while self._runs and self._runs[0].first_ts < end_ns:
            opened = _Opened(self._runs.pop(0), self._start_ns, self._pool)
            opened.decode(min(end_ns, self._past_ns))
            self._open.append(opened)
        table, n = self._table, len(self._table.roots_in_order)
        row_at = np.zeros((end_ns - begin_ns) // sessions.MINUTE_NS * n, np.int32)
        count = 0
        for opened in self._open:
            run, batches = opened.run, opened.take()
            if then_ns is not None and run.last_ts >= end_ns:
                opened.decode(min(then_ns, self._past_ns))
            for batch in batches:
                if count + len(batch.ts) > len(self._staged):
                    self._staged = np.resize(self._staged, 2 * (count + len(batch.ts)))
                count, twice = runs.stage(
                    batch.ts,
                    batch.keys,
                    batch.series_of,
                    table.instrument_of,
                    table.numbers,
                    table.first_day,
                    *calendar.trade_dates(),
                    *(batch.prices[name] for name in PRICES),
                    self._start_ns,
                    begin_ns,
                    n,
                    row_at,
                    self._staged,
                    count,
                )
                if twice >= 0:
                    raise _twice(run.source.origin, table.name(batch, twice), int(batch.ts[twice]))
        self._open = [opened for opened in self._open if opened.run.last_ts >= end_ns]
        records = np.empty(count, dtypes.HISTORY)
        runs.gather(row_at, self._staged, records)
        return records


def files_of(path: Path) -> list[Path]:
    """The Parquet and DBN files at a path. Raises ConfigError if there is none."""
    # A store of `rooney data` keeps in raw/ what its bars were made from: each bar is to be read once.
    found = sorted(file for file in path.rglob("*") if path / "raw" not in file.parents) if path.is_dir() else [path]
    files = [file for file in found if file.is_file() and file.name.lower().endswith((".parquet", ".dbn", ".dbn.zst"))]
    if not files:
        raise ConfigError(f"{path}: no Parquet or DBN file there; `rooney data import` makes a store of CSV files")
    return files


def _ordered(records: Records) -> Records:
    return records[np.lexsort((records["instrument"], records["timeframe"], records["ts_close"]))]


def _in_order(parts: Sequence[Records], roots: Sequence[str], path: Path) -> Records:
    """All coarser bars in order. Raises ConfigError if two are of the same root, timeframe and time."""
    records = _ordered(np.concatenate([np.zeros(0, dtypes.HISTORY), *parts]))
    names = ("ts_close", "timeframe", "instrument")
    same = np.flatnonzero(np.logical_and.reduce([records[name][1:] == records[name][:-1] for name in names]))
    if len(same):
        bar = records[same[0]]
        what = f"{_NAMES[int(bar['timeframe'])]} {roots[int(bar['instrument'])]}"
        raise _twice(path, what, int(bar["ts_open"]))
    return records


def _twice(path: Path, what: str, ts_ns: int) -> ConfigError:
    return ConfigError(
        f"{path}: there are two bars of {what} at {iso(ts_ns)}: which one happened is not guessed; "
        "take one of the files or rows out"
    )
