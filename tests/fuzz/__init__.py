"""Fuzzers: damaged contents in great number for each reader of bytes from outside.

Each module here that has `run(cases, seed)` is one: found by being here, tested with 10,000 cases by `test_fuzzers`,
and with a million by `python -m tests.fuzz`. It gives a tally by reader and verdict, or raises AssertionError with the
content that its reader met with anything but a value or the one named error.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Protocol, cast


class Fuzzer(Protocol):
    """Module of this folder."""

    def run(self, cases: int, seed: int) -> Mapping[str, int]:
        """Tally by reader and verdict."""


def fuzzers() -> dict[str, Fuzzer]:
    """Every fuzzer, by its module's name."""
    names = sorted(each.name for each in pkgutil.iter_modules(__path__))
    modules = {
        name: importlib.import_module(f"{__name__}.{name}") for name in names if not name.startswith(("test_", "__"))
    }
    return {name: cast(Fuzzer, module) for name, module in modules.items() if hasattr(module, "run")}
