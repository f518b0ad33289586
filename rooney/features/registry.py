"""Features and the kernels they are made of, by name: what each needs, how it starts, what moves with a roll."""

from collections.abc import Callable
from typing import Any

import msgspec

from rooney.errors import StrategyError
from rooney.features.feature import Feature
from rooney.kernels.indicators import (
    arithmetic,
    bands,
    calendar,
    channels,
    momentum,
    patterns,
    pivots,
    price,
    ranks,
    statistics,
    trend,
    volatility,
)
from rooney.kernels.indicators import reevaluation_v1 as again
from rooney.kernels.indicators import statistics_v1 as onepass

MAX_LENGTH = 100_000
Length = Any  # a number, or a tuple of numbers
Stretches = tuple[tuple[int, int], ...]


class Kernel(msgspec.Struct, frozen=True):
    """One entry of the registry.

    update:        the step form; `inputs` says which
    inputs:        "bar":    update(s, n, open_, high, low, close, volume)
                   "time":   update(s, n, local_ns), start of the bar on the exchange's wall clock, ns
                   "series": update(s, n, x), x another feature's value
                   "two":    update(s, n, x, y)
    slots:         float64 state for length n, all zeros before the first bar; at least one
    warm_up:       bars, or values of the inputs, up to and with the first value
    price_slots:   stretches of state [first, past) that move with the contract on a roll; for "series" and "two" only
                   when (the first) input is a price
    value:         "number", "price", "as input" (a price if the input is), "difference" (a price moved by what input 0
                   moves less what input 1 moves)
    research_only: reads the future or cannot be known live
    again:         update(s, n), over features update(s, n, x) or (s, n, x, y): its value when the old system looked at
                   the same bar a second time; None: the same

    `slots`, `warm_up` and `price_slots` raise StrategyError for a length that cannot be.
    """

    name: str
    update: Callable[..., float]
    inputs: str
    slots: Callable[[Any], int]
    warm_up: Callable[[Any], int]
    formula: str
    source: str
    price_slots: Callable[[Any], Stretches] | None
    value: str
    research_only: bool = False
    again: Callable[..., float] | None = None


def is_research_only(feature: Feature) -> bool:
    """Whether it, or what it is made of, reads the future or cannot be known live."""
    kernel = KERNELS.get(feature.kernel)
    own = feature.timeframe == "daily_ahead" or (kernel is not None and kernel.research_only)
    return own or any(is_research_only(of) for of in feature.of)


def place_of(function: Callable[..., float]) -> tuple[str, str]:
    """Module and name of a kernel's function, compiled or not."""
    plain = getattr(function, "py_func", function)
    return plain.__module__, plain.__name__


def bars(n: Length, least: int = 1) -> int:
    """A length in whole bars. Raises StrategyError."""
    if isinstance(n, bool | str | tuple) or int(n) != n or not least <= n <= MAX_LENGTH:
        raise StrategyError(f"length {n!r}; it must be a whole number of bars from {least} to {MAX_LENGTH}")
    return int(n)


def parts(n: Length, *names: str) -> tuple[Any, ...]:
    """A length that is a tuple of numbers. Raises StrategyError."""
    if not isinstance(n, tuple) or len(n) != len(names):
        raise StrategyError(f"length {n!r}; it must be ({', '.join(names)})")
    if any(isinstance(part, bool | str) for part in n):
        raise StrategyError(f"length {n!r}; ({', '.join(names)}) are numbers")
    return n


def _one(n: Length) -> int:
    return 1


def _band(n: Length) -> int:
    length, deviations = parts(n, "values", "deviations")
    if not deviations > 0:
        raise StrategyError(f"length {n!r}; a band is more than 0 deviations wide")
    return bars(length, 2)


def _sides(n: Length) -> int:
    left, right, first = parts(n, "bars to the left", "bars to the right", "first bar")
    bars(first)
    return bars(left) + bars(right) + 1


def _cross(n: Length) -> int:
    short, long = parts(n, "values of the mean", "values of the deviation")
    if bars(short) > bars(long, 2):
        raise StrategyError(f"length {n!r}; the mean cannot be longer than the deviation")
    return int(long)


def _distance(n: Length) -> int:
    mean, changes = parts(n, "values of the mean", "changes of the deviation")
    return max(bars(mean), bars(changes, 2) + 1)


def _spiral(n: Length) -> int:
    lengths = [bars(length) for length in parts(n, "short", "middle", "long")]
    if lengths != sorted(lengths):
        raise StrategyError(f"length {n!r}; the three lengths must not fall")
    return lengths[2]


def _positive(n: Length, *names: str) -> None:
    if not all(part > 0 for part in parts(n, *names)):
        raise StrategyError(f"length {n!r}; ({', '.join(names)}) are above 0")


def _sar(n: Length) -> int:
    _positive(n, "step", "largest acceleration")
    return 8


def _compression(n: Length) -> int:
    _positive(n, "threshold", "tau in bars")
    return 1


_REGISTERED: dict[str, Kernel] = {}


def _bar(
    name: str,
    update: Callable[..., float],
    slots: Callable[[Any], int],
    warm_up: Callable[[Any], int],
    formula: str,
    source: str = "",
    price_slots: Callable[[Any], Stretches] | None = None,
    value: str = "number",
) -> None:
    _REGISTERED[name] = Kernel(name, update, "bar", slots, warm_up, formula, source, price_slots, value)


def _time(name: str, update: Callable[..., float], formula: str) -> None:
    _REGISTERED[name] = Kernel(name, update, "time", _one, _one, formula, "old system §1.7", None, "number")


def _ring(
    name: str,
    update: Callable[..., float],
    size: Callable[[Any], int],
    formula: str,
    source: str,
    value: str = "number",
    warm_up: Callable[[Any], int] | None = None,
) -> None:
    """A series kernel that keeps a number and a ring of `size` values, and needs them all unless told otherwise."""
    _REGISTERED[name] = Kernel(
        name, update, "series", lambda n: size(n) + 1, warm_up or size, formula, source,
        lambda n: ((1, size(n) + 1),), value,
    )  # fmt: skip


def _two(name: str, update: Callable[..., float], formula: str, source: str = "", value: str = "number") -> None:
    _REGISTERED[name] = Kernel(name, update, "two", _one, _one, formula, source, None, value)


_bar("open", price.price_open, _one, _one, "open", value="price")
_bar("high", price.price_high, _one, _one, "high", value="price")
_bar("low", price.price_low, _one, _one, "low", value="price")
_bar("close", price.last_close, _one, _one, "close", value="price")
_bar("volume", price.traded, _one, _one, "volume")
_bar("range", price.bar_range, _one, _one, "high - low")
_bar("bar_number", price.bar_number, _one, _one, "bars so far")
_bar("zero_v1", price.zero_v1, _one, _one, "0", "old system §3.3")
_bar("ibs", price.ibs, _one, _one, "(close - low) / (high - low), 0.5 without range", "old system §2.1")
_bar(
    "true_range", volatility.true_range, lambda n: 2, lambda n: 2,
    "max(high, close before) - min(low, close before)", "Wilder 1978, section III", lambda n: ((1, 2),),
)  # fmt: skip
_bar(
    "rsi", momentum.rsi, lambda n: 4, lambda n: bars(n) + 1,
    "100 g / (g + l), g and l Wilder averages of changes", "Wilder 1978, section VI", lambda n: ((1, 2),),
)  # fmt: skip
_bar(
    "rsi_v1", momentum.rsi_v1, lambda n: 4, lambda n: bars(n) + 1,
    "100 - 100 / (1 + g / l of the bar before), 0 where that l < 1e-12", "old system §2.3", lambda n: ((1, 2),),
)  # fmt: skip
_bar(
    "atr", volatility.atr, lambda n: 3, lambda n: bars(n) + 1,
    "Wilder average of the true range", "Wilder 1978, section III", lambda n: ((1, 2),),
)  # fmt: skip
_bar(
    "adx", trend.adx, lambda n: 8, lambda n: 2 * bars(n),
    "Wilder average of 100 |p - m| / (p + m), p and m smoothed movements", "Wilder 1978, section IV",
    lambda n: ((1, 4),),
)  # fmt: skip
_bar(
    "psar", trend.psar, _sar, lambda n: 2, "parabolic stop and reverse", "Wilder 1978, section II; old system §2.4",
    lambda n: ((3, 8),), "price",
)  # fmt: skip
_bar(
    "channel_high", channels.channel_high, lambda n: bars(n) + 1, lambda n: bars(n) + 1,
    "max(high) of the n bars before this one", "Donchian", lambda n: ((1, bars(n) + 1),), "price",
)  # fmt: skip
_bar(
    "channel_low", channels.channel_low, lambda n: bars(n) + 1, lambda n: bars(n) + 1,
    "min(low) of the n bars before this one", "Donchian", lambda n: ((1, bars(n) + 1),), "price",
)  # fmt: skip
_bar(
    "channel_side", channels.channel_side, lambda n: 2 * bars(n) + 1, lambda n: bars(n) + 1,
    "1 close above, 2 below, 3 inside the channel of the n bars before", "Donchian; old system §1.7",
    lambda n: ((1, 2 * bars(n) + 1),),
)  # fmt: skip
_bar("channel_side_v1", channels.channel_side_v1, _one, bars, "3", "old system §1.7")
_bar(
    "fresh_break", channels.fresh_break, lambda n: 2 * bars(n) + 3, lambda n: bars(n) + 1,
    "1 first close above the channel of the n bars before since one beyond its middle, -1 first below, else 0",
    "Donchian", lambda n: ((3, 2 * bars(n) + 3),),
)  # fmt: skip
_bar(
    "channel_distance", channels.channel_distance, lambda n: 2 * bars(n) + 1, lambda n: bars(n) + 1,
    "points from the close to the nearer edge of the channel of the n bars before", "old system §1.7",
    lambda n: ((1, 2 * bars(n) + 1),),
)  # fmt: skip
_bar(
    "pivot_high", pivots.pivot_high, lambda n: _sides(n) + 4, lambda n: max(_sides(n), n[2]),
    "last high above the n[0] before it and at least the n[1] after it", "old system §1.7",
    lambda n: ((2, _sides(n) + 4),), "price",
)  # fmt: skip
_bar(
    "pivot_low", pivots.pivot_low, lambda n: _sides(n) + 4, lambda n: max(_sides(n), n[2]),
    "last low below the n[0] before it and at most the n[1] after it", "old system §1.7",
    lambda n: ((2, _sides(n) + 4),), "price",
)  # fmt: skip
_bar(
    "pivot_position", pivots.pivot_position, lambda n: 2 * _sides(n) + 7, lambda n: max(_sides(n), n[2]),
    "1 close above the last pivot high, 3 below the last pivot low, else 2", "old system §1.7",
    lambda n: ((2, _sides(n) + 4), (_sides(n) + 5, 2 * _sides(n) + 7)),
)  # fmt: skip
_bar(
    "inside_pivots", pivots.inside_pivots, lambda n: 2 * _sides(n) + 7, lambda n: max(_sides(n), n[2]),
    "1 last pivot low <= close <= last pivot high, else 2", "old system §1.7",
    lambda n: ((2, _sides(n) + 4), (_sides(n) + 5, 2 * _sides(n) + 7)),
)  # fmt: skip
_bar(
    "pivot_higher_high", pivots.pivot_higher_high, lambda n: _sides(n) + 4, lambda n: max(_sides(n), n[2]),
    "1 last pivot high above the one before and high above both, else 2", "old system §1.7",
    lambda n: ((2, _sides(n) + 4),),
)  # fmt: skip
_bar("bear_run", patterns.bear_run, _one, _one, "bars in a row with close < open", "old system §1.7")
_bar("bull_run", patterns.bull_run, _one, _one, "bars in a row with close > open", "old system §1.7")
_bar(
    "inside_bar", patterns.inside_bar, lambda n: 3, lambda n: 2,
    "1 high and low within those of the bar before, else 2", "old system §1.7", lambda n: ((1, 3),),
)  # fmt: skip
_bar(
    "narrowest", patterns.narrowest, bars, bars, "1 range below each of the n - 1 before, else 2",
    "Crabel 1990 (NR7); old system §1.7",
)  # fmt: skip

_time("date", calendar.date_number, "days since 1970-01-01")
_time("weekday", calendar.weekday, "ISO weekday, 1 to 7")
_time("month", calendar.month, "1 to 12")
_time("day", calendar.day, "1 to 31")
_time("day_after", calendar.day_after, "1 day of the month > n, else 2")
_time("week_start", calendar.week_start, "1 Monday or Tuesday, else 2")
_time("even_odd", calendar.even_odd, "1 even, 2 odd day of the month")
_time("hhmm", calendar.hhmm, "100 hour + minute")
_time("session_code", calendar.session_code, "1 < 08:00, 2 < 15:00, 4 < 17:00, 3 from then")
_time("open_close", calendar.open_close, "1 08:00 to 08:59, 2 14:00 to 14:59, else 0")

_ring("sma", statistics.sma, bars, "mean of n", "old system §2.2", "as input")
_REGISTERED["ema"] = Kernel(
    "ema", statistics.ema, "series", lambda n: 2, bars, "a + 2 / (n + 1) (x - a), seed: mean of n",
    "old system §2.2", lambda n: ((1, 2),), "as input",
)  # fmt: skip
_ring("stdev", statistics.stdev, lambda n: bars(n, 2), "sqrt(mean((x - mean)²)) of n", "old system §2.2")
_ring(
    "stdev_sample", statistics.stdev_sample, lambda n: bars(n, 2), "sqrt(sum((x - mean)²) / (n - 1)) of n",
    "old system §2.2",
)  # fmt: skip
_ring("zscore", statistics.zscore, lambda n: bars(n, 2), "(x - mean) / (stdev + 1e-12) of n", "old system §2.5")
_ring("cross_z", statistics.cross_z, _cross, "(x - mean of n[0]) / max(stdev of n[1], 1e-12)", "old system §1.7, §2.5")
_ring("stdev_floored", statistics.stdev_floored, lambda n: bars(n, 2), "max(stdev of n, 1e-12)", "old system §1.7")
_ring("zscore_v1", onepass.zscore_v1, lambda n: bars(n, 2), "zscore, in one pass", "old system §2.2, §2.5")
_ring("cross_z_v1", onepass.cross_z_v1, _cross, "cross_z, in one pass", "old system §2.2, §2.5")
_REGISTERED["distance_z_v1"] = Kernel(
    "distance_z_v1", onepass.distance_z_v1, "series", lambda n: _distance(n) + int(n[0] + n[1]) + 2, _distance,
    "distance_z, in one pass", "old system §2.2, §2.5", lambda n: ((1, int(n[0]) + 1),), "number",
)  # fmt: skip
_ring(
    "distance_z", statistics.distance_z, _distance, "(x - mean of n[0]) / (stdev of n[1] changes + 1e-12)",
    "old system §2.5",
)  # fmt: skip
_ring("lag", statistics.lag, bars, "x n before", "", "as input", lambda n: bars(n) + 1)
_ring("change", statistics.change, bars, "x - x n before", "old system §2.4", warm_up=lambda n: bars(n) + 1)
_ring("return_pct", statistics.return_pct, bars, "100 (x - x n before) / x n before", "old system §1.7",
      warm_up=lambda n: bars(n) + 1)  # fmt: skip
_ring(
    "drift", statistics.drift, lambda n: bars(n, 2) + 1, "(x / x n before - 1) / sample stdev of n returns",
    "old system §1.7, §2.2",
)  # fmt: skip
_ring("efficiency_ratio", statistics.efficiency_ratio, lambda n: bars(n) + 1, "|x - x n before| / sum |changes|",
      "Kaufman 1995")  # fmt: skip
_ring(
    "spiral", statistics.spiral, lambda n: _spiral(n) + 1,
    "mean of efficiency ratios over n[0], n[1], n[2], weights 1/2, 1/4, 1/8", "old system §1.7",
    warm_up=lambda n: int(n[0]) + 1,
)  # fmt: skip
_ring("percentile", ranks.percentile, bars, "(below + 1 + up to) / 2 n of n", "old system §2.6")
_ring("percentile_strict", ranks.percentile_strict, bars, "100 below / n of n", "old system §2.6")
_ring("median", ranks.median, bars, "median of n", "old system §2.2", "as input")
_ring("bollinger_upper", bands.bollinger_upper, _band, "mean + n[1] stdev of n[0]", "Bollinger", "as input")
_ring("bollinger_lower", bands.bollinger_lower, _band, "mean - n[1] stdev of n[0]", "Bollinger", "as input")
_ring("bollinger_position", bands.bollinger_position, _band, "(x - lower) / (upper - lower)", "Bollinger (%b)")
_ring("bollinger_excess", bands.bollinger_excess, _band, "(x - upper) / (upper - lower)", "old system §1.7")
_ring(
    "bollinger_position_v1", onepass.bollinger_position_v1, _band, "bollinger_position, in one pass", "old system §2.2"
)
_ring("bollinger_width_v1", onepass.bollinger_width_v1, _band, "bollinger_width, in one pass", "old system §2.2")
_ring("bollinger_width", bands.bollinger_width, _band, "(upper - lower) / mean", "Bollinger (bandwidth)")
_REGISTERED["absolute"] = Kernel("absolute", arithmetic.absolute, "series", _one, _one, "|x|", "", None, "number")
_REGISTERED["compression"] = Kernel(
    "compression", arithmetic.compression, "series", _compression, _one,
    "clip((n[0] - x) / n[0], 0, 1) (1 - exp(-bars below / n[1]))", "old system §1.7 (TWRC)", None, "number",
)  # fmt: skip

_two("difference", arithmetic.difference, "x - y", value="difference")
_two("product", arithmetic.product, "x y")
_two("ratio", arithmetic.ratio, "x / y")
_two("ratio_v1", arithmetic.ratio_v1, "x / y, infinite while only x is missing", "old system §1.7 (slopes)")
_two("above", arithmetic.above, "1 x > y, else 2", "old system §1.7")
_two("below", arithmetic.below, "1 x < y, else 2", "old system §1.7")
_two("from_number", arithmetic.from_number, "x once y >= n", value="as input")
for _name, _update, _formula in (
    ("percentile_v1", ranks.percentile_v1, "mid-rank among all values, one per change of y; at most n kept"),
    ("percentile_strict_v1", ranks.percentile_strict_v1, "100 below / count of up to n values, one per change of y"),
):
    _REGISTERED[_name] = Kernel(
        _name, _update, "two", lambda n: bars(n) + 3, _one, _formula, "old system §2.6",
        lambda n: ((1, bars(n) + 1),), "number",
    )  # fmt: skip

_REGISTERED["remembered_v1"] = Kernel(
    "remembered_v1", again.remembered_v1, "series", _one, _one, "x when the last evaluation ended", "old system §1.7",
    None, "as input",
)  # fmt: skip
for _name, _again in (
    ("rsi_v1", again.rsi_v1),
    ("pivot_higher_high", again.pivot_higher_high),
    ("zscore_v1", onepass.zscore_v1_again),
    ("percentile_v1", ranks.percentile_v1),  # its marker may be that of another instrument, which has a new bar
):
    _REGISTERED[_name] = msgspec.structs.replace(_REGISTERED[_name], again=_again)

KERNELS = _REGISTERED
