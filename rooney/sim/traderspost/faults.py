"""The fault script: how the webhook misbehaves at which request, and what that makes of an answer."""

from pathlib import Path
from typing import Literal

import msgspec

from rooney.files import read_json
from rooney.sim.traderspost import http
from rooney.sim.traderspost.validation import Refusal


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way to misbehave, at the n-th webhook request.

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


def delivered(fault: Fault | None, status: int) -> int:
    """The HTTP status the client can have seen, 0 for none."""
    spoilt = {"html500": 500, "limited": 429, "no_id": 200, "redirect": 302, "close": 0, "hang": 0, "reset": 0}
    return spoilt.get(fault.do, status) if fault is not None else status


def read_faults(path: Path) -> list[Fault]:
    """A JSON list of faults."""
    return read_json(path, list[Fault])


def spoilt(fault: Fault, answer: bytes, port: int) -> bytes:
    """The answer's bytes, as the fault leaves them. port: of this server, for a redirect."""
    match fault.do:
        case "html500":
            return http.response(500, b"<html><body><h1>Server Error</h1></body></html>")
        case "limited":
            return http.refused(Refusal(429, "too-many-requests", "too many requests"))
        case "no_id":
            return http.response(200, {"success": True})
        case "redirect":
            return http.response(302, b"", extra=f"Location: http://127.0.0.1:{port}/elsewhere\r\n")
        case "half":
            head = answer.index(b"\r\n\r\n") + 4
            return answer[: (head + len(answer)) // 2] if answer else b""
        case "reset":
            return answer[: fault.bytes]
        case "close" | "hang":
            return b""
    return answer
