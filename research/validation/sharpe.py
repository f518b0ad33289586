"""Luck in a best result: probabilistic and deflated Sharpe ratio, probability of backtest overfitting.

Sharpe ratios here are per period, not annualised: mean / sample standard deviation.

    PSR    P(true SR > SR*) = Φ((SR - SR*) sqrt(T - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR²))
    E max  sqrt(V) ((1 - γ) Φ⁻¹(1 - 1/N) + γ Φ⁻¹(1 - 1/(N e))), V the variance of the SRs of N trials, γ Euler's number
    DSR    PSR against E max
    PBO    share of the ways to choose half of S blocks of time, in which the best of that half is in the worse half of
           all on the rest

D. Bailey and M. López de Prado, The Sharpe Ratio Efficient Frontier (2012), The Deflated Sharpe Ratio (2014);
D. Bailey, J. Borwein, M. López de Prado and Q. Zhu, The Probability of Backtest Overfitting (2015).
"""

import math
from itertools import combinations
from statistics import NormalDist

import numpy as np

from rooney.kernels.array_types import F64
from rooney.performance.measures import ROUNDING, sharpe_ratio

_NORMAL = NormalDist()
_EULER = 0.5772156649015329


def sharpe(returns: F64) -> float:
    """Per period; NaN for fewer than two periods or no variation."""
    if len(returns) < 2:
        return math.nan
    return sharpe_ratio(float(np.mean(returns)), float(np.std(returns, ddof=1)))


def probabilistic_sharpe(returns: F64, against: float = 0.0) -> float:
    """Probability that the true Sharpe ratio is above `against`; NaN where there is none."""
    ratio = sharpe(returns)
    if math.isnan(ratio):
        return math.nan
    centred = returns - np.mean(returns)
    variance = float(np.mean(centred**2))
    skew = float(np.mean(centred**3)) / variance**1.5
    kurtosis = float(np.mean(centred**4)) / variance**2
    spread = math.sqrt(max(1e-12, 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2))
    return _NORMAL.cdf((ratio - against) * math.sqrt(len(returns) - 1) / spread)


def expected_best(variance: float, n_trials: int) -> float:
    """Sharpe ratio that the best of so many trials without any skill is expected to show."""
    if n_trials < 2:
        return 0.0
    low = _NORMAL.inv_cdf(1.0 - 1.0 / n_trials)
    high = _NORMAL.inv_cdf(1.0 - 1.0 / (n_trials * math.e))
    return math.sqrt(variance) * ((1.0 - _EULER) * low + _EULER * high)


def deflated_sharpe(returns: F64, trials: F64, n_trials: int) -> float:
    """Probability that the true Sharpe ratio is above what luck alone would show.

    trials: Sharpe ratios of all that were tried, NaN where there is none; n_trials: how many that were
    """
    known = trials[np.isfinite(trials)]
    variance = float(np.var(known, ddof=1)) if len(known) > 1 else 0.0
    return probabilistic_sharpe(returns, expected_best(variance, n_trials))


def overfitting(returns: F64, n_blocks: int) -> float:
    """PBO by combinatorially symmetric cross-validation; NaN for fewer than two trials.

    returns: float64[period, trial]; n_blocks: even, at most as many as periods
    """
    n_periods, n_trials = returns.shape
    if n_blocks % 2 or not 2 <= n_blocks <= n_periods:
        raise ValueError(f"{n_periods} periods cannot be cut into {n_blocks} blocks; an even number up to that")
    if n_trials < 2:
        return math.nan
    parts = np.array_split(np.arange(n_periods), n_blocks)
    worse = 0
    ways = list(combinations(range(n_blocks), n_blocks // 2))
    for chosen in ways:
        inside = np.concatenate([parts[k] for k in chosen])
        outside = np.concatenate([parts[k] for k in range(n_blocks) if k not in chosen])
        best = int(np.argmax(_ratios(returns[inside])))
        others = _ratios(returns[outside])
        # Relative rank in (0, 1), ties in the middle; its logit is not above 0 up to one half.
        rank = float(np.sum(others < others[best])) + (float(np.sum(others == others[best])) + 1.0) / 2.0
        worse += rank / (n_trials + 1.0) <= 0.5
    return worse / len(ways)


def _ratios(returns: F64) -> F64:
    """Sharpe ratio of each column; 0 without variation: it neither earned nor lost."""
    mean, deviation = np.mean(returns, axis=0), np.std(returns, axis=0, ddof=1)
    ratios: F64 = np.zeros(len(mean))
    np.divide(mean, deviation, out=ratios, where=deviation > ROUNDING * np.abs(mean))
    return ratios
