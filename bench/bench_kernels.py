"""Indicator kernels over 2,000,000 bars, as research calls them: `calculate_ibs`, `calculate_rsi`, `calculate_atr`.

Stands for: the same step form that trades, looped over arrays. TA-Lib's C code is the measure.
Doubts: TA-Lib is asked for the same Wilder definitions and agrees to 1e-9 relative; it writes no state, ours does. The
compared runs alternate, so both see the same disturbances; the best of several calls is taken in each round.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench import data
from bench.measure import Row, median_of, report, rounds
from rooney.features import calculate_atr, calculate_ibs, calculate_rsi

BARS = 2_000_000
MAX_NS = 50.0  # per bar and indicator; absolute, for machines without TA-Lib
TOLERANCE = 1.05  # "not slower" on a machine that others use
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


def test_kernels_to_talib(benchmark: Any) -> None:
    talib = pytest.importorskip("talib")
    high, low, close = data.prices(BARS)
    ours = _ours()
    theirs: Calls = {"rsi": lambda: talib.RSI(close, 14), "atr": lambda: talib.ATR(high, low, close, 14)}
    for name, call in theirs.items():
        np.testing.assert_allclose(ours[name](), call(), rtol=1e-9, atol=1e-9)

    def once() -> dict[str, float]:
        return {name: _best_ns(ours[name]) / _best_ns(call) for name, call in theirs.items()}

    def ratio(found: list[dict[str, float]], name: str) -> float:
        return median_of(found, lambda one: one[name])

    found = rounds(once, lambda found: all(ratio(found, name) <= TOLERANCE for name in theirs), least=5)
    benchmark.pedantic(ours["atr"], rounds=3, iterations=1)
    rows = []
    for name in theirs:
        times = ratio(found, name)
        rows.append(Row(f"{name} over 2 M bars, time to TA-Lib's", f"{times:.2f} ×", "≤ 1 ×", times <= TOLERANCE))
    report(benchmark, rows)
