"""Places on this machine: state, ledgers, control, credentials. One directory per strategy below the first of them."""

import os
from collections.abc import Mapping
from pathlib import Path

from rooney.errors import ConfigError

STATE_DIRECTORY = Path("/var/lib/rooney")
CREDENTIAL_STORE = Path("/etc/rooney/credentials")  # where the units' LoadCredential= reads; root only
LOCAL_STRATEGIES = Path("/etc/rooney/strategies")  # the user's own files
LEDGER = "ledger.sqlite"
CONFIG = "config.multi_alpha.yml"


def state_directory(given: Path | None, environ: Mapping[str, str]) -> Path:
    """State directory: the option's, else $ROONEY_STATE_DIRECTORY, else the installed one."""
    chosen = environ.get("ROONEY_STATE_DIRECTORY")
    return given or (Path(chosen) if chosen else STATE_DIRECTORY)


def control_directory(given: Path | None, environ: Mapping[str, str]) -> Path:
    """Directory of switches and commands: the state directory's own, so that what acts on a copy acts on no other.

    $ROONEY_CONTROL_DIRECTORY holds where the option is not given.
    """
    chosen = "" if given else environ.get("ROONEY_CONTROL_DIRECTORY")
    return Path(chosen) if chosen else state_directory(given, environ) / "control"


def has_units(given: Path | None) -> bool:
    """True if this machine's units work in the state directory that the option names; with no option they do."""
    return given is None or given.resolve() == STATE_DIRECTORY.resolve()


def credential_store(given: Path | None) -> Path | None:
    """Folder of credentials: the option's, else the units'; None if that is closed to this user or not there."""
    if given is not None:
        if not given.is_dir():
            raise ConfigError(f"--credentials {given}: no such directory; nothing was done")
        return given
    return CREDENTIAL_STORE if CREDENTIAL_STORE.is_dir() and os.access(CREDENTIAL_STORE, os.R_OK | os.X_OK) else None


def ledger_path(state: Path, name: str) -> Path:
    """Ledger of a strategy, there or not."""
    return state / name / LEDGER


def ledger_names(state: Path) -> list[str]:
    """Strategies that have a ledger, by name."""
    return sorted(path.parent.name for path in state.glob(f"*/{LEDGER}"))


def find_ledger(state: Path, name: str) -> Path:
    """Ledger of a strategy. Raises ConfigError if there is none."""
    names = ledger_names(state)
    if name not in names:
        there = f"there are {', '.join(names)}" if names else "there is none at all"
        raise ConfigError(f"{name}: no ledger {ledger_path(state, name)}; {there}. Nothing was done")
    return ledger_path(state, name)
