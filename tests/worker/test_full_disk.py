"""A worker whose disk is full: its exits go out and are written down, its entries wait for room."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rooney.files import MIB
from rooney.ledger.ballast import SIZE_BYTES
from rooney.market.sessions import MINUTE_NS
from tests.support.ledgers import read_only
from tests.support.minutes import BUY, LEAVE, QUIET, START, closes
from tests.support.rigs import requests
from tests.support.waiting import until


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 MiB of its own, in the place of the first run's ledgers."""
    place = tmp_path / "run"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here (it takes root): {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path) -> Path:
    """Leave no byte free."""
    path = place / "large"
    with path.open("ab", buffering=0) as file:
        for block in (b"\0" * MIB, b"\0" * 512):
            while True:
                try:
                    file.write(block)
                except OSError:
                    break
    assert os.statvfs(place).f_bavail == 0
    return path


def test_on_a_full_disk_exits_go_out_entries_wait_and_all_is_told_once(rig: Any, small_disk: Path) -> None:
    one = rig("a")
    actions = lambda: [request["payload"]["action"] for request in requests(one)]  # noqa: E731
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
    assert actions() == ["buy", "exit"]
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
    assert actions() == ["buy", "exit", "buy"]
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
    assert [request["payload"]["action"] for request in requests(one)] == ["buy", "exit"]
    assert not (one.state() / "ballast").exists()
