"""Internal bar strength of the last completed session, long only: for histories whose hours have no range of their own.

Daily IBS = (close - low) / (high - low) of the session; of hourly closes alone, high and low are their highest and
lowest. In at the first hour after a session that closed at or below `ibs_entry_high`, out at the first hour after one
that closed at or above `ibs_exit_low`. No stop, no auto-close: the trade of the daily literature, which holds for days.
"""

from typing import Any

from rooney.strategy import Feature, Param, Strategy


class IbsDaily(Strategy):
    timeframe = "hourly"
    stop_timeframe = "hourly"
    params = {
        "ibs_entry_high": Param(0.2, 0.0, 1.0, "highest daily IBS that enters", (0.05, 0.4)),
        "ibs_exit_low": Param(0.8, 0.0, 1.0, "lowest daily IBS that exits", (0.5, 0.95)),
    }
    features = {
        "ibs": Feature("ibs", "daily"),
    }

    @staticmethod
    def should_enter_long(f: Any, p: Any) -> bool:
        return f.ibs <= p.ibs_entry_high

    @staticmethod
    def should_exit(f: Any, p: Any, t: Any) -> bool:
        return f.ibs >= p.ibs_exit_low
