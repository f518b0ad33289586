"""The units as files: verified, scored and measured against what they promise."""

import configparser
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.systemd_machine import SERVICES, UNITS
from tests.support.tools import needs

NO_NETWORK = {f"rooney-{name}.service" for name in ("dashboard", "watch", "report", "report-week", "audit", "retrain")}
TRADING = ("rooney-hub.service", "rooney-worker@.service")

needs_analyze = needs("systemd-analyze")


def settings(name: str) -> dict[str, dict[str, str]]:
    """Section → key → value; of a key given twice, all values."""
    found: dict[str, dict[str, str]] = {}
    section = ""
    for line in re.sub(r"\\\n\s*", "", (UNITS / name).read_text()).splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            old = found.setdefault(section, {}).get(key)
            found[section][key] = value if old is None else f"{old} {value}"
    return found


def test_the_set_is_complete() -> None:
    assert {path.name for path in UNITS.glob("rooney*")} == {
        *SERVICES,
        "rooney.slice",
        "rooney.target",
        "rooney-dashboard.socket",
        "rooney-watch.timer",
        "rooney-report.timer",
        "rooney-report-week.timer",
        "rooney-audit.timer",
        "rooney-retrain.timer",
        "rooney.sysusers",
        "rooney.tmpfiles",
    }
    assert {*NO_NETWORK, *TRADING, "rooney-alert@.service", "rooney-alert-sender.service"} == set(SERVICES)


@needs_analyze
@pytest.mark.parametrize("name", SERVICES)
def test_the_exposure_of_each_service_is_as_low_as_promised(name: str, tmp_path: Path) -> None:
    threshold = 4 if name in NO_NETWORK else 12
    copy = tmp_path / name
    copy.write_text((UNITS / name).read_text())
    argv = ["systemd-analyze", "security", "--offline=true", f"--threshold={threshold}", "--no-pager", str(copy)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:]


@pytest.mark.parametrize("name", [*TRADING, "rooney-alert-sender.service"])
def test_a_hang_again_and_again_reaches_the_start_limit(name: str) -> None:
    unit, service = settings(name)["Unit"], settings(name)["Service"]
    slow_start_s = 60
    turn_s = int(service["WatchdogSec"]) + slow_start_s + int(service["RestartSec"])
    assert int(unit["StartLimitIntervalSec"]) > int(unit["StartLimitBurst"]) * turn_s


@pytest.mark.parametrize("name", TRADING)
def test_a_restart_of_redis_or_of_the_hub_is_asked_of_nobody(name: str) -> None:
    unit = settings(name)["Unit"]
    assert not {"Requires", "BindsTo", "Requisite"} & set(unit)
    assert "redis-server.service" in unit["Wants"] and "redis-server.service" in unit["After"]
    assert "time-sync.target" in unit["Wants"] and "time-sync.target" in unit["After"]
    assert unit["PartOf"] == "rooney.target"


@pytest.mark.parametrize("name", SERVICES)
def test_no_unit_holds_or_is_given_a_secret_by_its_environment(name: str) -> None:
    service = settings(name)["Service"]
    assert not {"EnvironmentFile", "SetCredential", "PassEnvironment"} & set(service)
    assert not re.search(r"https?://|db-|WEBHOOK|API_KEY", service.get("Environment", ""))


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "rooney-alert@.service"])
def test_every_failure_leads_to_an_alert(name: str) -> None:
    assert settings(name)["Unit"]["OnFailure"] == "rooney-alert@%N.service"


@pytest.mark.parametrize("name", [*TRADING, "rooney-alert-sender.service", "rooney-alert@.service"])
def test_each_unit_that_trades_or_tells_has_limits_of_its_own(name: str) -> None:
    assert {"MemoryMax", "TasksMax"} <= set(settings(name)["Service"])


def test_the_alert_of_a_failure_has_its_room_outside_the_slice() -> None:
    assert settings("rooney-alert@.service")["Service"]["Slice"] == "system.slice"


@pytest.mark.parametrize("name", SERVICES)
def test_a_credential_that_is_missing_for_a_moment_is_tried_again(name: str) -> None:
    assert "243" not in settings(name)["Service"].get("RestartPreventExitStatus", "")


@pytest.mark.parametrize("name", SERVICES)
def test_no_unit_shares_ipc_or_can_go_round_its_filter_by_io_uring(name: str) -> None:
    service = settings(name)["Service"]
    assert service["PrivateIPC"] == "yes"
    assert "io_uring_setup io_uring_enter io_uring_register" in service["SystemCallFilter"]


@pytest.mark.parametrize("name", [path.name for path in UNITS.glob("*.timer")])
@needs_analyze
def test_timers_speak_exchange_time_and_are_understood(name: str) -> None:
    when = settings(name)["Timer"]["OnCalendar"]
    assert when.startswith("*:*") or when.endswith("America/Chicago")
    subprocess.run(["systemd-analyze", "calendar", when], check=True, capture_output=True)


@pytest.mark.parametrize("path", sorted(UNITS.glob("examples/*.conf")), ids=lambda path: path.name)
def test_each_example_says_where_it_goes_and_is_a_drop_in(path: Path) -> None:
    text = path.read_text()
    assert re.search(r"/etc/systemd/system/rooney-worker@(NAME)?\.service\.d/\d\d-[a-z-]+\.conf", text)
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(text)
    assert parser.sections() == ["Service"]
