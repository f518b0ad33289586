"""Pace: how soon after a minute ended for the hub it was acted on, counted per trade date in buckets. Pure."""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping

BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # 100 and 200 ms are promised, so both are here
SLOWER = 0  # the bucket of what took longer than the last bound
PROMISED_MS = 200
PROMISED_SHARE = 0.995  # of the minutes in session, per week


def bucket(latency_ns: int) -> int:
    """The bound, in ms, that a latency does not exceed."""
    k = bisect_left(BOUNDS_MS, latency_ns / 1e6)
    return BOUNDS_MS[k] if k < len(BOUNDS_MS) else SLOWER


def within(counts: Mapping[int, int], bound_ms: int = PROMISED_MS) -> int:
    """How many minutes took at most `bound_ms`, one of the bounds."""
    return sum(number for bound, number in counts.items() if bound != SLOWER and bound <= bound_ms)


def quantile_ms(counts: Mapping[int, int], share: float) -> float:
    """The bound that `share` of the minutes keep to; infinity above the last one, 0 without any minute."""
    left = share * sum(counts.values())
    if not left:
        return 0.0
    for bound in BOUNDS_MS:
        left -= counts.get(bound, 0)
        if left <= 1e-9:
            return float(bound)
    return float("inf")


BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0)  # 100 and 200 ms are promised, so both are here


KEPT = 1_000


class Buckets:
    """A histogram in seconds. counts: per bucket, the last one for everything above; newest: the values themselves."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0
        self.newest: deque[float] = deque(maxlen=KEPT)

    def add(self, seconds: float) -> None:
        """Count one; a value equal to a bound is in its bucket."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds
        self.newest.append(seconds)

    def quantiles(self, *shares: float) -> list[float]:
        """Of the newest values, nearest rank; NaN without any."""
        found = sorted(self.newest)
        if not found:
            return [math.nan for _ in shares]
        return [found[max(0, math.ceil(share * len(found)) - 1)] for share in shares]
