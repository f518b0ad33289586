"""`rooney why`: what a strategy decided for an instrument at a mark, from what numbers, and what held it back.

A decision is a row of the ledger; what its numbers are held against (parameters, filters, limits) is the configuration
in force now. Where there is no row, the reason for that is found instead: no bar of the strategy's timeframe, a closed
market, no minute on the tape, a worker that was down.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from rooney.config.loader import Config
from rooney.config.schema import StrategyBlock
from rooney.format import minute_text, second_text, size_text, table, usd_text
from rooney.ledger.reader import opened
from rooney.ledger.records import Decision
from rooney.ledger.snapshot import Snapshot
from rooney.market import sessions
from rooney.market.instruments import group_of
from rooney.market.sessions import CHICAGO, HOUR_NS, SECOND_NS
from rooney.models.forest import read_models
from rooney.orders.intents import Role, State
from rooney.orders.lifecycle import Order
from rooney.strategy.entry_filters import entry_filters
from rooney.strategy.filters import Filter, filter_field
from rooney.strategy.loader import load

_RULES = ("should_enter_long", "should_enter_short")

_OVERDUE = ("no_redis", "no_tape", "down", "behind", "no_minute")

SAID = {
    "not_evaluated": "nothing was asked of the rules at this mark",
    "warming_up": "a feature has no value yet: not enough bars",
    "no_signal": "no entry rule says yes",
    "hold": "a position is open and no exit holds",
    "enter_long": "an entry was decided: long",
    "enter_short": "an entry was decided: short",
    "exit": "an exit was decided",
    "slots_full": "an entry rule says yes, and every slot is taken",
    "daily_loss": "an entry rule says yes, and the daily loss limit holds all entries back",
    "pending": "an order of the instrument is on its way",
    "reentry_wait": "an entry rule says yes, so soon after an exit",
    "close_margin": "an entry rule says yes, so shortly before the close or outside the session",
    "gap": "an entry rule says yes, and data was lost: no entries on this trade date",
    "uncertain": "an order of the instrument is of unknown fate: no entries in it on this trade date",
    "filtered": "an entry rule says yes, and a filter says no",
    "vetoed": "an entry rule says yes, and the model's score is below its threshold",
    "no_score": "an entry rule says yes, and the model has no score: a value it needs is missing",
    "no_model": "an entry rule says yes, and there is no model for the instrument (on_missing_model: refuse)",
    "window": "an entry rule says yes, at a time of the day that admits no entry",
    "margin": "an entry rule says yes, and the equity does not carry another margin",
    "drawdown": "an entry rule says yes, and the drawdown limit holds all entries back",
    "rolling": "closed by a roll, to be opened again in the new contract",
}


class Rules(msgspec.Struct, frozen=True):
    """Settings that decisions are held against, as configured now.

    block:     the strategy's own; timeframe: of the bars it decides on; params: by symbol
    filters:   in the order they are asked; entry_windows: Chicago times of day
    rules:     name → the strategy's own function of (features, parameters); thresholds: of vetoes, by symbol
    """

    block: StrategyBlock
    timeframe: str
    params: Mapping[str, Mapping[str, Any]]
    filters: Mapping[str, Filter]
    rules: Mapping[str, Any]
    entry_windows: tuple[str, ...]
    thresholds: Mapping[str, float]


class Answer(msgspec.Struct, frozen=True):
    """An instrument at a mark. facts: label → text, in the order to be shown; orders: decided at the mark."""

    strategy: str
    symbol: str
    ts_mark: int
    reason: str
    text: str
    facts: dict[str, str]
    features: dict[str, float | None]
    score: float
    orders: tuple[Order, ...]


class _Names:
    """Numbers by name, as rules see them; a value that is missing is NaN."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update({name: math.nan if value is None else value for name, value in values.items()})


def first_refusing(filters: Mapping[str, Filter], features: Mapping[str, float | None]) -> str:
    """Name of the first filter that says no to these values, empty if all pass; as the step judges it."""
    return next((name for name, one in filters.items() if not _passes(one, features.get(filter_field(name)))), "")


def _passes(one: Filter, value: float | None) -> bool:
    if value is None or math.isnan(value):
        return one.missing == "pass"
    if not (one.low <= value <= one.high and one.above < value < one.below):
        return False
    return not one.allowed or (0.0 <= value <= 62.0 and int(value) in one.allowed)


def newest_decision(path: Path, at_ns: int, symbol: str) -> tuple[Decision, tuple[Order, ...]] | None:
    """The newest one of an instrument at or before `at_ns`, and what was ordered by it. Raises LedgerError."""
    with opened(path) as ask:
        newest = ask.decisions("WHERE ts_mark <= ? AND symbol = ? ORDER BY ts_mark DESC LIMIT 1", (at_ns, symbol))
        return (newest[0], ask.orders("symbol = ? AND ts_mark = ?", (symbol, newest[0].ts_mark))) if newest else None


def explain(decision: Decision, orders: tuple[Order, ...], snapshot: Snapshot, rules: Rules) -> Answer:
    """Everything that bears on a decision. orders: decided by it."""
    facts: dict[str, str] = {"clock": _clock(decision.symbol, decision.ts_mark)}
    if decision.latency_ns:
        facts["latency"] = f"decided {decision.latency_ns / 1e6:.1f} ms after the record that closed the bar came in"
    facts |= _rules(decision, rules)
    facts |= _score(decision, rules)
    facts |= _limits(decision, snapshot, rules)
    for order in orders:
        facts[f"order {order.id}"] = _order(order)
    text = SAID.get(decision.reason, decision.reason)
    if decision.reason == "filtered" and (name := first_refusing(rules.filters, decision.features)):
        text += f": {name}"
    for order in orders:
        if order.state is not State.ACKNOWLEDGED:
            text += f"; {order.state.upper()}: {order.events[-1].detail}".rstrip(": ")
    return Answer(
        snapshot.name,
        decision.symbol,
        decision.ts_mark,
        decision.reason,
        text,
        facts,
        decision.features,
        decision.score,
        orders,
    )


def _clock(symbol: str, ts_mark: int) -> str:
    local = datetime.fromtimestamp(ts_mark // SECOND_NS, UTC).astimezone(CHICAGO)
    group = group_of(symbol)
    change_ns, word = sessions.next_change(group, ts_mark - 1)
    window = sessions.window_at(group, ts_mark - 1)
    ends = sorted({change_ns, min(window.ends_ns, change_ns)}) if window else ()  # two where the close is disputed
    day = sessions.trade_date(ts_mark - 1)
    text = f"bar ended {minute_text(ts_mark)}, Chicago {local:%H:%M}, trade date {day.isoformat()}"
    return f"{text}, {' or '.join(f'{word} {minute_text(at)[11:]}' for at in ends) or 'market closed'}"


def _rules(decision: Decision, rules: Rules) -> dict[str, str]:
    """Verdicts of the strategy's own rules on these numbers, and what they were held against."""
    params = rules.params.get(decision.symbol, {})
    found = {}
    # A rule that meets NaN says no; entries are not asked for while a feature is missing.
    f, p = _Names(decision.features), _Names(params)
    votes = []
    for name in _RULES:
        try:
            votes.append(f"{name} {'yes' if rules.rules[name](f, p) else 'no'}")
        except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError):
            votes.append(f"{name} ?")  # of other features than the strategy file has now
    found["rules now"] = ", ".join(votes)
    if params:
        found["parameters"] = ", ".join(f"{name} {_value(value)}" for name, value in params.items())
    for name, one in rules.filters.items():
        value = decision.features.get(filter_field(name))
        verdict = "passes" if _passes(one, value) else "REFUSES"
        found[f"filter {name}"] = f"{_value(value)} {verdict} ({_bounds(one)})"
    return found


def _bounds(one: Filter) -> str:
    parts = [
        f"{sign} {bound:.10g}"
        for sign, bound in ((">=", one.low), ("<=", one.high), (">", one.above), ("<", one.below))
        if math.isfinite(bound)
    ]
    if one.allowed:
        parts.append(f"one of {', '.join(map(str, one.allowed))}")
    return f"{' and '.join(parts) or 'any value'}; missing: {one.missing}"


def _score(decision: Decision, rules: Rules) -> dict[str, str]:
    if math.isnan(decision.score):
        return {}
    threshold = rules.thresholds.get(decision.symbol)
    if threshold is None:
        return {"veto": f"score {decision.score:.4f}"}
    sign = "<" if decision.score < threshold else ">="
    return {"veto": f"score {decision.score:.4f} {sign} {threshold:.4f} threshold"}


def _limits(decision: Decision, snapshot: Snapshot, rules: Rules) -> dict[str, str]:
    """The limits, with what was known of them at that mark: of the newest one all, of an older one its trades."""
    now = decision.ts_mark
    day = sessions.trade_date(now - 1)
    found = {}
    account = snapshot.account
    is_newest = snapshot.ts_mark - now < HOUR_NS
    used = [held for held in snapshot.held if held.side or held.pending]
    block = rules.block
    if is_newest:
        names = f": {', '.join(held.symbol for held in used)}" if used else ""
        found["slots"] = f"{len(used)} of {block.max_positions} used{names} (at {minute_text(snapshot.ts_mark)[11:]})"
    if is_newest and account is not None and sessions.trade_date(snapshot.ts_mark - 1) == day:
        latch = ", LATCHED" if account.is_halted else ""
        found["daily loss"] = f"day {usd_text(account.day_usd)} of -{block.daily_stop_loss:,.2f} USD{latch} (est.)"
    else:
        closed = [trade for trade in snapshot.trades if trade.exit_ts <= now]
        booked = sum(trade.pnl_usd for trade in closed if sessions.trade_date(trade.exit_ts) == day)
        found["daily loss"] = f"closed that day until then {usd_text(booked)} of -{block.daily_stop_loss:,.2f} USD"
    if is_newest and account is not None and block.drawdown_halt:
        latch = ", LATCHED" if account.is_drawdown_halted else ""
        found["drawdown"] = f"{-account.drawdown_usd:+,.2f} of -{block.drawdown_halt:,.2f} USD{latch} (est.)"
    last = next((t for t in reversed(snapshot.trades) if t.symbol == decision.symbol and t.exit_ts <= now), None)
    if last is not None and decision.reason == "reentry_wait":
        found["re-entry"] = f"closed {second_text(last.exit_ts)}, no entry for {block.reentry_wait_s:g} s"
    if decision.reason == "close_margin":
        found["close margin"] = f"no entry in the last {block.close_margin_s:g} s before the close"
    if decision.reason == "window":
        found["windows"] = (
            f"entries in {', '.join(rules.entry_windows) or 'all hours'}; none in "
            f"{', '.join(block.no_entry_windows) or 'no window'} (Chicago)"
        )
    if decision.reason in ("uncertain", "pending"):
        for order in snapshot.orders:
            if order.symbol == decision.symbol and order.is_open:
                found[f"waits for {order.id}"] = _order(order)
    return found


def _order(order: Order) -> str:
    """An order's life in a line: where each step led, and what said no."""
    steps = []
    for step in order.events:
        status = f"HTTP {step.status}" if step.status else ""
        steps.append(" ".join(f"{step.state} {status} {step.detail}".split()))
    size = size_text(order.side, order.quantity) if order.role is Role.ENTRY else "all"
    return f"{order.role.name.lower()} {order.ticker} {size}, {order.cause}: {' -> '.join(steps)}"


def summary(answers: Sequence[Answer], head: str) -> list[str]:
    """A line per instrument."""
    return [head, *table([(a.symbol, minute_text(a.ts_mark), a.reason, a.text) for a in answers])]


def lines(answers: Sequence[Answer], head: str) -> list[str]:
    """For a terminal."""
    text = [head] if head else []
    for one in answers:
        text += ["", f"{one.symbol}  {minute_text(one.ts_mark)}  {one.reason}: {one.text}"]
        rows = [(label, value) for label, value in one.facts.items()]
        if one.features:
            values = ", ".join(f"{name} {_value(value)}" for name, value in one.features.items())
            rows.insert(1, ("features", values))
        text += table(rows)
    return text


def _value(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "none yet"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def as_json(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """The same for programs; times UTC ns, what is missing null."""
    return [
        {
            "symbol": one.symbol,
            "ts_mark_ns": one.ts_mark,
            "reason": one.reason,
            "text": one.text,
            "features": one.features,
            "score": one.score if math.isfinite(one.score) else None,
            "facts": one.facts,
            "orders": [
                {
                    "id": order.id,
                    "role": order.role.name.lower(),
                    "state": str(order.state),
                    "events": [
                        {"state": str(s.state), "ts_ns": s.ts_wall, "status": s.status, "detail": s.detail}
                        for s in order.events
                    ],
                }
                for order in one.orders
            ],
        }
        for one in answers
    ]


def needs_look(answers: Sequence[Answer]) -> bool:
    """True if a decision that could be expected is missing, or an order of these was not taken."""
    lost = (State.DROPPED, State.REFUSED, State.UNCONFIRMED)
    return any(a.reason in _OVERDUE or any(order.state in lost for order in a.orders) for a in answers)


def instant(text: str, near_ns: int) -> int:
    """`2026-03-11T15:02`, `2026-03-11T09:02-06:00`, `15:02` of the newest such UTC time before `near_ns`; UTC ns.

    Raises ValueError.
    """
    if len(text) <= 8 and "T" not in text:
        near = datetime.fromtimestamp(near_ns // SECOND_NS, UTC)
        at = datetime.fromisoformat(f"{near:%Y-%m-%d}T{text.removesuffix('Z')}").replace(tzinfo=UTC)
        at = at if at <= near else at - timedelta(days=1)
    else:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int(at.timestamp()) * SECOND_NS


def rules_of(config: Config, name: str) -> Rules:
    """Raises ConfigError for a strategy that is not configured or cannot be loaded."""
    strategy = config.strategy(name)
    block, cls = strategy.settings, load(strategy.strategy)
    models, stem = strategy.models_path, Path(strategy.strategy).stem
    vetoes = {} if models is None else read_models(models, strategy.traded, stem, trees=False)
    declared = {key: (param.default, param.low, param.high) for key, param in cls.declared().items()}
    return Rules(
        block=block,
        timeframe=cls.timeframe,
        params={symbol: strategy.params(declared, symbol) for symbol in strategy.traded},
        filters=entry_filters(strategy, cls),
        rules={rule: getattr(cls, rule) for rule in _RULES},
        entry_windows=cls.entry_windows if block.entry_windows is None else block.entry_windows,
        thresholds={symbol: veto.threshold for symbol, veto in vetoes.items()},
    )
