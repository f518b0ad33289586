"""`rooney backtest NAME --outcomes LEDGER`: a live run again, from bars on disk and from what its ledger was told.

The scan of every backtest, mark by mark, with the outcomes and the operator's acts of the ledger at the marks at which
they applied. A worker begins at some minute: history closed by then goes into the features as it went into the
worker's, hours and days in progress are taken up, and the scan goes on from there to the ledger's last finished mark.
Then everything the ledger has is compared with what the replay decided: intents, decisions with their features, trades,
and account and positions as bytes.
"""

import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from research.backtest import backtest
from research.backtest import ledger_outcomes as recording
from research.backtest.backtest import Scan
from research.backtest.ledger_outcomes import COLUMNS, Recording
from research.backtest.result import Result
from research.backtest.warm_start import warm_start
from research.history.history import History
from research.history.progress import Steps, unwatched
from research.history.sessions import DAY_NS, session_windows
from rooney.config.settings import StrategyConfig
from rooney.engine.build import build_engine
from rooney.errors import LedgerError
from rooney.format import iso, iso_second
from rooney.kernels import dtypes
from rooney.kernels.array_types import Records
from rooney.market.instruments import group_of
from rooney.market.sessions import MINUTE_NS
from rooney.performance.pairs import first_difference

_AFTER_ALL_NS = 1 << 62


class RowDifference(msgspec.Struct, frozen=True):
    """The first row of a table that is not the same. None: one side has no such row."""

    table: str
    ledger: dict[str, Any] | None
    replay: dict[str, Any] | None


class Replayed(msgspec.Struct, frozen=True):
    """A replay beside its ledger.

    start_ns, end_ns: the minutes stepped, UTC ns
    told: outcomes and operator's acts the step was told
    rows: by table, of the ledger, of the replay, and how many are the same in both
    is_same_book:     account and positions after the last mark, as bytes; None where the replay ends before the ledger
    is_same_code:     kernel and configuration are those the ledger's newest checkpoint was written by
    recorded, replayed: all rows of both
    """

    start_ns: int
    end_ns: int
    told: int
    rows: dict[str, tuple[int, int, int]]
    differences: list[RowDifference]
    is_same_book: bool | None
    is_same_code: bool
    recorded: recording.Rows
    replayed: recording.Rows

    @property
    def is_equal(self) -> bool:
        """The live run came out again, exactly."""
        return not self.differences and self.is_same_book is not False

    def as_dict(self) -> dict[str, Any]:
        """Outcome as `summary.json` has it."""
        return {
            "span": [iso(self.start_ns), iso(self.end_ns)],
            "told": self.told,
            "rows": {
                table: {"ledger": theirs, "replay": own, "same": same}
                for table, (theirs, own, same) in self.rows.items()
            },
            "differences": msgspec.to_builtins(self.differences),
            "is_same_book": self.is_same_book,
            "is_same_code": self.is_same_code,
            "is_equal": self.is_equal,
        }


def replay(
    strategy: StrategyConfig,
    data: Path,
    ledger: Path,
    start: datetime | None = None,
    end: datetime | None = None,
    progress: Steps = unwatched,
) -> tuple[Replayed, Result, History]:
    """Step the live run of a ledger again.

    start: end of the last minute before the worker's first one; None: counted back from its last finished mark
    end:   replay only minutes that end by then
    Raises LedgerError for a ledger that cannot be replayed and says what is missing.
    """
    began = time.perf_counter()
    if strategy.settings.profile == "v1":
        raise LedgerError(
            f"{strategy.path}.profile: v1 folds days of its own in the worker, which a replay from bars does not take "
            "up; only runs of the default profile can be replayed. Nothing is replayed"
        )
    engine = build_engine(strategy)
    recorded = recording.read(ledger, strategy.name, list(strategy.traded))
    end_ns = recorded.ts_mark if end is None else min(recorded.ts_mark, int(end.timestamp()) * 1_000_000_000)
    groups = sorted({group_of(symbol) for symbol in strategy.instruments})
    start_ns = int(start.timestamp()) * 1_000_000_000 if start is not None else _first(recorded, groups)
    _check(recorded, start_ns, end_ns)
    roots = [instrument.symbol for instrument in engine.instruments]
    history = History(data, roots, None, datetime.fromtimestamp(end_ns / 1e9, UTC))
    history.start_ns, history.end_ns = min(history.start_ns, start_ns), max(history.end_ns, end_ns)
    scan = Scan(engine, history, _told(recorded, roots), groups)
    walk = warm_start(scan, engine, history, start_ns)
    load_s = time.perf_counter() - began
    decided = []
    for decisions in walk.marks(end_ns):
        decided.append(decisions)
        progress((decisions.ts_mark - start_ns) / (end_ns - start_ns))
    engine_s = time.perf_counter() - began - load_s
    result = backtest.result(strategy, scan, history, load_s, engine_s)
    order_root = {symbol: item.root for symbol, item in strategy.traded.items()}
    ours = recording.rows_of(decided, order_root)
    rows, differences = _compare(recorded, ours, end_ns)
    same_book = engine.book() == recorded.book if end_ns == recorded.ts_mark else None
    told = sum(ts_mark <= end_ns for ts_mark, _ in recorded.heard)
    same_code = engine.has_digest(recorded.digest)
    return (
        Replayed(start_ns, end_ns, told, rows, differences, same_book, same_code, recorded.rows, ours),
        result,
        history,
    )


def _first(recorded: Recording, groups: list[str]) -> int:
    """End of the last minute before the first one stepped: a tape is dense, so minutes are counted back."""
    first_ns = recorded.ts_mark - 2 * recorded.marks * MINUTE_NS - 20 * DAY_NS  # more than half of all time is session
    ends = []
    for group in groups:
        windows = session_windows(group, first_ns, recorded.ts_mark)
        spans = zip(windows.open_ns.tolist(), windows.close_ns.tolist(), strict=True)
        ends += [np.arange(a + MINUTE_NS, min(b, recorded.ts_mark) + 1, MINUTE_NS) for a, b in spans]
    return int(np.unique(np.concatenate(ends))[-recorded.marks]) - MINUTE_NS


def _check(recorded: Recording, start_ns: int, end_ns: int) -> None:
    """Refuse what bars and outcomes cannot tell."""
    named = [row[0] for rows in recorded.rows.values() for row in rows] + [ts_mark for ts_mark, _ in recorded.heard]
    if named and min(named) <= start_ns:
        raise LedgerError(
            f"{recorded.path}: its {recorded.marks} minutes, counted back from {iso_second(recorded.ts_mark)}, would "
            f"begin after {iso_second(start_ns)}, but it holds something of {iso_second(min(named))}: the tape it was "
            "made from lacked minutes. Say with --start which minute came before its first one; nothing is replayed"
        )
    if end_ns <= start_ns:
        raise LedgerError(
            f"{recorded.path}: no minute is left between {iso_second(start_ns)}, where it begins, and "
            f"{iso_second(end_ns)}"
        )
    gaps = [row[0] for row in recorded.rows["decisions"] if row[2] == "gap" and row[0] <= end_ns]
    if gaps:
        raise LedgerError(
            f"{recorded.path}: at {iso_second(gaps[0])} entries were refused for a gap in the tape, and files of bars "
            f"do not hold gaps: it can be replayed with --end {iso_second(gaps[0] - MINUTE_NS)}. Nothing is replayed"
        )


def _told(recorded: Recording, roots: list[str]) -> Records:
    """RECORDED for the scan. The last one never applies: to the scan, none at all means that all is acknowledged."""
    told = np.zeros(len(recorded.heard) + 1, dtypes.RECORDED)
    for k, (ts_mark, one) in enumerate(recorded.heard):
        told[k]["ts_applied"] = ts_mark
        told[k]["outcome"] = (
            roots.index(one.symbol),
            one.role,
            one.ts_mark,
            one.kind,
            one.ts,
            one.side,
            one.quantity,
            one.price,
        )
    told[-1]["ts_applied"] = _AFTER_ALL_NS
    return told


def _compare(
    recorded: Recording, ours: recording.Rows, end_ns: int
) -> tuple[dict[str, tuple[int, int, int]], list[RowDifference]]:
    """Table → (rows of the ledger, of the replay, equal ones), and the first difference of each."""
    counts, differences = {}, []
    # Old decisions are pruned; intents and trades never are.
    kept_from = min((row[0] for row in recorded.rows["decisions"]), default=0)
    for table, names in COLUMNS.items():
        theirs = [row for row in recorded.rows[table] if row[0] <= end_ns]
        own = [row for row in ours[table] if table != "decisions" or row[0] >= kept_from]
        parted = first_difference(theirs, own)
        # Wherever they stand: after one row more or less on a side, all that follow are still the same.
        counts[table] = len(theirs), len(own), (Counter(theirs) & Counter(own)).total()
        if parted:
            pair = [dict(zip(names, row, strict=True)) if row is not None else None for row in parted[1:]]
            differences.append(RowDifference(table, *pair))
    return counts, differences
