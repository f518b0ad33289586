"""Redis as somebody else left it: a tape with an impossible end, values that are garbled or of another type."""

from collections.abc import Iterator

import pytest

from rooney.bus.keys import FRONTS, TAPE, entry_id, last_prices_key, market_key, time_ns, volumes_key
from rooney.bus.publisher import Publisher
from rooney.errors import TapeError
from rooney.market.sessions import MINUTE_NS
from tests.support.private_redis import PrivateRedis, private_redis
from tests.support.published import DAY, OPEN, bar, published

FUTURE = "4102444800000-0"


@pytest.fixture
def bus(server: PrivateRedis) -> Iterator[Publisher]:
    server.clear()
    bus = server.bus(timeout_s=1.0)
    yield bus
    bus.close()


def is_sound(ts_close: int, data: bytes | None) -> bool:
    return data != b"x" and ts_close % MINUTE_NS == 0 and ts_close < OPEN + 1_000 * MINUTE_NS


@pytest.mark.parametrize("id_", ["0-1", "5-0", "5-999999", "1773180060000-7", FUTURE, "18446744073709551615-3"])
def test_an_id_is_a_time_and_a_time_an_id(id_: str) -> None:
    ts_ns = time_ns(id_.encode())
    assert time_ns(entry_id(ts_ns).encode()) == ts_ns
    assert (ts_ns % 1_000_000 == 0) is id_.endswith("-0")


def test_a_minute_that_would_not_follow_the_end_the_hub_left_is_an_error_and_nothing_is_written(bus: Publisher) -> None:
    assert bus.publish(published(0), 0)
    bus._redis.xadd(TAPE, {"m": b"x"}, id=FUTURE)
    with pytest.raises(TapeError, match=FUTURE):
        bus.publish(published(1), OPEN + MINUTE_NS)
    assert bus.history("ES", "1min", 10) == [bar(0)]
    assert bus.volumes("ES", DAY) == {202603: 10, 202606: 3}


@pytest.mark.parametrize("ids", [[FUTURE], ["1773200000123-4", FUTURE], ["18446744073709551615-18446744073709551614"]])
def test_an_impossible_tail_is_taken_out_and_the_tape_goes_on_also_after_a_restart(ids: list[str]) -> None:
    with private_redis() as redis:
        bus = redis.bus()
        bus.publish(published(0), 0)
        for id_ in ids:
            bus._redis.xadd(TAPE, {"m": b"x"}, id=id_)
        end_ns = bus.mend_tape(is_sound)
        assert end_ns == bus.tape_end() == OPEN + MINUTE_NS
        bus._redis.save()
        redis.stop()
        redis.start()
        bus = redis.bus()
        assert bus.tape_end() == end_ns
        assert bus.publish(published(1), end_ns)
        assert [ts for ts, _ in bus.read_tape(0, 10)] == [OPEN + MINUTE_NS, OPEN + 2 * MINUTE_NS]
        bus.close()


def test_a_tape_of_impossible_entries_only_is_an_empty_one(bus: Publisher) -> None:
    bus._redis.xadd(TAPE, {"m": b"x"}, id=FUTURE)
    assert bus.mend_tape(is_sound) == bus.tape_end() == 0
    assert bus.publish(published(0), 0)


def test_a_tape_trimmed_to_nothing_is_gone_on_with(bus: Publisher) -> None:
    bus.publish(published(0), 0)
    bus._redis.xtrim(TAPE, maxlen=0)
    assert bus.mend_tape(is_sound) == OPEN + MINUTE_NS
    assert bus.publish(published(1), OPEN + MINUTE_NS)


def test_a_tape_that_lost_its_end_ends_where_it_has_entries(bus: Publisher) -> None:
    for i in range(3):
        bus.publish(published(i))
    bus._redis.xdel(TAPE, entry_id(OPEN + 3 * MINUTE_NS))
    assert bus.mend_tape(is_sound) == bus.tape_end() == OPEN + 2 * MINUTE_NS
    assert bus.publish(published(2), OPEN + 2 * MINUTE_NS)


def test_an_impossible_end_of_a_history_keeps_no_bar_out(bus: Publisher) -> None:
    bus.publish(published(0))
    for timeframe in ("1min", "roll"):
        bus._redis.xadd(market_key("ES", timeframe), {"b": b"x"}, id=FUTURE)
    bus.publish(published(1))
    bus.publish(published(2))
    assert bus.history("ES", "1min", 10) == [bar(0), bar(1), bar(2)]


KEYS = [FRONTS, volumes_key("ES", DAY), last_prices_key("ES")]


@pytest.mark.parametrize("name", [b"ES", b"\xff", b"202613", b"x", b"-5", b"9" * 400])
@pytest.mark.parametrize("value", [b"", b"x", b"\xff", b"-1", b"1e309", b"nan!", b"9" * 400, b"202600"])
def test_a_garbled_field_is_a_missing_one_and_said_once(
    bus: Publisher, name: bytes, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    bus.publish(published(0))
    known = bus.fronts(), bus.volumes("ES", DAY), bus.last_prices("ES")
    for key in KEYS:
        bus._redis.hset(key, name, value)
    for _ in range(3):
        found = bus.fronts(), bus.volumes("ES", DAY), bus.last_prices("ES")
        assert found == (({}, *known[1:]) if name == b"ES" else known)
    assert len(caplog.records) == len(bus.garbled) == 3


@pytest.mark.parametrize("key", [*KEYS, TAPE, "hub:written", "hub:status"])
@pytest.mark.parametrize("other", ["string", "list"])
def test_a_key_of_another_type_is_a_missing_one_and_the_next_minute_heals_it(
    bus: Publisher, key: str, other: str
) -> None:
    bus._redis.set(key, b"\xff") if other == "string" else bus._redis.rpush(key, b"\xff")
    assert (bus.fronts(), bus.volumes("ES", DAY), bus.last_prices("ES")) == ({}, {}, {})
    assert bus.latest_ns() == bus.tape_end() == 0
    assert bus.mend_tape(is_sound) == 0
    assert bus.publish(published(0), 0)
    assert bus.fronts() == {"ES": 202603}
    assert bus.volumes("ES", DAY) == {202603: 10, 202606: 3}
    assert bus.last_prices("ES") == {202603: 6800.1, 202606: 6850.25}
    assert bus.tape_end() == bus.latest_ns() == OPEN + MINUTE_NS


@pytest.mark.parametrize("volume", [b"-5", b"9007199254740991", b"9007199254740993", b"9223372036854775807", b"x"])
def test_a_volume_that_cannot_be_is_healed_by_the_next_minute(bus: Publisher, volume: bytes) -> None:
    bus._redis.hset(volumes_key("ES", DAY), "202603", volume)
    assert bus.publish(published(0), 0)
    assert bus.volumes("ES", DAY) == {202603: 10, 202606: 3}


@pytest.mark.parametrize("timeframe", ["1min", "roll"])
def test_a_history_of_another_type_is_an_empty_one_and_the_next_minute_heals_it(bus: Publisher, timeframe: str) -> None:
    bus._redis.set(market_key("ES", timeframe), b"x")
    assert (bus.rolls("ES") if timeframe == "roll" else bus.history("ES", timeframe, 5)) == []
    bus.publish(published(0))
    assert bus.history("ES", "1min", 5) == [bar(0)]


def test_a_volume_that_is_no_number_counts_anew(bus: Publisher) -> None:
    bus._redis.hset(volumes_key("ES", DAY), "202603", b"many")
    bus.publish(published(0))
    assert bus.volumes("ES", DAY)[202603] == 10
