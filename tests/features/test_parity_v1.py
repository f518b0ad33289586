"""The catalogue's `_v1` numbers against what the old system itself computed, bar by bar."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from rooney.features import PAIRS, Feature, catalogue
from rooney.features.catalogue import PERCENTILE_V1_KEPT
from rooney.kernels.array_types import F64, I64, Booleans
from tests.support.old_system_bars import PARITY, TRADED, needs_parity, newest, read, stamps

pytestmark = needs_parity


# Columns of indicators.parquet (float64) by what gives them.
CLOSE, CLOSE_DAILY = Feature("close"), Feature("close", "daily")
INDICATORS = {
    "ibs": catalogue("ibs_v1"),
    "close": catalogue("price_usd_v1"),
    "daily_ibs": catalogue("daily_ibs_v1"),
    "prev_daily_ibs": catalogue("prev_daily_ibs_v1"),
    "prev_day_pct": catalogue("prev_day_pctxvalue_v1"),
    "prev_bar_pct": catalogue("prev_bar_pct_v1"),
    "pivot_high": catalogue("pivot_high_v1"),
    "pivot_low": catalogue("pivot_low_v1"),
    "h_sma20": Feature("sma", "hourly", 20, (CLOSE,)),
    "h_ema20": Feature("ema", "hourly", 20, (CLOSE,)),
    "h_rsi14": catalogue("rsi_len14_v1"),
    "h_rsi2": catalogue("rsi_len2_v1"),
    "h_atr14": Feature("atr", "hourly", 14),
    "h_std20": Feature("stdev", "hourly", 20, (CLOSE,)),
    "h_adx14": catalogue("adx_value_v1"),
    "h_psar": Feature("psar", "hourly", (0.02, 0.2)),
    "h_mom3": Feature("change", "hourly", 3, (CLOSE,)),
    "d_sma20": Feature("sma", "daily", 20, (CLOSE_DAILY,)),
    "d_rsi14": catalogue("daily_rsi14_v1"),
    "d_rsi2": catalogue("daily_rsi2_v1"),
    "d_atr14": Feature("atr", "daily", 14),
    "d_sma200": Feature("sma", "daily", 200, (CLOSE_DAILY,)),
}
# These hang on how often the old code came by, which no bar says: the position, several insertions a bar.
NO_FUNCTION_OF_BARS = {"prev_ibs", "prev_ibs_pct", "rsi_pct", "rsi_len2_pct", "rsi2_pct"}
# A rank among thousands moves when rounding decides a tie, or when a value was inserted at a bar we do not have.
RANK_ATOL = {
    "bb_pct": 1e-3,
    "mom3_z_pct": 1e-3,
    "dist_z_pct": 1e-3,
    "daily_rsi_pct": 0.02,
    "pair_ibs_pct": 2e-3,
    "pair_z_pct": 0.01,
}

FEATURES = [
    name
    for name in (pl.read_parquet_schema(PARITY / "features.parquet") if PARITY.is_dir() else ())
    if name not in NO_FUNCTION_OF_BARS | {"symbol", "datetime"}
]


def rows(name: str, symbol: str) -> pl.DataFrame:
    return pl.read_parquet(PARITY / f"{name}.parquet").filter(pl.col("symbol") == symbol)


def column(frame: pl.DataFrame, name: str) -> F64:
    return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def at(frame: pl.DataFrame) -> I64:
    return frame["datetime"].dt.timestamp("ns").to_numpy()


def old_feature(name: str) -> Feature:
    """What features.parquet holds: a run that asked for every feature, so for those no model was ever given, too."""
    if name == "mom3_z_pct":
        number = catalogue("tratr_pct_v1").of[1]
        return Feature("percentile_v1", "hourly", PERCENTILE_V1_KEPT, (catalogue("mom3_z"), number))
    if name == "mom3_z":
        return catalogue(name)
    return catalogue(f"{name}_asked_v1" if name.startswith("rsix") else f"{name}_v1")


def evaluated_twice(name: str, symbol: str, at: I64) -> Booleans:
    """Rows where the old system went on with only one of the two instruments (README of the parity set, quirk 1)."""
    pair, own = stamps(PAIRS[symbol], "hourly"), stamps(symbol, "hourly")
    stale = ~np.isin(at, pair)  # a second look at the pair's bar made its RSI the standard one; a rank stood still
    if name == "rsi2":
        return stale
    if name in ("pair_z", "pair_z_pct"):  # the spread moved on at stamps of the pair alone, and is in 20 values
        alone = pair[~np.isin(pair, own)]
        back = own[np.maximum(newest(symbol, "hourly", at) - 20, 0)]
        moved = [((alone > first) & (alone <= last)).any() for first, last in zip(back, at, strict=True)]
        return np.array(moved) | (stale & (name == "pair_z_pct"))
    return np.zeros(len(at), np.bool_)


@pytest.mark.parametrize("symbol", TRADED)
@pytest.mark.parametrize("name", INDICATORS)
def test_indicators_are_those_of_the_old_system(name: str, symbol: str) -> None:
    frame = rows("indicators", symbol)
    rtol = 1e-7 if "std" in name else 1e-9
    assert_allclose(read(INDICATORS[name], symbol, at(frame)), column(frame, name), rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("symbol", TRADED)
@pytest.mark.parametrize("name", FEATURES)
def test_model_features_are_those_of_the_old_system(name: str, symbol: str) -> None:
    frame = rows("features", symbol)
    found, wanted = read(old_feature(name), symbol, at(frame)), column(frame, name)
    counted = ~evaluated_twice(name, symbol, at(frame))
    assert counted.mean() > 0.98
    # The file is float32; a score of nearly 0 is a difference of nearly equal numbers.
    assert_allclose(found[counted], wanted[counted], rtol=1e-6, atol=RANK_ATOL.get(name, 1e-9))


@pytest.mark.parametrize("symbol", TRADED)
def test_model_inputs_are_those_of_the_old_system_to_float64(symbol: str) -> None:
    frame = rows("ml_inputs", symbol)
    names = [name for name in frame.columns[4:] if frame[name].null_count() < len(frame)]
    assert len(names) >= 10
    for name in names:
        part = frame.filter(pl.col(name).is_not_null() & pl.col(name).is_not_nan())
        found, wanted = read(old_feature(name), symbol, at(part)), column(part, name)
        counted = ~evaluated_twice("pair_z" if name.startswith("pair_z") else name, symbol, at(part))
        assert_allclose(found[counted], wanted[counted], rtol=1e-7, atol=1e-9, err_msg=name)
