"""The ledger of one strategy: one SQLite file, append-only. The only importer of sqlite3.

What was decided at a mark and the position on the tape are committed in one transaction, so a restart continues
exactly there. Intents and outcomes are synced to the disk before anything acts on them; a mark without either is not,
because it can be stepped again from the tape.
"""

import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import msgspec

from rooney.engine import Evaluated, Trade
from rooney.errors import LedgerError
from rooney.orders import Intent, Receipt, Role, Side, State, check_move

APPLICATION_ID = 0x526F6F6E  # "Roon"
SCHEMA_VERSION = 1
CHECKPOINTS_KEPT = 3

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
  detail TEXT NOT NULL);
CREATE TABLE checkpoint (ts_mark INTEGER PRIMARY KEY, digest TEXT NOT NULL, state BLOB NOT NULL);
CREATE TRIGGER intent_is_immutable BEFORE UPDATE ON intent BEGIN SELECT RAISE(ABORT, 'an intent never changes'); END;
CREATE TRIGGER intent_stays BEFORE DELETE ON intent BEGIN SELECT RAISE(ABORT, 'an intent is never deleted'); END;
CREATE TRIGGER event_is_immutable BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'an event never changes'); END;
CREATE TRIGGER event_stays BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'an event is never deleted'); END;
"""

_INTENT_COLUMNS = (
    "id, strategy, mode, symbol, contract, ticker, role, side, quantity, cause, signal_price, ts_mark, seq"
)


class Event(msgspec.Struct, frozen=True):
    """One step in an intent's life. ts_clock: the worker's clock, mark time on a replay."""

    seq: int
    intent: str
    state: State
    ts_wall: int
    ts_clock: int
    status: int
    detail: str


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
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise LedgerError(
                f"{path}: another process works with this ledger; a strategy runs once. Not starting"
            ) from None
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
            self._prepare(strategy)
        except sqlite3.Error as error:
            os.close(self._lock)
            raise LedgerError(
                f"{path}: not a sound ledger: {error}; left untouched. Restore a backup or move it away"
            ) from error
        except LedgerError:
            self._db.close()
            os.close(self._lock)
            raise
        self._seq = int(self._one("SELECT coalesce(max(seq), 0) FROM intent"))

    def _prepare(self, strategy: str) -> None:
        db = self._db
        application, version = self._one("PRAGMA application_id"), self._one("PRAGMA user_version")
        if application == 0 and version == 0 and self._one("SELECT count(*) FROM sqlite_master") == 0:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(
                f"BEGIN; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION}; {_SCHEMA} COMMIT;"
            )
            db.execute("INSERT INTO strategy VALUES (?, ?)", (strategy, time.time_ns()))
        elif application != APPLICATION_ID:
            raise LedgerError(f"{self.path}: a SQLite file of another program (id {application}); left untouched")
        elif version != SCHEMA_VERSION:
            raise LedgerError(
                f"{self.path}: schema version {version}, this rooney writes {SCHEMA_VERSION}; left untouched"
            )
        if (problem := self._one("PRAGMA quick_check")) != "ok":
            raise LedgerError(f"{self.path}: damaged: {problem}; left untouched. Restore a backup or move it away")
        owner = self._one("SELECT name FROM strategy")
        if owner != strategy:
            raise LedgerError(f"{self.path}: the ledger of strategy {owner!r}, not of {strategy!r}; left untouched")
        db.execute("PRAGMA foreign_keys=ON")

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
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

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
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """One mark, whole: its intents as planned, outcomes it took in, decisions, trades, and the tape position.

        applied: sequence numbers of the events that reached the step at this mark
        """
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
                self._event(db, intent.id, State.PLANNED, now_ns, ts_mark)
            db.executemany("INSERT INTO applied VALUES (?, ?)", [(event, ts_mark) for event in applied])
            db.executemany(
                "INSERT OR REPLACE INTO decision VALUES (?,?,?,?,?)",
                [(ts_mark, e.symbol, e.reason.name.lower(), json.dumps(e.features), latency_ns) for e in evaluated],
            )
            db.executemany(
                "INSERT INTO trade (ts_mark, symbol, contract, side, quantity, entry_ts, entry_price, exit_ts,"
                " exit_price, cause, pnl_usd, costs_usd, bars_held) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                [(ts_mark, *msgspec.structs.astuple(trade)) for trade in trades],
            )
            db.execute("INSERT OR REPLACE INTO status VALUES (1,?,?,?,?)", (ts_mark, now_ns, marks, json.dumps(detail)))
            if checkpoint is not None:
                db.execute(
                    "INSERT OR REPLACE INTO checkpoint VALUES (?,?,?)",
                    (checkpoint.ts_mark, checkpoint.digest, checkpoint.state),
                )
                db.execute(
                    "DELETE FROM checkpoint WHERE ts_mark NOT IN"
                    f" (SELECT ts_mark FROM checkpoint ORDER BY ts_mark DESC LIMIT {CHECKPOINTS_KEPT})"
                )

    @staticmethod
    def _event(
        db: sqlite3.Connection, intent_id: str, state: State, ts_wall: int, ts_clock: int, receipt: Receipt | None = None,
        detail: str = "",
    ) -> int:  # fmt: skip
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
        """Move an intent to `state`, durably. Raises IllegalMoveError for a move its life does not know."""
        now_ns = time.time_ns()
        with self._transaction(durable=True) as db:
            last = db.execute(
                "SELECT state FROM event WHERE intent=? ORDER BY seq DESC LIMIT 1", (intent.id,)
            ).fetchone()
            check_move(intent.role, State(last[0]), state)
            seq = self._event(db, intent.id, state, now_ns, ts_clock, receipt, detail)
        status, text = (receipt.status, receipt.detail) if receipt is not None else (0, detail)
        return Event(seq, intent.id, state, now_ns, ts_clock, status, text)

    # ── what a start reads ──

    def position(self) -> int | None:
        """ts_close of the last finished mark; None in a new ledger."""
        found = self._one("SELECT ts_mark FROM status")
        return None if found is None else int(found)

    def checkpoint(self) -> Checkpoint | None:
        """The newest one."""
        with self._mutex:
            row = self._db.execute(
                "SELECT ts_mark, digest, state FROM checkpoint ORDER BY ts_mark DESC LIMIT 1"
            ).fetchone()
        return None if row is None else Checkpoint(*row)

    def unfinished(self) -> list[tuple[Intent, list[Event]]]:
        """Intents whose life is not over, oldest first, each with all its events."""
        final = {State.ACKNOWLEDGED, State.DROPPED, State.RESOLVED}
        found = []
        for intent in self.intents():
            events = self.events(intent.id)
            state = events[-1].state
            if state not in final and not (state is State.REFUSED and intent.role is Role.ENTRY):
                found.append((intent, events))
        return found

    def intents(self) -> list[Intent]:
        """All intents, oldest first."""
        with self._mutex:
            rows = self._db.execute(f"SELECT {_INTENT_COLUMNS} FROM intent ORDER BY seq").fetchall()
        names = _INTENT_COLUMNS.split(", ")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [Intent(**row | {"role": Role(row["role"]), "side": Side(row["side"])}) for row in found]

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
