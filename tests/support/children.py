"""Processes that a test starts itself."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def child(argv: Sequence[str], **options: Any) -> Iterator[Any]:
    """`subprocess.Popen(argv, **options)`, killed and reaped at the end if it still runs, however the test goes."""
    with subprocess.Popen(argv, **options) as process:
        try:
            yield process
        finally:
            process.kill()
