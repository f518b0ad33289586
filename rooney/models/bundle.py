"""A bundle: what was promoted to trade one strategy, parameters, instruments and models, with the evidence for them.

    FOLDER/                 `bundle:` of the strategy's block
        current, previous   one line each: the name of the bundle in force, and of the one before it
        SHA256/             a bundle: never changed, named by its manifest's sha256, which names every other file's
            manifest.json   fields of `Manifest`
            ES.model …      `rooney.models.forest`
            training.json … evidence, for people and for the next training

What is in force changes in one step, by the one line of `current`; a worker reads it once, when it starts. A bundle
that is cut, edited, foreign or newer is refused with its path before anything of it is used. Equal content is the same
name.
"""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import msgspec

from rooney.errors import BundleError, FileError, MissingFileError
from rooney.files import KIB, MIB, decode_json, read_bytes, read_text, replacing, sync, write_whole

FORMAT = 1
MANIFEST = "manifest.json"
FILE_BYTES = 512 * MIB  # at most, of a model as of everything else in a bundle
SHOWN = 12  # hex digits that name a bundle to people
_CURRENT, _PREVIOUS = "current", "previous"
_NAME = re.compile(r"[0-9a-f]{64}")

Value = bool | int | float | str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Contents of a bundle.

    strategy:    name of the strategy's file, without .py
    instruments: in their order; each has a model
    strategy_params: all of them; overrides: by instrument, those that differ for it
    features:    of all its models; thresholds: of each, for reading
    digests:     sha256 of what the models know: kernels, features, strategy; the same in whatever may use them
    gates:       what the evidence was held against; despite: why it was promoted although it missed some
    missed:      by instrument, what it missed
    files:       sha256 of every other file, by name
    """

    format: int = FORMAT
    strategy: str
    instruments: tuple[str, ...]
    strategy_params: dict[str, Value]
    overrides: dict[str, dict[str, Value]] = {}
    features: tuple[str, ...]
    thresholds: dict[str, float]
    digests: dict[str, str]
    gates: dict[str, float]
    despite: str = ""
    missed: dict[str, list[str]] = {}
    files: dict[str, str] = {}


class Bundle(msgspec.Struct, frozen=True):
    """A manifest that was read, and where."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """Its sha256."""
        return self.path.name

    @property
    def short(self) -> str:
        """Its name as people say it."""
        return self.name[:SHOWN]

    def params(self, symbol: str | None = None) -> dict[str, Value]:
        """Every parameter, as it is for an instrument."""
        return self.manifest.strategy_params | self.manifest.overrides.get(symbol or "", {})

    def check_files(self) -> None:
        """Raises BundleError unless every file is what it was when it was promoted."""
        try:
            found = {path.name: path for path in self.path.iterdir() if path.name != MANIFEST}
            contents = {name: read_bytes(path, FILE_BYTES) for name, path in found.items()}
        except OSError as error:
            _refuse(self.path, f"{error.filename}: {error.strerror}")
        except FileError as error:
            _refuse(self.path, f"{error.path}: {error.why}")
        for name in sorted({*found, *self.manifest.files}):
            wanted = self.manifest.files.get(name)
            if name not in found:
                _refuse(self.path, f"{name} is missing")
            if wanted is None:
                _refuse(self.path, f"{name} was not promoted with it; take it out")
            if digest(contents[name]) != wanted:
                _refuse(self.path, f"{name} was cut off or changed after it was promoted; promote anew, or go back")


def digest(content: bytes) -> str:
    """sha256, as hex."""
    return hashlib.sha256(content).hexdigest()


def is_name(text: str) -> bool:
    """True for a whole sha256."""
    return _NAME.fullmatch(text) is not None


def read_bundle(path: Path) -> Bundle:
    """The bundle in force in a folder of them, or the one that `path` itself names. Raises BundleError."""
    found = promoted(path)
    if found is None:
        _refuse(path, "nothing has been promoted there; `rooney promote` does")
    return found


def promoted(path: Path) -> Bundle | None:
    """As `read_bundle`; None for a folder in which nothing has been promoted yet."""
    if not is_name(path.name):
        name = in_force(path)
        if name is None:
            return None
        path = path / name
    try:
        content = read_bytes(path / MANIFEST, MIB)
    except FileError as error:
        _refuse(path, f"{MANIFEST}: {error.why}")
    if digest(content) != path.name:
        _refuse(path, f"{MANIFEST} was cut off or changed, or is another bundle's; promote anew, or go back")
    try:
        version = decode_json(content, _Format, path).format
        if version != FORMAT:
            _refuse(path, f"has format {version}, this version reads {FORMAT}; use the version that wrote it")
        manifest = decode_json(content, Manifest, path)
    except FileError as error:
        _refuse(path, f"{MANIFEST} does not say what it must: {error.why}")
    if lacking := [symbol for symbol in manifest.instruments if f"{symbol}.model" not in manifest.files]:
        _refuse(path, f"has no model of {', '.join(lacking)}")
    return Bundle(path, manifest)


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Put a bundle into a folder of them, all of it or nothing; it is not in force yet."""
    manifest = msgspec.structs.replace(manifest, files={name: digest(files[name]) for name in sorted(files)})
    content = msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1) + b"\n"
    path = folder / digest(content)
    with contextlib.suppress(BundleError):
        found = read_bundle(path)
        found.check_files()
        return found
    _make(folder)
    unfinished = folder / f".{path.name}.{os.getpid()}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for name, data in {**files, MANIFEST: content}.items():
        write_whole(unfinished / name, data, synced=True)
    _give(unfinished, folder)
    shutil.rmtree(path, ignore_errors=True)  # one that is torn
    unfinished.rename(path)
    sync(folder)
    return Bundle(path, manifest)


def in_force(folder: Path) -> str | None:
    """Name of the bundle in force; None before the first was promoted. Raises BundleError for a torn line."""
    return _read_name(folder / _CURRENT)


def before(folder: Path) -> str | None:
    """Name of the bundle that was in force before it."""
    return _read_name(folder / _PREVIOUS)


def kept(folder: Path) -> list[Bundle]:
    """Every bundle of a folder that can be read, newest first."""
    paths = [path for path in folder.iterdir() if is_name(path.name)] if folder.is_dir() else []
    found = []
    for path in sorted(paths, key=lambda path: (-path.stat().st_mtime, path.name)):
        with contextlib.suppress(BundleError):
            found.append(read_bundle(path))
    return found


def switch(folder: Path, name: str) -> str | None:
    """Put a bundle in force; name of the one it replaces, which is then the previous one. Each line changes at once."""
    replaced = None
    with contextlib.suppress(BundleError):  # a torn line is written anew
        replaced = in_force(folder)
    if replaced != name:
        if replaced is not None:
            _write_name(folder / _PREVIOUS, replaced)
        _write_name(folder / _CURRENT, name)
    return replaced


class _Format(msgspec.Struct):
    format: int


def _read_name(path: Path) -> str | None:
    try:
        name = read_text(path, KIB).strip()
    except MissingFileError:
        return None
    except FileError as error:
        _refuse(path, error.why)
    if not is_name(name):
        _refuse(path, "does not hold the name of a bundle; `rooney promote NAME --to ID` writes it anew")
    return name


def _write_name(path: Path, name: str) -> None:
    with replacing(path, synced=True) as unfinished:
        unfinished.write_text(f"{name}\n")
        _give(unfinished, path.parent)


def _give(path: Path, folder: Path) -> None:
    """Readable by whoever may enter the folder, and the folder's owner's: root promotes what a service then reads."""
    owner = folder.stat()
    for each in [path, *path.rglob("*")]:
        each.chmod(0o755 if each.is_dir() else 0o644)
        if os.geteuid() == 0:
            os.chown(each, owner.st_uid, owner.st_gid)


def _make(folder: Path) -> None:
    """A folder with its parents; each belongs to the owner of the one it is in."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir()
        _give(folder, folder.parent)


def _refuse(path: Path, what: str) -> NoReturn:
    raise BundleError(f"{path}: {what}; not used")
