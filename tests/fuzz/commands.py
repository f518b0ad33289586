"""Values that an operator states: one that is taken steps, and leaves an account in numbers; any other is refused."""

import math
import random
from collections import Counter
from typing import Any

from rooney.orders.control import MOST_CONTRACTS, MOST_POINTS, MOST_USD, Act, Command, Resolution, Verb, missing
from rooney.orders.outcomes import of_act
from tests.support.engines import Driver, engine

SYMBOLS = ("ES", "NQ")
_WHOLE = [
    sign * (2**bits + off) for sign in (1, -1) for bits in (0, 8, 31, 32, 62, 63, 64, 70, 5_000) for off in (-1, 0)
]
_BOUNDS = [sign * most * by for sign in (1, -1) for most in (MOST_POINTS, MOST_USD) for by in (1.0, 1.0 + 2**-52, 0.5)]
_REAL = [0.0, -0.0, 5e-324, 1e-9, 5_000.25, 1e300, -1e300, math.inf, -math.inf, math.nan, *_BOUNDS, *_WHOLE[:8]]
_QUANTITIES = [1, 2, 1, 2, MOST_CONTRACTS, MOST_CONTRACTS + 1, -MOST_CONTRACTS, *_WHOLE]


def run(cases: int, seed: int) -> Counter[str]:
    """Tally by verb and verdict."""
    rng = random.Random(f"{seed} commands")
    tally: Counter[str] = Counter()
    driver = Driver(engine(SYMBOLS), answer=False)
    driver.close(ES=5_000.0, NQ=20_000.0)
    blank = driver.engine.freeze()
    for case in range(cases):
        command = _command(rng)
        lack = missing(command)
        if not lack:
            driver.engine.restore(blank)
            driver.outcomes = of_act(Act(1, driver.now, command), SYMBOLS)
            try:
                driver.close(ES=5_000.25, NQ=20_001.0)
            except BaseException as error:
                raise AssertionError(f"seed {seed}, case {case}: {error!r} for {command}") from error
            driver.now -= 60_000_000_000  # the same minute for each
            numbers = (*driver.engine.equity(), *driver.engine.drawdown())
            assert all(map(math.isfinite, numbers)), f"seed {seed}, case {case}: {numbers} after {command}"
            for position in driver.engine.positions():
                assert abs(position.quantity) <= MOST_CONTRACTS, f"seed {seed}, case {case}: {position} after {command}"
        tally[f"{command.verb}: {'refused' if lack else 'a value'}"] += 1
    return tally


def _command(rng: random.Random) -> Command:
    """One with a value in any field, mostly those of its verb."""
    verb = rng.choice(list(Verb))
    fields: dict[str, Any] = {}
    if verb is Verb.POSITION or rng.random() < 0.05:
        side = rng.choice((-1, 0, 1, 1, 1, 2, 2**70))
        fields |= {
            "symbol": rng.choice((*SYMBOLS, "", "CL")),
            "side": side,
            "quantity": rng.choice(_QUANTITIES) if side else rng.choice((0, 0, 1)),
            "price": rng.choice((*_REAL, None)),
        }
    if verb is Verb.RESOLVE:
        fields |= {"intent": rng.choice(("7f", "")), "outcome": Resolution.FILLED, "price": rng.choice((*_REAL, None))}
    if verb is Verb.CASH or rng.random() < 0.05:
        fields["usd"] = rng.choice((*_REAL, None))
    return Command(1, verb, "ann", rng.choice(("because", "because", "because", "")), **fields)
