"""njit, with a cache in which machine code of other kernels than these is never found.

Numba's own cache looks at the time of a function's own file: a kernel that calls a changed one would go on running the
old machine code. So the cache has a directory for every state of all kernels together.
"""

import hashlib
import os
from pathlib import Path

import numba
from numba import njit as njit

SOURCES = Path(__file__).parent


def cache_dir() -> Path:
    """Where written steps and machine code are kept: $NUMBA_CACHE_DIR, else the user's cache."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rooney"


def sources() -> list[str]:
    """Text of every kernel, and the versions of what compiles them."""
    texts = [file.read_text() for file in sorted(SOURCES.glob("*.py"))]
    return [*texts, numba.__version__, numba.core.config.CPU_NAME or ""]


def digest() -> str:
    """Name of this state of the kernels, 16 hex digits."""
    return hashlib.sha256("\0".join(sources()).encode()).hexdigest()[:16]


numba.config.CACHE_DIR = str(cache_dir() / f"kernels-{digest()}")
