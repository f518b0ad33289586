"""Prices, volume and range of the bar itself, and where its close lies in it.

One closed bar in, one number out: `update(s, n, open_, high, low, close, volume) -> float`. `s` is its own stretch of a
float64 state array, all zeros before the first bar and updated in place, `n` its length in bars. NaN means "not enough
bars yet". An array form is a loop over the step form, so both are the same numbers.
"""

from rooney.kernels.array_types import F64
from rooney.kernels.jit import njit


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
