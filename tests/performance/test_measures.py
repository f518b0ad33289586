"""Measures of trades: one formula each, whoever asks."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.backtest import metrics
from rooney.performance.measures import falls, sums

PNL = st.lists(st.integers(-500, 500).map(float), max_size=30)


@given(PNL)
def test_a_fall_is_measured_from_the_highest_sum_before_it_or_from_zero(pnl_usd: list[float]) -> None:
    totals = np.concatenate(([0.0], np.cumsum(pnl_usd)))
    deepest = max((fall for _, fall in falls(pnl_usd)), default=0.0)
    assert deepest == metrics.max_drawdown(totals)[0]


@given(PNL)
def test_a_dashboard_and_a_backtest_say_the_same_of_the_same_trades(pnl_usd: list[float]) -> None:
    rows = pl.DataFrame(
        {"symbol": ["ES"] * len(pnl_usd), "pnl_usd": pnl_usd, "bars_held": [1] * len(pnl_usd)},
        schema={"symbol": pl.String, "pnl_usd": pl.Float64, "bars_held": pl.Int64},
    )
    closed = sums(pnl_usd)
    for row in metrics.by_instrument(rows):
        assert (row["trades"], row["win_rate"]) == (closed.trades, closed.win_rate)
        assert row["expectancy_usd"] == closed.expectancy_usd
        assert row["profit_factor"] == (closed.profit_factor if closed.lost_usd else None)


def test_without_trades_nothing_is_said_of_them() -> None:
    closed = sums([])
    assert all(math.isnan(x) for x in (closed.win_rate, closed.profit_factor, closed.expectancy_usd))
    assert sums([1.0, 2.0]).profit_factor == pytest.approx(math.nan, nan_ok=True)
