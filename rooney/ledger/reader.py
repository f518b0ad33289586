"""What a ledger says, to everyone but its worker: read only, by a connection of its own.

A ledger in use is opened `mode=ro`; one without a `-wal` file was closed cleanly and is opened `immutable`, since
SQLite would otherwise want to create files where a reader may not write.
"""

import json
import os
import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from rooney.errors import LedgerError
from rooney.ledger.records import Account, Closed, Held, Order, decode_book, orders, trades
from rooney.ledger.schema import APPLICATION_ID, LAST_STATE, WITH_ACTS, WITH_NOTICES, schema_version
from rooney.orders.control import Command
from rooney.orders.intents import State


class Record(msgspec.Struct, frozen=True):
    """Where a strategy stands, as its ledger has it.

    ts_mark, ts_wall: end of its last finished minute and when that was written, UTC ns; 0 before the first
    unconfirmed:      ids of orders whose fate is unknown, oldest first
    """

    ts_mark: int
    ts_wall: int
    equity_usd: float
    day_pnl_usd: float
    halted: bool
    unconfirmed: tuple[str, ...]


class Day(msgspec.Struct, frozen=True):
    """A span of a strategy's ledger. orders: state → how many intents decided in it; pnl_usd is an estimate."""

    orders: dict[str, int]
    trades: int
    winners: int
    pnl_usd: float
    costs_usd: float


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can only read, in one transaction: whatever is read is of one moment.

    Raises LedgerError for a file that cannot be read as a ledger, also where the block cannot decode what it holds.
    """
    try:
        with closing(_connect(path)) as db:
            yield db
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(f"{path}: cannot be read as a ledger: {error}; left untouched") from error
    except (ValueError, LookupError, struct.error, msgspec.DecodeError) as error:
        raise LedgerError(f"{path}: holds what this rooney cannot read: {error}; left untouched") from error


def _connect(path: Path) -> sqlite3.Connection:
    """A connection that has read something, so that the file is open: its worker may start or stop meanwhile."""
    for pause_s in (0.05, 0.2, 1.0, 0.0):
        how = "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"
        db = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=5.0, isolation_level=None)
        try:
            db.execute("BEGIN")
            if (found := db.execute("PRAGMA application_id").fetchone()[0]) != APPLICATION_ID:
                raise LedgerError(f"{path}: a SQLite file of another program (id {found}); left untouched")
            if db.execute("SELECT 1 FROM strategy").fetchone() is None:
                raise LedgerError(f"{path}: the ledger of no strategy; left untouched")
        except sqlite3.OperationalError:
            db.close()
            if not pause_s:
                raise
            time.sleep(pause_s)
        except BaseException:
            db.close()
            raise
        else:
            break
    return db


def holder(path: Path) -> int | None:
    """Process that holds the ledger's lock; 0 if there is one that cannot be seen from here, None without one.

    Asked of the kernel's list, so that nothing is held meanwhile.
    """
    try:
        wanted = os.stat(path.with_suffix(".lock"))
    except FileNotFoundError:
        return None
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()  # 1: FLOCK ADVISORY WRITE 1234 fe:00:5678 0 EOF
        if fields[1:2] == ["FLOCK"] and fields[5].rpartition(":")[2] == str(wanted.st_ino):
            return max(0, int(fields[4]))
    return None


def read_record(path: Path) -> Record | None:
    """Where the strategy stands; None where there is no ledger yet. Raises LedgerError."""
    if not path.exists():
        return None
    with opened(path) as db:
        row = db.execute("SELECT ts_mark, ts_wall, detail FROM status").fetchone()
        unknown = db.execute(
            f"SELECT id FROM intent i WHERE {LAST_STATE} = ? ORDER BY seq", (State.UNCONFIRMED.value,)
        ).fetchall()
        ts_mark, ts_wall, detail = row or (0, 0, "{}")
        known: dict[str, Any] = json.loads(detail)
    return Record(
        ts_mark,
        ts_wall,
        float(known.get("equity_usd") or 0.0),
        float(known.get("day_pnl_usd") or 0.0),
        bool(known.get("halted")),
        tuple(intent for (intent,) in unknown),
    )


def read_day(path: Path, begin_ns: int, end_ns: int) -> Day | None:
    """What happened at marks in [begin_ns, end_ns); None where there is no ledger. Raises LedgerError."""
    if not path.exists():
        return None
    with opened(path) as db:
        span = (begin_ns, end_ns)
        orders = db.execute(
            f"SELECT {LAST_STATE}, count(*) FROM intent i WHERE ts_mark >= ? AND ts_mark < ? GROUP BY 1 ORDER BY 1",
            span,
        ).fetchall()
        trades, winners, pnl, costs = db.execute(
            "SELECT count(*), coalesce(sum(pnl_usd > 0), 0), coalesce(sum(pnl_usd), 0.0), coalesce(sum(costs_usd), 0.0)"
            " FROM trade WHERE ts_mark >= ? AND ts_mark < ?",
            span,
        ).fetchone()
    return Day(dict(orders), trades, winners, pnl, costs)


def read_pace(path: Path, first: str, last: str) -> dict[str, dict[int, int]]:
    """Trade date → (within ms → minutes), of the dates [first, last] (ISO); empty without any. Raises LedgerError."""
    if not path.exists():
        return {}
    found: dict[str, dict[int, int]] = {}
    with opened(path) as db:
        if schema_version(db) < WITH_NOTICES:
            return {}
        rows = db.execute("SELECT day, within_ms, minutes FROM pace WHERE day BETWEEN ? AND ?", (first, last))
        for day, within_ms, minutes in rows:
            found.setdefault(day, {})[within_ms] = minutes
    return found


def created_ns(path: Path) -> int:
    """When a ledger was made, UTC ns. Raises LedgerError."""
    with opened(path) as db:
        return int(db.execute("SELECT created_ns FROM strategy").fetchone()[0])


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


def read_ledger(path: Path) -> Reading:
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
