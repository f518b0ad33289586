"""A worker's place taken while it is down: obeys the operator and delivers exits, from the ledger alone.

It is the worker's own handler and delivery under the ledger's lock, without market data, kernels, Redis or hub. It
decides nothing and sends no entry. What it writes, the worker takes in at its next start as if it had done it itself.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rooney.clock import Clock, ReplayClock
from rooney.execution.command_handler import CommandHandler
from rooney.execution.delivery import Delivery
from rooney.execution.payload import payload_of
from rooney.execution.send_gates import Rules
from rooney.ledger.exposure import Exposure
from rooney.ledger.snapshot import Snapshot
from rooney.ledger.writer import Ledger
from rooney.market.instruments import PRODUCTS
from rooney.orders.control import Control
from rooney.orders.intents import Intent, Payload, Receipt

_CLOSE_S = 15.0  # the longest a request may take, and some
_REJECT_AFTER_S = 15  # of an entry, of which none is sent here
_TICK_S = 0.1
_TICK_REPLAY_NS = 1_000_000_000


class OfflineWorker:
    """Holds the ledger's lock for as long as the `with` block lasts. Raises LedgerError if a worker has it."""

    def __init__(
        self,
        snapshot: Snapshot,
        control: Path,
        clock: Clock,
        rules: Rules | None = None,
        send: Callable[[Payload], Receipt] | None = None,
        tick_sizes: Mapping[str, float] | None = None,
    ) -> None:
        """snapshot: of the ledger, for its name, mode and instruments; control: directory of switches and commands.

        send:       as in Delivery
        tick_sizes: of the ordered products by symbol, in points; None: those of the symbols' own products
        """
        self._clock = clock
        self._tick_sizes = tick_sizes or {}
        self._clock.on_mark(snapshot.ts_mark)
        symbols = [held.symbol for held in snapshot.held]
        self._ledger = Ledger(snapshot.path, snapshot.name)
        switches = Control(control, snapshot.name)
        self._commands = CommandHandler(snapshot.name, snapshot.mode, symbols, self._ledger, switches, clock)
        self._delivery = self._commands.take_over(
            lambda: Delivery(
                self._ledger,
                send,
                self._payload,
                clock,
                rules or Rules(mode=snapshot.mode),
                self._commands.switches,
                lambda symbol: "no market data is read here",  # the gate that holds back every entry
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._delivery.close(_CLOSE_S)
        self._ledger.close()

    def _payload(self, intent: Intent, ts_decided_ns: int) -> Payload:
        known = self._tick_sizes.get(intent.symbol)
        tick_size = PRODUCTS[intent.symbol].tick_size if known is None else known
        return payload_of(intent, reject_after_s=_REJECT_AFTER_S, tick_size=tick_size, ts_decided_ns=ts_decided_ns)

    def obey(self) -> None:
        """Journal the commands that wait; nothing is sent."""
        self._commands.turn()

    def deliver(self, wait_s: float) -> list[Exposure]:
        """Obey and send until nothing is exposed, nothing can be sent, or `wait_s` are over; what is still exposed."""
        end_ns = self._clock.now_ns() + int(wait_s * 1e9)
        return self._commands.deliver(lambda: self._clock.now_ns() >= end_ns, self._pass_time)

    def _pass_time(self) -> None:
        if isinstance(self._clock, ReplayClock):
            self._clock.on_mark(self._clock.now_ns() + _TICK_REPLAY_NS)
        else:
            time.sleep(self._delivery.idle_s(_TICK_S))
