"""The backtest is the live worker's step in a loop: the same bytes, the same trades, the same files everywhere."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from research.backtest import backtest
from research.history.history import History
from rooney.engine.build import build_engine
from rooney.engine.engine import Engine
from rooney.errors import ConfigError
from rooney.market import sessions
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.orders.decisions import Trade
from rooney.orders.intents import Intent, Role
from rooney.strategy.base import Strategy
from rooney.strategy.loader import load
from tests.support.backtests import DAY, ROOTS, configured_strategy, live_trades, random_minutes
from tests.support.engines import ALLOCATING, engine
from tests.support.paths import ROOT
from tests.support.times import chicago

DATA = ROOT.parent / "shared" / "data"
BEFORE_A_HOLIDAY = date(2026, 2, 13)  # the Friday before Presidents' Day, whose session belongs to Tuesday
DISPUTED = DAY + timedelta(days=1)
_PRICES = ("open", "high", "low", "close")


@pytest.mark.parametrize("name", ["ibs", "breakout"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_live_stepping_equals_the_backtest_scan(name: str, seed: int, tmp_path: Path) -> None:
    """Minute by minute or in one scan: the same trades, and the same state to the last byte."""
    _assert_live_equals_scan(name, random_minutes(seed, ROOTS), tmp_path)


@pytest.mark.parametrize("name", ["ibs", "breakout"])
def test_live_stepping_equals_the_backtest_scan_over_a_holiday(name: str, tmp_path: Path) -> None:
    """Five calendar days, two trade dates: one daily bar over Monday's halt, by the hub's fold and by the scan's."""
    bars = random_minutes(4, ROOTS, days=5, first=BEFORE_A_HOLIDAY)
    _assert_live_equals_scan(name, bars, tmp_path)


@pytest.fixture
def noon_ns(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """12:00 of the second day, at which metals close according to another source: UTC ns."""
    disputed = msgspec.structs.replace(sessions.table(), disputed={(DISPUTED, "metals"): time(12)})
    monkeypatch.setattr(sessions, "table", lambda: disputed)
    for looked_up in (sessions._windows_of, sessions._block):
        looked_up.cache_clear()
    yield chicago(f"{DISPUTED} 12:00")
    for looked_up in (sessions._windows_of, sessions._block):
        looked_up.cache_clear()


def test_live_stepping_equals_the_backtest_scan_over_a_disputed_close(noon_ns: int, tmp_path: Path) -> None:
    """Both leave gold at noon and enter no more that day; its bars go on to the later close."""
    changes = {"ibs_entry_high": 1.0, "ibs_exit_low": 2.0, "close_margin_s": 120.0, "auto_close_ns": 15 * HOUR_NS}
    live, scanned = (engine(["GC"], "ibs", **changes) for _ in range(2))
    bars = random_minutes(6, ["GC"], days=3)
    trades = _assert_equal(live, scanned, bars, tmp_path, ["GC"])
    closes_ns = sessions.session_close_ns("metals", DISPUTED)
    times = trades.select(pl.col("entry_ts", "exit_ts").dt.timestamp("ns"), "exit_reason").rows()
    (left,) = [
        exit_ns for _, exit_ns, reason in times if reason == "auto_close" and noon_ns - HOUR_NS < exit_ns < closes_ns
    ]
    assert noon_ns - 2 * MINUTE_NS <= left
    assert [entry_ns for entry_ns, _, _ in times if left <= entry_ns < closes_ns] == []
    assert bars["ts_open"].dt.timestamp("ns").is_between(noon_ns, closes_ns - 1).any()


def _assert_live_equals_scan(name: str, bars: pl.DataFrame, tmp_path: Path) -> None:
    strategy = configured_strategy(name)
    _assert_equal(build_engine(strategy), build_engine(strategy), bars, tmp_path)


def test_a_rule_may_make_arrays_lists_and_texts_and_call_a_helper_that_does(tmp_path: Path) -> None:
    """Kernels are compiled without reference counts; what a researcher writes is not."""
    live, scanned = (engine(ROOTS, ALLOCATING) for _ in range(2))
    assert len(_assert_equal(live, scanned, random_minutes(1, ROOTS), tmp_path)) > 2


def _assert_equal(
    live: Engine, scanned: Engine, bars: pl.DataFrame, tmp_path: Path, roots: list[str] = ROOTS
) -> pl.DataFrame:
    bars.write_parquet(tmp_path / "bars.parquet")
    trades = live_trades(live, bars)
    history = History(tmp_path / "bars.parquet", roots)
    scan = backtest.Scan(scanned, history)
    for chunk in history.chunks():
        scan.step(chunk)
    assert scanned.freeze() == live.freeze()
    found = scan.trades()
    assert [(t.symbol, t.entry_price, t.exit_price, t.pnl_usd) for t in trades] == list(
        found.select("symbol", "entry_price", "exit_price", "pnl_usd").iter_rows()
    )
    return found


@pytest.mark.parametrize("name", ["ibs", "breakout"])
def test_the_random_market_makes_trades_to_compare(name: str, tmp_path: Path) -> None:
    random_minutes(1, ROOTS).write_parquet(tmp_path / "bars.parquet")
    result = backtest.run(configured_strategy(name), History(tmp_path / "bars.parquet", ROOTS))
    assert len(result.trades) >= 2


@pytest.mark.parametrize("name", ["ibs", "breakout"])
def test_cutting_the_history_anywhere_changes_no_earlier_trade(name: str, tmp_path: Path) -> None:
    """No look-ahead: what is not there yet cannot matter."""
    bars = random_minutes(3, ROOTS)
    bars.write_parquet(tmp_path / "bars.parquet")
    whole = backtest.run(configured_strategy(name), History(tmp_path / "bars.parquet", ROOTS)).trades
    for share in (0.3, 0.5, 0.8):
        cut = bars["ts_open"][int(len(bars) * share)]
        part = backtest.run(configured_strategy(name), History(tmp_path / "bars.parquet", ROOTS, end=cut)).trades
        assert part.equals(whole.filter(pl.col("exit_ts") < cut).head(len(part)))


def test_the_decision_digest_is_the_same_for_the_same_data_and_differs_for_other(tmp_path: Path) -> None:
    random_minutes(1, ROOTS).write_parquet(tmp_path / "a.parquet")
    random_minutes(2, ROOTS).write_parquet(tmp_path / "b.parquet")
    first, again, other = (
        backtest.run(configured_strategy("ibs"), History(tmp_path / name, ROOTS)).digest
        for name in ("a.parquet", "a.parquet", "b.parquet")
    )
    assert first == again != other


def test_hooks_are_told_of_every_intent_and_trade_and_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    random_minutes(1, ROOTS).write_parquet(tmp_path / "bars.parquet")
    history = History(tmp_path / "bars.parquet", ROOTS)
    quiet = backtest.run(configured_strategy("ibs"), history)
    told: list[Any] = []

    def on_trade(self: Strategy, trade: Trade) -> None:
        told.append(trade)
        raise RuntimeError("a bug of a researcher")

    monkeypatch.setattr(load("ibs"), "on_order", lambda self, intent: told.append(intent))
    monkeypatch.setattr(load("ibs"), "on_trade", on_trade)
    result = backtest.run(configured_strategy("ibs"), history)
    assert (result.digest, result.marks) == (quiet.digest, quiet.marks)
    assert result.trades.equals(quiet.trades)
    trades = [one for one in told if isinstance(one, Trade)]
    assert [trade.pnl_usd for trade in trades] == quiet.trades["pnl_usd"].to_list()
    entries, exits = (
        [one for one in told if isinstance(one, Intent) and one.role is role] for role in (Role.ENTRY, Role.EXIT)
    )
    assert len(entries) >= len(exits) >= len(trades) >= 2
    assert {one.id for one in entries}.isdisjoint(one.id for one in exits)
    assert caplog.text.count("on_trade failed: RuntimeError: a bug of a researcher") == len(trades)


@pytest.mark.skipif(not (DATA / "bars_1m").exists(), reason=f"real CME bars are not at {DATA}")
def test_the_real_december_roll_is_one_event_with_both_prices() -> None:
    history = History(DATA / "bars_1m" / "ES_lean_2013.parquet", ["ES"])
    assert [(event.root, event.contract) for event in history.events] == [("ES", 201403)]
    event = history.events[0]
    assert datetime.fromtimestamp(event.ts / 1e9, UTC).date() == date(2013, 12, 17)
    assert math.isfinite(event.old_last)
    assert event.old_last != event.new_last


def test_the_result_files_open_and_agree(tmp_path: Path) -> None:
    random_minutes(1, ROOTS).write_parquet(tmp_path / "bars.parquet")
    command = [sys.executable, "-m", "rooney", "backtest", "ibs", "--data", str(tmp_path / "bars.parquet"), "--json"]
    command += ["--config", str(ROOT / "config.multi_alpha.yml"), "--symbols", ",".join(ROOTS), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    trades = pl.read_parquet(tmp_path / "trades.parquet")
    assert summary["measures"]["trades"] == len(trades)
    assert summary["measures"]["net_pnl_usd"] == pytest.approx(trades["pnl_usd"].sum())
    periods = (sum(row["pnl_usd"] for row in summary[name]) for name in ("per_year", "per_month"))
    assert next(periods) == pytest.approx(next(periods))
    assert pl.read_parquet(tmp_path / "equity.parquet").columns == ["ts", "equity_usd", "drawdown_usd"]
    page = (tmp_path / "report.html").read_text()
    assert "plotly" in page
    assert 'src="http' not in page


def test_history_without_a_time_zone_is_refused_by_file(tmp_path: Path) -> None:
    frame = random_minutes(1, ["ES"], days=1).with_columns(pl.col("ts_open").dt.replace_time_zone(None))
    frame.write_parquet(tmp_path / "naive.parquet")
    with pytest.raises(ConfigError, match=r"naive\.parquet.*zone"):
        History(tmp_path / "naive.parquet", ["ES"])


def test_history_of_other_roots_is_refused_with_those_asked_for(tmp_path: Path) -> None:
    random_minutes(1, ["ES"], days=1).write_parquet(tmp_path / "bars.parquet")
    with pytest.raises(ConfigError, match="NQ"):
        History(tmp_path / "bars.parquet", ["NQ"])


def test_history_counts_a_holiday_to_the_next_trade_date_as_the_hub_does(tmp_path: Path) -> None:
    """On Monday, a holiday, June trades more; the front of Tuesday is still decided by Friday, so nothing rolls yet."""
    rows = []
    for text, march, june in (
        ("2026-02-13", 9.0, 1.0),
        ("2026-02-16", 1.0, 20.0),
        ("2026-02-17", 9.0, 1.0),
        ("2026-02-18", 9.0, 1.0),
    ):
        ts = datetime.fromisoformat(f"{text} 10:00").replace(tzinfo=sessions.CHICAGO)
        rows += [("ES", "ESH6", ts, march), ("ES", "ESM6", ts, june)]
    frame = pl.DataFrame(rows, schema=["root", "contract", "ts_open", "volume"], orient="row").with_columns(
        pl.col("ts_open").dt.convert_time_zone("UTC"), *(pl.lit(100.0).alias(name) for name in _PRICES)
    )
    frame.write_parquet(tmp_path / "bars.parquet")
    history = History(tmp_path / "bars.parquet", ["ES"])
    # Monday's and Tuesday's volume are one trade date's: 10 against 21, so the roll comes with Wednesday's session.
    assert [(event.ts, event.contract) for event in history.events] == [
        (sessions.session_open_ns("equity", date(2026, 2, 18)) + MINUTE_NS, 202606)
    ]


def test_a_backtest_beyond_the_session_table_is_refused(tmp_path: Path) -> None:
    last = sessions.table().last
    frame = random_minutes(1, ["ES"], days=1)
    moved = frame.with_columns(pl.col("ts_open") + (last - DAY + timedelta(days=30)))
    moved.write_parquet(tmp_path / "late.parquet")
    with pytest.raises(ConfigError, match=f"late.parquet.*session table.*{last}"):
        History(tmp_path / "late.parquet", ["ES"])
