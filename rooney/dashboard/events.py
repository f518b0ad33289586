"""Server-sent events of one page: state, not deltas. Each event carries whole parts of the page, those that changed.

A client that comes back after anything at all is sent every part again, so a page heals by itself. A client that does
not read is dropped; for one that reads slowly nothing piles up, it just skips what has been overtaken.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from rooney.dashboard.poller import Watcher
from rooney.monitor.system import System

MAX_CLIENTS = 200
BEAT_S = 2.0  # a page that hears nothing for 5 s says that it is old
SLOW_S = 10.0
AT_MOST_EVERY_S = 0.5  # a bar is shown within a second, also one that comes just after something else was drawn

Render = Callable[[System], list[tuple[str, str]]]

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Stream:
    """An ASGI application for one client. render: id and HTML of every part of its page."""

    def __init__(self, watcher: Watcher, render: Render) -> None:
        self._watcher = watcher
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._watcher.clients >= MAX_CLIENTS:
            text = f"{MAX_CLIENTS} pages are open already: close some\n"
            refusal = PlainTextResponse(text, status_code=503, headers={"Retry-After": "30"})
            await refusal(scope, receive, send)
            return
        self._watcher.clients += 1
        sending = asyncio.create_task(self._send_all(send))
        gone = asyncio.create_task(_wait_for_end(receive))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._watcher.clients -= 1
            for task in (sending, gone):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError, TimeoutError):
                    await task

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        loop = asyncio.get_running_loop()
        sent: dict[str, int] = {}
        version = -1
        while not self._watcher.is_closed:
            began_s = loop.time()
            system = await self._watcher.system()
            if version != self._watcher.version:
                version = self._watcher.version
                parts = [part for part in self._render(system) if sent.get(part[0]) != hash(part[1])]
                sent |= {id_: hash(html) for id_, html in parts}
                text = json.dumps({"ts": system.ts_wall // 1_000_000, "parts": parts})
                await _write(send, f"id: {version}\nevent: parts\ndata: {text}\n\n")
                await asyncio.sleep(max(0.0, began_s + AT_MOST_EVERY_S - loop.time()))
            else:
                await _write(send, f"event: beat\ndata: {system.ts_wall // 1_000_000}\n\n")
            await self._watcher.changed(version, BEAT_S)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _write(send: Send, text: str) -> None:
    """Raises TimeoutError for a client that does not read."""
    async with asyncio.timeout(SLOW_S):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _wait_for_end(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
