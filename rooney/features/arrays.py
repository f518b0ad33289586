"""Features over arrays, for research: the very kernels that trade, looped.

Columns are numpy arrays or anything numpy can read (a polars Series, a list), all equally long, oldest bar first; out
comes float64 of the same length, NaN where there are not enough bars yet. Lengths that cannot be raise ValueError.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rooney.errors import StrategyError
from rooney.features.catalogue import catalogue
from rooney.features.feature import Feature
from rooney.features.kernel import Kernel
from rooney.features.kernel_registry import KERNELS
from rooney.kernels.array_types import F64, I64
from rooney.kernels.indicators import vectorized as arrays

COLUMNS = ("open", "high", "low", "close", "volume")

# Array forms with the same bits as the loop over the step form.
FAST: dict[str, Callable[..., None]] = {
    "ibs": arrays.ibs,
    "true_range": arrays.true_range,
    "rsi": arrays.rsi,
    "atr": arrays.atr,
    "adx": arrays.adx,
    "channel_high": arrays.channel_high,
    "channel_low": arrays.channel_low,
    "change": arrays.change,
    "return_pct": arrays.return_pct,
    "sma": arrays.sma,
    "ema": arrays.ema,
    "stdev": arrays.stdev,
    "zscore": arrays.zscore,
}


def _columns(**given: ArrayLike) -> list[F64]:
    columns = [np.ascontiguousarray(column, np.float64) for column in given.values()]
    if columns[0].ndim != 1 or any(column.shape != columns[0].shape for column in columns):
        shapes = ", ".join(f"{name} {column.shape}" for name, column in zip(given, columns, strict=True))
        raise ValueError(f"columns must be one-dimensional and equally long, got {shapes}")
    return columns


def _state(kernel: Kernel, n: Any) -> F64:
    try:
        kernel.warm_up(n)
        return np.zeros(kernel.slots(n))
    except StrategyError as error:
        raise ValueError(f"{kernel.name}: {error}") from None


def over_bars(name: str, n: Any, columns: list[F64]) -> F64:
    """A kernel of bars over open, high, low, close and volume."""
    state, out = _state(KERNELS[name], n), np.empty(len(columns[3]))
    if name in FAST:
        FAST[name](n, *columns[1:4], out)
    else:
        arrays.over_bars(KERNELS[name].update, state, n, np.array(columns), out)
    return out


def over_series(name: str, n: Any, x: F64) -> F64:
    """A kernel of one series."""
    state, out = _state(KERNELS[name], n), np.empty(len(x))
    if name in FAST and not np.isnan(x).any():
        FAST[name](n, x, out)
    else:
        arrays.over_series(KERNELS[name].update, state, n, x, out)
    return out


def over_two(name: str, n: Any, x: F64, y: F64) -> F64:
    """A kernel of two series."""
    out = np.empty(len(x))
    arrays.over_two(KERNELS[name].update, _state(KERNELS[name], n), n, x, y, out)
    return out


def over_times(name: str, n: Any, local_ns: I64) -> F64:
    """A kernel of the exchange's wall clock; `local_ns`: starts of bars, int64 ns."""
    out = np.empty(len(local_ns))
    arrays.over_times(KERNELS[name].update, _state(KERNELS[name], n), n, local_ns, out)
    return out


def calculate(feature: Feature | str, bars: Any) -> F64:
    """A feature, or one of the catalogue by name, over the bars of one instrument and timeframe.

    bars: columns by name (a mapping or a polars DataFrame): open, high, low, close, volume; for calendar features
          `local_ns`, the start of the bar on the exchange's wall clock in int64 ns

    Raises ValueError for a feature that needs another instrument or timeframe, StrategyError for an unknown name.
    """
    wanted = catalogue(feature) if isinstance(feature, str) else feature
    return _calculate(wanted, wanted.timeframe, bars)


def _calculate(feature: Feature, timeframe: str, bars: Any) -> F64:
    if feature.symbol or feature.timeframe != timeframe:
        of = f"of {feature.symbol or 'the instrument'} on {feature.timeframe} bars"
        raise ValueError(f"{feature.kernel} {of} cannot be worked out from {timeframe} bars of one instrument")
    if feature.kernel not in KERNELS:
        raise StrategyError(f"kernel {feature.kernel!r} is not in the library; it has {', '.join(sorted(KERNELS))}")
    kernel, n = KERNELS[feature.kernel], feature.length
    inputs = [_calculate(of, timeframe, bars) for of in feature.of]
    if len(inputs) != {"series": 1, "two": 2}.get(kernel.inputs, 0):
        raise ValueError(f"{kernel.name} takes {kernel.inputs!r} as its input, got {len(inputs)} features")
    if kernel.inputs == "time":
        return over_times(kernel.name, n, np.ascontiguousarray(bars["local_ns"], np.int64))
    if kernel.inputs == "bar":
        return over_bars(kernel.name, n, _columns(**{name: bars[name] for name in COLUMNS}))
    return over_series(kernel.name, n, inputs[0]) if kernel.inputs == "series" else over_two(kernel.name, n, *inputs)


def _of_bars(name: str, n: Any, high: ArrayLike, low: ArrayLike, close: ArrayLike) -> F64:
    h, l, c = _columns(high=high, low=low, close=close)  # noqa: E741
    return over_bars(name, n, [c, h, l, c, c])


def _of_series(name: str, n: Any, x: ArrayLike) -> F64:
    return over_series(name, n, _columns(values=x)[0])


def calculate_ibs(high: ArrayLike, low: ArrayLike, close: ArrayLike) -> F64:
    """Internal bar strength per bar, in [0, 1]; 0.5 for bars without range."""
    return _of_bars("ibs", 1, high, low, close)


def calculate_true_range(high: ArrayLike, low: ArrayLike, close: ArrayLike) -> F64:
    """True range per bar, in points; NaN for the first bar."""
    return _of_bars("true_range", 1, high, low, close)


def calculate_rsi(close: ArrayLike, n: int = 14) -> F64:
    """Wilder's RSI per bar, 0 to 100; NaN for the first n bars."""
    return _of_bars("rsi", n, close, close, close)


def calculate_atr(high: ArrayLike, low: ArrayLike, close: ArrayLike, n: int = 14) -> F64:
    """Wilder's average true range per bar, in points; NaN for the first n bars."""
    return _of_bars("atr", n, high, low, close)


def calculate_adx(high: ArrayLike, low: ArrayLike, close: ArrayLike, n: int = 14) -> F64:
    """Wilder's average directional index per bar, 0 to 100; NaN for the first 2 n - 1 bars."""
    return _of_bars("adx", n, high, low, close)


def calculate_psar(high: ArrayLike, low: ArrayLike, close: ArrayLike, step: float = 0.02, most: float = 0.2) -> F64:
    """Parabolic stop and reverse per bar, in points; NaN for the first bar."""
    return _of_bars("psar", (step, most), high, low, close)


def calculate_channel(high: ArrayLike, low: ArrayLike, n: int = 20) -> tuple[F64, F64]:
    """Lowest low and highest high of the n bars before each, in points; NaN for the first n bars."""
    return _of_bars("channel_low", n, high, low, low), _of_bars("channel_high", n, high, low, low)


def calculate_sma(values: ArrayLike, n: int = 20) -> F64:
    """Mean of the last n values; NaN for the first n - 1. A NaN among the values is passed over."""
    return _of_series("sma", n, values)


def calculate_ema(values: ArrayLike, n: int = 20) -> F64:
    """Exponential average with weight 2 / (n + 1), seeded with the mean of the first n; NaN for the first n - 1."""
    return _of_series("ema", n, values)


def calculate_stdev(values: ArrayLike, n: int = 20) -> F64:
    """Population standard deviation of the last n values; NaN for the first n - 1."""
    return _of_series("stdev", n, values)


def calculate_zscore(values: ArrayLike, n: int = 20) -> F64:
    """Standard score of each value among the last n, itself included; NaN for the first n - 1."""
    return _of_series("zscore", n, values)


def calculate_return_pct(values: ArrayLike, n: int = 1) -> F64:
    """Return over n values in percent; NaN for the first n and where the value before is 0."""
    return _of_series("return_pct", n, values)


def calculate_bollinger(values: ArrayLike, n: int = 20, deviations: float = 2.0) -> tuple[F64, F64, F64]:
    """Lower band, mean and upper band: the mean of the last n values and `deviations` population deviations around.

    NaN for the first n - 1 values.
    """
    x = _columns(values=values)[0]
    _state(KERNELS["bollinger_upper"], (n, deviations))
    if np.isnan(x).any():
        lower, upper = (over_series(name, (n, deviations), x) for name in ("bollinger_lower", "bollinger_upper"))
        return lower, over_series("sma", n, x), upper
    lower, middle, upper = np.empty(len(x)), np.empty(len(x)), np.empty(len(x))
    arrays.bollinger(n, deviations, x, lower, middle, upper)
    return lower, middle, upper
