"""What `rooney optimize` and `rooney portfolio` do with files, processes and a terminal."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from math import comb
from pathlib import Path
from typing import Any

import click
import joblib
import msgspec
import yaml

from research.history.history import History
from research.optimize import instruments as portfolio
from research.optimize import parameters as optimize
from research.optimize import report as search_report
from research.optimize import study
from research.optimize.cluster import joblib_on
from research.optimize.result_file import Found
from research.optimize.trials import Runs, with_params
from rooney.config.settings import StrategyConfig
from rooney.engine.build import build_engine
from rooney.errors import EXIT_ATTENTION, EXIT_OK

_POLL_S = 1.0
Span = tuple[datetime | None, datetime | None]


def history_of(strategy: StrategyConfig, data: Path, span: Span) -> History:
    """History of all the strategy trades and reads."""
    return History(data, [each.symbol for each in build_engine(strategy, {}, {}).instruments], *span)


def run_optimize(
    strategy: StrategyConfig,
    data: Path,
    span: Span,
    searched: Sequence[str],
    plan: optimize.Plan,
    out: Path,
    storage: str | None,
    jobs: int,
    cluster: str | None,
    as_json: bool,
) -> int:
    """Search, judge, write optimize.json, optimize.yml and optimize.html; exit 1 if nothing is confirmed.

    storage: of the study; None: `study.journal` in `out`
    jobs:    processes at work on it, -1: as many as there are cores; cluster: where they are
    """
    began = time.perf_counter()
    history = history_of(strategy, data, span)
    ranges = optimize.ranges_of(strategy, searched)
    runs = Runs(strategy, history, ranges, plan)
    name = optimize.identity(runs, plan, ranges)
    out.mkdir(parents=True, exist_ok=True)
    storage = storage or str((out / "study.journal").absolute())
    shared = study.open_study(storage, name, plan.seed, 1)  # says now what is wrong with the storage
    earlier = len(study.over(shared))
    splits = comb(plan.n_groups, plan.n_test)
    label = f"{len(strategy.traded)} instruments × {splits} splits × {plan.trials} trials"
    with click.progressbar(length=plan.trials, label=label, file=sys.stderr) as bar:

        def told(n: int, dead: list[str]) -> None:
            for worker in dead:
                click.echo(f"\n{worker} is dead: its trial is made up for", err=True)
            bar.update(min(n, plan.trials) - bar.pos)

        if jobs == 1 and cluster is None:
            optimize.work(runs, plan, ranges, storage, name, told)
        else:
            bare = msgspec.structs.replace(strategy, settings=runs.strategy.settings)
            _spread(
                jobs, cluster, lambda n: told(n, []), shared, bare, data.absolute(), span, plan, ranges, storage, name
            )
    found = optimize.conclude(runs, plan, ranges, storage, name)
    _write(out / "optimize", found, search_report.optimized(found), {"strategy_params": found.strategy_params})
    cost = {"seconds": round(time.perf_counter() - began, 1), "trials_before": earlier, **_memory()}
    if as_json:
        click.echo(msgspec.json.encode({**msgspec.to_builtins(found), "cost": cost}).decode())
        return EXIT_OK if found.confirmed else EXIT_ATTENTION
    for key in found.search:
        click.echo(f"  {key:<24}{search_report.value(found.configured[key])} → {found.strategy_params[key]}")
    for key in ("sharpe", "path_sharpe", "deflated_sharpe", "overfitting", "final_sharpe", "final_pnl_usd"):
        click.echo(f"  {key:<24}{_number(found.measures.get(key))}")
    _tell(found.confirmed, found.reasons, out, "optimize")
    click.echo(f"{label}: {cost['seconds']} s, {cost['peak_mib']} MiB" + (f", {earlier} trials kept" * (earlier > 0)))
    return EXIT_OK if found.confirmed else EXIT_ATTENTION


def run_portfolio(
    strategy: StrategyConfig,
    data: Path,
    span: Span,
    params: Path | None,
    plan: portfolio.Plan,
    out: Path,
    as_json: bool,
) -> int:
    """Choose, judge, write portfolio.json, portfolio.yml and portfolio.html; exit 1 if nothing is confirmed.

    params: an optimize.json whose parameters are used
    """
    if params is not None:
        strategy = with_params(strategy, optimize.read(params).strategy_params)
    history = history_of(strategy, data, span)
    with click.progressbar(length=1000, label=f"{history.bars:,} bars", file=sys.stderr) as bar:
        found = portfolio.choose(strategy, history, plan, lambda done: bar.update(int(done * 1000) - bar.pos))
    out.mkdir(parents=True, exist_ok=True)
    block = {"instruments": found.selected, "max_instruments": plan.max_instruments}
    _write(out / "portfolio", found, search_report.chosen(found), block)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return EXIT_OK if found.confirmed else EXIT_ATTENTION
    click.echo(f"  {'':<14}{'paths':>8}{'worst':>8}{'final':>8}{'P&L, USD':>14}   (Sharpe ratios per year)")
    for name, way in found.ways.items():
        numbers = "".join(
            f"{search_report.ratio(x):>8}" for x in (way.path_sharpe, way.path_sharpe_worst, way.final_sharpe)
        )
        click.echo(f"  {name:<14}{numbers}{way.final_pnl_usd:>+14,.0f}")
    click.echo(f"  {'selected':<14}{', '.join(found.selected) or 'none'}")
    _tell(found.confirmed, found.reasons, out, "portfolio")
    return EXIT_OK if found.confirmed else EXIT_ATTENTION


def helper(
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


def _spread(jobs: int, cluster: str | None, told: Callable[[int], None], shared: Any, *given: Any) -> None:
    """Have joblib start workers, and look on."""

    def start() -> None:
        with joblib_on(cluster):
            n = joblib.effective_n_jobs(jobs)
            joblib.Parallel(n_jobs=n)(joblib.delayed(helper)(*given) for _ in range(n))

    with ThreadPoolExecutor(1, "workers") as waiting:
        done = waiting.submit(start)
        while not done.done():
            told(len(study.over(shared)))
            time.sleep(_POLL_S)
        done.result()


def _write(stem: Path, found: Found, html: str, block: dict[str, Any]) -> None:
    """The result, its page, and what to put into the configuration."""
    stem.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    stem.with_suffix(".html").write_text(html)
    said = "confirmed" if found.confirmed else "NOT CONFIRMED: " + "; ".join(found.reasons)
    text = yaml.safe_dump({"strategies": {found.strategy: block}}, sort_keys=False, default_flow_style=None, width=120)
    stem.with_suffix(".yml").write_text(f"# {said}\n{text}")


def _memory() -> dict[str, int]:
    """Most that this process ever held."""
    return {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _tell(confirmed: bool, reasons: Sequence[str], out: Path, stem: str) -> None:
    click.echo("  confirmed" if confirmed else f"  not confirmed: {'; '.join(reasons)}")
    click.echo(f"\nwritten to {out}: {stem}.json, {stem}.html, {stem}.yml (its block for the configuration)")
