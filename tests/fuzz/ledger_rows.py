"""Rows of a ledger that were damaged, or edited by hand: a value, or one error that names the file, for each reader.

SQLite keeps any kind of value in any column, and what a disk damages also nothing where something has to be.
"""

import random
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from research.backtest import ledger_outcomes
from rooney.alerts import outbox
from rooney.clock import Clock
from rooney.errors import LedgerError
from rooney.execution.offline import OfflineWorker
from rooney.kernels.codes import Reason
from rooney.ledger.exposure import exposures
from rooney.ledger.reader import read_day, read_pace
from rooney.ledger.records import Checkpoint
from rooney.ledger.snapshot import LedgerView, read_ledger, read_open
from rooney.ledger.writer import Ledger
from rooney.ops.why import newest_decision
from rooney.orders.control import Command, Verb
from rooney.orders.decisions import Evaluated, Trade
from rooney.orders.intents import Role, Side, State
from rooney.performance import sources
from tests.support.engines import Driver, engine
from tests.support.ledgers import commit, intent

TABLES = (
    "intent",
    "event",
    "operator",
    "status",
    "strategy",
    "notice",
    "trade",
    "decision",
    "checkpoint",
    "pace",
    "applied",
)
TEXTS = ("", "x", "9" * 400, '{"a": 1}', "[" * 2_000, "\0")
NUMBERS = (-1, 0, 3, 2**31, 2**62, -(2**63))
OTHERS = (None, 1.5, b"", b"\xff\xfe", "x")  # of another kind than the column's, or nothing where something has to be
SPAN = (0, 2**62)


def run(cases: int, seed: int) -> Counter[str]:
    """Tally by table and verdict."""
    rng = random.Random(f"{seed} rows")
    tally: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm") as folder:
        path = Path(folder) / "ibs" / "ledger.sqlite"
        _write(path)
        sound = path.read_bytes()
        for look in READERS:
            assert _verdict(path, look, "sound") == "a value"
        for case in range(cases):
            for left in path.parent.iterdir():
                left.unlink()
            path.write_bytes(sound)
            table = rng.choice(TABLES)
            with closing(sqlite3.connect(path, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous=OFF")
                _, column, kind, *_ = rng.choice(db.execute(f"PRAGMA table_info({table})").fetchall())
                value = rng.choice((NUMBERS if kind in ("INTEGER", "REAL") else TEXTS) + OTHERS)
                rows = rng.choice(("1", "rowid % 2", "rowid = 1")) if table in ("event", "operator", "notice") else "1"
                where = f"seed {seed}, case {case}: {table}.{column} = {value!r:.60} where {rows}"
                try:
                    with _unguarded(db, table):
                        db.execute(f"UPDATE {table} SET {column} = ? WHERE {rows}", (value,))
                except sqlite3.IntegrityError:
                    tally[f"{table}: SQLite refuses it"] += 1
                    continue
            look = rng.choice(READERS)
            tally[f"{table}: {_verdict(path, look, where)}"] += 1
    return tally


@contextmanager
def _unguarded(db: sqlite3.Connection, table: str) -> Iterator[None]:
    """A table without what keeps its rows as they are and its values from being nothing."""
    ((sql,),) = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,))
    triggers = db.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (table,)
    ).fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    _declare(db, table, sql.replace(" NOT NULL", ""))
    try:
        yield
    finally:
        _declare(db, table, sql)
        for _, made in triggers:
            db.execute(made)


def _declare(db: sqlite3.Connection, table: str, sql: str) -> None:
    (version,) = db.execute("PRAGMA schema_version").fetchone()
    db.execute("PRAGMA writable_schema=ON")
    db.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (sql, table))
    db.execute("PRAGMA writable_schema=OFF")
    db.execute(f"PRAGMA schema_version={version + 1}")


def _write(path: Path) -> None:
    """A ledger with an order of each kind, an act, a decision, a trade, a checkpoint and a notice."""
    ledger = Ledger(path, "ibs")
    entry, leave = intent(1), intent(2, Role.EXIT)
    driver = Driver(engine(("ES", "NQ")), answer=False)
    driver.close(ES=5_000.0, NQ=20_000.0)
    commit(
        ledger,
        60,
        entry,
        leave,
        book=driver.engine.book(),
        evaluated=[Evaluated("ES", Reason.NO_SIGNAL, {"ibs": 0.5}, 0.0)],
        trades=[Trade("ES", "ESM6", Side.LONG, 1, 30, 1.0, 60, 2.0, "rule", 50.0, 2.0, 3)],
        checkpoint=Checkpoint(60, driver.engine.digest, driver.engine.freeze()),
    )
    for state in (State.SENDING, State.UNCONFIRMED):
        event = ledger.record(entry, state, 60)
    commit(ledger, 120, applied=[event.seq], book=driver.engine.book())
    ledger.journal(Command(1, Verb.POSITION, "ann", "seen", symbol="ES", price=5_000.0), 60)
    ledger.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=DELETE")


def _worker(path: Path) -> None:
    """A worker's start without its engine, which takes a checkpoint and a book or says that it cannot."""
    with closing(Ledger(path, "ibs")) as ledger:
        ledger.last_intent(), ledger.checkpoint(), ledger.applied_after(0), ledger.obeyed_after(0)
    with OfflineWorker(read_open(path), path.parent.parent / "control", Clock()) as worker:
        worker.obey()


def _report(path: Path) -> None:
    """A day's totals, paces and the outbox."""
    read_day(path, *SPAN), read_pace(path, "0", "9"), outbox.of_ledger(path, "ibs", 0)


READERS: tuple[Callable[[Path], object], ...] = (
    lambda path: exposures(read_ledger(path)),
    lambda path: exposures(read_open(path)),
    lambda path: LedgerView(path).look(),
    lambda path: newest_decision(path, 2**62, "ES"),
    lambda path: sources.of_ledger(path),
    lambda path: ledger_outcomes.read(path, "ibs", ("ES", "NQ")),
    _report,
    _worker,
)


def _verdict(path: Path, look: Callable[[Path], object], where: str) -> str:
    try:
        look(path)
    except LedgerError as error:
        if str(path) in str(error):
            return "LedgerError"
        raise AssertionError(f"{where}: {error} does not name the file") from error
    except BaseException as error:
        raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error
    return "a value"
