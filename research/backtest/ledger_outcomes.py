"""A live ledger's word on a run: what the step was told and when, and what came of it. Read only."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from rooney.errors import LedgerError
from rooney.ledger.reader import opened
from rooney.ledger.schema import SCHEMA_VERSION
from rooney.orders.decisions import Book, Decisions, Outcome
from rooney.orders.outcomes import BY_OPERATOR, of_act, of_event

# Rows to compare, in this order of columns; contracts of intents are those ordered.
COLUMNS = {
    "intents": ("ts_mark", "symbol", "contract", "role", "side", "quantity", "cause", "signal_price", "stop_price"),
    "decisions": ("ts_mark", "symbol", "reason", "features", "score"),
    "trades": (
        "ts_mark",
        "symbol",
        "contract",
        "side",
        "quantity",
        "entry_ts",
        "entry_price",
        "exit_ts",
        "exit_price",
        "cause",
        "pnl_usd",
        "costs_usd",
        "bars_held",
        "score",
    ),
}
Rows = dict[str, list[tuple[Any, ...]]]


class Recording(msgspec.Struct, frozen=True):
    """Ledger as a replay needs it: all that the step was told, and the rows to compare.

    ts_mark, marks: the last finished mark and how many there were since the worker's first start
    heard:   (mark, outcome) of all the step was told, in order
    rows:    what was decided, by the names in COLUMNS; NaN is None. Intents of an operator are none of the step's
    digest:  kernel and configuration of the newest checkpoint, empty without one
    """

    path: Path
    ts_mark: int
    marks: int
    book: Book
    heard: list[tuple[int, Outcome]]
    rows: Rows
    digest: str


def read(path: Path, name: str, symbols: Sequence[str]) -> Recording:
    """The ledger of strategy `name`. symbols: all that it trades, in its order.

    Raises LedgerError if the file is none, is another strategy's, is of an older schema, or holds no finished minute.
    """
    if not path.is_file():
        raise LedgerError(f"{path}: no such ledger; nothing is replayed")
    with opened(path) as ask:
        if ask.version != SCHEMA_VERSION:
            raise LedgerError(
                f"{path}: schema version {ask.version}, a replay reads {SCHEMA_VERSION}; a start of its worker brings "
                "an older one up to date. Nothing is replayed"
            )
        if (owner := ask.name()) != name:
            raise LedgerError(f"{path}: the ledger of strategy {owner!r}, not of {name!r}; nothing is replayed")
        finished = ask.finished()
        if finished is None or not finished.marks:
            raise LedgerError(f"{path}: no minute was finished in it; there is nothing to replay")
        intents = {intent.id: intent for intent in ask.intents()}
        # As the worker tells them to the step: at each mark the outcomes of orders first, then the operator's acts.
        heard = []
        for ts_mark, event in ask.applied_after(0):
            outcome = of_event(intents[event.intent], event)
            if outcome is not None and outcome.symbol in symbols:
                heard.append((ts_mark, outcome))
        for ts_mark, act in ask.obeyed_after(0):
            heard += [(ts_mark, outcome) for outcome in of_act(act, symbols)]
        heard.sort(key=lambda item: item[0])  # stable
        digest = ask.digest()
        selected = {
            "intents": ("intent", f"cause != '{BY_OPERATOR}'", "seq"),
            "trades": ("trade", "1", "seq"),
            "decisions": ("decision", "1", "ts_mark, symbol"),
        }
        rows = {
            table: ask.rows(f"SELECT {', '.join(COLUMNS[table])} FROM {source} WHERE {where} ORDER BY {order}")
            for table, (source, where, order) in selected.items()
        }
    return Recording(path, finished.ts_mark, finished.marks, finished.book, heard, rows, digest)


def rows_of(decisions: Sequence[Decisions], order_root: dict[str, str]) -> Rows:
    """The same rows from what a replay decided. order_root: root in which the orders of a symbol are sent."""
    rows: Rows = {name: [] for name in COLUMNS}
    for mark in decisions:
        for one in mark.intents:
            contract = msgspec.structs.replace(one.contract, root=order_root[one.symbol]).raw
            cause = one.cause.name.lower()
            rows["intents"].append(
                (
                    mark.ts_mark,
                    one.symbol,
                    contract,
                    int(one.role),
                    int(one.side),
                    one.quantity,
                    cause,
                    _kept(one.price),
                    _kept(one.stop_price),
                )
            )
        for each in sorted(mark.evaluated, key=lambda item: item.symbol):
            features = msgspec.json.encode(each.features).decode()
            rows["decisions"].append((mark.ts_mark, each.symbol, each.reason.name.lower(), features, _kept(each.score)))
        for trade in mark.trades:
            rows["trades"].append((mark.ts_mark, *map(_kept, msgspec.structs.astuple(trade))))
    return rows


def write_decisions(decisions: Sequence[Decisions], out: Path) -> None:
    """`decisions.parquet`: ts_mark (UTC ns), symbol, reason, features as JSON, score; one per completed bar."""
    rows = rows_of([msgspec.structs.replace(one, intents=[], trades=[]) for one in decisions], {})["decisions"]
    schema = {"ts_mark": pl.Int64, "symbol": pl.String, "reason": pl.String, "features": pl.String, "score": pl.Float64}
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(out / "decisions.parquet")


def _kept(value: Any) -> Any:
    """As SQLite keeps it."""
    return None if isinstance(value, float) and math.isnan(value) else value
