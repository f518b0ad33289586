"""`rooney position NAME SYMBOL QUANTITY`: a person states what is open at the broker."""

import math
import time
from collections.abc import Sequence

import msgspec

from rooney import cells as showing
from rooney.clock import Clock
from rooney.errors import ConfigError
from rooney.ledger.exposure import Exposure, exposures
from rooney.ledger.reading import Reading
from rooney.ledger.records import Held
from rooney.ops.commands import far_off, leave
from rooney.orders.control import Command, Verb
from rooney.orders.intents import Side


class Stated(msgspec.Struct, frozen=True):
    """What is said to be open. price: at which it was opened; at which it was closed where side is FLAT."""

    symbol: str
    side: Side
    quantity: int
    price: float


def check_symbols(reading: Reading, symbols: Sequence[str]) -> None:
    """Raises ConfigError for a symbol the strategy does not trade."""
    known = [held.symbol for held in reading.held]
    for symbol in symbols:
        if symbol not in known:
            there = ", ".join(known) or "none yet: no minute was finished"
            raise ConfigError(f"{symbol}: {reading.name} trades no such instrument; it has {there}. Nothing was done")


def stated(reading: Reading, symbol: str, signed: int, price: float | None) -> Stated:
    """Check a statement; signed: contracts, negative for short. Raises ConfigError."""
    check_symbols(reading, [symbol])
    if signed == 0 and not _held(reading, symbol).side and _exposed(reading, symbol) is None:
        raise ConfigError(f"{symbol}: {reading.name} is flat in it already; nothing was done")
    if price is None or not math.isfinite(price):
        what = "it was closed at" if signed == 0 else "it was opened at"
        raise ConfigError(f"--price: expected the price {what}, in points, got {price}; nothing was done")
    return Stated(symbol, Side((signed > 0) - (signed < 0)), abs(signed), price)


def plan(reading: Reading, one: Stated) -> list[str]:
    """What will be written, for the operator to read first."""
    held = _held(reading, one.symbol)
    was = showing.size(held.side, held.quantity) + (f" at {showing.price(held.entry_price)}" if held.side else "")
    exposed = _exposed(reading, one.symbol)
    if exposed is not None and exposed.is_stated:
        was += f"; {showing.size(exposed.side, exposed.quantity)} was stated and not taken in yet"
    closed = "closed " if one.side is Side.FLAT else ""
    now = f"{showing.size(one.side, one.quantity)}, {closed}at {showing.price(one.price)}"
    remark = far_off(one.price, held.mark)
    text = f"{reading.name}: {one.symbol} is {now} (the ledger says {was}). Nothing is sent to the broker"
    return [text, f"  {remark}"] if remark else [text]


def command(one: Stated, who: str, reason: str, ts_ns: int) -> Command:
    """The statement as a worker takes it."""
    return Command(
        ts_ns, Verb.POSITION, who, reason,
        symbol=one.symbol, side=int(one.side), quantity=one.quantity, price=one.price,
    )  # fmt: skip


def state(reading: Reading, one: Stated, who: str, reason: str, clock: Clock) -> str:
    """Say it; what happens now, as a sentence. Raises ControlError."""
    return leave(reading, command(one, who, reason, time.time_ns()), clock)


def _exposed(reading: Reading, symbol: str) -> Exposure | None:
    return next((one for one in exposures(reading) if one.symbol == symbol), None)


def _held(reading: Reading, symbol: str) -> Held:
    return next(held for held in reading.held if held.symbol == symbol)
