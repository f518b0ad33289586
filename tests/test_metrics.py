"""Measures against hand-worked cases."""

import math
from datetime import date

import numpy as np
import polars as pl
import pytest

from research import metrics

DAILY = np.array([100.0, -50.0, 0.0, 150.0])


def test_sharpe_is_the_mean_over_the_sample_deviation_times_the_root_of_252() -> None:
    # mean 50; deviations 50, -100, -50, 100; sum of squares 25,000; / 3 = 8333.3; root 91.287
    assert metrics.sharpe(DAILY) == pytest.approx(50 / 91.28709291752769 * math.sqrt(252))


def test_sharpe_of_flat_days_does_not_exist() -> None:
    assert math.isnan(metrics.sharpe(np.zeros(10)))


def test_flat_days_count_in_the_sharpe() -> None:
    assert metrics.sharpe(np.append(DAILY, np.zeros(20))) < metrics.sharpe(DAILY)


def test_sortino_divides_by_the_root_mean_square_of_losses_over_all_days() -> None:
    # losses squared: 2,500; over 4 days 625; root 25; 50 / 25 = 2
    assert metrics.sortino(DAILY) == pytest.approx(2 * math.sqrt(252))


def test_sortino_without_a_loss_does_not_exist() -> None:
    assert math.isnan(metrics.sortino(np.array([1.0, 2.0])))


def test_drawdown_is_the_largest_fall_and_the_longest_time_below_the_top() -> None:
    assert metrics.max_drawdown(np.array([100.0, 120.0, 90.0, 110.0, 121.0, 115.0])) == (30.0, 2)


def test_a_rising_curve_has_no_drawdown() -> None:
    assert metrics.max_drawdown(np.array([1.0, 2.0, 3.0])) == (0.0, 0)


def _trades(*pnl: float) -> pl.DataFrame:
    n = len(pnl)
    columns = {"symbol": ["ES"] * n, "pnl_usd": list(pnl), "costs_usd": [4.0] * n, "quantity": [1] * n}
    schema = {"symbol": pl.String, "pnl_usd": pl.Float64, "costs_usd": pl.Float64, "quantity": pl.Int64}
    return pl.DataFrame(columns, schema=schema)


def _equity(*values: float) -> pl.DataFrame:
    return pl.DataFrame({"trade_date": [date(2026, 3, 2 + i) for i in range(len(values))], "equity_usd": list(values)})


def test_the_measures_of_a_short_run_by_hand() -> None:
    found = metrics.measure(_trades(200.0, -50.0, -50.0, 100.0), _equity(1100.0, 1050.0, 1050.0, 1200.0), 1000.0)
    assert found["net_pnl_usd"] == 200.0
    assert found["profit_factor"] == 3.0
    assert found["win_rate"] == 0.5
    assert found["expectancy_usd"] == 50.0
    assert found["max_drawdown_usd"] == 50.0
    assert found["turnover_contracts_per_day"] == 2.0
    assert found["cagr"] == pytest.approx(1.2 ** (252 / 4) - 1)
    assert found["sharpe"] == pytest.approx(metrics.sharpe(DAILY))


def test_a_run_without_trades_has_measures_that_do_not_exist() -> None:
    found = metrics.measure(_trades(), _equity(1000.0), 1000.0)
    assert found["trades"] == 0
    assert math.isnan(found["profit_factor"])
    assert math.isnan(found["win_rate"])


def test_months_sum_to_the_change_of_equity() -> None:
    months = metrics.by_period(_equity(1100.0, 1050.0, 1200.0), 1000.0)
    assert months.to_dicts() == [{"year": 2026, "month": 3, "pnl_usd": 200.0}]
