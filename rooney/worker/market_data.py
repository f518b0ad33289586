"""A worker's market data: entries of the tape as minutes, and how far they can be trusted now.

That depends on Redis, on the hub's word on each instrument, and on this machine's clock.
"""

import logging
import time
from collections import Counter
from collections.abc import Sequence

from rooney.bus.keys import entry_id
from rooney.bus.outage import Outage
from rooney.bus.reader import Reader
from rooney.clock import Clock, HostClock
from rooney.errors import BusError, MessageError
from rooney.format import iso_second
from rooney.market.bars import AHEAD_NS
from rooney.market.instruments import is_open
from rooney.market.messages import NO_ENTRY, ROLL, InstrumentState, Minute, MinuteFlag, sifted
from rooney.market.sessions import MINUTE_NS
from rooney.market.tape import is_ahead, is_session_minute, read_entry
from rooney.market.timeframes import TIMEFRAMES
from rooney.worker import status

logger = logging.getLogger(__name__)

_STATE_OF = {InstrumentState(state).name.lower(): state for state in NO_ENTRY}
_ADMITTING = (InstrumentState.CLOSED, InstrumentState.OPEN, InstrumentState.QUIET)  # the step knows what is closed


def _reads(ts_close: int, data: bytes) -> bool:
    try:
        read_entry(ts_close, data, ts_close)
    except MessageError:
        return False
    return True


class MarketData:
    """Market data of the symbols one strategy trades.

    host_clock: as the newest minute shows it
    refused:    entries, bars and rolls of the tape that cannot be
    """

    def __init__(self, bus: Reader, clock: Clock, symbols: Sequence[str]) -> None:
        self._bus = bus
        self._clock = clock
        self._symbols = symbols
        self.outage = Outage(logger, "no new entries until it is back", "nothing is decided, no entries")
        self._minute_says: dict[str, int] = {}  # symbol → state in which the last minute wants no entries in it
        self._hub_says: dict[str, int] = {}  # the same of the hub's status, between its minutes
        self._unsound: dict[tuple[str, str], str] = {}  # (symbol, timeframe or roll) → why its newest was refused
        self._said = ""  # the last that was refused
        self._refused = ""  # why the newest entry of the tape was, until a minute comes
        self._passed_ns = 0  # newest refused entry that no later minute has to wait for
        self._hub_ns = 0
        self.refused: Counter[str] = Counter()
        self.host_clock = HostClock(logger)

    def lack(self, symbol: str) -> str:
        """Why the market data of a symbol cannot be trusted now, or empty; from any thread."""
        if self.outage.is_on:
            return "Redis is away"
        if self._refused:
            return self._refused
        for (name, kind), why in list(self._unsound.items()):
            if name == symbol:
                return f"its {kind} cannot be: {why}"
        state = self._minute_says.get(symbol, self._hub_says.get(symbol))
        return NO_ENTRY.get(state, f"its state {state} is not known") if state is not None else ""

    def answered(self) -> None:
        """Redis answered; to be said before the entries it brings, for those may be traded."""
        if self.outage.is_on:
            logger.warning("Redis is back")
            self.outage.ended()

    def entries(self, after_ns: int, count: int, block_s: float | None = None) -> list[tuple[int, bytes]]:
        """Up to `count` entries of the tape after a position that can be, oldest first; others are refused.

        One that cannot have come yet ends the list: the hub takes it out, and the next minute comes in before it.
        """
        found: list[tuple[int, bytes]] = []
        for ts_close, data in self._bus.read_tape(max(after_ns, self._passed_ns), count, block_s):
            if self.is_ahead(ts_close):
                self._refuse(f"entry {entry_id(ts_close)}", "later than the hub's last record and this machine's clock")
                if not found and block_s is not None:
                    time.sleep(block_s)
                return found
            if is_session_minute(ts_close) or (data and _reads(ts_close, data)):
                found.append((ts_close, data))
            else:
                self._refuse(f"entry {entry_id(ts_close)}", "no session minute")
                if not found:
                    self._passed_ns = ts_close
        self._refused = self._refused if not found else ""
        return found

    def bounds(self) -> tuple[int, int] | None:
        """Ends of the oldest and newest minute of the tape, UTC ns, without what cannot have come; None when empty."""
        bounds = self._bus.tape_bounds()
        if bounds is not None and self.is_ahead(bounds[1]):
            self._refuse(f"entry {entry_id(bounds[1])}", "later than the hub's last record and this machine's clock")
            bounds = self._bus.tape_bounds(max(time.time_ns(), self._hub_ns) + AHEAD_NS)
        return bounds and (bounds[0], bounds[1] - bounds[1] % MINUTE_NS)

    def is_ahead(self, ts_close: int) -> bool:
        """True of a time later than both this machine's clock and what the hub has heard from the exchange."""
        if not is_ahead(ts_close, max(time.time_ns(), self._hub_ns)):
            return False
        self._hub_ns = self._bus.latest_ns()
        return is_ahead(ts_close, max(time.time_ns(), self._hub_ns))

    def has_hub(self) -> bool:
        """The hub has left word of the exchange's time."""
        return self._bus.latest_ns() > 0

    def minute(self, ts_close: int, data: bytes) -> Minute:
        """The minute of an entry, without bars and rolls that cannot be: they hold entries in their instrument.

        A bar does until a sound one of its timeframe, a roll until a sound roll or the next daily bar. An entry that
        cannot be read is a gap: nothing in it is known.
        """
        try:
            minute, refused = sifted(read_entry(ts_close, data, ts_close))
        except MessageError as error:
            self._refuse(f"entry {iso_second(ts_close)} ({len(data)} bytes)", f"{error}; treated as a gap")
            self._refused = ""
            return Minute(ts_close, [], [], {}, int(MinuteFlag.GAP))
        for bar in minute.bars:
            self._unsound.pop((bar.symbol, bar.timeframe), None)
            if bar.timeframe == "daily":
                self._unsound.pop((bar.symbol, ROLL), None)
        for roll in minute.rolls:
            self._unsound.pop((roll.symbol, ROLL), None)
        for (symbol, kind), why in refused.items():
            self._refuse(f"{symbol[:12]} {kind[:12]} of {iso_second(ts_close)}", f"{why}; no entries in it", symbol)
            if symbol in self._symbols:
                self._unsound[symbol, kind if kind in (*TIMEFRAMES, ROLL) else TIMEFRAMES[0]] = why
        return minute

    def _refuse(self, what: str, why: str, symbol: str = "") -> None:
        """Count, and say once per entry, bar or roll."""
        self.refused["entries" if not symbol else "bars and rolls"] += 1
        if not symbol:
            self._refused = f"{what} of the tape is refused"
        if what != self._said:
            self._said = what
            logger.error("tape %s refused: %s", what, why)

    def take(self, minute: Minute) -> None:
        """Believe the newest minute."""
        self._minute_says = {symbol: state for symbol, state in minute.states.items() if state not in _ADMITTING}

    def ask_hub(self) -> None:
        """Believe the hub's status between its minutes; a replay's past has no such present."""
        if self._clock.replay or self.outage.is_on:
            return
        try:
            hub = self._bus.status()
        except MessageError as error:
            self._refuse("hub:status", str(error), symbol="hub")
            return
        except BusError as error:
            self.outage.failed(error)
            return
        names = hub.instruments if hub is not None else {}
        self._hub_says = {symbol: _STATE_OF[name] for symbol, name in names.items() if name in _STATE_OF}

    def compare_clock(self, ts_close: int) -> None:
        """A minute that has ended for the exchange and not for us: our clock is behind, and ages look too young."""
        self.host_clock.compare((ts_close - self._clock.now_ns()) / 1e9)

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
