"""Snapshot of a ledger: a strategy's account, positions, orders, trades and decisions, all of one moment.

`read_ledger` reads a whole one once, `read_open` only what may be open. `LedgerView` looks again and again: it keeps
what can only grow (trades, counts of decisions) and reads the rest anew when the file has changed; between changes a
look costs two `stat` calls.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from rooney.errors import LedgerError
from rooney.ledger.latency import Buckets
from rooney.ledger.queries import Queries
from rooney.ledger.reader import opened
from rooney.ledger.records import Account, Decision, Finished, Held, TradeRow, decode_book
from rooney.orders.control import Act, Verb
from rooney.orders.lifecycle import Order
from rooney.orders.notices import Notice

ORDERS_KEPT = 200  # newest ones; those that are not over are always there
DECISIONS_KEPT = 400
_NEWEST = "ORDER BY ts_mark DESC, symbol LIMIT ?"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Ledger of a strategy at one moment.

    ts_mark, ts_wall: last finished minute and when that was written, UTC ns; 0 before the first; marks: how many so far
    rss_mb, warm:     memory of its worker, and instruments with enough history, as it said then
    digest:           of kernels and configuration in force
    orders, trades, acts: oldest first; orders of a `LedgerView`: the newest and all that are open
    decisions:        the newest ones, newest first
    reached:          (role, state) → how often an order got there
    troubles:         notices that began what goes on, such as a latched limit or a doubt; oldest first
    """

    path: Path
    name: str
    ts_mark: int = 0
    ts_wall: int = 0
    marks: int = 0
    rss_mb: float = 0.0
    warm: int = 0
    digest: str = ""
    account: Account | None = None
    held: tuple[Held, ...] = ()
    orders: tuple[Order, ...] = ()
    trades: tuple[TradeRow, ...] = ()
    acts: tuple[Act, ...] = ()
    decisions: tuple[Decision, ...] = ()
    reached: dict[tuple[str, str], int] = {}
    troubles: tuple[Notice, ...] = ()

    @property
    def mode(self) -> str:
        """Mode of the newest order, empty without one."""
        return self.orders[-1].mode if self.orders else ""

    @property
    def open(self) -> list[Held]:
        """Instruments that hold something."""
        return [held for held in self.held if held.side]

    @property
    def cash_acts(self) -> tuple[tuple[int, float], ...]:
        """(UTC ns, USD) by which an operator corrected the cash."""
        return tuple(
            (act.ts_clock, act.command.usd)
            for act in self.acts
            if act.is_obeyed and act.command.verb is Verb.CASH and act.command.usd is not None
        )

    @property
    def start_usd(self) -> float:
        """Cash it began with, by its own books; 0 before the first minute."""
        if self.account is None:
            return 0.0
        booked = sum(trade.pnl_usd for trade in self.trades) - sum(held.costs_usd for held in self.open)
        return self.account.cash_usd - booked - sum(usd for _, usd in self.cash_acts)


def read_ledger(path: Path) -> Snapshot:
    """Everything an operator asks for, with all orders. Raises LedgerError if the file is no ledger."""
    with opened(path) as ask:
        return _snapshot(path, ask, ask.orders(), ask.trades(), ask.decisions(_NEWEST, (DECISIONS_KEPT,)))


def read_open(path: Path) -> Snapshot:
    """What `exposures` is judged by, at a cost that does not grow with a ledger's age. Raises LedgerError.

    Of the orders the newest entry and exit of each instrument, of the acts the positions that no minute has taken in
    yet; no trades, decisions and counts.
    """
    with opened(path) as ask:
        return open_snapshot(path, ask)


def open_snapshot(path: Path, ask: Queries) -> Snapshot:
    """The same by a worker's own connection: also what it could not write yet."""
    finished = ask.finished()
    held = _book(finished)[1]
    return Snapshot(
        path=path,
        name=ask.name(),
        ts_mark=finished.ts_mark if finished else 0,
        held=held,
        orders=ask.newest_orders([one.symbol for one in held]),
        acts=tuple(ask.stated()),
    )


def _book(finished: Finished | None) -> tuple[Account | None, tuple[Held, ...]]:
    return decode_book(finished.book.layout, finished.book.data) if finished else (None, ())


def _snapshot(
    path: Path, ask: Queries, orders: tuple[Order, ...], trades: Sequence[TradeRow], decisions: tuple[Decision, ...]
) -> Snapshot:
    finished = ask.finished()
    account, held = _book(finished)
    detail = msgspec.json.decode(finished.detail, type=dict[str, Any]) if finished else {}
    return Snapshot(
        path=path,
        name=ask.name(),
        ts_mark=finished.ts_mark if finished else 0,
        ts_wall=finished.ts_wall if finished else 0,
        marks=finished.marks if finished else 0,
        rss_mb=float(detail.get("rss_mb") or 0.0),
        warm=int(detail.get("warm") or 0),
        digest=ask.digest(),
        account=account,
        held=held,
        orders=orders,
        trades=tuple(trades),
        acts=tuple(ask.acts()),
        decisions=decisions,
        reached=ask.reached(),
        troubles=ask.troubles(),
    )


class LedgerView:
    """Ledger of one strategy under observation; one thread at a time.

    decided: (symbol, reason) → decisions seen; decide, send: latencies seen; all since this view began
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.decided: dict[tuple[str, str], int] = {}
        self.decide = Buckets()
        self.send = Buckets()
        self._trades: list[TradeRow] = []
        self._seen_mark = self._seen_event = 0
        self._signature: object = None
        self._snapshot: Snapshot | None = None

    def look(self) -> Snapshot | None:
        """As it is now, the very same object while nothing has changed; None without a ledger. Raises LedgerError."""
        signature = (_stamp(self.path), _stamp(self.path.with_name(self.path.name + "-wal")))
        if signature[0] is None:
            return None
        if signature != self._signature or self._snapshot is None:
            with opened(self.path) as ask:
                self._snapshot = self._read(ask)
            self._signature = signature
        return self._snapshot

    def _read(self, ask: Queries) -> Snapshot:
        self._take_trades(ask)
        decisions = ask.decisions(_NEWEST, (DECISIONS_KEPT,))
        self._count(ask, decisions)
        is_kept = f"seq > (SELECT coalesce(max(seq), 0) FROM intent) - ? OR {ask.is_open}"
        return _snapshot(self.path, ask, ask.orders(is_kept, (ORDERS_KEPT,)), self._trades, decisions)

    def _take_trades(self, ask: Queries) -> None:
        """Add the new ones: a trade never changes."""
        last = self._trades[-1].seq if self._trades else 0
        if ask.last_trade() < last:  # another ledger stands there now
            self._trades, last = [], 0
        self._trades += ask.trades(last)

    def _count(self, ask: Queries, decisions: tuple[Decision, ...]) -> None:
        fresh = [decision for decision in decisions if decision.ts_mark > self._seen_mark]
        for decision in fresh:
            key = (decision.symbol, decision.reason)
            self.decided[key] = self.decided.get(key, 0) + 1
        for latency_ns in {decision.ts_mark: decision.latency_ns for decision in fresh}.values():
            if latency_ns:
                self.decide.add(latency_ns / 1e9)
        self._seen_mark = max((decision.ts_mark for decision in fresh), default=self._seen_mark)
        for seq, latency_ns in ask.request_latencies(self._seen_event):
            self._seen_event = seq
            self.send.add(latency_ns / 1e9)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read: {error.strerror}; left untouched") from error
    return status.st_ino, status.st_size, status.st_mtime_ns
