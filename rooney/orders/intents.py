"""An order's life: intent → receipt → outcome. Values and a transition table; nothing here sends anything.

planned ─gate→ dropped                       (entries only)
planned → sending → acknowledged             received by TradersPost; a fill is never reported
                  → refused                  certainly not accepted
                  → planned                  certainly not sent: may be tried again
                  → unconfirmed              may be live: an entry is never sent again
unconfirmed → resolved                       by an operator, or by an exit that was acknowledged after it
unconfirmed, refused → sending               exits only, after the settling time
planned, refused → resolved                  exits only: another one closed the position, or the operator says so
"""

import enum
import hashlib
import itertools
import math
from collections.abc import Callable
from typing import Any

import msgspec

from rooney.errors import RooneyError
from rooney.kernels.codes import Role as Role  # of the step, and of every order


class Side(enum.IntEnum):
    """Direction of a position."""

    SHORT = -1
    FLAT = 0
    LONG = 1


class State(enum.StrEnum):
    """Where an intent stands; always that of its last event."""

    PLANNED = "planned"
    SENDING = "sending"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNCONFIRMED = "unconfirmed"
    DROPPED = "dropped"
    RESOLVED = "resolved"


TRANSITIONS: dict[Role, dict[State, frozenset[State]]] = {
    Role.ENTRY: {
        State.PLANNED: frozenset({State.SENDING, State.DROPPED}),
        State.SENDING: frozenset({State.ACKNOWLEDGED, State.REFUSED, State.PLANNED, State.UNCONFIRMED}),
        State.UNCONFIRMED: frozenset({State.RESOLVED}),
    },
    Role.EXIT: {
        State.PLANNED: frozenset({State.SENDING, State.RESOLVED}),
        State.SENDING: frozenset({State.ACKNOWLEDGED, State.REFUSED, State.PLANNED, State.UNCONFIRMED}),
        State.REFUSED: frozenset({State.SENDING, State.RESOLVED}),
        State.UNCONFIRMED: frozenset({State.SENDING, State.RESOLVED}),
    },
}


class Said(enum.StrEnum):
    """Who resolved an order, and to what; empty for every other state."""

    NOBODY = ""  # an exit that was acknowledged after it closed whatever it may have opened
    FILLED = "filled"  # the operator: it was filled
    NOT_FILLED = "not_filled"  # the operator: it was not
    SUPERSEDED = "superseded"  # the operator stated the position: what came of this order no longer matters


class IllegalMoveError(RooneyError):
    """An order was about to change state in a way its life does not know."""


def check_move(role: Role, old: State, new: State) -> None:
    """Raises IllegalMoveError naming both ends unless `old` → `new` is in the table."""
    allowed = TRANSITIONS[role].get(old, frozenset())
    if new not in allowed:
        names = ", ".join(sorted(allowed)) or "nothing, it is final"
        raise IllegalMoveError(f"{role.name.lower()} cannot go from {old} to {new}; allowed from {old}: {names}")


class Intent(msgspec.Struct, frozen=True):
    """What a strategy wants, decided at one mark. Immutable; its id is the primary key of the ledger.

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
    """One step in an intent's life. ts_clock: the worker's clock, mark time on a replay."""

    seq: int
    intent: str
    state: State
    ts_wall: int
    ts_clock: int
    status: int
    detail: str
    said: Said = Said.NOBODY


def intent_id(strategy: str, mode: str, contract: str, role: Role, ts_mark: int, n: int = 0) -> str:
    """First 16 hex digits of sha256 over what makes an intent itself; `n` counts intents that share all of it."""
    text = "|".join((strategy, mode, contract, role.name.lower(), str(ts_mark), str(n)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def new_intent_id(
    strategy: str, mode: str, contract: str, role: Role, ts_mark: int, is_taken: Callable[[str], bool]
) -> str:
    """The id of an intent that no earlier one has."""
    ids = (intent_id(strategy, mode, contract, role, ts_mark, n) for n in itertools.count())
    return next(id_ for id_ in ids if not is_taken(id_))


class Receipt(msgspec.Struct, frozen=True):
    """What is known after one attempt to send.

    state:      ACKNOWLEDGED, REFUSED, UNCONFIRMED, or PLANNED when certainly nothing was sent
    status:     HTTP status, 0 without an answer
    detail:     for people: message code or cause, never an URL
    remote_id:  TradersPost's id of the signal
    ts_sent_ns, ts_done_ns: wall clock around the attempt
    """

    state: State
    status: int
    detail: str
    ts_sent_ns: int
    ts_done_ns: int
    remote_id: str = ""
    body: str = ""


Payload = dict[str, Any]
