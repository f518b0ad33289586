"""The stand-in for Databento's gateway, with what goes wrong at it as a script (`tests.support.gateway_faults`)."""

import asyncio
import functools
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np

from rooney.sim.databento import wire
from rooney.sim.databento.gateway import Gateway
from rooney.sim.databento.session import Session
from rooney.sim.databento.sources import Source
from rooney.sim.databento.stream import Stream
from rooney.sim.databento.symbology import Grant
from rooney.sim.databento.venue import SessionStats
from rooney.sim.databento.wire import Trades
from tests.support.gateway_faults import (
    AbsurdPrices,
    ChangeMapping,
    Close,
    Duplicates,
    ErrorThenClose,
    Fault,
    Garbage,
    HangAfterAuth,
    HangBeforeAuth,
    LossyReplay,
    OutOfOrder,
    Raw,
    RefuseAuth,
    RepeatMappings,
    Reset,
    Script,
    Silence,
    TimeJumps,
    UnknownIds,
    Unreachable,
    WrongMapping,
)

_RECENT_TRADES = 64
_FOREVER_S = 1e9


class Hangup(ConnectionError):
    """A fault has ended the session."""


class _Stats(SessionStats):
    """injected: trades that a fault made."""

    injected: int = 0
    faults: int = 0


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class FaultyGateway(Gateway):
    """A gateway at which the faults of a script strike, one after the other."""

    def __init__(self, source: Source, *, faults: Iterable[Fault] = (), **options: Any) -> None:
        super().__init__(source, **options)
        self._script = Script(faults)
        self._reopening: asyncio.Task[None] | None = None

    async def __aexit__(self, *given: object) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
        await super().__aexit__(*given)

    def strike(self, fault: Fault) -> None:
        """Add a fault to the script; may be called from any thread."""
        self._script.add(fault)

    def stats(self) -> dict[str, Any]:
        found = super().stats()
        found["total"] |= {name: sum(one[name] for one in found["sessions"]) for name in ("injected", "faults")}
        return found

    def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Session:
        stats = _Stats(number=len(self.sessions))
        self.sessions.append(stats)
        return _FaultySession(self._script, self._shut, self._venue, self._key, reader, writer, stats)

    def _shut(self, seconds: float) -> None:
        self._close_listener()
        for writer in self._connections.values():
            reset(writer)
        self._reopening = asyncio.create_task(self._reopen(seconds))

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._open()


class _FaultySession(Session):
    def __init__(self, script: Script, shut: Callable[[float], None], *given: Any) -> None:
        super().__init__(*given)
        self._fault = script.for_connection()
        self._stats.faults += self._fault is not None
        every = self._fault.every if isinstance(self._fault, LossyReplay) else 0
        self.stream_of = functools.partial(_FaultyStream, script, shut, every)

    async def _authenticate(self) -> str | None:
        if isinstance(self._fault, HangBeforeAuth):
            await self._reader.read()
            raise Hangup
        refusal = await super()._authenticate()
        return self._fault.error if isinstance(self._fault, RefuseAuth) else refusal

    async def _serve(self, requests: list[dict[str, str]]) -> None:
        if isinstance(self._fault, HangAfterAuth):
            await self._reader.read()
            raise Hangup
        await super()._serve(requests)


class _FaultyStream(Stream):
    """lose_every: leave out one in so many trades of the replay; 0 = none."""

    def __init__(
        self, script: Script, shut: Callable[[float], None], lose_every: int, *given: Any, **more: Any
    ) -> None:
        super().__init__(*given, **more)
        self._script, self._shut, self._lose_every = script, shut, lose_every
        self._held = self._batch  # trades that a fault keeps back
        self._recent = self._batch  # the last trades sent, for faults that change or repeat them

    async def _send(self, trades: Trades, horizon_ns: int) -> None:
        trades = self._subscriptions.pick(trades)
        if self._replaying and self._lose_every:
            trades = np.delete(trades, np.s_[self._lose_every - 1 :: self._lose_every])
        if len(self._held):
            trades = np.concatenate((self._held, trades))
            self._held = trades[:0]
        while strike := self._script.strike(self._stats.trades, trades["ts_recv"], horizon_ns):
            position, fault = strike
            if isinstance(fault, OutOfOrder) and len(trades) < position + fault.count:
                self._write(trades[:position], self._sent_ns)
                self._held = trades[position:]
                return
            self._write(trades[:position], int(trades["ts_recv"][position - 1]) if position else self._sent_ns)
            self._script.done()
            self._stats.faults += 1
            trades = trades[position:]
            if isinstance(fault, OutOfOrder):
                self._write(trades[: fault.count][::-1], self._sent_ns)
                trades = trades[fault.count :]
            await self._strike(fault)
        self._write(trades, horizon_ns)
        await self._writer.drain()

    async def _send_tail(self) -> None:
        if len(self._held):
            self._write(self._held, self._sent_ns)
        await super()._send_tail()

    def _count(self, records: Trades) -> None:
        super()._count(records)
        if self._script:
            self._recent = np.concatenate((self._recent, records[-_RECENT_TRADES:]))[-_RECENT_TRADES:]

    def _changed(self, requested: str, raw: str) -> list[Grant]:
        """Let a symbol that was granted mean the contract `raw` as well; the grants that this makes."""
        stypes = {grant.stype_in for grant in self._subscriptions.granted if grant.requested == requested}
        (instrument,) = (one for one in self._venue.source.instruments if one.raw == raw)
        changed = [Grant(stype_in, requested, instrument) for stype_in in stypes]
        self._subscriptions.add(changed, 0)
        return changed

    async def _strike(self, fault: Fault) -> None:
        """Do what a fault does, apart from OutOfOrder, which is done by then."""
        now_ns = self._sent_ns + self._clock.offset_ns
        match fault:
            case Close():
                await self._hang_up()
            case ErrorThenClose():
                self._raw(wire.error(now_ns, fault.code, fault.text))
                self._stats.errors += 1
                await self._hang_up()
            case Reset():
                reset(self._writer)
                raise Hangup
            case Unreachable():
                self._shut(fault.seconds)
                raise Hangup
            case Silence():
                await self._writer.drain()
                await asyncio.sleep(_FOREVER_S if fault.seconds is None else fault.seconds)
            case Garbage():
                # Zeros are a record of impossible length: undecodable at once, where others wait for more bytes.
                self._raw(bytes(fault.count))
            case Raw():
                self._raw(fault.data)
            case RepeatMappings():
                self._map(self._subscriptions.granted)
            case ChangeMapping():
                self._map(self._changed(fault.requested, fault.raw))
            case WrongMapping():
                for grant in self._subscriptions.granted:
                    if grant.instrument.raw == fault.raw:
                        instrument = msgspec.structs.replace(grant.instrument, raw=fault.called)
                        self._raw(msgspec.structs.replace(grant, instrument=instrument).mapping(now_ns))
            case Duplicates() | UnknownIds() | AbsurdPrices() | TimeJumps():
                trades = fault.injected(self._recent)
                self._raw(trades.tobytes())
                self._stats.injected += len(trades)

    async def _hang_up(self) -> None:
        await self._writer.drain()
        self._writer.close()
        raise Hangup

    def _map(self, grants: list[Grant]) -> None:
        for grant in grants:
            self._raw(grant.mapping(self._sent_ns + self._clock.offset_ns))
        self._stats.mappings += len(grants)
