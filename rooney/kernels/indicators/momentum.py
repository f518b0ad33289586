"""Indicators of bars as recursions: one closed bar in, one number out.

Every one is `update(s, n, open_, high, low, close, volume) -> float`: `s` is its own stretch of a float64 state array,
all zeros before the first bar and updated in place, `n` its length in bars. NaN means "not enough bars yet". An array
form is a loop over the step form, so both are the same numbers.
"""

import math

import numpy as np
from numpy.typing import NDArray

from rooney.kernels.jit import njit

F64 = NDArray[np.float64]


@njit(cache=True)
def price_open(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Open of this bar, in points. No state."""
    return open_


@njit(cache=True)
def price_high(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """High of this bar, in points. No state."""
    return high


@njit(cache=True)
def price_low(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Low of this bar, in points. No state."""
    return low


@njit(cache=True)
def last_close(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Close of this bar, in points. No state."""
    return close


@njit(cache=True)
def traded(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Volume of this bar, in contracts. No state."""
    return volume


@njit(cache=True)
def bar_range(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """High less low of this bar, in points. No state."""
    return high - low


@njit(cache=True)
def bar_number(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """How many bars there have been, this one included. State: that number."""
    s[0] += 1.0
    number: float = s[0]
    return number


@njit(cache=True)
def zero_v1(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Always 0.0: what models of the old system were given for a feature that was never computed. No state."""
    return 0.0


@njit(cache=True)
def ibs(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Internal bar strength (close - low) / (high - low), in [0, 1]; 0.5 for a bar without range. No state."""
    span = high - low
    return (close - low) / span if span > 0.0 else 0.5


@njit(cache=True)
def true_range(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """True range in points; from the second bar on. State: bars, last close."""
    before = s[1]
    s[1] = close
    s[0] += 1.0
    return max(high, before) - min(low, before) if s[0] > 1.0 else math.nan


@njit(cache=True)
def wilder(average: float, x: float, n: int) -> float:
    """Wilder's average one value on.

    His (a (n - 1) + x) / n with the division taken out of the chain of dependent operations, where it is most of the
    cost; the fractions are constants of the compiled kernel.
    """
    return average * ((n - 1.0) / n) + x * (1.0 / n)


@njit(cache=True)
def _moves(s: F64, n: int, close: float) -> int:
    """Average gain s[2] and loss s[3] of the changes of the close s[1] up to this bar; number of changes so far."""
    seen = int(s[0])
    s[0] = seen + 1.0
    change = close - s[1]
    s[1] = close
    if seen == 0:
        return 0
    gain = change if change > 0.0 else 0.0
    loss = -change if change < 0.0 else 0.0
    if seen <= n:
        s[2] += gain
        s[3] += loss
        if seen == n:
            s[2] /= n
            s[3] /= n
    else:
        s[2] = wilder(s[2], gain, n)
        s[3] = wilder(s[3], loss, n)
    return seen


@njit(cache=True)
def strength(gain: float, loss: float) -> float:
    """RSI of an average gain and an average loss; 50 when nothing moved."""
    total = gain + loss
    return 100.0 * gain / total if total > 0.0 else 50.0


@njit(cache=True)
def rsi(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Relative strength index, 0 to 100; first after n + 1 bars. 50 when nothing moved.

    Wilder, New Concepts in Technical Trading Systems (1978), section VI: averages seeded with the mean of the first n
    changes. State: bars, last close, average gain, average loss.
    """
    if _moves(s, n, close) < n:
        return math.nan
    return strength(s[2], s[3])


@njit(cache=True)
def rsi_v1(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """RSI as the old system read it on a new bar: average gain of this bar over average loss of the bar before.

    0 (not 100) where that loss is below 1e-12. State as of `rsi`.
    """
    loss = s[3] if s[0] > n else 0.0
    if _moves(s, n, close) < n:
        return math.nan
    return 100.0 - 100.0 / (1.0 + s[2] / loss) if loss >= 1e-12 else 0.0


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
