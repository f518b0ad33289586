"""Rules as a researcher may write them: arrays, lists, texts, and a compiled helper of his own that makes an array."""

from typing import Any

import numpy as np
from numba import njit

from rooney.strategy import Feature, Param, Strategy


@njit
def middle(x: float) -> float:
    """Of what lies around a value."""
    around = np.empty(3)
    for k in range(3):
        around[k] = x + (k - 1) * 0.1
    return float(np.median(around))


class Allocating(Strategy):
    timeframe = "hourly"
    params = {"low": Param(0.3, 0.0, 1.0), "high": Param(0.7, 0.0, 1.0)}
    features = {"ibs": Feature("ibs", "hourly")}

    @staticmethod
    def should_enter_long(f: Any, p: Any) -> bool:
        return bool(np.array([middle(f.ibs), f.ibs]).mean() <= p.low)

    @staticmethod
    def should_exit(f: Any, p: Any, t: Any) -> bool:
        return sorted([f.ibs, p.high, 0.0])[1] >= p.high or str(t.bars_held) == "5"
