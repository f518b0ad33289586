"""Comparison of runs: which belong together, what is kept of the verdict."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from rooney.errors import ConfigError
from rooney.files import write_shared
from rooney.format import minute_text
from rooney.performance.matching import bar_ns, common, compare, level
from rooney.performance.runs import BAR_NS, Kind, Run
from rooney.performance.store import expectation_path, verdict_path
from rooney.performance.verdict import Verdict, verdict

_SECOND_NS = 1_000_000_000


def compare_all(
    runs: Sequence[Run],
    limit: float,
    ts_ns: int,
    start: datetime | None,
    end: datetime | None,
    bar: str | None,
    kind: str = "compare",
) -> Verdict:
    """Every other run against the first one, over the time all cover. Raises ConfigError if there is none.

    start, end: narrow that time, or widen it for a run that only tells its trades (the old system's)
    """
    begin_ns, end_ns = common([run for run in runs if run.kind is not Kind.OLD] or runs)
    if start is None:
        begin_ns = max([begin_ns, *(run.begin_ns for run in runs)])
    if end is None:
        end_ns = min([end_ns, *(run.end_ns for run in runs)])
    begin_ns = begin_ns if start is None else max(begin_ns, int(start.timestamp()) * _SECOND_NS)
    end_ns = end_ns if end is None else min(end_ns, int(end.timestamp()) * _SECOND_NS)
    if begin_ns >= end_ns:
        spans = ", ".join(f"{r.label} {minute_text(r.begin_ns)} to {minute_text(r.end_ns)}" for r in runs)
        raise ConfigError(f"compare: the runs have no time in common: {spans}; nothing was compared")
    runs = level(_named_apart(runs))
    apart_ns = BAR_NS[bar] if bar else bar_ns(*runs)
    found = [compare(runs[0], other, begin_ns, end_ns, apart_ns) for other in runs[1:]]
    return verdict(_name(runs), kind, ts_ns, limit, runs, found)


def _named_apart(runs: Sequence[Run]) -> list[Run]:
    """Labels that differ: two folders may have one name."""
    seen: dict[str, int] = {}
    found = []
    for run in runs:
        seen[run.label] = seen.get(run.label, 0) + 1
        label = run.label if seen[run.label] == 1 else f"{run.label} ({seen[run.label]})"
        found.append(msgspec.structs.replace(run, label=label))
    return found


def _name(runs: Sequence[Run]) -> str:
    """Whose comparison it is: the first ledger's, else the first run's."""
    ledgers = [run.label for run in runs if run.kind is Kind.LEDGER]
    return (ledgers or [runs[0].label])[0].replace("/", "_")


def keep_comparison(state: Path, found: Verdict) -> Path:
    """Where the dashboard and alerts look. Raises ConfigError if that cannot be written."""
    path = verdict_path(state, found)
    _replace(path, msgspec.json.encode(found))
    return path


def keep_expectation(state: Path, name: str, run: Run, ts_ns: int) -> Path | None:
    """What a backtest promises of a strategy; None if it has too few trades to promise anything. Raises ConfigError."""
    from rooney.performance.drift import expect

    found = expect(name, run.label, ts_ns, [trade.pnl_usd for trade in run.trades])
    if found is None:
        return None
    path = expectation_path(state, name)
    _replace(path, msgspec.json.encode(found))
    return path


def _replace(path: Path, data: bytes) -> None:
    try:
        write_shared(path.parent, path, data)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; the result is not kept") from None
