"""A whole market session under the installed units, with everything that happens to a machine on a trading day."""

import itertools
import re
import shutil
import time
from pathlib import Path

import pytest

from rooney.install.layout import SHIPPED
from rooney.market.sessions import MINUTE_NS
from rooney.sim.demo_summary import is_dense
from tests.support.installed_system import HUB, TRADING, World, worker
from tests.support.systemd_machine import REPOSITORY, Machine
from tests.system.conftest import Guide

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def newer(machine: Machine) -> str:
    """A checkout of the next version, in the container."""
    folder = machine.path("/srv/checkout")
    for name in SHIPPED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    for name in ("README.md", "LICENSE"):  # the package's own metadata want them
        shutil.copy(REPOSITORY / name, folder / name)
    shutil.copytree(REPOSITORY / "docs", folder / "docs")
    for name, old, new in (
        ("pyproject.toml", 'version = "0.1.0"', 'version = "0.1.1"'),
        ("systemd/rooney-hub.service", "OOMScoreAdjust=-200", "OOMScoreAdjust=-201"),
    ):
        text = (folder / name).read_text()
        assert text.count(old) == 1
        (folder / name).write_text(text.replace(old, new))
    return "/srv/checkout"


def test_the_guide_starts_hub_and_workers(market: World) -> None:
    assert all(market.pids().values())
    market.wait_minutes(5)


def test_a_unit_is_active_only_after_its_process_has_warmed_up(market: World) -> None:
    for name in TRADING:
        entries = market.machine.journal("-u", worker(name))
        said = [str(entry["MESSAGE"]) for entry in entries]
        ready = next(
            i for i, text in enumerate(said) if text.startswith("ready: paper mode, 18 of 18 instruments warm")
        )
        started = next(i for i, text in enumerate(said) if text.startswith(f"Started {worker(name)}"))
        assert ready < started


def test_status_says_mode_positions_and_minute(market: World) -> None:
    text = market.machine.show(worker("ibs"), "StatusText")
    assert re.fullmatch(r"paper .+ day [+-]\d+\.\d\d \| orders ok \| data (\d+s|closed) \| mark \d\d:\d\dZ", text)


def test_a_third_strategy_is_a_file_a_block_and_a_credential(market: World) -> None:
    before = market.pids()
    source = (HERE / "strategies/third.py").read_text()
    market.machine.write("/etc/rooney/strategies/third.py", source)
    market.add_strategy("third", instruments=["ES", "NQ", "CL", "GC"])
    market.give_account("third")
    market.machine.systemctl("start", worker("third"))
    market.machine.until(lambda: "acknowledged" in market.states("third"), "the third strategy trades", 90)
    assert market.pids() == before


def test_killing_hanging_and_stopping_one_worker_touches_no_other(market: World) -> None:
    machine = market.machine
    others = market.pids("breakout", "third")
    machine.systemctl("kill", "-s", "KILL", worker("ibs"))
    machine.until(lambda: machine.show(worker("ibs"), "NRestarts") == "1", "ibs is restarted")
    machine.until(lambda: machine.show(worker("ibs"), "ActiveState") == "active", "ibs is back")
    assert machine.systemctl("kill", "-s", "STOP", worker("ibs")) == ""
    position = market.position("breakout")
    market.wait_position("breakout", position + 15 * MINUTE_NS)
    machine.systemctl("kill", "-s", "CONT", worker("ibs"))
    machine.systemctl("stop", worker("ibs"))
    position = market.position("breakout")
    market.wait_position("breakout", position + 15 * MINUTE_NS)
    machine.systemctl("start", worker("ibs"))
    assert market.pids("breakout", "third") == others


def test_redis_killed_is_back_and_nobody_else_is_restarted(market: World) -> None:
    machine = market.machine
    before, redis = market.pids(), machine.pid_of("redis-server")
    machine.systemctl("kill", "-s", "KILL", "redis-server")
    machine.until(lambda: machine.pid_of("redis-server") not in (0, redis), "Redis is back", 15)
    machine.until(lambda: machine.show("redis-server", "ActiveState") == "active", "Redis answers", 15)
    market.wait_minutes(10)
    assert market.pids() == before


def test_a_restart_of_the_hub_restarts_no_worker(market: World) -> None:
    machine = market.machine
    hub, workers = machine.pid_of(HUB), {name: machine.pid_of(worker(name)) for name in TRADING}
    machine.drop_in(HUB, "[Service]\nWatchdogSec=3\n")
    machine.systemctl("restart", HUB)
    market.wait_minutes(10)
    assert machine.pid_of(HUB) != hub
    assert {name: machine.pid_of(worker(name)) for name in TRADING} == workers


def test_a_hub_that_hangs_is_restarted_by_its_watchdog(market: World) -> None:
    """It has the watchdog of a test since its restart above, and the unit's own again after the next one."""
    machine = market.machine
    workers = {name: machine.pid_of(worker(name)) for name in TRADING}
    hub = machine.pid_of(HUB)
    machine.systemctl("kill", "-s", "STOP", HUB)
    machine.until(lambda: machine.pid_of(HUB) not in (0, hub), "the hub is restarted")
    machine.until(lambda: machine.show(HUB, "ActiveState") == "active", "the hub is back")
    market.wait_minutes(5)
    assert any("Watchdog timeout" in text for text in machine.messages("-u", HUB))
    assert {name: machine.pid_of(worker(name)) for name in TRADING} == workers
    machine.drop_out(HUB)


def test_an_upgrade_restarts_one_unit_at_a_time(market: World, guide: Guide, newer: str) -> None:
    machine = market.machine
    old = machine.path("/opt/rooney/current").readlink().name
    (said,) = guide.follow("Upgrade", checkout=Path(newer))
    new = machine.path("/opt/rooney/current").readlink().name
    assert new.startswith("0.1.1-") and machine.path("/opt/rooney/previous").readlink().name == old
    assert not [
        text for name in TRADING for text in machine.messages("-u", worker(name)) if "warming up afresh" in text
    ]
    order = re.findall(r"restarted (\S+)", said)
    assert order == [HUB, *(worker(name) for name in ("breakout", "ibs", "third"))]
    runs = [
        (
            int(machine.show(unit, "InactiveExitTimestampMonotonic")),
            int(machine.show(unit, "ActiveEnterTimestampMonotonic")),
        )
        for unit in order
    ]
    assert all(one[1] <= next_one[0] for one, next_one in itertools.pairwise(runs))
    for unit in order:
        command = machine.run("cat", f"/proc/{machine.pid_of(unit)}/cmdline").stdout
        assert f"/versions/{new}/" in command
    assert machine.show(HUB, "OOMScoreAdjust") == "-201"
    market.wait_minutes(10)


def test_a_rollback_brings_the_version_before_and_its_units(market: World, guide: Guide) -> None:
    machine = market.machine
    old = machine.path("/opt/rooney/previous").readlink().name
    guide.follow("Back")
    assert machine.path("/opt/rooney/current").readlink().name == old
    assert machine.show(HUB, "OOMScoreAdjust") == "-200"
    assert f"/versions/{old}/" in machine.run("cat", f"/proc/{machine.pid_of(HUB)}/cmdline").stdout


def test_after_all_that_no_minute_is_missing_and_every_order_went_out_once(market: World) -> None:
    end_ns = market.what.end_ns
    market.hurry()
    market.machine.until(lambda: market.tape_end() >= end_ns, "the session is over", 300)
    for name in (*TRADING, "third"):
        market.wait_position(name, end_ns)
    bus = market.bus()
    minutes = [minute for _, minute in bus.tape(0)]
    bus.close()
    assert is_dense(minutes, market.what)
    for name in (*TRADING, "third"):
        market.machine.until(lambda name=name: market.states(name)[-1] != "sending", f"{name} is at rest")
        requests = market.requests(name)
        intents = [entry["payload"]["extras"]["intent"] for entry in requests]
        assert len(intents) == len(set(intents)) == market.states(name).count("sending") > 0
        assert {entry["payload"]["extras"]["strategy"] for entry in requests} == {name}
        assert market.held(name) == market.believed(name)


def test_the_strategy_nobody_touched_decided_at_every_hour_of_every_instrument(market: World) -> None:
    """Others were killed, hung, stopped and added beside it; the hub, Redis and the version changed under it."""
    bus = market.bus()
    hours = {(bar.symbol, ts) for ts, minute in bus.tape(0) for bar in minute.bars if bar.timeframe == "hourly"}
    bus.close()
    decided = {tuple(row) for row in market.query("breakout", "SELECT symbol, ts_mark FROM decision")}
    assert hours <= decided


def test_one_orders_whole_story_is_found_by_its_intent(market: World) -> None:
    ((intent,),) = market.query("third", "SELECT id FROM intent ORDER BY seq LIMIT 1")
    entries = market.machine.journal(f"ROONEY_INTENT={intent}")
    assert [entry["ROONEY_EVENT"] for entry in entries] == ["intent", "order"]
    for entry in entries:
        assert entry["ROONEY_STRATEGY"] == "third" and entry["ROONEY_COMPONENT"] == "worker"
        assert entry["SYSLOG_IDENTIFIER"] == "rooney-worker-third"
        assert entry["_SYSTEMD_UNIT"] == worker("third")
        assert len(entry["MESSAGE_ID"]) == 32
    assert "acknowledged" in entries[-1]["MESSAGE"]


def test_the_guides_commands_for_reading_work(market: World, guide: Guide) -> None:
    said = guide.follow("Read")
    assert "rooney-worker-ibs" in said[0]
    assert "acknowledged" in said[1]


def test_no_secret_is_in_the_journal_an_environment_a_command_line_or_a_unit(market: World) -> None:
    machine = market.machine
    secrets = [part for pair in market.accounts.values() for part in pair] + [
        market.secrets()["databento_api_key"].strip()
    ]
    places = {
        "journal": machine.run("journalctl", "-o", "export", "--all", "-u", "rooney*").stdout,
        "units": machine.systemctl("show", "--all", HUB, *map(worker, (*TRADING, "third"))),
        "environments": "".join(
            machine.run("cat", f"/proc/{pid}/environ", f"/proc/{pid}/cmdline").stdout for pid in market.pids().values()
        ),
    }
    for place, text in places.items():
        assert len(text) > 100
        assert not [secret for secret in secrets if secret in text], place


def test_the_report_counts_what_was_sent(market: World) -> None:
    machine = market.machine
    day = time.strftime("%Y-%m-%d", time.gmtime(market.what.end_ns // 1_000_000_000 - 3600))
    said = machine.run("rooney", "report", "--day", day).stdout
    orders = len(market.query("ibs", "SELECT 1 FROM intent"))
    line = next(line for line in said.splitlines() if line.startswith("ibs"))
    assert sum(map(int, re.findall(r"(\d+) (?:acknowledged|dropped|refused|unconfirmed)", line))) == orders
