"""What stands in for a worker that is down: obeys the operator and delivers exits, from the ledger alone.

It is the worker's own desk and delivery under the ledger's lock, without market data, kernels, Redis or hub. It decides
nothing and sends no entry. What it writes, the worker takes in at its next start as if it had done it itself.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rooney.clock import Clock, ReplayClock
from rooney.execution.command_handler import Desk
from rooney.execution.delivery import Delivery, take_over
from rooney.execution.gates import Rules, stopped
from rooney.ledger.exposure import Exposure
from rooney.ledger.snapshot import Snapshot
from rooney.ledger.writer import Ledger
from rooney.market.instruments import group_of
from rooney.market.sessions import window_at
from rooney.orders.control import Control, control_directory
from rooney.orders.intents import Intent, Payload, Receipt

_CLOSE_S = 15.0  # the longest a request may take, and some
_TICK_S = 0.1
_TICK_REPLAY_NS = 1_000_000_000


def _no_payload(intent: Intent, ts_decided_ns: int) -> Payload:
    raise NotImplementedError(f"{intent.id}: nothing is sent without an account")


def can_go(exposed: Sequence[Exposure], clock: Clock) -> bool:
    """Whether there is anything to close whose market is open."""
    return any(window_at(group_of(one.symbol), clock.now_ns()) is not None for one in exposed)


class StandIn:
    """Holds the ledger's lock for as long as the `with` block lasts. Raises LedgerError if a worker has it."""

    def __init__(
        self,
        reading: Snapshot,
        clock: Clock,
        rules: Rules | None = None,
        send: Callable[[Payload], Receipt] | None = None,
        payload: Callable[[Intent, int], Payload] = _no_payload,
    ) -> None:
        """reading: of the ledger, for its name, mode and instruments; send, payload: as in Delivery."""
        self._clock = clock
        self._clock.on_mark(reading.ts_mark)
        symbols = [held.symbol for held in reading.held]
        self._ledger = Ledger(reading.path, reading.name)
        take_over(self._ledger, self._clock)
        control = Control(control_directory(os.environ), reading.name)
        self.desk = Desk(reading.name, reading.mode, symbols, self._ledger, control, self._clock)
        self._delivery = Delivery(
            self._ledger,
            send,
            payload,
            group_of,
            self._clock,
            rules or Rules(mode=reading.mode),
            self.desk.switches,
            lambda symbol: "no market data is read here",  # the gate that holds back every entry
        )
        self.desk.attach(self._delivery)
        for intent, events in self._ledger.unfinished():
            self._delivery.add(intent, events)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._delivery.close(_CLOSE_S)
        self._ledger.close()

    def obey(self) -> None:
        """Journal the commands that wait; nothing is sent."""
        self.desk.turn()

    def deliver(self, wait_s: float) -> list[Exposure]:
        """Obey and send until nothing is exposed, nothing can be sent, or `wait_s` are over; what is still exposed."""
        end_ns = self._clock.now_ns() + int(wait_s * 1e9)
        while True:
            self.desk.turn()
            self._delivery.turn(math.inf if self._clock.replay else 0.0)
            exposed = self.desk.exposed()
            if not can_go(exposed, self._clock) or self._clock.now_ns() >= end_ns or stopped(self.desk.switches()):
                return exposed
            self._pass_time()

    def _pass_time(self) -> None:
        if isinstance(self._clock, ReplayClock):
            self._clock.on_mark(self._clock.now_ns() + _TICK_REPLAY_NS)
        else:
            time.sleep(self._delivery.idle_s(_TICK_S))
