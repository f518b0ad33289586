"""The feature library against what others wrote down, and against what must hold for any market."""

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from rooney.features import (
    KERNELS,
    calculate,
    calculate_atr,
    calculate_bollinger,
    calculate_ibs,
    calculate_rsi,
    calculate_sma,
)
from rooney.features.arrays import FAST, over_series
from rooney.features.kernel import Kernel
from rooney.kernels.array_types import F64
from tests.support.indicators import NUMBERED, digests, length, run, walk

# StockCharts ChartSchool, "Relative Strength Index (RSI)", its spreadsheet cs-rsi: QQQQ closes and 14-day RSI.
CHARTSCHOOL_CLOSES = [
    44.3389,
    44.0902,
    44.1497,
    43.6124,
    44.3278,
    44.8264,
    45.0955,
    45.4245,
    45.8433,
    46.0826,
    45.8931,
    46.0328,
    45.6140,
    46.2820,
    46.2820,
    46.0028,
    46.0328,
    46.4116,
    46.2222,
    45.6439,
    46.2122,
    46.2521,
    45.7137,
    46.4515,
    45.7835,
    45.3548,
    44.0288,
    44.1783,
    44.2181,
    44.5672,
    43.4205,
    42.6628,
    43.1314,
]
CHARTSCHOOL_RSI = [
    70.53,
    66.32,
    66.55,
    69.41,
    66.36,
    57.97,
    62.93,
    63.26,
    56.06,
    62.38,
    54.71,
    50.42,
    39.99,
    41.46,
    41.87,
    45.46,
    37.30,
    33.08,
    37.77,
]


VALUE = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 3))
RANKS = ("percentile", "percentile_strict")
MOVING = [name for name, kernel in KERNELS.items() if kernel.inputs != "time"]
# NaN for a reason of their own even when warm: no pivot yet, nothing to divide by.
SOMETIMES_NAN = {
    "pivot_high",
    "pivot_low",
    "pivot_higher_high",
    "return_pct",
    "drift",
    "ratio",
    "from_number",
    "bollinger_position",
    "bollinger_excess",
    "bollinger_width",
    "bollinger_position_v1",
    "bollinger_width_v1",
    "inside_pivots",
    "ratio_v1",
    *NUMBERED,
}
# Recursions on price levels: equal but for rounding. All others keep what they have seen, and shift to the same bits.
ROUNDED = {"ema", "psar"}


# A compiled kernel's first call takes its time, and so does a busy machine.
settings.register_profile("kernels", deadline=None, max_examples=25)
KERNEL_TESTS = settings.get_profile("kernels")


@st.composite
def histories(draw: st.DrawFn, least: int = 1) -> F64:
    """float64[bar, (open, high, low, close)] on a grid of quarters, coarse enough that many prices are equal."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, steps = draw(st.integers(least, 80)), draw(st.sampled_from((2, 5, 40, 4000)))
    drawn = draw(st.sampled_from((0, 100))) + rng.integers(-steps, steps + 1, (count, 4)) / 4
    return np.stack([drawn[:, 0], drawn.max(axis=1), drawn.min(axis=1), drawn[:, 3]], axis=1)


def inputs(kernel: Kernel, bars: F64) -> list[tuple[float, ...]]:
    """What the step form is given at each bar; a series is the close, the second one the open."""
    if kernel.inputs == "bar":
        return [(*row[:4], 1.0) for row in bars]
    if kernel.inputs == "series":
        return [(row[3],) for row in bars]
    if kernel.name in NUMBERED:
        return [(row[3], i + 1.0) for i, row in enumerate(bars)]
    # The second one of these is no price: it counts, or marks.
    counted = kernel.name in ("from_number", "percentile_v1", "percentile_strict_v1")
    return [(row[3], row[1] - row[2] if counted else row[0]) for row in bars]


def stepped(name: str, n: Any, bars: F64) -> tuple[list[float], F64]:
    """Values of the step form, and its state after the last bar."""
    kernel = KERNELS[name]
    state = np.zeros(kernel.slots(n))
    return [kernel.update(state, n, *given) for given in inputs(kernel, bars)], state


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


@KERNEL_TESTS
@given(histories(), st.integers(1, 20))
def test_rsi_agrees_with_an_independent_reference(bars: np.ndarray, n: int) -> None:
    assert_allclose(calculate_rsi(bars[:, 3], n), reference_rsi(list(bars[:, 3]), n), rtol=0, atol=1e-9)


@KERNEL_TESTS
@given(histories(), st.integers(1, 20))
def test_atr_agrees_with_an_independent_reference(bars: np.ndarray, n: int) -> None:
    assert_allclose(calculate_atr(*bars.T[1:], n), reference_atr(bars, n), rtol=0, atol=1e-8)


@KERNEL_TESTS
@given(histories(), st.integers(1, 10))
def test_the_channel_is_that_of_the_bars_before_this_one(bars: np.ndarray, n: int) -> None:
    for name, column, pick in (("channel_high", 1, np.max), ("channel_low", 2, np.min)):
        wanted = [pick(bars[i - n : i, column]) if i >= n else math.nan for i in range(len(bars))]
        assert_array_equal(stepped(name, n, bars)[0], wanted)


@KERNEL_TESTS
@given(histories(), st.integers(1, 10))
def test_what_is_said_of_a_channel_is_said_of_the_bars_before_this_one(bars: np.ndarray, n: int) -> None:
    sides, distances, breaks = [math.nan] * n, [math.nan] * n, [math.nan] * n
    was_up = was_down = False
    for i in range(n, len(bars)):
        close, top, bottom = bars[i, 3], bars[i - n : i, 1].max(), bars[i - n : i, 2].min()
        is_up, is_down, middle = close > top, close < bottom, 0.5 * (top + bottom)
        sides.append(1.0 if is_up else 2.0 if is_down else 3.0)
        distances.append(min(abs(close - bottom), abs(top - close)))
        breaks.append(1.0 if is_up and not was_up else -1.0 if is_down and not was_down else 0.0)
        was_up = is_up or (was_up and not close < middle)
        was_down = is_down or (was_down and not close > middle)
    for name, wanted in (("channel_side", sides), ("channel_distance", distances), ("fresh_break", breaks)):
        assert_array_equal(stepped(name, n, bars)[0], wanted[: len(bars)])


@pytest.mark.parametrize("name", FAST)
@KERNEL_TESTS
@given(bars=histories(), n=st.integers(2, 20))
def test_the_array_form_is_the_step_form_to_the_last_bit(name: str, bars: F64, n: int) -> None:
    columns = np.array([*bars.T, np.ones(len(bars))])
    assert np.array(stepped(name, n, bars)[0]).tobytes() == run(KERNELS[name], n, columns).tobytes()


@pytest.mark.parametrize("name", FAST)
def test_the_array_form_is_the_step_form_across_the_blocks_it_works_in(name: str) -> None:
    columns = walk(2500)
    assert np.array(stepped(name, 20, columns.T)[0]).tobytes() == run(KERNELS[name], 20, columns).tobytes()


def test_the_bands_are_those_of_the_step_form_to_the_last_bit() -> None:
    columns = walk(2500)
    lower, middle, upper = calculate_bollinger(columns[3], 20, 2.0)
    for name, n, found in (
        ("bollinger_lower", (20, 2.0), lower),
        ("sma", 20, middle),
        ("bollinger_upper", (20, 2.0), upper),
    ):
        assert np.array(stepped(name, n, columns.T)[0]).tobytes() == found.tobytes()


@pytest.mark.parametrize("name", MOVING)
@KERNEL_TESTS
@given(bars=histories(least=45), n=st.integers(1, 12))
def test_every_feature_is_nan_until_its_warm_up_and_never_after(name: str, bars: F64, n: int) -> None:
    of = length(KERNELS[name], n)
    found = np.isnan(stepped(name, of, bars)[0])
    warm_up = KERNELS[name].warm_up(of)
    assert found[: warm_up - 1].all()
    if name not in SOMETIMES_NAN:
        assert not found[warm_up - 1 :].any()


# A streak below a fixed threshold is of a number, never of a price.
@pytest.mark.parametrize("name", [name for name in MOVING if name != "compression"])
@KERNEL_TESTS
@given(bars=histories(least=2), n=st.integers(1, 12), points=st.integers(-400, 400), data=st.data())
def test_shifting_the_state_on_a_roll_is_recomputing_on_shifted_history(
    name: str, bars: F64, n: int, points: int, data: st.DataObject
) -> None:
    kernel = KERNELS[name]
    of = length(kernel, n)
    at = data.draw(st.integers(1, len(bars) - 1))
    values, state = stepped(name, of, bars[:at])
    for first, past in kernel.price_slots(of) if kernel.price_slots else ():
        assert 0 <= first < past <= len(state)
        state[first:past] += points / 4
    shifted = bars.copy()
    shifted[:at] += points / 4
    wanted = stepped(name, of, shifted)[0]
    after = [kernel.update(state, of, *given) for given in inputs(kernel, bars)[at:]]
    if name in ROUNDED:
        assert_allclose(after, wanted[at:], rtol=0, atol=1e-9)
    else:
        assert_array_equal(after, wanted[at:])
    if kernel.value in ("price", "as input"):
        assert_allclose(values[-1] + points / 4, wanted[at - 1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [name for name, kernel in KERNELS.items() if kernel.inputs in ("series", "two")])
def test_a_value_that_is_not_there_changes_nothing(name: str) -> None:
    kernel, columns = KERNELS[name], walk(80)
    n = length(kernel, 5)
    holed = np.insert(columns, 50, np.nan, axis=1)
    found = run(kernel, n, holed)
    assert math.isnan(found[50])
    assert_array_equal(np.delete(found, 50), run(kernel, n, columns))


@pytest.mark.parametrize("name", [name for name, kernel in KERNELS.items() if kernel.inputs == "series"])
def test_results_do_not_hang_on_how_long_a_window_has_been_running(name: str) -> None:
    kernel, columns = KERNELS[name], walk(400)
    n = length(kernel, 7)
    if name in ("ema", "compression"):  # a recursion and a streak remember for ever, by definition
        return
    whole = run(kernel, n, columns)
    for start in (1, 3, 100):
        assert run(kernel, n, columns[:, start:])[60:].tobytes() == whole[start + 60 :].tobytes()


@pytest.mark.parametrize(
    "setting",
    [{"NUMBA_DISABLE_JIT": "1"}, pytest.param({"NUMBA_CPU_NAME": "generic"}, marks=pytest.mark.slow)],
    ids=["interpreted", "generic"],
)
def test_every_kernel_gives_the_same_bits_however_it_is_run(setting: dict[str, str], tmp_path: Path) -> None:
    environment = os.environ | setting | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.indicators"], env=environment, capture_output=True, text=True, check=True
    )
    assert dict(line.split() for line in done.stdout.splitlines()) == digests()


@KERNEL_TESTS
@given(histories(), st.integers(1, 20))
def test_ibs_rsi_and_adx_stay_in_their_bounds(bars: F64, n: int) -> None:
    for name, top in (("ibs", 1.0), ("rsi", 100.0), ("adx", 100.0)):
        found = np.array(stepped(name, n, bars)[0])
        found = found[~np.isnan(found)]
        assert ((found >= 0.0) & (found <= top * (1 + 1e-12))).all()


@pytest.mark.parametrize("name", ["rsi", "adx", "ibs", "channel_side", "pivot_position", "narrowest"])
@KERNEL_TESTS
@given(bars=histories(least=30), n=st.integers(2, 9), power=st.integers(-8, 8))
def test_numbers_without_a_unit_do_not_hang_on_the_unit_of_the_price(name: str, bars: F64, n: int, power: int) -> None:
    of = length(KERNELS[name], n)
    assert_array_equal(stepped(name, of, bars * 2.0**power)[0], stepped(name, of, bars)[0])


@KERNEL_TESTS
@given(st.lists(VALUE, min_size=1, max_size=40))
def test_the_percentile_of_the_newest_value_is_its_middle_rank(values: list[float]) -> None:
    n = len(values)
    below = sum(value < values[-1] for value in values)
    equal = sum(value == values[-1] for value in values)
    found = over_series("percentile", n, np.array(values))[-1]
    assert found == pytest.approx((2 * below + equal + 1) / (2 * n))
    assert 0.0 < found <= 1.0


@KERNEL_TESTS
@given(st.lists(VALUE, min_size=2, max_size=40), VALUE, VALUE)
def test_a_larger_value_has_no_smaller_percentile(values: list[float], one: float, other: float) -> None:
    low, high = (
        [
            over_series(name, len(values) + 1, np.array([*values, last]))[-1]
            for name in ("percentile", "percentile_strict")
        ]
        for last in sorted((one, other))
    )
    assert low[0] <= high[0]
    assert low[1] <= high[1]
    assert 0.0 <= low[1] <= high[1] < 100.0


@KERNEL_TESTS
@given(st.lists(VALUE, min_size=1, max_size=60), st.integers(1, 20))
def test_windows_agree_with_numpy(values: list[float], n: int) -> None:
    x = np.array(values)
    ends = range(n, len(x) + 1)
    for name, count, reference in (
        ("sma", n, np.mean),
        ("median", n, np.median),
        ("stdev", n + 1, np.std),
        ("stdev_sample", n + 1, lambda window: np.std(window, ddof=1)),
    ):
        ends = range(count, len(x) + 1)
        wanted = [math.nan] * min(count - 1, len(x)) + [reference(x[end - count : end]) for end in ends]
        assert_allclose(over_series(name, count, x), wanted, rtol=1e-9, atol=1e-8)


def test_the_expanding_percentile_forgets_the_oldest_value_only_when_it_is_full() -> None:
    kernel, state = KERNELS["percentile_v1"], np.zeros(KERNELS["percentile_v1"].slots(3))
    found = [kernel.update(state, 3, x, float(i)) for i, x in enumerate((5.0, 1.0, 3.0, 4.0))]
    assert_allclose(found, [1.0, 1 / 2, 2 / 3, 1.0])


def test_the_expanding_percentile_takes_one_value_for_each_change_of_its_marker() -> None:
    kernel, state = KERNELS["percentile_v1"], np.zeros(KERNELS["percentile_v1"].slots(9))
    found = [kernel.update(state, 9, x, day) for x, day in ((5.0, 1.0), (9.0, 1.0), (4.0, 2.0), (9.0, 2.0))]
    assert_allclose(found, [1.0, 1.0, 0.5, 0.5])


@KERNEL_TESTS
@given(st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)))
def test_codes_of_the_wall_clock_agree_with_the_calendar(at: datetime) -> None:
    local_ns = int((at.replace(second=0, microsecond=0) - datetime(1970, 1, 1)).total_seconds()) * 1_000_000_000
    wanted = {
        "weekday": at.isoweekday(),
        "month": at.month,
        "day": at.day,
        "day_after": 1 if at.day > 25 else 2,
        "week_start": 1 if at.isoweekday() <= 2 else 2,
        "even_odd": 1 + at.day % 2,
        "hhmm": at.hour * 100 + at.minute,
        "session_code": 1 if at.hour < 8 else 2 if at.hour < 15 else 4 if at.hour < 17 else 3,
        "open_close": {8: 1, 14: 2}.get(at.hour, 0),
    }
    state = np.zeros(1)
    assert {name: KERNELS[name].update(state, 25, local_ns) for name in wanted} == wanted


def test_a_pivot_high_is_above_those_before_it_and_at_least_those_after_it() -> None:
    high = [1.0, 2.0, 3.0, 3.0, 2.0, 3.0, 1.0, 4.0, 5.0]  # 3 after 2 is confirmed by 3 and 2; the next 3 is no higher
    bars = np.array([(x, x, x - 1, x) for x in high])
    assert_array_equal(stepped("pivot_high", (1, 2, 1), bars)[0], [math.nan] * 4 + [3.0] * 5)


def test_a_pivot_is_not_looked_for_before_the_first_bar_that_counts() -> None:
    bars = walk(120).T[:, :4]
    tracked, late = (np.array(stepped("pivot_low", (5, 5, first), bars)[0]) for first in (1, 60))
    assert np.isnan(late[:59]).all()
    changed = next(i for i in range(60, 120) if tracked[i] != tracked[59])
    assert_array_equal(late[changed:], tracked[changed:])


def test_compression_grows_with_the_streak_and_ends_with_it() -> None:
    # threshold 0.8, tau 2: depth (0.8 - 0.4) / 0.8 = 1/2, times 1 - exp(-streak / 2)
    found = over_series("compression", (0.8, 2.0), np.array([0.4, 0.4, 0.9, 0.4]))
    wanted = [0.5 * (1 - math.exp(-0.5)), 0.5 * (1 - math.exp(-1.0)), 0.0, 0.5 * (1 - math.exp(-0.5))]
    assert_allclose(found, wanted, rtol=1e-12)


def test_a_feature_of_features_is_calculated_over_a_table() -> None:
    columns = walk(400)
    table = pl.DataFrame(dict(zip(("open", "high", "low", "close", "volume"), columns, strict=True)))
    close, average = columns[3], calculate_sma(columns[3], 20)
    apart = np.array([close[i - 19 : i + 1].std() if i >= 19 else math.nan for i in range(400)])
    assert_allclose(calculate("z_score", table), (close - average) / (apart + 1e-12), rtol=1e-9, atol=1e-12)


def test_a_feature_of_another_instrument_is_not_calculated_from_one_table() -> None:
    with pytest.raises(ValueError, match="ibs of pair on hourly bars cannot be worked out"):
        calculate("pair_ibs", {})


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
    with pytest.raises(ValueError, match="whole number of bars from 1"):
        calculate_rsi([1.0, 2.0], 0)
