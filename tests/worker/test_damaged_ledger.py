"""A worker whose ledger is damaged: it does not start, and says where, for restarting cannot help."""

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from rooney.errors import EXIT_CONFIG
from tests.support.minutes import ENTERED
from tests.support.rigs import Rig


@pytest.mark.parametrize(
    ("table", "key", "column", "value"),
    [
        ("status", "one 1", "detail", "CAST(x'66ff66' AS TEXT)"),
        ("status", "one 1", "ts_mark", "'x'"),
        ("intent", "id ", "quantity", "x'00'"),
        ("intent", "id ", "seq", "'x'"),
        ("checkpoint", "ts_mark ", "digest", "x'00'"),
        ("strategy", "name a", "created_ns", "1.5"),
    ],
)
def test_a_worker_ends_with_78_and_the_place_of_what_is_damaged(
    rig: Callable[..., Rig], table: str, key: str, column: str, value: str
) -> None:
    one = rig()
    worker = one.begin(ENTERED)
    one.finish(worker, ENTERED[-1].ts_close)
    with closing(sqlite3.connect(one.ledger())) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        db.execute(f"UPDATE {table} SET {column} = {value}")
        for _, sql in triggers:
            db.execute(sql)
        db.commit()
    assert one.start().wait() == EXIT_CONFIG
    said = one.log().read_text()
    assert f"{one.ledger()}: table {table}, row {key}" in said
    assert f", column {column}: " in said
    assert "Traceback" not in said
