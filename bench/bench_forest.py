"""The veto's forest on one row, beside scikit-learn's `predict_proba` on the same row.

Stands for: what a model adds to a decision, live and in a backtest. Both get the same float64 row, one after the other,
the best of several turns each; their answers are compared first, for equality. Doubts: scikit-learn is made for many
rows at once, and most of its time on one row is checking and handing it on; a service that asks it row by row pays
that, too.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from bench.measure import Row, median_of, report, rounds
from research.models.forest import flatten
from rooney.kernels.forest import votes

MIN_RATIO = 400.0
TREES, DEPTH, FEATURES = 300, 6, 30


def _ns(call: Callable[[np.ndarray], Any], rows: np.ndarray) -> float:
    """Per call, the best of three turns over the rows."""
    best = float("inf")
    for _ in range(3):
        started_ns = time.perf_counter_ns()
        for row in rows:
            call(row)
        best = min(best, (time.perf_counter_ns() - started_ns) / len(rows))
    return best


def test_forest(benchmark: Any) -> None:
    rng = np.random.default_rng(1)
    known = rng.normal(size=(2_000, FEATURES))
    labels = (known[:, 0] + rng.normal(size=len(known)) > 0).astype(int)
    forest = RandomForestClassifier(TREES, max_depth=DEPTH, random_state=0, n_jobs=1).fit(known, labels)
    nodes = flatten(forest)
    rows = rng.normal(size=(2_000, FEATURES))

    def ours(row: np.ndarray) -> float:
        return float(votes(nodes, 0, TREES, row))

    def theirs(row: np.ndarray) -> float:
        return float(forest.predict_proba(row[None])[0, 1])

    assert [ours(row) for row in rows[:50]] == [theirs(row) for row in rows[:50]]

    def once() -> tuple[float, float]:
        return _ns(ours, rows), _ns(theirs, rows[:20])

    def ratio(found: list[tuple[float, float]]) -> float:
        return median_of(found, lambda one: one[1] / one[0])

    found = rounds(once, lambda found: ratio(found) >= MIN_RATIO)
    benchmark.pedantic(ours, args=(rows[0],), rounds=100, iterations=10)
    ns, share = median_of(found, lambda one: one[0]), ratio(found)
    measured = f"{ns / 1e3:.1f} µs, scikit-learn's time is {share:,.0f} × that"
    name = f"forest veto, one row ({TREES} trees, depth {DEPTH})"
    report(benchmark, [Row(name, measured, f"≥ {MIN_RATIO:.0f} ×", share >= MIN_RATIO)])
