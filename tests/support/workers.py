"""Worker processes: forked from one that has imported everything, a real process each without a second of imports.

`python -m tests.support.workers SOCKET` is the process that forks them.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.engines import SCRIPTED, engine
from tests.support.paths import ROOT


class Zygote:
    """Forks worker processes from one that has imported everything: a start costs milliseconds, a kill is real."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "zygote.sock"
        self.log = directory / "zygote.log"
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", "tests.support.workers", str(self._path)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=ROOT,
            )
        end = time.monotonic() + 180  # it compiles, if nobody has yet
        while not self._path.exists():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)

    def start(self, argv: Sequence[str], log: Path, env: Mapping[str, str]) -> "Forked":
        """`rooney ARGV` in a process of its own."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self._path))
        connection.sendall(json.dumps({"argv": list(argv), "log": str(log), "env": dict(env)}).encode() + b"\n")
        return Forked(connection)

    def close(self) -> None:
        """End it; its children have gone before, or go now."""
        self._process.terminate()
        self._process.wait(10)


class Forked:
    """One forked worker."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("r")
        connection.close()
        self.pid = int(self._file.readline())
        self.code: int | None = None

    def wait(self, timeout_s: float = 60.0) -> int:
        """Its exit status, negative for a signal."""
        if self.code is None:
            end = time.monotonic() + timeout_s
            self._file.buffer.raw._sock.settimeout(timeout_s)  # type: ignore[union-attr]
            self.code = int(self._file.readline())
            assert time.monotonic() < end
            self._file.close()
        return self.code

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Signal it and wait; its exit status, also when it had ended before."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return self.wait()


def _zygote(path: str) -> None:
    """Serve forks until SIGTERM. A grandchild per worker, so that each is reaped by the child that reports on it."""
    import rooney.cli
    import rooney.worker.process  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for name in (SCRIPTED, "ibs"):
        engine(("ES", "NQ"), name).compile()
    server = socket.socket(socket.AF_UNIX)
    server.bind(path + ".tmp")
    server.listen(16)
    os.rename(path + ".tmp", path)
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            server.close()
            _supervise(connection)
            os._exit(0)
        connection.close()


def _supervise(connection: socket.socket) -> None:
    order = json.loads(connection.makefile("r").readline())
    pid = os.fork()
    if pid == 0:
        connection.close()
        out = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.environ.update(order["env"])
        from rooney import cli
        from rooney import failpoints as faults

        faults._place, _, faults._nth = order["env"].get("ROONEY_FAULT", "").partition(":")
        sys.argv = ["rooney", *order["argv"]]
        code: Any = 70
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        except BaseException:  # noqa: BLE001 - a fork must never return into the zygote's loop
            import traceback

            traceback.print_exc()
        os._exit(code if isinstance(code, int) else 0)
    connection.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    _zygote(sys.argv[1])
