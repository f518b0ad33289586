"""Channels of highs and lows (Donchian). Step forms as in `rooney.kernels.indicators.price`.

The channel is that of the n bars before this one: a close can only be beyond a channel it is not part of.
"""

import math

from rooney.kernels.array_types import F64
from rooney.kernels.jit import njit


@njit(cache=True)
def _highest(s: F64, first: int, n: int) -> float:
    top = s[first]
    for i in range(first + 1, first + n):
        if s[i] > top:
            top = s[i]
    return top


@njit(cache=True)
def _lowest(s: F64, first: int, n: int) -> float:
    bottom = s[first]
    for i in range(first + 1, first + n):
        if s[i] < bottom:
            bottom = s[i]
    return bottom


@njit(cache=True)
def channel_high(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Highest high of the n bars before this one (Donchian channel). State: bars, then a ring of n highs."""
    seen = int(s[0])
    top = _highest(s, 1, n) if seen >= n else math.nan
    s[1 + seen % n] = high
    s[0] = seen + 1.0
    return top


@njit(cache=True)
def channel_low(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Lowest low of the n bars before this one (Donchian channel). State: bars, then a ring of n lows."""
    seen = int(s[0])
    bottom = _lowest(s, 1, n) if seen >= n else math.nan
    s[1 + seen % n] = low
    s[0] = seen + 1.0
    return bottom


@njit(cache=True)
def channel_side(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """1 when the close is above the channel of the n bars before this one, 2 below, 3 inside.

    State: bars, then rings of n highs and of n lows.
    """
    seen = int(s[0])
    side = math.nan
    if seen >= n:
        side = 1.0 if close > _highest(s, 1, n) else 2.0 if close < _lowest(s, 1 + n, n) else 3.0
    s[1 + seen % n] = high
    s[1 + n + seen % n] = low
    s[0] = seen + 1.0
    return side


@njit(cache=True)
def channel_side_v1(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """3 from the n-th bar on: the old system compared a close with the channel it is part of. State: bars."""
    s[0] += 1.0
    return 3.0 if s[0] >= n else math.nan


@njit(cache=True)
def channel_distance(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Points from the close to the nearer edge of the channel of the n bars before. State as of `channel_side`."""
    seen = int(s[0])
    distance = math.nan
    if seen >= n:
        distance = min(abs(close - _lowest(s, 1 + n, n)), abs(_highest(s, 1, n) - close))
    s[1 + seen % n] = high
    s[1 + n + seen % n] = low
    s[0] = seen + 1.0
    return distance


@njit(cache=True)
def fresh_break(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """1 on the first close above the channel of the n bars before, -1 on the first below it, else 0.

    A side that has broken is armed again by a close beyond the middle of the channel the other way. State: bars,
    whether the upper and the lower side have broken, then rings of n highs and of n lows.
    """
    seen = int(s[0])
    signal = math.nan
    if seen >= n:
        top, bottom = _highest(s, 3, n), _lowest(s, 3 + n, n)
        middle = 0.5 * (top + bottom)
        signal = 0.0
        if close > top and s[1] == 0.0:
            signal = 1.0
        elif close < bottom and s[2] == 0.0:
            signal = -1.0
        s[1] = 1.0 if close > top else 0.0 if close < middle else s[1]
        s[2] = 1.0 if close < bottom else 0.0 if close > middle else s[2]
    s[3 + seen % n] = high
    s[3 + n + seen % n] = low
    s[0] = seen + 1.0
    return signal
