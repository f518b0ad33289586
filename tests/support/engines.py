"""Engines of strategies made for tests, what drives them, and what came of it.

`python -m tests.support.engines STRATEGY SEED` prints the digest of a life, for the JIT switched off.
"""

import hashlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rooney.engine.engine import Engine
from rooney.engine.settings import EngineInstrument, Limits
from rooney.kernels.codes import OutcomeKind
from rooney.market.instruments import PRODUCTS
from rooney.market.messages import Bar, Minute
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.orders.decisions import Decisions, Outcome
from rooney.orders.intents import Role
from rooney.strategy.compiler import Compiled, compile_strategy
from rooney.strategy.loader import load
from tests.support.minutes import bar, minute, random_tape
from tests.support.paths import TESTS
from tests.support.times import chicago

SCRIPTED = str(TESTS / "strategies" / "scripted.py")
ALLOCATING = str(TESTS / "strategies" / "allocating.py")


def compiled(name: str = SCRIPTED, **params: Any) -> Compiled:
    """A strategy with its defaults and `params`."""
    declared = {key: param.default for key, param in load(name).declared().items()}
    return compile_strategy(name, declared | params)


def engine(symbols: Sequence[str] = ("ES",), name: str = SCRIPTED, **changes: Any) -> Engine:
    """No slippage, no commission, unless `changes`, which go to instruments, parameters or limits by their name."""
    params = {key: param.default for key, param in load(name).declared().items()}
    params |= {key: changes.pop(key) for key in list(changes) if key in params}
    fixed: dict[str, Any] = {"commission_usd": 0.0, "slippage_ticks": 0.0, "quantity": 1}
    fixed |= {key: changes.pop(key) for key in list(changes) if key in EngineInstrument.__struct_fields__}
    instruments = [
        EngineInstrument(
            symbol,
            PRODUCTS[symbol].group,
            PRODUCTS[symbol].tick_size,
            PRODUCTS[symbol].point_value,
            params=params,
            **fixed,
        )
        for symbol in symbols
    ]
    limits: dict[str, Any] = {"reentry_wait_s": 0.0, "close_margin_s": 0.0, "daily_stop_loss": 1e9} | changes
    return Engine(compile_strategy(name, params), instruments, Limits(**limits))


class Driver:
    """An engine that is told at once that every intent was acknowledged, as a backtest does it."""

    def __init__(self, engine_: Engine, start: str = "2026-03-11 10:00", answer: bool = True) -> None:
        self.engine = engine_
        self.now = chicago(start)
        self.answer = answer
        self.outcomes: list[Outcome] = []
        self.trades: list[Any] = []

    def mark(self, *bars: Bar, **fields: Any) -> Decisions:
        """Step one minute on."""
        self.now += MINUTE_NS
        decided = self.engine.on_minute(minute(self.now, *bars, **fields), self.outcomes)
        self.outcomes = [outcome(intent.symbol, intent.role, self.now) for intent in decided.intents if self.answer]
        self.trades += decided.trades
        return decided

    def close(self, **closes: float | tuple[float, float]) -> Decisions:
        """One minute with a bar per symbol: its close, or (open, close)."""
        bars = []
        for symbol, price in closes.items():
            open_, close = price if isinstance(price, tuple) else (price, price)
            bars.append(bar(symbol, self.now + MINUTE_NS, close, open_))
        return self.mark(*bars)


def outcome(
    symbol: str, role: Role, ts_mark: int, kind: OutcomeKind = OutcomeKind.ACKNOWLEDGED, ts: int = 0
) -> Outcome:
    """What became of the intent decided at `ts_mark`; known at once unless `ts`."""
    return Outcome(symbol, role, ts_mark, kind, ts or ts_mark)


def run_random(engine_: Engine, tape: Iterable[Minute], seed: int, cuts: frozenset[int] = frozenset()) -> str:
    """Digest of everything decided and of the final state; frozen and thawed before the minutes in `cuts`.

    Outcomes come late, are refused, or stay unknown, by `seed`.
    """
    rng = np.random.default_rng(seed)
    kinds = [OutcomeKind.ACKNOWLEDGED] * 8 + [OutcomeKind.CANCELLED, OutcomeKind.UNCONFIRMED]
    waiting: list[tuple[int, Outcome]] = []
    digest = hashlib.sha256()
    for k, one in enumerate(tape):
        if k in cuts:
            frozen = engine_.freeze()
            engine_.restore(bytes(len(frozen)))
            engine_.restore(frozen)
        due = [item for when, item in waiting if when <= k]
        waiting = [(when, item) for when, item in waiting if when > k]
        decided = engine_.on_minute(one, due)
        for intent in decided.intents:
            late = int(rng.integers(1, 4))
            kind = kinds[int(rng.integers(len(kinds)))] if intent.role is Role.ENTRY else OutcomeKind.ACKNOWLEDGED
            ts = one.ts_close + (late - 1) * MINUTE_NS
            waiting.append((k + late, outcome(intent.symbol, intent.role, one.ts_close, kind, ts)))
        digest.update(repr(decided).encode())
    digest.update(engine_.freeze())
    return digest.hexdigest()


def warmed(symbols: Sequence[str], name: str, **changes: Any) -> Engine:
    """An engine with costs, limits and two days of history before the random tape."""
    free: dict[str, Any] = {"commission_usd": 4.0, "slippage_ticks": 1.0, "daily_stop_loss": 2500.0} | changes
    free |= {"min_channel_atr": 0.1} if name == "breakout" else {}
    e = engine(symbols, name, **free)
    rng = np.random.default_rng(0)
    hours = [chicago("2026-03-09 17:00") + k * HOUR_NS for k in range(1, 40)]
    history = [
        bar(symbol, at, float(rng.integers(406, 409)) / 4, high=101.75, low=101.5, timeframe=timeframe)
        for at in hours
        for symbol in symbols
        for timeframe in (("hourly", "daily") if at == hours[22] else ("hourly",))
    ]
    e.warm_up(history)
    return e


def digest_of(name: str, seed: int) -> str:
    """Digest of a strategy's life on a random tape."""
    symbols = ("ES", "NQ", "ZC")
    return run_random(warmed(symbols, name), random_tape(seed, 300, symbols), seed)


if __name__ == "__main__":
    print(digest_of(sys.argv[1], int(sys.argv[2])))
