"""The fault script of the local TradersPost: how it misbehaves at which request."""

from pathlib import Path
from typing import Literal

import msgspec

from rooney.files import read_json


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
