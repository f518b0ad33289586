"""The ledger's file: its schema, making one, bringing an older one up to date, and refusing what is none.

A file that cannot be trusted (torn, foreign, newer, of another strategy) is left exactly as it is.
"""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from rooney.errors import LedgerError
from rooney.ledger.damage import damage

APPLICATION_ID = 0x526F6F6E  # "Roon"
UNTOUCHED = "left untouched. Restore a backup or move it away"
LAST_STATE = "(SELECT state FROM event WHERE intent = i.id ORDER BY seq DESC LIMIT 1)"  # of an intent `i`
WITH_ACTS, WITH_NOTICES = 2, 3  # schema versions that brought the operator's acts, and notices and pace

# One script per schema version, from an empty file on: a new ledger runs all of them, an old one those it lacks, so
# both end the same. A released script never changes.
_VERSIONS = (
    """
CREATE TABLE strategy (name TEXT NOT NULL, created_ns INTEGER NOT NULL);
CREATE TABLE intent (
  id TEXT PRIMARY KEY, strategy TEXT NOT NULL, mode TEXT NOT NULL, symbol TEXT NOT NULL, contract TEXT NOT NULL,
  ticker TEXT NOT NULL, role INTEGER NOT NULL, side INTEGER NOT NULL, quantity INTEGER NOT NULL, cause TEXT NOT NULL,
  signal_price REAL, ts_mark INTEGER NOT NULL, seq INTEGER NOT NULL UNIQUE) WITHOUT ROWID;
CREATE TABLE event (
  seq INTEGER PRIMARY KEY, intent TEXT NOT NULL REFERENCES intent(id), state TEXT NOT NULL, ts_wall INTEGER NOT NULL,
  ts_clock INTEGER NOT NULL, status INTEGER NOT NULL, detail TEXT NOT NULL, remote_id TEXT NOT NULL,
  latency_ns INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX event_intent ON event(intent, seq);
CREATE TABLE applied (event INTEGER PRIMARY KEY REFERENCES event(seq), ts_mark INTEGER NOT NULL);
CREATE TABLE decision (
  ts_mark INTEGER NOT NULL, symbol TEXT NOT NULL, reason TEXT NOT NULL, features TEXT NOT NULL,
  latency_ns INTEGER NOT NULL, PRIMARY KEY (ts_mark, symbol)) WITHOUT ROWID;
CREATE TABLE trade (
  seq INTEGER PRIMARY KEY, ts_mark INTEGER NOT NULL, symbol TEXT NOT NULL, contract TEXT NOT NULL,
  side INTEGER NOT NULL, quantity INTEGER NOT NULL, entry_ts INTEGER NOT NULL, entry_price REAL NOT NULL,
  exit_ts INTEGER NOT NULL, exit_price REAL NOT NULL, cause TEXT NOT NULL, pnl_usd REAL NOT NULL,
  costs_usd REAL NOT NULL, bars_held INTEGER NOT NULL);
CREATE TABLE status (
  one INTEGER PRIMARY KEY CHECK (one = 1), ts_mark INTEGER NOT NULL, ts_wall INTEGER NOT NULL, marks INTEGER NOT NULL,
  detail TEXT NOT NULL, layout TEXT NOT NULL, book BLOB NOT NULL);
CREATE TABLE checkpoint (ts_mark INTEGER PRIMARY KEY, digest TEXT NOT NULL, state BLOB NOT NULL);
CREATE TRIGGER intent_is_immutable BEFORE UPDATE ON intent BEGIN SELECT RAISE(ABORT, 'an intent never changes'); END;
CREATE TRIGGER intent_stays BEFORE DELETE ON intent BEGIN SELECT RAISE(ABORT, 'an intent is never deleted'); END;
CREATE TRIGGER event_is_immutable BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'an event never changes'); END;
CREATE TRIGGER event_stays BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'an event is never deleted'); END;
CREATE TRIGGER applied_is_immutable BEFORE UPDATE ON applied BEGIN SELECT RAISE(ABORT, 'what was applied stays'); END;
CREATE TRIGGER applied_stays BEFORE DELETE ON applied BEGIN SELECT RAISE(ABORT, 'what was applied stays'); END;
CREATE TRIGGER trade_is_immutable BEFORE UPDATE ON trade BEGIN SELECT RAISE(ABORT, 'a trade never changes'); END;
CREATE TRIGGER trade_stays BEFORE DELETE ON trade BEGIN SELECT RAISE(ABORT, 'a trade is never deleted'); END;
""",
    # What operators do: `operator` is what they said, `obeyed` the mark at which it reached the step, with a minus sign
    # where it was set aside instead. after_event puts both kinds of events into one order.
    """
ALTER TABLE intent ADD COLUMN stop_price REAL;
ALTER TABLE decision ADD COLUMN score REAL;
ALTER TABLE trade ADD COLUMN score REAL;
ALTER TABLE event ADD COLUMN said TEXT NOT NULL DEFAULT '';
CREATE INDEX event_clock ON event(state, ts_clock);
CREATE TABLE operator (
  seq INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, verb TEXT NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL,
  ts_wall INTEGER NOT NULL, ts_clock INTEGER NOT NULL, after_event INTEGER NOT NULL, command TEXT NOT NULL);
CREATE TABLE obeyed (operator INTEGER PRIMARY KEY REFERENCES operator(seq), ts_mark INTEGER NOT NULL);
CREATE TRIGGER operator_is_immutable BEFORE UPDATE ON operator BEGIN SELECT RAISE(ABORT, 'an act never changes'); END;
CREATE TRIGGER operator_stays BEFORE DELETE ON operator BEGIN SELECT RAISE(ABORT, 'an act is never deleted'); END;
CREATE TRIGGER obeyed_is_immutable BEFORE UPDATE ON obeyed BEGIN SELECT RAISE(ABORT, 'what was obeyed stays'); END;
CREATE TRIGGER obeyed_stays BEFORE DELETE ON obeyed BEGIN SELECT RAISE(ABORT, 'what was obeyed stays'); END;
""",
    # What people are told: `notice` is the outbox of alerts. `pace` counts a trade date's minutes by how soon they were
    # acted on: within so many ms, 0 for those that took longer than the last bound.
    """
CREATE TABLE notice (
  seq INTEGER PRIMARY KEY, about TEXT NOT NULL, turn TEXT NOT NULL, level INTEGER NOT NULL, text TEXT NOT NULL,
  symbol TEXT NOT NULL, intent TEXT NOT NULL, ts_wall INTEGER NOT NULL, ts_clock INTEGER NOT NULL);
CREATE TABLE pace (
  day TEXT NOT NULL, within_ms INTEGER NOT NULL, minutes INTEGER NOT NULL, PRIMARY KEY (day, within_ms)) WITHOUT ROWID;
CREATE TRIGGER notice_is_immutable BEFORE UPDATE ON notice BEGIN SELECT RAISE(ABORT, 'a notice never changes'); END;
CREATE TRIGGER notice_stays BEFORE DELETE ON notice BEGIN SELECT RAISE(ABORT, 'a notice is never deleted'); END;
""",
)
SCHEMA_VERSION = len(_VERSIONS)

# Aids of any version, so that nobody reads a year of orders for those of today: `open_order` has the intents whose life
# is not over. Triggers and indexes are kept up by SQLite, also under a rooney that does not know of them, so that a
# rollback finds the version that it knows and the next upgrade an `open_order` that is complete.
AIDS = """
CREATE INDEX intent_newest ON intent(symbol, role, seq);
CREATE TABLE open_order (intent TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TRIGGER order_moves AFTER INSERT ON event BEGIN
  DELETE FROM open_order WHERE intent = NEW.intent;
  INSERT INTO open_order SELECT id FROM intent WHERE id = NEW.intent AND (
    NEW.state IN ('planned', 'sending', 'unconfirmed') OR NEW.state = 'refused' AND role = 2);
END;
INSERT INTO open_order SELECT id FROM intent i JOIN event e ON e.seq =
  (SELECT max(seq) FROM event WHERE intent = i.id) WHERE
    e.state IN ('planned', 'sending', 'unconfirmed') OR e.state = 'refused' AND i.role = 2;
"""


def create(path: Path, strategy: str) -> None:
    """Make an empty ledger beside `path` and move it there, so that there is a whole one or none."""
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        _upgrade(db, 0)
        _aid(db)
        db.execute("INSERT INTO strategy VALUES (?, ?)", (strategy, time.time_ns()))
    unfinished.replace(path)


def check_plain(path: Path) -> None:
    """Raises LedgerError for a directory, a FIFO (opening one waits for its writer) and the like."""
    if path.exists() and not path.is_file():
        raise LedgerError(f"{path}: no plain file; {UNTOUCHED}")


def inspect(path: Path, strategy: str) -> int:
    """Schema version of a sound ledger of `strategy`; reads only, so that the file stays as it is.

    Raises LedgerError for anything else. The header is read without SQLite, which would already change a foreign
    file: it folds a journal in.
    """
    check_plain(path)
    with path.open("rb") as file:
        header = file.read(100)
    application, version = int.from_bytes(header[68:72]), int.from_bytes(header[60:64])
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise LedgerError(f"{path}: not a SQLite file; {UNTOUCHED}")
    if application != APPLICATION_ID:
        raise LedgerError(f"{path}: a SQLite file of another program (id {application}); left untouched")
    _check_version(path, version)
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0)) as db:
        if (problem := db.execute("PRAGMA quick_check").fetchone()[0]) != "ok":
            what = damage(db) if problem.startswith("NULL") else " ".join(problem.split())
            raise LedgerError(f"{path}: damaged: {what}; {UNTOUCHED}")
        # Of a file with a journal the header is that of the last time it was folded in.
        version = schema_version(db)
        _check_version(path, version)
        if missing := sorted(_parts_of(version) - _parts(db)):
            names = ", ".join(" ".join(filter(None, part)) for part in missing)
            raise LedgerError(f"{path}: lacks what a ledger of schema version {version} has: {names}; {UNTOUCHED}")
        owners = [name for (name,) in db.execute("SELECT name FROM strategy")]
    if owners != [strategy]:
        whose = " and ".join(map(repr, owners)) or "nobody"
        raise LedgerError(f"{path}: the ledger of strategy {whose}, not of {strategy!r}; left untouched")
    return version


def schema_version(db: sqlite3.Connection) -> int:
    """Of an open ledger. Readers take an older one as it is; its worker's next start brings it up to date."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _parts(db: sqlite3.Connection) -> set[tuple[str, str, str | None]]:
    """(kind, name, column) of all a schema is made of; texts of statements may differ between SQLite's versions."""
    return set(db.execute("SELECT m.type, m.name, c.name FROM sqlite_master m LEFT JOIN pragma_table_info(m.name) c"))


def _parts_of(version: int) -> set[tuple[str, str, str | None]]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript("".join(_VERSIONS[:version]))
        return _parts(db)


def _check_version(path: Path, version: int) -> None:
    if not 1 <= version <= SCHEMA_VERSION:
        raise LedgerError(f"{path}: schema version {version}, this rooney writes {SCHEMA_VERSION}; left untouched")


def connect(path: Path, version: int) -> sqlite3.Connection:
    """Open a ledger of schema `version` for writing, its schema brought up to date."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        if version < SCHEMA_VERSION:
            db.execute("PRAGMA synchronous=FULL")
            _upgrade(db, version)
        _aid(db)
        db.execute("PRAGMA foreign_keys=ON")
        db.execute("PRAGMA cache_spill=OFF")  # what waits for room on a full disk waits in memory
    except BaseException:
        db.close()
        raise
    return db


def _upgrade(db: sqlite3.Connection, version: int) -> None:
    """Run the scripts after `version`, all or none."""
    _run(db, "".join(_VERSIONS[version:]) + f" PRAGMA user_version={SCHEMA_VERSION};")


def has_aids(db: sqlite3.Connection) -> bool:
    """False of a ledger that its worker has not opened since there are any."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'open_order'").fetchone() is not None


def _aid(db: sqlite3.Connection) -> None:
    """Make what is missing of the aids."""
    if not has_aids(db):
        _run(db, AIDS)


def _run(db: sqlite3.Connection, script: str) -> None:
    """Run a script, all or none of it."""
    try:
        db.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
