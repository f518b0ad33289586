"""A strategy for benchmarks only: it orders at every mark, in every instrument, entry and exit in turn."""

from typing import Any

from rooney.strategy import Feature, Strategy


class Often(Strategy):
    timeframe = "1min"
    features = {"close": Feature("close", "1min")}

    @staticmethod
    def should_enter_long(f: Any, p: Any) -> bool:
        return bool(f.close > 0.0)

    @staticmethod
    def should_exit(f: Any, p: Any, t: Any) -> bool:
        return bool(f.close > 0.0)
