"""A fitted scikit-learn forest as flat arrays, and its votes by the kernel that trades."""

from typing import Any

import numpy as np

from rooney.kernels.array_types import F64, Records
from rooney.kernels.dtypes import NODE
from rooney.kernels.forest import votes_of_rows


def flatten(forest: Any, label: Any = 1) -> Records:
    """NODE[node] of a fitted RandomForestClassifier (or ExtraTrees), its votes being those for `label`.

    The roots come first in the order of the trees; then each tree's other nodes in scikit-learn's order. Raises
    ValueError if the forest never saw that label.
    """
    classes = forest.classes_.tolist()
    if label not in classes:
        raise ValueError(f"the forest knows the labels {classes}, not {label!r}")
    trees = [estimator.tree_ for estimator in forest.estimators_]
    found = np.zeros(sum(tree.node_count for tree in trees), NODE)
    past = len(trees)
    for t, tree in enumerate(trees):
        at = np.arange(past - 1, past - 1 + tree.node_count)
        at[0] = t
        past += tree.node_count - 1
        leaves = tree.children_left < 0
        found["left"][at] = np.where(leaves, -1, at[np.maximum(tree.children_left, 0)])
        found["right"][at] = np.where(leaves, -1, at[np.maximum(tree.children_right, 0)])
        found["feature"][at] = np.where(leaves, 0, tree.feature)
        found["threshold"][at] = np.where(leaves, 0.0, tree.threshold)
        shares = tree.value[:, 0, :]
        if np.any(shares.sum(axis=1) > 1.5):  # before scikit-learn 1.3 a leaf held counts
            shares = shares / shares.sum(axis=1, keepdims=True)
        found["leaf"][at] = np.where(leaves, shares[:, classes.index(label)], 0.0)
    return found


def arrays(nodes: Records) -> dict[str, bytes]:
    """NODE as the fields of `rooney.models.forest.Model`."""
    kinds = {"feature": "<i4", "left": "<i4", "right": "<i4", "threshold": "<f8", "leaf": "<f8"}
    names = {"threshold": "cut"}
    return {names.get(name, name): nodes[name].astype(kind).tobytes() for name, kind in kinds.items()}


def predict(nodes: Records, n_trees: int, rows: F64) -> F64:
    """Votes of each row. rows: float64[row, feature], all of them finite."""
    found = np.empty(len(rows))
    votes_of_rows(nodes, n_trees, np.ascontiguousarray(rows, dtype=np.float64), found)
    return found
