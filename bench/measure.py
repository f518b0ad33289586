"""What every benchmark shares: rows for the table, percentiles, rounds on a noisy machine."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class Row(msgspec.Struct, frozen=True):
    """One line of the table. `met` is False where a target is missed, which fails the run."""

    what: str
    measured: str
    target: str = ""
    met: bool = True


def report(benchmark: Any, rows: Sequence[Row]) -> None:
    """Keep rows with the benchmark, then fail on a missed target."""
    benchmark.extra_info["rows"] = [msgspec.structs.asdict(row) for row in rows]
    missed = [f"{row.what}: {row.measured}, target {row.target}" for row in rows if not row.met]
    assert not missed, "; ".join(missed)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all are not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def rounds(measure: Callable[[], T], enough: Callable[[list[T]], bool], least: int = 3, most: int = 7) -> list[T]:
    """Measure `least` times, then as often as it takes until `enough`, at most `most` times.

    Other processes disturb single rounds; the medians over all of them are what is reported and judged.
    """
    found = [measure() for _ in range(least)]
    while not enough(found) and len(found) < most:
        found.append(measure())
    return found


def median_of(found: Sequence[T], value: Callable[[T], float]) -> float:
    """Median over rounds."""
    return statistics.median(value(one) for one in found)
