"""One strategy as its ledger has it: account, positions, orders, trades, decisions, all of one moment.

`LedgerView` keeps what can only grow (trades, counts of decisions) and reads the rest anew when the file has changed;
between changes a look costs two `stat` calls.
"""

import math
import sqlite3
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from rooney.errors import LedgerError
from rooney.instruments import contract_from_number
from rooney.ledgerfile import LAST_STATE
from rooney.ledgerview import opened
from rooney.orders import Role, State
from rooney.view.buckets import Buckets

ORDERS_KEPT = 200  # newest ones; those that are not over are always there
DECISIONS_KEPT = 400
PENDING = ("", "entry", "exit", "uncertain")  # by number, as the step writes it; a test holds it equal to the kernels'
_FORMATS = {"<i8": "q", "<f8": "d"}
_OPEN = (State.PLANNED.value, State.SENDING.value, State.UNCONFIRMED.value)


class Account(msgspec.Struct, frozen=True):
    """USD, open positions marked at the last finished minute; all estimates.

    gap_day: days since 1970 of the trade date on which a gap forbids entries, 0 for none
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
    """One instrument in the step's book. side 0: nothing open; prices in points, NaN where there is none.

    mark: last price of the contract held; pending: see PENDING; pending_*: of what is waited for
    """

    symbol: str
    side: int
    quantity: int
    contract: str
    entry_ts: int
    entry_price: float
    mark: float
    bars_held: int
    stop_price: float
    target_price: float
    score: float
    costs_usd: float
    pending: str
    pending_side: int
    pending_quantity: int
    pending_contract: str
    reentry_ts: int
    blocked_day: int


class Step(msgspec.Struct, frozen=True):
    """One event in an order's life; latency_ns: of the request, 0 without one."""

    seq: int
    state: State
    ts_wall: int
    ts_clock: int
    status: int
    detail: str
    latency_ns: int


class Order(msgspec.Struct, frozen=True):
    """An intent and all that happened to it. signal_price: NaN where there was none."""

    id: str
    mode: str
    symbol: str
    contract: str
    ticker: str
    role: Role
    side: int
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
        return self.state.value in _OPEN

    @property
    def needs_person(self) -> bool:
        """Its fate is unknown, or it is an exit that was refused."""
        return self.is_open and self.state in (State.UNCONFIRMED, State.REFUSED)


class Closed(msgspec.Struct, frozen=True):
    """A closed trade at assumed fills; pnl_usd is net of costs_usd; score: NaN without a veto."""

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


class Portrait(msgspec.Struct, frozen=True):
    """A ledger at one moment. ts_mark, ts_wall: the last finished minute and when that was, UTC ns; 0 before it.

    orders, trades: oldest first; decisions: newest first; reached: (role, state) → how often an order got there
    cash_acts: (UTC ns, USD) by which an operator corrected the cash; digest: of kernels and configuration in force
    """

    name: str
    ts_mark: int
    ts_wall: int
    marks: int
    rss_mb: float
    warm: int
    digest: str
    account: Account | None
    held: tuple[Held, ...]
    orders: tuple[Order, ...]
    trades: tuple[Closed, ...]
    decisions: tuple[Decision, ...]
    reached: dict[tuple[str, str], int]
    cash_acts: tuple[tuple[int, float], ...]

    @property
    def mode(self) -> str:
        """Mode of the newest order, empty without one."""
        return self.orders[-1].mode if self.orders else ""

    @property
    def open(self) -> list[Held]:
        """Instruments that hold something."""
        return [held for held in self.held if held.side]

    @property
    def start_usd(self) -> float:
        """The cash it began with, by its own books; 0 before the first minute."""
        if self.account is None:
            return 0.0
        booked = sum(trade.pnl_usd for trade in self.trades) - sum(held.costs_usd for held in self.open)
        return self.account.cash_usd - booked - sum(usd for _, usd in self.cash_acts)


class LedgerView:
    """The ledger of one strategy; one thread at a time.

    decided: (symbol, reason) → decisions seen; decide, send: latencies seen; all since this view began
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.decided: dict[tuple[str, str], int] = {}
        self.decide = Buckets()
        self.send = Buckets()
        self._trades: list[Closed] = []
        self._seen_mark = self._seen_event = 0
        self._signature: object = None
        self._portrait: Portrait | None = None

    def look(self) -> Portrait | None:
        """As it is now, the very same object while nothing has changed; None without a ledger. Raises LedgerError."""
        signature = (_stamp(self.path), _stamp(self.path.with_name(self.path.name + "-wal")))
        if signature[0] is None:
            return None
        if signature != self._signature or self._portrait is None:
            with opened(self.path) as db:
                self._portrait = self._read(db)
            self._signature = signature
        return self._portrait

    def _read(self, db: sqlite3.Connection) -> Portrait:
        name = db.execute("SELECT name FROM strategy").fetchone()[0]
        status = db.execute("SELECT ts_mark, ts_wall, marks, detail, layout, book FROM status").fetchone()
        digest = db.execute("SELECT digest FROM checkpoint ORDER BY ts_mark DESC LIMIT 1").fetchone()
        account, held = decode_book(status[4], status[5]) if status else (None, ())
        detail = msgspec.json.decode(status[3]) if status else {}
        self._take_trades(db)
        decisions = _decisions(db)
        self._count(db, decisions)
        return Portrait(
            name=name,
            ts_mark=status[0] if status else 0,
            ts_wall=status[1] if status else 0,
            marks=status[2] if status else 0,
            rss_mb=float(detail.get("rss_mb") or 0.0),
            warm=int(detail.get("warm") or 0),
            digest=digest[0] if digest else "",
            account=account,
            held=held,
            orders=_orders(db),
            trades=tuple(self._trades),
            decisions=decisions,
            reached={
                (Role(role).name.lower(), state): number
                for role, state, number in db.execute(
                    "SELECT i.role, e.state, count(*) FROM event e JOIN intent i ON i.id = e.intent GROUP BY 1, 2"
                )
            },
            cash_acts=_cash_acts(db),
        )

    def _take_trades(self, db: sqlite3.Connection) -> None:
        """Those that are new: a trade never changes."""
        last = self._trades[-1].seq if self._trades else 0
        first = db.execute("SELECT coalesce(max(seq), 0) FROM trade").fetchone()[0]
        if first < last:  # another ledger stands there now
            self._trades, last = [], 0
        names = ", ".join((*Closed.__struct_fields__[:-1], _score(db, "trade")))
        rows = db.execute(f"SELECT {names} FROM trade WHERE seq > ? ORDER BY seq", (last,))
        self._trades += [_closed(row) for row in rows]

    def _count(self, db: sqlite3.Connection, decisions: tuple[Decision, ...]) -> None:
        newest = self._seen_mark
        marks: dict[int, int] = {}
        for one in decisions:
            if one.ts_mark > self._seen_mark:
                newest = max(newest, one.ts_mark)
                marks[one.ts_mark] = one.latency_ns
                key = (one.symbol, one.reason)
                self.decided[key] = self.decided.get(key, 0) + 1
        for latency_ns in marks.values():
            if latency_ns:
                self.decide.add(latency_ns / 1e9)
        self._seen_mark = newest
        for seq, latency_ns in db.execute(
            "SELECT seq, latency_ns FROM event WHERE seq > ? AND latency_ns > 0 ORDER BY seq", (self._seen_event,)
        ):
            self._seen_event = seq
            self.send.add(latency_ns / 1e9)


def _closed(row: tuple[Any, ...]) -> Closed:
    values: Any = (math.nan if value is None else value for value in row)
    return Closed(*values)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read: {error.strerror}; left untouched") from error
    return found.st_ino, found.st_size, found.st_mtime_ns


def _orders(db: sqlite3.Connection) -> tuple[Order, ...]:
    marks = ",".join("?" * len(_OPEN))
    return orders_where(
        db,
        f"seq > (SELECT coalesce(max(seq), 0) FROM intent) - ? OR {LAST_STATE} IN ({marks})"
        f" OR (role = ? AND {LAST_STATE} = ?)",
        (ORDERS_KEPT, *_OPEN, int(Role.EXIT), State.REFUSED.value),
    )


def orders_where(db: sqlite3.Connection, where: str, args: tuple[Any, ...]) -> tuple[Order, ...]:
    """Intents `i` that fulfil a condition, oldest first."""
    names = Order.__struct_fields__[:-1]
    found = []
    for row in db.execute(f"SELECT {', '.join(names)} FROM intent i WHERE {where} ORDER BY seq", args).fetchall():
        values: dict[str, Any] = dict(zip(names, row, strict=True))
        values["signal_price"] = math.nan if values["signal_price"] is None else values["signal_price"]
        values["role"] = Role(values["role"])
        steps = db.execute(
            "SELECT seq, state, ts_wall, ts_clock, status, detail, latency_ns FROM event WHERE intent = ? ORDER BY seq",
            (values["id"],),
        )
        found.append(Order(**values, steps=tuple(Step(one[0], State(one[1]), *one[2:]) for one in steps)))
    return tuple(found)


def _decisions(db: sqlite3.Connection) -> tuple[Decision, ...]:
    rows = db.execute(
        f"SELECT ts_mark, symbol, reason, features, latency_ns, {_score(db, 'decision')} FROM decision"
        " ORDER BY ts_mark DESC, symbol LIMIT ?",
        (DECISIONS_KEPT,),
    )
    return tuple(as_decision(row) for row in rows)


def as_decision(row: tuple[Any, ...]) -> Decision:
    """A row (ts_mark, symbol, reason, features, latency_ns, score) of the ledger's."""
    features = msgspec.json.decode(row[3], type=dict[str, float | None])
    return Decision(row[0], row[1], row[2], features, row[4], math.nan if row[5] is None else row[5])


def _cash_acts(db: sqlite3.Connection) -> tuple[tuple[int, float], ...]:
    if not _has(db, "operator", "command"):
        return ()
    rows = db.execute(
        "SELECT o.ts_clock, o.command FROM operator o JOIN obeyed b ON b.operator = o.seq WHERE o.verb = 'cash'"
        " ORDER BY o.seq"
    )
    found = ((ts, msgspec.json.decode(command).get("usd")) for ts, command in rows)
    return tuple((ts, float(usd)) for ts, usd in found if usd is not None)


def _score(db: sqlite3.Connection, table: str) -> str:
    return "score" if _has(db, table, "score") else "NULL"


def _has(db: sqlite3.Connection, table: str, column: str) -> bool:
    """A ledger of an older schema is read as it is; its next start brings it up to date."""
    return any(row[1] == column for row in db.execute(f"PRAGMA table_info({table})"))


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
        return lambda data, at: dict(zip(names, form.unpack_from(data, at), strict=True)), form.size

    account, account_size = reader(known["account"])
    position, position_size = reader(known["position"])
    return known["symbols"], account, position, account_size, position_size


def _held(symbol: str, p: dict[str, Any]) -> Held:
    def contract(number: int) -> str:
        return contract_from_number(symbol, number).raw if number else ""

    is_front = not p["side"] or p["contract"] == p["last_contract"]
    return Held(
        symbol=symbol,
        side=p["side"],
        quantity=p["quantity"],
        contract=contract(p["contract"] if p["side"] else p["last_contract"]),
        entry_ts=p["entry_ts"],
        entry_price=p["entry_price"],
        mark=p["last_price"] if is_front else p["left_price"],
        bars_held=p["bars_held"],
        stop_price=p["stop_price"],
        target_price=p["target_price"],
        score=p["score"],
        costs_usd=p["costs"],
        pending=PENDING[p["pending"]],
        pending_side=p["pending_side"],
        pending_quantity=p["pending_quantity"],
        pending_contract=contract(p["pending_contract"]) if p["pending"] else "",
        reentry_ts=p["reentry_ts"],
        blocked_day=p["blocked_date"],
    )
