"""The rows of a ledger as its readers have them: orders, closed trades, decisions, and the step's book.

What a ledger of an older schema does not hold is empty or NaN. The book is decoded with `struct`, by the names the
worker wrote beside it: those who look on carry no numpy and no kernels.
"""

import enum
import math
import sqlite3
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from rooney.ledger.schema import WITH_ACTS, schema_version
from rooney.market.instruments import contract_from_number
from rooney.orders.decisions import Book
from rooney.orders.intents import Role, Said, Side, State

_OPEN = (State.PLANNED, State.SENDING, State.UNCONFIRMED)
_FORMATS = {"<i8": "q", "<f8": "d"}
_NOT_IN_FIRST = {  # what a book of the first schema does not name
    "best_equity": math.nan, "drawdown_halted": 0, "score": math.nan, "stop_price": math.nan, "target_price": math.nan,
}  # fmt: skip


class Pending(enum.StrEnum):
    """What an instrument waits for, in the order of the kernels' numbers; a test holds both equal."""

    NONE = ""
    ENTRY = "entry"
    EXIT = "exit"
    UNCERTAIN = "uncertain"  # an entry that may or may not have been filled


_PENDING = tuple(Pending)


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
        """Below the best equity."""
        return max(0.0, self.best_equity_usd - self.equity_usd)


class Held(msgspec.Struct, frozen=True):
    """One instrument in the step's book after the last finished mark; prices in points, NaN where there is none.

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


class Step(msgspec.Struct, frozen=True):
    """One event in an order's life; times UTC ns, status an HTTP status or 0.

    said: see rooney.orders.intents.Said; is_applied: it reached the step; latency_ns: of the request, 0 without one
    """

    seq: int
    state: State
    said: Said
    is_applied: bool
    ts_wall: int
    ts_clock: int
    status: int
    detail: str
    latency_ns: int
    remote_id: str


class Order(msgspec.Struct, frozen=True):
    """An intent and all that happened to it. signal_price: NaN where there was none."""

    id: str
    mode: str
    symbol: str
    contract: str
    ticker: str
    role: Role
    side: Side
    quantity: int
    cause: str
    signal_price: float
    ts_mark: int
    seq: int
    steps: tuple[Step, ...]

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.steps[-1].state

    @property
    def is_open(self) -> bool:
        """Something can still come of it, or has to be done about it."""
        if self.state is State.REFUSED:
            return self.role is Role.EXIT
        return self.state in _OPEN

    @property
    def needs_person(self) -> bool:
        """Its fate is unknown, or it is an exit that was refused."""
        return self.is_open and self.state in (State.UNCONFIRMED, State.REFUSED)


class Closed(msgspec.Struct, frozen=True):
    """A closed trade at assumed fills; times UTC ns, prices in points, pnl_usd net of costs_usd.

    score: NaN without a veto
    """

    seq: int
    ts_mark: int
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
    score: float


class Decision(msgspec.Struct, frozen=True):
    """Why an instrument did or did not act at a mark. features: name → value, None: not enough bars yet."""

    ts_mark: int
    symbol: str
    reason: str
    features: dict[str, float | None]
    latency_ns: int
    score: float


def orders(db: sqlite3.Connection, where: str = "1", args: Sequence[Any] = ()) -> tuple[Order, ...]:
    """Intents `i` that fulfil a condition, oldest first, each with all its events."""
    names = Order.__struct_fields__[:-1]
    events = (
        f"SELECT seq, state, {_since_acts(db, 'said')}, seq IN (SELECT event FROM applied), ts_wall, ts_clock, status,"
        " detail, latency_ns, remote_id FROM event WHERE intent = ? ORDER BY seq"
    )
    found = []
    for row in db.execute(f"SELECT {', '.join(names)} FROM intent i WHERE {where} ORDER BY seq", args).fetchall():
        values: dict[str, Any] = dict(zip(names, row, strict=True))
        price = _or_nan(values["signal_price"])
        values |= {"role": Role(values["role"]), "side": Side(values["side"]), "signal_price": price}
        steps = tuple(
            Step(seq, State(state), Said(said or ""), bool(is_applied), *more)
            for seq, state, said, is_applied, *more in db.execute(events, (values["id"],))
        )
        found.append(Order(**values, steps=steps))
    return tuple(found)


def trades(db: sqlite3.Connection, after: int = 0) -> list[Closed]:
    """Closed trades whose number is above `after`, oldest first."""
    names = ", ".join((*Closed.__struct_fields__[:-1], _since_acts(db, "score")))
    rows = db.execute(f"SELECT {names} FROM trade WHERE seq > ? ORDER BY seq", (after,))
    return [Closed(*map(_or_nan, row)) for row in rows]


def decisions(db: sqlite3.Connection, which: str, args: Sequence[Any]) -> tuple[Decision, ...]:
    """Decisions as an SQL tail (WHERE, ORDER BY, LIMIT) picks them."""
    rows = db.execute(
        f"SELECT ts_mark, symbol, reason, features, latency_ns, {_since_acts(db, 'score')} FROM decision {which}", args
    )
    return tuple(
        Decision(ts_mark, symbol, reason, msgspec.json.decode(features, type=dict[str, float | None]), latency_ns,
                 _or_nan(score))
        for ts_mark, symbol, reason, features, latency_ns, score in rows
    )  # fmt: skip


def _since_acts(db: sqlite3.Connection, column: str) -> str:
    """A column the first schema does not have: NULL there."""
    return column if schema_version(db) >= WITH_ACTS else "NULL"


def _or_nan(value: Any) -> Any:
    """SQLite keeps NaN as NULL."""
    return math.nan if value is None else value


def decode_book(layout: str, data: bytes) -> tuple[Account, tuple[Held, ...]]:
    """Account and positions by the names the worker wrote beside them."""
    symbols, read_account, read_position, account_size, position_size = _readers(layout)
    a = read_account(data, 0)
    account = Account(
        a["cash"], a["equity"], a["best_equity"], a["day_start_equity"],
        bool(a["halted"]), bool(a["drawdown_halted"]), a["gap_date"],
    )  # fmt: skip
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
        pending=_PENDING[p["pending"]],
        pending_side=Side(p["pending_side"]),
        pending_quantity=p["pending_quantity"],
        pending_contract_number=p["pending_contract"],
        acknowledged=bool(p["acknowledged"]),
    )


class Finished(msgspec.Struct, frozen=True):
    """The last finished mark, how many there were, and account and positions after it."""

    ts_mark: int
    marks: int
    book: Book


class Attempt(msgspec.Struct, frozen=True):
    """A request, or what came of it, for the rules that span orders. ts_clock: by the worker's clock, UTC ns."""

    contract: str
    role: Role
    state: State
    status: int
    ts_clock: int


class Checkpoint(msgspec.Struct, frozen=True):
    """The frozen state of an engine after a mark; `digest` names the kernel and configuration it belongs to."""

    ts_mark: int
    digest: str
    state: bytes
