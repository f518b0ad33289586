"""Writing side of a ledger: one SQLite file per strategy, append-only.

What was decided at a mark and the position on the tape are committed in one transaction, so a restart continues
exactly there. Intents and outcomes are synced to the disk before anything acts on them; a mark without either is not,
because it can be stepped again from the tape.

On a disk that is full, what would be written waits in memory, in a transaction that stays open until there is room:
whoever asks the ledger's own object sees it. A process that ends before has lost it, and the next one finds in the lock
file that orders may have gone out of which nothing tells.
"""

import contextlib
import enum
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from rooney import failpoints as faults
from rooney import log
from rooney.errors import FullError, LedgerError
from rooney.files import MIB
from rooney.ledger import latency as pace
from rooney.ledger import schema as ledgerfile
from rooney.ledger.ballast import NO_ROOM, SIZE_BYTES, TRANSACTION_BYTES, Ballast
from rooney.ledger.queries import INTENT_COLUMNS, Queries
from rooney.ledger.records import Checkpoint
from rooney.ledger.schema import LAST_STATE, UNTOUCHED
from rooney.market.sessions import trade_date
from rooney.orders import order_messages
from rooney.orders.control import Act, Command
from rooney.orders.decisions import Book, Evaluated, Trade
from rooney.orders.intents import Event, Intent, Receipt, Role, Said, State
from rooney.orders.lifecycle import check_move
from rooney.orders.notices import DISK_FULL, UNWRITTEN, Notice, Turn

CHECKPOINTS_KEPT = 3
_DOING_BYTES = 200
_CANNOT_WRITE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
DECISIONS_KEPT_NS = 90 * 86_400 * 1_000_000_000


class Ledger(Queries):
    """Ledger of a worker, to ask and to write; one process at a time. Methods may be called from any thread.

    ballast:      room it gives up when the disk is full
    is_behind:    what was written last waits in memory
    left_doing:   what the last worker did when it ended without a word; empty after a clean end
    is_uncertain: exits may have gone out lately of which nothing here tells
    """

    def __init__(self, path: Path, strategy: str) -> None:
        """Open or create. Raises LedgerError and leaves the file as it is if it cannot be trusted."""
        self.path = path
        self.strategy = strategy
        self.ballast = Ballast(path)
        self.is_behind = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.ballast.look()
            self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise self._refusal(error, f"{error.strerror}; not starting") from error
        try:
            super().__init__(self._hold(strategy))
            self.left_doing = os.pread(self._lock, _DOING_BYTES, 0).decode(errors="replace").strip()
            self._seq = int(self._row("SELECT coalesce(max(seq), 0) AS seq FROM intent")[0])
            self._troubles = {notice.about for notice in self.troubles()}
        except (sqlite3.Error, OSError, LedgerError) as error:
            os.close(self._lock)
            if isinstance(error, LedgerError):
                raise
            raise self._refusal(error, f"not a sound ledger: {error}; {UNTOUCHED}") from error
        self.is_uncertain = UNWRITTEN in self.left_doing
        self._doing = self.left_doing.partition(DISK_FULL)[0].removesuffix("; ")

    def _hold(self, strategy: str) -> sqlite3.Connection:
        """Take the lock, make the file if there is none, and open it if it is ours."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(
                f"{self.path}: another process works with this ledger; a strategy runs once. Not starting"
            ) from None
        if not self.path.exists():
            ledgerfile.create(self.path, strategy)
        return ledgerfile.connect(self.path, ledgerfile.inspect(self.path, strategy))

    @property
    def lack(self) -> str:
        """Why no entry may go out, and until when; empty while the disk has room."""
        how = " unwritten, and are lost if the worker ends" if self.is_behind else ""
        room = f"{self.ballast.enough_bytes // MIB} MiB are free in {self.path.parent}"
        is_full = self.is_behind or self.ballast.is_short
        return f"{DISK_FULL}: exits go out{how}, no entries before {room}" if is_full else ""

    def close(self) -> None:
        """Write what waits if there is room now, fold the journal into the file and let others in."""
        with self._mutex:
            self.write_out()
            self._db.close()
            os.close(self._lock)

    @contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        """durable: synced to the disk, or in memory, before this returns. Raises FullError if room was not enough."""
        with self._mutex, self._room():
            self.ballast.look()
            if not self._db.in_transaction:
                self._db.execute(f"PRAGMA synchronous={'FULL' if durable or self.ballast.is_short else 'NORMAL'}")
                self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("SAVEPOINT step")
            try:
                yield self._db
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK TO step")
                raise
            finally:
                if self._db.in_transaction:
                    self._db.execute("RELEASE step")
                self.write_out()

    def write_out(self) -> None:
        """Commit if the disk has room, for a commit that fails would roll back all that waits; look at it anew."""
        with self._mutex, self._room():
            if self._db.in_transaction:
                has_room = self.ballast.leaves_room(SIZE_BYTES if self.is_behind else TRANSACTION_BYTES)
                if has_room:
                    self._db.execute("COMMIT")
                self.is_behind = not has_room
                self.doing(self._doing)  # before anything is sent
            self.ballast.look()

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if isinstance(refusal := self._refusal(error, ""), LedgerError):
                raise
            raise refusal from error

    def _refusal(self, error: sqlite3.Error | OSError, text: str) -> LedgerError | FullError:
        """What it is to whoever cannot go on: for want of room, or for good, as `text` says."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code not in _CANNOT_WRITE and getattr(error, "errno", 0) not in NO_ROOM:
            return LedgerError(f"{self.path}: {text}")
        return FullError(
            f"{self.path}: cannot be written: {error}; {self.ballast.free_bytes() / MIB:.1f} MiB are free in "
            f"{self.path.parent}. Make room there; until then nothing is sent: close by hand at the broker what "
            "must be closed now"
        )

    def doing(self, what: str) -> None:
        """Leave what the worker does now, for others, and the next one if this one is killed; empty at a clean end.

        It stands in the lock file, as many bytes each time: a disk that is full, and no SQLite, must not keep it from
        being known.
        """
        self._doing = what
        disk = UNWRITTEN if self.is_behind or self.is_uncertain else DISK_FULL if self.ballast.is_short else ""
        with contextlib.suppress(OSError):
            os.pwrite(self._lock, "; ".join(filter(None, (what, disk))).encode()[:_DOING_BYTES].ljust(_DOING_BYTES), 0)

    def next_seq(self) -> int:
        """A number no intent has."""
        self._seq += 1
        return self._seq

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
        obeyed: Sequence[int] = (),
        notices: Sequence[Notice] = (),
    ) -> list[Event]:
        """One mark, whole: its intents as planned, outcomes it took in, decisions, trades, and the tape position.

        applied, obeyed: sequence numbers of the events and of the operator's acts that reached the step at this mark
        latency_ns: from the minute's end at the hub to the decision; 0 where it is not known
        return:  the event that begins the life of each intent
        """
        now_ns = time.time_ns()
        with self._transaction(durable=bool(intents or applied or obeyed)) as db:
            planned = self._plan(db, intents, now_ns, ts_mark)
            db.executemany("INSERT INTO applied VALUES (?, ?)", [(event, ts_mark) for event in applied])
            db.executemany("INSERT INTO obeyed VALUES (?, ?)", [(act, ts_mark) for act in obeyed])
            db.executemany(
                "INSERT OR REPLACE INTO decision (ts_mark, symbol, reason, features, latency_ns, score)"
                " VALUES (?,?,?,?,?,?)",
                [(ts_mark, e.symbol, e.reason.name.lower(), _json(e.features), latency_ns, e.score) for e in evaluated],
            )
            db.executemany(
                "INSERT INTO trade (ts_mark, symbol, contract, side, quantity, entry_ts, entry_price, exit_ts,"
                " exit_price, cause, pnl_usd, costs_usd, bars_held, score) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                [(ts_mark, *msgspec.structs.astuple(trade)) for trade in trades],
            )
            db.execute(
                "INSERT OR REPLACE INTO status VALUES (1,?,?,?,?,?,?)",
                (ts_mark, now_ns, marks, _json(detail), book.layout, book.data),
            )
            self._tell(db, notices, now_ns, ts_mark)
            if latency_ns:
                db.execute(
                    "INSERT INTO pace VALUES (?,?,1) ON CONFLICT DO UPDATE SET minutes = minutes + 1",
                    (trade_date(ts_mark - 1).isoformat(), pace.bucket(latency_ns)),
                )
            if checkpoint is not None:
                db.execute("DELETE FROM checkpoint WHERE ts_mark > ?", (checkpoint.ts_mark,))  # of a time never reached
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
    def _plan(db: sqlite3.Connection, intents: Sequence[Intent], ts_wall: int, ts_clock: int) -> list[Event]:
        """Begin the lives of intents: two statements for all of them, for each waits until the last is written."""
        if not intents:
            return []
        db.executemany(
            f"INSERT INTO intent ({', '.join(INTENT_COLUMNS)}) VALUES ({','.join('?' * len(INTENT_COLUMNS))})",
            [[*map(_plain, msgspec.structs.astuple(intent))] for intent in intents],
        )
        first = int(db.execute("SELECT coalesce(max(seq), 0) + 1 FROM event").fetchone()[0])
        planned = [
            Event(seq, intent.id, State.PLANNED, ts_wall, ts_clock, 0, "") for seq, intent in enumerate(intents, first)
        ]
        db.executemany(
            f"INSERT INTO event ({', '.join(Event.__struct_fields__)}, body) VALUES (?,?,?,?,?,?,?,?,?,?,'')",
            [[*map(_plain, msgspec.structs.astuple(event))] for event in planned],
        )
        return planned

    def set_aside(self, act: Act, ts_mark: int, notice: Notice) -> None:
        """Keep an operator's act from the step for good, durably, and say so. ts_mark: last finished mark."""
        with self._transaction(durable=True) as db:
            db.execute("INSERT INTO obeyed VALUES (?, ?)", (act.seq, -max(1, ts_mark)))
            self._tell(db, [notice], time.time_ns(), ts_mark)

    def has_trouble(self, about: str) -> bool:
        """A notice began it, and none has ended it."""
        return about in self._troubles

    def tell(self, notice: Notice, ts_clock: int) -> None:
        """A notice of what is no event of an order: not synced, since a restart finds the same again."""
        with self._transaction(durable=False) as db:
            self._tell(db, [notice], time.time_ns(), ts_clock)

    def _tell(self, db: sqlite3.Connection, notices: Sequence[Notice], ts_wall: int, ts_clock: int) -> None:
        """What is news: a trouble that goes on is not, nor the end of one that was not there."""
        for notice in notices:
            if not notice.intent and notice.turn is not Turn.NEWS:
                if (notice.about in self._troubles) is (notice.turn is Turn.BEGINS):
                    continue
                self._troubles ^= {notice.about}
            row = (*msgspec.structs.astuple(notice), ts_wall, ts_clock)
            db.execute(
                "INSERT INTO notice (about, turn, level, text, symbol, intent, ts_wall, ts_clock)"
                " VALUES (?,?,?,?,?,?,?,?)",
                row,
            )

    def record(
        self, intent: Intent, state: State, ts_clock: int, receipt: Receipt | None = None, detail: str = ""
    ) -> Event:
        """Move an intent to `state`, durably. Raises IllegalMoveError for a move its life does not know.

        An acknowledged exit resolves, in the same transaction, what stood on its contract when its request began:
        earlier entries whose fate was unknown, and every other exit that was still wanted.
        """
        now_ns = time.time_ns()
        with self._transaction(durable=True) as db:
            event = self._move(db, intent, _event(intent, state, now_ns, ts_clock, detail, receipt), receipt)
            if intent.role is Role.EXIT and state is State.ACKNOWLEDGED:
                began = max(step.seq for step in self.events(intent.id) if step.state is State.SENDING)
                where = (
                    f"{self.is_open} AND contract=?"
                    f" AND (seq<? AND {LAST_STATE}=? OR role=? AND {LAST_STATE} IN (?,?,?))"
                    " AND (SELECT max(seq) FROM event WHERE intent = i.id) < ?"
                )
                unknown = State.UNCONFIRMED.value
                wanted = (int(Role.EXIT), State.PLANNED.value, State.REFUSED.value, unknown)
                for settled in self.intents(where, (intent.contract, intent.seq, unknown, *wanted, began)):
                    why = f"settled by exit {intent.id}"
                    self._append(db, settled, _event(settled, State.RESOLVED, now_ns, ts_clock, why))
        return event

    def _move(self, db: sqlite3.Connection, intent: Intent, event: Event, receipt: Receipt | None = None) -> Event:
        """Append an event that the life of the intent allows now."""
        check_move(intent.role, self.events(intent.id)[-1].state, event.state)
        return self._append(db, intent, event, receipt)

    def _append(self, db: sqlite3.Connection, intent: Intent, event: Event, receipt: Receipt | None = None) -> Event:
        """Append an event, numbered, and the notice of it."""
        body = receipt.body if receipt is not None else ""
        columns = ", ".join(Event.__struct_fields__[1:])
        cursor = db.execute(
            f"INSERT INTO event ({columns}, body) VALUES (?,?,?,?,?,?,?,?,?,?)",
            (*map(_plain, msgspec.structs.astuple(event)[1:]), body),
        )
        if (
            event.state is not State.SENDING
            and (notice := order_messages.notice(intent, self.events(intent.id))) is not None
        ):
            self._tell(db, [notice], event.ts_wall, event.ts_clock)
        return msgspec.structs.replace(event, seq=int(cursor.lastrowid or 0))

    def journal(
        self,
        command: Command,
        ts_clock: int,
        intents: Sequence[Intent] = (),
        moves: Sequence[tuple[Intent, State, Said]] = (),
        notices: Sequence[Notice] = (),
    ) -> Act:
        """An operator's command, durably, with the intents it plans, the orders it moves, and what else it makes news.

        Raises IllegalMoveError, and writes nothing, for a move an order's life does not know.
        """
        now_ns = time.time_ns()
        with self._transaction(durable=True) as db:
            after_event, encoded = self.last_event(), msgspec.json.encode(command).decode()
            seq = db.execute(
                "INSERT INTO operator (name, verb, who, reason, ts_wall, ts_clock, after_event, command)"
                " VALUES (?,?,?,?,?,?,?,?)",
                (command.name, command.verb.value, command.who, command.reason, now_ns, ts_clock, after_event, encoded),
            ).lastrowid
            self._plan(db, intents, now_ns, ts_clock)
            about = " ".join([command.symbol or command.intent, *command.symbols])
            told = " ".join(f"{command.verb} {about} by {command.who}: {command.reason}".split())
            self._tell(db, [Notice("operator", Turn.NEWS, log.NOTICE, told, command.symbol)], now_ns, ts_clock)
            text = f"{command.verb} by {command.who}: {command.reason}"
            for intent, state, said in moves:
                self._move(db, intent, _event(intent, state, now_ns, ts_clock, text, said=said))
            self._tell(db, notices, now_ns, ts_clock)
            faults.point("in_act_commit")
        return Act(int(seq or 0), ts_clock, command, after_event)


def _event(
    intent: Intent,
    state: State,
    ts_wall: int,
    ts_clock: int,
    detail: str = "",
    receipt: Receipt | None = None,
    said: Said = Said.NOBODY,
) -> Event:
    """Event without a number yet. receipt: of the attempt that led there; its detail goes before `detail`."""
    event = Event(0, intent.id, state, ts_wall, ts_clock, 0, detail, said)
    if receipt is None:
        return event
    return msgspec.structs.replace(
        event,
        status=receipt.status,
        detail=receipt.detail,
        remote_id=receipt.remote_id,
        latency_ns=receipt.ts_done_ns - receipt.ts_sent_ns,
    )


def _plain(value: Any) -> Any:
    """Value as SQLite takes it: of an enum its value."""
    return value.value if isinstance(value, enum.Enum) else value


def _json(values: dict[str, Any]) -> str:
    """NaN becomes null: JSON knows no other name for it."""
    return msgspec.json.encode(values).decode()
