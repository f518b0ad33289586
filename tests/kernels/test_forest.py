"""The forest kernel against scikit-learn itself: not close, equal."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from research.models.forest import flatten, predict
from rooney.kernels import dtypes, entries
from rooney.kernels.codes import VetoKind

ROWS = 2_500  # per forest


def _forest(seed: int) -> tuple[RandomForestClassifier, np.ndarray]:
    """A fitted forest of any shape, and rows that lie on its thresholds, next to them, and far out."""
    rng = np.random.default_rng(seed)
    n_features, n_classes = int(rng.integers(1, 12)), int(rng.integers(2, 5))
    rows = rng.normal(size=(400, n_features)) * 10.0 ** rng.integers(-30, 30, n_features)
    if seed % 3 == 0:
        rows = np.round(rows, 1)
    labels = (rng.integers(0, n_classes, 400) + 3 * (rows[:, 0] > np.median(rows[:, 0]))) % n_classes
    labels[:n_classes] = np.arange(n_classes)
    kind = ExtraTreesClassifier if seed % 5 == 4 else RandomForestClassifier
    forest = kind(
        n_estimators=int(rng.integers(1, 60)),
        max_depth=[None, 1, 3, 8][seed % 4],
        min_samples_leaf=int(rng.integers(1, 20)),
        max_leaf_nodes=[None, 7][int(seed % 7 == 0)],
        class_weight=[None, "balanced", "balanced_subsample"][int(rng.integers(3))]
        if kind is RandomForestClassifier
        else None,
        random_state=seed,
        n_jobs=1,
    ).fit(rows, labels)
    return forest, np.concatenate([rng.normal(size=(ROWS // 2, n_features)) * rows.std(axis=0), _edges(forest, rng)])


def _edges(forest: RandomForestClassifier, rng: np.random.Generator) -> np.ndarray:
    """Rows whose every value is a threshold, a neighbour of it in float64 or float32, or an extreme."""
    cuts: list[list[float]] = [[0.0] for _ in range(forest.n_features_in_)]
    for estimator in forest.estimators_:
        for feature, cut in zip(estimator.tree_.feature, estimator.tree_.threshold, strict=True):
            if feature >= 0:
                near32 = np.float32(cut)
                beside = [np.nextafter(near32, np.float32(side)) for side in (-np.inf, np.inf)]
                cuts[feature] += [cut, np.nextafter(cut, -np.inf), np.nextafter(cut, np.inf), near32, *beside]
    extremes = [-0.0, 5e-324, 1e-45, -3.4e38, 3.4e38]
    columns = [rng.choice(np.array([*column, *extremes], np.float64), ROWS // 2) for column in cuts]
    return np.stack(columns, axis=1)


def _assert_equal(seed: int) -> int:
    forest, rows = _forest(seed)
    with np.errstate(invalid="ignore"):  # it first sums all values to see whether one is infinite
        expected = forest.predict_proba(rows)
    for k, label in enumerate(forest.classes_):
        found = predict(flatten(forest, label), len(forest.estimators_), rows)
        np.testing.assert_array_equal(found, expected[:, k])
    return len(rows)


def test_votes_are_bit_equal_to_scikit_learn() -> None:
    assert sum(_assert_equal(seed) for seed in range(8)) == 8 * ROWS


@pytest.mark.slow
def test_votes_are_bit_equal_to_scikit_learn_over_sixty_forests_and_150000_rows() -> None:
    assert sum(_assert_equal(seed) for seed in range(100, 160)) == 60 * ROWS


@settings(max_examples=30, deadline=None)
@given(arrays_of.arrays(np.float64, 4, elements=st.floats(-3.4e38, 3.4e38)))
def test_any_row_is_bit_equal_to_scikit_learn(row: np.ndarray) -> None:
    assert predict(NODES, len(FOREST.estimators_), row[None])[0] == FOREST.predict_proba(row[None])[0, 1]


def test_a_label_the_forest_never_saw_is_refused() -> None:
    with pytest.raises(ValueError, match=r"knows the labels \[0, 1\], not 2"):
        flatten(FOREST, 2)


def _fixed() -> RandomForestClassifier:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 4))
    return RandomForestClassifier(20, random_state=0).fit(rows, (rows[:, 0] * rows[:, 1] > 0).astype(int))


FOREST = _fixed()
NODES = flatten(FOREST)


def _score(row: list[float], required: list[int]) -> float:
    """The score as the step asks for it: columns in another order, another forest before it."""
    veto = np.zeros(1, dtypes.VETO)[0]
    veto["kind"], veto["count"] = VetoKind.FOREST, 4
    veto["first_node"], veto["n_trees"] = len(NODES), len(FOREST.estimators_)
    own = NODES.copy()
    own["feature"] = np.array([3, 2, 1, 0])[NODES["feature"]]
    inputs = np.array(
        [(column, r, 0.0, 1.0, 0.0) for column, r in zip([3, 2, 1, 0], required, strict=True)], dtypes.VETO_INPUT
    )
    return float(entries.score(veto, inputs, np.concatenate([NODES, own]), np.array(row[::-1])))


def test_a_score_is_the_forests_votes_on_the_columns_it_names() -> None:
    row = [0.3, -1.2, 0.8, 2.5]
    assert _score(row, [1, 1, 1, 1]) == FOREST.predict_proba([row])[0, 1]


@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf, 3.5e38])
def test_there_is_no_score_without_a_value_that_scikit_learn_would_take(missing: float) -> None:
    assert math.isnan(_score([0.3, missing, 0.8, 2.5], [1, 1, 1, 1]))


def test_a_missing_value_that_is_not_required_counts_as_zero() -> None:
    row = [0.3, math.nan, 0.8, 2.5]
    assert _score(row, [1, 0, 1, 1]) == FOREST.predict_proba([[0.3, 0.0, 0.8, 2.5]])[0, 1]
