"""Training on made-up trades: what is planted is found and confirmed, what is noise never is; and why."""

import math
import re
from typing import Any

import numpy as np
import pytest

from research.models.dataset import TrainingSet
from research.models.promote import Trained, missed_gates
from research.models.train import SHARES, Plan, Verdict, train
from rooney.config.schema import Gates
from rooney.models.forest import from_bytes, to_bytes
from tests.support.training_sets import NAMES, samples

QUICK = Plan(trials=3, trees=20, min_trades=100, min_final_trades=30)
BRIEF = Plan(trials=1, trees=5)


def trained(seed: int, edge_usd: float, plan: Plan = QUICK, **named: Any) -> Verdict:
    return train(samples(seed, edge_usd), plan, "ibs", {"data": "0" * 64}, **named)


@pytest.fixture(scope="module")
def found() -> Verdict:
    return trained(1, 60.0)


def test_a_planted_edge_is_found_and_confirmed(found: Verdict) -> None:
    assert found.reasons == []
    assert found.model is not None
    assert found.measures["deflated_sharpe"] > 0.99
    assert found.measures["overfitting"] < 0.1
    assert found.measures["final_excess_usd"] > 0


def test_a_confirmed_model_is_a_file_that_scores_as_it_was_judged(found: Verdict) -> None:
    assert found.model is not None and found.final is not None
    again = from_bytes(to_bytes(found.model), "ES.model")
    from research.models.forest import predict

    scores = predict(again.nodes(), again.n_trees, found.final.rows)
    np.testing.assert_array_equal(scores, found.scores)
    assert int((scores >= again.threshold).sum()) == found.measures["final_kept"]


def test_the_same_seed_gives_the_same_bytes_on_one_core_or_two(found: Verdict) -> None:
    again = trained(1, 60.0, jobs=2)
    assert found.model is not None and again.model is not None
    assert to_bytes(again.model) == to_bytes(found.model)


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_promotes_nothing_and_says_why(seed: int) -> None:
    _assert_nothing(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 22))
def test_twenty_times_noise_promotes_nothing(seed: int) -> None:
    _assert_nothing(seed)


def _assert_nothing(seed: int) -> None:
    verdict = trained(seed, 0.0)
    assert verdict.model is None
    assert any(
        "looks like luck" in reason or "overfitting" in reason or "kept 100" in reason for reason in verdict.reasons
    )
    found = Trained(verdict.model is not None, verdict.reasons, measures=dict(verdict.measures))
    assert missed_gates(found, Gates()) == verdict.reasons
    believed = Trained(True, measures=dict(verdict.measures))  # the gates alone would not have let it in either
    assert missed_gates(believed, Gates())


def test_a_strategy_that_earns_whatever_is_chosen_promotes_no_choice() -> None:
    """Every trade is good, and none is better for a reason that could be known: a veto only costs."""
    rich = samples(3, 0.0)
    verdict = train(
        TrainingSet("ES", NAMES, rich.rows, rich.start_ns, rich.end_ns, rich.pnl_usd + 80), QUICK, "ibs", {}
    )
    assert verdict.model is None
    assert verdict.measures["pnl_usd"] > 0


def test_an_edge_that_ends_before_the_final_period_is_not_confirmed() -> None:
    past = samples(4, 60.0)
    cut = int(len(past) * (1 - QUICK.final_share))
    pnl = past.pnl_usd.copy()
    pnl[cut:] = samples(5, 0.0).pnl_usd[cut:]
    verdict = train(TrainingSet("ES", NAMES, past.rows, past.start_ns, past.end_ns, pnl), QUICK, "ibs", {})
    assert verdict.model is None
    assert verdict.reasons
    assert all("final period" in reason for reason in verdict.reasons)


def test_the_final_period_changes_nothing_of_the_search(found: Verdict) -> None:
    """Its trades are read once, after everything is chosen: other labels there give the same forest and threshold."""
    one = samples(1, 60.0)
    cut = int(len(one) * (1 - QUICK.final_share))
    other = one.pnl_usd.copy()
    other[cut:] = -other[cut:]
    second = train(TrainingSet("ES", NAMES, one.rows, one.start_ns, one.end_ns, other), QUICK, "ibs", {})
    assert found.best == second.best
    assert found.trials == second.trials
    np.testing.assert_array_equal(found.scores, second.scores)


def test_every_forest_and_threshold_counts_as_a_trial(found: Verdict) -> None:
    assert len(found.trials) == found.measures["trials"] == QUICK.trials * len(SHARES)


def test_a_trade_whose_features_are_missing_is_neither_learned_nor_judged() -> None:
    whole = samples(1, 60.0)
    holes = whole.rows.copy()
    holes[::7, 2] = math.nan
    verdict = train(TrainingSet("ES", NAMES, holes, whole.start_ns, whole.end_ns, whole.pnl_usd), BRIEF, "ibs", {})
    n = len(range(0, len(whole), 7))
    assert verdict.measures["incomplete"] == n
    assert verdict.measures["search_trades"] + verdict.measures["final_trades"] <= len(whole) - n


@pytest.mark.parametrize(
    ("n", "pnl", "said"),
    [
        (0, None, "^0 trades to search in and 0 in the final period; 200 and 30 are needed"),
        (150, None, "are needed"),
        (1_000, 10.0, r"(7\d\d) of \1 trades won"),
    ],
)
def test_too_little_to_learn_from_is_said_in_numbers(n: int, pnl: float | None, said: str) -> None:
    few = samples(1, 0.0, n)
    if pnl is not None:
        few = TrainingSet("ES", NAMES, few.rows, few.start_ns, few.end_ns, np.full(n, pnl))
    verdict = train(few, QUICK, "ibs", {})
    assert verdict.model is None
    assert re.search(said, verdict.reasons[0])
