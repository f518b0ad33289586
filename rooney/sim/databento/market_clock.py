"""The market's clock: market time as a function of wall time, or of what has been sent.

All times inside the gateway are the source's, UTC ns. Only on the wire `offset_ns` is added, which is zero unless the
market is rebased to the present.
"""

import asyncio
import math
import time

from rooney.market.sessions import MINUTE_NS

_HELD_S = 0.005


class Clock:
    """Stands still until `start`, and again from `end_ns` on.

    speed:    market seconds per wall second; math.inf = as fast as the sessions read
    begin_ns: market time at the start; None = a second before the source's first trade
    rebase:   move the market to now by whole minutes, so that minutes stay minutes
    """

    def __init__(self, speed: float, begin_ns: int | None = None, rebase: bool = False) -> None:
        if speed <= 0:
            raise ValueError(f"speed {speed}: must be above 0")
        if rebase and speed != 1:
            raise ValueError(f"speed {speed}: a market rebased to the wall clock runs at speed 1")
        self.speed = speed
        self.begin_ns = begin_ns
        self.offset_ns = 0
        self.end_ns: int | None = None
        self._rebase = rebase
        self._started = False
        self._market_ns = 0  # without a pace: the latest time sent
        # With one: market time, and the monotonic time from which it runs, None while held. One tuple, because the
        # session's thread reads it while another one holds the clock.
        self._pace: tuple[int, int | None] = (0, None)

    @property
    def paced(self) -> bool:
        return not math.isinf(self.speed)

    @property
    def started(self) -> bool:
        return self._started

    def start(self, first_ns: int) -> int:
        """Set the clock going, if it is not; market time at this call. `first_ns`: the source's first ts_event."""
        if self._started:
            return self.now()
        begin_ns = first_ns - 1_000_000_000 if self.begin_ns is None else self.begin_ns
        if self._rebase:
            wall_ns = time.time_ns()
            begin_ns += (wall_ns - begin_ns) % MINUTE_NS
            self.offset_ns = wall_ns - begin_ns
        self._market_ns = begin_ns
        self._pace = (begin_ns, time.monotonic_ns())
        self._started = True
        return begin_ns

    def now(self) -> int:
        """Market time."""
        if not self.paced:
            return self._market_ns
        now_ns, running_ns = self._pace
        if running_ns is not None:
            now_ns += int((time.monotonic_ns() - running_ns) * self.speed)
        return now_ns if self.end_ns is None else min(now_ns, self.end_ns)

    def advance(self, to_ns: int) -> None:
        """Tell a clock without a pace what has been sent."""
        if not self.paced:
            self._market_ns = max(self._market_ns, to_ns)

    def hold(self) -> int:
        """Stop a clock that has a pace, from any thread; the market time at which it stands."""
        self._pace = (self.now(), None)
        return self._pace[0]

    def go(self) -> None:
        """Go on from where it was held, as if no time had passed."""
        self._pace = (self._pace[0], time.monotonic_ns())

    async def sleep_until(self, market_ns: int) -> None:
        """Until then; while the clock is held, only until it is worth another look."""
        least_s = _HELD_S if self._pace[1] is None else 0.0
        await asyncio.sleep(max(least_s, (market_ns - self.now()) / self.speed / 1e9))
