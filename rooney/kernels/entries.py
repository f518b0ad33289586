"""What may hold back an entry besides the strategy's own rule: filters, windows of the day, the veto of a model."""

import math
from typing import Any

from numpy.typing import NDArray

from rooney.kernels.codes import VetoKind
from rooney.kernels.forest import LARGEST, votes
from rooney.kernels.jit import njit
from rooney.kernels.units import DAY_NS


@njit(cache=True)
def first_refusing(filters: Any, numbers: NDArray[Any]) -> int:
    """Index of the first filter that says no, -1 if all pass. numbers: the instrument's values by column."""
    for k in range(len(filters)):
        rule = filters[k]
        if rule.column < 0:
            continue
        x = numbers[rule.column]
        if math.isnan(x):
            if rule.pass_missing == 0:
                return k
        elif not (rule.low <= x <= rule.high and rule.above < x < rule.below):
            return k
        elif rule.allowed != 0 and (x < 0.0 or x > 62.0 or rule.allowed >> int(x) & 1 == 0):
            return k
    return -1


@njit(cache=True)
def in_any(windows: NDArray[Any], local_ns: int) -> bool:
    """Whether a local time falls into one of the windows int64[k, (begin, end)], ns of the day, over midnight too."""
    at = local_ns % DAY_NS
    for k in range(len(windows)):
        begin, end = windows[k, 0], windows[k, 1]
        if begin < end:
            if begin <= at < end:
                return True
        elif at >= begin or at < end:
            return True
    return False


@njit(cache=True)
def score(veto: Any, inputs: Any, nodes: Any, numbers: NDArray[Any]) -> float:
    """Score of an instrument's model on its values, in [0, 1]; NaN while a required one is missing.

    Logistic: 1 / (1 + exp(-(intercept + sum of weight z))), z = (x - mean) / deviation clipped. Forest: its votes. A
    missing x that is not required counts as 0, before it is standardised (old system §3.1).
    """
    total = veto.intercept
    for k in range(veto.first, veto.first + veto.count):
        x = numbers[inputs[k].column]
        if math.isnan(x):
            if inputs[k].required:
                return math.nan
            x = 0.0
        if veto.kind == VetoKind.FOREST:
            if abs(x) > LARGEST:
                return math.nan
            continue
        z = (x - inputs[k].mean) / inputs[k].deviation
        total += inputs[k].weight * max(-veto.clip, min(veto.clip, z))
    if veto.kind == VetoKind.FOREST:
        return votes(nodes, veto.first_node, veto.n_trees, numbers)
    return 1.0 / (1.0 + math.exp(-total))
