"""`rooney config migrate`: the old system's configuration becomes one that is accepted, and nothing is lost unsaid.

The keys of OLD are all that the old system read from its deployed file (its commit 346a55d), with the values there.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from rooney.cli import cli
from rooney.config.loader import load_config
from rooney.errors import ConfigError
from rooney.ops.host_check import findings
from rooney.ops.migrate_config import KEYS, PARAMETERS, Key, Note, check_migrated, migrate
from tests.support.paths import ROOT

TRADED = ["6A", "6B", "6C", "6M", "6N", "6S", "CL", "HG", "SI"]
ROOTS = [*TRADED, "6E", "6J", "ES", "GC", "NG", "NQ", "PL", "RTY", "TLT", "YM"]
OLD: dict[str, Any] = {
    "contract_map": "Data/Databento_contract_map.yml",
    "models_path": "src/models",
    "symbols": ROOTS,
    "databento_api_key": "${DATABENTO_API_KEY}",
    "traderspost_webhook": "${TRADERSPOST_WEBHOOK_URL}",
    "discord_webhook_url": "${DISCORD_WEBHOOK_URL}",
    "killswitch": "${POLICY_KILLSWITCH}",
    "portfolio": {"max_positions": 2, "daily_stop_loss": 2500, "instruments": TRADED},
    "starting_cash": 250000,
    "backfill": True,
    "backfill_days": 4,
    "load_historical_warmup": True,
    "historical_lookback_days": 252,
    "historical_warmup_compression": "1h",
    "resample_session_start": "23:00",
    "queue_maxsize": 4096,
    "heartbeat_interval": 30,
    "heartbeat_file": "/var/run/pine/worker_heartbeat.json",
    "heartbeat_write_interval": 30,
    "poll_interval": 1.0,
    "preflight": {"enabled": True, "skip_ml_validation": False, "skip_connection_checks": True, "fail_fast": True},
    "contracts": {root: {"size": 1} for root in ROOTS},
}
DOC = (ROOT / "docs" / "CONFIG_MIGRATION.md").read_text()


def block(old: dict[str, Any]) -> dict[str, Any]:
    made = migrate(old, "config.yml")
    check_migrated(made)
    found: dict[str, Any] = yaml.safe_load(made.text)["strategies"]["ibs"]
    return found


def notes(old: dict[str, Any]) -> dict[str, Note]:
    return {note.key: note for note in migrate(old, "config.yml").notes}


def with_overrides(root: str = "CL", **overrides: Any) -> dict[str, Any]:
    return OLD | {"contracts": {root: {"size": 1, "strategy_overrides": overrides}}}


def run(*argv: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in argv])


def leaves(tree: dict[str, Any]) -> set[str]:
    opened = {key for key in ("portfolio", "preflight") if key in tree}
    inner = {f"{section}.{key}" for section in opened for key in tree[section]}
    contracts = {f"contracts.{root}.{key}" for root, block in tree["contracts"].items() for key in block}
    return {key for key in tree if key not in opened | {"contracts"}} | inner | contracts


def test_the_deployed_file_becomes_one_that_check_accepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yml").write_text(yaml.safe_dump(OLD))
    made = run("config", "migrate", tmp_path / "config.yml", "--out", tmp_path / "new.yml")
    assert made.exit_code == 1, made.output  # there are secrets to set
    monkeypatch.setenv("DATABENTO_API_KEY", "db-x")
    monkeypatch.setenv("TRADERSPOST_IBS_WEBHOOK", "https://webhooks.traderspost.io/trading/webhook/1/2")
    found = findings(load_config(tmp_path / "new.yml"), online=False, now_ns=lambda: 0, store=tmp_path / "none")
    assert [finding for finding in found if finding.level == "error"] == []


def test_it_keeps_the_limits_and_the_trading_list() -> None:
    found = block(OLD)
    wanted = {"max_positions": 2, "daily_stop_loss": 2500, "starting_cash": 250000, "instruments": TRADED}
    assert {key: found[key] for key in wanted} == wanted
    assert (found["mode"], found["on_missing_model"]) == ("paper", "refuse")


def test_what_was_loaded_and_not_traded_is_data_only_where_the_new_system_does_not_trade_it_either() -> None:
    written = yaml.safe_load(migrate(OLD, "config.yml").text)["instruments"]
    assert [root for root in written if written[root].get("reference")] == ["6E", "6J", "PL", "ZB"]
    assert set(written) == set(ROOTS) - {"TLT"} | {"ZB"}


def test_without_a_trading_list_all_that_was_loaded_and_can_trade_trades() -> None:
    found = block(OLD | {"portfolio": {"max_positions": 3, "daily_stop_loss": 1000}})
    assert found["instruments"] == [root for root in ROOTS if root not in ("6E", "6J", "PL", "TLT")]


def test_every_key_of_the_file_is_named_and_so_is_one_that_never_was_a_key() -> None:
    old = OLD | {"polling": 3}
    assert set(notes(old)) == leaves(old)
    assert (notes(old)["polling"].became, notes(OLD)["contract_map"].became) == ("look", "replaced")


def test_no_secret_of_the_old_file_is_written_or_said() -> None:
    secret = {
        "databento_api_key": "db-SECRET",
        "traderspost_webhook": "https://w.io/SECRET",
        "discord_webhook": "SECRET",
    }
    made = migrate(OLD | secret, "config.yml")
    assert "SECRET" not in made.text + repr(made.notes)
    assert "make a new one" in notes(OLD | secret)["databento_api_key"].text


def test_nothing_of_the_new_file_reaches_the_old_account() -> None:
    assert "TRADERSPOST_WEBHOOK_URL" not in migrate(OLD, "config.yml").text


def test_other_spellings_are_read_as_the_old_system_read_them() -> None:
    spelt = {
        "roots": ["CL"],
        "cash": 5000,
        "traderspost": {"webhook": "${X}"},
        "policy_killswitch": "no",
        "contracts": {},
    }
    assert (block(spelt)["instruments"], block(spelt)["starting_cash"]) == (["CL"], 5000)
    assert notes(spelt)["policy_killswitch"].became == "replaced"
    assert notes(spelt)["traderspost.webhook"].new == "strategies.ibs.broker_account"


def test_a_wrong_multiplier_is_named_and_not_carried() -> None:
    old = OLD | {"contracts": {"6C": {"multiplier": 50000, "commission_per_contract": 2.5}}}
    written = yaml.safe_load(migrate(old, "config.yml").text)["instruments"]["6C"]
    assert written == {"commission": 2.5}
    assert "50000 is not the exchange's 100000" in notes(old)["contracts.6C.multiplier"].text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"ibs_entry_high": 0.15}, {"strategy_params": {"ibs_entry_high": 0.15}}),
        ({"bar_stop_bars": 1}, {"strategy_params": {"time_stop_bars": 2}}),
        ({"enable_stop": False, "stop_perc": 2.0}, {"strategy_params": {"stop_percent": 0.0}}),
        ({"enable_stop": True, "stop_perc": 2.0}, {"strategy_params": {"stop_percent": 2.0}}),
        ({"enable_ibs_exit": False}, {"strategy_params": {"ibs_exit_low": 2.0}}),
        ({"size": 2}, {"size": 2}),
    ],
)
def test_a_parameter_of_one_instrument_stays_its_own(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert block(with_overrides(**old))["overrides"] == {"CL": new}


def test_a_rule_of_one_instrument_that_is_the_strategys_now_is_named_and_not_carried() -> None:
    old = with_overrides(enable_daily_ibs=True, entry_setting="none")
    assert "overrides" not in block(old)
    found = notes(old)
    assert "block of its own" in found["contracts.CL.strategy_overrides.enable_daily_ibs"].text
    assert found["contracts.CL.strategy_overrides.entry_setting"].became == "look"


def test_a_parameter_out_of_its_range_is_refused_by_its_new_name() -> None:
    with pytest.raises(ConfigError, match=r"strategies\.ibs\.overrides\.CL\.strategy_params\.ibs_entry_high"):
        block(with_overrides(ibs_entry_high=20))


def test_instruments_of_other_strategies_are_named_and_left_out() -> None:
    listed = [{"symbol": "CL", "strategy": "AtrBuyDip", "params": {}}, {"symbol": "SI", "strategy": "ibs"}, "HG"]
    old = OLD | {"portfolio": {"max_positions": 2, "daily_stop_loss": 2500, "instruments": listed}}
    assert block(old)["instruments"] == ["SI", "HG"]
    assert "CL traded by AtrBuyDip" in notes(old)["portfolio.instruments[0]"].text


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(yaml.safe_dump(OLD))
    (tmp_path / "new.yml").write_text("mine")
    done = run("config", "migrate", tmp_path / "config.yml", "--out", tmp_path / "new.yml")
    assert isinstance(done.exception, ConfigError) and "nothing was written" in str(done.exception)
    assert (tmp_path / "new.yml").read_text() == "mine"


@pytest.mark.parametrize("text", ["a: [", "- 1", "strategies: {}", "a: 1\na: 2", "\0"])
def test_what_is_not_the_old_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yml").write_text(text)
    done = run("config", "migrate", tmp_path / "config.yml")
    assert isinstance(done.exception, ConfigError)


def test_a_program_gets_the_same(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(OLD))
    done = run("config", "migrate", tmp_path / "config.json", "--json")
    found = json.loads(done.output)
    assert found["exit"] == done.exit_code == 1
    assert found["text"] == migrate(OLD, "config.json").text
    assert {note["key"] for note in found["notes"]} == leaves(OLD)


def table(keys: Mapping[str, Key], heading: str) -> str:
    """One of the tables, as docs/CONFIG_MIGRATION.md shows it."""
    lines = [f"| {heading} | now | |", "|---|---|---|"]
    for name, key in keys.items():
        names = ", ".join(f"`{each}`" for each in (name, *key.aliases))
        lines.append(f"| {names} | {f'`{key.new}`' if key.new else '—'} | {key.why} |")
    return "\n".join(lines) + "\n"


def test_the_documents_tables_are_the_code() -> None:
    assert table(KEYS, "old key") in DOC
    assert table(PARAMETERS, "old parameter") in DOC


def test_the_documents_commands_are_those_tried_here() -> None:
    commands = re.findall(r"^rooney .*", DOC, re.MULTILINE)
    assert commands == [
        "rooney config migrate config.yml --out config.multi_alpha.yml",
        "rooney check --config config.multi_alpha.yml --offline",
    ]


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_an_override_of_null_is_as_if_it_were_not_there(name: str) -> None:
    contracts = {"ES": {"strategy_overrides": {name: None}}}
    old = {"symbols": ["ES"], "portfolio": {"instruments": ["ES"]}, "contracts": contracts}
    made = migrate(old, "old.yml")
    check_migrated(made)
    contracts["ES"] = {}
    assert made == migrate(old, "old.yml")


@pytest.mark.parametrize("name", sorted(name for name in KEYS if "." not in name))
def test_a_key_of_null_is_migrated_and_is_no_secret_in_plain(name: str) -> None:
    old = {"symbols": ["ES"], "portfolio": {"instruments": ["ES"]}} | ({name: None} if name != "symbols" else {})
    made = migrate(old, "old.yml")
    check_migrated(made)
    assert "in plain" not in made.text
