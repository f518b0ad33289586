"""For tests: prices are commands. A minute that closes at `buy`, `sell` or `leave` does what the word says."""

from rooney.strategy import Feature, Param, Strategy


class Scripted(Strategy):
    timeframe = "1min"
    params = {
        "buy": Param(101.0, help="close that enters long"),
        "sell": Param(102.0, help="close that enters short"),
        "leave": Param(103.0, help="close that exits"),
        "time_stop_bars": Param(0, 0, 1000, "exit after so many minutes; 0 never"),
    }
    features = {"close": Feature("close", "1min")}

    @staticmethod
    def should_enter_long(f, p):
        return f.close == p.buy

    @staticmethod
    def should_enter_short(f, p):
        return f.close == p.sell

    @staticmethod
    def should_exit(f, p, t):
        return f.close == p.leave
