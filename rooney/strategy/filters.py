"""Entry filters: a feature and the values of it that let an entry pass. Configuration, never code."""

import math
from typing import Literal

import msgspec

from rooney.errors import StrategyError
from rooney.features.feature import Feature

FIRST_CODE, LAST_CODE = 0, 62  # codes fit the bits of one word


class Filter(msgspec.Struct, frozen=True):
    """Passes where every condition given holds. Raises StrategyError when it could never be judged.

    low, high:    inclusive; above, below: exclusive
    allowed:      whole numbers from 0 to 62, for features that are codes
    missing:      what to do while the feature has no value
    """

    feature: Feature
    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    allowed: tuple[int, ...] = ()
    missing: Literal["block", "pass"] = "block"

    def __post_init__(self) -> None:
        if self.low > self.high or self.above >= self.below:
            raise StrategyError(
                f"a filter on {self.feature.kernel} lets nothing pass: low {self.low:g}, high {self.high:g}, "
                f"above {self.above:g}, below {self.below:g}"
            )
        for code in self.allowed:
            if not FIRST_CODE <= code <= LAST_CODE:
                raise StrategyError(
                    f"a filter on {self.feature.kernel} allows {code}; codes are {FIRST_CODE} to {LAST_CODE}"
                )

    @property
    def mask(self) -> int:
        """`allowed` as bits; 0 for any value."""
        return sum(1 << code for code in set(self.allowed))


def filter_field(name: str) -> str:
    """Field of the values that holds the feature of a filter."""
    return f"filter_{name}"
