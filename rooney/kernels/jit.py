"""njit, with a cache in which machine code of other kernels than these is never found; or without a compiler at all.

Numba's own cache looks at the time of a function's own file: a kernel that calls a changed one would go on running the
old machine code. So the cache has a directory for every state of all kernels together. And it takes the bytes that it
finds for its own: here they are sealed, and what a power cut or a disk made of them is compiled anew.

Where $ROONEY_COMPILED_DIRECTORY names steps compiled ahead of time (`rooney.strategy.aot`), numba is never imported:
kernels are then what they are without the JIT, Python functions that give the same bits, and of a worker no mark runs
them.

njit is for what a step is made of: it allocates nothing. njit_allocating is for array forms, and for rules, where a
researcher may write what he likes.
"""

import functools
import hashlib
import importlib.metadata
import io
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_MOST_BYTES = 256 << 20  # of a file of machine code; the largest of ours has a few MiB

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


def sealed(content: bytes) -> bytes:
    """Machine code as it is written: whoever loads it can tell a torn or changed file from a whole one."""
    return content + hashlib.sha256(content).digest()


def is_sealed(path: Path) -> bool:
    """True if a file is what was written there; a FIFO or a directory is not. Raises OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        content = file.read(_MOST_BYTES) or b""
    return len(content) > 32 and sealed(content[:-32]) == content


@functools.cache
def _say_once(text: str) -> None:
    logger.warning("%s", text)


def _plain(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """In place of njit: the function itself."""
    return _plain if function is None else function


njit: Any = _plain
njit_allocating: Any = _plain
if not AHEAD_DIRECTORY:
    import numba
    from numba.core import caching

    class SealedCacheFile(caching.IndexDataCacheFile):
        """Index and machine code of one kernel. A file that is not as it was written is a cache miss, and removed."""

        def save(self, key: Any, data: Any) -> None:
            """Keep machine code, if the disk takes it."""
            try:
                super().save(key, data)
            except OSError as error:
                _say_once(f"{self._cache_path}: {error.strerror}; machine code is not kept, the next start compiles it")

        def _load_index(self) -> Any:
            return super()._load_index() if self._is_whole(self._index_path) else {}

        def _load_data(self, name: str) -> Any:
            if not self._is_whole(self._data_path(name)):
                raise FileNotFoundError  # a miss
            return super()._load_data(name)

        def _is_whole(self, path: str) -> bool:
            try:
                if is_sealed(Path(path)):
                    return True
            except FileNotFoundError:
                return False
            except OSError:
                pass  # as little use as a torn one
            _say_once(f"{self._cache_path}: machine code there is torn, as by a power cut; removed, and compiled anew")
            with suppress(OSError):
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            return False

        @contextmanager
        def _open_for_write(self, filepath: str) -> Iterator[io.BytesIO]:
            content = io.BytesIO()
            yield content
            with super()._open_for_write(filepath) as file:
                file.write(sealed(content.getvalue()))

    caching.IndexDataCacheFile = SealedCacheFile

    # A rule that divides by zero gets inf or NaN, as numpy says, and not an exception that ends the worker.
    # Said here, for a function that says nothing takes over what the step that calls it says.
    njit_allocating = functools.partial(numba.njit, error_model="numpy", _nrt=True)
    # What makes no arrays needs no counts of who holds them, two locked instructions per array and call. And a call
    # hands over every array in seven words: inlined, a step over 27 arrays takes half the time, and compiles no longer.
    njit = functools.partial(numba.njit, error_model="numpy", _nrt=False, forceinline=True)
    numba.config.CACHE_DIR = str(cache_dir() / f"kernels-{cache_key()}")
