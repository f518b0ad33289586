"""The command line as an operator meets it: exit statuses, errors in one line, secrets never shown."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from rooney.bus.publisher import Publisher
from rooney.cli import main
from rooney.cli.services import demo
from rooney.config.schema import DataHub
from rooney.kernels import jit
from rooney.market.messages import Bar, Minute
from rooney.market.sessions import MINUTE_NS
from rooney.market.tape import Published
from rooney.ops.host_check import is_compiled
from rooney.sim.processes import start_redis
from tests.support.children import child
from tests.support.engines import engine
from tests.support.paths import CONFIG, TESTS

SHIPPED = CONFIG
SEED = TESTS / "data" / "seed_config.yml"
URL = "https://webhooks.traderspost.io/trading/webhook/1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4be{}/4d6f6e6579"
SECRETS = {
    "DATABENTO_API_KEY": "db-0123456789abcdefghijklmnopqrs",
    "TRADERSPOST_IBS_WEBHOOK": URL.format(1),
    "TRADERSPOST_BREAKOUT_WEBHOOK": URL.format(2),
}
TEN_O_CLOCK = 1_773_237_600_000_000_000  # 2026-03-11 14:00 UTC, a Wednesday in session


def _rooney(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key not in SECRETS and not key.startswith("REDIS_")}
    command = [sys.executable, "-m", "rooney", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=clean | environment, timeout=60, check=False)


@pytest.fixture(scope="module")
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("r")
    part = start_redis(directory)
    yield str(directory / "redis.sock")
    part.stop()


def test_check_passes_the_shipped_configuration_with_its_secrets() -> None:
    done = _rooney("check", "--offline", "--config", str(SHIPPED), **SECRETS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok" in done.stdout


def test_check_passes_the_configuration_of_the_first_roadmap() -> None:
    done = _rooney("check", "--offline", "--config", str(SEED), **SECRETS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("watchdog") == 1


def test_check_names_every_secret_that_is_missing() -> None:
    done = _rooney("check", "--offline", "--config", str(SHIPPED))
    assert done.returncode == 78
    for name in SECRETS:
        assert name in done.stdout


def test_check_shows_no_secret() -> None:
    done = _rooney("check", "--offline", "--config", str(SHIPPED), **SECRETS)
    for value in SECRETS.values():
        assert value not in done.stdout + done.stderr
        assert value.rpartition("/")[2] not in done.stdout + done.stderr


def test_check_without_redis_is_attention_not_an_error() -> None:
    done = _rooney("check", "--config", str(SHIPPED), "--set", "data_hub.redis_socket=/nonexistent/r.sock", **SECRETS)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "data_hub" in done.stdout


def test_check_names_a_redis_that_may_lose_what_it_was_given(redis_socket: str) -> None:
    """One that keeps nothing over a restart, and one that would rather drop the tape than refuse a minute."""
    server = Publisher(DataHub(redis_socket=redis_socket))._redis
    lossy = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru", "appendonly": "no"}
    good = {name: server.config_get(name)[name] for name in lossy}
    try:
        for name, value in lossy.items():
            server.config_set(name, value)
        done = _rooney("check", "--config", str(SHIPPED), "--set", f"data_hub.redis_socket={redis_socket}", **SECRETS)
    finally:
        for name, value in good.items():
            server.config_set(name, value)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "set maxmemory-policy noeviction" in done.stdout
    assert "set appendonly yes" in done.stdout


def test_check_as_json_is_one_object() -> None:
    done = _rooney("check", "--offline", "--json", "--config", str(SHIPPED))
    assert json.loads(done.stdout)["exit"] == 78


def test_two_strategies_on_one_webhook_are_refused_by_check() -> None:
    shared = SECRETS | {"TRADERSPOST_BREAKOUT_WEBHOOK": SECRETS["TRADERSPOST_IBS_WEBHOOK"]}
    done = _rooney("check", "--offline", "--config", str(SHIPPED), **shared)
    assert done.returncode == 78
    assert "ibs" in done.stdout
    assert "breakout" in done.stdout


def test_a_wrong_key_is_named_with_its_path_and_the_nearest_known_one() -> None:
    done = _rooney("check", "--offline", "--config", str(SHIPPED), "--set", "strategies.ibs.max_position=3", **SECRETS)
    assert done.returncode == 78
    assert "strategies.ibs.max_position" in done.stderr
    assert "max_positions" in done.stderr


def test_a_misspelt_strategy_parameter_is_named_with_its_path() -> None:
    wrong = "strategies.ibs.strategy_params.time_stop_bar=3"
    done = _rooney("check", "--offline", "--config", str(SHIPPED), "--set", wrong, **SECRETS)
    assert done.returncode == 78
    assert "strategies.ibs.strategy_params.time_stop_bar" in done.stdout
    assert "time_stop_bars" in done.stdout


def test_a_disabled_strategy_refuses_to_start(tmp_path: Path) -> None:
    done = _rooney(
        "worker",
        "ibs",
        "--config",
        str(SHIPPED),
        "--set",
        "strategies.ibs.enabled=false",
        "--state",
        str(tmp_path),
        **SECRETS,
    )
    assert done.returncode == 78
    assert "strategies.ibs.enabled" in done.stderr


def test_an_unknown_strategy_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    done = _rooney("worker", "ibz", "--config", str(SHIPPED), "--state", str(tmp_path), **SECRETS)
    assert done.returncode == 78
    assert "ibs" in done.stderr


def test_a_missing_configuration_is_one_line_and_78(tmp_path: Path) -> None:
    done = _rooney("hub", "--config", str(tmp_path / "none.yml"))
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1


def test_an_env_file_gives_what_the_environment_lacks(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in SECRETS.items()))
    done = _rooney("check", "--offline", "--config", str(SHIPPED), "--env-file", str(env_file))
    assert done.returncode == 0, done.stdout


def test_a_file_that_ends_too_soon_is_not_taken_for_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end with 130 and no word."""

    def torn(*_: object, **__: object) -> None:
        raise EOFError("ran out of input")

    monkeypatch.setattr(demo, "callback", torn)
    monkeypatch.setattr(sys, "argv", ["rooney", "demo"])
    with pytest.raises(EOFError, match="ran out of input"):
        main()


def test_a_wrong_option_is_78() -> None:
    assert _rooney("check", "--nonsense").returncode == 78


def _bar(ts_open: int, close: float) -> Bar:
    return Bar("ES", "ESH6", "1min", ts_open, ts_open + MINUTE_NS, 6800.0, 6801.0, 6799.0, close, 7, 3)


def _publish(bus: Publisher, ts_open: int, close: float) -> None:
    bus.publish(Published(Minute(ts_open + MINUTE_NS, [], [_bar(ts_open, close)], {}), [], {}))


def test_bars_prints_what_was_published(redis_socket: str) -> None:
    bus = Publisher(DataHub(redis_socket=redis_socket))
    _publish(bus, TEN_O_CLOCK, 6800.25)
    done = _rooney("bars", "ES", "--config", str(SHIPPED), "--set", f"data_hub.redis_socket={redis_socket}", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["close"] == 6800.25


def test_bars_follow_prints_a_bar_as_it_is_published(redis_socket: str) -> None:
    bus = Publisher(DataHub(redis_socket=redis_socket))
    config = ["--config", str(SHIPPED), "--set", f"data_hub.redis_socket={redis_socket}"]
    command = [sys.executable, "-u", "-m", "rooney", "bars", "ES", "--follow", "--json", "--count", "1", *config]
    with child(command, stdout=subprocess.PIPE, text=True) as follower:
        time.sleep(3)
        _publish(bus, TEN_O_CLOCK + 10 * MINUTE_NS, 6800.75)
        lines = [json.loads(follower.stdout.readline())]
        while lines[-1]["close"] != 6800.75:
            lines.append(json.loads(follower.stdout.readline()))


def test_bars_of_an_instrument_that_is_not_configured_name_those_that_are() -> None:
    done = _rooney("bars", "XX", "--config", str(SHIPPED))
    assert done.returncode == 78
    assert "ES" in done.stderr


def test_the_shipped_configuration_lists_the_eighteen_instruments() -> None:
    assert len(yaml.safe_load(SHIPPED.read_text())["instruments"]) == 18


def test_check_sees_what_a_worker_finds_compiled_in_its_cache(tmp_path: Path) -> None:
    compiled = engine()
    compiled.compile()
    step = compiled.compiled.module.__name__
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/numba").symlink_to(jit.cache_dir())
    assert is_compiled("mine", step, tmp_path)
    assert not is_compiled("mine", f"{step[:-1]}x", tmp_path)
    assert not is_compiled("yours", step, tmp_path)
