"""The hub process when a thread of its client is stopped, as a debugger or a fault in foreign code would stop it."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rooney.format import iso_second
from rooney.market import sessions
from rooney.market.sessions import MINUTE_NS
from rooney.sim.characters import FIRST_SESSION
from rooney.sim.databento.gateway import Gateway
from rooney.sim.databento.sources import Until
from rooney.sim.market import Market
from rooney.sim.processes import Part
from tests.support.gateways import running
from tests.support.hub import hub_process, parents, plain_tape
from tests.support.private_redis import PrivateRedis
from tests.support.waiting import until

OPEN = sessions.session_open_ns("equity", FIRST_SESSION)
END = OPEN + 24 * 60 * MINUTE_NS
MARKET = Until(Market(roots=["ES"], trades_per_minute=60), END)
DEAD_S = 6.0  # above the heartbeats' interval, which is 5 s at least
BOUND_S = DEAD_S + 10.0  # until the session after it has brought two minutes
ATTACH, DETACH, WALL = 16, 17, 0x40000000  # ptrace(2), waitpid(2)
EPOLL_WAIT = {"232", "281", "22", "21"}  # epoll_wait and epoll_pwait on x86-64 and arm64


def receiving_threads(pid: int) -> list[int]:
    """Threads that wait on an event loop."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(task.name) for task in tasks if (task / "syscall").read_text().split()[0] in EPOLL_WAIT]


@contextmanager
def stopped(thread: int) -> Iterator[None]:
    """One thread of another process stopped, all its others going on."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    assert ptrace(ATTACH, thread, None, None) == 0, os.strerror(ctypes.get_errno())
    os.waitpid(thread, WALL)
    try:
        yield
    finally:
        assert ptrace(DETACH, thread, None, None) == 0


def test_a_receiving_thread_that_is_stopped_is_replaced_and_does_nothing_when_it_goes_on(redis: PrivateRedis) -> None:
    gateway = Gateway(MARKET, speed=60, begin_ns=OPEN, until_ns=END)
    bus = redis.bus()

    def end_ns() -> int:
        bounds = bus.tape_bounds()
        return bounds[1] if bounds else 0

    with running(gateway):
        hub: Part = hub_process(redis, gateway.port, parents("ES"), iso_second(OPEN), data_hub={"feed_dead_s": DEAD_S})
        try:
            until(lambda: end_ns() > OPEN, 60, hub.log.read_text)
            until(lambda: len(receiving_threads(hub.process.pid)) == 1)
            (thread,) = receiving_threads(hub.process.pid)
            sessions_before = len(gateway.sessions)
            with stopped(thread):
                stopped_ns = end_ns()
                until(lambda: end_ns() > stopped_ns + 2 * MINUTE_NS, BOUND_S, hub.log.read_text)
            assert len(gateway.sessions) == sessions_before + 1
            released_ns = end_ns()
            until(lambda: not Path(f"/proc/{hub.process.pid}/task/{thread}").exists(), 10)  # it ends by itself
            until(lambda: end_ns() > released_ns + 3 * MINUTE_NS, 30, hub.log.read_text)
            assert hub.process.poll() is None
        finally:
            hub.process.terminate()
            hub.process.wait(20)
        tape = plain_tape(bus)
    closes = [minute.ts_close for minute in tape]
    assert closes == list(range(OPEN + MINUTE_NS, closes[-1] + 1, MINUTE_NS))
    bus.close()
