"""From bars of the synthetic market to bundles of both strategies, and a demo that trades by them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rooney.market import sessions
from rooney.sim.characters import CHARACTERS
from rooney.sim.demo_plan import SESSION, STRATEGIES
from rooney.sim.market import Market
from tests.support import market_bars

SESSIONS = 320  # about 230 trades an instrument of the rarer strategy
QUICK = ("--trials", "2", "--trees", "40", "--min-trades", "30", "--min-final-trades", "10")
COLUMNS = ("symbol", "ts_open", "open", "high", "low", "close", "volume", "contract")


def write_market(folder: Path) -> None:
    """One-minute bars of all roots before the demo's session, of the market it streams."""
    folder.mkdir()
    market, day = Market(0, SESSION), SESSION
    for part in range(SESSIONS // 20):
        bars = []
        for _ in range(20):
            day = sessions.previous_trade_date(day)
            bars += market_bars.bars(market, day)
        frame = pl.DataFrame({column: [getattr(bar, column) for bar in bars] for column in COLUMNS})
        frame = frame.rename({"symbol": "root"}).with_columns(pl.col("ts_open").cast(pl.Datetime("ns", "UTC")))
        frame.sort("ts_open").write_parquet(folder / f"{SESSIONS - part:04}.parquet")


def rooney(*arguments: object) -> tuple[int, Any]:
    """Exit status, and what the command printed as JSON, last."""
    command = [sys.executable, "-m", "rooney", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_both_strategies_train_on_all_instruments_and_a_demo_trades_by_what_was_promoted(tmp_path: Path) -> None:
    """The market has no edge, so the gates let nothing in and say why; on paper the models veto despite that."""
    write_market(tmp_path / "market")
    config = tmp_path / "config.yml"
    blocks = {
        name: {"instruments": list(CHARACTERS), "mode": "dry", "bundle": str(tmp_path / "bundles" / name)}
        for name in STRATEGIES
    }
    config.write_text(json.dumps({"instruments": {root: {} for root in CHARACTERS}, "strategies": blocks}))
    for name in STRATEGIES:
        out = tmp_path / name
        trained, told = rooney("train", name, "--config", config, "--data", tmp_path / "market", "--out", out, *QUICK)
        assert (trained, set(told["instruments"])) == (1, set(CHARACTERS))
        code, told = rooney("promote", name, "--config", config, "--from", out)
        assert (code, set(told["missed"])) == (1, set(CHARACTERS))
        code, told = rooney("promote", name, "--config", config, "--from", out, "--despite", "to see the veto")
        assert (code, set(told["instruments"])) == (0, set(CHARACTERS))
    code, summary = rooney("demo", "--bundles", tmp_path / "bundles")
    assert (code, summary["ok"]) == (0, True), summary["checks"]
    for found in summary["per_strategy"].values():
        assert found["held_back"]["vetoed"] > 0
        assert found["requests"] > 0
