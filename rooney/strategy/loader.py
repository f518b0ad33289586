"""From a strategy's name to its class: where its file is, whether it is sound."""

import difflib
import hashlib
import importlib.machinery
import importlib.util
import inspect
import keyword
import math
import sys
from pathlib import Path
from types import CodeType, ModuleType
from typing import Annotated, Any

import msgspec

from rooney.config.schema import TimeOfDay, TimeSpan
from rooney.errors import StrategyError
from rooney.features import Feature, is_research_only
from rooney.files import MIB, read_bytes
from rooney.market.timeframes import TIMEFRAMES
from rooney.paths import LOCAL_STRATEGIES
from rooney.strategy.base import Param, Strategy
from rooney.strategy.filters import Filter

RULES = {"should_enter_long": "f, p", "should_enter_short": "f, p", "should_exit": "f, p, t"}


def find(name: str, local: Path = LOCAL_STRATEGIES) -> Path:
    """The file of a strategy: a path if it looks like one, else NAME.py in `local`, then among those shipped."""
    if "/" in name or name.endswith(".py"):
        path = Path(name)
        if path.is_file():
            return path.resolve()
        raise StrategyError(f"{name}: no such strategy file")
    shipped = importlib.util.find_spec("strategies")
    folders = [local, *(Path(p) for p in (shipped.submodule_search_locations or []) if shipped)] if shipped else [local]
    for folder in folders:
        if (folder / f"{name}.py").is_file():
            return folder / f"{name}.py"
    looked = ", ".join(str(folder) for folder in folders)
    raise StrategyError(f"strategy {name!r}: no {name}.py in {looked}")


def _module_name(path: Path, text: bytes) -> str:
    """Name by what the file says, not by where it lies.

    An upgrade that leaves a strategy alone must not change its digest, or its worker would compile again and leave its
    checkpoint for a fresh warm-up.
    """
    return f"rooney_strategy_{path.stem}_{hashlib.sha256(text).hexdigest()[:12]}"


class _FromText(importlib.machinery.SourceFileLoader):
    """Runs what the file says, never bytecode kept beside it: that may be torn, or of another text of that second."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(read_bytes(Path(path), MIB), path)


def import_file(path: Path, name: str) -> ModuleType:
    """The module of a file, run under that name. Raises StrategyError."""
    spec = importlib.util.spec_from_file_location(name, path, loader=_FromText(name, str(path)))
    if spec is None or spec.loader is None:
        raise StrategyError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise StrategyError(f"{path}: {type(error).__name__} while importing: {error}") from error
    return module


def load(name: str, local: Path = LOCAL_STRATEGIES) -> type[Strategy]:
    """The strategy class of a file. Raises StrategyError that says what to change."""
    path = find(name, local)
    module_name = _module_name(path, read_bytes(path, MIB, what="the strategy"))
    module = sys.modules.get(module_name)
    if module is None or module.__file__ != str(path):  # a copy elsewhere may be gone, or have other files beside it
        module = import_file(path, module_name)
    found = [
        item
        for item in vars(module).values()
        if inspect.isclass(item) and issubclass(item, Strategy) and item.__module__ == module_name
    ]
    if len(found) != 1:
        names = ", ".join(item.__name__ for item in found) or "none"
        raise StrategyError(f"{path}: a strategy file holds exactly one subclass of Strategy, found {names}")
    strategy: type[Strategy] = found[0]
    _check_declared(path, strategy)
    _check_spelling(path, strategy)
    if not strategy.features:
        raise StrategyError(f"{path}: declares no features, so its rules have nothing to read")
    for rule, arguments in RULES.items():
        given = inspect.getattr_static(strategy, rule)
        if not isinstance(given, staticmethod):
            raise StrategyError(f"{path}: {rule} must be a @staticmethod: rules are compiled and have no self")
        if len(inspect.signature(given.__func__).parameters) != arguments.count(",") + 1:
            raise StrategyError(f"{path}: {rule} must be written as {rule}({arguments})")
    return strategy


_KNOWN = [name for name in vars(Strategy) if not name.startswith("_")]


def _check_spelling(path: Path, strategy: type[Strategy]) -> None:
    """Raises StrategyError for a name that looks like a rule, a hook or a field: it would change nothing, silently."""
    bases = strategy.__mro__[: strategy.__mro__.index(Strategy)]
    for name in dict.fromkeys(name for base in bases for name in vars(base)):
        if name in _KNOWN or name.startswith("_"):
            continue
        near = difflib.get_close_matches(name.lower(), _KNOWN, 1, cutoff=0.8)
        if near or name.lower().startswith("should_"):
            hint = f"did you mean {near[0]}?" if near else f"the rules are {', '.join(RULES)}"
            raise StrategyError(f"{path}: {name} is no rule, hook or field of a strategy; {hint}")


class _Shared(msgspec.Struct, frozen=True):
    """Types of what a strategy states of the life that all share."""

    entry_windows: tuple[TimeSpan, ...]
    auto_close: TimeOfDay
    warm_up_bars: Annotated[int, msgspec.Meta(ge=0)]


def _check_declared(path: Path, strategy: type[Strategy]) -> None:
    """Raises StrategyError for what a class body states and is not of the kind it should be."""
    for key in ("timeframe", "stop_timeframe"):
        if getattr(strategy, key) not in TIMEFRAMES:
            raise StrategyError(f"{path}: {key} {getattr(strategy, key)!r} is none of {', '.join(TIMEFRAMES)}")
    shared = {key: getattr(strategy, key) for key in _Shared.__struct_fields__}
    try:
        msgspec.convert(shared | {"auto_close": strategy.auto_close or "off"}, _Shared)
    except msgspec.ValidationError as error:
        raise StrategyError(f"{path}: {error}") from error
    for kind, what in (("params", Param), ("features", Feature), ("filters", Filter)):
        declared = getattr(strategy, kind)
        if not isinstance(declared, dict):
            raise StrategyError(f"{path}: {kind} must be {{'name': {what.__name__}(…)}}, not {declared!r}")
        for name, item in declared.items():
            _check_name(path, kind, name)
            if not isinstance(item, what):
                raise StrategyError(f"{path}: {kind}[{name!r}] must be a {what.__name__}(…), not {item!r}")
            try:
                msgspec.convert(msgspec.to_builtins(item), what)  # what was given is of the types it declares
            except (TypeError, msgspec.ValidationError) as error:
                raise StrategyError(f"{path}: {kind}[{name!r}]: {error}") from error
    for name, param in strategy.params.items():
        least, most = (-math.inf if param.low is None else param.low), (math.inf if param.high is None else param.high)
        if not (math.isfinite(param.default) and least <= param.default <= most):
            raise StrategyError(f"{path}: params[{name!r}]: default {param.default} is no number in {least} to {most}")
    read = strategy.features | {name: item.feature for name, item in strategy.filters.items()}
    for name, feature in read.items():
        if is_research_only(feature):
            raise StrategyError(f"{path}: {name!r} reads the future, so it exists in research only")


# A field that is also a method of np.record would be the method where the JIT is off. By name, of every version of
# numpy: whoever only reads a strategy's file loads no numpy.
_OF_RECORDS = """
T all any argmax argmin argsort astype base byteswap choose clip compress conj conjugate copy cumprod cumsum data device
diagonal dtype dump dumps fill flags flat flatten getfield imag item itemset itemsize max mean min nbytes ndim
newbyteorder nonzero pprint prod ptp put ravel real repeat reshape resize round searchsorted setfield setflags shape
size sort squeeze std strides sum swapaxes take to_device tobytes tofile tolist tostring trace transpose var view
"""


def _check_name(path: Path, kind: str, name: Any) -> None:
    # Those with _ are ours.
    usable = isinstance(name, str) and name.isidentifier() and name.isascii() and not name.startswith("_")
    if not usable or keyword.iskeyword(name) or name in _OF_RECORDS.split():
        raise StrategyError(f"{path}: {kind}: {name!r} cannot be used as a name, choose another")
