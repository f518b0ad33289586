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

import contextlib
import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import rooney.kernels.scan as scan_module
import rooney.kernels.step as step_module
from rooney.errors import ConfigError, FileError, StrategyError
from rooney.features import Feature
from rooney.features.codegen import Layout, lay_out, write
from rooney.files import MIB, read_bytes, write_whole
from rooney.kernels import jit
from rooney.market.timeframes import TIMEFRAMES
from rooney.paths import LOCAL_STRATEGIES
from rooney.strategy import aot as ahead
from rooney.strategy.base import Strategy
from rooney.strategy.digest import StepDigests, sha256, step_digests
from rooney.strategy.loader import RULES, find, import_file, load

# A text, a tuple or a float would count as true: xor is only there for truth values and whole numbers.
_RULE = """_{rule} = njit_allocating(_strategy.{rule})


@njit
def {rule}({arguments}):
    return _{rule}({arguments}) ^ False


"""
_RULES_IMPORT = re.compile(r"^from rooney\.kernels\.strategy_stub import \(.*?^\)\n", re.MULTILINE | re.DOTALL)

_STEP_IMPORT = "from rooney.kernels.step import step\n"


class Compiled(msgspec.Struct, frozen=True):
    """A strategy ready to run: its step and the layout of its state."""

    path: Path
    strategy: type[Strategy]
    layout: Layout
    values_dtype: Any
    params_dtype: Any
    module: Any
    digests: StepDigests

    @property
    def digest(self) -> str:
        """Name of the step."""
        return self.digests.compiled

    def instance(self) -> Strategy:
        """An object whose hooks are called. Raises StrategyError."""
        try:
            return self.strategy()
        except Exception as error:
            name = self.strategy.__name__
            raise StrategyError(f"{self.path}: {name}() raises {type(error).__name__}: {error}") from error

    def params_record(self, values: dict[str, Any]) -> Any:
        """PARAMS record of parameters by name."""
        record = np.zeros(1, self.params_dtype)
        for name, value in values.items():
            record[name] = float(value)
        return record


def _source(module_name: str, strategy: type[Strategy], layout: Layout) -> str:
    """The text of the module with the step of one strategy."""
    rules = (
        f"from rooney.kernels.jit import njit_allocating\nfrom {module_name} import {strategy.__name__} as _strategy\n"
        + "".join(_RULE.format(rule=rule, arguments=arguments) for rule, arguments in RULES.items())
        + _features_source(strategy, layout)
    )
    text, found = _RULES_IMPORT.subn(lambda _: rules, inspect.getsource(step_module))
    if found != 1:
        raise StrategyError(f"{step_module.__file__}: the lines that import the rules have changed")
    return text


def _features_source(strategy: type[Strategy], layout: Layout) -> str:
    """The part of it that computes the features."""
    warm = " and ".join(f"not math.isnan(f.{name})" for name in strategy.features) or "True"
    return f"\n\n@njit\ndef is_warm(f):\n    return {warm}\n\n\n" + write(layout, TIMEFRAMES.index(strategy.timeframe))


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
    digests = step_digests(strategy, _features_source(strategy, layout), layout.fields)
    # The scan over history comes along: a live worker never calls it, so it costs it nothing.
    text += inspect.getsource(scan_module).replace(_STEP_IMPORT, "")
    step_name = f"rooney_step_{strategy.__name__.lower()}_{sha256(digests.compiled + text)[:16]}"
    module: Any = sys.modules.get(step_name)
    if jit.AHEAD_DIRECTORY:
        module = ahead.load(Path(jit.AHEAD_DIRECTORY), step_name)
    elif module is None:
        module = import_file(_written(jit.cache_dir() / f"{step_name}.py", text), step_name)
    params_dtype = np.dtype((np.record, [(param, np.float64) for param in strategy.declared()]))
    return Compiled(path, strategy, layout, layout.values_dtype(), params_dtype, module, digests)


def _written(path: Path, text: str) -> Path:
    """A file with this text; one that has it already keeps its time, which is what machine code is cached by."""
    try:
        with contextlib.suppress(FileError):
            if read_bytes(path, 4 * MIB) == text.encode():
                return path
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise ConfigError(f"{path.parent}: {error.strerror}; NUMBA_CACHE_DIR names a directory to write in") from error
    return path


def explain(compiled: Compiled, error: Exception, features: Any, params: Any, trade: Any) -> StrategyError:
    """Error that says which rule does not compile, and why. features, params, trade: a record of each."""
    if jit.AHEAD_DIRECTORY:
        return StrategyError(f"{compiled.path}: its step, compiled ahead of time, fails: {_reason(error)}")
    import numba  # only here and in the kernels: a worker whose step is compiled ahead of time has none

    for rule, names in RULES.items():
        arguments = tuple(zip(names.split(", "), (features, params, trade), strict=False))
        try:
            written = getattr(compiled.module, f"_{rule}")
            written.compile(tuple(numba.typeof(record) for _, record in arguments))
        except KeyError as missing:  # how numba reports a field that a record has not
            # Of features only its own: those of models, stops and filters differ from verb to verb.
            fields = {name: record.dtype.names for name, record in arguments} | {"f": compiled.strategy.features}
            known = ", ".join(f"{name}.{field}" for name in fields for field in fields[name])
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
