"""The feature library: named recursions, one registry, the same numbers step by step and over arrays.

`Feature` and `KERNELS` are what features are made of (`rooney.registry`), `catalogue` knows them by the names models
use (`rooney.catalogue`), `calculate_rsi` and its like run the very kernels that trade over arrays (`rooney.arrays`).
"""

from typing import Any

import msgspec

from rooney.arrays import (
    calculate,
    calculate_adx,
    calculate_atr,
    calculate_bollinger,
    calculate_channel,
    calculate_ema,
    calculate_ibs,
    calculate_psar,
    calculate_return_pct,
    calculate_rsi,
    calculate_sma,
    calculate_stdev,
    calculate_true_range,
    calculate_zscore,
)
from rooney.catalogue import ALIASES, catalogue, names
from rooney.errors import StrategyError
from rooney.messages import TIMEFRAMES
from rooney.registry import KERNELS, Feature, Kernel, is_research_only

__all__ = [
    "ALIASES", "KERNELS", "PAIRS", "Feature", "Kernel", "ResolvedFeature", "calculate", "calculate_adx",
    "calculate_atr", "calculate_bollinger", "calculate_channel", "calculate_ema", "calculate_ibs", "calculate_psar",
    "calculate_return_pct", "calculate_rsi", "calculate_sma", "calculate_stdev", "calculate_true_range",
    "calculate_zscore", "catalogue", "is_research_only", "names", "resolve",
]  # fmt: skip

# Whom an instrument is compared with. No pair: 6C 6J 6M 6N 6S PL TLT and the grains.
PAIRS = {
    "ES": "NQ", "NQ": "ES", "RTY": "YM", "YM": "RTY", "GC": "SI", "SI": "GC", "HG": "SI", "CL": "NG", "NG": "CL",
    "6A": "6E", "6B": "6E", "6E": "6A",
}  # fmt: skip


class ResolvedFeature(msgspec.Struct, frozen=True):
    """A feature whose length is a number and whose state has its place in the slots of an instrument."""

    name: str
    kernel: Kernel
    timeframe: int
    length: Any
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
        if kernel.inputs != "bar" or feature.of or feature.symbol:
            raise StrategyError(f"{where}: feature {name!r}: a strategy's features are of its own bars alone")
        if feature.timeframe not in TIMEFRAMES:
            known = ", ".join(TIMEFRAMES)
            raise StrategyError(f"{where}: feature {name!r} is on {feature.timeframe!r}; timeframes are {known}")
        length = params.get(feature.length) if isinstance(feature.length, str) else feature.length
        if length is None:
            raise StrategyError(f"{where}: feature {name!r} takes its length from {feature.length!r}, no parameter")
        if isinstance(length, float) and length.is_integer():
            length = int(length)
        try:
            kernel.warm_up(length)
            kernel.slots(length)
        except StrategyError as error:
            raise StrategyError(f"{where}: feature {name!r} has {error}") from None
        resolved.append(ResolvedFeature(name, kernel, TIMEFRAMES.index(feature.timeframe), length, slot))
        slot = resolved[-1].past_slot
    return resolved
