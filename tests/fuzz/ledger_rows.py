"""Rows of a ledger that were damaged, or edited by hand: exposure is a value, or one error that names the file."""

import random
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

from rooney.errors import LedgerError
from rooney.ledger.exposure import exposures
from rooney.ledger.snapshot import read_ledger, read_open
from rooney.ledger.writer import Ledger
from rooney.orders.control import Command, Verb
from rooney.orders.intents import Role, State
from tests.support.engines import Driver, engine
from tests.support.ledgers import commit, intent

TABLES = ("intent", "event", "operator", "status", "strategy", "notice")
TEXTS = (None, "", "x", b"\xff\xfe", b"", "9" * 400, '{"a": 1}', "[" * 2_000, "\0")
NUMBERS = (None, -1, 0, 3, 2**31, 2**62, -(2**63))  # a number stays one: SQLite keeps the kind of a column


def run(cases: int, seed: int) -> Counter[str]:
    """Tally by table and verdict."""
    rng = random.Random(f"{seed} rows")
    tally: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm") as folder:
        path = Path(folder) / "ledger.sqlite"
        _write(path)
        assert _verdict(path, "sound") == "a value"
        sound = path.read_bytes()
        for case in range(cases):
            path.write_bytes(sound)
            table = rng.choice(TABLES)
            with closing(sqlite3.connect(path, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous=OFF")
                _, column, kind, *_ = rng.choice(db.execute(f"PRAGMA table_info({table})").fetchall())
                value = rng.choice(NUMBERS if kind in ("INTEGER", "REAL") else TEXTS)
                rows = rng.choice(("1", "rowid % 2", "rowid = 1")) if table not in ("intent",) else "1"
                try:
                    db.execute(f"UPDATE {table} SET {column} = ? WHERE {rows}", (value,))
                except sqlite3.IntegrityError:
                    tally[f"{table}: SQLite refuses it"] += 1
                    continue
            where = f"seed {seed}, case {case}: {table}.{column} = {value!r:.60} where {rows}"
            tally[f"{table}: {_verdict(path, where)}"] += 1
    return tally


def _write(path: Path) -> None:
    """A ledger with an order of each kind, an act and a notice, without what keeps its rows as they are."""
    ledger = Ledger(path, "ibs")
    entry, leave = intent(1), intent(2, Role.EXIT)
    driver = Driver(engine(("ES", "NQ")), answer=False)
    driver.close(ES=5_000.0, NQ=20_000.0)
    commit(ledger, 60, entry, leave, book=driver.engine.book())
    for state in (State.SENDING, State.UNCONFIRMED):
        ledger.record(entry, state, 60)
    ledger.journal(Command(1, Verb.POSITION, "ann", "seen", symbol="ES", price=5_000.0), 60)
    ledger.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute("PRAGMA journal_mode=DELETE")


def _verdict(path: Path, where: str) -> str:
    for look in (read_ledger, read_open):
        try:
            exposures(look(path))
        except LedgerError as error:
            if str(path) in str(error):
                return "LedgerError"
            raise AssertionError(f"{where}: {error} does not name the file") from error
        except BaseException as error:
            raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error
    return "a value"
