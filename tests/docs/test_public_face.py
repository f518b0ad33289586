"""README.md and docs/API.md: what they show is a file, a docstring or a row that there is, and its commands do it."""

import json
import re
import shlex
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from bench.headlines import headlines
from bench.report import BEGIN, END
from docs.api_page import FILES, PAGE, SUMMARY, page
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


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README's command for its strategy writes, on a small market."""
    folder = tmp_path_factory.mktemp("readme")
    market = write_market(folder, ("ES", "NQ"), sessions_=4)
    (command,) = re.findall(r"^uv run --all-extras rooney (backtest weak_close .*)$", TEXT, re.MULTILINE)
    command = command.replace("demo-out/bars.parquet", str(market)).replace("--out result", f"--out {folder}/result")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        done = CliRunner().invoke(cli, [*shlex.split(command), "--decisions"])
    assert done.exit_code == 0, done.output
    return folder / "result"


def test_the_strategy_it_shows_trades(result: Path) -> None:
    summary = json.loads((result / "summary.json").read_text())
    assert summary["strategy"] == "weak_close" and summary["measures"]["trades"] > 0


def test_the_page_of_the_public_face_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m docs.api_page"


@pytest.mark.parametrize("name", FILES)
def test_a_backtests_files_have_the_columns_of_that_page(name: str, result: Path) -> None:
    schema = pl.read_parquet_schema(result / name)
    types = {"Datetime[ns, UTC]": pl.Datetime("ns", "UTC")}
    assert dict(schema) == {column: types.get(kind) or getattr(pl, kind)() for column, (kind, _) in FILES[name].items()}


def test_a_backtests_summary_has_the_keys_of_that_page(result: Path) -> None:
    assert list(json.loads((result / "summary.json").read_text())) == list(SUMMARY)


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
