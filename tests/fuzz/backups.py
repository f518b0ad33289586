"""Backups: root restores them, and they come from anywhere. Damaged are the file and the tar in it."""

import gzip
import tempfile
from collections import Counter
from pathlib import Path

from rooney.ops.backup import BackupError
from rooney.ops.restore import read_manifest
from tests.support.backups import archive, entry, places, plain
from tests.support.mutations import Reader, sweep


def run(cases: int, seed: int) -> Counter[str]:
    """Tally by reader and verdict."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm") as folder:
        root, file = Path(folder), Path(folder) / "backup.tgz"
        here = places(root)
        contents = [
            ("switch", here.control / "ibs" / "halt", b"{}"),
            ("strategy", here.strategies / "ibs.py", b"# rules\n" * 100),
            ("model", here.models[0] / ("long-" * 40) / "ES.model", bytes(range(256))),  # with a header of its own
        ]
        archive(file, ((entry(kind, path, data), data) for kind, path, data in contents))

        def read(content: bytes) -> None:
            file.write_bytes(content)
            read_manifest(file, here, Path("/"))

        readers = {
            "backup": Reader(valid=[file.read_bytes()], read=read, errors=(BackupError,)),
            "tar in it": Reader(
                valid=[plain(file)], read=lambda tar: read(gzip.compress(tar, compresslevel=1)), errors=(BackupError,)
            ),
        }
        return sweep(readers, cases, seed)
