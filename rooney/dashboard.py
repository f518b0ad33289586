"""The dashboard's process: for now /healthz alone, on a socket systemd opened, without a network of its own.

One thread answers each request; the main loop turns at least as often as the watchdog wants and does nothing else.
"""

import json
import os
import socket
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer

from rooney.config import Config
from rooney.errors import EXIT_OK, ConfigError
from rooney.health import attention
from rooney.notify import Notifier
from rooney.notify import interval as watchdog_interval_s
from rooney.watch import look

FIRST_FD = 3  # sd_listen_fds(3)
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


def inherited_socket() -> socket.socket | None:
    """The listening socket systemd passed to this very process, or None. Raises ConfigError for more than one."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = int(os.environ.get("LISTEN_FDS", "0"))
    if count != 1:
        raise ConfigError(f"rooney-dashboard.socket: expected one ListenStream=, got {count} sockets; not starting")
    return socket.socket(fileno=FIRST_FD)


class Server(ThreadingHTTPServer):
    """look: what needs a person now, one line each."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, look: Callable[[], list[str]]) -> None:
        # not the nearer base: it would make a socket of its own first, which the unit's sandbox forbids
        BaseServer.__init__(self, listener.getsockname()[:2], _Handler)
        self.socket = listener
        self.look = look

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, peer = super().get_request()
        connection.settimeout(10)  # a client that sends nothing must not hold a thread for ever
        return connection, peer


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        host = self.headers.get("Host", "")
        if (host.rpartition(":")[0] or host) not in LOCAL_NAMES:
            # a page elsewhere could have its own name point here
            self._answer(403, {"error": "this page answers to localhost only: use an SSH tunnel"})
        elif self.path != "/healthz":
            self._answer(404, {"error": "there is /healthz"})
        else:
            found = self.server.look()
            self._answer(503 if found else 200, {"ok": not found, "attention": found})

    def _answer(self, status: int, content: dict[str, object]) -> None:
        data = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        for name, value in (
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(data))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not news."""


class DashboardProcess:
    """`run()` returns the exit status."""

    def __init__(self, config: Config, notifier: Notifier) -> None:
        listener = inherited_socket()
        self._port = config.dashboard().port
        if listener is None:
            try:
                listener = socket.create_server(("127.0.0.1", self._port))
            except OSError as error:
                raise ConfigError(f"dashboard.port: {self._port}: {error.strerror}; not starting") from error
        self._server = Server(listener, lambda: list(attention(look(config), time.time_ns()).values()))
        self._notifier = notifier
        self._stopping = False

    def stop(self) -> None:
        """End after the turn in work."""
        self._stopping = True

    def run(self) -> int:
        """Until stopped."""
        self._server.timeout = min(0.5, watchdog_interval_s() or 0.5)
        self._notifier.ready()
        host, port = self._server.socket.getsockname()[:2]
        self._notifier.status(f"answering on {host}:{port}")
        while not self._stopping:
            self._server.handle_request()
            self._notifier.watchdog()
        self._notifier.stopping()
        self._server.server_close()
        return EXIT_OK
