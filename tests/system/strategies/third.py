"""A third strategy, as a user would add one: follow every hour that closes in its upper half, leave in the lower."""

from rooney.strategy import Feature, Strategy


class Third(Strategy):
    timeframe = "hourly"
    features = {"ibs": Feature("ibs", "hourly")}

    @staticmethod
    def should_enter_long(f, p):
        return f.ibs > 0.5

    @staticmethod
    def should_exit(f, p, t):
        return f.ibs < 0.5
