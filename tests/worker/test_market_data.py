"""What a worker believes of the tape: what cannot be is refused, holds entries and leaves exits free."""

import contextlib
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from rooney.bus.keys import TAPE, entry_id
from rooney.bus.publisher import Publisher
from rooney.clock import Clock
from rooney.market import sessions
from rooney.market.messages import NO_ENTRY, Bar, HubStatus, InstrumentState, Minute, Roll, encode
from rooney.market.sessions import MINUTE_NS
from rooney.market.tape import Published
from rooney.worker.market_data import MarketData
from tests.support.minutes import BUY, LEAVE, QUIET, START, bar, closes, minute
from tests.support.private_redis import private_redis
from tests.support.rigs import Rig, requests
from tests.support.waiting import until

FUTURE = "4102444800000-0"
FIRST = START + MINUTE_NS


def actions(one: Rig) -> list[str]:
    return [request["payload"]["action"] for request in requests(one)]


@pytest.mark.parametrize("data", [b"x", encode(closes(QUIET)[0])], ids=["garbage", "another minute"])
def test_an_entry_from_the_future_moves_no_worker_and_the_minutes_after_its_removal_are_decided(
    rig: Any, data: bytes
) -> None:
    one = rig("a")
    worker = one.begin(closes(QUIET))
    until(lambda: one.position() == FIRST, 10)
    one.bus._redis.xadd(TAPE, {"m": data}, id=FUTURE)
    until(lambda: f"entry {FUTURE} refused" in one.said(), 10)
    assert one.position() == FIRST
    one.bus.mend_tape(lambda ts_close, _: ts_close < time.time_ns())
    one.publish(closes(BUY, QUIET, start=FIRST))
    found = one.finish(worker, START + 3 * MINUTE_NS)
    assert [reason for _, _, reason, _ in found["decision"]] == ["no_signal", "enter_long", "hold"]
    assert one.said().count(f"entry {FUTURE} refused") == 1


def test_a_worker_that_starts_on_a_tape_with_a_future_end_begins_at_its_newest_true_minute(rig: Any) -> None:
    one = rig("a")
    one.publish(closes(QUIET))
    one.bus._redis.xadd(TAPE, {"m": b"x"}, id=FUTURE)
    worker = one.start()
    one.wait_ready("a")
    assert one.position() == FIRST
    one.bus.mend_tape(lambda ts_close, _: ts_close < time.time_ns())
    one.publish(closes(BUY, QUIET, start=FIRST))
    one.finish(worker, START + 3 * MINUTE_NS)
    assert actions(one) == ["buy"]


def test_a_ledger_whose_position_is_in_the_future_is_healed_at_a_start_and_keeps_its_position(rig: Any) -> None:
    one = rig("a")
    one.run(closes(BUY, QUIET))
    future_ns = 4_102_444_800_000_000_000
    with contextlib.closing(sqlite3.connect(one.ledger())) as ledger, ledger:
        for table in ("status", "checkpoint"):
            ledger.execute(f"UPDATE {table} SET ts_mark = ?", (future_ns,))
    one.publish(closes(LEAVE, QUIET, start=START + 2 * MINUTE_NS))
    worker = one.start()
    until(lambda: "has not come yet: going on from the tape's end" in one.said(), 20)
    until(lambda: 0 < one.position() < future_ns, 20)
    one.publish(closes(LEAVE, QUIET, start=START + 4 * MINUTE_NS))
    one.finish(worker, START + 6 * MINUTE_NS)
    assert actions(one) == ["buy", "exit"]
    one.start()  # finds a ledger that is right
    one.wait_ready("a", starts=3)
    assert one.said().count("has not come yet") == 1


def test_a_clock_that_is_behind_makes_no_true_minute_look_false(redis_bus: Publisher) -> None:
    """The hub's word on the exchange's time counts where this machine's clock is the earlier."""
    ahead_ns = time.time_ns() + 3_600_000_000_000
    ahead_ns -= ahead_ns % MINUTE_NS
    while not sessions.window_at("equity", ahead_ns - MINUTE_NS):
        ahead_ns += 60 * MINUTE_NS
    item = minute(ahead_ns)
    redis_bus._redis.xadd(TAPE, {"m": encode(item)}, id=entry_id(ahead_ns))
    assert MarketData(redis_bus, Clock(), ["ES"]).entries(0, 10) == []
    status = HubStatus("live", time.time_ns(), 0, ahead_ns, 1, 0, {}, {})
    redis_bus.set_status(status)
    assert MarketData(redis_bus, Clock(), ["ES"]).entries(0, 10) == [(ahead_ns, encode(item))]
    redis_bus._redis.delete("hub:status", TAPE)
    assert redis_bus.publish(Published(item, [], {}))  # by the script alone it is known that a hub has been there
    assert MarketData(redis_bus, Clock(), ["ES"]).entries(0, 10) == [(ahead_ns, encode(item))]


@pytest.fixture
def redis_bus() -> Any:
    with private_redis() as redis:
        bus = redis.bus()
        yield bus
        bus.close()


def test_an_entry_of_no_session_minute_is_passed_by_and_holds_entries_until_a_minute_comes(rig: Any) -> None:
    one = rig("a")
    worker = one.begin(closes(QUIET))
    for id_ in (f"{FIRST // 1_000_000 + 1_234}-0", f"{FIRST // 1_000_000 + 1_234}-7"):
        one.bus._redis.xadd(TAPE, {"m": b"x"}, id=id_)
        until(lambda id_=id_: f"entry {id_} refused: no session minute" in one.said(), 10)  # type: ignore[misc]
    one.publish(closes(BUY, QUIET, start=FIRST))
    found = one.finish(worker, START + 3 * MINUTE_NS)
    assert [reason for _, _, reason, _ in found["decision"]] == ["no_signal", "enter_long", "hold"]
    assert actions(one) == ["buy"]


@dataclass(frozen=True)
class Wrong:
    """A change that makes a minute of ES one that cannot be."""

    name: str
    change: Callable[[Minute], Minute]


def _bars(name: str, **fields: Any) -> Wrong:
    return Wrong(
        name,
        lambda item: msgspec.structs.replace(
            item, bars=[msgspec.structs.replace(one, **fields) if one.symbol == "ES" else one for one in item.bars]
        ),
    )


def _more(name: str, more: Callable[[Bar], Bar]) -> Wrong:
    return Wrong(name, lambda item: msgspec.structs.replace(item, bars=[*item.bars, more(item.bars[0])]))


def _rolls(name: str, *prices: float, new: str = "ESU6", later_ns: int = 0) -> Wrong:
    def change(item: Minute) -> Minute:
        roll = Roll("ES", "ESM6", new, *prices, item.ts_close + later_ns)
        return msgspec.structs.replace(item, rolls=[roll])

    return Wrong(name, change)


WRONG = [
    _bars("high below low", high=1.0),
    _bars("open outside", open=1e6),
    _bars("close outside", close=1e6),
    _bars("huge", high=1e300),
    _bars("no number", low=float("nan")),
    _bars("infinite", high=float("inf")),
    _bars("too early", ts_open=START - MINUTE_NS, ts_close=START),
    _bars("too late", ts_open=START + 90 * MINUTE_NS, ts_close=START + 91 * MINUTE_NS),
    _bars("too long", ts_open=START - 5 * MINUTE_NS),
    _bars("unknown timeframe", timeframe="5min"),
    _bars("volume", volume=-1),
    _bars("contract of another root", contract="NQM6"),
    _more("twice", lambda one: msgspec.structs.replace(one, open=100.5, low=100.0, high=101.0)),
    _rolls("infinite last price", float("inf"), 100.0),
    _rolls("no contract", 100.0, 101.0, new="ES"),
    _rolls("roll of another minute", 100.0, 101.0, later_ns=MINUTE_NS),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_what_cannot_be_is_refused_and_holds_entries_of_its_instrument_until_it_is_sound_again_never_exits(
    rig: Any, wrong: Wrong
) -> None:
    one = rig("a")
    at = [START + k * MINUTE_NS for k in range(9)]
    bought = minute(at[1], bar("ES", at[1], QUIET), bar("NQ", at[1], BUY))
    mixed = wrong.change(minute(at[2], bar("ES", at[2], BUY), bar("NQ", at[2], LEAVE)))
    one.begin([bought])
    one.publish_raw(at[2], encode(mixed))
    until(lambda: one.position() == at[2], 20)
    until(lambda: len(actions(one)) == 2, 10)
    assert "refused: " in one.said()
    assert actions(one) == ["buy", "exit"]  # NQ; nothing of ES
    if mixed.rolls:
        roll = Roll("ES", "ESM6", "ESU6", 100.0, 101.0, at[3])
        one.publish([minute(at[3], bar("ES", at[3], QUIET, contract="ESU6"), rolls=[roll])])
        one.publish(
            [
                minute(end, bar("ES", end, price, contract="ESU6"))
                for end, price in zip(at[4:6], (BUY, QUIET), strict=True)
            ]
        )
    else:
        one.publish(closes(QUIET, BUY, QUIET, start=at[2]))
    until(lambda: len(actions(one)) == 3, 20)
    assert actions(one)[-1] == "buy"


@pytest.mark.parametrize("state", [InstrumentState.DEAD, InstrumentState.REFUSED, InstrumentState.INCOMPLETE])
def test_a_minute_that_is_not_to_be_trusted_lets_out_no_entry_in_its_instrument_and_every_exit(
    rig: Any, state: InstrumentState
) -> None:
    one = rig("a")
    at = [START + k * MINUTE_NS for k in range(4)]
    one.begin([minute(at[1], bar("ES", at[1], QUIET), bar("NQ", at[1], BUY))])
    doubtful = minute(at[2], bar("ES", at[2], BUY), bar("NQ", at[2], LEAVE))
    one.publish([msgspec.structs.replace(doubtful, states={"ES": int(state), "NQ": int(state)})])
    until(lambda: NO_ENTRY[state] in one.said(), 20)
    until(lambda: len(actions(one)) == 2, 10)
    assert actions(one) == ["buy", "exit"]
    one.publish(closes(BUY, start=at[2]))
    until(lambda: len(actions(one)) == 3, 20)
    assert actions(one)[-1] == "buy"
