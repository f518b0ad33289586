"""What systemd hears, on a real datagram socket."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rooney.systemd import Notifier, interval


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The manager's end of NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@rooney-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listener.settimeout(1)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listener


def heard(manager: socket.socket) -> list[bytes]:
    manager.setblocking(False)
    found = []
    while True:
        try:
            found.append(manager.recv(4096))
        except BlockingIOError:
            return found


def test_each_fact_is_a_datagram_of_its_own(manager: socket.socket) -> None:
    notifier = Notifier()
    said = [
        notifier.extend_timeout(1.5),
        notifier.status("warming up"),
        notifier.ready(),
        notifier.watchdog(),
        notifier.stopping(),
    ]
    assert said == [True] * 5
    assert heard(manager) == [
        b"EXTEND_TIMEOUT_USEC=1500000",
        b"STATUS=warming up",
        b"READY=1",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("day \u2212312.50 \u2713 \u20ac", b"STATUS=day ?312.50 ? ?"),
        ("\u00e9\u00b1", b"STATUS=??"),
        ("one\ntwo\r\n\tthree", b"STATUS=one two three"),
        ("nul \x00 escape \x1b", b"STATUS=nul ? escape ?"),
        ("x" * 100, b"STATUS=" + b"x" * 100),
        ("x" * 500, b"STATUS=" + b"x" * 96 + b" ..."),
        ("unconfirmed " * 9, b"STATUS=" + b"unconfirmed " * 8 + b"..."),
        ("\ud800", b"STATUS=?"),
        ("", b"STATUS="),
    ],
)
def test_a_status_is_one_line_of_100_ascii_characters(manager: socket.socket, text: str, line: bytes) -> None:
    assert Notifier().status(text)
    assert heard(manager) == [line]


def test_a_manager_that_does_not_read_is_not_waited_for(manager: socket.socket) -> None:
    notifier = Notifier()
    started = time.monotonic()
    taken = sum(notifier.watchdog() for _ in range(2000))
    assert time.monotonic() - started < 1
    assert 0 < taken < 2000
    assert notifier.dropped == 2000 - taken


def test_what_is_said_after_the_manager_reads_again_arrives(manager: socket.socket) -> None:
    notifier = Notifier()
    while notifier.watchdog():
        pass
    heard(manager)
    assert notifier.ready()
    assert heard(manager) == [b"READY=1"]


def test_a_manager_that_went_away_is_counted(manager: socket.socket) -> None:
    notifier = Notifier()
    manager.close()
    assert not notifier.watchdog()
    assert notifier.dropped == 1


def test_a_socket_nobody_listens_on_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notifier = Notifier()
    assert (notifier.ready(), notifier.dropped) == (False, 1)


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier()
    assert (notifier.ready(), notifier.status("x"), notifier.dropped) == (False, False, 0)


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("60000000", None, 20.0),
        ("30000000", "ours", 10.0),
        ("30000000", "1", None),
        (None, None, None),
        ("0", None, None),
        ("soon", None, None),
        ("30000000", "me", None),
    ],
)
def test_the_interval_is_a_third_of_the_watchdogs_if_it_is_ours(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, seconds: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, str(os.getpid()) if value == "ours" else value)
    assert interval() == seconds
