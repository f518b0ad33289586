"""A hub through whatever may come, in any order: the machine strikes, the tape must still be the market's.

Every example is a market of a few hours, or of a whole day, at a high speed: the real gateway, client, hub and Redis.
"""

import contextlib
import os
import signal
import time
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rooney.bus.publisher import Publisher
from rooney.errors import BusError
from rooney.market import sessions
from rooney.market.messages import BarFlag, Minute
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.sim.characters import FIRST_SESSION
from rooney.sim.databento.sources import Until
from rooney.sim.market import Market
from tests.support import gateway_faults as faults
from tests.support.faulty_gateway import FaultyGateway as Gateway
from tests.support.gateways import running
from tests.support.hub import HubThread, hub_thread, latest_agree, parents, plain
from tests.support.private_redis import PrivateRedis, private_redis
from tests.support.waiting import until

ROOTS = parents("ES", "6N")
OPEN = sessions.session_open_ns("equity", FIRST_SESSION)
MARKET_S = 4.0  # so long every market lasts
HOURS, DAY = 240, 1_380  # minutes
OPTIONS: dict[str, Any] = {"dead_s": 0.4, "pauses_s": (0.02, 0.1)}

FAULTS = st.one_of(
    st.sampled_from(
        [
            faults.Close(),
            faults.Reset(),
            faults.Silence(),
            faults.Garbage(),
            faults.ErrorThenClose(),
            faults.RefuseAuth(error="too many connections"),
            faults.HangAfterAuth(),
            faults.RepeatMappings(),
            faults.WrongMapping(raw="ESH6", called="ESM6"),
            faults.WrongMapping(raw="6NH6", called="6NM6-6NU6"),
            faults.UnknownIds(count=3),
            faults.AbsurdPrices(),
            faults.TimeJumps(),
        ]
    ),
    st.builds(faults.Unreachable, seconds=st.floats(0.02, 0.3)),
    st.builds(faults.LossyReplay, every=st.integers(2, 20)),
)


def market(minutes: int) -> Until:
    """The first minutes of a session."""
    return Until(Market(roots=["ES", "6N"], trades_per_minute=200), OPEN + minutes * MINUTE_NS)


def tape(bus: Publisher, minutes: int) -> list[Minute]:
    return [minute for _, minute in bus.tape(0) if minute.ts_close <= OPEN + minutes * MINUTE_NS]


@cache
def undisturbed(minutes: int) -> dict[int, list[Any]]:
    """Bars per minute of a run in which nothing happens."""
    end_ns = OPEN + minutes * MINUTE_NS
    gateway = Gateway(market(minutes), begin_ns=OPEN, until_ns=end_ns)
    with private_redis() as redis, running(gateway), hub_thread(redis, gateway, ROOTS, OPEN, dead_s=60.0) as hub:
        hub.wait(end_ns, 300)
        found = tape(hub.bus, minutes)
    assert not any(bar.flags for minute in found for bar in minute.bars if bar.ts_open > OPEN)
    return {minute.ts_close: [plain(bar) for bar in minute.bars] for minute in found}


class HubMachine(RuleBasedStateMachine):
    """What happens to a hub between the open and the end of its market."""

    minutes = HOURS

    @initialize()
    def begin(self) -> None:
        self.end_ns = OPEN + self.minutes * MINUTE_NS
        self.expected = undisturbed(self.minutes)
        self.stack = contextlib.ExitStack()
        self.redis: PrivateRedis = self.stack.enter_context(private_redis())
        self.reader = self.redis.bus(timeout_s=1.0)
        # Heartbeats go on: a lone one hours after the last trade is believed only with a second, and 5 s are too long.
        speed, until_ns = self.minutes * 60 / MARKET_S, self.end_ns + 100 * HOUR_NS
        self.gateway = Gateway(market(self.minutes), speed=speed, begin_ns=OPEN, until_ns=until_ns)
        self.stack.enter_context(running(self.gateway))
        self.lossy = False
        self.broken = False
        self.up = True
        self.hub: HubThread | None = None
        self.start_hub()

    def start_hub(self) -> None:
        self.hub = HubThread(self.redis, self.gateway, ROOTS, OPEN, bus=self.redis.bus(timeout_s=0.5), **OPTIONS)

    @rule(fault=FAULTS)
    def strike(self, fault: faults.Fault) -> None:
        self.lossy |= isinstance(fault, faults.LossyReplay)
        if isinstance(fault, faults.Garbage):
            assume(not self.broken)  # a second one in the same minute is a gap
            self.broken = True
        self.gateway.strike(fault)

    @rule(seconds=st.floats(0.05, 0.6))
    def go_on(self, seconds: float) -> None:
        time.sleep(seconds)

    @rule()
    def restart_hub(self) -> None:
        assert self.hub is not None
        self.hub.stop()
        self.start_hub()

    @precondition(lambda self: self.up)
    @rule(kill=st.booleans())
    def stop_redis(self, kill: bool) -> None:
        self.redis.stop(kill=kill)
        self.up = False

    @precondition(lambda self: self.up)
    @rule(seconds=st.floats(0.05, 1.2))
    def hang_redis(self, seconds: float) -> None:
        """As behind a link that is down: nobody is told, calls run into their time limits."""
        pid = self.redis.part.process.pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    @precondition(lambda self: not self.up)
    @rule()
    def start_redis(self) -> None:
        self.redis.start()
        self.up = True

    @invariant()
    def the_tape_is_dense_and_agrees_with_the_histories(self) -> None:
        if not self.up:
            return
        with contextlib.suppress(BusError):
            found = [minute.ts_close for minute in tape(self.reader, self.minutes)]
            assert found == list(range(OPEN + MINUTE_NS, OPEN + MINUTE_NS * (len(found) + 1), MINUTE_NS))

    def teardown(self) -> None:
        if not hasattr(self, "hub") or self.hub is None:
            return
        with self.stack:
            if not self.up:
                self.redis.start()
            until(self._finished, 40, lambda: (self.hub and self.hub.end_ns(), self.gateway.stats()))
            self.hub.stop()
            self._compare(tape(self.hub.bus, self.minutes), self.hub.bus)

    def _finished(self) -> bool:
        assert self.hub is not None
        if self.hub.code is not None:  # Redis lost more than the ring has: a unit would start it again
            self.start_hub()
        return self.hub.end_ns() >= self.end_ns

    def _compare(self, found: list[Minute], bus: Publisher) -> None:
        assert [minute.ts_close for minute in found] == sorted(self.expected)
        for minute in found:
            expected = self.expected[minute.ts_close]
            if [plain(bar) for bar in minute.bars] == expected:
                continue
            # Nothing but a replay that lacks trades may change a bar, and that bar says so.
            assert self.lossy, minute
            flagged = {(bar.symbol, bar.timeframe) for bar in minute.bars if bar.flags & BarFlag.REPAIRED}
            wrong = {(bar.symbol, bar.timeframe) for bar in minute.bars if plain(bar) not in expected}
            assert wrong <= flagged, minute
        for root, _, _ in ROOTS:
            bars = [bar for minute in found for bar in minute.bars if (bar.symbol, bar.timeframe) == (root, "1min")]
            assert [bar for bar in bus.history(root, "1min", 2_000) if bar.ts_close <= self.end_ns] == bars
        latest_agree(bus, ROOTS)


class HubMachineOverADay(HubMachine):
    minutes = DAY


def run(machine: type[HubMachine], examples: int) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=checks,
            database=None,
            report_multiple_bugs=False,
        ),
    )


def test_whatever_happens_in_whatever_order_the_bars_are_the_markets_or_say_that_they_may_not_be() -> None:
    run(HubMachine, 3)


@pytest.mark.slow
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("machine", [HubMachine, HubMachineOverADay], ids=["hours", "a day"])
def test_the_same_for_a_long_time(machine: type[HubMachine]) -> None:
    run(machine, int(os.environ.get("ROONEY_EXAMPLES", "150")))
