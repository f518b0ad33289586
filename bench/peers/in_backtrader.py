"""The reference strategy in backtrader: data of all instruments preloaded, orders at market, filled at the next open.

Times of fills come back as days in a float and are rounded to the minute.
"""

import backtrader as bt
import pandas as pd
import stopwatch


class Reference(bt.Strategy):
    def __init__(self):
        self.fills = []

    def next(self):
        for data in self.datas:
            span = data.high[0] - data.low[0]
            if span == 0.0:
                continue
            ibs = (data.close[0] - data.low[0]) / span
            if not self.getposition(data).size:
                if ibs < 0.2:
                    self.buy(data=data, size=1)
            elif ibs > 0.8:
                self.close(data=data)

    def notify_order(self, order):
        if order.status == order.Completed:
            self.fills.append((order.data, order.executed.dt, order.executed.price))


def prepare(bars):
    index = pd.to_datetime(bars["ts_open"])
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.setcash(1e12)
    for i in range(bars["close"].shape[1]):
        columns = {name: bars[name][:, i] for name in ("open", "high", "low", "close")}
        cerebro.adddata(bt.feeds.PandasData(dataname=pd.DataFrame(columns | {"volume": 1.0}, index=index)), name=str(i))
    cerebro.addstrategy(Reference)

    def run():
        fills = cerebro.run()[0].fills
        return stopwatch.pair(
            (int(feed._name), round(bt.num2date(days).timestamp() / 60) * stopwatch.MINUTE_NS, price)
            for feed, days, price in fills
        )

    return run


if __name__ == "__main__":
    stopwatch.main(prepare, bt.__version__)
