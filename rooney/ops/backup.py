"""`rooney backup`: one file with all that cannot be had again.

A backup is a tar.gz: `manifest.json` first, then every file under `files/` with its whole path. Ledgers are copied
through SQLite, so a worker may go on writing. Bars are not in it: the hub has them from the exchange's history again.
`rooney.ops.restore` is the way back.
"""

import hashlib
import io
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import msgspec

from rooney import __version__
from rooney.config.loader import Config
from rooney.errors import ConfigError, RooneyError
from rooney.files import replacing
from rooney.ledger.reader import copy
from rooney.orders.control import Level
from rooney.paths import LEDGER, LOCAL_STRATEGIES, ledger_names

FORMAT = 1
MANIFEST = "manifest.json"
LEVELS = tuple(level.value for level in Level)

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


def collect(
    config: Config,
    state: Path,
    control: Path,
    credentials: Path | None,
    *,
    with_secrets: bool,
    strategies: Path = LOCAL_STRATEGIES,
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
    found += [Item("model", path) for folder in model_folders(config) for path in _files(folder)]
    found += [Item("switch", path) for path in sorted(control.glob("*/*")) if path.name in LEVELS]
    if with_secrets and credentials is not None:
        found += [Item("secret", path) for path in _files(credentials)]
    whole = [Item(item.kind, Path(os.path.abspath(item.path))) for item in found]
    return list({item.path: item for item in whole}.values())


def model_folders(config: Config) -> list[Path]:
    """Folders of models and bundles that the strategies' blocks name, there or not."""
    blocks = [config.block(name) for name in config.names]
    return [config.path.parent / each for block in blocks for each in (block.models_path, block.bundle) if each]


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
                _add(tar, MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
                for one, source in kept:
                    _add(tar, name_in_tar(one), source.read_bytes())
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


def name_in_tar(kept: Kept) -> str:
    """Name of a file's member."""
    return "files" + kept.path
