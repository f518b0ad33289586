"""Lengths a feature may be given, in bars: each function checks one kind and returns the values it spans."""

from typing import Any

from rooney.errors import StrategyError

MAX_LENGTH = 100_000


Length = Any  # a number, or a tuple of numbers


def bars(n: Length, least: int = 1) -> int:
    """A length in whole bars. Raises StrategyError."""
    if isinstance(n, bool | str | tuple) or int(n) != n or not least <= n <= MAX_LENGTH:
        raise StrategyError(f"length {n!r}; it must be a whole number of bars from {least} to {MAX_LENGTH}")
    return int(n)


def parts(n: Length, *names: str) -> tuple[Any, ...]:
    """A length that is a tuple of numbers. Raises StrategyError."""
    if not isinstance(n, tuple) or len(n) != len(names):
        raise StrategyError(f"length {n!r}; it must be ({', '.join(names)})")
    if any(isinstance(part, bool | str) for part in n):
        raise StrategyError(f"length {n!r}; ({', '.join(names)}) are numbers")
    return n


def single(n: Length) -> int:
    """A single bar, whatever is given."""
    return 1


def band(n: Length) -> int:
    """(values, deviations) of a band: its values. Raises StrategyError."""
    length, deviations = parts(n, "values", "deviations")
    if not deviations > 0:
        raise StrategyError(f"length {n!r}; a band is more than 0 deviations wide")
    return bars(length, 2)


def sides(n: Length) -> int:
    """(bars left, bars right, first bar) of a pivot: the bars it looks at. Raises StrategyError."""
    left, right, first = parts(n, "bars to the left", "bars to the right", "first bar")
    bars(first)
    return bars(left) + bars(right) + 1


def cross(n: Length) -> int:
    """(values of the mean, values of the deviation): the longer, the latter. Raises StrategyError."""
    short, long = parts(n, "values of the mean", "values of the deviation")
    if bars(short) > bars(long, 2):
        raise StrategyError(f"length {n!r}; the mean cannot be longer than the deviation")
    return int(long)


def distance(n: Length) -> int:
    """(values of the mean, changes of the deviation): the values both need. Raises StrategyError."""
    mean, changes = parts(n, "values of the mean", "changes of the deviation")
    return max(bars(mean), bars(changes, 2) + 1)


def spiral(n: Length) -> int:
    """(short, middle, long): the longest. Raises StrategyError."""
    lengths = [bars(length) for length in parts(n, "short", "middle", "long")]
    if lengths != sorted(lengths):
        raise StrategyError(f"length {n!r}; the three lengths must not fall")
    return lengths[2]


def check_positive(n: Length, *names: str) -> None:
    """Raises StrategyError unless the length is a tuple of numbers above 0."""
    if not all(part > 0 for part in parts(n, *names)):
        raise StrategyError(f"length {n!r}; ({', '.join(names)}) are above 0")


def sar(n: Length) -> int:
    """(step, largest acceleration) of a parabolic stop: slots of its state. Raises StrategyError."""
    check_positive(n, "step", "largest acceleration")
    return 8


def compression(n: Length) -> int:
    """(threshold, tau in bars): needs a single bar. Raises StrategyError."""
    check_positive(n, "threshold", "tau in bars")
    return 1
