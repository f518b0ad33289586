"""All rules of a position's life, and a random one lived by them."""

from typing import Any

from rooney.engine.engine import Engine
from rooney.engine.settings import STOP_ATR
from rooney.features import Feature
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.strategy.compiler import compile_strategy
from rooney.strategy.filters import Filter, filter_field
from tests.support.engines import SCRIPTED, engine, run_random
from tests.support.minutes import random_tape

# Features beside the strategy's own, as configuration adds them. One set for all tests: one machine code.
MORE = {
    filter_field("x"): Feature("close", "1min"),
    filter_field("y"): Feature("close", "daily"),
    filter_field("z"): Feature("atr", "1min", 1),
    STOP_ATR: Feature("atr", "1min", "stop_atr_bars"),
}


def with_more(base: Engine, filters: dict[str, Filter] | None = None) -> Engine:
    """The same engine with those features; its average true range is the true range of the newest minute."""
    params = base.instruments[0].params | {"stop_atr_bars": 1}
    return Engine(compile_strategy(SCRIPTED, params, MORE), base.instruments, base.limits, filters)


def clock(hour: int, minute: int = 0) -> int:
    """A time of day, ns."""
    return hour * HOUR_NS + minute * MINUTE_NS


MARKETS = ("ES", "NQ", "ZC")


def everything(**changes: Any) -> Engine:
    """All rules on, with limits that a random tape reaches."""
    rules: dict[str, Any] = {
        "stop_percent": 1.5,
        "target_percent": 2.0,
        "trail_atr": 2.0,
        "time_stop_bars": 9,
        "commission_usd": 4.0,
        "slippage_ticks": 1.0,
        "margin_usd": 9_000.0,
        "daily_stop_loss": 700.0,
        "drawdown_halt_usd": 2_500.0,
        "on_roll": "roll",
        "stop_fill": "inside",
        "auto_close_ns": clock(12),
        "close_margin_s": 120.0,
        "reentry_wait_s": 60.0,
        "no_entry_windows": ((clock(10), clock(10, 15)),),
    }
    filters = {
        "y": Filter(MORE[filter_field("y")], missing="pass"),
        "z": Filter(MORE[filter_field("z")], low=0.75),
    }
    return with_more(engine(MARKETS, **(rules | changes)), filters)


def random_life(profile: str, seed: int, cuts: frozenset[int] = frozenset()) -> str:
    """Digest of a random tape lived by all rules; every second one has a gap, after which nothing enters."""
    return run_random(everything(profile=profile), random_tape(seed, 250, MARKETS, gap=seed % 2 == 0), seed, cuts)
