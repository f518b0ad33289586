"""Where a value stands among others. Step forms as in `rooney.kernels.indicators.statistics`."""

import math

from rooney.kernels.array_types import F64
from rooney.kernels.indicators import windows
from rooney.kernels.jit import njit


@njit(cache=True)
def _counts(s: F64, size: int, n: int, x: float) -> tuple[int, int]:
    """How many of the newest n values are below x, and how many at or below it."""
    first = (int(s[0]) - n) % size
    past = first + n
    below, up_to = 0, 0
    for i in range(first, min(past, size)):
        below += s[1 + i] < x
        up_to += s[1 + i] <= x
    for i in range(past - size):
        below += s[1 + i] < x
        up_to += s[1 + i] <= x
    return below, up_to


@njit(cache=True)
def percentile(s: F64, n: int, x: float) -> float:
    """Mid-rank of x among the last n values, itself included: (number below + 1 + number up to) / 2 n, in (0, 1]."""
    if math.isnan(x) or windows.push(s, n, x) < n:
        return math.nan
    below, up_to = _counts(s, n, n, x)
    return (below + 1 + up_to) / (2.0 * n)


@njit(cache=True)
def percentile_strict(s: F64, n: int, x: float) -> float:
    """100 x share of the last n values, x included, that are below x; in [0, 100)."""
    if math.isnan(x) or windows.push(s, n, x) < n:
        return math.nan
    return 100.0 * _counts(s, n, n, x)[0] / n


@njit(cache=True)
def median(s: F64, n: int, x: float) -> float:
    """Median of the last n values."""
    if math.isnan(x) or windows.push(s, n, x) < n:
        return math.nan
    low, high = math.nan, math.nan
    for i in range(1, n + 1):
        below, up_to = _counts(s, n, n, s[i])
        if below <= (n - 1) // 2 < up_to:
            low = s[i]
        if below <= n // 2 < up_to:
            high = s[i]
    return low if low == high else (low + high) / 2.0


@njit(cache=True)
def percentile_v1(s: F64, n: int, x: float, marker: float) -> float:
    """Mid-rank of x among all values so far, one for each change of `marker`; between changes the last answer stands.

    The old system's expanding percentile. At most n values are kept: exact until then, afterwards the oldest leaves.
    State: number of values, ring, last marker, last answer.
    """
    if math.isnan(x) or math.isnan(marker):
        return math.nan
    if s[0] == 0.0 or marker != s[1 + n]:
        count = min(windows.push(s, n, x), n)
        below, up_to = _counts(s, n, count, x)
        s[1 + n] = marker
        s[2 + n] = (below + 1 + up_to) / (2.0 * count)
    answer: float = s[2 + n]
    return answer


@njit(cache=True)
def percentile_strict_v1(s: F64, n: int, x: float, marker: float) -> float:
    """100 x share below x of the last n values or of as many as there are, one for each change of `marker`.

    State as of `percentile_v1`.
    """
    if math.isnan(x) or math.isnan(marker):
        return math.nan
    if s[0] == 0.0 or marker != s[1 + n]:
        count = min(windows.push(s, n, x), n)
        s[1 + n] = marker
        s[2 + n] = 100.0 * _counts(s, n, count, x)[0] / count
    answer: float = s[2 + n]
    return answer
