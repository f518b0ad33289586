"""Inputs of the benchmarks: the same on every machine and in every run.

Streams are the synthetic market's with its times replaced: every minute is a session in miniature, so that all 18
roots trade in it in their shares, front contracts, back months and spreads alike.
"""

from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from rooney.market.instruments import parse_contract
from rooney.market.messages import Bar, InstrumentState, Minute
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.sim.characters import CHARACTERS
from rooney.sim.databento.sources import Instrument
from rooney.sim.databento.wire import PRICE_SCALE, Trades
from rooney.sim.market import Market

ROOTS = tuple(CHARACTERS)
DAY = date(2026, 3, 11)
START_NS = 1_773_235_800_000_000_000  # 2026-03-11T13:30Z: all 18 are in session until the grains close at 18:20Z
SECOND_NS = 1_000_000_000
FloatArray = npt.NDArray[np.float64]
Expected = dict[tuple[str, int], tuple[float, float, float, float, int, int]]


@lru_cache(maxsize=1)
def _session() -> tuple[Trades, list[Instrument]]:
    """About 450,000 trades of all 18 roots."""
    market = Market(seed=1, first=DAY)
    return np.concatenate(list(market.batches(0))), market.instruments


def stream(minutes: int, per_minute: int, clump: int = 1) -> tuple[Trades, list[Instrument]]:
    """`minutes` minutes from START_NS on, each with exactly `per_minute` trades, in clumps evenly spaced by ts_recv.

    clump: trades that arrive together, a microsecond apart; it divides `per_minute`
    """
    session, instruments = _session()
    pieces = len(session) // per_minute
    trades = np.concatenate([session[minute % pieces :: pieces][:per_minute] for minute in range(minutes)])
    count = len(trades)
    number, within = np.divmod(np.arange(count), clump)
    # Half a step off the minute's end, so that no stamp lies on it.
    received = START_NS + (number * 2 + 1) * (MINUTE_NS * clump // (2 * per_minute)) + within * 1_000
    trades["ts_recv"] = received
    trades["ts_event"] = received - 300_000
    trades["sequence"] = np.arange(1, count + 1)
    return trades, instruments


def expected_bars(trades: Trades, instruments: list[Instrument]) -> Expected:
    """(raw symbol, ts_open) → (open, high, low, close, volume, trades) of outrights, by numpy instead of our code."""
    names = {item.instrument_id: item.raw for item in instruments if item.outright}
    minute = trades["ts_recv"].astype(np.int64) // MINUTE_NS
    ids = trades["instrument_id"].astype(np.int64)
    order = np.lexsort((np.arange(len(trades)), minute, ids))
    key = np.stack((ids[order], minute[order]))
    starts = np.flatnonzero(np.concatenate(([True], (key[:, 1:] != key[:, :-1]).any(axis=0))))
    ends = np.append(starts[1:], len(order))
    price, size = trades["price"][order], trades["size"][order].astype(np.int64)
    columns = (
        key[0, starts],
        key[1, starts] * MINUTE_NS,
        price[starts] / PRICE_SCALE,
        np.maximum.reduceat(price, starts) / PRICE_SCALE,
        np.minimum.reduceat(price, starts) / PRICE_SCALE,
        price[ends - 1] / PRICE_SCALE,
        np.add.reduceat(size, starts),
        ends - starts,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {(names[number], opened): tuple(bar) for number, opened, *bar in rows if number in names}


def bar_key(bar: Bar) -> tuple[tuple[str, int], tuple[float, float, float, float, int, int]]:
    """A bar as `expected_bars` has it."""
    return (bar.contract, bar.ts_open), (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades)


@lru_cache(maxsize=1)
def fronts() -> dict[str, str]:
    """The first outright of each root, as raw symbol."""
    _, instruments = _session()
    return {
        root: min(
            (item.raw for item in instruments if item.root == root and item.outright),
            key=lambda raw: parse_contract(raw, DAY),  # type: ignore[arg-type,return-value]
        )
        for root in ROOTS
    }


def minutes(count: int) -> list[Minute]:
    """Tape entries of 18 one-minute bars each from START_NS on, and with each full hour 18 hourly bars."""
    random = np.random.default_rng(7)
    level = {root: CHARACTERS[root].level for root in ROOTS}
    states = dict.fromkeys(ROOTS, int(InstrumentState.OPEN))
    found = []
    for number in range(count):
        opened = START_NS + number * MINUTE_NS
        close = opened + MINUTE_NS
        bars = [_bar(root, "1min", opened, close, level, random) for root in ROOTS]
        if close % HOUR_NS == 0:
            bars += [_bar(root, "hourly", close - HOUR_NS, close, level, random) for root in ROOTS]
        found.append(Minute(close, [], bars, states, 0, close + 50_000_000, close + 50_200_000))
    return found


def history() -> list[Bar]:
    """A daily bar and 40 hourly bars of each root, closed before START_NS: enough to warm the shipped strategies."""
    random = np.random.default_rng(5)
    level = {root: CHARACTERS[root].level for root in ROOTS}
    first = START_NS - START_NS % HOUR_NS - 40 * HOUR_NS
    hours = range(first, first + 40 * HOUR_NS, HOUR_NS)
    bars = [_bar(root, "hourly", opened, opened + HOUR_NS, level, random) for opened in hours for root in ROOTS]
    return bars + [_bar(root, "daily", first, first + 24 * HOUR_NS, level, random) for root in ROOTS]


def _bar(root: str, timeframe: str, opened: int, close: int, level: dict[str, float], random: Any) -> Bar:
    """A random walk that a breakout breaks out of now and then."""
    a, b, c, d = (float(level[root] * (1.0 + 0.002 * step)) for step in random.standard_normal(4).cumsum())
    level[root] = d
    numbers = random.integers(1, 5_000, 2)
    return Bar(
        root,
        fronts()[root],
        timeframe,
        opened,
        close,
        a,
        max(a, b, c, d),
        min(a, b, c, d),
        d,
        int(numbers.max()),
        int(numbers.min()),
        0,
        close + 50_000_000,
    )


def prices(count: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """High, low and close of a random walk of `count` bars."""
    random = np.random.default_rng(11)
    close = 5_000.0 + random.standard_normal(count).cumsum()
    return close + random.random(count), close - random.random(count), close
