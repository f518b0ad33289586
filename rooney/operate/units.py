"""The systemd unit of a worker, where there is a systemd."""

import subprocess

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
