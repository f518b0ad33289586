"""Indicator kernels over 2,000,000 bars, as research calls them: `calculate_ibs`, `calculate_rsi`, `calculate_atr`.

Stands for: the same step form that trades, looped over arrays.
Doubts: the best of several calls is taken in each round, so it says what the code can do, not what a busy machine does.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import data
from bench.measure import Row, median_of, report, rounds
from rooney.features import calculate_atr, calculate_ibs, calculate_rsi

BARS = 2_000_000
MAX_NS = 50.0  # per bar and indicator
Calls = dict[str, Callable[[], Any]]


def _best_ns(call: Callable[[], Any]) -> float:
    """Of three calls, per bar."""
    best = float("inf")
    for _ in range(3):
        started_ns = time.perf_counter_ns()
        call()
        best = min(best, time.perf_counter_ns() - started_ns)
    return best / BARS


def _ours() -> Calls:
    high, low, close = data.prices(BARS)
    return {
        "ibs": lambda: calculate_ibs(high, low, close),
        "rsi": lambda: calculate_rsi(close, 14),
        "atr": lambda: calculate_atr(high, low, close, 14),
    }


def test_kernels(benchmark: Any) -> None:
    calls = _ours()
    assert np.isnan(calls["rsi"]()[:14]).all()

    def once() -> dict[str, float]:
        return {name: _best_ns(call) for name, call in calls.items()}

    found = rounds(once, lambda found: all(median_of(found, lambda one, n=n: one[n]) <= MAX_NS for n in calls))  # type: ignore[misc]
    benchmark.pedantic(calls["rsi"], rounds=3, iterations=1)
    rows = []
    for name in calls:
        ns = median_of(found, lambda one, name=name: one[name])  # type: ignore[misc]
        rows.append(Row(f"{name} over 2 M bars, per bar", f"{ns:.1f} ns", f"≤ {MAX_NS:.0f} ns", ns <= MAX_NS))
    report(benchmark, rows)
