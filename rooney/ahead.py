"""A step compiled ahead of time: an extension module that a worker loads instead of compiling, without numba.

`rooney compile NAME` makes it (`rooney.precompile`), $ROONEY_COMPILED_DIRECTORY says where it lies. Its name, which is
built into it, is that of the module the JIT would run: a digest of the rules, the step, every kernel, the layout of the
features and the versions of numpy and numba. So a step that does not match its sources cannot be found, and a
directory holds the steps of several strategies and versions side by side.
"""

import functools
import importlib.machinery
import importlib.util
from pathlib import Path
from typing import Any, NoReturn

from rooney.errors import ConfigError

DIRECTORY = Path("/opt/rooney/compiled")  # workers can execute from here, and write nothing in it
DROP_IN = "60-compiled.conf"
_SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]


class NotCompiledError(ConfigError):
    """There is no such step in the directory, or it cannot be loaded; `rooney compile` makes it."""


class Ahead:
    """The loaded extension: `step`, with the arguments the JIT's has."""

    def __init__(self, extension: Any) -> None:
        self.step = extension.step

    def scan(self, *arguments: Any) -> NoReturn:
        """Research compiles what loops over history; a worker never does. Raises ConfigError."""
        raise ConfigError(
            "ROONEY_COMPILED_DIRECTORY is set, and steps compiled ahead of time are for workers: unset it to go over "
            "history; nothing was run"
        )


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
        if spec is None or spec.loader is None:
            raise ImportError("not an extension module")
        extension = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(extension)
        return Ahead(extension)
    except (ImportError, AttributeError) as error:
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
Environment=ROONEY_COMPILED_DIRECTORY={directory}
MemoryDenyWriteExecute=yes
"""
