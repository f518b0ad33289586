"""The readers' side of Redis: tape, history, channels, and what the hub and the server say of themselves."""

import math
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, TypeVar

import msgspec
import redis

from rooney.bus.client import Connection
from rooney.bus.keys import (
    FRONTS,
    STATUS,
    TAPE,
    WRITTEN,
    entry_id,
    last_prices_key,
    market_key,
    time_ns,
    volumes_key,
)
from rooney.errors import MessageError
from rooney.market.messages import (
    Bar,
    HubStatus,
    Minute,
    Roll,
    decode_bar,
    decode_minute,
    decode_roll,
    decode_status,
    is_price,
)

K = TypeVar("K")
T = TypeVar("T")


class RedisInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A server's own account of itself.

    limit_bytes, clients_limit: 0 for none; is_evicting: a full one drops keys rather than refuse
    is_durable: the append-only file is on; is_written: its last writes to disk succeeded
    """

    version: str
    used_bytes: int
    limit_bytes: int
    is_evicting: bool
    clients: int
    clients_limit: int
    uptime_s: int
    is_durable: bool
    is_written: bool
    tape_length: int

    @property
    def is_full(self) -> bool:
        """It takes no minute any more."""
        return 0 < self.limit_bytes <= self.used_bytes and not self.is_evicting


class Reader(Connection):
    """A connection that only reads."""

    def status(self) -> HubStatus | None:
        """The hub's state, None when it does not write one. Raises MessageError."""
        with self._reading(STATUS):
            data: bytes | None = self._redis.get(STATUS)  # type: ignore[assignment]
        return decode_status(data) if data is not None else None

    def latest_ns(self) -> int:
        """Newest time that the hub has heard of from the exchange, UTC ns; 0 where it has left no word."""
        found = [0]
        try:
            status = self.status()
            found += [status.ts_last_record] if status is not None else []
        except MessageError as error:
            self._missing(STATUS, error)
        try:
            with self._reading(WRITTEN):
                data: bytes | None = self._redis.get(WRITTEN)  # type: ignore[assignment]
            found += [_number(data, 1 << 43) * 1_000_000] if data is not None else []
        except (MessageError, ValueError) as error:
            self._missing(WRITTEN, error)
        return max(found)

    def info(self) -> RedisInfo:
        """How the server does."""
        with self._errors("read its state"):
            facts: dict[str, Any] = self._redis.info()
            try:
                length = int(self._redis.xlen(TAPE))
            except redis.ResponseError:  # another type
                length = 0
        return RedisInfo(
            version=str(facts.get("redis_version", "")),
            used_bytes=int(facts.get("used_memory", 0)),
            limit_bytes=int(facts.get("maxmemory", 0)),
            is_evicting=bool(facts.get("maxmemory", 0)) and facts.get("maxmemory_policy") != "noeviction",
            clients=int(facts.get("connected_clients", 0)),
            clients_limit=int(facts.get("maxclients", 0)),
            uptime_s=int(facts.get("uptime_in_seconds", 0)),
            is_durable=bool(facts.get("aof_enabled", 0)),
            is_written=facts.get("aof_last_write_status", "ok") == "ok"
            and facts.get("rdb_last_bgsave_status", "ok") == "ok",
            tape_length=length,
        )

    def tape_bounds(self, until_ns: int | None = None) -> tuple[int, int] | None:
        """ts_close of the oldest and newest minute on the tape, UTC ns; None when it is empty.

        until_ns: of those at or before it
        """
        newest = "+" if until_ns is None else entry_id(until_ns)
        with self._errors("read the tape's ends"):
            first: list[Any] = self._redis.xrange(TAPE, max=newest, count=1)  # type: ignore[assignment]
            last: list[Any] = self._redis.xrevrange(TAPE, max=newest, count=1)  # type: ignore[assignment]
        return (time_ns(first[0][0]), time_ns(last[0][0])) if first and last else None

    def read_tape(self, after_ns: int, count: int, block_s: float | None = None) -> list[tuple[int, bytes]]:
        """Up to `count` (ts_close, encoded minute) after a tape position.

        block_s: how long to wait for the first one; below the connection's time limit, or it counts as an outage
        """
        with self._errors("read the tape"):
            block = None if block_s is None else max(1, int(block_s * 1000))
            reply: list[Any] = self._redis.xread(  # type: ignore[assignment]
                {TAPE: entry_id(after_ns)}, count=count, block=block
            )
        entries = reply[0][1] if reply else []
        return [(time_ns(id_), fields.get(b"m", b"")) for id_, fields in entries]

    def tape(self, after_ns: int, until_ns: int | None = None) -> Iterator[tuple[int, Minute]]:
        """Every minute after a position, decoded, in order; undecodable ones are left out."""
        while entries := self.read_tape(after_ns, 500):
            for ts_close, data in entries:
                if until_ns is not None and ts_close > until_ns:
                    return
                try:
                    yield ts_close, decode_minute(data)
                except MessageError:
                    continue
            after_ns = entries[-1][0]

    def history(self, symbol: str, timeframe: str, count: int) -> list[Bar]:
        """The newest `count` closed bars, oldest first; those that cannot be are left out, said once."""
        key = market_key(symbol, timeframe)
        return self._decoded(key, b"b", decode_bar, lambda: self._redis.xrevrange(key, count=count))[::-1]

    def history_since(self, symbol: str, timeframe: str, ts_open: int) -> list[Bar]:
        """Closed bars that opened at `ts_open` or later, oldest first; those that cannot be are left out, said once."""
        key = market_key(symbol, timeframe)
        return self._decoded(key, b"b", decode_bar, lambda: self._redis.xrange(key, min=entry_id(ts_open)))

    def rolls(self, symbol: str) -> list[Roll]:
        """Rolls of an instrument, oldest first; those that cannot be are left out, said once."""
        key = market_key(symbol, "roll")
        return self._decoded(key, b"r", decode_roll, lambda: self._redis.xrange(key))

    def _decoded(self, key: str, field: bytes, decode: Callable[[bytes], T], read: Callable[[], Any]) -> list[T]:
        """Values of a field in the entries of a stream."""
        found: list[T] = []
        try:
            with self._reading(key):
                entries = read()
        except MessageError as error:
            self._missing(key, error)
            return found
        for _, fields in entries:
            try:
                found.append(decode(fields.get(field, b"")))
            except MessageError as error:
                self._missing(key, error)
        return found

    def listen(self, pattern: str, on_bar: Callable[[Bar], bool], idle_s: float = 1.0) -> None:
        """Call `on_bar` for each published bar whose channel matches, until it returns False."""
        with self._errors("listen"), self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call]
            pubsub.psubscribe(pattern)
            while True:
                message = pubsub.get_message(timeout=idle_s)
                if message is None:
                    continue
                try:
                    bar = decode_bar(message["data"])
                except MessageError:
                    continue
                if not on_bar(bar):
                    return

    def length(self, name: str) -> int:
        """Entries of a stream."""
        with self._errors(f"measure {name}"):
            return int(self._redis.xlen(name))

    def volumes(self, root: str, day: date) -> dict[int, int]:
        """Volume per contract number of one trade date."""
        return self._hash(volumes_key(root, day), _contract, lambda data: _number(data, 1 << 53))

    def last_prices(self, root: str) -> dict[int, float]:
        """Last price per contract number, in points."""
        return self._hash(last_prices_key(root), _contract, _price)

    def fronts(self) -> dict[str, int]:
        """Contract number in use per root."""
        return self._hash(FRONTS, bytes.decode, _contract)

    def _hash(self, key: str, name: Callable[[bytes], K], value: Callable[[bytes], T]) -> dict[K, T]:
        """A hash whose garbled fields are left out, said once."""
        found: dict[K, T] = {}
        try:
            with self._reading(key):
                fields: dict[bytes, bytes] = self._redis.hgetall(key)  # type: ignore[assignment]
        except MessageError as error:
            self._missing(key, error)
            return found
        for field, data in fields.items():
            try:
                found[name(field)] = value(data)
            except ValueError:
                self._missing(key, f"{field[:40]!r}: {data[:40]!r}")
        return found


def _number(data: bytes, limit: int) -> int:
    """A count as Redis writes it, from 0 to below `limit`. Raises ValueError."""
    if not data.isdigit() or len(data) > 20 or int(data) >= limit:
        raise ValueError(f"{data[:40]!r} is no number below {limit}")
    return int(data)


def _contract(data: bytes) -> int:
    """A contract's number: year and month. Raises ValueError."""
    number = _number(data, 220_000)
    if number < 197_000 or not 1 <= number % 100 <= 12:
        raise ValueError(f"{number} is no year and month")
    return number


def _price(data: bytes) -> float:
    """A price in points; NaN where it is not known. Raises ValueError."""
    price = float(data)
    if not is_price(price) and not math.isnan(price):
        raise ValueError(f"{price} is no price")
    return price
