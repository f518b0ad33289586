"""Backtests as `rooney backtest` runs them: Parquet → trades, equity, measures and summary; and how that grows.

Stands for: the shipped strategies with the shipped configuration (their filters, stops and limits), all 18 instruments,
synthetic one-minute bars of `bench.market`, rolls among them. Each run is a process of its own, which has stepped a
month before the clock starts, so that machine code is loaded. The short form (one year) runs with every other
benchmark; ten years are marked slow, as is compiling from nothing.
Doubts: files are in the page cache, where just writing them put them. The engine's figure is processor time of the
scan's thread; from Parquet to summary it is the wall's, because reading ahead on the second core is part of it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import market
from bench.measure import Row, report, rounds

CONFIG = Path(__file__).parents[1] / "config.multi_alpha.yml"
ROOTS = (
    "ES",
    "NQ",
    "RTY",
    "YM",
    "CL",
    "NG",
    "6A",
    "6B",
    "6C",
    "6M",
    "6N",
    "6S",
    "HG",
    "SI",
    "GC",
    "ZC",
    "ZS",
    "ZW",
)
FEW = ROOTS[:6]
STRATEGIES = ("ibs", "breakout")
ENGINE_PER_S, WHOLE_PER_S, MOST_MIB = 10e6, 5e6, 4_096.0
MAX_GROWTH = 1.25  # of the time per bar, for three times the instruments or four times the span: noise, no trend
WARM_S = 3.0


class Ran(msgspec.Struct, frozen=True):
    """One backtest. engine_s: processor seconds of the scan; whole_s: wall seconds from files to summary.

    load_s: wall seconds of it in which the scan did not run: counting, and waiting for the reader
    """

    bars: int
    trades: int
    digest: str
    engine_s: float
    load_s: float
    whole_s: float
    peak_mib: float

    @property
    def engine_ns(self) -> float:
        return self.engine_s / self.bars * 1e9

    @property
    def whole_ns(self) -> float:
        return self.whole_s / self.bars * 1e9


class Compiled(msgspec.Struct, frozen=True):
    """Wall seconds until an engine of a strategy is ready to step, in a fresh process; imports are left out."""

    ready_s: float


@pytest.fixture(scope="module")
def year() -> Iterator[Path]:
    yield from _history(1)


@pytest.fixture(scope="module")
def decade() -> Iterator[Path]:
    yield from _history(10)


def _history(years: int) -> Iterator[Path]:
    """$ROONEY_BENCH_DATA keeps the files for the next time."""
    kept = os.environ.get("ROONEY_BENCH_DATA")
    with tempfile.TemporaryDirectory(prefix="rooney-bench-") as folder:
        place = Path(kept) / f"{years}y" if kept else Path(folder)
        market.write_history(place, ROOTS, years)
        yield place


def _process(*arguments: str, **environ: str) -> bytes:
    argv = [sys.executable, "-m", "bench.bench_research", *arguments]
    done = subprocess.run(argv, env=os.environ | environ, stdout=subprocess.PIPE, check=True)
    return done.stdout


def _run(name: str, data: Path, roots: tuple[str, ...] = ROOTS, months: int = 0) -> Ran:
    return msgspec.json.decode(_process("run", name, str(data), ",".join(roots), str(months)), type=Ran)


def _rows(name: str, years: int, found: list[Ran]) -> list[Row]:
    assert len({(one.bars, one.trades, one.digest) for one in found}) == 1, "runs of the same must be the same"
    assert found[0].trades > 100 * years, f"{name} trades too little to be measured"
    engine = statistics.median(one.bars / one.engine_s for one in found)
    whole = statistics.median(one.bars / one.whole_s for one in found)
    share = statistics.median(one.load_s / one.whole_s for one in found)
    peak = max(one.peak_mib for one in found)
    size = f"{name}, 18 instruments × {years} year{'s' if years > 1 else ''}, {found[0].bars / 1e6:.1f} M bars"
    return [
        Row(f"{size}: engine", f"{engine / 1e6:.1f} M bars/s", f"≥ {ENGINE_PER_S / 1e6:.0f} M", engine >= ENGINE_PER_S),
        Row(
            "… Parquet → summary",
            f"{whole / 1e6:.1f} M bars/s, {share:.0%} of it loading",
            f"≥ {WHOLE_PER_S / 1e6:.0f} M",
            whole >= WHOLE_PER_S,
        ),
        Row("… peak memory", f"{peak:,.0f} MiB", f"< {MOST_MIB:,.0f} MiB", peak < MOST_MIB),
    ]


def _growth(what: str, small: list[Ran], large: list[Ran]) -> Row:
    """Processor time of the engine per bar, the least of some runs each: noise only adds."""
    ratio = min(one.engine_ns for one in large) / min(one.engine_ns for one in small)
    return Row(f"… engine's time per bar, {what}", f"{ratio:.2f} ×", f"≤ {MAX_GROWTH} ×", ratio <= MAX_GROWTH)


SLOW = pytest.mark.slow


def _fast_enough(found: list[Ran]) -> bool:
    engine = statistics.median(one.bars / one.engine_s for one in found)
    return engine >= ENGINE_PER_S and statistics.median(one.bars / one.whole_s for one in found) >= WHOLE_PER_S


@pytest.mark.parametrize("name", [STRATEGIES[0], *(pytest.param(name, marks=SLOW) for name in STRATEGIES[1:])])
def test_a_year(benchmark: Any, year: Path, name: str) -> None:
    _run(name, year, months=1)  # compiled, and the files in memory
    found = rounds(lambda: _run(name, year), _fast_enough, most=5)
    few = rounds(lambda: _run(name, year, FEW), lambda found: True)
    short = rounds(lambda: _run(name, year, months=3), lambda found: True)
    rows = _rows(name, 1, found)
    # What does not grow with the span, threads and calendars, weighs ten times as much here: judged on ten years alone.
    rows[1] = Row(rows[1].what, rows[1].measured)
    rows += [_growth("18 instruments to 6", few, found), _growth("12 months to 3", short, found)]
    benchmark.pedantic(_run, args=(name, year), kwargs={"months": 1}, rounds=1, iterations=1)
    report(benchmark, rows)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("name", STRATEGIES)
def test_ten_years(benchmark: Any, decade: Path, name: str) -> None:
    short = rounds(lambda: _run(name, decade, months=12), lambda found: True)
    found = rounds(lambda: _run(name, decade), _fast_enough)
    benchmark.pedantic(_run, args=(name, decade), kwargs={"months": 1}, rounds=1, iterations=1)
    report(benchmark, [*_rows(name, 10, found), _growth("10 years to 1", short, found)])


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("name", STRATEGIES)
def test_compiling(benchmark: Any, name: str, tmp_path: Path) -> None:
    """From nothing, then from the cache it left, each in a fresh process."""

    def ready() -> float:
        return msgspec.json.decode(_process("compile", name, NUMBA_CACHE_DIR=str(tmp_path)), type=Compiled).ready_s

    cold = ready()
    warm = rounds(ready, lambda found: statistics.median(found) <= WARM_S)
    benchmark.pedantic(ready, rounds=1, iterations=1)
    middle = statistics.median(warm)
    report(
        benchmark,
        [
            Row(f"{name}'s step compiled from nothing", f"{cold:.1f} s"),
            Row("… from the cache", f"{middle:.2f} s", f"≤ {WARM_S:.0f} s", middle <= WARM_S),
        ],
    )


def _strategy(name: str, roots: str) -> Any:
    from rooney.config.loader import load_config

    return load_config(CONFIG, [f"strategies.{name}.instruments=[{roots}]"]).strategy(name)


def measure_run(name: str, data: str, roots: str, months: str) -> Ran:
    """In its own process. months: of the first years, 0: all."""
    import resource

    from research.backtest import backtest
    from research.history.history import History

    strategy = _strategy(name, roots)
    years, rest = divmod(int(months), 12)
    end = datetime(market.FIRST_YEAR + years, rest + 1, 1, tzinfo=UTC) if int(months) else None
    first_month = History(Path(data), list(strategy.traded), None, datetime(market.FIRST_YEAR, 2, 1, tzinfo=UTC))
    backtest.run(strategy, first_month)
    started, cpu_s = time.perf_counter(), 0.0
    history = History(Path(data), list(strategy.traded), None, end)
    step = backtest.Scan.step

    def timed(scan: backtest.Scan, chunk: Any) -> None:
        nonlocal cpu_s
        before = time.thread_time()
        step(scan, chunk)
        cpu_s += time.thread_time() - before

    backtest.Scan.step = timed  # type: ignore[method-assign]
    result = backtest.run(strategy, history)
    backtest.summary(result, strategy, history)
    whole_s = time.perf_counter() - started
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    load_s = whole_s - result.engine_s
    return Ran(result.bars, len(result.trades), result.digest, cpu_s, load_s, whole_s, peak_mib)


def measure_compile(name: str) -> Compiled:
    """In its own process."""
    from rooney.engine.build import build_engine

    started = time.perf_counter()
    build_engine(_strategy(name, ",".join(ROOTS))).compile()
    return Compiled(time.perf_counter() - started)


if __name__ == "__main__":
    found = {"run": measure_run, "compile": measure_compile}[sys.argv[1]](*sys.argv[2:])
    print(json.dumps(msgspec.to_builtins(found)))
