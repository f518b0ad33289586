"""What a strategy file imports."""

from rooney.strategy.compiler import Feature, Filter, Param, Strategy

__all__ = ["Feature", "Filter", "Param", "Strategy"]
