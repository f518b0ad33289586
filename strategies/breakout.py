"""Channel breakout: follow an hourly close beyond the channel of the bars before it, long and short.

In when an hour closes above the highest high (below the lowest low) of the `breakout_lookback` bars before it and the
range is not negligible; out when it closes beyond the shorter channel of `exit_lookback` bars the other way.
"""

from typing import Any

from rooney.strategy import Feature, Param, Strategy


class Breakout(Strategy):
    timeframe = "hourly"
    params = {
        "breakout_lookback": Param(20, 2, 500, "hourly bars of the channel whose break enters"),
        "exit_lookback": Param(10, 1, 500, "hourly bars of the channel whose break exits"),
        "min_channel_atr": Param(1.0, 0.0, 100.0, "narrowest channel that counts, in average true ranges"),
        "time_stop_bars": Param(0, 0, 10_000, "exit after so many hourly bars; 0 never"),
    }
    features = {
        "close": Feature("close", "hourly"),
        "channel_high": Feature("channel_high", "hourly", "breakout_lookback"),
        "channel_low": Feature("channel_low", "hourly", "breakout_lookback"),
        "exit_high": Feature("channel_high", "hourly", "exit_lookback"),
        "exit_low": Feature("channel_low", "hourly", "exit_lookback"),
        "atr": Feature("atr", "hourly", 14),
    }

    @staticmethod
    def should_enter_long(f: Any, p: Any) -> bool:
        return f.close > f.channel_high and f.channel_high - f.channel_low >= p.min_channel_atr * f.atr

    @staticmethod
    def should_enter_short(f: Any, p: Any) -> bool:
        return f.close < f.channel_low and f.channel_high - f.channel_low >= p.min_channel_atr * f.atr

    @staticmethod
    def should_exit(f: Any, p: Any, t: Any) -> bool:
        return (t.side > 0 and f.close < f.exit_low) or (t.side < 0 and f.close > f.exit_high)
