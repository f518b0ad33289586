"""`rooney backup` and `rooney restore`: one file with all that cannot be had again, and the way back.

A backup is a tar.gz: `manifest.json` first, then every file under `files/` with its whole path. Ledgers are copied
through SQLite, so a worker may go on writing. Bars are not in it: the hub has them from the exchange's history again.
Nothing is restored before every byte of it was checked, and what a restore replaces is put beside it, never deleted.
"""

import hashlib
import io
import os
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from rooney import __version__
from rooney.config.loader import Config
from rooney.errors import ConfigError, RooneyError
from rooney.files import replacing, write_whole
from rooney.ledger.reader import check, copy, created_ns, holder
from rooney.orders.control import Level, mark_ledger
from rooney.paths import LEDGER, ledger_names

FORMAT = 1
STRATEGY_FILES = Path("/etc/rooney/strategies")
_MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 64 << 20

Kind = Literal["ledger", "configuration", "strategy", "model", "switch", "secret"]


class BackupError(RooneyError):
    """A backup cannot be written, read or trusted; the message names the file and says what was done."""


class Item(msgspec.Struct, frozen=True):
    """A file to keep. path: absolute, and where it goes back to."""

    kind: Kind
    path: Path


class Kept(msgspec.Struct, frozen=True):
    """A file in a backup. mode: permission bits; owner, group: names, empty if they had none."""

    kind: Kind
    path: str
    size: int
    sha256: str
    mode: int
    owner: str
    group: str


class Manifest(msgspec.Struct, frozen=True):
    """Contents of a backup. ts_ns: when it was made, UTC ns."""

    format: int
    rooney: str
    ts_ns: int
    with_secrets: bool
    files: tuple[Kept, ...]


# ── what to keep ──


def collect(
    config: Config,
    state: Path,
    control: Path,
    credentials: Path | None,
    *,
    with_secrets: bool,
    strategies: Path = STRATEGY_FILES,
) -> list[Item]:
    """Every file worth keeping. Raises ConfigError if the configuration itself holds a secret and none are wanted.

    state, control: their directories; strategies: of the user's own strategy files
    credentials:    where the units' are, None if that cannot be read
    """
    if not with_secrets:
        _refuse_literal_secrets(config)
    found = [Item("ledger", state / name / LEDGER) for name in ledger_names(state)]
    found.append(Item("configuration", config.path))
    found += [Item("strategy", path) for path in sorted(strategies.glob("*.py"))]
    for name in config.names:
        block = config.block(name)
        for folder in (block.models_path, block.bundle):
            if folder is not None and (config.path.parent / folder).is_dir():
                found += [Item("model", path) for path in _files(config.path.parent / folder)]
    levels = [level.value for level in Level]
    found += [Item("switch", path) for path in sorted(control.glob("*/*")) if path.name in levels]
    if with_secrets and credentials is not None:
        found += [Item("secret", path) for path in _files(credentials)]
    whole = [Item(item.kind, Path(os.path.abspath(item.path))) for item in found]
    return list({item.path: item for item in whole}.values())


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _refuse_literal_secrets(config: Config) -> None:
    named = {"databento.api_key": config.file.databento.api_key}
    for name, block in config.file.strategies.items():
        for key in ("broker_account", "paper_account"):
            secret = getattr(block, key)
            if secret is not None:
                named[f"strategies.{name}.{key}"] = secret
    for path, secret in named.items():
        if secret.literal:
            raise ConfigError(
                f"{path}: the configuration file holds the secret itself, so it is kept only with --with-secrets "
                "(or write ${NAME} there); nothing was written"
            )


# ── out ──


def backup(items: Iterable[Item], out: Path, *, with_secrets: bool) -> Manifest:
    """Write a new file that only this user can read. Raises BackupError, LedgerError."""
    if out.exists():
        raise BackupError(f"{out}: there is such a file already; nothing was written")
    try:
        with tempfile.TemporaryDirectory(prefix="rooney-backup-") as scratch, replacing(out) as unfinished:
            kept = [_keep(item, Path(scratch) / str(n)) for n, item in enumerate(items)]
            manifest = Manifest(FORMAT, __version__, time.time_ns(), with_secrets, tuple(one for one, _ in kept))
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
                _add(tar, _MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
                for one, source in kept:
                    _add(tar, _name(one), source.read_bytes())
    except OSError as error:
        raise BackupError(f"{error.filename or out}: {error.strerror}; no backup was written") from error
    return manifest


def _keep(item: Item, scratch: Path) -> tuple[Kept, Path]:
    """A file's description and where its bytes are: a copy, so that both belong together whatever happens meanwhile."""
    if item.kind == "ledger":
        copy(item.path, scratch)
    else:
        shutil.copyfile(item.path, scratch)
    stat = item.path.stat()
    data = scratch.read_bytes()
    owner, group = _name_of(item.path.owner), _name_of(item.path.group)
    digest = hashlib.sha256(data).hexdigest()
    return Kept(item.kind, str(item.path), len(data), digest, stat.st_mode & 0o777, owner, group), scratch


def _name_of(owner: Callable[[], str]) -> str:
    try:
        return owner()
    except KeyError:  # of a number that no user or group has
        return ""


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(data), 0o600, time.time_ns() // 1_000_000_000
    tar.addfile(member, io.BytesIO(data))


def _name(kept: Kept) -> str:
    return "files" + kept.path


# ── back ──


def read_manifest(file: Path) -> Manifest:
    """Check the whole backup and say what it holds. Raises BackupError."""
    manifest = None
    for kept, data in _contents(file):
        manifest = kept if data is None else manifest
    assert isinstance(manifest, Manifest)
    return manifest


def _contents(file: Path) -> Iterator[tuple[Manifest, None] | tuple[Kept, bytes]]:
    """The manifest, then every file it names with its checked bytes. Raises BackupError."""
    try:
        with tarfile.open(file, mode="r:gz") as tar:
            first = tar.next()
            if first is None or first.name != _MANIFEST or first.size > _MAX_MANIFEST_BYTES:
                raise BackupError(f"{file}: does not begin with {_MANIFEST}, so it is no backup; nothing was restored")
            manifest = msgspec.json.decode(_bytes(tar, first), type=Manifest)
            if manifest.format != FORMAT:
                raise BackupError(
                    f"{file}: a backup of format {manifest.format}, this rooney reads {FORMAT}; nothing was restored"
                )
            yield manifest, None
            for kept in manifest.files:
                _refuse_odd_path(file, kept)
                member = tar.next()
                if member is None or member.name != _name(kept) or not member.isreg():
                    came = "its end" if member is None else repr(member.name)
                    raise BackupError(f"{file}: expected {kept.path}, got {came}; nothing was restored")
                data = _bytes(tar, member)
                if len(data) != kept.size or hashlib.sha256(data).hexdigest() != kept.sha256:
                    raise BackupError(f"{file}: {kept.path} is not what was kept (checksum); nothing was restored")
                yield kept, data
            if (extra := tar.next()) is not None:
                raise BackupError(f"{file}: {extra.name!r} is not in its manifest; nothing was restored")
    except (tarfile.TarError, EOFError, zlib.error, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackupError(f"{file}: damaged or no backup: {error}; nothing was restored") from error
    except OSError as error:
        raise BackupError(f"{file}: {error.strerror or error}; nothing was restored") from error


def _bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file is not None else b""


def _refuse_odd_path(file: Path, kept: Kept) -> None:
    if not kept.path.startswith("/") or kept.path.startswith("//") or os.path.normpath(kept.path) != kept.path:
        raise BackupError(f"{file}: {kept.path!r} is no whole, plain path; nothing was restored")


def targets(manifest: Manifest, root: Path) -> list[tuple[Kept, Path]]:
    """Places the files go to. root: `/`, or the directory that stands for it."""
    return [(kept, root / kept.path.lstrip("/")) for kept in manifest.files]


def refuse(manifest: Manifest, root: Path, *, force: bool) -> None:
    """Raises BackupError if a worker works with a ledger to be replaced, or without `force` if a file is there."""
    for kept, path in targets(manifest, root):
        if kept.kind == "ledger" and holder(path) is not None:
            raise BackupError(f"{path}: a worker works with this ledger; stop it first. Nothing was restored")
        if path.exists() and not force:
            raise BackupError(f"{path}: is there already (--force puts it aside); nothing was restored")


def restore(file: Path, root: Path, *, force: bool) -> list[Path]:
    """Put everything back; the files that were put aside. Raises BackupError.

    All is unpacked and checked beside its place first; only then does a file take the place of another.
    """
    manifest = read_manifest(file)
    refuse(manifest, root, force=force)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    ready: list[tuple[Path, Path, Kept]] = []
    aside: list[Path] = []
    try:
        for kept, data in _contents(file):
            if data is None or isinstance(kept, Manifest):
                continue
            path = root / kept.path.lstrip("/")
            _make_directory(path.parent, kept)
            unfinished = path.with_name(f".{path.name}.{os.getpid()}")
            ready.append((unfinished, path, kept))
            _write(unfinished, data, kept)
            if kept.kind == "ledger":
                check(unfinished)
        for unfinished, path, _ in ready:
            for old in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
                # A journal left beside another ledger would be folded into it.
                if old.exists():
                    aside.append(old.rename(old.with_name(f"{old.name}.replaced-{stamp}")))
            unfinished.rename(path)
        for _, path, kept in ready:
            if kept.kind == "ledger":
                mark_ledger(path.parent.parent / "control", path.parent.name, str(created_ns(path)))
    except OSError as error:
        raise BackupError(f"{error.filename or root}: {error.strerror}; restored in part, run it again") from error
    finally:
        for unfinished, _, _ in ready:
            unfinished.unlink(missing_ok=True)
    return aside


def _write(path: Path, data: bytes, kept: Kept) -> None:
    write_whole(path, data, mode=0o600, synced=True)
    _own(path, kept)
    path.chmod(kept.mode)


def _make_directory(path: Path, kept: Kept) -> None:
    """A directory and those above it, each new one as the units would make it."""
    if path.is_dir():
        return
    _make_directory(path.parent, kept)
    path.mkdir()
    _own(path, kept)
    path.chmod({"secret": 0o700, "switch": 0o770}.get(kept.kind, 0o755 if kept.mode & 0o004 else 0o750))


def _own(path: Path, kept: Kept) -> None:
    """Give a file to whom it belonged; only root can."""
    if os.geteuid() != 0:
        return
    for name, column in ((kept.owner, "user"), (kept.group, "group")):
        try:
            shutil.chown(path, **{column: name})
        except LookupError:
            continue  # nobody of that name on this machine
