"""Questions a ledger answers, over any connection to it: its worker's own, a reader's, that of a replay."""

import functools
import math
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from rooney.errors import LedgerError
from rooney.ledger.damage import UNREADABLE, columns, damage
from rooney.ledger.records import Attempt, Checkpoint, Decision, Finished, TradeRow
from rooney.ledger.schema import LAST_STATE, UNTOUCHED, WITH_ACTS, WITH_NOTICES, has_aids, schema_version
from rooney.orders.control import Act, Command, Verb
from rooney.orders.decisions import Book, Trade
from rooney.orders.intents import Event, Intent, Role, Said, Side, State
from rooney.orders.lifecycle import TRANSITIONS, Order
from rooney.orders.notices import Notice, Turn

P = ParamSpec("P")
T = TypeVar("T")

INTENT_COLUMNS = Intent.__struct_fields__
_EVENT_COLUMNS = Event.__struct_fields__
_IS_OPEN = "i.id IN (SELECT intent FROM open_order)"  # of an intent `i`
_IS_OPEN_UNAIDED = " OR ".join(
    f"role = {role:d} AND {LAST_STATE} IN ({', '.join(repr(state.value) for state in moves)})"
    for role, moves in TRANSITIONS.items()
)
_ANSWERS = f"('{State.ACKNOWLEDGED}', '{State.UNCONFIRMED}', '{State.REFUSED}')"


def _readable(method: Callable[Concatenate["Queries", P], T]) -> Callable[Concatenate["Queries", P], T]:
    """Make the failure to read a value a LedgerError that says where in the file it stands."""

    @functools.wraps(method)
    def read(self: "Queries", /, *args: P.args, **fields: P.kwargs) -> T:
        try:
            return method(self, *args, **fields)
        except UNREADABLE as error:
            if not (place := self.damage()):
                raise
            raise LedgerError(f"{self.file()}: {place}; {UNTOUCHED}") from error

    return read


class Queries:
    """Questions to one connection; any thread may ask. Columns an older schema lacks are empty or NaN.

    version: of the schema; is_open: SQL condition of an intent `i` whose life is not over
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._mutex = threading.RLock()
        self.version = schema_version(db)
        self._is_first_schema = self.version < WITH_ACTS
        self._kinds = {(column, kind) for (_, column), kinds in columns(db).items() for kind in kinds}
        self._named = {column for column, _ in self._kinds}
        self.is_open = _IS_OPEN if has_aids(db) else f"({_IS_OPEN_UNAIDED})"

    def file(self) -> str:
        """Path of the ledger, as SQLite has it."""
        return str(self._db.execute("PRAGMA database_list").fetchone()[2])

    def copy(self, target: sqlite3.Connection) -> None:
        """Copy the whole ledger; ends the transaction that was read in."""
        self._db.execute("COMMIT")  # the copy takes its own
        self._db.backup(target)

    def damage(self) -> str:
        """Table, row and column of the first value that cannot be read, and why; empty if there is none."""
        with self._mutex:
            return damage(self._db)

    @_readable
    def rows(self, sql: str, args: Sequence[Any] = ()) -> list[Any]:
        """Rows of a question of one's own. Raises LedgerError, as everything here, for what cannot be read."""
        with self._mutex:
            cursor = self._db.execute(sql, args)
            rows = cursor.fetchall()
        names = [name for name, *_ in cursor.description]
        for kinds in {tuple(map(type, row)) for row in rows}:
            if any(name in self._named for name, _ in {*zip(names, kinds, strict=True)} - self._kinds):
                raise TypeError("a value of another kind than its column's")
        return rows

    def _row(self, sql: str, args: Sequence[Any] = ()) -> Any:
        return next(iter(self.rows(sql, args)), None)

    def _columns(self, names: Iterable[str], table: str) -> str:
        """Columns of a table, NULL where the schema of this ledger does not have them yet."""
        absent = ("stop_price", "said", "score") if self._is_first_schema else ()
        return ", ".join("NULL" if name in absent else f"{table}.{name}" for name in names)

    # ── where it stands ──

    def name(self) -> str:
        """Strategy whose ledger this is."""
        return str(self._row("SELECT name FROM strategy")[0])

    def created_ns(self) -> int:
        """Birth of the ledger, UTC ns."""
        return int(self._row("SELECT created_ns FROM strategy")[0])

    @_readable
    def finished(self) -> Finished | None:
        """Last finished mark; None in a new ledger."""
        row = self._row("SELECT ts_mark, marks, layout, book, ts_wall, detail FROM status")
        if row is not None:  # the book's form is checked where it is read
            msgspec.json.decode(row[2])
            msgspec.json.decode(row[5])
        return row and Finished(row[0], row[1], Book(row[2], row[3]), row[4], row[5])

    @_readable
    def checkpoint(self) -> Checkpoint | None:
        """Newest frozen state of the engine."""
        row = self._row("SELECT ts_mark, digest, state FROM checkpoint ORDER BY ts_mark DESC LIMIT 1")
        return row and Checkpoint(*row)

    def digest(self) -> str:
        """Kernels and configuration of the newest checkpoint, empty without one."""
        row = self._row("SELECT digest FROM checkpoint ORDER BY ts_mark DESC LIMIT 1")
        return row[0] if row else ""

    # ── orders ──

    def has_intent(self, intent_id: str) -> bool:
        """An intent with this id was planned."""
        return self._row("SELECT 1 FROM intent WHERE id = ?", (intent_id,)) is not None

    @_readable
    def intents(self, where: str = "1", args: Sequence[Any] = ()) -> list[Intent]:
        """Intents `i` that fulfil a condition, oldest first."""
        sql = f"SELECT {self._columns(INTENT_COLUMNS, 'i')} FROM intent i WHERE {where} ORDER BY i.seq"
        return [_intent(row) for row in self.rows(sql, args)]

    def intent(self, intent_id: str) -> Intent:
        """Intent that is in the ledger."""
        return self.intents("id = ?", (intent_id,))[0]

    def last_intent(self) -> Intent | None:
        """Newest intent."""
        return next(iter(self.intents("seq = (SELECT max(seq) FROM intent)")), None)

    def unfinished(self) -> list[tuple[Intent, list[Event]]]:
        """Intents whose life is not over, oldest first, each with all its events."""
        return [(intent, self.events(intent.id)) for intent in self.intents(self.is_open)]

    def orders(self, where: str = "1", args: Sequence[Any] = ()) -> tuple[Order, ...]:
        """Intents `i` that fulfil a condition, oldest first, each with all its events."""
        intents = self.intents(where, args)
        lives: dict[str, list[tuple[int, Event]]] = {intent.id: [] for intent in intents}
        source = "event e WHERE e.intent IN (SELECT value FROM json_each(?)) ORDER BY e.seq"
        is_applied = "e.seq IN (SELECT event FROM applied)"
        for pair in self._events(is_applied, source, (msgspec.json.encode(list(lives)).decode(),)):
            lives[pair[1].intent].append(pair)
        return tuple(
            Order(  # type: ignore[misc]  # the fields of an Intent come first
                *msgspec.structs.astuple(intent),
                events=tuple(event for _, event in lives[intent.id]),
                is_applied=bool(lives[intent.id][-1][0]),
            )
            for intent in intents
        )

    def newest_orders(self, symbols: Sequence[str]) -> tuple[Order, ...]:
        """Open orders, newest entry and newest exit of each symbol, and the newest of all, however many there were."""
        roles = msgspec.json.encode([int(role) for role in Role]).decode()
        newest = "SELECT max(n.seq) FROM intent n WHERE n.symbol = s.value AND n.role = r.value"
        return self.orders(
            f"i.seq IN (SELECT ({newest}) FROM json_each(?) s, json_each(?) r UNION SELECT max(seq) FROM intent)"
            f" OR {self.is_open}",
            (msgspec.json.encode(symbols).decode(), roles),
        )

    def events(self, intent_id: str) -> list[Event]:
        """Events in the life of an intent, in order."""
        return [event for _, event in self._events("0", "event e WHERE e.intent = ? ORDER BY e.seq", (intent_id,))]

    def last_event(self) -> int:
        """Number of the newest event, 0 before the first."""
        return int(self._row("SELECT coalesce(max(seq), 0) AS seq FROM event")[0])

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

    @_readable
    def _events(self, first: str, source: str, args: Sequence[Any]) -> list[tuple[int, Event]]:
        return [
            (mark, Event(seq, intent, State(state), ts_wall, ts_clock, status, detail, Said(said or ""), *request))
            for mark, seq, intent, state, ts_wall, ts_clock, status, detail, said, *request in self.rows(
                f"SELECT {first}, {self._columns(_EVENT_COLUMNS, 'e')} FROM {source}", args
            )
        ]

    @_readable
    def reached(self) -> dict[tuple[str, str], int]:
        """(role, state) → how often an order got there."""
        rows = self.rows("SELECT i.role, e.state, count(*) FROM event e JOIN intent i ON i.id = e.intent GROUP BY 1, 2")
        return {(Role(role).name.lower(), state): number for role, state, number in rows}

    def request_latencies(self, after_event: int) -> list[tuple[int, int]]:
        """(number of the event, latency in ns) of requests that ended after an event, in order."""
        return self.rows(
            "SELECT seq, latency_ns FROM event WHERE seq > ? AND latency_ns > 0 ORDER BY seq", (after_event,)
        )

    # ── trades and decisions ──

    @_readable
    def trades(self, after: int = 0) -> list[TradeRow]:
        """Closed trades whose number is above `after`, oldest first."""
        columns = self._columns(("seq", "ts_mark", *Trade.__struct_fields__), "t")
        rows = self.rows(f"SELECT {columns} FROM trade t WHERE seq > ? ORDER BY seq", (after,))
        return [
            TradeRow(*fields, _or_nan(score), seq=seq, ts_mark=ts_mark)  # type: ignore[misc, arg-type]
            for seq, ts_mark, *fields, score in rows
        ]

    def last_trade(self) -> int:
        """Number of the newest trade, 0 before the first."""
        return int(self._row("SELECT coalesce(max(seq), 0) AS seq FROM trade")[0])

    @_readable
    def decisions(self, tail: str, args: Sequence[Any]) -> tuple[Decision, ...]:
        """Decisions as an SQL tail (WHERE, ORDER BY, LIMIT) picks them."""
        columns = self._columns(Decision.__struct_fields__, "d")
        return tuple(
            Decision(
                ts_mark,
                symbol,
                reason,
                msgspec.json.decode(features, type=dict[str, float | None]),
                latency_ns,
                _or_nan(score),
            )
            for ts_mark, symbol, reason, features, latency_ns, score in self.rows(
                f"SELECT {columns} FROM decision d {tail}", args
            )
        )

    # ── notices ──

    @_readable
    def notices(self, tail: str, args: Sequence[Any] = ()) -> list[tuple[int, int, Notice]]:
        """(number, wall UTC ns, notice) as an SQL tail picks them."""
        if self.version < WITH_NOTICES:
            return []
        rows = self.rows(f"SELECT seq, ts_wall, {', '.join(Notice.__struct_fields__)} FROM notice {tail}", args)
        return [(seq, ts_wall, Notice(about, Turn(turn), *rest)) for seq, ts_wall, about, turn, *rest in rows]

    def troubles(self) -> tuple[Notice, ...]:
        """Notices that began what goes on, orders aside; oldest first."""
        newest = "SELECT max(seq) FROM notice WHERE intent = '' AND turn <> ? GROUP BY about"
        tail = f"WHERE seq IN ({newest}) AND turn = ? ORDER BY seq"
        return tuple(notice for _, _, notice in self.notices(tail, (Turn.NEWS.value, Turn.BEGINS.value)))

    # ── the operator's acts ──

    def has_act(self, name: str) -> bool:
        """A command of this name was journalled."""
        return self._row("SELECT 1 FROM operator WHERE name = ?", (name,)) is not None

    def acts(self) -> list[Act]:
        """Acts of operators, oldest first."""
        return [] if self._is_first_schema else [act for _, act in self._acts("0", "operator a")]

    def stated(self) -> list[Act]:
        """Positions that operators stated and that have not reached the step yet, in order."""
        if self._is_first_schema:
            return []
        source = "operator a WHERE a.verb = ? AND a.seq NOT IN (SELECT operator FROM obeyed)"
        return [act for _, act in self._acts("0", source, (Verb.POSITION.value,))]

    def obeyed_after(self, ts_mark: int) -> list[tuple[int, Act]]:
        """(mark, act) of everything an operator did that reached the step after a mark, in order."""
        return self._acts("o.ts_mark", "obeyed o JOIN operator a ON a.seq = o.operator WHERE o.ts_mark > ?", (ts_mark,))

    def unobeyed(self) -> list[Act]:
        """Acts of operators that have not reached the step yet, in order."""
        return [act for act in self.acts() if not (act.is_obeyed or act.is_set_aside)]

    @_readable
    def _acts(self, first: str, source: str, args: Sequence[Any] = ()) -> list[tuple[int, Act]]:
        rows = self.rows(
            f"SELECT {first}, a.seq, a.ts_clock, a.command, a.after_event,"
            f" (SELECT ts_mark FROM obeyed WHERE operator = a.seq) FROM {source} ORDER BY 1, a.seq",
            args,
        )
        return [
            (first, Act(seq, ts, msgspec.json.decode(said, type=Command), after, (heard or 0) > 0, (heard or 1) <= 0))
            for first, seq, ts, said, after, heard in rows
        ]

    # ── what the gates of delivery begin with ──

    def newest_attempts(self, at_most: int) -> list[Attempt]:
        """The newest events of orders, in order: by number, since a clock may have been set meanwhile."""
        return self._attempts("e.seq > (SELECT coalesce(max(seq), 0) FROM event) - ?", (at_most,))

    def answers_since_resume(self) -> list[Attempt]:
        """Outcomes of requests since the last acknowledged exit and the operator's last resume, in order."""
        return self._attempts(
            f"e.state IN {_ANSWERS}"
            " AND e.seq > (SELECT coalesce(max(after_event), 0) FROM operator WHERE verb = ?)"
            " AND e.seq > (SELECT coalesce(max(x.seq), 0) FROM event x JOIN intent y ON y.id = x.intent"
            " WHERE x.state = ? AND y.role = ?)",
            (Verb.RESUME.value, State.ACKNOWLEDGED.value, int(Role.EXIT)),
        )

    @_readable
    def _attempts(self, where: str, args: Sequence[Any]) -> list[Attempt]:
        rows = self.rows(
            "SELECT i.contract, i.role, e.state, e.status, e.ts_clock, i.id"
            f" FROM event e JOIN intent i ON i.id = e.intent WHERE {where} ORDER BY e.seq",
            args,
        )
        return [Attempt(row[0], Role(row[1]), State(row[2]), *row[3:]) for row in rows]


def _intent(row: Sequence[Any]) -> Intent:
    """Row of INTENT_COLUMNS as a value."""
    id_, strategy, mode, symbol, contract, ticker, role, side, quantity, cause, price, ts_mark, seq, stop = row
    return Intent(
        id_,
        strategy,
        mode,
        symbol,
        contract,
        ticker,
        Role(role),
        Side(side),
        quantity,
        cause,
        _or_nan(price),
        ts_mark,
        seq,
        _or_nan(stop),
    )


def _or_nan(value: float | None) -> float:
    """Number, of which SQLite keeps NaN as NULL."""
    return math.nan if value is None else value
