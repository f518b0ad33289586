"""A trade that is not the same in two runs, and why as far as the runs can say. Pure.

The cause is found in what a run's ledger decided and sent, in what a run was made with, in the known defects of the old
live system, or not at all.
"""

import enum
import math
from datetime import UTC, datetime

import msgspec

from rooney.ledger.records import Decision
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.orders.decisions import Trade
from rooney.orders.intents import Role, State
from rooney.orders.lifecycle import Order
from rooney.performance.pairs import differing
from rooney.performance.runs import Kind, OldTrade, Run

PNL_FLOOR_USD = 0.01  # below this money is the same
_LATE_NS = 2 * HOUR_NS  # a record made so long after its trade was not made by a live signal
_TOP_OF_HOUR_NS, _SHORT_NS = 5 * MINUTE_NS, 10 * MINUTE_NS


class Cause(enum.StrEnum):
    """Reason why a trade is not the same."""

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


class Scene:
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
        decided = {
            decision.ts_mark: decision
            for decision in lacks.witness.decisions(
                trade.symbol, near[1] - 2 * self._apart_ns, near[2] + 2 * self._apart_ns
            )
        }
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
        theirs = {
            known.ts_mark: known
            for known in has.witness.decisions(trade.symbol, decision.ts_mark - 1, decision.ts_mark)
        }
        other = theirs.get(decision.ts_mark)
        parted = _parted(other.features, decision.features) if other is not None else ""
        if parted:
            return Cause.SIGNAL, f"{name} at {at}: {reason.replace('_', ' ')}; {parted}"
        if reason in ("hold", "exit"):
            return Cause.FOLLOWS, f"{name} at {at}: {reason}, it was in a position"
        return Cause.UNEXPLAINED, f"{name} at {at}: {reason.replace('_', ' ')} on the same numbers"

    def _held(self, run: Run, trade: Trade) -> Trade | None:
        """Trade a run held in the symbol when the other entered, begun more than a bar before."""
        for held in run.trades:
            begun = held.entry_ts < trade.entry_ts - self._apart_ns
            if held.symbol == trade.symbol and begun and held.exit_ts > trade.entry_ts:
                return held
        return None

    def _mark(self, run: Run, trade: Trade) -> int:
        """End of the bar that decided an entry: by the run's own word, else the last full bar before the fill."""
        before = run.witness.decisions(trade.symbol, trade.entry_ts - 3 * self._apart_ns, trade.entry_ts + MINUTE_NS)
        entries = [decision.ts_mark for decision in before if decision.reason.startswith("enter")]
        return entries[-1] if entries else trade.entry_ts - trade.entry_ts % self._apart_ns

    # ── both sides ──

    def pair(self, a: Trade, b: Trade) -> Difference:
        """A trade that both have, not the same."""
        cause, text = self._unequal(a, b)
        return Difference(a.symbol, a.entry_ts, max(a.exit_ts, b.exit_ts), "", cause, text, b.pnl_usd - a.pnl_usd)

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
        decided = {
            decision.ts_mark
            for decision in run.witness.decisions(symbol, mark - 4 * self._apart_ns, mark + 4 * self._apart_ns)
        }
        other = self._a if run is self._b else self._b
        # A stop is judged between bars, so an exit is no sign of one.
        near = other.witness.decisions(symbol, mark - 2 * self._apart_ns, mark + self._apart_ns)
        theirs = {decision.ts_mark for decision in near if decision.reason != "exit"}
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
    """Known defect of the old live system that made a trade nobody else has; empty if none shows. Its §6.7."""
    if isinstance(trade, OldTrade) and trade.written_ts - trade.exit_ts > _LATE_NS:
        return "F: written long after its time: a session replayed after a restart was taken for live"
    early = trade.entry_ts % HOUR_NS <= _TOP_OF_HOUR_NS
    if early and trade.exit_ts - trade.entry_ts <= _SHORT_NS:
        return "A: at the top of an hour it took bars of one minute for hourly ones"
    hour = trade.entry_ts // HOUR_NS
    if any(t is not trade and t.symbol == trade.symbol and t.entry_ts // HOUR_NS == hour for t in run.trades):
        return "E: the same hour was evaluated again, and entered twice"
    return ""


def _old_shift(old: Trade, other: Trade) -> str:
    """Known defect that moved a trade both have; empty if none shows."""
    late_ns = old.entry_ts - other.entry_ts
    if HOUR_NS - _TOP_OF_HOUR_NS <= late_ns <= HOUR_NS + _TOP_OF_HOUR_NS:
        return "D: its order left an hour late, once the next hour was complete"
    if late_ns == MINUTE_NS:
        return "B: its hours ran from hh:01, so it was filled a minute later"
    return ""


def _lost(order: Order) -> Cause | None:
    """Reason that kept an entry from becoming a position; None where nothing did."""
    if order.state in _STATES:
        return _STATES[order.state]
    if order.state is State.RESOLVED and any(step.state is State.UNCONFIRMED for step in order.events):
        return Cause.UNCONFIRMED
    return None


def _troubled(order: Order) -> Cause | None:
    """Trouble on an order's way, whatever became of it; None without any."""
    return next((_STATES[step.state] for step in order.events if step.state in _STATES), None)


def _life(order: Order) -> str:
    steps = (f"{step.state} {step.status or ''} {step.detail}" for step in order.events if step.state in _STATES)
    return "; ".join(" ".join(step.split()) for step in steps) or str(order.state)


def _parted(a: dict[str, float | None], b: dict[str, float | None]) -> str:
    """Features that are not the same, the first three."""
    names = [name for name in differing(a, b, _same) if name in a and name in b]
    return ", ".join(f"{name} {_value(a[name])} there, {_value(b[name])} here" for name in names[:3])


def _same(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12))


def _value(value: float | None) -> str:
    return "none" if value is None else f"{value:.10g}"


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
