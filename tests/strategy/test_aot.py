"""A step compiled ahead of time: the JIT's decisions to the last byte, without a compiler in the worker's process."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rooney.engine.engine import Engine
from rooney.errors import EXIT_CONFIG, ConfigError
from rooney.install.layout import AHEAD_DROP_IN
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.market.tape import Published
from rooney.ops import compile as precompile
from rooney.ops import host_check
from rooney.sim.processes import Part
from rooney.strategy import aot as ahead
from rooney.strategy.aot import NotCompiledError
from tests.support.engines import ALLOCATING, SCRIPTED, Driver, engine, run_random, warmed
from tests.support.hourly_walks import START, SYMBOLS, WARM_HOURS, hour_tape, ibs, random_hours, walk_digest, warm
from tests.support.minutes import bar, minute, random_tape
from tests.support.paths import CONFIG, ROOT
from tests.support.private_redis import PrivateRedis, private_redis
from tests.support.tools import require

SHIPPED = sorted(path.stem for path in (ROOT / "strategies").glob("[!_]*.py"))


def rooney(*argv: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "rooney", *argv]
    return subprocess.run(
        command, env=os.environ | (env or {}), cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )


@pytest.fixture(scope="module")
def jit() -> Engine:
    return warm(ibs())


@pytest.fixture(scope="module")
def directory(jit: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `rooney compile ibs --out` wrote; the one compilation of this file."""
    require("g++")
    out = tmp_path_factory.mktemp("ahead") / "compiled"
    done = rooney("compile", "ibs", "--config", str(CONFIG), "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == {
        "exit": 0,
        "step": str(ahead.extension_path(out, jit.compiled.module.__name__)),
        "drop_in": str(out / ahead.DROP_IN),
    }
    assert sorted(path.name for path in out.iterdir()) == sorted(Path(said[key]).name for key in ("step", "drop_in"))
    return out


@pytest.fixture(scope="module")
def loaded(jit: Engine, directory: Path) -> Engine:
    """An engine with the step from the file, in the process of the JIT."""
    twin = ibs()
    step = ahead.load(directory, jit.compiled.module.__name__)
    twin.compiled = msgspec.structs.replace(twin.compiled, module=step)
    return warm(twin)


TORN = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from rooney.strategy import aot
try:
    aot.load(Path(sys.argv[1]), sys.argv[2])
except aot.NotCompiledError as error:
    print(error)
"""


@pytest.mark.parametrize("kept", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_a_step_that_a_power_cut_tore_is_none_and_ends_no_process(
    jit: Engine, directory: Path, kept: float, tmp_path: Path
) -> None:
    """The loader maps what the file's head promises: half a file, and the process is gone with SIGBUS."""
    whole = ahead.extension_path(directory, jit.compiled.module.__name__)
    content = whole.read_bytes()
    (tmp_path / whole.name).write_bytes(content[: int(len(content) * kept)])
    done = subprocess.run(
        [sys.executable, "-c", TORN.format(root=str(ROOT)), str(tmp_path), jit.compiled.module.__name__],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (
        0,
        f"{tmp_path / whole.name}: cannot be loaded: not what was written there\n",
    )


# ── the same decisions ──


def test_the_walks_that_are_compared_hold_trades(jit: Engine) -> None:
    before = jit.freeze()
    driver = Driver(jit)
    for one in hour_tape(random_hours(1, 400), WARM_HOURS):
        driver.now = one.ts_close - MINUTE_NS
        driver.mark(*one.bars)
    jit.restore(before)
    assert len(driver.trades) > 10


hours = st.lists(
    st.tuples(
        *[
            st.tuples(
                st.integers(-40, 40),
                st.integers(0, 30),
                st.sampled_from([0.0, 0.2, 0.8, 1.0]) | st.floats(0.0, 1.0),
                st.booleans(),
            )
        ]
        * len(SYMBOLS)
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=hours, walk=st.integers(0, 2**32), seed=st.integers(0, 2**32))
def test_random_minutes_give_the_same_decisions_and_the_same_state_as_with_the_jit(
    jit: Engine, loaded: Engine, drawn: list[Any], walk: int, seed: int
) -> None:
    tape = hour_tape([*random_hours(walk, 30), *drawn], WARM_HOURS)
    before = jit.freeze()
    assert before == loaded.freeze()
    try:
        assert run_random(loaded, tape, seed) == run_random(jit, tape, seed)
        assert loaded.freeze() == jit.freeze()
    finally:
        jit.restore(before)
        loaded.restore(before)


def test_a_state_the_jit_left_is_taken_up_and_taken_back(jit: Engine, loaded: Engine) -> None:
    """With the drop-in or without it, a worker goes on from its last checkpoint."""
    tape = hour_tape(random_hours(5, 300), WARM_HOURS)
    before = jit.freeze()
    whole = [repr(jit.on_minute(one)) for one in tape]
    after = jit.freeze()
    jit.restore(before)
    parts: list[str] = []
    for k in range(0, 300, 50):
        mine, others = (jit, loaded) if k % 100 else (loaded, jit)
        mine.restore(others.freeze())
        parts += [repr(mine.on_minute(one)) for one in tape[k : k + 50]]
    assert parts == whole
    assert jit.freeze() == after
    jit.restore(before)
    loaded.restore(before)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SHIPPED, SCRIPTED, ALLOCATING])
def test_every_strategy_decides_the_same_by_existing(name: str, tmp_path: Path) -> None:
    symbols = ("ES", "NQ", "ZC")
    jit, loaded = (warmed(symbols, name) for _ in range(2))
    precompile.build(jit, tmp_path)
    step = ahead.load(tmp_path, jit.compiled.module.__name__)
    loaded.compiled = msgspec.structs.replace(loaded.compiled, module=step)
    before = jit.freeze()
    for seed in range(20):
        tape = random_tape(seed, 300, symbols)
        jit.restore(before)
        loaded.restore(before)
        assert run_random(loaded, tape, seed) == run_random(jit, tape, seed)


DIVIDES = """
from rooney.strategy import Feature, Strategy


class Divides(Strategy):
    timeframe = "1min"
    features = {"last": Feature("close", "1min")}

    @staticmethod
    def should_enter_long(f, p):
        return 1.0 / (f.last - 100.0) > 0.0

    @staticmethod
    def should_enter_short(f, p):
        return (f.last - 100.0) / (f.last - 100.0) < 2.0
"""

DRIVEN = """
import sys
sys.path.insert(0, {root!r})
from tests.support.engines import Driver, engine
driver = Driver(engine(("ES",), {path!r}))
decided = driver.close(ES=100.0)
print([intent.side.name for intent in decided.intents], sorted({{"numba", "llvmlite"}} & set(sys.modules)))
"""


@pytest.mark.slow
def test_a_rule_that_divides_by_zero_gets_what_numpy_says_however_it_is_run(tmp_path: Path) -> None:
    """Infinity is above 0; 0 / 0 is NaN, and a comparison with NaN says no. An exception would end the worker."""
    path = tmp_path / "divides.py"
    path.write_text(DIVIDES)
    precompile.build(engine(("ES",), str(path)), tmp_path / "compiled")
    said = []
    for env in ({}, {"NUMBA_DISABLE_JIT": "1"}, {"ROONEY_COMPILED_DIRECTORY": str(tmp_path / "compiled")}):
        done = subprocess.run(
            [sys.executable, "-c", DRIVEN.format(root=str(ROOT), path=str(path))],
            env=os.environ | env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=200,
            check=True,
        )
        said.append(done.stdout)
    with_jit = "['LONG'] ['llvmlite', 'numba']\n"
    assert said == [with_jit, with_jit, "['LONG'] []\n"]


ALONE = """
import json, sys
sys.path.insert(0, {root!r})
from tests.support.hourly_walks import ibs, walk_digest
engine = ibs()
engine.compile()
compiler = sorted({{"numba", "llvmlite"}} & set(sys.modules))
print(json.dumps([engine.digest, walk_digest(engine, 7), compiler]))
"""


def test_a_process_without_numba_decides_the_same_under_the_same_digest(directory: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE.format(root=str(ROOT))],
        env=os.environ | {"ROONEY_COMPILED_DIRECTORY": str(directory)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    alone = ibs()
    assert json.loads(done.stdout) == [alone.digest, walk_digest(alone, 7), []]


# ── the worker ──


@pytest.fixture(scope="module")
def redis(jit: Engine) -> Iterator[PrivateRedis]:
    """With a past of all 18 instruments to warm up from."""
    symbols = [one.symbol for one in jit.instruments]
    with private_redis() as one:
        bus = one.bus()
        for k in range(1, 400):
            now = START + k * HOUR_NS
            each = {"high": 104.0, "low": 99.0}
            frames = ["hourly", *(["daily"] if k % 23 == 0 else [])]
            bars = [
                bar(s, now, 100.0 + k % 3, timeframe=frame, contract=f"{s}M6", **each)
                for frame in frames
                for s in symbols
            ]
            bus.publish(Published(minute(now, *bars), [], {}))
        bus.close()
        yield one


def worker_argv(redis_socket: str, state: Path, *more: str) -> list[str]:
    sets = [f"data_hub.redis_socket={redis_socket}", "strategies.ibs.mode=dry", *more]
    argv = [sys.executable, "-m", "rooney", "worker", "ibs", "--config", str(CONFIG), "--clock", "replay"]
    return [*argv, "--state", str(state), *(word for one in sets for word in ("--set", one))]


def environment(directory: Path, tmp_path: Path) -> dict[str, str]:
    return {
        "ROONEY_COMPILED_DIRECTORY": str(directory),
        "ROONEY_RUNTIME_DIRECTORY": str(tmp_path / "run"),
        "ROONEY_CONTROL_DIRECTORY": str(tmp_path / "control"),
    }


def test_a_worker_of_18_instruments_is_small_and_has_no_compiler_and_no_code_it_could_write(
    directory: Path, redis: PrivateRedis, tmp_path: Path
) -> None:
    argv = worker_argv(redis.socket, tmp_path / "state")
    worker = Part("ahead", argv, redis.directory, environment(directory, tmp_path), notify=True)
    worker.wait_ready()
    log = worker.log.read_text()
    rss_mb = int(Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6
    maps = Path(f"/proc/{worker.process.pid}/maps").read_text()
    assert worker.stop() == 0
    assert "18 of 18 instruments warm" in log
    assert str(directory) in maps
    assert not re.findall(r".*(?:numba|llvmlite).*", maps)
    assert not re.findall(r"^\S+ .wx. .*$", maps, re.MULTILINE)
    assert rss_mb < 110  # 60 measured; without compiled Python files beside the sources, as in CI, 75


def refused(argv: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(argv, env=os.environ | env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == EXIT_CONFIG, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "`rooney compile ibs` makes it" in last
    assert "Traceback" not in done.stderr
    return last


def test_without_a_step_a_worker_stays_down_and_names_the_command(tmp_path: Path) -> None:
    said = refused(worker_argv("/nowhere", tmp_path / "state"), environment(tmp_path / "nothing", tmp_path))
    assert f"strategies.ibs: {tmp_path}/nothing: no step compiled ahead of time matches" in said
    assert f"without the drop-in {ahead.DROP_IN} the worker compiles it itself" in said


def test_a_step_of_other_sources_is_not_run(directory: Path, tmp_path: Path) -> None:
    changed = tmp_path / "ibs.py"
    changed.write_text((ROOT / "strategies/ibs.py").read_text().replace("<= p.ibs_exit_high", "< p.ibs_exit_high"))
    argv = worker_argv("/nowhere", tmp_path / "state", f"strategies.ibs.strategy={changed}")
    assert "; 1 of other sources)" in refused(argv, environment(directory, tmp_path))


def test_a_file_that_is_no_step_is_said_so(jit: Engine, tmp_path: Path) -> None:
    path = ahead.extension_path(tmp_path, jit.compiled.module.__name__)
    path.write_bytes(b"\x7fELF torn")
    said = refused(worker_argv("/nowhere", tmp_path / "state"), environment(tmp_path, tmp_path))
    assert f"{path}: cannot be loaded: " in said


def test_a_step_under_another_steps_name_is_not_loaded(jit: Engine, directory: Path, tmp_path: Path) -> None:
    """Its name is built into it: a file that was moved or copied by hand is not taken for what it is called."""
    name = jit.compiled.module.__name__
    other = f"{name[:-1]}{'1' if name[-1] == '0' else '0'}"
    shutil.copy(ahead.extension_path(directory, name), ahead.extension_path(tmp_path, other))
    with pytest.raises(NotCompiledError, match=f"cannot be loaded: .*{other}"):
        ahead.load(tmp_path, other)


def test_the_jits_module_of_that_name_stays_what_it_was_however_often_the_step_is_loaded(
    jit: Engine, directory: Path
) -> None:
    module = jit.compiled.module
    sys.modules[module.__name__] = module
    before = module.step
    for _ in range(3):
        assert ahead.load.__wrapped__(directory, module.__name__).step is not before
    assert module.step is before and sys.modules[module.__name__] is module


def test_arguments_of_other_types_are_refused_before_they_are_misread(jit: Engine, directory: Path) -> None:
    step = ahead.load.__wrapped__(directory, jit.compiled.module.__name__)
    arguments = list(ibs().arguments())
    scores = next(k for k, one in enumerate(arguments) if getattr(one, "dtype", None) == np.float64 and one.ndim == 1)
    arguments[scores] = arguments[scores].view(np.int64)
    with pytest.raises(
        NotCompiledError, match=r"compiled for arguments of other types; `rooney compile` makes it anew"
    ):
        step.step(*arguments)


def test_a_backtest_is_told_that_history_is_for_the_jit(jit: Engine, directory: Path) -> None:
    with pytest.raises(ConfigError, match="ROONEY_COMPILED_DIRECTORY is set"):
        ahead.load(directory, jit.compiled.module.__name__).scan()


# ── compiling ──


def test_without_a_c_compiler_the_command_says_what_it_needs_and_writes_nothing(tmp_path: Path) -> None:
    nowhere = {"PATH": str(tmp_path), "CC": "", "CXX": ""}
    done = rooney("compile", "ibs", "--config", str(CONFIG), "--out", str(tmp_path / "out"), env=nowhere)
    assert done.returncode == EXIT_CONFIG
    assert "needs setuptools in this Python's environment, a C and C++ compiler and Python's headers" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_without_setuptools_the_command_says_what_it_needs(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['setuptools'] = sys.modules['distutils'] = None; "
        "from rooney.cli import main; sys.argv[0] = 'rooney'; main()"
    )
    argv = [sys.executable, "-c", code, "compile", "ibs", "--config", str(CONFIG), "--out", str(tmp_path / "out")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == EXIT_CONFIG, done.stderr
    assert "needs setuptools in this Python's environment" in done.stderr


def test_a_rooney_that_is_not_installed_needs_to_be_told_where_to_write() -> None:
    with pytest.raises(ConfigError, match=r"no installation of rooney .* --out DIR names a directory"):
        precompile.installed_directory(Path("/home/me/checkout/.venv"))


def test_an_installation_keeps_the_steps_of_all_its_versions_in_one_place() -> None:
    prefixes = [Path(f"/opt/rooney/versions/{version}") for version in ("0.1.0-aa", "0.1.0-bb")]
    assert {precompile.installed_directory(prefix) for prefix in prefixes} == {Path("/opt/rooney/compiled")}


def test_a_process_that_is_to_have_no_compiler_does_not_compile(directory: Path, tmp_path: Path) -> None:
    env = {"ROONEY_COMPILED_DIRECTORY": str(directory)}
    done = rooney("compile", "ibs", "--config", str(CONFIG), "--out", str(tmp_path), env=env)
    assert done.returncode == EXIT_CONFIG
    assert "ROONEY_COMPILED_DIRECTORY is set, so there is no compiler here" in done.stderr


# ── the drop-in ──


def test_the_drop_in_names_the_directory_and_forbids_what_a_compiler_needs(directory: Path) -> None:
    lines = (directory / ahead.DROP_IN).read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "[Service]",
        f"Environment=ROONEY_COMPILED_DIRECTORY={directory}",
        "MemoryDenyWriteExecute=yes",
    ]


def test_the_example_that_is_shipped_is_the_drop_in_that_is_written() -> None:
    assert (ROOT / "systemd/examples/compiled.conf").read_text() == ahead.drop_in(Path("/opt/rooney/compiled"))


def test_the_drop_in_goes_to_the_unit_of_its_strategy(tmp_path: Path) -> None:
    path = precompile.enable("ibs", Path("/opt/rooney/compiled"), tmp_path)
    assert path == tmp_path / "rooney-worker@ibs.service.d" / ahead.DROP_IN
    assert [one.name for one in path.parent.iterdir()] == [ahead.DROP_IN]
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_installer_looks_for_the_drop_in_by_its_name() -> None:
    assert AHEAD_DROP_IN == ahead.DROP_IN


def test_check_says_that_a_worker_would_refuse_its_step(jit: Engine, directory: Path, tmp_path: Path) -> None:
    name = jit.compiled.module.__name__
    assert host_check.of_drop_in("ibs", name, tmp_path) == []
    drop_in = precompile.enable("ibs", directory, tmp_path)
    assert host_check.of_drop_in("ibs", name, tmp_path) == []
    (found,) = host_check.of_drop_in("ibs", f"{name[:-1]}x", tmp_path)
    assert (found.level, found.path) == ("error", "strategies.ibs")
    assert found.text.startswith(f"{drop_in} names {directory}, where no step matches the strategy")
    assert "`rooney compile ibs`" in found.text
