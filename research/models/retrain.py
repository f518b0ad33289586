"""`rooney retrain`: the next models, held against those in force; what came of it, and no promotion unless configured.

Old and new judge the same trades: those decided after everything either was fitted to. A bundle keeps a trade if it has
the instrument and its model lets it in. Compared is the P&L of what is kept, per day, over all instruments: the new
ones are better if the daily difference is above 0 with a probability of at least `retrain.min_better`. The new models
had to earn in these very trades to pass the gates, so the comparison is kind to them; it is one more thing to hold.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from research.history.progress import Progress, silent
from research.models import promote
from research.models.dataset import DEFAULT_FEATURES, TrainingSet
from research.models.forest import predict
from research.models.report import comparison, html
from research.models.train import DAY_NS, Plan
from research.models.training import collect, train_all, write
from research.validation import sharpe as selection
from rooney.config.loader import Config
from rooney.config.schema import Gates, Retrain
from rooney.engine.build import build_engine
from rooney.engine.model_checks import bundle_models
from rooney.errors import BundleError, ConfigError
from rooney.kernels.array_types import F64
from rooney.models import bundle
from rooney.models.bundle import Bundle
from rooney.models.forest import Model


def plan_of(wanted: Retrain, gates: Gates) -> Plan:
    """A training that confirms what the gates let through."""
    return Plan(
        trials=wanted.trials,
        trees=wanted.trees,
        min_trades=int(gates.min_trades),
        min_final_trades=int(gates.min_final_trades),
        min_deflated_sharpe=gates.min_deflated_sharpe,
        max_overfitting=gates.max_overfitting,
        min_final_sharpe=gates.min_final_sharpe,
    )


def evaluate(
    sets: Mapping[str, TrainingSet], new: Mapping[str, Model], old: Mapping[str, Model]
) -> tuple[dict[str, Any], Any, F64]:
    """By instrument, what either keeps of the trades after both; and days with the difference of their P&L, USD.

    sets: with the features of all models
    """
    found, days, values = {}, [], []
    for symbol, samples in sets.items():
        models = [models[symbol] for models in (new, old) if symbol in models]
        if not models:
            continue
        later = samples.since(max(model.span[1] for model in models) + 1)
        kept = [_kept(models.get(symbol), later) for models in (new, old)]
        found[symbol] = {
            "trades": len(later),
            "new_kept": int(kept[0].sum()),
            "new_usd": float(later.pnl_usd[kept[0]].sum()),
            "in_force_kept": int(kept[1].sum()),
            "in_force_usd": float(later.pnl_usd[kept[1]].sum()),
        }
        days.append(later.start_ns // DAY_NS)
        values.append(later.pnl_usd * (kept[0].astype(float) - kept[1]))
    each, which = np.unique(np.concatenate([*days, np.zeros(0, np.int64)]), return_inverse=True)
    return found, each, np.bincount(which, np.concatenate([*values, np.zeros(0)]), len(each)).astype(np.float64)


def _kept(model: Model | None, samples: TrainingSet) -> Any:
    """bool[trade]: whether the bundle enters it; without a model it does not, nor where a feature is missing."""
    if model is None:
        return np.zeros(len(samples), bool)
    rows = samples.of(model.features).rows
    whole: Any = np.isfinite(rows).all(axis=1)
    return whole & (predict(model.nodes(), model.n_trees, np.where(whole[:, None], rows, 0.0)) >= model.threshold)


def retrain(config: Config, name: str, out: Path, jobs: int, progress: Progress = silent) -> dict[str, Any]:
    """Train one strategy again and compare; returns what `evaluation.json` says. out: its folder, written anew."""
    wanted = config.block(name).retrain
    if wanted is None:
        raise ConfigError(f"strategies.{name}.retrain: no such key; it says from which data; not training")
    folder = promote.folder_of(config, name)
    strategy = config.wanted(name)
    held, old, unusable = _in_force(config, name, folder)
    names = wanted.features or (held.manifest.features if held is not None else DEFAULT_FEATURES)
    more = [feature for model in old.values() for feature in model.features if feature not in names]
    data = config.path.parent / wanted.data
    history, sets = collect(strategy, data, (None, None), (*names, *dict.fromkeys(more)), progress)
    plan = plan_of(wanted, strategy.settings.gates)
    verdicts = train_all(strategy, history, {k: one.of(names) for k, one in sets.items()}, plan, jobs, progress)
    summary = write(out, strategy, plan, names, verdicts, history)
    judged = promote.judge(strategy, out, {}, "")
    instruments, days, difference = evaluate(sets, judged.models, old)
    chance = selection.probabilistic_sharpe(difference)
    is_better = bool(judged.models) and (held is None or chance >= wanted.min_better)
    told: dict[str, Any] = {
        "in_force": held.name if held is not None else None,
        "unusable": unusable,
        "data_end": summary["span"][1],
        "passed": list(judged.models),
        "missed": judged.missed,
        "instruments": instruments,
        "difference_usd": float(difference.sum()),
        "probability": None if chance != chance else chance,
        "is_better": is_better,
        "promoted": None,
    }
    told["verdict"] = _verdict(told, wanted)
    (out / promote.EVALUATION).write_text(json.dumps(told, indent=2) + "\n")
    (out / promote.REPORT).write_text(html(name, verdicts, summary, comparison(told, days, difference)))
    if is_better and wanted.promote:
        found = promote.pack(strategy, promote.judge(strategy, out, {}, ""), "", folder)
        build_engine(config.strategy(name, found))
        bundle.switch(folder, found.name)
        told["promoted"] = found.name
    return told


def _in_force(config: Config, name: str, folder: Path) -> tuple[Bundle | None, dict[str, Model], str]:
    """The bundle in force and its models; if it cannot be used with this code, no models and why."""
    held = bundle.promoted(folder)
    if held is None:
        return None, {}, ""
    try:
        return held, bundle_models(config.strategy(name, held), held), ""
    except BundleError as error:
        return None, {}, str(error)


def _verdict(told: dict[str, Any], wanted: Retrain) -> str:
    if not told["passed"]:
        return "keep what is in force: no new model passes the gates"
    if told["in_force"] is None:
        return f"{', '.join(told['passed'])} pass the gates; nothing usable is in force"
    chance = told["probability"]
    how = "too little to tell them apart" if chance is None else f"above 0 with probability {chance:.2f}"
    said = f"new less in force {told['difference_usd']:+,.0f} USD, {how} (least {wanted.min_better})"
    return f"{'the new models are better' if told['is_better'] else 'keep what is in force'}: {said}"
