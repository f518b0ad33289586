"""`rooney new`: what it writes works as it is, and overwrites nothing."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from research.new_strategy import write_new
from rooney.config.loader import load_config
from rooney.errors import ConfigError
from rooney.strategy.loader import load
from tests.support.paths import CONFIG

SHIPPED = CONFIG


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for folder in ("strategies", "tests"):
        (tmp_path / folder).mkdir()
    shutil.copy(SHIPPED, tmp_path)
    return tmp_path


def _write(place: Path, name: str) -> list[Path]:
    return write_new(name, load_config(place / SHIPPED.name), place / "strategies", place / "tests")


def test_the_new_strategy_is_one_that_loads(place: Path) -> None:
    _write(place, "rsi_swing")
    assert load(str(place / "strategies" / "rsi_swing.py")).__name__ == "RsiSwing"


def test_the_new_tests_pass(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = _write(place, "rsi_swing")
    monkeypatch.setattr("rooney.strategy.loader.load.__defaults__", (place / "strategies",))
    spec = importlib.util.spec_from_file_location("test_strategy_rsi_swing", written[1])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    claims = [value for name, value in vars(module).items() if name.startswith("test_")]
    for claim in claims:
        claim()
    assert len(claims) == 3


def test_the_block_comes_after_the_other_strategies_and_every_other_line_stays(place: Path) -> None:
    before = SHIPPED.read_text()
    _write(place, "rsi_swing")
    after = (place / SHIPPED.name).read_text()
    assert list(yaml.safe_load(after)["strategies"]) == ["ibs", "breakout", "rsi_swing"]
    lines = iter(after.splitlines())
    assert all(line in lines for line in before.splitlines())


def test_two_are_written_one_after_the_other(place: Path) -> None:
    _write(place, "one")
    _write(place, "two")
    assert load_config(place / SHIPPED.name).names == ("ibs", "breakout", "one", "two")


@pytest.mark.parametrize("name", ["ibs", "Ibs", "class", "../x", "", "1st"])
def test_a_name_that_cannot_be_is_refused_and_nothing_is_written(place: Path, name: str) -> None:
    before = (place / SHIPPED.name).read_text()
    with pytest.raises(ConfigError, match="nothing was written"):
        _write(place, name)
    assert (place / SHIPPED.name).read_text() == before
    assert not list((place / "strategies").iterdir())


def test_a_file_that_is_there_is_not_overwritten(place: Path) -> None:
    (place / "strategies" / "mine.py").write_text("kept")
    with pytest.raises(ConfigError, match=r"mine\.py: is already there; nothing was written"):
        _write(place, "mine")
    assert (place / "strategies" / "mine.py").read_text() == "kept"
    assert "mine" not in load_config(place / SHIPPED.name).names


@pytest.mark.slow
def test_the_guide_is_followed_as_it_is_written(tmp_path: Path) -> None:
    """Every command of docs/ADDING_NEW_STRATEGY.md for a checkout, in a copy of it; the demo's market is shortened."""
    root = SHIPPED.parent
    for folder in ("rooney", "strategies", "research", "tests"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (SHIPPED.name, "pyproject.toml"):
        shutil.copy(root / file, tmp_path)
    text = (root / "docs" / "ADDING_NEW_STRATEGY.md").read_text(encoding="utf-8")
    commands = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert len(commands) == 4
    for command in commands:
        program, *words = command.removeprefix("uv run --all-extras ").split()
        place = tmp_path
        if words[0] == "demo":  # it trades none of this: shorter, and where its strategies are compiled already
            place, words = root, ["demo", "--out", str(tmp_path / words[-1]), "--minutes", "400"]
        argv = [sys.executable, "-m", program, *words]
        done = subprocess.run(argv, cwd=place, env=_environment(place), capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    summary = json.loads((tmp_path / "result" / "summary.json").read_text())
    assert summary["strategy"] == "rsi_swing"
    assert summary["decisions"] > 0


def _environment(checkout: Path) -> dict[str, str]:
    """The copy's own modules come first."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST")}
    return kept | {"PYTHONPATH": str(checkout)}
