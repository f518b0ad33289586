"""Configuration → engine: every key that changes what the step does arrives in it, and says so where it cannot."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from rooney.config.loader import load_config
from rooney.config.settings import StrategyConfig
from rooney.engine.build import build_engine
from rooney.engine.engine import Engine
from rooney.engine.settings import STOP_ATR
from rooney.errors import ConfigError
from rooney.features import Feature, catalogue
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.strategy.entry_filters import entry_filters
from rooney.strategy.loader import load


def configured(folder: Path, strategy: str = "ibs", more: dict[str, Any] | None = None, **block: Any) -> StrategyConfig:
    """A strategy block `a` on ES and GC, as a file holds it; more: instruments beside them."""
    tree = {
        "data_hub": {"redis_socket": "/run/redis.sock"},
        "instruments": {"ES": {}, "GC": {}, **(more or {})},
        "strategies": {"a": {"strategy": strategy, "mode": "dry", "instruments": ["ES", "GC"], **block}},
    }
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return load_config(path).strategy("a")


def built(folder: Path, strategy: str = "ibs", more: dict[str, Any] | None = None, **block: Any) -> Engine:
    return build_engine(configured(folder, strategy, more, **block))


def filters(folder: Path, **blocks: Any) -> dict[str, Any]:
    return entry_filters(configured(folder, filters=blocks), load("ibs"))


def at(hour: int, minute: int = 0) -> int:
    return hour * HOUR_NS + minute * MINUTE_NS


# ── filters ──


def test_a_strategys_own_filters_are_on(tmp_path: Path) -> None:
    assert list(built(tmp_path).filters) == ["pivot"]


def test_a_filter_can_be_switched_off(tmp_path: Path) -> None:
    e = built(tmp_path, filters={"pivot": {"enabled": False}})
    assert e.filters == {}
    assert e._filters.shape == (2, 0)


def test_a_key_of_a_filter_changes_that_key_and_keeps_the_rest(tmp_path: Path) -> None:
    found = filters(tmp_path, pivot={"allowed": [0, 1], "missing": "pass"})["pivot"]
    assert (found.allowed, found.missing) == ((0, 1), "pass")
    assert found.feature == load("ibs").filters["pivot"].feature


def test_a_filter_of_a_kernel_has_its_timeframe_length_and_bounds(tmp_path: Path) -> None:
    e = built(tmp_path, filters={"trend": {"feature": "rsi", "timeframe": "daily", "length": 2, "low": 5, "below": 30}})
    assert e.filters["trend"].feature == Feature("rsi", "daily", 2)
    assert e.filters["pivot"] is not None
    column = e.compiled.layout.fields.index("filter_trend")
    row = e._filters[0, list(e.filters).index("trend")]
    assert (row["column"], row["low"], row["below"], row["pass_missing"]) == (column, 5.0, 30.0, 0)


def test_a_filter_may_name_a_feature_of_the_catalogue(tmp_path: Path) -> None:
    e = built(tmp_path, filters={"quiet": {"feature": "hourly_atr_percentile", "high": 80}})
    assert e.filters["quiet"].feature == catalogue("hourly_atr_percentile")
    assert "filter_quiet" in e.compiled.layout.fields


def test_a_name_that_is_both_is_the_kernels(tmp_path: Path) -> None:
    assert filters(tmp_path, x={"feature": "rsi", "length": 3})["x"].feature == Feature("rsi", "hourly", 3)


def test_a_feature_of_the_catalogue_can_be_read_from_another_instrument(tmp_path: Path) -> None:
    e = built(tmp_path, more={"VIX": VIX}, filters={"calm": {"feature": "atr14", "symbol": "VIX", "high": 3}})
    assert e.filters["calm"].feature == Feature("atr", "hourly", 14, symbol="VIX")
    assert [(i.symbol, i.traded) for i in e.instruments] == [("ES", True), ("GC", True), ("VIX", False)]


def test_a_feature_of_the_catalogue_that_is_another_instruments_brings_that_instrument(tmp_path: Path) -> None:
    e = built(tmp_path, more={"NQ": {"reference": True}}, filters={"x": {"feature": "nq_hourly_return", "above": 0}})
    assert [(i.symbol, i.traded) for i in e.instruments][2:] == [("NQ", False)]


def test_a_feature_that_reads_an_instrument_nobody_configured_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"strategies\.a: features of .* read NQ, which is not among the instruments"):
        built(tmp_path, filters={"x": {"feature": "nq_hourly_return"}})


VIX = {"reference": True, "tick_size": 0.01, "multiplier": 1.0, "commission": 0.0, "margin": 1.0}
REFUSED = {
    "an unknown feature": ({"feature": "hourly_atr_percentil"}, "did you mean hourly_atr_percentile"),
    "no feature": ({"low": 1}, "feature: expected the name of a feature, got nothing"),
    "a length of the catalogue": ({"feature": "atr14", "length": 20}, "length: atr14 is of the catalogue"),
    "a timeframe of the catalogue": ({"feature": "atr14", "timeframe": "daily"}, "timeframe: atr14 is of the"),
    "two instruments": ({"feature": "nq_hourly_return", "symbol": "GC"}, "symbol: nq_hourly_return is read from NQ"),
    "the future": ({"feature": "daily_pivot_high_v1"}, "daily_pivot_high_v1 reads the future"),
    "bounds that let nothing pass": ({"feature": "ibs", "low": 1, "high": 0}, "lets nothing pass"),
    "a code out of range": ({"feature": "weekday", "allowed": [63]}, "allows 63; codes are 0 to 62"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_filter_that_cannot_be_is_refused_by_its_key(tmp_path: Path, mistake: str) -> None:
    block, said = REFUSED[mistake]
    with pytest.raises(ConfigError) as error:
        filters(tmp_path, mine=block)
    assert str(error.value).startswith("strategies.a.filters.mine: ")
    assert said in str(error.value)
    assert str(error.value).endswith("not starting")


# ── the day ──


def test_entry_windows_and_auto_close_are_the_strategys_unless_given(tmp_path: Path) -> None:
    limits = built(tmp_path).limits
    assert limits.entry_windows == ((0, at(15)), (at(17), 0))
    assert limits.auto_close_ns == at(15)


def test_entry_windows_of_the_configuration_replace_the_strategys(tmp_path: Path) -> None:
    e = built(tmp_path, entry_windows=["09:00-11:30"], no_entry_windows=["07:25-07:35"])
    assert e._entry_windows.tolist() == [[at(9), at(11, 30)]]
    assert e._no_entry.tolist() == [[at(7, 25), at(7, 35)]]


def test_no_entry_windows_at_all_lets_every_bar_enter(tmp_path: Path) -> None:
    assert built(tmp_path, entry_windows=[])._entry_windows.shape == (0, 2)


@pytest.mark.parametrize(("given", "expected"), [("off", -1), ("12:30", at(12, 30)), ("00:00", 0)])
def test_the_auto_close_can_be_moved_and_switched_off(tmp_path: Path, given: str, expected: int) -> None:
    assert built(tmp_path, auto_close=given)._limits[0]["auto_close_ns"] == expected


def test_a_strategy_without_an_auto_close_has_none(tmp_path: Path) -> None:
    assert built(tmp_path, "breakout").limits.auto_close_ns == -1


# ── the account ──


@pytest.mark.parametrize(("block", "expected"), [({}, 0.0), ({"drawdown_halt": 5000}, 5000.0)])
def test_the_drawdown_halt_is_off_unless_given(tmp_path: Path, block: dict[str, Any], expected: float) -> None:
    assert built(tmp_path, **block)._limits[0]["drawdown_halt"] == expected


def test_overrides_change_one_instrument_and_no_other(tmp_path: Path) -> None:
    own = {"size": 3, "commission": 9.0, "slippage_ticks": 2, "margin": 777.0}
    e = built(tmp_path, overrides={"GC": own | {"strategy_params": {"stop_percent": 2.5, "time_stop_bars": 4}}})
    es, gc = e._instruments
    assert (gc["quantity"], gc["commission"], gc["margin"]) == (3, 9.0, 777.0)
    assert (gc["slippage"], gc["stop_percent"], gc["time_stop_bars"]) == (2 * 0.1, 2.5, 4)
    assert (es["quantity"], es["stop_percent"], es["time_stop_bars"]) == (1, 1.0, 8)


def test_a_parameter_that_gives_a_feature_its_length_cannot_differ_by_instrument(tmp_path: Path) -> None:
    own = {"strategy_params": {"pivot_bars": 3}}
    with pytest.raises(ConfigError, match=r"strategies\.a\.overrides\.GC\.strategy_params\.pivot_bars: gives features"):
        built(tmp_path, overrides={"GC": own})


def test_the_average_true_range_of_stops_is_worked_out_only_where_one_is_asked_for(tmp_path: Path) -> None:
    without = built(tmp_path)
    own = built(
        tmp_path, overrides={"GC": {"strategy_params": {"trail_atr": 2.0}}}, strategy_params={"stop_atr_bars": 7}
    )
    assert without._limits[0]["atr_column"] == -1
    assert own.compiled.layout.fields[own._limits[0]["atr_column"]] == STOP_ATR
    assert own.compiled.layout.nodes[own.compiled.layout.names[STOP_ATR]].length == 7


@pytest.mark.parametrize(
    ("block", "field", "expected"),
    [
        ({}, "stop_inside", 0),
        ({"stop_fill": "inside"}, "stop_inside", 1),
        ({"fill": "signal_close"}, "fill", 1),
        ({"on_roll": "roll"}, "roll_over", 1),
        ({}, "roll_over", 0),
    ],
)
def test_what_a_fill_and_a_roll_are_assumed_to_be(
    tmp_path: Path, block: dict[str, Any], field: str, expected: int
) -> None:
    assert built(tmp_path, **block)._limits[0][field] == expected


# ── warm-up ──


def test_a_fresh_start_loads_300_bars_or_ten_times_what_is_read(tmp_path: Path) -> None:
    e = built(tmp_path)
    needs = [e.history_bars(timeframe) for timeframe in range(3)]
    assert max(needs) > 0
    assert [e.warm_up_bars(timeframe) for timeframe in range(3)] == [max(300, 10 * n) if n else 0 for n in needs]


# ── profile v1 ──


def test_profile_v1_has_the_old_clock_warm_up_and_no_margin_check(tmp_path: Path) -> None:
    e = built(tmp_path, profile="v1", reentry_wait_s=60)
    assert e._limits[0]["old"] == 1
    assert (e.limits.warm_up_bars, e.limits.reentry_wait_s) == (252, 0.0)
    assert [(i.symbol, i.clock_ns, i.margin_usd) for i in e.instruments] == [("ES", 0, 0.0), ("GC", HOUR_NS, 0.0)]


def test_the_default_profile_has_chicagos_clock_and_checks_margin(tmp_path: Path) -> None:
    e = built(tmp_path)
    assert (e._limits[0]["old"], e.limits.warm_up_bars) == (0, 0)
    assert [i.clock_ns for i in e.instruments] == [0, 0]
    assert min(i.margin_usd for i in e.instruments) > 0.0


def test_the_first_bar_that_decides_is_known_to_the_pivots_of_v1(tmp_path: Path) -> None:
    def first_bar(e: Engine) -> Any:
        return e.compiled.layout.nodes[e.compiled.layout.names["filter_pivot"]].length

    assert first_bar(built(tmp_path)) == (5, 5, 1)
    assert first_bar(built(tmp_path, profile="v1")) == (5, 5, 252)
