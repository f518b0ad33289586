"""The reference strategy in NautilusTrader: bars decide, and a trade tick at each minute's open is what fills.

Its bars arrive when they close, and an order sent then is filled at that close; so the open has to be an event of its
own, and with it there the bars need not move its market (`bar_execution=False`). Its risk checks and its log are off.
"""

import nautilus_trader
import numpy as np
import pandas as pd
import stopwatch
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.common.config import LoggingConfig
from nautilus_trader.config import RiskEngineConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import BarType, TradeTick
from nautilus_trader.model.enums import AccountType, AggressorSide, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TradeId, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("SIM")


class Reference(Strategy):
    def __init__(self, bar_types):
        super().__init__()
        self.bar_types = bar_types
        self.one = Quantity.from_int(1)
        self.waiting, self.is_long = {}, {bar_type.instrument_id: False for bar_type in bar_types}
        self.fills = []

    def on_start(self):
        for bar_type in self.bar_types:
            self.subscribe_bars(bar_type)
            self.subscribe_trade_ticks(bar_type.instrument_id)

    def on_bar(self, bar):
        high, low = bar.high.as_double(), bar.low.as_double()
        if high == low:
            return
        ibs = (bar.close.as_double() - low) / (high - low)
        instrument_id = bar.bar_type.instrument_id
        if self.is_long[instrument_id]:
            if ibs > 0.8:
                self.waiting[instrument_id] = OrderSide.SELL
        elif ibs < 0.2:
            self.waiting[instrument_id] = OrderSide.BUY

    def on_trade_tick(self, tick):
        side = self.waiting.pop(tick.instrument_id, None)
        if side is not None:
            self.submit_order(self.order_factory.market(tick.instrument_id, side, self.one))

    def on_order_filled(self, event):
        self.is_long[event.instrument_id] = event.order_side == OrderSide.BUY
        self.fills.append((event.instrument_id, event.ts_event, event.last_px))


def prepare(bars):
    config = BacktestEngineConfig(
        logging=LoggingConfig(bypass_logging=True), risk_engine=RiskEngineConfig(bypass=True), run_analysis=False
    )
    engine = BacktestEngine(config=config)
    engine.add_venue(
        VENUE,
        OmsType.NETTING,
        AccountType.MARGIN,
        [Money(1_000_000_000, USD)],
        base_currency=USD,
        bar_execution=False,
    )
    ids, bar_types = [], []
    for i in range(bars["close"].shape[1]):
        ids.append(InstrumentId(Symbol(f"I{i}"), VENUE))
        instrument = Equity(ids[i], ids[i].symbol, USD, 2, Price.from_str("0.25"), Quantity.from_int(1), 0, 0)
        engine.add_instrument(instrument)
        bar_types.append(BarType.from_str(f"{ids[i]}-1-MINUTE-LAST-EXTERNAL"))
        engine.add_data(opens(bars, i, ids[i]))
        engine.add_data(wrangled(bars, i, bar_types[i], instrument))
    strategy = Reference(bar_types)
    engine.add_strategy(strategy)

    def run():
        engine.run()
        return stopwatch.pair((ids.index(name), ts, price.as_double()) for name, ts, price in strategy.fills)

    return run


def wrangled(bars, i, bar_type, instrument):
    """Bars stamped with their close, two nanoseconds early: before the next minute's open and this order is no tie."""
    columns = {name: bars[name][:, i] for name in ("open", "high", "low", "close")}
    close_ns = bars["ts_open"] + stopwatch.MINUTE_NS - 2
    index = pd.to_datetime(close_ns, utc=True).rename("timestamp")
    return BarDataWrangler(bar_type, instrument).process(pd.DataFrame(columns | {"volume": 1.0}, index=index))


def opens(bars, i, instrument_id):
    one = Quantity.from_int(1)
    return [
        TradeTick(instrument_id, Price(price, 2), one, AggressorSide.NO_AGGRESSOR, TradeId("1"), ts, ts)
        for ts, price in zip(bars["ts_open"].tolist(), bars["open"][:, i].tolist(), strict=True)
    ]


if __name__ == "__main__":
    np.seterr(invalid="ignore")
    stopwatch.main(prepare, nautilus_trader.__version__)
