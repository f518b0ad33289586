"""Momentum of bars: the relative strength index. Step forms as in `rooney.kernels.indicators.price`."""

import math

from rooney.kernels.array_types import F64
from rooney.kernels.indicators.statistics import wilder
from rooney.kernels.jit import njit


@njit(cache=True)
def _moves(s: F64, n: int, close: float) -> int:
    """Average gain s[2] and loss s[3] of the changes of the close s[1] up to this bar; number of changes so far."""
    seen = int(s[0])
    s[0] = seen + 1.0
    change = close - s[1]
    s[1] = close
    if seen == 0:
        return 0
    gain = change if change > 0.0 else 0.0
    loss = -change if change < 0.0 else 0.0
    if seen <= n:
        s[2] += gain
        s[3] += loss
        if seen == n:
            s[2] /= n
            s[3] /= n
    else:
        s[2] = wilder(s[2], gain, n)
        s[3] = wilder(s[3], loss, n)
    return seen


@njit(cache=True)
def strength(gain: float, loss: float) -> float:
    """RSI of an average gain and an average loss; 50 when nothing moved."""
    total = gain + loss
    return 100.0 * gain / total if total > 0.0 else 50.0


@njit(cache=True)
def rsi(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Relative strength index, 0 to 100; first after n + 1 bars. 50 when nothing moved.

    Wilder, New Concepts in Technical Trading Systems (1978), section VI: averages seeded with the mean of the first n
    changes. State: bars, last close, average gain, average loss.
    """
    if _moves(s, n, close) < n:
        return math.nan
    return strength(s[2], s[3])


@njit(cache=True)
def rsi_v1(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """RSI as the old system read it on a new bar: average gain of this bar over average loss of the bar before.

    0 (not 100) where that loss is below 1e-12. State as of `rsi`.
    """
    loss = s[3] if s[0] > n else 0.0
    if _moves(s, n, close) < n:
        return math.nan
    return 100.0 - 100.0 / (1.0 + s[2] / loss) if loss >= 1e-12 else 0.0
