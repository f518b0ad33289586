"""Minutes as the hub publishes them, by hand and at random."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rooney.market.messages import Bar, Minute, MinuteFlag, Roll
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from tests.support.times import chicago

# closes at which the strategy `scripted` acts
BUY = 101.0
SELL = 102.0
LEAVE = 103.0
QUIET = 100.0
FRONT = {"ES": "ESM6", "NQ": "NQM6", "ZC": "ZCK6", "GC": "GCJ6"}
NEXT = {"ES": "ESU6", "NQ": "NQU6", "ZC": "ZCN6", "GC": "GCM6"}


def bar(symbol: str, ts_close: int, close: float, open_: float | None = None, **fields: Any) -> Bar:
    """A bar that ends at `ts_close`; high and low from open and close unless given."""
    timeframe = fields.pop("timeframe", "1min")
    length = {"1min": MINUTE_NS, "hourly": HOUR_NS, "daily": 23 * HOUR_NS}[timeframe]
    first = close if open_ is None else open_
    high, low = fields.pop("high", max(first, close)), fields.pop("low", min(first, close))
    contract = fields.pop("contract", FRONT.get(symbol, ""))
    return Bar(symbol, contract, timeframe, ts_close - length, ts_close, first, high, low, close, 10, 5, **fields)


def minute(ts_close: int, *bars: Bar, rolls: Sequence[Roll] = (), gap: bool = False) -> Minute:
    """A tape entry."""
    return Minute(ts_close, list(rolls), list(bars), {}, int(MinuteFlag.GAP if gap else 0))


def random_tape(
    seed: int, n: int, symbols: Sequence[str], start: str = "2026-03-11 09:30", gap: bool = True
) -> list[Minute]:
    """Minutes with hours, quiet instruments, one roll each and one gap. Prices walk on a grid of 100 to 103."""
    rng = np.random.default_rng(seed)
    now = chicago(start)
    price = dict.fromkeys(symbols, 100.0)
    contract = {symbol: FRONT[symbol] for symbol in symbols}
    hours: dict[str, list[Bar]] = {symbol: [] for symbol in symbols}
    tape = []
    for k in range(n):
        now += MINUTE_NS
        rolls, ones, coarse = [], [], []
        for symbol in symbols:
            if k == n // 2:
                rolls.append(Roll(symbol, contract[symbol], NEXT[symbol], price[symbol], price[symbol] + 1.0, now, "t"))
                contract[symbol] = NEXT[symbol]
                hours[symbol] = []
            if rng.random() < 0.85:
                open_ = price[symbol]
                price[symbol] = float(rng.integers(400, 413)) / 4.0
                high, low = max(open_, price[symbol]) + 0.25, min(open_, price[symbol]) - 0.25
                one = bar(symbol, now, price[symbol], open_, high=high, low=low, contract=contract[symbol])
                ones.append(one)
                hours[symbol].append(one)
            if now % HOUR_NS == 0 and hours[symbol]:
                found, hours[symbol] = hours[symbol], []
                coarse.append(
                    bar(
                        symbol,
                        now,
                        found[-1].close,
                        found[0].open,
                        high=max(b.high for b in found),
                        low=min(b.low for b in found),
                        timeframe="hourly",
                        contract=contract[symbol],
                    )
                )
        tape.append(minute(now, *ones, *coarse, rolls=rolls, gap=gap and k == n // 3))
    return tape


START = chicago("2026-03-11 10:00")  # a Wednesday in session, 15:00 UTC


def closes(*prices: float, symbol: str = "ES", start: int = START) -> list[Minute]:
    """One minute per price."""
    return [
        minute(start + k * MINUTE_NS, bar(symbol, start + k * MINUTE_NS, price)) for k, price in enumerate(prices, 1)
    ]


ENTERED = closes(QUIET, BUY, 104.0, 104.25)  # long 1 ES at 104.25: 104.0, and a tick of slippage
