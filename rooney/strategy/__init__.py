"""Strategies: what a strategy's file and its tests import is here; the modules find, check and compile one."""

from typing import TYPE_CHECKING, Any

from rooney.features.feature import Feature
from rooney.strategy.base import Param, Strategy
from rooney.strategy.filters import Filter

if TYPE_CHECKING:
    from rooney.strategy.loader import load

__all__ = ["Feature", "Filter", "Param", "Strategy", "load"]


def __getattr__(name: str) -> Any:
    """`load` when it is asked for: it knows the kernels, so it comes with numba, and a strategy's file needs none."""
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rooney.strategy.loader import load

    return load
