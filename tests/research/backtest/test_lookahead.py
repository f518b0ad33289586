"""Every strategy file, by existing: the same decisions as ever, none of them out of the future, warm in time."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from research.backtest import golden
from research.backtest import lookahead as checks
from research.backtest.backtest import Scan
from research.history.history import History
from research.models import dataset as training
from rooney.config.loader import load_config
from rooney.engine.build import build_engine
from rooney.engine.veto import model_field
from rooney.features import Feature, catalogue, is_research_only, names
from tests.support.paths import ROOT
from tests.support.shipped_strategies import ROOTS, configured

KEPT = ROOT / "tests" / "golden" / "backtests.json"
ACCEPT = "rooney backtest --all --golden tests/golden/backtests.json --update"
EVERY = sorted(path.stem for path in (ROOT / "strategies").glob("[!_]*.py"))


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden.write_market(tmp_path_factory.mktemp("market"), ROOTS)


# ── golden decisions ──


def test_no_strategy_decides_otherwise_than_it_did() -> None:
    """A change of any trade is seen here, and must be meant."""
    done = _backtest("--all", "--golden", str(KEPT.relative_to(ROOT)))
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nmeant? {ACCEPT}"
    assert set(EVERY) <= set(json.loads(KEPT.read_text())["strategies"])


def _backtest(*argv: str) -> Any:
    command = [sys.executable, "-m", "rooney", "backtest", "--config", str(ROOT / "config.multi_alpha.yml"), *argv]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_changed_trade_is_named_with_what_it_was() -> None:
    kept = golden.read(KEPT)
    name, one = next(iter(kept.strategies.items()))
    symbol, (count, pnl) = next(iter(one.instruments.items()))
    other = msgspec.structs.replace(
        one, digest="0" * 16, trades=one.trades + 1, instruments=one.instruments | {symbol: (count + 1, pnl)}
    )
    told = golden.differences(kept, golden.File(kept.data_sha256, kept.strategies | {name: other}))
    assert len(told) == 1
    assert told[0].startswith(f"{name}: digest {one.digest} is now 0000000000000000, {one.trades} trades of")
    assert f"{symbol} {count} of {pnl:+,.2f} are now {count + 1} of" in told[0]


def test_strategies_that_come_and_go_are_differences() -> None:
    kept = golden.read(KEPT)
    name = next(iter(kept.strategies))
    less = golden.File(kept.data_sha256, {key: one for key, one in kept.strategies.items() if key != name})
    assert golden.differences(kept, less) == [f"{name}: is gone"]
    assert golden.differences(less, kept) == [f"{name}: is new"]


def test_the_market_is_the_same_bits_in_every_run_and_rolls(tmp_path: Path, market: Path) -> None:
    again = golden.write_market(tmp_path, ROOTS)
    assert pl.read_parquet(again).equals(pl.read_parquet(market))
    assert {event.root for event in History(market, ROOTS).events} == set(ROOTS)


DIGESTS = """
import sys, tempfile
from pathlib import Path
from research.backtest import golden
from tests.support.shipped_strategies import configured
name, sessions, roots = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(",")
data = golden.write_market(Path(tempfile.mkdtemp()), roots, sessions)
print(golden.run_all([configured(name, roots)], data))
"""


def _decided(name: str, sessions: int, roots: Sequence[str], **env: str) -> str:
    command = [sys.executable, "-c", DIGESTS, name, str(sessions), ",".join(roots)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", EVERY)
def test_decisions_are_the_same_with_the_jit_off(name: str) -> None:
    assert _decided(name, 1, ["ES"], NUMBA_DISABLE_JIT="1") == _decided(name, 1, ["ES"])


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_decisions_are_the_same_on_a_processor_without_extensions(name: str) -> None:
    generic = _decided(name, golden.SESSIONS, ROOTS, NUMBA_CPU_NAME="generic")
    assert generic == _decided(name, golden.SESSIONS, ROOTS)


def test_a_shipped_file_no_block_uses_is_among_all_strategies(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text("instruments: {ES: {}, 6E: {reference: true}}\nstrategies: {}\n")
    every = golden.strategies_of(load_config(config))
    assert [one.name for one in every] == EVERY
    assert [list(one.traded) for one in every] == [["ES"]] * len(EVERY)


# ── look-ahead and warm-up ──


@pytest.mark.parametrize("name", EVERY)
def test_nothing_decided_depends_on_what_comes_later(name: str, market: Path) -> None:
    found = checks.look_ahead(configured(name), lambda end: History(market, ROOTS, end=end))
    assert found.differences == {}
    assert found.decisions > 500


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_feature_of_the_catalogue_depends_on_what_comes_later(market: Path) -> None:
    """At the last mark of a history that ends early, each has the bits it has there with all of it."""
    strategy = configured("ibs")

    def is_here(feature: Feature) -> bool:
        return feature.symbol in ("", "pair", *strategy.instruments) and all(map(is_here, feature.of))

    known = [name for name in names() if not is_research_only(catalogue(name)) and is_here(catalogue(name))]
    engine = build_engine(strategy, training.resolve(known), {})
    blank, roots = engine.freeze(), [one.symbol for one in engine.instruments]
    whole = History(market, roots)
    columns = {name: engine.compiled.layout.fields.index(model_field(name)) for name in known}
    seen: set[str] = set()
    for share in (0.41, 0.62, 0.97):
        cut = datetime.fromtimestamp((whole.start_ns + share * (whole.end_ns - whole.start_ns)) // 1e9, UTC)
        found = {}
        for end in (cut, None):
            engine.restore(blank)
            history = History(market, roots, end=end)
            scan = Scan(engine, history)
            for chunk in history.chunks():
                scan.step(chunk, int(cut.timestamp()) * 1_000_000_000)
            found[end] = {root: engine.values(root).copy() for root in ROOTS}
        for root in ROOTS:
            assert found[cut][root].tobytes() == found[None][root].tobytes()
            seen |= {name for name, at in columns.items() if np.isfinite(found[cut][root][at])}
    assert len(seen) > len(known) / 2


@pytest.mark.parametrize("name", EVERY)
def test_a_worker_that_starts_now_decides_as_one_that_has_seen_everything(name: str, market: Path) -> None:
    found = checks.warm_up(configured(name), History(market, ROOTS), starts=(0.9,))
    assert found.differences == {}
    assert found.decisions is not None
    assert None not in found.features.values()


def test_data_adjusted_by_what_came_later_is_found_out(market: Path, tmp_path: Path) -> None:
    """Prices back-adjusted at each roll: with every new roll all earlier prices are others, and so are the trades."""

    def adjusted(end: datetime | None) -> History:
        bars = pl.read_parquet(market)
        if end is not None:
            bars = bars.filter(pl.col("ts_open") < end)
        last = bars.group_by("root").agg(pl.col("close").last().alias("last"))
        moved = [(pl.col(name) * 100.0 / pl.col("last")).alias(name) for name in ("open", "high", "low", "close")]
        path = tmp_path / f"{end.timestamp() if end else 'whole'}.parquet"
        bars.join(last, "root", maintain_order="left").with_columns(moved).drop("last").write_parquet(path)
        return History(path, ROOTS)

    found = checks.look_ahead(configured("breakout"), adjusted, cuts=(0.6,))
    (difference,) = found.differences.values()
    assert difference.ts_mark <= found.cuts[0]
    assert difference.whole != difference.part


def test_too_little_history_is_found_out(market: Path) -> None:
    found = checks.warm_up(configured("breakout"), History(market, ROOTS), starts=(0.8,), bars=8)
    assert found.decisions is None
    (difference,) = found.differences.values()
    assert "warming_up" in difference.part


def test_the_command_tells_how_much_history_each_feature_needs(market: Path) -> None:
    done = _backtest("ibs", "--data", str(market), "--verify", "--symbols", ",".join(ROOTS), "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert found["is_clean"]
    assert found["warm_up"]["features"]["ibs"] == 1
    assert found["warm_up"]["loaded"]["hourly"] >= 300


def test_a_verdict_says_what_was_tried_and_which_feature_a_worker_knows_otherwise(market: Path, tmp_path: Path) -> None:
    """Wilder's average of 20 bars still has one part in five million of what was there 300 bars ago."""
    example = (ROOT / "docs" / "examples" / "weak_close.py").read_text()
    slow = example.replace('{"ibs": Feature("ibs", "hourly")}', '{"ibs": Feature("ibs", "hourly"), "slow": SLOW}')
    (tmp_path / "slow.py").write_text(slow.replace("class ", 'SLOW = Feature("atr", "hourly", 20)\n\n\nclass ', 1))
    own = ("--set", f"strategies.ibs={{strategy: {tmp_path}/slow.py, instruments: [{', '.join(ROOTS)}]}}")
    done = _backtest("ibs", *own, "--data", str(market), "--verify")
    (verdict,) = [line for line in done.stdout.splitlines() if line.startswith("  verdict")]
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no difference at 4 cuts of history and 3 starts of a worker" in verdict
    assert verdict.endswith("not the same with as many bars as a worker loads: slow")
    assert "no difference when history is cut at 4 places" in done.stdout
    assert "nothing reads the future" not in done.stdout


@pytest.mark.parametrize("argv", [("--all", "ibs"), ("--update",), ("--golden", "x"), ("ibs",), ("--all", "--update")])
def test_options_that_do_not_go_together_are_refused_before_anything_runs(argv: tuple[str, ...]) -> None:
    done = _backtest(*argv)
    assert done.returncode == 78
    assert done.stderr.startswith("rooney: backtest: ")
