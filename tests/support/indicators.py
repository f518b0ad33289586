"""Every kernel of the library over the same made-up bars; as a program, prints a digest of each one's values."""

import hashlib
from typing import Any

import numpy as np

from rooney.features.arrays import over_bars, over_series, over_times, over_two
from rooney.features.kernel import Kernel
from rooney.features.kernel_registry import KERNELS
from rooney.kernels.array_types import F64

HOUR_NS = 3_600_000_000_000
NUMBERED = ("latest_high_v1", "latest_low_v1")  # their second series is the number of the bar the first is of


def length(kernel: Kernel, n: int) -> Any:
    """A length it can have, about n."""
    if "pivot" in kernel.name or kernel.name in NUMBERED:
        return (n // 4 + 1, n // 3 + 1, 1)
    if kernel.name.startswith("bollinger"):
        return (n + 1, 2.0)
    tuples = {
        "psar": (0.03125, 0.25),
        "compression": (0.75, 10.0),
        "spiral": (n, n + 3, n + 9),
        "cross_z": (n, n + 5),
        "distance_z": (n, n + 2),
    }
    return tuples.get(kernel.name.removesuffix("_v1"), n + 1)


def walk(count: int, seed: int = 3) -> F64:
    """Bars on a grid of quarters: float64[(open, high, low, close, volume), bar]."""
    rng = np.random.default_rng(seed)
    close = 500.0 + np.cumsum(rng.integers(-4, 5, count)) / 4
    open_ = close + rng.integers(-3, 4, count) / 4
    high = np.maximum(open_, close) + rng.integers(0, 4, count) / 4
    low = np.minimum(open_, close) - rng.integers(0, 4, count) / 4
    return np.array([open_, high, low, close, rng.integers(1, 1000, count).astype(np.float64)])


def run(kernel: Kernel, n: Any, bars: F64) -> F64:
    """Its values over bars; a series is the close, the second one the open, or its number."""
    if kernel.inputs == "bar":
        return over_bars(kernel.name, n, list(bars))
    if kernel.inputs == "time":
        start = 1_700_000_000_000_000_000 // HOUR_NS * HOUR_NS
        return over_times(kernel.name, n, start + HOUR_NS * np.arange(bars.shape[1], dtype=np.int64))
    if kernel.inputs == "series":
        return over_series(kernel.name, n, np.ascontiguousarray(bars[3]))
    second = bars[0]
    if kernel.name in NUMBERED:
        second = np.where(np.isnan(bars[3]), np.nan, np.cumsum(~np.isnan(bars[3])))
    return over_two(kernel.name, n, np.ascontiguousarray(bars[3]), np.ascontiguousarray(second))


def digests() -> dict[str, str]:
    """Of the bytes of 300 values per kernel, some bars without a number among them."""
    bars = walk(300)
    bars[:, 170] = np.nan
    found = {}
    for name, kernel in KERNELS.items():
        given = bars if kernel.inputs in ("series", "two") else walk(300)
        found[name] = hashlib.sha256(run(kernel, length(kernel, 7), given).tobytes()).hexdigest()[:16]
    return found


if __name__ == "__main__":
    for kernel, digest in digests().items():
        print(kernel, digest)
