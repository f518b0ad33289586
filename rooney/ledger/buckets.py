"""Latencies as they are counted: cumulative buckets for /metrics, and the newest ones for percentiles."""

import math
from bisect import bisect_left
from collections import deque

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
