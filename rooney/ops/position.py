"""`rooney position`: what is open, as the ledger believes it, and what is on its way."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from rooney.errors import ConfigError
from rooney.format import minute_text, price_text, size_text, table, usd_text
from rooney.ledger.exposure import Exposure, exposures
from rooney.ledger.records import Held
from rooney.ledger.snapshot import Snapshot
from rooney.market.instruments import PRODUCTS
from rooney.ops.commands import far_off
from rooney.orders.control import Command, Switch, Verb, beyond
from rooney.orders.intents import Side


def _open_pnl_usd(held: Held, exposure: Exposure | None) -> float | None:
    """At the last price, estimated; None for a product nobody knows the value of."""
    product = PRODUCTS.get(exposure.root if exposure is not None else held.symbol)
    if product is None:
        return None
    return held.side * held.quantity * (held.mark - held.entry_price) * product.point_value


def _doubt(exposure: Exposure | None, held: Held) -> str:
    """Doubt that keeps the book from being the last word, or nothing."""
    if exposure is None:
        return "closed, booked at the next minute" if held.side else ""
    if exposure.is_stated:
        size = size_text(exposure.side, exposure.quantity)
        return f"stated: {size}, taken in at the next minute"
    if exposure.exit is not None:
        return f"exit {exposure.exit.id} {exposure.exit.state}"
    if not exposure.is_certain and exposure.entry is not None:
        return f"entry {exposure.entry.id} {exposure.entry.state}: may be open"
    return ""


def lines(
    snapshot: Snapshot, exposures: Sequence[Exposure], switches: Sequence[Switch], symbols: Sequence[str]
) -> list[str]:
    """Positions of a strategy for a terminal. symbols: only these; none for all."""
    account = snapshot.account
    head = f"{snapshot.name}  {snapshot.mode or 'no order yet'}  last mark {minute_text(snapshot.ts_mark)}"
    if account is None:
        return [head, "  no minute was finished yet", *_switch_lines(switches)]
    day = "  HALTED daily loss" if account.is_halted else ""
    head += f"  equity {account.equity_usd:,.2f} USD  day {usd_text(account.day_usd)} USD (estimates){day}"
    by_symbol = {exposure.symbol: exposure for exposure in exposures}
    rows = []
    for held in snapshot.held:
        exposure = by_symbol.get(held.symbol)
        if (symbols and held.symbol not in symbols) or not (symbols or held.side or exposure):
            continue
        if held.side:
            contract = exposure.contract if exposure else held.contract
            pnl = _open_pnl_usd(held, exposure)
            rows.append(
                (
                    held.symbol,
                    contract,
                    size_text(held.side, held.quantity),
                    f"at {price_text(held.entry_price)}",
                    f"last {price_text(held.mark)}",
                    f"open {usd_text(pnl)} USD" if pnl is not None else "",
                    _doubt(exposure, held),
                )
            )
        elif exposure:
            wanted = size_text(exposure.side, exposure.quantity)
            rows.append((held.symbol, exposure.contract, wanted, "?", "", "", _doubt(exposure, held)))
        else:
            rows.append((held.symbol, "", "flat", "", "", "", ""))
    return [head, *(table(rows) if rows else ["  flat"]), *_switch_lines(switches)]


def _switch_lines(switches: Sequence[Switch]) -> list[str]:
    return [f"  switch {switch}" for switch in switches]


def as_json(
    snapshot: Snapshot, exposures: Sequence[Exposure], switches: Sequence[Switch], symbols: Sequence[str]
) -> dict[str, Any]:
    """The same for programs; P&L and equity are estimates, prices in points, times UTC ns."""
    by_symbol = {exposure.symbol: exposure for exposure in exposures}
    account = snapshot.account
    return {
        "strategy": snapshot.name,
        "mode": snapshot.mode,
        "ts_mark_ns": snapshot.ts_mark,
        "equity_usd": account.equity_usd if account else None,
        "day_pnl_usd": account.day_usd if account else None,
        "is_halted": account.is_halted if account else None,
        "positions": [
            {
                "symbol": held.symbol,
                "contract": exposure.contract if exposure else held.contract if held.side else None,
                "side": int(held.side or (exposure.side if exposure else Side.FLAT)),
                "quantity": held.quantity if held.side else exposure.quantity if exposure else 0,
                "entry_price": held.entry_price if held.side else None,
                "last_price": held.mark if held.side else None,
                "open_pnl_usd": _open_pnl_usd(held, exposure) if held.side else None,
                "is_certain": exposure is None or exposure.is_certain,
                "note": _doubt(exposure, held),
            }
            for held in snapshot.held
            for exposure in [by_symbol.get(held.symbol)]
            if held.symbol in symbols or (not symbols and (held.side or exposure))
        ],
        "switches": [
            {
                "level": str(switch.level),
                "scope": switch.scope,
                "ts_ns": switch.ts_ns,
                "who": switch.who,
                "reason": switch.reason,
            }
            for switch in switches
        ],
    }


def exit_text(exposure: Exposure) -> str:
    """Line about what closing a contract sends."""
    what = size_text(exposure.side, exposure.quantity)
    believed = f"closes {what}" if exposure.is_certain else f"closes {what} if that entry was filled"
    again = f", going on with exit {exposure.exit.id}" if exposure.exit is not None else ""
    return f"exit {exposure.ticker}: {believed}{again}"


class Stated(msgspec.Struct, frozen=True):
    """Position that is said to be open. price: at which it was opened; at which it was closed where side is FLAT."""

    symbol: str
    side: Side
    quantity: int
    price: float


def check_symbols(snapshot: Snapshot, symbols: Sequence[str]) -> None:
    """Raises ConfigError for a symbol the strategy does not trade."""
    known = [held.symbol for held in snapshot.held]
    for symbol in symbols:
        if symbol not in known:
            there = ", ".join(known) or "none yet: no minute was finished"
            raise ConfigError(f"{symbol}: {snapshot.name} trades no such instrument; it has {there}. Nothing was done")


def stated(snapshot: Snapshot, symbol: str, signed: int, price: float | None) -> Stated:
    """Check a statement; signed: contracts, negative for short. Raises ConfigError."""
    check_symbols(snapshot, [symbol])
    if signed == 0 and not _held(snapshot, symbol).side and _exposed(snapshot, symbol) is None:
        raise ConfigError(f"{symbol}: {snapshot.name} is flat in it already; nothing was done")
    if price is None or not math.isfinite(price):
        what = "it was closed at" if signed == 0 else "it was opened at"
        raise ConfigError(f"--price: expected the price {what}, in points, got {price}; nothing was done")
    if lack := beyond(signed, price):
        raise ConfigError(f"{symbol}: {lack}; nothing was done")
    return Stated(symbol, Side((signed > 0) - (signed < 0)), abs(signed), price)


def plan(snapshot: Snapshot, one: Stated) -> list[str]:
    """Lines about what will be written, for the operator to read first."""
    held = _held(snapshot, one.symbol)
    was = size_text(held.side, held.quantity) + (f" at {price_text(held.entry_price)}" if held.side else "")
    exposed = _exposed(snapshot, one.symbol)
    if exposed is not None and exposed.is_stated:
        was += f"; {size_text(exposed.side, exposed.quantity)} was stated and not taken in yet"
    closed = "closed " if one.side is Side.FLAT else ""
    now = f"{size_text(one.side, one.quantity)}, {closed}at {price_text(one.price)}"
    remark = far_off(one.price, held.mark)
    text = f"{snapshot.name}: {one.symbol} is {now} (the ledger says {was}). Nothing is sent to the broker"
    return [text, f"  {remark}"] if remark else [text]


def command(one: Stated, who: str, reason: str, ts_ns: int) -> Command:
    """The statement as a worker takes it."""
    return Command(
        ts_ns,
        Verb.POSITION,
        who,
        reason,
        symbol=one.symbol,
        side=int(one.side),
        quantity=one.quantity,
        price=one.price,
    )


def _exposed(snapshot: Snapshot, symbol: str) -> Exposure | None:
    return next((one for one in exposures(snapshot) if one.symbol == symbol), None)


def _held(snapshot: Snapshot, symbol: str) -> Held:
    return next(held for held in snapshot.held if held.symbol == symbol)
