"""The reference strategy here: its file, the configuration of `reference.yml`, and the scan of every backtest.

Timed is `research.backtest.backtest`'s own loop over chunks of history that lie in memory, as `Result.engine_s` is.
"""

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bench.peers import bars as market
from research.backtest.backtest import Scan
from research.history.history import History
from rooney.config.loader import load_config
from rooney.engine.build import build_engine

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # as the scripts in other environments find it

import stopwatch  # noqa: E402

FIELDS = ("instrument", "entry_ts", "entry_price", "exit_ts", "exit_price")


def prepare(bars):
    with tempfile.TemporaryDirectory(prefix="rooney-peers-") as folder:
        history = History(market.write(bars, Path(folder))[1], market.ROOTS)
        chunks = list(history.chunks())
    chosen = f"strategies.reference.strategy={HERE / 'reference.py'}"
    scan = Scan(build_engine(load_config(HERE / "reference.yml", [chosen]).strategy("reference")), history)

    def run():
        for chunk in chunks:
            scan.step(chunk)
        found = scan.closed()
        return zip(*(found[name] for name in FIELDS), strict=True)

    return run


if __name__ == "__main__":
    np.seterr(invalid="ignore")
    stopwatch.main(prepare, version("rooney"))
