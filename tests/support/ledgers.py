"""Ledgers: what is written into one, and what stands in it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rooney.ledger.writer import Ledger
from rooney.orders.decisions import Book
from rooney.orders.intents import Intent, Role, Side


def read_only(path: Path) -> Any:
    """A ledger, as its readers open it."""
    return closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10))


TABLES = {
    "intent": "*",
    "event": "seq, intent, state, ts_clock, status, said",
    "applied": "*",
    "operator": "seq, name, verb, who, reason, ts_clock, after_event, command",
    "obeyed": "*",
    "decision": "ts_mark, symbol, reason, features",
    "trade": "*",
    "status": "ts_mark, marks, layout, book",
    "checkpoint": "*",
}


def contents(path: Path) -> dict[str, list[Any]]:
    """All a ledger holds but wall times, and what the other side or the operating system made up."""
    with read_only(path) as db:
        return {
            table: db.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall()
            for table, columns in TABLES.items()
        }


def assert_same_contents(found: dict[str, list[Any]], wanted: dict[str, list[Any]]) -> None:
    """Assert that two contents agree, table by table."""
    for table in wanted:
        assert found[table] == wanted[table], table


BOOK = Book("{}", b"book")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty one of strategy `ibs`."""
    opened = Ledger(tmp_path / "ledger.sqlite", "ibs")
    yield opened
    opened.close()


def intent(seq: int = 1, role: Role = Role.ENTRY, **fields: Any) -> Intent:
    """An entry or exit of one ES, unless `fields` say otherwise."""
    base = Intent(
        f"{seq:016x}", "ibs", "paper", "ES", "ESM6", "ESM2026", role, Side.LONG, 1, "rule", 101.25, 60 * seq, seq
    )
    return msgspec.structs.replace(base, **fields)


def commit(ledger: Ledger, ts_mark: int, *intents: Intent, **fields: Any) -> None:
    """Write a mark with nothing but these intents, unless `fields` say otherwise."""
    rest: dict[str, Any] = {"applied": [], "evaluated": [], "trades": [], "marks": 1, "latency_ns": 5, "detail": {}}
    ledger.commit_mark(ts_mark, list(intents), **rest | {"book": BOOK} | fields)
