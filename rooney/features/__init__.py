"""Features: named recursions, one registry, the same numbers step by step and over arrays.

`Feature` is how a strategy names one, `KERNELS` what they are made of, `catalogue` knows them by the names models use,
`calculate_rsi` and its like run the very kernels that trade over arrays.
"""

import importlib
from typing import TYPE_CHECKING, Any

from rooney.features.aliases import ALIASES
from rooney.features.catalogue import catalogue, names
from rooney.features.feature import PAIRS, Feature, is_research_only

if TYPE_CHECKING:
    from rooney.features.arrays import (
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
    from rooney.features.kernel import Kernel
    from rooney.features.kernel_registry import KERNELS

__all__ = [
    "ALIASES",
    "KERNELS",
    "PAIRS",
    "Feature",
    "Kernel",
    "calculate",
    "calculate_adx",
    "calculate_atr",
    "calculate_bollinger",
    "calculate_channel",
    "calculate_ema",
    "calculate_ibs",
    "calculate_psar",
    "calculate_return_pct",
    "calculate_rsi",
    "calculate_sma",
    "calculate_stdev",
    "calculate_true_range",
    "calculate_zscore",
    "catalogue",
    "is_research_only",
    "names",
]


def __getattr__(name: str) -> Any:
    """A name made of kernels, imported when it is asked for: whoever only names features does not load numba."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "arrays" if name.startswith("calculate") else "kernel_registry"
    return getattr(importlib.import_module(f"rooney.features.{home}"), name)
