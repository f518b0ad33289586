"""The reference strategy in backtesting.py, which knows one instrument: one run per instrument, one after the other.

Its run computes statistics too; they cannot be left out.
"""

import warnings

import backtesting
import numpy as np
import pandas as pd
import stopwatch


class Reference(backtesting.Strategy):
    def init(self):
        high, low, close = (np.asarray(values) for values in (self.data.High, self.data.Low, self.data.Close))
        with np.errstate(invalid="ignore"):
            self.ibs = self.I(lambda: (close - low) / (high - low), name="ibs")

    def next(self):
        if not self.position:
            if self.ibs[-1] < 0.2:
                self.buy(size=1)
        elif self.ibs[-1] > 0.8:
            self.position.close()


def prepare(bars):
    warnings.simplefilter("ignore")  # open trades at the end are left open, as everywhere
    backtesting.backtesting._tqdm = lambda steps, **_: steps
    index = pd.to_datetime(bars["ts_open"])
    tests = []
    for i in range(bars["close"].shape[1]):
        columns = {name.title(): bars[name][:, i] for name in ("open", "high", "low", "close")}
        frame = pd.DataFrame(columns | {"Volume": 1.0}, index=index)
        tests.append(backtesting.Backtest(frame, Reference, cash=1e12))

    def run():
        trades = []
        for i, test in enumerate(tests):
            found = test.run()["_trades"]
            columns = (found[name].to_numpy() for name in ("EntryBar", "EntryPrice", "ExitBar", "ExitPrice"))
            entry_bar, entry_price, exit_bar, exit_price = columns
            ts = bars["ts_open"]
            trades += zip([i] * len(found), ts[entry_bar], entry_price, ts[exit_bar], exit_price, strict=True)
        return trades

    return run


if __name__ == "__main__":
    stopwatch.main(prepare, backtesting.__version__)
