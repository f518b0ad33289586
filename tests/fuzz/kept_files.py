"""Files that one part of rooney keeps for another: verdicts, promises, outboxes, golden files, models, searches."""

import struct
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from research.backtest import golden
from rooney.alerts.outbox import Posted, of_directory
from rooney.errors import ConfigError, LedgerError, ModelError
from rooney.models.forest import Model, from_bytes, to_bytes
from rooney.monitor.heartbeat import Beat, read_beat
from rooney.orders.notices import Notice, Turn
from rooney.performance.drift import Expectation
from rooney.performance.store import read
from tests.support.mutations import Reader, sweep

MODEL = Model(
    strategy="ibs",
    symbol="ES",
    features=("ibs",),
    threshold=0.5,
    n_trees=1,
    span=(1, 2),
    feature=struct.pack("<3i", 0, -1, -1),
    left=struct.pack("<3i", 1, -1, -1),
    right=struct.pack("<3i", 2, -1, -1),
    cut=struct.pack("<3d", 0.5, 0.0, 0.0),
    leaf=struct.pack("<3d", 0.0, 0.25, 0.75),
    made_from={},
    versions={},
)
EXPECTATION = Expectation("ibs", "out", 1, 50, 0.5, 10.0, 3.0, ((1.0, 2.0),))
POSTED = Posted(7, [("ibs", Notice("report", Turn.NEWS, 25, "all is well"))])
GOLDEN = golden.File("0" * 64, {})


def run(cases: int, seed: int) -> Counter[str]:
    """Tally by reader and verdict."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm") as folder:
        root = Path(folder)

        def at(name: str, look: Callable[[Path], object]) -> Callable[[bytes], object]:
            path = root / name / name
            path.parent.mkdir()

            def written(content: bytes) -> object:
                path.write_bytes(content)
                return look(path)

            return written

        readers = {
            "promise": Reader(
                valid=[msgspec.json.encode(EXPECTATION)], read=at("ibs.expectation.json", read), errors=(LedgerError,)
            ),
            "outbox": Reader(
                valid=[msgspec.json.encode(POSTED)],
                read=at("7.json", lambda path: of_directory(path.parent, 0)),
                errors=(),
            ),
            "beat": Reader(
                valid=[msgspec.json.encode(Beat(1, {"slack": "gone"}))],
                read=at("beat.json", lambda path: read_beat(path.parent)),
                errors=(),
            ),
            "golden": Reader(
                valid=[msgspec.json.encode(GOLDEN)], read=at("golden.json", golden.read), errors=(ConfigError,)
            ),
            "model": Reader(
                valid=[to_bytes(MODEL)], read=lambda content: from_bytes(content, "ES.model"), errors=(ModelError,)
            ),
        }
        return sweep(readers, cases, seed)
