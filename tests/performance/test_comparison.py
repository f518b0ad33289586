"""`rooney compare`: the same runs are the same, and what differs is found and explained.

Runs are real: a worker's ledger, backtests' folders, a database as the old system made it (its columns are those of
the old system's specification, §9), and its recorded trades.
"""

import csv
import json
import math
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from rooney.cli import cli
from rooney.dashboard.comparison import page
from rooney.errors import ConfigError
from rooney.market.sessions import HOUR_NS, MINUTE_NS, trade_date
from rooney.ops.compare import lines
from rooney.orders.decisions import Trade
from rooney.performance.causes import Cause
from rooney.performance.comparison import compare, compare_all, match
from rooney.performance.runs import Assumed, Kind, Run, measure
from rooney.performance.sources import of_ledger, read_run
from rooney.performance.store import KeptView
from rooney.performance.verdict import Verdict, verdict
from tests.support.backtests import ROOTS, random_minutes
from tests.support.command_line import Bench
from tests.support.compared_runs import backtest_of, old_database, trade
from tests.support.dashboard import rooney
from tests.support.minutes import BUY, LEAVE, QUIET, START, closes
from tests.support.paths import CONFIG, RECORDED_RUNS
from tests.support.webhook_faults import Fault

RECORDED = RECORDED_RUNS
Make = Callable[..., Bench]


def run_of(trades: Sequence[Trade], label: str, kind: Kind = Kind.BACKTEST, **more: Any) -> Run:
    return Run(label, kind, tuple(trades), START, START + 300 * MINUTE_NS, "1min", **more)


def compared(a: Run, b: Run) -> Any:
    return compare(a, b, START, START + 300 * MINUTE_NS, MINUTE_NS)


def causes(found: Any) -> list[Cause]:
    return [one.cause for one in found.differences]


@given(st.lists(st.integers(0, 280), unique=True), st.data())
def test_a_run_is_the_same_as_itself_in_any_order(minutes: list[int], data: st.DataObject) -> None:
    trades = [trade(at, gain=(at % 7) - 3.0) for at in minutes]
    found = compared(run_of(trades, "a"), run_of(data.draw(st.permutations(trades)), "b"))
    assert (found.pairs, found.identical, found.differences) == (len(trades), len(trades), ())
    assert found.share == 1.0 and found.discrepancy == 0.0 and found.clean_days == len(found.days)


@given(st.lists(st.integers(0, 60), max_size=12), st.lists(st.integers(0, 60), max_size=12))
def test_pairs_are_one_to_one_and_at_most_a_bar_apart(a: list[int], b: list[int]) -> None:
    ours, theirs = [trade(at) for at in a], [trade(at) for at in b]
    pairs = match(ours, theirs, MINUTE_NS)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(abs(ours[i].entry_ts - theirs[j].entry_ts) <= MINUTE_NS for i, j in pairs)
    same = sum(min(a.count(at), b.count(at)) for at in set(a))
    assert sum(ours[i].entry_ts == theirs[j].entry_ts for i, j in pairs) == same


def test_pnl_within_two_percent_is_equal_and_beyond_is_not() -> None:
    one = trade(0, gain=20.0)
    for gain, equal in ((20.25, 1), (20.5, 0)):
        found = compared(run_of([one], "a"), run_of([trade(0, gain=gain)], "b"))
        assert (found.equal, found.identical) == (equal, 0)


def test_one_slippage_is_found_in_ticks() -> None:
    worse = [trade(0), trade(10), msgspec.structs.replace(trade(20), entry_price=100.5, pnl_usd=22.5)]
    found = compared(run_of([trade(0), trade(10), trade(20)], "a"), run_of(worse, "b"))
    assert causes(found) == [Cause.SLIPPAGE] and found.differences[0].usd == pytest.approx(-25.0)
    assert "entered 2 ticks worse and left at the same price" in found.differences[0].text
    assert (found.slips[0].worst_ticks, found.share) == (2.0, pytest.approx(2 / 3))
    assert [day.is_clean for day in found.days] == [False] and found.clean_days == 0


def test_a_size_a_cost_and_a_limit_are_told_apart() -> None:
    assumed = msgspec.structs.replace(run_of([], "b").assumed, max_positions=1)
    theirs = [trade(0, quantity=2), trade(10, costs_usd=40.0), trade(19, symbol="NQ")]
    ours = [trade(0), trade(10), trade(20), trade(19, symbol="NQ")]
    found = compared(run_of(ours, "a"), run_of(theirs, "b", assumed=assumed))
    assert causes(found) == [Cause.SIZE, Cause.COSTS, Cause.LIMIT]


def test_a_score_below_the_other_s_threshold_is_a_veto() -> None:
    assumed = msgspec.structs.replace(run_of([], "b").assumed, thresholds={"ES": 0.55})
    found = compared(run_of([trade(0, score=0.41)], "a"), run_of([], "b", assumed=assumed))
    assert causes(found) == [Cause.VETO] and "0.4100" in found.differences[0].text


# -- a live ledger --


def test_a_difference_says_whose_pnl_is_taken_from_whose() -> None:
    """A loss that only one run has is a gain of the other over it, and reads as nothing else."""
    lost = trade(5, gain=-14.24)
    made = compare_all([run_of([lost], "live"), run_of([], "again")], 0.0, 1, None, None, None)
    assert lost.pnl_usd == pytest.approx(-714.5)
    head, row = next(pair for pair in pairwise(lines(made)) if "only live" in pair[1])
    assert row.index("+714.50") == head.index("again less live, USD")
    assert "Difference: again less live, USD" in page(made, "now")


def test_a_trade_date_without_bars_is_no_flat_day_where_runs_are_compared() -> None:
    holes = frozenset({trade_date(START + 24 * HOUR_NS)})
    whole, holed = (run_of([trade(5)], "a", assumed=Assumed(holes=days)) for days in (frozenset[date](), holes))
    days = [measure(one, one.trades, START, START + 48 * HOUR_NS).days for one in (whole, holed)]
    assert days[1] == days[0] - 1


@pytest.fixture
def traded(bench: Make) -> Bench:
    """A live run with two trades; the other side refused the second entry."""
    one = bench("a", faults=(Fault("limited", at=(3,)),), settle_s=0, reentry_wait_s=0)
    one.begin()
    for prices in ((LEAVE, 100.5), (BUY, 100.25), (QUIET, 100.75), (BUY, 100.5, LEAVE, 101.5)):
        one.more(*prices)
    return one


def test_a_ledger_is_the_same_as_its_own_trades(traded: Bench, tmp_path: Path) -> None:
    live = of_ledger(traded.rig.ledger("a"))
    assert len(live.trades) >= 2
    folder = backtest_of(traded, live.trades, tmp_path / "same")
    found = json.loads(rooney(traded, "compare", "a", folder, "--json"))
    (one,) = found["comparisons"]
    assert (one["share"], one["identical"], found["discrepancy"]) == (1.0, len(live.trades), 0.0)
    assert found["runs"][0]["send_p50_ms"] > 0 and found["runs"][1]["send_p50_ms"] is None


def test_a_trade_live_did_not_get_is_explained_by_what_became_of_its_order(traded: Bench, tmp_path: Path) -> None:
    live = of_ledger(traded.rig.ledger("a"))
    (refused,) = [o for o in traded.read().orders if "refused" in [str(step.state) for step in o.events]]
    lost = msgspec.structs.replace(
        live.trades[0], entry_ts=refused.ts_mark, exit_ts=refused.ts_mark + MINUTE_NS, pnl_usd=10.0
    )
    folder = backtest_of(traded, sorted((*live.trades, lost), key=lambda t: t.exit_ts), tmp_path / "more")
    found = json.loads(rooney(traded, "compare", "a", folder, "--json", code=1))
    (one,) = found["comparisons"][0]["differences"]
    assert (one["only"], one["cause"]) == ("more", "refused")
    assert found["is_alarm"]


def test_a_bar_the_ledger_never_had_is_named(traded: Bench, tmp_path: Path) -> None:
    (last,) = closes(QUIET, start=traded.rig.position("a") + 2 * MINUTE_NS)  # two minutes of ES are missing
    (other,) = closes(20_000.0, symbol="NQ", start=traded.rig.position("a"))
    traded.rig.publish([other, last])
    traded.rig.wait_position(last.ts_close)
    missed = other.ts_close
    live = of_ledger(traded.rig.ledger("a"))
    there = msgspec.structs.replace(
        live.trades[0], entry_ts=missed, exit_ts=missed + MINUTE_NS, pnl_usd=10.0, cause="rule"
    )
    folder = backtest_of(traded, (*live.trades, there), tmp_path / "whole")
    found = json.loads(rooney(traded, "compare", "a", folder, "--json", code=None))
    (one,) = found["comparisons"][0]["differences"]
    assert one["cause"] == "missing bar" and f"{datetime.fromtimestamp(missed / 1e9, UTC):%H:%MZ}" in one["text"]


def test_what_is_kept_is_on_the_dashboard_and_written_as_one_offline_page(traded: Bench, tmp_path: Path) -> None:
    live = of_ledger(traded.rig.ledger("a"))
    folder = backtest_of(traded, live.trades, tmp_path / "kept")
    before = traded.rig.ledger("a").read_bytes()
    rooney(traded, "compare", "a", folder, "--keep", "--report", tmp_path / "report.html")
    verdicts, _ = KeptView(traded.state).look()
    assert [(one.name, one.kind, one.is_alarm) for one in verdicts] == [("a", "compare", False)]
    text = (tmp_path / "report.html").read_text()
    assert "Every trade is the same" in text and 'data-clean="true"' in text
    assert "http" not in text.replace("http-equiv", "") and "<script" not in text and "<link" not in text
    assert traded.rig.ledger("a").read_bytes() == before


def test_ledgers_are_compared_without_what_only_research_needs(traded: Bench) -> None:
    shutil.copytree(traded.state / "a", traded.state / "twin")
    code = (
        "import sys\n"
        "for name in ('polars', 'pyarrow', 'sklearn', 'plotly', 'pandas'): sys.modules[name] = None\n"
        "sys.argv = ['rooney', 'compare', 'a', 'twin']\n"
        "from rooney.cli import main\nmain()\n"
    )
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **traded.rig.env},
    )
    assert done.returncode == 0, done.stderr
    assert "100.0% the same" in done.stdout


# -- the old system --


def hour(h: int, minute: int = 0) -> str:
    return f"2026-03-11T{h:02}:{minute:02}:00"


def test_the_known_defects_of_the_old_live_system_are_told_by_their_letters(tmp_path: Path) -> None:
    path = old_database(
        tmp_path / "trades.db",
        [
            (hour(11), hour(13), hour(13, 1)),  # the same
            (hour(15), hour(17), hour(17, 1)),  # an hour late
            (hour(18), hour(18, 4), hour(18, 5)),  # bars of one minute at the top of the hour
            (hour(19, 10), hour(20, 30), "2026-03-12T09:00:00"),  # written after a restart
        ],
    )
    old = read_run(str(path), tmp_path)
    at = [int(datetime.fromisoformat(hour(h)).replace(tzinfo=UTC).timestamp()) * 10**9 for h in (11, 14)]
    ours = [Trade("ES", "ESM6", 1, 1, ts, 100.0, ts + 2 * HOUR_NS, 101.0, "rule", 47.5, 2.5, 2) for ts in at]
    new = Run("new", Kind.BACKTEST, tuple(ours), at[0], at[0] + 24 * HOUR_NS, "hourly")
    found = compare_all([old, new], 0.05, 1, None, None, None)
    texts = [one.text[0] for one in found.comparisons[0].differences if one.cause is Cause.OLD_DEFECT]
    assert texts == ["A", "F"] and found.comparisons[0].identical == 1
    shifted = [msgspec.structs.replace(one, pnl_usd=10.0) for one in ours[1:]]
    again = compare(old, msgspec.structs.replace(new, trades=tuple(shifted)), old.begin_ns, old.end_ns, HOUR_NS)
    assert "D: its order left an hour late" in next(one.text for one in again.differences if not one.only)


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded runs of the old system are not here")
def test_recorded_trades_are_read_in_the_exchange_s_own_time(tmp_path: Path) -> None:
    run = read_run(str(RECORDED / "trades.csv"), tmp_path)
    first = {trade.symbol: trade for trade in reversed(run.trades)}
    assert len(run.trades) == 2384
    # 2024-06-18 12:00 in Chicago (6A), and in New York (GC: its first row), by the file
    assert first["6A"].entry_ts == int(datetime(2024, 6, 18, 17, tzinfo=UTC).timestamp()) * 10**9
    assert datetime.fromtimestamp(first["GC"].entry_ts / 1e9, UTC).isoformat() == "2024-06-18T03:00:00+00:00"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded runs of the old system are not here")
def test_profile_v1_is_clean_against_the_recorded_trades(tmp_path: Path) -> None:
    """`rooney backtest` on the recorded hours, with the old system's costs and without the limit it did not have."""
    hours = pl.read_parquet(RECORDED / "bars_hourly.parquet").filter(pl.col("symbol") == "6A")
    at = pl.col("datetime").dt.replace_time_zone("America/Chicago").dt.convert_time_zone("UTC").alias("ts_open")
    bars = hours.select(
        at,
        pl.col("symbol").alias("root"),
        pl.lit("hourly").alias("timeframe"),
        "open",
        "high",
        "low",
        "close",
        "volume",
    )
    bars.write_parquet(tmp_path / "hours.parquet")
    with (RECORDED / "trades.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["symbol"] == "6A"]
    with (tmp_path / "old.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    config = CONFIG
    changes = (
        "strategies.ibs.instruments=[6A]",
        "strategies.ibs.profile=v1",
        "instruments.6A.slippage_ticks=0",
        "strategies.ibs.daily_stop_loss=1000000",
        "strategies.ibs.on_missing_model=trade",
    )
    argv = ["backtest", "ibs", "--config", str(config), "--data", str(tmp_path / "hours.parquet")]
    argv += [word for change in changes for word in ("--set", change)]
    CliRunner().invoke(cli, [*argv, "--out", str(tmp_path / "v1"), "--decisions"], catch_exceptions=False)
    done = CliRunner().invoke(cli, ["compare", str(tmp_path / "old.csv"), str(tmp_path / "v1"), "--json"])
    found = json.loads(done.stdout)
    (one,) = found["comparisons"]
    assert (done.exit_code, one["identical"], one["trades_a"], one["trades_b"]) == (0, 625, 625, 625)
    assert one["clean_days"] == len(one["days"]) > 300


# -- backtests --


def test_two_backtests_that_differ_by_one_bar_and_by_slippage_are_explained(tmp_path: Path) -> None:
    """The same strategy on the same minutes: once as they are, once without one of them, once with more slippage."""
    bars = random_minutes(5, ROOTS, days=4)
    bars.write_parquet(tmp_path / "bars.parquet")
    config = tmp_path / "config.yml"
    config.write_text(
        "data_hub: {redis_socket: /nowhere}\ninstruments: {ES: {}, GC: {}, ZC: {}}\nstrategies:\n  a:\n"
        "    strategy: breakout\n    instruments: [ES, GC, ZC]\n    max_positions: 3\n"
        "    strategy_params: {breakout_lookback: 3, exit_lookback: 2, min_channel_atr: 0}\n"
    )

    def backtest(name: str, data: Path, *changes: str) -> Path:
        argv = ["backtest", "a", "--config", str(config), "--data", str(data), "--out", str(tmp_path / name)]
        argv += [word for change in changes for word in ("--set", change)]
        done = CliRunner().invoke(cli, [*argv, "--decisions"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return tmp_path / name

    def difference(*runs: Path) -> Any:
        done = CliRunner().invoke(cli, ["compare", *map(str, runs), "--json"], catch_exceptions=False)
        return json.loads(done.stdout)

    whole = backtest("whole", tmp_path / "bars.parquet")
    trades = pl.read_parquet(whole / "trades.parquet")
    assert len(trades) > 8
    assert difference(whole, backtest("again", tmp_path / "bars.parquet"))["discrepancy"] == 0.0

    entered = trades.row(len(trades) // 2, named=True)
    less = bars.filter((pl.col("ts_open") != entered["entry_ts"]) | (pl.col("root") != entered["symbol"]))
    assert len(less) == len(bars) - 1
    less.write_parquet(tmp_path / "less.parquet")
    found = difference(whole, backtest("less", tmp_path / "less.parquet"))["comparisons"][0]["differences"]
    assert found and found[0]["cause"] == "missing bar"
    assert found[0]["symbol"] == entered["symbol"]
    assert "unexplained" not in [one["cause"] for one in found]

    more = [f"instruments.{root}.slippage_ticks=3" for root in ROOTS]
    slipped = backtest("slipped", tmp_path / "bars.parquet", *more)
    found = difference(whole, slipped)["comparisons"][0]["differences"]
    assert {one["cause"] for one in found} == {"fill assumption"}


# -- refusals --


def test_what_cannot_be_compared_is_refused_with_what_can(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    bad = tmp_path / "bad.csv"
    bad.write_text("symbol,side,entry_time,entry_price,exit_time,exit_price\nES,up,2026-01-01,1,2026-01-02,2\n")
    for given_, words in (
        ("nothing", "neither a strategy with a ledger"),
        (str(tmp_path / "empty"), "expected trades.parquet"),
        (str(bad), "trade 1: side: expected long, short"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_run(given_, tmp_path)
    early = msgspec.structs.replace(run_of([], "early"), begin_ns=1, end_ns=2)
    with pytest.raises(ConfigError, match="no time in common"):
        compare_all([early, run_of([], "late")], 0.05, 1, None, None, None)


@given(st.floats(0, 1), st.text("ab", max_size=3))
def test_a_verdict_comes_back_from_its_file_as_it_was(limit: float, label: str) -> None:
    a, b = run_of([trade(0), trade(5)], "a"), run_of([trade(0)], f"b{label}")
    made = verdict("a", "compare", 7, limit, [a, b], [compared(a, b)])
    assert msgspec.json.decode(msgspec.json.encode(made), type=Verdict) == made
    assert made.is_alarm is (made.discrepancy > limit) and math.isfinite(made.discrepancy)
