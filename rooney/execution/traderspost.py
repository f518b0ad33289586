"""Intent → payload → one POST → Receipt. The only importer of requests.

TradersPost deduplicates nothing and can be asked nothing, so this module never repeats a request and says "not sent"
only where that is a fact. One new connection per order, nothing from the environment (no proxy, no .netrc), nothing
followed, nothing pooled, one time limit over the whole exchange.

The webhook URL is the password of the account: it leaves this module in no text, only as the last four characters of
its uuid.
"""

import contextlib
import ipaddress
import json
import logging
import queue
import socket
import ssl
import threading
import time
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError, NewConnectionError

from rooney.config.webhook_url import account_fault
from rooney.errors import ConfigError
from rooney.format import json_object, retry_after_s
from rooney.orders.intents import Payload, Receipt, State

RESOLVE_S = 6.0  # the C library asks a second name server after 5 s
CONNECT_S = 3.0
TOTAL_S = 10.0
MAX_BODY = 64 * 1024  # bytes of an answer that are read; the vendor's are below 2 kB
KEPT_BODY = 2000  # characters of an answer that a receipt keeps
_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "rooney",
}
_EXPECTED = "expected https://HOST/trading/webhook/UUID/PASSWORD; what came is not shown, it may be the secret"

# urllib3 writes the path, which is the password, at DEBUG and, for a malformed header, at WARNING. A filter stays where
# a level would be overruled by the next person who turns debugging on. It has to sit on each logger: a parent's filters
# do not see its children's records.
for _name in [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "urllib3"]:
    logging.getLogger(_name).addFilter(lambda record: False)


class TradersPost:
    """A webhook. `send` may be called from any thread; it blocks for at most `total_s`."""

    def __init__(
        self,
        url: str,
        *,
        ca_file: str | None = None,
        resolve_s: float = RESOLVE_S,
        connect_s: float = CONNECT_S,
        total_s: float = TOTAL_S,
    ) -> None:
        """Raises ConfigError, without the URL, if `url` is no webhook of an account.

        ca_file: certificates to trust instead of requests' own bundle
        """
        if fault := account_fault(url):
            raise ConfigError(f"webhook URL: {fault}; {_EXPECTED}")
        self._url, parts = url, urlsplit(url)
        host, port = parts.hostname or "", parts.port
        # Once, because the same work for each order would be done while the order waits.
        self._prepared = requests.Request("POST", self._url, headers=_HEADERS).prepare()
        self._host, self._port = host, port or (443 if parts.scheme == "https" else 80)
        uuid, password = parts.path.split("/")[-2:]
        self.label = f"…{uuid[-4:]}"
        spellings = {spell(secret) for secret in (uuid, password) for spell in (str, quote, unquote)}
        self._secrets = (self._url, parts.path, *sorted(spellings, key=len, reverse=True))
        self._limits = (resolve_s, connect_s, total_s)
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":  # once, because reading the bundle takes longer than an order
            try:
                self._tls = ssl.create_default_context(cafile=ca_file or DEFAULT_CA_BUNDLE_PATH)
            except OSError as error:
                raise ConfigError(f"certificates to trust: {type(error).__name__} while reading {ca_file}") from None

    def __repr__(self) -> str:
        return f"TradersPost({self.label})"

    def send(self, intent_payload: Payload) -> Receipt:
        """POST once and say what is known. Never raises, never repeats."""
        ts_sent_ns = time.time_ns()
        outcome = self._attempt(intent_payload)
        return Receipt(
            state=outcome.state,
            status=outcome.status,
            detail=self._clean(outcome.detail, 200),
            ts_sent_ns=ts_sent_ns,
            ts_done_ns=time.time_ns(),
            remote_id=self._clean(outcome.remote_id, 200),
            body=self._clean(outcome.body.decode("utf-8", "replace"), KEPT_BODY),
            retry_after_s=outcome.retry_after_s,
        )

    def _attempt(self, intent_payload: Payload) -> "_Outcome":
        try:
            data = json.dumps(intent_payload, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError):
            return _Outcome(State.REFUSED, "payload cannot be written as JSON; nothing was sent")
        limit = _Limit(*self._limits)
        try:
            answer = self._post(data, limit)
        except Exception as error:  # noqa: BLE001 - bytes may have left: whatever went wrong has to become a receipt
            cause = f"not complete within {limit.total_s:g} s" if limit.struck else _cause(error)
            if not limit.has_begun:
                return _Outcome(State.PLANNED, f"not sent: {cause}")
            return _Outcome(State.UNCONFIRMED, f"answer lost: {cause}")
        finally:
            limit.close()
        return _judge(answer)

    def _post(self, data: bytes, limit: "_Limit") -> "_Answer":
        pool: urllib3.HTTPConnectionPool
        if self._tls is not None:
            pool = urllib3.HTTPSConnectionPool(self._host, self._port, ssl_context=self._tls, limit=limit)
            pool.ConnectionCls = _LimitedTlsConnection
        else:
            pool = urllib3.HTTPConnectionPool(self._host, self._port, limit=limit)
            pool.ConnectionCls = _LimitedConnection
        request = self._prepared.copy()
        request.prepare_body(data, None)
        # The adapter, not a Session: a Session reads the environment, keeps cookies and, even with
        # allow_redirects=False, parses a redirect's Location and reads its whole body.
        response = _OneShot(pool).send(request, stream=True, timeout=limit.total_s)
        try:
            framed = response.raw.chunked or response.raw.length_remaining is not None
            body = b""
            for chunk in response.iter_content(4096):
                body += chunk
                if len(body) > MAX_BODY:
                    break
            wait_s = retry_after_s(response.headers.get("Retry-After", ""), response.headers.get("Date", ""))
            whole = len(body) <= MAX_BODY
            return _Answer(response.status_code, body, headers_end=framed or bool(body), whole=whole, wait_s=wait_s)
        finally:
            response.close()
            pool.close()

    def _clean(self, text: str, limit: int) -> str:
        """A printable line without any part of the URL; redacted before it is cut, so no half of a secret stays."""
        for secret in self._secrets:
            text = text.replace(secret, self.label)
        return "".join(c if c.isprintable() else " " for c in text)[:limit]


class _Outcome(NamedTuple):
    state: State
    detail: str
    status: int = 0
    remote_id: str = ""
    body: bytes = b""
    retry_after_s: float = 0.0


class _Answer(NamedTuple):
    """An answer, as it came.

    headers_end: false where the headers may have been cut off, which http.client takes for their end
    whole:       false where more came than is read
    wait_s:      how long we are asked to wait, 0 if nothing is said
    """

    status: int
    body: bytes
    headers_end: bool
    whole: bool
    wait_s: float


def _judge(answer: _Answer) -> _Outcome:
    """Meaning of an answer that arrived. The status decides, a code nobody knows is still a refusal."""
    status, body = answer.status, answer.body
    fields = json_object(body)
    code, message = str(fields.get("messageCode") or f"HTTP {status}"), fields.get("message")
    said = f"{code}: {message}" if message else code
    if not answer.headers_end:
        return _Outcome(State.UNCONFIRMED, f"HTTP {status}, cut off", status)
    if 300 <= status < 500:
        return _Outcome(State.REFUSED, said, status, body=body, retry_after_s=answer.wait_s)
    if status != 200:
        return _Outcome(State.UNCONFIRMED, said, status, body=body)
    remote_id = fields.get("id")
    proper = fields.get("success") is True and isinstance(remote_id, str) and remote_id.strip()
    if not (proper and answer.whole):
        return _Outcome(State.UNCONFIRMED, "HTTP 200 without success and id", status, body=body)
    return _Outcome(State.ACKNOWLEDGED, "received", status, remote_id=proper, body=body)


def _cause(error: Exception) -> str:
    """Cause of an error, in words; of an error nobody foresaw its class, since its text may hold the URL."""
    wrapped = error.args[0] if isinstance(error, requests.RequestException) and error.args else None
    reason = wrapped.reason if isinstance(wrapped, MaxRetryError) else None
    match reason:
        case NameResolutionError():
            return "host name not resolved"
        case NewConnectionError():
            return f"no connection ({reason.__cause__})"
        case ConnectTimeoutError():
            return "no connection in time"
        case urllib3.exceptions.SSLError(args=(ssl.SSLCertVerificationError() as refused, *_)):
            return f"certificate not accepted ({refused.verify_message})"
    return type(_innermost(error)).__name__


def _innermost(error: BaseException) -> BaseException:
    """The error at the bottom of what requests and urllib3 wrapped; only its class is shown, texts may hold the URL."""
    while True:
        inner = [arg for arg in (*error.args, getattr(error, "reason", None)) if isinstance(arg, BaseException)]
        if not inner:
            return error
        error = inner[-1]


class _Limit:
    """Time limits of one exchange.

    A socket's own time-out starts anew with every byte, so a server that drips would hold us for ever: at the end of
    the time a second descriptor of the same connection shuts it down, wherever the exchange stands.
    """

    def __init__(self, resolve_s: float, connect_s: float, total_s: float) -> None:
        self.resolve_s, self.connect_s, self.total_s = resolve_s, connect_s, total_s
        self.struck = False
        self.has_begun = False  # the first byte of the request was handed to the socket: from here on it may be live
        self._end = time.monotonic() + total_s
        self._twin: socket.socket | None = None
        self._timer: threading.Timer | None = None

    def left(self) -> float:
        """Seconds, at least a millisecond: 0 would mean non-blocking."""
        return max(self._end - time.monotonic(), 0.001)

    def watch(self, connection: socket.socket) -> None:
        """Start the clock on a connected socket, through a descriptor of our own: TLS takes the first one over."""
        if self._timer is not None:
            return
        self._twin = connection.dup()
        self._timer = threading.Timer(self.left(), self._strike)
        self._timer.daemon = True
        self._timer.start()

    def _strike(self) -> None:
        self.struck = True
        assert self._twin is not None
        try:
            self._twin.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the other side was faster

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        if self._twin is not None:
            self._twin.close()


class _LimitedConnection(HTTPConnection):
    """urllib3's connection with one limit for all addresses of a name, and one for the name itself."""

    def __init__(self, *args: Any, limit: _Limit, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit = limit

    def _new_conn(self) -> socket.socket:
        try:
            found = _resolve(self.host, self.port, min(self._limit.resolve_s, self._limit.left()))
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        end = time.monotonic() + min(self._limit.connect_s, self._limit.left())
        failed: OSError = TimeoutError("no address")
        for tried, (family, kind, protocol, _, address) in enumerate(found):
            share = (end - time.monotonic()) / (len(found) - tried)  # a dead first address leaves time for the second
            try:
                return self._connect_to(socket.socket(family, kind, protocol), address, max(share, 0.001))
            except OSError as error:
                failed = error
        if isinstance(failed, TimeoutError):
            raise ConnectTimeoutError(self, "connect timed out") from failed
        raise NewConnectionError(self, "connect failed") from failed

    def _connect_to(self, connection: socket.socket, address: Any, seconds: float) -> socket.socket:
        try:
            for option in self.socket_options or ():
                connection.setsockopt(*option)
            connection.settimeout(seconds)
            connection.connect(address)
            connection.settimeout(self._limit.left())  # the TLS handshake and the order, too
            if isinstance(self, HTTPSConnection):
                self._limit.watch(connection)  # a handshake reads, and can be dripped
        except OSError:
            connection.close()
            raise
        return connection

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self._limit.has_begun = True
        super().send(data)

    def getresponse(self) -> Any:
        if self.sock is not None:
            self._limit.watch(self.sock)
        return super().getresponse()


class _LimitedTlsConnection(_LimitedConnection, HTTPSConnection):
    """The same below TLS."""


def _resolve(host: str, port: int, seconds: float) -> list[Any]:
    """`getaddrinfo` with a time limit; raises gaierror. It takes none itself, so a thread is left behind if it hangs:
    that thread only looks up, it can send nothing later. An address needs no looking up."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    answer: queue.SimpleQueue[list[Any] | socket.gaierror] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answer.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except socket.gaierror as error:
            answer.put(error)

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    try:
        found = answer.get(timeout=seconds)
    except queue.Empty:
        raise socket.gaierror(socket.EAI_AGAIN, f"no answer in {seconds:g} s") from None
    if isinstance(found, socket.gaierror):
        raise found
    return found


class _OneShot(HTTPAdapter):
    """requests' adapter on a pool made for one order; no Retry is mounted and no pool is shared."""

    def __init__(self, pool: urllib3.HTTPConnectionPool) -> None:
        super().__init__(max_retries=0)
        self._pool = pool

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> urllib3.HTTPConnectionPool:
        return self._pool

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the pool's TLS context demands and checks the certificate."""
