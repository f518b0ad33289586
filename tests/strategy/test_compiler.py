"""Finding, checking and compiling a strategy file; a researcher's mistakes come back as one sentence."""

import importlib
import os
import py_compile
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rooney.config.loader import load_config
from rooney.engine.build import build_engine
from rooney.errors import StrategyError
from rooney.kernels import jit
from rooney.strategy import compiler as strategy_module
from rooney.strategy.compiler import compile_strategy
from rooney.strategy.loader import find, load
from tests.support.engines import SCRIPTED, engine
from tests.support.paths import ROOT

GOOD = """
from rooney.strategy import Feature, Param, Strategy


class Mine(Strategy):
    timeframe = "hourly"
    params = {"low": Param(0.2), "n": Param(5, 1, 50)}
    features = {"ibs": Feature("ibs"), "top": Feature("channel_high", "hourly", "n")}

    @staticmethod
    def should_enter_long(f, p):
        return f.ibs <= p.low
"""
PARAMS = {"low": 0.2, "n": 5}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Writes a strategy file, machine code next to it; what was loaded of it is forgotten afterwards."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))

    def put(text: str, name: str = "mine") -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        return path

    yield put
    for loaded in [loaded for loaded in sys.modules if "_mine_" in loaded]:
        del sys.modules[loaded]


def test_a_strategy_is_found_by_name_among_those_shipped() -> None:
    assert find("ibs") == ROOT / "strategies" / "ibs.py"
    assert load("ibs").__name__ == "Ibs"


def test_a_local_strategy_comes_before_a_shipped_one(write) -> None:  # type: ignore[no-untyped-def]
    path = write(GOOD, "ibs")
    assert find("ibs", local=path.parent) == path


def test_a_strategy_is_found_by_path() -> None:
    assert load(SCRIPTED).__name__ == "Scripted"


def test_a_file_is_loaded_once(write) -> None:  # type: ignore[no-untyped-def]
    path = str(write(GOOD))
    assert load(path) is load(path)


def test_a_name_nobody_knows_says_where_was_looked(tmp_path: Path) -> None:
    with pytest.raises(StrategyError) as error:
        load("nonesuch", local=tmp_path)
    assert str(error.value) == f"strategy 'nonesuch': no nonesuch.py in {tmp_path}, {ROOT / 'strategies'}"


MISTAKES = {
    "import error": (
        GOOD.replace("from rooney", "import nonesuch\nfrom rooney", 1),
        "ModuleNotFoundError while importing: No module named 'nonesuch'",
    ),
    "syntax error": (GOOD + "    def (", "SyntaxError while importing: "),
    "error in the class body": (GOOD.replace("Param(0.2)", "Param()"), "TypeError while importing: "),
    "two classes": (
        GOOD + "\n\nclass Other(Mine):\n    pass\n",
        "a strategy file holds exactly one subclass of Strategy, found Mine, Other",
    ),
    "no class": ("x = 1\n", "a strategy file holds exactly one subclass of Strategy, found none"),
    "no staticmethod": (
        GOOD.replace("    @staticmethod\n", "").replace("(f, p)", "(self, f, p)"),
        "should_enter_long must be a @staticmethod: rules are compiled and have no self",
    ),
    "wrong arguments": (GOOD.replace("(f, p)", "(f)"), "should_enter_long must be written as should_enter_long(f, p)"),
    "timeframe": (GOOD.replace('"hourly"', '"4h"', 1), "timeframe '4h' is none of 1min, hourly, daily"),
    "unknown feature": (GOOD.replace('"ibs")', '"ibss")'), "feature 'ibs' asks for 'ibss'; did you mean ibs"),
    "unknown length": (GOOD.replace('"n")', '"m")'), "feature 'top' takes its length from 'm', no parameter"),
    "feature of a wrong type": (GOOD.replace('Feature("ibs")', '"ibs"'), "features['ibs'] must be a Feature(…), not"),
    "parameter of a wrong type": (GOOD.replace("Param(0.2)", "0.2"), "params['low'] must be a Param(…), not 0.2"),
    "keyword": (GOOD.replace('"low"', '"class"'), "params: 'class' cannot be used as a name, choose another"),
    "method of np.record": (GOOD.replace('"top"', '"max"'), "features: 'max' cannot be used as a name, choose another"),
    "private name": (GOOD.replace('"top"', '"_1"'), "features: '_1' cannot be used as a name, choose another"),
    "a name that is none": (GOOD.replace('"top"', "7"), "features: 7 cannot be used as a name, choose another"),
    "features in a list": (
        GOOD.replace('{"ibs": Feature("ibs"), ', '[Feature("ibs")] or {'),
        "features must be {'name': ",
    ),
    "params that are none": (
        GOOD.replace("params = {", "params = None and {"),
        "params must be {'name': Param(…)}, not None",
    ),
    "kernel of a wrong type": (
        GOOD.replace('Feature("ibs")', "Feature(7)"),
        "features['ibs']: Expected `str`, got `int`",
    ),
    "input of a wrong type": (
        GOOD.replace('Feature("ibs")', 'Feature("sma", of=("close",))'),
        "features['ibs']: Expected `object`, got `str`",
    ),
    "default that is no number": (
        GOOD.replace("Param(0.2)", 'Param("a")'),
        "params['low']: Expected `bool | int | float`",
    ),
    "default that is not a number": (
        GOOD.replace("Param(0.2)", 'Param(float("nan"))'),
        "params['low']: default nan is no number in -inf to inf",
    ),
    "default beyond its range": (
        GOOD.replace("Param(5,", "Param(51,"),
        "params['n']: default 51 is no number in 1 to 50",
    ),
    "no time of day": (
        GOOD.replace("    params", '    auto_close = "noon"\n    params'),
        "Expected `str` matching regex",
    ),
    "no window": (
        GOOD.replace("    params", '    entry_windows = ("9-25",)\n    params'),
        "Expected `str` matching regex",
    ),
    "warm-up in words": (
        GOOD.replace("    params", '    warm_up_bars = "many"\n    params'),
        "Expected `int`, got `str`",
    ),
    "a feature that reads the future": (
        GOOD.replace('Feature("ibs")', 'Feature("ibs", "daily_ahead")'),
        "'ibs' reads the future, so it exists in research",
    ),
    "an end of the process": ("import sys\n\nsys.exit(0)\n", "SystemExit while importing: 0"),
    "a misspelt rule": (
        GOOD + "\n    @staticmethod\n    def shold_exit(f, p, t):\n        return True\n",
        "shold_exit is no rule, hook or field of a strategy; did you mean should_exit?",
    ),
    "a rule in another style": (
        GOOD + "\n    @staticmethod\n    def shouldExit(f, p, t):\n        return True\n",
        "shouldExit is no rule, hook or field of a strategy; did you mean should_exit?",
    ),
    "a rule that there is not": (
        GOOD + "\n    @staticmethod\n    def should_reverse(f, p):\n        return True\n",
        "should_reverse is no rule, hook or field of a strategy; the rules are should_enter_long, ",
    ),
    "a misspelt hook": (
        GOOD + "\n    def on_trades(self, trade):\n        pass\n",
        "on_trades is no rule, hook or field of a strategy; did you mean on_trade?",
    ),
    "a misspelt field": (
        GOOD.replace("    params", '    autoclose = "15:00"\n    params'),
        "autoclose is no rule, hook or field of a strategy; did you mean auto_close?",
    ),
    "a misspelt rule of a base": (
        GOOD.replace(
            "class Mine(Strategy)",
            "class Rules:\n    def shuold_exit(f, p, t):\n        return True\n\n\nclass Mine(Rules, Strategy)",
        ),
        "shuold_exit is no rule, hook or field of a strategy; did you mean should_exit?",
    ),
    "no features": (GOOD.replace("features = {", "features = {} and {"), "declares no features, so its rules"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_file_is_a_sentence_that_names_the_file(write, mistake: str) -> None:  # type: ignore[no-untyped-def]
    text, said = MISTAKES[mistake]
    path = write(text)
    with pytest.raises(StrategyError) as error:
        compile_strategy(str(path), PARAMS)
    assert str(error.value).startswith(f"{path}: {said}")
    assert "\n" not in str(error.value)


NOT_COMPILABLE = {
    "a feature that is not declared": (
        "f.ibs <= p.low and f.rsi < 30",
        "should_enter_long uses .rsi, which does not exist; it can use f.ibs, f.top, p.time_stop_bars, ",
    ),
    "a parameter that is not declared": ("f.ibs <= p.lowest", "should_enter_long uses .lowest, which does not exist; "),
    "an object of Python": ("f.ibs <= OTHER.low", "should_enter_long cannot be compiled: Untyped global name 'OTH"),
    "a name nobody defined": ("f.ibs <= lowest", "should_enter_long cannot be compiled: NameError: name 'lowest'"),
    "an import inside": ("__import__('math').pi < f.ibs", "should_enter_long cannot be compiled: "),
    "a tuple for an answer": ("f.ibs <= p.low,", "should_enter_long returns UniTuple(bool x 1); a rule returns "),
    "a number for an answer": ("f.ibs", "should_enter_long returns float64; a rule returns True or False"),
    "no answer": ("None", "should_enter_long returns none; a rule returns True or False"),
    "text compared with a number": ("f.ibs < 'low'", "should_enter_long cannot be compiled: "),
}


@pytest.mark.parametrize("mistake", NOT_COMPILABLE)
def test_a_rule_that_does_not_compile_is_named_with_its_file_and_the_reason(write, mistake: str) -> None:  # type: ignore[no-untyped-def]
    rule, said = NOT_COMPILABLE[mistake]
    path = write(GOOD.replace("f.ibs <= p.low", rule).replace("class Mine", "OTHER = object()\n\n\nclass Mine"))
    with pytest.raises(StrategyError) as error:
        engine(("ES",), str(path)).compile()
    assert str(error.value).startswith(f"{path}: {said}")
    assert "\n" not in str(error.value)


def test_what_a_strategy_calls_its_own_is_its_own(write) -> None:  # type: ignore[no-untyped-def]
    own = "\n    LIMIT = 3\n\n    @staticmethod\n    def is_low(f, p):\n        return f.ibs < p.low\n"
    assert load(str(write(GOOD + own + "\n    def _should_tell(self):\n        return True\n"))).LIMIT == 3  # type: ignore[attr-defined]


def test_an_object_of_a_strategy_that_cannot_be_made_is_said(write) -> None:  # type: ignore[no-untyped-def]
    path = write(GOOD + "\n    def __init__(self, account):\n        pass\n")
    with pytest.raises(StrategyError, match=re.escape(f"{path}: Mine() raises TypeError: ")):
        compile_strategy(str(path), PARAMS).instance()


def test_a_feature_that_stops_would_hide_is_refused(write) -> None:  # type: ignore[no-untyped-def]
    path = write(GOOD.replace('"top":', '"stop_atr":'))
    keys = {"strategy": f'"{path}"', "instruments": "[ES]", "strategy_params": "{stop_atr: 2}"}
    config = load_config(
        ROOT / "config.multi_alpha.yml", [f"strategies.breakout.{key}={text}" for key, text in keys.items()]
    )
    with pytest.raises(StrategyError, match="features: stop_atr would be hidden by the feature of that name"):
        build_engine(config.strategy("breakout"))


COUNT = """
import sys
sys.path.insert(0, {root!r})
from numba.core import event
compiled = []
class Listener(event.Listener):
    def on_start(self, e): compiled.append(str(e.data["dispatcher"]))
    def on_end(self, e): pass
event.register("numba:compile", Listener())
from tests.support.engines import engine, run_random
from tests.support.minutes import random_tape
e = engine(("ES", "NQ"), {name!r})
e.compile()
before = len(compiled)
run_random(e, random_tape(1, 80, ("ES", "NQ")), 1)
print(before, len(compiled) - before)
"""


def compilations(name: str, cache: Path, said: list[str] | None = None, before: str = "") -> tuple[int, int]:
    """(before, after) the end of `Engine.compile()`, in a process of its own.

    said: takes what the process said; before: a statement that it begins with
    """
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\n" + COUNT.format(root=str(ROOT), name=name)],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    if said is not None:
        said += done.stderr.splitlines()
    at_start, later = map(int, done.stdout.split())
    return at_start, later


def test_a_second_process_compiles_nothing_and_no_process_compiles_after_the_start(tmp_path: Path) -> None:
    first, later = compilations("ibs", tmp_path)
    assert first > 0
    assert later == 0
    assert compilations("ibs", tmp_path) == (0, 0)


DAMAGE: list[Callable[[Path, bytes], object]] = [
    lambda path, content: path.write_bytes(b""),
    lambda path, content: path.write_bytes(content[: len(content) // 2]),
    lambda path, content: path.write_bytes(content[:-1]),
    lambda path, content: path.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]),
    lambda path, content: (path.unlink(), path.mkdir()),
    lambda path, content: (path.unlink(), os.mkfifo(path)),
]


def test_machine_code_that_a_power_cut_tore_is_compiled_anew_and_said_once(tmp_path: Path) -> None:
    first, _ = compilations("ibs", tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.suffix in (".nbi", ".nbc", ".py"))
    assert {path.suffix for path in files} == {".nbi", ".nbc", ".py"}
    for number, path in enumerate(files):
        DAMAGE[number % len(DAMAGE)](path, path.read_bytes())
    said: list[str] = []
    assert compilations("ibs", tmp_path, said) == (first, 0)
    assert compilations("ibs", tmp_path, said) == (0, 0)
    told = [line for line in said if "torn" in line]
    assert told and len(told) == len(set(told))  # once for each folder


def test_a_disk_that_takes_no_machine_code_keeps_nobody_from_running_it(tmp_path: Path) -> None:
    """As one that is full does."""
    said: list[str] = []
    compilations(
        "ibs", tmp_path, said, before="import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000,) * 2)"
    )
    assert any("machine code is not kept" in line for line in said)


def test_bytecode_beside_a_strategy_is_never_run(write) -> None:  # type: ignore[no-untyped-def]
    """A torn one would end the import; one of another text of the same second and length would be traded."""
    path = write(GOOD)
    py_compile.compile(str(path), doraise=True)
    (kept,) = path.parent.rglob("mine.*.pyc")
    for content in (kept.read_bytes()[:-20], b"", kept.read_bytes().replace(b"ibs", b"abs")):
        kept.write_bytes(content)
        assert set(load(str(path)).features) == {"ibs", "top"}
        for loaded in [loaded for loaded in sys.modules if "_mine_" in loaded]:
            del sys.modules[loaded]


def test_a_changed_helper_of_a_strategy_gives_another_module(  # type: ignore[no-untyped-def]
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function of a module beside the strategy is compiled into its step."""
    monkeypatch.syspath_prepend(tmp_path)
    digests = []
    for limit in (0.2, 0.3):
        (tmp_path / "beside_mine.py").write_text(f"def is_low(x):\n    return x < {limit:.10f}\n")
        text = GOOD.replace("f.ibs <= p.low", "is_low(f.ibs)").replace(
            "\n\n\n", "\nfrom beside_mine import is_low\n\n", 1
        )
        path = write(text)
        for name in [name for name in sys.modules if name == "beside_mine" or "_mine_" in name]:
            del sys.modules[name]
        importlib.invalidate_caches()
        digests.append(compile_strategy(str(path), PARAMS).digest)
    assert digests[0] != digests[1]


def test_a_file_that_lies_elsewhere_is_the_same_strategy(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """As after an upgrade: compiled already, its worker's checkpoint still fits; also when the first one is gone."""
    path = write(GOOD)
    before = compile_strategy(str(path), PARAMS)
    elsewhere = tmp_path / "next" / path.name
    elsewhere.parent.mkdir()
    path.rename(elsewhere)
    after = compile_strategy(str(elsewhere), PARAMS)
    assert (after.digest, after.module.__name__) == (before.digest, before.module.__name__)
    assert after.path == elsewhere


def test_machine_code_of_other_kernel_texts_lies_in_another_folder(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "rooney/kernels", tmp_path / "kernels")
    assert jit.cache_key(tmp_path / "kernels") == jit.cache_key()
    changed = tmp_path / "kernels/indicators/trend.py"
    changed.write_text(changed.read_text() + "# changed\n")
    assert jit.cache_key(tmp_path / "kernels") != jit.cache_key()


def test_a_changed_length_gives_another_module_and_a_changed_threshold_does_not(write) -> None:  # type: ignore[no-untyped-def]
    path = str(write(GOOD))
    base = compile_strategy(path, PARAMS).digest
    assert compile_strategy(path, PARAMS | {"n": 6}).digest != base
    assert compile_strategy(path, PARAMS | {"low": 0.3}).digest == base


def test_a_written_step_that_was_damaged_is_written_again(write) -> None:  # type: ignore[no-untyped-def]
    path = str(write(GOOD))
    written = Path(compile_strategy(path, PARAMS).module.__file__)
    good = written.read_text()
    written.write_text("torn")
    sys.modules.pop(f"{written.stem}")
    compile_strategy(path, PARAMS)
    assert written.read_text() == good


def test_the_written_step_is_the_common_step_with_one_import_replaced_and_what_else_comes_along_after_it(write) -> None:  # type: ignore[no-untyped-def]
    text = Path(compile_strategy(str(write(GOOD)), PARAMS).module.__file__).read_text()
    common = Path(strategy_module.step_module.__file__).read_text()
    head, tail = strategy_module._RULES_IMPORT.split(common)
    assert text.startswith(head)
    assert tail in text
