"""One strategy as its ledger has it: account, positions, orders, trades, decisions, all of one moment.

`LedgerView` keeps what can only grow (trades, counts of decisions) and reads the rest anew when the file has changed;
between changes a look costs two `stat` calls.
"""

import sqlite3
from pathlib import Path

import msgspec

from rooney.errors import LedgerError
from rooney.ledger.latency import Buckets
from rooney.ledger.reader import opened
from rooney.ledger.records import Account, Closed, Decision, Held, Order, decisions, decode_book, orders, trades
from rooney.ledger.schema import LAST_STATE, WITH_ACTS, schema_version
from rooney.orders.intents import Role, State

ORDERS_KEPT = 200  # newest ones; those that are not over are always there
DECISIONS_KEPT = 400
_ORDERS = (
    f"seq > (SELECT coalesce(max(seq), 0) FROM intent) - ? OR {LAST_STATE} IN (?, ?, ?, CASE role WHEN ? THEN ? END)"
)
_ORDERS_ARGS = (ORDERS_KEPT, State.PLANNED, State.SENDING, State.UNCONFIRMED, Role.EXIT, State.REFUSED)


class Portrait(msgspec.Struct, frozen=True):
    """A ledger at one moment. ts_mark, ts_wall: the last finished minute and when that was, UTC ns; 0 before it.

    orders, trades: oldest first; decisions: newest first; reached: (role, state) → how often an order got there
    cash_acts: (UTC ns, USD) by which an operator corrected the cash; digest: of kernels and configuration in force
    """

    name: str
    ts_mark: int
    ts_wall: int
    marks: int
    rss_mb: float
    warm: int
    digest: str
    account: Account | None
    held: tuple[Held, ...]
    orders: tuple[Order, ...]
    trades: tuple[Closed, ...]
    decisions: tuple[Decision, ...]
    reached: dict[tuple[str, str], int]
    cash_acts: tuple[tuple[int, float], ...]

    @property
    def mode(self) -> str:
        """Mode of the newest order, empty without one."""
        return self.orders[-1].mode if self.orders else ""

    @property
    def open(self) -> list[Held]:
        """Instruments that hold something."""
        return [held for held in self.held if held.side]

    @property
    def start_usd(self) -> float:
        """The cash it began with, by its own books; 0 before the first minute."""
        if self.account is None:
            return 0.0
        booked = sum(trade.pnl_usd for trade in self.trades) - sum(held.costs_usd for held in self.open)
        return self.account.cash_usd - booked - sum(usd for _, usd in self.cash_acts)


class LedgerView:
    """The ledger of one strategy; one thread at a time.

    decided: (symbol, reason) → decisions seen; decide, send: latencies seen; all since this view began
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.decided: dict[tuple[str, str], int] = {}
        self.decide = Buckets()
        self.send = Buckets()
        self._trades: list[Closed] = []
        self._seen_mark = self._seen_event = 0
        self._signature: object = None
        self._portrait: Portrait | None = None

    def look(self) -> Portrait | None:
        """As it is now, the very same object while nothing has changed; None without a ledger. Raises LedgerError."""
        signature = (_stamp(self.path), _stamp(self.path.with_name(self.path.name + "-wal")))
        if signature[0] is None:
            return None
        if signature != self._signature or self._portrait is None:
            with opened(self.path) as db:
                self._portrait = self._read(db)
            self._signature = signature
        return self._portrait

    def _read(self, db: sqlite3.Connection) -> Portrait:
        name = db.execute("SELECT name FROM strategy").fetchone()[0]
        status = db.execute("SELECT ts_mark, ts_wall, marks, detail, layout, book FROM status").fetchone()
        digest = db.execute("SELECT digest FROM checkpoint ORDER BY ts_mark DESC LIMIT 1").fetchone()
        account, held = decode_book(status[4], status[5]) if status else (None, ())
        detail = msgspec.json.decode(status[3]) if status else {}
        self._take_trades(db)
        newest = decisions(db, "ORDER BY ts_mark DESC, symbol LIMIT ?", (DECISIONS_KEPT,))
        self._count(db, newest)
        return Portrait(
            name=name,
            ts_mark=status[0] if status else 0,
            ts_wall=status[1] if status else 0,
            marks=status[2] if status else 0,
            rss_mb=float(detail.get("rss_mb") or 0.0),
            warm=int(detail.get("warm") or 0),
            digest=digest[0] if digest else "",
            account=account,
            held=held,
            orders=orders(db, _ORDERS, _ORDERS_ARGS),
            trades=tuple(self._trades),
            decisions=newest,
            reached={
                (Role(role).name.lower(), state): number
                for role, state, number in db.execute(
                    "SELECT i.role, e.state, count(*) FROM event e JOIN intent i ON i.id = e.intent GROUP BY 1, 2"
                )
            },
            cash_acts=_cash_acts(db),
        )

    def _take_trades(self, db: sqlite3.Connection) -> None:
        """Those that are new: a trade never changes."""
        last = self._trades[-1].seq if self._trades else 0
        first = db.execute("SELECT coalesce(max(seq), 0) FROM trade").fetchone()[0]
        if first < last:  # another ledger stands there now
            self._trades, last = [], 0
        self._trades += trades(db, last)

    def _count(self, db: sqlite3.Connection, found: tuple[Decision, ...]) -> None:
        newest = self._seen_mark
        marks: dict[int, int] = {}
        for one in found:
            if one.ts_mark > self._seen_mark:
                newest = max(newest, one.ts_mark)
                marks[one.ts_mark] = one.latency_ns
                key = (one.symbol, one.reason)
                self.decided[key] = self.decided.get(key, 0) + 1
        for latency_ns in marks.values():
            if latency_ns:
                self.decide.add(latency_ns / 1e9)
        self._seen_mark = newest
        for seq, latency_ns in db.execute(
            "SELECT seq, latency_ns FROM event WHERE seq > ? AND latency_ns > 0 ORDER BY seq", (self._seen_event,)
        ):
            self._seen_event = seq
            self.send.add(latency_ns / 1e9)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read: {error.strerror}; left untouched") from error
    return found.st_ino, found.st_size, found.st_mtime_ns


def _cash_acts(db: sqlite3.Connection) -> tuple[tuple[int, float], ...]:
    if schema_version(db) < WITH_ACTS:
        return ()
    rows = db.execute(
        "SELECT o.ts_clock, o.command FROM operator o JOIN obeyed b ON b.operator = o.seq WHERE o.verb = 'cash'"
        " ORDER BY o.seq"
    )
    found = ((ts, msgspec.json.decode(command).get("usd")) for ts, command in rows)
    return tuple((ts, float(usd)) for ts, usd in found if usd is not None)
