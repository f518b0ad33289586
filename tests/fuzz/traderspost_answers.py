"""Answers of TradersPost on the wire: each is a receipt, and an order only counts as received where it is said so."""

import socket
import socketserver
import threading
from collections import Counter

from rooney.execution.traderspost import TradersPost
from rooney.orders.intents import State
from tests.support.mutations import Reader, sweep

URL = "http://127.0.0.1:{port}/trading/webhook/11111111-2222-3333-4444-555555555555/secret"
TAKEN = b'{"success": true, "id": "b4f9a6a2", "logId": "1"}'
ANSWERS = [
    b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), more, body)
    for status, more, body in (
        (b"200 OK", b"", TAKEN),
        (b"400 Bad Request", b"", b'{"success": false, "messageCode": "invalid-ticker", "message": "no"}'),
        (b"429 Too Many Requests", b"Retry-After: 30\r\n", b"{}"),
        (b"503 Unavailable", b"Retry-After: Mon, 30 Nov 2026 06:01:30 GMT\r\n", b"<html>"),
    )
] + [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(TAKEN), TAKEN)]


class _Server(socketserver.TCPServer):
    allow_reuse_address = True
    answer = b""


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        connection: socket.socket = self.request
        data = b""
        while not data.endswith(b"}"):
            data += connection.recv(65_536)
        assert isinstance(self.server, _Server)
        connection.sendall(self.server.answer)


def run(cases: int, seed: int) -> Counter[str]:
    """Tally by reader and verdict."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.handle_error = lambda request, address: None  # type: ignore[method-assign]  # the client has left
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = TradersPost(URL.format(port=server.server_address[1]), total_s=2.0)

        def read(content: bytes) -> None:
            server.answer = content
            receipt = client.send({"ticker": "ESH2026", "action": "exit"})
            assert receipt.state in (State.ACKNOWLEDGED, State.REFUSED, State.UNCONFIRMED)
            assert "secret" not in f"{receipt.detail}{receipt.body}{receipt.remote_id}"
            assert 0.0 <= receipt.retry_after_s < float("inf")
            if receipt.state is State.ACKNOWLEDGED:
                assert receipt.status == 200 and receipt.remote_id.strip()
            elif receipt.state is State.REFUSED:
                assert 300 <= receipt.status < 500

        try:
            return sweep({"answer": Reader(valid=ANSWERS, read=read, errors=())}, cases, seed)
        finally:
            server.shutdown()
