"""CPU and memory per unit, from its control group: readable without D-Bus, root or the process itself.

A control group is made anew at every start of its unit, so its inode tells one run from the next.
"""

import os
from pathlib import Path

import msgspec

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


def unit_of(strategy: str) -> str:
    """Unit of a strategy's worker."""
    return f"rooney-worker@{strategy}.service"
