"""A dead feed never looks like a quiet market: from the gateway's socket to what a worker lets out."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rooney.market.messages import NO_ENTRY, HubStatus, InstrumentState, Minute
from rooney.market.sessions import MINUTE_NS
from rooney.orders.intents import Role
from rooney.sim.databento.sources import Recorded
from tests.support import gateway_faults as faults
from tests.support.faulty_gateway import FaultyGateway as Gateway
from tests.support.gateways import running
from tests.support.hub import hub_thread, parents
from tests.support.ledgers import read_only
from tests.support.minutes import BUY, LEAVE, QUIET, bar
from tests.support.private_redis import PrivateRedis
from tests.support.rigs import Rig
from tests.support.times import chicago
from tests.support.two_instruments import END, SECOND, SPEED, START, market
from tests.support.waiting import until
from tests.support.workers import Zygote

STRIKE = 20  # the minute in whose midst the feed dies
OUTAGE_S = 0.6  # six minutes of this market
LOST = (21, 22, 23)  # within it for certain, however busy the machine
DEAD = f"feed: {NO_ENTRY[InstrumentState.DEAD]}"


class Outcome:
    """What came of a run: the tape, and the life of each intent as (minute, role, last state, detail)."""

    def __init__(self, tape: list[Minute], ledger: Path) -> None:
        self.tape = tape
        with read_only(ledger) as db:
            self.intents = db.execute(
                "SELECT (i.ts_mark - ?) / ? - 1, i.role, e.state, e.detail FROM intent i"
                " JOIN event e ON e.seq = (SELECT max(seq) FROM event WHERE intent = i.id) ORDER BY i.ts_mark",
                (START, MINUTE_NS),
            ).fetchall()

    def states(self, symbol: str) -> dict[int, int]:
        return {(one.ts_close - START) // MINUTE_NS - 1: one.states[symbol] for one in self.tape}


def follow(redis: PrivateRedis, zygote: Zygote, tmp_path: Path, source: Recorded, *script: faults.Fault) -> Outcome:
    """Gateway, hub and a worker process that decides on what the hub says."""
    rig = Rig(tmp_path, Path(redis.socket), zygote)
    rig.blocks["a"] |= {"mode": "dry", "broker_account": None}
    with contextlib.closing(rig):
        worker = rig.start()
        rig.wait_ready("a")
        gateway = Gateway(source, speed=SPEED, begin_ns=START, until_ns=END, faults=script)
        options: dict[str, Any] = {"dead_s": OUTAGE_S, "pauses_s": (0.02,)}
        with running(gateway), hub_thread(redis, gateway, parents("ES", "NQ"), START, **options) as hub:
            hub.wait(END)
            tape = [one for _, one in hub.bus.tape(0) if one.ts_close <= END]
        rig.finish(worker, END)
        return Outcome(tape, rig.ledger())


def test_an_entry_on_a_quiet_market_goes_out(redis: PrivateRedis, zygote: Zygote, tmp_path: Path) -> None:
    found = follow(redis, zygote, tmp_path, market({26: BUY, 40: LEAVE}, quiet=range(21, 26)))
    states = found.states("ES")
    assert [states[k] for k in range(19, 28)] == [1, 1, 2, 2, 2, 2, 2, 1, 1]
    assert [(k, role, state) for k, role, state, _ in found.intents] == [
        (26, Role.ENTRY, "acknowledged"),
        (40, Role.EXIT, "acknowledged"),
    ]


@pytest.mark.parametrize(
    "script",
    [
        faults.Unreachable(at_ns=START + STRIKE * MINUTE_NS + 30 * SECOND, seconds=OUTAGE_S),
        faults.Silence(at_ns=START + STRIKE * MINUTE_NS + 30 * SECOND),
    ],
    ids=["connection refused", "half open"],
)
def test_an_entry_on_minutes_of_a_dead_feed_is_decided_and_never_sent_an_exit_is_sent(
    redis: PrivateRedis, zygote: Zygote, tmp_path: Path, script: faults.Fault
) -> None:
    """The minutes are all there, with every bar, and say themselves that they are of the past."""
    found = follow(redis, zygote, tmp_path, market({5: BUY, 21: LEAVE, 22: BUY, 50: BUY}), script)
    assert [one.ts_close for one in found.tape] == list(range(START + MINUTE_NS, END + 1, MINUTE_NS))
    states = found.states("ES")
    assert {states[k] for k in LOST} == {InstrumentState.DEAD} == {found.states("NQ")[k] for k in LOST}
    assert {states[k] for k in (5, 15, 50)} == {InstrumentState.OPEN}
    assert [(k, role, state) for k, role, state, _ in found.intents] == [
        (5, Role.ENTRY, "acknowledged"),
        (21, Role.EXIT, "acknowledged"),
        (22, Role.ENTRY, "dropped"),
        (50, Role.ENTRY, "acknowledged"),
    ]
    assert found.intents[2][3] == DEAD


def test_a_feed_that_is_dead_shows_per_instrument_and_a_market_that_is_closed_is_not_dead(redis: PrivateRedis) -> None:
    """Corn's night has ended, the others go on: when the feed dies, they are dead and corn is closed."""
    begin = chicago("2026-03-11 07:50")
    source = market({})
    source.trades["ts_recv"] -= np.uint64(START - begin)
    source.trades["ts_event"] -= np.uint64(START - begin)
    strike = faults.Unreachable(at_ns=begin + 5 * MINUTE_NS, seconds=3.0)
    gateway = Gateway(source, speed=60, begin_ns=begin, faults=[strike])
    options: dict[str, Any] = {"dead_s": 0.5, "pauses_s": (0.1,)}
    with running(gateway), hub_thread(redis, gateway, parents("ES", "NQ", "ZC"), begin, **options) as hub:

        def status() -> HubStatus:
            return hub.bus.status() or HubStatus("", 0, 0, 0, 0, 0, {}, {})

        alive = {"ES": "open", "NQ": "open", "ZC": "closed"}
        until(lambda: status().instruments == alive and status().state == "live", 20, status)
        until(lambda: status().instruments == {"ES": "dead", "NQ": "dead", "ZC": "closed"}, 20, status)
        assert status().state == "feed dead"
        until(lambda: status().instruments == alive and status().state == "live", 20, status)


def test_a_worker_that_died_between_deciding_and_dropping_does_not_send_at_its_next_start(
    redis: PrivateRedis, zygote: Zygote, tmp_path: Path
) -> None:
    rig = Rig(tmp_path, Path(redis.socket), zygote)
    rig.blocks["a"] |= {"mode": "dry", "broker_account": None}
    tape = []
    for k, price in enumerate((QUIET, BUY, QUIET, QUIET)):
        end = START + (k + 1) * MINUTE_NS
        state = InstrumentState.DEAD if k == 1 else InstrumentState.OPEN
        tape.append(Minute(end, [], [bar("ES", end, price)], {"ES": int(state)}, 0))
    with contextlib.closing(rig):
        worker = rig.begin(tape[:2], fault="after_mark_commit:3")  # the first is that of the beginning
        assert worker.wait() == -9
        assert rig.position() == tape[1].ts_close
        rig.publish(tape[2:])
        rig.resume(tape[-1].ts_close)
        with read_only(rig.ledger()) as db:
            lives = db.execute("SELECT state, detail FROM event ORDER BY seq").fetchall()
    assert [state for state, _ in lives] == ["planned", "dropped"]
    assert lives[1][1] == DEAD
