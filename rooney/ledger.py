"""The ledger of one strategy: one SQLite file, append-only. The only importer of sqlite3.

What was decided at a mark and the position on the tape are committed in one transaction, so a restart continues
exactly there. Intents and outcomes are synced to the disk before anything acts on them; a mark without either is not,
because it can be stepped again from the tape.
"""

import fcntl
import math
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from rooney import faults
from rooney.engine import Book, Evaluated, Trade
from rooney.errors import LedgerError
from rooney.orders import Intent, Receipt, Role, Side, State, check_move

APPLICATION_ID = 0x526F6F6E  # "Roon"
SCHEMA_VERSION = 1
CHECKPOINTS_KEPT = 3
DECISIONS_KEPT_NS = 90 * 86_400 * 1_000_000_000

_SCHEMA = """
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
"""

_INTENT_COLUMNS = (
    "id, strategy, mode, symbol, contract, ticker, role, side, quantity, cause, signal_price, ts_mark, seq"
)


_LAST_STATE = "(SELECT state FROM event WHERE intent = i.id ORDER BY seq DESC LIMIT 1)"
_UNTOUCHED = "left untouched. Restore a backup or move it away"


class Event(msgspec.Struct, frozen=True):
    """One step in an intent's life. ts_clock: the worker's clock, mark time on a replay."""

    seq: int
    intent: str
    state: State
    ts_wall: int
    ts_clock: int
    status: int
    detail: str


class Finished(msgspec.Struct, frozen=True):
    """The last finished mark, how many there were, and account and positions after it."""

    ts_mark: int
    marks: int
    book: Book


class Checkpoint(msgspec.Struct, frozen=True):
    """The frozen state of an engine after a mark; `digest` names the kernel and configuration it belongs to."""

    ts_mark: int
    digest: str
    state: bytes


class Ledger:
    """Write side; one process at a time. Methods may be called from any thread."""

    def __init__(self, path: Path, strategy: str) -> None:
        """Open or create. Raises LedgerError and leaves the file as it is if it cannot be trusted."""
        self.path = path
        self._mutex = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise LedgerError(f"{path}: {error.strerror}; not starting") from error
        try:
            self._hold(strategy)
        except (sqlite3.Error, OSError, LedgerError) as error:
            os.close(self._lock)
            if isinstance(error, LedgerError):
                raise
            raise LedgerError(f"{path}: not a sound ledger: {error}; {_UNTOUCHED}") from error
        self._seq = int(self._one("SELECT coalesce(max(seq), 0) FROM intent"))

    def _hold(self, strategy: str) -> None:
        """Take the lock, make the file if there is none, and open it if it is ours."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(
                f"{self.path}: another process works with this ledger; a strategy runs once. Not starting"
            ) from None
        if self.path.exists():
            _inspect(self.path, strategy)
        else:
            _create(self.path, strategy)
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10.0)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA foreign_keys=ON")

    def close(self) -> None:
        """Fold the journal into the file and let others in."""
        with self._mutex:
            self._db.close()
            os.close(self._lock)

    def _one(self, sql: str, args: Sequence[Any] = ()) -> Any:
        with self._mutex:
            row = self._db.execute(sql, args).fetchone()
        return None if row is None else row[0]

    @contextmanager
    def _transaction(self, durable: bool) -> Iterator[sqlite3.Connection]:
        """durable: synced to the disk before this returns."""
        with self._mutex:
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def next_seq(self) -> int:
        """A number no intent has."""
        self._seq += 1
        return self._seq

    def has_intent(self, intent_id: str) -> bool:
        """Whether an intent with this id was ever planned."""
        return self._one("SELECT 1 FROM intent WHERE id = ?", (intent_id,)) is not None

    def commit_mark(
        self,
        ts_mark: int,
        intents: Sequence[Intent],
        applied: Sequence[int],
        evaluated: Sequence[Evaluated],
        trades: Sequence[Trade],
        marks: int,
        latency_ns: int,
        detail: dict[str, Any],
        book: Book,
        checkpoint: Checkpoint | None = None,
    ) -> list[Event]:
        """One mark, whole: its intents as planned, outcomes it took in, decisions, trades, and the tape position.

        applied: sequence numbers of the events that reached the step at this mark
        return:  the event that begins the life of each intent
        """
        planned: list[Event] = []
        now_ns = time.time_ns()
        with self._transaction(durable=bool(intents or applied)) as db:
            for intent in intents:
                db.execute(
                    f"INSERT INTO intent ({_INTENT_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                    (
                        intent.id, intent.strategy, intent.mode, intent.symbol, intent.contract, intent.ticker,
                        int(intent.role), int(intent.side), intent.quantity, intent.cause, intent.signal_price,
                        intent.ts_mark, intent.seq,
                    ),
                )  # fmt: skip
                seq = self._event(db, intent.id, State.PLANNED, now_ns, ts_mark)
                planned.append(Event(seq, intent.id, State.PLANNED, now_ns, ts_mark, 0, ""))
            db.executemany("INSERT INTO applied VALUES (?, ?)", [(event, ts_mark) for event in applied])
            db.executemany(
                "INSERT OR REPLACE INTO decision VALUES (?,?,?,?,?)",
                [(ts_mark, e.symbol, e.reason.name.lower(), _json(e.features), latency_ns) for e in evaluated],
            )
            db.executemany(
                "INSERT INTO trade (ts_mark, symbol, contract, side, quantity, entry_ts, entry_price, exit_ts,"
                " exit_price, cause, pnl_usd, costs_usd, bars_held) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                [(ts_mark, *msgspec.structs.astuple(trade)) for trade in trades],
            )
            db.execute(
                "INSERT OR REPLACE INTO status VALUES (1,?,?,?,?,?,?)",
                (ts_mark, now_ns, marks, _json(detail), book.layout, book.data),
            )
            if checkpoint is not None:
                db.execute(
                    "INSERT OR REPLACE INTO checkpoint VALUES (?,?,?)",
                    (checkpoint.ts_mark, checkpoint.digest, checkpoint.state),
                )
                db.execute(
                    "DELETE FROM checkpoint WHERE ts_mark NOT IN"
                    f" (SELECT ts_mark FROM checkpoint ORDER BY ts_mark DESC LIMIT {CHECKPOINTS_KEPT})"
                )
                db.execute("DELETE FROM decision WHERE ts_mark < ?", (ts_mark - DECISIONS_KEPT_NS,))
            faults.point("in_mark_commit")
        return planned

    @staticmethod
    def _event(
        db: sqlite3.Connection,
        intent_id: str,
        state: State,
        ts_wall: int,
        ts_clock: int,
        receipt: Receipt | None = None,
        detail: str = "",
    ) -> int:
        status, remote_id, latency_ns, body = 0, "", 0, ""
        if receipt is not None:
            status, remote_id, body = receipt.status, receipt.remote_id, receipt.body
            latency_ns, detail = receipt.ts_done_ns - receipt.ts_sent_ns, receipt.detail
        cursor = db.execute(
            "INSERT INTO event (intent, state, ts_wall, ts_clock, status, detail, remote_id, latency_ns, body)"
            " VALUES (?,?,?,?,?,?,?,?,?)",
            (intent_id, state.value, ts_wall, ts_clock, status, detail, remote_id, latency_ns, body),
        )
        return int(cursor.lastrowid or 0)

    def record(
        self, intent: Intent, state: State, ts_clock: int, receipt: Receipt | None = None, detail: str = ""
    ) -> Event:
        """Move an intent to `state`, durably. Raises IllegalMoveError for a move its life does not know.

        An acknowledged exit resolves the entries of its contract whose fate was unknown, in the same transaction.
        """
        now_ns = time.time_ns()
        with self._transaction(durable=True) as db:
            last = db.execute(
                "SELECT state FROM event WHERE intent=? ORDER BY seq DESC LIMIT 1", (intent.id,)
            ).fetchone()
            check_move(intent.role, State(last[0]), state)
            seq = self._event(db, intent.id, state, now_ns, ts_clock, receipt, detail)
            if intent.role is Role.EXIT and state is State.ACKNOWLEDGED:
                for (entry,) in db.execute(
                    f"SELECT id FROM intent i WHERE contract=? AND role=? AND seq<? AND {_LAST_STATE}=?",
                    (intent.contract, int(Role.ENTRY), intent.seq, State.UNCONFIRMED.value),
                ).fetchall():
                    self._event(db, entry, State.RESOLVED, now_ns, ts_clock, detail=f"settled by exit {intent.id}")
        status, text = (receipt.status, receipt.detail) if receipt is not None else (0, detail)
        return Event(seq, intent.id, state, now_ns, ts_clock, status, text)

    # ── what a start reads ──

    def finished(self) -> Finished | None:
        """The last finished mark; None in a new ledger."""
        with self._mutex:
            row = self._db.execute("SELECT ts_mark, marks, layout, book FROM status").fetchone()
        return None if row is None else Finished(row[0], row[1], Book(row[2], row[3]))

    def checkpoint(self) -> Checkpoint | None:
        """The newest one."""
        with self._mutex:
            row = self._db.execute(
                "SELECT ts_mark, digest, state FROM checkpoint ORDER BY ts_mark DESC LIMIT 1"
            ).fetchone()
        return None if row is None else Checkpoint(*row)

    def unfinished(self) -> list[tuple[Intent, list[Event]]]:
        """Intents whose life is not over, oldest first, each with all its events."""
        final = [state.value for state in (State.ACKNOWLEDGED, State.DROPPED, State.RESOLVED)]
        where = f"{_LAST_STATE} NOT IN (?,?,?) AND NOT (role=? AND {_LAST_STATE}=?)"
        found = self._intents(where, (*final, int(Role.ENTRY), State.REFUSED.value))
        return [(intent, self.events(intent.id)) for intent in found]

    def intents(self) -> list[Intent]:
        """All intents, oldest first."""
        return self._intents("1", ())

    def intent(self, intent_id: str) -> Intent:
        """An intent that is in the ledger."""
        return self._intents("id=?", (intent_id,))[0]

    def last_intent(self) -> Intent | None:
        """The newest one."""
        found = self._intents("seq=(SELECT max(seq) FROM intent)", ())
        return found[0] if found else None

    def _intents(self, where: str, args: Sequence[Any]) -> list[Intent]:
        with self._mutex:
            rows = self._db.execute(
                f"SELECT {_INTENT_COLUMNS} FROM intent i WHERE {where} ORDER BY seq", args
            ).fetchall()
        names = _INTENT_COLUMNS.split(", ")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        for row in found:
            price = math.nan if row["signal_price"] is None else row["signal_price"]  # SQLite keeps NaN as NULL
            row |= {"role": Role(row["role"]), "side": Side(row["side"]), "signal_price": price}
        return [Intent(**row) for row in found]

    def events(self, intent_id: str) -> list[Event]:
        """Everything that happened to an intent, in order."""
        with self._mutex:
            rows = self._db.execute(
                "SELECT seq, intent, state, ts_wall, ts_clock, status, detail FROM event WHERE intent=? ORDER BY seq",
                (intent_id,),
            ).fetchall()
        return [Event(row[0], row[1], State(row[2]), *row[3:]) for row in rows]

    def applied_after(self, ts_mark: int) -> list[tuple[int, Event]]:
        """(mark, event) of every outcome that reached the step after a mark, in order."""
        with self._mutex:
            rows = self._db.execute(
                "SELECT a.ts_mark, e.seq, e.intent, e.state, e.ts_wall, e.ts_clock, e.status, e.detail FROM applied a"
                " JOIN event e ON e.seq = a.event WHERE a.ts_mark > ? ORDER BY a.ts_mark, e.seq",
                (ts_mark,),
            ).fetchall()
        return [(row[0], Event(row[1], row[2], State(row[3]), *row[4:])) for row in rows]

    def unapplied(self, states: Iterable[State]) -> list[Event]:
        """Outcomes that have not reached the step yet, in order."""
        names = [state.value for state in states]
        with self._mutex:
            rows = self._db.execute(
                "SELECT seq, intent, state, ts_wall, ts_clock, status, detail FROM event WHERE state IN"
                f" ({','.join('?' * len(names))}) AND seq NOT IN (SELECT event FROM applied) ORDER BY seq",
                names,
            ).fetchall()
        return [Event(row[0], row[1], State(row[2]), *row[3:]) for row in rows]


def _json(values: dict[str, Any]) -> str:
    """NaN becomes null: JSON knows no other name for it."""
    return msgspec.json.encode(values).decode()


def _create(path: Path, strategy: str) -> None:
    """Make an empty ledger beside `path` and move it there, so that there is a whole one or none."""
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=FULL")
        header = f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION};"
        db.executescript(f"BEGIN; {header} {_SCHEMA} COMMIT;")
        db.execute("INSERT INTO strategy VALUES (?, ?)", (strategy, time.time_ns()))
    unfinished.replace(path)


def _inspect(path: Path, strategy: str) -> None:
    """Raises LedgerError unless this is a sound ledger of `strategy`; reads only, so that it stays as it is.

    The header is read without SQLite, which would already change a foreign file: it folds a journal in.
    """
    with path.open("rb") as file:
        header = file.read(100)
    application, version = int.from_bytes(header[68:72]), int.from_bytes(header[60:64])
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise LedgerError(f"{path}: not a SQLite file; {_UNTOUCHED}")
    if application != APPLICATION_ID:
        raise LedgerError(f"{path}: a SQLite file of another program (id {application}); left untouched")
    if version != SCHEMA_VERSION:
        raise LedgerError(f"{path}: schema version {version}, this rooney writes {SCHEMA_VERSION}; left untouched")
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0)) as db:
        if (problem := db.execute("PRAGMA quick_check").fetchone()[0]) != "ok":
            raise LedgerError(f"{path}: damaged: {problem}; {_UNTOUCHED}")
        owner = db.execute("SELECT name FROM strategy").fetchone()[0]
    if owner != strategy:
        raise LedgerError(f"{path}: the ledger of strategy {owner!r}, not of {strategy!r}; left untouched")
