"""Internal bar strength: buy an hour that closed at its low, sell one that closed at its high. Long only.

Hourly IBS = (close - low) / (high - low). In at or below `entry_high`, out at or above `exit_low`, or after
`time_stop_bars` hours. The original's rules; its pivot gate, stops and filters are not part of this version.
"""

from typing import Any

from rooney.strategy import Feature, Param, Strategy


class Ibs(Strategy):
    timeframe = "hourly"
    params = {
        "ibs_entry_low": Param(0.0, 0.0, 1.0, "lowest hourly IBS that enters"),
        "ibs_entry_high": Param(0.2, 0.0, 1.0, "highest hourly IBS that enters"),
        "ibs_exit_low": Param(0.8, 0.0, 1.0, "lowest hourly IBS that exits"),
        "ibs_exit_high": Param(1.0, 0.0, 1.0, "highest hourly IBS that exits"),
        "time_stop_bars": Param(8, 0, 10_000, "exit after so many hourly bars; 0 never"),
    }
    features = {
        "ibs": Feature("ibs", "hourly"),
        "ibs_daily": Feature("ibs", "daily"),
    }

    @staticmethod
    def should_enter_long(f: Any, p: Any) -> bool:
        return p.ibs_entry_low <= f.ibs <= p.ibs_entry_high

    @staticmethod
    def should_exit(f: Any, p: Any, t: Any) -> bool:
        return p.ibs_exit_low <= f.ibs <= p.ibs_exit_high
