"""Vetoes of entries, logistic models and forests, and their arrays for the step."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rooney.kernels import dtypes
from rooney.kernels.codes import VetoKind
from rooney.models.forest import Model, NoModel


class Logistic(msgspec.Struct, frozen=True):
    """A veto: an entry passes with a score of at least `threshold`; see `rooney.kernels.entries.score`.

    features: (name, required, mean, deviation, weight) of each input
    """

    features: tuple[tuple[str, bool, float, float, float], ...]
    intercept: float
    clip: float
    threshold: float


Veto = Logistic | Model | NoModel


def model_field(name: str) -> str:
    """Field of the values that holds a model's feature."""
    return "model_" + re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def veto_arrays(
    vetoes: Mapping[str, Veto], index: Mapping[str, int], columns: Mapping[str, int]
) -> tuple[NDArray[np.void], NDArray[np.void], NDArray[np.void]]:
    """VETO per instrument, VETO_INPUT of all of them, NODE of all forests. columns: of the values, by field."""
    found = np.zeros(len(index), dtypes.VETO)
    inputs: list[tuple[Any, ...]] = []
    forests = [np.zeros(0, dtypes.NODE)]
    n_nodes = 0
    for symbol, veto in vetoes.items():
        record = found[index[symbol]]
        record["first"] = len(inputs)
        if isinstance(veto, NoModel):
            record["kind"] = VetoKind.ABSENT
            continue
        record["count"], record["threshold"] = len(veto.features), veto.threshold
        if isinstance(veto, Logistic):
            record["kind"], record["intercept"], record["clip"] = VetoKind.LOGISTIC, veto.intercept, veto.clip
            inputs += [(columns[name], *rest) for name, *rest in veto.features]
            continue
        record["kind"], record["first_node"], record["n_trees"] = VetoKind.FOREST, n_nodes, veto.n_trees
        own = [columns[model_field(name)] for name in veto.features]
        needed = [veto.missing == "veto" or name in veto.required for name in veto.features]
        inputs += [(column, required, 0.0, 1.0, 0.0) for column, required in zip(own, needed, strict=True)]
        nodes = veto.nodes()
        nodes["feature"] = np.array(own, np.int32)[np.where(nodes["left"] < 0, 0, nodes["feature"])]
        forests.append(nodes)
        n_nodes += len(nodes)
    return found, np.array(inputs, dtypes.VETO_INPUT), np.concatenate(forests)
