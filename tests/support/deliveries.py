"""A delivery with a ledger, a clock moved by hand, and webhooks that answer as told."""

import math
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from rooney.clock import Clock
from rooney.execution.delivery import Delivery
from rooney.execution.payload import payload_of
from rooney.execution.send_gates import Rules
from rooney.execution.traderspost import TradersPost
from rooney.ledger.writer import Ledger
from rooney.orders.control import Switch
from rooney.orders.intents import Event, Intent, Payload, Receipt, Role, State
from rooney.sim.traderspost import Account
from tests.support.ledgers import commit, intent
from tests.support.times import chicago
from tests.support.webhook_faults import Fault
from tests.support.webhooks import running

S = 1_000_000_000  # ns
OPEN = chicago("2026-03-11 10:00")
RULES = Rules(stale_after_s=15.0, settle_s=60.0)


def life(*moves: tuple[State, float] | tuple[State, float, int]) -> list[Event]:
    """Events at seconds after the mark; a third item is the HTTP status."""
    return [
        Event(k, "i", state, 0, OPEN + int(at_s * S), *(status or (0,)), "")
        for k, (state, at_s, *status) in enumerate(((State.PLANNED, 0.0), *moves))
    ]


# states and roles in the tables of tests
P = State.PLANNED
G = State.SENDING
A = State.ACKNOWLEDGED
R = State.REFUSED
U = State.UNCONFIRMED
ENTRY = Role.ENTRY
EXIT = Role.EXIT


class HandClock(Clock):
    """Moved by the test; the time it shows is in session. set_by_s: how far somebody has set the wall clock."""

    def __init__(self, now_ns: int = OPEN) -> None:
        self.ns = now_ns
        self.set_by_s = 0

    def now_ns(self) -> int:
        return self.ns + self.set_by_s * S

    def steady_ns(self) -> int:
        return self.ns


class DeliveryRig:
    """A ledger, a delivery, and what was sent."""

    def __init__(self, ledger: Ledger, clock: Clock, send: Any) -> None:
        self.ledger, self.clock = ledger, clock
        self.sent: list[Payload] = []
        self._send = send
        self.switches: list[Switch] = []
        self.feed = ""
        self.delivery = Delivery(
            ledger, self._record, self._payload, clock, RULES, lambda: self.switches, lambda symbol: self.feed
        )

    def _payload(self, one: Intent, ts_decided_ns: int) -> Payload:
        return payload_of(one, reject_after_s=15, tick_size=0.25, ts_decided_ns=ts_decided_ns)

    def _record(self, payload: Payload) -> Receipt:
        self.sent.append(payload)
        return self._send(payload)  # type: ignore[no-any-return]

    def plan(self, role: Role = ENTRY, **fields: Any) -> Intent:
        one = intent(self.ledger.next_seq(), role, **{"ts_mark": OPEN} | fields)
        commit(self.ledger, one.ts_mark, one)
        self.delivery.add(one, self.ledger.events(one.id))
        return one

    def states(self, one: Intent) -> list[State]:
        return [event.state for event in self.ledger.events(one.id)]

    def work(self) -> None:
        """A turn, and whatever it started."""
        self.delivery.turn(math.inf)


def says(state: State, status: int = 0) -> Any:
    """A sender that always receives this."""
    return lambda payload: Receipt(state, status, "as told", 1, 2)


@pytest.fixture
def new_delivery(ledger: Ledger) -> Iterator[Any]:
    """Makes deliveries; closes their threads."""
    made: list[DeliveryRig] = []

    def make(send: Any, clock: Clock | None = None) -> DeliveryRig:
        made.append(DeliveryRig(ledger, clock or HandClock(), send))
        return made[-1]

    yield make
    for one in made:
        assert one.delivery.close(12)


@pytest.fixture
def webhook(ledger: Ledger) -> Iterator[Any]:
    """Makes a delivery that sends over HTTP to a real server with faults."""
    with ExitStack() as stack:

        def make(*faults: Fault, total_s: float = 10.0) -> tuple[DeliveryRig, Any]:
            account = Account("ibs", str(uuid.uuid4()), "secret")
            server = stack.enter_context(running([account], faults=faults))
            client = TradersPost(server.url("ibs"), total_s=total_s)
            d = DeliveryRig(ledger, HandClock(), client.send)
            stack.callback(d.delivery.close, 12)
            return d, server

        yield make
