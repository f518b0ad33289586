"""The dashboard's process: on a socket systemd opened, without a network of its own."""

import asyncio
import contextlib
import os
import socket

import uvicorn

from rooney.config.loader import Config
from rooney.dashboard.app import build
from rooney.dashboard.poller import Watcher
from rooney.errors import EXIT_OK, ConfigError
from rooney.monitor.system import Looker
from rooney.systemd import Notifier
from rooney.systemd import interval as watchdog_interval_s

FIRST_FD = 3  # sd_listen_fds(3)
GRACE_S = 3  # for answers under way when it is to end
LOOP_S = 0.25


def inherited_socket() -> socket.socket | None:
    """The listening socket systemd passed to this very process, or None. Raises ConfigError for more than one."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = int(os.environ.get("LISTEN_FDS", "0"))
    if count != 1:
        raise ConfigError(f"rooney-dashboard.socket: expected one ListenStream=, got {count} sockets; not starting")
    return socket.socket(fileno=FIRST_FD)


class DashboardProcess:
    """`run()` returns the exit status."""

    def __init__(self, config: Config, looker: Looker, notifier: Notifier) -> None:
        block = config.dashboard()
        listener = inherited_socket()
        if listener is None:
            try:
                listener = socket.create_server(("127.0.0.1", block.port))
            except OSError as error:
                raise ConfigError(f"dashboard.port: {block.port}: {error.strerror}; not starting") from error
        self._listener = listener
        self._looker = looker
        self._notifier = notifier
        self._watcher = Watcher(looker)
        self._server = uvicorn.Server(
            uvicorn.Config(
                build(self._watcher, config, block),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,  # the process has a log of its own
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )

    def stop(self) -> None:
        """End once the answers under way are given."""
        self._server.should_exit = True

    def run(self) -> int:
        """Until stopped."""
        asyncio.run(self._serve())
        self._looker.close()
        return EXIT_OK

    async def _serve(self) -> None:
        turning = asyncio.create_task(self._turn())
        watching = asyncio.create_task(self._watcher.run())
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            self._notifier.stopping()
            for task in (turning, watching):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _turn(self) -> None:
        """The loop that answers is the loop that pings; once it is to end, streams end first."""
        interval_s = watchdog_interval_s() or 10.0
        loop = asyncio.get_running_loop()
        next_ping = 0.0
        host, port = self._listener.getsockname()[:2]
        said = False
        while True:
            if self._server.should_exit:
                self._watcher.close()
            if self._server.started and not said:
                said = self._notifier.ready() or not os.environ.get("NOTIFY_SOCKET")
                self._notifier.status(f"answering on {host}:{port}")
            if loop.time() >= next_ping:
                self._notifier.watchdog()
                next_ping = loop.time() + interval_s
            await asyncio.sleep(LOOP_S)
