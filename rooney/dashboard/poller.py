"""The reader of ledgers and Redis for all clients: it reads while somebody looks, and says when something changed."""

import asyncio
from typing import Any

from rooney.monitor.conditions import conditions
from rooney.monitor.market import freshness
from rooney.monitor.system import Looker, System

TURN_S = 0.25  # a bar is seen within this
FRESH_S = 0.2  # what is younger answers a request without another look
REFRESH_S = 5.0  # clocks, countdowns and CPU are brought up to date that often


class Watcher:
    """All of it on one event loop; looking itself happens on a thread, so that a slow disk or Redis stops no answer.

    version: goes up whenever there is something new to show
    """

    def __init__(self, looker: Looker) -> None:
        self.looker = looker
        self.version = 0
        self.clients = 0
        self.is_closed = False
        self._system: System | None = None
        self._looked_s = -1e9
        self._seen: Any = None
        self._refreshed_s = 0.0
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """End every stream."""
        self.is_closed = True
        self._changed.set()

    async def system(self) -> System:
        """The system now, read at most `FRESH_S` ago."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            if self._system is None or loop.time() - self._looked_s > FRESH_S:
                self._system = await asyncio.to_thread(self.looker.look)
                self._looked_s = loop.time()
                self._compare(self._system, self._looked_s)
            return self._system

    async def changed(self, version: int, timeout_s: float) -> bool:
        """Wait until there is something newer than `version`; False when there was not in time."""
        if self.version == version and not self.is_closed:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                return False
        return self.version != version

    async def run(self) -> None:
        """Look for as long as there are clients; until cancelled."""
        while True:
            if self.clients:
                await self.system()
            await asyncio.sleep(TURN_S)

    def _compare(self, system: System, now_s: float) -> None:
        seen = _significant(system)
        if seen != self._seen or now_s - self._refreshed_s >= REFRESH_S:
            self._seen, self._refreshed_s = seen, now_s
            self.version += 1
            self._changed.set()
            self._changed = asyncio.Event()


def _significant(system: System) -> Any:
    """Values whose change is worth drawing at once: not the time, and not what follows from it."""
    hub = system.market.hub
    return (
        system.market.version,
        system.market.away,
        hub and (hub.state, hub.sessions, hub.pending_minutes, hub.fronts, hub.instruments, hub.detail),
        [freshness(system.market, symbol, system.now_ns)[0] for symbol in system.symbols],
        [
            (one.name, id(one.snapshot), str(one.unreadable), one.switches, one.is_running, one.waiting)
            for one in system.strategies
        ],
        [(one.about, one.severity) for one in conditions(system)],
        [(one.name, one.kind, one.ts_ns) for one in system.verdicts],
    )
