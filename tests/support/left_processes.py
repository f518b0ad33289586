"""Check that no test leaves a process behind; a plugin of pytest, registered by tests/conftest.py.

A process belongs to this run if it is a child, or if it has the run's mark in its environment, whoever its parent is
by now. What a fixture of a module or of the session started may live as long as that fixture.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MARK = "ROONEY_TESTS_OF"
GRACE_S = 2.0  # what was killed may take a moment to go
# Python's own, of which one serves all that come later.
HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver", "loky.backend.resource_tracker")

os.environ[MARK] = str(os.getpid())
_lasting: dict[str, str] = {}  # command → scope of the fixture that first ran it; a test may run it again


def processes() -> dict[tuple[int, str], str]:
    """(pid, start) → command line of every living process of this run but its own."""
    mark = f"{MARK}={os.getpid()}".encode()
    found = {}
    for place in Path("/proc").iterdir():
        if not place.name.isdecimal() or int(place.name) == os.getpid():
            continue
        try:
            state, parent, *fields = (place / "stat").read_text().rpartition(")")[2].split()
            is_ours = int(parent) == os.getpid() or mark in (place / "environ").read_bytes().split(b"\0")
            command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # gone meanwhile, or another user's
            continue
        if is_ours and state not in "ZX" and not any(helper in command for helper in HELPERS):
            found[int(place.name), fields[17]] = command
    return found


def ancestors(pid: int) -> Iterator[int]:
    """The process and those it comes from, up to this one."""
    while pid not in (0, 1, os.getpid()):
        yield pid
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # gone meanwhile
            return


def left(allowed: set[str]) -> dict[tuple[int, str], str]:
    """Those that are not gone within GRACE_S, and neither stand for one that may stay nor come from it, as tabs do."""
    end = time.monotonic() + GRACE_S
    while True:
        living = processes()
        stay = {pid for (pid, _), command in living.items() if command in allowed}
        found = {key: text for key, text in living.items() if stay.isdisjoint(ancestors(key[0]))}
        if not found or time.monotonic() >= end:
            return found
        time.sleep(0.01)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Iterator[Any]:
    """Note what a fixture of more than one test starts."""
    if fixturedef.scope == "function":
        return (yield)
    before = processes()
    try:
        return (yield)
    finally:
        # One that it asked for has told of its own already, and may last longer.
        for key, command in processes().items():
            if key not in before:
                _lasting.setdefault(command, fixturedef.scope)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """After all fixtures of the test are gone, so must be their processes."""
    try:
        return (yield)
    finally:
        is_same_file = nextitem is not None and nextitem.path == item.path
        lasts = ("session", "module", "class")[: 3 if is_same_file else int(nextitem is not None)]
        allowed = {command for command, scope in _lasting.items() if scope in lasts}
        if found := left(allowed):
            for pid, _ in found:
                os.kill(pid, signal.SIGKILL)
            lines = (f"{pid}: {command}" for (pid, _), command in found.items())
            pytest.fail("left behind, and killed now:\n" + "\n".join(lines), pytrace=False)
