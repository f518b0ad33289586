"""Looking at a strategy, holding it back and telling it what is so: the command line on ledgers of real workers."""

import hashlib
import json
import math
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from research.backtest.backtest import Scan
from research.history.history import History
from tests.support.command_line import Bench, hang
from tests.support.engines import engine
from tests.support.minutes import BUY, ENTERED, LEAVE, QUIET, closes
from tests.support.waiting import until
from tests.support.webhook_faults import Fault

Make = Callable[..., Bench]
REPLAY = ("--clock", "replay")
LOST = (Fault("close", at=(1,)),)  # the first order is read and answered with a closed connection


def digest(directory: Path) -> dict[str, str]:
    """Every file below a directory and what is in it."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# ── orders ──

LISTED = """\
a  paper  last mark 2026-03-11 15:04Z
  decided            id                order          size    cause  state
  2026-03-11 15:02Z  7d28dcf8ed74d748  entry ESM2026  long 1  rule   acknowledged  received
"""


@pytest.mark.parametrize("end", [None, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP], ids=str)
def test_orders_are_listed_alike_whether_the_worker_lives_was_stopped_killed_or_hangs(bench: Make, end: Any) -> None:
    one = bench()
    worker = one.begin()
    if end is signal.SIGSTOP:
        hang(worker)
    elif end is not None:
        worker.kill(end)
    assert one.rooney("orders") == LISTED


def test_looking_changes_no_file_of_a_stopped_worker(bench: Make) -> None:
    one = bench()
    one.begin().kill(signal.SIGTERM)
    before = digest(one.state)
    one.rooney("orders")
    one.rooney("position", "a")
    assert digest(one.state) == before


UNCLEAR = """\
a  paper  last mark 2026-03-11 15:02Z
  decided            id                order          size    cause  state
  2026-03-11 15:02Z  7d28dcf8ed74d748  entry ESM2026  long 1  rule   unconfirmed  answer lost: RemoteDisconnected
  7d28dcf8ed74d748 may be open at the broker. Look there, then one of:
    rooney resolve 7d28dcf8ed74d748 --filled PRICE
    rooney resolve 7d28dcf8ed74d748 --not-filled
    rooney flatten a ES
"""


def lost_entry(make: Make, **block: Any) -> tuple[Bench, Any]:
    """A worker whose entry is of unknown fate, two minutes in."""
    one = make(faults=LOST, **({"on_unconfirmed_entry": "hold"} | block))
    worker = one.begin(ENTERED[:2])
    until(lambda: str(one.read().orders[0].state) == "unconfirmed")
    return one, worker


def test_an_order_of_unknown_fate_is_attention_and_comes_with_the_commands_that_end_it(bench: Make) -> None:
    one, _ = lost_entry(bench)
    assert one.rooney("orders", code=1) == UNCLEAR


def test_only_orders_of_which_something_can_still_come_are_open(bench: Make) -> None:
    one = bench()
    one.begin()
    assert one.rooney("orders", "a", "--open").splitlines()[1:] == ["  no orders"]


def test_orders_as_json_hold_the_whole_life_of_each(bench: Make) -> None:
    one = bench()
    one.begin()
    (order,) = one.json("orders", "a")["strategies"][0]["orders"]
    assert [event["state"] for event in order["events"]] == ["planned", "sending", "acknowledged"]
    assert order["events"][-1]["remote_id"]
    assert (order["role"], order["side"], order["quantity"], order["is_open"]) == ("entry", 1, 1, False)


def test_a_strategy_without_a_ledger_is_an_error_that_names_those_with_one(bench: Make) -> None:
    one = bench()
    one.begin()
    done = one.run("orders", "ibs")
    assert done.returncode == 78
    assert done.stderr == (f"rooney: ibs: no ledger {one.state}/ibs/ledger.sqlite; there are a. Nothing was done\n")


def test_a_file_that_is_no_ledger_is_refused_and_left_as_it_is(bench: Make, tmp_path: Path) -> None:
    one = bench()
    (one.state / "b").mkdir(parents=True)
    (one.state / "b" / "ledger.sqlite").write_bytes(b"nothing of ours" * 100)
    before = digest(one.state)
    assert one.run("orders", "b").returncode == 78
    assert digest(one.state) == before


def test_exported_trades_have_the_columns_of_a_backtest(bench: Make, tmp_path: Path) -> None:
    one = bench()
    one.begin([*ENTERED, *closes(LEAVE, QUIET, 99.0, start=ENTERED[-1].ts_close)])
    with closing(sqlite3.connect(one.rig.ledger())) as db, db:  # one more, as with a model
        columns = [name for _, name, *_ in db.execute("PRAGMA table_info(trade)")]
        changed = {"seq": "seq + 1", "score": "0.625"}
        db.execute(f"INSERT INTO trade SELECT {', '.join(changed.get(name, name) for name in columns)} FROM trade")
    out = tmp_path / "trades.parquet"
    assert one.rooney("orders", "a", "--export", out) == f"2 trades of a in {out}\n"
    bars = pl.DataFrame(
        {
            "ts_open": [minute.ts_close - 60_000_000_000 for minute in ENTERED],
            "root": "ES",
            "contract": "ESM6",
            "open": 100.0,
            "high": 104.25,
            "low": 100.0,
            "close": 100.0,
            "volume": 1,
        }
    ).with_columns(pl.col("ts_open").cast(pl.Datetime("ns", "UTC")))
    bars.write_parquet(tmp_path / "bars.parquet")
    exported = pl.read_parquet(out)
    of_backtest = Scan(engine(("ES",)), History(tmp_path / "bars.parquet", ["ES"], None, None)).trades()
    assert exported.schema == of_backtest.schema
    trade, scored = exported.rows(named=True)
    assert math.isnan(trade["ml_score"]) and scored["ml_score"] == 0.625
    assert (trade["symbol"], trade["contract"], trade["side"]) == ("ES", "ESM6", 1)
    assert trade["exit_reason"] == "rule"
    assert trade["pnl_usd"] == one.read().trades[0].pnl_usd


# ── position ──

OPEN = """\
a  paper  last mark 2026-03-11 15:05Z  equity 150,023.00 USD  day +23.00 USD (estimates)
  ES  ESM6  long 1  at 104.25  last 104.75  open +25.00 USD
"""


def test_a_position_is_shown_with_its_estimated_result(bench: Make) -> None:
    one = bench()
    one.begin()
    one.more(104.75)
    assert one.rooney("position", "a") == OPEN


def test_a_symbol_asked_for_is_shown_flat(bench: Make) -> None:
    one = bench()
    one.begin()
    assert one.rooney("position", "a", "NQ").splitlines()[1:] == ["  NQ    flat"]


def test_an_entry_of_unknown_fate_may_be_open(bench: Make) -> None:
    one, _ = lost_entry(bench)
    shown = one.rooney("position", "a", code=1)
    assert shown.splitlines()[1:] == ["  ES  ESM6  long 1  ?      entry 7d28dcf8ed74d748 unconfirmed: may be open"]


def test_a_symbol_that_is_not_traded_is_an_error(bench: Make) -> None:
    one = bench()
    one.begin()
    done = one.run("position", "a", "CL")
    assert (done.returncode, done.stderr) == (
        78,
        "rooney: CL: a trades no such instrument; it has ES, NQ. Nothing was done\n",
    )


@pytest.mark.parametrize("is_alive", [True, False], ids=["alive", "dead"])
def test_what_an_operator_states_is_the_position_from_the_next_minute_on(bench: Make, is_alive: bool) -> None:
    one = bench()
    worker = one.begin()
    if not is_alive:
        worker.kill(signal.SIGKILL)
    said = one.rooney("position", "a", "ES", -2, "--price", 105, "--reason", "broker says so", "--yes", *REPLAY)
    assert said.startswith(
        "a: ES is short 2, at 105 (the ledger says long 1 at 104.25). Nothing is sent to the broker\n"
    )
    if not is_alive:
        assert [act.command.reason for act in one.read().acts] == ["broker says so"]
        one.rig.start()
    one.obeyed()
    one.more(104.0)
    (held, _) = one.read().held
    assert (int(held.side), held.quantity, held.entry_price) == (-1, 2, 105.0)
    assert one.actions() == ["buy"]


def test_a_statement_can_be_taken_back_before_a_minute_has_taken_it_in(bench: Make) -> None:
    one = bench()
    one.begin(ENTERED[:1])
    for quantity in (-1, 0):
        said = one.rooney("position", "a", "ES", quantity, "--price", 100, "--reason", "typo", "--yes", *REPLAY)
        one.obeyed()
    assert "(the ledger says flat; short 1 was stated and not taken in yet)" in said
    one.rooney("position", "a", "ES", -1, "--price", 100, "--reason", "right", "--yes", *REPLAY)
    one.obeyed()
    assert "stated: short 1, taken in at the next minute" in one.rooney("position", "a")
    one.rooney("position", "a", "ES", 0, "--price", 100, "--reason", "typo", "--yes", *REPLAY)
    one.obeyed()
    one.more(QUIET)
    assert not one.read().held[0].side


def test_an_entry_of_unknown_fate_is_ended_by_stating_that_nothing_is_open(bench: Make) -> None:
    one, _ = lost_entry(bench)
    one.rooney("position", "a", "ES", 0, "--price", 100, "--reason", "looked there", "--yes", *REPLAY)
    one.obeyed()
    assert [str(order.state) for order in one.read().orders] == ["resolved"]
    one.more(QUIET, QUIET, QUIET)
    assert (one.actions(), one.rooney("position", "a").splitlines()[1].strip()) == (["buy"], "flat")


def test_a_price_far_from_the_market_is_remarked_before_it_is_written(bench: Make) -> None:
    one = bench()
    one.begin()
    done = one.run("position", "a", "ES", 1, "--price", 1042.5, "--reason", "typo", answer="n\n")
    assert "look twice: 1042.5 is +900.0% from 104.25" in done.stdout
    assert done.returncode == 1
    assert not list(one.control.rglob("*.json"))


# ── halt and resume ──


def test_halt_asks_why_and_keeps_entries_out_until_resume(bench: Make) -> None:
    one = bench()
    one.begin(ENTERED[:1])
    shown = one.rooney("halt", "a", answer="news at ten\ny\n")
    assert shown == (
        f"halt of a: no new entries; exits go on, until rooney resume a\nhalt is on: {one.control}/a/halt\n"
    )
    said = json.loads((one.control / "a" / "halt").read_text())
    assert (said["who"], said["reason"]) == ("ada", "news at ten")
    one.more(BUY, QUIET)
    assert one.actions() == []
    shown = one.rooney("resume", "a", "--reason", "over", "--yes")
    one.obeyed()
    assert shown == (
        "switches of a that go off:\n  halt of a: news at ten (ada)\nlatches lifted at the next minute: a\n"
        "off: halt of a\n"
    )
    one.more(BUY, QUIET)
    assert one.actions() == ["buy"]


def test_without_a_yes_nothing_is_done(bench: Make) -> None:
    one = bench()
    one.begin(ENTERED[:1])
    done = one.run("halt", "a", "--reason", "x", answer="n\n")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "Do it? [y/N]: nothing was done")
    assert not (one.control / "a").exists() or not (one.control / "a" / "halt").exists()


def test_without_a_reason_and_nobody_to_ask_nothing_is_done(bench: Make) -> None:
    one = bench()
    one.begin(ENTERED[:1])
    done = one.run("halt", "a", "--yes")
    assert done.returncode == 78
    assert "--reason: expected why this is done" in done.stderr


def test_resume_says_what_still_holds(bench: Make) -> None:
    one = bench()
    one.begin(ENTERED[:1])
    one.rooney("halt", "--all", "--reason", "all of them", "--yes")
    one.rooney("halt", "a", "--reason", "this one", "--yes")
    shown = one.rooney("resume", "a", "--reason", "again", "--yes", code=1)
    assert shown.splitlines()[-1] == "still on: halt of all: all of them (ada)"


def test_a_latch_is_lifted_by_the_step_at_the_next_minute(bench: Make) -> None:
    one = bench()
    one.begin(ENTERED[:1])
    one.rooney("resume", "a", "--reason", "it was a bad print", "--yes")
    one.obeyed()
    assert [(str(act.command.verb), act.is_obeyed) for act in one.read().acts] == [("resume", False)]
    one.more(QUIET)
    assert [act.is_obeyed for act in one.read().acts] == [True]


# ── resolve ──


@pytest.mark.parametrize("is_alive", [True, False], ids=["alive", "dead"])
@pytest.mark.parametrize("is_filled", [True, False], ids=["filled", "not filled"])
def test_a_resolved_entry_is_booked_or_forgotten_and_never_sent_again(
    bench: Make, is_alive: bool, is_filled: bool
) -> None:
    one, worker = lost_entry(bench)
    if not is_alive:
        worker.kill(signal.SIGKILL)
    said = ("--filled", 101.25) if is_filled else ("--not-filled",)
    shown = one.rooney("resolve", "7d28dcf8", *said, "--reason", "looked", "--yes", *REPLAY)
    assert shown.startswith("a: entry ESM2026 long 1, unconfirmed since ")
    if not is_alive:
        assert str(one.read().orders[0].state) == "resolved"
        one.rig.start()
    one.obeyed()
    one.more(QUIET, QUIET, QUIET)
    (order,) = one.read().orders
    assert str(order.state) == "resolved"
    assert int(one.read().held[0].side) == (1 if is_filled else 0)
    assert one.actions() == ["buy"]


def test_an_order_that_is_settled_is_not_resolved(bench: Make) -> None:
    one = bench()
    one.begin()
    done = one.run("resolve", "7d28dcf8", "--not-filled", "--reason", "x", "--yes")
    assert done.returncode == 78
    assert "7d28dcf8ed74d748: the entry of ESM2026 is acknowledged" in done.stderr
    assert not list(one.control.rglob("*.json"))


def test_an_id_nobody_has_is_an_error(bench: Make) -> None:
    one = bench()
    one.begin()
    done = one.run("resolve", "ffff", "--not-filled", "--reason", "x", "--yes")
    assert (done.returncode, "0 orders begin so" in done.stderr) == (78, True)


def test_no_verb_shows_the_webhook(bench: Make) -> None:
    one, _ = lost_entry(bench)
    account = one.rig.accounts[0]
    said = ""
    for arguments in (
        ("orders",),
        ("orders", "--json"),
        ("position", "a"),
        ("halt", "a", "--reason", "x", "--yes"),
        ("flatten", "a", "--clock", "replay", "--wait", "1", "--reason", "x", "--yes"),
    ):
        done = one.run(*arguments)
        said += done.stdout + done.stderr
    assert account.password not in said
    assert account.uuid not in said
