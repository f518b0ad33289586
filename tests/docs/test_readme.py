"""README.md: its strategy is a file that is backtested as it says, its numbers and its demo's lines are not typed."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.headlines import headlines
from bench.report import BEGIN, END
from research.backtest.golden import write_market
from rooney.cli import cli
from tests.support.paths import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BENCHMARKS = (ROOT / "docs" / "BENCHMARKS.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "docs" / "examples" / "weak_close.py"


def test_the_readme_is_short() -> None:
    assert len(TEXT.splitlines()) <= 120


def test_the_strategy_it_shows_is_the_file_it_links_to() -> None:
    assert f"```python\n{EXAMPLE.read_text(encoding='utf-8')}```" in TEXT


def test_the_strategy_it_shows_is_backtested_by_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    market = write_market(tmp_path, ("ES", "NQ"), sessions_=4)
    (command,) = re.findall(r"^uv run --all-extras rooney (backtest weak_close .*)$", TEXT, re.MULTILINE)
    command = command.replace("demo-out/bars.parquet", str(market)).replace("--out result", f"--out {tmp_path}/result")
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(cli, shlex.split(command))
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "result" / "summary.json").read_text())
    assert summary["strategy"] == "weak_close" and summary["measures"]["trades"] > 0


def test_its_numbers_are_rows_of_the_benchmarks_table() -> None:
    shown = TEXT.partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == headlines(BENCHMARKS), "run python -m bench.headlines"


def test_a_row_that_was_not_measured_is_named() -> None:
    with pytest.raises(LookupError, match="vectorbt"):
        headlines(BENCHMARKS.replace("faster than vectorbt", "faster than nothing"))


def test_every_line_it_shows_of_the_demo_is_one_that_the_demo_prints() -> None:
    said = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rooney" / "sim").glob("demo*.py"))
    (screen,) = re.findall(r"```\n(  trades received.*?)```", TEXT, re.DOTALL)
    labels = re.findall(r"^  (?:ok +)?(\w.*?)(?:  .*)?$", screen, re.MULTILINE)
    assert len(labels) >= 9
    for label in labels:
        assert f'"{label}' in said or label in ("ibs", "breakout"), label
