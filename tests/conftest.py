"""Fixtures that several test files share, and what may run beside what."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from rooney.sim.processes import redis_servers
from tests.support import left_processes
from tests.support.certificates import certificate
from tests.support.command_line import bench, operate_place, operate_redis, operate_zygote
from tests.support.deliveries import new_delivery, webhook
from tests.support.hub_day import undisturbed
from tests.support.journal import journal, restored
from tests.support.ledgers import ledger
from tests.support.paths import TESTS
from tests.support.private_redis import PrivateRedis, private_redis
from tests.support.rigs import rig, rig_place, rig_redis
from tests.support.tools import require, summary
from tests.support.workers import Zygote

__all__ = [
    "bench",
    "certificate",
    "journal",
    "ledger",
    "new_delivery",
    "operate_place",
    "operate_redis",
    "operate_zygote",
    "restored",
    "rig",
    "rig_place",
    "rig_redis",
    "undisturbed",
    "webhook",
]


# No test of properties claims a time: on a busy machine an example may take as long as it takes.
settings.register_profile("rooney", deadline=None)
settings.load_profile("rooney")


@pytest.fixture
def redis() -> Iterator[PrivateRedis]:
    """A test's own, to be stopped if it likes."""
    with private_redis() as one:
        yield one


@pytest.fixture(scope="module", params=redis_servers(), ids=lambda path: Path(path).name)
def server(request: pytest.FixtureRequest) -> Iterator[PrivateRedis]:
    """Each server there is: the system's Redis or Valkey, and the one of the wheel."""
    with private_redis(request.param) as one:
        yield one


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """What workers of a file are forked from; at a short path, because a unix socket's may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="rw-") as name:
        one = Zygote(Path(name))
        yield one
        one.close()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(left_processes)  # not a hook of this file: those hear of no fixture of the session


def pytest_runtest_setup(item: pytest.Item) -> None:
    require(*(tool for mark in item.iter_markers("needs") for tool in mark.args))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", ())
    for line in summary(report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)):
        terminalreporter.write_line(line)


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n 3 --dist loadgroup`: a file is one process's, tests/system is one machine's, and starts first."""
    items.sort(key=lambda item: "system" not in item.path.parts)
    for item in items:
        group = "system" if "system" in item.path.parts else str(item.path.relative_to(TESTS))
        item.add_marker(pytest.mark.xdist_group(group))
