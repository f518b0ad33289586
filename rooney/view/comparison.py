"""Two runs side by side: which trades are the same, where they part, and why as far as the runs can say. Pure.

Trades of one symbol and side are matched one to one, first those that began at the same time, then the nearest within
one bar. A pair is equal when its sizes are and its P&L within 2 % (a cent at least). What is left is a difference, and
each difference has a cause: found in what a run's ledger decided and sent, in what a run was made with, in the known
defects of the old live system, or not at all.
"""

import enum
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

import msgspec

from rooney import sessions
from rooney.orders import Role, State
from rooney.sessions import HOUR_NS, MINUTE_NS
from rooney.view.portrait import Decision, Order
from rooney.view.runs import BAR_NS, Kind, Measures, Run, Trade, curve, measure

PNL_TOLERANCE, PNL_FLOOR_USD = 0.02, 0.01
DISCREPANCY = 0.05  # above this a comparison wants attention
_LATE_NS = 2 * HOUR_NS  # a record made so long after its trade was not made by a live signal
_TOP_OF_HOUR_NS, _SHORT_NS = 5 * MINUTE_NS, 10 * MINUTE_NS


class Cause(enum.StrEnum):
    """Why a trade is not the same."""

    MISSING_BAR = "missing bar"
    VETO = "veto"
    FILTER = "filter"
    LIMIT = "limit"
    NO_MODEL = "missing model"
    HALTED = "halted"
    REFUSED = "refused"
    UNCONFIRMED = "unconfirmed"
    FILL = "fill assumption"
    SLIPPAGE = "slippage"
    COSTS = "costs"
    SIZE = "size"
    SIGNAL = "other signal"
    NOT_TRADED = "not traded"
    FOLLOWS = "follows from another"
    OLD_DEFECT = "defect of the old live system"
    UNEXPLAINED = "unexplained"


_REASONS = {
    "vetoed": Cause.VETO,
    "no_score": Cause.NO_MODEL,
    "no_model": Cause.NO_MODEL,
    "filtered": Cause.FILTER,
    "gap": Cause.MISSING_BAR,
    "warming_up": Cause.MISSING_BAR,
    "uncertain": Cause.UNCONFIRMED,
    "pending": Cause.UNCONFIRMED,
} | dict.fromkeys(
    ("slots_full", "margin", "window", "close_margin", "reentry_wait", "daily_loss", "drawdown"), Cause.LIMIT
)
_STATES = {State.REFUSED: Cause.REFUSED, State.UNCONFIRMED: Cause.UNCONFIRMED, State.DROPPED: Cause.HALTED}


class Difference(msgspec.Struct, frozen=True):
    """A trade that is not the same. only: the label of the run that has it, empty for a pair; usd: P&L of b minus a."""

    symbol: str
    entry_ts: int
    exit_ts: int
    only: str
    cause: Cause
    text: str
    usd: float


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
    scene = _Scene(a, b, apart_ns)
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


class _Scene:
    """Two runs, and how their differences are explained."""

    def __init__(self, a: Run, b: Run, apart_ns: int) -> None:
        self._a, self._b, self._apart_ns = a, b, apart_ns

    # ── one side only ──

    def single(self, has: Run, lacks: Run, trade: Trade) -> Difference:
        """A trade the other run does not have."""
        cause, text = self._absent(has, lacks, trade)
        usd = trade.pnl_usd if has is self._b else -trade.pnl_usd
        return Difference(trade.symbol, trade.entry_ts, trade.exit_ts, has.label, cause, text, usd)

    def _absent(self, has: Run, lacks: Run, trade: Trade) -> tuple[Cause, str]:
        name = lacks.label
        if lacks.assumed.symbols and trade.symbol not in lacks.assumed.symbols:
            return Cause.NOT_TRADED, f"{name} does not trade {trade.symbol}"
        if has.kind is Kind.OLD and (defect := _old_defect(has, trade)):
            return Cause.OLD_DEFECT, defect
        mark = self._mark(has, trade)
        near = (trade.symbol, mark - self._apart_ns, mark + self._apart_ns)
        for order in lacks.witness.orders(*near):
            if order.role is Role.ENTRY and (cause := _lost(order)):
                return cause, f"{name} decided it and its order was {_life(order)}"
        held = self._held(lacks, trade)
        if held is not None:
            text = f"{name} was {_side(held)} since {_utc(held.entry_ts)}: see the difference of that trade"
            return Cause.FOLLOWS, text
        decided = {one.ts_mark: one for one in lacks.witness.decisions(trade.symbol, near[1] - 2 * self._apart_ns,
                                                                       near[2] + 2 * self._apart_ns)}  # fmt: skip
        if mark in decided:
            return self._refused(name, decided[mark], has, trade)
        if decided:
            return Cause.MISSING_BAR, f"{name} has no bar of {trade.symbol} that ended {_utc(mark)}"
        threshold = lacks.assumed.thresholds.get(trade.symbol, math.nan)
        if trade.score < threshold:
            return Cause.VETO, f"score {trade.score:.4f} is below the threshold {threshold:.4f} of {name}"
        if 0 < lacks.assumed.max_positions <= _open_at(lacks, trade.entry_ts):
            n = lacks.assumed.max_positions
            return Cause.LIMIT, f"{name} had its {n} positions open already"
        return Cause.UNEXPLAINED, f"{name} has no such trade, and says nothing about that time"

    def _refused(self, name: str, decision: Decision, has: Run, trade: Trade) -> tuple[Cause, str]:
        """Why a decision is not an entry."""
        reason, at = decision.reason, _utc(decision.ts_mark)
        if (cause := _REASONS.get(reason)) is not None:
            score = f", score {decision.score:.4f}" if not math.isnan(decision.score) else ""
            return cause, f"{name} at {at}: {reason.replace('_', ' ')}{score}"
        theirs = {one.ts_mark: one for one in has.witness.decisions(trade.symbol, decision.ts_mark - 1,
                                                                    decision.ts_mark)}  # fmt: skip
        other = theirs.get(decision.ts_mark)
        parted = _parted(other.features, decision.features) if other is not None else ""
        if parted:
            return Cause.SIGNAL, f"{name} at {at}: {reason.replace('_', ' ')}; {parted}"
        if reason in ("hold", "exit"):
            return Cause.FOLLOWS, f"{name} at {at}: {reason}, it was in a position"
        return Cause.UNEXPLAINED, f"{name} at {at}: {reason.replace('_', ' ')} on the same numbers"

    def _held(self, run: Run, trade: Trade) -> Trade | None:
        """What a run held in the symbol when the other entered, begun more than a bar before."""
        for one in run.trades:
            begun = one.entry_ts < trade.entry_ts - self._apart_ns
            if one.symbol == trade.symbol and begun and one.exit_ts > trade.entry_ts:
                return one
        return None

    def _mark(self, run: Run, trade: Trade) -> int:
        """End of the bar that decided an entry: by the run's own word, else the last full bar before the fill."""
        before = run.witness.decisions(trade.symbol, trade.entry_ts - 3 * self._apart_ns, trade.entry_ts + MINUTE_NS)
        entries = [one.ts_mark for one in before if one.reason.startswith("enter")]
        return entries[-1] if entries else trade.entry_ts - trade.entry_ts % self._apart_ns

    # ── both sides ──

    def pair(self, a: Trade, b: Trade) -> Difference:
        """A trade that both have, not the same."""
        cause, text = self._unequal(a, b)
        return Difference(
            a.symbol, a.entry_ts, max(a.exit_ts, b.exit_ts), "", cause, text, b.pnl_usd - a.pnl_usd
        )  # fmt: skip

    def _unequal(self, a: Trade, b: Trade) -> tuple[Cause, str]:
        if a.quantity != b.quantity:
            return Cause.SIZE, f"{a.quantity} contracts in {self._a.label}, {b.quantity} in {self._b.label}"
        for run, mine, other in ((self._a, a, b), (self._b, b, a)):
            if run.kind is Kind.OLD and (defect := _old_shift(mine, other)):
                return Cause.OLD_DEFECT, defect
        if a.entry_ts != b.entry_ts:
            return self._shifted("entry", a, b, a.entry_ts, b.entry_ts)
        if a.exit_ts != b.exit_ts or a.cause != b.cause:
            return self._shifted("exit", a, b, a.exit_ts, b.exit_ts)
        return self._priced(a, b)

    def _shifted(self, what: str, a: Trade, b: Trade, at_a: int, at_b: int) -> tuple[Cause, str]:
        """The same trade at another time, or for another cause."""
        role = Role.ENTRY if what == "entry" else Role.EXIT
        when = f"{what} {_utc(at_a)} in {self._a.label}, {_utc(at_b)} in {self._b.label}"
        first, last = min(at_a, at_b), max(at_a, at_b)
        for run in (self._a, self._b):
            for order in run.witness.orders(a.symbol, first - self._apart_ns, last + MINUTE_NS):
                if order.role is role and (cause := _troubled(order)):
                    return cause, f"{when}: the order of {run.label} was {_life(order)}"
        for run in (self._a, self._b):
            mine, other = (at_a, at_b) if run is self._a else (at_b, at_a)
            missing = self._missing(run, a.symbol, other) if mine > other else 0
            if missing:
                return Cause.MISSING_BAR, f"{when}: {run.label} has no bar of {a.symbol} that ended {_utc(missing)}"
        if what == "exit":
            both = {a.cause, b.cause}
            fills = self._a.assumed.stop_fill, self._b.assumed.stop_fill
            if both & {"stop", "target"} and fills[0] != fills[1] and all(fills):
                return Cause.FILL, f"{when}: stops judged {fills[0]} and {fills[1]}"
            if both & {"stop", "target"} and a.entry_price != b.entry_price:
                return Cause.FILL, f"{when} ({a.cause}, {b.cause}): entered at another price, so its stop was another"
            if both & {"daily_loss", "drawdown"}:
                return Cause.LIMIT, f"{when}: {a.cause} and {b.cause}"
            if "operator" in both:
                return Cause.HALTED, f"{when}: closed by an operator in one of them"
        data = self._a.assumed.data, self._b.assumed.data
        if data[0] != data[1] and all(data) and 0 < last - first <= self._apart_ns:
            return Cause.MISSING_BAR, f"{when}: the two were made from other bars; the later has none to fill at before"
        return Cause.UNEXPLAINED, f"{when} ({a.cause}, {b.cause})"

    def _missing(self, run: Run, symbol: str, ts_ns: int) -> int:
        """End of a bar before `ts_ns` that the other run decided at and this one did not; 0 if none is known."""
        mark = ts_ns - ts_ns % self._apart_ns
        decided = {one.ts_mark for one in run.witness.decisions(symbol, mark - 4 * self._apart_ns,
                                                                mark + 4 * self._apart_ns)}  # fmt: skip
        other = self._a if run is self._b else self._b
        # A stop is judged between bars, so an exit is no sign of one.
        near = other.witness.decisions(symbol, mark - 2 * self._apart_ns, mark + self._apart_ns)
        theirs = {one.ts_mark for one in near if one.reason != "exit"}
        lacking = sorted(theirs - decided) if decided else []
        return lacking[-1] if lacking else 0

    def _priced(self, a: Trade, b: Trade) -> tuple[Cause, str]:
        """The same times, other money."""
        entry = a.side * (b.entry_price - a.entry_price) / a.tick
        exit_ = a.side * (a.exit_price - b.exit_price) / a.tick
        if abs(entry) < 1e-6 and abs(exit_) < 1e-6:
            if abs(a.costs_usd - b.costs_usd) > PNL_FLOOR_USD / 2:
                return Cause.COSTS, f"{a.costs_usd:.2f} USD in {self._a.label}, {b.costs_usd:.2f} in {self._b.label}"
            return Cause.UNEXPLAINED, "the same prices, times and costs, another P&L"
        text = f"{self._b.label} entered {_worse(entry)} and left {_worse(exit_)}"
        given = [run.assumed.slippage_ticks.get(a.symbol, math.nan) for run in (self._a, self._b)]
        if abs(given[1] - given[0]) > 0 and all(abs(x - (given[1] - given[0])) < 1e-6 for x in (entry, exit_)):
            return Cause.FILL, f"{text}: it assumes {given[1]:g} ticks of slippage, {self._a.label} {given[0]:g}"
        fills = self._a.assumed.fill, self._b.assumed.fill
        if fills[0] != fills[1] and all(fills):
            return Cause.FILL, f"{text}: filled at the {fills[1]}, not at the {fills[0]}"
        return Cause.SLIPPAGE, text


def _old_defect(run: Run, trade: Trade) -> str:
    """Which known defect of the old live system made a trade nobody else has; empty if none shows. Its §6.7."""
    if trade.written_ts - trade.exit_ts > _LATE_NS:
        return "F: written long after its time: a session replayed after a restart was taken for live"
    early = trade.entry_ts % HOUR_NS <= _TOP_OF_HOUR_NS
    if early and trade.exit_ts - trade.entry_ts <= _SHORT_NS:
        return "A: at the top of an hour it took bars of one minute for hourly ones"
    hour = trade.entry_ts // HOUR_NS
    if any(t is not trade and t.symbol == trade.symbol and t.entry_ts // HOUR_NS == hour for t in run.trades):
        return "E: the same hour was evaluated again, and entered twice"
    return ""


def _old_shift(old: Trade, other: Trade) -> str:
    """Which of them moved a trade both have; empty if none shows."""
    late_ns = old.entry_ts - other.entry_ts
    if HOUR_NS - _TOP_OF_HOUR_NS <= late_ns <= HOUR_NS + _TOP_OF_HOUR_NS:
        return "D: its order left an hour late, once the next hour was complete"
    if late_ns == MINUTE_NS:
        return "B: its hours ran from hh:01, so it was filled a minute later"
    return ""


def _lost(order: Order) -> Cause | None:
    """What kept an entry from becoming a position."""
    if order.state in _STATES:
        return _STATES[order.state]
    if order.state is State.RESOLVED and any(step.state is State.UNCONFIRMED for step in order.steps):
        return Cause.UNCONFIRMED
    return None


def _troubled(order: Order) -> Cause | None:
    """What went wrong on an order's way, whatever became of it."""
    return next((_STATES[step.state] for step in order.steps if step.state in _STATES), None)


def _life(order: Order) -> str:
    steps = (f"{step.state} {step.status or ''} {step.detail}" for step in order.steps if step.state in _STATES)
    return "; ".join(" ".join(step.split()) for step in steps) or str(order.state)


def _parted(a: dict[str, float | None], b: dict[str, float | None]) -> str:
    """Features that are not the same, the first three."""
    names = [name for name in a if name in b and not _same(a[name], b[name])]
    return ", ".join(f"{name} {_value(a[name])} there, {_value(b[name])} here" for name in names[:3])


def _same(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12))


def _value(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _open_at(run: Run, ts_ns: int) -> int:
    return sum(trade.entry_ts <= ts_ns < trade.exit_ts for trade in run.trades)


def _worse(ticks: float) -> str:
    """By how much a price was worse."""
    if abs(ticks) < 1e-6:
        return "at the same price"
    return f"{abs(ticks):.3g} {'tick' if abs(ticks) == 1 else 'ticks'} {'worse' if ticks > 0 else 'better'}"


def _side(trade: Trade) -> str:
    return "long" if trade.side > 0 else "short"


def _utc(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).strftime("%m-%d %H:%MZ")


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
