"""Functions that the step asks a strategy for: its rules and its features. Here: a strategy that never trades.

`rooney.strategy.compiler` writes the step anew for each strategy with that strategy's functions in place of these,
because only functions imported by name can be compiled once and loaded from the cache by every later process.
"""

from typing import Any

from rooney.kernels.jit import njit

LINKED = False  # whether any feature needs `link`
FINEST = 0  # the finest timeframe that `fold` does anything for


@njit(cache=True)
def should_enter_long(f: Any, p: Any) -> bool:
    """f: features of one instrument by name; p: parameters by name."""
    return False


@njit(cache=True)
def should_enter_short(f: Any, p: Any) -> bool:
    """As should_enter_long."""
    return False


@njit(cache=True)
def should_exit(f: Any, p: Any, t: Any) -> bool:
    """t: the open trade: side, entry_price, bars_held, best."""
    return False


@njit(cache=True)
def is_warm(f: Any) -> bool:
    """True if every feature the strategy declares has a value."""
    return False


@njit(cache=True)
def fold(
    timeframe: int, s: Any, f: Any, local_ns: int, open_: float, high: float, low: float, close: float, volume: float
) -> None:
    """Fold one closed bar of a timeframe into the feature state `s` and the values `f` of its instrument."""


@njit(cache=True)
def link(timeframe: int, s: Any, f: Any, values: Any, links: Any) -> None:
    """After all bars of a mark: features that read other instruments or several timeframes.

    links: for one instrument, index of each symbol that features read; -1 where there is none
    """


@njit(cache=True)
def again(s: Any, f: Any) -> None:
    """Own values that the old system changed when it looked at a bar a second time."""


@njit(cache=True)
def relink(s: Any, f: Any, values: Any, links: Any) -> None:
    """As `again`, of what reads other instruments."""


@njit(cache=True)
def remember(f: Any) -> None:
    """At the end of a complete evaluation: values that stay until the next one."""


@njit(cache=True)
def shift(s: Any, f: Any, points: float) -> None:
    """Move everything that is a price by `points`: the instrument's contract has changed."""


@njit(cache=True)
def shift_linked(k: int, s: Any, f: Any, points: float) -> None:
    """As shift, when the contract of the k-th linked instrument has changed."""
