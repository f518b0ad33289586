"""`rooney resolve`: a person looked at the broker and says what became of an order."""

import math

from rooney.errors import ConfigError
from rooney.format import price_text, second_text, size_text
from rooney.ops.commands import far_off
from rooney.orders.control import Command, Resolution, Verb, beyond
from rooney.orders.intents import Role, State
from rooney.orders.lifecycle import Order


def check(order: Order, filled: float | None) -> None:
    """Raises ConfigError for an order that needs no resolving, or a price that is none."""
    if filled is not None and not math.isfinite(filled):
        raise ConfigError(f"--filled: expected a price in points, got {filled}; nothing was done")
    if lack := beyond(price=filled):
        raise ConfigError(f"--filled: {lack}; nothing was done")
    is_unsent_entry = order.role is Role.ENTRY and order.state is State.PLANNED
    if order.is_open and not is_unsent_entry:
        return
    raise ConfigError(
        f"{order.id}: the {order.role.name.lower()} of {order.ticker} is {order.state}; only an order of unknown fate, "
        "or an exit that was not accepted, can be resolved. Nothing was done"
    )


def plan(name: str, order: Order, filled: float | None) -> list[str]:
    """Lines about what will be written, for the operator to read first."""
    what = size_text(order.side, order.quantity) if order.role is Role.ENTRY else "all"
    said = "not filled" if filled is None else f"filled at {price_text(filled)}"
    lines = [
        f"{name}: {order.role.name.lower()} {order.ticker} {what}, {order.state} since "
        f"{second_text(order.events[-1].ts_wall)}: {said}"
    ]
    remark = "" if filled is None else far_off(filled, order.signal_price)
    return [*lines, f"  {remark}"] if remark else lines


def command(order: Order, filled: float | None, who: str, reason: str, ts_ns: int) -> Command:
    """Command with what was found out, as a worker takes it."""
    outcome = Resolution.NOT_FILLED if filled is None else Resolution.FILLED
    return Command(ts_ns, Verb.RESOLVE, who, reason, intent=order.id, outcome=outcome, price=filled)
