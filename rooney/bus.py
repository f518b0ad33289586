"""Redis: the tape, the history, the channels. The only importer of redis.

One Lua script does all writes of a minute and does nothing when the tape already holds that minute or a later one, so
publishing again after a lost answer is always safe. Every method raises BusError when Redis does not do its part.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.retry import Retry

from rooney import codec
from rooney.errors import BusError, MessageError
from rooney.instruments import Contract
from rooney.messages import Bar, HubStatus, Minute
from rooney.minutes import Published

TAPE = "market:tape"
STATUS = "hub:status"
HISTORY_LENGTH = {"1min": 15_000, "hourly": 6_500, "daily": 1_400}  # ≥ 10 sessions, 1 year, 5 years
TAPE_LENGTH = 15_000
STATUS_TTL_S = 15

_PUBLISH = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last and tonumber(string.match(last[1], '^%d+')) >= tonumber(ARGV[1]) then return 0 end
local i = 5
for _ = 1, tonumber(ARGV[4]) do
  local name, open_ms, bar, length = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  i = i + 4
  redis.pcall('XADD', name, 'MAXLEN', '~', length, open_ms .. '-0', 'b', bar)
  redis.call('SET', name .. ':latest', bar)
  redis.call('PUBLISH', name, bar)
end
local rolls = tonumber(ARGV[i]); i = i + 1
for _ = 1, rolls do
  local name, roll = ARGV[i], ARGV[i + 1]
  i = i + 2
  redis.call('XADD', name, ARGV[1] .. '-0', 'r', roll)
  redis.call('PUBLISH', name, roll)
end
local counts = tonumber(ARGV[i]); i = i + 1
for _ = 1, counts do
  local root, day, contract, volume, price = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  i = i + 5
  redis.call('HINCRBY', 'hub:volume:' .. root .. ':' .. day, contract, volume)
  redis.call('EXPIRE', 'hub:volume:' .. root .. ':' .. day, 1209600)
  redis.call('HSET', 'hub:last:' .. root, contract, price)
end
local fronts = tonumber(ARGV[i]); i = i + 1
for _ = 1, fronts do
  redis.call('HSET', 'hub:front', ARGV[i], ARGV[i + 1])
  i = i + 2
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], ARGV[1] .. '-0', 'm', ARGV[2])
return 1
"""


def market_key(symbol: str, timeframe: str) -> str:
    """Stream and channel of one instrument's bars."""
    return f"market:{symbol}:{timeframe}"


def uses_hiredis() -> bool:
    """Whether replies are parsed by hiredis; redis-py falls back to Python silently."""
    return DefaultParser.__name__ == "_HiredisParser"


class Bus:
    """A connection to Redis, by unix socket when `socket` is given.

    timeout_s: limit of every call; blocking reads may take that much longer than asked for
    """

    def __init__(
        self, host: str = "localhost", port: int = 6379, socket: str | None = None, timeout_s: float = 3.0
    ) -> None:
        if not uses_hiredis():
            raise BusError("redis-py uses its Python parser: install hiredis into this environment")
        self.where = f"unix:{socket}" if socket else f"{host}:{port}"
        self._timeout_s = timeout_s
        options: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        if socket:
            options["unix_socket_path"] = socket
        else:
            options |= {"host": host, "port": port}
        # A silent retry would hide an outage that the caller has to see; every write here is safe to repeat.
        self._redis = redis.Redis(**options, retry=Retry(NoBackoff(), 0), single_connection_client=True)
        self._publish = self._redis.register_script(_PUBLISH)

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError) as error:
            # The next call makes a new connection: an answer to this one must never be read as the answer to that one.
            if self._redis.connection is not None:
                self._redis.connection.disconnect()  # type: ignore[no-untyped-call]
            raise BusError(f"Redis at {self.where}: {doing}: {error}") from error

    def close(self) -> None:
        """Hang up."""
        self._redis.close()

    def ping(self) -> None:
        """Raises BusError unless Redis answers."""
        with self._errors("ping"):
            self._redis.ping()

    # ── the hub's side ──

    def publish(self, published: Published, channels: bool = True) -> bool:
        """Write one minute with everything that belongs to it; False if the tape already had it or a later one."""
        minute = published.minute
        args: list[Any] = [minute.ts_close // 1_000_000, codec.encode(minute), TAPE_LENGTH, len(minute.bars)]
        for bar in minute.bars:
            name = market_key(bar.symbol, bar.timeframe)
            args += (name, bar.ts_open // 1_000_000, codec.encode(bar), HISTORY_LENGTH[bar.timeframe])
        args.append(len(minute.rolls))
        for roll in minute.rolls:
            args += (market_key(roll.symbol, "roll"), codec.encode(roll))
        args.append(len(published.counts))
        for count in published.counts:
            contract = count.contract
            args += (contract.root, count.day.isoformat(), contract.number, count.volume, repr(count.last))
        args.append(len(published.fronts))
        for root, contract in published.fronts.items():
            args += (root, contract.number)
        with self._errors("publish"):
            return bool(self._publish(keys=[TAPE], args=args))

    def add_history(self, bars: list[Bar]) -> int:
        """Append bars to their history streams in order, in one go; returns how many were new."""
        added = 0
        with self._errors("add history"):
            for start in range(0, len(bars), 1_000):
                pipe = self._redis.pipeline(transaction=False)
                for bar in bars[start : start + 1_000]:
                    pipe.xadd(
                        market_key(bar.symbol, bar.timeframe),
                        {"b": codec.encode(bar)},
                        id=f"{bar.ts_open // 1_000_000}-0",
                        maxlen=HISTORY_LENGTH[bar.timeframe],
                        approximate=True,
                    )
                added += sum(not isinstance(reply, Exception) for reply in pipe.execute(raise_on_error=False))
        return added

    def volumes(self, root: str, day: date) -> dict[int, int]:
        """Volume per contract number of one trade date."""
        with self._errors("read volumes"):
            found: dict[bytes, bytes] = self._redis.hgetall(f"hub:volume:{root}:{day.isoformat()}")  # type: ignore[assignment]
        return {int(number): int(volume) for number, volume in found.items()}

    def last_prices(self, root: str) -> dict[int, float]:
        """Last price per contract number, in points."""
        with self._errors("read last prices"):
            found: dict[bytes, bytes] = self._redis.hgetall(f"hub:last:{root}")  # type: ignore[assignment]
        return {int(number): float(price) for number, price in found.items()}

    def fronts(self) -> dict[str, int]:
        """Contract number in use per root."""
        with self._errors("read fronts"):
            found: dict[bytes, bytes] = self._redis.hgetall("hub:front")  # type: ignore[assignment]
        return {root.decode(): int(number) for root, number in found.items()}

    def set_status(self, status: HubStatus) -> None:
        """Publish the hub's state; it expires when the hub no longer says so."""
        with self._errors("write hub status"):
            self._redis.set(STATUS, codec.encode(status), ex=STATUS_TTL_S)

    # ── the readers' side ──

    def status(self) -> HubStatus | None:
        """The hub's state, None when it does not write one."""
        with self._errors("read hub status"):
            data: bytes | None = self._redis.get(STATUS)  # type: ignore[assignment]
        return codec.decode_status(data) if data is not None else None

    def tape_bounds(self) -> tuple[int, int] | None:
        """ts_close of the oldest and newest minute on the tape, UTC ns; None when it is empty."""
        with self._errors("read the tape's ends"):
            first: list[Any] = self._redis.xrange(TAPE, count=1)  # type: ignore[assignment]
            last: list[Any] = self._redis.xrevrange(TAPE, count=1)  # type: ignore[assignment]
        return (_id_ns(first[0][0]), _id_ns(last[0][0])) if first and last else None

    def read_tape(self, after_ns: int, count: int, block_s: float | None = None) -> list[tuple[int, bytes]]:
        """Up to `count` (ts_close, encoded minute) after a tape position.

        block_s: how long to wait for the first one; below the connection's time limit, or it counts as an outage
        """
        with self._errors("read the tape"):
            block = None if block_s is None else max(1, int(block_s * 1000))
            reply: list[Any] = self._redis.xread(  # type: ignore[assignment]
                {TAPE: f"{after_ns // 1_000_000}-0"}, count=count, block=block
            )
        entries = reply[0][1] if reply else []
        return [(_id_ns(entry_id), fields.get(b"m", b"")) for entry_id, fields in entries]

    def tape(self, after_ns: int, until_ns: int | None = None) -> Iterator[tuple[int, Minute]]:
        """Every minute after a position, decoded, in order; undecodable ones are left out."""
        while entries := self.read_tape(after_ns, 500):
            for ts_close, data in entries:
                if until_ns is not None and ts_close > until_ns:
                    return
                try:
                    yield ts_close, codec.decode_minute(data)
                except MessageError:
                    continue
            after_ns = entries[-1][0]

    def history(self, symbol: str, timeframe: str, count: int) -> list[Bar]:
        """The newest `count` closed bars, oldest first."""
        with self._errors("read history"):
            entries: list[Any] = self._redis.xrevrange(market_key(symbol, timeframe), count=count)  # type: ignore[assignment]
        return [codec.decode_bar(fields[b"b"]) for _, fields in reversed(entries)]

    def history_since(self, symbol: str, timeframe: str, ts_open: int) -> list[Bar]:
        """Closed bars that opened at `ts_open` or later, oldest first."""
        with self._errors("read history"):
            key = market_key(symbol, timeframe)
            entries: list[Any] = self._redis.xrange(key, min=f"{ts_open // 1_000_000}-0")  # type: ignore[assignment]
        return [codec.decode_bar(fields[b"b"]) for _, fields in entries]

    def rolls(self, symbol: str) -> list[bytes]:
        """Encoded rolls of an instrument, oldest first."""
        with self._errors("read rolls"):
            entries: list[Any] = self._redis.xrange(market_key(symbol, "roll"))  # type: ignore[assignment]
        return [fields[b"r"] for _, fields in entries]

    def listen(self, pattern: str, on_bar: Callable[[Bar], bool], idle_s: float = 1.0) -> None:
        """Call `on_bar` for each published bar whose channel matches, until it returns False."""
        with self._errors("listen"):
            pubsub: Any = self._redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
            pubsub.psubscribe(pattern)
            while True:
                message = pubsub.get_message(timeout=idle_s)
                if message is not None and not on_bar(codec.decode_bar(message["data"])):
                    return


def _id_ns(entry_id: bytes) -> int:
    return int(entry_id.split(b"-")[0]) * 1_000_000
