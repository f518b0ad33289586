"""Messages between processes: minutes, bars, rolls, the hub's status. The type is the wire.

Every struct here is encoded as a MessagePack array. Hub and workers restart apart, so fields are only ever appended,
with defaults; a reader ignores appended fields it does not know.

Times are UTC nanoseconds. Prices are float64 in the exchange's units, made once by `int / 1e9`.
"""

import enum
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from rooney.errors import MessageError
from rooney.market.instruments import PRODUCTS, group_of, parse_contract
from rooney.market.sessions import MINUTE_NS
from rooney.market.timeframes import LONGEST_NS

ROLL = "roll"  # in the place of a timeframe
PRICE_LIMIT = 2.0**63 / 1e9  # the exchange's prices are whole 1e-9 in 64 bits
_TIME_LIMIT = 1 << 62
COUNT_LIMIT = 1 << 53


class BarFlag(enum.IntFlag):
    """Quality of one bar."""

    NONE = 0
    OFF_SESSION = 1  # its trades came outside the session: folded into no hour or day
    REPAIRED = 2  # not all of it was built from trades as they happened: some, or all, came in a replay
    INCOMPLETE = 4  # trades of it were dropped: `hub:status` counts them by reason


class MinuteFlag(enum.IntFlag):
    """Quality of one minute."""

    NONE = 0
    REPAIRED = 1  # published late, from replayed data
    GAP = 2  # data before this minute is lost: no entries until the next session
    INCOMPLETE = 4  # trades were dropped, of instruments whose states say so, or of contracts that are no front


class InstrumentState(enum.IntEnum):
    """State of an instrument at the end of a minute, as the hub knows it. Only OPEN and QUIET admit entries."""

    CLOSED = 0
    OPEN = 1  # in session, traded in this minute
    QUIET = 2  # in session, no trade in this minute
    DEAD = 3  # in session, and the feed was not alive when the minute ended: it was published later, from a replay
    REFUSED = 4  # in session, but the exchange's definition differs from the configuration
    INCOMPLETE = 5  # in session, and a trade was dropped, or where there is no bar, one that may have been its


NO_ENTRY: dict[int, str] = {
    InstrumentState.DEAD: "the feed was not alive: what it says is of the past",
    InstrumentState.REFUSED: "its definition differs from the configuration",
    InstrumentState.INCOMPLETE: "trades of its last minute were dropped: what it says may be wrong",
}


class Bar(msgspec.Struct, array_like=True, frozen=True):
    """A closed bar of a contract. [ts_open, ts_close) holds its trades, chosen by ts_recv."""

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
    """A tape entry: everything that became true at the end of one minute.

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


def is_price(value: float) -> bool:
    """True of a price that can be; those below zero can, they have been."""
    return -PRICE_LIMIT < value < PRICE_LIMIT


def price_floor(root: str) -> float:
    """The price that all of a root are above: energy has been sold below zero, what else we know has not."""
    return 0.0 if root in PRODUCTS and group_of(root) != "energy" else -PRICE_LIMIT


def bar_lack(bar: Bar) -> str:
    """Why a bar cannot be, or empty."""
    longest_ns = LONGEST_NS.get(bar.timeframe)
    if longest_ns is None:
        return f"timeframe {bar.timeframe[:20]!r}"
    begins, ends = bar.ts_open, bar.ts_close
    if not 0 <= begins < ends <= min(begins + longest_ns, _TIME_LIMIT) or begins % MINUTE_NS or ends % MINUTE_NS:
        return f"from {begins} to {ends}"
    if (
        not price_floor(bar.symbol) < bar.low <= bar.open <= bar.high < PRICE_LIMIT
        or not bar.low <= bar.close <= bar.high
    ):
        return f"prices {bar.open} {bar.high} {bar.low} {bar.close}"
    if not 0 <= bar.volume < COUNT_LIMIT or not 0 <= bar.trades < COUNT_LIMIT:
        return f"volume {bar.volume}, trades {bar.trades}"
    if not _is_contract(bar.symbol, bar.contract, ends):
        return f"contract {bar.contract[:20]!r}"
    return ""


def roll_lack(roll: Roll) -> str:
    """Why a roll cannot be, or empty. A price that is not known is NaN."""
    if not 0 < roll.ts < _TIME_LIMIT:
        return f"at {roll.ts}"
    if not all(price != price or is_price(price) for price in (roll.old_last, roll.new_last)):
        return f"prices {roll.old_last} {roll.new_last}"
    if not all(_is_contract(roll.symbol, raw, roll.ts) for raw in (roll.old_contract, roll.new_contract)):
        return f"contracts {roll.old_contract[:20]!r} {roll.new_contract[:20]!r}"
    return ""


def _is_contract(root: str, raw: str, ts_ns: int) -> bool:
    contract = parse_contract(raw, datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).date())
    return contract is not None and contract.root == root


def sifted(minute: Minute) -> tuple[Minute, dict[tuple[str, str], str]]:
    """A minute without bars and rolls that cannot be, and why: (symbol, timeframe or `ROLL`) → reason."""
    refused: dict[tuple[str, str], str] = {}
    bars: dict[tuple[str, str, int], Bar] = {}
    rolls: dict[str, Roll] = {}
    for bar in minute.bars:
        lack, key = bar_lack(bar), (bar.symbol, bar.timeframe, bar.ts_open)
        earliest_ns = minute.ts_close if bar.timeframe == "1min" else 0
        if not lack and not earliest_ns <= bar.ts_close <= minute.ts_close:
            lack = f"closes at {bar.ts_close}"
        if not lack and bars.setdefault(key, bar) is not bar:
            lack = "comes twice"
        if lack:
            refused[key[:2]] = lack
    for roll in minute.rolls:
        lack = roll_lack(roll)
        if not lack and roll.ts != minute.ts_close:
            lack = f"at {roll.ts}"
        if not lack and rolls.setdefault(roll.symbol, roll) is not roll:
            lack = "comes twice"
        if lack:
            refused[roll.symbol, ROLL] = lack
    if not refused:
        return minute, refused
    return msgspec.structs.replace(minute, bars=list(bars.values()), rolls=list(rolls.values())), refused


def decode_bar(data: bytes) -> Bar:
    """A bar that can be. Raises MessageError."""
    bar = _decode(_bar, Bar, data)
    if lack := bar_lack(bar):
        raise MessageError(f"a bar that cannot be: {lack}")
    return bar


def decode_minute(data: bytes) -> Minute:
    """A minute whose own times can be; its bars and rolls are `sifted`'s. Raises MessageError."""
    minute = _decode(_minute, Minute, data)
    if not all(0 <= ts < _TIME_LIMIT for ts in (minute.ts_close, minute.ts_hub_ns, minute.ts_sent_ns)):
        raise MessageError(f"a minute that cannot be: {minute.ts_close}, {minute.ts_hub_ns}, {minute.ts_sent_ns}")
    return minute


def decode_roll(data: bytes) -> Roll:
    """A roll that can be. Raises MessageError."""
    roll = _decode(_roll, Roll, data)
    if lack := roll_lack(roll):
        raise MessageError(f"a roll that cannot be: {lack}")
    return roll


def decode_status(data: bytes) -> HubStatus:
    """Raises MessageError."""
    return _decode(_status, HubStatus, data)
