"""Old numbers that hang on when they were looked at; those for a second look at a bar: `update(s, n) -> float`.

The old system ran all its logic whenever any feed had a bar (its specification §1.3, §2.3). On an instrument without
a new bar of its own, most numbers stayed; these did not.
"""

import math

from rooney.kernels.array_types import F64
from rooney.kernels.jit import njit


@njit(cache=True)
def remembered_v1(s: F64, n: int, x: float) -> float:
    """x. The step, which alone knows when an evaluation ends, holds back the one of the last."""
    return x


@njit(cache=True)
def rsi_v1(s: F64, n: int) -> float:
    """The second time the average loss is this bar's: Wilder's own number, but 0 where it is below 1e-12."""
    if s[0] <= n:
        return math.nan
    return 100.0 - 100.0 / (1.0 + s[2] / s[3]) if s[3] >= 1e-12 else 0.0


@njit(cache=True)
def pivot_higher_high(s: F64, n: tuple[int, int, int]) -> float:
    """A pivot confirmed on this bar is confirmed again, and so becomes the one before itself."""
    left, right, first = n
    size = left + right + 1
    seen = int(s[0]) - 1
    is_pivot = seen + 1 >= max(size, first)
    middle = s[4 + (seen - right) % size]
    for k in range(1, left + 1):
        is_pivot = is_pivot and middle > s[4 + (seen - right - k) % size]
    for k in range(1, right + 1):
        is_pivot = is_pivot and middle >= s[4 + (seen - right + k) % size]
    if is_pivot:
        s[1] += 1.0
        s[3] = s[2]
        s[2] = middle
    if s[1] < 2.0:
        return math.nan
    return 1.0 if s[2] > s[3] and s[4 + seen % size] > s[2] else 2.0
