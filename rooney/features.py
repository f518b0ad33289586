"""The feature library: named recursions, one registry, the same numbers step by step and over arrays.

`calculate_ibs`, `calculate_rsi` and `calculate_atr` take numpy arrays or anything numpy can read (a polars Series) and
run the very kernels that trade.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from rooney.errors import StrategyError
from rooney.kernels import indicators
from rooney.messages import TIMEFRAMES

F64 = NDArray[np.float64]


class Kernel(msgspec.Struct, frozen=True):
    """One entry of the registry.

    update:      name of the step form in `rooney.kernels.indicators`
    slots:       float64 state per length n
    warm_up:     bars before the first value, per length n
    price_slots: which slots hold prices, as (first, past the last): they move with the contract on a roll
    is_price:    the value itself is a price
    """

    name: str
    update: str
    slots: Callable[[int], int]
    warm_up: Callable[[int], int]
    formula: str
    source: str
    price_slots: Callable[[int], tuple[int, int]] | None = None
    is_price: bool = False


def _registry(*kernels: Kernel) -> dict[str, Kernel]:
    return {kernel.name: kernel for kernel in kernels}


KERNELS = _registry(
    Kernel(
        "ibs", "ibs", lambda n: 1, lambda n: 1, "(close - low) / (high - low), 0.5 without range",
        "old system §2.1",
    ),
    Kernel(
        "rsi", "rsi", lambda n: 4, lambda n: n + 1, "100 g / (g + l), g and l Wilder averages of changes",
        "Wilder 1978, section VI", price_slots=lambda n: (1, 2),
    ),
    Kernel(
        "atr", "atr", lambda n: 3, lambda n: n + 1, "Wilder average of the true range",
        "Wilder 1978, section III", price_slots=lambda n: (1, 2),
    ),
    Kernel(
        "channel_high", "channel_high", lambda n: n + 1, lambda n: n + 1, "max(high) of the n bars before this one",
        "Donchian", price_slots=lambda n: (1, n + 1), is_price=True,
    ),
    Kernel(
        "channel_low", "channel_low", lambda n: n + 1, lambda n: n + 1, "min(low) of the n bars before this one",
        "Donchian", price_slots=lambda n: (1, n + 1), is_price=True,
    ),
    Kernel("close", "last_close", lambda n: 1, lambda n: 1, "close", "", is_price=True),
)  # fmt: skip


class Feature(msgspec.Struct, frozen=True):
    """A named number a strategy reads: a kernel on one timeframe.

    length: bars, or the name of the strategy's parameter that gives them
    """

    kernel: str
    timeframe: str = "hourly"
    length: int | str = 1


class ResolvedFeature(msgspec.Struct, frozen=True):
    """A feature whose length is a number and whose state has its place in the slots of an instrument."""

    name: str
    kernel: Kernel
    timeframe: int
    length: int
    first_slot: int

    @property
    def past_slot(self) -> int:
        """One past its last slot."""
        return self.first_slot + self.kernel.slots(self.length)


def resolve(where: str, features: dict[str, Feature], params: dict[str, Any]) -> list[ResolvedFeature]:
    """Lay out the state of a strategy's features. `where` names the strategy file in errors (StrategyError)."""
    resolved: list[ResolvedFeature] = []
    slot = 0
    for name, feature in features.items():
        kernel = KERNELS.get(feature.kernel)
        if kernel is None:
            known = ", ".join(sorted(KERNELS))
            raise StrategyError(f"{where}: feature {name!r} asks for {feature.kernel!r}; the library has {known}")
        if feature.timeframe not in TIMEFRAMES:
            known = ", ".join(TIMEFRAMES)
            raise StrategyError(f"{where}: feature {name!r} is on {feature.timeframe!r}; timeframes are {known}")
        length = params.get(feature.length) if isinstance(feature.length, str) else feature.length
        if length is None:
            raise StrategyError(f"{where}: feature {name!r} takes its length from {feature.length!r}, no parameter")
        if isinstance(length, str) or int(length) != length or not 1 <= length <= 10_000:
            raise StrategyError(f"{where}: feature {name!r} has length {length!r}; it must be a whole number of bars")
        timeframe = TIMEFRAMES.index(feature.timeframe)
        resolved.append(ResolvedFeature(name, kernel, timeframe, int(length), slot))
        slot = resolved[-1].past_slot
    return resolved


@njit(cache=True)
def _scan_ibs(open_: F64, high: F64, low: F64, close: F64, n: int, s: F64, out: F64) -> None:
    for i in range(len(close)):
        out[i] = indicators.ibs(s, n, open_[i], high[i], low[i], close[i], 0.0)


@njit(cache=True)
def _scan_rsi(open_: F64, high: F64, low: F64, close: F64, n: int, s: F64, out: F64) -> None:
    for i in range(len(close)):
        out[i] = indicators.rsi(s, n, open_[i], high[i], low[i], close[i], 0.0)


@njit(cache=True)
def _scan_atr(open_: F64, high: F64, low: F64, close: F64, n: int, s: F64, out: F64) -> None:
    for i in range(len(close)):
        out[i] = indicators.atr(s, n, open_[i], high[i], low[i], close[i], 0.0)


def _over(scan: Callable[..., None], kernel: str, n: int, high: ArrayLike, low: ArrayLike, close: ArrayLike) -> F64:
    h, l, c = (np.ascontiguousarray(x, np.float64) for x in (high, low, close))  # noqa: E741
    if not h.shape == l.shape == c.shape or c.ndim != 1:
        raise ValueError(
            f"high, low and close must be one-dimensional and equally long, got {h.shape}, {l.shape}, {c.shape}"
        )
    if n < 1:
        raise ValueError(f"length must be at least 1 bar, got {n}")
    out = np.empty(len(c))
    scan(c, h, l, c, n, np.zeros(KERNELS[kernel].slots(n)), out)
    return out


def calculate_ibs(high: ArrayLike, low: ArrayLike, close: ArrayLike) -> F64:
    """Internal bar strength per bar, in [0, 1]; 0.5 for bars without range."""
    return _over(_scan_ibs, "ibs", 1, high, low, close)


def calculate_rsi(close: ArrayLike, n: int = 14) -> F64:
    """Wilder's RSI per bar, 0 to 100; NaN for the first n bars."""
    return _over(_scan_rsi, "rsi", n, close, close, close)


def calculate_atr(high: ArrayLike, low: ArrayLike, close: ArrayLike, n: int = 14) -> F64:
    """Wilder's average true range per bar, in points; NaN for the first n bars."""
    return _over(_scan_atr, "atr", n, high, low, close)
