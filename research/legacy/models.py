"""Models of the old system: `SYMBOL_rf_model.pkl` with `SYMBOL_best.json` → a model file, in research only.

The pickle is read by `research.legacy.unpickle` in a process of its own; what comes back is data and is checked like a
model file. Features keep the old system's numbers (`NAME_v1`), a missing one counts as 0, and a cross score that is not
warm gives no score, all as it was (old system §3.1, §3.3). The old models' scaler was never saved: what they were
fitted on had another scale than what they were asked about, so expect nothing of their scores.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from research.legacy import unpickle
from rooney.config.settings import StrategyConfig
from rooney.errors import ConfigError, FileError, ModelError, StrategyError
from rooney.features import ALIASES, catalogue
from rooney.files import MIB, read_bytes, read_text
from rooney.models.forest import Model, path_of, to_bytes, write_model

_TIMEOUT_S = 120.0
_POINTER = b"version https://git-lfs"
_ARRAYS = ("feature", "left", "right", "cut", "leaf")


def read_old(pickle: Path, strategy: str, symbol: str) -> Model:
    """An old model. Raises ModelError, naming the file and what is wrong with it."""
    try:
        content = read_bytes(pickle, 256 * MIB, then="not imported")
    except FileError as error:
        raise ModelError(str(error)) from None
    if content.startswith(_POINTER):
        raise ModelError(f"{pickle}: is a Git LFS pointer, not the model; fetch the file itself")
    threshold, listed = _best(pickle.with_name(f"{symbol}_best.json"))
    found = _isolated(pickle)
    names = listed or found["names"] or []
    if len(names) != found["n_features"]:
        raise ModelError(f"{pickle}: has {found['n_features']} features, and {len(names)} are named")
    features = old_names(names, pickle)
    model = Model(
        strategy=strategy,
        symbol=symbol,
        features=features,
        threshold=threshold,
        n_trees=found["n_trees"],
        span=(0, 0),
        missing="zero",
        required=tuple(name for name in features if catalogue(name).kernel == "cross_z_v1"),
        made_from={"pickle": hashlib.sha256(content).hexdigest()},
        versions={"scikit-learn": found["version"]},
        **{name: found[name] for name in _ARRAYS},
    )
    to_bytes(model)
    return model


def old_names(names: Sequence[str], where: Path) -> tuple[str, ...]:
    """The catalogue's names of what an old model read. Raises ModelError for one it does not know."""
    keys = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in names]
    asked = {ALIASES.get(key, key) for key in keys}
    found = []
    for key in keys:
        # Products were 0 unless the model asked for both of their factors by name.
        first, _, second = ALIASES.get(key, key).partition("x")
        both = first == "rsi" and second in ("atrz", "volz") and {first, second} <= asked
        name = f"{key}_asked_v1" if both else f"{key}_v1"
        try:
            catalogue(name)
        except StrategyError as error:
            raise ModelError(f"{where}: {error}; not imported") from error
        found.append(name)
    return tuple(found)


def _best(path: Path) -> tuple[float, list[str]]:
    """(Prod_Threshold, Features) of SYMBOL_best.json, spelled exactly so as the old loader read them."""
    try:
        best = json.loads(read_text(path))  # with Infinity and NaN, as Python wrote it
        return float(best["Prod_Threshold"]), [str(name) for name in best.get("Features", [])]
    except (FileError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: no Prod_Threshold and Features to be read: {error!r}; not imported") from error


def _isolated(pickle: Path) -> dict[str, Any]:
    """Content of a file as `research.legacy.unpickle` reads it, in a process without environment, files or children."""
    argv = [sys.executable, "-I", str(Path(unpickle.__file__)), str(pickle.resolve())]
    try:
        done = subprocess.run(argv, env={}, cwd="/", capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{pickle}: was not read within {_TIMEOUT_S:.0f} s; not imported") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"its reader ended with {done.returncode}"]
        raise ModelError(f"{pickle}: {said[-1]}; not imported")
    found: dict[str, Any] = msgspec.msgpack.decode(done.stdout)
    return found


def pickles_in(source: Path) -> list[Path]:
    """Files of old models. Raises ConfigError if there is none."""
    pickles = sorted(source.glob("*_rf_model.pkl"))
    if not pickles:
        raise ConfigError(f"{source}: no SYMBOL_rf_model.pkl there")
    return pickles


def import_models(pickles: Sequence[Path], to: Path, strategy: StrategyConfig) -> dict[str, str]:
    """Write a model file of each pickle that can be read; returns by symbol what it is, or `not imported: …`."""
    outcomes: dict[str, str] = {}
    for pickle in pickles:
        symbol = pickle.name.removesuffix("_rf_model.pkl")
        try:
            model = read_old(pickle, Path(strategy.strategy).stem, symbol)
            write_model(model, path_of(to, symbol))
            outcomes[symbol] = f"{model.n_trees} trees, {len(model.features)} features, threshold {model.threshold}"
        except ModelError as error:
            outcomes[symbol] = f"not imported: {error}"
    return outcomes
