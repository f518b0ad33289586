"""Patterns of single bars. Step forms as in `rooney.kernels.indicators.price`; codes: 1 yes, 2 no."""

import math

from rooney.kernels.array_types import F64
from rooney.kernels.jit import njit


@njit(cache=True)
def bear_run(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """How many bars in a row, up to this one, closed below their open. State: that number."""
    s[0] = s[0] + 1.0 if close < open_ else 0.0
    run: float = s[0]
    return run


@njit(cache=True)
def bull_run(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """How many bars in a row, up to this one, closed above their open. State: that number."""
    s[0] = s[0] + 1.0 if close > open_ else 0.0
    run: float = s[0]
    return run


@njit(cache=True)
def inside_bar(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """1 when this bar lies strictly between high and low of the bar before, else 2. State: bars, high, low."""
    inside = 1.0 if high < s[1] and low > s[2] else 2.0
    if s[0] == 0.0:
        inside = math.nan
    s[0] += 1.0
    s[1] = high
    s[2] = low
    return inside


@njit(cache=True)
def narrowest(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """1 when this bar's range is below that of each of the n - 1 bars before, else 2. State: bars, ring of ranges."""
    seen = int(s[0])
    span = high - low
    code = 1.0 if seen >= n - 1 else math.nan
    for i in range(1, n):
        if span >= s[i] and seen >= n - 1:
            code = 2.0
    if n > 1:
        s[1 + seen % (n - 1)] = span
    s[0] = seen + 1.0
    return code
