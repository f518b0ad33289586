"""`rooney train`: from the trades of a backtest to a forest that may judge them, or to the reason why there is none.

Per instrument: trades in time order; the last part is put away, untouched. On the rest, a seeded search tries forests;
each is judged by the scores it gives to rows it never saw, on every path of combinatorial purged cross-validation, and
at several thresholds. Every forest and threshold is one trial, and all of them count.

What is judged is the choosing, not the strategy: the excess of a kept trade is its P&L less the mean P&L of all trades,
of a vetoed one 0. A veto at random has no excess, however well the strategy does. Series are sums per day (UTC), over
the days on which there was a trade to judge.

A model is confirmed if everything holds: enough kept trades, deflated Sharpe ratio of the excess, probability of
overfitting, profit after costs on the paths; then, asked once, the period put away: enough kept trades, a profit, and
an excess that is probably above 0. The forest that was confirmed is the one written; it is not fitted again.
"""

import json
import math
from typing import Any

import msgspec
import numpy as np
import optuna
from joblib import Parallel, delayed
from sklearn.ensemble import RandomForestClassifier

from research.history.progress import Steps, unwatched
from research.models.dataset import TrainingSet
from research.models.forest import arrays, flatten, predict
from research.validation import cpcv
from research.validation import sharpe as selection
from rooney.kernels.array_types import F64, I64
from rooney.models.forest import Model

DAY_NS = 86_400_000_000_000
SHARES = (0.8, 0.65, 0.5, 0.35, 0.2)  # of the trades that a threshold keeps
BLOCKS = 10  # of time, for the probability of overfitting
_WORST = -1e9  # of a trial in which nothing could be judged


class Plan(msgspec.Struct, frozen=True):
    """The search and what must hold.

    trials:     forests tried; each counts once per threshold
    n_groups, n_test, embargo_s: of the cross-validation
    final_share: of the trades, put away
    min_trades: kept ones, on every path; min_final_trades: kept ones in the final period
    min_deflated_sharpe, min_final_sharpe: probabilities; max_overfitting: a share
    """

    trials: int = 40
    trees: int = 200
    seed: int = 0
    n_groups: int = 6
    n_test: int = 2
    embargo_s: float = 86_400.0
    final_share: float = 0.25
    min_trades: int = 100
    min_final_trades: int = 30
    min_deflated_sharpe: float = 0.95
    max_overfitting: float = 0.2
    min_final_sharpe: float = 0.8


class Trial(msgspec.Struct, frozen=True):
    """A forest at a threshold.

    kept: trades, on the path that keeps fewest
    path_sharpes, sharpe: of the daily excess, per day; of each path, and of their mean; NaN with too few trades
    """

    number: int
    share: float
    threshold: float
    params: dict[str, Any]
    kept: int
    path_sharpes: list[float]
    sharpe: float


class Verdict(msgspec.Struct, frozen=True):
    """Outcome for an instrument. model: None where `reasons` say why there is none.

    candidate: the best forest that was found, confirmed or not; None where nothing could be searched
    scores: votes for the final period's trades, by the best forest; excess: of the search, mean of the paths, by day
    """

    symbol: str
    model: Model | None
    reasons: list[str]
    measures: dict[str, float]
    trials: list[Trial]
    candidate: Model | None = None
    best: Trial | None = None
    days: Any = None
    excess: Any = None
    final: TrainingSet | None = None
    scores: Any = None


def train(
    samples: TrainingSet,
    plan: Plan,
    strategy: str,
    made_from: dict[str, str],
    progress: Steps = unwatched,
    jobs: int = 1,
) -> Verdict:
    """Search, judge, confirm. Equal samples, plan and libraries give equal bytes, whatever `jobs` is.

    progress: called with the share that is done
    """
    known = samples.complete()
    cut_ns = _cut(known, plan.final_share)
    search, final = known.before(cut_ns), known.since(cut_ns)
    facts = {"trades": float(len(samples)), "incomplete": float(len(samples) - len(known))}
    facts |= {"search_trades": float(len(search)), "final_trades": float(len(final))}
    if reason := _too_little(search, final, plan):
        return Verdict(samples.symbol, None, [reason], facts, [])
    found = _Search(search, plan, jobs)
    found.run(progress)
    best = found.best()
    if best is None:
        reason = f"no threshold of {len(found.trials)} tried kept {plan.min_trades} trades on every path"
        return Verdict(samples.symbol, None, [reason], facts, found.trials)
    number = found.trials.index(best)
    series = found.excess[:, number]
    judged = [k for k, trial in enumerate(found.trials) if not math.isnan(trial.sharpe)]
    facts |= {
        "trials": float(len(found.trials)),
        "kept_trades": float(best.kept),
        "paths": float(len(best.path_sharpes)),
        "path_share": sum(ratio > 0 for ratio in best.path_sharpes) / len(best.path_sharpes),
        "sharpe": best.sharpe,
        "sharpe_worst_path": min(best.path_sharpes),
        "deflated_sharpe": selection.deflated_sharpe(
            series, np.array([trial.sharpe for trial in found.trials]), len(found.trials)
        ),
        "overfitting": selection.overfitting(found.excess[:, judged], BLOCKS),
        "pnl_usd": found.pnl_usd[number],
        "all_pnl_usd": float(search.pnl_usd.sum()),
    }
    nodes = flatten(_fit(search.rows, search.labels, best.params, plan))
    scores = predict(nodes, plan.trees, final.rows)
    kept = scores >= best.threshold
    _, final_excess = _daily(final, np.where(kept, final.pnl_usd - search.pnl_usd.mean(), 0.0))
    facts |= {
        "final_kept": float(kept.sum()),
        "final_pnl_usd": float(final.pnl_usd[kept].sum()),
        "final_all_pnl_usd": float(final.pnl_usd.sum()),
        "final_excess_usd": float(final_excess.sum()),
        "final_sharpe": selection.sharpe(final_excess),
        "final_sharpe_probability": selection.probabilistic_sharpe(final_excess),
    }
    reasons = _reasons(facts, plan)
    candidate = Model(
        strategy=strategy,
        symbol=samples.symbol,
        features=samples.names,
        threshold=best.threshold,
        n_trees=plan.trees,
        span=(int(search.start_ns[0]), int(search.end_ns.max())),
        made_from=made_from | {"plan": json.dumps(msgspec.structs.asdict(plan)), "forest": json.dumps(best.params)},
        versions=_versions(),
        measures=facts,
        **arrays(nodes),  # type: ignore[arg-type]
    )
    model = None if reasons else candidate
    days = np.unique(search.start_ns // DAY_NS)
    return Verdict(samples.symbol, model, reasons, facts, found.trials, candidate, best, days, series, final, scores)


def _cut(samples: TrainingSet, final_share: float) -> int:
    """Begin of the final period: a decision in it was made then or later."""
    n = len(samples)
    return int(samples.start_ns[min(n - 1, int(n * (1.0 - final_share)))]) if n else 0


def _too_little(search: TrainingSet, final: TrainingSet, plan: Plan) -> str:
    """Lack that leaves nothing to search in; empty without one."""
    need, need_final = 2 * plan.min_trades, plan.min_final_trades
    if len(search) < need or len(final) < need_final:
        got = f"{len(search)} trades to search in and {len(final)} in the final period"
        return f"{got}; {need} and {need_final} are needed"
    if len(np.unique(search.start_ns // DAY_NS)) < 2 * BLOCKS:
        return f"trades on fewer than {2 * BLOCKS} days"
    wins = int(search.labels.sum())
    return "" if 0 < wins < len(search) else f"{wins} of {len(search)} trades won: there is nothing to tell apart"


class _Search:
    """Forests on the paths, in the order tried. excess: USD[day, trial], mean over the paths; pnl_usd: per trial."""

    def __init__(self, samples: TrainingSet, plan: Plan, jobs: int) -> None:
        self._samples, self._plan, self._jobs = samples, plan, jobs
        embargo_ns = int(plan.embargo_s * 1e9)
        self._splits = cpcv.splits(samples.start_ns, samples.end_ns, plan.n_groups, plan.n_test, embargo_ns)
        self._paths = cpcv.path_splits(plan.n_groups, plan.n_test)
        self.trials: list[Trial] = []
        self._series: list[F64] = []
        self.pnl_usd: list[float] = []

    @property
    def excess(self) -> F64:
        return np.stack(self._series, axis=1)

    def run(self, progress: Steps) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=self._plan.seed))

        def told(study: Any, trial: Any) -> None:
            progress((trial.number + 1) / self._plan.trials)

        study.optimize(self._try, n_trials=self._plan.trials, callbacks=[told])

    def best(self) -> Trial | None:
        """The one of the largest mean Sharpe ratio over its paths."""
        judged = [trial for trial in self.trials if not math.isnan(trial.sharpe)]
        return max(judged, key=lambda trial: float(np.mean(trial.path_sharpes)), default=None)

    def _try(self, trial: Any) -> float:
        most = max(10, len(self._samples) // 10)
        params = {
            "max_depth": trial.suggest_categorical("max_depth", [2, 3, 4, 6]),
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 5, most, log=True),
            "max_features": trial.suggest_categorical("max_features", ["sqrt", 0.3, 0.5, 1.0]),
            "max_samples": trial.suggest_float("max_samples", 0.5, 1.0),
            "class_weight": trial.suggest_categorical("class_weight", [None, "balanced_subsample"]),
        }
        scores = self._scores(params)
        values = [self._judge(trial.number, params, share, scores) for share in SHARES]
        return max(values)

    def _scores(self, params: dict[str, Any]) -> F64:
        """float64[path, row]: of each row, by forests that saw neither it nor anything that overlaps it."""
        samples, plan = self._samples, self._plan
        labels = samples.labels

        def of_split(split: cpcv.Split) -> list[F64]:
            own = labels[split.train]
            if own.min() == own.max():
                return [np.full(len(part), float(own[0])) for part in split.tests]
            nodes = flatten(_fit(samples.rows[split.train], own, params, plan))
            return [predict(nodes, plan.trees, samples.rows[part]) for part in split.tests]

        found = Parallel(n_jobs=self._jobs, prefer="threads")(delayed(of_split)(split) for split in self._splits)
        scores = np.empty((len(self._paths), len(samples)))
        for p, path in enumerate(self._paths):
            for group, k in enumerate(path.tolist()):
                which = self._splits[k].groups.index(group)
                scores[p, self._splits[k].tests[which]] = found[k][which]
        return scores

    def _judge(self, number: int, params: dict[str, Any], share: float, scores: F64) -> float:
        """Note a forest at the threshold that keeps a share of all scores; its mean Sharpe ratio over the paths."""
        samples = self._samples
        threshold = float(np.quantile(scores, 1.0 - share, method="higher"))
        kept = scores >= threshold
        least = int(kept.sum(axis=1).min())
        over = samples.pnl_usd - samples.pnl_usd.mean()
        series = np.stack([_daily(samples, np.where(row, over, 0.0))[1] for row in kept])
        mean = series.mean(axis=0)
        ratios = [selection.sharpe(row) for row in series]
        enough = least >= self._plan.min_trades and not any(math.isnan(ratio) for ratio in ratios)
        ratio = selection.sharpe(mean) if enough else math.nan
        self.trials.append(Trial(number, share, threshold, params, least, ratios, ratio))
        self._series.append(mean)
        self.pnl_usd.append(float(np.mean([samples.pnl_usd[row].sum() for row in kept])))
        return float(np.mean(ratios)) if enough else _WORST


def _fit(rows: F64, labels: I64, params: dict[str, Any], plan: Plan) -> Any:
    forest = RandomForestClassifier(n_estimators=plan.trees, random_state=plan.seed, n_jobs=1, **params)
    return forest.fit(rows, labels)


def _daily(samples: TrainingSet, values: F64) -> tuple[I64, F64]:
    """Days (since 1970, UTC) with a decision, and the sum of their trades' values."""
    days, which = np.unique(samples.start_ns // DAY_NS, return_inverse=True)
    return days, np.bincount(which, values, len(days)).astype(np.float64)


def _reasons(facts: dict[str, float], plan: Plan) -> list[str]:
    """Reasons why it is not confirmed; none if it is. NaN holds nothing."""
    chance = facts["deflated_sharpe"]
    n = int(facts["trials"])
    judged = [
        (
            chance >= plan.min_deflated_sharpe,
            f"deflated Sharpe ratio {chance:.3f} (least {plan.min_deflated_sharpe}): the best of {n} trials looks like "
            "luck",
        ),
        (
            facts["overfitting"] <= plan.max_overfitting,
            f"probability of overfitting {facts['overfitting']:.2f} (most {plan.max_overfitting})",
        ),
        (facts["pnl_usd"] > 0, f"kept trades lost {-facts['pnl_usd']:,.0f} USD in cross-validation"),
        (
            facts["final_kept"] >= plan.min_final_trades,
            f"{facts['final_kept']:.0f} trades kept in the final period (least {plan.min_final_trades})",
        ),
        (facts["final_pnl_usd"] > 0, f"kept trades lost {-facts['final_pnl_usd']:,.0f} USD in the final period"),
        (
            facts["final_sharpe_probability"] >= plan.min_final_sharpe,
            f"the final period confirms an excess with probability {facts['final_sharpe_probability']:.2f} (least "
            f"{plan.min_final_sharpe})",
        ),
    ]
    return [reason for holds, reason in judged if not holds]


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("numpy", "scikit-learn", "optuna", "rooney")}
