"""A strategy: one file with parameters, features by name and three rules; found by name or path, compiled once.

    class Ibs(Strategy):
        timeframe = "hourly"
        params = {"entry_high": Param(0.2, 0.0, 1.0, "highest IBS that enters")}
        features = {"ibs": Feature("ibs", "hourly")}

        @staticmethod
        def should_enter_long(f, p):
            return f.ibs <= p.entry_high

Rules are compiled: they see the features of one instrument (`f`), its parameters (`p`) and, on exits, the open trade
(`t`: side, entry_price, bars_held, best), all numbers by name. NaN means "not enough bars yet"; entries are only asked
for when every feature has a value, and a comparison with NaN says no. Division by zero gives inf or NaN, as in numpy.

What every strategy shares is configuration, and a strategy only states its defaults: stop, target, trailing stop and
time stop (`SHARED_PARAMS`), the windows of the day in which it may enter, its auto-close and its entry filters.

Compiling: rules passed to the step as arguments would be compiled anew in every process. So a module is written for
each strategy, the step's own text with the rules imported by name, its file name carrying a hash of all sources: a
warm start loads machine code and compiles nothing, and a changed kernel never runs stale. A worker may load the same
step from an extension module of that name instead (`rooney.strategy.aot`), and then has no compiler in its process.
"""

import hashlib
import importlib.util
import inspect
import keyword
import math
import os
import re
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np

import rooney.kernels.scan as scan_module
import rooney.kernels.step as step_module
from rooney.config.schema import TimeOfDay, TimeSpan
from rooney.errors import ConfigError, StrategyError
from rooney.features import Feature
from rooney.features.codegen import Layout, lay_out, write
from rooney.features.registry import is_research_only
from rooney.kernels import jit
from rooney.market.messages import TIMEFRAMES
from rooney.strategy import aot as ahead
from rooney.strategy.filters import Filter

__all__ = ["Compiled", "Feature", "Filter", "Param", "Strategy", "compile_strategy", "explain", "find", "load"]

RULES = {"should_enter_long": "f, p", "should_enter_short": "f, p", "should_exit": "f, p, t"}
LOCAL_STRATEGIES = Path("/etc/rooney/strategies")
# A text, a tuple or a float would count as true: xor is only there for truth values and whole numbers.
_RULE = """_{rule} = njit_allocating(_strategy.{rule})


@njit
def {rule}({arguments}):
    return _{rule}({arguments}) ^ False


"""
_RULES_IMPORT = re.compile(r"^from rooney\.kernels\.strategy_stub import \(.*?^\)\n", re.MULTILINE | re.DOTALL)

_INSTALLED = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib"))
_PACKAGE = Path(__file__).parents[1]
_STEP_IMPORT = "from rooney.kernels.step import step\n"


class Param(msgspec.Struct, frozen=True):
    """A parameter a strategy declares: its default, the range it may have, and what it is for.

    search: the range in which `rooney optimize` looks for a better value; None: it leaves it alone
    """

    default: float | int | bool
    low: float | None = None
    high: float | None = None
    help: str = ""
    search: tuple[float, float] | None = None


SHARED_PARAMS = {
    "time_stop_bars": Param(0, 0, 10_000, "exit after so many bars; 0 never"),
    "stop_percent": Param(0.0, 0.0, 100.0, "stop, per cent of the entry price; 0 none"),
    "stop_atr": Param(0.0, 0.0, 100.0, "stop, average true ranges from the entry; 0 none"),
    "target_percent": Param(0.0, 0.0, 1000.0, "target, per cent of the entry price; 0 none"),
    "target_atr": Param(0.0, 0.0, 100.0, "target, average true ranges from the entry; 0 none"),
    "trail_atr": Param(0.0, 0.0, 100.0, "stop that follows the best close, average true ranges behind it; 0 none"),
    "stop_atr_bars": Param(14, 1, 1000, "bars of the average true range of stop, target and trailing stop"),
}


class Strategy:
    """Base of every strategy. Subclasses state what differs.

    timeframe:      of the bars it decides on
    stop_timeframe: of the bars on whose close stop and target are judged
    params:         its own, and its defaults for the shared ones
    entry_windows:  times of the Chicago day at which a bar that may enter begins; none: all
    auto_close:     time of the Chicago day at which an open trade is closed; "": never
    warm_up_bars:   bars of its timeframe before the first decision
    filters:        entry filters by name, on unless the configuration switches them off
    """

    timeframe: ClassVar[str] = "hourly"
    stop_timeframe: ClassVar[str] = "1min"
    params: ClassVar[dict[str, Param]] = {}
    features: ClassVar[dict[str, Feature]] = {}
    entry_windows: ClassVar[tuple[str, ...]] = ()
    auto_close: ClassVar[str] = ""
    warm_up_bars: ClassVar[int] = 0
    filters: ClassVar[dict[str, Filter]] = {}

    @classmethod
    def declared(cls) -> dict[str, Param]:
        """Every parameter of the strategy, the shared ones included."""
        return SHARED_PARAMS | cls.params

    @staticmethod
    def should_enter_long(f: Any, p: Any) -> bool:
        """Whether to open a long position now."""
        return False

    @staticmethod
    def should_enter_short(f: Any, p: Any) -> bool:
        """Whether to open a short position now."""
        return False

    @staticmethod
    def should_exit(f: Any, p: Any, t: Any) -> bool:
        """Whether to close the open trade now."""
        return False

    def on_order(self, intent: Any) -> None:
        """Called after an intent is in the ledger; can change no decision."""

    def on_trade(self, trade: Any) -> None:
        """Called after a closed trade is in the ledger; can change no decision."""


class Compiled(msgspec.Struct, frozen=True):
    """A strategy ready to run: its step and the layout of its state."""

    path: Path
    strategy: type[Strategy]
    layout: Layout
    values_dtype: Any
    params_dtype: Any
    module: Any
    digest: str

    def instance(self) -> Strategy:
        """An object whose hooks are called. Raises StrategyError."""
        try:
            return self.strategy()
        except Exception as error:
            name = self.strategy.__name__
            raise StrategyError(f"{self.path}: {name}() raises {type(error).__name__}: {error}") from error

    def params_record(self, values: dict[str, Any]) -> Any:
        """One PARAMS record."""
        record = np.zeros(1, self.params_dtype)
        for name, value in values.items():
            record[name] = float(value)
        return record


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
    """Of what the file says, not of where it lies: an upgrade that leaves a strategy alone must not change its digest,
    or its worker would compile again and leave its checkpoint for a fresh warm-up.
    """
    return f"rooney_strategy_{path.stem}_{hashlib.sha256(text).hexdigest()[:12]}"


def _import(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
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
    module_name = _module_name(path, path.read_bytes())
    module = sys.modules.get(module_name)
    if module is None or module.__file__ != str(path):  # a copy elsewhere may be gone, or have other files beside it
        module = _import(path, module_name)
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
    if not strategy.features:
        raise StrategyError(f"{path}: declares no features, so its rules have nothing to read")
    for rule, arguments in RULES.items():
        given = inspect.getattr_static(strategy, rule)
        if not isinstance(given, staticmethod):
            raise StrategyError(f"{path}: {rule} must be a @staticmethod: rules are compiled and have no self")
        if len(inspect.signature(given.__func__).parameters) != arguments.count(",") + 1:
            raise StrategyError(f"{path}: {rule} must be written as {rule}({arguments})")
    return strategy


class _Shared(msgspec.Struct, frozen=True):
    """What a strategy states of the life that all share, as its type."""

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


def _check_name(path: Path, kind: str, name: Any) -> None:
    # A field that is also a method of np.record would be the method where the JIT is off; those with _ are ours.
    usable = isinstance(name, str) and name.isidentifier() and name.isascii() and not name.startswith("_")
    if not usable or keyword.iskeyword(name) or hasattr(np.record, name):
        raise StrategyError(f"{path}: {kind}: {name!r} cannot be used as a name, choose another")


def _source(module_name: str, strategy: type[Strategy], layout: Layout) -> str:
    """The text of the module with the step of one strategy."""
    warm = " and ".join(f"not math.isnan(f.{name})" for name in strategy.features) or "True"
    rules = (
        f"from rooney.kernels.jit import njit_allocating\nfrom {module_name} import {strategy.__name__} as _strategy\n"
        + "".join(_RULE.format(rule=rule, arguments=arguments) for rule, arguments in RULES.items())
        + f"\n\n@njit\ndef is_warm(f):\n    return {warm}\n\n\n"
        + write(layout, TIMEFRAMES.index(strategy.timeframe))
    )
    text, found = _RULES_IMPORT.subn(lambda _: rules, inspect.getsource(step_module))
    if found != 1:
        raise StrategyError(f"{step_module.__file__}: the lines that import the rules have changed")
    return text


def _sources(module: ModuleType) -> list[str]:
    """Texts of a strategy's module and of what it imports of the same kind: neither installed nor of this package."""
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        each = waiting.pop()
        file = getattr(each, "__file__", None)
        if file is None or file in found:
            continue
        if each is not module and (file.startswith(_INSTALLED) or _PACKAGE in Path(file).parents):
            continue
        found[file] = Path(file).read_text(encoding="utf-8", errors="backslashreplace")
        for value in vars(each).values():
            name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            waiting += [sys.modules[name]] if isinstance(name, str) and name in sys.modules else []
    return [found[file] for file in sorted(found)]


def sources_digest(name: str, local: Path = LOCAL_STRATEGIES) -> str:
    """sha256 of a strategy's file and of what it imports of its own: its rules, features, filters and parameters."""
    return hashlib.sha256("\0".join(_sources(sys.modules[load(name, local).__module__])).encode()).hexdigest()


def compile_strategy(
    name: str,
    params: dict[str, Any],
    more: Mapping[str, Feature] | None = None,
    local: Path = LOCAL_STRATEGIES,
    most: Mapping[str, int] | None = None,
) -> Compiled:
    """Load a strategy and write its step; machine code comes with the first call, from the cache when it is warm.

    params: every declared parameter with its value; those that give features their length are compiled in
    more:   features beside the strategy's own: of filters, stops and models
    most:   lengths left open (`lay_out`), for a search over them
    """
    strategy = load(name, local)
    path = find(name, local)
    layout = lay_out(str(path), {**strategy.features, **(more or {})}, params, most)
    module_name = strategy.__module__
    text = _source(module_name, strategy, layout)
    declared = strategy.declared()
    parts = [text, *jit.sources(), *_sources(sys.modules[module_name]), np.__version__, ",".join(declared)]
    parts.append(",".join(layout.fields))  # records are compiled in by their fields
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    # The scan over history comes along: a live worker never calls it, so it costs it nothing.
    text += inspect.getsource(scan_module).replace(_STEP_IMPORT, "")
    step_name = f"rooney_step_{strategy.__name__.lower()}_{hashlib.sha256((digest + text).encode()).hexdigest()[:16]}"
    module: Any = sys.modules.get(step_name)
    if jit.AHEAD_DIRECTORY:
        module = ahead.load(Path(jit.AHEAD_DIRECTORY), step_name)
    elif module is None:
        module = _import(_written(jit.cache_dir() / f"{step_name}.py", text), step_name)
    params_dtype = np.dtype((np.record, [(param, np.float64) for param in declared]))
    return Compiled(path, strategy, layout, layout.values_dtype(), params_dtype, module, digest)


def _written(path: Path, text: str) -> Path:
    """A file with this text; one that has it already keeps its time, which is what machine code is cached by."""
    try:
        if path.is_file() and path.read_text() == text:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        unfinished.write_text(text)
        unfinished.replace(path)
    except OSError as error:
        raise ConfigError(f"{path.parent}: {error.strerror}; NUMBA_CACHE_DIR names a directory to write in") from error
    return path


def explain(compiled: Compiled, error: Exception, features: Any, params: Any, trade: Any) -> StrategyError:
    """What a researcher should change: which rule does not compile, and why. The rest: one record of each kind."""
    if jit.AHEAD_DIRECTORY:
        return StrategyError(f"{compiled.path}: its step, compiled ahead of time, fails: {_reason(error)}")
    import numba  # only here and in the kernels: a worker whose step is compiled ahead of time has none

    for rule, names in RULES.items():
        arguments = tuple(zip(names.split(", "), (features, params, trade), strict=False))
        try:
            written = getattr(compiled.module, f"_{rule}")
            written.compile(tuple(numba.typeof(record) for _, record in arguments))
        except KeyError as missing:  # how numba reports a field that a record has not
            known = ", ".join(f"{name}.{field}" for name, record in arguments for field in record.dtype.names)
            return StrategyError(
                f"{compiled.path}: {rule} uses .{missing.args[0]}, which does not exist; it can use {known}"
            )
        except Exception as found:  # noqa: BLE001 - numba raises what it likes for a function it cannot compile
            return StrategyError(f"{compiled.path}: {rule} cannot be compiled: {_reason(found)}")
        returned = written.nopython_signatures[-1].return_type
        if not isinstance(returned, numba.types.Boolean | numba.types.Integer):
            return StrategyError(f"{compiled.path}: {rule} returns {returned}; a rule returns True or False")
    return StrategyError(f"{compiled.path}: its step cannot be compiled: {_reason(error)}")


def _reason(error: Exception) -> str:
    """The line of a compiler's report that says what is wrong, and the line of the file if it names one."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Failed in", "During:", "File", ">>>"))]
    where = [line.rstrip(":").rpartition(", ")[2] for line in lines if line.startswith("File") and ", line " in line]
    return (said[0] if said else type(error).__name__) + (f" ({where[0]})" if where else "")
