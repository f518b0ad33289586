"""Worker processes: a private Redis, a tape on it, a local TradersPost, and much that goes wrong."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rooney import failpoints as faults
from rooney.bus.publisher import Publisher
from rooney.config.schema import DataHub
from rooney.errors import BusError
from rooney.market.messages import encode
from rooney.market.sessions import MINUTE_NS
from rooney.sim.processes import Part, start_redis
from tests.support.ledgers import assert_same_contents, contents, read_only
from tests.support.minutes import BUY, LEAVE, QUIET, START, bar, closes, minute, random_tape
from tests.support.paths import ROOT
from tests.support.rigs import Rig, requests, states
from tests.support.times import chicago
from tests.support.waiting import until
from tests.support.webhook_faults import Fault
from tests.support.workers import Forked

SYMBOLS = ("ES", "NQ")
TAPE = random_tape(11, 110, SYMBOLS, gap=False)
LAST = TAPE[-1].ts_close


def entries_per_intent(one: Any) -> Counter[str]:
    return Counter(r["payload"]["extras"]["intent"] for r in requests(one) if r["payload"]["action"] != "exit")


# ── several workers ──


def start_both(one: Rig) -> tuple[Forked, Forked]:
    both = one.start("a"), one.start("b")
    one.wait_ready("a", "b")
    return both


def test_two_workers_finish_the_same_minutes_and_stopping_one_leaves_the_other_untouched(rig: Any) -> None:
    one = rig("a", "b")
    alone = one.finish(one.begin(TAPE, "alone", "b"), LAST, "b")
    one.bus._redis.flushall()
    one.label = "both"
    a, b = start_both(one)
    one.publish(TAPE[:10])
    one.wait_position(TAPE[9].ts_close, "a")
    a.kill(signal.SIGKILL)
    one.publish(TAPE[10:30])
    one.wait_position(TAPE[29].ts_close, "b")
    a = one.start("a")
    one.publish(TAPE[30:50])
    one.wait_position(TAPE[49].ts_close, "a")
    assert a.kill(signal.SIGTERM) == 0
    a = one.start("a")
    one.publish(TAPE[50:])
    os.kill(b.pid, 0)  # the same process still
    with_a, with_b = one.finish(a, LAST, "a"), one.finish(b, LAST, "b")
    assert with_a["decision"] == with_b["decision"]
    assert_same_contents(with_b, alone)


def test_a_stopped_worker_holds_up_nobody(rig: Any) -> None:
    one = rig("a", "b")
    a, _ = start_both(one)
    one.publish(TAPE[:5])
    one.wait_position(TAPE[4].ts_close, "a")
    os.kill(a.pid, signal.SIGSTOP)
    one.publish(TAPE[5:])
    one.wait_position(LAST, "b")
    assert one.position("a") == TAPE[4].ts_close
    os.kill(a.pid, signal.SIGCONT)
    one.wait_position(LAST, "a")
    assert contents(one.ledger("a"))["decision"] == contents(one.ledger("b"))["decision"]


def test_two_strategies_with_one_webhook_the_second_does_not_start(rig: Any) -> None:
    one = rig("a", "b")
    one.env["WEBHOOK_B"] = one.env["WEBHOOK_A"]
    one.begin(TAPE[:2])
    one.wait_position(TAPE[1].ts_close)
    assert one.start("b").wait() == 78
    assert "'b' would trade the account" in one.said("b")


def test_one_strategy_runs_once(rig: Any) -> None:
    one = rig("a")
    one.blocks["a"]["mode"] = "dry"  # no account whose lock would refuse first
    one.begin(TAPE[:2])
    one.wait_position(TAPE[1].ts_close)
    assert one.start("a").wait() == 78
    assert "another process works with this ledger" in one.said()


# ── crash equivalence ──


@pytest.fixture
def whole(rig: Any) -> Any:
    """A rig and what its tape gives when nothing happens: (rig, contents, sends)."""
    one = rig("a")
    found = one.run(TAPE, "whole")
    return one, found, sum(state == "sending" for _, _, state, *_ in found["event"])


def killed(one: Rig, fault: str) -> dict[str, list[Any]]:
    """Run into a fault, run on, and what the ledger holds then. The tape waits meanwhile."""
    assert one.begin(TAPE, fault.replace(":", "-"), fault=fault).wait() == -signal.SIGKILL, one.said()
    return one.resume(LAST)


def test_the_tape_of_these_tests_makes_orders_of_every_kind(whole: Any) -> None:
    one, found, sends = whole
    assert sends > 15
    assert {role for _, _, _, _, _, _, role, *_ in found["intent"]} == {1, 2}
    assert len(found["trade"]) > 5
    assert len(found["checkpoint"]) >= 2
    assert max(entries_per_intent(one).values()) == 1


OUTSIDE = [
    ("in_mark_commit", 2),
    ("in_mark_commit", 32),
    ("in_mark_commit", 70),
    ("after_mark_commit", 1),
    ("after_mark_commit", 2),
    ("after_mark_commit", 31),
    ("after_mark_commit", 32),
    ("after_mark_commit", 75),
    ("before_send", 1),
    ("before_send", 9),
    ("after_outcome", 1),
    ("after_outcome", 2),
    ("after_outcome", 8),
]


def test_killed_outside_of_a_send_the_ledger_is_the_same(whole: Any) -> None:
    one, wanted, _ = whole
    for place_, nth in OUTSIDE:
        assert_same_contents(killed(one, f"{place_}:{nth}"), wanted)
    assert set(entries_per_intent(one).values()) == {1 + len(OUTSIDE)}  # once in each run


def test_killed_inside_a_send_it_is_one_unconfirmed_intent_more_and_its_policy(whole: Any, rig: Any) -> None:
    one, wanted, sends = whole
    first_exit = next(k for k, r in enumerate(requests(one), 1) if r["payload"]["action"] == "exit")
    for nth in {1, first_exit, sends - 2}:
        # The same outcome, had from a webhook that read the order and hung up.
        other = rig("a", faults=(Fault("close", at=(nth,)),))
        unknown = other.run(TAPE, f"closed-{nth}")
        counted = Counter(state for _, _, state, *_ in unknown["event"])
        assert counted["unconfirmed"] == 1
        for place_ in ("after_sending", "after_post"):
            found = killed(other, f"{place_}:{nth}")
            assert_same_contents(found, unknown)
            (lost,) = [i for _, i, state, *_ in found["event"] if state == "unconfirmed"]
            with read_only(other.ledger()) as db:
                (detail,) = db.execute("SELECT detail FROM event WHERE state = 'unconfirmed'").fetchone()
            assert detail == "the process ended between sending and outcome"
            assert f"unconfirmed {detail}" in other.said()
            assert entries_per_intent(other)[lost] <= 2  # at most once a run: the hung up one and this one
        assert unknown != wanted


@pytest.mark.slow
@pytest.mark.parametrize("place_", ["in_mark_commit", "after_mark_commit", "before_send", "after_outcome"])
def test_killed_at_every_point_outside_of_a_send_the_ledger_is_the_same(whole: Any, place_: str) -> None:
    one, wanted, sends = whole
    for nth in range(2 if place_ == "in_mark_commit" else 1, (len(TAPE) if "commit" in place_ else sends) + 1):
        assert_same_contents(killed(one, f"{place_}:{nth}"), wanted)


def test_killed_whenever_no_entry_goes_out_twice_and_the_end_is_sound(rig: Any) -> None:
    one = rig("a")
    worker = one.begin(TAPE[:10])
    one.wait_position(TAPE[0].ts_close)  # killed before it has finished any, it would begin at the tape's end
    for k in range(10, 110, 10):
        time.sleep(0.01 * (k % 7))
        assert worker.kill() == -signal.SIGKILL
        one.publish(TAPE[k : k + 10])
        worker = one.start()
    found = one.finish(worker, LAST)
    assert max(entries_per_intent(one).values()) == 1
    assert [ts for ts, *_ in found["status"]] == [LAST]
    intents = [row[0] for row in found["intent"]]
    assert len(intents) == len(set(intents))
    with sqlite3.connect(one.ledger()) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("frozen_s", [0.5, pytest.param(11.0, marks=pytest.mark.slow)])
def test_frozen_in_mid_send_nothing_goes_out_twice_and_every_exit_goes_out(rig: Any, frozen_s: float) -> None:
    """SIGSTOP while the webhook has the order and has not answered, SIGCONT before and after an answer's time limit."""
    one = rig("a", faults=(Fault("delay", at=(1, 2, 3, 4), seconds=0.3),))
    worker = one.begin(TAPE)
    for n in (1, 2, 3, 4):
        until(lambda n=n: len(requests(one)) >= n)  # type: ignore[misc]
        os.kill(worker.pid, signal.SIGSTOP)
        time.sleep(frozen_s)
        os.kill(worker.pid, signal.SIGCONT)
    found = one.finish(worker, LAST)
    assert max(entries_per_intent(one).values()) == 1
    last = {intent: state for _, intent, state, *_ in found["event"]}
    exits = {row[0] for row in found["intent"] if row[6] == 2}
    assert exits
    assert {last[intent] for intent in exits} <= {"acknowledged", "resolved"}, last
    assert [ts for ts, *_ in found["status"]] == [LAST]


def test_an_unconfirmed_entry_is_heard_of_after_the_restart_and_flattened(rig: Any) -> None:
    one = rig("a")
    assert one.begin(closes(BUY, QUIET, QUIET, QUIET), fault="after_post:1").wait() == -signal.SIGKILL
    one.resume(START + 4 * MINUTE_NS)
    assert states(one) == [
        "planned",
        "sending",
        "unconfirmed",
        "planned",
        "sending",
        "acknowledged",
        "resolved",
    ]
    assert [r["payload"]["action"] for r in requests(one)] == ["buy", "exit"]
    with read_only(one.ledger()) as db:
        assert db.execute("SELECT cause, ts_mark FROM intent ORDER BY seq").fetchall() == [
            ("rule", START + MINUTE_NS),
            ("unconfirmed", START + 3 * MINUTE_NS),  # heard at 10:02, settled a minute later
        ]


# ── restarts when the world has changed ──


def test_a_changed_configuration_keeps_positions_by_symbol_as_they_are_at_the_last_mark(rig: Any) -> None:
    one = rig("a")
    one.run(closes(BUY, QUIET, symbol="NQ"))  # long NQ since the last checkpoint
    one.blocks["a"] |= {"instruments": ["NQ", "ES"], "max_positions": 1}
    more = closes(QUIET, BUY, start=START + 2 * MINUTE_NS) + closes(
        LEAVE, QUIET, symbol="NQ", start=START + 4 * MINUTE_NS
    )
    one.publish(more)
    found = one.resume(more[-1].ts_close)
    assert "code or configuration changed: warming up afresh, positions kept" in one.said()
    assert [(row[2], row[3]) for row in found["trade"]] == [("NQ", "NQM6")]
    assert {(symbol, reason) for ts, symbol, reason, _ in found["decision"] if ts == START + 4 * MINUTE_NS} == {
        ("ES", "slots_full")
    }


def test_an_instrument_with_a_position_cannot_be_taken_out(rig: Any) -> None:
    one = rig("a")
    one.run(closes(BUY, QUIET, symbol="NQ"))
    one.blocks["a"]["instruments"] = ["ES"]
    assert one.start().wait() == 78
    assert "NQ is no longer among the instruments" in one.said()


def test_the_mode_cannot_change_with_a_position_open(rig: Any) -> None:
    one = rig("a")
    one.run(closes(BUY, QUIET))
    one.blocks["a"]["mode"] = "dry"
    assert one.start().wait() == 78
    assert "strategies.a.mode: changed from paper to dry with positions or orders in ESM6" in one.said()


def test_a_tape_that_was_trimmed_past_the_checkpoint_means_a_fresh_start_with_the_positions_kept(rig: Any) -> None:
    one = rig("a")
    one.run(closes(BUY, QUIET))
    one.publish(closes(QUIET, QUIET, QUIET, start=START + 2 * MINUTE_NS))
    one.bus._redis.xtrim("market:tape", maxlen=1, approximate=False)
    worker = one.start()
    one.wait_ready("a", starts=2)
    one.publish(closes(LEAVE, QUIET, start=START + 5 * MINUTE_NS))
    found = one.finish(worker, START + 7 * MINUTE_NS)
    assert "the tape no longer reaches back to the checkpoint: warming up afresh" in one.said()
    assert "minutes after 2026-03-11T15:02:00Z are lost" in one.said()
    assert len(found["trade"]) == 1


def test_a_tape_that_lost_its_end_is_waited_for_and_stepped_again(rig: Any) -> None:
    """Redis syncs once a second, the ledger with each order: after a power cut the tape is the shorter one."""
    one = rig("a")
    tape = closes(BUY, QUIET, LEAVE, QUIET, BUY, QUIET)
    wanted = one.run(tape)
    one.run(tape[:5], "cut")
    _rewind(one, tape[2].ts_close)
    worker = one.start()
    one.wait_ready("a", starts=2)
    one.publish(tape[3:])
    assert_same_contents(one.finish(worker, tape[-1].ts_close), wanted)
    assert "afresh" not in one.said()


def _rewind(one: Rig, last: int) -> None:
    """Make the tape anew up to a minute, as a Redis that came back with less would have it."""
    entries = one.bus._redis.xrange("market:tape")
    one.bus._redis.delete("market:tape")
    for entry, fields in entries:
        if int(entry.split(b"-")[0]) * 1_000_000 <= last:
            one.bus._redis.xadd("market:tape", fields, id=entry)


@pytest.mark.parametrize("again_from", [3, 6])
def test_a_tape_that_was_lost_and_comes_back_with_a_hole_means_a_fresh_start(rig: Any, again_from: int) -> None:
    one = rig("a")
    tape = closes(BUY, QUIET, QUIET, QUIET, QUIET, LEAVE, QUIET)
    one.run(tape[:5])
    one.bus._redis.flushall()
    worker = one.start()
    one.wait_ready("a", starts=2)
    one.publish(tape[again_from - 1 :])
    found = one.finish(worker, tape[-1].ts_close)
    assert "the tape has lost minutes: warming up afresh, positions kept" in one.said()
    assert len(found["trade"]) == 1


def test_a_worker_on_an_empty_redis_starts_and_takes_the_history_the_hub_brings(rig: Any) -> None:
    one = rig("a")
    one.blocks["a"] |= {"strategy": "ibs", "filters": {"pivot": {"enabled": False}}}
    worker = one.start()
    until(lambda: "ready: paper mode, 0 of 2 instruments warm, tape position 1970" in one.said())
    hours = [chicago("2026-03-10 17:00"), chicago("2026-03-11 09:00")]
    for symbol in SYMBOLS:
        one.bus.add_history([bar(symbol, ts, 100.0, 110.0, timeframe="hourly") for ts in hours])
        one.bus.add_history([bar(symbol, chicago("2026-03-10 16:00"), 100.0, timeframe="daily")])
    at = chicago("2026-03-11 10:00")
    one.publish([minute(at, bar("ES", at, 90.0), bar("ES", at, 90.0, 110.0, timeframe="hourly"))])
    assert one.finish(worker, at)["decision"] == [(at, "ES", "enter_long", '{"ibs":0.0,"ibs_daily":0.5}')]


def test_redis_restarted_in_mid_run_costs_nothing(rig: Any) -> None:
    one = rig("a")
    wanted = one.run(TAPE, "whole")
    own = Path(tempfile.mkdtemp(prefix="rr-"))
    server = start_redis(own)
    try:
        one.redis_socket = own / "redis.sock"
        one.bus = Publisher(DataHub(redis_socket=str(one.redis_socket)))
        worker = one.begin(TAPE[:40], "restarted")
        one.wait_position(TAPE[39].ts_close)
        server.stop()
        until(lambda: "no new entries until it is back" in one.said())
        server = start_redis(own)
        until(lambda: "Redis is back" in one.said())
        with contextlib.suppress(BusError):  # its connection is the old one
            one.bus.ping()
        one.publish(TAPE[40:])
        assert_same_contents(one.finish(worker, LAST), wanted)
    finally:
        server.stop()
        shutil.rmtree(own)


def test_a_worker_waits_for_a_redis_that_is_not_there_yet(rig: Any) -> None:
    one = rig("a")
    own = Path(tempfile.mkdtemp(prefix="rr-"))
    one.redis_socket = own / "redis.sock"
    worker = one.start()
    until(lambda: "waiting for it" in one.said())
    server = start_redis(own)
    try:
        one.wait_ready("a")
        assert worker.kill(signal.SIGTERM) == 0
    finally:
        server.stop()
        shutil.rmtree(own)


# ── what is on the tape ──


def test_entries_that_cannot_be_read_are_gaps_and_the_worker_goes_on(rig: Any) -> None:
    good = closes(QUIET)[0]
    fields = msgspec.to_builtins(good)
    newer = msgspec.msgpack.encode(
        [fields[0], [], [{"symbol": "ES"}], {}, 0]  # a release that writes bars another way
    )
    for label, data in {
        "garbage": b"\xc1\xff garbage",
        "empty": b"",
        "newer": newer,
        "another minute": encode(closes(QUIET, QUIET)[1]),
    }.items():
        one = rig("a")
        worker = one.begin([], label.replace(" ", "-"))
        one.publish_raw(good.ts_close, data)
        one.publish(closes(BUY, QUIET, start=START + MINUTE_NS))
        found = one.finish(worker, START + 3 * MINUTE_NS)
        assert "tape entry 2026-03-11T15:01:00Z (" in one.said(), label
        assert [reason for _, _, reason, _ in found["decision"]] == ["gap", "no_signal"], label


def test_fields_that_a_newer_hub_appends_are_ignored(rig: Any) -> None:
    one = rig("a")
    worker = one.begin([])
    for item in closes(BUY, QUIET):
        fields = msgspec.msgpack.decode(encode(item))
        fields[2] = [[*a_bar, "appended", 7] for a_bar in fields[2]]
        one.publish_raw(item.ts_close, msgspec.msgpack.encode([*fields, {"appended": 1}]))
    found = one.finish(worker, START + 2 * MINUTE_NS)
    assert [reason for _, _, reason, _ in found["decision"]] == ["enter_long", "hold"]


# ── starting, stopping, telling ──


def test_a_webhook_that_is_down_at_the_start_costs_the_entry_and_not_the_worker(rig: Any) -> None:
    one = rig("a")
    one.env["WEBHOOK_A"] = "http://127.0.0.1:9/trading/webhook/00000000-0000-4000-8000-000000000000/secret"
    found = one.run(closes(BUY, QUIET, QUIET))
    assert states(one) == ["planned", "sending", "planned", "dropped"]
    assert found["trade"] == []


@pytest.mark.parametrize(
    ("change", "env", "said_"),
    [
        ({}, {"WEBHOOK_A": ""}, "WEBHOOK_A"),
        (
            {},
            {"WEBHOOK_A": "https://webhooks.traderspost.io/elsewhere/SECRET"},
            "strategies.a.broker_account: the webhook URL …",
        ),
        ({"max_positions": 0}, {}, "strategies.a.max_positions: "),
        ({"strategy": "nonesuch"}, {}, "no nonesuch.py in"),
        ({"enabled": False}, {}, "strategies.a.enabled"),
        ({"strategy_params": {"bye": 1}}, {}, "strategies.a.strategy_params.bye: "),
        (
            {"strategy": "breakout", "overrides": {"ES": {"strategy_params": {"exit_lookback": 3}}}},
            {},
            "the same for all",
        ),
    ],
)
def test_a_wrong_configuration_or_credential_is_exit_78(rig: Any, change: Any, env: Any, said_: str) -> None:
    one = rig("a")
    one.blocks["a"] |= change
    one.env |= env
    assert one.start().wait() == 78
    assert said_ in one.said()
    assert "SECRET" not in one.said()


def test_a_ledger_that_cannot_be_trusted_is_exit_78(rig: Any) -> None:
    one = rig("a")
    one.state().mkdir(parents=True)
    one.ledger().write_text("no ledger")
    assert one.start().wait() == 78
    assert "not a SQLite file; left untouched" in one.said()
    assert one.ledger().read_text() == "no ledger"


def test_a_term_with_a_send_in_flight_ends_in_time_and_has_its_outcome(rig: Any) -> None:
    one = rig("a", faults=(Fault("delay", at=(1,), seconds=1.5),))
    worker = one.begin(closes(BUY, QUIET))
    until(lambda: "sending" in states(one))
    began = time.monotonic()
    assert worker.kill(signal.SIGTERM) == 0
    assert 0.5 < time.monotonic() - began < 5
    assert states(one) == ["planned", "sending", "acknowledged"]


def test_hooks_are_told_after_the_commit_and_their_errors_hurt_nobody(rig: Any, tmp_path: Path) -> None:
    one = rig("a")
    text = Path(one.blocks["a"]["strategy"]).read_text()
    text += """
    def on_order(self, intent):
        print("ORDER", intent.contract, intent.role.name)
        raise RuntimeError("a bug of a researcher")

    def on_trade(self, trade):
        print("TRADE", trade.contract)
"""
    (tmp_path / "hooked.py").write_text(text)
    one.blocks["a"]["strategy"] = str(tmp_path / "hooked.py")
    found = one.run(closes(BUY, LEAVE, QUIET))
    assert len(found["trade"]) == 1
    assert "Scripted.on_order failed: RuntimeError: a bug of a researcher" in one.said()


class Manager:
    """Systemd's end of a notify socket."""

    def __init__(self, path: Path) -> None:
        import socket

        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.said: list[tuple[float, str]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            line = self._socket.recv(4096).decode()
            self.said.append((time.monotonic(), line))

    def times(self, start: str) -> list[float]:
        return [at for at, line in self.said if line.startswith(start)]


def test_systemd_is_told_ready_after_the_warm_up_then_the_watchdog_and_stopping(rig: Any, rig_place: Path) -> None:
    one = rig("a")
    manager = Manager(rig_place / "notify")
    one.publish(closes(QUIET, QUIET))
    worker = one.start(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="300000")
    until(lambda: len(manager.times("WATCHDOG=1")) >= 5)
    one.publish(closes(BUY, QUIET, start=START + 2 * MINUTE_NS))
    one.wait_position(START + 4 * MINUTE_NS)
    until(lambda: any("ES +1" in line for _, line in manager.said))
    assert worker.kill(signal.SIGTERM) == 0
    (ready,) = manager.times("READY=1")
    (stopping,) = manager.times("STOPPING=1")
    pings = manager.times("WATCHDOG=1")
    assert ready < pings[0]
    assert pings[-1] < stopping
    assert all(line.isascii() and len(line) < 200 for _, line in manager.said)
    with read_only(one.ledger()) as db:
        assert db.execute("SELECT min(ts_mark) FROM checkpoint").fetchone()[0] == START + 2 * MINUTE_NS


def test_a_blocked_loop_pings_no_more(rig: Any, rig_place: Path) -> None:
    one = rig("a")
    manager = Manager(rig_place / "notify2")
    one.publish(closes(QUIET))
    worker = one.start(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="150000")
    until(lambda: len(manager.times("WATCHDOG=1")) >= 3)
    os.kill(worker.pid, signal.SIGSTOP)
    time.sleep(0.2)
    before = len(manager.said)
    time.sleep(0.3)
    assert len(manager.said) == before


def test_a_redis_that_hangs_is_said_in_status_and_the_loop_goes_on_turning(rig: Any, rig_place: Path) -> None:
    """Connected, silent: a call takes its time limit, and the loop has turned all the same."""
    one = rig("a")
    manager = Manager(rig_place / "notify3")
    own = Path(tempfile.mkdtemp(prefix="rr-"))
    server = start_redis(own)
    try:
        one.redis_socket = own / "redis.sock"
        one.bus = Publisher(DataHub(redis_socket=str(one.redis_socket)))
        one.publish(closes(QUIET))
        worker = one.start(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="1500000")
        until(lambda: len(manager.times("WATCHDOG=1")) >= 2)
        os.kill(server.process.pid, signal.SIGSTOP)
        hung = time.monotonic()
        until(lambda: len([at for at in manager.times("WATCHDOG=1") if at > hung + 2.0]) >= 2)
        assert any("ATTENTION Redis away" in line for at, line in manager.said if at > hung)
        os.kill(server.process.pid, signal.SIGCONT)
        until(lambda: "Redis is back" in one.said())
        one.publish(closes(QUIET, QUIET, start=START + 2 * MINUTE_NS))
        one.wait_position(START + 4 * MINUTE_NS)
        assert worker.kill(signal.SIGTERM) == 0
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
        server.stop()
        shutil.rmtree(own)


def test_no_secret_is_in_the_log_the_ledger_or_the_arguments(rig: Any) -> None:
    one = rig("a", faults=(Fault("redirect", at=(2,)), Fault("html500", at=(4,)), Fault("close", at=(6,))))
    worker = one.begin(TAPE)
    argv = Path(f"/proc/{worker.pid}/cmdline").read_bytes() + " ".join(one.argv()).encode()
    one.finish(worker, LAST)
    account = one.accounts[0]
    files = [file for file in one.directory.rglob("*") if file.is_file() and not file.name.startswith("webhooks")]
    data = argv + b"".join(file.read_bytes() for file in files)
    assert b"ESM2026" in data
    assert account.password.encode() not in data
    assert account.uuid.encode() not in data


# ── as a command, in a process of its own ──


def test_the_command_itself_starts_trades_and_stops_without_a_heavy_library(rig: Any, tmp_path: Path) -> None:
    one = rig("a")
    code = (
        "import sys, atexit; from rooney.cli import main\n"
        "atexit.register(lambda: print('MODULES', *sorted({m.partition('.')[0] for m in sys.modules})))\n"
        "main()\n"
    )
    argv = [sys.executable, "-c", code, *one.argv()]
    first = Part("first", argv, tmp_path, one.env, notify=True)
    first.wait_ready()  # compiles, if nobody has yet: what counts is a start from the cache
    assert first.stop() == 0
    part = Part("command", argv, tmp_path, one.env, notify=True)
    part.wait_ready()
    one.publish(TAPE)
    one.wait_position(LAST)
    rss_mb = int(Path(f"/proc/{part.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6
    assert part.stop() == 0
    modules = set(part.log.read_text().rpartition("MODULES")[2].split())
    assert {"numba", "redis", "hiredis", "requests"} <= modules
    # Not scipy: where it is installed, numba looks at its version.
    heavy = {"pandas", "sklearn", "polars", "databento", "databento_dbn", "pyarrow", "jinja2"}
    assert modules & heavy == set()
    assert rss_mb < 260  # with the JIT, which takes most of it; `rooney compile` is for those who mind
    with read_only(one.ledger()) as db:
        assert db.execute("SELECT ts_mark FROM status").fetchone()[0] == LAST


def test_a_clock_behind_the_exchanges_is_said_in_status_and_log(
    rig: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker in this process, its clock five minutes before the tape's."""
    from rooney.clock import Clock
    from rooney.config.loader import load_config
    from rooney.worker import process as worker_module

    class Behind(Clock):
        offset = START - 5 * MINUTE_NS - time.time_ns()

        def now_ns(self) -> int:
            return time.time_ns() + self.offset

    one = rig("a")
    monkeypatch.setattr(worker_module, "Clock", Behind)
    monkeypatch.setenv("ROONEY_RUNTIME_DIRECTORY", one.env["ROONEY_RUNTIME_DIRECTORY"])
    process = worker_module.build(
        load_config(one.write(), environ=one.env), "a", state=one.state(), control=one.control, replay=False
    )
    said: list[str] = []
    monkeypatch.setattr(process._notifier, "status", lambda text: said.append(text) or True)
    one.publish(closes(QUIET))
    thread = threading.Thread(target=process.run, daemon=True)
    thread.start()
    one.wait_position(START + MINUTE_NS)
    one.publish(closes(QUIET, QUIET))
    one.wait_position(START + 2 * MINUTE_NS)
    until(lambda: any(text.startswith("ATTENTION clock 4") for text in said), 10, lambda: said)
    process.stop()
    thread.join(20)
    assert "behind the exchange's" in caplog.text


def test_a_redis_that_stays_away_is_an_alert_said_once(
    rig: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from rooney.bus import outage
    from rooney.config.loader import load_config
    from rooney.worker import process as worker_module

    one = rig("a")
    own = Path(tempfile.mkdtemp(prefix="rr-"))
    server = start_redis(own)
    try:
        one.redis_socket = own / "redis.sock"
        monkeypatch.setattr(outage, "ALERT_S", 1.0)
        monkeypatch.setenv("ROONEY_RUNTIME_DIRECTORY", one.env["ROONEY_RUNTIME_DIRECTORY"])
        process = worker_module.build(
            load_config(one.write(), environ=one.env), "a", state=one.state(), control=one.control, replay=True
        )
        said: list[str] = []
        monkeypatch.setattr(process._notifier, "status", lambda text: said.append(text) or True)
        thread = threading.Thread(target=process.run, daemon=True)
        thread.start()
        until(lambda: any(text.startswith("paper flat") for text in said), 60, lambda: said)
        server.stop()
        until(lambda: said[-1].startswith("ALERT Redis away"), 20, lambda: said)
        away = len(said)
        until(lambda: len(said) >= away + 2, 20)
        server = start_redis(own)
        until(lambda: said[-1].startswith("paper flat"), 20, lambda: said)
        process.stop()
        thread.join(20)
    finally:
        server.stop()
        shutil.rmtree(own)
    assert any(text.startswith("ATTENTION Redis away") for text in said)
    assert [one.levelname for one in caplog.records if "has been away for" in one.message] == ["CRITICAL"]


def test_a_hang_of_ten_seconds_costs_no_bar(rig: Any, rig_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker in this process, its clock running and set into a session."""
    from rooney.clock import Clock
    from rooney.config.loader import load_config
    from rooney.worker import process as worker_module

    class Shifted(Clock):
        offset = START + 2 * MINUTE_NS - time.time_ns()

        def now_ns(self) -> int:
            return time.time_ns() + self.offset

    one = rig("a", faults=(Fault("hang", at=(1,)),))
    monkeypatch.setattr(worker_module, "Clock", Shifted)
    config = load_config(one.write(), environ=one.env)
    monkeypatch.setenv("ROONEY_RUNTIME_DIRECTORY", one.env["ROONEY_RUNTIME_DIRECTORY"])
    process = worker_module.build(config, "a", state=one.state(), control=one.control, replay=False)
    one.publish(closes(QUIET))
    thread = threading.Thread(target=process.run, daemon=True)
    thread.start()
    one.wait_position(START + MINUTE_NS)  # a first start begins at the tape's end
    one.publish(closes(BUY, start=START + MINUTE_NS))
    until(lambda: "sending" in states(one))
    began = time.monotonic()
    for k in range(2, 12):
        one.publish(closes(QUIET, start=START + k * MINUTE_NS))
        one.wait_position(START + (k + 1) * MINUTE_NS, timeout_s=2)
    assert time.monotonic() - began < 8  # ten minutes were finished while the order hung
    assert states(one) == ["planned", "sending"]
    until(lambda: "unconfirmed" in states(one))
    process.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_faults_are_switched_on_by_the_environment_only() -> None:
    assert faults._place == ""
    code = "from rooney import failpoints; [failpoints.point(p) for p in ('b', 'a', 'a', 'b', 'a')]; print('alive')"
    for fault, status in (("", 0), ("a:3", -signal.SIGKILL), ("a:4", 0), ("c", 0), ("b", -signal.SIGKILL)):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"ROONEY_FAULT": fault})
        assert done.returncode == status
