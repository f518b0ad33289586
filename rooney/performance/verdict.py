"""Comparisons and verdicts on them, as they are kept for the dashboard and for alerts. Pure."""

from collections.abc import Sequence
from datetime import date

import msgspec

from rooney.performance.causes import PNL_FLOOR_USD, Cause, Difference
from rooney.performance.runs import Measures, Run, curve, measure, within


class Day(msgspec.Struct, frozen=True):
    """Trade date of a comparison, by when trades were closed. differences: of trades closed in it, on either side."""

    day: date
    trades_a: int
    trades_b: int
    pnl_a_usd: float
    pnl_b_usd: float
    differences: int

    @property
    def is_clean(self) -> bool:
        """No difference in it."""
        return self.differences == 0


class Slip(msgspec.Struct, frozen=True):
    """Ticks by which b's prices were worse than a's over the pairs of a symbol; entry_late_s: b's entry after a's."""

    symbol: str
    pairs: int
    entry_ticks: float
    exit_ticks: float
    worst_ticks: float
    entry_late_s: float


class Comparison(msgspec.Struct, frozen=True):
    """Run b against run a, over the time both cover.

    pairs: matched; equal: of them, those that pass; identical: of those, the same in every number
    bar_ns: how far apart the entries of a pair may be
    """

    a: str
    b: str
    begin_ns: int
    end_ns: int
    bar_ns: int
    trades_a: int
    trades_b: int
    pairs: int
    equal: int
    identical: int
    pnl_a_usd: float
    pnl_b_usd: float
    gross_usd: float
    differences: tuple[Difference, ...]
    days: tuple[Day, ...]
    slips: tuple[Slip, ...]

    @property
    def share(self) -> float:
        """Trades that are equal, of all there are on either side; 1 where there is none."""
        n = self.trades_a + self.trades_b - self.pairs
        return self.equal / n if n else 1.0

    @property
    def discrepancy(self) -> float:
        """The larger of: trades not equal; difference of P&L, of all that was won and lost in the first run."""
        off_usd = abs(self.pnl_b_usd - self.pnl_a_usd)
        return max(1.0 - self.share, off_usd / self.gross_usd if self.gross_usd else float(off_usd > PNL_FLOOR_USD))

    @property
    def clean_days(self) -> int:
        """Trade dates in a row, up to the last, that pass."""
        count = 0
        for day in reversed(self.days):
            if not day.is_clean:
                break
            count += 1
        return count

    @property
    def unexplained(self) -> int:
        """Differences nothing is known about."""
        return sum(difference.cause is Cause.UNEXPLAINED for difference in self.differences)


class Verdict(msgspec.Struct, frozen=True):
    """Comparison as it is kept: one file per name and kind.

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
        """A person should look."""
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
    """Verdict to keep. comparisons: of each other run with the first; points of a curve are thinned for a screen."""
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
        max(comparison.discrepancy for comparison in comparisons),
        min(comparison.clean_days for comparison in comparisons),
        tuple(comparisons),
        tuple(measure(run, trades, begin_ns, end_ns) for run, trades in zip(runs, counted, strict=True)),
        curves,
    )
