"""Collects bench_*.py, which pytest's own pattern does not."""

import platform
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from rooney.bus.publisher import Publisher
from rooney.config.schema import DataHub
from rooney.sim.processes import start_redis

VERSIONS = ("numpy", "numba", "msgspec", "redis", "hiredis", "databento")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    # A file named on the command line is collected by pytest itself.
    if file_path.match("bench_*.py") and not parent.session.isinitpath(file_path):
        return pytest.Module.from_parent(parent, path=file_path)
    return None


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    machine_info["versions"] = {"Python": platform.python_version()} | {name: version(name) for name in VERSIONS}


@pytest.fixture
def redis_socket() -> Iterator[str]:
    """A private Redis, on a path short enough for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="rooney-") as name:
        part = start_redis(Path(name))
        try:
            yield str(Path(name) / "redis.sock")
        finally:
            part.stop()


@pytest.fixture
def bus(redis_socket: str) -> Iterator[Publisher]:
    connection = Publisher(DataHub(redis_socket=redis_socket))
    yield connection
    connection.close()
