"""Intents, what happens to them, and what came of an attempt to send one: values; nothing here sends anything."""

import enum
import hashlib
import itertools
import math
from collections.abc import Callable
from typing import Any

import msgspec

from rooney.kernels.codes import Role as Role  # of the step, and of every order


class Side(enum.IntEnum):
    """Direction of a position."""

    SHORT = -1
    FLAT = 0
    LONG = 1


class State(enum.StrEnum):
    """State of an intent: that of its last event. `rooney.orders.lifecycle` says which may follow which."""

    PLANNED = "planned"
    SENDING = "sending"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNCONFIRMED = "unconfirmed"
    DROPPED = "dropped"
    RESOLVED = "resolved"


class Said(enum.StrEnum):
    """Who resolved an order, and to what; empty for every other state."""

    NOBODY = ""  # an exit that was acknowledged after it closed whatever it may have opened
    FILLED = "filled"  # the operator: it was filled
    NOT_FILLED = "not_filled"  # the operator: it was not
    SUPERSEDED = "superseded"  # the operator stated the position: what came of this order no longer matters


class Intent(msgspec.Struct, frozen=True):
    """Order as a strategy wants it, decided at one mark. Immutable; its id is the primary key of the ledger.

    contract: raw symbol (ESZ5); ticker: TradersPost's spelling (ESZ2025)
    signal_price: close of the deciding bar, on the tick grid; ts_mark: end of the deciding minute, UTC ns
    stop_price: of the protective stop an entry carries to the broker, points; NaN without one
    """

    id: str
    strategy: str
    mode: str
    symbol: str
    contract: str
    ticker: str
    role: Role
    side: Side
    quantity: int
    cause: str
    signal_price: float
    ts_mark: int
    seq: int
    stop_price: float = math.nan


class Event(msgspec.Struct, frozen=True):
    """Step in an intent's life.

    intent:     id of the intent
    ts_wall:    UTC ns; ts_clock: by the worker's clock, the time of the mark on a replay
    status:     HTTP status, 0 without an answer
    said:       who resolved it
    remote_id:  TradersPost's id of the signal
    latency_ns: of the request, 0 without one
    """

    seq: int
    intent: str
    state: State
    ts_wall: int
    ts_clock: int
    status: int
    detail: str
    said: Said = Said.NOBODY
    remote_id: str = ""
    latency_ns: int = 0


def intent_id(strategy: str, mode: str, contract: str, role: Role, ts_mark: int, n: int = 0) -> str:
    """First 16 hex digits of sha256 over what makes an intent itself; `n` counts intents that share all of it."""
    text = "|".join((strategy, mode, contract, role.name.lower(), str(ts_mark), str(n)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def new_intent_id(
    strategy: str, mode: str, contract: str, role: Role, ts_mark: int, is_taken: Callable[[str], bool]
) -> str:
    """Id of an intent, which no earlier one has."""
    ids = (intent_id(strategy, mode, contract, role, ts_mark, n) for n in itertools.count())
    return next(id_ for id_ in ids if not is_taken(id_))


class Receipt(msgspec.Struct, frozen=True):
    """Outcome of one attempt to send.

    state:      ACKNOWLEDGED, REFUSED, UNCONFIRMED, or PLANNED when certainly nothing was sent
    status:     HTTP status, 0 without an answer
    detail:     for people: message code or cause, never an URL
    remote_id:  TradersPost's id of the signal
    ts_sent_ns, ts_done_ns: wall clock around the attempt
    retry_after_s: how long the vendor asks us to wait (429), 0 if it does not say
    """

    state: State
    status: int
    detail: str
    ts_sent_ns: int
    ts_done_ns: int
    remote_id: str = ""
    body: str = ""
    retry_after_s: float = 0.0


Payload = dict[str, Any]
