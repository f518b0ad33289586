"""Statistics as the old system computed them: exact sums, and deviations from the mean of squares.

sqrt(|mean(x²) - mean(x)²|) loses digits where the values are large beside their spread, so these numbers differ from
those of `rooney.kernels.indicators.statistics` in the ninth digit or so; models trained on them are served the same
digits. Old system §2.2; sums there were exact (`math.fsum`), which compensated summation reproduces up to the last bit.
"""

import math

from rooney.kernels.array_types import F64
from rooney.kernels.indicators import windows
from rooney.kernels.jit import njit

Band = tuple[int, float]
TINY = 1e-12


@njit(cache=True)
def mean(s: F64, size: int, n: int, power: int) -> float:
    """Mean of the newest n values of a ring, or of their squares (power 2). Neumaier's compensated sum."""
    total = 0.0
    lost = 0.0
    for k in range(n - 1, -1, -1):
        x = windows.back(s, size, k)
        if power == 2:
            x = x * x
        after = total + x
        lost += (total - after) + x if abs(total) >= abs(x) else (x - after) + total
        total = after
    return (total + lost) / n


@njit(cache=True)
def deviation(s: F64, size: int, n: int) -> float:
    """sqrt(|mean(x²) - mean(x)²|) of the newest n values of a ring."""
    average = mean(s, size, n, 1)
    return math.sqrt(abs(mean(s, size, n, 2) - average * average))


@njit(cache=True)
def zscore_v1(s: F64, n: int, x: float) -> float:
    """(x - mean) / (deviation + 1e-12) over the last n values."""
    if math.isnan(x) or windows.push(s, n, x) < n:
        return math.nan
    return (x - mean(s, n, n, 1)) / (deviation(s, n, n) + TINY)


@njit(cache=True)
def zscore_v1_again(s: F64, n: int, x: float) -> float:
    """On a second look the newest value is replaced by what another instrument has made of it meanwhile."""
    if math.isnan(x) or s[0] < 1.0:
        return math.nan
    s[0] -= 1.0
    return zscore_v1(s, n, x)


@njit(cache=True)
def cross_z_v1(s: F64, n: tuple[int, int], x: float) -> float:
    """(x - mean of the last n[0]) / max(deviation of the last n[1], 1e-12); n[0] <= n[1]."""
    if math.isnan(x) or windows.push(s, n[1], x) < n[1]:
        return math.nan
    return (x - mean(s, n[1], n[0], 1)) / max(deviation(s, n[1], n[1]), TINY)


@njit(cache=True)
def distance_z_v1(s: F64, n: tuple[int, int], x: float) -> float:
    """(x - mean of the last n[0]) / (deviation of the last n[1] one-value changes + 1e-12).

    State: number of values, then a ring of them, then number of changes and a ring of those.
    """
    past = windows.back(s, n[0], 0) if s[0] > 0.0 else math.nan
    if math.isnan(x):
        return math.nan
    seen = windows.push(s, n[0], x)
    changes = s[1 + n[0] :]
    if not math.isnan(past):
        windows.push(changes, n[1], x - past)
    if seen < n[0] or changes[0] < n[1]:
        return math.nan
    return (x - mean(s, n[0], n[0], 1)) / (deviation(changes, n[1], n[1]) + TINY)


@njit(cache=True)
def bollinger_position_v1(s: F64, n: Band, x: float) -> float:
    """(x - lower) / (upper - lower)."""
    if math.isnan(x) or windows.push(s, n[0], x) < n[0]:
        return math.nan
    middle, half = mean(s, n[0], n[0], 1), n[1] * deviation(s, n[0], n[0])
    return (x - (middle - half)) / ((middle + half) - (middle - half)) if half > 0.0 else math.nan


@njit(cache=True)
def bollinger_width_v1(s: F64, n: Band, x: float) -> float:
    """(upper - lower) / mean; NaN where the mean is 0."""
    if math.isnan(x) or windows.push(s, n[0], x) < n[0]:
        return math.nan
    middle, half = mean(s, n[0], n[0], 1), n[1] * deviation(s, n[0], n[0])
    return ((middle + half) - (middle - half)) / middle if middle != 0.0 else math.nan
