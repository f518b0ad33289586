"""The last values of a series, kept in state: a count, then a ring of `size` values.

Sums always run from the oldest value to the newest. So they do not drift, they do not depend on how long a process has
been running, and adding a number to the ring is the same as having seen shifted values.
"""

from rooney.kernels.array_types import F64
from rooney.kernels.jit import njit


@njit(cache=True)
def push(s: F64, size: int, x: float) -> int:
    """Put the newest value in; how many there have been so far."""
    seen = int(s[0])
    s[1 + seen % size] = x
    s[0] = seen + 1.0
    return seen + 1


@njit(cache=True)
def back(s: F64, size: int, k: int) -> float:
    """The value k before the newest."""
    return s[1 + (int(s[0]) - 1 - k) % size]


@njit(cache=True)
def mean(s: F64, size: int, n: int) -> float:
    """Mean of the newest n values."""
    first = (int(s[0]) - n) % size
    past = first + n
    total = 0.0
    for i in range(first, min(past, size)):
        total += s[1 + i]
    for i in range(past - size):
        total += s[1 + i]
    return total / n


@njit(cache=True)
def squares(s: F64, size: int, n: int, center: float) -> float:
    """Sum of squared distances of the newest n values from `center`."""
    first = (int(s[0]) - n) % size
    past = first + n
    total = 0.0
    for i in range(first, min(past, size)):
        total += (s[1 + i] - center) * (s[1 + i] - center)
    for i in range(past - size):
        total += (s[1 + i] - center) * (s[1 + i] - center)
    return total
