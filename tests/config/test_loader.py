"""The configuration: what the file may say, whose part of it is resolved when, and that no secret is ever shown."""

import copy
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rooney.config.account_sharing import Account, open_account, shared
from rooney.config.check import Finding, check_findings, file_findings, worker_findings
from rooney.config.loader import Config, load_config
from rooney.config.params import check_params
from rooney.config.schema import Alerts, Dashboard, Databento, DataHub, InstrumentBlock, Override, StrategyBlock
from rooney.config.validation import Scalar
from rooney.engine.build import build_engine
from rooney.errors import ConfigError
from rooney.execution.account_lock import AccountLock, runtime_directory
from rooney.market.instruments import PRODUCTS
from rooney.secrets import Secret, read_env_file
from tests.support.children import child
from tests.support.paths import ROOT

SHIPPED = ROOT / "config.multi_alpha.yml"
SEED = ROOT / "tests" / "data" / "seed_config.yml"
EIGHTEEN = ["ES", "NQ", "RTY", "YM", "CL", "NG", "6A", "6B", "6C", "6M", "6N", "6S", "HG", "SI", "GC", "ZC", "ZS", "ZW"]

UUID = "0a1b2c3d-1111-2222-3333-444455556666"
PASSWORD = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"
IBS_URL = f"https://webhooks.traderspost.io/trading/webhook/{UUID}/{PASSWORD}"
BREAKOUT_URL = IBS_URL.replace("0a1b2c3d", "ffffffff")
API_KEY = "db-" + "k" * 29
ENVIRON = {
    "DATABENTO_API_KEY": API_KEY,
    "TRADERSPOST_IBS_WEBHOOK": IBS_URL,
    "TRADERSPOST_BREAKOUT_WEBHOOK": BREAKOUT_URL,
}
NOWHERE = Path("no-such-directory")

# Small, and with every kind of block in it.
BASE: dict[str, Any] = {
    "databento": {"api_key": "${DATABENTO_API_KEY}"},
    "data_hub": {"redis_host": "localhost", "redis_port": 6379},
    "instruments": {"ES": {"size": 1}, "NQ": {}, "PL": {"reference": True}},
    "strategies": {
        "ibs": {
            "broker_account": "${TRADERSPOST_IBS_WEBHOOK}",
            "instruments": ["ES", "NQ"],
            "overrides": {"NQ": {"size": 3, "strategy_params": {"time_stop_bars": 5}}},
            "strategy_params": {"max_bars_in_trade": 100},
        },
        "breakout": {
            "broker_account": "${TRADERSPOST_BREAKOUT_WEBHOOK}",
            "instruments": ["ES"],
            "order_symbol": {"ES": "MES"},
        },
    },
    "dashboard": {"port": 5000},
    "alerts": {"level": "error"},
}
BLOCKS: dict[str, type[msgspec.Struct]] = {
    "databento": Databento,
    "data_hub": DataHub,
    "instruments.ES": InstrumentBlock,
    "instruments.NQ": InstrumentBlock,
    "strategies.ibs": StrategyBlock,
    "strategies.ibs.overrides.NQ": Override,
    "strategies.breakout": StrategyBlock,
    "dashboard": Dashboard,
    "alerts": Alerts,
}


def at(tree: dict[str, Any], path: str) -> dict[str, Any]:
    """The mapping at `path`."""
    for key in path.split("."):
        tree = tree[key]
    return tree


def changed(path: str, key: str, value: object) -> dict[str, Any]:
    """BASE with one value put in."""
    tree = copy.deepcopy(BASE)
    at(tree, path)[key] = value
    return tree


def config_of(tree: dict[str, Any], environ: dict[str, str] | None = None) -> Config:
    """A configuration that never was a file."""
    return Config(Path("config.yml"), tree, ENVIRON if environ is None else environ)


def refusal(act: Callable[[], object]) -> str:
    """The text with which `act` is refused."""
    with pytest.raises(ConfigError) as caught:
        act()
    return str(caught.value)


def loaded(tmp_path: Path, text: str) -> Config:
    """The configuration in `text`."""
    path = tmp_path / "config.yml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, environ=ENVIRON)


# -- the two files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SHIPPED, SEED], ids=lambda p: p.name)
def test_the_file_serves_hub_workers_and_dashboard(path: Path) -> None:
    config = load_config(path, environ=ENVIRON)
    assert list(config.hub().instruments) == EIGHTEEN
    assert [config.worker(name).strategy.name for name in config.names] == ["ibs", "breakout"]
    assert config.dashboard().strategies == ("ibs", "breakout")


@pytest.mark.parametrize("path", [SHIPPED, SEED], ids=lambda p: p.name)
def test_the_file_keeps_the_seeds_limits(path: Path) -> None:
    ibs = load_config(path, environ=ENVIRON).strategy("ibs").settings
    assert (ibs.starting_cash, ibs.max_positions, ibs.daily_stop_loss, ibs.mode) == (150_000, 2, 2_500, "paper")


def test_the_seeds_file_has_no_error_finding() -> None:
    findings = check_findings(load_config(SEED, environ=ENVIRON), NOWHERE)
    assert [found for found in findings if found.level == "error"] == []


def test_the_shipped_file_states_the_exchanges_facts_and_the_drafted_money() -> None:
    for root, block in load_config(SHIPPED).file.instruments.items():
        product = PRODUCTS[root]
        stated = (block.multiplier, block.tick_size, block.commission, block.margin)
        assert stated == (product.point_value, product.tick_size, product.commission_usd, product.margin_usd)


def _commented_keys() -> dict[str, Any]:
    text = SHIPPED.read_text(encoding="utf-8")
    commented = text[text.index("    # slack: ${IBS_SLACK}") : text.index("  breakout:\n    enabled")]
    stated: dict[str, Any] = yaml.safe_load(re.sub("^    # ", "", commented, flags=re.MULTILINE))
    return stated


# These are examples, for what they change has no default, or one of the strategy file's.
EXAMPLES = {
    "strategy",
    "max_instruments",
    "overrides",
    "order_symbol",
    "entry_windows",
    "no_entry_windows",
    "auto_close",
    "filters",
    "gates",
    "retrain",
    "slack",
    "discord",
    "apprise",
}


def test_every_default_written_as_a_comment_in_the_shipped_file_is_the_default() -> None:
    stated = {key: value for key, value in _commented_keys().items() if key not in EXAMPLES}
    default = StrategyBlock()
    assert len(stated) > 10
    assert {key: getattr(default, key) or False for key in stated} == stated


@pytest.mark.parametrize("key", sorted(_commented_keys()))
def test_every_comment_of_the_shipped_file_is_a_key_that_works(key: str, tmp_path: Path) -> None:
    tree = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    tree["instruments"]["MES"] = {}  # of the example of order_symbol
    assert key not in tree["strategies"]["ibs"]
    tree["strategies"]["ibs"][key] = _commented_keys()[key]
    (tmp_path / "config.yml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    build_engine(load_config(tmp_path / "config.yml", environ=ENVIRON).strategy("ibs"))


def test_the_shipped_file_names_every_key_a_strategy_can_have() -> None:
    block = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["strategies"]["ibs"]
    assert set(StrategyBlock.__struct_fields__) == {*block, *_commented_keys(), "paper_account", "bundle"}


def test_every_variable_of_the_shipped_file_is_in_the_example_environment(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    read_env_file(ROOT / ".env.example", environ)
    config = load_config(SHIPPED, environ=environ)
    errors = [found for found in check_findings(config, tmp_path) if "environment variable" in found.text]
    assert errors == []


def test_the_example_environment_unfilled_is_no_webhook() -> None:
    environ: dict[str, str] = {}
    read_env_file(ROOT / ".env.example", environ)
    assert "it has no host name" in refusal(lambda: load_config(SHIPPED, environ=environ).worker("ibs"))


# -- what is refused ----------------------------------------------------------------------------------------------


@given(path=st.sampled_from(sorted(BLOCKS)), key=st.from_regex(r"[a-z_]{1,20}", fullmatch=True), value=st.integers())
@settings(deadline=None, max_examples=60)
def test_an_unknown_key_anywhere_is_refused_with_its_path(path: str, key: str, value: int) -> None:
    if key in BLOCKS[path].__struct_fields__:
        return
    text = refusal(lambda: config_of(changed(path, key, value)))
    assert text.startswith(f"{path}.{key}: unknown key")


def numeric_keys() -> list[tuple[str, str]]:
    """(block, key) of every number in the file."""
    found = []
    for path, cls in BLOCKS.items():
        for key, kind in get_type_hints(cls).items():
            if {int, float} & {kind, *get_args(kind)}:
                found.append((path, key))
    return found


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), True, -1, "7", [1], {"a": 1}], ids=repr)
@pytest.mark.parametrize(("path", "key"), numeric_keys(), ids=".".join)
def test_a_senseless_number_is_refused_with_its_path(path: str, key: str, value: object) -> None:
    assert refusal(lambda: config_of(changed(path, key, value))).startswith(f"{path}.{key}: expected ")


@pytest.mark.parametrize("key", ["max_positions", "starting_cash", "daily_stop_loss", "drawdown_halt", "stale_after_s"])
def test_a_limit_of_zero_is_refused(key: str) -> None:
    assert refusal(lambda: config_of(changed("strategies.ibs", key, 0))).startswith(f"strategies.ibs.{key}: ")


def test_an_error_says_what_came_what_was_allowed_and_what_happens_now() -> None:
    text = refusal(lambda: config_of(changed("strategies.ibs", "max_positions", -3)))
    assert text == "strategies.ibs.max_positions: expected an int >= 1, got -3; the configuration is refused"


def test_a_misspelt_key_gets_the_nearest_known_one() -> None:
    text = refusal(lambda: config_of(changed("strategies.ibs", "max_postions", 3)))
    assert "did you mean max_positions?" in text


REFUSED_VALUES = [
    ("strategies.ibs", "mode", "lve", "strategies.ibs.mode: expected one of dry, live, paper, got 'lve'"),
    ("strategies.ibs", "enabled", "yes", "strategies.ibs.enabled: expected true or false"),
    ("strategies.ibs", "reject_after_s", 31, "strategies.ibs.reject_after_s: expected an int >= 1 and <= 30"),
    ("strategies.ibs", "instruments", [], "strategies.ibs.instruments: expected at least one"),
    ("strategies.ibs", "instruments", ["ES", "ES"], "strategies.ibs.instruments[1]: ES is listed twice"),
    ("strategies.ibs", "instruments", ["NG"], "strategies.ibs.instruments[0]: unknown instrument 'NG'"),
    ("strategies.ibs", "instruments", ["PL"], "strategies.ibs.instruments[0]: PL is reference: true"),
    ("strategies.ibs", "max_instruments", 1, "strategies.ibs.instruments: expected at most max_instruments (1)"),
    ("strategies.ibs", "no_entry_windows", ["8:30"], "strategies.ibs.no_entry_windows[0]: expected Chicago times"),
    ("strategies.ibs", "entry_windows", ["8:30"], "strategies.ibs.entry_windows[0]: expected Chicago times such as"),
    (
        "strategies.ibs",
        "entry_windows",
        [["08:30", "09:00"]],
        'strategies.ibs.entry_windows[0]: expected Chicago times such as "08:25',
    ),
    (
        "strategies.ibs",
        "entry_windows",
        "08:30-09:00",
        "strategies.ibs.entry_windows: expected a list, each Chicago times such as",
    ),
    (
        "strategies.ibs",
        "auto_close",
        ["15:00"],
        'strategies.ibs.auto_close: expected a Chicago time such as "15:00", or off',
    ),
    ("strategies.ibs", "retrain", ["daily"], "strategies.ibs.retrain: expected a mapping"),
    ("strategies.ibs", "retrain", {"dat": "x"}, "strategies.ibs.retrain.dat: unknown key"),
    ("strategies.ibs", "order_symbol", {"ES": "PL"}, "strategies.ibs.order_symbol.ES: PL is reference: true"),
    ("strategies.ibs", "order_symbol", {"ES": "NQ"}, "strategies.ibs.order_symbol: the orders of ES and NQ"),
    ("strategies.ibs", "order_symbol", {"ES": "GC"}, "strategies.ibs.order_symbol.ES: expected a product with the"),
    ("strategies.ibs", "overrides", {"PL": {}}, "strategies.ibs.overrides.PL: unknown instrument of this strategy"),
    ("strategies.ibs.strategy_params", "x", [1], "strategies.ibs.strategy_params.x: expected a number, a text"),
    ("strategies", "My-Alpha", {"instruments": ["ES"]}, "strategies.My-Alpha: expected a name of a-z, 0-9 and _"),
    ("instruments", "XYZ", {"margin": 1}, "instruments.XYZ: XYZ is not a product rooney knows, so commission,"),
    ("instruments", "es", {}, "instruments.es: expected a root such as ES"),
    ("instruments.ES", "multiplier", 5, "instruments.ES.multiplier: expected 50, which is what the exchange says of"),
    ("instruments.ES", "tick_size", 0.5, "instruments.ES.tick_size: expected 0.25, which is what the exchange says"),
    ("instruments.ES", "databento_product_id", "NQ.FUT", "instruments.ES.databento_product_id: expected ES.FUT"),
    ("instruments.ES", "tradovate_symbol", "MES", "instruments.ES.tradovate_symbol: expected ES, got 'MES'"),
    ("data_hub", "feed_dead_s", 5, "data_hub.feed_dead_s: expected more than heartbeat_interval_s (5)"),
    ("data_hub", "heartbeat_interval_s", 4, "data_hub.heartbeat_interval_s: expected an int >= 5 and <= 1800"),
    ("data_hub", "publish_channels", ["bars"], "data_hub.publish_channels[0]: expected market"),
    ("data_hub", "redis_host", "${A-B}", "data_hub.redis_host: expected ${NAME}"),
    ("databento", "dataset", "XNAS.ITCH", "databento.dataset: expected GLBX.MDP3"),
    ("dashboard", "strategies", ["ibz"], "dashboard.strategies[0]: unknown strategy 'ibz'; did you mean ibs?"),
]


@pytest.mark.parametrize(("path", "key", "value", "text"), REFUSED_VALUES, ids=lambda v: str(v)[:30])
def test_a_wrong_value_is_refused(path: str, key: str, value: object, text: str) -> None:
    assert refusal(lambda: config_of(changed(path, key, value))).startswith(text)


def test_a_file_without_instruments_is_refused() -> None:
    assert refusal(lambda: config_of({})).startswith("instruments: expected at least one")


def test_an_unknown_product_with_all_its_facts_is_an_instrument() -> None:
    facts = {"commission": 2.0, "margin": 900, "multiplier": 10, "tick_size": 0.1}
    instrument = config_of(changed("instruments", "M2X", facts)).instruments()["M2X"]
    assert (instrument.commission, instrument.margin, instrument.multiplier, instrument.tick_size) == (2, 900, 10, 0.1)


def test_margin_and_commission_are_the_users() -> None:
    tree = changed("instruments", "ES", {"margin": 25_000, "commission": 3.1})
    assert (config_of(tree).instruments()["ES"].margin, config_of(tree).instruments()["ES"].commission) == (25_000, 3.1)


def test_off_switches_the_drawdown_halt_off(tmp_path: Path) -> None:
    config = loaded(tmp_path, yaml.safe_dump(BASE).replace("  ibs:\n", "  ibs:\n    drawdown_halt: off\n"))
    assert config.strategy("ibs").settings.drawdown_halt is None


# -- YAML ---------------------------------------------------------------------------------------------------------


def test_a_key_given_twice_is_refused_with_its_path_and_lines(tmp_path: Path) -> None:
    text = refusal(lambda: loaded(tmp_path, "instruments:\n  ES: {size: 1}\n  NQ: {}\n  ES: {size: 2}\n"))
    assert text.startswith("instruments.ES: given twice, in lines 2 and 4;")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "a: [",
        "a: &x {b: *x}",
        "!!python/object/apply:os.getcwd []",
        "a: !x b",
        "a: !!bool b",
        "a: !!timestamp b",
        "a: " + "[" * 5000,
        "? [a]\n: b",
        "a: 2024-99-99",
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    refusal(lambda: loaded(tmp_path, text))


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    assert str(tmp_path / "none.yml") in refusal(lambda: load_config(tmp_path / "none.yml"))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in refusal(lambda: load_config(tmp_path / "config.yml"))


# -- overrides on the command line --------------------------------------------------------------------------------


def test_an_override_changes_one_key() -> None:
    config = load_config(SHIPPED, ["strategies.ibs.max_positions=3", "strategies.ibs.instruments=[ES, CL]"])
    assert (config.strategy("ibs").settings.max_positions, list(config.strategy("ibs").traded)) == (3, ["ES", "CL"])


def test_an_override_may_open_a_block_that_was_not_there() -> None:
    config = load_config(SHIPPED, ["strategies.ibs.overrides.ES.size=2"])
    assert config.strategy("ibs").traded["ES"].size == 2


def test_an_override_does_not_reach_a_block_that_shares_an_anchor(tmp_path: Path) -> None:
    text = "instruments: {ES: {}}\nstrategies:\n  a: &a {instruments: [ES], strategy_params: {x: 1}}\n  b: *a\n"
    (tmp_path / "config.yml").write_text(text, encoding="utf-8")
    config = load_config(tmp_path / "config.yml", ["strategies.a.strategy_params.x=2"])
    assert config.strategy("b").settings.strategy_params == {"x": 1}


@pytest.mark.parametrize(
    ("assignment", "text"),
    [
        ("strategies.ibz.max_positions=3", "strategies.ibz: unknown name in strategies 'ibz'; did you mean ibs?"),
        ("strategies.new={instruments: [ES]}", "strategies.new: unknown name in strategies"),
        ("instruments.XX.size=2", "instruments.XX: unknown name in instruments"),
        ("strategies.ibs.max_postions=3", "strategies.ibs.max_postions: unknown key"),
        ("strategy.ibs.mode=dry", "strategy: unknown key 'strategy'; did you mean strategies?"),
        ("strategies.ibs.max_positions.x=3", "strategies.ibs.max_positions: expected a mapping"),
        ("strategies.ibs.mode={a: 1, a: 2}", "strategies.ibs.mode.a: given twice"),
        ("strategies.ibs.mode=[", "strategies.ibs.mode: "),
        ("dashboard={}", "dashboard: expected section.key=value"),
        ("max_positions", "--set: expected section.key=value"),
    ],
)
def test_an_override_of_nothing_known_is_refused(assignment: str, text: str) -> None:
    assert refusal(lambda: load_config(SHIPPED, [assignment])).startswith(text)


# -- one strategy's view ------------------------------------------------------------------------------------------


def test_a_strategys_override_changes_its_own_instrument_only() -> None:
    ibs = config_of(BASE).strategy("ibs")
    assert (ibs.traded["NQ"].size, ibs.instruments["NQ"].size) == (3, 1)


def test_orders_in_another_product_have_its_own_money() -> None:
    order = config_of(BASE).strategy("breakout").traded["ES"]
    assert (order.root, order.multiplier, order.commission) == ("MES", 5.0, 1.0)


def test_a_block_may_name_the_file_it_runs() -> None:
    assert config_of(changed("strategies.ibs", "strategy", "breakout")).strategy("ibs").strategy == "breakout"


def test_models_are_looked_for_beside_the_configuration() -> None:
    assert load_config(SEED).strategy("ibs").models_path == SEED.parent / "src/models/ibs"


def test_a_strategy_switched_off_refuses_to_start_but_can_be_looked_at() -> None:
    config = config_of(changed("strategies.ibs", "enabled", False))
    assert config.strategy("ibs").name == "ibs"
    assert refusal(lambda: config.worker("ibs")).startswith("strategies.ibs.enabled: ")


def test_an_unknown_strategy_is_refused_with_the_nearest_name() -> None:
    assert "did you mean breakout?" in refusal(lambda: config_of(BASE).worker("breakuot"))
    assert "did you mean breakout?" in refusal(lambda: config_of(BASE).account("breakuot"))


def test_stops_inside_the_bar_need_the_broker_to_hold_them() -> None:
    tree = changed("strategies.ibs", "stop_fill", "inside")
    assert config_of(tree).strategy("ibs").settings.stop_fill == "inside"
    assert refusal(lambda: config_of(tree).worker("ibs")).startswith("strategies.ibs.stop_fill: ")
    at(tree, "strategies.ibs")["broker_stop"] = True
    assert config_of(tree).worker("ibs").strategy.settings.broker_stop


# -- strategy parameters ------------------------------------------------------------------------------------------

DECLARED: dict[str, tuple[Scalar, float | None, float | None]] = {
    "time_stop_bars": (8, 0, 1000),
    "entry_high": (0.2, 0.0, 1.0),
    "gate": (True, None, None),
    "setting": ("inside", None, None),
}


def test_what_is_not_given_has_the_declared_default() -> None:
    assert check_params("p", {}, DECLARED) == {
        "time_stop_bars": 8,
        "entry_high": 0.2,
        "gate": True,
        "setting": "inside",
    }


def test_an_int_for_a_number_becomes_a_float() -> None:
    value = check_params("p", {"entry_high": 1}, DECLARED)["entry_high"]
    assert (value, type(value)) == (1.0, float)


@pytest.mark.parametrize(
    ("given_params", "text"),
    [
        ({"time_stop_bars": 2.5}, "p.time_stop_bars: expected an int >= 0 and <= 1000, got 2.5"),
        ({"time_stop_bars": True}, "p.time_stop_bars: expected an int >= 0 and <= 1000, got true"),
        ({"time_stop_bars": 1001}, "p.time_stop_bars: expected an int >= 0 and <= 1000, got 1001"),
        ({"entry_high": float("nan")}, "p.entry_high: expected a number"),
        ({"entry_high": "0.2"}, "p.entry_high: expected a number"),
        ({"gate": 1}, "p.gate: expected true or false, got 1"),
        ({"setting": 1}, "p.setting: expected a text, got 1"),
        ({"entry_hihg": 0.1}, "p.entry_hihg: unknown parameter 'entry_hihg'; did you mean entry_high?"),
        ({"max_bars_in_trade": -1}, "p.max_bars_in_trade: expected an int >= 0"),
    ],
)
def test_a_parameter_outside_its_declaration_is_refused(given_params: dict[str, Scalar], text: str) -> None:
    assert refusal(lambda: check_params("p", given_params, DECLARED)).startswith(text)


def test_the_seeds_max_bars_in_trade_overrides_the_time_stop() -> None:
    params = check_params("p", {"max_bars_in_trade": 100, "time_stop_bars": 3}, DECLARED)
    assert params["time_stop_bars"] == 100


def test_max_bars_in_trade_is_unknown_to_a_strategy_without_a_time_stop() -> None:
    declared = {"gate": DECLARED["gate"]}
    assert "unknown parameter" in refusal(lambda: check_params("p", {"max_bars_in_trade": 100}, declared))


def test_an_instruments_own_parameter_wins_over_the_strategys() -> None:
    ibs = config_of(BASE).strategy("ibs")
    bars = [ibs.params(DECLARED, symbol)["time_stop_bars"] for symbol in (None, "ES", "NQ")]
    assert bars == [100, 100, 5]


# -- ${NAME} ------------------------------------------------------------------------------------------------------


def test_nothing_is_resolved_before_it_is_used() -> None:
    config = load_config(SHIPPED, environ={})
    assert config.strategy("ibs").instruments and config.data_hub().redis_port == 6379


def test_a_worker_needs_no_other_secret_than_its_own() -> None:
    config = load_config(SHIPPED, environ={"TRADERSPOST_IBS_WEBHOOK": IBS_URL})
    account = config.worker("ibs").account
    assert account is not None and account.url.reveal() == IBS_URL


def test_the_hub_needs_no_webhook() -> None:
    hub = load_config(SHIPPED, environ={"DATABENTO_API_KEY": API_KEY}).hub()
    assert hub.databento.api_key.reveal() == API_KEY


@pytest.mark.parametrize("environ", [{}, {"TRADERSPOST_IBS_WEBHOOK": ""}])
def test_a_missing_variable_is_named_with_the_key_that_wants_it(environ: dict[str, str]) -> None:
    text = refusal(lambda: load_config(SHIPPED, environ=environ).worker("ibs"))
    assert text.startswith("strategies.ibs.broker_account: the environment variable TRADERSPOST_IBS_WEBHOOK is not set")


def test_an_ordinary_value_takes_the_variables_text_in_its_own_type() -> None:
    tree = changed("data_hub", "redis_port", "${REDIS_PORT}")
    assert config_of(tree, {"REDIS_PORT": "6380"}).data_hub().redis_port == 6380


def test_an_ordinary_value_takes_its_default_where_the_variable_is_missing() -> None:
    tree = changed("data_hub", "redis_host", "${REDIS_HOST:-redis.local}")
    assert config_of(tree, {}).data_hub().redis_host == "redis.local"


def test_a_strategy_parameter_from_a_variable_is_a_number_where_it_looks_like_one() -> None:
    tree = changed("strategies.ibs", "strategy_params", {"x": "${X}"})
    assert config_of(tree, {"X": "20"}).strategy("ibs").settings.strategy_params == {"x": 20}


def test_a_variable_that_does_not_fit_is_refused_without_its_value() -> None:
    tree = changed("data_hub", "redis_port", "${REDIS_PORT}")
    text = refusal(lambda: config_of(tree, {"REDIS_PORT": "sesame"}).data_hub())
    assert text.startswith("data_hub.redis_port: expected an int") and "sesame" not in text


def test_what_hangs_on_a_variable_is_checked_when_it_is_known() -> None:
    tree = changed("data_hub", "feed_dead_s", "${DEAD}")
    assert refusal(lambda: config_of(tree, {"DEAD": "3"}).data_hub()).startswith("data_hub.feed_dead_s: expected more")


# -- credentials and modes ----------------------------------------------------------------------------------------


def credentials(tmp_path: Path, **files: str) -> dict[str, str]:
    """An environment whose credentials directory holds `files`."""
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return {"CREDENTIALS_DIRECTORY": str(tmp_path)}


def url_of(config: Config, name: str = "ibs") -> str:
    """Where the worker would send."""
    account = config.worker(name).account
    assert account is not None
    return account.url.reveal()


def test_a_credential_comes_before_the_environment(tmp_path: Path) -> None:
    environ = ENVIRON | credentials(tmp_path, broker_account=BREAKOUT_URL + "\n", databento_api_key="db-other")
    config = load_config(SHIPPED, environ=environ)
    assert (url_of(config), config.hub().databento.api_key.reveal()) == (BREAKOUT_URL, "db-other")


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_credential_is_refused(tmp_path: Path, text: str) -> None:
    config = load_config(SHIPPED, environ=ENVIRON | credentials(tmp_path, broker_account=text))
    assert "the credential broker_account is empty" in refusal(lambda: config.worker("ibs"))


def test_paper_uses_the_paper_account_and_live_the_other() -> None:
    tree = changed("strategies.ibs", "paper_account", "${TRADERSPOST_BREAKOUT_WEBHOOK}")
    live = copy.deepcopy(tree)
    at(live, "strategies.ibs")["mode"] = "live"
    assert (url_of(config_of(tree)), url_of(config_of(live))) == (BREAKOUT_URL, IBS_URL)


def test_a_paper_account_that_cannot_be_resolved_never_becomes_the_live_one(tmp_path: Path) -> None:
    tree = changed("strategies.ibs", "paper_account", "${NOT_SET}")
    environ = ENVIRON | credentials(tmp_path, broker_account=IBS_URL)
    assert refusal(lambda: config_of(tree, environ).worker("ibs")).startswith("strategies.ibs.paper_account: ")


def test_live_never_uses_the_paper_account() -> None:
    tree = changed("strategies.ibs", "paper_account", "${TRADERSPOST_BREAKOUT_WEBHOOK}")
    at(tree, "strategies.ibs")["mode"] = "live"
    del at(tree, "strategies.ibs")["broker_account"]
    assert refusal(lambda: config_of(tree).worker("ibs")).startswith("strategies.ibs.broker_account: mode live needs")


def test_dry_needs_no_account() -> None:
    assert config_of(changed("strategies.ibs", "mode", "dry"), {}).worker("ibs").account is None


# -- webhooks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:1", "[::1]:8080"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    assert open_account("p", Secret(f"http://{host}/trading/webhook/a/b")).path == "p"


@pytest.mark.parametrize(
    "url",
    [
        IBS_URL.replace("https", "http"),
        IBS_URL.replace("https", "ftp"),
        IBS_URL.replace("https://", ""),
        IBS_URL.replace("https://", "https://me:pw@"),
        IBS_URL.replace("webhooks.traderspost.io", "..."),
        IBS_URL.replace("webhooks.traderspost.io", "[::1"),
        IBS_URL.replace("webhooks.traderspost.io", "a.io:99999"),
        IBS_URL + "#x",
        IBS_URL + " x",
        IBS_URL + "\nx",
        IBS_URL + "ä",
        "https://webhooks.traderspost.io/",
    ],
)
def test_a_bad_webhook_is_refused_and_not_shown(url: str) -> None:
    text = refusal(lambda: open_account("strategies.ibs.broker_account", Secret(url)))
    assert text.startswith("strategies.ibs.broker_account: the webhook URL …")
    assert PASSWORD not in text and UUID not in text and "webhooks" not in text


def test_at_most_four_characters_of_the_uuid_are_shown() -> None:
    assert open_account("p", Secret(IBS_URL)).hint == "…6666"


def test_two_strategies_on_one_webhook_are_found_and_the_url_is_not_shown() -> None:
    config = config_of(BASE, ENVIRON | {"TRADERSPOST_BREAKOUT_WEBHOOK": IBS_URL.replace("webhooks", "Webhooks")})
    errors = [found for found in check_findings(config, NOWHERE) if found.level == "error"]
    assert len(errors) == 1 and "'ibs' and 'breakout' use the same webhook" in errors[0].text
    assert UUID not in str(errors)


def test_accounts_of_their_own_are_not_shared() -> None:
    accounts = {"a": Account("p", Secret(IBS_URL)), "b": Account("p", Secret(BREAKOUT_URL))}
    assert shared(accounts) == []


def test_a_second_worker_on_an_account_is_refused_naming_the_first(tmp_path: Path) -> None:
    with AccountLock(Account("strategies.ibs.broker_account", Secret(IBS_URL)), "ibs", tmp_path):
        second = Account("strategies.twin.broker_account", Secret(IBS_URL))
        text = refusal(lambda: AccountLock(second, "twin", tmp_path))
    assert text.startswith("strategies.twin.broker_account: 'twin' would trade the account …6666 that 'ibs'")
    assert UUID not in text and PASSWORD not in text


def test_an_account_is_free_again_when_its_worker_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from rooney.config.account_sharing import Account\n"
        "from rooney.execution.account_lock import AccountLock\n"
        "from rooney.secrets import Secret\n"
        "lock = AccountLock(Account('p', Secret(sys.argv[1])), 'ibs', Path(sys.argv[2]))\n"
        "print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, IBS_URL, str(tmp_path)]
    with child(command, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout.readline() == b"held\n"
        account = Account("p", Secret(IBS_URL))
        assert f"process {holder.pid}" in refusal(lambda: AccountLock(account, "twin", tmp_path))
    AccountLock(account, "twin", tmp_path).close()


def test_a_lock_file_does_not_carry_the_url(tmp_path: Path) -> None:
    with AccountLock(Account("p", Secret(IBS_URL)), "ibs", tmp_path):
        (path,) = tmp_path.iterdir()
        assert UUID not in path.name + path.read_text(encoding="utf-8")


def test_a_lock_that_cannot_be_made_is_a_refusal_to_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    text = refusal(lambda: AccountLock(Account("p", Secret(IBS_URL)), "ibs", tmp_path / "file"))
    assert text.startswith("p: the account's lock cannot be made")


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({"ROONEY_RUNTIME_DIRECTORY": "/a", "RUNTIME_DIRECTORY": "/run/rooney/ibs"}, "/a"),
        ({"RUNTIME_DIRECTORY": "/run/rooney/ibs:/run/other", "XDG_RUNTIME_DIR": "/u"}, "/run/rooney"),
        ({"XDG_RUNTIME_DIR": "/run/user/1"}, "/run/user/1/rooney"),
    ],
)
def test_workers_meet_in_one_runtime_directory(environ: dict[str, str], directory: str) -> None:
    assert runtime_directory(environ) == Path(directory)


@pytest.fixture
def shared_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the fallback of the locks' directory would lie, in a /tmp that everybody writes to."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"rooney-{os.getuid()}"


def test_the_directory_in_tmp_is_its_users_alone(shared_tmp: Path) -> None:
    assert (runtime_directory({}), shared_tmp.stat().st_mode & 0o777) == (shared_tmp, 0o700)
    shared_tmp.chmod(0o770)  # of an earlier version
    assert (runtime_directory({}), shared_tmp.stat().st_mode & 0o777) == (shared_tmp, 0o700)


def test_a_directory_in_tmp_that_is_a_link_is_refused(shared_tmp: Path) -> None:
    (shared_tmp.parent / "elsewhere").mkdir()
    shared_tmp.symlink_to("elsewhere")
    assert "found another's or a link; not starting" in refusal(lambda: runtime_directory({}))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_directory_in_tmp_that_somebody_else_made_is_refused(shared_tmp: Path) -> None:
    shared_tmp.mkdir()
    os.chown(shared_tmp, 65_534, 65_534)
    assert "found another's or a link; not starting" in refusal(lambda: runtime_directory({}))


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    account = Account("p", Secret(IBS_URL))
    (tmp_path / f"{account.digest}.lock").symlink_to("precious")
    assert refusal(lambda: AccountLock(account, "ibs", tmp_path)).startswith("p: the account's lock cannot be made")
    assert (tmp_path / "precious").read_text() == "mine"


# -- no secret is shown -------------------------------------------------------------------------------------------


def error_said(act: Callable[[], object]) -> str:
    """All that the refusal of `act` lets out, its traceback included; nothing if it is accepted."""
    try:
        act()
    except ConfigError as error:
        return "".join(traceback.format_exception(error)) + repr(error)
    return ""


def use(tree: dict[str, Any], environ: dict[str, str]) -> list[object]:
    """Load and resolve everything there is."""
    config = config_of(tree, environ)
    return [config, check_findings(config, NOWHERE), config.hub(), *(config.worker(name) for name in config.names)]


def keys_of(tree: dict[str, Any], path: str = "") -> list[tuple[str, str]]:
    """(path, key) of everything in a tree."""
    found = []
    for key, value in tree.items():
        found.append((path, key))
        if isinstance(value, dict):
            found += keys_of(value, f"{path}.{key}".strip("."))
    return found


@pytest.mark.parametrize("as_key", [False, True], ids=["as a value", "as a key"])
@pytest.mark.parametrize("secret", [IBS_URL, API_KEY, PASSWORD], ids=["webhook", "api key", "password"])
@pytest.mark.parametrize(("path", "key"), keys_of(BASE), ids=str)
def test_a_secret_at_a_wrong_place_is_not_shown(path: str, key: str, secret: str, as_key: bool) -> None:
    tree = copy.deepcopy(BASE)
    block = at(tree, path) if path else tree
    if as_key:
        block[secret] = block.pop(key)
    else:
        block[key] = secret
    said = error_said(lambda: use(tree, ENVIRON))
    assert PASSWORD not in said and API_KEY not in said and UUID not in said


def test_a_secret_in_a_tag_that_holds_a_quote_is_not_shown(tmp_path: Path) -> None:
    """PyYAML then quotes the tag with the other kind of quotes."""
    path = tmp_path / "c.yml"
    path.write_text(f"data_hub:\n  !{IBS_URL}' x: 1\n", encoding="utf-8")
    said = error_said(lambda: load_config(path, environ=ENVIRON))
    assert "this is not YAML" in said
    assert PASSWORD not in said


@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_a_secret_anywhere_in_the_text_is_not_shown(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    lines = text[text.index("data_hub:") :].splitlines()
    index = data.draw(st.integers(0, len(lines) - 1))
    column = data.draw(st.integers(0, len(lines[index])))
    before = data.draw(st.sampled_from(["", " ", "!", "&", "*", "'", '"', "? ", "- ", "${", "%", "@", "|"]))
    after = data.draw(st.sampled_from(["", " ", ": ", ": x", "'", "}", ", "]))
    lines[index] = lines[index][:column] + before + IBS_URL + after + lines[index][column:]
    path = tmp_path_factory.getbasetemp() / "fuzzed.yml"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert PASSWORD not in error_said(lambda: load_config(path, environ=ENVIRON))


def test_resolved_parts_do_not_show_their_secrets() -> None:
    said = repr(use(BASE, ENVIRON)) + str(Secret(IBS_URL)) + f"{Secret(IBS_URL)}"
    assert PASSWORD not in said and API_KEY not in said


def test_an_unresolved_secret_shows_its_variable() -> None:
    assert repr(Secret("${TRADERSPOST_IBS_WEBHOOK}")) == "Secret(${TRADERSPOST_IBS_WEBHOOK})"


# -- findings -----------------------------------------------------------------------------------------------------


def levels(findings: list[Finding]) -> dict[str, str]:
    """path → level"""
    return {found.path: found.level for found in findings}


def test_the_old_heartbeat_keys_give_one_warning_naming_the_watchdog() -> None:
    found = [found for found in file_findings(load_config(SEED)) if found.path.startswith("data_hub")]
    assert len(found) == 1 and found[0].level == "warning" and "WatchdogSec" in found[0].text


def test_placeholder_margins_are_one_warning_naming_the_roots() -> None:
    tree = changed("instruments", "NQ", {"margin": 30_000})
    (found,) = [found for found in file_findings(config_of(tree)) if found.path == "instruments"]
    assert found.level == "warning" and "margin of ES, PL is a placeholder" in found.text


def test_a_literal_secret_is_accepted_and_warned_about() -> None:
    config = config_of(changed("strategies.ibs", "broker_account", IBS_URL), {})
    assert url_of(config) == IBS_URL
    assert levels(file_findings(config))["strategies.ibs.broker_account"] == "warning"


def test_a_secret_as_a_default_is_a_literal_secret() -> None:
    config = config_of(changed("databento", "api_key", "${KEY:-db-123}"))
    assert levels(file_findings(config))["databento.api_key"] == "warning"


def test_paper_orders_to_the_only_account_are_warned_about() -> None:
    assert levels(worker_findings(config_of(BASE).worker("ibs"))) == {"strategies.ibs.paper_account": "warning"}


def test_paper_orders_to_a_credential_of_their_own_are_not_warned_about(tmp_path: Path) -> None:
    config = config_of(BASE, credentials(tmp_path, broker_account=IBS_URL, paper_account=BREAKOUT_URL))
    assert (url_of(config), worker_findings(config.worker("ibs"))) == (BREAKOUT_URL, [])


def test_old_defects_with_money_are_warned_about() -> None:
    tree = changed("strategies.ibs", "profile", "v1")
    at(tree, "strategies.ibs")["mode"] = "live"
    assert levels(worker_findings(config_of(tree).worker("ibs"))) == {"strategies.ibs.profile": "warning"}


def test_one_url_for_paper_and_live_is_an_error() -> None:
    tree = changed("strategies.ibs", "paper_account", "${TRADERSPOST_IBS_WEBHOOK}")
    assert levels(file_findings(config_of(tree)))["strategies.ibs.paper_account"] == "error"


def test_a_disabled_strategy_is_a_note_and_its_secrets_are_not_asked_for() -> None:
    tree = changed("strategies.breakout", "enabled", False)
    del at(tree, "strategies.breakout")["broker_account"]
    found = levels(check_findings(config_of(tree), NOWHERE))
    assert found["strategies.breakout.enabled"] == "note"
    assert "strategies.breakout.broker_account" not in found


def test_every_missing_variable_is_an_error_of_its_key() -> None:
    found = levels(check_findings(config_of(BASE, {}), NOWHERE))
    wanted = ("databento.api_key", "strategies.ibs.broker_account", "strategies.breakout.broker_account")
    assert [found.get(path) for path in wanted] == ["error"] * 3


def test_an_operators_check_compares_the_credentials_of_all_strategies(tmp_path: Path) -> None:
    credentials(tmp_path, **{"ibs.broker_account": IBS_URL, "breakout.broker_account": IBS_URL})
    errors = [found.text for found in check_findings(config_of(BASE), tmp_path) if found.level == "error"]
    assert len(errors) == 1 and "use the same webhook" in errors[0]


def test_closed_credentials_are_said_instead_of_missing_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root, which CI is, may read everything
    found = check_findings(config_of(BASE, {}), tmp_path)
    assert "error" not in levels(found).values() and levels(found)["credentials"] == "warning"


# -- the environment file -----------------------------------------------------------------------------------------


def env_file(tmp_path: Path, text: str) -> Path:
    """An environment file with `text`."""
    path = tmp_path / ".env"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b c", "b c"),
        ("export A=b", "b"),
        ("  A= b  # why", "b"),
        ("A=b#c", "b#c"),
        ("A=", ""),
        ("A=  # nothing", ""),
        ("A='b # \"c\\n'  # why", 'b # "c\\n'),
        ('A="b # \\"c\\\\ \\n"', 'b # "c\\ \n'),
        ("A=x=y", "x=y"),
    ],
)
def test_a_line_of_an_environment_file_means_what_a_shell_would_mean(tmp_path: Path, line: str, value: str) -> None:
    environ: dict[str, str] = {}
    assert read_env_file(env_file(tmp_path, f"# first\n\n{line}\n"), environ) == ["A"]
    assert environ == {"A": value}


def test_a_variable_already_set_is_kept(tmp_path: Path) -> None:
    environ = {"A": "mine"}
    assert read_env_file(env_file(tmp_path, "A=theirs\nB=2\n"), environ) == ["B"]
    assert environ == {"A": "mine", "B": "2"}


@pytest.mark.parametrize("line", [IBS_URL, f"A B={IBS_URL}", f"A='{IBS_URL}", f'A="{IBS_URL}" x', f"={IBS_URL}"])
def test_a_wrong_line_is_named_by_number_and_not_shown(tmp_path: Path, line: str) -> None:
    environ: dict[str, str] = {}
    text = refusal(lambda: read_env_file(env_file(tmp_path, f"GOOD=1\n{line}\n"), environ))
    assert "line 2" in text and PASSWORD not in text
    assert environ == {}
