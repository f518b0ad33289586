"""Files: one way to write them, whole or not at all, and one way to read what somebody else left.

Reading never blocks and gives a value or `FileError`, whatever lies at the path: nothing, a directory, a FIFO nobody
writes to, a file that is closed to this user, too large, no text, no JSON or another shape than expected.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import get_native_id
from typing import TypeVar

import msgspec

from rooney.errors import FileError, MissingFileError

KIB, MIB = 1 << 10, 1 << 20
DIRECTORY_MODE, FILE_MODE = 0o2770, 0o660  # setgid: what a plain `touch` makes there is the group's, too
_KINDS = {stat.S_IFDIR: "Is a directory", stat.S_IFIFO: "Is a FIFO", stat.S_IFSOCK: "Is a socket"}

T = TypeVar("T")


# ── writing ──


@contextlib.contextmanager
def replacing(path: Path, *, synced: bool = False) -> Iterator[Path]:
    """A new name beside `path`: what is written there takes the place of `path` in the end; nothing after an error.

    synced: on the disk before anybody sees it, so that a power cut leaves the old or the new
    """
    unfinished = path.with_name(f".{path.name}.{get_native_id()}")  # two threads may write one file at once
    unfinished.unlink(missing_ok=True)
    try:
        yield unfinished
        if synced:
            sync(unfinished)
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
    if synced:
        sync(path.parent)


def write_whole(path: Path, content: bytes | str, *, mode: int | None = None, synced: bool = False) -> None:
    """Write `path`, text as UTF-8. Raises OSError: it is as it was.

    mode: permissions from the first byte on, whatever the umask; None for those of any new file
    """
    with replacing(path, synced=synced) as unfinished:
        if mode is not None:
            unfinished.touch(mode=mode & 0o600, exist_ok=False)
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
        if mode is not None:
            unfinished.chmod(mode)


def write_shared(root: Path, path: Path, content: bytes) -> None:
    """Write `path`, below `root`, for another user of the same group: it and folders of ours between get that group.

    The operator is root or a member of the group `rooney`; workers and dashboard are its user. What the operator
    writes must be theirs to read and to remove, whatever the operator's umask and own group are; and outlast a power
    cut.

    Raises OSError: nothing was written, and no folder made.
    """
    made: list[Path] = []
    try:
        for directory in [each for each in reversed(path.parents) if root in (each, *each.parents)]:
            if not directory.is_dir():
                directory.mkdir(parents=True, exist_ok=True)
                made.append(directory)
            if directory != root or directory in made:
                _share(directory, root, DIRECTORY_MODE)
        with replacing(path, synced=True) as unfinished:
            unfinished.write_bytes(content)
            _share(unfinished, root, FILE_MODE)
    except OSError:
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _share(path: Path, root: Path, mode: int) -> None:
    """Give what is ours to the group of `root`; where we may not, to everybody's eyes: a halt unread is a halt for all.

    Nothing is changed that is right already, and a unit's folder stays as it made it: its sandbox forbids even that.
    """
    status = path.stat()
    if status.st_uid != os.geteuid():
        return
    if status.st_gid != (group := root.stat().st_gid):
        try:
            os.chown(path, -1, group)
        except PermissionError:
            mode |= 0o5 if path.is_dir() else 0o4
    if stat.S_IMODE(path.stat().st_mode) != mode:  # mkdir's own is cut by the umask
        with contextlib.suppress(PermissionError):
            path.chmod(mode)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a directory's names, are on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ── reading ──


def read_bytes(path: Path, at_most: int, *, what: str = "", then: str = "") -> bytes:
    """Content of a plain file of up to `at_most` bytes; /dev/null is an empty one. Raises FileError.

    what: the file's content as errors name it, such as "the configuration"
    then: what follows from the error, such as "not starting"
    """
    try:
        # Without O_NONBLOCK, opening a FIFO waits for a writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
            kind = stat.S_IFMT(os.fstat(file.fileno()).st_mode)
            if os.path.realpath(path) == os.devnull:
                return b""
            if kind != stat.S_IFREG:
                raise FileError(path, _KINDS.get(kind, "Is a device"), what, then)
            parts = [file.read(min(at_most, os.fstat(file.fileno()).st_size) + 1)]
            while parts[-1] and sum(map(len, parts)) <= at_most:  # files of /proc have a size of 0
                parts.append(file.read(min(at_most, 64 * KIB) + 1))
    except FileNotFoundError:
        raise MissingFileError(path, os.strerror(errno.ENOENT), what, then) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise FileError(path, getattr(error, "strerror", None) or str(error), what, then) from None
    content = b"".join(parts)
    if len(content) > at_most:
        raise FileError(path, f"Is larger than {at_most:,} bytes", what, then)
    return content


def read_text(path: Path, at_most: int = MIB, *, what: str = "", then: str = "") -> str:
    """Content of a text file in UTF-8, without a byte order mark, lines ended by a newline alone. Raises FileError."""
    try:
        text = read_bytes(path, at_most, what=what, then=then).decode("utf-8-sig")
    except UnicodeDecodeError:  # it quotes the bytes, which may be a secret
        raise FileError(path, "it is not UTF-8 text", what, then) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, kind: type[T], at_most: int = MIB, *, what: str = "", then: str = "") -> T:
    """Value of a JSON file. Raises FileError, also for one of another shape than `kind`."""
    return decode_json(read_bytes(path, at_most, what=what, then=then), kind, path, what=what, then=then)


def decode_json(content: bytes, kind: type[T], path: Path, *, what: str = "", then: str = "") -> T:
    """As `read_json`, of a content that was read from `path` before."""
    return _decode(msgspec.json.decode, "JSON", content, kind, path, what, then)


def decode_msgpack(content: bytes, kind: type[T], path: Path, *, what: str = "", then: str = "") -> T:
    """Value of a MessagePack content that was read from `path` before. Raises FileError."""
    return _decode(msgspec.msgpack.decode, "MessagePack", content, kind, path, what, then)


def _decode(decode: Callable[..., T], codec: str, content: bytes, kind: type[T], path: Path, what: str, then: str) -> T:
    try:
        return decode(content, type=kind)
    except msgspec.ValidationError as error:
        why = str(error)
    except UnicodeDecodeError:
        why = "it is not UTF-8 text"
    # Nesting without end, and a MessagePack length that no memory holds
    except (msgspec.DecodeError, RecursionError, MemoryError) as error:
        why = f"it is not {codec}: {error}"
    raise FileError(path, why, what, then)
