"""Runs of the tests over one mutant each: forked from a process that has read the big libraries, several at a time."""

import gc
import importlib
import importlib.util
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import NamedTuple

from tests.mutants.mutants import Mutant, Target, path_of
from tests.support.paths import TESTS

KILLED, TIMED_OUT, SURVIVED, NO_TESTS = "killed", "timed out", "survived", "no tests"
_TIMEOUT_S = 120.0
_PLUGINS = ("pytest_timeout", "pytest_benchmark.plugin", "_hypothesis_pytestplugin")
_BIG = ("numba", "sklearn.ensemble", "optuna", "skfolio.model_selection", "hypothesis", "polars", "pytest", *_PLUGINS)
_EXITS = {0: SURVIVED, 4: NO_TESTS, 5: NO_TESTS}  # of pytest


class _Changed(SourceFileLoader):
    """Finder and loader of one module, from a tree instead of its file."""

    def __init__(self, mutant: Mutant) -> None:
        path = str(path_of(mutant.target.module))
        super().__init__(mutant.target.module, path)
        self._code = compile(mutant.put(), path, "exec")

    def get_code(self, fullname: str) -> CodeType:
        return self._code

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name == self.name else None


class _Run(NamedTuple):
    number: int
    pid: int
    until_s: float


def verdicts(cases: Sequence[tuple[Target, Mutant | None]], jobs: int) -> Iterator[tuple[int, str]]:
    """Number of each case and its verdict, as they end. A case without a mutant is the code as it is."""
    for name in _BIG:
        importlib.import_module(name)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they are read by every child
    waiting, running = list(enumerate(cases)), {}
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < jobs:
                number, (target, mutant) = waiting.pop(0)
                if not target.module.startswith("rooney."):
                    importlib.import_module("tests.conftest")
                running[number] = _Run(number, _forked(target, mutant, Path(folder)), time.monotonic() + _TIMEOUT_S)
            for run in list(running.values()):
                pid, status = os.waitpid(run.pid, os.WNOHANG)
                if pid or time.monotonic() > run.until_s:
                    del running[run.number]
                    yield run.number, _EXITS.get(os.waitstatus_to_exitcode(status), KILLED) if pid else _ended(run.pid)
            time.sleep(0.02)


def _ended(pid: int) -> str:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return TIMED_OUT


def _forked(target: Target, mutant: Mutant | None, folder: Path) -> int:
    """Process id of a pytest over the target's tests; it leads a group of its own."""
    gc.freeze()  # else every child goes through all that was read before
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(silence, descriptor)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / str(os.getpid()))  # what fails here fails nowhere else
    if mutant is not None:
        sys.meta_path.insert(0, _Changed(mutant))
    import pytest

    options = ["-x", "-pno:cacheprovider", "--hypothesis-seed=0", *(f"-p{name}" for name in _PLUGINS)]
    os._exit(pytest.main([*options, *(str(TESTS / name) for name in target.tests)]))
