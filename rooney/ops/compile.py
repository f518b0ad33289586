"""`rooney compile NAME`: an engine's step → an extension module, and the drop-in that makes its worker load it.

Needs setuptools, a C and C++ compiler and Python's headers, all of them only here. The code is for the machine's
architecture, not for its very processor, and gives the same bits as the JIT's.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rooney.engine.engine import Engine
from rooney.errors import ConfigError
from rooney.files import write_whole
from rooney.kernels import jit
from rooney.strategy import aot as ahead
from rooney.systemd import unit_name

UNITS = Path("/etc/systemd/system")
_VERSIONS = "versions"  # an installation's folder of virtual environments (`rooney.install.layout`)
_NEEDS = (
    "compiling ahead of time needs setuptools in this Python's environment, a C and C++ compiler and Python's headers "
    "(Debian, Ubuntu: apt install g++ python3-dev); a worker needs none of them. Nothing was written"
)


def installed_directory(prefix: Path = Path(sys.prefix)) -> Path:
    """Directory of an installation's steps, beside its versions: each finds its own, so a rollback loses none.

    Workers can execute from there, and write nothing in it. prefix: of the interpreter. Raises ConfigError for a rooney
    that is not installed: no unit would run this one.
    """
    if prefix.parent.name != _VERSIONS:
        raise ConfigError(
            f"{prefix} is no installation of rooney (`python3 -m rooney.install` makes one), so no unit would run what "
            "is compiled here: --out DIR names a directory for it. Nothing was written"
        )
    return prefix.parents[1] / "compiled"


def fill_cache(engine: Engine) -> Path:
    """Compile an engine's step into the JIT's cache, where its worker finds it; returns the cache's directory."""
    engine.compile()
    return jit.cache_dir()


def build(engine: Engine, directory: Path) -> Path:
    """Compile an engine's step into `directory`; returns the file, which is there whole or not at all.

    Raises StrategyError for a rule that cannot be compiled, else ConfigError.
    """
    if jit.AHEAD_DIRECTORY:
        raise ConfigError(
            "ROONEY_COMPILED_DIRECTORY is set, so there is no compiler here: unset it. Nothing was written"
        )
    import numba

    if numba.config.DISABLE_JIT:
        raise ConfigError("NUMBA_DISABLE_JIT is set, so there is no compiler here: unset it. Nothing was written")
    try:
        from numba.pycc import CC
    except ImportError as error:
        raise ConfigError(f"{error}: {_NEEDS}") from error
    module, arguments = engine.compiled.module, engine.arguments()
    path = ahead.extension_path(directory, module.__name__)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        unfinished = tempfile.TemporaryDirectory(dir=directory, prefix=".unfinished-")
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror}; as root, or --out names another directory") from error
    with unfinished as folder:
        compiler = _new(CC, module)
        compiler.output_dir = folder
        signature = tuple(numba.typeof(argument) for argument in arguments)
        compiler.export("step", signature)(module.step.py_func)
        compiler.export("arguments", "int64()")(_constant(ahead.fingerprint(arguments)))
        try:
            compiler.compile()
        except Exception as error:  # numba and setuptools raise what they like
            engine.compile()  # says which rule it is, if it is one
            raise ConfigError(f"{type(error).__name__}: {str(error).strip()}; {_NEEDS}") from error
        write_whole(path, jit.sealed((Path(folder) / path.name).read_bytes()), mode=0o755, synced=True)
    return path


def _constant(value: int) -> Callable[[], int]:
    return lambda: value


def _new(cc: Any, module: Any) -> Any:
    try:
        return cc(module.__name__, source_module=module)
    except RuntimeError as error:  # numba tries the compiler first
        raise ConfigError(f"{str(error).strip()}: {_NEEDS}") from error


def drop_in_path(name: str, units: Path = UNITS) -> Path:
    """The drop-in of a strategy's worker."""
    return units / f"{unit_name(name)}.d" / ahead.DROP_IN


def enable(name: str, directory: Path, units: Path = UNITS) -> Path:
    """Write the drop-in of a strategy's worker; returns it. Raises ConfigError where this user may not."""
    return write(drop_in_path(name, units), directory)


def write(path: Path, directory: Path) -> Path:
    """The drop-in for steps in `directory`, as `path`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, ahead.drop_in(directory), mode=0o644)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; the step is compiled, the worker does not use it yet") from error
    return path
