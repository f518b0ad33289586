"""Random walks of hours, and engines that have them behind them."""

from collections.abc import Sequence

import numpy as np

from rooney.config.loader import load_config
from rooney.engine.build import build_engine
from rooney.engine.engine import Engine
from rooney.market.messages import Minute
from rooney.market.sessions import HOUR_NS
from tests.support.engines import run_random
from tests.support.minutes import bar, minute
from tests.support.paths import CONFIG
from tests.support.times import chicago

SYMBOLS = ("ES", "ZC")
START = chicago("2026-03-02 17:00")
WARM_HOURS = 90

Hour = tuple[int, int, float, bool]  # ticks its low moves by, its height in ticks, where in it it closes, has a minute


def hour_tape(hours: Sequence[Sequence[Hour]], after: int) -> list[Minute]:
    """One mark an hour, from `after` hours after the start, with bars of every symbol."""
    low = dict.fromkeys(SYMBOLS, 400.0)
    tape = []
    for k, symbols in enumerate(hours):
        now = START + (after + k + 1) * HOUR_NS
        bars = []
        for symbol, (moved, span, where, has_minute) in zip(SYMBOLS, symbols, strict=True):
            low[symbol] = max(25.0, low[symbol] + moved * 0.25)
            prices = {"high": low[symbol] + span * 0.25, "low": low[symbol]}
            close = low[symbol] + where * span * 0.25
            timeframes = ("1min", "hourly") if has_minute else ("hourly",)
            bars += [bar(symbol, now, close, low[symbol], timeframe=each, **prices) for each in timeframes]
            if now % (24 * HOUR_NS) == 22 * HOUR_NS:
                bars.append(bar(symbol, now, close, low[symbol], timeframe="daily", **prices))
        tape.append(minute(now, *sorted(bars, key=lambda one: ("1min", "hourly", "daily").index(one.timeframe))))
    return tape


def random_hours(seed: int, n: int) -> list[list[Hour]]:
    """A walk of `n` hours."""
    rng = np.random.default_rng(seed)

    def hour() -> Hour:
        return int(rng.integers(-6, 7)), int(rng.integers(0, 9)), float(rng.random()), bool(rng.random() < 0.8)

    return [[hour() for _ in SYMBOLS] for _ in range(n)]


def warm(one: Engine) -> Engine:
    """The engine after the same past, whoever steps it."""
    one.warm_up([each for tape in hour_tape(random_hours(0, WARM_HOURS), 0) for each in tape.bars])
    return one


def walk_digest(one: Engine, seed: int, n: int = 400) -> str:
    """Of all decisions on a walk and the state after it."""
    return run_random(warm(one), hour_tape(random_hours(seed, n), WARM_HOURS), seed, frozenset({n // 2}))


def ibs() -> Engine:
    """As the configuration that is shipped has it: 18 instruments."""
    return build_engine(load_config(CONFIG).strategy("ibs"))
