"""The journal's socket, as a process that logs finds it."""

import array
import fcntl
import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rooney import log


@pytest.fixture
def restored() -> Iterator[None]:
    """Put the root logger and the hooks back."""
    root = logging.getLogger()
    handlers, level, hook = list(root.handlers), root.level, sys.excepthook
    thread_hook = threading.excepthook
    yield
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook = hook, thread_hook


class Journal:
    """The journal's socket, and the fields of what it is sent."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(1)
        self.sealed: int | None = None

    def read(self) -> dict[str, str]:
        data, ancillary, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_LEN(4))
        for _, _, value in ancillary:
            (descriptor,) = array.array("i", value)
            with open(descriptor, "rb") as file:
                self.sealed = fcntl.fcntl(file, fcntl.F_GET_SEALS)
                file.seek(0)
                data = file.read()
        fields = {}
        while data:
            name, mark, rest = re.match(rb"([A-Z_]+)(=|\n)(.*)", data, re.DOTALL).groups()  # type: ignore[union-attr]
            length = rest.index(b"\n") if mark == b"=" else int.from_bytes(rest[:8], "little")
            rest = rest if mark == b"=" else rest[8:]
            fields[name.decode()] = rest[:length].decode()
            data = rest[length + 1 :]
        return fields


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    """The journal that this process believes to have."""
    found = Journal(tmp_path / "journal")
    monkeypatch.setattr(log, "JOURNAL_SOCKET", found.path)
    stderr = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stderr.st_dev}:{stderr.st_ino}")
    yield found
    found.socket.close()
