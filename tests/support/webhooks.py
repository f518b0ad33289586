"""A stand-in for TradersPost in a thread of this process."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from rooney.sim.traderspost import Account, Server
from tests.support.faulty_webhook import FaultyServer


class Running:
    """A server in a thread of this process."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop, accounts: Sequence[Account]) -> None:
        self.port = server.port
        self._server, self._loop = server, loop
        self._paths = {account.name: account.path for account in accounts}

    def url(self, name: str, host: str = "127.0.0.1") -> str:
        """The webhook of one account. host: another one, such as a name that does not resolve."""
        scheme = "https" if self._server.tls is not None else "http"
        return f"{scheme}://{host}:{self.port}{self._paths[name]}"

    def state(self) -> dict[str, Any]:
        """As GET /state."""

        async def read() -> dict[str, Any]:
            return self._server.state()

        return asyncio.run_coroutine_threadsafe(read(), self._loop).result(timeout=5)

    def stop_out(self, name: str, ticker: str) -> None:
        """The protective stop of one account fills at the broker, and with it the position is closed."""

        async def fill() -> None:
            book = self._server.books[name]
            if book.stops.pop(ticker, 0):
                book.positions[ticker] = 0

        asyncio.run_coroutine_threadsafe(fill(), self._loop).result(timeout=5)


@contextlib.contextmanager
def running(accounts: Sequence[Account], **options: Any) -> Iterator[Running]:
    """A server with `FaultyServer`'s options in a thread, for as long as the block lasts."""
    server = FaultyServer(accounts, **options)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="traderspost", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(timeout=5)
        yield Running(server, loop, accounts)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(timeout=5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        loop.close()
