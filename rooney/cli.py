"""The `rooney` command. Heavy parts are imported by the verb that needs them."""

import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import click

from rooney import __version__
from rooney.errors import (
    EXIT_ATTENTION,
    EXIT_CONFIG,
    EXIT_FAILURE,
    EXIT_OK,
    ConfigError,
    LedgerError,
    RooneyError,
)
from rooney.operate.comparing import VERBS as COMPARING
from rooney.operate.verbs import VERBS
from rooney.options import configured as _configured
from rooney.options import load as _load

if TYPE_CHECKING:
    from datetime import datetime

    from rooney.bus import Bus
    from rooney.config import Config
    from rooney.messages import Bar


class _Process(Protocol):
    def run(self) -> int: ...
    def stop(self) -> None: ...


def main() -> None:
    """Entry point: every error of ours is one line and an exit status."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_CONFIG)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except (ConfigError, LedgerError) as error:
        click.echo(f"rooney: {error}", err=True)
        sys.exit(EXIT_CONFIG)
    except RooneyError as error:
        click.echo(f"rooney: {error}", err=True)
        sys.exit(EXIT_FAILURE)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rooney")
def cli() -> None:
    """Trade CME futures with several independent strategies."""


for _verb in (*VERBS, *COMPARING):
    cli.add_command(_verb)


def _run(process: _Process) -> None:
    """Run until done; SIGTERM and SIGINT end it cleanly."""

    def end(signum: int, frame: FrameType | None) -> None:
        process.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    sys.exit(process.run())


@cli.command()
@_configured
@click.option("--start", help="Where an empty tape begins (ISO time, UTC) [the open of the session].")
def hub(config_path: str | None, overrides: tuple[str, ...], env_file: Path | None, start: str | None) -> None:
    """Receive trades, build bars, publish them."""
    from rooney import log
    from rooney.hub import build

    log.setup("hub")
    # The client logs each of thousands of mappings; what matters of it is logged by the feed.
    logging.getLogger("databento").setLevel(logging.WARNING)
    begin = _time(start, "--start")
    start_ns = int(begin.timestamp()) * 1_000_000_000 if begin else None
    _run(build(_load(config_path, overrides, env_file), start_ns=start_ns))


@cli.command()
@click.argument("name")
@_configured
@click.option("--state", type=click.Path(path_type=Path), help="Directory of the ledger [$STATE_DIRECTORY].")
@click.option("--clock", type=click.Choice(["live", "replay"]), default="live", help="Time: the wall's or the tape's.")
def worker(
    name: str,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    state: Path | None,
    clock: str,
) -> None:
    """Run one strategy."""
    from rooney import log
    from rooney.worker import build

    log.setup("worker", name)
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    directory = state or (Path(given) if given else Path("/var/lib/rooney") / name)
    _run(build(_load(config_path, overrides, env_file), name, state=directory, replay=clock == "replay"))


@cli.command("compile")
@click.argument("name")
@_configured
@click.option("--out", type=click.Path(path_type=Path), help="Write everything here, and change no unit.")
@click.option("--json", "as_json", is_flag=True, help="The files written, as JSON.")
def compile_(
    name: str,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compile a strategy's step ahead of time, and have its worker load it; as root.

    The worker then has no compiler in its process and may execute no memory it has written. Needs setuptools and a C
    and C++ compiler; the worker does not.
    """
    from rooney import ahead, precompile
    from rooney.build import build_engine

    strategy = _load(config_path, overrides, env_file).strategy(name)
    directory = out.absolute() if out else precompile.installed_directory()
    step = precompile.build(build_engine(strategy), directory)
    drop_in = precompile.write(out / ahead.DROP_IN, directory) if out else precompile.enable(name, directory)
    if as_json:
        click.echo(json.dumps({"exit": EXIT_OK, "step": str(step), "drop_in": str(drop_in)}))
        return
    click.echo(f"{name}: {step}")
    unit = f"rooney-worker@{name}"
    if out:
        click.echo(f"{drop_in}: copy it to {precompile.drop_in_path(name).parent}/, then")
    else:
        click.echo(f"{drop_in}: remove it to compile at every start again")
    click.echo(f"in use after: systemctl daemon-reload && systemctl restart {unit}")


@cli.command()
@_configured
@click.option("--offline", is_flag=True, help="Leave out Redis, the hub and the clock.")
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def check(
    config_path: str | None, overrides: tuple[str, ...], env_file: Path | None, offline: bool, as_json: bool
) -> None:
    """Say what would stop a start, before it does."""
    from rooney.check import findings

    config = _load(config_path, overrides, env_file)
    with _credential_store() as store:
        found = findings(config, online=not offline, now_ns=time.time_ns, store=store)
    levels = {finding.level for finding in found}
    away = any(finding.level == "warning" and finding.path in ("data_hub", "clock") for finding in found)
    code = EXIT_CONFIG if "error" in levels else EXIT_ATTENTION if away else EXIT_OK
    if as_json:
        click.echo(json.dumps({"exit": code, "findings": [finding._asdict() for finding in found]}))
    else:
        for finding in found:
            click.echo(f"{finding.level:<8}{finding.path}: {finding.text}")
        strategies = ", ".join(config.names) or "none"
        verdict = {EXIT_OK: "ok", EXIT_ATTENTION: "attention"}.get(code, "would not start")
        click.echo(f"{verdict}: {config.path}, {len(config.file.instruments)} instruments, strategies {strategies}")
    sys.exit(code)


@cli.command()
@click.argument("symbol", required=False)
@_configured
@click.option("--timeframe", type=click.Choice(["1min", "hourly", "daily"]), default="1min", show_default=True)
@click.option("--follow", "-f", is_flag=True, help="Print bars as they are published, until interrupted.")
@click.option("--count", "-n", default=10, show_default=True, help="Bars per instrument.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def bars(
    symbol: str | None,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    timeframe: str,
    follow: bool,
    count: int,
    as_json: bool,
) -> None:
    """Print published bars."""
    config = _load(config_path, overrides, env_file)
    symbols = [symbol] if symbol else list(config.instruments())
    if symbol is not None and symbol not in config.instruments():
        raise ConfigError(f"instruments.{symbol}: no such instrument; configured are {', '.join(config.instruments())}")
    bus = _bus(config)
    for one in symbols:
        for bar in bus.history(one, timeframe, count):
            _print_bar(bar, as_json)
    if follow:
        wanted = set(symbols)

        def on_bar(bar: "Bar") -> bool:
            if bar.symbol in wanted:
                _print_bar(bar, as_json)
            return True

        try:
            bus.listen(f"market:*:{timeframe}", on_bar)
        except KeyboardInterrupt:
            return


@cli.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="Replay trades: Parquet, DBN, or a folder.")
@click.option("--speed", default="max", show_default=True, help="Market seconds per second, or max.")
@click.option("--minutes", type=click.IntRange(min=1), help="Stop after so many minutes of market time.")
@click.option("--seed", default=0, show_default=True, help="Seed of the synthetic market.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep bars, ledgers, webhooks and summary here.")
@click.option("--bundles", type=click.Path(path_type=Path, exists=True, file_okay=False), help="With DIR/ibs, …")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, last.")
def demo(
    data: Path | None,
    speed: str,
    minutes: int | None,
    seed: int,
    out: Path | None,
    bundles: Path | None,
    as_json: bool,
) -> None:
    """Run the whole system here, without any account; ends by itself."""
    from rooney.sim.demo import Options
    from rooney.sim.show import run_demo

    try:
        pace = 0.0 if speed == "max" else float(speed)
    except ValueError as error:
        raise ConfigError(f"--speed: expected max or a number above 0, got {speed!r}") from error
    if speed != "max" and not 0 < pace < 1e9:
        raise ConfigError(f"--speed: expected max or a number above 0, got {speed!r}")
    sys.exit(run_demo(Options(data, pace, minutes, seed, out, as_json, bundles)))


@cli.command()
@click.argument("name", required=False)
@_configured
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
    from research import command

    if ((golden is not None or update) and not is_all) or (update and golden is None):
        raise ConfigError("backtest: --golden FILE goes with --all, and --update with --golden; nothing was run")
    if is_all:
        if name is not None or outcomes is not None or verify:
            raise ConfigError("backtest: --all runs every strategy, so NAME, --outcomes and --verify do not go with it")
        from research.golden import strategies_of

        configured = strategies_of(_load(config_path, overrides, env_file))
        again = f"rooney backtest --all --golden {golden} --update" + (f" --data {data}" if data else "")
        sys.exit(command.run_all(configured, data, golden, update, again, as_json))
    if name is None or data is None:
        raise ConfigError("backtest: which strategy, over which bars? rooney backtest NAME --data PATH")
    if symbols is not None:
        overrides = (*overrides, f"strategies.{name}.instruments=[{symbols}]")
    strategy = _load(config_path, overrides, env_file).strategy(name)
    span = _time(start, "--start"), _time(end, "--end")
    if outcomes is not None:
        sys.exit(command.run_replay(strategy, data, outcomes, *span, out, as_json))
    if verify:
        sys.exit(command.run_verify(strategy, data, *span, as_json))
    sys.exit(command.run_backtest(strategy, data, *span, out, as_json, decisions))


@cli.command()
@click.argument("name")
@_configured
def new(name: str, config_path: str | None, overrides: tuple[str, ...], env_file: Path | None) -> None:
    """Begin a strategy: its file, its configuration block and its tests, to be changed into yours."""
    from research.template import write_new
    from rooney.strategy import LOCAL_STRATEGIES

    here, tests = Path("strategies"), Path("tests")
    config = _load(config_path, overrides, env_file)
    if here.is_dir():  # a checkout; elsewhere there is an installed system's folder
        written = write_new(name, config, here, tests if tests.is_dir() else None)
    else:
        written = write_new(name, config, LOCAL_STRATEGIES, None)
    for path in written:
        click.echo(f"written: {path}")
    click.echo(f"next: rooney backtest {name} --data bars.parquet --out result/   (docs/ADDING_NEW_STRATEGY.md)")


@cli.group("config")
def config_() -> None:
    """The configuration file: make it from the old system's."""


@config_.command("migrate")
@click.argument("old", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write it here [standard output].")
@click.option("--json", "as_json", is_flag=True, help="The new file and what became of each key, as JSON.")
def config_migrate(old: Path, out: Path | None, as_json: bool) -> None:
    """Turn the old system's config.yml into a config.multi_alpha.yml, and say what became of each key.

    Exit status 1: something is left for a person to see to.
    """
    from rooney.migration import check_migrated, migrate, read_old

    made = migrate(read_old(old), old.name)
    check_migrated(made)
    if out is not None:
        try:
            with out.open("x", encoding="utf-8") as file:
                file.write(made.text)
        except OSError as error:
            raise ConfigError(f"{out}: {error.strerror}; nothing was written") from None
    code = EXIT_ATTENTION if any(note.became == "look" for note in made.notes) else EXIT_OK
    if as_json:
        found = {"exit": code, "out": out and str(out), "text": made.text, "notes": [n._asdict() for n in made.notes]}
        click.echo(json.dumps(found))
        sys.exit(code)
    if out is None:
        click.echo(made.text, nl=False)
    for note in made.notes:
        new = f" → {note.new}" if note.new else ""
        click.echo(f"{note.became:<9}{note.key}{new}{': ' if note.text else ''}{note.text}", err=out is None)
    if out is not None:
        click.echo(f"written: {out}; next: rooney check --config {out}   (docs/CONFIG_MIGRATION.md)")
    sys.exit(code)


@cli.command()
def features() -> None:
    """What a strategy's features can be made of: kernels, what they read, formulas and sources."""
    from rooney.features import KERNELS

    for kernel in sorted(KERNELS.values(), key=lambda each: each.name):
        source = f"  [{kernel.source}]" if kernel.source else ""
        click.echo(f"{kernel.name:<24}{kernel.inputs:<8}{kernel.formula}{source}")


@cli.command()
@click.argument("name")
@_configured
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True), help="Parquet, DBN, or a folder.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Gets models, training.json, report.html.")
@click.option("--start", help="First instant (ISO time, UTC).")
@click.option("--end", help="First instant left out.")
@click.option("--symbols", help="Only these of the strategy's instruments: ES,NQ.")
@click.option("--features", help="Names of the catalogue: ibs,atrz,es_hourly_return [those of research/training.py].")
@click.option("--trials", default=40, show_default=True, type=click.IntRange(min=1), help="Forests tried.")
@click.option("--trees", default=200, show_default=True, type=click.IntRange(min=1), help="Trees of a forest.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Same seed, same bytes.")
@click.option("--final-share", default=0.25, show_default=True, type=click.FloatRange(0.05, 0.9), help="Put away.")
@click.option("--min-trades", default=100, show_default=True, type=click.IntRange(min=10), help="Kept on every path.")
@click.option("--min-final-trades", default=30, show_default=True, type=click.IntRange(min=5), help="Kept at the end.")
@click.option("--embargo-h", default=24.0, show_default=True, type=click.FloatRange(min=0), help="After a test, hours.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="Threads.")
@click.option("--cluster", help="dask://HOST:PORT or ray://HOST:PORT: fit the forests there.")
@click.option("--json", "as_json", is_flag=True, help="Print training.json.")
def train(
    name: str,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    data: Path,
    out: Path,
    start: str | None,
    end: str | None,
    symbols: str | None,
    features: str | None,
    embargo_h: float,
    jobs: int,
    cluster: str | None,
    as_json: bool,
    **plan: Any,
) -> None:
    """Train a strategy's models on its own trades; write those that hold. Exit status 1 if none does."""
    _needs("train", "polars", "sklearn", "joblib", "optuna")
    from research.cluster import joblib_on
    from research.models import run_training
    from research.train import Plan
    from research.training import DEFAULT_FEATURES

    if symbols is not None:
        overrides = (*overrides, f"strategies.{name}.instruments=[{symbols}]")
    strategy = _load(config_path, overrides, env_file).wanted(name)
    names = tuple(dict.fromkeys(features.split(","))) if features else DEFAULT_FEATURES
    span = _time(start, "--start"), _time(end, "--end")
    wanted = Plan(embargo_s=embargo_h * 3600.0, **plan)
    with joblib_on(cluster):
        code = run_training(strategy, data, span, names, wanted, out, jobs if cluster is None else -1, as_json)
    sys.exit(code)


@cli.command("optimize")
@click.argument("name")
@_configured
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True), help="Parquet, DBN, or a folder.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Gets optimize.json, .html and .yml.")
@click.option("--start", help="First instant (ISO time, UTC).")
@click.option("--end", help="First instant left out.")
@click.option("--symbols", help="Only these of the strategy's instruments: ES,NQ.")
@click.option("--search", multiple=True, metavar="KEY=LOW:HIGH", help="Parameter and range [as its file declares].")
@click.option("--trials", default=100, show_default=True, type=click.IntRange(min=2), help="Of the whole study.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Same seed, same bytes.")
@click.option("--final-share", default=0.25, show_default=True, type=click.FloatRange(0.05, 0.9), help="Put away.")
@click.option("--final-from", default="", help="Put away all from this trade date on.")
@click.option("--min-trades", default=200, show_default=True, type=click.IntRange(min=10), help="Of a trial.")
@click.option("--min-final-trades", default=50, show_default=True, type=click.IntRange(min=5), help="Put away.")
@click.option("--embargo-h", default=24.0, show_default=True, type=click.FloatRange(min=0), help="After a test, hours.")
@click.option("--storage", help="Study to share: redis://HOST:PORT/DB, or a file [study.journal in --out].")
@click.option("--jobs", default=None, type=int, help="Processes; -1: all cores [1; with --cluster all of it].")
@click.option("--cluster", help="dask://HOST:PORT or ray://HOST:PORT: where those processes are.")
@click.option("--json", "as_json", is_flag=True, help="Print optimize.json and what it cost.")
def optimize_(
    name: str,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    data: Path,
    out: Path,
    start: str | None,
    end: str | None,
    symbols: str | None,
    search: tuple[str, ...],
    final_from: str,
    embargo_h: float,
    storage: str | None,
    jobs: int | None,
    cluster: str | None,
    as_json: bool,
    **plan: Any,
) -> None:
    """Search for a strategy's parameters, and say whether what is found can be believed. Exit status 1 if not.

    Stopped and started again it goes on. Any number of processes with the same --storage share one study.
    """
    _needs("optimize", "polars", "joblib", "optuna")
    from research.optimize import Plan
    from research.search import run_optimize

    if symbols is not None:
        overrides = (*overrides, f"strategies.{name}.instruments=[{symbols}]")
    strategy = _load(config_path, overrides, env_file).wanted(name)
    span = _time(start, "--start"), _time(end, "--end")
    wanted = Plan(embargo_s=embargo_h * 3600.0, final_from=_date(final_from), **plan)
    n = jobs if jobs is not None else 1 if cluster is None else -1
    sys.exit(run_optimize(strategy, data, span, search, wanted, out, storage, n, cluster, as_json))


@cli.command()
@click.argument("name")
@_configured
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True), help="Parquet, DBN, or a folder.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Gets portfolio.json, .html and .yml.")
@click.option("--start", help="First instant (ISO time, UTC).")
@click.option("--end", help="First instant left out.")
@click.option("--symbols", help="Only these of the strategy's instruments: ES,NQ.")
@click.option("--params", type=click.Path(path_type=Path, exists=True), help="An optimize.json: with its parameters.")
@click.option("--max-instruments", default=9, show_default=True, type=click.IntRange(min=1), help="At most so many.")
@click.option("--max-drawdown-usd", default=0.0, type=click.FloatRange(min=0), help="[a fifth of the starting cash]")
@click.option("--min-trades", default=30, show_default=True, type=click.IntRange(min=1), help="Of an instrument.")
@click.option("--final-share", default=0.25, show_default=True, type=click.FloatRange(0.05, 0.9), help="Put away.")
@click.option("--final-from", default="", help="Put away all from this trade date on.")
@click.option("--min-final-trades", default=50, show_default=True, type=click.IntRange(min=5), help="Put away.")
@click.option("--embargo-h", default=24.0, show_default=True, type=click.FloatRange(min=0), help="After a test, hours.")
@click.option("--json", "as_json", is_flag=True, help="Print portfolio.json.")
def portfolio(
    name: str,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    data: Path,
    out: Path,
    start: str | None,
    end: str | None,
    symbols: str | None,
    params: Path | None,
    final_from: str,
    embargo_h: float,
    as_json: bool,
    **plan: Any,
) -> None:
    """Choose which of a strategy's instruments to trade, and judge the choice. Exit status 1 if it does not hold."""
    _needs("portfolio", "polars", "joblib", "optuna")
    from research.portfolio import Plan
    from research.search import run_portfolio

    if symbols is not None:
        overrides = (*overrides, f"strategies.{name}.instruments=[{symbols}]")
    strategy = _load(config_path, overrides, env_file).wanted(name)
    span = _time(start, "--start"), _time(end, "--end")
    wanted = Plan(embargo_s=embargo_h * 3600.0, final_from=_date(final_from), **plan)
    sys.exit(run_portfolio(strategy, data, span, params, wanted, out, as_json))


def _date(text: str) -> str:
    from datetime import date

    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError as error:
        raise ConfigError(f"--final-from: expected a date such as 2024-01-01, got {text!r}") from error


@cli.command()
@click.argument("name")
@_configured
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
    from research import promote as promoting

    if [source is not None, back, to is not None, is_list].count(True) != 1:
        raise ConfigError("promote: expected one of --from DIR, --back, --to ID, --list; nothing changed")
    config = _load(config_path, overrides, env_file)
    if is_list:
        sys.exit(promoting.run_list(config, name, as_json))
    if source is None:
        sys.exit(promoting.run_switch(config, name, to, as_json))
    given = {promoting.OPTIMIZE: optimize, promoting.PORTFOLIO: portfolio}
    extra = {key: path for key, path in given.items() if path is not None}
    sys.exit(promoting.run_promote(config, name, source, extra, despite, dry_run, as_json))


@cli.command()
@click.argument("names", nargs=-1)
@_configured
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
    _needs("retrain", "polars", "sklearn", "joblib", "optuna", "plotly")
    from research.retrain import run_retrain

    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    directory = out or (Path(given) if given else Path("/var/lib/rooney-retrain"))
    sys.exit(run_retrain(_load(config_path, overrides, env_file), list(names), directory, jobs, as_json))


@cli.group()
def models() -> None:
    """Model files: read those of the old system."""


@models.command("import")
@click.argument("name")
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_configured
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
    _needs("models import", "sklearn", "joblib")
    from research.old_models import run_import

    sys.exit(run_import(source, to, _load(config_path, overrides, env_file).strategy(name), as_json))


def _needs(verb: str, *modules: str) -> None:
    from importlib.util import find_spec

    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigError(f"rooney {verb} needs {' and '.join(missing)}: install rooney[research,optimize]")


@cli.group()
def data() -> None:
    """History: import, download and check it, and fill Redis with it."""
    from importlib.util import find_spec

    missing = [name for name in ("polars", "databento") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"rooney data needs {' and '.join(missing)}: install rooney[research,hub]")


@data.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--to", required=True, type=click.Path(path_type=Path), help="The store.")
@click.option("--zone", help="Time zone of stamps that have none; without it they are refused.")
@click.option("--stamp", type=click.Choice(["open", "close"]), default="open", help="Which end of a bar is stamped.")
@click.option(
    "--timeframe", type=click.Choice(["1min", "hourly", "daily"]), default="1min", help="Of files that do not say."
)
@click.option("--root", help="Root of files without symbols.")
@click.option("--contract", help="Contract (ESZ5) of files without symbols.")
@click.option("--replace", is_flag=True, help="A bar that differs from the stored one takes its place.")
@click.option("--strict", is_flag=True, help="Write nothing if anything is wrong; exit 1.")
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def data_import(
    paths: tuple[Path, ...],
    to: Path,
    zone: str | None,
    stamp: str,
    timeframe: str,
    root: str | None,
    contract: str | None,
    replace: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Check bars in Parquet, CSV or DBN files and put them into a store."""
    from research.data.command import run_import
    from research.data.sources import Reading

    reading = Reading(zone, timeframe, root, contract)
    sys.exit(run_import(paths, to, reading, stamp=stamp, strict=strict, replace=replace, as_json=as_json))


@data.command("download")
@click.argument("roots", nargs=-1, required=True)
@click.option("--start", required=True, type=click.DateTime(["%Y-%m-%d"]), help="First UTC day.")
@click.option("--end", required=True, type=click.DateTime(["%Y-%m-%d"]), help="First UTC day left out.")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="The store.")
@click.option("--limit-usd", required=True, type=click.FloatRange(min=0), help="Refuse to buy for more than this.")
@click.option("--dry-run", is_flag=True, help="Show size and price only.")
@click.option("--env-file", type=click.Path(path_type=Path), help="File that holds DATABENTO_API_KEY.")
@click.option("--gateway", hidden=True, help="URL of a local stand-in for the historical API.")
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def data_download(
    roots: tuple[str, ...],
    start: "datetime",
    end: "datetime",
    to: Path,
    limit_usd: float,
    dry_run: bool,
    env_file: Path | None,
    gateway: str | None,
    as_json: bool,
) -> None:
    """Buy one-minute bars of all contracts of some roots from Databento, for at most --limit-usd.

    Size and price are shown first. What is on disk already is not bought again. The key is the credential
    databento_api_key or the variable DATABENTO_API_KEY.
    """
    from research.data.command import run_download
    from rooney.instruments import PRODUCTS
    from rooney.secrets import credentials_directory, expand, read_credential, read_env_file

    unknown = [root for root in roots if root not in PRODUCTS]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: no such root; known are {', '.join(PRODUCTS)}")
    if env_file is not None:
        read_env_file(env_file, os.environ)
    found = read_credential("databento.api_key", credentials_directory(os.environ), "databento_api_key")
    key = found.reveal() if found else expand("databento.api_key", "${DATABENTO_API_KEY}", os.environ)
    span = start.date(), end.date()
    sys.exit(run_download(roots, *span, to, limit_usd, key, gateway, dry_run=dry_run, as_json=as_json))


@data.command("check")
@click.argument("directory", type=click.Path(path_type=Path, exists=True))
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def data_check(directory: Path, as_json: bool) -> None:
    """Check a store again: every bar, gaps, downloads that were cut off."""
    from research.data.command import run_check

    sys.exit(run_check(directory, as_json))


@data.command("fill")
@click.argument("directory", type=click.Path(path_type=Path, exists=True))
@_configured
@click.option("--until", help="Fill what was closed by then (ISO time, UTC) [now].")
@click.option("--json", "as_json", is_flag=True, help="What was filled as JSON.")
def data_fill(
    directory: Path,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    until: str | None,
    as_json: bool,
) -> None:
    """Fill Redis with a store's history, so that workers start warm. Adds what is missing, changes nothing."""
    from research.data.past import past_of
    from rooney.bus import HISTORY_LENGTH
    from rooney.prefill import fill

    config = _load(config_path, overrides, env_file)
    end = _time(until, "--until")
    until_ns = time.time_ns() if end is None else int(end.timestamp()) * 1_000_000_000
    bus = _bus(config)
    bus.ping()
    filled, absent = [], []
    with click.progressbar(config.instruments(), label="filling", file=sys.stderr, item_show_func=str) as roots:
        for root in roots:
            past = past_of(directory, root, until_ns, HISTORY_LENGTH)
            if past is None:
                absent.append(root)
            else:
                filled.append(fill(bus, root, past.bars, past.rolls, past.counts, past.front))
    code = EXIT_FAILURE if not filled else EXIT_ATTENTION if absent or any(one.short for one in filled) else EXIT_OK
    if as_json:
        click.echo(json.dumps({"exit": code, "filled": [one.as_dict() for one in filled], "absent": absent}))
    else:
        for one in filled:
            click.echo(one.text())
        if absent:
            click.echo(f"not in {directory}: {', '.join(absent)}")
    sys.exit(code)


@cli.command()
@_configured
@click.option("--json", "as_json", is_flag=True, help="Lines by kind, as JSON.")
def watch(config_path: str | None, overrides: tuple[str, ...], env_file: Path | None, as_json: bool) -> None:
    """Say once what needs a person: stale, unknown, halted. Exit status 1 if anything does.

    With $STATE_DIRECTORY, as its unit has it, only what was not said in the last four hours. Where an alert sender is
    set up, it tells the rest, and what is watched is the sender.
    """
    from rooney import log
    from rooney.alerts.beat import read_beat
    from rooney.health import attention, sender
    from rooney.watch import SENDER, look, news, read_said, write_said

    log.setup("watch")
    now_ns = time.time_ns()
    found = attention(look(_load(config_path, overrides, env_file)), now_ns)
    found = sender(found, read_beat(Path(os.environ.get("ROONEY_ALERTS_DIRECTORY", SENDER))), now_ns)
    if directory := os.environ.get("STATE_DIRECTORY"):
        memory = Path(directory) / "said.json"
        found, said = news(found, read_said(memory), now_ns)
        write_said(memory, said)
    if as_json:
        click.echo(json.dumps(found))
    else:
        for line in found.values():
            log.event(logging.getLogger("rooney.watch"), logging.ERROR, "watch", line)
    sys.exit(EXIT_ATTENTION if found else EXIT_OK)


@cli.command()
@click.argument("name", required=False)
@_configured
@click.option("--day", help="Trade date (YYYY-MM-DD) [the last one that ended].")
@click.option("--week", is_flag=True, help="The week of that trade date [the last one that ended].")
@click.option("--html", type=click.Path(path_type=Path), help="Also as one file with plots: its name, or a folder.")
@click.option("--post", is_flag=True, help="Also to Slack and Discord, by the alert sender.")
@click.option(
    "--outbox", type=click.Path(path_type=Path), help="Where the sender looks [/var/lib/rooney-report/outbox]."
)
@click.option("--state", type=click.Path(path_type=Path), help="Directory of the ledgers [/var/lib/rooney].")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def report(
    name: str | None,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    day: str | None,
    week: bool,
    html: Path | None,
    post: bool,
    outbox: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Sum up a trade date or a week from the ledgers. Exit status 1 if one cannot be read."""
    import msgspec

    from rooney import log, summary
    from rooney.instruments import group_of
    from rooney.ledgerview import STATE
    from rooney.view import report as reports
    from rooney.view import reporttext

    log.setup("report")
    config, now_ns = _load(config_path, overrides, env_file), time.time_ns()
    at = _time(day, "--day")
    wanted = at.date() if at else summary.last_ended(now_ns)
    period = summary.day_of(wanted)
    if week:
        period = summary.week_of(wanted) if at else summary.last_week_ended(now_ns)
    names = [config.strategy(name).name] if name else list(config.names)
    groups = {group_of(root) for root in config.file.instruments}
    found = reports.read(names, groups, period, state or STATE, now_ns)
    if as_json:
        shown = {
            one.name: {"lack": one.lack} if one.lack else {"day": one.day, "pace": one.pace, "trades": one.trades}
            for one in found
        }
        click.echo(
            json.dumps({"first": str(period.first), "last": str(period.last), "strategies": msgspec.to_builtins(shown)})
        )
    else:
        click.echo(reporttext.text(period, found))
    if html is not None:
        from importlib.util import find_spec

        if find_spec("jinja2") is None:
            raise ConfigError("rooney report --html needs jinja2: install rooney[dashboard]")
        from rooney.dashboard.report import html as page

        path = html if html.suffix == ".html" else html / f"{period.name}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(period, found, now_ns), encoding="utf-8")
        click.echo(f"{path}", err=True)
    if post:
        from rooney.alerts import sources

        sources.post(outbox or sources.REPORTS, sources.Posted(now_ns, reporttext.notices(period, found)))
    sys.exit(EXIT_ATTENTION if any(one.lack and one.lack != "no ledger yet" for one in found) else EXIT_OK)


@cli.command()
@_configured
@click.option("--state-directory", "state", type=click.Path(path_type=Path), help="As of `rooney orders`.")
@click.option("--clock", type=click.Choice(["live", "replay"]), default="live", help="Time: the wall's or the tape's.")
def dashboard(
    config_path: str | None, overrides: tuple[str, ...], env_file: Path | None, state: Path | None, clock: str
) -> None:
    """Show everything in a browser, read only, on the socket systemd passes or on the configured port of 127.0.0.1.

    Also /metrics (OpenMetrics) and /healthz.
    """
    from importlib.util import find_spec

    if missing := [name for name in ("starlette", "uvicorn", "jinja2") if find_spec(name) is None]:
        raise ConfigError(f"rooney dashboard needs {' and '.join(missing)}: install rooney[dashboard]")
    from rooney import log
    from rooney.control import control_directory
    from rooney.dashboard.process import DashboardProcess
    from rooney.notify import Notifier
    from rooney.operate.places import state_directory
    from rooney.view.system import Looker

    log.setup("dashboard")
    config = _load(config_path, overrides, env_file)
    places = state_directory(state, os.environ), control_directory(os.environ)
    _run(DashboardProcess(config, Looker(config, *places, replay=clock == "replay"), Notifier()))


@cli.command()
@click.argument("unit")
def alert(unit: str) -> None:
    """Say that a unit failed: in the journal, and to Slack or Discord where a credential leads. For OnFailure=."""
    import socket

    from rooney import log
    from rooney.alert import run

    log.setup("alert")
    sys.exit(run(unit, os.environ, socket.gethostname()))


@cli.command("alert-sender")
@_configured
@click.option("--state-directory", "state", type=click.Path(path_type=Path), help="As of `rooney orders`.")
@click.option("--book", "directory", type=click.Path(path_type=Path), help="Its own directory [$STATE_DIRECTORY].")
@click.option("--reports", type=click.Path(path_type=Path), help="A report's outbox [/var/lib/rooney-report/outbox].")
def alert_sender(
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    state: Path | None,
    directory: Path | None,
    reports: Path | None,
) -> None:
    """Tell people, on Slack and Discord, what ledgers and a look at everything have for them. Only reads."""
    from rooney import log
    from rooney.alerts.channels import routes
    from rooney.alerts.sender import Sender, level_of
    from rooney.alerts.sources import REPORTS
    from rooney.bus import Bus
    from rooney.control import control_directory
    from rooney.notify import Notifier
    from rooney.operate.places import state_directory
    from rooney.secrets import credentials_directory
    from rooney.view.system import Looker

    log.setup("alert-sender")
    config = _load(config_path, overrides, env_file)
    credentials = credentials_directory(os.environ)
    found, lacks = routes(config, credentials)
    ping = None
    try:
        ping = config.alert_target("", "ping", credentials)
    except ConfigError as error:
        lacks.append(str(error))
    control = control_directory(os.environ)
    own = directory or Path(os.environ.get("STATE_DIRECTORY", "").split(":")[0] or "/var/lib/rooney-alert-sender")
    sender = Sender(
        found,
        lacks,
        ping,
        level_of(config.alerts().level),
        Looker(config, state_directory(state, os.environ), control),
        Bus.to(config.data_hub(), timeout_s=1.0),
        control,
        reports or REPORTS,
        own,
        Notifier(),
    )
    _run(sender)


@cli.command()
@click.option("--known", is_flag=True, help="Take note of all that stands: it is repeated every 4 hours only.")
@click.option("--hours", default=24.0, show_default=True, help="What was over before that is left out.")
@click.option(
    "--book", "directory", type=click.Path(path_type=Path), help="Of the sender [/var/lib/rooney-alert-sender]."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def alerts(known: bool, hours: float, directory: Path | None, as_json: bool) -> None:
    """List alerts: what stands, what is over, and the messages that told so. Exit status 1 if anything stands."""
    import msgspec

    from rooney.alerts.book import told
    from rooney.alerts.sender import BOOK
    from rooney.alerts.troubles import word
    from rooney.control import KNOWN, control_directory

    if known:
        path = control_directory(os.environ) / KNOWN
        path.unlink(missing_ok=True)  # it may be another member's of the group
        path.touch(0o664)
    found = told((directory or Path("/var/lib/rooney-alert-sender")) / BOOK, time.time_ns() - int(hours * 3600e9))
    code = EXIT_ATTENTION if any(not one.ended_ns for one in found) else EXIT_OK
    if as_json:
        click.echo(json.dumps({"exit": code, "alerts": [msgspec.to_builtins(one) for one in found]}))
        sys.exit(code)
    for one in found:
        began = time.strftime("%m-%d %H:%M:%SZ", time.gmtime(one.began_ns // 1_000_000_000))
        state = "news" if one.is_news else "over" if one.ended_ns else "STANDS"
        where = f"  [#{one.messages.replace(' ', ' #')}]" if one.messages else "  (not told yet)"
        click.echo(f"{began}  {state:<7}{word(one.level):<6}{one.scope or 'system'}: {one.text}{where}")
    sys.exit(code)


@cli.group()
def credentials() -> None:
    """Keep the secrets units load (/etc/rooney/credentials); as root. None is ever shown."""


@credentials.command("list")
@click.option("--json", "as_json", is_flag=True, help="Names as JSON.")
def credentials_list(as_json: bool) -> None:
    """Name what there is."""
    import msgspec

    from rooney.credentials import Store

    items = Store().items()
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(item) for item in items]))
        return
    for item in items:
        changed = time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(item.changed_s))
        click.echo(f"{item.name:<32}{'encrypted' if item.encrypted else 'plain':<11}{changed}  {item.unit}")


def _put(name: str, encrypt: bool, *, replace: bool) -> None:
    """Read one secret from a prompt or standard input, never from an argument, and store it."""
    from rooney.credentials import Store
    from rooney.secrets import Secret

    store = Store()
    old = store.item(name)
    if replace and old is None:
        raise ConfigError(f"credentials.{name}: there is none to rotate; `rooney credentials set {name}` makes one")
    if sys.stdin.isatty():
        text = click.prompt(f"{name} (not shown)", hide_input=True, default="", show_default=False)
    else:
        text = sys.stdin.read()
    item = store.put(name, Secret(text.strip()), encrypt=encrypt or (old is not None and old.encrypted))
    kind = "encrypted" if item.encrypted else "readable by root only"
    click.echo(f"{name}: {'replaced' if old else 'stored'}, {kind}")
    click.echo(f"in use after: systemctl daemon-reload && systemctl restart {item.unit}")


@credentials.command("set")
@click.argument("name")
@click.option("--encrypt", is_flag=True, help="With this machine's key (systemd-creds).")
def credentials_set(name: str, encrypt: bool) -> None:
    """Store one: databento_api_key, NAME.broker_account, NAME.paper_account, alert/slack, alert/NAME.slack …"""
    _put(name, encrypt, replace=False)


@credentials.command("rotate")
@click.argument("name")
def credentials_rotate(name: str) -> None:
    """Replace one by a new value; it stays encrypted if it was."""
    _put(name, encrypt=False, replace=True)


@credentials.command("encrypt")
@click.argument("name")
def credentials_encrypt(name: str) -> None:
    """Encrypt one that is stored in plain."""
    from rooney.credentials import Store

    item = Store().encrypt(name)
    click.echo(f"{name}: encrypted; in use after: systemctl daemon-reload && systemctl restart {item.unit}")


@credentials.command("remove")
@click.argument("name")
def credentials_remove(name: str) -> None:
    """Take one away; a running unit keeps what it has until it is restarted."""
    from rooney.credentials import Store

    item = Store().remove(name)
    click.echo(f"{name}: removed; {item.unit} has it until it is restarted")


def _installer(verb: str, text: str) -> None:
    """`rooney VERB …` = `python3 -m rooney.install VERB …`, which needs nothing installed."""

    @cli.command(verb, help=text, context_settings={"ignore_unknown_options": True, "help_option_names": []})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        from rooney.install.command import main as installer

        sys.exit(installer([verb, *arguments]))


_installer("install", "Install or upgrade to a checkout (--source DIR); as root.")
_installer("rollback", "Go back to the version before, one unit at a time; as root.")
_installer("uninstall", "Remove rooney; configuration, credentials and ledgers stay; as root.")


@contextlib.contextmanager
def _credential_store() -> Iterator[Path]:
    """Where `check` reads credentials: the store, and for root also what is encrypted in it."""
    from rooney.credentials import Store
    from rooney.findings import CREDENTIAL_STORE

    if os.geteuid() == 0 and any(CREDENTIAL_STORE.glob("*.cred")):
        with Store().readable() as folder:
            yield folder
    else:
        yield CREDENTIAL_STORE


def _bus(config: "Config") -> "Bus":
    from rooney.bus import Bus

    block = config.data_hub()
    return Bus.to(block)


def _print_bar(bar: "Bar", as_json: bool) -> None:
    import msgspec

    if as_json:
        click.echo(json.dumps(msgspec.structs.asdict(bar)))
        return
    opened = time.strftime("%Y-%m-%d %H:%M", time.gmtime(bar.ts_open // 1_000_000_000))
    prices = f"{bar.open:>12g} {bar.high:>12g} {bar.low:>12g} {bar.close:>12g}"
    click.echo(f"{opened}Z {bar.symbol:<4}{bar.contract:<7}{bar.timeframe:<7}{prices} {bar.volume:>9d}")


def _time(text: str | None, option: str) -> "datetime | None":
    from datetime import UTC, datetime

    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option}: expected an ISO time such as 2026-03-10T22:00, got {text!r}") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)
