"""Installing on a machine that has nothing: what is there afterwards, and what a second time changes."""

from pathlib import Path

import pytest

from tests.support.installed_system import CONFIG
from tests.support.systemd_machine import REPOSITORY, SERVICES, Machine
from tests.system.conftest import Guide


def test_the_guide_installs(installed: list[str]) -> None:
    assert "left to do:" in installed[0]
    assert "rooney credentials set databento_api_key" in installed[0]


def test_only_what_trading_needs_is_enabled_and_nothing_that_trades_is_started(
    machine: Machine, installed: list[str]
) -> None:
    wants = {path.name for path in machine.path("/etc/systemd/system/rooney.target.wants").iterdir()}
    assert wants == {"rooney-hub.service", "rooney-worker@ibs.service", "rooney-worker@breakout.service"}
    assert machine.systemctl("list-units", "--plain", "--no-legend", "--state=active", "rooney*") == ""
    assert machine.systemctl("is-active", "redis-server") == "active"


def test_systemd_finds_nothing_wrong_with_the_installed_units(machine: Machine, installed: list[str]) -> None:
    names = [name.replace("@.", "@ibs.") for name in SERVICES]
    names += ["rooney.target", "rooney.slice", "rooney-watch.timer", "rooney-report.timer", "rooney-report-week.timer"]
    names += ["rooney-retrain.timer", "rooney-dashboard.socket"]
    done = machine.run("systemd-analyze", "verify", *names)
    assert [line for line in done.stderr.splitlines() if "rooney" in line] == []


def test_files_belong_to_whom_they_should(machine: Machine, installed: list[str]) -> None:
    wanted = {
        "/etc/rooney/credentials": "700 root root",
        CONFIG: "640 root rooney",
        "/var/lib/rooney": "750 rooney rooney",
        "/run/rooney/accounts": "770 rooney rooney",
        "/var/cache/rooney/ibs": "750 rooney rooney",
        "/opt/rooney/current/bin/python": "777 root root",
    }
    found = machine.run("stat", "-c", "%n %a %U %G", *wanted).stdout.splitlines()
    assert dict(line.split(" ", 1) for line in found) == wanted


def test_redis_has_the_shipped_settings_and_listens_on_a_socket_for_its_group(
    machine: Machine, installed: list[str]
) -> None:
    socket = "/run/redis/redis-server.sock"
    wanted = {"appendonly": "yes", "port": "0", "save": "", "maxmemory-policy": "noeviction", "maxmemory": str(1 << 30)}
    for name, value in wanted.items():
        assert machine.run("redis-cli", "-s", socket, "config", "get", name).stdout.split("\n")[:2] == [name, value]
    assert machine.run("redis-cli", "ping", check=False).returncode != 0  # nobody gets in past the socket's permissions
    assert machine.run("stat", "-c", "%a %G", socket).stdout == "770 redis\n"
    assert machine.show("redis-server", "Restart") == "always"


def test_kernels_are_compiled_before_the_first_start(machine: Machine, installed: list[str]) -> None:
    for name in ("ibs", "breakout"):
        assert list(machine.path(f"/var/cache/rooney/{name}/numba").rglob("*.nbc"))


def test_installing_again_changes_nothing(machine: Machine, guide: Guide, installed: list[str]) -> None:
    before = machine.run("sh", "-c", "find /usr/local/lib/systemd /opt/rooney -newer /etc/rooney/credentials -type f")
    edited = machine.path(CONFIG).read_text() + "# mine\n"
    machine.path(CONFIG).write_text(edited)
    (said,) = guide.follow("Install")
    after = machine.run("sh", "-c", "find /usr/local/lib/systemd /opt/rooney -newer /etc/rooney/credentials -type f")
    assert "is built already" in said and "kept as it is" in said and "units are as they should be" in said
    assert after.stdout == before.stdout
    assert machine.path(CONFIG).read_text() == edited
    assert machine.path("/opt/rooney/previous").is_symlink() is False


@pytest.mark.slow
def test_an_image_gets_everything_but_what_needs_its_machine(
    machine: Machine, guide: Guide, wheels: dict[str, str]
) -> None:
    machine.run("sh", "-c", "mkdir -p /srv/image/etc && cp /etc/passwd /etc/group /etc/shadow /srv/image/etc/")
    argv = ["/usr/bin/python3", "-m", "rooney.install", "--root", "/srv/image", "--prefix", "/usr/lib/rooney"]
    machine.run("sh", "-c", f"cd {REPOSITORY} && {' '.join(argv)}", env=wheels, timeout_s=300)
    image = machine.path("/srv/image")
    unit = (image / "usr/local/lib/systemd/system/rooney-hub.service").read_text()
    assert "ExecStart=/usr/lib/rooney/current/bin/rooney hub" in unit
    version = Path((image / "usr/lib/rooney/current").readlink()).name
    launcher = (image / f"usr/lib/rooney/versions/{version}/bin/rooney").read_text()
    assert launcher.startswith(f"#!/usr/lib/rooney/versions/{version}/bin/python\n")
    assert (image / "etc/systemd/system/rooney.target.wants/rooney-hub.service").is_symlink()
    machine.run("rm", "-r", "/srv/image")


def test_a_version_that_refuses_the_configuration_changes_nothing(
    machine: Machine, guide: Guide, wheels: dict[str, str], installed: list[str]
) -> None:
    current, kept = machine.path("/opt/rooney/current").readlink(), machine.path(CONFIG).read_text()
    machine.path(CONFIG).write_text(kept + "unknown_section: {}\n")
    try:
        argv = f"cd {REPOSITORY} && /usr/bin/python3 -m rooney.install"
        done = machine.run("sh", "-c", argv, env=wheels, check=False, timeout_s=300)
    finally:
        machine.path(CONFIG).write_text(kept)
    assert done.returncode == 2
    assert "unknown_section" in done.stderr
    assert machine.path("/opt/rooney/current").readlink() == current


def test_an_ordinary_user_is_told_to_be_root(machine: Machine, installed: list[str]) -> None:
    done = machine.run("runuser", "-u", "nobody", "--", "rooney", "rollback", check=False)
    assert done.returncode == 2
    assert "run it as root" in done.stderr
