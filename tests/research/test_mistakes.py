"""A name misspelt in a strategy's rule: the same sentence, and 78, from every verb that runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.backtests import random_minutes
from tests.support.paths import CONFIG, ROOT

RULE = """
from rooney.strategy import Feature, Param, Strategy


class Misspelt(Strategy):
    params = {"low": Param(0.2, 0.0, 1.0, search=(0.1, 0.5))}
    features = {"ibs": Feature("ibs")}

    @staticmethod
    def should_enter_long(f, p):
        return f.ibss <= p.low
"""
SAID = "should_enter_long uses .ibss, which does not exist; it can use f.ibs, p.time_stop_bars, "


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("misspelt")
    (folder / "misspelt.py").write_text(RULE)
    random_minutes(1, ["ES", "GC"], 130).write_parquet(folder / "bars.parquet")
    return folder


@pytest.mark.parametrize("verb", ["check", "backtest", "train", pytest.param("optimize", marks=pytest.mark.slow)])
def test_a_feature_misspelt_in_a_rule_is_one_sentence_in_every_verb(place: Path, verb: str) -> None:
    if verb == "check":
        argv = [verb, "--offline"]
    else:
        argv = [verb, "breakout", "--data", str(place / "bars.parquet"), "--out", str(place / verb)]
    block = {"strategy": place / "misspelt.py", "strategy_params": "{}", "instruments": "[ES, GC]", "overrides": "{}"}
    argv += ["--config", str(CONFIG), *(f"--set=strategies.breakout.{key}={text}" for key, text in block.items())]
    done = subprocess.run(
        [sys.executable, "-m", "rooney", *argv],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=290,
        check=False,
    )
    assert done.returncode == 78, done.stderr
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if SAID in line]
    assert f"{place}/misspelt.py: " in line and len(line) < 400
    assert "Traceback" not in done.stderr
