"""What systemd is told about this process. The only importer of sdnotify.

sdnotify 0.3.2 encodes latin-1 and drops a whole datagram without a word when it cannot; its socket blocks when the
manager does not read. So: ASCII only, one fact per datagram (a status can never take the watchdog's ping down with it),
a non-blocking socket, and a count of what was lost.
"""

import os

import sdnotify

STATUS_CHARS = 100


class Notifier:
    """One per process. No call blocks or raises; each returns True once the manager's queue has the datagram.

    dropped: datagrams the manager did not take, for STATUS or the heartbeat to show
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._sdnotify: sdnotify.SystemdNotifier | None = None
        if not os.environ.get("NOTIFY_SOCKET"):
            return
        try:
            self._sdnotify = sdnotify.SystemdNotifier(debug=True)  # debug: errors are raised, so they can be counted
            self._sdnotify.socket.setblocking(False)
        except OSError:
            self.dropped += 1

    def ready(self) -> bool:
        """Warmed up. Worth repeating if False: without it the start times out."""
        return self._send("READY=1")

    def status(self, text: str) -> bool:
        """The line `systemctl status` shows: at most 100 printable ASCII characters, `?` for any other."""
        line = " ".join(text.split())
        return self._send("STATUS=" + "".join(c if " " <= c <= "~" else "?" for c in line)[:STATUS_CHARS])

    def watchdog(self) -> bool:
        """The loop made a turn."""
        return self._send("WATCHDOG=1")

    def stopping(self) -> bool:
        """The shutdown has begun."""
        return self._send("STOPPING=1")

    def extend_timeout(self, seconds: float) -> bool:
        """Starting or stopping takes up to `seconds` more from now."""
        return self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def _send(self, line: str) -> bool:
        if self._sdnotify is None:
            return False
        try:
            self._sdnotify.notify(line)
        except OSError:  # queue full, or the manager is gone
            self.dropped += 1
            return False
        return True


def interval() -> float | None:
    """Seconds between watchdog pings, a third of the limit; None if this process is not watched."""
    try:
        limit_us = int(os.environ.get("WATCHDOG_USEC", ""))
        pid = int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return limit_us / 3e6 if limit_us > 0 and pid == os.getpid() else None
