"""Kernel of a feature: its step form, what it reads, its state and its warm-up."""

import importlib
from collections.abc import Callable
from typing import Any

import msgspec

from rooney.features.lengths import Length, single

Stretches = tuple[tuple[int, int], ...]


class Kernel(msgspec.Struct, frozen=True):
    """An entry of the registry.

    form:          place of the step form below `rooney.kernels.indicators`, as "module.function"; by its name only, so
                   that whoever asks what features there are does not load the compiler
    update:        the step form itself; `inputs` says which
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
    again_form, again: the same of update(s, n), over features update(s, n, x) or (s, n, x, y): its value when the old
                   system looked at the same bar a second time; "", None: the same value

    `slots`, `warm_up` and `price_slots` raise StrategyError for a length that cannot be.
    """

    name: str
    form: str
    inputs: str
    slots: Callable[[Any], int]
    warm_up: Callable[[Any], int]
    formula: str
    source: str
    price_slots: Callable[[Any], Stretches] | None
    value: str
    again_form: str = ""

    @property
    def update(self) -> Callable[..., float]:
        return _function(self.form)

    @property
    def again(self) -> Callable[..., float] | None:
        return _function(self.again_form) if self.again_form else None


def place_of(form: str) -> tuple[str, str]:
    """Module and name of a kernel's function."""
    module, _, name = form.partition(".")
    return f"rooney.kernels.indicators.{module}", name


def _function(form: str) -> Callable[..., float]:
    module, name = place_of(form)
    function: Callable[..., float] = getattr(importlib.import_module(module), name)
    return function


def price_before(n: Length) -> Stretches:
    """State of a kernel that keeps the price of the bar before."""
    return ((1, 2),)


def of_bar(
    name: str,
    form: str,
    slots: Callable[[Any], int],
    warm_up: Callable[[Any], int],
    formula: str,
    source: str = "",
    price_slots: Callable[[Any], Stretches] | None = None,
    value: str = "number",
) -> Kernel:
    """Kernel of a bar."""
    return Kernel(name, form, "bar", slots, warm_up, formula, source, price_slots, value)


def of_time(name: str, form: str, formula: str) -> Kernel:
    """Kernel of the time a bar starts, on the exchange's wall clock."""
    return Kernel(name, form, "time", single, single, formula, "old system §1.7", None, "number")


def of_ring(
    name: str,
    form: str,
    size: Callable[[Any], int],
    formula: str,
    source: str,
    value: str = "number",
    warm_up: Callable[[Any], int] | None = None,
) -> Kernel:
    """A series kernel that keeps a number and a ring of `size` values, and needs them all unless told otherwise."""
    return Kernel(
        name,
        form,
        "series",
        lambda n: size(n) + 1,
        warm_up or size,
        formula,
        source,
        lambda n: ((1, size(n) + 1),),
        value,
    )


def of_two(name: str, form: str, formula: str, source: str = "", value: str = "number") -> Kernel:
    """Kernel of two features' values."""
    return Kernel(name, form, "two", single, single, formula, source, None, value)
