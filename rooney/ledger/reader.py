"""Reading side of a ledger: a connection of its own that can only read, for everyone but the worker.

A ledger in use is opened `mode=ro`; one without a `-wal` file was closed cleanly and is opened `immutable`, since
SQLite would otherwise want to create files where a reader may not write.
"""

import os
import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from rooney.errors import FileError, LedgerError
from rooney.files import read_text
from rooney.ledger.damage import UNREADABLE
from rooney.ledger.queries import Queries
from rooney.ledger.schema import APPLICATION_ID, LAST_STATE, WITH_NOTICES, check_plain


class Day(msgspec.Struct, frozen=True):
    """Totals of a span of a ledger. orders: state → how many intents decided in it; pnl_usd is an estimate."""

    orders: dict[str, int]
    trades: int
    winners: int
    pnl_usd: float
    costs_usd: float


@contextmanager
def opened(path: Path) -> Iterator[Queries]:
    """Questions to a connection that can only read, in one transaction: whatever is read is of one moment.

    Raises LedgerError for a file that cannot be read as a ledger, also where the block cannot decode what it holds.
    """
    try:
        with closing(_connect(path)) as db:
            yield Queries(db)
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(f"{path}: cannot be read as a ledger: {error}; left untouched") from error
    except (*UNREADABLE, struct.error) as error:
        raise LedgerError(f"{path}: holds what this rooney cannot read: {error}; left untouched") from error


def _connect(path: Path) -> sqlite3.Connection:
    """Connection that has read something, so that the file is open: its worker may start or stop meanwhile."""
    check_plain(path)
    for pause_s in (0.05, 0.2, 1.0, 0.0):
        how = "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"
        db = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=5.0, isolation_level=None)
        try:
            db.execute("BEGIN")
            if (id_ := db.execute("PRAGMA application_id").fetchone()[0]) != APPLICATION_ID:
                raise LedgerError(f"{path}: a SQLite file of another program (id {id_}); left untouched")
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


def doing(path: Path) -> str:
    """What its worker does, or did when it ended without a word; empty after a clean end."""
    try:
        return read_text(path.with_suffix(".lock")).strip()
    except FileError:
        return ""


def read_day(path: Path, begin_ns: int, end_ns: int) -> Day | None:
    """Totals of the marks in [begin_ns, end_ns); None where there is no ledger. Raises LedgerError."""
    if not path.exists():
        return None
    with opened(path) as ask:
        span = (begin_ns, end_ns)
        orders = ask.rows(
            f"SELECT {LAST_STATE} AS state, count(*) FROM intent i"
            " WHERE ts_mark >= ? AND ts_mark < ? GROUP BY 1 ORDER BY 1",
            span,
        )
        ((trades, winners, pnl, costs),) = ask.rows(
            "SELECT count(*), coalesce(sum(pnl_usd > 0), 0), coalesce(sum(pnl_usd), 0.0), coalesce(sum(costs_usd), 0.0)"
            " FROM trade WHERE ts_mark >= ? AND ts_mark < ?",
            span,
        )
    return Day(dict(orders), trades, winners, pnl, costs)


def read_pace(path: Path, first: str, last: str) -> dict[str, dict[int, int]]:
    """Trade date → (within ms → minutes), of the dates [first, last] (ISO); empty without any. Raises LedgerError."""
    if not path.exists():
        return {}
    minutes_by_day: dict[str, dict[int, int]] = {}
    with opened(path) as ask:
        if ask.version < WITH_NOTICES:
            return {}
        rows = ask.rows("SELECT day, within_ms, minutes FROM pace WHERE day BETWEEN ? AND ?", (first, last))
        for day, within_ms, minutes in rows:
            minutes_by_day.setdefault(day, {})[within_ms] = minutes
    return minutes_by_day


def created_ns(path: Path) -> int:
    """Birth of a ledger, UTC ns. Raises LedgerError."""
    with opened(path) as ask:
        return ask.created_ns()


def copy(path: Path, target: Path) -> None:
    """Copy a whole ledger, as it is now, to a new file, also while a worker writes. Raises LedgerError."""
    with opened(path) as ask, closing(sqlite3.connect(target)) as out:
        ask.copy(out)
        out.execute("PRAGMA journal_mode=DELETE")  # one file, complete in itself


def check(path: Path) -> str:
    """Name of the strategy whose sound ledger this is. Raises LedgerError."""
    with opened(path) as ask:
        ((problem, *_), *_) = ask.rows("PRAGMA quick_check")
        if problem != "ok":
            raise LedgerError(f"{path}: damaged: {problem}; left untouched")
        return ask.name()


def table_names(path: Path) -> set[str]:
    """Tables of any SQLite file, also another program's. Raises LedgerError."""
    return {row["name"] for row in _foreign_rows(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}


def table_rows(path: Path, table: str) -> list[dict[str, Any]]:
    """Rows of a table of any SQLite file, by column. Raises LedgerError."""
    return _foreign_rows(path, f'SELECT * FROM "{table}"')


def _foreign_rows(path: Path, sql: str) -> list[dict[str, Any]]:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql)]
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: cannot be read: {error}") from error
