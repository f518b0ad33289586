"""The local TradersPost, with what goes wrong at it as a script (`tests.support.webhook_faults`).

python -m tests.support.faulty_webhook --faults F.json [options of rooney.sim.traderspost]
"""

import argparse
import asyncio
import socket
import struct
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rooney.errors import ConfigError
from rooney.sim.traderspost import Account, Refusal, Server
from rooney.sim.traderspost.__main__ import main
from rooney.sim.traderspost.http import Request, refused, response
from rooney.sim.traderspost.server import Connection
from tests.support.webhook_faults import Fault, delivered, read_faults


class FaultyServer(Server):
    """A server that misbehaves as `faults` say. struck: the fault of the request that is being answered."""

    def __init__(self, accounts: Sequence[Account], *, faults: Sequence[Fault] = (), **options: Any) -> None:
        self._faults = tuple(faults)
        self._by_request: dict[int, Fault] = {}
        self.struck: Fault | None = None
        super().__init__(accounts, **options)
        for fault in faults:
            if fault.account and fault.account not in self.books:
                raise ConfigError(f"faults: no account is called {fault.account}")
        for book in self.books.values():
            book.counts["faults"] = 0

    def _connection(self) -> Connection:
        return _FaultyConnection(self)

    def _take(self, request: Request, account: Account | None, payload: Any, entry: dict[str, Any]) -> bytes:
        n, name = entry["n"], entry["account"]
        counts = self.books[name].counts if name else Counter()
        found = (fault for fault in self._faults if fault.hits(name, n, counts["requests"]))
        fault = self.struck = next(found, None)
        if fault is None:
            return super()._take(request, account, payload, entry)
        self._by_request[n] = fault
        counts["faults"] += 1
        if fault.takes_effect:
            return _spoilt(fault, super()._take(request, account, payload, entry), self.port)
        self._write(entry | {"status": 0, "effect": "none"})
        return _spoilt(fault, b"", self.port)

    def _write(self, entry: dict[str, Any]) -> None:
        fault = self._by_request.get(entry["n"])
        said = {"fault": fault.do if fault is not None else "", "status": delivered(fault, entry["status"])}
        super()._write(entry | said)


def _spoilt(fault: Fault, answer: bytes, port: int) -> bytes:
    """The answer's bytes, as the fault leaves them. port: of the server, for a redirect."""
    match fault.do:
        case "html500":
            return _page("500 Server Error", b"<html><body><h1>Server Error</h1></body></html>")
        case "limited":
            return refused(Refusal(429, "too-many-requests", "too many requests"))
        case "no_id":
            return response(200, {"success": True})
        case "redirect":
            return _page("302 Found", b"", f"Location: http://127.0.0.1:{port}/elsewhere\r\n")
        case "half":
            head = answer.index(b"\r\n\r\n") + 4
            return answer[: (head + len(answer)) // 2] if answer else b""
        case "reset":
            return answer[: fault.bytes]
        case "close" | "hang":
            return b""
    return answer


def _page(status: str, body: bytes, extra: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n"
        f"{extra}Connection: close\r\n\r\n"
    )
    return head.encode() + body


class _FaultyConnection(Connection):
    """A connection on which one fault at most is played; what comes meanwhile waits."""

    def __init__(self, server: FaultyServer) -> None:
        super().__init__(server)
        self._faulty = server
        self._is_busy = False

    def _next(self) -> Request | None:
        return None if self._is_busy else super()._next()

    def _reply(self, answer: bytes) -> None:
        fault, self._faulty.struck = self._faulty.struck, None
        if fault is None:
            super()._reply(answer)
        else:
            self._is_busy = True
            self._play(fault, answer)

    def _play(self, fault: Fault, answer: bytes) -> None:
        loop = asyncio.get_running_loop()
        match fault.do:
            case "hang":
                return
            case "delay":
                loop.call_later(fault.seconds, lambda: self._send(answer, close=True))
            case "slow":
                self._drip(answer, fault.seconds)
            case "reset":
                self._send(answer, close=False)
                loop.call_later(0.005, self._reset)  # what was sent leaves first
            case _:
                self._send(answer, close=True)

    def _drip(self, answer: bytes, seconds: float) -> None:
        self._send(answer[:1], close=len(answer) <= 1)
        if len(answer) > 1 and self._transport is not None:
            asyncio.get_running_loop().call_later(seconds, self._drip, answer[1:], seconds)

    def _reset(self) -> None:
        if self._transport is not None:
            connection = self._transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()


if __name__ == "__main__":
    _parser = argparse.ArgumentParser()
    _parser.add_argument("--faults", type=Path, required=True)
    _own, _others = _parser.parse_known_args()

    def _faulty(accounts: Sequence[Account], **options: Any) -> Server:
        return FaultyServer(accounts, faults=read_faults(_own.faults), **options)

    sys.exit(main(_others, _faulty))
