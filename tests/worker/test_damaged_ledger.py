"""A worker whose ledger holds text that is damaged: it does not start, and says where, for restarting cannot help."""

import sqlite3
from collections.abc import Callable
from contextlib import closing

from rooney.errors import EXIT_CONFIG
from tests.support.minutes import ENTERED
from tests.support.rigs import Rig


def test_a_worker_ends_with_78_and_the_place_of_text_that_is_damaged(rig: Callable[..., Rig]) -> None:
    one = rig()
    worker = one.begin(ENTERED)
    one.finish(worker, ENTERED[-1].ts_close)
    with closing(sqlite3.connect(one.ledger())) as db:
        db.execute("UPDATE status SET detail = CAST(x'66ff66' AS TEXT)")
        db.commit()
    assert one.start().wait() == EXIT_CONFIG
    said = one.log().read_text()
    assert f"{one.ledger()}: table status, row one 1, column detail: " in said
    assert "Traceback" not in said
