"""Comparison of runs, trade by trade: which trades are the same, and where they part.

Trades of one symbol and side are matched one to one, first those that began at the same time, then the nearest within
one bar. A pair is equal when its sizes are and its P&L within 2 % (a cent at least). What is left is a difference, and
each difference has a cause (`rooney.performance.causes`).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from rooney.errors import ConfigError
from rooney.format import minute_text
from rooney.market import sessions
from rooney.market.sessions import HOUR_NS, SECOND_NS
from rooney.orders.decisions import Trade
from rooney.performance.causes import PNL_FLOOR_USD, Difference, Scene
from rooney.performance.pairs import nearest_pairs
from rooney.performance.runs import BAR_NS, Kind, Run, daily, within
from rooney.performance.verdict import Comparison, Day, Slip, Verdict, verdict

PNL_TOLERANCE = 0.02


def compare_all(
    runs: Sequence[Run],
    limit: float,
    ts_ns: int,
    start: datetime | None,
    end: datetime | None,
    bar: str | None,
    kind: str = "compare",
) -> Verdict:
    """Verdict on every other run against the first, over the time all cover. Raises ConfigError if there is none.

    start, end: narrow that time, or widen it for a run that only tells its trades (the old system's)
    """
    begin_ns, end_ns = common([run for run in runs if run.kind is not Kind.OLD] or runs)
    if start is None:
        begin_ns = max([begin_ns, *(run.begin_ns for run in runs)])
    if end is None:
        end_ns = min([end_ns, *(run.end_ns for run in runs)])
    begin_ns = begin_ns if start is None else max(begin_ns, int(start.timestamp()) * SECOND_NS)
    end_ns = end_ns if end is None else min(end_ns, int(end.timestamp()) * SECOND_NS)
    if begin_ns >= end_ns:
        spans = ", ".join(f"{r.label} {minute_text(r.begin_ns)} to {minute_text(r.end_ns)}" for r in runs)
        raise ConfigError(f"compare: the runs have no time in common: {spans}; nothing was compared")
    runs = level(_named_apart(runs))
    apart_ns = BAR_NS[bar] if bar else bar_ns(*runs)
    comparisons = [compare(runs[0], other, begin_ns, end_ns, apart_ns) for other in runs[1:]]
    return verdict(_name(runs), kind, ts_ns, limit, runs, comparisons)


def _named_apart(runs: Sequence[Run]) -> list[Run]:
    """Labels that differ: two folders may have one name."""
    seen: dict[str, int] = {}
    labelled = []
    for run in runs:
        seen[run.label] = seen.get(run.label, 0) + 1
        label = run.label if seen[run.label] == 1 else f"{run.label} ({seen[run.label]})"
        labelled.append(msgspec.structs.replace(run, label=label))
    return labelled


def _name(runs: Sequence[Run]) -> str:
    """Name of a comparison: the first ledger's, else the first run's."""
    ledgers = [run.label for run in runs if run.kind is Kind.LEDGER]
    return (ledgers or [runs[0].label])[0].replace("/", "_")


def bar_ns(*runs: Run) -> int:
    """Length of a bar: the longest of the runs' timeframes, an hour where none is known."""
    return max((BAR_NS[run.timeframe] for run in runs if run.timeframe), default=HOUR_NS)


def common(runs: Sequence[Run]) -> tuple[int, int]:
    """(begin, end) of the time all cover."""
    return max(run.begin_ns for run in runs), min(run.end_ns for run in runs)


def match(a: Sequence[Trade], b: Sequence[Trade], apart_ns: int) -> list[tuple[int, int]]:
    """Pairs of indices of trades of one symbol and side, by a's entry. apart_ns: of their entries, at most."""
    return nearest_pairs(a, b, lambda trade: (trade.symbol, trade.side), lambda trade: trade.entry_ts, apart_ns)


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
    differences = [scene.pair(x, y) for x, y in inside if not _is_equal(x, y)]
    differences += [scene.single(a, b, trade) for trade in ours if id(trade) not in paired_a]
    differences += [scene.single(b, a, trade) for trade in theirs if id(trade) not in paired_b]
    differences.sort(key=lambda difference: (difference.entry_ts, difference.symbol, difference.only))
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
        differences=tuple(differences),
        days=_days(ours, theirs, differences, begin_ns, end_ns),
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
    a: Iterable[Trade], b: Iterable[Trade], differences: Iterable[Difference], begin_ns: int, end_ns: int
) -> tuple[Day, ...]:
    usd_a, usd_b = (daily(trades, begin_ns, end_ns) for trades in (a, b))
    n_a, n_b, off = (Counter(sessions.trade_date(row.exit_ts) for row in rows) for rows in (a, b, differences))
    return tuple(
        Day(day, n_a[day], n_b[day], usd_a.get(day, 0.0), usd_b.get(day, 0.0), off[day])
        for day in sorted({*usd_a, *usd_b, *off})
    )


def _slips(pairs: Sequence[tuple[Trade, Trade]]) -> tuple[Slip, ...]:
    by_symbol: dict[str, list[tuple[Trade, Trade]]] = defaultdict(list)
    for pair in pairs:
        if not math.isnan(pair[0].tick):
            by_symbol[pair[0].symbol].append(pair)
    slips = []
    for symbol, rows in sorted(by_symbol.items()):
        entries = [a.side * (b.entry_price - a.entry_price) / a.tick for a, b in rows]
        exits = [a.side * (a.exit_price - b.exit_price) / a.tick for a, b in rows]
        late_s = [(b.entry_ts - a.entry_ts) / 1e9 for a, b in rows]
        n = len(rows)
        slips.append(
            Slip(symbol, n, sum(entries) / n, sum(exits) / n, max((*entries, *exits), key=abs), sum(late_s) / n)
        )
    return tuple(slips)
