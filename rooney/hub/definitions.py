"""What the exchange says a contract is worth, against what is configured. Pure."""

import math

import msgspec

UNDEF = 2**63 - 1
_SCALE = 1e9


class Definition(msgspec.Struct, frozen=True):
    """Facts of one outright from a `definition` record.

    tick_size:    in price units
    point_values: USD per 1.0 of price, each way the record tells it; empty where it tells nothing
    """

    root: str
    raw: str
    tick_size: float
    point_values: tuple[float, ...]


def definition(
    root: str, raw: str, min_price_increment: int, increment_amount: int, display_factor: int, contract_size: int
) -> Definition | None:
    """From the integers (1e-9) of a record; None if it says nothing about prices.

    The value of a tick is increment_amount / display_factor, and the contract's size is what one price unit is worth,
    a hundred times less where prices are in cents. Products fill in one, the other or both.
    """
    if UNDEF in (min_price_increment, display_factor) or min_price_increment <= 0 or display_factor <= 0:
        return None
    tick_size = min_price_increment / _SCALE
    values: list[float] = []
    if increment_amount not in (UNDEF, 0):
        values.append(increment_amount / display_factor / tick_size)
    if contract_size not in (UNDEF, 0):
        values += [contract_size / _SCALE, contract_size / _SCALE / 100]
    return Definition(root, raw, tick_size, tuple(values))


def difference(found: Definition, tick_size: float, point_value: float) -> str | None:
    """How a definition contradicts the configured facts, in words; None if it does not.

    A point value is contradicted only when no reading of the record gives it: a product that really changed agrees
    with none, and refusing one that did not change would stop a strategy for nothing.
    """
    if not math.isclose(found.tick_size, tick_size, rel_tol=1e-6):
        return f"{found.raw} has tick size {found.tick_size:.10g}, configured is {tick_size:.10g}"
    if found.point_values and not any(math.isclose(value, point_value, rel_tol=1e-6) for value in found.point_values):
        return f"{found.raw} is worth {found.point_values[0]:.10g} USD a point, configured is {point_value:.10g}"
    return None
