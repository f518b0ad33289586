"""Whether two engines traded the same: the comparison's first question, before any time is looked at."""

import math
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

FIELDS = ("instrument", "entry minute", "entry price", "exit minute", "exit price")


class DifferentTradesError(Exception):
    """Two engines did not do the same work, so their times say nothing about each other."""


def require_equal(name: str, theirs: NDArray[np.float64], ours: NDArray[np.float64]) -> None:
    """theirs, ours: float64[trade, FIELDS] by instrument and entry, as `stopwatch.rows` makes them; exact equality.

    Raises DifferentTradesError naming the first difference, and where there are no trades at all.
    """
    if not len(ours):
        raise DifferentTradesError(f"{name}: no trades on either side: nothing is compared")
    common = min(len(theirs), len(ours))
    differing = np.flatnonzero((theirs[:common] != ours[:common]).any(axis=1))
    if len(differing):
        k = int(differing[0])
        raise DifferentTradesError(f"{name}: trade {k} is {_shown(theirs[k])}, here it is {_shown(ours[k])}")
    if len(theirs) != len(ours):
        more, rest = ("theirs", theirs) if len(theirs) > len(ours) else ("ours", ours)
        found = f"{len(theirs)} trades, here {len(ours)}"
        raise DifferentTradesError(f"{name}: {found}; the first that only {more} have is {_shown(rest[common])}")


def _shown(trade: NDArray[np.float64]) -> str:
    instrument, entered, bought, left, sold = trade.tolist()
    return f"instrument {instrument:.0f}, {_minute(entered)} at {bought:g} to {_minute(left)} at {sold:g}"


def _minute(number: float) -> str:
    return f"{datetime.fromtimestamp(number * 60, UTC):%Y-%m-%d %H:%MZ}" if math.isfinite(number) else "no time"
