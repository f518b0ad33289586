"""Bundles: a configuration that trades by one, what was trained for it, and its promotion."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.models.forest import arrays
from rooney.cli.models import run_promote
from rooney.cli.options import Call
from rooney.config.loader import Config, load_config
from rooney.engine.model_checks import parameters_digest
from rooney.kernels.dtypes import NODE
from rooney.models.forest import UNCONFIRMED, Model, path_of, write_model
from rooney.strategy.digest import code_digests
from tests.support.engines import SCRIPTED

FEATURES = ("weekday",)  # one set for the whole file: a step is compiled once for it
GOOD = {
    "deflated_sharpe": 0.99,
    "overfitting": 0.05,
    "paths": 5.0,
    "path_share": 1.0,
    "kept_trades": 200.0,
    "final_kept": 60.0,
    "final_sharpe_probability": 0.95,
}


def config(folder: Path, **block: Any) -> Config:
    """A configuration with one strategy, `a`, that trades by what is promoted in its folder."""
    given = {"strategy": SCRIPTED, "mode": "dry", "instruments": ["ES", "NQ"], "bundle": "bundles", **block}
    path = folder / "config.yml"
    text = {"instruments": {"ES": {}, "NQ": {}}, "strategies": {"a": {k: v for k, v in given.items() if v is not None}}}
    path.write_text(json.dumps(text))
    return load_config(path, environ={})


def training(folder: Path, one: Config, votes: float = 1.0, **changes: dict[str, Any]) -> Path:
    """The folder of a training that holds: per instrument a forest of one leaf. changes: of an instrument's facts."""
    strategy = one.wanted("a")
    node = np.zeros(1, NODE)
    node["left"] = node["right"] = -1
    node["leaf"] = votes
    told = {}
    for symbol in strategy.traded:
        facts = {"confirmed": True, "reasons": [], "measures": GOOD} | changes.get(symbol, {})
        made_from = {"parameters": parameters_digest(strategy, symbol), **code_digests(SCRIPTED, FEATURES)}
        model = Model(
            strategy="scripted",
            symbol=symbol,
            features=FEATURES,
            threshold=0.5,
            n_trees=1,
            span=(0, 1),
            made_from=made_from,
            **arrays(node),
        )
        write_model(model, path_of(folder if facts["confirmed"] else folder / UNCONFIRMED, symbol))
        told[symbol] = facts | {"sha256": model.digest()}
    (folder / "training.json").write_text(json.dumps({"instruments": told, "more": "is not read"}))
    return folder


def promoted(one: Config, source: Path, despite: str = "", **extra: Path) -> int:
    """Promote it; the exit status."""
    call = Call()
    call.as_json = True
    with pytest.raises(SystemExit) as ended:
        run_promote(call, one, "a", source, extra, despite, dry_run=False)
    return int(str(ended.value.code))
