"""Statistics of a series over its last values: `update(s, n, x) -> float`.

x may come from bars or from other kernels. A NaN is no value: NaN comes back and the state stays. State, unless said
otherwise: number of values, then a ring of them (`rooney.kernels.indicators.windows`).
"""

import math

from rooney.kernels.array_types import F64
from rooney.kernels.indicators import windows
from rooney.kernels.jit import njit

TINY = 1e-12


@njit(cache=True)
def sma(s: F64, n: int, x: float) -> float:
    """Mean of the last n values."""
    if math.isnan(x) or windows.push(s, n, x) < n:
        return math.nan
    return windows.mean(s, n, n)


@njit(cache=True)
def wilder(average: float, x: float, n: int) -> float:
    """Wilder's average one value on.

    His (a (n - 1) + x) / n with the division taken out of the chain of dependent operations, where it is most of the
    cost; the fractions are constants of the compiled kernel.
    """
    return average * ((n - 1.0) / n) + x * (1.0 / n)


@njit(cache=True)
def smoothed(average: float, x: float, n: int) -> float:
    """Exponential average one value on, with weight 2 / (n + 1)."""
    return average * (1.0 - 2.0 / (n + 1.0)) + x * (2.0 / (n + 1.0))


@njit(cache=True)
def seeded(average: float, x: float, seen: int) -> float:
    """Mean of `seen` values from the mean of those before x. As a mean it moves with a roll, which a sum would not."""
    return average + (x - average) / seen if seen > 1 else x


@njit(cache=True)
def ema(s: F64, n: int, x: float) -> float:
    """Exponential average with weight 2 / (n + 1), seeded with the mean of the first n. State: number, average."""
    if math.isnan(x):
        return math.nan
    seen = int(s[0]) + 1
    s[0] = seen
    s[1] = seeded(s[1], x, seen) if seen <= n else smoothed(s[1], x, n)
    return s[1] if seen >= n else math.nan


@njit(cache=True)
def deviation(s: F64, size: int, n: int) -> float:
    """Population standard deviation of the newest n values of a ring."""
    return math.sqrt(windows.squares(s, size, n, windows.mean(s, size, n)) / n)


@njit(cache=True)
def stdev(s: F64, n: int, x: float) -> float:
    """Population standard deviation (over n) of the last n values."""
    if math.isnan(x) or windows.push(s, n, x) < n:
        return math.nan
    return deviation(s, n, n)


@njit(cache=True)
def stdev_sample(s: F64, n: int, x: float) -> float:
    """Sample standard deviation (over n - 1) of the last n values."""
    if math.isnan(x) or windows.push(s, n, x) < n:
        return math.nan
    return math.sqrt(windows.squares(s, n, n, windows.mean(s, n, n)) / (n - 1))


@njit(cache=True)
def zscore(s: F64, n: int, x: float) -> float:
    """(x - mean) / (standard deviation + 1e-12) over the last n values, population deviation."""
    if math.isnan(x) or windows.push(s, n, x) < n:
        return math.nan
    return (x - windows.mean(s, n, n)) / (deviation(s, n, n) + TINY)


@njit(cache=True)
def cross_z(s: F64, n: tuple[int, int], x: float) -> float:
    """(x - mean of the last n[0]) / max(population deviation of the last n[1], 1e-12); n[0] <= n[1]."""
    if math.isnan(x) or windows.push(s, n[1], x) < n[1]:
        return math.nan
    return (x - windows.mean(s, n[1], n[0])) / max(deviation(s, n[1], n[1]), TINY)


@njit(cache=True)
def stdev_floored(s: F64, n: int, x: float) -> float:
    """max(population standard deviation of the last n values, 1e-12): the denominator of `cross_z`."""
    if math.isnan(x) or windows.push(s, n, x) < n:
        return math.nan
    return max(deviation(s, n, n), TINY)


@njit(cache=True)
def distance_z(s: F64, n: tuple[int, int], x: float) -> float:
    """(x - mean of the last n[0]) / (population deviation of the last n[1] one-value changes + 1e-12)."""
    size = max(n[0], n[1] + 1)
    if math.isnan(x) or windows.push(s, size, x) < size:
        return math.nan
    center = 0.0
    for k in range(n[1] - 1, -1, -1):
        center += windows.back(s, size, k) - windows.back(s, size, k + 1)
    center /= n[1]
    total = 0.0
    for k in range(n[1] - 1, -1, -1):
        apart = windows.back(s, size, k) - windows.back(s, size, k + 1) - center
        total += apart * apart
    return (x - windows.mean(s, size, n[0])) / (math.sqrt(total / n[1]) + TINY)


@njit(cache=True)
def _before(s: F64, n: int, x: float) -> float:
    """The value n before x, which takes its place; NaN when there is none."""
    seen = int(s[0])
    past = s[1 + seen % n] if seen >= n else math.nan
    windows.push(s, n, x)
    return past


@njit(cache=True)
def lag(s: F64, n: int, x: float) -> float:
    """The value n before this one."""
    return math.nan if math.isnan(x) else _before(s, n, x)


@njit(cache=True)
def change(s: F64, n: int, x: float) -> float:
    """x less the value n before."""
    return math.nan if math.isnan(x) else x - _before(s, n, x)


@njit(cache=True)
def return_pct(s: F64, n: int, x: float) -> float:
    """100 (x - value n before) / that value; NaN where that value is 0."""
    if math.isnan(x):
        return math.nan
    past = _before(s, n, x)
    return (x - past) / past * 100.0 if past != 0.0 else math.nan


@njit(cache=True)
def drift(s: F64, n: int, x: float) -> float:
    """Return over n values over the sample deviation of the n one-value returns; NaN where a value or that is 0."""
    size = n + 1
    if math.isnan(x) or windows.push(s, size, x) < size:
        return math.nan
    center = 0.0
    for k in range(n - 1, -1, -1):
        past = windows.back(s, size, k + 1)
        if past == 0.0:
            return math.nan
        center += windows.back(s, size, k) / past - 1.0
    center /= n
    total = 0.0
    for k in range(n - 1, -1, -1):
        apart = windows.back(s, size, k) / windows.back(s, size, k + 1) - 1.0 - center
        total += apart * apart
    risk = math.sqrt(total / (n - 1))
    return (x / windows.back(s, size, n) - 1.0) / risk if risk > 0.0 else math.nan


@njit(cache=True)
def _efficiency(s: F64, size: int, n: int) -> float:
    path = 0.0
    for k in range(n - 1, -1, -1):
        path += abs(windows.back(s, size, k) - windows.back(s, size, k + 1))
    return abs(windows.back(s, size, 0) - windows.back(s, size, n)) / path if path > 0.0 else 0.0


@njit(cache=True)
def efficiency_ratio(s: F64, n: int, x: float) -> float:
    """Way made over n values over the way walked, in [0, 1]; 0 where nothing moved (Kaufman 1995)."""
    if math.isnan(x) or windows.push(s, n + 1, x) < n + 1:
        return math.nan
    return _efficiency(s, n + 1, n)


@njit(cache=True)
def spiral(s: F64, n: tuple[int, int, int], x: float) -> float:
    """Mean of the efficiency ratios over n[0] < n[1] < n[2] values, weighted 1/2, 1/4, 1/8, of those there are."""
    size = n[2] + 1
    if math.isnan(x):
        return math.nan
    seen = windows.push(s, size, x)
    weight, weights, total = 0.5, 0.0, 0.0
    for i in range(3):
        if seen > n[i]:
            total += weight * _efficiency(s, size, n[i])
            weights += weight
        weight *= 0.5
    return total / weights if weights > 0.0 else math.nan
