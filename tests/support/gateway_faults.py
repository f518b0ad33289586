"""What can go wrong at a gateway, as a script.

A script is a list of faults. They strike one after the other, each once: a fault waits for the one before it, and for
a session that comes to its place. `[Reset(after=100), RefuseAuth(), Silence(after=50)]` resets the first session after
100 trades, refuses the next connection, and lets the one after it fall silent after 50 trades.
"""

from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from rooney.market.bars import UNDEF_PRICE
from rooney.sim.databento.wire import UNDEF_TIMESTAMP, Trades

DAY_NS = 86_400_000_000_000
UNKNOWN_ID = 4_000_000_000  # no source has it


class RefuseAuth(msgspec.Struct, frozen=True, tag=True):
    """The next connection is refused although its key is right."""

    error: str = "Authentication failed."


class HangBeforeAuth(msgspec.Struct, frozen=True, tag=True):
    """The next connection is accepted and hears nothing."""


class HangAfterAuth(msgspec.Struct, frozen=True, tag=True):
    """The next session is authenticated and gets neither metadata nor records."""


class LossyReplay(msgspec.Struct, frozen=True, tag=True):
    """The next connection's replay leaves out each `every`th trade."""

    every: int = 10


class StreamFault(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Strikes a session after `after` of its trades, or where market time reaches `at_ns` (UTC ns) if that is given."""

    after: int = 0
    at_ns: int | None = None


class Close(StreamFault, frozen=True, kw_only=True):
    """FIN, everything before it delivered."""


class Reset(StreamFault, frozen=True, kw_only=True):
    """RST; what the client has not read yet may be lost."""


class Silence(StreamFault, frozen=True, kw_only=True):
    """The socket stays open and nothing is sent for `seconds` (wall; None = ever). Market time goes on."""

    seconds: float | None = None


class ErrorThenClose(StreamFault, frozen=True, kw_only=True):
    """An ErrorMsg, then FIN. `code` as in databento_dbn.ErrorCode."""

    code: str = "internal_error"
    text: str = "Internal error."


class Unreachable(StreamFault, frozen=True, kw_only=True):
    """Every session is reset, and connections are refused for `seconds` (wall)."""

    seconds: float


class Garbage(StreamFault, frozen=True, kw_only=True):
    """`count` bytes that are no DBN."""

    count: int = 64


class Raw(StreamFault, frozen=True, kw_only=True):
    """A record as it is given."""

    data: bytes


class OutOfOrder(StreamFault, frozen=True, kw_only=True):
    """The next `count` trades are sent last first."""

    count: int = 2


class RepeatMappings(StreamFault, frozen=True, kw_only=True):
    """All mappings of the session are sent again."""


class ChangeMapping(StreamFault, frozen=True, kw_only=True):
    """`requested` (`ES.v.0`) now maps to the contract `raw`, whose trades are sent from then on too."""

    requested: str
    raw: str


class WrongMapping(StreamFault, frozen=True, kw_only=True):
    """The instrument `raw` is mapped once more, under another's name, `called`."""

    raw: str
    called: str


class Duplicates(StreamFault, frozen=True, kw_only=True):
    """The last `count` trades are sent once more (at most 64)."""

    count: int = 1

    def injected(self, sent: Trades) -> Trades:
        return sent[-self.count :]


class UnknownIds(StreamFault, frozen=True, kw_only=True):
    """`count` trades of instruments that were never mapped."""

    count: int = 1

    def injected(self, sent: Trades) -> Trades:
        trades = sent[-1:].repeat(self.count)
        trades["instrument_id"] = UNKNOWN_ID + np.arange(self.count)
        return trades


class AbsurdPrices(StreamFault, frozen=True, kw_only=True):
    """Copies of the last trade with these prices (1e-9)."""

    prices: tuple[int, ...] = (-1_000_000_000, 0, UNDEF_PRICE, 10**18)

    def injected(self, sent: Trades) -> Trades:
        trades = sent[-1:].repeat(len(self.prices))
        trades["price"] = self.prices
        return trades


class TimeJumps(StreamFault, frozen=True, kw_only=True):
    """Copies of the last trade moved by each of `offsets_ns`, and one with undefined times if `undefined`."""

    offsets_ns: tuple[int, ...] = (10 * DAY_NS, -10 * DAY_NS)
    undefined: bool = True

    def injected(self, sent: Trades) -> Trades:
        trades = sent[-1:].repeat(len(self.offsets_ns) + self.undefined)
        for i, offset_ns in enumerate(self.offsets_ns):
            for field in ("ts_event", "ts_recv"):
                trades[field][i] = int(sent[field][-1]) + offset_ns
        if self.undefined:
            trades["ts_event"][-1] = trades["ts_recv"][-1] = UNDEF_TIMESTAMP
        return trades


Injection: TypeAlias = Duplicates | UnknownIds | AbsurdPrices | TimeJumps
ConnectionFault: TypeAlias = RefuseAuth | HangBeforeAuth | HangAfterAuth | LossyReplay
Fault: TypeAlias = (
    ConnectionFault
    | Injection
    | Close
    | Reset
    | Silence
    | ErrorThenClose
    | Unreachable
    | Garbage
    | Raw
    | OutOfOrder
    | RepeatMappings
    | ChangeMapping
    | WrongMapping
)


class Script:
    """The faults still to come."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._faults = deque(faults)

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, fault: Fault) -> None:
        """One more, after all the others."""
        self._faults.append(fault)

    def for_connection(self) -> ConnectionFault | None:
        """The fault for a connection that was just accepted, taken from the script."""
        fault = self._faults[0] if self._faults else None
        if not isinstance(fault, ConnectionFault):
            return None
        self.done()
        return fault

    def strike(self, sent: int, times: npt.NDArray[np.uint64], now_ns: int) -> tuple[int, Fault] | None:
        """Where among the next trades of a session the next fault strikes, if there; `done` takes it off the script.

        sent:   trades the session has got
        times:  ts_recv of those it gets next
        now_ns: market time after them
        """
        fault = self._faults[0] if self._faults else None
        if not isinstance(fault, StreamFault):
            return None
        if fault.at_ns is None:
            position = max(fault.after - sent, 0)
            struck = position <= len(times)
        else:
            position = int(np.searchsorted(times, np.uint64(fault.at_ns)))
            struck = position < len(times) or now_ns >= fault.at_ns
        if isinstance(fault, Injection) and sent + position == 0:  # it needs a trade to repeat or change
            position, struck = 1, struck and len(times) > 0
        return (position, fault) if struck else None

    def done(self) -> None:
        self._faults.popleft()
