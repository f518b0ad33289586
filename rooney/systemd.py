"""Words to systemd about this process, and what it says of units. The only importer of sdnotify.

sdnotify 0.3.2 encodes latin-1 and drops a whole datagram without a word when it cannot; its socket blocks when the
manager does not read. So: ASCII only, one fact per datagram (a status can never take the watchdog's ping down with it),
a non-blocking socket, and a count of what was lost.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
import sdnotify

from rooney.errors import RooneyError

STATUS_CHARS = 100


class Notifier:
    """Datagrams to systemd. No call blocks or raises; each returns True once the manager's queue has the datagram.

    dropped: datagrams the manager did not take, for STATUS or the heartbeat to show
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._sdnotify: sdnotify.SystemdNotifier | None = None
        if not os.environ.get("NOTIFY_SOCKET"):
            return
        try:
            self._sdnotify = sdnotify.SystemdNotifier(debug=True)  # debug: errors are raised, so they can be counted
            self._sdnotify.socket.setblocking(False)
        except OSError:
            self.dropped += 1

    def ready(self) -> bool:
        """Warmed up. Worth repeating if False: without it the start times out."""
        return self._send("READY=1")

    def status(self, text: str) -> bool:
        """The line `systemctl status` shows: at most 100 printable ASCII characters, `?` for any other.

        A longer one ends after a whole word, with `...`; a single longer word is cut.
        """
        line = "".join(c if " " <= c <= "~" else "?" for c in " ".join(text.split()))
        if len(line) > STATUS_CHARS:
            room = STATUS_CHARS - len(" ...")
            line = f"{line[: line.rfind(' ', 0, room + 1)] if ' ' in line[: room + 1] else line[:room]} ..."
        return self._send(f"STATUS={line}")

    def watchdog(self) -> bool:
        """The loop made a turn."""
        return self._send("WATCHDOG=1")

    def stopping(self) -> bool:
        """The shutdown has begun."""
        return self._send("STOPPING=1")

    def extend_timeout(self, seconds: float) -> bool:
        """Starting or stopping takes up to `seconds` more from now."""
        return self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def _send(self, line: str) -> bool:
        if self._sdnotify is None:
            return False
        try:
            self._sdnotify.notify(line)
        except OSError:  # queue full, or the manager is gone
            self.dropped += 1
            return False
        return True


def interval() -> float | None:
    """Seconds between watchdog pings, a third of the limit; None if this process is not watched."""
    try:
        limit_us = int(os.environ.get("WATCHDOG_USEC", ""))
        pid = int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return limit_us / 3e6 if limit_us > 0 and pid == os.getpid() else None


STOP_S = 150  # longer than the unit's own time to stop, after which systemd kills what is left


_RUNNING = ("active", "activating", "reloading", "deactivating")


def unit_name(strategy: str) -> str:
    """Unit of a strategy's worker: rooney-worker@ibs.service."""
    return f"rooney-worker@{strategy}.service"


def asked(*command: str) -> str:
    """Output of a command of systemd's; nothing where there is none to ask."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def is_running(strategy: str) -> bool:
    """True if systemd runs this worker or is about to (a restart counts); False without a systemd."""
    return asked("systemctl", "is-active", unit_name(strategy)).strip() in _RUNNING


def stop(strategy: str) -> None:
    """Stop it for good; returns when its process is gone. Raises RooneyError."""
    command = ["systemctl", "stop", unit_name(strategy)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=STOP_S, check=False)
        said = " ".join(done.stderr.split()) if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        said = f"{type(error).__name__} after at most {STOP_S} s"
    if said:
        raise RooneyError(f"{' '.join(command)}: {said}; stop it yourself and run this again")


def states(strategies: Sequence[str]) -> dict[str, str]:
    """Unit → what systemd says of hub and workers; empty without a systemd.

    "active (running), 2 restarts paper ES +1 | day …"
    """
    if not Path("/run/systemd/system").is_dir():  # as sd_booted(3): where it does not run, asking takes seconds
        return {}
    names = ["rooney-hub.service", *map(unit_name, strategies)]
    facts = "--property=Id,ActiveState,SubState,NRestarts,StatusText"
    found = {}
    for block in asked("systemctl", "show", facts, *names).split("\n\n"):
        told = dict(line.partition("=")[::2] for line in block.splitlines())
        if told.get("Id"):
            restarts = told.get("NRestarts", "0")
            again = f", {restarts} restarts" if restarts not in ("", "0") else ""
            text = f"{told.get('ActiveState')} ({told.get('SubState')}){again}"
            found[told["Id"]] = " ".join(f"{text}  {told.get('StatusText', '')}".split())
    return found


SLICE = Path("/sys/fs/cgroup/rooney.slice")


class Usage(msgspec.Struct, frozen=True):
    """A unit that runs. ts_start: when this run began, UTC ns; run: names it.

    cpu_s: of this run; memory_bytes: with page cache, None where the kernel does not count it
    """

    unit: str
    run: int
    ts_start: int
    cpu_s: float
    memory_bytes: int | None
    processes: int


class UnitsView:
    """All units of the slice. restarts: per unit, seen since this view began."""

    def __init__(self, root: Path = SLICE) -> None:
        self._root = root
        self._runs: dict[str, int] = {}
        self._cpu: dict[str, tuple[int, float, float]] = {}
        self.restarts: dict[str, int] = {}
        self.load: dict[str, float] = {}  # unit → share of one core since the look before

    def look(self, mono_s: float) -> dict[str, Usage]:
        """Unit → usage; empty without systemd or its slice."""
        found = {}
        try:
            names = sorted(os.listdir(self._root))
        except OSError:
            names = []
        for name in names:
            if name.endswith(".service") and (one := _usage(self._root / name)) is not None:
                found[name] = one
                self._compare(one, mono_s)
        return found

    def _compare(self, one: Usage, mono_s: float) -> None:
        last = self._runs.get(one.unit)
        self._runs[one.unit] = one.run
        self.restarts[one.unit] = self.restarts.get(one.unit, 0) + (last is not None and last != one.run)
        run, at_s, cpu_s = self._cpu.get(one.unit, (one.run, mono_s, one.cpu_s))
        if run != one.run:
            self.load.pop(one.unit, None)
            self._cpu[one.unit] = (one.run, mono_s, one.cpu_s)
        elif mono_s - at_s >= 1.0 or one.unit not in self._cpu:
            if mono_s > at_s:
                self.load[one.unit] = (one.cpu_s - cpu_s) / (mono_s - at_s)
            self._cpu[one.unit] = (one.run, mono_s, one.cpu_s)


def _usage(group: Path) -> Usage | None:
    """None for a unit that has ended meanwhile, or has no process."""
    try:
        made = group.stat()
        processes = len((group / "cgroup.procs").read_text().split())
        cpu = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    try:
        memory = int((group / "memory.current").read_text())
    except (OSError, ValueError):
        memory = None
    if not processes:
        return None
    return Usage(group.name, made.st_ino, made.st_ctime_ns, int(cpu.get("usage_usec", 0)) / 1e6, memory, processes)
