"""As much of HTTP/1.1 as the webhook speaks."""

import json
from typing import Any, NamedTuple

from rooney.sim.traderspost.validation import Refusal


class Request(NamedTuple):
    """ts_first_ns: its first byte came; ts_read_ns: it was read whole. Wall clock."""

    method: str
    target: str
    body: bytes
    keep_alive: bool
    ts_first_ns: int
    ts_read_ns: int


def refused(refusal: Refusal) -> bytes:
    return response(refusal.status, {"success": False, "messageCode": refusal.code, "message": refusal.message})


_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests"}


def response(status: int, content: dict[str, Any], *, keep_alive: bool = False) -> bytes:
    body = json.dumps(content, separators=(",", ":")).encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
    )
    return head.encode() + body
