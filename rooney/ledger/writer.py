"""The ledger of one strategy: one SQLite file, append-only.

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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from rooney import failpoints as faults
from rooney import log
from rooney.errors import LedgerError
from rooney.ledger import latency as pace
from rooney.ledger import schema as ledgerfile
from rooney.ledger.records import Attempt, Checkpoint, Finished
from rooney.ledger.schema import LAST_STATE, UNTOUCHED
from rooney.market.sessions import trade_date
from rooney.orders import order_log as orderlog
from rooney.orders.control import Act, Command, Verb
from rooney.orders.decisions import Book, Evaluated, Trade
from rooney.orders.intents import Event, Intent, Receipt, Role, Said, Side, State, check_move
from rooney.orders.notices import Notice, Turn

CHECKPOINTS_KEPT = 3
DECISIONS_KEPT_NS = 90 * 86_400 * 1_000_000_000

_INTENT_COLUMNS = ", ".join(Intent.__struct_fields__)


class Ledger:
    """Write side; one process at a time. Methods may be called from any thread."""

    def __init__(self, path: Path, strategy: str) -> None:
        """Open or create. Raises LedgerError and leaves the file as it is if it cannot be trusted."""
        self.path = path
        self.strategy = strategy
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
            raise LedgerError(f"{path}: not a sound ledger: {error}; {UNTOUCHED}") from error
        self._seq = int(self._one("SELECT coalesce(max(seq), 0) FROM intent"))
        rows = self._db.execute("SELECT about, turn FROM notice WHERE intent = '' ORDER BY seq").fetchall()
        self._troubles = {about for about, turn in dict(rows).items() if turn == Turn.BEGINS}

    def _hold(self, strategy: str) -> None:
        """Take the lock, make the file if there is none, and open it if it is ours."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(
                f"{self.path}: another process works with this ledger; a strategy runs once. Not starting"
            ) from None
        if not self.path.exists():
            ledgerfile.create(self.path, strategy)
        self._db = ledgerfile.connect(self.path, ledgerfile.inspect(self.path, strategy))

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
            f"INSERT INTO intent ({_INTENT_COLUMNS}) VALUES ({','.join('?' * len(Intent.__struct_fields__))})",
            [
                [value.value if isinstance(value, Role | Side) else value for value in msgspec.structs.astuple(intent)]
                for intent in intents
            ],
        )
        first = int(db.execute("SELECT coalesce(max(seq), 0) + 1 FROM event").fetchone()[0])
        planned = [
            Event(seq, intent.id, State.PLANNED, ts_wall, ts_clock, 0, "") for seq, intent in enumerate(intents, first)
        ]
        db.executemany(
            "INSERT INTO event (seq, intent, state, ts_wall, ts_clock, status, detail, remote_id, latency_ns, body)"
            " VALUES (?,?,?,?,?,?,?,'',0,'')",
            [msgspec.structs.astuple(event)[:-1] for event in planned],
        )
        return planned

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

    def _event(
        self,
        db: sqlite3.Connection,
        intent: Intent,
        state: State,
        ts_wall: int,
        ts_clock: int,
        receipt: Receipt | None = None,
        detail: str = "",
        said: Said = Said.NOBODY,
    ) -> int:
        status, remote_id, latency_ns, body = 0, "", 0, ""
        if receipt is not None:
            status, remote_id, body = receipt.status, receipt.remote_id, receipt.body
            latency_ns, detail = receipt.ts_done_ns - receipt.ts_sent_ns, receipt.detail
        cursor = db.execute(
            "INSERT INTO event (intent, state, ts_wall, ts_clock, status, detail, remote_id, latency_ns, body, said)"
            " VALUES (?,?,?,?,?,?,?,?,?,?)",
            (intent.id, state.value, ts_wall, ts_clock, status, detail, remote_id, latency_ns, body, said.value),
        )
        if state is not State.SENDING and (notice := orderlog.notice(intent, self.events(intent.id))) is not None:
            self._tell(db, [notice], ts_wall, ts_clock)
        return int(cursor.lastrowid or 0)

    def record(
        self, intent: Intent, state: State, ts_clock: int, receipt: Receipt | None = None, detail: str = ""
    ) -> Event:
        """Move an intent to `state`, durably. Raises IllegalMoveError for a move its life does not know.

        An acknowledged exit resolves, in the same transaction, what came before it on its contract: entries whose
        fate was unknown, and other exits that were still wanted.
        """
        now_ns = time.time_ns()
        with self._transaction(durable=True) as db:
            seq = self._move(db, intent, state, now_ns, ts_clock, receipt, detail)
            if intent.role is Role.EXIT and state is State.ACKNOWLEDGED:
                for (settled,) in db.execute(
                    f"SELECT id FROM intent i WHERE contract=? AND seq<? AND ({LAST_STATE}=?"
                    f" OR role=? AND {LAST_STATE} IN (?,?))",
                    (
                        intent.contract, intent.seq, State.UNCONFIRMED.value,
                        int(Role.EXIT), State.PLANNED.value, State.REFUSED.value,
                    ),
                ).fetchall():  # fmt: skip
                    why = f"settled by exit {intent.id}"
                    self._event(db, self.intent(settled), State.RESOLVED, now_ns, ts_clock, detail=why)
        status, text = (receipt.status, receipt.detail) if receipt is not None else (0, detail)
        return Event(seq, intent.id, state, now_ns, ts_clock, status, text)

    def _move(
        self,
        db: sqlite3.Connection,
        intent: Intent,
        state: State,
        ts_wall: int,
        ts_clock: int,
        receipt: Receipt | None = None,
        detail: str = "",
        said: Said = Said.NOBODY,
    ) -> int:
        last = db.execute("SELECT state FROM event WHERE intent=? ORDER BY seq DESC LIMIT 1", (intent.id,)).fetchone()
        check_move(intent.role, State(last[0]), state)
        return self._event(db, intent, state, ts_wall, ts_clock, receipt, detail, said)

    def journal(
        self,
        command: Command,
        ts_clock: int,
        intents: Sequence[Intent] = (),
        moves: Sequence[tuple[Intent, State, Said]] = (),
    ) -> Act:
        """What an operator said, durably, with the intents it plans and the orders it moves.

        Raises IllegalMoveError, and writes nothing, for a move an order's life does not know.
        """
        now_ns = time.time_ns()
        with self._transaction(durable=True) as db:
            seq = db.execute(
                "INSERT INTO operator (name, verb, who, reason, ts_wall, ts_clock, after_event, command)"
                " VALUES (?,?,?,?,?,?,(SELECT coalesce(max(seq), 0) FROM event),?)",
                (
                    command.name, command.verb.value, command.who, command.reason, now_ns, ts_clock,
                    msgspec.json.encode(command).decode(),
                ),
            ).lastrowid  # fmt: skip
            self._plan(db, intents, now_ns, ts_clock)
            about = " ".join([command.symbol or command.intent, *command.symbols])
            told = " ".join(f"{command.verb} {about} by {command.who}: {command.reason}".split())
            self._tell(db, [Notice("operator", Turn.NEWS, log.NOTICE, told, command.symbol)], now_ns, ts_clock)
            for intent, state, said in moves:
                text = f"{command.verb} by {command.who}: {command.reason}"
                self._move(db, intent, state, now_ns, ts_clock, detail=text, said=said)
            faults.point("in_act_commit")
        return Act(int(seq or 0), ts_clock, command)

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
        where = f"{LAST_STATE} NOT IN (?,?,?) AND NOT (role=? AND {LAST_STATE}=?)"
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
        found = [dict(zip(Intent.__struct_fields__, row, strict=True)) for row in rows]
        for row in found:
            row |= {"role": Role(row["role"]), "side": Side(row["side"])}
            # SQLite keeps NaN as NULL
            row |= {name: math.nan for name in ("signal_price", "stop_price") if row[name] is None}
        return [Intent(**row) for row in found]

    def events(self, intent_id: str) -> list[Event]:
        """Everything that happened to an intent, in order."""
        return [event for _, event in self._events("0", "event e WHERE e.intent=? ORDER BY e.seq", (intent_id,))]

    def applied_after(self, ts_mark: int) -> list[tuple[int, Event]]:
        """(mark, event) of every outcome that reached the step after a mark, in order."""
        source = "applied a JOIN event e ON e.seq = a.event WHERE a.ts_mark > ? ORDER BY a.ts_mark, e.seq"
        return self._events("a.ts_mark", source, (ts_mark,))

    def unapplied(self, states: Iterable[State]) -> list[Event]:
        """Outcomes that have not reached the step yet, in order."""
        names = [state.value for state in states]
        source = (
            f"event e WHERE e.state IN ({','.join('?' * len(names))})"
            " AND e.seq NOT IN (SELECT event FROM applied) ORDER BY e.seq"
        )
        return [event for _, event in self._events("0", source, names)]

    def _events(self, first: str, source: str, args: Sequence[Any]) -> list[tuple[int, Event]]:
        columns = ", ".join(f"e.{name}" for name in Event.__struct_fields__)
        with self._mutex:
            rows = self._db.execute(f"SELECT {first}, {columns} FROM {source}", args).fetchall()
        return [
            (row[0], Event(row[1], row[2], State(row[3]), row[4], row[5], row[6], row[7], Said(row[8]))) for row in rows
        ]

    def last_event(self) -> int:
        """Number of the newest event, 0 before the first."""
        return int(self._one("SELECT coalesce(max(seq), 0) FROM event"))

    def has_act(self, name: str) -> bool:
        """Whether a command of this name was journalled."""
        return self._one("SELECT 1 FROM operator WHERE name = ?", (name,)) is not None

    def obeyed_after(self, ts_mark: int) -> list[tuple[int, Act]]:
        """(mark, act) of everything an operator did that reached the step after a mark, in order."""
        return self._acts("o.ts_mark", "obeyed o JOIN operator a ON a.seq = o.operator WHERE o.ts_mark > ?", (ts_mark,))

    def unobeyed(self) -> list[Act]:
        """What an operator did that has not reached the step yet, in order."""
        source = "operator a WHERE a.seq NOT IN (SELECT operator FROM obeyed)"
        return [act for _, act in self._acts("0", source, ())]

    def _acts(self, first: str, source: str, args: Sequence[Any]) -> list[tuple[int, Act]]:
        with self._mutex:
            sql = f"SELECT {first}, a.seq, a.ts_clock, a.command FROM {source} ORDER BY 1, a.seq"
            rows = self._db.execute(sql, args).fetchall()
        return [(row[0], Act(row[1], row[2], msgspec.json.decode(row[3], type=Command))) for row in rows]

    # ── what the gates of delivery begin with ──

    def attempts_since(self, ts_clock: int) -> list[Attempt]:
        """Requests and what may have come of them, from a time on by the worker's clock, in order."""
        states = [state.value for state in (State.SENDING, State.ACKNOWLEDGED, State.UNCONFIRMED)]
        return self._attempts("e.state IN (?,?,?) AND e.ts_clock >= ?", (*states, ts_clock))

    def answers_since_resume(self) -> list[Attempt]:
        """Outcomes of requests since the last acknowledged exit and the operator's last resume, in order."""
        states = [state.value for state in (State.ACKNOWLEDGED, State.REFUSED, State.UNCONFIRMED)]
        return self._attempts(
            "e.state IN (?,?,?) AND e.seq > (SELECT coalesce(max(after_event), 0) FROM operator WHERE verb = ?)"
            " AND e.seq > (SELECT coalesce(max(x.seq), 0) FROM event x JOIN intent y ON y.id = x.intent"
            " WHERE x.state = ? AND y.role = ?)",
            (*states, Verb.RESUME.value, State.ACKNOWLEDGED.value, int(Role.EXIT)),
        )

    def _attempts(self, where: str, args: Sequence[Any]) -> list[Attempt]:
        with self._mutex:
            rows = self._db.execute(
                "SELECT i.contract, i.role, e.state, e.status, e.ts_clock FROM event e JOIN intent i ON i.id = e.intent"
                f" WHERE {where} ORDER BY e.seq",
                args,
            ).fetchall()
        return [Attempt(row[0], Role(row[1]), State(row[2]), row[3], row[4]) for row in rows]


def _json(values: dict[str, Any]) -> str:
    """NaN becomes null: JSON knows no other name for it."""
    return msgspec.json.encode(values).decode()
