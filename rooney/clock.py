"""The one clock of a worker: live the wall clock and a steady one, on a replay the time of the mark in work.

Wall time stamps what happens and says how old it is. Settling, pauses and limits count on the steady clock, which
nobody sets and which goes on while the machine sleeps: a wall clock that is put right holds nothing up and skips
nothing.
"""

import logging
import math
import time
from typing import NamedTuple

from rooney import log

CLOCK_DRIFT_S = 1.0  # a clock so far behind the exchange's is told to people
CLOCK_BEHIND_S = 2.0  # a bar that closed so far in our future: the age of every bar is wrong, entries are held back


class Moment(NamedTuple):
    """An instant on both clocks, ns: UTC, and steady (of no meaning but for differences)."""

    wall_ns: int
    steady_ns: int


class HostClock:
    """This machine's clock beside the exchange's; a difference is told when it begins and when it ends.

    behind_s: 0 while they agree
    text:     empty while they agree
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self.behind_s = 0.0
        self.text = ""

    def compare(self, behind_s: float) -> None:
        """Judge what was seen last: what is of the future here has happened at the exchange."""
        was_behind, is_behind = bool(self.text), behind_s > CLOCK_DRIFT_S
        self.behind_s = behind_s if is_behind else 0.0
        self.text = f"this machine's clock is {behind_s:.1f} s behind the exchange's" if is_behind else ""
        if is_behind and not was_behind:
            log.event(self._logger, logging.ERROR, "clock", f"{self.text}: the age of a bar cannot be judged")
        elif was_behind and not is_behind:
            log.event(self._logger, log.NOTICE, "clock", "this machine's clock agrees with the exchange's again")


class Clock:
    """Live: the wall clock and CLOCK_BOOTTIME.

    patience_s: how long what runs beside the marks may be waited for
    """

    replay = False
    patience_s = 0.0

    def now_ns(self) -> int:
        """UTC ns."""
        return time.time_ns()

    def steady_ns(self) -> int:
        """Steady ns."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def moment(self) -> Moment:
        """Both clocks."""
        return Moment(self.now_ns(), self.steady_ns())

    def steady_at(self, ts_ns: int) -> int:
        """Steady time of what another process stamped with `ts_ns`, UTC.

        A stamp of the future comes from before the clock was set back: as long ago as it seems to be ahead, for all
        that can be known.
        """
        now = self.moment()
        return now.steady_ns - abs(now.wall_ns - ts_ns)

    def settles_from(self, ts_ns: int) -> int:
        """Steady time from which what another process stamped with `ts_ns` settles: now, a clock may have been set."""
        return self.steady_ns()

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

    def steady_ns(self) -> int:
        """The same: a replay has one clock."""
        return self._now_ns

    def steady_at(self, ts_ns: int) -> int:
        """The same time: every process of a replay has this clock."""
        return ts_ns

    settles_from = steady_at

    def on_mark(self, ts_close: int) -> None:
        """Time is now the end of this minute."""
        self._now_ns = max(self._now_ns, ts_close)
