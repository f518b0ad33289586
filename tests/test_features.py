"""The feature library against what others wrote down."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from rooney import features
from rooney.errors import StrategyError
from rooney.features import KERNELS, Feature, calculate_atr, calculate_ibs, calculate_rsi, resolve
from rooney.kernels import indicators

# StockCharts ChartSchool, "Relative Strength Index (RSI)", its spreadsheet cs-rsi: QQQQ closes and 14-day RSI.
CHARTSCHOOL_CLOSES = [
    44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826, 45.8931,
    46.0328, 45.6140, 46.2820, 46.2820, 46.0028, 46.0328, 46.4116, 46.2222, 45.6439, 46.2122, 46.2521,
    45.7137, 46.4515, 45.7835, 45.3548, 44.0288, 44.1783, 44.2181, 44.5672, 43.4205, 42.6628, 43.1314,
]  # fmt: skip
CHARTSCHOOL_RSI = [
    70.53, 66.32, 66.55, 69.41, 66.36, 57.97, 62.93, 63.26, 56.06, 62.38, 54.71, 50.42, 39.99, 41.46, 41.87,
    45.46, 37.30, 33.08, 37.77,
]  # fmt: skip

PRICE = st.integers(-4000, 40_000).map(lambda ticks: ticks / 4)


@st.composite
def histories(draw: st.DrawFn, least: int = 1) -> np.ndarray:
    """float64[bar, (open, high, low, close)] on a grid of quarters."""
    rows = draw(st.lists(st.tuples(PRICE, PRICE, PRICE, PRICE), min_size=least, max_size=80))
    return np.array([(o, max(o, a, b, c), min(o, a, b, c), c) for o, a, b, c in rows])


def stepped(name: str, n: int, bars: np.ndarray) -> tuple[list[float], np.ndarray]:
    """Values of the step form, and its state after the last bar."""
    update: Any = getattr(indicators, KERNELS[name].update)
    state = np.zeros(KERNELS[name].slots(n))
    return [update(state, n, *row, 1.0) for row in bars], state


def wilder(values: Sequence[float], n: int) -> list[float]:
    """Wilder's average as his book words it: a plain mean first, then 13/14 of the old and 1/14 of the new."""
    found = [math.nan] * (n - 1) + [sum(values[:n]) / n] if len(values) >= n else [math.nan] * len(values)
    for value in values[n:]:
        found.append(found[-1] * (n - 1) / n + value / n)
    return found


def reference_rsi(closes: Sequence[float], n: int) -> list[float]:
    moves = [b - a for a, b in pairwise(closes)]
    up, down = (wilder([max(sign * move, 0.0) for move in moves], n) for sign in (1, -1))
    found = [math.nan]
    for gain, loss in zip(up, down, strict=True):
        if math.isnan(gain):
            found.append(math.nan)
        elif gain + loss == 0.0:
            found.append(50.0)
        else:
            found.append(100.0 - 100.0 / (1.0 + gain / loss) if loss else 100.0)
    return found


def reference_atr(bars: np.ndarray, n: int) -> list[float]:
    ranges = []
    for before, (_, high, low, _) in pairwise(bars):
        ranges.append(max(high - low, abs(high - before[3]), abs(low - before[3])))
    return [math.nan, *wilder(ranges, n)]


def test_rsi_gives_the_numbers_of_the_chartschool_example() -> None:
    found = calculate_rsi(CHARTSCHOOL_CLOSES, 14)
    assert np.isnan(found[:14]).all()
    assert_allclose(found[14:], CHARTSCHOOL_RSI, atol=0.006)


def test_atr_gives_the_numbers_worked_by_hand_from_wilders_definition() -> None:
    # Wilder (1978), section III, n = 2. True ranges: 12-9=3 (inside), 14-10=4 (gap up from 10), 10-6=4 (gap down from
    # 10.5: high-low is 2). First average (3+4)/2 = 3.5, then (3.5 x 1 + 4)/2 = 3.75.
    high, low, close = [11.0, 12.0, 14.0, 8.0], [9.0, 9.0, 13.0, 6.0], [10.0, 10.0, 10.0, 7.0]
    assert_array_equal(calculate_atr(high, low, close, 2), [math.nan, math.nan, 3.5, 3.75])


def test_ibs_is_where_the_bar_closed_between_its_low_and_its_high() -> None:
    assert_array_equal(calculate_ibs([10.0, 10.0, 10.0], [5.0, 5.0, 5.0], [5.0, 6.0, 10.0]), [0.0, 0.2, 1.0])


def test_ibs_of_a_bar_without_range_is_a_half() -> None:
    assert_array_equal(calculate_ibs([7.25], [7.25], [7.25]), [0.5])


def test_rsi_of_a_market_that_does_not_move_is_fifty() -> None:
    assert_array_equal(calculate_rsi([5.0] * 6, 3), [math.nan] * 3 + [50.0] * 3)


@given(histories(), st.integers(1, 20))
def test_rsi_agrees_with_an_independent_reference(bars: np.ndarray, n: int) -> None:
    assert_allclose(calculate_rsi(bars[:, 3], n), reference_rsi(list(bars[:, 3]), n), rtol=0, atol=1e-9)


@given(histories(), st.integers(1, 20))
def test_atr_agrees_with_an_independent_reference(bars: np.ndarray, n: int) -> None:
    assert_allclose(calculate_atr(*bars.T[1:], n), reference_atr(bars, n), rtol=0, atol=1e-8)


@given(histories(), st.integers(1, 10))
def test_the_channel_is_that_of_the_bars_before_this_one(bars: np.ndarray, n: int) -> None:
    for name, column, pick in (("channel_high", 1, np.max), ("channel_low", 2, np.min)):
        wanted = [pick(bars[i - n : i, column]) if i >= n else math.nan for i in range(len(bars))]
        assert_array_equal(stepped(name, n, bars)[0], wanted)


@given(histories(), st.integers(1, 20))
def test_the_array_form_is_the_step_form_to_the_last_bit(bars: np.ndarray, n: int) -> None:
    high, low, close = bars.T[1:]
    for name, found in (
        ("ibs", calculate_ibs(high, low, close)),
        ("rsi", calculate_rsi(close, n)),
        ("atr", calculate_atr(high, low, close, n)),
    ):
        assert np.array(stepped(name, n, bars)[0]).tobytes() == found.tobytes()


@pytest.mark.parametrize("name", KERNELS)
@settings(max_examples=30)
@given(bars=histories(least=30), n=st.integers(1, 20))
def test_every_feature_is_nan_until_its_warm_up_and_never_after(name: str, bars: np.ndarray, n: int) -> None:
    found = np.isnan(stepped(name, n, bars)[0])
    warm_up = KERNELS[name].warm_up(n)
    assert found[: warm_up - 1].all()
    assert not found[warm_up - 1 :].any()


@pytest.mark.parametrize("name", KERNELS)
@settings(max_examples=50)
@given(bars=histories(least=2), n=st.integers(1, 12), points=st.integers(-400, 400), data=st.data())
def test_shifting_the_state_on_a_roll_is_recomputing_on_shifted_history(
    name: str, bars: np.ndarray, n: int, points: int, data: st.DataObject
) -> None:
    kernel = KERNELS[name]
    update: Any = getattr(indicators, kernel.update)
    at = data.draw(st.integers(1, len(bars) - 1))
    values, state = stepped(name, n, bars[:at])
    if kernel.price_slots is not None:
        first, past = kernel.price_slots(n)
        state[first:past] += points / 4
    last = values[-1] + points / 4 if kernel.is_price else values[-1]
    wanted, _ = stepped(name, n, bars[:at] + points / 4)
    assert_allclose(last, wanted[-1], atol=1e-9)
    after = [update(state, n, *row, 1.0) for row in bars[at:]]
    shifted = bars.copy()
    shifted[:at] += points / 4
    assert_allclose(after, stepped(name, n, shifted)[0][at:], atol=1e-9)


def test_a_polars_series_and_a_list_are_as_good_as_an_array() -> None:
    high, low, close = [3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 3.5, 5.0]
    as_series = [pl.Series(values) for values in (high, low, close)]
    assert_array_equal(calculate_ibs(*as_series), calculate_ibs(high, low, close))
    assert_array_equal(calculate_atr(*as_series, 2), calculate_atr(*map(np.array, (high, low, close)), 2))
    assert_array_equal(calculate_rsi(as_series[2], 2), calculate_rsi(close, 2))


def test_whole_numbers_are_taken_as_prices() -> None:
    assert_array_equal(calculate_ibs([10], [5], [6]), [0.2])


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="equally long"):
        calculate_ibs([1.0, 2.0], [1.0], [1.0])


def test_a_length_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 bar"):
        calculate_rsi([1.0, 2.0], 0)


def test_features_of_a_strategy_lie_side_by_side_without_overlap() -> None:
    wanted = {"a": Feature("rsi", "1min", 14), "b": Feature("channel_high", "daily", "n"), "c": Feature("close")}
    found = resolve("x.py", wanted, {"n": 5})
    assert [(f.first_slot, f.past_slot, f.timeframe, f.length) for f in found] == [
        (0, 4, 0, 14),
        (4, 10, 2, 5),
        (10, 11, 1, 1),
    ]


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        (Feature("rsii"), "x.py: feature 'f' asks for 'rsii'; the library has atr, channel_high,"),
        (Feature("rsi", "4h"), "x.py: feature 'f' is on '4h'; timeframes are 1min, hourly, daily"),
        (Feature("rsi", "hourly", "len"), "x.py: feature 'f' takes its length from 'len', no parameter"),
        (Feature("rsi", "hourly", 0), "x.py: feature 'f' has length 0; it must be a whole number of bars"),
        (Feature("rsi", "hourly", "half"), "x.py: feature 'f' has length 2.5; it must be a whole number of bars"),
    ],
)
def test_a_feature_that_cannot_be_is_named_with_its_file(feature: Feature, said: str) -> None:
    with pytest.raises(StrategyError) as error:
        resolve("x.py", {"f": feature}, {"half": 2.5})
    assert str(error.value).startswith(said)


def test_every_kernel_of_the_library_has_a_step_form() -> None:
    assert all(callable(getattr(indicators, kernel.update)) for kernel in features.KERNELS.values())
