"""What a strategy file imports."""

from rooney.strategy.base import Param, Strategy
from rooney.strategy.compiler import Feature, Filter

__all__ = ["Feature", "Filter", "Param", "Strategy"]
