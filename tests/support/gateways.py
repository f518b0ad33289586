"""A stand-in for Databento's live gateway in a thread of this process."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from rooney.sim.databento.gateway import Gateway


@contextlib.contextmanager
def running(gateway: Gateway) -> Iterator[Gateway]:
    """The gateway in a thread with a loop of its own; it has its port by the time the body runs."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    closing = asyncio.Event()
    failures: list[BaseException] = []

    async def serve() -> None:
        async with gateway:
            ready.set()
            await closing.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        except OSError as error:
            failures.append(error)
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            ready.set()

    thread = threading.Thread(target=run, name="sim-gateway")
    thread.start()
    ready.wait()
    if failures:
        raise failures[0]
    try:
        yield gateway
    finally:
        loop.call_soon_threadsafe(closing.set)
        thread.join()
