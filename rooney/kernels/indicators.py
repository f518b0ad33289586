"""Indicators as recursions: one closed bar in, one number out.

Every indicator is `update(s, n, open_, high, low, close, volume) -> float`: `s` is its own stretch of a float64 state
array, all zeros before the first bar and updated in place, `n` its length in bars. NaN means "not enough bars yet".
An array form is a loop over the step form (`scan`), so both are the same numbers.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@njit(cache=True)
def ibs(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Internal bar strength (close - low) / (high - low), in [0, 1]; 0.5 for a bar without range. No state."""
    span = high - low
    return (close - low) / span if span > 0.0 else 0.5


@njit(cache=True)
def rsi(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Relative strength index, 0 to 100; first after n + 1 bars. 50 when nothing moved.

    Wilder, New Concepts in Technical Trading Systems (1978), section VI: averages seeded with the mean of the first n
    changes, then a += (x - a) / n. State: bars, last close, average gain, average loss.
    """
    seen = s[0]
    s[0] = seen + 1.0
    change = close - s[1]
    s[1] = close
    if seen == 0.0:
        return math.nan
    gain = change if change > 0.0 else 0.0
    loss = -change if change < 0.0 else 0.0
    if seen <= n:
        s[2] += gain
        s[3] += loss
        if seen < n:
            return math.nan
        s[2] /= n
        s[3] /= n
    else:
        s[2] = (s[2] * (n - 1) + gain) / n
        s[3] = (s[3] * (n - 1) + loss) / n
    total = s[2] + s[3]
    return 100.0 * s[2] / total if total > 0.0 else 50.0


@njit(cache=True)
def atr(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Average true range in points; first after n + 1 bars.

    Wilder (1978), section III: seeded with the mean of the first n true ranges, then (a (n - 1) + tr) / n.
    State: bars, last close, average.
    """
    seen = s[0]
    s[0] = seen + 1.0
    before = s[1]
    s[1] = close
    if seen == 0.0:
        return math.nan
    true_range = max(high, before) - min(low, before)
    if seen <= n:
        s[2] += true_range
        if seen < n:
            return math.nan
        s[2] /= n
    else:
        s[2] = (s[2] * (n - 1) + true_range) / n
    average: float = s[2]
    return average


@njit(cache=True)
def channel_high(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Highest high of the n bars before this one (Donchian channel). State: bars, then a ring of n highs."""
    seen = int(s[0])
    top = math.nan
    if seen >= n:
        top = s[1]
        for i in range(2, n + 1):
            if s[i] > top:
                top = s[i]
    s[1 + seen % n] = high
    s[0] = seen + 1.0
    return top


@njit(cache=True)
def channel_low(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Lowest low of the n bars before this one (Donchian channel). State: bars, then a ring of n lows."""
    seen = int(s[0])
    bottom = math.nan
    if seen >= n:
        bottom = s[1]
        for i in range(2, n + 1):
            if s[i] < bottom:
                bottom = s[i]
    s[1 + seen % n] = low
    s[0] = seen + 1.0
    return bottom


@njit(cache=True)
def last_close(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Close of this bar, in points. No state."""
    return close
