"""The feature library: named recursions, one registry, the same numbers step by step and over arrays.

`Feature` and `KERNELS` are what features are made of (`rooney.features.registry`), `catalogue` knows them by the names
models use (`rooney.features.catalogue`), `calculate_rsi` and its like run the very kernels that trade over arrays
(`rooney.features.arrays`).
"""

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
from rooney.features.catalogue import ALIASES, catalogue, names
from rooney.features.feature import Feature
from rooney.features.registry import KERNELS, Kernel, is_research_only

__all__ = [
    "ALIASES", "KERNELS", "PAIRS", "Feature", "Kernel", "calculate", "calculate_adx",
    "calculate_atr", "calculate_bollinger", "calculate_channel", "calculate_ema", "calculate_ibs", "calculate_psar",
    "calculate_return_pct", "calculate_rsi", "calculate_sma", "calculate_stdev", "calculate_true_range",
    "calculate_zscore", "catalogue", "is_research_only", "names",
]  # fmt: skip

# Whom an instrument is compared with. No pair: 6C 6J 6M 6N 6S PL TLT and the grains.
PAIRS = {
    "ES": "NQ", "NQ": "ES", "RTY": "YM", "YM": "RTY", "GC": "SI", "SI": "GC", "HG": "SI", "CL": "NG", "NG": "CL",
    "6A": "6E", "6B": "6E", "6E": "6A",
}  # fmt: skip
