"""`rooney optimize`: a seeded search over a strategy's parameters, and whether what it finds can be believed.

A trial is one run of the compiled step over the history that may be searched, in which nothing but rules and filters
holds an entry back (`research.models.dataset.unlimited`), with other parameters. Lengths of features are left open
where they can be, so one compilation serves all trials. The trades are laid on trade dates
(`research.validation.daily_pnl`); combinatorial purged cross-validation cuts those. A trial is worth its mean Sharpe
ratio over the tested part of every split.

Choosing parameters is what can fool, so choosing is what is tested: on each split the trial that is best on what may be
learned from is followed on what is tested, and those pieces make the paths. Every trial, pruned ones too, counts into
the deflated Sharpe ratio. The last part of the history is put away and looked at once, with the parameters chosen.

`optimize.json` holds an `Optimized`; `read` decodes it. `strategy_params` are the parameters to trade with, `measures`
what was found of them (NaN is null), `reasons` why they are not confirmed, if they are not.
"""

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import optuna

from research.optimize import result_file as searchfile
from research.optimize import study
from research.optimize.result_file import Found
from research.optimize.trials import Folds, Part, Runs, curve, date_of, parts
from research.validation import cpcv
from research.validation import sharpe as selection
from rooney.config.settings import StrategyConfig
from rooney.config.validation import Scalar
from rooney.engine.build import build_engine
from rooney.errors import ConfigError, StrategyError
from rooney.format import iso
from rooney.kernels.array_types import F64, Records
from rooney.performance.measures import YEAR, sharpe
from rooney.strategy.loader import load

FORMAT = 1
BLOCKS = 10  # of time, for the probability of overfitting
_STARTUP = 15  # trials drawn at random before the search learns, and before anything is pruned
# Of a trial: P&L by date, Sharpe ratio per day of what each split may learn from and of all it saw, trades.
_USD, _TRAIN, _SHARPE, _TRADES = "usd", "train", "sharpe", "trades"


class Plan(Folds, frozen=True):
    """The search and what must hold.

    trials:      to have finished, pruned ones among them; the first has the parameters as configured
    min_trades:  of a trial, else it is worth nothing; min_final_trades: in the final period
    min_deflated_sharpe, min_final_sharpe: probabilities; max_overfitting: a share
    """

    trials: int = 100
    seed: int = 0
    min_trades: int = 200
    min_final_trades: int = 50
    min_deflated_sharpe: float = 0.95
    max_overfitting: float = 0.2
    min_final_sharpe: float = 0.8


class Tried(msgspec.Struct, frozen=True):
    """A trial. value: None where it was pruned, or had too few trades; sharpe: per year, of what it saw."""

    number: int
    params: dict[str, Scalar]
    value: float | None
    sharpe: float | None
    trades: int


class Optimized(Found, frozen=True, kw_only=True):
    """`optimize.json`.

    search:     least and most value of each parameter searched
    path_sharpes: per year, of the choosing, one per path
    per_instrument: with the parameters chosen
    curve:      of all instruments with the parameters chosen, and with those configured
    """

    configured: dict[str, Scalar]
    search: dict[str, tuple[float, float]]
    plan: Plan
    path_sharpes: list[float]
    per_instrument: dict[str, Part]
    trials: list[Tried]


def read(path: Path) -> Optimized:
    """Raises ConfigError for a file that is none, or of a newer version."""
    return searchfile.read(path, Optimized, "rooney optimize", FORMAT)


def ranges_of(strategy: StrategyConfig, given: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Least and most value by parameter. given: `key=low:high`, none: what the strategy's file declares for a search.

    Raises ConfigError for a parameter that is not declared, or a range beyond its own.
    """
    declared = load(strategy.strategy).declared()
    if not given:
        found = {name: param.search for name, param in declared.items() if param.search is not None}
        if not found:
            raise ConfigError(
                f"{strategy.path}: no parameter of its strategy says where to search (Param(…, search=(low, high))); "
                "give --search KEY=LOW:HIGH; nothing searched"
            )
        return {name: (float(low), float(high)) for name, (low, high) in found.items()}
    ranges: dict[str, tuple[float, float]] = {}
    for text in given:
        name, _, span = text.partition("=")
        if name not in declared:
            raise ConfigError(f"--search {text}: no parameter {name!r}; there are {', '.join(declared)}; none searched")
        param = declared[name]
        try:
            low, high = (float(end) for end in span.split(":"))
        except ValueError as error:
            raise ConfigError(f"--search {text}: expected {name}=LOW:HIGH; nothing searched") from error
        least, most = param.low, param.high
        if not low < high or (least is not None and low < least) or (most is not None and high > most):
            raise ConfigError(f"--search {text}: expected LOW < HIGH within {least} to {most}; nothing searched")
        ranges[name] = (low, high)
    return ranges


def identity(runs: Runs, plan: Plan, ranges: Mapping[str, tuple[float, float]]) -> str:
    """Name of the study: of everything a trial's result depends on but its own parameters."""
    given = msgspec.structs.replace(plan, trials=0)
    engine = build_engine(runs.strategy, {}, {}, runs.most)
    made_from = [engine.digest, runs.history.digest(), runs.history.start_ns, runs.history.end_ns]
    made_from += [sorted(ranges.items()), msgspec.to_builtins(given), optuna.__version__, np.__version__]
    return f"{runs.strategy.name}-{hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]}"


def work(
    runs: Runs,
    plan: Plan,
    ranges: Mapping[str, tuple[float, float]],
    storage: str,
    name: str,
    told: Callable[[int, list[str]], None] | None = None,
) -> None:
    """Make trials until the study has as many as planned, beside whoever else does.

    told: called after each trial, and while waiting, with how many have finished and which workers were found dead
    """
    found = study.open_study(storage, name, plan.seed, _STARTUP)
    declared = load(runs.strategy.strategy).declared()
    configured = configured_params(runs.strategy)
    first = {key: configured[key] for key in ranges}
    if not found.get_trials(deepcopy=False) and all(
        low <= float(first[key]) <= high for key, (low, high) in ranges.items()
    ):
        found.enqueue_trial(first)
    whole = {key: isinstance(declared[key].default, int) for key in ranges}
    study.run(found, plan.trials, lambda trial: _attempt(runs, plan, ranges, whole, trial), told)


def configured_params(strategy: StrategyConfig) -> dict[str, Scalar]:
    """Every parameter, as the block has it."""
    declared = load(strategy.strategy).declared()
    return strategy.params({key: (param.default, param.low, param.high) for key, param in declared.items()})


def _attempt(
    runs: Runs, plan: Plan, ranges: Mapping[str, tuple[float, float]], whole: Mapping[str, bool], trial: Any
) -> float:
    days = runs.days
    study.beat(trial)
    values: dict[str, Scalar] = {}
    for key, (low, high) in ranges.items():
        if whole[key]:
            values[key] = trial.suggest_int(key, int(low), int(high), log=low >= 1 and high >= 10 * low)
        else:
            values[key] = trial.suggest_float(key, low, high)
    groups = cpcv.groups_of(len(days), plan.n_groups)

    def at_group(group: int, closed: Records) -> None:
        study.beat(trial)
        ratio = selection.sharpe(days.usd(closed)[: int(groups[group][-1]) + 1, 0])
        trial.set_user_attr(_SHARPE, None if math.isnan(ratio) else ratio)
        trial.set_user_attr(_TRADES, len(closed))
        trial.report(-1.0 if math.isnan(ratio) else ratio, group)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        closed = runs.trades(values, runs.cut_ns, at_group)
    except StrategyError as error:  # lengths that do not go together
        raise optuna.TrialPruned from error
    usd = days.usd(closed)[:, 0]
    tested, learned = [], []
    for split in cpcv.splits(days.start_ns, days.end_ns(closed), plan.n_groups, plan.n_test, int(plan.embargo_s * 1e9)):
        tested.append(selection.sharpe(usd[np.concatenate(split.tests)]))
        learned.append(selection.sharpe(usd[split.train]))
    ratio = selection.sharpe(usd)
    trial.set_user_attr(_SHARPE, None if math.isnan(ratio) else ratio)
    trial.set_user_attr(_TRADES, len(closed))
    value = float(np.mean(tested))
    if len(closed) < plan.min_trades or math.isnan(value):
        raise optuna.TrialPruned
    trial.set_user_attr(_USD, base64.b64encode(zlib.compress(usd.tobytes())).decode())
    trial.set_user_attr(_TRAIN, [-1.0 if math.isnan(ratio) else ratio for ratio in learned])
    return value


def conclude(runs: Runs, plan: Plan, ranges: Mapping[str, tuple[float, float]], storage: str, name: str) -> Optimized:
    """The study's finding, judged. Equal trials give equal results, whoever made them."""
    found = study.open_study(storage, name, plan.seed, _STARTUP)
    trials = study.over(found)
    done = [trial for trial in trials if _USD in trial.user_attrs]
    configured = configured_params(runs.strategy)
    facts: dict[str, float] = {"trials": len(trials), "finished": len(done), "trade_dates": len(runs.days)}
    params, ratios = configured, np.zeros(0)
    reasons = [] if len(done) > 1 else [f"{len(done)} of {len(trials)} trials had {plan.min_trades} trades"]
    if not reasons:
        best = max(done, key=lambda trial: (trial.value, -trial.number))
        params = configured | best.params
        usd = np.stack([_series(trial) for trial in done], axis=1)
        series = usd[:, done.index(best)]
        known = np.array([trial.user_attrs.get(_SHARPE) for trial in trials], np.float64)  # None: NaN
        ratios = np.array([sharpe(path.tolist()) for path in _paths(runs, plan, done, usd)])
        facts |= {
            "trades": best.user_attrs[_TRADES],
            "pnl_usd": float(series.sum()),
            "sharpe": sharpe(series.tolist()),
            "deflated_sharpe": selection.deflated_sharpe(series, known, len(trials)),
            "overfitting": selection.overfitting(usd, BLOCKS),
            "paths": len(ratios),
            "path_share": float(np.mean(ratios > 0)),
            "path_sharpe": float(np.mean(ratios)),
            "path_sharpe_worst": float(np.min(ratios)),
        }
    after: dict[str, Part] = {}
    curves = []
    for label, values in (("final", params), ("configured_final", configured)):
        closed = runs.trades(values, runs.history.end_ns + 1)
        daily = runs.all_days.usd(closed, len(runs.strategy.traded))
        final = daily[len(runs.days) :].sum(axis=1)
        facts |= {
            f"{label}_trades": int((closed["entry_mark"] >= runs.cut_ns).sum()),
            f"{label}_pnl_usd": float(final.sum()),
            f"{label}_sharpe": sharpe(final.tolist()),
            f"{label}_sharpe_probability": selection.probabilistic_sharpe(final),
        }
        curves.append(np.cumsum(daily.sum(axis=1)))
        if label == "final":
            after = parts(runs, closed, daily)
    if not reasons:
        reasons = _reasons(facts, plan)
    history = runs.history
    return Optimized(
        format=FORMAT,
        strategy=runs.strategy.name,
        confirmed=not reasons,
        reasons=reasons,
        strategy_params={**runs.strategy.settings.strategy_params, **{key: params[key] for key in ranges}},
        configured={key: configured[key] for key in ranges},
        search=dict(ranges),
        instruments=list(runs.strategy.traded),
        without_bars=[symbol for symbol in history.missing if symbol in runs.strategy.traded],
        plan=plan,
        measures={key: None if math.isnan(value) else value for key, value in facts.items()},
        path_sharpes=ratios.tolist(),
        per_instrument=after,
        trials=[_tried(trial) for trial in trials],
        curve=curve(runs.all_days.dates, *curves),
        data_sha256=history.digest(),
        span=(iso(history.start_ns), iso(history.end_ns)),
        final_from=date_of(runs.all_days.dates[len(runs.days)]),
        closes_only=history.closes_only,
        findings=history.findings,
    )


def _series(trial: Any) -> F64:
    return np.frombuffer(zlib.decompress(base64.b64decode(trial.user_attrs[_USD])), np.float64)


def _paths(runs: Runs, plan: Plan, done: Sequence[Any], usd: F64) -> list[F64]:
    """P&L by date of the choosing: on each split, of the trial that is best on what may be learned from."""
    chosen = np.argmax(np.array([trial.user_attrs[_TRAIN] for trial in done]), axis=0)
    groups = cpcv.groups_of(len(runs.days), plan.n_groups)
    return [
        np.concatenate([usd[groups[group], chosen[split]] for group, split in enumerate(path.tolist())])
        for path in cpcv.path_splits(plan.n_groups, plan.n_test)
    ]


def _tried(trial: Any) -> Tried:
    ratio = trial.user_attrs.get(_SHARPE)
    value = trial.value * YEAR if _USD in trial.user_attrs else None
    return Tried(
        trial.number, trial.params, value, None if ratio is None else ratio * YEAR, trial.user_attrs.get(_TRADES, 0)
    )


def _reasons(facts: Mapping[str, float], plan: Plan) -> list[str]:
    """Reasons why it is not confirmed; none if it is. NaN holds nothing."""
    judged = [
        (
            facts["deflated_sharpe"] >= plan.min_deflated_sharpe,
            f"deflated Sharpe ratio {facts['deflated_sharpe']:.3f} (least {plan.min_deflated_sharpe}): the best of "
            f"{facts['trials']:.0f} trials looks like luck",
        ),
        (
            facts["overfitting"] <= plan.max_overfitting,
            f"probability of overfitting {facts['overfitting']:.2f} (most {plan.max_overfitting})",
        ),
        (
            facts["path_sharpe"] > 0,
            f"choosing parameters on what was known has a mean Sharpe ratio of {facts['path_sharpe']:.2f} on the paths",
        ),
        (
            facts["final_trades"] >= plan.min_final_trades,
            f"{facts['final_trades']:.0f} trades in the final period (least {plan.min_final_trades})",
        ),
        (facts["final_pnl_usd"] > 0, f"the final period lost {-facts['final_pnl_usd']:,.0f} USD"),
        (
            facts["final_sharpe_probability"] >= plan.min_final_sharpe,
            f"the final period confirms a profit with probability {facts['final_sharpe_probability']:.2f} (least "
            f"{plan.min_final_sharpe})",
        ),
    ]
    return [reason for holds, reason in judged if not holds]
