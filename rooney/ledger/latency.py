"""Latency: how soon after a minute ended for the hub it was acted on, per trade date; histograms by the same bounds."""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping

BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # 100 and 200 ms are promised, so both are here
BOUNDS_S = tuple(bound / 1000 for bound in BOUNDS_MS)
SLOWER = 0  # the bucket of what took longer than the last bound
PROMISED_MS = 200
PROMISED_SHARE = 0.995  # of the minutes in session, per week
KEPT = 1_000  # values of a histogram, for its quantiles


def bucket(latency_ns: int) -> int:
    """Bound, in ms, that a latency does not exceed."""
    k = bisect_left(BOUNDS_MS, latency_ns / 1e6)
    return BOUNDS_MS[k] if k < len(BOUNDS_MS) else SLOWER


def within(counts: Mapping[int, int], bound_ms: int = PROMISED_MS) -> int:
    """Number of minutes that took at most `bound_ms`, one of the bounds."""
    return sum(number for bound, number in counts.items() if bound != SLOWER and bound <= bound_ms)


def quantile_ms(counts: Mapping[int, int], share: float) -> float:
    """Bound that `share` of the minutes keep to; infinity above the last one, 0 without any minute."""
    left = share * sum(counts.values())
    if not left:
        return 0.0
    for bound in BOUNDS_MS:
        left -= counts.get(bound, 0)
        if left <= 1e-9:
            return float(bound)
    return float("inf")


class Buckets:
    """Histogram in seconds. counts: per bucket, the last one for everything above; newest: the values themselves."""

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
        values = sorted(self.newest) or [math.nan]
        return [values[max(0, math.ceil(share * len(values)) - 1)] for share in shares]
