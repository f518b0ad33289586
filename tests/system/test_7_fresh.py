"""A Debian that has nothing, as debootstrap makes it: the two commands of the README, the installation by its guide,
and a new strategy by its guide. Nothing of this machine is there but its network; run by `pytest -m slow tests/system`.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.installed_system import World
from tests.support.systemd_machine import REPOSITORY, TOOLS, Machine
from tests.support.tools import require
from tests.system.conftest import Guide

SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"
# what a server has, and what the README asks for
PACKAGES = "systemd,systemd-sysv,dbus,ca-certificates,git,python3,python3-pip,python3-venv"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
CHECKOUT = Path("/root/rooney")
SELECTION = "tests/market/test_rolls.py tests/market/test_bars.py tests/bus/test_bus.py tests/strategy/test_compiler.py"
# how this machine reaches its package index
NETWORK = re.compile(r"(?i)(SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|PIP_\w+|UV_(INDEX|DEFAULT)\w*|\w+_proxy)")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
Run = Callable[[str], str]


@pytest.fixture(scope="module")
def env() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if NETWORK.fullmatch(name)}


@pytest.fixture(scope="module")
def fresh() -> Iterator[Machine]:
    """The empty machine, booted, with a checkout in root's home."""
    require(*TOOLS, "debootstrap")
    folder = Path(tempfile.mkdtemp(prefix="rooney-fresh-", dir="/var/tmp"))
    machine = None
    try:
        argv = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(folder / "root"), MIRROR]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        shutil.copy(BUNDLE, folder / "root" / BUNDLE.lstrip("/"))
        files = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout
        checkout = folder / "root" / str(CHECKOUT).lstrip("/")
        for name in files.decode().rstrip("\0").split("\0"):
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, checkout / name)
        machine = Machine(folder / "root", is_online=True)
        yield machine
    finally:
        if machine is not None:
            machine.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def run(fresh: Machine, env: Mapping[str, str], record_testsuite_property: Callable[[str, object], None]) -> Run:
    """A command in the checkout, as root; how long it took is in the junit file."""

    def inside(command: str) -> str:
        began = time.monotonic()
        done = fresh.run("sh", "-c", f"cd {CHECKOUT} && {command}", env=env, timeout_s=1800, check=False)
        record_testsuite_property(command, f"{time.monotonic() - began:.0f} s")
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    return inside


def section(document: str, title: str, fence: str = "```") -> list[str]:
    """The commands of one section."""
    text = (REPOSITORY / document).read_text()
    body = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert body, f"{document} has no section {title}"
    lines = [line for block in re.findall(rf"{fence}\n(.*?)```", body[1], re.DOTALL) for line in block.splitlines()]
    return [line.partition("  #")[0].rstrip() for line in lines]


def test_the_two_commands_of_the_readme_run(run: Run) -> None:
    prepare = section("docs/DAY_ONE.md", "1. See it run, without any account", "```sh")
    for command in prepare[: [command.startswith("git clone") for command in prepare].index(True)]:
        run(f"DEBIAN_FRONTEND=noninteractive; export DEBIAN_FRONTEND; {command}")
    demo, tests = section("README.md", "Two commands")
    assert re.search(r"^ok\b", run(demo), re.MULTILINE)
    assert " passed" in run(f"{tests} {SELECTION}")


def test_it_is_installed_by_its_guide(fresh: Machine, env: dict[str, str]) -> None:
    guide, world = Guide(fresh, env), World(fresh)
    (said,) = guide.follow("Install", CHECKOUT)
    assert "left to do:" in said
    *_, checked = guide.follow("Configure", CHECKOUT, world.secrets())
    assert "error" not in checked
    assert fresh.systemctl("is-active", "redis-server") == "active"


def test_a_new_strategy_is_backtested_by_its_guide(run: Run, fresh: Machine) -> None:
    text = (REPOSITORY / "docs/ADDING_NEW_STRATEGY.md").read_text()
    for command in (line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()):
        run(command)
    summary = json.loads(fresh.path(CHECKOUT / "result/summary.json").read_text())
    assert summary["strategy"] == "rsi_swing" and summary["decisions"] > 0
    assert fresh.path(CHECKOUT / "result/report.html").stat().st_size > 10_000
