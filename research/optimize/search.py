"""Searches from bars to files: parameters by one process or many, instruments; each leaves JSON, a page and YAML."""

import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from math import comb
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import msgspec
import yaml

from research.history.history import History
from research.history.progress import Progress, silent
from research.optimize import instruments as portfolio
from research.optimize import parameters as optimize
from research.optimize import report as search_report
from research.optimize import study
from research.optimize.cluster import joblib_on
from research.optimize.result_file import Found
from research.optimize.trials import Runs, with_params
from rooney.config.settings import StrategyConfig
from rooney.engine.build import build_engine

_POLL_S = 1.0
Span = tuple[datetime | None, datetime | None]


def history_of(strategy: StrategyConfig, data: Path, span: Span) -> History:
    """History of all the strategy trades and reads."""
    return History(data, [each.symbol for each in build_engine(strategy, {}, {}).instruments], *span)


class Workers(NamedTuple):
    """Processes at work on one study.

    storage: of the study; None: `study.journal` in the folder of its results
    jobs:    processes, -1: as many as there are cores
    cluster: where they are; None: here
    """

    storage: str | None = None
    jobs: int = 1
    cluster: str | None = None


HERE = Workers()  # this process


class Spent(NamedTuple):
    """Cost of a search. trials_before: of the study, made before this search began."""

    seconds: float
    trials_before: int
    peak_mib: int


Told = Callable[[int, list[str]], None]  # trials that are over, workers found dead


def search_parameters(
    strategy: StrategyConfig,
    data: Path,
    span: Span,
    searched: Sequence[str],
    plan: optimize.Plan,
    out: Path,
    workers: Workers = HERE,
    watched: Callable[[str], AbstractContextManager[Told]] | None = None,
) -> tuple[optimize.Optimized, Spent, str]:
    """Search, judge, write optimize.json, optimize.yml and optimize.html; returns also a label of the search's size."""
    began = time.perf_counter()
    history = history_of(strategy, data, span)
    ranges = optimize.ranges_of(strategy, searched)
    runs = Runs(strategy, history, ranges, plan)
    name = optimize.identity(runs, plan, ranges)
    out.mkdir(parents=True, exist_ok=True)
    storage = workers.storage or str((out / "study.journal").absolute())
    shared = study.open_study(storage, name, plan.seed, 1)  # says now what is wrong with the storage
    earlier = len(study.over(shared))
    splits = comb(plan.n_groups, plan.n_test)
    label = f"{len(strategy.traded)} instruments × {splits} splits × {plan.trials} trials"
    with watched(label) if watched is not None else nullcontext(lambda n, dead: None) as told:
        if workers.jobs == 1 and workers.cluster is None:
            optimize.work(runs, plan, ranges, storage, name, told)
        else:
            bare = msgspec.structs.replace(strategy, settings=runs.strategy.settings)
            _spread(workers, lambda n: told(n, []), shared, bare, data.absolute(), span, plan, ranges, storage, name)
    result = optimize.conclude(runs, plan, ranges, storage, name)
    _write(out / "optimize", result, search_report.optimized(result), {"strategy_params": result.strategy_params})
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return result, Spent(round(time.perf_counter() - began, 1), earlier, peak_mib), label


def choose_instruments(
    strategy: StrategyConfig,
    data: Path,
    span: Span,
    params: Path | None,
    plan: portfolio.Plan,
    out: Path,
    progress: Progress = silent,
) -> portfolio.Portfolio:
    """Choose, judge, write portfolio.json, portfolio.yml and portfolio.html. params: an optimize.json to trade by."""
    if params is not None:
        strategy = with_params(strategy, optimize.read(params).strategy_params)
    history = history_of(strategy, data, span)
    with progress(f"{history.bars:,} bars") as steps:
        result = portfolio.choose(strategy, history, plan, steps)
    out.mkdir(parents=True, exist_ok=True)
    block = {"instruments": result.selected, "max_instruments": plan.max_instruments}
    _write(out / "portfolio", result, search_report.chosen(result), block)
    return result


def work_on_study(
    strategy: StrategyConfig,
    data: Path,
    span: Span,
    plan: optimize.Plan,
    ranges: dict[str, tuple[float, float]],
    storage: str,
    name: str,
) -> None:
    """A worker of a study, in a process of its own, here or on a cluster: it reads the same data from the same path."""
    runs = Runs(strategy, history_of(strategy, data, span), ranges, plan)
    own = optimize.identity(runs, plan, ranges)
    if own != name:
        raise RuntimeError(f"this worker would search {own}, not {name}: it has other data, code or libraries")
    optimize.work(runs, plan, ranges, storage, name)


def _spread(workers: Workers, told: Callable[[int], None], shared: Any, *given: Any) -> None:
    """Have joblib start workers, and look on."""

    def start() -> None:
        with joblib_on(workers.cluster):
            n = joblib.effective_n_jobs(workers.jobs)
            joblib.Parallel(n_jobs=n)(joblib.delayed(work_on_study)(*given) for _ in range(n))

    with ThreadPoolExecutor(1, "workers") as waiting:
        done = waiting.submit(start)
        while not done.done():
            told(len(study.over(shared)))
            time.sleep(_POLL_S)
        done.result()


def _write(stem: Path, found: Found, html: str, block: dict[str, Any]) -> None:
    """The result, its page, and its block for the configuration."""
    stem.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    stem.with_suffix(".html").write_text(html)
    said = "confirmed" if found.confirmed else "NOT CONFIRMED: " + "; ".join(found.reasons)
    text = yaml.safe_dump({"strategies": {found.strategy: block}}, sort_keys=False, default_flow_style=None, width=120)
    stem.with_suffix(".yml").write_text(f"# {said}\n{text}")
