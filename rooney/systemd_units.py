"""The systemd unit of a worker, where there is a systemd."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from rooney.errors import RooneyError

STOP_S = 150  # longer than the unit's own time to stop, after which systemd kills what is left
_RUNNING = ("active", "activating", "reloading", "deactivating")


class UnitError(RooneyError):
    """A unit did not stop; the message says what to do."""


def unit_name(strategy: str) -> str:
    """rooney-worker@ibs.service"""
    return f"rooney-worker@{strategy}.service"


def is_running(strategy: str) -> bool:
    """Whether systemd runs this worker or is about to (a restart counts); False without a systemd."""
    try:
        done = subprocess.run(
            ["systemctl", "is-active", unit_name(strategy)], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() in _RUNNING


def stop(strategy: str) -> None:
    """Stop it for good; returns when its process is gone. Raises UnitError."""
    command = ["systemctl", "stop", unit_name(strategy)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=STOP_S, check=False)
        said = " ".join(done.stderr.split()) if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        said = f"{type(error).__name__} after at most {STOP_S} s"
    if said:
        raise UnitError(f"{' '.join(command)}: {said}; stop it yourself and run this again")


def states(strategies: Sequence[str]) -> dict[str, str]:
    """Unit → what systemd says of hub and workers; empty without a systemd.

    "active (running), 2 restarts paper ES +1 | day …"
    """
    if not Path("/run/systemd/system").is_dir():  # as sd_booted(3): where it does not run, asking takes seconds
        return {}
    names = ["rooney-hub.service", *map(unit_name, strategies)]
    asked = "--property=Id,ActiveState,SubState,NRestarts,StatusText"
    try:
        done = subprocess.run(
            ["systemctl", "show", asked, *names], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    found = {}
    for block in done.stdout.split("\n\n") if done.returncode == 0 else []:
        told = dict(line.partition("=")[::2] for line in block.splitlines())
        if told.get("Id"):
            restarts = told.get("NRestarts", "0")
            again = f", {restarts} restarts" if restarts not in ("", "0") else ""
            text = f"{told.get('ActiveState')} ({told.get('SubState')}){again}"
            found[told["Id"]] = " ".join(f"{text}  {told.get('StatusText', '')}".split())
    return found
