"""`rooney new`: what it writes works as it is, and overwrites nothing."""

import importlib.util
import shutil
from pathlib import Path

import pytest
import yaml

from research.template import write_new
from rooney.config import load_config
from rooney.errors import ConfigError
from rooney.strategy import load

SHIPPED = Path(__file__).parent.parent / "config.multi_alpha.yml"


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
    monkeypatch.setattr("rooney.strategy.load.__defaults__", (place / "strategies",))
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
