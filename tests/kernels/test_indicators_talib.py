"""The library against TA-Lib, where both define the same thing."""

from collections.abc import Callable

import numpy as np
import pytest
import talib
from numpy.testing import assert_allclose

from rooney.features import (
    calculate_adx,
    calculate_atr,
    calculate_bollinger,
    calculate_channel,
    calculate_ema,
    calculate_psar,
    calculate_return_pct,
    calculate_rsi,
    calculate_sma,
    calculate_stdev,
    calculate_true_range,
)
from rooney.kernels.array_types import F64
from tests.support.indicators import walk

OPEN, HIGH, LOW, CLOSE, VOLUME = walk(20_000)
BOTH: dict[str, tuple[Callable[[int], F64], Callable[[int], F64]]] = {
    "rsi": (lambda n: calculate_rsi(CLOSE, n), lambda n: talib.RSI(CLOSE, n)),
    "atr": (lambda n: calculate_atr(HIGH, LOW, CLOSE, n), lambda n: talib.ATR(HIGH, LOW, CLOSE, n)),
    "sma": (lambda n: calculate_sma(CLOSE, n), lambda n: talib.SMA(CLOSE, n)),
    "sma of volume": (lambda n: calculate_sma(VOLUME, n), lambda n: talib.SMA(VOLUME, n)),
    "ema": (lambda n: calculate_ema(CLOSE, n), lambda n: talib.EMA(CLOSE, n)),
    "rate of change": (lambda n: calculate_return_pct(CLOSE, n), lambda n: talib.ROC(CLOSE, n)),
    "true range": (lambda n: calculate_true_range(HIGH, LOW, CLOSE), lambda n: talib.TRANGE(HIGH, LOW, CLOSE)),
    "channel high": (lambda n: calculate_channel(HIGH, LOW, n)[1][1:], lambda n: talib.MAX(HIGH, n)[:-1]),
    "channel low": (lambda n: calculate_channel(HIGH, LOW, n)[0][1:], lambda n: talib.MIN(LOW, n)[:-1]),
}


@pytest.mark.parametrize("n", [2, 5, 14, 20, 200])
@pytest.mark.parametrize("name", BOTH)
def test_numbers_are_those_of_talib(name: str, n: int) -> None:
    ours, theirs = (call(n) for call in BOTH[name])
    assert np.isnan(ours).sum() == np.isnan(theirs).sum()
    assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [5, 20, 200])
def test_deviations_and_bands_are_those_of_talib(n: int) -> None:
    # TA-Lib subtracts running squares of prices around 500, which costs it digits.
    assert_allclose(calculate_stdev(CLOSE, n), talib.STDDEV(CLOSE, n), rtol=0, atol=1e-6)
    lower, middle, upper = calculate_bollinger(CLOSE, n, 2.0)
    for ours, theirs in zip((upper, middle, lower), talib.BBANDS(CLOSE, n, 2.0, 2.0), strict=True):
        assert_allclose(ours, theirs, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("n", [2, 5, 14, 20])
def test_the_directional_index_is_that_of_talib_once_both_have_forgotten_their_start(n: int) -> None:
    ours, theirs = calculate_adx(HIGH, LOW, CLOSE, n), talib.ADX(HIGH, LOW, CLOSE, n)
    assert_allclose(ours[1000:], theirs[1000:], rtol=1e-9, atol=1e-9)


def test_the_parabolic_stop_is_that_of_talib_but_for_single_bars_of_a_reversal() -> None:
    # On those TA-Lib holds the stop, the last extreme, outside the last two bars; the old system published it as it is.
    ours, theirs = calculate_psar(HIGH, LOW, CLOSE), talib.SAR(HIGH, LOW, 0.02, 0.2)
    apart = ~np.isclose(ours, theirs, rtol=1e-9, atol=0)[200:]
    assert apart.mean() < 1e-3
    assert not (apart[1:] & apart[:-1]).any()
