"""Exposure: contracts that may be open at the broker, as a ledger alone tells it, and their exits. Pure.

The step's book says what was believed at the last finished mark. What the ledger holds beyond it (an order that went
out, an exit that was acknowledged, a position an operator stated) has not reached the step, so it is taken in here.
Where it is not known whether something is open it counts as open: an exit with nothing to close is refused at the
other side and opens nothing.
"""

from datetime import UTC, datetime

import msgspec

from rooney.kernels.codes import Pending
from rooney.ledger.records import Held
from rooney.ledger.snapshot import Snapshot
from rooney.market.instruments import Contract, contract_from_number, parse_contract
from rooney.orders.control import Act, Verb
from rooney.orders.intents import Role, Said, Side, State
from rooney.orders.lifecycle import Order

_MAY_BE_LIVE = (State.SENDING, State.ACKNOWLEDGED, State.UNCONFIRMED)


class Exposure(msgspec.Struct, frozen=True):
    """Contract that is or may be open.

    root, contract, ticker: as they were ordered, which `order_symbol` may have made another product than `symbol`
    side, quantity:   as believed; of an entry of unknown fate, as wanted
    is_certain:       it was believed open at the last mark; else an entry is on its way or its fate unknown
    is_stated:        an operator said so, and no minute has taken it in yet
    entry:            the newest one, if there was any
    exit:             an exit order that is not over: the one to go on with
    """

    symbol: str
    root: str
    contract: str
    ticker: str
    side: Side
    quantity: int
    is_certain: bool
    entry: Order | None = None
    exit: Order | None = None
    is_stated: bool = False


def exposures(snapshot: Snapshot) -> list[Exposure]:
    """Everything that is or may be open, in the order of the strategy's instruments."""
    said = [act for act in snapshot.acts if act.is_awaited and act.command.verb is Verb.POSITION]
    candidates = (
        _exposure(
            held,
            [order for order in snapshot.orders if order.symbol == held.symbol],
            next((act for act in reversed(said) if act.command.symbol == held.symbol), None),
        )
        for held in snapshot.held
    )
    return [exposure for exposure in candidates if exposure is not None]


def _exposure(held: Held, orders: list[Order], stated: Act | None) -> Exposure | None:
    entry = _newest(orders, Role.ENTRY)
    exit_ = _newest(orders, Role.EXIT)
    if exit_ is not None and entry is not None and exit_.seq < entry.seq:
        exit_ = None  # it closed what was before
    side, quantity, number = held.side, held.quantity, held.contract_number
    if stated is not None:  # whatever came before it no longer matters
        side, quantity = Side(stated.command.side), stated.command.quantity
        number = held.contract_number if held.side else held.last_contract_number
    if exit_ is not None and _is_closed_by(exit_, stated):
        return None
    if stated is None and held.pending is Pending.EXIT and held.acknowledged:
        return None
    if not side and not (entry is not None and _may_have_opened(entry, held, stated)):
        return None
    ordered = _ordered(held.symbol, number if side else held.pending_contract_number, entry)
    return Exposure(
        held.symbol,
        ordered.root,
        ordered.raw,
        ordered.ticker,
        side or (entry.side if entry else held.pending_side),
        quantity if side else entry.quantity if entry else held.pending_quantity,
        bool(side),
        entry,
        exit_ if exit_ is not None and exit_.is_open else None,
        is_stated=stated is not None and bool(side),
    )


def _newest(orders: list[Order], role: Role) -> Order | None:
    return next((order for order in reversed(orders) if order.role is role), None)


def _is_closed_by(exit_: Order, stated: Act | None) -> bool:
    """The book still has a position that this exit has closed."""
    last = exit_.events[-1]
    is_done = last.state is State.ACKNOWLEDGED or last.said is Said.FILLED
    return is_done and not exit_.is_applied and (stated is None or last.seq > stated.after_event)


def _may_have_opened(entry: Order, held: Held, stated: Act | None) -> bool:
    """Something may have come of an entry of which the book does not yet say so."""
    last = entry.events[-1]
    if stated is not None and last.seq <= stated.after_event:
        return False
    if stated is None and held.pending is Pending.UNCERTAIN:
        return last.said is not Said.NOT_FILLED
    is_live = last.state in _MAY_BE_LIVE or last.said is Said.FILLED
    return is_live and (held.pending is Pending.ENTRY or not entry.is_applied)


def _ordered(symbol: str, number: int, entry: Order | None) -> Contract:
    """Contract that orders go out in: that of the entry, and without one the symbol's own."""
    if entry is not None:
        on = datetime.fromtimestamp(entry.ts_mark // 1_000_000_000, UTC).date()
        contract = parse_contract(entry.contract, on)
        if contract is not None and number in (0, contract.number):
            return contract
        if contract is not None:  # another month of the product that is ordered
            return msgspec.structs.replace(contract_from_number(symbol, number), root=contract.root)
    return contract_from_number(symbol, number)
