"""A worker whose disk is full: its exits go out and are written down, its entries wait for room."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rooney.errors import EXIT_ATTENTION, EXIT_FAILURE
from rooney.files import MIB
from rooney.ledger.ballast import SIZE_BYTES
from rooney.ledger.snapshot import read_ledger
from rooney.market.sessions import MINUTE_NS
from rooney.orders.control import Command, Level, Verb, put_command
from rooney.worker.process import FULL_WAIT_S
from tests.support.command_line import Bench
from tests.support.full_disk import fill, mounted
from tests.support.ledgers import read_only
from tests.support.minutes import BUY, LEAVE, QUIET, START, closes
from tests.support.paths import ROOT
from tests.support.rigs import requests, states
from tests.support.waiting import until

DISK_BYTES = 256 * MIB
COMMAND = Command(1, Verb.POSITION, "mia", "closed by hand", symbol="ES", side=0, quantity=0, price=100.0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own in the place of the first run's ledgers."""
    with mounted(tmp_path / "run", DISK_BYTES) as place:
        yield place


def fill_up(one: Any, place: Path) -> Path:
    """Leave no byte free, none of the ballast's either."""

    def is_full() -> bool:
        # A file that is gone is freed a moment later.
        return fill(place).stat().st_size > DISK_BYTES - SIZE_BYTES // 2

    until(is_full, what=lambda: one.said()[-2000:])
    return place / "large"


def held_on_a_full_disk(rig: Any, small_disk: Path, **block: Any) -> tuple[Any, Any, Path, int]:
    """A worker with a position, whose disk takes nothing any more; what fills it, and the mark it has come to.

    In the control folder a command lies that is for nobody yet.
    """
    one = rig("a")
    put_command(one.control, "later", COMMAND)
    one.blocks["a"] |= block
    worker = one.begin(closes(BUY, QUIET))
    at = START + 2 * MINUTE_NS
    one.wait_position(at)
    large = fill_up(one, small_disk)

    def is_behind() -> bool:  # SQLite goes on in room that it has already
        nonlocal at
        if one.position() == at:
            one.publish(closes(QUIET, start=at))
            at += MINUTE_NS
        return "exits go out unwritten" in one.said()

    until(is_behind, what=lambda: one.said()[-2000:])
    return one, worker, large, at


def actions(one: Any) -> list[str]:
    """Of the requests that reached the webhook."""
    return [request["payload"]["action"] for request in requests(one)]


def test_on_a_full_disk_exits_go_out_entries_wait_and_all_is_told_once(rig: Any, small_disk: Path) -> None:
    one = rig("a")
    worker = one.begin(closes(BUY, QUIET))
    at = START + 2 * MINUTE_NS
    one.wait_position(at)
    ballast = one.state() / "ballast"
    assert ballast.stat().st_blocks * 512 == SIZE_BYTES
    large = fill(small_disk)
    until(lambda: not ballast.exists(), what=lambda: one.said()[-2000:])
    for prices in ((LEAVE, QUIET), (BUY, QUIET)):
        one.publish(closes(*prices, start=at))
        at += 2 * MINUTE_NS
        one.wait_position(at)
    assert actions(one) == ["buy", "exit"]
    with read_only(one.ledger()) as db:
        assert db.execute("SELECT state, detail FROM event ORDER BY seq DESC").fetchone() == (
            "dropped",
            "feed: the disk is full",
        )
        assert db.execute("SELECT turn, level FROM notice WHERE about = 'disk'").fetchall() == [("begins", 50)]
    assert one.said().count("the disk is full: exits go out, no entries") == 1
    large.unlink()
    until(ballast.exists, what=lambda: one.said()[-2000:])
    until(lambda: "the disk has room again" in one.said(), what=lambda: one.said()[-2000:])
    one.publish(closes(BUY, QUIET, start=at))
    found = one.finish(worker, at + 2 * MINUTE_NS)
    assert actions(one) == ["buy", "exit", "buy"]
    assert len(found["trade"]) == 1


def test_a_worker_starts_on_a_full_disk_and_lets_exits_out(rig: Any, small_disk: Path) -> None:
    one = rig("a")
    one.run(closes(BUY, QUIET))
    fill(small_disk)
    worker = one.start()
    one.wait_ready("a", starts=2)
    at = START + 2 * MINUTE_NS
    one.publish(closes(LEAVE, QUIET, start=at))
    one.finish(worker, at + 2 * MINUTE_NS)
    assert actions(one) == ["buy", "exit"]
    assert not (one.state() / "ballast").exists()


def test_an_exit_goes_out_although_nothing_can_be_written_and_all_is_written_once_there_is_room(
    rig: Any, small_disk: Path
) -> None:
    one, worker, large, at = held_on_a_full_disk(rig, small_disk)
    written = one.position()
    one.publish(closes(LEAVE, QUIET, BUY, QUIET, start=at))
    until(lambda: actions(one) == ["buy", "exit"], what=lambda: one.said()[-2000:])
    until(lambda: "dropped" in one.said(), what=lambda: one.said()[-2000:])
    assert one.position() == written, "the file is as it was"
    assert one.said().count("exits go out unwritten") == 1
    large.unlink()
    until(lambda: "the disk has room again" in one.said(), what=lambda: one.said()[-2000:])
    one.publish(closes(BUY, QUIET, start=at + 4 * MINUTE_NS))
    found = one.finish(worker, at + 6 * MINUTE_NS)
    assert actions(one) == ["buy", "exit", "buy"]
    assert states(one) == [
        *("planned", "sending", "acknowledged"),
        *("planned", "sending", "acknowledged"),
        *("planned", "dropped"),
        *("planned", "sending", "acknowledged"),
    ]
    assert len(found["trade"]) == 1
    marks = {mark for mark, *_ in found["decision"]}
    assert len(marks) == (at + 6 * MINUTE_NS - START) // MINUTE_NS, "no mark is missing"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_exits_wait_for_the_settling_time_after_a_worker_that_could_not_write(
    rig: Any, small_disk: Path, number: signal.Signals
) -> None:
    one, worker, large, at = held_on_a_full_disk(rig, small_disk, settle_s=1200)
    written = one.position()
    due = written + 20 * MINUTE_NS  # the clock of a replay is that of its last written mark
    one.publish(closes(LEAVE, QUIET, start=at))
    until(lambda: actions(one) == ["buy", "exit"], what=lambda: one.said()[-2000:])
    worker.kill(number)
    assert one.position() == written
    large.unlink()
    worker = one.start()
    later = (due - at) // MINUTE_NS - 3
    one.publish(closes(*[QUIET] * later, start=at + 2 * MINUTE_NS))
    one.wait_position(due - MINUTE_NS)
    assert actions(one) == ["buy", "exit"], "sent again while the first one may still be working"
    one.publish(closes(QUIET, start=due - MINUTE_NS))
    one.finish(worker, due)
    assert actions(one) == ["buy", "exit", "exit"]
    assert "exits wait 1200 s: some may be on their way" in one.said()
    assert ("stopping; lost" in one.said()) is (number is signal.SIGTERM)
    assert (one.state() / "ledger.lock").read_text().strip() == ""


def test_a_command_that_could_not_be_written_down_is_obeyed_by_the_next_worker(rig: Any, small_disk: Path) -> None:
    one, worker, large, at = held_on_a_full_disk(rig, small_disk)
    (one.control / "later" / "commands").rename(one.control / "a" / "commands")
    (waiting,) = (one.control / "a" / "commands").iterdir()
    one.publish(closes(QUIET, QUIET, start=at))
    until(lambda: "position ES by mia" in one.said(), what=lambda: one.said()[-2000:])
    worker.kill()
    large.unlink()
    assert waiting.exists()
    worker = one.start()
    one.wait_position(at + 2 * MINUTE_NS)
    until(lambda: not waiting.exists())
    one.publish(closes(QUIET, start=at + 2 * MINUTE_NS))
    one.finish(worker, at + 3 * MINUTE_NS)
    with read_only(one.ledger()) as db:
        assert db.execute("SELECT count(*) FROM operator").fetchone() == (1,)
        assert not [held.side for held in read_ledger(one.ledger()).held if held.side]


def test_flatten_sends_one_exit_where_nothing_can_be_written(rig: Any, small_disk: Path) -> None:
    one, worker, _, at = held_on_a_full_disk(rig, small_disk)
    (one.control / "a" / Level.FLATTEN).touch()
    until(lambda: actions(one) == ["buy", "exit"], what=lambda: one.said()[-2000:])
    one.publish(closes(QUIET, QUIET, BUY, start=at))
    until(lambda: "dropped" in one.said(), what=lambda: one.said()[-2000:])
    worker.kill(signal.SIGTERM)
    assert actions(one) == ["buy", "exit"]


def test_a_worker_whose_ledger_cannot_be_opened_for_want_of_room_says_so_and_waits_for_it_under_systemd(
    rig: Any, small_disk: Path, tmp_path: Path
) -> None:
    one = rig("a")
    one.run(closes(BUY, QUIET))
    for name in ("ballast", "ledger.sqlite-wal", "ledger.sqlite-shm"):  # the last two a reader may have left
        (one.state() / name).unlink(missing_ok=True)
    large = fill(small_disk)
    assert one.start().wait() == EXIT_FAILURE
    assert f"{one.ledger()}: cannot be written: disk I/O error; 0.0 MiB are free in {one.state()}. Make room there" in (
        one.said()
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        worker = one.start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        while manager.recv(256) != b"STATUS=ATTENTION the disk is full, not started":
            pass
        large.unlink()
        one.wait_ready("a", starts=2)
        at = START + 2 * MINUTE_NS
        one.publish(closes(LEAVE, QUIET, start=at))
        one.finish(worker, at + 2 * MINUTE_NS)
    assert actions(one) == ["buy", "exit"]


def test_status_says_that_the_disk_is_full_and_when_nothing_can_be_written_that_too(rig: Any, small_disk: Path) -> None:
    one = rig("a")
    bench = Bench(one, one.vendor, one.requests)
    worker = one.begin(closes(BUY, QUIET))
    one.wait_position(START + 2 * MINUTE_NS)
    large = small_disk / "large"
    large.write_bytes(bytes(DISK_BYTES - SIZE_BYTES - 6 * MIB))
    until(lambda: "exits go out, no entries before 160 MiB are free" in one.said())
    assert "CRITICAL  a: following the tape; the disk is full; no entries" in bench.rooney("status", code=2)
    fill_up(one, small_disk)
    one.publish(closes(QUIET, start=START + 2 * MINUTE_NS))
    until(lambda: "exits go out unwritten" in one.said())
    shown = bench.rooney("status", code=2)
    assert "a: following the tape; the disk is full, sending exits that it does not take down; no entries" in shown
    assert f"df -h {one.state()}" in shown
    large.unlink()
    until(lambda: "the disk has room again, and all is written down" in one.said())
    assert "disk" not in bench.rooney("status", code=None)
    worker.kill(signal.SIGTERM)


def test_a_worker_that_waits_for_room_again_and_again_is_not_given_up_by_systemd() -> None:
    lines = (ROOT / "systemd" / "rooney-worker@.service").read_text().splitlines()
    limit = {key: int(value) for key, value in (line.split("=") for line in lines if line.startswith("StartLimit"))}
    assert FULL_WAIT_S * limit["StartLimitBurst"] > limit["StartLimitIntervalSec"]


def test_flatten_leaves_a_worker_alone_that_obeys_and_cannot_write_it_down(rig: Any, small_disk: Path) -> None:
    one, worker, large, _ = held_on_a_full_disk(rig, small_disk)
    os.truncate(large, large.stat().st_size - MIB)  # room for a command, not for what waits
    bench = Bench(one, one.vendor, one.requests)
    shown = bench.run("flatten", "a", "--reason", "x", "--yes", "--clock", "replay", "--wait", "2", "--hung-after", "1")
    assert (shown.returncode, "hangs" in shown.stdout + shown.stderr) == (EXIT_ATTENTION, False), shown
    assert actions(one) == ["buy", "exit"]
    large.unlink()
    until(lambda: "all is written down" in one.said(), what=lambda: one.said()[-2000:])
    until(lambda: not list((one.control / "a" / "commands").iterdir()))
    assert worker.kill(signal.SIGTERM) == 0
    assert states(one)[-3:] == ["planned", "sending", "acknowledged"]
