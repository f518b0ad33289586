"""Where features live, and the text that computes them."""

import math

import numpy as np
import pytest

from rooney.engine.engine import Engine
from rooney.engine.settings import EngineInstrument, Limits
from rooney.errors import StrategyError
from rooney.features import Feature
from rooney.features.codegen import lay_out
from rooney.market.instruments import PRODUCTS
from rooney.market.messages import Bar, Roll
from rooney.market.sessions import HOUR_NS
from rooney.strategy.compiler import compile_strategy
from rooney.strategy.loader import load
from tests.support.minutes import bar, minute
from tests.support.times import chicago

CLOSE = Feature("close", "hourly")
PAIR_CLOSE = Feature("close", "hourly", symbol="pair")
SPREAD = Feature("difference", "hourly", 1, (CLOSE, PAIR_CLOSE))
MORE = {
    "rank": Feature("percentile", "hourly", 4, (CLOSE,)),
    "spread": SPREAD,
    "spread_mean": Feature("sma", "hourly", 2, (SPREAD,)),
    "es_return": Feature("return_pct", "hourly", 1, (CLOSE,), "ES"),
    "over_day": Feature("difference", "hourly", 1, (CLOSE, Feature("close", "daily"))),
}


def test_features_of_a_strategy_lie_side_by_side_without_overlap() -> None:
    wanted = {"a": Feature("rsi", "1min", 14), "b": Feature("channel_high", "daily", "n"), "c": Feature("close")}
    nodes = lay_out("x.py", wanted, {"n": 5}).nodes
    assert [(node.first_slot, node.past_slot, node.timeframe, node.length) for node in nodes] == [
        (0, 4, 0, 14),
        (4, 11, 2, 5),
        (11, 12, 1, 1),
    ]


def test_a_feature_used_twice_is_computed_once() -> None:
    layout = lay_out("x.py", {"z": Feature("zscore", "hourly", 20, (CLOSE,)), "c": CLOSE, "again": CLOSE}, {})
    assert [node.kernel.name for node in layout.nodes if node.kernel] == ["close", "zscore"]
    assert layout.names["c"] == layout.names["again"]


def test_a_name_of_its_own_comes_first_among_the_values_and_inner_ones_after() -> None:
    assert lay_out("x.py", {"z": Feature("zscore", "hourly", 20, (CLOSE,))}, {}).fields == ["z", "_0"]


def test_warm_up_adds_along_the_inputs() -> None:
    z_of_atr = Feature("zscore", "hourly", 252, (Feature("atr", "hourly", 5),))
    assert lay_out("x.py", {"z": z_of_atr}, {}).warm_up_bars(1) == 252 + 6


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        (Feature("rsii"), "x.py: feature 'f' asks for 'rsii'; did you mean rsi"),
        (Feature("rsi", "4h"), "x.py: feature 'f' is on '4h'; timeframes are 1min, hourly, daily"),
        (Feature("rsi", "hourly", "len"), "x.py: feature 'f' takes its length from 'len', no parameter"),
        (Feature("rsi", "hourly", 0), "x.py: feature 'f' has length 0; it must be a whole number of bars from 1 to"),
        (Feature("zscore", "hourly", 20), "x.py: feature 'f' zscore is computed from 1 other features (of=…), 0 given"),
        (
            Feature("rsi", "hourly", "half"),
            "x.py: feature 'f' has length 2.5; it must be a whole number of bars",
        ),
        (
            Feature("sma", "hourly", 2, (SPREAD,), "ES"),
            "x.py: feature 'f' is read from 'ES', but reads other instruments itself",
        ),
    ],
)
def test_a_feature_that_cannot_be_is_named_with_its_file(feature: Feature, said: str) -> None:
    with pytest.raises(StrategyError) as error:
        lay_out("x.py", {"f": feature}, {"half": 2.5})
    assert str(error.value).startswith(said)


def _engine(*symbols: str) -> Engine:
    params = {name: param.default for name, param in load("ibs").declared().items()}
    compiled = compile_strategy("ibs", params | {"first_bar": 1}, MORE)
    instruments = [
        EngineInstrument(
            symbol, PRODUCTS[symbol].group, PRODUCTS[symbol].tick_size, 1.0, 0.0, 0.0, 1, params, traded=symbol != "ES"
        )
        for symbol in symbols
    ]
    return Engine(compiled, instruments, Limits())


def _hour(symbol: str, ts_close: int, price: float) -> Bar:
    return bar(symbol, ts_close, price, timeframe="hourly", contract={"GC": "GCJ6", "SI": "SIK6", "ES": "ESH6"}[symbol])


def _value(engine: Engine, symbol: str, name: str) -> float:
    return float(engine.values(symbol)[engine.compiled.layout.fields.index(name)])


def test_what_is_read_elsewhere_is_what_stands_there_after_all_bars_of_the_mark() -> None:
    """GC comes before SI and ES, and reads what they say at the very same mark."""
    engine = _engine("GC", "SI", "ES")
    for k in range(3):
        at = chicago("2026-03-11 10:00") + k * HOUR_NS
        prices = {"GC": 100.0 + k, "SI": 20.0 - k, "ES": 50.0 * 1.1**k}
        engine.on_minute(minute(at, *(_hour(s, at, p) for s, p in prices.items())))
    assert _value(engine, "GC", "spread") == 102.0 - 18.0
    assert _value(engine, "GC", "spread_mean") == (82.0 + 84.0) / 2
    assert _value(engine, "GC", "es_return") == pytest.approx(10.0)
    assert _value(engine, "SI", "spread") == 18.0 - 102.0
    assert math.isnan(_value(engine, "ES", "spread"))  # its pair NQ is not there


def test_an_instrument_that_is_only_read_decides_nothing() -> None:
    engine = _engine("GC", "ES")
    at = chicago("2026-03-11 10:00")
    decisions = engine.on_minute(minute(at, *(_hour(s, at, 10.0) for s in ("GC", "ES"))))
    assert [one.symbol for one in decisions.evaluated] == ["GC"]


def test_a_roll_of_either_side_moves_what_is_a_difference_of_both() -> None:
    """As if the earlier bars of the rolled instrument had been that much higher all along."""
    jump = 7.0

    def run(gc_first: float, si_first: float, rolls: list[Roll]) -> np.ndarray:
        engine = _engine("GC", "SI", "ES")
        for k in range(4):
            at = chicago("2026-03-11 10:00") + k * HOUR_NS
            before = k < 2
            gc = 100.0 + k + (gc_first if before else jump)
            si = 20.0 + k * k + (si_first if before else jump)
            engine.on_minute(
                minute(
                    at,
                    _hour("GC", at, gc),
                    _hour("SI", at, si),
                    rolls=[msg for msg in rolls if msg.ts == at],
                )
            )
        return engine.values("GC")

    at = chicago("2026-03-11 12:00")
    rolls = [Roll("GC", "GCJ6", "GCJ6", 100.0, 107.0, at), Roll("SI", "SIK6", "SIK6", 20.0, 27.0, at)]
    rolled, moved = run(0.0, 0.0, rolls), run(jump, jump, [])
    spread = _engine("GC").compiled.layout.fields.index("spread_mean")
    assert math.isfinite(rolled[spread])
    np.testing.assert_allclose(rolled, moved, rtol=1e-12)
