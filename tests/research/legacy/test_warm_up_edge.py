"""Where profile v1 begins to look: the old system evaluated nothing before its 252nd hourly bar (its §1.4).

Expected values are worked out here from the old system's specification alone, in plain Python:

§1.4  the first evaluated bar is the 252nd hourly bar of the instrument
§1.5  each evaluation updates pivots (1) and the compression streak (8)
§1.7  a pivot high is confirmed 5 bars late, strictly above the 5 before it and at least the 5 after it; a low is its
      mirror; "pivots are only tracked from the first evaluated bar". TWRC: r = ATR10 / ATR100, the streak counts
      consecutive bars with r < threshold, score = clip((threshold - r) / threshold, 0, 1) (1 - exp(-streak / tau))
§1.3  a pivot gate on days reads the day in progress, its close too
"""

import json
import math
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from research.legacy.harness import Harness, values_by_bar
from rooney.kernels.array_types import F64
from rooney.strategy.filters import filter_field

FIRST, HOURS, THRESHOLD, TAU = 252, 600, 1.2, 3.0
VARIANTS = {
    "daily:6A": {"old_params": {"signal_tf": "Daily"}},
    "twrc:6A": {
        "old_params": {"entry_setting": "none", "enableTWRC": True, "twrcThreshold": THRESHOLD, "twrcTau": TAU}
    },
}


@pytest.fixture(scope="module")
def bars() -> tuple[pl.DataFrame, pl.DataFrame]:
    """A random walk of 600 hours and its days: eight hours a day, so that the 252nd hour is the fourth of its day."""
    rng = np.random.default_rng(2)
    close = np.round(0.66 + np.cumsum(rng.normal(0.0, 0.0005, HOURS)), 4)
    open_ = np.concatenate([[0.66], close[:-1]])
    stamps = [datetime(2026, 1, 5, 18) + timedelta(days=k // 8, hours=k % 8) for k in range(HOURS)]
    hours = pl.DataFrame(
        {
            "symbol": "6A",
            "datetime": pl.Series(stamps, dtype=pl.Datetime("ns")),
            "open": open_,
            "high": np.round(np.maximum(open_, close) + rng.integers(0, 5, HOURS) * 0.0001, 4),
            "low": np.round(np.minimum(open_, close) - rng.integers(0, 5, HOURS) * 0.0001, 4),
            "close": close,
            "volume": 100.0,
        }
    )
    first, last = pl.col("open").first(), pl.col("close").last()
    extremes = pl.col("high").max(), pl.col("low").min()
    days = hours.group_by_dynamic("datetime", every="1d", offset="18h").agg(
        pl.col("symbol").first(), first, *extremes, last, pl.col("volume").sum()
    )
    return hours, days.select(hours.columns)


@pytest.fixture(scope="module")
def values(bars: tuple[pl.DataFrame, pl.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> dict[str, F64]:
    """What the engine's filters read at every hour, by the name of the filter."""
    folder: Path = tmp_path_factory.mktemp("recorded")
    for name, frame in zip(("hourly", "daily"), bars, strict=True):
        frame.write_parquet(folder / f"bars_{name}.parquet")
    (folder / "variants.json").write_text(json.dumps(VARIANTS), encoding="utf-8")
    harness = Harness(folder)
    found: dict[str, F64] = {}
    for key in VARIANTS:
        translation = harness._translations[key]
        engine = harness.engine(harness.of_variants, "6A", translation)
        _, rows = values_by_bar(engine, harness.bars.history(["6A"]).rows)
        fields = harness.of_variants.layout.fields
        found |= {name.rsplit("_", 1)[0]: rows[:, fields.index(filter_field(name))] for name in translation.filters}
    return found


def confirmed(extremes: list[float], at: int, sign: int) -> float | None:
    """The pivot that bar `at` confirms."""
    around = [sign * extreme for extreme in extremes[at - 10 : at + 1]]
    if at < 10 or not all(around[5] > before for before in around[:5]):
        return None
    return extremes[at - 5] if all(around[5] >= after for after in around[6:]) else None


@pytest.mark.parametrize(("side", "sign"), [("high", 1), ("low", -1)])
def test_a_daily_pivot_confirmed_before_the_first_evaluated_bar_is_not_known(
    bars: tuple[pl.DataFrame, pl.DataFrame], values: dict[str, F64], side: str, sign: int
) -> None:
    days = bars[1]
    extremes, close = days[side].to_list(), days["close"].to_list()
    expected: list[float] = []
    last, known_before = math.nan, 0
    for k in range(HOURS):
        pivot = confirmed(extremes, k // 8, sign)
        known_before += k < FIRST - 1 and pivot is not None
        if k >= FIRST - 1 and pivot is not None:
            last = pivot
        expected.append(sign * (last - close[k // 8]))
    np.testing.assert_allclose(values[f"pivot_{side}"], expected, rtol=0, atol=1e-12)
    assert known_before > 0
    assert math.isnan(expected[FIRST - 1]) and not math.isnan(expected[-1])


def test_the_compression_streak_begins_with_the_first_evaluated_bar(
    bars: tuple[pl.DataFrame, pl.DataFrame], values: dict[str, F64]
) -> None:
    short, long = (_atr(bars[0], n) for n in (10, 100))
    streak, expected = 0, [math.nan] * (FIRST - 1)
    for k in range(FIRST - 1, HOURS):
        ratio = short[k] / long[k]
        streak = streak + 1 if ratio < THRESHOLD else 0
        expected.append(min(max((THRESHOLD - ratio) / THRESHOLD, 0.0), 1.0) * (1.0 - math.exp(-streak / TAU)))
    np.testing.assert_allclose(values["enabletwrc"], expected, rtol=1e-9)
    assert short[FIRST - 2] / long[FIRST - 2] < THRESHOLD  # a streak from before would not begin anew
    assert expected[FIRST - 1] > 0.0


def _atr(hours: pl.DataFrame, n: int) -> list[float]:
    """Old system §2.4: Wilder's average of max(H, C[-1]) - min(L, C[-1]) from bar 2 on, first value at bar n + 1."""
    high, low, close = (hours[name].to_list() for name in ("high", "low", "close"))
    ranges = [max(high[k], close[k - 1]) - min(low[k], close[k - 1]) for k in range(1, HOURS)]
    found = [math.nan] * n + [sum(ranges[:n]) / n]
    for true_range in ranges[n:]:
        found.append(found[-1] + (true_range - found[-1]) / n)
    return found
