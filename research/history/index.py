"""The first reading of files: what each series did on each trade date, and where their rows are ordered by time."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from research.history import kernels as runs
from research.history import sessions as calendar
from research.history.columns import PRICES, Run, Source
from research.history.findings import Finding, Findings
from rooney.errors import ConfigError
from rooney.kernels.array_types import Records

_TASK_GROUPS = 8  # row groups that one thread counts at a time
_MAX_RUNS, _RUN_ROWS = 64, 4_096  # a file with more runs than 64 and one for every 4,096 rows is in no order


class Counted(msgspec.Struct, frozen=True):
    """days: runs.DAY_STATS as columns, one row per series and trade date at most a few times; runs: by row.

    findings: rows that are no bars
    """

    source: Source
    days: pl.DataFrame
    runs: list[Run]
    findings: list[Finding]


class _Part(msgspec.Struct, frozen=True):
    """Some row groups: days found, rows of theirs that are earlier than the one before, with both stamps; ends.

    told: rows that are no bars
    """

    days: list[Records]
    breaks: list[tuple[int, int, int]]
    told: Findings
    rows: int
    first_ts: int
    last_ts: int


def count(sources: Sequence[Source], span: tuple[int, int], folder: Path) -> list[Counted]:
    """Count all sources, as many at a time as there are processors.

    span:   [start, end) of the time a bar opens, UTC ns
    folder: for the sorted copies of files that are in no order
    """
    with ThreadPoolExecutor(os.cpu_count() or 1, "count") as pool:
        tasks = []
        for source in sources:
            starts = range(0, len(source.groups), _TASK_GROUPS)
            ranges = [range(a, min(a + _TASK_GROUPS, len(source.groups))) for a in starts]
            tasks.append((source, [pool.submit(_part, source, groups, span) for groups in ranges]))
        found = []
        for source, parts in tasks:
            counted = _joined(source, [part.result() for part in parts])
            if len(counted.runs) > _MAX_RUNS + sum(source.group_rows) // _RUN_ROWS:
                (copy,) = count([source.sorted_copy(folder, span)], span, folder)
                counted = msgspec.structs.replace(copy, findings=counted.findings)  # whose rows are the file's
            found.append(counted)
    return found


def _part(source: Source, groups: range, span: tuple[int, int]) -> _Part:
    turns, labels = calendar.trade_dates()
    days: list[Records] = []
    breaks: list[tuple[int, int, int]] = []
    told = Findings(str(source.origin))
    rows, first_ts, last_ts = 0, 0, 0
    columns = ("close", "volume") if source.is_checked else PRICES
    for batch in source.batches(columns, groups=groups, told=told):
        ts = batch.ts
        found, back = np.empty(len(ts), runs.DAY_STATS), np.empty(len(ts), np.int64)
        n_found, n_back = runs.count_days(
            ts,
            batch.keys,
            batch.series_of,
            batch.prices["close"],
            batch.prices["volume"],
            *span,
            turns,
            labels,
            found,
            back,
        )
        if n_found == runs.OUT_OF_RANGE:
            raise ConfigError(f"{source.file}: {source.time_column} {ts[n_back]} is no time in UTC ns")
        days.append(found[:n_found].copy())
        if rows and ts[0] < last_ts:
            breaks.append((rows, last_ts, int(ts[0])))
        breaks += [(rows + row, int(ts[row - 1]), int(ts[row])) for row in back[:n_back].tolist()]
        first_ts = first_ts if rows else int(ts[0])
        rows, last_ts = rows + len(ts), int(ts[-1])
    return _Part(days, breaks, told, rows, first_ts, last_ts)


def _joined(source: Source, parts: Sequence[_Part]) -> Counted:
    """A source from its parts."""
    breaks: list[tuple[int, int, int]] = []
    told = Findings(str(source.origin))
    rows, last_ts = 0, 0
    for part in parts:
        if rows and part.first_ts < last_ts:
            breaks.append((rows, last_ts, part.first_ts))
        breaks += [(rows + row, before, at) for row, before, at in part.breaks]
        for one in part.told.list():
            told.add(one.kind, one.count, one.examples)
        rows, last_ts = rows + part.rows, part.last_ts
    days = np.concatenate([np.empty(0, runs.DAY_STATS), *(found for part in parts for found in part.days)])
    frame = pl.DataFrame({name: np.ascontiguousarray(days[name]) for name in runs.DAY_STATS.names or ()})
    if not rows:
        return Counted(source, frame, [], told.list())
    ends = [(0, 0, parts[0].first_ts), *breaks, (rows, last_ts, 0)]
    stretches = [
        Run(source, first, past, first_ts, run_last) for (first, _, first_ts), (past, run_last, _) in pairwise(ends)
    ]
    return Counted(source, frame, stretches, told.list())
