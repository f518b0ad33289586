"""Buy an hour that closed at its low, sell it once an hour closes at its high."""

from rooney.strategy import Feature, Param, Strategy


class WeakClose(Strategy):
    timeframe = "hourly"
    params = {"low": Param(0.2, 0.0, 1.0), "high": Param(0.8, 0.0, 1.0), "stop_percent": Param(1.0)}
    features = {"ibs": Feature("ibs", "hourly")}

    @staticmethod
    def should_enter_long(f, p):
        return f.ibs <= p.low

    @staticmethod
    def should_exit(f, p, t):
        return f.ibs >= p.high
