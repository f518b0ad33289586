"""The parameters of a strategy: those its file declares, with the values a configuration gives them."""

import math
from collections.abc import Mapping

from rooney.config.validation import Scalar, join, unknown, wrong

Declared = Mapping[str, tuple[Scalar, float | None, float | None]]  # name → default, low, high

_OLD_NAMES = {"max_bars_in_trade": "time_stop_bars"}  # the first configuration's name → ours


def check_params(path: str, given: Mapping[str, Scalar], declared: Declared) -> dict[str, Scalar]:
    """Every declared parameter with its value; `given` may only name declared ones, in their type and limits.

    max_bars_in_trade, where a strategy does not declare it, sets time_stop_bars and wins over it.
    """
    return {name: default for name, (default, _, _) in declared.items()} | given_params(path, given, declared)


def given_params(path: str, given: Mapping[str, Scalar], declared: Declared) -> dict[str, Scalar]:
    """The same, of those given only."""
    values: dict[str, Scalar] = {}
    # An old name comes last, so that it wins.
    for key in sorted(given, key=lambda key: key in _OLD_NAMES):
        name = key if key in declared else _OLD_NAMES.get(key, key)
        if name not in declared:
            raise unknown(join(path, key), "parameter", key, declared)
        values[name] = _param(join(path, key), given[key], declared[name])
    return values


def _param(path: str, value: Scalar, declared: tuple[Scalar, float | None, float | None]) -> Scalar:
    default, low, high = declared
    kinds: dict[type, tuple[str, tuple[type, ...]]] = {
        bool: ("true or false", (bool,)),
        int: ("an int", (int,)),
        float: ("a number", (int, float)),
        str: ("a text", (str,)),
    }
    noun, accepted = kinds[type(default)]
    limits = [f"{sign} {bound:g}" for sign, bound in ((">=", low), ("<=", high)) if bound is not None]
    expected = " ".join([noun, " and ".join(limits)]).strip()
    # bool is an int to Python, never to a person
    if not isinstance(value, accepted) or isinstance(value, bool) is not isinstance(default, bool):
        raise wrong(path, expected, value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        inside = (low is None or value >= low) and (high is None or value <= high)
        if not inside or not math.isfinite(value):
            raise wrong(path, expected, value)
        return float(value) if isinstance(default, float) else value
    return value
