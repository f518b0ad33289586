"""Entries of the tape as the minutes a worker steps. Pure, but for the log."""

import contextlib
import logging
import math

from rooney.errors import MessageError
from rooney.format import iso_second
from rooney.market.messages import NO_ENTRY, Bar, Minute, MinuteFlag, decode_minute

logger = logging.getLogger(__name__)


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


def no_entry_states(minute: Minute) -> dict[str, int]:
    """Symbol → its state, of those in which nothing may be entered on this minute."""
    return {symbol: state for symbol, state in minute.states.items() if state in NO_ENTRY}
