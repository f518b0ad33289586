"""The readers' side of Redis: tape, history, channels, and what the hub and the server say of themselves."""

from collections.abc import Callable, ItemsView, Iterable, Iterator
from contextlib import suppress
from datetime import date
from typing import Any

import msgspec

from rooney.bus.client import Connection
from rooney.bus.keys import FRONTS, STATUS, TAPE, entry_id, last_prices_key, market_key, time_ns, volumes_key
from rooney.errors import MessageError
from rooney.market.messages import Bar, HubStatus, Minute, decode_bar, decode_minute, decode_status


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


class Reader(Connection):
    """A connection that only reads."""

    def status(self) -> HubStatus | None:
        """The hub's state, None when it does not write one."""
        with self._errors("read hub status"):
            data: bytes | None = self._redis.get(STATUS)  # type: ignore[assignment]
        return decode_status(data) if data is not None else None

    def info(self) -> RedisInfo:
        """How the server does."""
        with self._errors("read its state"):
            facts: dict[str, Any] = self._redis.info()
            length = int(self._redis.xlen(TAPE))
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

    def tape_bounds(self) -> tuple[int, int] | None:
        """ts_close of the oldest and newest minute on the tape, UTC ns; None when it is empty."""
        with self._errors("read the tape's ends"):
            first: list[Any] = self._redis.xrange(TAPE, count=1)  # type: ignore[assignment]
            last: list[Any] = self._redis.xrevrange(TAPE, count=1)  # type: ignore[assignment]
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
        """The newest `count` closed bars, oldest first; undecodable ones are left out."""
        with self._errors("read history"):
            entries: list[Any] = self._redis.xrevrange(market_key(symbol, timeframe), count=count)  # type: ignore[assignment]
        return _bars(reversed(entries))

    def history_since(self, symbol: str, timeframe: str, ts_open: int) -> list[Bar]:
        """Closed bars that opened at `ts_open` or later, oldest first; undecodable ones are left out."""
        with self._errors("read history"):
            key = market_key(symbol, timeframe)
            entries: list[Any] = self._redis.xrange(key, min=entry_id(ts_open))  # type: ignore[assignment]
        return _bars(entries)

    def rolls(self, symbol: str) -> list[bytes]:
        """Encoded rolls of an instrument, oldest first."""
        with self._errors("read rolls"):
            entries: list[Any] = self._redis.xrange(market_key(symbol, "roll"))  # type: ignore[assignment]
        return [fields[b"r"] for _, fields in entries]

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
        return {int(number): int(volume) for number, volume in self._hash("volumes", volumes_key(root, day))}

    def last_prices(self, root: str) -> dict[int, float]:
        """Last price per contract number, in points."""
        return {int(number): float(price) for number, price in self._hash("last prices", last_prices_key(root))}

    def fronts(self) -> dict[str, int]:
        """Contract number in use per root."""
        return {root.decode(): int(number) for root, number in self._hash("fronts", FRONTS)}

    def _hash(self, contents: str, key: str) -> ItemsView[bytes, bytes]:
        with self._errors(f"read {contents}"):
            fields: dict[bytes, bytes] = self._redis.hgetall(key)  # type: ignore[assignment]
        return fields.items()


def _bars(entries: Iterable[Any]) -> list[Bar]:
    bars = []
    for _, fields in entries:
        with suppress(MessageError):
            bars.append(decode_bar(fields.get(b"b", b"")))
    return bars
