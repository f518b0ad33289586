"""`rooney restore`: what a backup holds, back where this machine keeps its kind.

A backup may come from anywhere, and root restores it: its list says what is in it, never where anything may go, who may
own it or how much memory it takes. Nothing is restored before every byte of it was checked, and what a restore replaces
is put beside it, never deleted.
"""

import contextlib
import grp
import gzip
import hashlib
import os
import pwd
import re
import shutil
import tarfile
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from rooney.config.loader import Config
from rooney.files import MIB
from rooney.ledger.reader import check, created_ns, holder
from rooney.ops.backup import FORMAT, LEVELS, MANIFEST, BackupError, Kept, Kind, Manifest, model_folders, name_in_tar
from rooney.orders.control import mark_ledger
from rooney.paths import LOCAL_STRATEGIES, ledger_path

_STRATEGY = re.compile(r"[a-z0-9_]+")
_MAX_MANIFEST_BYTES = 16 * MIB  # of some 50,000 files
_MAX_HEADER_BYTES = 8_192  # of a path as long as Linux takes; tarfile keeps a header in memory, whatever size it says
_MAX_BYTES: dict[Kind, int] = {"ledger": 65_536 * MIB, "model": 1_024 * MIB}  # and 1 MiB of all others


class Places(msgspec.Struct, frozen=True):
    """Where this machine keeps what a backup holds, all absolute; nothing goes back to anywhere else.

    configuration: the file
    models:        folders with those of all strategies, bundles too
    """

    configuration: Path
    state: Path
    control: Path
    credentials: Path
    models: tuple[Path, ...]
    strategies: Path = LOCAL_STRATEGIES

    def folder_of(self, kept: Kept) -> Path | None:
        """The place that a file belongs to by its kind, None if it does not lie as files of its kind do."""
        path = Path(kept.path)
        parents = path.parents
        match kept.kind:
            case "ledger" if path == ledger_path(self.state, parents[0].name) and _STRATEGY.fullmatch(parents[0].name):
                return self.state
            case "switch" if self.control in parents[1:2] and path.name in LEVELS:
                return self.control
            case "configuration" if path == self.configuration:
                return path.parent
            case "strategy" if path.parent == self.strategies and path.suffix == ".py":
                return self.strategies
            case "secret" if self.credentials in parents:
                return self.credentials
            case "model":
                return next((folder for folder in self.models if folder in parents), None)
        return None


def places(file: Path, config: Config | None, state: Path, control: Path, credentials: Path) -> Places:
    """The places of a machine.

    file:   its configuration's
    config: that, read; None if there is none yet: models are then known in `models` beside it and in `bundles` only
    """
    own, state, control, credentials = (Path(os.path.abspath(path)) for path in (file, state, control, credentials))
    named = [Path(os.path.abspath(path)) for path in model_folders(config)] if config is not None else []
    return Places(own, state, control, credentials, (own.parent / "models", state / "bundles", *named))


def read_manifest(file: Path, places: Places, root: Path) -> Manifest:
    """Check the whole backup and say what it holds. root: `/`, or the directory that stands for it.

    Raises BackupError, for anything too that does not belong on this machine.
    """
    with _opened(file) as (manifest, tar, stream):
        _judge(file, manifest, places, root)
        for kept in manifest.files:
            for _ in _pieces(file, kept, tar, stream):
                pass
        with _named(file):
            if (extra := tar.next()) is not None:
                raise BackupError(f"{file}: {extra.name!r} is not in its manifest; nothing was restored")
    return manifest


class _Headers:
    """What tarfile reads itself of a stream: it takes the size of a header from the header before it."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._stream.read(size)


@contextlib.contextmanager
def _named(file: Path) -> Iterator[None]:
    """Whatever the libraries raise over a file's bytes, as BackupError."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BackupError(f"{file}: damaged or no backup: {error}; nothing was restored") from error
    except OSError as error:
        raise BackupError(f"{file}: {error.strerror or error}; nothing was restored") from error


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[tuple[Manifest, tarfile.TarFile, gzip.GzipFile]]:
    """The manifest, and where the first of its files begins. Raises BackupError."""
    with contextlib.ExitStack() as stack:
        with _named(file):
            stream = stack.enter_context(gzip.open(file))
            tar = tarfile.TarFile(fileobj=_Headers(stream))  # type: ignore[arg-type]  # it asks for no more
            first = tar.next()
            if first is None or first.name != MANIFEST or first.size > _MAX_MANIFEST_BYTES:
                raise BackupError(f"{file}: does not begin with {MANIFEST}, so it is no backup; nothing was restored")
            manifest = msgspec.json.decode(stream.read(first.size), type=Manifest)
            if manifest.format != FORMAT:
                raise BackupError(
                    f"{file}: a backup of format {manifest.format}, this rooney reads {FORMAT}; nothing was restored"
                )
        yield manifest, tar, stream


def _pieces(file: Path, kept: Kept, tar: tarfile.TarFile, stream: gzip.GzipFile) -> Iterator[bytes]:
    """The next file's bytes, checked when the last of them was given. Raises BackupError."""
    with _named(file):
        member = tar.next()
        if member is None or member.name != name_in_tar(kept):
            came = "its end" if member is None else repr(member.name)
            raise BackupError(f"{file}: expected {kept.path}, got {came}; nothing was restored")
        if member.type != tarfile.REGTYPE or member.issparse():
            raise BackupError(f"{file}: {kept.path} is a link, a device or no plain file; nothing was restored")
        left, digest = kept.size, hashlib.sha256()
        while left and member.size == kept.size and (piece := stream.read(min(left, MIB))):
            digest.update(piece)
            left -= len(piece)
            yield piece
        if left or member.size != kept.size or digest.hexdigest() != kept.sha256:
            raise BackupError(f"{file}: {kept.path} is not what was kept (checksum); nothing was restored")


def _judge(file: Path, manifest: Manifest, places: Places, root: Path) -> None:
    """Raises BackupError for a file that has no business where it would go, or for more than there is room for."""
    bytes_on: Counter[int] = Counter()  # by disk
    for kept, path in (paths := targets(manifest, root)):
        text = kept.path
        if not text.startswith("/") or text.startswith("//") or os.path.normpath(text) != text or "\0" in text:
            raise BackupError(f"{file}: {text!r} is no whole, plain path; nothing was restored")
        folder = places.folder_of(kept)
        if folder is None:
            raise BackupError(
                f"{file}: {text!r} is no place of a {kept.kind} by this machine's --config, --state-directory and "
                "--credentials; nothing was restored"
            )
        below = len(Path(text).parents) - len((folder / "x").parents)
        if link := next((each for each in list(path.parents)[:below] if each.is_symlink()), None):
            raise BackupError(f"{file}: {text!r} leads through {link}, which is a link; nothing was restored")
        if not 0 <= kept.size <= (most := _MAX_BYTES.get(kept.kind, MIB)):
            raise BackupError(f"{file}: {text!r} has {kept.size:,} of at most {most:,} bytes; nothing was restored")
        place = next(each for each in path.parents if each.is_dir())
        bytes_on[disk := place.stat().st_dev] += kept.size
        if bytes_on[disk] > (free := shutil.disk_usage(place).free):
            raise BackupError(
                f"{file}: needs {bytes_on[disk]:,} bytes or more in {place}, where {free:,} are free; "
                "nothing was restored"
            )
    if len({path for _, path in paths}) < len(paths):
        raise BackupError(f"{file}: names a file twice; nothing was restored")


def targets(manifest: Manifest, root: Path) -> list[tuple[Kept, Path]]:
    """Places the files go to. root: `/`, or the directory that stands for it."""
    return [(kept, root / kept.path.lstrip("/")) for kept in manifest.files]


def refuse(manifest: Manifest, root: Path, *, force: bool) -> None:
    """Raises BackupError if a worker works with a ledger to be replaced, or without `force` if a file is there."""
    for kept, path in targets(manifest, root):
        if kept.kind == "ledger" and holder(path) is not None:
            raise BackupError(f"{path}: a worker works with this ledger; stop it first. Nothing was restored")
        if os.path.lexists(path) and not force:
            raise BackupError(f"{path}: is there already (--force puts it aside); nothing was restored")


def restore(file: Path, places: Places, root: Path, *, force: bool) -> list[Path]:
    """Put everything back; the files that were put aside. Raises BackupError.

    All is unpacked and checked beside its place first; only then does a file take the place of another.
    """
    manifest = read_manifest(file, places, root)
    refuse(manifest, root, force=force)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    ready: list[tuple[Path, Path, Kept]] = []
    aside: list[Path] = []
    try:
        with _opened(file) as (again, tar, stream):
            if again != manifest:
                raise BackupError(f"{file}: was exchanged meanwhile; nothing was restored")
            for kept, path in targets(manifest, root):
                _make_directory(path.parent, kept)
                unfinished = path.with_name(f".{path.name}.{os.getpid()}")
                ready.append((unfinished, path, kept))
                _write(unfinished, _pieces(file, kept, tar, stream), kept)
                if kept.kind == "ledger":
                    check(unfinished)
        for unfinished, path, _ in ready:
            for old in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
                # A journal left beside another ledger would be folded into it.
                if os.path.lexists(old):
                    aside.append(old.rename(old.with_name(f"{old.name}.replaced-{stamp}")))
            unfinished.rename(path)
        for _, path, kept in ready:
            if kept.kind == "ledger":
                mark_ledger(root / places.control.relative_to("/"), path.parent.name, str(created_ns(path)))
    except OSError as error:
        raise BackupError(f"{error.filename or root}: {error.strerror}; restored in part, run it again") from error
    finally:
        for unfinished, _, _ in ready:
            unfinished.unlink(missing_ok=True)
    return aside


def _write(path: Path, pieces: Iterable[bytes], kept: Kept) -> None:
    """A new file, by its descriptor only: whoever owns the folder may exchange what lies at a path."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        for piece in pieces:
            file.write(piece)
        if os.geteuid() == 0:
            os.fchown(file.fileno(), *_owner(kept))
        os.fchmod(file.fileno(), kept.mode & (0o600 if kept.kind == "secret" else 0o664))
        file.flush()
        os.fsync(file.fileno())


def _make_directory(path: Path, kept: Kept) -> None:
    """A directory and those above it, each new one as the units would make it."""
    if path.is_dir():
        return
    _make_directory(path.parent, kept)
    path.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(path, *_owner(kept), follow_symlinks=False)
    path.chmod({"secret": 0o700, "switch": 0o770}.get(kept.kind, 0o755 if kept.mode & 0o004 else 0o750))


def _owner(kept: Kept) -> tuple[int, int]:
    """User and group of a file again where they are ours, a ledger's its strategy's own; -1: whoever restores."""
    users = {user.pw_name: user.pw_uid for user in pwd.getpwall()}
    groups = {group.gr_name: group.gr_gid for group in grp.getgrall()}
    user = kept.owner.partition("-")[0]  # rooney-ibs is rooney where strategies have no users
    uid = users.get(user, -1) if user in ("root", "rooney") else -1
    if kept.kind == "ledger" and user == "rooney":
        uid = users.get(f"rooney-{Path(kept.path).parent.name}", uid)
    return uid, groups.get(kept.group, -1) if kept.group in ("root", "rooney") else -1
