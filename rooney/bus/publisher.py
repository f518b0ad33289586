"""The hub's side of Redis: the tape, the history and the channels written.

One Lua script does all writes of a minute and does nothing when the tape already holds that minute or a later one, so
publishing again after a lost answer is always safe.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import redis

from rooney.bus.keys import (
    FRONTS,
    HISTORY_LENGTH,
    STATUS,
    STATUS_TTL_S,
    TAPE,
    TAPE_LENGTH,
    entry_id,
    last_prices_key,
    market_key,
    time_ns,
    volumes_key,
)
from rooney.bus.reader import Reader
from rooney.market.instruments import Contract
from rooney.market.messages import Bar, HubStatus, encode
from rooney.market.tape import ContractCount, Published

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


class Publisher(Reader):
    """A connection that writes too, and reads where to go on from."""

    def publish(self, published: Published, *, channels: bool = True) -> bool:
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
                        id=entry_id(bar.ts_open),
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
                merged = {entry_id(ts).encode(): {field: value} for ts, value in entries} | there
                newest = sorted(merged, key=time_ns)[-max(length or len(merged), len(there)) :]
                fresh = len(newest) - len(there.keys() & set(newest))
                if not fresh:
                    pipe.unwatch()
                    return 0
                beside = f"{name}:filling"
                self._redis.delete(beside)
                for start in range(0, len(newest), 1_000):
                    batch = self._redis.pipeline(transaction=False)
                    for id_ in newest[start : start + 1_000]:
                        batch.xadd(beside, merged[id_], id=id_)
                    batch.execute()
                pipe.multi()
                pipe.rename(beside, name)
                with suppress(redis.WatchError):
                    pipe.execute()
                    return fresh

    def add_contracts(self, counts: Iterable[ContractCount], fronts: Iterable[Contract]) -> None:
        """What a hub knows of contracts before its first minute: volume and last price of a day, contracts in use."""
        with self._errors("add contracts"):
            pipe = self._redis.pipeline(transaction=True)
            for count in counts:
                root, number = count.contract.root, str(count.contract.number)
                pipe.hincrby(volumes_key(root, count.day), number, count.volume)
                pipe.hset(last_prices_key(root), number, repr(count.last))
            for front in fronts:
                pipe.hset(FRONTS, front.root, str(front.number))
            pipe.execute()

    def set_status(self, status: HubStatus) -> None:
        """Publish the hub's state; it expires when the hub no longer says so."""
        with self._errors("write hub status"):
            self._redis.set(STATUS, encode(status), ex=STATUS_TTL_S)
