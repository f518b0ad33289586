"""Channels of highs and lows (Donchian). Step forms as in `rooney.kernels.indicators.price`.

The channel is that of the n bars before this one: a close can only be beyond a channel it is not part of.
"""

import math

from rooney.kernels.array_types import F64
from rooney.kernels.jit import njit


@njit(cache=True)
def _extreme(s: F64, best: int, ring: int, n: int, sign: float, value: float) -> float:
    """Largest of the n values before `value` (smallest for sign -1), which takes the oldest one's place; NaN for fewer.

    s[0] counts the values, up to the caller. The ring holds a block of n, and over its first ones those of the block
    after it, whose extreme is s[best]. A full block is gone through once: from then on each place holds the extreme of
    the block from there on. So a value costs three comparisons, whatever n, and state is one number beside the values.
    """
    seen = int(s[0])
    k = seen % n
    found = math.nan
    if seen >= n:
        found = s[ring + k]
        if k > 0 and sign * s[best] > sign * found:
            found = s[best]
    if k == 0 or sign * value > sign * s[best]:
        s[best] = value
    s[ring + k] = value
    if k == n - 1:
        for i in range(ring + n - 2, ring - 1, -1):
            if sign * s[i + 1] > sign * s[i]:
                s[i] = s[i + 1]
    return found


@njit(cache=True)
def channel_high(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Highest high of the n bars before this one (Donchian channel). State: bars, extreme, ring of n highs."""
    top = _extreme(s, 1, 2, n, 1.0, high)
    s[0] += 1.0
    return top


@njit(cache=True)
def channel_low(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Lowest low of the n bars before this one (Donchian channel). State: bars, extreme, ring of n lows."""
    bottom = _extreme(s, 1, 2, n, -1.0, low)
    s[0] += 1.0
    return bottom


@njit(cache=True)
def channel_side(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """1 when the close is above the channel of the n bars before this one, 2 below, 3 inside.

    State: bars, both extremes, then rings of n highs and of n lows.
    """
    top, bottom = _extreme(s, 1, 3, n, 1.0, high), _extreme(s, 2, 3 + n, n, -1.0, low)
    side = math.nan
    if s[0] >= n:
        side = 1.0 if close > top else 2.0 if close < bottom else 3.0
    s[0] += 1.0
    return side


@njit(cache=True)
def channel_side_v1(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """3 from the n-th bar on: the old system compared a close with the channel it is part of. State: bars."""
    s[0] += 1.0
    return 3.0 if s[0] >= n else math.nan


@njit(cache=True)
def channel_distance(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Points from the close to the nearer edge of the channel of the n bars before. State as of `channel_side`."""
    top, bottom = _extreme(s, 1, 3, n, 1.0, high), _extreme(s, 2, 3 + n, n, -1.0, low)
    distance = math.nan
    if s[0] >= n:
        distance = min(abs(close - bottom), abs(top - close))
    s[0] += 1.0
    return distance


@njit(cache=True)
def fresh_break(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """1 on the first close above the channel of the n bars before, -1 on the first below it, else 0.

    A side that has broken is armed again by a close beyond the middle of the channel the other way. State: bars,
    whether the upper and the lower side have broken, both extremes, then rings of n highs and of n lows.
    """
    top, bottom = _extreme(s, 3, 5, n, 1.0, high), _extreme(s, 4, 5 + n, n, -1.0, low)
    signal = math.nan
    if s[0] >= n:
        middle = 0.5 * (top + bottom)
        signal = 0.0
        if close > top and s[1] == 0.0:
            signal = 1.0
        elif close < bottom and s[2] == 0.0:
            signal = -1.0
        s[1] = 1.0 if close > top else 0.0 if close < middle else s[1]
        s[2] = 1.0 if close < bottom else 0.0 if close > middle else s[2]
    s[0] += 1.0
    return signal
