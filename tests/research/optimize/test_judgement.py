"""Judgement of both searches: each limit holds what is just enough, and every trial counts, pruned or not."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import optuna
import pytest

from research.history.history import History
from research.optimize import instruments, parameters, study
from research.optimize.instruments import Way
from research.optimize.trials import Runs
from research.validation import sharpe as selection
from rooney.performance.measures import YEAR, sharpe
from tests.support.breakout_market import breakout, write_closes

JUST = math.ulp(0.0)
SEARCHED: dict[str, float] = {
    "deflated_sharpe": 0.91,
    "overfitting": 0.3,
    "path_sharpe": JUST,
    "final_trades": 40.0,
    "final_pnl_usd": JUST,
    "final_sharpe_probability": 0.61,
}
LIMITS = {"min_final_trades": 40, "min_final_sharpe": 0.61}
PARAMETERS = parameters.Plan(min_deflated_sharpe=0.91, max_overfitting=0.3, **LIMITS)
PORTFOLIO = instruments.Plan(**LIMITS)
CHOSEN = {key: SEARCHED[key] for key in ("path_sharpe", "final_trades", "final_pnl_usd", "final_sharpe_probability")}


def of_parameters(facts: dict[str, float]) -> list[str]:
    return parameters._reasons(facts | {"trials": 9.0}, PARAMETERS)


def of_instruments(facts: dict[str, float], *, is_any: bool = True) -> list[str]:
    way = Way(facts["path_sharpe"], None, None, facts["final_pnl_usd"], 0.0)
    return instruments._reasons(way, facts, PORTFOLIO, is_any)


SAID = {
    "deflated_sharpe": "best of 9 trials",
    "overfitting": "overfitting",
    "path_sharpe": "mean Sharpe ratio",
    "final_trades": "trades in the final period",
    "final_pnl_usd": "final period lost",
    "final_sharpe_probability": "probability",
}


@pytest.mark.parametrize(("judge", "facts"), [(of_parameters, SEARCHED), (of_instruments, CHOSEN)])
def test_a_search_that_has_just_enough_is_confirmed_and_just_less_is_said_alone(
    judge: Callable[[dict[str, float]], list[str]], facts: dict[str, float]
) -> None:
    assert judge(facts) == []
    for key, value in facts.items():
        for worse in (math.nextafter(value, 1.0 if key == "overfitting" else -1.0), math.nan):
            (reason,) = judge(facts | {key: worse})
            assert SAID[key] in reason


def test_where_nothing_was_chosen_that_is_the_reason_and_no_mean_of_paths_is_none_above_0() -> None:
    (reason,) = of_instruments(CHOSEN, is_any=False)
    assert "no instrument earned" in reason
    (reason,) = instruments._reasons(Way(None, None, None, 1.0, 0.0), CHOSEN, PORTFOLIO, is_any=True)
    assert reason == "mean Sharpe ratio of the held-out paths 0.00"


def test_the_limits_of_a_search_that_names_none() -> None:
    folds = {"n_groups": 10, "n_test": 2, "embargo_s": 86_400.0, "final_share": 0.25, "final_from": ""}
    assert msgspec.structs.asdict(parameters.Plan()) == folds | {
        "trials": 100,
        "seed": 0,
        "min_trades": 200,
        "min_final_trades": 50,
        "min_deflated_sharpe": 0.95,
        "max_overfitting": 0.2,
        "min_final_sharpe": 0.8,
    }
    assert msgspec.structs.asdict(instruments.Plan()) == folds | {
        "max_instruments": 9,
        "max_drawdown_usd": 0.0,
        "min_trades": 30,
        "min_final_trades": 50,
        "min_final_sharpe": 0.8,
    }


def test_a_path_on_which_nothing_was_chosen_earned_nothing_and_the_worst_is_the_least() -> None:
    plan = instruments.Plan(n_groups=3, n_test=1)
    tested = [np.zeros(6), np.zeros(6), np.array([0.0, 0.0, 0.0, 0.0, 1.0, 3.0])]
    expected = selection.sharpe(tested[2]) * YEAR
    assert instruments._path_sharpes(plan, 6, tested) == [pytest.approx(expected)]
    assert instruments._path_sharpes(plan, 6, tested[:2] * 2) == [0.0]
    way = instruments._way([2.0, 1.0, 6.0], np.array([-5.0, 3.0, -1.0, 9.0]))
    assert (way.path_sharpe, way.path_sharpe_worst) == (3.0, 1.0)
    assert (way.final_pnl_usd, way.final_drawdown_usd) == (6.0, 5.0)  # from nothing, before the first date


# ── what a study comes to ──

RANGES = {"breakout_lookback": (10.0, 60.0), "stop_atr": (1.0, 6.0)}
PLAN = parameters.Plan(trials=3, min_trades=20, min_final_trades=5)
Concluded = tuple[Runs, parameters.Optimized, list[Any]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    closes = write_closes(tmp_path_factory.mktemp("closes"), {"ES": 0.45, "NQ": 0.45})
    return Runs(breakout("ES", "NQ"), History(closes, ["ES", "NQ"]), RANGES, PLAN)


@pytest.fixture(scope="module")
def concluded(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Concluded:
    """Three trials that finished; then one that was pruned, one of a ratio of 0, and one as good as the best."""
    storage = str(tmp_path_factory.mktemp("study") / "journal")
    parameters.work(runs, PLAN, RANGES, storage, "x")
    found = study.open_study(storage, "x", 0, 15)
    best = max(study.over(found), key=lambda trial: trial.value)
    pruned = optuna.trial.TrialState.PRUNED
    found.add_trial(optuna.trial.create_trial(state=pruned))
    found.add_trial(optuna.trial.create_trial(state=pruned, user_attrs={parameters._SHARPE: 0.0}))
    again = {"params": best.params | {"stop_atr": 1.0}, "distributions": best.distributions}
    found.add_trial(optuna.trial.create_trial(value=best.value, user_attrs=best.user_attrs, **again))
    return runs, parameters.conclude(runs, PLAN, RANGES, storage, "x"), study.over(found)


def test_every_trial_counts_also_one_that_was_pruned_and_the_first_of_equals_is_the_best(concluded: Concluded) -> None:
    _, found, trials = concluded
    assert (found.measures["trials"], found.measures["finished"]) == (len(trials), 4) == (6, 4)
    best = max(trials[:3], key=lambda trial: trial.value)
    assert best.params != {key: found.configured[key] for key in RANGES}  # else it could not be told from those
    assert found.strategy_params.items() >= best.params.items()
    series = np.cumsum(parameters._series(best))
    assert found.measures["pnl_usd"] == pytest.approx(series[-1])
    known = [trial.user_attrs.get(parameters._SHARPE, math.nan) for trial in trials]
    assert 0.0 in known
    luck = selection.expected_best(float(np.nanvar(known, ddof=1)), 6)
    expected = selection.probabilistic_sharpe(parameters._series(best), luck)
    assert found.measures["deflated_sharpe"] == pytest.approx(expected, rel=1e-12, abs=0)


def test_the_final_period_is_of_the_parameters_chosen_on_every_date_put_away(concluded: Concluded) -> None:
    runs, found, _ = concluded
    facts, n = found.measures, len(runs.days)
    for label, values in (("final", {key: found.strategy_params[key] for key in RANGES}), ("configured_final", {})):
        closed = runs.trades(values, runs.history.end_ns + 1)
        daily = runs.all_days.usd(closed)[n:, 0]
        assert facts[f"{label}_trades"] == (closed["entry_mark"] >= runs.cut_ns).sum()
        assert facts[f"{label}_pnl_usd"] == pytest.approx(daily.sum())
        assert facts[f"{label}_sharpe"] == pytest.approx(sharpe(daily.tolist()))
        assert facts[f"{label}_sharpe_probability"] == pytest.approx(selection.probabilistic_sharpe(daily))
    assert facts["final_trades"] != facts["configured_final_trades"]
    assert sum(part.final_trades for part in found.per_instrument.values()) == facts["final_trades"]
    assert (facts["trade_dates"], found.final_from) == (n, str(np.datetime64(int(runs.all_days.dates[n]), "D")))
    assert (found.without_bars, found.confirmed) == ([], not found.reasons)


def test_a_trade_decided_at_the_cut_and_one_closed_by_the_last_bar_are_of_the_final_period(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    closed = runs.trades({}, runs.cut_ns)[:2].copy()
    closed["entry_mark"] = runs.cut_ns - 1, runs.cut_ns

    def trades(values: Any, past_ns: int) -> Any:
        asked.append(past_ns)
        return closed

    monkeypatch.setattr(runs, "trades", trades)
    found = parameters.conclude(runs, PLAN, RANGES, str(tmp_path / "journal"), "none")
    assert found.measures["final_trades"] == 1
    assert min(asked) > runs.history.end_ns


@pytest.mark.parametrize("n_trials", [1, 2])
def test_two_trials_with_enough_trades_can_be_judged_and_one_cannot(n_trials: int, runs: Runs, tmp_path: Path) -> None:
    plan = msgspec.structs.replace(PLAN, trials=n_trials)
    parameters.work(runs, plan, RANGES, str(tmp_path / "journal"), "x")
    found = parameters.conclude(runs, plan, RANGES, str(tmp_path / "journal"), "x")
    assert ("deflated_sharpe" in found.measures) == (n_trials == 2)
    assert (found.reasons == ["1 of 1 trials had 20 trades"]) == (n_trials == 1)
    assert len(found.path_sharpes) == (9 if n_trials == 2 else 0)
    assert not found.confirmed or n_trials == 2


def test_the_share_of_paths_is_of_those_above_0(
    concluded: Concluded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs, _, _ = concluded
    swing = np.tile([1.0, -1.0], 50)
    monkeypatch.setattr(parameters, "_paths", lambda *given: [swing, swing + 0.01, swing + 1.0, swing - 1.0])
    parameters.work(runs, PLAN, RANGES, str(tmp_path / "journal"), "x")
    found = parameters.conclude(runs, PLAN, RANGES, str(tmp_path / "journal"), "x")
    worst, none, little, much = sorted(found.path_sharpes)
    assert (none, 0 < little < 1 < much, worst < 0) == (0.0, True, True)
    assert (found.measures["paths"], found.measures["path_share"]) == (4, 0.5)
    assert found.measures["path_sharpe_worst"] == worst


def test_a_path_takes_each_group_of_the_trial_that_was_best_on_what_its_split_may_learn_from() -> None:
    plan = parameters.Plan(n_groups=3, n_test=1)
    trained = [[0.1, 0.2, -1.0], [0.0, 0.3, -2.0]]  # by trial and split: the first, the second, the first
    done = [SimpleNamespace(user_attrs={parameters._TRAIN: each}) for each in trained]
    usd = np.arange(12.0).reshape(6, 2)
    (path,) = parameters._paths(SimpleNamespace(days=np.zeros(6)), plan, done, usd)
    assert path.tolist() == [0.0, 2.0, 5.0, 7.0, 8.0, 10.0]
