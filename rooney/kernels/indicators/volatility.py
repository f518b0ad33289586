"""Volatility of bars: true range and its average. Step forms as in `rooney.kernels.indicators.price`."""

import math

from rooney.kernels.array_types import F64
from rooney.kernels.indicators.statistics import wilder
from rooney.kernels.jit import njit


@njit(cache=True)
def true_range(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """True range in points; from the second bar on. State: bars, last close."""
    before = s[1]
    s[1] = close
    s[0] += 1.0
    return max(high, before) - min(low, before) if s[0] > 1.0 else math.nan


@njit(cache=True)
def atr(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Average true range in points; first after n + 1 bars.

    Wilder (1978), section III: seeded with the mean of the first n true ranges. State: bars, last close, average.
    """
    seen = int(s[0])
    s[0] = seen + 1.0
    before = s[1]
    s[1] = close
    if seen == 0:
        return math.nan
    spread = max(high, before) - min(low, before)
    if seen <= n:
        s[2] += spread
        if seen < n:
            return math.nan
        s[2] /= n
    else:
        s[2] = wilder(s[2], spread, n)
    average: float = s[2]
    return average
