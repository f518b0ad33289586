"""Equity of a run over time: every dollar is in one trade date and one month; a hole in the data is no flat day."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from research.backtest import backtest
from research.backtest.result import Result
from research.history.history import History
from research.validation.daily_pnl import days_of
from rooney.cli import cli
from rooney.dashboard.comparison import page
from rooney.engine.build import build_engine
from rooney.market import sessions
from rooney.market.instruments import PRODUCTS
from rooney.performance.comparison import compare_all
from rooney.performance.runs import measure
from rooney.performance.sources import read_run
from tests.support.backtests import DAY, ROOTS, assembled, configured_strategy, random_minutes
from tests.support.paths import CONFIG

THANKSGIVING, CHRISTMAS, BEFORE_A_HOLIDAY = date(2025, 11, 26), date(2025, 12, 22), date(2026, 2, 13)
CASH = 150_000.0
CENT = 0.005


def run_of(bars: pl.DataFrame, roots: list[str], folder: Path, name: str = "ibs") -> tuple[Result, dict[str, Any]]:
    """A backtest over bars, and its summary."""
    bars.write_parquet(folder / "bars.parquet")
    strategy = configured_strategy(name, roots)
    history = History(folder / "bars.parquet", roots)
    result = backtest.run(strategy, history)
    summary: dict[str, Any] = json.loads(json.dumps(backtest.summary(result, strategy, history)))
    return result, summary


def hourly(minutes: pl.DataFrame) -> pl.DataFrame:
    """The same market as hourly bars."""
    by = ["root", "contract", pl.col("ts_open").dt.truncate("1h")]
    prices = [pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last()]
    folded = minutes.group_by(by, maintain_order=True).agg(*prices, pl.col("volume").sum())
    return folded.with_columns(timeframe=pl.lit("hourly"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    roots=st.sampled_from([["ZC"], ["ES"], ["GC", "ZC"], ROOTS]),
    first=st.sampled_from([DAY, THANKSGIVING, CHRISTMAS, BEFORE_A_HOLIDAY, date(2026, 3, 30)]),
    days=st.integers(1, 4),
    hole=st.integers(1, 4),
    past=st.floats(0.2, 1.0),
    name=st.sampled_from(["ibs", "breakout"]),
    is_hourly=st.booleans(),
)
def test_days_months_years_and_net_with_open_pnl_agree_to_the_cent_in_every_run(
    seed: int,
    roots: list[str],
    first: date,
    days: int,
    hole: int,
    past: float,
    name: str,
    is_hourly: bool,
    tmp_path: Path,
) -> None:
    """Whatever closes last and when, wherever the data end or have a hole, with a position open or not."""
    bars = random_minutes(seed, roots, days, first)
    left_out = first + timedelta(days=hole)
    bars = bars.filter(pl.col("ts_open").dt.convert_time_zone("America/Chicago").dt.date() != left_out)
    bars = bars[: max(2, int(len(bars) * past))]
    result, summary = run_of(hourly(bars) if is_hourly else bars, roots, tmp_path, name)
    open_usd = sum(
        held.side * held.quantity * (held.mark - held.entry_price) * PRODUCTS[held.symbol].point_value - held.costs_usd
        for held in result.opened
    )
    measures = summary["measures"]
    net_usd = float(result.trades["pnl_usd"].sum())
    assert measures["net_pnl_usd"] == pytest.approx(net_usd, abs=CENT)
    assert measures["open_pnl_usd"] == pytest.approx(open_usd, abs=CENT)
    assert [one["symbol"] for one in summary["open_positions"]] == [held.symbol for held in result.opened]
    daily_usd = result.daily["equity_usd"].diff().fill_null(result.daily["equity_usd"][0] - CASH).sum()
    for total in (
        daily_usd,
        measures["total_pnl_usd"],
        sum(row["pnl_usd"] for row in summary["per_month"]),
        sum(row["pnl_usd"] for row in summary["per_year"]),
        result.equity["equity_usd"][-1] - CASH,
    ):
        assert total == pytest.approx(net_usd + open_usd, abs=CENT)
    assert result.equity["ts"].is_sorted() and result.equity["ts"].is_unique().all()
    assert measures["max_drawdown_usd"] == result.equity["drawdown_usd"].max()


@pytest.mark.parametrize(
    ("roots", "first", "ends"),
    [
        (["ZC"], DAY, ["2026-03-10 13:20", "2026-03-11 13:20"]),
        (["ES", "ZC"], DAY, ["2026-03-10 13:20", "2026-03-10 16:00", "2026-03-11 13:20"]),
        (["ES"], THANKSGIVING, ["2025-11-26 16:00", "2025-11-28 12:15"]),
    ],
)
def test_there_is_one_equity_row_at_the_end_of_each_session(
    roots: list[str], first: date, ends: list[str], tmp_path: Path
) -> None:
    result, _ = run_of(random_minutes(5, roots, 6, first), roots, tmp_path)
    rows = result.equity["ts"].dt.convert_time_zone("America/Chicago").dt.strftime("%Y-%m-%d %H:%M").to_list()
    assert [rows.count(end) for end in ends] == [1] * len(ends)


def test_what_is_decided_after_the_last_whole_hour_is_in_its_own_trade_date(tmp_path: Path) -> None:
    """Of corn alone the day ends at 13:20: its daily P&L is that of the trades closed by then and of what is open."""
    result, _ = run_of(random_minutes(11, ["ZC"], 4), ["ZC"], tmp_path)
    last = result.equity.group_by("trade_date", maintain_order=True).agg(pl.col("ts").last())
    closes = [sessions.session_close_ns("grains", day) for day in last["trade_date"].to_list()[:-1]]
    assert last["ts"].dt.timestamp("ns").to_list()[:-1] == closes


def test_trade_dates_without_any_bar_are_named_and_are_no_flat_days(tmp_path: Path) -> None:
    bars = random_minutes(2, ROOTS, 10, date(2026, 3, 9))
    without = [date(2026, 3, 11), date(2026, 3, 12)]
    day = pl.col("ts_open").map_elements(
        lambda at: sessions.trade_date(int(at.timestamp()) * 10**9), return_dtype=pl.Date
    )
    whole, of_whole = run_of(bars, ROOTS, tmp_path)
    kept = bars.filter(~day.is_in(without))
    result, summary = run_of(kept, ROOTS, tmp_path)
    assert of_whole["days_without_bars"] == []
    assert summary["days_without_bars"] == [str(day) for day in without]
    assert set(result.daily["trade_date"]) == set(whole.daily["trade_date"]) - set(without)
    assert summary["measures"]["days"] == of_whole["measures"]["days"] - 2
    history = History(tmp_path / "bars.parquet", ROOTS)
    assert len(days_of(history)) == summary["measures"]["days"]  # what is searched and trained on knows no hole either
    of_hours, hours = run_of(hourly(kept), ROOTS, tmp_path)
    assert hours["days_without_bars"] == summary["days_without_bars"]
    assert of_hours.daily["trade_date"].to_list() == result.daily["trade_date"].to_list()


def _with_a_saturday(bars: pl.DataFrame) -> pl.DataFrame:
    """A bar of the Saturday before, which no session holds."""
    at = datetime(2026, 3, 7, 14, 59, tzinfo=UTC)  # a mark at a whole hour
    return pl.concat([bars[:1].with_columns(ts_open=pl.lit(at).cast(pl.Datetime("ns", "UTC"))), bars])


def test_a_mark_outside_any_session_has_the_trade_date_a_worker_gives_it(tmp_path: Path) -> None:
    """It had none, which made a year 1970 in the report, and a run of fifty years for the exposure."""
    bars = _with_a_saturday(random_minutes(7, ROOTS, 2, date(2026, 3, 9)))
    result, summary = run_of(bars, ROOTS, tmp_path)
    assert [row["year"] for row in summary["per_year"]] == [2026]
    assert result.equity["trade_date"].min() == date(2026, 3, 9)
    strategy = configured_strategy("ibs")
    live, scanned = build_engine(strategy), build_engine(strategy)
    history = History(tmp_path / "bars.parquet", ROOTS)
    scan = backtest.Scan(scanned, history)
    (chunk,) = history.chunks()
    first = int(chunk["ts_close"][0])
    scan.step(chunk[:1], first)
    published = next(one for one in assembled(bars, ROOTS) if one.minute.ts_close == first)
    live.on_minute(published.minute)
    assert live.freeze() == scanned.freeze()


def _written(folder: Path, seed: int = 3) -> tuple[Path, dict[str, Any]]:
    """A backtest's folder as the command writes it."""
    random_minutes(seed, ROOTS, 4).write_parquet(folder / "bars.parquet")
    given_ = ["backtest", "ibs", "--data", str(folder / "bars.parquet"), "--out", str(folder / "run"), "--json"]
    done = CliRunner().invoke(cli, [*given_, "--config", str(CONFIG), "--symbols", ",".join(ROOTS)])
    assert done.exit_code == 0, done.output
    return folder / "run", json.loads((folder / "run" / "summary.json").read_text())


def test_a_drawdown_has_one_value_and_sign_in_summary_report_comparison_and_dashboard(tmp_path: Path) -> None:
    """By session hours in summary and report; by closed trades, said so, wherever runs are compared."""
    folder, summary = _written(tmp_path)
    measures, report = summary["measures"], (folder / "report.html").read_text()
    hours, closed = measures["max_drawdown_usd"], measures["max_drawdown_closed_usd"]
    assert hours > 0 and closed > 0
    assert f"{hours:,.0f}</b><span>max drawdown by session hours, USD" in report
    assert f"{closed:,.0f}</b><span>… by closed trades, USD" in report
    equity = pl.read_parquet(folder / "equity.parquet")
    assert equity["drawdown_usd"].max() == hours
    run = read_run(str(folder), tmp_path)
    assert measure(run, run.trades, run.begin_ns, run.end_ns).max_drawdown_usd == pytest.approx(closed)
    made = compare_all([run, run], 0.0, 1, None, None, None)
    done = CliRunner().invoke(cli, ["compare", str(folder), str(folder)])
    for shown in (page(made, "now"), done.output):
        assert "max drawdown by closed trades, USD" in shown and f"{closed:,.2f}" in shown
        assert f"-{closed:,.2f}" not in shown
