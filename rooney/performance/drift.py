"""Is a strategy still what its backtest promised? Its newest trades against those of the backtest. Pure.

The window is the newest 50 closed trades, at least 20. Three questions, each with its number of standard errors:

win rate   z = (w - p) / sqrt(p (1 - p) / n)                    p: the backtest's
mean       z = (m - mu) / (sigma / sqrt(n))                     mu, sigma: the backtest's P&L per trade
drawdown   largest fall of the window's summed P&L, against the falls of 1,000 windows of n trades drawn with
           replacement from the backtest's (B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993)

Green to 1.5 standard errors below and within 95 % of the drawn falls, amber to 2.5 and within 99 %, then red. Only the
bad side counts. Trades of one size are assumed: a live account that trades more contracts than the backtest is not
comparable, and told so by its mean long before.
"""

import enum
import math
import random
from collections.abc import Sequence
from itertools import accumulate
from statistics import fmean, stdev

import msgspec

from rooney.performance.measures import falls, sums

WINDOW, AT_LEAST = 50, 20
DRAWN = 1_000
MIN_EXPECTED = 30  # trades of a backtest below which it promises nothing
_AMBER_Z, _RED_Z = -1.5, -2.5


class Light(enum.IntEnum):
    """State of a strategy against its expectation."""

    GREEN = 0
    AMBER = 1
    RED = 2


class Expectation(msgspec.Struct, frozen=True):
    """Promise of a backtest about a strategy.

    source:   the backtest's folder; ts_ns: when this was taken from it
    drawdown: (95th, 99th percentile of the largest fall, USD) in windows of 20, 21 … 50 trades
    """

    strategy: str
    source: str
    ts_ns: int
    trades: int
    win_rate: float
    mean_usd: float
    deviation_usd: float
    drawdown: tuple[tuple[float, float], ...]


class Health(msgspec.Struct, frozen=True):
    """The newest n trades. z: standard errors off the expectation; limits_usd: 95th, 99th percentile of the fall."""

    n: int
    light: Light
    win_rate: float
    win_z: float
    mean_usd: float
    mean_z: float
    drawdown_usd: float
    limits_usd: tuple[float, float]
    text: str


def expect(strategy: str, source: str, ts_ns: int, pnl_usd: Sequence[float], seed: int = 1) -> Expectation | None:
    """From the P&L of a backtest's trades; None for fewer than 30 of them."""
    if len(pnl_usd) < MIN_EXPECTED:
        return None
    draw = random.Random(seed)
    drawn: list[list[float]] = [[] for _ in range(WINDOW + 1)]
    for _ in range(DRAWN):
        for n, fall in enumerate(_falls(draw.choices(pnl_usd, k=WINDOW)), 1):
            drawn[n].append(fall)
    bands = []
    for worst in drawn[AT_LEAST:]:
        worst.sort()
        bands.append((worst[math.ceil(0.95 * DRAWN) - 1], worst[math.ceil(0.99 * DRAWN) - 1]))
    wins = sums(pnl_usd).win_rate
    return Expectation(strategy, source, ts_ns, len(pnl_usd), wins, fmean(pnl_usd), stdev(pnl_usd), tuple(bands))


def _falls(pnl_usd: Sequence[float]) -> list[float]:
    """Largest fall from the highest sum so far (or 0), after each trade."""
    return list(accumulate((fall for _, fall in falls(pnl_usd)), max))


def judge(expected: Expectation, pnl_usd: Sequence[float]) -> Health | None:
    """pnl_usd: of all closed trades, oldest first. None while there are fewer than 20."""
    window = pnl_usd[-WINDOW:]
    n = len(window)
    if n < AT_LEAST:
        return None
    wins, mean = sums(window).win_rate, fmean(window)
    p = expected.win_rate
    win_z = _z(wins - p, math.sqrt(p * (1.0 - p) / n))
    mean_z = _z(mean - expected.mean_usd, expected.deviation_usd / math.sqrt(n))
    fall, limits = _falls(window)[-1], expected.drawdown[n - AT_LEAST]
    lights = {
        f"wins {wins:.0%} of its last {n} trades, the backtest {p:.0%} ({win_z:+.1f} standard errors)": _light(win_z),
        f"made {mean:+,.2f} USD a trade over the last {n}, the backtest {expected.mean_usd:+,.2f} "
        f"({mean_z:+.1f} standard errors)": _light(mean_z),
        f"fell by {fall:,.2f} USD within its last {n} trades, more than "
        f"{'99' if fall > limits[1] else '95'} % of windows of the backtest (limit "
        f"{limits[1] if fall > limits[1] else limits[0]:,.2f})": Light((fall > limits[0]) + (fall > limits[1])),
    }
    worst = max(lights.values())
    if worst is Light.GREEN:
        text = f"as expected over the last {n} trades"
    else:
        text = "; ".join(said for said, light in lights.items() if light is not Light.GREEN)
    return Health(n, worst, wins, win_z, mean, mean_z, fall, limits, text)


def _z(off: float, error: float) -> float:
    """0 without variation and without a difference."""
    return off / error if error > 0.0 else math.copysign(math.inf, off) if off else 0.0


def _light(z: float) -> Light:
    return Light((z < _AMBER_Z) + (z < _RED_Z))
