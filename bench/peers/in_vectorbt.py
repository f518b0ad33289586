"""The reference strategy in vectorbt: signals of all bars at once, filled at the next bar's open, one column each."""

import numpy as np
import pandas as pd
import stopwatch
import vectorbt as vbt


def prepare(bars):
    index = pd.to_datetime(bars["ts_open"])
    open_, high, low, close = (pd.DataFrame(bars[name], index=index) for name in ("open", "high", "low", "close"))

    def run():
        ibs = (close - low) / (high - low)
        portfolio = vbt.Portfolio.from_signals(
            close,
            (ibs < 0.2).vbt.signals.fshift(1),
            (ibs > 0.8).vbt.signals.fshift(1),
            price=open_,
            size=1.0,
            init_cash=1e12,
            freq="1min",
        )
        found = portfolio.trades.records
        found = found[found["status"] == vbt.portfolio.enums.TradeStatus.Closed]
        ts = bars["ts_open"]
        return zip(
            found["col"],
            ts[found["entry_idx"]],
            found["entry_price"],
            ts[found["exit_idx"]],
            found["exit_price"],
            strict=True,
        )

    return run


if __name__ == "__main__":
    np.seterr(invalid="ignore")
    stopwatch.main(prepare, vbt.__version__)
