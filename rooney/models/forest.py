"""A model file: one forest for one instrument of one strategy, as flat arrays, and what made it.

    rooney model 1 SHA256-OF-THE-REST
    MessagePack map with the fields of `Model`; arrays are little-endian bytes

Reading runs no code of the file's, and a file that is cut, edited, foreign, newer or impossible is refused with its
name before a number of it is used. Equal models are equal files: nothing in them is the time or the place of writing.
"""

import hashlib
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import msgspec

from rooney.errors import FileError, ModelError
from rooney.files import decode_msgpack, read_bytes, write_whole
from rooney.models.bundle import FILE_BYTES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = 1
SUFFIX = ".model"
UNCONFIRMED = "unconfirmed"  # folder beside models, of those that did not hold
_FIRST = re.compile(rb"rooney model (\d{1,9}) ([0-9a-f]{64})")
_FIRST_BYTES = 128  # in which the first line ends
_LEAF = -1
_ROUNDING = 1e-9  # a share of weights that do not add up to the last bit
_ARRAYS = {"feature": "<i4", "left": "<i4", "right": "<i4", "cut": "<f8", "leaf": "<f8"}


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fitted forest. An entry passes with a score of at least `threshold`.

    strategy:  name of the strategy's file, without .py
    features:  their names in the catalogue, in the order of the forest's columns
    missing:   what a feature without a value does: no score and so no entry, or it counts as 0 (old models)
    required:  of those, the ones that never count as 0
    n_trees:   how many of the nodes are roots; they come first
    feature, left, right: int32 per node; children come after their parent, -1 marks a leaf
    cut:       float64 per node; a float32 value up to it goes left
    leaf:      float64 per node, share of class 1
    span:      first decision and last exit of the trades it learned from, UTC ns
    made_from: what it came from by name: sha256 of parameters, kernels, data; seed and settings of the search
    versions:  of the libraries that made it
    measures:  what was measured of it before it was written
    """

    strategy: str
    symbol: str
    features: tuple[str, ...]
    threshold: float
    n_trees: int
    feature: bytes
    left: bytes
    right: bytes
    cut: bytes
    leaf: bytes
    span: tuple[int, int]
    missing: Literal["veto", "zero"] = "veto"
    required: tuple[str, ...] = ()
    made_from: dict[str, str] = {}
    versions: dict[str, str] = {}
    measures: dict[str, float] = {}

    def nodes(self) -> "NDArray[np.void]":
        """NODE[node]; `feature` counts in `features`."""
        import numpy as np

        from rooney.kernels.dtypes import NODE

        columns: dict[str, Any] = {name: np.frombuffer(getattr(self, name), kind) for name, kind in _ARRAYS.items()}
        found = np.zeros(len(columns["leaf"]), NODE)
        found["threshold"] = columns.pop("cut")
        for name, values in columns.items():
            found[name] = values
        return found

    def digest(self) -> str:
        """sha256 of its file's body."""
        return _digest(_encode(self))


class NoModel(msgspec.Struct, frozen=True):
    """In place of a model that should be there: nothing may be entered."""


def path_of(directory: Path, symbol: str) -> Path:
    """File of an instrument's model."""
    return directory / f"{symbol}{SUFFIX}"


def to_bytes(model: Model) -> bytes:
    """The content of its file. Raises ModelError for a model that could not be read again."""
    _check(model, f"model of {model.symbol}")
    _check_trees(model, f"model of {model.symbol}")
    body = _encode(model)
    return f"rooney model {FORMAT} {_digest(body)}\n".encode() + body


def write_model(model: Model, path: Path) -> None:
    """All of it or nothing, under the name of a file that may be in use."""
    content = to_bytes(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)


def read_model(path: Path, *, trees: bool = True) -> Model:
    """Raises ModelError, naming the file, for anything that is not a whole model of this format."""
    try:
        content = read_bytes(path, FILE_BYTES, then="not used")
    except FileError as error:
        raise ModelError(str(error)) from None
    return from_bytes(content, str(path), trees=trees)


def from_bytes(content: bytes, where: str, *, trees: bool = True) -> Model:
    """The model in a file's content. where: names it in errors (ModelError); trees: look at its nodes, too."""
    line, _, body = content.partition(b"\n")
    first = _FIRST.fullmatch(line) if len(line) < _FIRST_BYTES else None
    if first is None:
        _refuse(where, "is not a model file of rooney; `rooney models import` reads those of the old system")
    if int(first[1]) != FORMAT:
        _refuse(where, f"has format {int(first[1])}, this version reads {FORMAT}; use the version that wrote it")
    if _digest(body).encode() != first[2]:
        _refuse(where, "was cut off or changed after it was written; put the original back, or train anew")
    try:
        model = decode_msgpack(body, Model, Path(where))
    except FileError as error:
        _refuse(where, f"does not say what a model must: {error.why}")
    _check(model, where)
    if trees:
        _check_trees(model, where)
    return model


def read_models(directory: Path, symbols: Iterable[str], strategy: str, *, trees: bool = True) -> dict[str, Model]:
    """The models there are of these instruments. Raises ModelError for one of another strategy or instrument.

    trees: False for whoever asks for no score: nodes are looked at with numpy
    """
    found = {}
    for symbol in symbols:
        path = path_of(directory, symbol)
        if not path.exists():
            continue
        model = read_model(path, trees=trees)
        if (model.strategy, model.symbol) != (strategy, symbol):
            _refuse(str(path), f"is the model of {model.symbol} for {model.strategy}, not of {symbol} for {strategy}")
        found[symbol] = model
    return found


def _encode(model: Model) -> bytes:
    return msgspec.msgpack.encode(model, order="deterministic")


def _digest(body: bytes) -> str:
    return hashlib.sha256(b"%d\n" % FORMAT + body).hexdigest()


def _check(model: Model, where: str) -> None:
    """Raises ModelError for what its numbers and names alone tell to be no model."""
    if not model.features or len(set(model.features)) != len(model.features):
        _refuse(
            where, f"has features {', '.join(model.features) or '(none)'}; each must be named once, and one at least"
        )
    if unknown := sorted(set(model.required) - set(model.features)):
        _refuse(where, f"requires {', '.join(unknown)}, not among its features")
    if not 0.0 <= model.threshold <= 1.0:
        _refuse(where, f"has threshold {model.threshold}; a score is 0 to 1")
    if wrong := [name for name, value in model.measures.items() if math.isinf(value)]:
        _refuse(where, f"has infinite {', '.join(wrong)}")
    sizes = {name: len(getattr(model, name)) / int(kind[-1]) for name, kind in _ARRAYS.items()}
    n = int(sizes["leaf"])
    if set(sizes.values()) != {n} or not 0 < model.n_trees <= n:
        _refuse(where, f"has {model.n_trees} trees in arrays of {sizes}; every node has one entry in each")


def _check_trees(model: Model, where: str) -> None:
    """Raises ModelError unless every walk ends in a leaf whose share is a share."""
    import numpy as np

    columns: dict[str, Any] = {name: np.frombuffer(getattr(model, name), kind) for name, kind in _ARRAYS.items()}
    n = len(columns["leaf"])
    left, right, own = columns["left"], columns["right"], np.arange(n)
    leaves = left == _LEAF
    feature, inner = columns["feature"], ~leaves
    # A child after its parent, and no child twice: a walk cannot turn in a circle.
    children = np.concatenate([left[inner], right[inner]])
    sound = (
        np.all(right[leaves] == _LEAF)
        and np.all(np.minimum(left, right)[inner] > own[inner])
        and np.array_equal(np.sort(children), np.arange(model.n_trees, n))
        and np.all((feature[inner] >= 0) & (feature[inner] < len(model.features)))
    )
    if not sound:
        _refuse(where, "has nodes that are no trees")
    if not (
        np.all(np.isfinite(columns["cut"])) and np.all((columns["leaf"] >= 0.0) & (columns["leaf"] <= 1.0 + _ROUNDING))
    ):
        _refuse(where, "has a threshold that is no number, or a leaf outside 0 to 1")


def _refuse(where: str, what: str) -> NoReturn:
    raise ModelError(f"{where}: {what}; not used")
