"""Decisions of a mark and what becomes of them, as values."""

import math
from collections.abc import Callable

import msgspec

from rooney.kernels.codes import Cause, OutcomeKind, Pending, Reason
from rooney.market.instruments import PRODUCTS, Contract
from rooney.orders.intents import Intent, Role, Side, new_intent_id


class Outcome(msgspec.Struct, frozen=True):
    """Outcome of an intent, named by instrument, role and the mark that decided it; or what the operator did.

    ts: when it was so, UTC ns; side, quantity, price: see OutcomeKind.POSITION and CASH
    """

    symbol: str
    role: Role
    ts_mark: int
    kind: OutcomeKind
    ts: int
    side: int = 0
    quantity: int = 0
    price: float = math.nan


class Decided(msgspec.Struct, frozen=True):
    """An intent as the step decided it.

    price: last close, in points; quantity 0 closes whatever is open; stop_price: of an entry, NaN without a stop
    """

    symbol: str
    contract: Contract
    role: Role
    side: Side
    quantity: int
    cause: Cause
    price: float
    stop_price: float = math.nan


class Trade(msgspec.Struct, frozen=True):
    """Closed trade at assumed fills; times UTC ns, prices in points.

    side:      1 long, -1 short
    pnl_usd:   net of costs_usd; where those are NaN they are not known, and the P&L is before them
    bars_held: bars of the strategy's timeframe
    score:     of the veto, NaN without one
    """

    symbol: str
    contract: str
    side: int
    quantity: int
    entry_ts: int
    entry_price: float
    exit_ts: int
    exit_price: float
    cause: str
    pnl_usd: float
    costs_usd: float
    bars_held: int
    score: float = math.nan

    @property
    def gross_usd(self) -> float:
        """P&L before costs."""
        return self.pnl_usd + (0.0 if math.isnan(self.costs_usd) else self.costs_usd)

    @property
    def tick(self) -> float:
        """Tick size of its instrument, points; NaN for one that is not known."""
        product = PRODUCTS.get(self.symbol)
        return product.tick_size if product else math.nan


class Evaluated(msgspec.Struct, frozen=True):
    """Why an instrument did or did not act at a mark where its strategy decides, or exits; features by name.

    score: of the veto, NaN where none was asked for
    """

    symbol: str
    reason: Reason
    features: dict[str, float]
    score: float = math.nan


class Decisions(msgspec.Struct, frozen=True):
    """Everything one mark decided. Exits come before entries."""

    ts_mark: int
    intents: list[Decided]
    trades: list[Trade]
    evaluated: list[Evaluated]


class Position(msgspec.Struct, frozen=True):
    """An instrument's position as the step believes it."""

    symbol: str
    contract: str
    side: int
    quantity: int
    entry_price: float
    last_price: float
    pending: Pending


class Book(msgspec.Struct, frozen=True):
    """Account and positions as bytes, with the names to read them by when code or configuration has changed.

    layout: JSON: symbols in order, and the fields of both records
    """

    layout: str
    data: bytes


def intent_of(
    decided: Decided, strategy: str, mode: str, order_root: str, ts_mark: int, seq: int, is_taken: Callable[[str], bool]
) -> Intent:
    """The intent of a decision. order_root: root the order is sent in; is_taken: whether an earlier one has an id."""
    ordered = msgspec.structs.replace(decided.contract, root=order_root)
    return Intent(
        new_intent_id(strategy, mode, ordered.raw, decided.role, ts_mark, is_taken),
        strategy,
        mode,
        decided.symbol,
        ordered.raw,
        ordered.ticker,
        decided.role,
        decided.side,
        decided.quantity,
        decided.cause.name.lower(),
        decided.price,
        ts_mark,
        seq,
        decided.stop_price,
    )
