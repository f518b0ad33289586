"""A file system of its own, as small as wanted, and full when wanted. It takes root to mount one."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rooney.files import MIB


@contextmanager
def mounted(place: Path, size_bytes: int) -> Iterator[Path]:
    """An empty file system at `place`; the test is skipped where none can be mounted."""
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", place],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here (it takes root): {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path) -> Path:
    """Leave no byte free at this moment; the file that takes them."""
    path = place / "large"
    with path.open("ab", buffering=0) as file:
        for block in (b"\0" * MIB, b"\0" * 512):
            while True:
                try:
                    file.write(block)
                except OSError:
                    break
    return path
