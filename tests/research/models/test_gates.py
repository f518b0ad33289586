"""Gates of a training and of its promotion: each number holds what is just enough, and nothing that is just less."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from research.models import train as training_
from research.models.dataset import TrainingSet
from research.models.promote import Trained, judge, missed_gates
from research.models.train import BLOCKS, DAY_NS, SHARES, Plan, Verdict, train
from research.validation import sharpe as selection
from rooney.config.schema import Gates
from tests.support.bundles import GOOD, config, training
from tests.support.training_sets import NAMES, samples

# Every limit another number, so that none can stand for another.
LIMITS = Gates(
    min_paths=7,
    min_path_share=0.7,
    max_overfitting=0.3,
    min_deflated_sharpe=0.91,
    min_trades=120,
    min_final_trades=40,
    min_final_sharpe=0.61,
)
ENOUGH = {
    "paths": 7.0,
    "path_share": 0.7,
    "overfitting": 0.3,
    "deflated_sharpe": 0.91,
    "kept_trades": 120.0,
    "final_kept": 40.0,
    "final_sharpe_probability": 0.61,
}
PLAN = Plan(min_trades=120, min_final_trades=40, min_deflated_sharpe=0.91, max_overfitting=0.3, min_final_sharpe=0.61)
FACTS = {key: value for key, value in ENOUGH.items() if key not in ("paths", "path_share", "kept_trades")} | {
    "trials": 9.0,
    "pnl_usd": math.ulp(0.0),
    "final_pnl_usd": math.ulp(0.0),
}


def just_less(key: str, value: float) -> float:
    """The next number that is worse."""
    return math.nextafter(value, math.inf if key == "overfitting" else -math.inf)


def test_a_block_that_names_no_gates_has_these_and_a_training_confirms_by_the_same() -> None:
    gates = {
        "min_paths": 5,
        "min_path_share": 0.8,
        "max_overfitting": 0.2,
        "min_deflated_sharpe": 0.95,
        "min_trades": 100,
        "min_final_trades": 30,
        "min_final_sharpe": 0.8,
    }
    assert msgspec.structs.asdict(Gates()) == gates
    plan = {"trials": 40, "trees": 200, "seed": 0, "n_groups": 6, "n_test": 2, "embargo_s": 86_400, "final_share": 0.25}
    of_paths = ("min_paths", "min_path_share")  # of what a training counts, the bundle alone judges these
    assert msgspec.structs.asdict(Plan()) == plan | {k: v for k, v in gates.items() if k not in of_paths}


# ── of the bundle ──


def test_what_is_just_enough_passes_every_gate() -> None:
    assert missed_gates(Trained(True, measures=dict(ENOUGH)), LIMITS) == []


@pytest.mark.parametrize("key", ENOUGH)
@pytest.mark.parametrize("how", ["just less", "not a number", "absent"])
def test_what_is_just_less_or_was_not_measured_misses_its_gate_alone(key: str, how: str) -> None:
    measures: dict[str, float | None] = dict(ENOUGH)
    if how == "absent":
        del measures[key]
    else:
        measures[key] = just_less(key, ENOUGH[key]) if how == "just less" else None
    (missed,) = missed_gates(Trained(True, measures=measures), LIMITS)
    said = {"paths": "paths", "path_share": "share of paths", "kept_trades": "fewest", "final_kept": "final period"}
    said |= {"deflated_sharpe": "deflated", "overfitting": "overfitting", "final_sharpe_probability": "excess there"}
    assert said[key] in missed


@pytest.mark.parametrize("key", ENOUGH)
def test_a_gate_that_lets_everything_through_still_wants_it_measured(key: str) -> None:
    none = Gates(min_path_share=0, max_overfitting=1, min_deflated_sharpe=0, min_trades=0, min_final_trades=0)
    measures = dict.fromkeys(ENOUGH, 1.0) | {"paths": 5.0}
    assert missed_gates(Trained(True, measures=dict(measures)), none) == []
    del measures[key]
    assert len(missed_gates(Trained(True, measures=dict(measures)), none)) == 1


@pytest.mark.parametrize(("reasons", "said"), [(["luck"], ["luck"]), ([], ["was not confirmed"])])
def test_what_a_training_did_not_confirm_passes_by_no_measure(reasons: list[str], said: list[str]) -> None:
    assert missed_gates(Trained(False, reasons, measures=dict(ENOUGH)), LIMITS) == said


SEARCH = {"overfitting": 0.2, "deflated_sharpe": 0.95}
OVER, UNDER = (just_less(key, value) for key, value in SEARCH.items())


@pytest.mark.parametrize(
    ("file", "content", "missed"),
    [
        ("optimize", {"measures": SEARCH}, []),
        ("optimize", {}, []),  # one of an earlier version, which measured neither
        ("optimize", {"measures": {"overfitting": None, "deflated_sharpe": None}}, []),
        ("optimize", {"measures": SEARCH | {"overfitting": OVER}}, ["the parameters: probability of overfitting"]),
        (
            "optimize",
            {"measures": SEARCH | {"deflated_sharpe": UNDER}},
            ["the parameters: deflated Sharpe ratio"],
        ),
        ("optimize", {"confirmed": False, "measures": SEARCH}, ["the parameters: were not confirmed"]),
        ("optimize", {"confirmed": False, "reasons": ["luck"]}, ["the parameters: luck"]),
        ("portfolio", {"instruments": ["ES", "NQ"]}, []),
        ("portfolio", {"instruments": ["NQ", "ES"], "selected": ["ES"]}, []),
        ("portfolio", {"instruments": ["ES", "NQ"], "confirmed": False}, ["the portfolio: was not confirmed"]),
        ("portfolio", {"instruments": [], "selected": ["ES", "NQ"], "confirmed": False, "reasons": ["luck"]}, ["luck"]),
    ],
)
def test_what_a_search_or_a_portfolio_just_misses_keeps_every_instrument_out(
    file: str, content: dict[str, Any], missed: list[str], tmp_path: Path
) -> None:
    one = config(tmp_path)
    source = training(tmp_path / "trained", one)
    (source / f"{file}.json").write_text(json.dumps({"strategy_params": {}, "instruments": []} | content))
    judged = judge(one.wanted("a"), source, {}, "")
    assert list(judged.models) == ([] if missed else content.get("instruments", ["ES", "NQ"]))
    for symbol in ("ES", "NQ") if missed else ():
        (told,) = judged.missed[symbol]
        assert missed[0] in told
    assert set(judged.missed) == ({"ES", "NQ"} if missed else set())


def test_an_instrument_no_model_or_the_portfolio_leaves_out_is_said_and_nothing_is_taken_in_spite_of_that(
    tmp_path: Path,
) -> None:
    one = config(tmp_path)
    luck = {"confirmed": False, "reasons": ["luck"]}
    source = training(tmp_path / "trained", one, ES=luck)
    assert (*judge(one.wanted("a"), source, {}, "").models,) == ("NQ",)
    assert (*judge(one.wanted("a"), source, {}, "to see it on paper").models,) == ("ES", "NQ")
    (source / "portfolio.json").write_text('{"instruments": ["NQ", "GC"]}')  # GC was not trained
    judged = judge(one.wanted("a"), source, {}, "to see it on paper")
    assert ((*judged.models,), judged.missed) == (("NQ",), {"ES": ["the portfolio leaves it out"]})
    assert set(judged.files) == {"training.json", "portfolio.json", "NQ.model"}
    facts = json.loads((source / "training.json").read_text())
    facts["instruments"] = {"ES": luck | {"measures": GOOD, "sha256": None}}
    (source / "training.json").write_text(json.dumps(facts))
    (source / "portfolio.json").unlink()
    judged = judge(one.wanted("a"), source, {}, "to see it on paper")
    assert (judged.models, judged.missed) == ({}, {"ES": ["luck"], "NQ": ["was not trained"]})


# ── of the training ──


def test_a_training_that_has_just_enough_is_confirmed() -> None:
    assert training_._reasons(FACTS, PLAN) == []


@pytest.mark.parametrize("key", [key for key in FACTS if key != "trials"])
def test_a_training_that_has_just_less_or_no_number_is_not_confirmed_for_this_reason_alone(key: str) -> None:
    said = {"deflated_sharpe": "best of 9 trials", "overfitting": "overfitting", "pnl_usd": "in cross-validation"}
    said |= {"final_kept": "trades kept", "final_pnl_usd": "in the final period", "final_sharpe_probability": "excess"}
    for value in (just_less(key, FACTS[key]), math.nan):
        (reason,) = training_._reasons(FACTS | {key: value}, PLAN)
        assert said[key] in reason


BRIEF = Plan(trials=2, trees=5, min_trades=300, min_final_trades=30)


@pytest.fixture(scope="module")
def known() -> TrainingSet:
    return samples(1, 60.0)


@pytest.fixture(scope="module")
def verdict(known: TrainingSet) -> Verdict:
    return train(known, BRIEF, "ibs", {"data": "0" * 64})


def test_the_best_of_all_forests_at_all_thresholds_is_held_against_as_many_trials(verdict: Verdict) -> None:
    """Not of one threshold each, and not of those that kept enough."""
    ratios = np.array([trial.sharpe for trial in verdict.trials])
    assert np.isnan(ratios).sum() > 0
    n_trials = BRIEF.trials * len(SHARES)
    assert len(ratios) == verdict.measures["trials"] == n_trials
    best = selection.expected_best(float(np.nanvar(ratios, ddof=1)), n_trials)
    expected = selection.probabilistic_sharpe(verdict.excess, best)
    assert verdict.measures["deflated_sharpe"] == pytest.approx(expected, rel=1e-12, abs=0)


def test_the_measures_that_the_gates_read_are_of_the_best_trial_and_of_the_period_put_away(
    verdict: Verdict, known: TrainingSet
) -> None:
    assert verdict.best is not None and verdict.final is not None and verdict.candidate is not None
    facts, final, ratios = verdict.measures, verdict.final, verdict.best.path_sharpes
    judged = [trial for trial in verdict.trials if not math.isnan(trial.sharpe)]
    assert verdict.best == max(judged, key=lambda trial: np.mean(trial.path_sharpes))
    assert (facts["paths"], facts["kept_trades"]) == (len(ratios), verdict.best.kept)
    assert len(ratios) == 5
    assert facts["path_share"] == sum(ratio > 0 for ratio in ratios) / 5
    assert (facts["sharpe"], facts["sharpe_worst_path"]) == (verdict.best.sharpe, min(ratios))
    cut_ns = known.start_ns[1_200]
    search = known.before(cut_ns)
    assert (facts["trades"], facts["incomplete"], facts["search_trades"]) == (1_600, 0, len(search))
    assert (facts["final_trades"], final.start_ns[0]) == (len(final), cut_ns)
    assert verdict.days.tolist() == sorted(set((search.start_ns // DAY_NS).tolist()))
    kept = verdict.scores >= verdict.best.threshold
    assert (facts["final_kept"], facts["final_pnl_usd"]) == (kept.sum(), final.pnl_usd[kept].sum())
    excess = np.where(kept, final.pnl_usd - search.pnl_usd.mean(), 0.0)
    daily = np.array([excess[final.start_ns // DAY_NS == day].sum() for day in np.unique(final.start_ns // DAY_NS)])
    assert facts["final_excess_usd"] == pytest.approx(daily.sum())
    assert facts["final_sharpe_probability"] == pytest.approx(selection.probabilistic_sharpe(daily), rel=1e-9)
    assert verdict.candidate.span == (search.start_ns[0], search.end_ns.max())
    assert (verdict.model is None) == bool(verdict.reasons)


def test_a_path_without_excess_has_none_and_a_trade_with_just_enough_votes_is_kept(
    verdict: Verdict, known: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search is given: its best trial's paths, and a threshold that is the largest vote of the final period."""
    assert verdict.best is not None
    most = float(verdict.scores.max())
    best = msgspec.structs.replace(verdict.best, path_sharpes=[0.0, 0.5, -1.0, 1.5, -0.5], threshold=most)
    other = msgspec.structs.replace(best, path_sharpes=[-1.0] * 5)

    def run(search: Any, progress: Any) -> None:
        search.trials, search.pnl_usd = [other, best], [0.0, 1.0]
        search._series = [np.arange(len(verdict.excess)) % 7 - 3.0, verdict.excess]

    monkeypatch.setattr(training_._Search, "run", run)
    facts = train(known, BRIEF, "ibs", {}).measures
    assert (facts["path_share"], facts["pnl_usd"]) == (2 / 5, 1.0)
    assert facts["final_kept"] == (verdict.scores == most).sum() > 0


def test_a_search_in_which_no_threshold_keeps_enough_says_how_many_it_tried(
    known: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_, "SHARES", (0.2, 0.1))
    found = train(known, BRIEF, "ibs", {})
    assert found.reasons == ["no threshold of 4 tried kept 300 trades on every path"]
    assert (len(found.trials), found.candidate) == (4, None)


# ── one trial ──


def by_hand(min_trades: int) -> tuple[Any, np.ndarray]:
    """A search over forty trades of twenty days, and scores on its five paths: row k has k / 64, the last path less."""
    pnl = np.arange(40.0) - 15.0
    rows, start = np.zeros((40, 1)), np.arange(40) * DAY_NS // 2
    found = training_._Search(TrainingSet("ES", ("x",), rows, start, start + 1, pnl), Plan(min_trades=min_trades), 1)
    scores = np.tile(np.arange(40) / 64, (5, 1))
    scores[4] -= 0.25
    return found, scores


def test_a_threshold_keeps_its_share_of_all_scores_and_is_judged_by_the_path_that_keeps_fewest() -> None:
    """Of 200 scores the upper 40 are 10 on each of four paths: from row 30 on. The fifth has none of them."""
    search, scores = by_hand(0)
    assert search._judge(3, {}, 0.2, scores) == training_._WORST
    (trial,) = search.trials
    assert (trial.number, trial.threshold, trial.kept) == (3, 30 / 64, 0)
    assert math.isnan(trial.sharpe)


def test_a_trial_is_its_excess_over_the_mean_trade_by_day_and_counts_from_just_enough_trades_on() -> None:
    for least, is_judged in ((8, True), (9, False)):
        search, scores = by_hand(least)
        value = search._judge(0, {}, 0.52, scores)
        (trial,) = search.trials
        assert (trial.threshold, trial.kept) == (0.25, 8)
        over = np.arange(40.0) - 19.5
        daily = [np.where(row >= 0.25, over, 0.0).reshape(20, 2).sum(axis=1) for row in scores]
        assert search.excess[:, 0] == pytest.approx(np.mean(daily, axis=0))
        assert trial.path_sharpes == pytest.approx([selection.sharpe(each) for each in daily])
        assert search.pnl_usd == [pytest.approx((4 * sum(range(1, 25)) + sum(range(17, 25))) / 5)]
        if is_judged:
            assert trial.sharpe == pytest.approx(selection.sharpe(np.mean(daily, axis=0)))
            assert value == pytest.approx(np.mean(trial.path_sharpes))
        else:
            assert (math.isnan(trial.sharpe), value) == (True, training_._WORST)


# ── too little ──


def some(n: int, n_days: int = 20, wins: int = 1) -> TrainingSet:
    """So many trades, of which some won, on so many days."""
    k = np.arange(n)
    start = (k if n <= n_days else k * n_days // n) * DAY_NS + k  # no two at one instant
    return TrainingSet("ES", NAMES, np.zeros((n, 4)), start, start + 1, np.where(np.arange(n) < wins, 1.0, -1.0))


LITTLE = Plan(min_trades=30, min_final_trades=10)


@pytest.mark.parametrize(
    ("search", "final", "said"),
    [
        (some(60), some(10), ""),
        (some(59), some(10), "59 trades to search in and 10 in the final period; 60 and 10 are needed"),
        (some(60), some(9), "60 trades to search in and 9 in the final period; 60 and 10 are needed"),
        (some(60, 19), some(10), "trades on fewer than 20 days"),
        (some(60, wins=0), some(10), "0 of 60 trades won: there is nothing to tell apart"),
        (some(60, wins=60), some(10), "60 of 60 trades won: there is nothing to tell apart"),
        (some(60, wins=59), some(10), ""),
    ],
)
def test_just_too_little_to_search_in_is_said(search: TrainingSet, final: TrainingSet, said: str) -> None:
    assert BLOCKS == 10
    assert training_._too_little(search, final, LITTLE) == said


@pytest.mark.parametrize(
    ("n", "share", "row"), [(1, 0.25, 0), (4, 0.25, 3), (8, 0.25, 6), (9, 0.25, 6), (8, 1.0, 0), (8, 0.0, 7)]
)
def test_the_period_put_away_begins_with_the_decision_that_leaves_its_share(n: int, share: float, row: int) -> None:
    assert training_._cut(some(n), share) == row * (DAY_NS + 1)
    assert training_._cut(some(0), share) == 0
