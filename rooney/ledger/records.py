"""Records of a ledger as values: account and positions of the step's book, trades, decisions.

A record of an older schema is empty or NaN where that lacks a column. The book is decoded with `struct`, by the names
the worker wrote beside it: those who look on carry no numpy and no kernels.
"""

import math
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from rooney.kernels.codes import Pending
from rooney.market.instruments import contract_from_number
from rooney.orders.decisions import Book, Trade
from rooney.orders.intents import Role, Side, State

_FORMATS = {"<i8": "q", "<f8": "d"}
_NOT_IN_FIRST = {  # names that a book of the first schema lacks
    "best_equity": math.nan,
    "drawdown_halted": 0,
    "score": math.nan,
    "stop_price": math.nan,
    "target_price": math.nan,
}


class Account(msgspec.Struct, frozen=True):
    """USD, open positions marked at the last finished minute; all estimates.

    best_equity_usd: NaN in a ledger of the first schema
    is_halted:       the daily loss limit is latched; is_drawdown_halted: that of the drawdown is
    gap_day:         days since 1970 of the trade date on which a gap forbids entries, 0 for none
    """

    cash_usd: float
    equity_usd: float
    best_equity_usd: float
    day_start_usd: float
    is_halted: bool
    is_drawdown_halted: bool
    gap_day: int

    @property
    def day_usd(self) -> float:
        """P&L of the trade date in progress."""
        return self.equity_usd - self.day_start_usd

    @property
    def open_usd(self) -> float:
        """P&L of what is open."""
        return self.equity_usd - self.cash_usd

    @property
    def drawdown_usd(self) -> float:
        """Distance below the best equity."""
        return max(0.0, self.best_equity_usd - self.equity_usd)


class Held(msgspec.Struct, frozen=True):
    """Instrument in the step's book after the last finished mark; prices in points, NaN where there is none.

    side:         of the position, FLAT without one; quantity, entry_*, contract_number belong to it
    mark:         last price of the contract held, without one of the contract traded last
    pending:      what is waited for; pending_*: of an entry on its way
    acknowledged: TradersPost has the order that is waited for
    """

    symbol: str
    side: Side
    quantity: int
    contract_number: int
    entry_ts: int
    entry_price: float
    bars_held: int
    stop_price: float
    target_price: float
    score: float
    costs_usd: float
    mark: float
    last_contract_number: int
    pending: Pending
    pending_side: Side
    pending_quantity: int
    pending_contract_number: int
    acknowledged: bool

    @property
    def contract(self) -> str:
        """Raw symbol of the contract held, without one of the contract traded last; empty before the first bar."""
        return self._raw(self.contract_number if self.side else self.last_contract_number)

    @property
    def pending_contract(self) -> str:
        """Raw symbol of what is waited for, empty where nothing is."""
        return self._raw(self.pending_contract_number) if self.pending else ""

    def _raw(self, number: int) -> str:
        return contract_from_number(self.symbol, number).raw if number else ""


class TradeRow(Trade, frozen=True, kw_only=True):
    """Closed trade with its number in the ledger and the mark that booked it, UTC ns."""

    seq: int
    ts_mark: int


class Decision(msgspec.Struct, frozen=True):
    """Reason why an instrument did or did not act at a mark. features: name → value, None: not enough bars yet."""

    ts_mark: int
    symbol: str
    reason: str
    features: dict[str, float | None]
    latency_ns: int
    score: float


def decode_book(layout: str, data: bytes) -> tuple[Account, tuple[Held, ...]]:
    """Account and positions by the names the worker wrote beside them."""
    symbols, read_account, read_position, account_size, position_size = _readers(layout)
    a = read_account(data, 0)
    account = Account(
        a["cash"],
        a["equity"],
        a["best_equity"],
        a["day_start_equity"],
        bool(a["halted"]),
        bool(a["drawdown_halted"]),
        a["gap_date"],
    )
    return account, tuple(
        _held(symbol, read_position(data, account_size + k * position_size)) for k, symbol in enumerate(symbols)
    )


_Read = Callable[[bytes, int], dict[str, Any]]


@lru_cache(maxsize=64)
def _readers(layout: str) -> tuple[list[str], _Read, _Read, int, int]:
    known = msgspec.json.decode(layout)

    def reader(fields: list[list[str]]) -> tuple[_Read, int]:
        names = [name for name, _ in fields]
        form = struct.Struct("<" + "".join(_FORMATS[kind] for _, kind in fields))
        return lambda data, at: _NOT_IN_FIRST | dict(zip(names, form.unpack_from(data, at), strict=True)), form.size

    account, account_size = reader(known["account"])
    position, position_size = reader(known["position"])
    return known["symbols"], account, position, account_size, position_size


def _held(symbol: str, p: dict[str, Any]) -> Held:
    is_front = not p["side"] or p["contract"] == p["last_contract"]
    return Held(
        symbol=symbol,
        side=Side(p["side"]),
        quantity=p["quantity"],
        contract_number=p["contract"],
        entry_ts=p["entry_ts"],
        entry_price=p["entry_price"],
        bars_held=p["bars_held"],
        stop_price=p["stop_price"],
        target_price=p["target_price"],
        score=p["score"],
        costs_usd=p["costs"],
        mark=p["last_price"] if is_front else p["left_price"],
        last_contract_number=p["last_contract"],
        pending=Pending(p["pending"]),
        pending_side=Side(p["pending_side"]),
        pending_quantity=p["pending_quantity"],
        pending_contract_number=p["pending_contract"],
        acknowledged=bool(p["acknowledged"]),
    )


class Finished(msgspec.Struct, frozen=True):
    """Last finished mark, number of marks so far, and account and positions after it.

    ts_wall: when it was written, UTC ns; detail: what the worker said of itself then, as JSON
    """

    ts_mark: int
    marks: int
    book: Book
    ts_wall: int = 0
    detail: str = "{}"


class Attempt(msgspec.Struct, frozen=True):
    """Request, or what came of it, for the rules that span orders.

    ts_ns:  in the ledger by the worker's clock, UTC ns; in the rules by its steady clock
    intent: id of the order
    """

    contract: str
    role: Role
    state: State
    status: int
    ts_ns: int
    intent: str = ""


class Checkpoint(msgspec.Struct, frozen=True):
    """Frozen state of an engine after a mark; `digest` names the kernel and configuration it belongs to."""

    ts_mark: int
    digest: str
    state: bytes
