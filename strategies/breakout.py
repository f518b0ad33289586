"""Channel breakout: follow an hourly close that breaks the channel of the hours before it, long and short.

Channel: highest high and lowest low of the `breakout_lookback` completed hours before this one. In when a close breaks
out of it for the first time since a close was last beyond the channel's middle the other way, and the channel is not
narrower than `min_channel_atr` average true ranges. Out at the first of: a stop `stop_atr` average true ranges from the
entry, a stop that trails the best close by `trail_atr`, a close beyond the shorter channel of `exit_lookback` hours.

Why so. A close, not a touch: a live worker only knows closed bars, and one tick beyond the channel is noise. A break
counts once: while price stays outside, every further high would be another entry on the same move, and after a stop
the same level would be bought again and again; a return to the middle says the move is over and arms the next. Levels
in average true ranges, so one set of numbers serves a calm and a wild market and every instrument. Stops are judged on
one-minute closes, because a volatility stop that waits for the hour is none; the channel exit and the entry on hours.
No auto-close: a breakout is held as long as it runs, and the risk of the night is what the stop's distance is for.
"""

from typing import Any

from rooney.strategy import Feature, Param, Strategy


class Breakout(Strategy):
    timeframe = "hourly"
    stop_timeframe = "1min"
    params = {
        "breakout_lookback": Param(20, 2, 500, "hourly bars of the channel whose break enters", (10, 120)),
        "exit_lookback": Param(10, 1, 500, "hourly bars of the channel whose break exits", (5, 60)),
        "min_channel_atr": Param(1.0, 0.0, 100.0, "narrowest channel that counts, in average true ranges", (0.0, 5.0)),
        "stop_atr": Param(2.0, 0.0, 100.0, "stop, average true ranges from the entry; 0 none", (1.0, 6.0)),
        "trail_atr": Param(
            3.0, 0.0, 100.0, "stop that follows the best close, average true ranges behind it; 0 none", (1.0, 8.0)
        ),
    }
    features = {
        "close": Feature("close", "hourly"),
        "fresh_break": Feature("fresh_break", "hourly", "breakout_lookback"),
        "channel_high": Feature("channel_high", "hourly", "breakout_lookback"),
        "channel_low": Feature("channel_low", "hourly", "breakout_lookback"),
        "exit_high": Feature("channel_high", "hourly", "exit_lookback"),
        "exit_low": Feature("channel_low", "hourly", "exit_lookback"),
        "atr": Feature("atr", "hourly", 14),
    }

    @staticmethod
    def should_enter_long(f: Any, p: Any) -> bool:
        return f.fresh_break == 1.0 and f.channel_high - f.channel_low >= p.min_channel_atr * f.atr

    @staticmethod
    def should_enter_short(f: Any, p: Any) -> bool:
        return f.fresh_break == -1.0 and f.channel_high - f.channel_low >= p.min_channel_atr * f.atr

    @staticmethod
    def should_exit(f: Any, p: Any, t: Any) -> bool:
        return (t.side > 0 and f.close < f.exit_low) or (t.side < 0 and f.close > f.exit_high)
