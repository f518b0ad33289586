"""Verbs that put models in force: promote a training, train anew, read those of the old system."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rooney.cli.options import EXISTING, FOLDER, PATH, Call, formerly, needs, takes
from rooney.cli.progress import bars
from rooney.errors import EXIT_ATTENTION, EXIT_CONFIG, EXIT_OK, ConfigError

if TYPE_CHECKING:
    from rooney.config.loader import Config
    from rooney.models.bundle import Bundle


@click.command()
@click.argument("name")
@click.option("--from", "source", type=FOLDER, help="A training.")
@click.option("--optimize", type=EXISTING, help="[optimize.json beside the training.]")
@click.option("--portfolio", type=EXISTING, help="[portfolio.json beside the training.]")
@click.option("--despite", default="", metavar="WHY", help="Promote what misses gates, for paper only.")
@click.option("--dry-run", is_flag=True, help="Only say what would be promoted.")
@click.option("--back", is_flag=True, help="Put the bundle before this one in force again.")
@click.option("--to", metavar="ID", help="Put a kept bundle in force again, by how its name begins.")
@click.option("--list", "is_list", is_flag=True, help="Show what is kept.")
@takes("config", "json")
def promote(
    call: Call,
    name: str,
    source: Path | None,
    optimize: Path | None,
    portfolio: Path | None,
    despite: str,
    dry_run: bool,
    back: bool,
    to: str | None,
    is_list: bool,
) -> None:
    """Put what was trained in force for a strategy, as one bundle, if it passes the gates. Exit status 1 if not.

    A running worker goes on with the bundle it started with.
    """
    from research.models import promote as act

    if [source is not None, back, to is not None, is_list].count(True) != 1:
        raise ConfigError("promote: expected one of --from DIR, --back, --to ID, --list; nothing changed")
    config = call.load()
    if is_list:
        _say_kept(call, config, name)
    if source is None:
        held, was = act.switch(config, name, to)
        call.say({"bundle": held.name, "was": was}, _switch_lines(name, held, was, "in force again"))
    given = {act.OPTIMIZE: optimize, act.PORTFOLIO: portfolio}
    extra = {key: path for key, path in given.items() if path is not None}
    run_promote(call, config, name, source, extra, despite, dry_run=dry_run)


def run_promote(
    call: Call, config: "Config", name: str, source: Path, extra: Mapping[str, Path], despite: str, *, dry_run: bool
) -> None:
    """Promote a training and say what became of each instrument; attention if nothing was promoted."""
    from research.models import promote as act

    done = act.promote(config, name, source, extra, despite, dry_run=dry_run)
    lines = []
    for symbol in config.wanted(name).traded:
        reasons = "; ".join(done.missed.get(symbol, []))
        said = "left out" if symbol not in done.instruments else "in, despite" if reasons else "in"
        lines.append(f"  {symbol:<6}{said}{': ' if reasons else ''}{reasons}")
    if not done.instruments:
        lines.append("\nnothing promoted: no instrument passes the gates")
    elif done.bundle is None:
        lines.append(f"\nwould promote {len(done.instruments)} instruments; nothing written")
    else:
        lines += _switch_lines(name, done.bundle, done.was, "promoted")
    result = {
        "bundle": done.bundle.name if done.bundle is not None else None,
        "was": done.was,
        "instruments": done.instruments,
        "missed": done.missed,
        "despite": despite,
    }
    call.say(result, lines, EXIT_OK if done.instruments else EXIT_ATTENTION)


def _say_kept(call: Call, config: "Config", name: str) -> None:
    """List the bundles of a strategy, newest first."""
    from research.models import promote as act
    from rooney.models import bundle

    folder = act.folder_of(config, name)
    current, previous = bundle.in_force(folder), bundle.before(folder)
    rows = [
        {
            "bundle": kept.name,
            "state": "in force" if kept.name == current else "before" if kept.name == previous else "kept",
            "instruments": list(kept.manifest.instruments),
            "despite": kept.manifest.despite,
        }
        for kept in bundle.kept(folder)
    ]
    lines = []
    for row in rows:
        despite = f"  despite: {row['despite']}" if row["despite"] else ""
        lines.append(f"  {row['bundle'][: bundle.SHOWN]}  {row['state']:<9} {' '.join(row['instruments'])}{despite}")
    call.say(rows, lines or [f"nothing has been promoted to {folder}"])


def _switch_lines(name: str, held: "Bundle", was: str | None, what: str) -> list[str]:
    from rooney.models.bundle import SHOWN

    lines = [
        f"\n{what}: {held.short} for {', '.join(held.manifest.instruments)}, in {held.path.parent}",
        f"in use after: systemctl restart rooney-worker@{name}",
    ]
    if was is not None and was != held.name:
        lines.append(f"back to {was[:SHOWN]}: rooney promote {name} --back")
    return lines


@click.command()
@click.argument("names", nargs=-1)
@click.option("--out", type=PATH, help="A folder per strategy here [$STATE_DIRECTORY].")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="Threads.")
@takes("config", "strict", "json")
def retrain(call: Call, names: tuple[str, ...], out: Path | None, jobs: int) -> None:
    """Train anew as each strategy's `retrain` says, and compare with what is in force; exit status 1: better is there.

    Promotes only where `retrain.promote` is true.
    """
    needs("retrain", "polars", "sklearn", "joblib", "optuna", "plotly")
    unit = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    directory = out or (Path(unit) if unit else Path("/var/lib/rooney-retrain"))
    run_retrain(call, call.load(), names, directory, jobs)


def run_retrain(call: Call, config: "Config", names: tuple[str, ...], out: Path, jobs: int) -> None:
    """Train every strategy that asks for it, each by itself; attention if better models wait to be promoted."""
    from research.models import retrain as act
    from research.models.promote import REPORT
    from rooney.models.bundle import SHOWN

    results: dict[str, dict[str, Any]] = {}
    code = EXIT_OK

    def tell(line: str) -> None:  # at once: the next may take hours
        if not call.as_json:
            click.echo(line)

    for name in names or [name for name in config.names if config.block(name).retrain is not None]:
        try:
            told = results[name] = act.retrain(config, name, out / name, jobs, bars)
        except ConfigError as error:
            results[name] = {"error": str(error)}
            click.echo(f"{name}: {error}", err=True)
            code = EXIT_CONFIG
            continue
        if told["is_better"] and told["promoted"] is None:
            code = code or EXIT_ATTENTION
        tell(f"{name}: {told['verdict']}; bars up to {told['data_end']}; {out / name / REPORT}")
        if told["promoted"]:
            tell(f"{name}: {told['promoted'][:SHOWN]} promoted, in use after its worker's next start")
        elif told["is_better"]:
            tell(f"{name}: to promote it: rooney promote {name} --from {out / name}")
    call.say({"strategies": results}, [] if results else ["no strategy has a key retrain: nothing to do"], code)


@click.group()
def models() -> None:
    """Model files: read those of the old system."""


@models.command("import")
@click.argument("name")
@click.argument("source", type=FOLDER)
@click.option("--out", required=True, type=PATH, help="Folder of the model files.")
@formerly("--to", "out", type=PATH)
@takes("config", "json")
def models_import(call: Call, name: str, source: Path, out: Path) -> None:
    """Turn SYMBOL_rf_model.pkl and SYMBOL_best.json in SOURCE into model files of strategy NAME."""
    needs("models import", "sklearn", "joblib")
    from research.legacy.models import import_models, pickles_in

    strategy = call.strategy(name)
    pickles = pickles_in(source)
    click.echo(
        "warning: a pickle is a program. Each is read in a process of its own that may build forests and nothing else, "
        "with no secrets, no files to write and little memory; read only files you trust all the same.",
        err=True,
    )
    outcomes = import_models(pickles, out, strategy)
    failed = any(outcome.startswith("not imported") for outcome in outcomes.values())
    lines = [f"  {symbol:<6}{outcome}" for symbol, outcome in outcomes.items()]
    call.say(outcomes, lines, EXIT_ATTENTION if failed else EXIT_OK)


VERBS: tuple[click.Command, ...] = (promote, retrain, models)
