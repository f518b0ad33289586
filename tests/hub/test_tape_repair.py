"""A hub on a Redis that somebody else wrote to, emptied, or that is full."""

import time

import msgspec
import pytest

from rooney.bus.keys import FRONTS, TAPE, entry_id, last_prices_key, volumes_key
from rooney.errors import EXIT_FAILURE, EXIT_OK, BusError
from rooney.market.messages import encode
from rooney.market.sessions import MINUTE_NS
from rooney.market.tape import Published
from rooney.sim.characters import FIRST_SESSION
from tests.support.hub_by_hand import OPEN, ByHand, redis_tape
from tests.support.private_redis import PrivateRedis, private_redis
from tests.support.waiting import until

FUTURE = "4102444800000-0"


@pytest.fixture
def redis(server: PrivateRedis) -> PrivateRedis:
    server.clear()
    return server


def ends(redis: PrivateRedis) -> list[int]:
    """Numbers of the minutes on the tape; none while it cannot be read."""
    try:
        return [(minute.ts_close - OPEN) // MINUTE_NS - 1 for minute in redis_tape(redis)]
    except BusError:
        return []


def begin(redis: PrivateRedis, count: int = 3) -> ByHand:
    hub = ByHand(redis.bus())
    for i in range(count):
        hub.feed.minute(i)
    until(lambda: ends(redis) == list(range(count)), 10)
    return hub


def test_a_running_hub_takes_an_id_from_the_future_out_and_goes_on(
    redis: PrivateRedis, caplog: pytest.LogCaptureFixture
) -> None:
    hub = begin(redis)
    redis.bus()._redis.xadd(TAPE, {"m": b"x"}, id=FUTURE)
    hub.feed.minute(3)
    until(lambda: ends(redis) == [0, 1, 2, 3], 10)
    assert hub.stop() == EXIT_OK
    assert redis.bus().tape_end() == OPEN + 4 * MINUTE_NS
    assert sum(f"up to {FUTURE}, cannot be" in record.getMessage() for record in caplog.records) == 1


def test_a_hub_that_starts_on_an_id_from_the_future_goes_on_from_the_newest_true_minute(redis: PrivateRedis) -> None:
    assert begin(redis).stop() == EXIT_OK
    redis.bus()._redis.xadd(TAPE, {"m": b"x"}, id=FUTURE)
    hub = ByHand(redis.bus())
    hub.feed.minute(3)
    until(lambda: ends(redis) == [0, 1, 2, 3], 10)
    assert hub.stop() == EXIT_OK


def test_a_clock_that_is_behind_makes_a_hub_that_starts_take_no_true_minute_out(
    redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert begin(redis).stop() == EXIT_OK
    monkeypatch.setattr(time, "time_ns", lambda: OPEN - 86_400_000_000_000)
    hub = ByHand(redis.bus())
    hub.feed.minute(3)
    until(lambda: ends(redis) == [0, 1, 2, 3], 10)
    assert hub.stop() == EXIT_OK


def test_a_tape_of_another_type_is_made_anew_from_the_ring(redis: PrivateRedis) -> None:
    hub = begin(redis)
    redis.bus()._redis.set(TAPE, b"x")
    hub.feed.minute(3)
    until(lambda: ends(redis) == [0, 1, 2, 3], 10)  # from its ring: it had begun with an empty tape
    assert hub.stop() == EXIT_OK


def test_a_redis_that_was_emptied_under_a_running_hub_is_filled_from_its_ring_without_waiting_for_a_minute(
    redis: PrivateRedis,
) -> None:
    hub = begin(redis, 10)
    redis.bus()._redis.flushall()
    until(lambda: ends(redis) == list(range(10)), 10)
    assert redis.bus().volumes("ES", FIRST_SESSION) == {202603: 10}
    hub.feed.minute(10)
    until(lambda: ends(redis) == list(range(11)), 10)
    assert hub.stop() == EXIT_OK


def test_a_redis_that_was_emptied_of_more_than_the_ring_holds_ends_the_hub_rather_than_leave_a_hole(
    redis: PrivateRedis,
) -> None:
    assert begin(redis).stop() == EXIT_OK
    hub = ByHand(redis.bus())
    hub.feed.minute(3)
    until(lambda: ends(redis) == [0, 1, 2, 3], 10)
    redis.bus()._redis.flushall()
    hub.thread.join(10)
    assert hub.codes == [EXIT_FAILURE]
    status = redis.bus().status()
    assert status is not None
    assert "before the ring" in status.detail


@pytest.mark.parametrize("is_running", [True, False], ids=["under a running hub", "before a start"])
def test_a_tape_trimmed_to_nothing_is_gone_on_with(redis: PrivateRedis, is_running: bool) -> None:
    hub = begin(redis)
    if not is_running:
        assert hub.stop() == EXIT_OK
    redis.bus()._redis.xtrim(TAPE, maxlen=0)
    if not is_running:
        hub = ByHand(redis.bus())
    hub.feed.minute(3)
    until(lambda: ends(redis) == [3], 10)
    assert hub.stop() == EXIT_OK


@pytest.mark.parametrize("garble", ["fields", "type"])
def test_a_hub_starts_on_garbled_keys_and_says_each_once(
    redis: PrivateRedis, garble: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert begin(redis).stop() == EXIT_OK
    raw = redis.bus()._redis
    keys = [FRONTS, volumes_key("ES", FIRST_SESSION), last_prices_key("ES")]
    for key in keys:
        raw.set(key, b"x") if garble == "type" else raw.hset(key, b"\xff", b"202613")
    hub = ByHand(redis.bus())
    hub.feed.minute(3)
    until(lambda: ends(redis) == [0, 1, 2, 3], 10)
    assert hub.stop() == EXIT_OK
    for key in keys:
        assert sum(f"{key} cannot be read" in record.getMessage() for record in caplog.records) == 1
    assert redis.bus().fronts() == {"ES": 202603}


def test_another_hubs_minutes_are_not_published_twice_and_none_is_lost(redis: PrivateRedis) -> None:
    hub = begin(redis)
    item = hub.hub._ring[-1].minute
    theirs = msgspec.structs.replace(item, ts_close=item.ts_close + MINUTE_NS, bars=[])
    assert redis.bus().publish(Published(theirs, [], {}))
    hub.feed.minute(3)
    hub.feed.minute(4)
    until(lambda: ends(redis) == [0, 1, 2, 3, 4], 10)
    assert redis.bus().read_tape(item.ts_close, 1)[0] == (theirs.ts_close, encode(theirs))
    assert hub.stop() == EXIT_OK


def test_a_full_redis_is_said_once_then_critical_and_never_said_to_be_back_until_it_takes_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rooney.bus.outage.ALERT_S", 1.0)
    with private_redis() as redis:
        hub = begin(redis)
        raw = redis.bus()._redis
        raw.config_set("maxmemory", 1)
        hub.feed.minute(3)
        until(lambda: "Redis has been full for 1 s" in caplog.text, 10)
        until(lambda: hub.hub._outage.seconds > 2, 10)
        said = [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL", "WARNING")]
        assert [record.levelname for record in said] == ["ERROR", "CRITICAL"]
        assert redis.bus().info().is_full
        raw.config_set("maxmemory", 0)
        until(lambda: ends(redis) == [0, 1, 2, 3], 10)
        assert hub.stop() == EXIT_OK
        assert caplog.text.count("Redis is back") == 1
        assert not redis.bus().info().is_full
        assert entry_id(redis.bus().tape_end()) == entry_id(OPEN + 4 * MINUTE_NS)
