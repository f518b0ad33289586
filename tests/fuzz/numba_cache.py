"""Machine code in the JIT's cache: loaded as it was written, or compiled anew; what is damaged is never unpickled."""

import tempfile
from collections import Counter
from pathlib import Path

from rooney.kernels.jit import SealedCacheFile
from tests.support.mutations import Reader, sweep

KEY = ("signature", ("x86_64", "generic"), ("hash", "hash"))
CODE = {"object": b"\x7fELF" + bytes(2_000), "signatures": [("float64", 3)]}


def run(cases: int, seed: int) -> Counter[str]:
    """Tally by reader and verdict."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm") as folder:
        return sweep({kind: _reader(Path(folder) / kind, f".{kind}") for kind in ("nbi", "nbc")}, cases, seed)


def _reader(folder: Path, suffix: str) -> Reader:
    folder.mkdir()
    cache = SealedCacheFile(str(folder), "kernel-1.py311", (1.0, 2))
    cache.save(KEY, CODE)
    (path,) = folder.glob(f"*{suffix}")
    content = path.read_bytes()

    def read(damaged: bytes) -> None:
        path.write_bytes(damaged)
        found = cache.load(KEY)
        assert found in (None, CODE)
        if found is None:
            raise Miss

    return Reader(valid=[content], read=read, errors=(Miss,))


class Miss(Exception):
    """Nothing that can be loaded."""
