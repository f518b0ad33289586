"""The webhook over real HTTP: accounts, their books and the log."""

import asyncio
import json
import re
import ssl
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rooney.errors import ConfigError
from rooney.sim.traderspost import http
from rooney.sim.traderspost.http import Request
from rooney.sim.traderspost.positions import Book
from rooney.sim.traderspost.validation import Refusal, check, time_s

MAX_HEAD, MAX_BODY = 16 * 1024, 64 * 1024  # bytes


class Account(msgspec.Struct, frozen=True):
    """A webhook with one subscription, settings as the README tells users to make them."""

    name: str
    uuid: str
    password: str

    @property
    def path(self) -> str:
        return f"/trading/webhook/{self.uuid}/{self.password}"


class Server:
    """The webhook: accounts, their books and the log. Use from one event loop.

    planning_s, fill_s: how long the vendor plans before it reads the position, and the broker takes to fill
    rate_limit:         off for replays, which are faster than time
    check_age:          honour `rejectAfter`; on only where `time` is the wall clock's
    tls:                speak https with this certificate; a client that does not trust it fails in the handshake
    """

    def __init__(
        self,
        accounts: Sequence[Account],
        *,
        log: Path | None = None,
        rate_limit: bool = True,
        check_age: bool = False,
        planning_s: float = 0.0,
        fill_s: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port = 0
        self.books = {account.name: Book() for account in accounts}
        self._by_uuid = {account.uuid: account for account in accounts}
        if not accounts or len(self.books) < len(accounts) or len(self._by_uuid) < len(accounts):
            raise ConfigError("accounts: at least one, and no name or uuid twice")
        self._rate_limit, self._check_age = rate_limit, check_age
        self._planning_s, self._fill_s = planning_s, fill_s
        self.tls = tls
        self._requests = 0
        self._unplanned: dict[int, dict[str, Any]] = {}
        self._log = open(log, "ab", buffering=0) if log is not None else None  # noqa: SIM115 - closed in `stop`
        self._server: asyncio.Server | None = None
        self.connections: set[Connection] = set()

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; `self.port` says where."""
        loop = asyncio.get_running_loop()
        listen = loop.create_server(self._connection, "127.0.0.1", port, backlog=512, ssl=self.tls)
        self._server = await listen
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, drop connections, log what was received but never planned."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.abort()
        for entry in self._unplanned.values():
            self._write(entry | {"effect": "unplanned"})
        if self._log is not None:
            self._log.close()
            self._log = None

    def state(self) -> dict[str, Any]:
        """Answer to GET /state."""
        return {
            "ts_ns": time.time_ns(),
            "requests": self._requests,
            "accounts": {name: book.shown() for name, book in self.books.items()},
        }

    def answer(self, request: Request) -> bytes:
        """The bytes of the answer, after what the request does at once."""
        if request.method == "GET" and request.target == "/state":
            return http.response(200, self.state(), keep_alive=request.keep_alive)
        if not request.target.startswith("/trading/webhook/"):
            return http.refused(Refusal(404, "not-found", "no such page"))
        self._requests += 1
        account = self._by_uuid.get(request.target.split("/")[3])
        if account is not None:
            self.books[account.name].counts["requests"] += 1
        payload = _decode(request.body)
        entry = {
            "n": self._requests,
            "ts_first_ns": request.ts_first_ns,
            "ts_read_ns": request.ts_read_ns,
            "account": account.name if account is not None else "",
            "payload": request.body.decode("utf-8", "replace") if isinstance(payload, Refusal) else payload,
        }
        return self._take(request, account, payload, entry)

    def _connection(self) -> "Connection":
        return Connection(self)

    def _take(self, request: Request, account: Account | None, payload: Any, entry: dict[str, Any]) -> bytes:
        """Refuse a signal, or receive it. entry: what the log says of it so far."""
        name, refusal = entry["account"], self._refusal(request, account, payload)
        if refusal is not None:
            if name:
                self.books[name].counts["refused"] += 1
            self._write(entry | {"status": refusal.status, "code": refusal.code, "effect": "refused"})
            return http.refused(refusal)
        signal_id = str(uuid.uuid4())
        reply = {"success": True, "id": signal_id, "logId": str(uuid.uuid4()), "payload": payload}
        entry |= {"status": 200, "id": signal_id}
        self.books[name].counts["received"] += 1
        self._unplanned[self._requests] = entry
        self._later(self._planning_s, self._plan, name, payload, entry)
        return http.response(200, reply, keep_alive=request.keep_alive)

    def _refusal(self, request: Request, account: Account | None, payload: object) -> Refusal | None:
        if request.method != "POST":
            return Refusal(400, "post-required", "send a POST request")
        if account is None:
            return Refusal(404, "not-found", "webhook not found")
        if self._rate_limit and self.books[account.name].over_limit(time.monotonic()):
            return Refusal(429, "too-many-requests", "too many requests")
        if request.target != account.path:
            return Refusal(400, "invalid-password", "the password is wrong")
        return payload if isinstance(payload, Refusal) else check(payload)

    def _later(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        """At once where the delay is 0, so that the answer is sent after its effect."""
        if seconds > 0:
            asyncio.get_running_loop().call_later(seconds, call, *args)
        else:
            call(*args)

    def _plan(self, name: str, payload: dict[str, Any], entry: dict[str, Any]) -> None:
        del self._unplanned[entry["n"]]
        made_s = time_s(payload.get("time"))
        age_s = entry["ts_read_ns"] / 1e9 - made_s if self._check_age and made_s is not None else None
        effect = self.books[name].plan(payload, age_s)
        self._later(self._fill_s, self.books[name].fill, payload, effect)
        self._write(
            entry
            | {
                "effect": effect.kind,
                "reason": effect.reason,
                "order": effect.order,
                "position": self.books[name].positions[payload["ticker"]],
            }
        )

    def _write(self, entry: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")


def _decode(body: bytes) -> Any:
    """The body as JSON, or the refusal it earns."""
    if not body.strip():
        return Refusal(400, "empty-json", "the body is empty")
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return Refusal(400, "malformed-json", "the body is not JSON")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


class Connection(asyncio.Protocol):
    """HTTP/1.1 on one connection: one request at a time, bodies by Content-Length."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._ts_first_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.connections.discard(self)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._ts_first_ns = time.time_ns()
        self._buffer += data
        while self._transport is not None and (request := self._next()) is not None:
            self._ts_first_ns = time.time_ns()
            self._reply(self._server.answer(request))

    def _next(self) -> Request | None:
        """Take the next whole request from the buffer."""
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            if len(head) > MAX_HEAD:
                self._send(http.refused(Refusal(400, "invalid-payload", "headers are too long")), close=True)
            return None
        try:
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", "0"))
        except ValueError:
            length = -1
        if not 0 <= length <= MAX_BODY:
            self._send(
                http.refused(Refusal(400, "invalid-payload", "not an HTTP request this server reads")), close=True
            )
            return None
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        keep_alive = headers.get("connection", "").lower() != "close"
        return Request(method, target, rest[:length], keep_alive, self._ts_first_ns, time.time_ns())

    def _send(self, data: bytes, *, close: bool) -> None:
        if self._transport is not None:
            self._transport.write(data)
            if close:
                self._transport.close()

    def _reply(self, answer: bytes) -> None:
        self._send(answer, close=b"\r\nConnection: close\r\n" in answer)


def read_accounts(text: str) -> list[Account]:
    """`ibs=UUID/PASSWORD,breakout=UUID/PASSWORD`"""
    found = [re.fullmatch(r"([\w-]+)=([\w-]+)/([\w-]+)", item) for item in text.split(",")]
    if not all(found):
        raise ConfigError("accounts: expected NAME=UUID/PASSWORD, separated by commas")
    return [Account(*match.groups()) for match in found if match is not None]
