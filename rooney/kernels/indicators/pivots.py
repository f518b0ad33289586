"""Fractal pivots. Step forms as in `rooney.kernels.indicators.price`; n: bars to the left, bars to the right, first
bar.

A pivot high is confirmed `right` bars late: its high is strictly above those of the `left` bars before it and at least
those of the `right` bars after it; a pivot low is its mirror. It stands until the next one. None is confirmed before
the bar with the number `first`: the old system began to look at its 252nd.
"""

import math

from rooney.kernels.array_types import F64
from rooney.kernels.jit import njit

Sides = tuple[int, int, int]


@njit(cache=True)
def _confirm(s: F64, a: int, n: Sides, seen: int, x: float, sign: float) -> None:
    """Fold a high (sign 1) or a low (-1) into the stretch at `a`: found, last pivot, the one before it, ring."""
    left, right, first = n
    size = left + right + 1
    s[a + 3 + seen % size] = x
    if seen + 1 < max(size, first):
        return
    middle = s[a + 3 + (seen - right) % size]
    for k in range(1, left + 1):
        if sign * middle <= sign * s[a + 3 + (seen - right - k) % size]:
            return
    for k in range(1, right + 1):
        if sign * middle < sign * s[a + 3 + (seen - right + k) % size]:
            return
    s[a] += 1.0
    s[a + 2] = s[a + 1]
    s[a + 1] = middle


@njit(cache=True)
def pivot_high(s: F64, n: Sides, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """The last confirmed pivot high, in points. State: bars, pivots, last, the one before, ring of highs."""
    _confirm(s, 1, n, int(s[0]), high, 1.0)
    s[0] += 1.0
    return s[2] if s[1] > 0.0 else math.nan


@njit(cache=True)
def pivot_low(s: F64, n: Sides, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """The last confirmed pivot low, in points. State: bars, pivots, last, the one before, ring of lows."""
    _confirm(s, 1, n, int(s[0]), low, -1.0)
    s[0] += 1.0
    return s[2] if s[1] > 0.0 else math.nan


@njit(cache=True)
def _latest_v1(s: F64, n: Sides, x: float, y: float, sign: float) -> float:
    """The last pivot among values x, numbered by y, that was there to be confirmed from bar n[2] of these on.

    The old system looked for pivots of days at every hour from its 252nd on: one of the day in progress counts, those
    of the days before are not known. State as of `pivot_high`, of which the bars are the hours.
    """
    s[0] += 1.0
    if math.isnan(y):
        return math.nan
    _confirm(s, 1, (n[0], n[1], 0 if s[0] >= n[2] else int(y) + 1), int(y) - 1, x, sign)
    return s[2] if s[1] > 0.0 else math.nan


@njit(cache=True)
def latest_high_v1(s: F64, n: Sides, x: float, y: float) -> float:
    """The last pivot high of coarser bars, in points."""
    return _latest_v1(s, n, x, y, 1.0)


@njit(cache=True)
def latest_low_v1(s: F64, n: Sides, x: float, y: float) -> float:
    """The last pivot low of coarser bars, in points."""
    return _latest_v1(s, n, x, y, -1.0)


@njit(cache=True)
def pivot_position(s: F64, n: Sides, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """1 when the close is above the last pivot high, 3 below the last pivot low, else (or without pivot) 2.

    State: bars, then the stretches of both pivots.
    """
    second = 5 + n[0] + n[1]
    _confirm(s, 1, n, int(s[0]), high, 1.0)
    _confirm(s, second, n, int(s[0]), low, -1.0)
    s[0] += 1.0
    if s[0] < max(n[0] + n[1] + 1, n[2]):
        return math.nan
    if s[1] > 0.0 and close > s[2]:
        return 1.0
    return 3.0 if s[second] > 0.0 and close < s[second + 1] else 2.0


@njit(cache=True)
def inside_pivots(s: F64, n: Sides, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """1 when the close lies between the last pivot low and the last pivot high, else 2; NaN until both exist.

    State as of `pivot_position`.
    """
    second = 5 + n[0] + n[1]
    _confirm(s, 1, n, int(s[0]), high, 1.0)
    _confirm(s, second, n, int(s[0]), low, -1.0)
    s[0] += 1.0
    if s[1] == 0.0 or s[second] == 0.0:
        return math.nan
    return 1.0 if s[second + 1] <= close <= s[2] else 2.0


@njit(cache=True)
def pivot_higher_high(s: F64, n: Sides, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """1 when the last pivot high is above the one before it and this bar's high above both, else 2.

    NaN until there are two. State as of `pivot_high`.
    """
    _confirm(s, 1, n, int(s[0]), high, 1.0)
    s[0] += 1.0
    if s[1] < 2.0:
        return math.nan
    return 1.0 if s[2] > s[3] and high > s[2] else 2.0
