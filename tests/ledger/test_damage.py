"""A ledger that is damaged although SQLite finds it sound: every reader names file, table, row and column."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bench.bench_ledger import flat_book
from rooney.errors import LedgerError
from rooney.kernels.codes import Reason
from rooney.ledger.snapshot import LedgerView, read_ledger
from rooney.ledger.writer import Ledger
from rooney.orders.control import Command, Verb
from rooney.orders.decisions import Evaluated
from rooney.orders.intents import Role, State
from tests.support.ledgers import commit, intent

NO_TEXT = "CAST(x'66ff66' AS TEXT)"


def damaged(path: Path, table: str, column: str, value: str) -> Path:
    """A ledger with an exit on its way, an operator's act and a decision, one value of them overwritten."""
    with closing(Ledger(path, "ibs")) as ledger:
        evaluated = [Evaluated("ES", Reason.NO_SIGNAL, {"ibs": 0.5}, 0.0)]
        commit(ledger, 60, intent(1, Role.EXIT), evaluated=evaluated, book=flat_book())
        ledger.record(intent(1, Role.EXIT), State.SENDING, 70)
        ledger.journal(Command(1, Verb.CASH, "ann", "r", usd=5.0), 70)
    with closing(sqlite3.connect(path)) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        db.execute(f"UPDATE {table} SET {column} = {value}")
        for _, sql in triggers:
            db.execute(sql)
        db.commit()
    return path


def worker(path: Path) -> None:
    """What a worker reads when it starts."""
    with closing(Ledger(path, "ibs")) as ledger:
        ledger.finished()
        ledger.unfinished()
        ledger.unobeyed()


@pytest.mark.parametrize("read", [read_ledger, lambda path: LedgerView(path).look(), worker])
@pytest.mark.parametrize(
    ("table", "column", "value", "row"),
    [
        ("event", "detail", NO_TEXT, "row seq 1"),
        ("event", "state", "'thought'", "row seq 1"),
        ("intent", "cause", NO_TEXT, "row id 0000000000000001"),
        ("intent", "role", "9", "row id 0000000000000001"),
        ("operator", "command", "substr(command, 1, 9)", "row seq 1"),
        ("status", "detail", "'{'", "row one 1"),
        ("decision", "features", "'{'", "row ts_mark 60 symbol ES"),
        (
            "intent",
            "quantity",
            "'x'",
            "row id 0000000000000001",
        ),  # SQLite keeps any kind in any column
        ("intent", "ts_mark", "1.5", "row id 0000000000000001"),
        ("intent", "seq", "x'00'", "row id 0000000000000001"),
        ("intent", "signal_price", "'x'", "row id 0000000000000001"),
        ("event", "ts_clock", "'x'", "row seq 1"),
        ("event", "detail", "x'00'", "row seq 1"),
        ("operator", "after_event", "x'00'", "row seq 1"),
        ("status", "marks", "'x'", "row one 1"),
        ("status", "book", "'x'", "row one 1"),
        ("decision", "latency_ns", "'x'", "row ts_mark 60 symbol ES"),
        ("decision", "reason", "x'00'", "row ts_mark 60 symbol ES"),
    ],
)
def test_what_is_damaged_is_one_error_that_names_its_place(
    tmp_path: Path, read: Callable[[Path], Any], table: str, column: str, value: str, row: str
) -> None:
    path = damaged(tmp_path / "ledger.sqlite", table, column, value)
    if read is worker and table == "decision":
        return worker(path)  # decisions are for people: no start reads them
    with pytest.raises(LedgerError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: table {table}, {row}, column {column}: ")
    assert "left untouched" in str(caught.value)
    return None
