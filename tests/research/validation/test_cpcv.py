"""Splits on label spans: against a definition written as loops, and against skfolio where both mean the same."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio.model_selection import CombinatorialPurgedCV

from research.validation.cpcv import groups_of, path_splits, splits


@st.composite
def _spans(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Starts in order, with equal ones; spans of any length, some within others, some of no length at all."""
    n = draw(st.integers(8, 40))
    starts = np.sort(np.array(draw(st.lists(st.integers(0, 100), min_size=n, max_size=n)), np.int64))
    lengths = np.array(draw(st.lists(st.integers(0, 60), min_size=n, max_size=n)), np.int64)
    return starts, starts + lengths


@settings(max_examples=200, deadline=None)
@given(_spans(), st.integers(2, 7), st.data())
def test_training_rows_are_those_that_loops_leave(
    spans: tuple[np.ndarray, np.ndarray], n_groups: int, data: st.DataObject
) -> None:
    start, end = spans
    n_test, embargo = data.draw(st.integers(1, n_groups - 1)), data.draw(st.sampled_from([0, 1, 7, 200]))
    found = splits(start, end, n_groups, n_test, embargo)
    parts = groups_of(len(start), n_groups)
    for split, groups in zip(found, combinations(range(n_groups), n_test), strict=True):
        test = [int(j) for g in groups for j in parts[g]]
        expected = []
        for i in range(len(start)):
            overlaps = any(start[i] <= end[j] and start[j] <= end[i] for j in test)
            embargoed = any(start[j] <= start[i] and end[j] < start[i] <= end[j] + embargo for j in test)
            if i not in test and not overlaps and not embargoed:
                expected.append(i)
        assert split.train.tolist() == expected
        assert [part.tolist() for part in split.tests] == [parts[g].tolist() for g in groups]


@pytest.mark.parametrize("n_groups", [3, 5, 8])
@pytest.mark.parametrize("purge", [0, 1, 4])
@pytest.mark.parametrize("embargo", [0, 3])
def test_where_spans_are_rows_the_splits_are_skfolios(n_groups: int, purge: int, embargo: int) -> None:
    """A label that is known `purge` rows later, every row one instant after the other: time and rows count alike.

    skfolio's embargo begins after its purge, as ours after the end of the span. 120 rows make equal groups; where they
    cannot be equal, skfolio puts all that is left into the last one.
    """
    start = np.arange(120, dtype=np.int64)
    ours = splits(start, start + purge, n_groups, 2, embargo)
    theirs = CombinatorialPurgedCV(n_folds=n_groups, n_test_folds=2, purged_size=purge, embargo_size=embargo)
    for split, (train, tests) in zip(ours, theirs.split(start[:, None]), strict=True):
        assert split.train.tolist() == train.tolist()
        assert [part.tolist() for part in split.tests] == [part.tolist() for part in tests]


@pytest.mark.parametrize(("n_groups", "n_test"), [(3, 2), (6, 2), (8, 3)])
def test_paths_are_skfolios_and_each_takes_every_group_once(n_groups: int, n_test: int) -> None:
    theirs = CombinatorialPurgedCV(n_folds=n_groups, n_test_folds=n_test)
    ours = path_splits(n_groups, n_test)
    assert ours.shape == (theirs.n_test_paths, n_groups)
    assert ours.T.tolist() == theirs.recombined_paths.tolist()
    assert sorted(ours.ravel().tolist()) == sorted(k for k in range(comb(n_groups, n_test)) for _ in range(n_test))


def test_no_training_label_was_known_from_an_instant_of_the_test() -> None:
    """Hours, trades of up to nine hours, an embargo of a day."""
    rng = np.random.default_rng(0)
    start = np.sort(rng.integers(0, 10_000, 800))
    end = start + rng.integers(1, 10, 800)
    for split in splits(start, end, 6, 2, 24):
        for test in split.tests:
            first, last = start[test].min(), end[test].max()
            train_start, train_end = start[split.train], end[split.train]
            assert np.all((train_end < first) | (train_start > last + 24))


@pytest.mark.parametrize(
    ("n_rows", "n_groups", "n_test"), [(2, 3, 1), (3, 2, 2), (3, 2, 3), (3, 2, 0), (0, 1, 0), (3, 1, 1)]
)
def test_too_few_rows_and_groups_of_which_none_or_all_are_tested_are_refused(
    n_rows: int, n_groups: int, n_test: int
) -> None:
    said = f"{n_rows} rows cannot be cut into {n_groups} groups of which {n_test} are tested"
    with pytest.raises(ValueError, match=said):
        splits(np.arange(n_rows), np.arange(n_rows), n_groups, n_test, 0)


def test_as_many_groups_as_rows_and_one_of_them_tested_is_the_least_that_can_be_cut() -> None:
    found = splits(np.array([1, 1]), np.array([1, 2]), 2, 1, 0)  # at one instant, and known at it
    assert [split.groups for split in found] == [(0,), (1,)]
    assert [len(split.train) for split in found] == [0, 0]


@pytest.mark.parametrize(
    ("start", "end"), [([2, 1, 3], [3, 3, 3]), ([1, 2, 3], [1, 1, 3]), ([3, 2, 1], [1, 1, 0]), ([1, 2, 3], [0, 1, 2])]
)
def test_rows_out_of_order_and_spans_that_end_before_they_start_are_refused(start: list[int], end: list[int]) -> None:
    with pytest.raises(ValueError, match="ordered by their start"):
        splits(np.array(start), np.array(end), 2, 1, 0)
