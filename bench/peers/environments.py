"""One environment per engine, made by uv on first use: what the engines need does not agree with each other."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

# The newest that installs; the version that ran is printed with its figures.
REQUIREMENTS = {
    "backtrader": ("backtrader", "pandas"),
    "nautilus_trader": ("nautilus_trader",),
    "backtesting": ("backtesting",),
    "vectorbt": ("vectorbt",),
}


class UnavailableError(Exception):
    """An engine cannot be installed or does not run here; says why."""


def cache_dir() -> Path:
    """$XDG_CACHE_HOME/rooney/peers."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rooney" / "peers"


def python_of(name: str, requirements: tuple[str, ...], folder: Path) -> Path:
    """The interpreter of an engine's environment in `folder`, made if it is not there. Raises UnavailableError."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    state = hashlib.sha256("\0".join((version, *requirements)).encode()).hexdigest()[:12]
    place = folder / f"{name}-{state}"
    finished = place / "installed"
    if not finished.exists():
        shutil.rmtree(place, ignore_errors=True)
        _uv(name, "venv", "--python", version, str(place))
        _uv(name, "pip", "install", "--python", str(place / "bin" / "python"), *requirements)
        finished.touch()
    return place / "bin" / "python"


def _uv(name: str, *arguments: str) -> None:
    uv = shutil.which("uv")
    if uv is None:
        raise UnavailableError(f"{name}: uv is not installed (pip install uv): its environment cannot be made")
    done = subprocess.run([uv, *arguments, "--quiet"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnavailableError(f"{name}: uv {' '.join(arguments)}: {' '.join(done.stderr.split())}")
