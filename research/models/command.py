"""What `rooney train` does with files and a terminal."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from research.history.history import History
from research.models import dataset as training
from research.models.dataset import TrainingSet
from research.models.report import html
from research.models.train import Plan, Verdict, train
from rooney.config.settings import StrategyConfig
from rooney.errors import EXIT_ATTENTION, EXIT_OK, ConfigError
from rooney.format import iso
from rooney.models.forest import UNCONFIRMED, path_of, write_model


def run_training(
    strategy: StrategyConfig,
    data: Path,
    span: tuple[datetime | None, datetime | None],
    names: Sequence[str],
    plan: Plan,
    out: Path,
    jobs: int,
    as_json: bool,
) -> int:
    """Train every instrument, write what is confirmed, and say why the others are not; exit 1 if none is.

    out: gets SYMBOL.model of confirmed ones, training.json and report.html, and in `unconfirmed/` what did not hold, to
    be looked at or tried on paper; older models there are taken away, because a folder never holds models of two
    trainings
    """
    history, sets = collect(strategy, data, span, names)
    verdicts = train_all(strategy, history, sets, plan, jobs)
    summary = write(out, strategy, plan, names, verdicts, history)
    confirmed = [verdict.symbol for verdict in verdicts if verdict.model is not None]
    if as_json:
        click.echo(json.dumps(summary))
    else:
        for verdict in verdicts:
            said = "confirmed" if verdict.model is not None else "; ".join(verdict.reasons)
            click.echo(f"  {verdict.symbol:<6}{said}")
        files = ["report.html", "training.json", *(f"{symbol}.model" for symbol in confirmed)]
        click.echo(f"\nwritten to {out}: {', '.join(files)}")
    return EXIT_OK if confirmed else EXIT_ATTENTION


def collect(
    strategy: StrategyConfig, data: Path, span: tuple[datetime | None, datetime | None], names: Sequence[str]
) -> tuple[History, dict[str, TrainingSet]]:
    """The trades to learn from, by instrument. Raises ConfigError for data without an instrument the features read."""
    engine = training.engine_of(strategy, names)
    history = History(data, [instrument.symbol for instrument in engine.instruments], *span)
    if lacking := sorted(set(history.missing) - set(strategy.traded)):
        raise ConfigError(f"--data: no bars of {', '.join(lacking)} in {data}, which the features read; not training")
    with click.progressbar(length=1000, label="trades", file=sys.stderr) as bar:
        return history, training.collect(strategy, history, names, _steps(bar))


def train_all(
    strategy: StrategyConfig, history: History, sets: Mapping[str, TrainingSet], plan: Plan, jobs: int
) -> list[Verdict]:
    """What came of each instrument."""
    verdicts = []
    for symbol, samples in sets.items():
        made_from = training.made_from(strategy, symbol, samples.names, history)
        with click.progressbar(length=1000, label=f"{symbol}: {len(samples)} trades", file=sys.stderr) as bar:
            verdicts.append(train(samples, plan, Path(strategy.strategy).stem, made_from, _steps(bar), jobs))
    return verdicts


def write(
    out: Path,
    strategy: StrategyConfig,
    plan: Plan,
    names: Sequence[str],
    verdicts: Sequence[Verdict],
    history: History,
) -> dict[str, Any]:
    """The files of a training; what `training.json` says."""
    (out / UNCONFIRMED).mkdir(parents=True, exist_ok=True)
    for verdict in verdicts:
        for folder in (out, out / UNCONFIRMED):
            path_of(folder, verdict.symbol).unlink(missing_ok=True)
        if verdict.candidate is not None:
            folder = out if verdict.model is not None else out / UNCONFIRMED
            write_model(verdict.candidate, path_of(folder, verdict.symbol))
    summary = _summary(strategy, plan, names, verdicts, history)
    (out / "training.json").write_text(json.dumps(summary, indent=2) + "\n")
    (out / "report.html").write_text(html(strategy.name, verdicts, summary))
    return summary


def _steps(bar: Any) -> Any:
    return lambda share: bar.update(int(share * 1000) - bar.pos)


def _summary(
    strategy: StrategyConfig, plan: Plan, names: Sequence[str], verdicts: Sequence[Verdict], history: History
) -> dict[str, Any]:
    """`training.json`: what was asked, what was found, and why it may or may not trade."""
    return {
        "strategy": strategy.name,
        "features": list(names),
        "plan": msgspec.structs.asdict(plan),
        "data_sha256": history.digest(),
        "span": [iso(history.start_ns), iso(history.end_ns)],
        "instruments": {
            verdict.symbol: {
                "confirmed": verdict.model is not None,
                "reasons": verdict.reasons,
                "threshold": verdict.candidate.threshold if verdict.candidate else None,
                "sha256": verdict.candidate.digest() if verdict.candidate else None,
                "measures": {k: None if v != v else v for k, v in verdict.measures.items()},
            }
            for verdict in verdicts
        },
    }
