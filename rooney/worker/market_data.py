"""A worker's market data: entries of the tape as minutes, and how far they can be trusted now.

That depends on Redis, on the hub's word on each instrument, and on this machine's clock.
"""

import contextlib
import logging
import math
from collections.abc import Sequence

from rooney import log
from rooney.bus.outage import Outage
from rooney.bus.reader import Reader
from rooney.clock import CLOCK_DRIFT_S, Clock
from rooney.errors import BusError, MessageError
from rooney.format import iso_second
from rooney.market.instruments import is_open
from rooney.market.messages import NO_ENTRY, Bar, InstrumentState, Minute, MinuteFlag, decode_minute
from rooney.worker import status

logger = logging.getLogger(__name__)

_STATE_OF = {InstrumentState(state).name.lower(): state for state in NO_ENTRY}


def minute_of(ts_close: int, data: bytes) -> Minute:
    """The minute of a tape entry. One that cannot be read is a gap: nothing in it is known."""
    with contextlib.suppress(MessageError):
        minute = decode_minute(data)
        if minute.ts_close == ts_close and all(map(is_possible, minute.bars)):
            return minute
    logger.error("tape entry %s cannot be read (%d bytes): treated as a gap", iso_second(ts_close), len(data))
    return Minute(ts_close, [], [], {}, int(MinuteFlag.GAP))


def is_possible(bar: Bar) -> bool:
    """True of a bar that can be; prices below zero can, they have been."""
    prices = bar.open + bar.high + bar.low + bar.close
    return 0 <= bar.ts_open < bar.ts_close < 1 << 62 and 0 <= bar.volume < 1 << 53 and math.isfinite(prices)


class MarketData:
    """Market data of the symbols one strategy trades.

    clock_behind_s: this machine's, as the newest minute shows it; 0 while it agrees with the exchange's
    """

    def __init__(self, bus: Reader, clock: Clock, symbols: Sequence[str]) -> None:
        self._bus = bus
        self._clock = clock
        self._symbols = symbols
        self.outage = Outage(logger, "no new entries until it is back", "nothing is decided, no entries")
        self._minute_says: dict[str, int] = {}  # symbol → state in which the last minute wants no entries in it
        self._hub_says: dict[str, int] = {}  # the same of the hub's status, between its minutes
        self.clock_behind_s = 0.0

    def lack(self, symbol: str) -> str:
        """Why the market data of a symbol cannot be trusted now, or empty; from any thread."""
        if self.outage.is_on:
            return "Redis is away"
        state = self._minute_says.get(symbol, self._hub_says.get(symbol))
        return NO_ENTRY[state] if state is not None else ""

    def answered(self) -> None:
        """Redis answered; to be said before the entries it brings, for those may be traded."""
        if self.outage.is_on:
            logger.warning("Redis is back")
            self.outage.ended()

    def take(self, minute: Minute) -> None:
        """Believe the newest minute."""
        self._minute_says = {symbol: state for symbol, state in minute.states.items() if state in NO_ENTRY}

    def ask_hub(self) -> None:
        """Believe the hub's status between its minutes; a replay's past has no such present."""
        if self._clock.replay or self.outage.is_on:
            return
        try:
            hub = self._bus.status()
        except MessageError as error:
            logger.error("hub:status cannot be read: %s", error)
            return
        except BusError as error:
            self.outage.failed(error)
            return
        names = hub.instruments if hub is not None else {}
        self._hub_says = {symbol: _STATE_OF[name] for symbol, name in names.items() if name in _STATE_OF}

    def compare_clock(self, ts_close: int) -> None:
        """A minute that has ended for the exchange and not for us: our clock is behind, and ages look too young."""
        behind_s = (ts_close - self._clock.now_ns()) / 1e9
        if behind_s > CLOCK_DRIFT_S and not self.clock_behind_s:
            text = f"this machine's clock is {behind_s:.1f} s behind the exchange's: the age of a bar cannot be judged"
            log.event(logger, logging.ERROR, "clock", text)
        elif behind_s <= CLOCK_DRIFT_S and self.clock_behind_s:
            log.event(logger, log.NOTICE, "clock", "this machine's clock agrees with the exchange's again")
        self.clock_behind_s = behind_s if behind_s > CLOCK_DRIFT_S else 0.0

    def text(self, position_ns: int) -> str:
        """Its part of STATUS. position_ns: of the worker on the tape, 0 before the first minute."""
        now_ns = self._clock.now_ns()
        states = {
            symbol: InstrumentState(state).name.lower()
            for symbol, state in (self._hub_says | self._minute_says).items()
            if symbol in self._symbols
        }
        in_session = any(is_open(symbol, now_ns) for symbol in self._symbols)
        return status.data(states, in_session, (now_ns - position_ns) / 1e9 if position_ns else None)
