"""What the dashboard costs: memory over many clients, and nothing at all for a worker. Slow; shorter in CI."""

import contextlib
import http.client
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rooney.market.sessions import MINUTE_NS
from tests.support.command_line import Bench
from tests.support.dashboard import Site
from tests.support.ledgers import read_only
from tests.support.minutes import BUY, ENTERED, LEAVE, QUIET, START, closes
from tests.support.paths import ROOT
from tests.support.waiting import until

Make = Callable[..., Bench]


class Alone:
    """A dashboard as its unit starts it: a process of its own, whose memory is nobody else's."""

    def __init__(self, bench: Bench) -> None:
        self.site = Site(bench)
        rig = bench.rig
        argv = [sys.executable, "-m", "rooney", "dashboard", "--config", str(rig.write()), "--clock", "replay"]
        argv += ["--set", f"dashboard.port={self.site.port}"]
        self.log = rig.directory / "alone.log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                argv, cwd=ROOT, env={"PATH": "/usr/bin:/bin"} | rig.env, stdout=out, stderr=out
            )
        until(self.site.answers, 60.0, self.log.read_text)

    def rss_kib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])

    def connect(self) -> None:
        """One client: its first event, then gone without a word."""
        connection = http.client.HTTPConnection("127.0.0.1", self.site.port, timeout=30)
        connection.request("GET", "/events?page=/strategy/a", headers={"Host": "localhost"})
        answer = connection.getresponse()
        assert answer.status == 200 and answer.readline().startswith(b"id: ")
        connection.close()


@pytest.fixture
def alone(bench: Make) -> Iterator[Alone]:
    one = bench()
    one.begin()
    found = Alone(one)
    yield found
    found.process.terminate()
    assert found.process.wait(20) == 0, found.log.read_text()[-2000:]


@pytest.mark.parametrize("connects", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_memory_is_flat_over_clients_that_come_and_go(alone: Alone, connects: int) -> None:
    for _ in range(connects // 5):
        alone.connect()
    warm_kib = alone.rss_kib()
    for _ in range(connects - connects // 5):
        alone.connect()
    grown_kib = alone.rss_kib() - warm_kib
    print(f"{connects} connects: {warm_kib / 1024:.1f} MiB, then {grown_kib / 1024:+.2f} MiB")
    assert grown_kib < 3 * 1024
    assert "rror" not in alone.log.read_text()


def _p99_s(one: Bench, minutes: int, first: int) -> float:
    """99th percentile from publishing a minute to its commit in the ledger, each minute waited for."""
    took = []
    words = (QUIET, BUY, 101.5, LEAVE, 102.5)
    for k in range(first, first + minutes):
        (minute,) = closes(words[k % len(words)], start=START + k * MINUTE_NS)
        began_ns = time.time_ns()
        one.rig.publish([minute])
        one.rig.wait_position(minute.ts_close)
        with read_only(one.rig.ledger()) as db:
            took.append((db.execute("SELECT ts_wall FROM status").fetchone()[0] - began_ns) / 1e9)
    return statistics.quantiles(took, n=100)[98]


@pytest.mark.slow
def test_a_worker_is_not_slowed_by_a_dashboard_under_load(bench: Make) -> None:
    """Alternating stretches with and without clients that ask as fast as they are answered, each at low priority."""
    one = bench()
    one.begin(ENTERED[:1])
    alone = Alone(one)
    subprocess.run(["renice", "-n", "10", "-p", str(alone.process.pid)], check=True, capture_output=True)
    at, quiet, loaded = len(ENTERED), [], []
    try:
        for _ in range(5):
            quiet.append(_p99_s(one, 100, at))
            stop = threading.Event()

            def ask(stop: threading.Event = stop) -> None:
                while not stop.is_set():
                    with contextlib.suppress(OSError):
                        alone.site.get("/strategy/a")

            askers = [threading.Thread(target=ask) for _ in range(3)]
            for asker in askers:
                asker.start()
            loaded.append(_p99_s(one, 100, at + 100))
            stop.set()
            for asker in askers:
                asker.join()
            at += 200
    finally:
        alone.process.terminate()
        alone.process.wait(20)
    ratio = statistics.median(loaded) / statistics.median(quiet)
    print(f"p99 of a minute: {statistics.median(quiet) * 1e3:.1f} ms alone, ratio {ratio:.2f} under load")
    assert ratio < 2.0 or statistics.median(loaded) < 0.05
