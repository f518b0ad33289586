"""What the step asks of a strategy: its rules and its features. Here: a strategy that never trades.

`rooney.strategy` writes the step anew for each strategy with that strategy's functions in place of these, because
only functions imported by name can be compiled once and loaded from the cache by every later process.
"""

from typing import Any

from numba import njit


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
    """Whether every feature has a value."""
    return False


@njit(cache=True)
def fold(timeframe: int, s: Any, f: Any, open_: float, high: float, low: float, close: float, volume: float) -> None:
    """Fold one closed bar of a timeframe into the feature state `s` and the values `f` of its instrument."""


@njit(cache=True)
def shift(s: Any, f: Any, points: float) -> None:
    """Move everything that is a price by `points`: the instrument's contract has changed."""
