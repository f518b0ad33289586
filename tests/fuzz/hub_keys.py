"""Keys of the hub on a real Redis: a value that is garbled, or of another type, is a missing one to every reader."""

import logging
import random
from collections import Counter

from rooney.bus.keys import FRONTS, WRITTEN, last_prices_key, market_key, volumes_key
from rooney.bus.keys import STATUS as STATUS_KEY
from rooney.bus.publisher import Publisher
from rooney.errors import MessageError
from rooney.market.messages import HubStatus, Roll, bar_lack, encode, roll_lack
from rooney.market.sessions import MINUTE_NS
from tests.support.mutations import A_VALUE, damaged
from tests.support.private_redis import private_redis
from tests.support.published import DAY, OPEN, bar, published

STATUS = HubStatus("live", 1, 2, 3, 4, 5, {"late": 1}, {"ES": "ESH6"}, "", {"ES": "open"})
_HASHES = [FRONTS, volumes_key("ES", DAY), last_prices_key("ES")]
_STREAMS = [market_key("ES", name) for name in ("1min", "hourly", "roll")]
_VALID = [b"202603", b"6800.1", b"ES", b"10", b"-37.63", b"nan", encode(STATUS), encode(bar(0))]
_TYPES = ["string", "hash", "list", "stream"]


def run(cases: int, seed: int) -> Counter[str]:
    """Tally by key and verdict; every hundredth minute is published on what is there, and must heal it."""
    tally: Counter[str] = Counter()
    rng = random.Random(seed)
    said = logging.getLogger("rooney.bus")
    level, said.level = said.level, logging.CRITICAL
    try:
        with private_redis() as redis:
            bus = redis.bus()
            for case in range(cases):
                if case % 100 == 0:
                    _begin(bus)
                key = rng.choice([*_HASHES, *_STREAMS, STATUS_KEY, WRITTEN])
                _garble(bus, key, rng)
                try:
                    tally[f"{key}: {_read(bus, key)}"] += 1
                    if case % 100 == 99:
                        _heals(bus)
                except BaseException as error:
                    raise AssertionError(f"{key}, seed {seed}, case {case}: {error!r}") from error
            bus.close()
    finally:
        said.level = level
    return tally


def _begin(bus: Publisher) -> None:
    bus._redis.flushall()
    roll = Roll("ES", "ESH6", "ESM6", 1.0, 2.0, OPEN + MINUTE_NS)
    assert bus.publish(published(0, bar(0), rolls=(roll,)), 0)


def _garble(bus: Publisher, key: str, rng: random.Random) -> None:
    raw, value = bus._redis, damaged(rng, _VALID)
    field = rng.choice([b"ES", b"202603", b"b", b"r", value])
    kind = rng.choice(_TYPES)
    kind = (
        {**dict.fromkeys(_HASHES, "hash"), **dict.fromkeys(_STREAMS, "stream")}.get(key, "string")
        if (rng.random() < 0.8)
        else kind
    )
    if raw.type(key).decode() not in (kind, "none"):
        raw.delete(key)
    if kind == "string":
        raw.set(key, value)
    elif kind == "hash":
        raw.hset(key, field, value)
    elif kind == "list":
        raw.rpush(key, value)
    else:
        raw.xadd(key, {field: value}, id="*")


def _read(bus: Publisher, key: str) -> str:
    bus.garbled.clear()
    for number, month in [
        (n, n % 100) for n in (*bus.fronts().values(), *bus.volumes("ES", DAY), *bus.last_prices("ES"))
    ]:
        assert 197_000 <= number < 220_000
        assert 1 <= month <= 12
    assert all(0 <= volume < 1 << 53 for volume in bus.volumes("ES", DAY).values())
    for timeframe in ("1min", "hourly"):
        assert not any(map(bar_lack, bus.history("ES", timeframe, 500) + bus.history_since("ES", timeframe, 0)))
    assert not any(map(roll_lack, bus.rolls("ES")))
    assert bus.latest_ns() >= 0
    try:
        bus.status()
    except MessageError:
        return "missing"
    return "missing" if bus.garbled[key] else A_VALUE


def _heals(bus: Publisher) -> None:
    """The next minute is taken, whole."""
    assert bus.publish(published(1), OPEN + MINUTE_NS)
    bus.garbled.clear()
    assert bus.volumes("ES", DAY)[202603] > 0
    assert bus.last_prices("ES")[202603] == 6800.1
    assert bus.fronts()["ES"] == 202603
    assert bar(1) in bus.history("ES", "1min", 500)
    assert bus.latest_ns() >= OPEN + 2 * MINUTE_NS
