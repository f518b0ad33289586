"""One booted systemd for the whole session, in this order: installed by the guide, a market running, taken apart."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rooney.install.build import EXTRAS
from tests.support.installed_system import World
from tests.support.systemd_machine import REPOSITORY, TOOLS, Machine
from tests.support.tools import require

PYTHON = "/usr/bin/python3"


def commands(section: str) -> list[str]:
    """What docs/INSTALL.md says to run in one of its sections."""
    text = (REPOSITORY / "docs/INSTALL.md").read_text()
    body = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert body, f"docs/INSTALL.md has no section {section}"
    found = [line for block in re.findall(r"```sh\n(.*?)```", body[1], re.DOTALL) for line in block.splitlines()]
    assert found, f"docs/INSTALL.md: nothing to run in {section}"
    return found


def uv() -> str:
    """The uv that runs these tests, as a path that works without a shim."""
    found = os.environ.get("UV") or str(Path(sys.prefix) / "bin/uv")
    if not Path(found).is_file():
        found = subprocess.run(
            ["sh", "-c", "pyenv which uv 2>/dev/null || command -v uv"], capture_output=True, text=True, check=True
        ).stdout.strip()
    return os.path.realpath(found)


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    require(*TOOLS)
    booted = Machine()
    try:
        yield booted
    finally:
        booted.close()


@pytest.fixture(scope="session")
def wheels() -> dict[str, str]:
    """uv's cache, filled for the interpreter in the container, which has no network; what uv needs to use it."""
    folder = tempfile.mkdtemp(prefix="rooney-wheels-")
    env = os.environ | {"UV_PROJECT_ENVIRONMENT": folder, "VIRTUAL_ENV": ""}
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    sync = [uv(), "sync", "--quiet", "--frozen", "--no-dev", "--no-editable", *extras, "--python", PYTHON]
    subprocess.run(sync, cwd=REPOSITORY, env=env, check=True)
    shutil.rmtree(folder)
    cache = subprocess.run([uv(), "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    return {"UV": uv(), "UV_OFFLINE": "1", "UV_CACHE_DIR": cache}


@pytest.fixture(scope="session")
def guide(machine: Machine, wheels: dict[str, str]) -> "Guide":
    return Guide(machine, wheels)


class Guide:
    """Runs docs/INSTALL.md, section by section, as root with a checkout as working directory."""

    def __init__(self, machine: Machine, env: dict[str, str]) -> None:
        self.machine = machine
        self.env = env

    def follow(self, section: str, checkout: Path = REPOSITORY, answers: dict[str, str] | None = None) -> list[str]:
        """Every command of the section; its output each. answers: standard input by the last word of a command."""
        said = []
        for command in commands(section):
            text = (answers or {}).get(command.split()[-1], "")
            argv = ("sh", "-c", f"cd {checkout} && {command}")
            done = self.machine.run(*argv, env=self.env, text=text, timeout_s=300, check=command != "rooney check")
            # attention (1) is what it has to say of a container's clock, which nobody synchronises
            assert done.returncode in (0, 1), done.stdout + done.stderr
            said.append(done.stdout + done.stderr)
        return said


@pytest.fixture(scope="session")
def installed(machine: Machine, guide: Guide) -> list[str]:
    """What installing said."""
    return guide.follow("Install")


@pytest.fixture(scope="session")
def world(machine: Machine, guide: Guide, installed: list[str]) -> World:
    """Configured by the guide, the local gateway and TradersPost beside it; nothing of ours runs yet."""
    built = World(machine)
    built.configure()
    guide.follow("Configure", answers=built.secrets())
    return built


@pytest.fixture(scope="session")
def webhooks(world: World) -> World:
    """The local TradersPost listens."""
    world.listen()
    return world


@pytest.fixture(scope="session")
def market(guide: Guide, webhooks: World) -> World:
    """The demo's session streams to the installed units."""
    webhooks.stream()
    guide.follow("Start")
    return webhooks


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that needs the machine pays for installing it."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(900))
