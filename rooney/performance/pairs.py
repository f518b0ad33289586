"""Matching: what of two sides belongs together, and where they part. Pure; knows neither trade nor order nor ledger.

Pairs of trades, executions of a fill, rows of a live run and of its replay: everything that lays two records of the
same events side by side does it here.
"""

import operator
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TypeVar

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


def nearest_pairs(
    a: Sequence[T],
    b: Sequence[T],
    key: Callable[[T], Hashable],
    time_ns: Callable[[T], int],
    reach_ns: int,
) -> list[tuple[int, int]]:
    """Pairs of indices with equal keys, each index in one pair at most, by the time in `a`.

    Those of the same time come first; then, in the order of time, the nearest of those left.

    reach_ns: how far apart the times of a pair may be
    """
    free: dict[Hashable, list[int]] = defaultdict(list)
    for j, row in enumerate(b):
        free[key(row)].append(j)
    ordered = sorted(range(len(a)), key=lambda i: time_ns(a[i]))
    partner: dict[int, int] = {}
    for limit_ns in (0, reach_ns):
        for i in ordered:
            at_ns, theirs = time_ns(a[i]), free[key(a[i])]
            near = [] if i in partner else [j for j in theirs if abs(time_ns(b[j]) - at_ns) <= limit_ns]
            if near:
                partner[i] = min(near, key=lambda j: (abs(time_ns(b[j]) - at_ns), time_ns(b[j])))
                theirs.remove(partner[i])
    return [(i, partner[i]) for i in ordered if i in partner]


def parts_of(total: int, candidates: Iterable[T], amount: Callable[[T], int]) -> tuple[T, ...] | None:
    """The earliest candidates that add up to `total` exactly, such as the executions of a fill; None without such.

    A candidate that would exceed the total is passed over.
    """
    taken: list[T] = []
    for candidate in candidates:
        if amount(candidate) <= total:
            taken.append(candidate)
            total -= amount(candidate)
            if not total:
                return tuple(taken)
    return None


def first_difference(
    a: Iterable[T],
    b: Iterable[T],
    is_same: Callable[[T | None, T | None], bool] = operator.eq,
) -> tuple[int, T | None, T | None] | None:
    """Position of the first rows that are not the same, and both; None where a side has ended. None: no difference."""
    for k, (x, y) in enumerate(zip_longest(a, b)):
        if not is_same(x, y):
            return k, x, y
    return None


def differing(
    a: Mapping[K, V],
    b: Mapping[K, V],
    is_same: Callable[[V | None, V | None], bool] = operator.eq,
) -> list[K]:
    """Keys whose values are not the same, those of `a` first; the value of a key that a side lacks is None."""
    return [key for key in {**a, **b} if not is_same(a.get(key), b.get(key))]
