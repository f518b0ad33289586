"""Thirty sessions of eighteen instruments through the hub's process, as fast as it takes them: does it grow?

pytest -m slow -s tests/processes/test_hub_soak.py
"""

import contextlib
from datetime import timedelta
from pathlib import Path

import pytest

from rooney.bus.keys import HISTORY_LENGTH, TAPE_LENGTH
from rooney.market import sessions
from rooney.market.messages import Bar
from rooney.market.sessions import MINUTE_NS
from rooney.sim.characters import CHARACTERS, FIRST_SESSION
from rooney.sim.databento.gateway import Gateway
from rooney.sim.market import Market
from tests.support.gateways import running
from tests.support.hub import hub_process, parents
from tests.support.private_redis import private_redis
from tests.support.waiting import until

ROOTS = parents(*CHARACTERS)


def rss_kb(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0])


def closes(count: int) -> list[int]:
    """Ends of the first `count` trade dates."""
    found: list[int] = []
    day = FIRST_SESSION
    while len(found) < count:
        with contextlib.suppress(StopIteration, ValueError, KeyError):
            if day.weekday() < 5:
                found.append(sessions.session_close_ns("equity", day))
        day += timedelta(days=1)
    return found


def soak(count: int, per_minute: float) -> list[int]:
    """RSS of the hub in kB after each session; every session is complete on the tape."""
    ends = closes(count)
    begin = sessions.session_open_ns("equity", FIRST_SESSION)
    market = Market(sessions=count, trades_per_minute=per_minute)
    with private_redis() as redis, running(Gateway(market, until_ns=ends[-1])) as gateway:
        bus = redis.bus()
        # The streams are at their bound from the start: what Redis keeps is not what the hub costs.
        first = begin - (TAPE_LENGTH + 200) * MINUTE_NS
        filler = [
            Bar(root, f"{root}H6", timeframe, first + i * MINUTE_NS, first + (i + 1) * MINUTE_NS, 1, 1, 1, 1, 1, 1)
            for root, _, _ in ROOTS
            for timeframe in ("hourly", "daily")
            for i in range(min(HISTORY_LENGTH[timeframe], 2_000))
        ]
        bus.add_history(filler)
        part = hub_process(redis, gateway.port, ROOTS, "2026-03-10T22:00:00Z")
        found = []
        try:
            for number, end_ns in enumerate(ends):
                until(lambda end=end_ns: (bus.tape_bounds() or (0, 0))[1] >= end, 600, part.tail)  # type: ignore[misc]
                part.check()
                found.append(rss_kb(part.process.pid))
                memory = bus._redis.info("memory")["used_memory"] / 1e6
                print(f"session {number + 1:2d}: hub {found[-1] / 1024:.1f} MB, Redis {memory:.1f} MB", flush=True)
        finally:
            part.stop()
    return found


def test_the_hub_does_not_grow_over_three_sessions() -> None:
    found = soak(3, per_minute=20.0)
    assert found[-1] < 1.05 * found[0], found  # the allocator settles within the first few


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_the_hub_grows_less_than_a_hundredth_over_thirty_sessions() -> None:
    found = soak(30, per_minute=30.0)
    assert found[-1] < 1.01 * found[0], found
