"""What is kept of comparisons, for the dashboard and for alerts. Pure."""

from collections.abc import Sequence
from datetime import date

import msgspec

from rooney.performance.matching import Comparison, within
from rooney.performance.runs import Measures, Run, curve, measure


class Verdict(msgspec.Struct, frozen=True):
    """What is kept of a comparison, for the dashboard and for alerts: one file per name and kind.

    kind: `compare`, or `audit` for the nightly one; ts_ns: when it was made; runs: measures over the common time
    curves: by run, (UTC ns, P&L since the begin in USD); limit: the discrepancy from which on it wants attention
    trouble: why nothing could be compared, or empty; audit: what only an audit knows
    """

    name: str
    kind: str
    ts_ns: int
    limit: float
    discrepancy: float
    clean_days: int
    comparisons: tuple[Comparison, ...]
    runs: tuple[Measures, ...]
    curves: dict[str, tuple[tuple[int, float], ...]]
    trouble: str = ""
    audit: "Audit | None" = None

    @property
    def is_alarm(self) -> bool:
        """Whether a person should look."""
        return bool(self.trouble) or self.discrepancy > self.limit


class Matched(msgspec.Struct, frozen=True):
    """Decisions of one symbol in the newest trade date of an audit, or in all of it: how many, and how many equal."""

    symbol: str
    decisions: int
    same: int
    first: str = ""

    @property
    def share(self) -> float:
        """Equal ones; 1 without any."""
        return self.same / self.decisions if self.decisions else 1.0


class Audit(msgspec.Struct, frozen=True):
    """The live ledger against its tape stepped again. is_same_code: of code and configuration, the same as live."""

    day: date
    of_day: tuple[Matched, ...]
    of_all: tuple[Matched, ...]
    is_same_code: bool


def verdict(
    name: str, kind: str, ts_ns: int, limit: float, runs: Sequence[Run], comparisons: Sequence[Comparison]
) -> Verdict:
    """What is kept. comparisons: of each other run with the first; points of a curve are thinned for a screen."""
    begin_ns, end_ns = comparisons[0].begin_ns, comparisons[0].end_ns
    counted = [within(run, begin_ns, end_ns) for run in runs]
    curves = {}
    for run, trades in zip(runs, counted, strict=True):
        points = [(point.ts, point.equity_usd) for point in curve(trades, begin_ns, end_ns)]
        every = len(points) // 1_000 + 1
        curves[run.label] = (*points[:-1:every], points[-1])
    return Verdict(
        name,
        kind,
        ts_ns,
        limit,
        max(one.discrepancy for one in comparisons),
        min(one.clean_days for one in comparisons),
        tuple(comparisons),
        tuple(measure(run, trades, begin_ns, end_ns) for run, trades in zip(runs, counted, strict=True)),
        curves,
    )
