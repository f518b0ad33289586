"""The strategy of the comparison: buy a minute that closed at its low, sell one that closed at its high.

IBS = (close - low) / (high - low) of one-minute bars. In below 0.2, out above 0.8, each at the next minute's open.
"""

from typing import Any

from rooney.strategy import Feature, Strategy


class Reference(Strategy):
    timeframe = "1min"
    features = {"ibs": Feature("ibs", "1min")}

    @staticmethod
    def should_enter_long(f: Any, p: Any) -> bool:
        return f.ibs < 0.2

    @staticmethod
    def should_exit(f: Any, p: Any, t: Any) -> bool:
        return f.ibs > 0.8
