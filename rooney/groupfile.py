"""A file that one user leaves for another of the same group: whole or not at all, and readable whoever wrote it.

The operator is root or a member of the group `rooney`; workers and dashboard are its user. What the operator writes
must be theirs to read and to remove, whatever his umask and his own group are.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

DIRECTORY_MODE, FILE_MODE = 0o2770, 0o660  # setgid: what a plain `touch` makes there is the group's, too


def put(root: Path, path: Path, data: bytes) -> None:
    """Write `path`, below `root`: it and our folders between get the group of `root`.

    Raises OSError: nothing was written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if not root.is_dir():
            root.mkdir(parents=True)
            root.chmod(DIRECTORY_MODE)  # mkdir's own mode is cut by the umask
        group = root.stat().st_gid
        for directory in _between(root, path):
            if not directory.is_dir():
                directory.mkdir()
            if directory.stat().st_uid == os.geteuid():
                os.chown(directory, -1, group)
                directory.chmod(DIRECTORY_MODE)
        unfinished.write_bytes(data)
        os.chown(unfinished, -1, group)
        unfinished.chmod(FILE_MODE)
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def _between(root: Path, path: Path) -> Iterable[Path]:
    """Folders below `root` on the way to a file, from the top."""
    return reversed([each for each in path.parents if root in each.parents])
