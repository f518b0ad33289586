"""Searching for parameters: what is planted is found, luck is called luck, and a study outlives its workers."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from research.history.history import History
from research.optimize import parameters as optimize
from research.optimize import study
from research.optimize.trials import Runs
from rooney.cli import cli
from rooney.config.loader import load_config
from rooney.engine.build import open_lengths
from rooney.errors import ConfigError
from rooney.sim.processes import start_redis
from tests.support.breakout_market import CONFIG, breakout, write_closes
from tests.support.children import child

RANGES = {"breakout_lookback": (10.0, 60.0), "exit_lookback": (5.0, 40.0), "stop_atr": (1.0, 6.0)}
PLAN = optimize.Plan(trials=6, min_trades=20, min_final_trades=5)


@pytest.fixture(scope="module")
def closes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_closes(tmp_path_factory.mktemp("closes"), {"ES": 0.45, "NQ": 0.45})


def searched(closes: Path, out: Path, plan: optimize.Plan = PLAN) -> optimize.Optimized:
    strategy = breakout("ES", "NQ")
    runs = Runs(strategy, History(closes, ["ES", "NQ"]), RANGES, plan)
    name = optimize.identity(runs, plan, RANGES)
    optimize.work(runs, plan, RANGES, str(out / "study.journal"), name)
    return optimize.conclude(runs, plan, RANGES, str(out / "study.journal"), name)


@pytest.fixture(scope="module")
def found(closes: Path, tmp_path_factory: pytest.TempPathFactory) -> optimize.Optimized:
    return searched(closes, tmp_path_factory.mktemp("found"))


# ── what it finds ──


def test_a_planted_edge_is_found_and_the_final_period_confirms_it(found: optimize.Optimized) -> None:
    assert found.confirmed, found.reasons
    assert found.measures["path_sharpe"] > 1
    assert found.measures["final_pnl_usd"] > 0


def test_of_noise_nothing_is_confirmed_and_it_says_why(tmp_path: Path) -> None:
    noise = searched(write_closes(tmp_path, {"ES": 0.0, "NQ": 0.0}, seed=1), tmp_path)
    assert not noise.confirmed
    assert noise.reasons


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_ten_times_noise_confirms_nothing(seed: int, tmp_path: Path) -> None:
    plan = msgspec.structs.replace(PLAN, trials=30)
    assert not searched(write_closes(tmp_path, {"ES": 0.0, "NQ": 0.0}, seed=seed), tmp_path, plan).confirmed


def test_every_trial_counts_and_the_first_has_the_parameters_as_configured(found: optimize.Optimized) -> None:
    assert found.measures["trials"] == len(found.trials) == PLAN.trials
    assert found.trials[0].params == found.configured


def test_the_period_put_away_changes_nothing_of_the_search(closes: Path, tmp_path: Path, found: Any) -> None:
    """Other prices there: the same trials, the same parameters, another final result."""
    other = write_closes(tmp_path, {"ES": 0.45, "NQ": 0.45}, flip_from=0.80)
    again = searched(other, tmp_path)
    assert again.trials == found.trials
    assert again.strategy_params == found.strategy_params
    assert again.measures["final_pnl_usd"] < found.measures["final_pnl_usd"]


# ── the same again ──


def test_the_same_seed_gives_the_same_bytes_also_after_a_stop(closes: Path, tmp_path: Path, found: Any) -> None:
    searched(closes, tmp_path, msgspec.structs.replace(PLAN, trials=2))
    assert msgspec.json.encode(searched(closes, tmp_path)) == msgspec.json.encode(found)


def test_a_length_left_open_trades_as_one_that_is_compiled_in(closes: Path) -> None:
    """One compilation serves all lengths, and each decides what its own would have."""
    history = History(closes, ["ES", "NQ"])
    open_, fixed = (Runs(breakout("ES", "NQ"), history, ranges, PLAN) for ranges in (RANGES, {}))
    assert open_.most == {"breakout_lookback": 60, "exit_lookback": 40}
    assert fixed.most == {}
    for values in ({}, {"stop_atr": 4.0}):
        one, other = (runs.trades(values, history.end_ns + 1) for runs in (open_, fixed))
        assert len(one) > 20
        assert one.tobytes() == other.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(("channel", "out"), [(10, 5), (33, 40), (60, 17)])
def test_any_length_left_open_trades_as_one_that_is_compiled_in(closes: Path, channel: int, out: int) -> None:
    history = History(closes, ["ES", "NQ"])
    values = {"breakout_lookback": channel, "exit_lookback": out}
    open_, fixed = (Runs(breakout("ES", "NQ"), history, ranges, PLAN) for ranges in (RANGES, {}))
    assert open_.trades(values, history.end_ns).tobytes() == fixed.trades(values, history.end_ns).tobytes()


def test_a_length_in_parts_or_one_that_moves_otherwise_on_a_roll_stays_compiled_in() -> None:
    ibs = load_config(CONFIG).strategy("ibs")
    assert open_lengths(ibs, {"pivot_bars": (3.0, 9.0), "stop_percent": (0.5, 2.0)}) == {}


# ── what may be searched ──


def test_without_ranges_those_of_the_strategy_file_are_searched() -> None:
    ranges = optimize.ranges_of(breakout("ES"), [])
    assert ranges["breakout_lookback"] == (10.0, 120.0)
    assert "time_stop_bars" not in ranges


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("speed=1:2", "no parameter 'speed'"),
        ("stop_atr=1", "expected stop_atr=LOW:HIGH"),
        ("stop_atr=3:1", "LOW < HIGH within"),
        ("breakout_lookback=1:20", "within 2 to 500"),
    ],
)
def test_a_range_that_cannot_be_is_refused(given: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        optimize.ranges_of(breakout("ES"), [given])


# ── many workers ──


@pytest.fixture
def redis_url() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="rooney-s-") as folder:  # a socket's path must be short
        part = start_redis(Path(folder))
        yield f"unix://{folder}/redis.sock"
        part.stop()


def test_two_workers_share_a_study_and_killing_one_loses_nothing(redis_url: str) -> None:
    command = [sys.executable, "-m", "tests.support.study_worker", redis_url, "shared", "12", "0.2"]
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True}
    with child(command, **options) as other:
        with child(command, **options) as one:
            for _ in range(3):
                one.stdout.readline()
            other.stdout.readline()
        before = study.over(study.open_study(redis_url, "shared", 0, 5))
        assert other.wait(60) == 0
    shared = study.open_study(redis_url, "shared", 0, 5)
    after = study.over(shared)
    assert len(after) == 12
    assert {trial.number for trial in before} <= {trial.number for trial in after}
    assert not study.running(shared)
    workers = {trial.user_attrs[study.WORKER] for trial in after}
    assert len(workers) == 2


def test_a_trial_that_has_not_got_on_for_long_is_given_up(tmp_path: Path) -> None:
    """Its worker is on another host, where nobody can look whether it lives."""
    shared = study.open_study(str(tmp_path / "journal"), "x", 0, 5)
    lost, slow = shared.ask(), shared.ask()
    for trial, beat in ((lost, 0.0), (slow, None)):
        study.beat(trial)
        trial.set_user_attr(study.WORKER, "elsewhere:1")
        if beat is not None:
            trial.set_user_attr(study.BEAT, beat)
    assert study.bury(shared) == ["elsewhere:1"]
    assert [trial.number for trial in study.running(shared)] == [slow.number]


def test_a_password_on_the_command_line_is_refused_without_repeating_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        study.open_study("redis://:hunter2@localhost:6379/0", "x", 0, 5)
    assert "hunter2" not in str(raised.value)
    assert "REDIS_PASSWORD" in str(raised.value)


def test_a_redis_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        study.open_study("redis://127.0.0.1:1/0", "x", 0, 5)


# ── the command ──


def test_the_command_writes_a_result_a_page_and_a_block_for_the_configuration(closes: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli,
        [
            "optimize",
            "breakout",
            "--config",
            CONFIG,
            "--symbols",
            "ES,NQ",
            "--data",
            str(closes),
            "--out",
            str(tmp_path),
            "--trials",
            "3",
            "--min-trades",
            "20",
            "--search",
            "breakout_lookback=10:60",
            "--search",
            "exit_lookback=5:40",
            "--search",
            "stop_atr=1:6",
            "--json",
        ],
    )
    said = json.loads(done.stdout)
    result = optimize.read(tmp_path / "optimize.json")
    assert done.exit_code == (0 if result.confirmed else 1)
    assert said["cost"]["peak_mib"] > 0
    assert "P&amp;L so far" in (tmp_path / "optimize.html").read_text()
    block = (tmp_path / "optimize.yml").read_text()
    assert f"breakout_lookback: {result.strategy_params['breakout_lookback']}" in block


def test_a_result_of_a_newer_version_is_refused(found: optimize.Optimized, tmp_path: Path) -> None:
    path = tmp_path / "optimize.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(found, format=99)))
    with pytest.raises(ConfigError, match="format 99"):
        optimize.read(path)
