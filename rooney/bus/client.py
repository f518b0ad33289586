"""Redis: the tape, the history, the channels. The only importer of redis.

One Lua script does all writes of a minute and does nothing when the tape already holds that minute or a later one, so
publishing again after a lost answer is always safe. Every method raises BusError when Redis does not do its part.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from typing import Any

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.retry import Retry
from redis.sentinel import Sentinel

from rooney.config.schema import DataHub
from rooney.errors import BusError, MessageError
from rooney.market.instruments import Contract
from rooney.market.messages import Bar, HubStatus, Minute, decode_bar, decode_minute, decode_status, encode
from rooney.market.tape import ContractCount, Published
from rooney.secrets import Secret

TAPE = "market:tape"
STATUS = "hub:status"
HISTORY_LENGTH = {"1min": 15_000, "hourly": 6_500, "daily": 1_400}  # ≥ 10 sessions, 1 year, 5 years
TAPE_LENGTH = 15_000
STATUS_TTL_S = 15

# ARGV: id, minute, tape length, whether to use channels; then each list with its length before it. The tape's entry
# comes first: should anything after it fail, the minute is not written, nor its volumes counted, a second time.
_PUBLISH = """
local id = ARGV[1] .. '-0'
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last and tonumber(string.match(last[1], '^%d+')) >= tonumber(ARGV[1]) then return 0 end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], id, 'm', ARGV[2])
local channels = ARGV[4] == '1'
local i = 5
local function take(n)
  i = i + n
  return unpack(ARGV, i - n, i - 1)
end
for _ = 1, take(1) do
  local name, open_ms, bar, length = take(4)
  redis.pcall('XADD', name, 'MAXLEN', '~', length, open_ms .. '-0', 'b', bar)
  redis.call('SET', name .. ':latest', bar)
  if channels then redis.call('PUBLISH', name, bar) end
end
for _ = 1, take(1) do
  local name, roll = take(2)
  redis.pcall('XADD', name, id, 'r', roll)
  if channels then redis.call('PUBLISH', name, roll) end
end
for _ = 1, take(1) do
  local root, day, contract, volume, price = take(5)
  redis.call('HINCRBY', 'hub:volume:' .. root .. ':' .. day, contract, volume)
  redis.call('EXPIRE', 'hub:volume:' .. root .. ':' .. day, 1209600)
  redis.call('HSET', 'hub:last:' .. root, contract, price)
end
for _ = 1, take(1) do
  redis.call('HSET', 'hub:front', take(2))
end
return 1
"""


def market_key(symbol: str, timeframe: str) -> str:
    """Stream and channel of one instrument's bars."""
    return f"market:{symbol}:{timeframe}"


def uses_hiredis() -> bool:
    """Whether replies are parsed by hiredis; redis-py falls back to Python silently."""
    return DefaultParser.__name__ == "_HiredisParser"


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to reach a Redis on another host; by default nothing.

    username, password: of Redis' own users (ACL)
    tls, ca:   encrypted, and the file of certificates that the server's must be signed by; None = the system's
    sentinels: who is asked, at each connection, which host is the primary of `service`; without a user
    """

    username: str | None = None
    password: Secret | None = None
    tls: bool = False
    ca: str | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""

    def options(self) -> dict[str, Any]:
        """For redis-py."""
        found: dict[str, Any] = {}
        if self.username is not None:
            found["username"] = self.username
        if self.password is not None:
            found["password"] = self.password.reveal()
        if self.tls:
            found |= {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": self.ca}
        return found


_PLAIN = Access()


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


class Bus:
    """A connection to Redis, by unix socket when `socket` is given, else to `host` or what sentinels name.

    timeout_s: limit of every call; blocking reads may take that much longer than asked for
    """

    @classmethod
    def to(cls, block: DataHub, timeout_s: float = 3.0) -> "Bus":
        """The Redis of a configuration."""
        access = Access(
            username=block.redis_username,
            password=block.redis_password,
            tls=block.redis_tls,
            ca=block.redis_ca,
            sentinels=tuple((host, int(port)) for host, port in (one.rsplit(":", 1) for one in block.redis_sentinels)),
            service=block.redis_service or "",
        )
        return cls(block.redis_host, block.redis_port, block.redis_socket, timeout_s, access)

    def __init__(
        self,
        host: str = "localhost",
        port: int = 6379,
        socket: str | None = None,
        timeout_s: float = 3.0,
        access: Access = _PLAIN,
    ) -> None:
        if not uses_hiredis():
            raise BusError("redis-py uses its Python parser: install hiredis into this environment")
        self.where = f"unix:{socket}" if socket else f"{host}:{port}"
        options: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        options |= access.options()
        self._sentinel: Sentinel | None = None
        if socket:
            options["unix_socket_path"] = socket
        elif access.sentinels:
            self.where = f"the primary of {access.service}"
            asked = {key: value for key, value in options.items() if key not in ("username", "password")}
            self._sentinel = Sentinel(list(access.sentinels), sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
        else:
            options |= {"host": host, "port": port}
        self._options = options
        self._service = access.service
        self._client: redis.Redis | None = None

    @property
    def _redis(self) -> redis.Redis:
        """The client; making it connects, so it is made by the first call and again after an outage."""
        if self._client is None:
            options = self._options
            if self._sentinel is not None:
                # Asked at each connection, never by a pool: one that went over to a new primary by itself would hide
                # that the new one may lack the last minutes.
                host, port = self._sentinel.discover_master(self._service)  # type: ignore[no-untyped-call]
                options = options | {"host": host, "port": port}
            # A silent retry, or a pool's silent reconnection, would hide an outage that the caller has to see.
            self._client = redis.Redis(**options, retry=Retry(NoBackoff(), 0), single_connection_client=True)
        return self._client

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError) as error:
            # The next call makes a new connection: an answer to this one must never be read as the answer to that one.
            self.close()
            raise BusError(f"Redis at {self.where}: {doing}: {error}") from error

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()
            self._client.connection_pool.disconnect()
            self._client = None

    def ping(self) -> None:
        """Raises BusError unless Redis answers."""
        with self._errors("ping"):
            self._redis.ping()

    # ── the hub's side ──

    def publish(self, published: Published, channels: bool = True) -> bool:
        """Write one minute with everything that belongs to it; False if the tape already had it or a later one."""
        minute = published.minute
        args: list[Any] = [minute.ts_close // 1_000_000, encode(minute), TAPE_LENGTH, int(channels)]
        args.append(len(minute.bars))
        for bar in minute.bars:
            name = market_key(bar.symbol, bar.timeframe)
            args += (name, bar.ts_open // 1_000_000, encode(bar), HISTORY_LENGTH[bar.timeframe])
        args.append(len(minute.rolls))
        for roll in minute.rolls:
            args += (market_key(roll.symbol, "roll"), encode(roll))
        args.append(len(published.counts))
        for count in published.counts:
            contract = count.contract
            args += (contract.root, count.day.isoformat(), contract.number, count.volume, repr(count.last))
        args.append(len(published.fronts))
        for root, contract in published.fronts.items():
            args += (root, contract.number)
        with self._errors("publish"):
            return bool(self._redis.register_script(_PUBLISH)(keys=[TAPE], args=args))

    def add_history(self, bars: list[Bar]) -> int:
        """Append bars to their history streams in order, in one go; returns how many were new."""
        added = 0
        with self._errors("add history"):
            for start in range(0, len(bars), 1_000):
                pipe = self._redis.pipeline(transaction=False)
                for bar in bars[start : start + 1_000]:
                    pipe.xadd(
                        market_key(bar.symbol, bar.timeframe),
                        {"b": encode(bar)},
                        id=f"{bar.ts_open // 1_000_000}-0",
                        maxlen=HISTORY_LENGTH[bar.timeframe],
                        approximate=True,
                    )
                added += sum(not isinstance(reply, Exception) for reply in pipe.execute(raise_on_error=False))
        return added

    def merge(self, name: str, field: str, entries: list[tuple[int, bytes]], length: int | None = None) -> int:
        """Add entries to a stream in their places in time, also before its first; returns how many were new.

        Entries are added at the end only, so the stream is made anew beside the old one and then takes its place, in
        one step and only if nobody added to the old one meanwhile. What the stream has stays as it is.

        entries: (time in UTC ns, value), in any order; length: keep so many of the newest, and all that are there
        """
        with self._errors(f"fill {name}"), self._redis.pipeline() as pipe:
            while True:
                pipe.watch(name)  # type: ignore[no-untyped-call]
                there: dict[bytes, Any] = dict(pipe.xrange(name))  # type: ignore[arg-type]
                merged = {f"{ts // 1_000_000}-0".encode(): {field: value} for ts, value in entries} | there
                newest = sorted(merged, key=_id_ns)[-max(length or len(merged), len(there)) :]
                fresh = len(newest) - len(there.keys() & set(newest))
                if not fresh:
                    pipe.unwatch()
                    return 0
                beside = f"{name}:filling"
                self._redis.delete(beside)
                for start in range(0, len(newest), 1_000):
                    batch = self._redis.pipeline(transaction=False)
                    for entry_id in newest[start : start + 1_000]:
                        batch.xadd(beside, merged[entry_id], id=entry_id)
                    batch.execute()
                pipe.multi()
                pipe.rename(beside, name)
                with suppress(redis.WatchError):
                    pipe.execute()
                    return fresh

    def length(self, name: str) -> int:
        """Entries of a stream."""
        with self._errors(f"measure {name}"):
            return int(self._redis.xlen(name))

    def add_contracts(self, counts: Iterable[ContractCount], fronts: Iterable[Contract]) -> None:
        """What a hub knows of contracts before its first minute: volume and last price of a day, contracts in use."""
        with self._errors("add contracts"):
            pipe = self._redis.pipeline(transaction=True)
            for count in counts:
                root, number = count.contract.root, str(count.contract.number)
                pipe.hincrby(f"hub:volume:{root}:{count.day.isoformat()}", number, count.volume)
                pipe.hset(f"hub:last:{root}", number, repr(count.last))
            for front in fronts:
                pipe.hset("hub:front", front.root, str(front.number))
            pipe.execute()

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
            self._redis.set(STATUS, encode(status), ex=STATUS_TTL_S)

    # ── the readers' side ──

    def status(self) -> HubStatus | None:
        """The hub's state, None when it does not write one."""
        with self._errors("read hub status"):
            data: bytes | None = self._redis.get(STATUS)  # type: ignore[assignment]
        return decode_status(data) if data is not None else None

    def info(self) -> RedisInfo:
        """How the server does."""
        with self._errors("read its state"):
            found: dict[str, Any] = self._redis.info()
            length = int(self._redis.xlen(TAPE))
        return RedisInfo(
            version=str(found.get("redis_version", "")),
            used_bytes=int(found.get("used_memory", 0)),
            limit_bytes=int(found.get("maxmemory", 0)),
            is_evicting=bool(found.get("maxmemory", 0)) and found.get("maxmemory_policy") != "noeviction",
            clients=int(found.get("connected_clients", 0)),
            clients_limit=int(found.get("maxclients", 0)),
            uptime_s=int(found.get("uptime_in_seconds", 0)),
            is_durable=bool(found.get("aof_enabled", 0)),
            is_written=found.get("aof_last_write_status", "ok") == "ok"
            and found.get("rdb_last_bgsave_status", "ok") == "ok",
            tape_length=length,
        )

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
            entries: list[Any] = self._redis.xrange(key, min=f"{ts_open // 1_000_000}-0")  # type: ignore[assignment]
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


def _bars(entries: Iterable[Any]) -> list[Bar]:
    bars = []
    for _, fields in entries:
        with suppress(MessageError):
            bars.append(decode_bar(fields.get(b"b", b"")))
    return bars


def _id_ns(entry_id: bytes) -> int:
    return int(entry_id.split(b"-")[0]) * 1_000_000
