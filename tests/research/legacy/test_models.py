"""Models of the old system: read where they can do nothing, or refused; never a program that runs."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from research.legacy import unpickle
from research.legacy.models import old_names, read_old
from research.models import forest as forests
from rooney.errors import ModelError
from rooney.models.forest import path_of, read_model
from tests.support.paths import ROOT

NAMES = ["prev_bar_pct", "RSI Len 14", "es_hourly_z_score", "ibsxatrz", "rsixatrz"]


def _forest(frame: bool = False) -> RandomForestClassifier:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, len(NAMES)))
    forest = RandomForestClassifier(25, min_samples_leaf=5, random_state=0).fit(rows, (rows[:, 1] > 0).astype(int))
    if frame:  # what a fit on a pandas frame leaves behind
        forest.feature_names_in_ = np.array(NAMES, dtype=object)
    return forest


def _write(folder: Path, held: Any, best: Any = None, symbol: str = "ES") -> Path:
    path = folder / f"{symbol}_rf_model.pkl"
    joblib.dump(held, path)
    given = {"Prod_Threshold": 0.5, "Features": NAMES} if best is None else best
    (folder / f"{symbol}_best.json").write_text(json.dumps(given))
    return path


@pytest.mark.parametrize("shape", ["estimator", "mapping", "frame"])
def test_an_old_model_becomes_one_with_the_same_votes_and_the_old_numbers(shape: str, tmp_path: Path) -> None:
    forest = _forest(frame=shape == "frame")
    held = {"model": forest, "features": NAMES} if shape == "mapping" else forest
    best = None if shape == "estimator" else {"Prod_Threshold": 0.55}
    model = read_old(_write(tmp_path, held, best), "ibs", "ES")
    assert model.features == ("prev_bar_pct_v1", "rsi_len_14_v1", "es_hourly_z_score_v1", "ibsxatrz_v1", "rsixatrz_v1")
    assert (model.missing, model.required) == ("zero", ("es_hourly_z_score_v1",))
    assert model.threshold == (0.5 if best is None else 0.55)
    rows = np.random.default_rng(1).normal(size=(500, len(NAMES)))
    if hasattr(forest, "feature_names_in_"):
        del forest.feature_names_in_  # it would warn that these rows have no names
    expected = forest.predict_proba(rows)[:, 1]
    np.testing.assert_array_equal(forests.predict(model.nodes(), model.n_trees, rows), expected)


def test_products_have_a_value_only_where_both_factors_were_asked_for() -> None:
    where = Path("x.pkl")
    assert old_names(["rsixatrz", "rsi"], where) == ("rsixatrz_v1", "rsi_v1")
    assert old_names(["rsixatrz", "enablersientry", "atrz"], where)[0] == "rsixatrz_asked_v1"


class _Program:
    """What a pickle can do that a model need not."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("where", ["outside", "in a mapping", "in an array of objects"])
def test_a_program_in_a_pickle_is_refused_by_name_and_not_run(where: str, tmp_path: Path) -> None:
    program = _Program(tmp_path / "ran")
    held: Any = {
        "outside": program,
        "in a mapping": {"model": program},
        "in an array of objects": np.array([program, None], dtype=object),
    }[where]
    with pytest.raises(ValueError, match=r"it wants posix\.system, which is no part of a forest"):
        unpickle.describe(_write(tmp_path, held))
    assert not (tmp_path / "ran").exists()


def test_what_the_reader_refuses_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"ES_rf_model\.pkl: it wants posix\.system, .*; not imported"):
        read_old(_write(tmp_path, _Program(tmp_path / "ran")), "ibs", "ES")
    assert not (tmp_path / "ran").exists()


def test_the_process_that_reads_can_write_no_file(tmp_path: Path) -> None:
    """Were the list of names ever too long."""
    code = (
        "from research.legacy import unpickle; unpickle.confine();"
        "import pathlib; pathlib.Path('x.written').write_bytes(b'x' * 10)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"File too large" in done.stderr
    assert (tmp_path / "x.written").stat().st_size == 0


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ([1, 2], "a list, no fitted forest"),
        ({"estimator": 1}, "without 'model'"),
        (LogisticRegression(), "LogisticRegression, which is no part of a forest"),
        (RandomForestClassifier(), "no fitted forest"),
    ],
)
def test_what_is_no_forest_is_refused_by_what_it_is(held: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        unpickle.describe(_write(tmp_path, held))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a Git LFS pointer"),
        (b"\x80\x04nonsense", "no pickle of a forest"),
    ],
)
def test_a_file_that_is_no_pickle_is_refused_by_its_name(content: bytes, said: str, tmp_path: Path) -> None:
    path = _write(tmp_path, {})
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"ES_rf_model\.pkl: {said}"):
        read_old(path, "ibs", "ES")


@pytest.mark.parametrize(
    ("best", "said"),
    [
        ({"threshold": 0.5, "Features": NAMES}, r"ES_best\.json: no Prod_Threshold"),
        ({"Prod_Threshold": 0.5, "Features": NAMES[:3]}, "has 5 features, and 3 are named"),
        ({"Prod_Threshold": 0.5, "Features": [*NAMES[:4], "moon"]}, "moon"),
        ({"Prod_Threshold": math.inf, "Features": NAMES}, "threshold inf"),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(best: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        read_old(_write(tmp_path, _forest(), best), "ibs", "ES")


def test_the_command_warns_imports_what_it_can_and_names_the_rest(tmp_path: Path) -> None:
    _write(tmp_path, _forest())
    _write(tmp_path, [1], symbol="NQ")
    command = [sys.executable, "-m", "rooney", "models", "import", "ibs", str(tmp_path), "--to", str(tmp_path / "to")]
    command += ["--config", str(ROOT / "config.multi_alpha.yml"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "a pickle is a program" in done.stderr
    found = json.loads(done.stdout)
    assert found["ES"] == "25 trees, 5 features, threshold 0.5"
    assert "NQ_rf_model.pkl: " in found["NQ"]
    assert read_model(path_of(tmp_path / "to", "ES")).symbol == "ES"
    assert not path_of(tmp_path / "to", "NQ").exists()
