"""Redis as it is: the one script, the streams, outages."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import redis as redis_py

from rooney.bus import client as bus_module
from rooney.bus import publisher as publisher_module
from rooney.bus.keys import HISTORY_LENGTH, TAPE_LENGTH, market_key
from rooney.bus.publisher import Publisher
from rooney.errors import BusError
from rooney.market.messages import Bar, HubStatus, Roll, decode_bar
from rooney.market.sessions import MINUTE_NS
from tests.support.private_redis import PrivateRedis, private_redis
from tests.support.published import DAY, OPEN, bar, published
from tests.support.waiting import until


@pytest.fixture
def bus(server: PrivateRedis) -> Iterator[Publisher]:
    server.clear()
    bus = server.bus(timeout_s=1.0)
    yield bus
    bus.close()


def dump(bus: Publisher) -> dict[bytes, object]:
    """Everything in Redis."""
    raw = bus._redis
    found: dict[bytes, object] = {}
    for key in raw.scan_iter():
        kind = raw.type(key)
        read = {b"stream": raw.xrange, b"hash": raw.hgetall, b"string": raw.get}[kind]
        found[key] = read(key)
    return found


def test_the_parser_is_hiredis() -> None:
    assert bus_module.uses_hiredis()


def test_the_python_parser_is_refused(monkeypatch: pytest.MonkeyPatch, server: PrivateRedis) -> None:
    from redis._parsers import _RESP2Parser

    monkeypatch.setattr(bus_module, "DefaultParser", _RESP2Parser)
    with pytest.raises(BusError, match="hiredis"):
        server.bus()


def test_a_minute_published_twice_is_written_once(bus: Publisher) -> None:
    assert bus.publish(published(0))
    before = dump(bus)
    assert not bus.publish(published(0))
    assert dump(bus) == before


def test_an_older_minute_is_never_written(bus: Publisher) -> None:
    bus.publish(published(5))
    before = dump(bus)
    for i in range(5):
        assert not bus.publish(published(i))
    assert dump(bus) == before


def test_nothing_is_sent_on_channels_for_a_minute_that_is_already_there(server: PrivateRedis, bus: Publisher) -> None:
    bus.publish(published(0))
    with redis_py.Redis(unix_socket_path=server.socket).pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.psubscribe("market:*")
        until(lambda: pubsub.subscribed and pubsub.get_message(timeout=0.01) is None, 5)
        bus.publish(published(0))
        bus.publish(published(1))
        messages = []
        until(lambda: messages.append(pubsub.get_message(timeout=0.1)) or any(messages), 5)
        assert decode_bar(next(filter(None, messages))["data"]) == bar(1)


def test_history_latest_channels_volumes_and_fronts_agree_with_the_tape(server: PrivateRedis, bus: Publisher) -> None:
    heard: list[Bar] = []
    other = server.bus()
    listener = threading.Thread(
        target=other.listen, args=("market:*:*", lambda bar: heard.append(bar) or len(heard) < 12)
    )
    listener.start()
    until(lambda: bus._redis.pubsub_numpat() == 1, 5)
    for i in range(10):
        extra = [bar(i, "hourly"), bar(i, "daily")] if i == 9 else []
        bus.publish(published(i, bar(i), *extra))
    listener.join(5)
    minutes = [minute for _, minute in bus.tape(0)]
    on_tape = [found for minute in minutes for found in minute.bars]
    assert [minute.ts_close for minute in minutes] == [OPEN + (i + 1) * MINUTE_NS for i in range(10)]
    assert heard == on_tape
    for timeframe, count in (("1min", 10), ("hourly", 1), ("daily", 1)):
        of_it = [found for found in on_tape if found.timeframe == timeframe]
        assert bus.history("ES", timeframe, 100) == of_it
        assert len(of_it) == count
        latest = bus._redis.get(market_key("ES", timeframe) + ":latest")
        assert decode_bar(latest) == of_it[-1]
    assert bus.history_since("ES", "1min", OPEN + 7 * MINUTE_NS) == [bar(7), bar(8), bar(9)]
    assert bus.volumes("ES", DAY) == {202603: 100, 202606: 30}
    assert bus.last_prices("ES") == {202603: 6800.1, 202606: 6850.25}
    assert bus.fronts() == {"ES": 202603}
    assert bus.tape_bounds() == (minutes[0].ts_close, minutes[-1].ts_close)
    other.close()


def test_a_roll_is_in_its_stream_on_its_channel_and_on_the_tape(server: PrivateRedis, bus: Publisher) -> None:
    roll = Roll("ES", "ESH6", "ESM6", 6800.0, 6850.0, OPEN + MINUTE_NS, "volume")
    with redis_py.Redis(unix_socket_path=server.socket).pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe("market:ES:roll")
        until(lambda: bus._redis.pubsub_numsub("market:ES:roll")[0][1] == 1, 5)
        bus.publish(published(0, rolls=(roll,)))
        messages: list[object] = []
        until(lambda: messages.append(pubsub.get_message(timeout=0.1)) or any(messages), 5)
    assert bus.rolls("ES") == [roll]
    assert [minute.rolls for _, minute in bus.tape(0)] == [[roll]]


def test_without_channels_only_the_streams_are_written(server: PrivateRedis, bus: Publisher) -> None:
    with redis_py.Redis(unix_socket_path=server.socket).pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.psubscribe("*")
        until(lambda: bus._redis.pubsub_numpat() == 1, 5)
        bus.publish(published(0), channels=False)
        assert [pubsub.get_message(timeout=0.1) for _ in range(3)] == [None] * 3
    assert bus.history("ES", "1min", 10) == [bar(0)]


def test_history_that_is_already_there_does_not_stop_a_minute(bus: Publisher) -> None:
    assert bus.add_history([bar(0), bar(1), bar(1)]) == 2
    assert bus.publish(published(0))
    assert bus.history("ES", "1min", 10) == [bar(0), bar(1)]
    assert bus.tape_bounds() == (OPEN + MINUTE_NS, OPEN + MINUTE_NS)


def test_a_roll_stream_that_is_ahead_does_not_stop_a_minute(bus: Publisher) -> None:
    roll = Roll("ES", "ESH6", "ESM6", 1.0, 2.0, OPEN)
    bus.publish(published(5, rolls=(roll,)))
    bus._redis.delete("market:tape")
    assert bus.publish(published(0, rolls=(roll,)))
    assert len(bus.rolls("ES")) == 1


def test_streams_are_trimmed_and_keep_at_least_what_is_promised(
    bus: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "TAPE_LENGTH", 200)
    monkeypatch.setitem(HISTORY_LENGTH, "1min", 200)
    for i in range(700):
        bus.publish(published(i), channels=False)
    for key in ("market:tape", "market:ES:1min"):
        assert 200 <= bus._redis.xlen(key) <= 200 + 100  # a node of a stream holds 100 entries
    assert bus.history("ES", "1min", 1) == [bar(699)]
    bounds = bus.tape_bounds()
    assert bounds is not None
    assert bounds[1] == OPEN + 700 * MINUTE_NS


def test_the_lengths_cover_ten_sessions_a_year_and_five() -> None:
    assert min(TAPE_LENGTH, HISTORY_LENGTH["1min"]) >= 10 * 23 * 60
    assert HISTORY_LENGTH["hourly"] >= 261 * 23
    assert HISTORY_LENGTH["daily"] >= 5 * 261


def test_bytes_that_are_no_bar_are_left_out_of_history_tape_and_channel(server: PrivateRedis, bus: Publisher) -> None:
    bus._redis.xadd("market:ES:1min", {"b": b"\xff"}, id="1-0")
    bus._redis.xadd("market:ES:1min", {"x": b"y"}, id="2-0")
    bus._redis.xadd("market:tape", {"m": b"\xff"}, id="1-0")
    bus.publish(published(0))
    assert bus.history("ES", "1min", 10) == bus.history_since("ES", "1min", 0) == [bar(0)]
    assert len(list(bus.tape(0))) == 1
    heard: list[Bar] = []
    other = server.bus()
    listener = threading.Thread(target=other.listen, args=("market:*", lambda bar: heard.append(bar) is not None))
    listener.start()
    until(lambda: bus._redis.pubsub_numpat() == 1, 5)
    bus._redis.publish("market:ES:1min", b"\xff")
    bus.publish(published(1))
    listener.join(5)
    assert heard == [bar(1)]
    other.close()


def test_a_read_of_the_tape_waits_for_the_next_minute(server: PrivateRedis, bus: Publisher) -> None:
    bus.publish(published(0))
    after = OPEN + MINUTE_NS
    assert bus.read_tape(after, 10, block_s=0.05) == []
    found: list[tuple[float, list[tuple[int, bytes]]]] = []
    other = server.bus()

    def read() -> None:
        found.append((time.monotonic(), other.read_tape(after, 10, block_s=2.0)))
        found.append((time.monotonic(), []))

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: bus._redis.info("clients")["blocked_clients"] == 1, 5)
    sent = time.monotonic()
    bus.publish(published(1))
    reader.join(5)
    assert [ts for ts, _ in found[0][1]] == [after + MINUTE_NS]
    assert found[1][0] - sent < 0.5
    other.close()


def test_the_status_comes_back_and_expires(bus: Publisher) -> None:
    status = HubStatus("live", 1, 2, 3, 4, 5, {"late": 1}, {"ES": "ESZ5"})
    assert bus.status() is None
    bus.set_status(status)
    assert bus.status() == status
    assert 0 < bus._redis.ttl("hub:status") <= 15


# ── outages ──


@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "SIGKILL"])
def test_an_outage_is_a_bus_error_and_the_same_bus_works_afterwards(kill: bool) -> None:
    with private_redis() as redis:
        bus = redis.bus(timeout_s=1.0)
        bus.publish(published(0))
        redis.stop(kill=kill)
        for call in (bus.ping, bus.tape_bounds, lambda: bus.publish(published(1)), lambda: bus.read_tape(0, 1, 0.1)):
            with pytest.raises(BusError, match=r"redis\.sock"):
                call()
        redis.start()
        bus.ping()
        bus.publish(published(2))  # the script is unknown to the new server
        bounds = bus.tape_bounds()
        assert bounds is not None
        assert bounds[1] == OPEN + 3 * MINUTE_NS
        assert kill or bounds[0] == OPEN + MINUTE_NS
        bus.close()


def test_a_restart_between_two_calls_does_not_go_unseen() -> None:
    """A hub that does not see it would not give the new server what the old one lost."""
    with private_redis() as redis:
        bus = redis.bus(timeout_s=1.0)
        bus.publish(published(0))
        redis.stop(kill=True)
        redis.start()
        with pytest.raises(BusError):
            bus.publish(published(1))
        assert bus.publish(published(1))
        bus.close()


def test_the_answer_of_a_timed_out_call_is_never_the_answer_of_the_next() -> None:
    with private_redis() as redis:
        bus = redis.bus(timeout_s=0.3)
        bus.publish(published(0))
        pid = redis.part.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(BusError):
                bus.publish(published(1))
            with pytest.raises(BusError):
                bus.tape_bounds()
            assert time.monotonic() - began < 1.5
        finally:
            os.kill(pid, signal.SIGCONT)
        until(lambda: bus.volumes("ES", DAY) != {}, 5)
        assert bus.fronts() == {"ES": 202603}
        assert bus.status() is None
        bus.publish(published(1))
        bus.publish(published(2))
        assert [minute.ts_close for _, minute in bus.tape(0)] == [OPEN + i * MINUTE_NS for i in (1, 2, 3)]
        assert bus.volumes("ES", DAY) == {202603: 30, 202606: 9}  # whether the timed out call was done or not
        bus.close()


def test_a_full_redis_is_a_bus_error_and_nothing_is_half_written(bus: Publisher) -> None:
    bus.publish(published(0))
    before = dump(bus)
    bus._redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(BusError):
            bus.publish(published(1))
        assert dump(bus) == before
    finally:
        bus._redis.config_set("maxmemory", 0)
    assert bus.publish(published(1))
