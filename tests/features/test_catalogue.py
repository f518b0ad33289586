"""Names of the catalogue: what the old models and filters asked for finds what is meant."""

import json

import pytest

from rooney.errors import StrategyError
from rooney.features import ALIASES, KERNELS, PAIRS, Feature, catalogue, is_research_only, names
from tests.support.old_system_bars import PARITY, needs_parity

EVERY = [name + old for name in (*names(), *ALIASES) for old in ("", "_v1")]


def parts(feature: Feature) -> list[Feature]:
    return [feature, *(part for of in feature.of for part in parts(of))]


@pytest.mark.parametrize("name", EVERY)
def test_every_name_is_made_of_kernels_with_lengths_they_can_have(name: str) -> None:
    for part in parts(catalogue(name)):
        kernel = KERNELS[part.kernel]
        assert kernel.slots(part.length) >= 1
        assert kernel.warm_up(part.length) >= 1
        assert len(part.of) == {"series": 1, "two": 2}.get(kernel.inputs, 0)
        assert part.timeframe in ("hourly", "daily", "daily_ahead")


@needs_parity
def test_every_name_the_old_system_knew_is_known() -> None:
    known = json.loads((PARITY / "feature_names.json").read_text())
    for name, aliases in known["columns"].items():
        assert {catalogue(alias) for alias in aliases} <= {catalogue(name)}
    for name in known["never_available"]:
        catalogue(name)


@pytest.mark.parametrize("name", ["daily_rsi", "open_close", "adx_value", "gc_daily_return"])
def test_a_name_without_a_defect_means_the_same_under_v1(name: str) -> None:
    assert catalogue(f"{name}_v1") == catalogue(name)


@pytest.mark.parametrize("name", ["mom3_z", "momentum_z_percentile", "rsixvolz", "value_pct", "vix_daily_return"])
def test_what_no_old_model_was_ever_given_is_zero_under_v1(name: str) -> None:
    assert catalogue(f"{name}_v1").kernel == "zero_v1"


def test_only_old_numbers_read_the_future() -> None:
    ahead = {name for name in EVERY if is_research_only(catalogue(name))}
    assert ahead == {"daily_adx_value_v1", "enabledadx_v1", "daily_pivot_high_v1", "daily_pivot_low_v1"}


def test_a_cross_feature_is_worked_out_on_the_instrument_it_names() -> None:
    assert catalogue("ES Hourly Z Score") == Feature("cross_z", "hourly", (20, 252), (Feature("close"),), "ES")
    assert catalogue("6b_daily_return_pipeline") == catalogue("enable6BReturnDay") == catalogue("6b_daily_return")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rsi_len3", "feature 'rsi_len3' is not in the library; did you mean rsi_len2"),
        ("xx_daily_return", "feature 'xx_daily_return': no such instrument; cross features are of ES,"),
        ("?", "feature '?' is not in the library; rooney.features.catalogue.names() lists"),
    ],
)
def test_an_unknown_name_is_answered_with_near_matches(name: str, said: str) -> None:
    with pytest.raises(StrategyError) as error:
        catalogue(name)
    assert str(error.value).startswith(said)


def test_pairs_are_of_instruments_that_are_no_pair_of_themselves() -> None:
    assert all(root != pair for root, pair in PAIRS.items())
    assert PAIRS["6B"] == "6E" and PAIRS["6E"] == "6A" and PAIRS["HG"] == "SI"
