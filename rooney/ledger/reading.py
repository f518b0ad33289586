"""A ledger as the operator's commands see it: all of it, of one moment, and left exactly as it is."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from rooney.errors import LedgerError
from rooney.ledger.reader import opened
from rooney.ledger.records import Account, Closed, Held, Order, decode_book, orders, trades
from rooney.ledger.schema import WITH_ACTS, schema_version
from rooney.orders.control import Command


class Act(msgspec.Struct, frozen=True):
    """What an operator did. after_event: number of the newest event in any order's life at that time."""

    after_event: int
    ts_wall: int
    is_obeyed: bool
    command: Command


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
        status = db.execute("SELECT ts_mark, ts_wall, layout, book FROM status").fetchone()
        account, held = decode_book(status[2], status[3]) if status else (None, ())
        return Reading(
            name=_owner(db),
            path=path,
            ts_mark=status[0] if status else 0,
            ts_wall=status[1] if status else 0,
            account=account,
            held=held,
            orders=orders(db),
            trades=tuple(trades(db)),
            acts=_acts(db),
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


def _acts(db: sqlite3.Connection) -> tuple[Act, ...]:
    if schema_version(db) < WITH_ACTS:
        return ()
    obeyed = {operator for (operator,) in db.execute("SELECT operator FROM obeyed")}
    rows = db.execute("SELECT seq, after_event, ts_wall, command FROM operator ORDER BY seq")
    return tuple(
        Act(after_event, ts_wall, seq in obeyed, msgspec.json.decode(command, type=Command))
        for seq, after_event, ts_wall, command in rows
    )
