"""A step compiled ahead of time: an extension module that a worker loads instead of compiling, without numba.

`rooney compile NAME` makes it (`rooney.ops.compile`), $ROONEY_COMPILED_DIRECTORY says where it lies. Its name, which is
built into it, is that of the module the JIT would run: a digest of the rules, the step, every kernel, the layout of the
features and the versions of numpy and numba. So a step that does not match its sources cannot be found, and a
directory holds the steps of several strategies and versions side by side.
"""

import functools
import hashlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rooney.errors import ConfigError
from rooney.kernels.jit import is_sealed

DROP_IN = "60-compiled.conf"
_VARIABLE = "ROONEY_COMPILED_DIRECTORY"
_SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]


class NotCompiledError(ConfigError):
    """There is no such step in the directory, or it cannot be loaded; `rooney compile` makes it."""


class Ahead:
    """The loaded extension: `step`, with the arguments the JIT's has.

    The JIT compiles for the types it is given. Machine code from a file takes them for granted: of an array it would
    only notice another size of its elements, and read the rest as if it were its own. So the first call compares them.
    """

    def __init__(self, path: Path, extension: Any) -> None:
        self.__name__: str = extension.__name__
        self._path = path
        self._arguments: Callable[[], int] = extension.arguments
        self._step: Callable[..., Any] = extension.step
        self.step: Callable[..., Any] = self._first

    def _first(self, *arguments: Any) -> Any:
        if fingerprint(arguments) != self._arguments():
            raise NotCompiledError(
                f"{self._path}: compiled for arguments of other types; `rooney compile` makes it anew"
            )
        self.step = self._step
        return self._step(*arguments)

    def scan(self, *arguments: Any) -> NoReturn:
        """Research compiles what loops over history; a worker never does. Raises ConfigError."""
        raise ConfigError(
            "ROONEY_COMPILED_DIRECTORY is set, and steps compiled ahead of time are for workers: unset it to go over "
            "history; nothing was run"
        )


def fingerprint(arguments: Iterable[Any]) -> int:
    """63 bits of a hash over the types of a step's arguments: fields and offsets, dimensions, contiguity."""
    said = [
        f"{one.dtype.descr} {one.dtype.itemsize} {one.ndim} {one.flags.c_contiguous} {one.flags.writeable}"
        if isinstance(one, np.ndarray)
        else type(one).__name__
        for one in arguments
    ]
    return int.from_bytes(hashlib.sha256("\n".join(said).encode()).digest()[:8], "big") >> 1


def extension_path(directory: Path, name: str) -> Path:
    """File of the step of that name."""
    return directory / f"{name}{_SUFFIX}"


@functools.cache
def load(directory: Path, name: str) -> Ahead:
    """The step of that name. Raises NotCompiledError if it is not there, or not for this machine."""
    path = extension_path(directory, name)
    if not path.is_file():
        stem = name.rpartition("_")[0]
        others = sum(1 for _ in directory.glob(f"{stem}_*{_SUFFIX}")) if directory.is_dir() else 0
        raise NotCompiledError(
            f"{directory}: no step compiled ahead of time matches the strategy, its lengths and the kernels as they "
            f"are now (no {path.name}; {others} of other sources)"
        )
    spec = importlib.util.spec_from_file_location(name, path)
    try:
        if not is_sealed(path):  # the loader maps what the file's head says and reads beyond a torn one's end
            raise ImportError("not what was written there")
        if spec is None or spec.loader is None:
            raise ImportError("not an extension module")
        # An extension enters itself there, where the JIT's module of that name is looked for; one that was loaded
        # before even fills the module that it finds there with what is its own.
        known = sys.modules.pop(name, None)
        try:
            extension = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(extension)
        finally:
            sys.modules.pop(name, None)
            if known is not None:
                sys.modules[name] = known
        return Ahead(path, extension)
    except (ImportError, AttributeError, OSError) as error:
        raise NotCompiledError(f"{path}: cannot be loaded: {error}") from error


def drop_in(directory: Path) -> str:
    """Text of the systemd drop-in of a worker whose step lies in `directory`."""
    return f"""\
# The step of this worker is compiled ahead of time: no compiler is in its process, and no memory of it is ever written
# and then executed. Written by `rooney compile NAME` as /etc/systemd/system/rooney-worker@NAME.service.d/{DROP_IN}
# and in force after systemctl daemon-reload && systemctl restart rooney-worker@NAME. A step that no longer matches the
# strategy, its lengths or the kernels stops the start (status 78) until `rooney compile NAME` has run again. Without
# this file the worker compiles at its start, as before.
[Service]
Environment={_VARIABLE}={directory}
MemoryDenyWriteExecute=yes
"""


def directory_of(drop_in: str) -> Path | None:
    """The directory a drop-in's text names, None for one that names none."""
    _, found, rest = drop_in.partition(f"\nEnvironment={_VARIABLE}=")
    return Path(rest.splitlines()[0]) if found else None
