"""Two runs side by side: which trades are the same, and where they part. Pure.

Trades of one symbol and side are matched one to one, first those that began at the same time, then the nearest within
one bar. A pair is equal when its sizes are and its P&L within 2 % (a cent at least). What is left is a difference, and
each difference has a cause (`rooney.performance.causes`).
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date

import msgspec

from rooney.market import sessions
from rooney.market.sessions import HOUR_NS
from rooney.orders.decisions import Trade
from rooney.performance.causes import PNL_FLOOR_USD, Cause, Difference, Scene
from rooney.performance.runs import BAR_NS, Run

PNL_TOLERANCE = 0.02


class Day(msgspec.Struct, frozen=True):
    """One trade date by when trades were closed. differences: of trades closed in it, on either side."""

    day: date
    trades_a: int
    trades_b: int
    pnl_a_usd: float
    pnl_b_usd: float
    differences: int

    @property
    def is_clean(self) -> bool:
        """Whether it passes."""
        return self.differences == 0


class Slip(msgspec.Struct, frozen=True):
    """How much worse b's prices were than a's over the pairs of a symbol, ticks; entry_late_s: b's entry after a's."""

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
        return sum(one.cause is Cause.UNEXPLAINED for one in self.differences)


def bar_ns(*runs: Run) -> int:
    """One bar: the longest of the runs' timeframes, an hour where none is known."""
    return max((BAR_NS[run.timeframe] for run in runs if run.timeframe), default=HOUR_NS)


def common(runs: Sequence[Run]) -> tuple[int, int]:
    """(begin, end) of the time all cover."""
    return max(run.begin_ns for run in runs), min(run.end_ns for run in runs)


def within(run: Run, begin_ns: int, end_ns: int) -> list[Trade]:
    """Trades that began and ended in a span."""
    return [trade for trade in run.trades if begin_ns <= trade.entry_ts and trade.exit_ts <= end_ns]


def match(a: Sequence[Trade], b: Sequence[Trade], apart_ns: int) -> list[tuple[int, int]]:
    """Pairs of indices, each trade in one pair at most, by a's entry."""
    theirs: dict[tuple[str, int], list[int]] = defaultdict(list)
    for j, trade in enumerate(b):
        theirs[trade.symbol, trade.side].append(j)
    partner: dict[int, int] = {}
    for reach_ns in (0, apart_ns):
        for i, trade in sorted(enumerate(a), key=lambda item: item[1].entry_ts):
            free = [] if i in partner else theirs[trade.symbol, trade.side]
            near = [j for j in free if abs(b[j].entry_ts - trade.entry_ts) <= reach_ns]
            if near:
                partner[i] = min(near, key=lambda j: (abs(b[j].entry_ts - trade.entry_ts), b[j].entry_ts))
                free.remove(partner[i])
    return sorted(partner.items(), key=lambda pair: a[pair[0]].entry_ts)


def compare(a: Run, b: Run, begin_ns: int, end_ns: int, apart_ns: int) -> Comparison:
    """b against a between two times. apart_ns: how far apart the entries of one trade may be.

    The P&L of both is net of costs, or that of both is before them: see `level`.
    """
    ours, theirs = within(a, begin_ns, end_ns), within(b, begin_ns, end_ns)
    # A partner may lie just outside: what crosses the edge of the span in one run alone is no difference.
    reach_a, reach_b = (within(run, begin_ns - apart_ns, end_ns + apart_ns) for run in (a, b))
    pairs = [(reach_a[i], reach_b[j]) for i, j in match(reach_a, reach_b, apart_ns)]
    inside_a, inside_b = set(map(id, ours)), set(map(id, theirs))
    inside = [(x, y) for x, y in pairs if id(x) in inside_a or id(y) in inside_b]
    paired_a, paired_b = {id(x) for x, _ in pairs}, {id(y) for _, y in pairs}
    scene = Scene(a, b, apart_ns)
    found = [scene.pair(x, y) for x, y in inside if not _is_equal(x, y)]
    found += [scene.single(a, b, trade) for trade in ours if id(trade) not in paired_a]
    found += [scene.single(b, a, trade) for trade in theirs if id(trade) not in paired_b]
    found.sort(key=lambda one: (one.entry_ts, one.symbol, one.only))
    n_a = sum(id(t) not in paired_a for t in ours) + len(inside)
    n_b = sum(id(t) not in paired_b for t in theirs) + len(inside)
    return Comparison(
        a=a.label,
        b=b.label,
        begin_ns=begin_ns,
        end_ns=end_ns,
        bar_ns=apart_ns,
        trades_a=n_a,
        trades_b=n_b,
        pairs=len(inside),
        equal=sum(_is_equal(x, y) for x, y in inside),
        identical=sum(_is_identical(x, y) for x, y in inside),
        pnl_a_usd=sum(trade.pnl_usd for trade in ours),
        pnl_b_usd=sum(trade.pnl_usd for trade in theirs),
        gross_usd=sum(abs(trade.pnl_usd) for trade in ours),
        differences=tuple(found),
        days=_days(ours, theirs, found, begin_ns, end_ns),
        slips=_slips(inside),
    )


def level(runs: Sequence[Run]) -> list[Run]:
    """The runs with P&L before costs, if one of them does not know its costs; else as they are."""
    if not any(math.isnan(trade.costs_usd) for run in runs for trade in run.trades):
        return list(runs)
    return [
        msgspec.structs.replace(
            run,
            trades=tuple(msgspec.structs.replace(t, pnl_usd=t.gross_usd, costs_usd=math.nan) for t in run.trades),
        )
        for run in runs
    ]


def _is_equal(a: Trade, b: Trade) -> bool:
    off_usd = abs(a.pnl_usd - b.pnl_usd)
    return a.quantity == b.quantity and off_usd <= max(PNL_TOLERANCE * abs(a.pnl_usd), PNL_FLOOR_USD)


def _is_identical(a: Trade, b: Trade) -> bool:
    prices = all(
        math.isclose(p, q, rel_tol=1e-9) for p, q in ((a.entry_price, b.entry_price), (a.exit_price, b.exit_price))
    )
    times = (a.entry_ts, a.exit_ts, a.quantity) == (b.entry_ts, b.exit_ts, b.quantity)
    return times and prices and abs(a.pnl_usd - b.pnl_usd) < PNL_FLOOR_USD / 2


def _days(
    a: Iterable[Trade], b: Iterable[Trade], found: Iterable[Difference], begin_ns: int, end_ns: int
) -> tuple[Day, ...]:
    rows: dict[date, list[float]] = {}
    if end_ns > begin_ns:
        day, last = sessions.trade_date(begin_ns), sessions.trade_date(end_ns - 1)
        while day <= last:
            rows[day] = [0, 0, 0.0, 0.0, 0]
            day = sessions.next_trade_date(day)

    def row(ts_ns: int) -> list[float]:
        return rows.setdefault(sessions.trade_date(ts_ns), [0, 0, 0.0, 0.0, 0])

    for k, trades in enumerate((a, b)):
        for trade in trades:
            row(trade.exit_ts)[k] += 1
            row(trade.exit_ts)[2 + k] += trade.pnl_usd
    for one in found:
        row(one.exit_ts)[4] += 1
    return tuple(Day(day, int(v[0]), int(v[1]), v[2], v[3], int(v[4])) for day, v in sorted(rows.items()))


def _slips(pairs: Sequence[tuple[Trade, Trade]]) -> tuple[Slip, ...]:
    by_symbol: dict[str, list[tuple[Trade, Trade]]] = defaultdict(list)
    for pair in pairs:
        if not math.isnan(pair[0].tick):
            by_symbol[pair[0].symbol].append(pair)
    found = []
    for symbol, rows in sorted(by_symbol.items()):
        entries = [a.side * (b.entry_price - a.entry_price) / a.tick for a, b in rows]
        exits = [a.side * (a.exit_price - b.exit_price) / a.tick for a, b in rows]
        late_s = [(b.entry_ts - a.entry_ts) / 1e9 for a, b in rows]
        n = len(rows)
        found.append(
            Slip(symbol, n, sum(entries) / n, sum(exits) / n, max((*entries, *exits), key=abs), sum(late_s) / n)
        )
    return tuple(found)
