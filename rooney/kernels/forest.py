"""The votes of a random forest: flat nodes, walked tree by tree, bit-equal to scikit-learn's `predict_proba`.

Equal because nothing is done otherwise: a value is cast to float32 before it is compared with the float64 threshold,
leaves are summed in the order of the trees, and the sum is divided by their number once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rooney.kernels.jit import njit

LARGEST = 3.4028234663852886e38  # a float32; what is larger, scikit-learn refuses


@njit(cache=True)
def votes(nodes: Any, first: int, n_trees: int, numbers: NDArray[Any]) -> float:
    """Mean over the trees of the leaf that a row falls into, in [0, 1].

    nodes:   NODE; this forest begins at `first` with its roots in order, and its children count from there
    numbers: float64[column], by the columns that `nodes.feature` names; NaN counts as 0
    """
    total = 0.0
    for tree in range(n_trees):
        k = first + tree
        while nodes[k].left >= 0:
            x = numbers[nodes[k].feature]
            if x != x:
                x = 0.0
            if np.float64(np.float32(x)) <= nodes[k].threshold:
                k = first + nodes[k].left
            else:
                k = first + nodes[k].right
        total += nodes[k].leaf
    return total / n_trees


@njit(cache=True)
def votes_of_rows(nodes: Any, n_trees: int, rows: NDArray[Any], found: NDArray[Any]) -> None:
    """`votes` of every row, for research. rows: float64[row, feature]; found: float64[row], filled in."""
    for i in range(len(rows)):
        found[i] = votes(nodes, 0, n_trees, rows[i])
