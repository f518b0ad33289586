"""The hub's side of Redis: the tape, the history and the channels written.

One Lua script does all writes of a minute, and nothing when the tape does not end where the hub left it: publishing
again after a lost answer is always safe, and a tape that somebody else changed is not written into unseen.
"""

import logging
from collections.abc import Callable, Iterable
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
    WRITTEN,
    entry_id,
    last_prices_key,
    market_key,
    time_ns,
    volumes_key,
)
from rooney.bus.reader import Reader
from rooney.errors import TapeError
from rooney.market.instruments import Contract
from rooney.market.messages import Bar, HubStatus, encode
from rooney.market.tape import ContractCount, Published

logger = logging.getLogger(__name__)

# `cut` takes out what a stream has after an id and lets it go on from `to`, else from the newest entry left. The
# stream is written anew: an XSETID that goes back is refused by those that remember the greatest id deleted (Valkey 9).
_CUT = """
local function generated(name)
  local info = redis.pcall('XINFO', 'STREAM', name)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
  return '0-0'
end
local function cut(name, id, to)
  local entries = redis.call('XRANGE', name, '-', id)
  redis.call('DEL', name)
  for _, entry in ipairs(entries) do redis.call('XADD', name, entry[1], unpack(entry[2])) end
  if to and generated(name) ~= to then
    redis.call('XADD', name, to, 'm', '')
    redis.call('XDEL', name, to)
  end
end
local function drop_other_type(name, kind)
  local found = redis.call('TYPE', name).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', name) end
end
"""

# ARGV: id, minute, id to follow or nothing, tape length, whether to use channels; then each list with its length before
# it. The tape's entry comes first: should anything after it fail, the minute is not written, nor its volumes counted, a
# second time. An entry of another stream that is no earlier than this minute cannot be, and would keep out all to come.
_PUBLISH = (
    _CUT
    + """
local id = ARGV[1] .. '-0'
drop_other_type(KEYS[1], 'stream')
if ARGV[3] ~= '' then
  local last = generated(KEYS[1])
  if last ~= ARGV[3] then return last end
else
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  if last and tonumber(string.match(last[1], '^%d+')) >= tonumber(ARGV[1]) then return 0 end
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], id, 'm', ARGV[2])
local channels = ARGV[5] == '1'
local i = 6
local function take(n)
  i = i + n
  return unpack(ARGV, i - n, i - 1)
end
local function append(name, ...)
  drop_other_type(name, 'stream')
  local answer = redis.pcall('XADD', name, ...)
  if type(answer) == 'table' and tonumber(string.match(generated(name), '^%d+')) > tonumber(ARGV[1]) then
    cut(name, id)
    redis.pcall('XADD', name, ...)
  end
end
for _ = 1, take(1) do
  local name, open_ms, bar, length = take(4)
  append(name, 'MAXLEN', '~', length, open_ms .. '-0', 'b', bar)
  redis.call('SET', name .. ':latest', bar)
  if channels then redis.call('PUBLISH', name, bar) end
end
for _ = 1, take(1) do
  local name, roll = take(2)
  append(name, id, 'r', roll)
  if channels then redis.call('PUBLISH', name, roll) end
end
for _ = 1, take(1) do
  local root, day, contract, volume, price = take(5)
  local volumes, prices = 'hub:volume:' .. root .. ':' .. day, 'hub:last:' .. root
  drop_other_type(volumes, 'hash')
  drop_other_type(prices, 'hash')
  local sum = redis.pcall('HINCRBY', volumes, contract, volume)
  if type(sum) == 'table' or sum < tonumber(volume) or sum >= 2^53 then
    redis.call('HSET', volumes, contract, volume)
  end
  redis.call('EXPIRE', volumes, 1209600)
  redis.call('HSET', prices, contract, price)
end
drop_other_type('hub:front', 'hash')
for _ = 1, take(1) do
  redis.call('HSET', 'hub:front', take(2))
end
redis.call('SET', 'hub:written', ARGV[1])
return 1
"""
)

# ARGV: id that the tape must end with, id after which all goes; 1 if done.
_CUT_TAPE = (
    _CUT
    + """
if generated(KEYS[1]) ~= ARGV[1] then return 0 end
cut(KEYS[1], ARGV[2], ARGV[2] ~= '0-0' and ARGV[2] or nil)
return 1
"""
)


class Publisher(Reader):
    """A connection that writes too, and reads where to go on from."""

    def publish(self, published: Published, after_ns: int | None = None, *, channels: bool = True) -> bool:
        """Write one minute with everything that belongs to it; False if the tape already had it or a later one.

        after_ns: what the tape must end with, 0 for nothing; else TapeError, and nothing is written. None: anything
        """
        minute = published.minute
        after = "" if after_ns is None else entry_id(after_ns)
        args: list[Any] = [minute.ts_close // 1_000_000, encode(minute), after, TAPE_LENGTH, int(channels)]
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
            answer: Any = self._redis.register_script(_PUBLISH)(keys=[TAPE], args=args)
        if isinstance(answer, bytes):
            raise TapeError(f"Redis at {self.where}: {TAPE} ends at {answer.decode()}, the hub left it at {after}")
        return bool(answer)

    def tape_end(self) -> int:
        """Newest id that the tape has ever had, UTC ns, whether its entry is there or not; 0 without a tape."""
        return time_ns(self._generated())

    def _generated(self) -> bytes:
        with self._errors("read the tape's end"):
            try:
                info: Any = self._redis.xinfo_stream(TAPE)
            except redis.ResponseError as error:
                if "no such key" not in str(error) and not str(error).startswith("WRONGTYPE"):
                    raise
                return b"0-0"
        return bytes(info["last-generated-id"])

    def mend_tape(self, is_sound: Callable[[int, bytes | None], bool]) -> int:
        """Take out what the tape ends with and cannot be; returns where it ends then, UTC ns, 0 for nowhere.

        An empty tape that was trimmed ends where it did.

        is_sound: of an entry's time and encoded minute; None for one that was trimmed
        """
        generated = self._generated()
        generated_ns = time_ns(generated)
        if not generated_ns:
            return 0
        with self._errors("read the tape's end"):
            entries: list[Any] = self._redis.xrevrange(TAPE, count=1_000)  # type: ignore[assignment]
            for id_, fields in entries:
                end_ns = time_ns(id_)
                if is_sound(end_ns, fields.get(b"m", b"")):
                    break
            else:
                end_ns = 0 if entries or not is_sound(generated_ns, None) else generated_ns
            if end_ns == generated_ns:
                return end_ns
            end = entry_id(end_ns)
            done = self._redis.register_script(_CUT_TAPE)(keys=[TAPE], args=[generated, end])
        if not done:
            raise TapeError(f"Redis at {self.where}: {TAPE} no longer ends at {generated.decode()}")
        what = f"what {TAPE} had after {end}, up to {generated.decode()}, cannot be"
        logger.error("Redis at %s: %s: removed", self.where, what)
        return end_ns

    def mark_written(self, end_ns: int) -> None:
        """Say again how far the tape is written: by which it also shows whether Redis takes anything."""
        with self._errors("write"):
            self._redis.set(WRITTEN, end_ns // 1_000_000)

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
        """Write knowledge of before a hub's first minute: volume and last price of a day, contracts in use."""
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
