"""Kernel of a feature: its step form, what it reads, its state and its warm-up."""

from collections.abc import Callable
from typing import Any

import msgspec

from rooney.features.lengths import Length, single

Stretches = tuple[tuple[int, int], ...]


class Kernel(msgspec.Struct, frozen=True):
    """An entry of the registry.

    update:        the step form; `inputs` says which
    inputs:        "bar":    update(s, n, open_, high, low, close, volume)
                   "time":   update(s, n, local_ns), start of the bar on the exchange's wall clock, ns
                   "series": update(s, n, x), x another feature's value
                   "two":    update(s, n, x, y)
    slots:         float64 state for length n, all zeros before the first bar; at least one
    warm_up:       bars, or values of the inputs, up to and with the first value
    price_slots:   stretches of state [first, past) that move with the contract on a roll; for "series" and "two" only
                   when (the first) input is a price
    value:         "number", "price", "as input" (a price if the input is), "difference" (a price moved by what input 0
                   moves less what input 1 moves)
    research_only: reads the future or cannot be known live
    again:         update(s, n), over features update(s, n, x) or (s, n, x, y): its value when the old system looked at
                   the same bar a second time; None: the same

    `slots`, `warm_up` and `price_slots` raise StrategyError for a length that cannot be.
    """

    name: str
    update: Callable[..., float]
    inputs: str
    slots: Callable[[Any], int]
    warm_up: Callable[[Any], int]
    formula: str
    source: str
    price_slots: Callable[[Any], Stretches] | None
    value: str
    research_only: bool = False
    again: Callable[..., float] | None = None


def place_of(function: Callable[..., float]) -> tuple[str, str]:
    """Module and name of a kernel's function, compiled or not."""
    plain = getattr(function, "py_func", function)
    return plain.__module__, plain.__name__


def price_before(n: Length) -> Stretches:
    """State of a kernel that keeps the price of the bar before."""
    return ((1, 2),)


def of_bar(
    name: str,
    update: Callable[..., float],
    slots: Callable[[Any], int],
    warm_up: Callable[[Any], int],
    formula: str,
    source: str = "",
    price_slots: Callable[[Any], Stretches] | None = None,
    value: str = "number",
) -> Kernel:
    """Kernel of a bar."""
    return Kernel(name, update, "bar", slots, warm_up, formula, source, price_slots, value)


def of_time(name: str, update: Callable[..., float], formula: str) -> Kernel:
    """Kernel of the time a bar starts, on the exchange's wall clock."""
    return Kernel(name, update, "time", single, single, formula, "old system §1.7", None, "number")


def of_ring(
    name: str,
    update: Callable[..., float],
    size: Callable[[Any], int],
    formula: str,
    source: str,
    value: str = "number",
    warm_up: Callable[[Any], int] | None = None,
) -> Kernel:
    """A series kernel that keeps a number and a ring of `size` values, and needs them all unless told otherwise."""
    return Kernel(
        name,
        update,
        "series",
        lambda n: size(n) + 1,
        warm_up or size,
        formula,
        source,
        lambda n: ((1, size(n) + 1),),
        value,
    )


def of_two(name: str, update: Callable[..., float], formula: str, source: str = "", value: str = "number") -> Kernel:
    """Kernel of two features' values."""
    return Kernel(name, update, "two", single, single, formula, source, None, value)
