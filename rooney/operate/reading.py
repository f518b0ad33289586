"""A ledger as the operator's commands see it: all of it, of one moment, and left exactly as it is."""

import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from rooney.control import Command
from rooney.errors import LedgerError
from rooney.kernels.dtypes import Pending
from rooney.ledgerfile import WITH_ACTS, schema_version
from rooney.ledgerview import holder, opened
from rooney.orders import Role, Said, Side, State


class Step(msgspec.Struct, frozen=True):
    """One event in an order's life; times UTC ns, status an HTTP status or 0; said: see rooney.orders.Said."""

    seq: int
    state: State
    ts_wall: int
    status: int
    detail: str
    remote_id: str
    is_applied: bool
    said: Said = Said.NOBODY


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
        return self.state in (State.PLANNED, State.SENDING, State.UNCONFIRMED)


class Held(msgspec.Struct, frozen=True):
    """What the step believes of one instrument after the last finished mark.

    side:      of the position, FLAT without one; quantity, entry_price and last_price belong to it (points)
    pending:   what is waited for; pending_side, pending_quantity: of an entry on its way
    acknowledged: TradersPost has the order that is waited for
    """

    symbol: str
    side: Side
    quantity: int
    contract_number: int
    entry_ts: int
    entry_price: float
    last_price: float
    last_contract_number: int
    pending: Pending
    pending_side: Side
    pending_quantity: int
    pending_contract_number: int
    acknowledged: bool


class Account(msgspec.Struct, frozen=True):
    """USD, as the step believes after the last finished mark; is_halted: the daily loss limit is latched."""

    cash_usd: float
    equity_usd: float
    day_pnl_usd: float
    is_halted: bool


class Act(msgspec.Struct, frozen=True):
    """What an operator did. after_event: number of the newest event in any order's life at that time."""

    after_event: int
    ts_wall: int
    is_obeyed: bool
    command: Command


class Closed(msgspec.Struct, frozen=True):
    """A closed trade at assumed fills; times UTC ns, prices in points, pnl_usd net of costs_usd."""

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


class Reading(msgspec.Struct, frozen=True):
    """One ledger at one moment. ts_mark, ts_wall: the last finished mark and when that was, UTC ns; 0 before it."""

    name: str
    path: Path
    ts_mark: int
    ts_wall: int
    account: Account | None
    held: tuple[Held, ...]
    orders: tuple[Order, ...]
    trades: tuple[Closed, ...]
    acts: tuple[Act, ...]

    @property
    def mode(self) -> str:
        """Mode of the newest order, empty without one."""
        return self.orders[-1].mode if self.orders else ""


def read(path: Path) -> Reading:
    """All of a ledger an operator asks for. Raises LedgerError if the file is none."""
    with opened(path) as db:
        name = _owner(db)
        status = db.execute("SELECT ts_mark, ts_wall, layout, book FROM status").fetchone()
        account, held = _book(status[2], status[3]) if status else (None, ())
        return Reading(
            name=name,
            path=path,
            ts_mark=status[0] if status else 0,
            ts_wall=status[1] if status else 0,
            account=account,
            held=held,
            orders=_orders(db),
            acts=_acts(db),
            trades=tuple(
                Closed(*row)
                for row in db.execute(f"SELECT {', '.join(Closed.__struct_fields__)} FROM trade ORDER BY seq")
            ),
        )


def copy(path: Path, target: Path) -> None:
    """A whole ledger, as it is now, to a new file, also while a worker writes. Raises LedgerError."""
    with opened(path) as db, closing(sqlite3.connect(target)) as out:
        db.execute("COMMIT")  # the copy takes its own
        db.backup(out)
        out.execute("PRAGMA journal_mode=DELETE")  # one file, complete in itself


def check(path: Path) -> str:
    """Name of the strategy whose sound ledger this is. Raises LedgerError."""
    with opened(path) as db:
        problem = db.execute("PRAGMA quick_check").fetchone()[0]
        if problem != "ok":
            raise LedgerError(f"{path}: damaged: {problem}; left untouched")
        return _owner(db)


def _owner(db: sqlite3.Connection) -> str:
    return str(db.execute("SELECT name FROM strategy").fetchone()[0])


def is_worked_on(path: Path) -> bool:
    """Whether a process holds the ledger's lock."""
    return holder(path) is not None


def _orders(db: sqlite3.Connection) -> tuple[Order, ...]:
    applied = {event for (event,) in db.execute("SELECT event FROM applied")}
    steps: dict[str, list[Step]] = {}
    said = "said" if schema_version(db) >= WITH_ACTS else "''"
    for seq, intent, state, ts_wall, status, detail, remote_id, word in db.execute(
        f"SELECT seq, intent, state, ts_wall, status, detail, remote_id, {said} FROM event ORDER BY seq"
    ):
        step = Step(seq, State(state), ts_wall, status, detail, remote_id, seq in applied, Said(word))
        steps.setdefault(intent, []).append(step)
    names = Order.__struct_fields__[:-1]
    found = []
    for row in db.execute(f"SELECT {', '.join(names)} FROM intent ORDER BY seq"):
        values: dict[str, Any] = dict(zip(names, row, strict=True))
        values["signal_price"] = math.nan if values["signal_price"] is None else values["signal_price"]
        values |= {"role": Role(values["role"]), "side": Side(values["side"])}
        found.append(Order(**values, steps=tuple(steps[values["id"]])))
    return tuple(found)


def _acts(db: sqlite3.Connection) -> tuple[Act, ...]:
    if schema_version(db) < WITH_ACTS:
        return ()
    obeyed = {operator for (operator,) in db.execute("SELECT operator FROM obeyed")}
    rows = db.execute("SELECT seq, after_event, ts_wall, command FROM operator ORDER BY seq")
    return tuple(
        Act(after_event, ts_wall, seq in obeyed, msgspec.json.decode(command, type=Command))
        for seq, after_event, ts_wall, command in rows
    )


def _book(layout_json: str, data: bytes) -> tuple[Account, tuple[Held, ...]]:
    """Account and positions by the names the worker wrote beside them."""
    layout = msgspec.json.decode(layout_json)
    kinds = {name: np.dtype([(field, kind) for field, kind in layout[name]]) for name in ("account", "position")}
    account = np.frombuffer(data, kinds["account"], 1)[0]
    positions = np.frombuffer(data, kinds["position"], len(layout["symbols"]), account.nbytes)
    held = tuple(
        Held(
            symbol=symbol,
            side=Side(int(p["side"])),
            quantity=int(p["quantity"]),
            contract_number=int(p["contract"]),
            entry_ts=int(p["entry_ts"]),
            entry_price=float(p["entry_price"]),
            last_price=float(p["last_price"]),
            last_contract_number=int(p["last_contract"]),
            pending=Pending(int(p["pending"])),
            pending_side=Side(int(p["pending_side"])),
            pending_quantity=int(p["pending_quantity"]),
            pending_contract_number=int(p["pending_contract"]),
            acknowledged=bool(p["acknowledged"]),
        )
        for symbol, p in zip(layout["symbols"], positions, strict=True)
    )
    equity = float(account["equity"])
    day_pnl = equity - float(account["day_start_equity"])
    return Account(float(account["cash"]), equity, day_pnl, bool(account["halted"])), held
