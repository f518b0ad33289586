"""`rooney flatten`: a position is closed whatever state the worker, Redis and the webhook are in, and closed once."""

import os
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rooney.market.sessions import MINUTE_NS
from tests.support.command_line import Bench, hang
from tests.support.ledgers import read_only
from tests.support.minutes import BUY, ENTERED, QUIET, bar, closes, minute
from tests.support.times import chicago
from tests.support.waiting import until
from tests.support.webhook_faults import Fault
from tests.support.workers import Forked

Make = Callable[..., Bench]
SURE = ("--clock", "replay", "--reason", "fire drill", "--yes")


def flat(one: Bench, name: str = "a") -> bool:
    return not any(one.broker(name).values())


def goes_on(one: Bench, name: str = "a") -> None:
    """A worker started now takes in what was done in its place, and is flat at both ends."""
    one.rig.start(name)
    one.more(QUIET, QUIET, QUIET, name=name)
    assert all(not held.side and not held.pending for held in one.read(name).held)
    assert one.read(name).trades[-1].cause == "operator"


def test_a_worker_that_lives_closes_its_position_itself(bench: Make) -> None:
    one = bench()
    one.begin()
    shown = one.rooney("flatten", "a", *SURE)
    assert shown == (
        "a  paper\n"
        "  exit ESM2026: closes long 1\n"
        "then no new entries, until rooney resume\n"
        "a: exit ESM2026 acknowledged, sent by its worker\n"
    )
    one.more(QUIET, BUY, QUIET)
    assert (one.actions(), flat(one)) == (["buy", "exit"], True)
    assert one.read().trades[-1].cause == "operator"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_for_a_worker_that_is_down_the_command_sends_the_exit_itself(bench: Make, number: int) -> None:
    one = bench()
    one.begin().kill(number)
    shown = one.rooney("flatten", "a", *SURE)
    assert shown.splitlines()[-1] == "a: exit ESM2026 acknowledged, sent by this command, in place of its worker"
    assert (one.actions(), flat(one)) == (["buy", "exit"], True)
    exit_ = one.read().orders[-1]
    assert (exit_.cause, exit_.contract) == ("operator", "ESM6")
    goes_on(one)
    assert one.actions() == ["buy", "exit"]


def test_it_needs_neither_redis_nor_a_hub(bench: Make) -> None:
    one = bench()
    one.begin().kill()
    one.rig.redis_socket = Path("/nonexistent/redis.sock")
    one.rooney("flatten", "a", *SURE)
    assert (one.actions(), flat(one)) == (["buy", "exit"], True)


def test_asked_twice_it_sends_one_exit(bench: Make) -> None:
    one = bench()
    one.begin().kill()
    one.rooney("flatten", "a", *SURE)
    assert one.rooney("flatten", "a", *SURE).splitlines() == [
        "a  paper  nothing is open",
        "then no new entries, until rooney resume",
        "a: nothing was open",
    ]
    assert one.actions() == ["buy", "exit"]


def killed_while_sending(make: Make, *faults: Fault) -> Bench:
    """A worker that died between sending its entry and the answer: nobody knows what came of it."""
    one = make(faults=faults)
    worker = one.rig.begin(ENTERED[:2], fault="after_post:1")
    assert worker.wait() == -signal.SIGKILL
    return one


def test_an_entry_of_unknown_fate_is_closed_after_the_settling_time(bench: Make) -> None:
    one = killed_while_sending(bench)
    shown = one.rooney("flatten", "a", *SURE)
    assert "exit ESM2026: closes long 1 if that entry was filled" in shown
    entry, exit_ = one.read().orders
    assert [str(step.state) for step in entry.events] == ["planned", "sending", "unconfirmed", "resolved"]
    assert str(exit_.state) == "acknowledged"
    assert (one.actions(), flat(one)) == (["buy", "exit"], True)
    with read_only(one.rig.ledger()) as db:
        times = dict(db.execute("SELECT state, max(ts_clock) FROM event GROUP BY state").fetchall())
    assert times["acknowledged"] - times["unconfirmed"] >= 60_000_000_000


@pytest.mark.parametrize("do", ["html500", "close", "limited"])
def test_an_exit_that_does_not_get_through_is_repeated_until_it_does(bench: Make, do: Any) -> None:
    one = bench(faults=(Fault(do, at=(2, 3)),))
    one.begin().kill()
    one.rooney("flatten", "a", "--wait", 600, *SURE)
    exit_ = one.read().orders[-1]
    assert [str(step.state) for step in exit_.events].count("sending") == 3
    assert (one.actions(), flat(one)) == (["buy", "exit", "exit", "exit"], True)


def test_an_exit_that_never_gets_through_is_attention_and_goes_on_at_the_next_start(bench: Make) -> None:
    one = bench(faults=(Fault("html500", at=tuple(range(2, 40))),))
    one.begin().kill()
    shown = one.rooney("flatten", "a", "--wait", 90, *SURE, code=1)
    assert shown.splitlines()[-1].startswith("a: ESM2026 may still be open: exit ")
    assert not flat(one)
    assert [order.is_open for order in one.read().orders] == [False, True]


def hung(bench: Make) -> tuple[Bench, Forked]:
    one = bench()
    worker = one.begin()
    hang(worker)
    return one, worker


def test_a_worker_that_hangs_is_named_with_what_to_do_and_nothing_is_sent(bench: Make) -> None:
    one, worker = hung(bench)
    shown = one.rooney("flatten", "a", "--hung-after", 0.5, *SURE, code=2)
    assert shown.splitlines()[-2:] == [
        f"a: its worker (process {worker.pid}) holds {one.rig.ledger()} and has taken no command for 0.5 s, so it "
        f"hangs, and no rooney-worker@a.service is known to systemd here. End it (kill -9 {worker.pid}); should it "
        "come back, it closes by itself. Nothing was sent; mend this and run it again, or close by hand at the broker",
        "a: ESM2026 may still be open and has no exit: look at the broker",
    ]
    assert one.actions() == ["buy"]
    worker.kill()
    one.rooney("flatten", "a", *SURE)
    assert (one.actions(), flat(one)) == (["buy", "exit"], True)
    goes_on(one)


def test_a_worker_that_hung_and_comes_back_closes_its_position_once(bench: Make) -> None:
    one, worker = hung(bench)
    one.rooney("flatten", "a", "--hung-after", 0.2, *SURE, code=2)
    os.kill(worker.pid, signal.SIGCONT)
    until(lambda: flat(one))
    one.more(QUIET, QUIET)
    assert one.actions() == ["buy", "exit"]


def test_a_worker_that_hangs_under_systemd_is_stopped_first(bench: Make, tmp_path: Path) -> None:
    """A `systemctl` that does what systemd's does to such a process: SIGKILL, and it is gone when it returns."""
    one, worker = hung(bench)
    script = tmp_path / "bin" / "systemctl"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n'
        f"case $1 in\nis-active) kill -0 {worker.pid} 2>/dev/null && echo active || echo inactive ;;\n"
        f"stop) kill -9 {worker.pid}; while kill -0 {worker.pid} 2>/dev/null; do sleep 0.05; done ;;\nesac\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    path = f"{script.parent}:{os.environ['PATH']}"
    one.rooney("flatten", "a", "--hung-after", 0.5, *SURE, PATH=path)
    assert worker.wait() == -signal.SIGKILL
    assert "stop rooney-worker@a.service" in (tmp_path / "asked").read_text()
    assert (one.actions(), flat(one)) == (["buy", "exit"], True)


def test_all_strategies_are_closed_the_living_and_the_dead(bench: Make) -> None:
    one = bench("a", "b")
    one.begin()
    one.rig.start("b")
    one.rig.wait_position(ENTERED[-1].ts_close, "b")
    one.rig.started[-1].kill()
    found = one.json("flatten", "--all", *SURE)
    assert [(each["strategy"], each["by"]) for each in found["strategies"]] == [("a", "worker"), ("b", "here")]
    assert flat(one, "a")
    assert flat(one, "b")
    assert (one.control / "all" / "flatten").exists()


def test_what_fails_for_one_strategy_keeps_no_other_open(bench: Make) -> None:
    one = bench("a", "b")
    one.begin().kill()
    one.rig.start("b")
    one.rig.wait_position(ENTERED[-1].ts_close, "b")
    one.rig.started[-1].kill()
    found = one.json("flatten", "--all", *SURE, "--env-file", "/dev/null", code=2, WEBHOOK_A="")
    assert "WEBHOOK_A is not set" in found["strategies"][0]["failure"]
    assert (flat(one, "a"), flat(one, "b")) == (False, True)


def without_a_webhook(one: Bench) -> None:
    del one.rig.blocks["a"]["broker_account"]


def without_a_control_folder(one: Bench) -> None:
    shutil.rmtree(one.control, ignore_errors=True)
    one.control.write_text("a file, where nothing can be left")


@pytest.mark.parametrize("spoil", [without_a_webhook, without_a_control_folder])
def test_one_that_fails_says_what_is_still_open_and_that_nothing_was_sent(
    bench: Make, spoil: Callable[[Bench], None]
) -> None:
    one = bench()
    one.begin().kill()
    spoil(one)
    shown = one.rooney("flatten", "a", *SURE, code=2)
    *_, why, left = shown.splitlines()
    assert why.endswith(". Nothing was sent; mend this and run it again, or close by hand at the broker")
    assert left == "a: ESM2026 may still be open and has no exit: look at the broker"
    assert one.actions() == ["buy"]


def test_only_the_instruments_named_are_closed_and_entries_go_on(bench: Make) -> None:
    one = bench(max_positions=2)
    both = [
        minute(at, bar("ES", at, price), bar("NQ", at, price))
        for at, price in ((m.ts_close, p) for m, p in zip(ENTERED, (QUIET, BUY, 104.0, 104.25), strict=True))
    ]
    one.begin(both)
    one.rooney("flatten", "a", "NQ", *SURE)
    assert one.broker() == {"ESM2026": 1}
    assert not (one.control / "a" / "flatten").exists()


def test_while_the_market_is_closed_the_exit_waits_for_the_open(bench: Make) -> None:
    one = bench()
    start = chicago("2026-03-11 15:50")
    one.rig.begin(closes(QUIET, BUY, *[QUIET] * 8, start=start))
    end = start + 10 * MINUTE_NS  # 16:00, when index futures close for an hour
    one.rig.wait_position(end)
    one.rig.started[-1].kill()
    shown = one.rooney("flatten", "a", *SURE, code=1)
    assert "is planned" in shown.splitlines()[-1]
    assert one.actions() == ["buy"]
    one.rig.start()
    opened = chicago("2026-03-11 17:00")
    one.rig.publish(closes(QUIET, QUIET, QUIET, start=opened))
    one.rig.wait_position(opened + 3 * MINUTE_NS)
    until(lambda: flat(one))
    assert one.actions() == ["buy", "exit"]


def test_a_position_is_closed_in_the_account_it_was_opened_in(bench: Make) -> None:
    one = bench("a", "b")  # the account of b stands for the live one of a
    one.rig.blocks["a"]["paper_account"] = "${WEBHOOK_A}"
    one.begin().kill()
    one.rig.blocks["a"] |= {"mode": "live", "broker_account": "${WEBHOOK_B}"}
    del one.rig.blocks["b"]
    one.rooney("flatten", "a", *SURE)
    assert flat(one)
    assert one.server.state()["accounts"]["b"]["counts"]["requests"] == 0


def test_a_planned_entry_is_never_sent_in_place_of_a_worker(bench: Make) -> None:
    one = bench()
    assert one.rig.begin(ENTERED[:2], fault="after_mark_commit:3").wait() == -signal.SIGKILL
    assert str(one.read().orders[0].state) == "planned"
    one.rooney("flatten", "a", *SURE)
    assert str(one.read().orders[0].state) == "dropped"
    assert one.actions() == []
