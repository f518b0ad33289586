"""Arithmetic of two numbers, `update(s, n, x, y) -> float`, or of one, `update(s, n, x) -> float`. Mostly stateless.

NaN in, NaN out.
"""

import math

from rooney.kernels.array_types import F64
from rooney.kernels.jit import njit


@njit(cache=True)
def difference(s: F64, n: int, x: float, y: float) -> float:
    """x - y."""
    return x - y


@njit(cache=True)
def product(s: F64, n: int, x: float, y: float) -> float:
    """x times y."""
    return x * y


@njit(cache=True)
def ratio(s: F64, n: int, x: float, y: float) -> float:
    """x / y; NaN where y is within 1e-12 of 0."""
    return x / y if abs(y) > 1e-12 else math.nan


@njit(cache=True)
def above(s: F64, n: int, x: float, y: float) -> float:
    """1 when x > y, else 2."""
    if math.isnan(x) or math.isnan(y):
        return math.nan
    return 1.0 if x > y else 2.0


@njit(cache=True)
def below(s: F64, n: int, x: float, y: float) -> float:
    """1 when x < y, else 2."""
    if math.isnan(x) or math.isnan(y):
        return math.nan
    return 1.0 if x < y else 2.0


@njit(cache=True)
def from_number(s: F64, n: float, x: float, y: float) -> float:
    """x from the moment y has reached n; NaN before."""
    return x if y >= n else math.nan


@njit(cache=True)
def absolute(s: F64, n: int, x: float) -> float:
    """x without its sign."""
    return abs(x)


@njit(cache=True)
def compression(s: F64, n: tuple[float, float], x: float) -> float:
    """How far and how long x has been below a threshold: clip((t - x) / t, 0, 1) (1 - exp(-streak / tau)).

    n: threshold t, tau in bars. x is a short volatility over a long one. State: bars in a row below the threshold.
    """
    threshold, tau = n[0], n[1]
    if math.isnan(x):
        return math.nan
    s[0] = s[0] + 1.0 if x < threshold else 0.0
    depth = min(max((threshold - x) / threshold, 0.0), 1.0)
    return depth * (1.0 - math.exp(-s[0] / tau))


@njit(cache=True)
def ratio_v1(s: F64, n: int, x: float, y: float) -> float:
    """x / y; infinite, which no band lets pass, while there is a y and no x, or y is 0. No state."""
    if math.isnan(y):
        return math.nan
    return math.inf if math.isnan(x) or y == 0.0 else x / y
