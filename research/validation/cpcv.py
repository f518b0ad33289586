"""Combinatorial purged cross-validation on label spans (M. López de Prado, Advances in Financial ML, 2018, ch. 7, 12).

Rows in time order are cut into groups; every combination of `n_test` groups is the test set of one split. From the
rest, what a model must not learn from is taken out by time, not by counting rows:

    purge    a row whose span [start, end] shares an instant with the span of any test row
    embargo  a row that starts within `embargo_ns` after the end of the span of any test row that starts before it

Each group is a test group in C(n - 1, n_test - 1) splits, so the predictions make as many whole paths through time.
"""

from itertools import combinations

import msgspec
import numpy as np

from rooney.kernels.array_types import I64


class Split(msgspec.Struct, frozen=True):
    """Row numbers, ascending. tests: one array per test group; groups: which they are."""

    train: I64
    tests: tuple[I64, ...]
    groups: tuple[int, ...]


def groups_of(n_rows: int, n_groups: int) -> list[I64]:
    """Row numbers of each group; sizes differ by one at most."""
    return [np.asarray(part, np.int64) for part in np.array_split(np.arange(n_rows), n_groups)]


def splits(start_ns: I64, end_ns: I64, n_groups: int, n_test: int, embargo_ns: int) -> list[Split]:
    """All C(n_groups, n_test) splits, in the order of `itertools.combinations`.

    start_ns, end_ns: int64[row], closed spans of the labels, ordered by start; no span ends before it starts
    Raises ValueError for rows in another order, or fewer rows than groups.
    """
    if np.any(np.diff(start_ns) < 0) or np.any(end_ns < start_ns):
        raise ValueError("spans must be ordered by their start, and end no earlier than they start")
    if not 1 <= n_test < n_groups <= len(start_ns):
        raise ValueError(f"{len(start_ns)} rows cannot be cut into {n_groups} groups of which {n_test} are tested")
    parts = groups_of(len(start_ns), n_groups)
    found = []
    for groups in combinations(range(n_groups), n_test):
        tests = tuple(parts[g] for g in groups)
        found.append(Split(_allowed(start_ns, end_ns, np.concatenate(tests), embargo_ns), tests, groups))
    return found


def _allowed(start_ns: I64, end_ns: I64, test: I64, embargo_ns: int) -> I64:
    """Rows that are not tested and may be learnt from beside those that are.

    A test row j shuts out row i if j starts no later than i ends, and i starts no later than j ends plus the embargo.
    Of all that start no later, the one that ends last decides, so one running maximum judges every row.
    """
    latest_end = np.maximum.accumulate(end_ns[test])
    n_before = np.searchsorted(start_ns[test], end_ns, "right")  # test rows that start no later than row i ends
    free = (n_before == 0) | (start_ns > latest_end[np.maximum(n_before, 1) - 1] + embargo_ns)
    free[test] = False
    return np.flatnonzero(free)


def path_splits(n_groups: int, n_test: int) -> I64:
    """int64[path, group]: the split whose prediction of that group belongs to that path.

    The p-th path takes, of each group, the p-th split that tests it.
    """
    tested: list[list[int]] = [[] for _ in range(n_groups)]
    for k, groups in enumerate(combinations(range(n_groups), n_test)):
        for group in groups:
            tested[group].append(k)
    return np.array(tested, np.int64).T
