"""Trend of bars: direction and its strength. Step forms as in `rooney.kernels.indicators.price`."""

import math

from rooney.kernels.array_types import F64
from rooney.kernels.indicators.statistics import wilder
from rooney.kernels.jit import njit


@njit(cache=True)
def directional(plus: float, minus: float, spread: float) -> float:
    """Directional index of smoothed movements and true range, 0 to 100; 0 where nothing moved."""
    if spread <= 0.0:
        return 0.0
    up = 100.0 * plus / spread
    down = 100.0 * minus / spread
    return 100.0 * abs(up - down) / (up + down) if up + down > 0.0 else 0.0


@njit(cache=True)
def adx(s: F64, n: int, open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Average directional index, 0 to 100; first after 2 n bars.

    Wilder (1978), section IV; every average is seeded with the mean of its first n values (TA-Lib seeds with n - 1
    values: equal once both have forgotten their start). State: bars, last high, low and close, averages of true range,
    plus and minus movement, and of the directional index.
    """
    seen = int(s[0])
    s[0] = seen + 1.0
    up = high - s[1]
    down = s[2] - low
    spread = max(high, s[3]) - min(low, s[3])
    s[1] = high
    s[2] = low
    s[3] = close
    if seen == 0:
        return math.nan
    plus = up if up > down and up > 0.0 else 0.0
    minus = down if down > up and down > 0.0 else 0.0
    if seen <= n:
        s[4] += spread
        s[5] += plus
        s[6] += minus
        if seen < n:
            return math.nan
        s[4] /= n
        s[5] /= n
        s[6] /= n
    else:
        s[4] = wilder(s[4], spread, n)
        s[5] = wilder(s[5], plus, n)
        s[6] = wilder(s[6], minus, n)
    index = directional(s[5], s[6], s[4])
    if seen < 2 * n:
        s[7] += index
        if seen < 2 * n - 1:
            return math.nan
        s[7] /= n
    else:
        s[7] = wilder(s[7], index, n)
    average: float = s[7]
    return average


@njit(cache=True)
def psar(s: F64, n: tuple[float, float], open_: float, high: float, low: float, close: float, volume: float) -> float:
    """Parabolic stop and reverse in points; from the second bar on. n: step of the acceleration, its maximum.

    Wilder (1978), section II. The first trend is that of the first two closes (up when equal), entered by a reversal
    at the second bar. State: bars, 1 in an up trend, acceleration, stop of the next bar, extreme price, last high, low
    and close.
    """
    step, most = n[0], n[1]
    seen = s[0]
    s[0] = seen + 1.0
    last_high, last_low, last_close = s[5], s[6], s[7]
    s[5] = high
    s[6] = low
    s[7] = close
    if seen == 0.0:
        return math.nan
    if seen == 1.0:
        # A trend the other way with a stop inside the bar, so that this bar reverses it.
        s[3] = (high + low) / 2.0
        s[2] = step
        s[1] = 0.0 if close >= last_close else 1.0
        s[4] = last_low if close >= last_close else last_high
    stop, extreme, acceleration = s[3], s[4], s[2]
    rising = s[1] > 0.5
    if (rising and stop >= low) or (not rising and stop <= high):
        rising = not rising
        stop = extreme
        extreme = high if rising else low
        acceleration = step
    value = stop
    if rising and high > extreme:
        extreme = high
        acceleration = min(acceleration + step, most)
    elif not rising and low < extreme:
        extreme = low
        acceleration = min(acceleration + step, most)
    stop += acceleration * (extreme - stop)
    if rising:
        stop = min(stop, min(low, last_low))
    else:
        stop = max(stop, max(high, last_high))
    s[1] = 1.0 if rising else 0.0
    s[2] = acceleration
    s[3] = stop
    s[4] = extreme
    return value
