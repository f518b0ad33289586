"""Verbs of research: begin a strategy, its features, training of models, searches. They need the research extra."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from rooney.cli.options import EXISTING, PATH, Call, instant, needs, takes, trade_day
from rooney.cli.progress import bars
from rooney.errors import EXIT_ATTENTION, EXIT_OK

if TYPE_CHECKING:
    from datetime import datetime

    from rooney.config.settings import StrategyConfig


@click.command()
@click.argument("name")
@takes("config")
def new(call: Call, name: str) -> None:
    """Begin a strategy: its file, its configuration block and its tests, to be changed into yours."""
    from research.new_strategy import write_new
    from rooney.paths import LOCAL_STRATEGIES

    here, tests = Path("strategies"), Path("tests")
    config = call.load()
    if here.is_dir():  # a checkout; elsewhere there is an installed system's folder
        written = write_new(name, config, here, tests if tests.is_dir() else None)
    else:
        written = write_new(name, config, LOCAL_STRATEGIES, None)
    for path in written:
        click.echo(f"written: {path}")
    click.echo(f"next: rooney backtest {name} --data bars.parquet --out result/   (docs/ADDING_NEW_STRATEGY.md)")


@click.command()
@takes("json")
def features(call: Call) -> None:
    """List what a strategy's features can be made of: kernels, what they read, formulas and sources."""
    from rooney.features import KERNELS

    kernels = sorted(KERNELS.values(), key=lambda each: each.name)
    columns = ("name", "inputs", "formula", "source")
    call.say(
        {"kernels": [{column: getattr(kernel, column) for column in columns} for kernel in kernels]},
        [
            f"{kernel.name:<24}{kernel.inputs:<8}{kernel.formula}{f'  [{kernel.source}]' if kernel.source else ''}"
            for kernel in kernels
        ],
    )


class _Study(NamedTuple):
    """A strategy and the history it is studied on. span: first instant, first instant left out; None: all there is."""

    strategy: "StrategyConfig"
    data: Path
    span: "tuple[datetime | None, datetime | None]"
    embargo_s: float


def _on_history(verb: str, *modules: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command NAME, a stretch of history and what `takes` gives: its arguments begin with a Call, a _Study."""
    options = (
        click.argument("name"),
        click.option("--data", required=True, type=EXISTING, help="Parquet, DBN, or a folder."),
        click.option("--start", help="First instant (ISO time, UTC)."),
        click.option("--end", help="First instant left out."),
        click.option("--symbols", help="Only these of the strategy's instruments: ES,NQ."),
        click.option(
            "--final-share", default=0.25, show_default=True, type=click.FloatRange(0.05, 0.9), help="Put away."
        ),
        click.option(
            "--embargo-h", default=24.0, show_default=True, type=click.FloatRange(min=0), help="After a test, hours."
        ),
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @takes("config", "strict", "json")
        @functools.wraps(command)
        def run(
            call: Call,
            name: str,
            data: Path,
            start: str | None,
            end: str | None,
            symbols: str | None,
            embargo_h: float,
            **given: Any,
        ) -> None:
            needs(verb, *modules)
            span = instant(start, "--start"), instant(end, "--end")
            command(call, _Study(call.wanted(name, symbols), data, span, embargo_h * 3600.0), **given)

        wrapped: Callable[..., None] = run
        for option in reversed(options):
            wrapped = option(wrapped)
        return wrapped

    return decorate


@click.command()
@_on_history("train", "polars", "sklearn", "joblib", "optuna")
@click.option("--out", required=True, type=PATH, help="Gets models, training.json, report.html.")
@click.option(
    "--features", help="Names of the catalogue: ibs,atrz,es_hourly_return [those of research/models/dataset.py]."
)
@click.option("--trials", default=40, show_default=True, type=click.IntRange(min=1), help="Forests tried.")
@click.option("--trees", default=200, show_default=True, type=click.IntRange(min=1), help="Trees of a forest.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Same seed, same bytes.")
@click.option("--min-trades", default=100, show_default=True, type=click.IntRange(min=10), help="Kept on every path.")
@click.option("--min-final-trades", default=30, show_default=True, type=click.IntRange(min=5), help="Kept at the end.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="Threads.")
@click.option("--cluster", help="dask://HOST:PORT or ray://HOST:PORT: fit the forests there.")
def train(
    call: Call, study: _Study, out: Path, features: str | None, jobs: int, cluster: str | None, **plan: Any
) -> None:
    """Train a strategy's models on its own trades; write those that hold. Exit status 1 if none does."""
    from research.models import training
    from research.models.dataset import DEFAULT_FEATURES
    from research.models.train import Plan
    from research.optimize.cluster import joblib_on

    names = tuple(dict.fromkeys(features.split(","))) if features else DEFAULT_FEATURES
    wanted = Plan(embargo_s=study.embargo_s, **plan)
    with joblib_on(cluster):
        history, sets = training.collect(*study[:3], names, bars)
        verdicts = training.train_all(study.strategy, history, sets, wanted, jobs if cluster is None else -1, bars)
        summary = training.write(out, study.strategy, wanted, names, verdicts, history)
    lines = [
        f"  {verdict.symbol:<6}{'confirmed' if verdict.model is not None else '; '.join(verdict.reasons)}"
        for verdict in verdicts
    ]
    confirmed = [verdict.symbol for verdict in verdicts if verdict.model is not None]
    files = ["report.html", "training.json", *(f"{symbol}.model" for symbol in confirmed)]
    lines.append(f"\nwritten to {out}: {', '.join(files)}")
    call.say(summary, lines, EXIT_OK if confirmed else EXIT_ATTENTION)


@click.command("optimize")
@_on_history("optimize", "polars", "joblib", "optuna")
@click.option("--out", required=True, type=PATH, help="Gets optimize.json, .html and .yml.")
@click.option("--search", multiple=True, metavar="KEY=LOW:HIGH", help="Parameter and range [as its file declares].")
@click.option("--trials", default=100, show_default=True, type=click.IntRange(min=2), help="Of the whole study.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Same seed, same bytes.")
@click.option("--final-from", default="", help="Put away all from this trade date on.")
@click.option("--min-trades", default=200, show_default=True, type=click.IntRange(min=10), help="Of a trial.")
@click.option("--min-final-trades", default=50, show_default=True, type=click.IntRange(min=5), help="Put away.")
@click.option("--storage", help="Study to share: redis://HOST:PORT/DB, or a file [study.journal in --out].")
@click.option("--jobs", default=None, type=int, help="Processes; -1: all cores [1; with --cluster all of it].")
@click.option("--cluster", help="dask://HOST:PORT or ray://HOST:PORT: where those processes are.")
def optimize_(
    call: Call,
    study: _Study,
    out: Path,
    search: tuple[str, ...],
    final_from: str,
    storage: str | None,
    jobs: int | None,
    cluster: str | None,
    **plan: Any,
) -> None:
    """Search for a strategy's parameters, and say whether the best can be believed. Exit status 1 if not.

    Stopped and started again it goes on. Any number of processes with the same --storage share one study.
    """
    from research.optimize.parameters import Plan
    from research.optimize.report import value
    from research.optimize.search import Workers, search_parameters

    wanted = Plan(embargo_s=study.embargo_s, final_from=trade_day(final_from), **plan)
    workers = Workers(storage, jobs if jobs is not None else 1 if cluster is None else -1, cluster)

    @contextmanager
    def trials(label: str) -> Iterator[Callable[[int, list[str]], None]]:
        with bars(label) as steps:

            def told(over: int, dead: list[str]) -> None:
                for worker in dead:
                    click.echo(f"\n{worker} is dead: its trial is made up for", err=True)
                steps(min(over / wanted.trials, 1.0))

            yield told

    result, spent, label = search_parameters(*study[:3], search, wanted, out, workers, trials)
    lines = [f"  {key:<24}{value(result.configured[key])} → {result.strategy_params[key]}" for key in result.search]
    for key in ("sharpe", "path_sharpe", "deflated_sharpe", "overfitting", "final_sharpe", "final_pnl_usd"):
        measure = result.measures.get(key)
        lines.append(f"  {key:<24}{'-' if measure is None else f'{measure:,.2f}'}")
    earlier = f", {spent.trials_before} trials kept" if spent.trials_before else ""
    lines += [
        *_verdict(result, out, "optimize"),
        f"{label}: {spent.seconds} s, {spent.peak_mib} MiB{earlier}",
    ]
    _say_search(call, result, lines, {"cost": spent._asdict()})


@click.command()
@_on_history("portfolio", "polars", "joblib", "optuna")
@click.option("--out", required=True, type=PATH, help="Gets portfolio.json, .html and .yml.")
@click.option("--params", type=EXISTING, help="An optimize.json: with its parameters.")
@click.option("--max-instruments", default=9, show_default=True, type=click.IntRange(min=1), help="At most so many.")
@click.option("--max-drawdown-usd", default=0.0, type=click.FloatRange(min=0), help="[a fifth of the starting cash]")
@click.option("--min-trades", default=30, show_default=True, type=click.IntRange(min=1), help="Of an instrument.")
@click.option("--final-from", default="", help="Put away all from this trade date on.")
@click.option("--min-final-trades", default=50, show_default=True, type=click.IntRange(min=5), help="Put away.")
def portfolio(call: Call, study: _Study, out: Path, params: Path | None, final_from: str, **plan: Any) -> None:
    """Choose which of a strategy's instruments to trade, and judge the choice. Exit status 1 if it does not hold."""
    from research.optimize.instruments import Plan
    from research.optimize.report import ratio
    from research.optimize.search import choose_instruments

    wanted = Plan(embargo_s=study.embargo_s, final_from=trade_day(final_from), **plan)
    result = choose_instruments(*study[:3], params, wanted, out, bars)
    lines = [f"  {'':<14}{'paths':>8}{'worst':>8}{'final':>8}{'P&L, USD':>14}   (Sharpe ratios per year)"]
    for name, way in result.ways.items():
        ratios = "".join(f"{ratio(x):>8}" for x in (way.path_sharpe, way.path_sharpe_worst, way.final_sharpe))
        lines.append(f"  {name:<14}{ratios}{way.final_pnl_usd:>+14,.0f}")
    lines.append(f"  {'selected':<14}{', '.join(result.selected) or 'none'}")
    _say_search(call, result, [*lines, *_verdict(result, out, "portfolio")], {})


def _verdict(result: Any, out: Path, stem: str) -> list[str]:
    """Last lines of a search. result: of `research.optimize`; stem: of the files written."""
    return [
        "  confirmed" if result.confirmed else f"  not confirmed: {'; '.join(result.reasons)}",
        f"\nwritten to {out}: {stem}.json, {stem}.html, {stem}.yml (its block for the configuration)",
    ]


def _say_search(call: Call, result: Any, lines: list[str], more: dict[str, Any]) -> None:
    import msgspec

    call.say(msgspec.to_builtins(result) | more, lines, EXIT_OK if result.confirmed else EXIT_ATTENTION)


VERBS: tuple[click.Command, ...] = (new, features, train, optimize_, portfolio)
