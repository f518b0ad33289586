"""Files: every reader gives a value or the one error, and a write is whole or not there."""

import os
import pickle
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rooney.errors import ConfigError, FileError, MissingFileError
from rooney.files import (
    decode_json,
    decode_msgpack,
    read_bytes,
    read_json,
    read_text,
    replacing,
    write_shared,
    write_whole,
)


class Shape(msgspec.Struct):
    """Something of every kind that a file of ours holds."""

    name: str
    numbers: tuple[int, ...] = ()
    values: dict[str, float | None] = {}


READERS: dict[str, Callable[[Path], Any]] = {
    "bytes": lambda path: read_bytes(path, 64),
    "text": lambda path: read_text(path, 64),
    "json": lambda path: read_json(path, Shape, 64),
    "msgpack": lambda path: decode_msgpack(read_bytes(path, 64), Shape, path),
}
EXPECTED: dict[str, type] = {"bytes": bytes, "text": str, "json": Shape, "msgpack": Shape}
contents = st.one_of(
    st.binary(max_size=70),
    st.builds(
        lambda name, numbers: msgspec.json.encode(Shape(name, tuple(numbers))), st.text(), st.lists(st.integers())
    ),
    st.builds(lambda name: msgspec.msgpack.encode(Shape(name)), st.text()),
    st.sampled_from([b"[" * 64, b"\x91" * 64, b"\xdd\xff\xff\xff\xff", b'{"name": "\xff"}', b"\xef\xbb\xbf{}"]),
)
reader_names = pytest.mark.parametrize("reader", READERS)


@reader_names
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=contents)
def test_any_bytes_are_a_value_or_the_one_error(tmp_path: Path, reader: str, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    try:
        value = READERS[reader](path)
    except FileError:
        return
    assert isinstance(value, EXPECTED[reader])


def test_nesting_without_end_is_the_one_error(tmp_path: Path) -> None:
    for decode, opening in ((decode_json, b"["), (decode_msgpack, b"\x91")):
        with pytest.raises(FileError, match="recursion"):
            decode(opening * 200_000, list, tmp_path)


@reader_names
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: os.mkfifo(path), "Is a FIFO"),
        (lambda path: path.symlink_to("/dev/zero"), "Is a device"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.write_bytes(b"x" * 65), "Is larger than 64 bytes"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "No such device or address"),
    ],
)
def test_what_is_no_file_of_ours_is_named_at_once(
    tmp_path: Path, reader: str, make: Callable[[Path], Any], why: str
) -> None:
    path = tmp_path / "file"
    make(path)
    began = time.monotonic()
    with pytest.raises(FileError) as raised:
        READERS[reader](path)
    assert str(raised.value) == f"{path}: cannot be read: {why}"
    assert time.monotonic() - began < 1.0


@reader_names
def test_a_path_no_file_can_have_is_named(reader: str) -> None:
    with pytest.raises(FileError, match="null"):
        READERS[reader](Path("a\0b"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@reader_names
def test_a_closed_file_is_named(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "file"
    path.touch(mode=0)
    with pytest.raises(FileError, match="Permission denied"):
        READERS[reader](path)


def test_a_file_that_is_not_there_can_be_told_from_one_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        read_text(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"\xff")
    with pytest.raises(FileError) as raised:
        read_text(tmp_path / "file")
    assert not isinstance(raised.value, MissingFileError)


def test_the_error_says_what_was_read_and_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"{}")
    with pytest.raises(ConfigError) as raised:
        read_json(path, Shape, what="the plan", then="not starting")
    said = f"{path}: the plan cannot be read: Object missing required field `name`; not starting"
    assert str(raised.value) == said
    assert str(pickle.loads(pickle.dumps(raised.value))) == said  # it crosses processes of a search


def test_the_error_quotes_no_byte_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"secret\xff")
    for reader in ("text", "json"):
        with pytest.raises(FileError) as raised:
            READERS[reader](path)
        assert "secret" not in str(raised.value) and raised.value.__cause__ is None


def test_a_file_of_exactly_the_bound_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 64)
    assert read_bytes(path, 64) == b"x" * 64


def test_a_file_that_does_not_know_its_size_is_read_whole() -> None:
    path = Path("/proc/self/limits")
    assert read_text(path) == path.read_text()


def test_text_has_no_mark_and_plain_newlines(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(path) == "a\nb\nc\n"


# ── writing ──


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=st.none() | st.binary(), new=st.binary(), synced=st.booleans(), mode=st.sampled_from([None, 0o600, 0o644]))
def test_what_is_written_is_read(tmp_path: Path, old: bytes | None, new: bytes, synced: bool, mode: int | None) -> None:
    path = tmp_path / "file"
    path.unlink(missing_ok=True)
    if old is not None:
        path.write_bytes(old)
    write_whole(path, new, mode=mode, synced=synced)
    assert read_bytes(path, 1 << 20) == new
    assert mode is None or stat.S_IMODE(path.stat().st_mode) == mode
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_write_that_breaks_off_leaves_what_was_there(tmp_path: Path, old: bytes | None, error: BaseException) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(type(error)), replacing(path) as unfinished:
        unfinished.write_bytes(b"half")
        raise error
    assert [each.read_bytes() for each in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_reader_sees_the_old_or_the_new_and_never_a_part(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"a" * 100_000)
    for letter in b"bcdefghij":
        with replacing(path) as unfinished:
            unfinished.write_bytes(bytes([letter]) * 50_000)
            assert read_bytes(path, 100_000) == bytes([letter - 1]) * 100_000
            unfinished.write_bytes(bytes([letter]) * 100_000)
        assert read_bytes(path, 100_000) == bytes([letter]) * 100_000


def test_a_secret_is_nobody_elses_from_its_first_byte_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    write_bytes = Path.write_bytes

    def seen(path: Path, content: bytes) -> int:
        modes.append(stat.S_IMODE(path.stat().st_mode))
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", seen)
    write_whole(tmp_path / "file", "secret", mode=0o600)
    assert modes == [0o600]


def test_what_is_shared_makes_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_shared(tmp_path, path, b"content")
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o2770
