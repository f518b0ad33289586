"""Luck in a best result: the papers' numbers, what drawing shows, what loops count, and the edges of each."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.validation import sharpe as selection
from rooney.performance.measures import ROUNDING, YEAR, sharpe_ratio

RETURNS = np.array([0.1] * 20 + [-0.3, 0.2, 0.05, -0.02])


def test_the_probabilistic_sharpe_ratio_is_the_papers_example() -> None:
    """Bailey and López de Prado 2012: SR 0.458 a month over 24 months, skew -2.448, kurtosis 10.164: PSR 0.913."""
    z = 0.458 * math.sqrt(23) / math.sqrt(1 + 2.448 * 0.458 + (10.164 - 1) / 4 * 0.458**2)
    assert selection._NORMAL.cdf(z) == pytest.approx(0.913, abs=5e-4)
    returns = RETURNS
    centred = returns - returns.mean()
    skew, kurtosis = (float((centred**k).mean() / (centred**2).mean() ** (k / 2)) for k in (3, 4))
    ratio = selection.sharpe(returns)
    spread = math.sqrt(1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2)
    expected = selection._NORMAL.cdf(ratio * math.sqrt(23) / spread)
    assert selection.probabilistic_sharpe(returns) == pytest.approx(expected, rel=1e-12)


def test_the_expected_best_of_many_is_what_drawing_them_shows() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(0.0, 0.3, (20_000, 50)).max(axis=1).mean()
    assert selection.expected_best(0.09, 50) == pytest.approx(drawn, rel=0.02)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 4, 6]))
def test_the_probability_of_overfitting_is_what_loops_count(seed: int, n_blocks: int) -> None:
    rng = np.random.default_rng(seed)
    returns = rng.normal(size=(24, 5))
    blocks = np.split(returns, n_blocks)
    worse = total = 0
    for chosen in combinations(range(n_blocks), n_blocks // 2):
        inside = np.concatenate([blocks[k] for k in chosen])
        outside = np.concatenate([blocks[k] for k in range(n_blocks) if k not in chosen])
        best = max(range(5), key=lambda k: selection.sharpe(inside[:, k]))
        order = sorted(range(5), key=lambda k: selection.sharpe(outside[:, k]))
        worse += (order.index(best) + 1) / 6 <= 0.5
        total += 1
    assert selection.overfitting(returns, n_blocks) == worse / total


def test_the_best_of_noise_is_overfitted_about_half_the_time_and_a_real_one_never() -> None:
    rng = np.random.default_rng(1)
    noise = np.mean([selection.overfitting(rng.normal(size=(200, 20)), 8) for _ in range(40)])
    assert 0.4 < noise < 0.65
    skilled = rng.normal(size=(200, 20))
    skilled[:, 3] += 1.0
    assert selection.overfitting(skilled, 8) == 0.0


# ── edges ──


@pytest.mark.filterwarnings("error")
def test_a_sharpe_ratio_needs_two_periods_that_differ() -> None:
    assert selection.sharpe(np.array([1.0, 3.0])) == pytest.approx(2.0 / math.sqrt(2.0))
    assert math.isnan(selection.sharpe(np.array([1.0])))
    assert math.isnan(selection.sharpe(np.zeros(0)))
    assert math.isnan(selection.sharpe(np.full(5, 2.0)))


def test_a_deviation_that_adding_up_leaves_over_is_none() -> None:
    """A billionth of the mean, whatever its sign and size."""
    assert ROUNDING == 1e-9
    for mean in (8.0, -8.0):  # a power of two, so that the limit has no rounding of its own
        assert math.isnan(sharpe_ratio(mean, 8e-9))
        assert sharpe_ratio(mean, 8.01e-9) == mean / 8.01e-9


def test_a_year_has_252_trade_dates() -> None:
    assert pytest.approx(math.sqrt(252.0)) == YEAR


def test_what_is_to_be_beaten_is_taken_from_the_ratio() -> None:
    ratio = selection.sharpe(RETURNS)
    assert selection.probabilistic_sharpe(RETURNS, ratio) == pytest.approx(0.5)
    assert selection.probabilistic_sharpe(RETURNS, 1.5 * ratio) < 0.5 < selection.probabilistic_sharpe(RETURNS, 0.5)
    assert math.isnan(selection.probabilistic_sharpe(np.full(5, 2.0)))


def test_where_the_spread_is_nothing_the_ratio_is_certain() -> None:
    """Of two values the spread is (1 - skew SR / 2)², 0 here but for what rounding leaves on either side."""
    skew = 0.5 / math.sqrt(0.25 * 0.75)
    for high, certain in ((1.0, 1.0), (-1.0, 0.0)):
        returns = np.array([0.0] * 9 + [high] * 3)
        returns += high * 2.0 / skew * np.std(returns, ddof=1) - returns.mean()
        assert selection.sharpe(returns) * skew == pytest.approx(2.0 * high)
        assert selection.probabilistic_sharpe(returns) == certain


def test_the_expected_best_is_the_papers_example() -> None:
    """Bailey and López de Prado 2014: 100 trials, variance 1/2 a year of 250 days: 0.1132 a day; DSR 0.9004; of 46:
    0.9505. Their series: SR 2.5 a year, skew -3, kurtosis 10, 1,250 days."""
    assert selection.expected_best(0.5 / 250, 100) == pytest.approx(0.1132, abs=5e-5)
    ratio = 2.5 / math.sqrt(250)
    spread = math.sqrt(1 + 3 * ratio + (10 - 1) / 4 * ratio**2)
    for n_trials, said in ((100, 0.9004), (46, 0.9505)):
        z = (ratio - selection.expected_best(0.5 / 250, n_trials)) * math.sqrt(1_249) / spread
        assert selection._NORMAL.cdf(z) == pytest.approx(said, abs=5e-5)


@pytest.mark.parametrize(
    ("variance", "n_trials", "best"),
    [(1.0, 0, 0.0), (1.0, 1, 0.0), (1.0, 2, 0.519755344), (4.0, 3, 1.705608992), (1.0, 10, 1.574598301)],
)
def test_of_one_trial_nothing_is_expected_and_of_each_more_a_little(
    variance: float, n_trials: int, best: float
) -> None:
    assert selection.expected_best(variance, n_trials) == pytest.approx(best, rel=1e-8)


def test_every_trial_counts_and_those_without_a_ratio_have_no_part_in_the_variance() -> None:
    trials = np.array([0.1, math.nan, 0.3, -0.2, math.inf])
    for n_trials in (5, 6, 200):
        best = selection.expected_best(float(np.var([0.1, 0.3, -0.2], ddof=1)), n_trials)
        expected = selection.probabilistic_sharpe(RETURNS, best)
        assert selection.deflated_sharpe(RETURNS, trials, n_trials) == pytest.approx(expected, rel=1e-12)
    few, many = (selection.deflated_sharpe(RETURNS, trials, n) for n in (5, 6))
    assert many < few


def test_two_ratios_have_a_variance_and_one_has_none() -> None:
    alone = selection.probabilistic_sharpe(RETURNS)
    assert selection.deflated_sharpe(RETURNS, np.array([0.4]), 50) == alone
    assert selection.deflated_sharpe(RETURNS, np.zeros(0), 50) == alone
    assert selection.deflated_sharpe(RETURNS, np.array([0.4, 0.1]), 50) < alone


@pytest.mark.parametrize("n_blocks", [0, 1, 3, 6, 8])
def test_blocks_that_cannot_be_cut_in_halves_are_refused(n_blocks: int) -> None:
    with pytest.raises(ValueError, match=f"5 periods cannot be cut into {n_blocks} blocks"):
        selection.overfitting(np.ones((5, 3)), n_blocks)


def test_two_trials_and_as_many_blocks_as_periods_are_enough() -> None:
    returns = np.array([[1.0, -1.0], [2.0, -2.0], [1.0, -2.0], [2.0, -1.0]])
    assert selection.overfitting(returns, 4) == 0.0
    assert math.isnan(selection.overfitting(returns[:, :1], 4))


def test_trials_that_are_the_same_are_each_in_the_middle_which_is_not_the_better_half() -> None:
    """Four of them: ranks 1 to 4 in the middle are 2.5 of 5, and that is one half."""
    same = np.random.default_rng(0).normal(size=(40, 1)).repeat(4, axis=1)
    assert selection.overfitting(same, 4) == 1.0
    # Nineteen and one that is always worse: the middle of ranks 2 to 20 is 11 of 21, just in the better half.
    most = np.concatenate([same[:, :1].repeat(19, axis=1), same[:, :1] - 5.0], axis=1)
    assert selection.overfitting(most, 4) == 0.0


def test_a_trial_that_never_varies_neither_earned_nor_lost() -> None:
    """Else it had the largest ratio of all, and what loses would stand beside it as if it were better than nothing."""
    returns = np.array([[9.0, 1.0, -1.0], [9.0, 2.0, -2.0], [9.0, 3.0, -3.0], [9.0, 1.0, -1.0]])
    ratios = selection._ratios(returns)
    assert ratios[0] == 0.0
    assert ratios[1:] == pytest.approx([selection.sharpe(returns[:, k]) for k in (1, 2)])
    assert selection._ratios(8.0 + 1e-9 * returns[:, 1:]).tolist() == [0.0, 0.0]  # what adding up leaves over
    assert selection._ratios(np.zeros((4, 2))).tolist() == [0.0, 0.0]
