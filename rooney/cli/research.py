"""Verbs of research: backtests, models, searches, bundles. They need the research extra."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from rooney.cli.options import configured, instant, load, needs, trade_day
from rooney.errors import ConfigError

if TYPE_CHECKING:
    from datetime import datetime

    from rooney.config.settings import StrategyConfig


@click.command()
@click.argument("name", required=False)
@configured
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="Parquet, DBN, or a folder.")
@click.option("--start", help="First instant (ISO time, UTC).")
@click.option("--end", help="First instant left out.")
@click.option("--symbols", help="Only these of the strategy's instruments: ES,NQ.")
@click.option("--decisions", is_flag=True, help="With --out: write what each bar decided, for `rooney compare`.")
@click.option("--outcomes", type=click.Path(path_type=Path), help="Ledger of a live run: step it again and compare.")
@click.option("--verify", is_flag=True, help="Try whether it reads the future, and how much history it needs.")
@click.option("--all", "is_all", is_flag=True, help="Every strategy, over --data or a small market made for it.")
@click.option("--golden", type=click.Path(path_type=Path), help="With --all: compare with this file.")
@click.option("--update", is_flag=True, help="With --golden: write it anew.")
@click.option("--out", type=click.Path(path_type=Path), help="Write trades, equity, summary and report here.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def backtest(
    name: str | None,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    data: Path | None,
    start: str | None,
    end: str | None,
    symbols: str | None,
    decisions: bool,
    outcomes: Path | None,
    verify: bool,
    is_all: bool,
    golden: Path | None,
    update: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run a strategy over history, on the very step that trades. Exit status 1 if a comparison finds a difference."""
    from research.backtest import command

    if ((golden is not None or update) and not is_all) or (update and golden is None):
        raise ConfigError("backtest: --golden FILE goes with --all, and --update with --golden; nothing was run")
    if is_all:
        if name is not None or outcomes is not None or verify:
            raise ConfigError("backtest: --all runs every strategy, so NAME, --outcomes and --verify do not go with it")
        from research.backtest.golden import strategies_of

        configured = strategies_of(load(config_path, overrides, env_file))
        again = f"rooney backtest --all --golden {golden} --update" + (f" --data {data}" if data else "")
        sys.exit(command.run_all(configured, data, golden, update, again, as_json))
    if name is None or data is None:
        raise ConfigError("backtest: which strategy, over which bars? rooney backtest NAME --data PATH")
    if symbols is not None:
        overrides = (*overrides, f"strategies.{name}.instruments=[{symbols}]")
    strategy = load(config_path, overrides, env_file).strategy(name)
    span = instant(start, "--start"), instant(end, "--end")
    if outcomes is not None:
        sys.exit(command.run_replay(strategy, data, outcomes, *span, out, as_json))
    if verify:
        sys.exit(command.run_verify(strategy, data, *span, as_json))
    sys.exit(command.run_backtest(strategy, data, *span, out, as_json, decisions))


@click.command()
@click.argument("name")
@configured
def new(name: str, config_path: str | None, overrides: tuple[str, ...], env_file: Path | None) -> None:
    """Begin a strategy: its file, its configuration block and its tests, to be changed into yours."""
    from research.new_strategy import write_new
    from rooney.strategy.loader import LOCAL_STRATEGIES

    here, tests = Path("strategies"), Path("tests")
    config = load(config_path, overrides, env_file)
    if here.is_dir():  # a checkout; elsewhere there is an installed system's folder
        written = write_new(name, config, here, tests if tests.is_dir() else None)
    else:
        written = write_new(name, config, LOCAL_STRATEGIES, None)
    for path in written:
        click.echo(f"written: {path}")
    click.echo(f"next: rooney backtest {name} --data bars.parquet --out result/   (docs/ADDING_NEW_STRATEGY.md)")


@click.command()
def features() -> None:
    """What a strategy's features can be made of: kernels, what they read, formulas and sources."""
    from rooney.features import KERNELS

    for kernel in sorted(KERNELS.values(), key=lambda each: each.name):
        source = f"  [{kernel.source}]" if kernel.source else ""
        click.echo(f"{kernel.name:<24}{kernel.inputs:<8}{kernel.formula}{source}")


class _Study(NamedTuple):
    """What a verb learns from. span: first instant, first instant left out; None: all there is."""

    strategy: "StrategyConfig"
    data: Path
    span: "tuple[datetime | None, datetime | None]"
    embargo_s: float


def _on_history(verb: str, *modules: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command NAME, the configuration's options and a stretch of history: its first argument, a `_Study`."""
    options = (
        click.argument("name"),
        configured,
        click.option(
            "--data", required=True, type=click.Path(path_type=Path, exists=True), help="Parquet, DBN, or a folder."
        ),
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
        @functools.wraps(command)
        def run(
            name: str,
            config_path: str | None,
            overrides: tuple[str, ...],
            env_file: Path | None,
            data: Path,
            start: str | None,
            end: str | None,
            symbols: str | None,
            embargo_h: float,
            **given: Any,
        ) -> None:
            needs(verb, *modules)
            if symbols is not None:
                overrides = (*overrides, f"strategies.{name}.instruments=[{symbols}]")
            strategy = load(config_path, overrides, env_file).wanted(name)
            span = instant(start, "--start"), instant(end, "--end")
            command(_Study(strategy, data, span, embargo_h * 3600.0), **given)

        found: Callable[..., None] = run
        for option in reversed(options):
            found = option(found)
        return found

    return decorate


@click.command()
@_on_history("train", "polars", "sklearn", "joblib", "optuna")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Gets models, training.json, report.html.")
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
@click.option("--json", "as_json", is_flag=True, help="Print training.json.")
def train(
    study: _Study, out: Path, features: str | None, jobs: int, cluster: str | None, as_json: bool, **plan: Any
) -> None:
    """Train a strategy's models on its own trades; write those that hold. Exit status 1 if none does."""
    from research.models.command import run_training
    from research.models.dataset import DEFAULT_FEATURES
    from research.models.train import Plan
    from research.optimize.cluster import joblib_on

    names = tuple(dict.fromkeys(features.split(","))) if features else DEFAULT_FEATURES
    wanted = Plan(embargo_s=study.embargo_s, **plan)
    threads = jobs if cluster is None else -1
    with joblib_on(cluster):
        code = run_training(study.strategy, study.data, study.span, names, wanted, out, threads, as_json)
    sys.exit(code)


@click.command("optimize")
@_on_history("optimize", "polars", "joblib", "optuna")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Gets optimize.json, .html and .yml.")
@click.option("--search", multiple=True, metavar="KEY=LOW:HIGH", help="Parameter and range [as its file declares].")
@click.option("--trials", default=100, show_default=True, type=click.IntRange(min=2), help="Of the whole study.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Same seed, same bytes.")
@click.option("--final-from", default="", help="Put away all from this trade date on.")
@click.option("--min-trades", default=200, show_default=True, type=click.IntRange(min=10), help="Of a trial.")
@click.option("--min-final-trades", default=50, show_default=True, type=click.IntRange(min=5), help="Put away.")
@click.option("--storage", help="Study to share: redis://HOST:PORT/DB, or a file [study.journal in --out].")
@click.option("--jobs", default=None, type=int, help="Processes; -1: all cores [1; with --cluster all of it].")
@click.option("--cluster", help="dask://HOST:PORT or ray://HOST:PORT: where those processes are.")
@click.option("--json", "as_json", is_flag=True, help="Print optimize.json and what it cost.")
def optimize_(
    study: _Study,
    out: Path,
    search: tuple[str, ...],
    final_from: str,
    storage: str | None,
    jobs: int | None,
    cluster: str | None,
    as_json: bool,
    **plan: Any,
) -> None:
    """Search for a strategy's parameters, and say whether what is found can be believed. Exit status 1 if not.

    Stopped and started again it goes on. Any number of processes with the same --storage share one study.
    """
    from research.optimize.command import run_optimize
    from research.optimize.parameters import Plan

    wanted = Plan(embargo_s=study.embargo_s, final_from=trade_day(final_from), **plan)
    n = jobs if jobs is not None else 1 if cluster is None else -1
    code = run_optimize(study.strategy, study.data, study.span, search, wanted, out, storage, n, cluster, as_json)
    sys.exit(code)


@click.command()
@_on_history("portfolio", "polars", "joblib", "optuna")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Gets portfolio.json, .html and .yml.")
@click.option("--params", type=click.Path(path_type=Path, exists=True), help="An optimize.json: with its parameters.")
@click.option("--max-instruments", default=9, show_default=True, type=click.IntRange(min=1), help="At most so many.")
@click.option("--max-drawdown-usd", default=0.0, type=click.FloatRange(min=0), help="[a fifth of the starting cash]")
@click.option("--min-trades", default=30, show_default=True, type=click.IntRange(min=1), help="Of an instrument.")
@click.option("--final-from", default="", help="Put away all from this trade date on.")
@click.option("--min-final-trades", default=50, show_default=True, type=click.IntRange(min=5), help="Put away.")
@click.option("--json", "as_json", is_flag=True, help="Print portfolio.json.")
def portfolio(study: _Study, out: Path, params: Path | None, final_from: str, as_json: bool, **plan: Any) -> None:
    """Choose which of a strategy's instruments to trade, and judge the choice. Exit status 1 if it does not hold."""
    from research.optimize.command import run_portfolio
    from research.optimize.instruments import Plan

    wanted = Plan(embargo_s=study.embargo_s, final_from=trade_day(final_from), **plan)
    sys.exit(run_portfolio(study.strategy, study.data, study.span, params, wanted, out, as_json))


@click.command()
@click.argument("name")
@configured
@click.option("--from", "source", type=click.Path(path_type=Path, exists=True, file_okay=False), help="A training.")
@click.option("--optimize", type=click.Path(path_type=Path, exists=True), help="[optimize.json beside the training.]")
@click.option("--portfolio", type=click.Path(path_type=Path, exists=True), help="[portfolio.json beside the training.]")
@click.option("--despite", default="", metavar="WHY", help="Promote what misses gates, for paper only.")
@click.option("--dry-run", is_flag=True, help="Only say what would be promoted.")
@click.option("--back", is_flag=True, help="Put the bundle before this one in force again.")
@click.option("--to", metavar="ID", help="Put a kept bundle in force again, by how its name begins.")
@click.option("--list", "is_list", is_flag=True, help="Show what is kept.")
@click.option("--json", "as_json", is_flag=True, help="What was done as JSON.")
def promote(
    name: str,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    source: Path | None,
    optimize: Path | None,
    portfolio: Path | None,
    despite: str,
    dry_run: bool,
    back: bool,
    to: str | None,
    is_list: bool,
    as_json: bool,
) -> None:
    """Put what was trained in force for a strategy, as one bundle, if it passes the gates. Exit status 1 if not.

    A running worker goes on with the bundle it started with.
    """
    from research.models import promote as promoting

    if [source is not None, back, to is not None, is_list].count(True) != 1:
        raise ConfigError("promote: expected one of --from DIR, --back, --to ID, --list; nothing changed")
    config = load(config_path, overrides, env_file)
    if is_list:
        sys.exit(promoting.run_list(config, name, as_json))
    if source is None:
        sys.exit(promoting.run_switch(config, name, to, as_json))
    given = {promoting.OPTIMIZE: optimize, promoting.PORTFOLIO: portfolio}
    extra = {key: path for key, path in given.items() if path is not None}
    sys.exit(promoting.run_promote(config, name, source, extra, despite, dry_run, as_json))


@click.command()
@click.argument("names", nargs=-1)
@configured
@click.option("--out", type=click.Path(path_type=Path), help="A folder per strategy here [$STATE_DIRECTORY].")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="Threads.")
@click.option("--json", "as_json", is_flag=True, help="What came of each as JSON.")
def retrain(
    names: tuple[str, ...],
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    out: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Train anew as each strategy's `retrain` says, and compare with what is in force; exit status 1: better is there.

    Promotes only where `retrain.promote` is true.
    """
    needs("retrain", "polars", "sklearn", "joblib", "optuna", "plotly")
    from research.models.retrain import run_retrain

    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    directory = out or (Path(given) if given else Path("/var/lib/rooney-retrain"))
    sys.exit(run_retrain(load(config_path, overrides, env_file), list(names), directory, jobs, as_json))


@click.group()
def models() -> None:
    """Model files: read those of the old system."""


@models.command("import")
@click.argument("name")
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@configured
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder of the model files.")
@click.option("--json", "as_json", is_flag=True, help="What became of each as JSON.")
def models_import(
    name: str,
    source: Path,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    to: Path,
    as_json: bool,
) -> None:
    """Turn SYMBOL_rf_model.pkl and SYMBOL_best.json in SOURCE into model files of strategy NAME."""
    needs("models import", "sklearn", "joblib")
    from research.legacy.models import run_import

    sys.exit(run_import(source, to, load(config_path, overrides, env_file).strategy(name), as_json))


VERBS: tuple[click.Command, ...] = (backtest, new, features, train, optimize_, portfolio, promote, retrain, models)
