"""A training from bars to files: trades of every instrument, a verdict on each, models, `training.json`, report."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from research.history.history import History
from research.history.progress import Progress, silent
from research.models import dataset as training
from research.models.dataset import TrainingSet
from research.models.report import html
from research.models.train import Plan, Verdict, train
from rooney.config.settings import StrategyConfig
from rooney.errors import ConfigError
from rooney.format import iso
from rooney.models.forest import UNCONFIRMED, path_of, write_model


def collect(
    strategy: StrategyConfig,
    data: Path,
    span: tuple[datetime | None, datetime | None],
    names: Sequence[str],
    progress: Progress = silent,
) -> tuple[History, dict[str, TrainingSet]]:
    """The trades to learn from, by instrument. Raises ConfigError for data without an instrument the features read."""
    engine = training.engine_of(strategy, names)
    history = History(data, [instrument.symbol for instrument in engine.instruments], *span)
    if lacking := sorted(set(history.missing) - set(strategy.traded)):
        raise ConfigError(f"--data: no bars of {', '.join(lacking)} in {data}, which the features read; not training")
    with progress("trades") as steps:
        return history, training.collect(strategy, history, names, steps)


def train_all(
    strategy: StrategyConfig,
    history: History,
    sets: Mapping[str, TrainingSet],
    plan: Plan,
    jobs: int,
    progress: Progress = silent,
) -> list[Verdict]:
    """A verdict on each instrument. jobs: threads."""
    verdicts = []
    for symbol, samples in sets.items():
        made_from = training.made_from(strategy, symbol, samples.names, history)
        with progress(f"{symbol}: {len(samples)} trades") as steps:
            verdicts.append(train(samples, plan, Path(strategy.strategy).stem, made_from, steps, jobs))
    return verdicts


def write(
    out: Path,
    strategy: StrategyConfig,
    plan: Plan,
    names: Sequence[str],
    verdicts: Sequence[Verdict],
    history: History,
) -> dict[str, Any]:
    """The files of a training; returns what `training.json` says.

    out: gets SYMBOL.model of what is confirmed, training.json and report.html, and in `unconfirmed/` what did not hold,
    to be looked at or tried on paper; older models there are taken away, because a folder never holds models of two
    trainings
    """
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


def _summary(
    strategy: StrategyConfig, plan: Plan, names: Sequence[str], verdicts: Sequence[Verdict], history: History
) -> dict[str, Any]:
    """`training.json`: the question, the findings, and why each instrument may or may not trade."""
    return {
        "strategy": strategy.name,
        "features": list(names),
        "plan": msgspec.structs.asdict(plan),
        "data_sha256": history.digest(),
        "findings": msgspec.to_builtins(history.findings),
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
