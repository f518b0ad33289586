"""A Redis of a test's own, and ports nobody listens on."""

import contextlib
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rooney.bus.publisher import Publisher
from rooney.config.schema import DataHub
from rooney.sim.processes import start_redis


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class PrivateRedis:
    """A Redis of our own in a directory short enough for a unix socket; it can be killed and started again."""

    def __init__(self, server: str = "") -> None:
        self._server = server
        self.directory = Path(tempfile.mkdtemp(prefix="rooney-t-"))
        self.socket = str(self.directory / "redis.sock")
        self.part = start_redis(self.directory, self._server)

    def bus(self, timeout_s: float = 3.0) -> Publisher:
        return Publisher(DataHub(redis_socket=self.socket), timeout_s=timeout_s)

    def clear(self) -> None:
        with contextlib.closing(self.bus()) as bus:
            bus._redis.flushall()

    def start(self) -> None:
        self.part = start_redis(self.directory, self._server)

    def stop(self, *, kill: bool = False) -> None:
        if kill:
            self.part.process.kill()
        self.part.stop()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def private_redis(server: str = "") -> Iterator[PrivateRedis]:
    redis = PrivateRedis(server)
    try:
        yield redis
    finally:
        redis.close()
