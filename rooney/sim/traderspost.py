"""A local TradersPost: the vendor's webhook over real HTTP, and behind it a broker on paper that counts effects.

    python -m rooney.sim.traderspost --ready-file PORT --accounts ibs=UUID/PASSWORD --log webhooks.jsonl --faults F.json

It answers as the contract says the vendor does, also where that is unpleasant: a trade that is rejected by a safeguard
is an HTTP 200 all the same, and two exits planned before the first has filled both sell. A fault script makes it
misbehave in declared ways at declared requests. Times in the log are wall clock, UTC ns.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import re
import signal
import socket
import struct
import sys
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from rooney.errors import EXIT_CONFIG, EXIT_OK, ConfigError
from rooney.instruments import MONTH_CODES, PRODUCTS

PER_MINUTE, PER_HOUR = 60, 500  # requests per webhook
MAX_HEAD, MAX_BODY = 16 * 1024, 64 * 1024  # bytes

ACTIONS = frozenset({"buy", "sell", "exit", "cancel", "add", "reverse", "breakeven"})
SENTIMENTS = {"bullish": 1, "long": 1, "bearish": -1, "short": -1, "flat": 0}
ORDER_TYPES = frozenset({"market", "limit", "stop", "stop_limit", "trailing_stop"})
STOP_TYPES = frozenset({"stop", "stop_limit", "trailing_stop"})
QUANTITY_TYPES = frozenset(
    {
        "fixed_quantity",
        "dollar_amount",
        "risk_dollar_amount",
        "risk_percent",
        "percent_of_equity",
        "percent_of_position",
    }
)
TIMES_IN_FORCE = frozenset({"day", "gtc", "opg", "cls", "ioc", "fok"})
_TICKER = re.compile(rf"([A-Z0-9]{{2,3}})[{MONTH_CODES}]\d{{4}}")


class Account(msgspec.Struct, frozen=True):
    """One webhook with one subscription, settings as the README tells users to make them."""

    name: str
    uuid: str
    password: str

    @property
    def path(self) -> str:
        return f"/trading/webhook/{self.uuid}/{self.password}"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to misbehave, at the n-th webhook request.

    do:      delay     answer after `seconds`
             reset     TCP reset after `bytes` bytes of the answer
             close     read the order, close without a byte
             half      complete headers, half the body, close
             html500   HTTP 500 with a page for people
             limited   HTTP 429
             no_id     HTTP 200, success, no id
             redirect  HTTP 302 to another path of this server
             slow      one byte of the answer each `seconds`
             hang      read the order, answer nothing, stay connected
    at, every: which requests, counted from 1; of `account` if given, else of all
    booked:  whether the order takes effect before that. Default: yes, except html500, limited and redirect
    """

    do: Literal["delay", "reset", "close", "half", "html500", "limited", "no_id", "redirect", "slow", "hang"]
    at: tuple[int, ...] = ()
    every: int = 0
    account: str = ""
    seconds: float = 1.0
    bytes: int = 0
    booked: bool | None = None

    @property
    def takes_effect(self) -> bool:
        return self.booked if self.booked is not None else self.do not in ("html500", "limited", "redirect")

    def hits(self, account: str, n_all: int, n_account: int) -> bool:
        n = n_account if self.account else n_all
        return self.account in ("", account) and (n in self.at or (self.every > 0 and n % self.every == 0))


class Refusal(NamedTuple):
    """An HTTP answer other than 200."""

    status: int
    code: str
    message: str


class Effect(NamedTuple):
    """What planning a received signal comes to.

    kind:  entry, exit, reverse, cancel, breakeven: done; rejected: a safeguard stopped the trade, HTTP was 200
    order: signed contracts of the one market order that goes out, 0 for none
    """

    kind: str
    reason: str = ""
    order: int = 0


def check(payload: object) -> Refusal | None:
    """The first thing the vendor would refuse in a decoded body, or None."""
    if not isinstance(payload, dict):
        return Refusal(400, "invalid-payload", "the body must be a JSON object")
    for wrong, code, message in _findings(payload):
        if wrong:
            return Refusal(400, code, message)
    return None


def _findings(p: dict[str, Any]) -> Iterator[tuple[bool, str, str]]:
    """(is wrong, messageCode, message) in the order they are looked at; a later one may rely on an earlier."""
    action, kind, quantity = p.get("action"), p.get("quantityType"), p.get("quantity")
    yield not _text(p.get("ticker")), "empty-ticker-name", "ticker is required"
    yield not _one_of(action, ACTIONS), "invalid-action", "action is required: " + ", ".join(sorted(ACTIONS))
    if "sentiment" in p:
        yield not _one_of(p["sentiment"], SENTIMENTS), "invalid-sentiment", "sentiment is bullish, bearish or flat"
        yield action not in ("buy", "sell"), "invalid-sentiment-action", "sentiment goes with buy and sell only"
    if kind is not None:
        yield not _one_of(kind, QUANTITY_TYPES), "invalid-quantity-type", "unknown quantityType"
        yield quantity is None, "quantity-type-requires-quantity", "quantityType needs a quantity"
        futures = kind in ("fixed_quantity", "percent_of_position")
        yield not futures, "invalid-quantity-type-for-asset-class", f"{kind} is not for futures"
        partial = kind == "percent_of_position" and action != "exit"
        yield partial, "invalid-percent-of-position-action", "percent_of_position goes with exit only"
    if quantity is not None:
        yield not _number(quantity) or quantity <= 0, "invalid-quantity", "quantity is a positive number"
        whole = kind == "percent_of_position" or quantity == int(quantity)
        yield not whole, "invalid-quantity", "futures trade in whole contracts"
    if "orderType" in p:
        yield not _one_of(p["orderType"], ORDER_TYPES), "invalid-order-type", "unknown orderType"
        trails = sum(_number(p.get(name)) for name in ("trailAmount", "trailPercent"))
        trailing = p["orderType"] == "trailing_stop"
        yield trailing and trails != 1, "invalid-trailing-stop", "trailing_stop needs trailAmount or trailPercent"
    if "timeInForce" in p:
        yield not _one_of(p["timeInForce"], TIMES_IN_FORCE), "invalid-time-in-force", "unknown timeInForce"
    if "takeProfit" in p:
        fields = ("limitPrice", "amount", "percent", "pnlAmount")
        yield not _one_number(p["takeProfit"], fields), "invalid-take-profit-price", "takeProfit needs one price field"
    if "stopLoss" in p:
        stop = p["stopLoss"]
        known = isinstance(stop, dict) and _one_of(stop.get("type"), STOP_TYPES)
        yield not known, "invalid-stop-loss-type", "stopLoss needs a type"
        fields = ("stopPrice", "amount", "percent", "pnlAmount")
        yield not _one_number(stop, fields), "invalid-stop-loss-price", "stopLoss needs one price field"
    for name in ("signalPrice", "price", "limitPrice", "stopPrice"):
        yield name in p and not _number(p[name]), "invalid-payload", f"{name} is a number"
    for name in ("cancel", "ignoreTradingWindows", "test"):
        yield name in p and not isinstance(p[name], bool), "invalid-payload", f"{name} is a boolean"
    if "rejectAfter" in p:
        seconds = p["rejectAfter"]
        yield not _number(seconds) or not 1 <= seconds <= 30, "invalid-payload", "rejectAfter is 1 to 30 seconds"
    yield "time" in p and _time_s(p["time"]) is None, "invalid-payload", "time is ISO-8601 with offset"
    found = _TICKER.fullmatch(p["ticker"])
    yield found is None or found[1] not in PRODUCTS, "ticker-does-not-exist", f"no contract {p['ticker'][:20]}"


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _one_of(value: object, allowed: Any) -> bool:
    return isinstance(value, str) and value in allowed


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _one_number(value: object, fields: Sequence[str]) -> bool:
    return isinstance(value, dict) and [_number(value[name]) for name in fields if name in value] == [True]


def _time_s(text: object) -> float | None:
    """Unix seconds, or None if `text` is no ISO-8601 time with an offset."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment.timestamp() if moment is not None and moment.tzinfo is not None else None


class Book:
    """One account at the broker: net contracts and resting protective stops per ticker, and what was counted.

    Side swapping off, adding off, cancelling open orders only where the signal says so (new strategies' default).
    """

    def __init__(self) -> None:
        self.positions: Counter[str] = Counter()
        self.stops: Counter[str] = Counter()
        self.counts: Counter[str] = Counter(dict.fromkeys((*_COUNTS, *_COUNTED.values()), 0))
        self.recent: deque[float] = deque()  # seconds of the last hour's requests

    def over_limit(self, now_s: float) -> bool:
        """Count a request at `now_s`; true if it is one too many. A refused request counts too."""
        while self.recent and self.recent[0] <= now_s - 3600:
            self.recent.popleft()
        self.recent.append(now_s)
        last_minute = len(self.recent) > PER_MINUTE and self.recent[-PER_MINUTE - 1] > now_s - 60
        return last_minute or len(self.recent) > PER_HOUR

    def plan(self, payload: dict[str, Any], age_s: float | None = None) -> Effect:
        """Decide on a valid signal from the position as it is now; cancels open orders, fills nothing yet.

        age_s: seconds since the signal's `time`; None switches `rejectAfter` off
        """
        ticker, effect = payload["ticker"], self._decide(payload, age_s)
        if payload.get("cancel") is True and effect.reason not in (_ADDING, _STALE) and self.stops.pop(ticker, 0):
            effect = effect if effect.kind != "rejected" else Effect("cancel", effect.reason)
        self.counts[_COUNTED[effect.kind]] += 1
        self.counts["orders"] += effect.order != 0
        return effect

    def fill(self, payload: dict[str, Any], effect: Effect) -> None:
        """The order of a plan fills, whole and always; an entry's stop starts to rest."""
        self.positions[payload["ticker"]] += effect.order
        if effect.kind == "entry" and "stopLoss" in payload:
            self.stops[payload["ticker"]] += 1

    def _decide(self, payload: dict[str, Any], age_s: float | None) -> Effect:
        ticker, action = payload["ticker"], payload["action"]
        held = self.positions[ticker]
        quantity = payload.get("quantity")
        if age_s is not None and age_s > payload.get("rejectAfter", float("inf")):
            return Effect("rejected", _STALE)
        if action == "cancel":
            return Effect("cancel") if self.stops.pop(ticker, 0) else Effect("rejected", "nothing to cancel")
        if action in ("buy", "sell"):
            return self._buy_or_sell(1 if action == "buy" else -1, held, int(quantity or 1), payload.get("sentiment"))
        if held == 0:
            return Effect("rejected", f"no open position to {action}")
        if action == "add":
            return Effect("entry", order=int(quantity or 1) * (1 if held > 0 else -1))
        if action == "reverse":
            return Effect("reverse", order=-2 * held)
        if action == "breakeven":
            return Effect("breakeven")
        if quantity is not None and payload.get("quantityType") == "percent_of_position":
            quantity = abs(held) * quantity / 100
        size = min(abs(held), max(int(quantity), 1)) if quantity is not None else abs(held)
        return Effect("exit", order=-size if held > 0 else size)

    def _buy_or_sell(self, side: int, held: int, quantity: int, sentiment: str | None) -> Effect:
        if held * side < 0:
            return Effect("exit", "side swapping is off", order=-held)
        if sentiment is not None and SENTIMENTS[sentiment] != side:
            return Effect("rejected", "no position on that side to close")
        if held * side > 0:
            return Effect("rejected", _ADDING)
        return Effect("entry", order=side * quantity)

    def shown(self) -> dict[str, dict[str, int]]:
        """For /state: positions that are not flat, stops that rest, counts."""
        return {
            "positions": {ticker: held for ticker, held in self.positions.items() if held},
            "stops": {ticker: resting for ticker, resting in self.stops.items() if resting},
            "counts": dict(self.counts),
        }


_ADDING = "already in a position on that side, adding is off"
_STALE = "the signal is older than its rejectAfter"
_COUNTS = ("requests", "received", "refused", "faults", "orders")  # and, below, what planning comes to
_COUNTED = {
    "entry": "entries",
    "exit": "exits",
    "reverse": "reverses",
    "cancel": "cancels",
    "breakeven": "breakevens",
    "rejected": "rejected",
}


class _Request(NamedTuple):
    """ts_first_ns: its first byte came; ts_read_ns: it was read whole. Wall clock."""

    method: str
    target: str
    body: bytes
    keep_alive: bool
    ts_first_ns: int
    ts_read_ns: int


class Server:
    """The webhook: accounts, their books, the log and the fault script. Use from one event loop.

    planning_s, fill_s: how long the vendor plans before it reads the position, and the broker takes to fill
    rate_limit:         off for replays, which are faster than time
    check_age:          honour `rejectAfter`; on only where `time` is the wall clock's
    """

    def __init__(
        self,
        accounts: Sequence[Account],
        *,
        log: Path | None = None,
        faults: Sequence[Fault] = (),
        rate_limit: bool = True,
        check_age: bool = False,
        planning_s: float = 0.0,
        fill_s: float = 0.0,
    ) -> None:
        self.port = 0
        self.books = {account.name: Book() for account in accounts}
        self._by_uuid = {account.uuid: account for account in accounts}
        if not accounts or len(self.books) < len(accounts) or len(self._by_uuid) < len(accounts):
            raise ConfigError("accounts: at least one, and no name or uuid twice")
        for fault in faults:
            if fault.account and fault.account not in self.books:
                raise ConfigError(f"faults: no account is called {fault.account}")
        self._faults = tuple(faults)
        self._rate_limit, self._check_age = rate_limit, check_age
        self._planning_s, self._fill_s = planning_s, fill_s
        self._requests = 0
        self._unplanned: dict[int, dict[str, Any]] = {}
        self._log = open(log, "ab", buffering=0) if log is not None else None  # noqa: SIM115 - closed in `stop`
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; `self.port` says where."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, drop connections, log what was received but never planned."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        for entry in self._unplanned.values():
            self._write(entry | {"effect": "unplanned"})
        if self._log is not None:
            self._log.close()
            self._log = None

    def state(self) -> dict[str, Any]:
        """What GET /state returns."""
        return {
            "ts_ns": time.time_ns(),
            "requests": self._requests,
            "accounts": {name: book.shown() for name, book in self.books.items()},
        }

    def answer(self, request: _Request) -> tuple[bytes, Fault | None]:
        """The bytes of the answer, and the fault to play while sending them."""
        if request.method == "GET" and request.target == "/state":
            return _http(200, self.state(), keep_alive=request.keep_alive), None
        if not request.target.startswith("/trading/webhook/"):
            return _refused(Refusal(404, "not-found", "no such page")), None
        self._requests += 1
        account = self._by_uuid.get(request.target.split("/")[3])
        name = account.name if account else ""
        if name:
            self.books[name].counts["requests"] += 1
        n_account = self.books[name].counts["requests"] if name else 0
        fault = next((fault for fault in self._faults if fault.hits(name, self._requests, n_account)), None)
        if fault is not None and name:
            self.books[name].counts["faults"] += 1
        entry: dict[str, Any] = {
            "n": self._requests,
            "ts_first_ns": request.ts_first_ns,
            "ts_read_ns": request.ts_read_ns,
            "account": name,
            "fault": fault.do if fault else "",
        }
        payload = _decode(request.body)
        entry["payload"] = request.body.decode("utf-8", "replace") if isinstance(payload, Refusal) else payload
        reached = fault is None or fault.takes_effect
        refusal = self._refusal(request, account, payload) if reached else None
        if refusal is not None:
            if name:
                self.books[name].counts["refused"] += 1
            answer = _refused(refusal)
            self._write(
                entry | {"status": _delivered(fault, refusal.status), "code": refusal.code, "effect": "refused"}
            )
        elif not reached:
            answer = b""
            self._write(entry | {"status": _delivered(fault, 0), "effect": "none"})
        else:
            signal_id = str(uuid.uuid4())
            reply = {"success": True, "id": signal_id, "logId": str(uuid.uuid4()), "payload": payload}
            answer = _http(200, reply, keep_alive=request.keep_alive)
            entry |= {"status": _delivered(fault, 200), "id": signal_id}
            self.books[name].counts["received"] += 1
            self._unplanned[self._requests] = entry
            self._later(self._planning_s, self._plan, name, payload, entry)
        return (self._spoilt(fault, answer) if fault is not None else answer), fault

    def _refusal(self, request: _Request, account: Account | None, payload: object) -> Refusal | None:
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
        made_s = _time_s(payload.get("time"))
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

    def _spoilt(self, fault: Fault, answer: bytes) -> bytes:
        """What the fault makes of the answer's bytes."""
        match fault.do:
            case "html500":
                return _http(500, b"<html><body><h1>Server Error</h1></body></html>")
            case "limited":
                return _refused(Refusal(429, "too-many-requests", "too many requests"))
            case "no_id":
                return _http(200, {"success": True})
            case "redirect":
                return _http(302, b"", extra=f"Location: http://127.0.0.1:{self.port}/elsewhere\r\n")
            case "half":
                head = answer.index(b"\r\n\r\n") + 4
                return answer[: (head + len(answer)) // 2] if answer else b""
            case "reset":
                return answer[: fault.bytes]
            case "close" | "hang":
                return b""
        return answer

    def _write(self, entry: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")


def _delivered(fault: Fault | None, status: int) -> int:
    """The HTTP status the client can have seen, 0 for none."""
    spoilt = {"html500": 500, "limited": 429, "no_id": 200, "redirect": 302, "close": 0, "hang": 0, "reset": 0}
    return spoilt.get(fault.do, status) if fault is not None else status


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


def _refused(refusal: Refusal) -> bytes:
    return _http(refusal.status, {"success": False, "messageCode": refusal.code, "message": refusal.message})


_REASONS = {
    200: "OK",
    302: "Found",
    400: "Bad Request",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Server Error",
}


def _http(status: int, content: dict[str, Any] | bytes, *, extra: str = "", keep_alive: bool = False) -> bytes:
    body = content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
    kind = "text/html" if isinstance(content, bytes) else "application/json"
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"{extra}Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """HTTP/1.1 on one connection: one request at a time, bodies by Content-Length."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._ts_first_ns = 0
        self._busy = False  # a fault is being played; what comes meanwhile waits

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server._connections.discard(self)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._ts_first_ns = time.time_ns()
        self._buffer += data
        while not self._busy and self._transport is not None and (request := self._next()) is not None:
            self._ts_first_ns = time.time_ns()
            answer, fault = self._server.answer(request)
            if fault is None:
                self._send(answer, close=b"\r\nConnection: close\r\n" in answer)
            else:
                self._busy = True
                self._play(fault, answer)

    def _next(self) -> _Request | None:
        """Take the next whole request from the buffer."""
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            if len(head) > MAX_HEAD:
                self._send(_refused(Refusal(400, "invalid-payload", "headers are too long")), close=True)
            return None
        try:
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", "0"))
        except ValueError:
            length = -1
        if not 0 <= length <= MAX_BODY:
            self._send(_refused(Refusal(400, "invalid-payload", "not an HTTP request this server reads")), close=True)
            return None
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        keep_alive = headers.get("connection", "").lower() != "close"
        return _Request(method, target, rest[:length], keep_alive, self._ts_first_ns, time.time_ns())

    def _send(self, data: bytes, *, close: bool) -> None:
        if self._transport is not None:
            self._transport.write(data)
            if close:
                self._transport.close()

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


class Running:
    """A server in a thread of this process."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop, accounts: Sequence[Account]) -> None:
        self.port = server.port
        self._server, self._loop = server, loop
        self._paths = {account.name: account.path for account in accounts}

    def url(self, name: str) -> str:
        """The webhook of one account."""
        return f"http://127.0.0.1:{self.port}{self._paths[name]}"

    def state(self) -> dict[str, Any]:
        """As GET /state."""

        async def read() -> dict[str, Any]:
            return self._server.state()

        return asyncio.run_coroutine_threadsafe(read(), self._loop).result(timeout=5)


@contextlib.contextmanager
def running(accounts: Sequence[Account], **options: Any) -> Iterator[Running]:
    """A server with `Server`'s options in a thread, for as long as the block lasts."""
    server = Server(accounts, **options)
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


def read_accounts(text: str) -> list[Account]:
    """`ibs=UUID/PASSWORD,breakout=UUID/PASSWORD`"""
    found = [re.fullmatch(r"([\w-]+)=([\w-]+)/([\w-]+)", item) for item in text.split(",")]
    if not all(found):
        raise ConfigError("accounts: expected NAME=UUID/PASSWORD, separated by commas")
    return [Account(*match.groups()) for match in found if match is not None]


def read_faults(path: Path) -> list[Fault]:
    """A JSON list of faults."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Fault])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"faults: {path}: {error}") from error


async def _serve(server: Server, port: int, ready_file: Path | None) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await server.start(port)
    if ready_file is not None:
        unfinished = ready_file.with_name(ready_file.name + ".tmp")
        unfinished.write_text(f"{server.port}\n")
        os.replace(unfinished, ready_file)
    await stopped.wait()
    await server.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m rooney.sim.traderspost", description="A local TradersPost on paper."
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default, lets the system choose")
    parser.add_argument("--ready-file", type=Path, help="gets the port, once it listens")
    # By the environment, because a command line is everyone's to read.
    parser.add_argument(
        "--accounts",
        default=os.environ.get("ROONEY_SIM_ACCOUNTS", ""),
        help="NAME=UUID/PASSWORD, separated by commas (default: $ROONEY_SIM_ACCOUNTS)",
    )
    parser.add_argument("--log", type=Path, help="every request is appended here, one JSON object a line")
    parser.add_argument("--faults", type=Path, help="JSON list of faults")
    parser.add_argument("--no-rate-limit", action="store_true", help="for replays, which are faster than time")
    parser.add_argument("--check-age", action="store_true", help="honour rejectAfter; not for replays")
    parser.add_argument("--planning-ms", type=float, default=0.0)
    parser.add_argument("--fill-ms", type=float, default=0.0)
    options = parser.parse_args(arguments)
    try:
        server = Server(
            read_accounts(options.accounts),
            log=options.log,
            faults=read_faults(options.faults) if options.faults else (),
            rate_limit=not options.no_rate_limit,
            check_age=options.check_age,
            planning_s=options.planning_ms / 1000,
            fill_s=options.fill_ms / 1000,
        )
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    asyncio.run(_serve(server, options.port, options.ready_file))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
