"""The market's clock: market time as a function of wall time, or of what has been sent.

All times inside the gateway are the source's, UTC ns. Only on the wire `offset_ns` is added, which is zero unless the
market is rebased to the present.
"""

import asyncio
import math
import time

from rooney.sessions import MINUTE_NS

HELD_S = 0.005  # how often a session looks whether a held market goes on


class Clock:
    """Stands still until `start`, while held, and again from `end_ns` on.

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
        self._started_ns: int | None = None  # monotonic
        self._market_ns = 0  # at the start; without a pace, the latest time sent
        self._held_ns: int | None = None  # monotonic

    @property
    def paced(self) -> bool:
        return not math.isinf(self.speed)

    @property
    def started(self) -> bool:
        return self._started_ns is not None

    def start(self, first_ns: int) -> int:
        """Set the clock going, if it is not; market time at this call. `first_ns`: the source's first ts_event."""
        if self._started_ns is not None:
            return self.now()
        begin_ns = first_ns - 1_000_000_000 if self.begin_ns is None else self.begin_ns
        if self._rebase:
            wall_ns = time.time_ns()
            begin_ns += (wall_ns - begin_ns) % MINUTE_NS
            self.offset_ns = wall_ns - begin_ns
        self._market_ns = begin_ns
        self._started_ns = time.monotonic_ns()
        return begin_ns

    def now(self) -> int:
        """Market time."""
        if self._started_ns is None or not self.paced:
            return self._market_ns
        at_ns = time.monotonic_ns() if self._held_ns is None else self._held_ns
        now_ns = self._market_ns + int((at_ns - self._started_ns) * self.speed)
        return now_ns if self.end_ns is None else min(now_ns, self.end_ns)

    def advance(self, to_ns: int) -> None:
        """Tell a clock without a pace what has been sent."""
        if not self.paced:
            self._market_ns = max(self._market_ns, to_ns)

    def hold(self) -> int:
        """Stop the market between two of its records; market time then. Until `go_on`, from any thread."""
        assert self.paced and self._started_ns is not None and self._held_ns is None
        self._held_ns = time.monotonic_ns()
        return self.now()

    def go_on(self) -> None:
        """Go on where `hold` stopped."""
        assert self._started_ns is not None and self._held_ns is not None
        self._started_ns += time.monotonic_ns() - self._held_ns
        self._held_ns = None

    async def sleep_until(self, market_ns: int) -> None:
        """A market that is held meanwhile makes it as much later."""
        while (left_s := (market_ns - self.now()) / self.speed / 1e9) > 0:
            await asyncio.sleep(left_s if self._held_ns is None else HELD_S)
