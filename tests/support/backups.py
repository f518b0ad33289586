"""Backups made by hand, as nobody's `rooney backup` would write them."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from rooney.ops.backup import FORMAT, Kept, Kind, Manifest
from rooney.ops.restore import Places


def places(directory: Path) -> Places:
    """Where a machine keeps everything, below one directory."""
    etc, state = directory / "etc", directory / "state"
    folders = (etc / "models", state / "bundles")
    return Places(etc / "config.yml", state, state / "control", etc / "credentials", folders, etc / "strategies")


def entry(kind: Kind, path: object, data: bytes = b"", mode: int = 0o600, owner: str = "", group: str = "") -> Kept:
    """What a manifest says of a file with these bytes."""
    return Kept(kind, str(path), len(data), hashlib.sha256(data).hexdigest(), mode, owner, group)


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    """A tar's header."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info


def archive(path: Path, files: Iterable[tuple[Kept, bytes]]) -> Path:
    """A backup of these files, whatever the manifest says of them."""
    files = list(files)
    listed = msgspec.json.encode(Manifest(FORMAT, "0", 0, False, tuple(kept for kept, _ in files)))
    named = [("manifest.json", listed), *((f"files{kept.path}", data) for kept, data in files)]
    return raw(path, ((member(name, len(data)), data) for name, data in named))


def raw(path: Path, members: Iterable[tuple[tarfile.TarInfo, bytes | Iterator[bytes]]]) -> Path:
    """A tar.gz of headers and what follows each, in pieces where it is long."""
    with gzip.open(path, "wb", compresslevel=1) as out:
        for info, data in members:
            out.write(info.tobuf(tarfile.GNU_FORMAT))
            for piece in [data] if isinstance(data, bytes) else data:
                out.write(piece)
            out.write(bytes(-info.size % tarfile.BLOCKSIZE))
        out.write(bytes(2 * tarfile.BLOCKSIZE))
    return path


def plain(path: Path) -> bytes:
    """The tar in a tar.gz."""
    with gzip.open(path) as file:
        return io.BytesIO(file.read()).getvalue()
