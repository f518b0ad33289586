"""Array forms: the step forms over whole arrays.

`over_*` loop over any step form. The rest are written out for speed: state in registers, windows worked out for many
bars side by side (each with its own sum, from the oldest value to the newest, so that processors may take several at
once), extremes found again only when they leave. They give the same bits as the step forms, which a test holds them to,
for series without NaN.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rooney.kernels.array_types import F64, I64
from rooney.kernels.indicators.momentum import strength
from rooney.kernels.indicators.statistics import TINY, seeded, smoothed, wilder
from rooney.kernels.indicators.trend import directional
from rooney.kernels.jit import njit, njit_allocating

Update = Callable[..., float]
BLOCK = 1024  # bars; a block of the output stays in the first-level cache


@njit
def over_bars(update: Update, s: F64, n: Any, bars: F64, out: F64) -> None:
    """bars: float64[(open, high, low, close, volume), bar]; one array is compiled much faster than five."""
    for i in range(len(out)):
        out[i] = update(s, n, bars[0, i], bars[1, i], bars[2, i], bars[3, i], bars[4, i])


@njit
def over_times(update: Update, s: F64, n: Any, local_ns: I64, out: F64) -> None:
    for i in range(len(out)):
        out[i] = update(s, n, local_ns[i])


@njit
def over_series(update: Update, s: F64, n: Any, x: F64, out: F64) -> None:
    for i in range(len(out)):
        out[i] = update(s, n, x[i])


@njit
def over_two(update: Update, s: F64, n: Any, x: F64, y: F64, out: F64) -> None:
    for i in range(len(out)):
        out[i] = update(s, n, x[i], y[i])


@njit(cache=True)
def _warming(out: F64, n: int) -> bool:
    """NaN for the first n bars; whether there are no others."""
    for i in range(min(n, len(out))):
        out[i] = math.nan
    return len(out) <= n


@njit(cache=True)
def ibs(n: int, high: F64, low: F64, close: F64, out: F64) -> None:
    for i in range(len(out)):
        span = high[i] - low[i]
        out[i] = (close[i] - low[i]) / span if span > 0.0 else 0.5


@njit(cache=True)
def true_range(n: int, high: F64, low: F64, close: F64, out: F64) -> None:
    if _warming(out, 1):
        return
    high, low, before, out = high[1:], low[1:], close[:-1], out[1:]
    for i in range(len(out)):
        out[i] = max(high[i], before[i]) - min(low[i], before[i])


@njit(cache=True)
def rsi(n: int, high: F64, low: F64, close: F64, out: F64) -> None:
    if _warming(out, n):
        return
    gain, loss = 0.0, 0.0
    for i in range(1, n + 1):
        change = close[i] - close[i - 1]
        gain += change if change > 0.0 else 0.0
        loss += -change if change < 0.0 else 0.0
    gain /= n
    loss /= n
    out[n] = strength(gain, loss)
    before, close, out = close[n:-1], close[n + 1 :], out[n + 1 :]
    for i in range(len(out)):
        change = close[i] - before[i]
        gain = wilder(gain, change if change > 0.0 else 0.0, n)
        loss = wilder(loss, -change if change < 0.0 else 0.0, n)
        out[i] = strength(gain, loss)


@njit(cache=True)
def atr(n: int, high: F64, low: F64, close: F64, out: F64) -> None:
    if _warming(out, n):
        return
    average = 0.0
    for i in range(1, n + 1):
        average += max(high[i], close[i - 1]) - min(low[i], close[i - 1])
    average /= n
    out[n] = average
    high, low, before, out = high[n + 1 :], low[n + 1 :], close[n:-1], out[n + 1 :]
    for i in range(len(out)):
        average = wilder(average, max(high[i], before[i]) - min(low[i], before[i]), n)
        out[i] = average


@njit(cache=True)
def adx(n: int, high: F64, low: F64, close: F64, out: F64) -> None:
    if _warming(out, 2 * n - 1):
        return
    spread, plus, minus, average = 0.0, 0.0, 0.0, 0.0
    for i in range(1, len(out)):
        up, down = high[i] - high[i - 1], low[i - 1] - low[i]
        reach = max(high[i], close[i - 1]) - min(low[i], close[i - 1])
        rise = up if up > down and up > 0.0 else 0.0
        fall = down if down > up and down > 0.0 else 0.0
        if i > n:
            spread, plus, minus = wilder(spread, reach, n), wilder(plus, rise, n), wilder(minus, fall, n)
        else:
            spread += reach
            plus += rise
            minus += fall
            if i < n:
                continue
            spread /= n
            plus /= n
            minus /= n
        index = directional(plus, minus, spread)
        if i >= 2 * n:
            average = wilder(average, index, n)
            out[i] = average
        else:
            average += index
            if i == 2 * n - 1:
                average /= n
                out[i] = average


@njit_allocating(cache=True)
def _highest(n: int, sign: float, x: F64, out: F64) -> None:
    """Largest of the n values before each (smallest for sign -1), after van Herk: in three comparisons, whatever n.

    x is cut into stretches of n; any window is the end of one and the beginning of the next.
    """
    if _warming(out, n):
        return
    ends = np.empty(n)
    for first in range(0, len(out) - n, n):
        ends[n - 1] = x[first + n - 1]
        for k in range(n - 2, -1, -1):
            value, best = x[first + k], ends[k + 1]
            ends[k] = value if sign * value > sign * best else best
        past = x[first + n :]
        block = out[first + n : first + 2 * n]
        beginning = ends[0]
        for k in range(len(block)):
            best = ends[k]
            if k > 0:
                value = past[k - 1]
                beginning = value if k == 1 or sign * value > sign * beginning else beginning
                best = beginning if sign * beginning > sign * best else best
            block[k] = best


@njit_allocating(cache=True)
def channel_high(n: int, high: F64, low: F64, close: F64, out: F64) -> None:
    _highest(n, 1.0, high, out)


@njit_allocating(cache=True)
def channel_low(n: int, high: F64, low: F64, close: F64, out: F64) -> None:
    _highest(n, -1.0, low, out)


@njit(cache=True)
def change(n: int, x: F64, out: F64) -> None:
    if _warming(out, n):
        return
    past, x, out = x[:-n], x[n:], out[n:]
    for i in range(len(out)):
        out[i] = x[i] - past[i]


@njit(cache=True)
def return_pct(n: int, x: F64, out: F64) -> None:
    if _warming(out, n):
        return
    past, x, out = x[:-n], x[n:], out[n:]
    for i in range(len(out)):
        out[i] = (x[i] - past[i]) / past[i] * 100.0 if past[i] != 0.0 else math.nan


@njit(cache=True)
def ema(n: int, x: F64, out: F64) -> None:
    if _warming(out, n - 1):
        return
    average = 0.0
    for i in range(n):
        average = seeded(average, x[i], i + 1)
    out[n - 1] = average
    x, out = x[n:], out[n:]
    for i in range(len(out)):
        average = smoothed(average, x[i], n)
        out[i] = average


@njit(cache=True)
def _means(n: int, x: F64, first: int, out: F64) -> None:
    """Means of the n values up to each bar from `first` on."""
    m = len(out)
    for i in range(m):
        out[i] = 0.0
    k = first - n + 1
    while k + 3 <= first:
        a, b, c, d = x[k : k + m], x[k + 1 : k + 1 + m], x[k + 2 : k + 2 + m], x[k + 3 : k + 3 + m]
        for i in range(m):
            out[i] = (((out[i] + a[i]) + b[i]) + c[i]) + d[i]
        k += 4
    while k <= first:
        a = x[k : k + m]
        for i in range(m):
            out[i] += a[i]
        k += 1
    for i in range(m):
        out[i] /= n


@njit(cache=True)
def _deviations(n: int, x: F64, first: int, means: F64, out: F64) -> None:
    """Population deviations of the n values up to each bar from `first` on."""
    m = len(out)
    for i in range(m):
        out[i] = 0.0
    k = first - n + 1
    while k + 1 <= first:
        a, b = x[k : k + m], x[k + 1 : k + 1 + m]
        for i in range(m):
            p, q = a[i] - means[i], b[i] - means[i]
            out[i] = (out[i] + p * p) + q * q
        k += 2
    while k <= first:
        a = x[k : k + m]
        for i in range(m):
            p = a[i] - means[i]
            out[i] += p * p
        k += 1
    for i in range(m):
        out[i] = math.sqrt(out[i] / n)


@njit(cache=True)
def sma(n: int, x: F64, out: F64) -> None:
    if _warming(out, n - 1):
        return
    for first in range(n - 1, len(out), BLOCK):
        _means(n, x, first, out[first : min(first + BLOCK, len(out))])


@njit_allocating(cache=True)
def stdev(n: int, x: F64, out: F64) -> None:
    if _warming(out, n - 1):
        return
    means = np.empty(BLOCK)
    for first in range(n - 1, len(out), BLOCK):
        block = out[first : min(first + BLOCK, len(out))]
        _means(n, x, first, means[: len(block)])
        _deviations(n, x, first, means[: len(block)], block)


@njit_allocating(cache=True)
def zscore(n: int, x: F64, out: F64) -> None:
    if _warming(out, n - 1):
        return
    means = np.empty(BLOCK)
    for first in range(n - 1, len(out), BLOCK):
        block = out[first : min(first + BLOCK, len(out))]
        _means(n, x, first, means[: len(block)])
        _deviations(n, x, first, means[: len(block)], block)
        last = x[first : first + len(block)]
        for i in range(len(block)):
            block[i] = (last[i] - means[i]) / (block[i] + TINY)


@njit(cache=True)
def bollinger(n: int, width: float, x: F64, lower: F64, middle: F64, upper: F64) -> None:
    """All three bands at once."""
    _warming(lower, n - 1)
    _warming(upper, n - 1)
    if _warming(middle, n - 1):
        return
    for first in range(n - 1, len(middle), BLOCK):
        past = min(first + BLOCK, len(middle))
        low, mid, high = lower[first:past], middle[first:past], upper[first:past]
        _means(n, x, first, mid)
        _deviations(n, x, first, mid, low)
        for i in range(len(mid)):
            half = width * low[i]
            high[i] = mid[i] + half
            low[i] = mid[i] - half
