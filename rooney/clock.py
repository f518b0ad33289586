"""The one clock of a worker: wall time live, the time of the mark in work on a replay.

Staleness, settling and back-off all read it, so a replayed day behaves as the day did, at any speed.
"""

import math
import time

CLOCK_DRIFT_S = 1.0  # a clock so far behind the exchange's is told to people
CLOCK_BEHIND_S = 2.0  # a bar that closed so far in our future: the age of every bar is wrong, entries are held back


class Clock:
    """Live: nanoseconds of the wall clock.

    patience_s: how long what runs beside the marks may be waited for
    """

    replay = False
    patience_s = 0.0

    def now_ns(self) -> int:
        """UTC ns."""
        return time.time_ns()

    def on_mark(self, ts_close: int) -> None:
        """A mark is being worked on; the wall clock does not care."""


class ReplayClock(Clock):
    """Stands still between marks."""

    replay = True
    patience_s = math.inf  # time does not pass meanwhile

    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        """End of the last mark worked on, UTC ns."""
        return self._now_ns

    def on_mark(self, ts_close: int) -> None:
        """Time is now the end of this minute."""
        self._now_ns = max(self._now_ns, ts_close)
