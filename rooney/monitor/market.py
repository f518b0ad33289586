"""The market as the tape and the hub tell it: per instrument the last bars and whether they are fresh.

`MarketView` reads the tape's end once and then only what is new, so a look between two minutes costs two calls.
"""

from collections import deque

import msgspec

from rooney.bus.reader import Reader, RedisInfo
from rooney.errors import BusError, MessageError
from rooney.ledger.latency import Buckets
from rooney.market import sessions
from rooney.market.instruments import group_of
from rooney.market.messages import Bar, HubStatus, InstrumentState, Minute, MinuteFlag, Roll, decode_minute
from rooney.market.sessions import MINUTE_NS

KEPT = 240  # minutes per instrument, for the small curve
LATE_S = 90.0  # of the tape in session: a minute is published a few ms after it ended
STALE_S = 150.0  # two minutes and a half: with a live feed the newest minute in session cannot be older
_REPLAYED_S = 300.0  # what came later than this after its minute was not watched as it happened
_FIRST_READ = 400
INFO_EVERY_S = 5.0


class Quote(msgspec.Struct, frozen=True):
    """An instrument. closes: (UTC ns, price) of its last one-minute bars, oldest first; previous: close of the day.

    volumes: contracts traded in each of these minutes

    told: the hub's word of its state at the newest minute, empty before the first; roll: the last one seen
    """

    symbol: str
    bar: Bar | None
    closes: tuple[tuple[int, float], ...]
    previous: Bar | None
    told: str
    front: str
    roll: Roll | None
    volumes: tuple[int, ...] = ()


class Market(msgspec.Struct, frozen=True):
    """Content of Redis. away: why it does not answer, or empty; then the rest is what was known before.

    version: goes up with every new minute; gaps, repaired: minutes so flagged since this view began
    """

    away: str
    hub: HubStatus | None
    info: RedisInfo | None
    ts_tape: int
    version: int
    quotes: dict[str, Quote]
    gaps: int
    repaired: int


class MarketView:
    """Market of one Redis; one thread at a time. feed, publish: latencies seen; lag_s: of each newest bar."""

    def __init__(self, bus: Reader, symbols: tuple[str, ...]) -> None:
        self._bus = bus
        self._symbols = symbols
        self.feed = Buckets()
        self.publish = Buckets()
        self.lag_s: dict[str, float] = {}
        self._forget()
        self._version = 0
        self._hub: HubStatus | None = None
        self._info: RedisInfo | None = None
        self._next_info_s = 0.0
        self._market: Market | None = None

    def _forget(self) -> None:
        self._ts_tape = self._gaps = self._repaired = 0
        self._bars: dict[str, Bar] = {}
        self._days: dict[str, Bar] = {}
        self._closes: dict[str, deque[tuple[int, float]]] = {}
        self._volumes: dict[str, deque[int]] = {}
        self._told: dict[str, str] = {}
        self._rolls: dict[str, Roll] = {}

    def look(self, mono_s: float) -> Market:
        """As it is now. Never raises: what is away is said to be."""
        before, away = self._version, ""
        try:
            hub = self._status()
            self._follow()
            if mono_s >= self._next_info_s:
                self._next_info_s = mono_s + INFO_EVERY_S
                self._info = self._bus.info()
        except BusError as error:
            hub, away = self._hub, str(error)
            self._info, self._next_info_s = None, 0.0
        is_same = self._market is not None and before == self._version and away == self._market.away
        if not is_same or self._market is None or hub != self._hub:
            self._hub = hub
            quotes = {symbol: self._quote(symbol) for symbol in self._symbols}
            self._market = Market(
                away, hub, self._info, self._ts_tape, self._version, quotes, self._gaps, self._repaired
            )
        elif self._info is not self._market.info:
            self._market = msgspec.structs.replace(self._market, info=self._info)
        return self._market

    def _status(self) -> HubStatus | None:
        try:
            return self._bus.status()
        except MessageError:  # of a hub newer than this reader
            return None

    def _follow(self) -> None:
        bounds = self._bus.tape_bounds()
        end_ns = bounds[1] if bounds else 0
        if end_ns < self._ts_tape:  # another Redis, or an older state of this one
            self._forget()
            self._version += 1
        if end_ns <= self._ts_tape:
            return
        if not self._ts_tape:
            self._ts_tape = end_ns - _FIRST_READ * MINUTE_NS
            for symbol in self._symbols:
                if found := self._bus.history(symbol, "daily", 1):
                    self._days[symbol] = found[-1]
                if symbol not in self._bars and (last := self._bus.history(symbol, "1min", 1)):
                    self._bars[symbol] = last[-1]
        while entries := self._bus.read_tape(self._ts_tape, _FIRST_READ):
            for ts_close, data in entries:
                self._ts_tape = ts_close
                try:
                    self._take(decode_minute(data))
                except MessageError:
                    self._gaps += 1
        self._version += 1

    def _take(self, minute: Minute) -> None:
        self._gaps += bool(minute.quality & MinuteFlag.GAP)
        self._repaired += bool(minute.quality & MinuteFlag.REPAIRED)
        feed_s = (minute.ts_hub_ns - minute.ts_close) / 1e9
        for bar in minute.bars:
            if bar.timeframe == "1min":
                self._bars[bar.symbol] = bar
                self._closes.setdefault(bar.symbol, deque(maxlen=KEPT)).append((bar.ts_close, bar.close))
                self._volumes.setdefault(bar.symbol, deque(maxlen=KEPT)).append(bar.volume)
                if bar.ts_hub_ns:
                    self.lag_s[bar.symbol] = (bar.ts_hub_ns - bar.ts_close) / 1e9
            elif bar.timeframe == "daily":
                self._days[bar.symbol] = bar
        for roll in minute.rolls:
            self._rolls[roll.symbol] = roll
        known = {int(state): state.name.lower() for state in InstrumentState}
        self._told |= {symbol: known.get(state, f"state {state}") for symbol, state in minute.states.items()}
        if minute.ts_hub_ns and 0.0 <= feed_s < _REPLAYED_S:
            self.feed.add(feed_s)
        if minute.ts_hub_ns and minute.ts_sent_ns >= minute.ts_hub_ns:
            self.publish.add((minute.ts_sent_ns - minute.ts_hub_ns) / 1e9)

    def _quote(self, symbol: str) -> Quote:
        bar = self._bars.get(symbol)
        front = self._hub.fronts.get(symbol, "") if self._hub else ""
        return Quote(
            symbol,
            bar,
            tuple(self._closes.get(symbol, ())),
            self._days.get(symbol),
            self._told.get(symbol, ""),
            front or (bar.contract if bar else ""),
            self._rolls.get(symbol),
            tuple(self._volumes.get(symbol, ())),
        )


def freshness(market: Market, symbol: str, now_ns: int) -> tuple[str, str]:
    """(closed, fresh, quiet, incomplete, late, stale or refused; why in a few words) of an instrument now."""
    window = sessions.window_at(group_of(symbol), now_ns)
    if window is None:
        return "closed", "out of session"
    quote = market.quotes.get(symbol)
    said = market.hub.instruments.get(symbol, "") if market.hub else ""
    if "refused" in (said, quote.told if quote else ""):
        return "refused", "its definition differs from the configuration: no entries"
    if market.away:
        return "stale", "Redis is away"
    if market.hub is None:
        return "stale", "no hub"
    if said == "dead":
        return "stale", "the hub says its feed is dead"
    since_s = (now_ns - max(market.ts_tape, window.open_ns)) / 1e9
    if since_s > STALE_S:
        return "stale", f"no minute for {since_s:.0f} s"
    if since_s > LATE_S:
        return "late", f"no minute for {since_s:.0f} s"
    if "incomplete" in (said, quote.told if quote else ""):
        return "incomplete", "trades of its last minute were dropped: no entries"
    newest_ns = max(market.ts_tape, window.open_ns + 1)
    if quote is None or quote.bar is None or quote.bar.ts_close < newest_ns:
        return "quiet", "in session, no trade in the last minute"
    return "fresh", "traded in the last minute"
