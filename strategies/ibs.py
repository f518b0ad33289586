"""Internal bar strength: buy an hour that closed at its low, sell one that closed at its high. Long only.

Hourly IBS = (close - low) / (high - low). In while IBS lies within [ibs_entry_low, ibs_entry_high] and the close lies
between the last pivot low and the last pivot high; out, judged on hourly closes, at the first of: stop, target, IBS
within [ibs_exit_low, ibs_exit_high], `time_stop_bars` hours, the auto-close. The rules of the old system (its §1) with
its defaults; its other entry filters are configuration (`filters`), and its clock and defects are `profile: v1`.
"""

from typing import Any

from rooney.strategy import Feature, Filter, Param, Strategy


class Ibs(Strategy):
    timeframe = "hourly"
    stop_timeframe = "hourly"
    params = {
        "ibs_entry_low": Param(0.0, 0.0, 1.0, "lowest hourly IBS that enters"),
        "ibs_entry_high": Param(0.2, 0.0, 1.0, "highest hourly IBS that enters", (0.05, 0.4)),
        "ibs_exit_low": Param(0.8, 0.0, 2.0, "lowest hourly IBS that exits; above 1 none does", (0.5, 1.0)),
        "ibs_exit_high": Param(1.0, 0.0, 1.0, "highest hourly IBS that exits"),
        "pivot_bars": Param(5, 1, 100, "hours on each side that make a pivot"),
        "stop_percent": Param(1.0, 0.0, 100.0, "stop, per cent of the entry price; 0 none", (0.3, 3.0)),
        "target_percent": Param(1.0, 0.0, 1000.0, "target, per cent of the entry price; 0 none", (0.3, 3.0)),
        "time_stop_bars": Param(8, 0, 10_000, "exit after so many hourly bars; 0 never", (2, 24)),
    }
    features = {
        "ibs": Feature("ibs", "hourly"),
        "ibs_daily": Feature("ibs", "daily"),
    }
    entry_windows = ("00:00-15:00", "17:00-00:00")
    auto_close = "15:00"
    filters = {
        "pivot": Filter(Feature("inside_pivots", "hourly", ("pivot_bars", "pivot_bars", "first_bar")), allowed=(1,)),
    }

    @staticmethod
    def should_enter_long(f: Any, p: Any) -> bool:
        return p.ibs_entry_low <= f.ibs <= p.ibs_entry_high

    @staticmethod
    def should_exit(f: Any, p: Any, t: Any) -> bool:
        return p.ibs_exit_low <= f.ibs <= p.ibs_exit_high
