"""From a source to one session's socket: trades and heartbeats, at the pace of the market's clock."""

import asyncio
import time

import numpy as np
import numpy.typing as npt

from rooney.market.sessions import MINUTE_NS, SECOND_NS
from rooney.sim.databento import wire
from rooney.sim.databento.symbology import Subscriptions
from rooney.sim.databento.venue import MinuteSent, SessionStats, Venue
from rooney.sim.databento.wire import Trades

CLOSE_AFTER_NS = 50_000_000  # a record this long after a minute's end may close it
_SLICE_RECORDS = 8_192  # about 400 kB: what is written before waiting for the client to read
_FOREVER_NS = 2**63 - 1


def next_heartbeat(sent_ns: int, interval_ns: int) -> int:
    """Market time of the heartbeat that follows one sent at `sent_ns` if nothing else is sent.

    It comes after the interval, and a second after each minute's end: only there it may close the minute.
    """
    return min(sent_ns + interval_ns, ((sent_ns - SECOND_NS) // MINUTE_NS + 1) * MINUTE_NS + SECOND_NS)


class Stream:
    """Everything a session is sent after its first mappings.

    from_ns: market time from which trades are sent; before the clock's present they are a replay, without a pace and
             without heartbeats
    replay:  whether the session asked for one, and hears when it is over
    """

    def __init__(
        self,
        venue: Venue,
        writer: asyncio.StreamWriter,
        subscriptions: Subscriptions,
        stats: SessionStats,
        interval_s: float,
        from_ns: int,
        replay: bool,
    ) -> None:
        self._venue = venue
        self._clock = venue.clock
        self._writer = writer
        self._subscriptions = subscriptions
        self._stats = stats
        self._interval_ns = int(interval_s * SECOND_NS)
        # ts_recv is never before ts_event, but recorders' clocks differ: a second more is read, and ts_event decides.
        self._batches = venue.source.batches(max(from_ns - SECOND_NS, 0))
        self._batch = wire.empty_trades(0)
        self._due = self._batch["ts_recv"]  # of `_batch`, the latest so far: when each record can leave
        self._next = 0  # position in `_batch`
        self._replaying = replay
        self._sent_ns = from_ns  # market time of the last record sent
        self._beat_ns = next_heartbeat(from_ns, self._interval_ns)  # when the next heartbeat is due
        self._logged_minute = 0

    async def run(self) -> None:
        """Send the market to its end, then heartbeats until cancelled."""
        while await self._load():
            now_ns = self._clock.now() if self._clock.paced or self._replaying else _FOREVER_NS
            stop = min(int(np.searchsorted(self._due, np.uint64(now_ns), "right")), self._next + _SLICE_RECORDS)
            if stop > self._next:
                trades, horizon_ns = self._batch[self._next : stop], int(self._due[stop - 1])
                self._next = stop
                await self._send(trades, horizon_ns)
                if not self._replaying:
                    self._clock.advance(horizon_ns)
            elif self._replaying:
                self._end_replay()
            else:
                await self._pause(int(self._due[self._next]))
        await self._send_tail()

    async def _load(self) -> bool:
        """Make sure that `_batch` has a record to come; False at the end of the source."""
        while self._next == len(self._batch):
            # A source may take a second to make a session: not in the loop that all sessions share.
            batch = await asyncio.to_thread(next, self._batches, None)
            if batch is None:
                return False
            earlier = self._due[-1:]
            self._batch, self._next = batch, 0
            self._due = np.maximum.accumulate(np.concatenate((earlier, batch["ts_recv"])))[len(earlier) :]
        return True

    async def _pause(self, until_ns: int) -> None:
        """Wait for a market time, or for the heartbeat that is due before it, and send that."""
        wake_ns = min(until_ns, self._beat_ns)
        await self._clock.sleep_until(wake_ns)
        if wake_ns < until_ns and self._clock.now() >= wake_ns:
            await self._send(self._batch[:0], wake_ns)

    async def _send_tail(self) -> None:
        """Heartbeats to the end of the market, then one every interval of wall time that all say the same."""
        clock = self._clock
        if clock.end_ns is None:
            last_ns = int(self._due[-1]) if len(self._due) else clock.now()
            minute_end = (last_ns // MINUTE_NS + 1) * MINUTE_NS
            clock.end_ns = max(minute_end, self._venue.until_ns, clock.now()) + 2 * SECOND_NS
        end_ns = clock.end_ns
        if self._replaying:
            self._end_replay()
        if not clock.paced:
            await self._send(self._batch[:0], end_ns)
        while clock.paced and self._clock.now() < end_ns:
            await self._pause(end_ns)
        clock.advance(end_ns)
        while True:
            self._raw(wire.heartbeat(end_ns + clock.offset_ns))
            self._stats.heartbeats += 1
            await self._writer.drain()
            self._stats.finished = True
            await asyncio.sleep(self._interval_ns / SECOND_NS)

    async def _send(self, trades: Trades, horizon_ns: int) -> None:
        """Send those of `trades` that are subscribed, and what is due up to market time `horizon_ns`."""
        self._write(self._subscriptions.pick(trades), horizon_ns)
        await self._writer.drain()

    def _write(self, trades: Trades, horizon_ns: int) -> None:
        """Write `trades` with heartbeats where they leave gaps, and after them up to market time `horizon_ns`."""
        times = np.maximum(trades["ts_recv"].astype(np.int64), self._sent_ns)
        records = self._on_wire(trades)
        parts: list[bytes] = []
        beats: list[int] = []
        written = 0
        if not self._replaying:
            # A trade that may close a minute makes the heartbeat after that minute's end needless.
            minute_due = ((times - CLOSE_AFTER_NS) // MINUTE_NS + 1) * MINUTE_NS + SECOND_NS
            due = np.append([self._beat_ns], np.minimum(times + self._interval_ns, minute_due))
            ends = np.append(times, horizon_ns + 1)
            for gap in np.flatnonzero(due < ends).tolist():
                parts.append(records[written:gap].tobytes())
                written = gap
                beat_ns, end_ns = int(due[gap]), int(ends[gap])
                while beat_ns < end_ns:
                    parts.append(wire.heartbeat(beat_ns + self._clock.offset_ns))
                    beats.append(beat_ns)
                    beat_ns = next_heartbeat(beat_ns, self._interval_ns)
                due[gap] = beat_ns
            self._beat_ns = int(due[-1])
            self._log_minutes(times, beats)
        parts.append(records[written:].tobytes())
        self._raw(b"".join(parts))
        self._sent_ns = max([self._sent_ns, *times[-1:].tolist(), *beats[-1:]])
        self._stats.heartbeats += len(beats)
        self._count(records)

    def _raw(self, data: bytes) -> None:
        self._writer.write(data)
        self._stats.bytes += len(data)

    def _on_wire(self, trades: Trades) -> Trades:
        offset_ns = np.uint64(self._clock.offset_ns)
        if offset_ns:
            trades = trades.copy()
            trades["ts_event"] += offset_ns
            trades["ts_recv"] += offset_ns
        return trades

    def _count(self, records: Trades) -> None:
        if not len(records):
            return
        stats = self._stats
        stats.trades += len(records)
        stats.spreads += self._subscriptions.count_spreads(records)
        stats.first_ts_recv = stats.first_ts_recv or int(records["ts_recv"][0])
        stats.last_ts_recv = int(records["ts_recv"][-1])

    def _log_minutes(self, times: npt.NDArray[np.int64], beats: list[int]) -> None:
        """Note the first of these records after each minute's end; they are about to be written."""
        minutes = self._venue.minutes
        if minutes is None or not (len(times) or beats):
            return
        heard = np.array(beats, np.int64)
        sent = np.append(times, heard)
        ended = np.append(times - CLOSE_AFTER_NS, heard - SECOND_NS) // MINUTE_NS
        order = np.argsort(sent, kind="stable")
        sent, ended = sent[order], np.maximum.accumulate(ended[order])
        wall_ns, offset_ns = time.time_ns(), self._clock.offset_ns
        for i in np.flatnonzero(np.diff(ended, prepend=self._logged_minute) > 0).tolist():
            end_ns, ts_ns = int(ended[i]) * MINUTE_NS, int(sent[i])
            minutes.append(MinuteSent(self._stats.number, end_ns + offset_ns, ts_ns + offset_ns, wall_ns))
        self._logged_minute = max(self._logged_minute, int(ended[-1]))

    def _end_replay(self) -> None:
        now_ns = self._clock.now()
        self._replaying = False
        self._sent_ns = now_ns
        self._beat_ns = next_heartbeat(now_ns, self._interval_ns)
        self._stats.replays += 1
        text = "Finished trades replay"
        self._raw(wire.system(now_ns + self._clock.offset_ns, "replay_completed", text))
