"""njit, with a cache in which machine code of other kernels than these is never found; or without a compiler at all.

Numba's own cache looks at the time of a function's own file: a kernel that calls a changed one would go on running the
old machine code. So the cache has a directory for every state of all kernels together.

Where $ROONEY_COMPILED_DIRECTORY names steps compiled ahead of time (`rooney.strategy.aot`), numba is never imported:
kernels are then what they are without the JIT, Python functions that give the same bits, and of a worker no mark runs
them.

njit is for what a step is made of: it allocates nothing. njit_allocating is for array forms, and for rules, where a
researcher may write what he likes.
"""

import functools
import hashlib
import importlib.metadata
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

AHEAD_DIRECTORY = os.environ.get("ROONEY_COMPILED_DIRECTORY", "")


def cache_dir() -> Path:
    """Where written steps and machine code are kept: $NUMBA_CACHE_DIR, else the user's cache."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rooney"


def cache_key(kernels: Path = Path(__file__).parent) -> str:
    """Name of a state of all kernels and of what compiles them, 16 hex digits."""
    # The version of the package, not the module's: the same with and without numba in the process.
    texts = [file.read_text() for file in sorted(kernels.rglob("*.py"))]
    parts = [*texts, importlib.metadata.version("numba"), os.environ.get("NUMBA_CPU_NAME", "")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _plain(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """In place of njit: the function itself."""
    return _plain if function is None else function


njit: Any = _plain
njit_allocating: Any = _plain
if not AHEAD_DIRECTORY:
    import numba

    # A rule that divides by zero gets inf or NaN, as numpy says, and not an exception that ends the worker.
    # Said here, for a function that says nothing takes over what the step that calls it says.
    njit_allocating = functools.partial(numba.njit, error_model="numpy", _nrt=True)
    # What makes no arrays needs no counts of who holds them, two locked instructions per array and call. And a call
    # hands over every array in seven words: inlined, a step over 27 arrays takes half the time, and compiles no longer.
    njit = functools.partial(numba.njit, error_model="numpy", _nrt=False, forceinline=True)
    numba.config.CACHE_DIR = str(cache_dir() / f"kernels-{cache_key()}")
