"""A model file gives back what was written, or is refused by name."""

import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from research.models import forest as forests
from rooney.errors import ModelError
from rooney.models import forest as model_file
from rooney.models.forest import Model, from_bytes, path_of, read_model, read_models, to_bytes, write_model

FEATURES = ("ibs", "atrz", "weekday")


def made(symbol: str = "ES", features: tuple[str, ...] = FEATURES, seed: int = 0, **changes: Any) -> Model:
    """A model of a real forest."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(200, len(features)))
    forest = RandomForestClassifier(10, max_depth=4, random_state=seed).fit(rows, (rows[:, 0] > 0).astype(int))
    fields: dict[str, Any] = {
        "strategy": "ibs",
        "symbol": symbol,
        "features": features,
        "threshold": 0.5,
        "n_trees": 10,
        "span": (1_700_000_000_000_000_000, 1_750_000_000_000_000_000),
        "made_from": {"data": "0" * 64},
        "versions": {"scikit-learn": "1.9"},
        "measures": {"sharpe": 1.5},
    }
    return Model(**(fields | forests.arrays(forests.flatten(forest)) | changes))


BASE = made()
CONTENT = to_bytes(BASE)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_model(made(), tmp_path / "models" / "ES.model")
    assert read_model(tmp_path / "models" / "ES.model") == made()
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["ES.model"]


def test_equal_models_are_equal_files_and_have_one_digest() -> None:
    again = made()
    assert to_bytes(again) == CONTENT
    assert again.digest() == made().digest() != made(threshold=0.6).digest()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(CONTENT) - 1))
def test_a_file_cut_anywhere_is_refused(at: int) -> None:
    with pytest.raises(ModelError, match=r"ES\.model: .*not used"):
        from_bytes(CONTENT[:at], "ES.model")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
def test_a_file_with_any_byte_changed_is_refused(at: int, by: int) -> None:
    edited = bytearray(CONTENT)
    edited[at] ^= by
    with pytest.raises(ModelError, match=r"ES\.model: .*not used"):
        from_bytes(bytes(edited), "ES.model")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="not a model file of rooney"):
        from_bytes(content, "ES.model")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_nodes_of_any_numbers_are_refused_or_every_walk_ends(data: st.DataObject) -> None:
    """With a sound hash, too: whoever can write a hash can write a circle."""
    n = data.draw(st.integers(1, 9))
    ints = st.lists(st.integers(-2, n), min_size=n, max_size=n)
    floats = st.lists(st.floats(0, 1), min_size=n, max_size=n)
    given_arrays = {
        **{name: np.array(data.draw(ints), "<i4").tobytes() for name in ("feature", "left", "right")},
        **{name: np.array(data.draw(floats), "<f8").tobytes() for name in ("cut", "leaf")},
    }
    one = msgspec.structs.replace(BASE, n_trees=data.draw(st.integers(0, n)), **given_arrays)
    try:
        found = from_bytes(_signed(one), "ES.model")
    except ModelError:
        return
    votes = forests.predict(found.nodes(), found.n_trees, np.zeros((1, len(FEATURES))))
    assert 0.0 <= votes[0] <= 1.0


def _signed(one: Model) -> bytes:
    """The file of a model that `to_bytes` would refuse to write."""
    body = msgspec.msgpack.encode(one, order="deterministic")
    return f"rooney model 1 {model_file._digest(body)}\n".encode() + body


_NAN = np.full(len(made().cut) // 8, math.nan).tobytes()
_FIRST_CHILD = np.frombuffer(made().left, "<i4").copy()
_FIRST_CHILD[_FIRST_CHILD > 0] = 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cut": _NAN}, "a threshold that is no number"),
        ({"leaf": _NAN}, "a leaf outside 0 to 1"),
        ({"leaf": made().leaf[:-8]}, "10 trees in arrays of"),
        ({"cut": made().cut[:-3]}, "10 trees in arrays of"),
        ({"left": _FIRST_CHILD.astype("<i4").tobytes()}, "nodes that are no trees"),
        ({"n_trees": 9}, "nodes that are no trees"),
        ({"n_trees": 0}, "0 trees"),
        ({"features": ("ibs",)}, "nodes that are no trees"),
        ({"features": ()}, r"features \(none\)"),
        ({"features": ("ibs", "ibs", "atrz")}, "each must be named once"),
        ({"required": ("rsi",)}, "requires rsi, not among its features"),
        ({"threshold": math.nan}, "threshold nan"),
        ({"threshold": 1.5}, "threshold 1.5"),
        ({"measures": {"sharpe": math.inf}}, "infinite sharpe"),
    ],
)
def test_what_no_model_can_be_is_neither_written_nor_read(changes: dict[str, Any], said: str) -> None:
    wrong = msgspec.structs.replace(made(), **changes)
    with pytest.raises(ModelError, match=f"model of ES: .*{said}"):
        to_bytes(wrong)
    with pytest.raises(ModelError, match=rf"x/ES\.model: .*{said}"):
        from_bytes(_signed(wrong), "x/ES.model")


def test_a_newer_format_is_refused_with_both_numbers() -> None:
    newer = CONTENT.replace(b"rooney model 1 ", b"rooney model 2 ", 1)
    with pytest.raises(ModelError, match="has format 2, this version reads 1"):
        from_bytes(newer, "ES.model")


def test_a_field_of_another_kind_is_refused_by_its_path() -> None:
    body = msgspec.msgpack.encode({**msgspec.structs.asdict(made()), "threshold": "high"})
    with pytest.raises(ModelError, match=r"Expected `float`, got `str` - at `\$\.threshold`"):
        from_bytes(f"rooney model 1 {model_file._digest(body)}\n".encode() + body, "ES.model")


def test_a_pickle_is_refused_with_the_command_that_reads_it(tmp_path: Path) -> None:
    import pickle

    (tmp_path / "ES.model").write_bytes(pickle.dumps({"model": 1}))
    with pytest.raises(ModelError, match=r"ES\.model: is not a model file.*rooney models import"):
        read_model(tmp_path / "ES.model")


def test_the_model_of_another_instrument_or_strategy_is_refused(tmp_path: Path) -> None:
    write_model(made("NQ"), path_of(tmp_path, "NQ"))
    shutil.copy(path_of(tmp_path, "NQ"), path_of(tmp_path, "ES"))
    with pytest.raises(ModelError, match="is the model of NQ for ibs, not of ES for ibs"):
        read_models(tmp_path, ["ES", "NQ"], "ibs")
    with pytest.raises(ModelError, match="is the model of NQ for ibs, not of NQ for breakout"):
        read_models(tmp_path, ["NQ"], "breakout")


def test_a_worker_reads_a_large_model_in_milliseconds_with_numpy_and_msgspec_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4_000, len(FEATURES)))
    forest = RandomForestClassifier(300, max_depth=7, random_state=0).fit(rows, (rows[:, 0] > 0).astype(int))
    large = made(n_trees=300, **forests.arrays(forests.flatten(forest)))
    write_model(large, path_of(tmp_path, "ES"))
    best_s = math.inf
    for _ in range(5):
        started = time.perf_counter()
        assert read_model(path_of(tmp_path, "ES")).n_trees == 300
        best_s = min(best_s, time.perf_counter() - started)
    assert best_s < 0.1
    code = (
        "import sys, rooney.models.forest; from pathlib import Path;"
        f"rooney.models.forest.read_model(Path({os.fspath(path_of(tmp_path, 'ES'))!r}));"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()).isdisjoint({"sklearn", "joblib", "numba", "polars", "scipy"})
