"""Waiting for what has to happen."""

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], timeout_s: float = 30.0, what: Callable[[], object] = lambda: "") -> None:
    """Wait for something that has to happen."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.01)
