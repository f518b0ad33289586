"""The webhook client against real sockets: what is certainly unsent, what is refused, what stays unconfirmed."""

import contextlib
import json
import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from rooney.errors import ConfigError
from rooney.execution.payload import payload_of
from rooney.execution.traderspost import MAX_BODY, TradersPost
from rooney.market.instruments import PRODUCTS
from rooney.orders.intents import Intent, Receipt, Role, Side, State
from rooney.sim.traderspost import Account, check
from tests.support.webhooks import running

UUID, PASSWORD = "0f3b6c1e-90aa-4a55-b0a5-7d3f6a21c0de", "s3cret-Passw0rd"
PATH = f"/trading/webhook/{UUID}/{PASSWORD}"
ORDER = {"ticker": "ESZ2025", "action": "exit"}
OK_BODY = b'{"success": true, "id": "b4f9a6a2", "logId": "c1", "payload": {"price": 5321.25}}'
DECIDED_NS = 1_763_812_800_123_456_789  # 2025-11-22T12:00:00.123456789Z

ENTRY = Intent(
    id="0123456789abcdef",
    strategy="ibs",
    mode="live",
    symbol="ES",
    contract="ESZ5",
    ticker="ESZ2025",
    role=Role.ENTRY,
    side=Side.LONG,
    quantity=2,
    cause="rule",
    signal_price=5321.25,
    ts_mark=1_763_812_800_000_000_000,
    seq=7,
)
EXIT = msgspec.structs.replace(ENTRY, role=Role.EXIT, side=Side.FLAT)


def paid(intent: Intent, **changes: object) -> dict[str, object]:
    options = {"reject_after_s": 15, "tick_size": 0.25, "ts_decided_ns": DECIDED_NS} | changes
    if "stop_price" in options:
        intent = msgspec.structs.replace(intent, stop_price=options.pop("stop_price"))
        options["broker_stop"] = True
    return payload_of(intent, **options)  # type: ignore[arg-type]


def http(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def read_order(connection: socket.socket) -> bytes:
    """Everything of one request."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


class Served:
    """Where a little server listens, and the requests it has read whole."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.orders: list[bytes] = []
        self.connections = 0

    def client(self, **options: float) -> TradersPost:
        return TradersPost(f"http://127.0.0.1:{self.port}{PATH}", **options)  # type: ignore[arg-type]


@contextlib.contextmanager
def serving(
    handle: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None, read_first: bool = True
) -> Iterator[Served]:
    """A server that reads each order, hands the connection to `handle` and closes it."""
    listener = socket.create_server(("127.0.0.1", 0))
    served = Served(listener.getsockname()[1])

    def one(connection: socket.socket) -> None:
        try:
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
            if read_first:
                served.orders.append(read_order(connection))
            handle(connection)
        except OSError:
            pass  # the client hung up, as some tests want
        finally:
            connection.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            served.connections += 1
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=5)


def answering(data: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(data)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_on_first_byte(connection: socket.socket) -> None:
    connection.recv(1)  # a reset before that can reach the client while it still connects, which is unsent
    reset(connection)


def drip(data: bytes, pause_s: float = 0.05) -> Callable[[socket.socket], None]:
    def handle(connection: socket.socket) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(pause_s)

    return handle


def hang(connection: socket.socket) -> None:
    connection.settimeout(5)
    connection.recv(1)


# --- payload ---------------------------------------------------------------------------------------------------------


def test_an_entry_is_exactly_the_contract() -> None:
    assert paid(ENTRY, stop_price=5300.0) == {
        "ticker": "ESZ2025",
        "action": "buy",
        "quantity": 2,
        "quantityType": "fixed_quantity",
        "orderType": "market",
        "signalPrice": 5321.25,
        "time": "2025-11-22T12:00:00.123456+00:00",
        "rejectAfter": 15,
        "cancel": True,
        "stopLoss": {"type": "stop", "stopPrice": 5300.0},
        "extras": {"intent": "0123456789abcdef", "strategy": "ibs", "seq": 7, "mode": "live"},
    }


def test_an_exit_is_exactly_the_contract() -> None:
    assert paid(EXIT) == {
        "ticker": "ESZ2025",
        "action": "exit",
        "orderType": "market",
        "signalPrice": 5321.25,
        "time": "2025-11-22T12:00:00.123456+00:00",
        "cancel": True,
        "ignoreTradingWindows": True,
        "extras": {"intent": "0123456789abcdef", "strategy": "ibs", "seq": 7, "mode": "live"},
    }


def test_a_short_entry_sells() -> None:
    assert paid(msgspec.structs.replace(ENTRY, side=Side.SHORT))["action"] == "sell"


def test_an_exit_without_a_price_still_has_a_payload() -> None:
    assert "signalPrice" not in paid(msgspec.structs.replace(EXIT, signal_price=float("nan")))


@pytest.mark.parametrize(
    "wrong", [{"side": Side.FLAT}, {"quantity": 0}, {"signal_price": float("nan")}, {"signal_price": float("inf")}]
)
def test_an_entry_that_makes_no_sense_has_no_payload(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="0123456789abcdef"):
        paid(msgspec.structs.replace(ENTRY, **wrong))


@pytest.mark.parametrize("seconds", [0, 31, 600])
def test_reject_after_stays_in_the_range_the_vendor_accepts(seconds: int) -> None:
    with pytest.raises(ValueError, match="1 to 30"):
        paid(ENTRY, reject_after_s=seconds)


@given(root=st.sampled_from(sorted(PRODUCTS)), ticks=st.integers(-10_000, 100_000), off=st.floats(-0.49, 0.49))
def test_a_price_is_the_shortest_number_on_the_tick_grid(root: str, ticks: int, off: float) -> None:
    tick = PRODUCTS[root].tick_size
    sent = paid(msgspec.structs.replace(ENTRY, signal_price=(ticks + off) * tick), tick_size=tick)["signalPrice"]
    assert Decimal(json.dumps(sent)) == ticks * Decimal(repr(tick))


def test_bug_5_the_vendor_accepts_what_we_send_and_knows_every_field_of_it() -> None:
    """An unknown field is ignored, so a typing error would be silent; the names are those of the vendor's table."""
    known = {
        "ticker",
        "action",
        "quantity",
        "quantityType",
        "orderType",
        "signalPrice",
        "time",
        "rejectAfter",
        "cancel",
    }
    known |= {"stopLoss", "extras", "ignoreTradingWindows"}
    for one in (paid(ENTRY, stop_price=5300.0), paid(EXIT)):
        assert check(one) is None
        assert set(one) <= known


# --- §9: certainly not sent ------------------------------------------------------------------------------------------


def test_a_name_that_does_not_resolve_was_not_sent() -> None:
    receipt = TradersPost(f"https://no-such-host.invalid{PATH}").send(ORDER)
    assert (receipt.state, receipt.status, receipt.detail) == (State.PLANNED, 0, "not sent: host name not resolved")


def test_a_resolver_that_hangs_was_not_sent_and_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: free.wait(5) and [])
    started = time.monotonic()
    receipt = TradersPost(f"https://slow.invalid{PATH}", resolve_s=0.2).send(ORDER)
    assert receipt.state is State.PLANNED
    assert time.monotonic() - started < 3
    free.set()


def test_a_refused_connection_was_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    receipt = TradersPost(f"http://127.0.0.1:{port}{PATH}").send(ORDER)
    assert (receipt.state, receipt.status) == (State.PLANNED, 0)
    assert "refused" in receipt.detail


@pytest.fixture
def deaf() -> Iterator[int]:
    """The port of a server whose queue is full: connecting to it times out."""
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        yield full.getsockname()[1]


def test_a_connect_time_out_was_not_sent(deaf: int) -> None:
    started = time.monotonic()
    receipt = TradersPost(f"http://127.0.0.1:{deaf}{PATH}", connect_s=0.3).send(ORDER)
    assert (receipt.state, receipt.detail) == (State.PLANNED, "not sent: no connection in time")
    assert time.monotonic() - started < 3


def test_a_deaf_first_address_leaves_time_for_the_second(deaf: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(http("200 OK", OK_BODY))) as served:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (deaf, served.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)
        started = time.monotonic()
        assert served.client(connect_s=2.0).send(ORDER).state is State.ACKNOWLEDGED
        assert time.monotonic() - started < 1.9


def test_a_certificate_nobody_trusts_was_not_sent(certificate: tuple[Path, ssl.SSLContext]) -> None:
    with serving(answering(http("200 OK", OK_BODY)), tls=certificate[1]) as served:
        receipt = TradersPost(f"https://127.0.0.1:{served.port}{PATH}").send(ORDER)
    assert receipt.state is State.PLANNED
    assert "certificate not accepted" in receipt.detail
    assert served.orders == []


def test_a_certificate_for_another_name_was_not_sent(certificate: tuple[Path, ssl.SSLContext]) -> None:
    cert, context = certificate
    with serving(answering(http("200 OK", OK_BODY)), tls=context) as served:
        receipt = TradersPost(f"https://localhost:{served.port}{PATH}", ca_file=str(cert)).send(ORDER)
    assert receipt.state is State.PLANNED
    assert served.orders == []


# --- §9: what the installed requests and urllib3 raise, used plainly --------------------------------------------------


class Facts(NamedTuple):
    """Of an error: its class, the class below it, that one's reason. None of them says whether the order left."""

    raised: str
    wrapped: str
    reason: str


def facts(url: str, retries: int | Retry = 0, **options: Any) -> Facts:
    """What `requests` raises for one POST, with its own session, pool and connection."""
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries))
        with pytest.raises(requests.RequestException) as caught:
            session.post(url, json=ORDER, timeout=options.pop("timeout", 2), **options)
    wrapped = caught.value.args[0]
    reason = getattr(wrapped, "reason", None)
    named = (type(one).__name__ if isinstance(one, Exception) else "" for one in (caught.value, wrapped, reason))
    return Facts(*named)


def plainly(port: int, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{port}{PATH}"


def test_section_9_a_name_that_does_not_resolve() -> None:
    found = facts(f"https://no-such-host.invalid{PATH}")
    assert found == ("ConnectionError", "MaxRetryError", "NameResolutionError")


def test_section_9_a_refused_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert facts(plainly(port)) == ("ConnectionError", "MaxRetryError", "NewConnectionError")


def test_section_9_a_connect_time_out(deaf: int) -> None:
    found = facts(plainly(deaf), timeout=0.3)
    assert found == ("ConnectTimeout", "MaxRetryError", "ConnectTimeoutError")


def test_section_9_a_certificate_nobody_trusts(certificate: tuple[Path, ssl.SSLContext]) -> None:
    with serving(answering(http("200 OK", OK_BODY)), tls=certificate[1]) as served:
        found = facts(plainly(served.port, "https"))
    assert found == ("SSLError", "MaxRetryError", "SSLError")


def test_section_9_a_handshake_that_speaks_no_tls_has_the_class_of_a_certificate_nobody_trusts() -> None:
    with serving(answering(b"no TLS here\r\n"), read_first=False) as served:
        found = facts(plainly(served.port, "https"))
    assert found == ("SSLError", "MaxRetryError", "SSLError")


def test_section_9_an_order_read_and_closed_is_the_class_of_a_refused_connection() -> None:
    with serving(lambda connection: None) as served:
        assert facts(plainly(served.port)) == ("ConnectionError", "ProtocolError", "")


def test_section_9_an_order_read_and_reset() -> None:
    with serving(reset) as served:
        assert facts(plainly(served.port)) == ("ConnectionError", "ProtocolError", "")


def test_section_9_a_read_time_out() -> None:
    with serving(hang) as served:
        assert facts(plainly(served.port), timeout=0.3) == ("ReadTimeout", "ReadTimeoutError", "")


def test_section_9_a_body_cut_short() -> None:
    with serving(answering(http("200 OK", OK_BODY)[:-20])) as served:
        found = facts(plainly(served.port))
    assert found == ("ChunkedEncodingError", "ProtocolError", "")


def test_section_9_a_kept_connection_closed_on_the_second_order() -> None:
    def once(connection: socket.socket) -> None:
        connection.sendall(http("200 OK", OK_BODY, "Connection: keep-alive"))
        read_order(connection)

    with serving(once) as served, requests.Session() as session:
        assert session.post(plainly(served.port), json=ORDER, timeout=2).status_code == 200
        with pytest.raises(requests.ConnectionError) as caught:
            session.post(plainly(served.port), json=ORDER, timeout=2)
        assert served.connections == 1
    assert type(caught.value.args[0]).__name__ == "ProtocolError"


@pytest.mark.parametrize(("handle", "reason"), [(lambda connection: None, "ProtocolError"), (hang, "ReadTimeoutError")])
def test_section_9_a_mounted_retry_sends_again_and_hides_it_in_the_error_of_a_refused_connection(
    handle: Callable[[socket.socket], None], reason: str
) -> None:
    retry = Retry(total=1, backoff_factor=0, allowed_methods=None)
    with serving(handle) as served:
        found = facts(plainly(served.port), retries=retry, timeout=0.3)
        assert len(served.orders) == 2
    assert found[1:] == ("MaxRetryError", reason)


# --- §9: unconfirmed -------------------------------------------------------------------------------------------------

LOST: dict[str, Callable[[socket.socket], None]] = {
    "closes after reading": lambda connection: None,
    "resets after reading": reset,
    "half a status line": answering(b"HTTP/1.1 2"),
    "status without the end of its headers": answering(b"HTTP/1.1 404 Not Found\r\nServer: x"),
    "half a body": answering(http("200 OK", OK_BODY)[:-20]),
    "half a refusal": answering(http("400 Bad Request", b'{"success": false}')[:-5]),
    "chunks that stop": answering(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"suc'),
    "a body no decoder knows": answering(http("200 OK", OK_BODY, "Content-Encoding: gzip")),
    "no HTTP at all": answering(b"220 mail.example ESMTP\r\n"),
    "headers without end": answering(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200),
    "a header line of 100 kB": answering(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n"),
}


@pytest.mark.parametrize("handle", LOST.values(), ids=LOST.keys())
def test_bugs_2_and_3_an_answer_lost_after_the_order_was_read_is_unconfirmed_and_asked_once(
    handle: Callable[[socket.socket], None],
) -> None:
    """A ConnectionError says nothing about delivery, and nothing is repeated."""
    with serving(handle) as served:
        receipt = served.client().send(ORDER)
        assert receipt.state is State.UNCONFIRMED
        assert (served.connections, len(served.orders)) == (1, 1)


def test_a_server_that_closes_without_reading_is_unconfirmed() -> None:
    with serving(lambda connection: None, read_first=False) as served:
        assert served.client().send(ORDER).state is State.UNCONFIRMED


@pytest.mark.parametrize(
    "handle",
    [hang, drip(http("200 OK", OK_BODY)), drip(b"HTTP/1.1 200 OK\r\n\r\n" + OK_BODY)],
    ids=["silence", "dripping", "dripping without a length"],
)
def test_the_whole_exchange_has_one_time_limit(handle: Callable[[socket.socket], None]) -> None:
    """A read time-out starts anew with each byte; the limit does not."""
    with serving(handle) as served:
        started = time.monotonic()
        receipt = served.client(total_s=0.6).send(ORDER)
        assert (receipt.state, receipt.remote_id) == (State.UNCONFIRMED, "")
        assert 0.5 < time.monotonic() - started < 3


def test_the_time_limit_holds_under_tls(certificate: tuple[Path, ssl.SSLContext]) -> None:
    cert, context = certificate
    with serving(drip(http("200 OK", OK_BODY)), tls=context) as served:
        started = time.monotonic()
        client = TradersPost(f"https://127.0.0.1:{served.port}{PATH}", ca_file=str(cert), total_s=0.6)
        assert client.send(ORDER).state is State.UNCONFIRMED
        assert time.monotonic() - started < 3


def test_a_server_that_closes_after_reading_under_tls_is_unconfirmed(certificate: tuple[Path, ssl.SSLContext]) -> None:
    cert, context = certificate
    with serving(lambda connection: None, tls=context) as served:
        receipt = TradersPost(f"https://127.0.0.1:{served.port}{PATH}", ca_file=str(cert)).send(ORDER)
        assert (receipt.state, len(served.orders)) == (State.UNCONFIRMED, 1)


@pytest.mark.parametrize(
    "handle",
    [hang, answering(b"no TLS here\r\n"), reset_on_first_byte, lambda connection: None],
    ids=["hangs", "speaks plainly", "resets", "closes"],
)
def test_a_tls_handshake_that_fails_in_any_way_was_not_sent(
    handle: Callable[[socket.socket], None],
) -> None:
    with serving(handle, read_first=False) as served:
        started = time.monotonic()
        receipt = TradersPost(f"https://127.0.0.1:{served.port}{PATH}", total_s=0.5).send(ORDER)
        assert receipt.state is State.PLANNED
        assert time.monotonic() - started < 3
        assert served.orders == []


# --- §5: answers -----------------------------------------------------------------------------------------------------

REFUSAL = b'{"success": false, "messageCode": "invalid-password", "message": "Wrong password."}'


def test_bug_6_success_with_an_id_is_acknowledged_and_nothing_more() -> None:
    """A 200 is no fill; the price in it is our own and the receipt has no place for one."""
    with serving(answering(http("200 OK", OK_BODY))) as served:
        before = time.time_ns()
        receipt = served.client().send(ORDER)
    assert (receipt.state, receipt.status, receipt.remote_id) == (State.ACKNOWLEDGED, 200, "b4f9a6a2")
    assert before <= receipt.ts_sent_ns <= receipt.ts_done_ns <= time.time_ns()
    assert receipt.body == OK_BODY.decode()
    assert not any("price" in name or "fill" in name for name in Receipt.__struct_fields__)


def test_tls_with_a_trusted_certificate_is_acknowledged(certificate: tuple[Path, ssl.SSLContext]) -> None:
    cert, context = certificate
    with serving(answering(http("200 OK", OK_BODY)), tls=context) as served:
        receipt = TradersPost(f"https://127.0.0.1:{served.port}{PATH}", ca_file=str(cert)).send(ORDER)
        assert receipt.state is State.ACKNOWLEDGED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"null",
        b"[]",
        b"true",
        b'{"success": true}',
        b'{"success": true, "id": null}',
        b'{"success": true, "id": ""}',
        b'{"success": true, "id": "  "}',
        b'{"success": true, "id": 7}',
        b'{"success": "true", "id": "x"}',
        b'{"success": 1, "id": "x"}',
        b'{"success": false, "id": "x"}',
        b'{"id": "x"}',
        b'{"success": true, "id": "x"',
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"success": true, "id": "x", "n": ' + b"9" * 10_000 + b"}",
        b'{"success": true, "id": "x"}' + b" " * MAX_BODY,
    ],
    ids=lambda body: body[:34].decode("latin-1"),
)
def test_a_200_without_success_and_id_is_unconfirmed(body: bytes) -> None:
    with serving(answering(http("200 OK", body))) as served:
        receipt = served.client().send(ORDER)
    assert (receipt.state, receipt.remote_id) == (State.UNCONFIRMED, "")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 499, 301, 302, 307, 308])
def test_3xx_and_4xx_are_refused_whatever_they_say(status: int) -> None:
    for body in (REFUSAL, b"<html>", b'{"success": true, "id": "x"}'):
        with serving(answering(http(f"{status} Said", body))) as served:
            receipt = served.client().send(ORDER)
        assert (receipt.state, receipt.status) == (State.REFUSED, status)


@pytest.mark.parametrize("status", [101, 201, 202, 204, 206, 500, 502, 503, 504, 520, 999])
def test_any_other_status_is_unconfirmed(status: int) -> None:
    with serving(answering(http(f"{status} Said", OK_BODY))) as served:
        receipt = served.client().send(ORDER)
    assert (receipt.state, receipt.remote_id) == (State.UNCONFIRMED, "")


def test_a_refusal_shows_its_code() -> None:
    with serving(answering(http("400 Bad Request", REFUSAL))) as served:
        assert served.client().send(ORDER).detail == "invalid-password: Wrong password."


def test_a_redirect_is_not_followed_and_its_endless_body_not_read() -> None:
    with serving(answering(http("200 OK", OK_BODY))) as elsewhere:
        there = f"Location: http://127.0.0.1:{elsewhere.port}{PATH}"
        head = f"HTTP/1.1 307 Temporary Redirect\r\n{there}\r\n\r\n".encode()
        with serving(lambda connection: connection.sendall(head + b"x" * 50_000_000)) as served:
            started = time.monotonic()
            assert served.client().send(ORDER).state is State.REFUSED
            assert time.monotonic() - started < 3
        assert elsewhere.connections == 0


def test_an_endless_answer_is_read_only_so_far() -> None:
    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with serving(pour) as served:
        receipt = served.client(total_s=5).send(ORDER)
    assert receipt.state is State.UNCONFIRMED
    assert len(receipt.body) <= 2000


# --- what goes out ---------------------------------------------------------------------------------------------------


def test_each_order_has_a_connection_of_its_own() -> None:
    def keep_alive(connection: socket.socket) -> None:
        connection.sendall(http("200 OK", OK_BODY, "Connection: keep-alive"))
        hang(connection)

    with serving(keep_alive) as served:
        client = served.client()
        assert [client.send(ORDER).state for _ in range(3)] == [State.ACKNOWLEDGED] * 3
        assert served.connections == 3


def test_proxies_and_netrc_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password hunter2\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving(answering(http("200 OK", OK_BODY))) as served:
        assert served.client().send(ORDER).state is State.ACKNOWLEDGED
        assert b"authorization" not in served.orders[0].lower()


def test_the_order_is_one_post_of_plain_json() -> None:
    with serving(answering(http("200 OK", OK_BODY))) as served:
        served.client().send(paid(ENTRY))
    head, _, body = served.orders[0].partition(b"\r\n\r\n")
    assert head.startswith(f"POST {PATH} HTTP/1.1\r\n".encode())
    assert b"Content-Type: application/json" in head
    assert json.loads(body) == paid(ENTRY)


def test_a_payload_that_is_no_json_is_refused_without_a_connection() -> None:
    with serving(answering(http("200 OK", OK_BODY))) as served:
        receipt = served.client().send({"signalPrice": float("nan")})
        assert (receipt.state, receipt.status, served.connections) == (State.REFUSED, 0, 0)


def test_bug_8_making_a_client_sends_nothing() -> None:
    """No health check against the live webhook."""
    with serving(answering(http("200 OK", OK_BODY))) as served:
        served.client()
        time.sleep(0.05)
        assert served.connections == 0


# --- the secret ------------------------------------------------------------------------------------------------------


def leaks(text: str) -> bool:
    return PASSWORD in text or UUID in text


def test_repr_shows_the_last_four_characters_of_the_uuid() -> None:
    assert repr(TradersPost(f"https://webhooks.example{PATH}")) == "TradersPost(…c0de)"


@pytest.mark.parametrize(
    "url",
    [
        "",
        PATH,
        f"ftp://webhooks.example{PATH}",
        f"http://webhooks.example{PATH}",
        f"https://webhooks.example{PATH}/more",
        f"https://webhooks.example/trading/webhook/{UUID}/",
        f"https://webhooks.example/trading/{UUID}/{PASSWORD}",
        f"https://webhooks.example{PATH}?a=b",
        f"https://{PASSWORD}@webhooks.example{PATH}",
        f"https://webhooks.example:port{PATH}",
        f"https://[::1{PATH}",
        f"https://*bad{PATH}",
        f"https://{'x' * 70}.example{PATH}",
        f"https://webhooks.example:99999{PATH}",
    ],
)
def test_a_bad_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TradersPost(url)
    assert not leaks(str(caught.value))
    assert caught.value.__suppress_context__ or caught.value.__context__ is None  # nothing for a traceback to show


def test_a_missing_certificate_file_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"certificates.*nowhere\.pem"):
        TradersPost(f"https://webhooks.example{PATH}", ca_file="nowhere.pem")


ECHOES = [
    http("400 Bad Request", json.dumps({"messageCode": PATH, "message": f"https://x{PATH} {PASSWORD}"}).encode()),
    http("200 OK", json.dumps({"success": True, "id": f"{UUID}/{PASSWORD}"}).encode()),
    http("500 Oh", ("x" * 1990 + PASSWORD).encode()),
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n no header\r\nbroken\r\n\r\n{}",
    http("302 Found", b"", f"Location: http://127.0.0.1{PATH}"),
    b"",
]


@pytest.mark.parametrize(
    "answer", ECHOES, ids=["refusal", "id", "cut in two", "malformed header", "redirect", "nothing"]
)
def test_bug_1_the_url_is_in_no_receipt_and_no_log_record(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """urllib3 logs the path at DEBUG, and at WARNING for a malformed header."""
    names = ["", *(name for name in logging.root.manager.loggerDict if name.startswith(("urllib3", "requests")))]
    with contextlib.ExitStack() as levels:
        for name in names:
            levels.enter_context(caplog.at_level(logging.DEBUG, logger=name))
        with serving(answering(answer)) as served:
            receipt = served.client().send(ORDER)
    assert not leaks(str(msgspec.to_builtins(receipt)))
    assert PASSWORD[:8] not in receipt.body
    assert not any(leaks(logging.Formatter().format(record)) for record in caplog.records)


def test_a_password_is_taken_out_in_every_spelling() -> None:
    said = b'{"messageCode": "no", "message": "p%40ss and p@ss"}'
    with serving(answering(http("400 Bad Request", said))) as served:
        receipt = TradersPost(f"http://127.0.0.1:{served.port}/trading/webhook/{UUID}/p%40ss").send(ORDER)
    assert receipt.detail == "no: …c0de and …c0de"
    assert "@ss" not in receipt.body


def test_an_unreachable_server_leaks_nothing_either(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG, logger="urllib3.connectionpool"),
        socket.create_server(("127.0.0.1", 0)) as gone,
    ):
        client = TradersPost(f"http://127.0.0.1:{gone.getsockname()[1]}{PATH}")
        gone.close()
        assert not leaks(str(client.send(ORDER)))
    assert not any(leaks(logging.Formatter().format(record)) for record in caplog.records)


@pytest.fixture(scope="module")
def scripted() -> Iterator[tuple[TradersPost, list[bytes]]]:
    """A client and the answer its server will give next."""
    answer = [b""]
    with serving(lambda connection: connection.sendall(answer[0])) as served:
        yield served.client(total_s=2), answer


_status = st.sampled_from([b"200", b"200", b"400", b"429", b"302", b"500", b"100", b"9", b""])
_header = st.sampled_from(
    [
        b"Content-Length: 5",
        b"Content-Length: -1",
        b"Transfer-Encoding: chunked",
        b"Content-Encoding: gzip",
        b" folded",
        b":",
        b"Content-Type: application/json; charset=\xff",
        b"Location: http://[",
        b"Set-Cookie: a=\x00; expires=x",
    ]
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "success"]), inner, max_size=2),
    max_leaves=4,
)
_answers = st.binary(max_size=200) | st.builds(
    lambda status, headers, body: b"HTTP/1.1 " + status + b" X\r\n" + b"\r\n".join([*headers, b"", b""]) + body,
    _status,
    st.lists(_header, max_size=3),
    st.binary(max_size=40) | _json.map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=_answers)
@example(data=b"HTTP/1.1 200 OK\r\n\r\n" + OK_BODY)
@example(data=b"HTTP/1.1 200 OK\r\n\r\n" + f'{{"success": true, "id": "{PASSWORD}"}}'.encode())
def test_bug_15_no_bytes_whatsoever_make_send_raise_or_acknowledge_without_an_id(
    scripted: tuple[TradersPost, list[bytes]], data: bytes
) -> None:
    """An error is never swallowed into None, it is a receipt."""
    client, answer = scripted
    answer[0] = data
    receipt = client.send(ORDER)
    assert receipt.state in (State.ACKNOWLEDGED, State.REFUSED, State.UNCONFIRMED)
    assert not leaks(str(msgspec.to_builtins(receipt)))
    if receipt.state is State.ACKNOWLEDGED:
        said = json.loads(data.partition(b"\r\n\r\n")[2])
        assert said["success"] is True
        assert isinstance(said["id"], str)
        assert receipt.remote_id


# --- bugs of §11 against the local vendor ----------------------------------------------------------------------------

PAPER = Account("ibs", UUID, PASSWORD)


def test_bug_4_and_17_an_exit_has_no_sentiment_and_no_quantity() -> None:
    assert {"sentiment", "quantity", "quantityType"}.isdisjoint(paid(EXIT))


def test_bug_11_an_exit_closes_a_short_and_does_nothing_when_flat() -> None:
    short = msgspec.structs.replace(ENTRY, side=Side.SHORT)
    with running([PAPER]) as vendor:
        client = TradersPost(vendor.url("ibs"))
        for intent in (short, EXIT, EXIT):
            assert client.send(paid(intent)).state is State.ACKNOWLEDGED
        book = vendor.state()["accounts"]["ibs"]
    assert (book["positions"], book["counts"]["orders"], book["counts"]["rejected"]) == ({}, 2, 1)


def test_bug_12_our_exit_clears_the_protective_stop() -> None:
    with running([PAPER]) as vendor:
        client = TradersPost(vendor.url("ibs"))
        client.send(paid(ENTRY, stop_price=5300.0))
        assert vendor.state()["accounts"]["ibs"]["stops"] == {"ESZ2025": 1}
        client.send(paid(EXIT))
        assert vendor.state()["accounts"]["ibs"]["stops"] == {}


def test_bug_18_too_many_requests_are_refused_for_now() -> None:
    with running([PAPER]) as vendor:
        client = TradersPost(vendor.url("ibs"))
        receipts = [client.send(paid(EXIT)) for _ in range(61)]
    assert {receipt.state for receipt in receipts[:60]} == {State.ACKNOWLEDGED}
    assert (receipts[60].state, receipts[60].status) == (State.REFUSED, 429)
