"""A worker's restart over what its ledger holds: acts it cannot take, a book it does not come to, an unclean end."""

import json
import shutil
import signal
import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from research.backtest import ledger_outcomes
from rooney.ledger.reader import created_ns
from rooney.market.sessions import MINUTE_NS
from rooney.orders.control import MARKER, Command, Verb, forget_ledger, put_command
from tests.support.ledgers import read_only
from tests.support.minutes import BUY, LEAVE, QUIET, START, closes
from tests.support.rigs import Rig, requests
from tests.support.waiting import until

END = START + 2 * MINUTE_NS  # of the first run of each test
SLIP = {"verb": "position", "who": "ann", "reason": "slip", "symbol": "ES", "side": 1, "quantity": 2**70, "price": 1.0}


def rows(path: Path, sql: str) -> list[Any]:
    with read_only(path) as db:
        return list(db.execute(sql).fetchall())


def change(path: Path, sql: str, *values: Any) -> None:
    """What an older rooney, or a damaged disk, may have left."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(sql, values)


def journalled(path: Path, **fields: Any) -> None:
    """An act as a worker without bounds has journalled it."""
    command = {"ts_ns": 1} | fields
    columns = "(name, verb, who, reason, ts_wall, ts_clock, after_event, command)"
    name, text = f"1-{command['verb']}", json.dumps(command)
    change(path, f"INSERT INTO operator {columns} VALUES (?,?,'ann','slip',1,?,0,?)", name, command["verb"], END, text)


def told(one: Rig, verb: Verb, **fields: Any) -> None:
    path = put_command(one.control, "a", Command(time.time_ns(), verb, "ann", "looked at the broker", **fields))
    until(lambda: not path.exists(), what=lambda: one.said()[-2000:])


def actions(one: Rig) -> list[str]:
    return [request["payload"]["action"] for request in requests(one)]


def on(one: Rig, *prices: float, at: int) -> int:
    """Publish minutes after `at` and wait for them; the last one's end."""
    one.publish(closes(*prices, start=at))
    one.wait_position(at + len(prices) * MINUTE_NS)
    return at + len(prices) * MINUTE_NS


@pytest.mark.parametrize(
    ("slip", "certain"),
    [
        (SLIP, {"verb": Verb.POSITION, "symbol": "ES", "side": 0, "quantity": 0, "price": 100.0}),
        ({"verb": "cash", "who": "ann", "reason": "slip", "usd": 1e300}, {"verb": Verb.RESUME}),
    ],
    ids=["position", "cash"],
)
def test_an_act_that_the_step_cannot_take_is_set_aside_and_entries_wait_for_a_person(
    rig: Any, slip: dict[str, Any], certain: dict[str, Any]
) -> None:
    one = rig("a")
    one.run(closes(QUIET, QUIET))
    journalled(one.ledger(), **slip)
    worker = one.start()
    at = on(one, BUY, QUIET, at=END)
    worker.kill(signal.SIGKILL)  # it is not forgotten
    worker = one.start()
    at = on(one, BUY, QUIET, at=at)
    assert actions(one) == [] and one.said().count("set aside: ") == 1
    assert len(rows(one.ledger(), "SELECT * FROM event WHERE state = 'dropped' AND detail LIKE '%in doubt%'")) == 2
    told(one, **certain)
    at = on(one, QUIET, BUY, QUIET, at=at)
    found = one.finish(worker, at)
    assert actions(one) == ["buy"]
    assert found["obeyed"][0] == (1, -END)
    heard = ledger_outcomes.read(one.ledger(), "a", ["ES", "NQ"]).heard
    assert all(abs(outcome.quantity) <= 1 and not outcome.price > 1e6 for _, outcome in heard)


def test_a_restart_that_comes_to_another_book_keeps_the_ledgers_and_holds_entries_until_resume(rig: Any) -> None:
    one = rig("a")
    one.run(closes(BUY, QUIET))
    ((layout, book),) = rows(one.ledger(), "SELECT layout, book FROM status")
    at = 8 * [name for name, _ in json.loads(layout)["account"]].index("cash")
    cash = struct.unpack_from("<d", book, at)[0] + 1_000.0
    other = book[:at] + struct.pack("<d", cash) + book[at + 8 :]
    change(one.ledger(), "UPDATE status SET book = ?", other)
    worker = one.start()
    end = on(one, LEAVE, QUIET, BUY, QUIET, at=END)
    worker.kill(signal.SIGKILL)
    worker = one.start()
    end = on(one, BUY, QUIET, at=end)
    assert actions(one) == ["buy", "exit"]
    assert one.said().count("another account or other positions") == 1
    assert rows(one.ledger(), "SELECT turn, level FROM notice WHERE about = 'doubt'") == [("begins", 50)]
    told(one, Verb.RESUME)
    found = one.finish(worker, on(one, QUIET, BUY, QUIET, at=end))
    assert actions(one) == ["buy", "exit", "buy"]
    ((_, pnl),) = [(row[0], row[11]) for row in found["trade"]]
    assert struct.unpack_from("<d", found["status"][0][3], at)[0] == pytest.approx(cash + pnl, abs=50.0)


@pytest.mark.parametrize("damage", ["UPDATE checkpoint SET state = x'00'", "UPDATE applied SET ts_mark = ts_mark + 1"])
def test_a_restart_over_damaged_rows_of_the_step_goes_on_with_the_ledgers_book(rig: Any, damage: str) -> None:
    one = rig("a")
    one.run(closes(BUY, QUIET))
    change(one.ledger(), "DROP TRIGGER applied_is_immutable")
    change(one.ledger(), damage)
    change(
        one.ledger(),
        "CREATE TRIGGER applied_is_immutable BEFORE UPDATE ON applied"
        " BEGIN SELECT RAISE(ABORT, 'what was applied stays'); END",
    )
    worker = one.start()
    one.finish(worker, on(one, LEAVE, QUIET, at=END))
    assert actions(one) == ["buy", "exit"]


def test_an_end_without_a_word_is_told_once_with_what_was_done_then(rig: Any) -> None:
    one = rig("a")
    worker = one.begin([])
    at = on(one, QUIET, at=START)
    worker.kill(signal.SIGKILL)
    at_text = "2026-03-11T15:01:00Z"
    sentence = f"the last run did not end cleanly: it was following the tape, last mark {at_text}"
    one.finish(one.start(), on(one, QUIET, at=at))
    one.finish(one.start(), on(one, QUIET, at=at + MINUTE_NS))
    assert one.said().count("the last run did not end cleanly") == 1 and sentence in one.said()
    assert [text for (text,) in rows(one.ledger(), "SELECT text FROM notice WHERE about = 'start'")] == [sentence]


def test_an_end_that_says_why_is_no_unclean_one(rig: Any) -> None:
    one = rig("a")
    one.run(closes(BUY, QUIET))
    one.blocks["a"]["instruments"] = ["NQ"]
    assert one.start().wait() == 78
    one.blocks["a"]["instruments"] = ["ES", "NQ"]
    one.finish(one.start(), on(one, QUIET, at=END))
    assert "did not end cleanly" not in one.said()


# ── whose ledger it is ──


def lost(one: Rig) -> None:
    """A strategy that has bought, and its state directory gone."""
    worker = one.begin(closes(BUY, QUIET))
    one.wait_position(END)
    worker.kill(signal.SIGKILL)
    shutil.rmtree(one.state())


def marker(one: Rig) -> Path:
    return one.control / "a" / MARKER


def test_a_ledger_that_is_not_the_one_before_enters_nothing_until_a_person_says_so(rig: Any) -> None:
    one = rig("a")
    lost(one)
    worker = one.start()
    one.wait_ready("a", starts=2)
    at = on(one, BUY, QUIET, at=END)
    assert actions(one) == ["buy"]
    assert one.said().count(f"{one.ledger()} is not known to be the ledger of a: it had the ledger ") == 1
    assert rows(one.ledger(), "SELECT turn, level FROM notice WHERE about = 'strange ledger'") == [("begins", 50)]
    told(one, Verb.RESUME)
    at = on(one, BUY, QUIET, at=at)
    assert actions(one) == ["buy"]
    forget_ledger(one.control, "a")
    told(one, Verb.RESUME)
    one.finish(worker, on(one, BUY, QUIET, at=at))
    assert actions(one) == ["buy", "buy"]
    assert json.loads(marker(one).read_text()) == str(created_ns(one.ledger()))


@pytest.mark.parametrize("content", [b"", b"\xff", b"null", b"[1]"])
def test_a_mark_of_the_ledger_that_cannot_be_read_enters_nothing_until_it_is_mended(rig: Any, content: bytes) -> None:
    one = rig("a")
    worker = one.begin(closes(BUY, QUIET, LEAVE, QUIET))
    one.wait_position(at := END + 2 * MINUTE_NS)
    worker.kill(signal.SIGKILL)
    kept = marker(one).read_bytes()
    marker(one).write_bytes(content)
    worker = one.start()
    one.wait_ready("a", starts=2)
    at = on(one, BUY, QUIET, at=at)
    assert actions(one) == ["buy", "exit"]
    assert f"is not known to be the ledger of a: {marker(one)}: " in one.said()
    marker(one).write_bytes(kept)
    told(one, Verb.RESUME)
    one.finish(worker, on(one, BUY, QUIET, at=at))
    assert actions(one) == ["buy", "exit", "buy"]


def test_a_ledger_of_a_version_that_left_no_word_of_it_trades_on(rig: Any) -> None:
    one = rig("a")
    one.run(closes(QUIET, QUIET))
    marker(one).unlink()
    worker = one.start()
    one.wait_ready("a", starts=2)
    one.finish(worker, on(one, BUY, QUIET, at=END))
    assert actions(one) == ["buy"]
    assert json.loads(marker(one).read_text()) == str(created_ns(one.ledger()))
