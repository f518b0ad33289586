"""What crosses a process: minutes, bars, rolls, the hub's status. The type is the wire.

Every struct here is encoded as a MessagePack array. Hub and workers restart apart, so fields are only ever appended,
with defaults; a reader ignores appended fields it does not know.

Times are UTC nanoseconds. Prices are float64 in the exchange's units, made once by `int / 1e9`.
"""

import enum
from typing import TypeVar

import msgspec

from rooney.errors import MessageError

TIMEFRAMES = ("1min", "hourly", "daily")  # also the order of bars within a minute


class BarFlag(enum.IntFlag):
    """Quality of one bar."""

    NONE = 0
    OFF_SESSION = 1  # its trades came outside the session: folded into no hour or day
    REPAIRED = 2  # not all of it was built from trades as they happened: some, or all, came in a replay


class MinuteFlag(enum.IntFlag):
    """Quality of one minute."""

    NONE = 0
    REPAIRED = 1  # published late, from replayed data
    GAP = 2  # data before this minute is lost: no entries until the next session


class InstrumentState(enum.IntEnum):
    """What the hub knows about an instrument at the end of a minute. Only OPEN and QUIET admit entries."""

    CLOSED = 0
    OPEN = 1  # in session, traded in this minute
    QUIET = 2  # in session, no trade in this minute
    DEAD = 3  # in session, and the feed was not alive when the minute ended: it was published later, from a replay
    REFUSED = 4  # in session, but the exchange's definition differs from the configuration


NO_ENTRY: dict[int, str] = {
    InstrumentState.DEAD: "the feed was not alive: what it says is of the past",
    InstrumentState.REFUSED: "its definition differs from the configuration",
}


class Bar(msgspec.Struct, array_like=True, frozen=True):
    """One closed bar of one contract. [ts_open, ts_close) holds its trades, chosen by ts_recv."""

    symbol: str
    contract: str
    timeframe: str
    ts_open: int
    ts_close: int
    open: float
    high: float
    low: float
    close: float
    volume: int
    trades: int
    flags: int = 0
    ts_hub_ns: int = 0  # hub's wall clock when the record that closed the minute arrived


class Roll(msgspec.Struct, array_like=True, frozen=True):
    """`symbol` is traded in `new_contract` from this minute on. `rule` says what decided."""

    symbol: str
    old_contract: str
    new_contract: str
    old_last: float
    new_last: float
    ts: int
    rule: str = ""


class Minute(msgspec.Struct, array_like=True, frozen=True):
    """One tape entry: everything that became true at the end of one minute.

    bars:   closed 1min bars, then hourly, then daily; each in the order of `instruments` in the configuration
    states: InstrumentState per symbol
    """

    ts_close: int
    rolls: list[Roll]
    bars: list[Bar]
    states: dict[str, int]
    quality: int = 0
    ts_hub_ns: int = 0  # hub's wall clock when the record that closed the minute arrived
    ts_sent_ns: int = 0  # hub's wall clock when the minute was handed to Redis


class HubStatus(msgspec.Struct, frozen=True):
    """`hub:status`: a MessagePack map, for people and alerts; it expires when the hub stops writing it.

    detail: what `state` alone does not say: from when to when a gap is, which definition differs
    """

    state: str
    ts_ns: int
    ts_tape: int
    ts_last_record: int
    sessions: int
    pending_minutes: int
    counts: dict[str, int]
    fronts: dict[str, str]
    detail: str = ""
    instruments: dict[str, str] = {}  # root → name of its InstrumentState now, in lower case

    @property
    def text(self) -> str:
        """State and detail in one line."""
        return f"{self.state}: {self.detail}" if self.detail else self.state


T = TypeVar("T")


_encoder = msgspec.msgpack.Encoder()


_bar = msgspec.msgpack.Decoder(Bar)


_minute = msgspec.msgpack.Decoder(Minute)


_roll = msgspec.msgpack.Decoder(Roll)


_status = msgspec.msgpack.Decoder(HubStatus)


def encode(message: Bar | Minute | Roll | HubStatus) -> bytes:
    """The wire form of a message."""
    return _encoder.encode(message)


def _decode(decoder: msgspec.msgpack.Decoder[T], kind: type[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"{len(data)} bytes are no {kind.__name__}: {error}") from error


def decode_bar(data: bytes) -> Bar:
    """Raises MessageError."""
    return _decode(_bar, Bar, data)


def decode_minute(data: bytes) -> Minute:
    """Raises MessageError."""
    return _decode(_minute, Minute, data)


def decode_roll(data: bytes) -> Roll:
    """Raises MessageError."""
    return _decode(_roll, Roll, data)


def decode_status(data: bytes) -> HubStatus:
    """Raises MessageError."""
    return _decode(_status, HubStatus, data)
