"""Measures against hand-worked cases."""

import math
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest
import quantstats.stats as qs
from hypothesis import assume, given
from hypothesis import strategies as st

from research.backtest import metrics
from research.validation import sharpe as selection
from rooney.ledger.records import Held
from rooney.market import sessions
from rooney.orders.intents import Side
from rooney.performance.measures import ANNUAL_DAYS, correlation, sharpe

DAILY = np.tile([100.0, -50.0, 0.0, 150.0], 15)  # 60 trade dates


def test_sharpe_is_the_mean_over_the_sample_deviation_times_the_root_of_252() -> None:
    # mean 50; deviations 50, -100, -50, 100; sum of squares 15 x 25,000; / 59 = 6355.9; root 79.724
    assert sharpe(DAILY.tolist()) == pytest.approx(50 / 79.72409639667 * math.sqrt(252))


def test_sharpe_of_flat_days_does_not_exist() -> None:
    assert math.isnan(sharpe([0.0] * 100))


def test_flat_days_count_in_the_sharpe() -> None:
    assert sharpe([*DAILY, *[0.0] * 20]) < sharpe(DAILY.tolist())


def test_sortino_divides_by_the_root_mean_square_of_losses_over_all_days() -> None:
    # losses squared: 2,500; over 4 days 625; root 25; 50 / 25 = 2
    assert metrics.sortino(DAILY) == pytest.approx(2 * math.sqrt(252))


def test_sortino_without_a_loss_does_not_exist() -> None:
    assert math.isnan(metrics.sortino(np.abs(DAILY)))


def test_drawdown_is_the_largest_fall_and_the_longest_time_below_the_top() -> None:
    assert metrics.max_drawdown(np.array([100.0, 120.0, 90.0, 110.0, 121.0, 115.0])) == (30.0, 2)


def test_a_rising_curve_has_no_drawdown() -> None:
    assert metrics.max_drawdown(np.array([1.0, 2.0, 3.0])) == (0.0, 0)


def _at(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 3, 1, hour, tzinfo=UTC) + timedelta(days=day - 1)


def _trades(*pnl: float) -> pl.DataFrame:
    n = len(pnl)
    columns = {"symbol": ["ES"] * n, "pnl_usd": list(pnl), "costs_usd": [4.0] * n, "quantity": [1] * n}
    columns |= {
        "bars_held": [2] * n,
        "entry_ts": [_at(2 + i) for i in range(n)],
        "exit_ts": [_at(2 + i, 12) for i in range(n)],
    }
    schema = {"symbol": pl.String, "pnl_usd": pl.Float64, "costs_usd": pl.Float64, "quantity": pl.Int64}
    schema |= {"bars_held": pl.Int64, "entry_ts": pl.Datetime("ns", "UTC"), "exit_ts": pl.Datetime("ns", "UTC")}
    return pl.DataFrame(columns, schema=schema)


def _equity(*values: float, first: date = date(2026, 3, 2)) -> pl.DataFrame:
    """Equity at the end of trade dates."""
    days = [first]
    while len(days) < len(values):
        days.append(sessions.next_trade_date(days[-1]))
    return pl.DataFrame({"trade_date": days, "equity_usd": list(values)})


def _measured(trades: pl.DataFrame, daily: pl.DataFrame, cash: float, *opened: Held, open_usd: float = 0.0) -> Any:
    """Measures of a run with one equity row a day."""
    peak = np.maximum.accumulate(np.append(cash, daily["equity_usd"]))[1:]
    hours = daily.with_columns(drawdown_usd=pl.Series(peak) - pl.col("equity_usd"))
    return metrics.measure(trades, opened, open_usd, hours, daily, cash)


def _held(since: datetime) -> Held:
    entry_ts = int(since.timestamp()) * 1_000_000_000
    return msgspec.convert(
        dict.fromkeys(Held.__struct_fields__, 0)
        | {"symbol": "ES", "side": Side.LONG, "quantity": 1, "entry_ts": entry_ts, "acknowledged": True},
        Held,
    )


def test_the_measures_of_a_short_run_by_hand() -> None:
    found = _measured(_trades(200.0, -50.0, -50.0, 100.0), _equity(1100.0, 1050.0, 1050.0, 1200.0), 1000.0)
    assert (found["open_pnl_usd"], found["total_pnl_usd"], found["max_drawdown_closed_usd"]) == (0.0, 200.0, 100.0)
    assert found["net_pnl_usd"] == 200.0
    assert found["profit_factor"] == 3.0
    assert found["win_rate"] == 0.5
    assert found["expectancy_usd"] == 50.0
    assert found["max_drawdown_usd"] == 50.0
    assert found["turnover_contracts_per_day"] == 2.0
    assert found["exposure"] == 0.5  # twelve hours of each of four days
    assert found["average_bars_held"] == 2.0


@pytest.mark.parametrize(("days", "is_told"), [(ANNUAL_DAYS - 1, False), (ANNUAL_DAYS, True)])
def test_nothing_is_told_per_year_of_fewer_than_60_trade_dates(days: int, is_told: bool) -> None:
    changes = np.tile([100.0, -50.0], 30)[:days]
    found = _measured(_trades(), _equity(*(100_000.0 + np.cumsum(changes)).tolist()), 100_000.0)
    for name in ("sharpe", "sortino", "cagr", "volatility", "calmar"):
        assert math.isfinite(found[name]) is is_told, name
    assert math.isfinite(sharpe(changes.tolist())) is is_told  # a dashboard's


@given(usd=st.floats(-1e4, 1e4).filter(lambda usd: abs(usd) > 1e-3), days=st.integers(60, 120))
def test_the_sharpe_ratio_of_pnl_that_never_varies_does_not_exist(usd: float, days: int) -> None:
    """Adding up leaves a deviation of 1e-11 USD over, which made a ratio of 1e16."""
    equity = [150_000.0]
    for _ in range(days):
        equity.append(equity[-1] + usd)
    changes = np.diff(equity)
    assert math.isnan(_measured(_trades(), _equity(*equity[1:]), 150_000.0)["sharpe"])
    assert math.isnan(selection.probabilistic_sharpe(changes))
    several = np.column_stack((changes, np.tile([1.0, -1.0], days)[:days]))
    assert 0.0 <= selection.overfitting(several, 4) <= 1.0
    assert math.isnan(correlation(dict(enumerate(changes)), dict(enumerate(several[:, 1])))[0])


def test_an_open_position_counts_in_cagr_and_exposure() -> None:
    daily = _equity(*np.linspace(1_010.0, 1_300.0, ANNUAL_DAYS).tolist())
    opened = _held(datetime.combine(daily["trade_date"][30], time(), UTC))
    found = _measured(_trades(100.0), daily, 1_000.0, opened, open_usd=200.0)
    assert (found["net_pnl_usd"], found["open_pnl_usd"], found["total_pnl_usd"]) == (100.0, 200.0, 300.0)
    assert found["cagr"] == pytest.approx(1.3 ** (252 / ANNUAL_DAYS) - 1.0)
    first, last = daily["trade_date"][0], daily["trade_date"][-1]
    days = (last - first).days + 1
    assert found["exposure"] == pytest.approx(((last - daily["trade_date"][30]).days + 1 + 0.5) / days)


def test_time_stands_still_in_a_hole_for_the_exposure() -> None:
    """Monday and Tuesday, then the Thursday of two weeks later: in between a position is held, and nothing counts."""
    days = [date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 19)]
    daily = pl.DataFrame({"trade_date": days, "equity_usd": [1.0, 1.0, 1.0]})
    trades = _trades(1.0).with_columns(entry_ts=pl.lit(_at(3, 12)), exit_ts=pl.lit(_at(19, 6)))
    assert metrics.exposure(trades, (), daily) == pytest.approx((0.5 + 0.25) / 3)


def test_a_run_without_trades_has_measures_that_do_not_exist() -> None:
    found = _measured(_trades(), _equity(1000.0), 1000.0)
    assert found["trades"] == 0
    assert math.isnan(found["profit_factor"])
    assert math.isnan(found["win_rate"])


def test_months_sum_to_the_change_of_equity() -> None:
    months = metrics.by_period(_equity(1100.0, 1050.0, 1200.0), 1000.0)
    assert months.to_dicts() == [{"year": 2026, "month": 3, "pnl_usd": 200.0}]


def test_trades_that_overlap_are_exposure_once() -> None:
    trades = _trades(1.0, 1.0).with_columns(entry_ts=pl.lit(_at(2)), exit_ts=pl.lit(_at(2, 6)))
    assert metrics.exposure(trades, (), _equity(1.0)) == 0.25


def test_years_are_measured_each_for_itself() -> None:
    daily = pl.DataFrame(
        {"trade_date": [date(2025, 12, 30), date(2025, 12, 31), date(2026, 1, 2)], "equity_usd": [900.0, 950.0, 940.0]}
    )
    within = pl.DataFrame(
        {"trade_date": [date(2025, 12, 30), *daily["trade_date"]], "equity_usd": [880.0, *daily["equity_usd"]]}
    )
    found = metrics.by_year(daily, within, 1000.0)
    assert found.select("year", "days", "pnl_usd", "max_drawdown_usd").rows() == [
        (2025, 2, -50.0, 120.0),  # by session hours: 880 within the first day
        (2026, 1, -10.0, 10.0),
    ]


def test_an_instrument_without_a_loss_has_no_profit_factor() -> None:
    found = metrics.by_instrument(_trades(5.0, 1.0))[0]
    assert (found["profit_factor"], found["expectancy_usd"], found["win_rate"]) == (None, 3.0, 1.0)


CASH = 100_000.0
money = st.lists(st.integers(-5_000, 5_000).map(float), min_size=ANNUAL_DAYS, max_size=80)


def _run(changes: list[float], scale: float = 1.0) -> dict[str, Any]:
    moves = np.array(changes) * scale
    trades = _trades(*moves.tolist())
    return _measured(trades, _equity(*(CASH * scale + np.cumsum(moves)).tolist()), CASH * scale)


@given(changes=money)
def test_measures_agree_with_quantstats(changes: list[float]) -> None:
    """Its daily returns are daily P&L over starting cash, not compounded."""
    assume(min(changes) < 0 < max(changes))
    returns = pd.Series(np.array(changes) / CASH, index=pd.bdate_range("2026-01-01", periods=len(changes)))
    found = _run(changes)
    assert found["sharpe"] == pytest.approx(qs.sharpe(returns, periods=252))
    assert found["sortino"] == pytest.approx(qs.sortino(returns, periods=252))
    assert found["volatility"] == pytest.approx(qs.volatility(returns, periods=252))
    assert found["profit_factor"] == pytest.approx(qs.profit_factor(returns))
    assert found["win_rate"] == pytest.approx(sum(change > 0 for change in changes) / len(changes))
    assert found["cagr"] == pytest.approx(qs.cagr(returns, compounded=False, periods=252))
    equity = pd.Series(
        [CASH, *(CASH + np.cumsum(changes))], index=pd.bdate_range("2026-01-01", periods=len(changes) + 1)
    )
    fallen = -qs.to_drawdown_series(equity) * equity.cummax()
    assert found["max_drawdown_usd"] == pytest.approx(fallen.max())


@given(changes=money, scale=st.sampled_from([0.5, 2.0, 4.0]))
def test_ratios_do_not_depend_on_the_size_of_the_account(changes: list[float], scale: float) -> None:
    one, other = _run(changes), _run(changes, scale)
    for name, value in one.items():
        factor = scale if name.endswith("_usd") and name != "costs_usd" else 1.0
        assert other[name] == pytest.approx(value * factor, nan_ok=True), name


@given(changes=money, order=st.randoms(use_true_random=False))
def test_the_order_of_days_matters_to_drawdown_alone(changes: list[float], order: Any) -> None:
    other = list(changes)
    order.shuffle(other)
    one, two = _run(changes), _run(other)
    for name in set(one) - {"max_drawdown_usd", "max_drawdown_closed_usd", "max_drawdown_days", "calmar"}:
        assert two[name] == pytest.approx(one[name], nan_ok=True), name
    assert two["max_drawdown_usd"] <= sum(-change for change in changes if change < 0)
