"""Bollinger bands: mean of the last n[0] values, n[1] population deviations around it.

Step forms as in `rooney.kernels.indicators.statistics`.
"""

import math

from rooney.kernels.array_types import F64
from rooney.kernels.indicators import windows
from rooney.kernels.indicators.statistics import deviation
from rooney.kernels.jit import njit

Band = tuple[int, float]


@njit(cache=True)
def _half_width(s: F64, n: Band) -> float:
    return n[1] * deviation(s, n[0], n[0])


@njit(cache=True)
def bollinger_upper(s: F64, n: Band, x: float) -> float:
    """Mean of the last n[0] values plus n[1] population deviations."""
    if math.isnan(x) or windows.push(s, n[0], x) < n[0]:
        return math.nan
    return windows.mean(s, n[0], n[0]) + _half_width(s, n)


@njit(cache=True)
def bollinger_lower(s: F64, n: Band, x: float) -> float:
    """Mean of the last n[0] values minus n[1] population deviations."""
    if math.isnan(x) or windows.push(s, n[0], x) < n[0]:
        return math.nan
    return windows.mean(s, n[0], n[0]) - _half_width(s, n)


@njit(cache=True)
def bollinger_position(s: F64, n: Band, x: float) -> float:
    """(x - lower) / (upper - lower): 0 on the lower band, 1 on the upper; NaN where they meet."""
    if math.isnan(x) or windows.push(s, n[0], x) < n[0]:
        return math.nan
    middle = windows.mean(s, n[0], n[0])
    half = _half_width(s, n)
    return (x - (middle - half)) / (2.0 * half) if half > 0.0 else math.nan


@njit(cache=True)
def bollinger_excess(s: F64, n: Band, x: float) -> float:
    """(x - upper) / (upper - lower): above 0 beyond the upper band; NaN where the bands meet."""
    if math.isnan(x) or windows.push(s, n[0], x) < n[0]:
        return math.nan
    middle = windows.mean(s, n[0], n[0])
    half = _half_width(s, n)
    return (x - (middle + half)) / (2.0 * half) if half > 0.0 else math.nan


@njit(cache=True)
def bollinger_width(s: F64, n: Band, x: float) -> float:
    """(upper - lower) / mean; NaN where the mean is 0."""
    if math.isnan(x) or windows.push(s, n[0], x) < n[0]:
        return math.nan
    middle = windows.mean(s, n[0], n[0])
    return 2.0 * _half_width(s, n) / middle if middle != 0.0 else math.nan
