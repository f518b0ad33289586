"""`python -I unpickle.py FILE`: read one old model in a process that can do nothing else, and print its arrays.

A pickle names what it wants built; this reader builds scikit-learn's forests and trees and numpy's arrays, and refuses
any other name before it is looked up. The process has no environment, may write no file, start no process, and has a
minute and 4 GiB. Standard output gets one MessagePack map.
"""

import pickle
import resource
import sys
from pathlib import Path
from typing import Any

MEMORY_BYTES, CPU_S = 4 << 30, 60
MODULES = (
    "sklearn.ensemble._forest",
    "sklearn.tree._classes",
    "sklearn.tree._tree",
    "joblib.numpy_pickle",
    "research.models.forest",
)
NAMES = {
    "sklearn.ensemble._forest": {"RandomForestClassifier", "ExtraTreesClassifier"},
    "sklearn.tree._classes": {"DecisionTreeClassifier", "ExtraTreeClassifier"},
    "sklearn.tree._tree": {"Tree"},
    "joblib.numpy_pickle": {"NumpyArrayWrapper"},
    "numpy": {"ndarray", "dtype", "float64", "float32", "int64", "int32", "bool_"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "collections": {"OrderedDict"},
}


def main(path: Path) -> int:
    """0, or 1 with a line on standard error."""
    import msgspec

    try:
        found = describe(path)
    except Exception as error:  # noqa: BLE001 - whatever a foreign file makes of its reader
        said = str(error) if type(error) is ValueError else f"no pickle of a forest ({type(error).__name__}: {error})"
        print(" ".join(said.split())[:500], file=sys.stderr)
        return 1
    sys.stdout.buffer.write(msgspec.msgpack.encode(found))
    return 0


def describe(path: Path) -> dict[str, Any]:
    """Arrays of the forest for class 1 (the last one if there is no 1), its features if it names any, its version."""
    from research.models.forest import arrays, flatten

    held = _load(path)
    features = None
    if isinstance(held, dict):
        if "model" not in held:
            raise ValueError(f"a mapping of {sorted(map(str, held))}, without 'model'")
        features, held = held.get("features"), held["model"]
    if not hasattr(held, "estimators_"):
        raise ValueError(f"a {type(held).__name__}, no fitted forest")
    if features is None:
        features = getattr(held, "feature_names_in_", None)
    classes = held.classes_.tolist()
    found: dict[str, Any] = dict(arrays(flatten(held, 1 if 1 in classes else classes[-1])))
    found["n_trees"] = len(held.estimators_)
    found["n_features"] = int(held.n_features_in_)
    found["names"] = None if features is None else [str(name) for name in features]
    found["version"] = str(getattr(held, "_sklearn_version", "unknown"))
    return found


def _load(path: Path) -> Any:
    from joblib import numpy_pickle

    class Wrapper(numpy_pickle.NumpyArrayWrapper):  # type: ignore[misc]
        def read_array(self, unpickler: Any, *options: Any) -> Any:
            """Arrays of objects are a pickle within the pickle, which joblib would read without asking."""
            if not self.dtype.hasobject:
                return super().read_array(unpickler, *options)
            return Inner(unpickler.file_handle).load()

    class Inner(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return super().find_class(*_allowed(module, name))

    class Reader(numpy_pickle.NumpyUnpickler):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> Any:
            found = super().find_class(*_allowed(module, name))
            return Wrapper if found is numpy_pickle.NumpyArrayWrapper else found

    with path.open("rb") as file, numpy_pickle._validate_fileobject_and_memmap(file, str(path), None) as (found, _):
        if isinstance(found, str):
            raise ValueError("it was written by a joblib before 0.10")
        return Reader(str(path), found, ensure_native_byte_order=True).load()


def _allowed(module: str, name: str) -> tuple[str, str]:
    if name not in NAMES.get(module, ()):
        raise ValueError(f"it wants {module}.{name}, which is no part of a forest")
    return module, name


def confine() -> None:
    """Before the file is opened, after everything is imported."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC):
        resource.setrlimit(limit, (0, 0))


if __name__ == "__main__":
    import importlib

    for _module in MODULES:
        importlib.import_module(_module)
    confine()
    sys.exit(main(Path(sys.argv[1])))
