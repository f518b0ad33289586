"""Training sets with and without an edge."""

import numpy as np

from research.models.dataset import TrainingSet
from rooney.market.sessions import HOUR_NS

NAMES = ("ibs", "atrz", "weekday", "rsi")


def samples(seed: int, edge_usd: float, n: int = 1_600) -> TrainingSet:
    """Trades of three years, some at the same time. With an edge, two features say which ones earn."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, len(NAMES)))
    start = 1_600_000_000_000_000_000 + np.sort(rng.integers(0, 26_000, n)) * HOUR_NS
    end = start + rng.integers(1, 10, n) * HOUR_NS
    good = (rows[:, 0] > 0) & (rows[:, 1] < 0.7)
    pnl = rng.normal(-5.0, 200.0, n) + np.where(good, edge_usd, -edge_usd)
    return TrainingSet("ES", NAMES, rows, start, end, pnl)
