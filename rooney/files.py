"""A file that one user leaves for another of the same group: whole or not at all, and readable whoever wrote it.

The operator is root or a member of the group `rooney`; workers and dashboard are its user. What the operator writes
must be theirs to read and to remove, whatever his umask and his own group are.
"""

import contextlib
import os
import stat
from pathlib import Path

DIRECTORY_MODE, FILE_MODE = 0o2770, 0o660  # setgid: what a plain `touch` makes there is the group's, too


def put(root: Path, path: Path, data: bytes) -> None:
    """Write `path`, below `root`: it and folders of ours between get the group of `root`.

    Raises OSError: nothing was written, and no folder made.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    made: list[Path] = []
    try:
        for directory in [each for each in reversed(path.parents) if root in (each, *each.parents)]:
            if not directory.is_dir():
                directory.mkdir(parents=True, exist_ok=True)
                made.append(directory)
            if directory != root or directory in made:
                _share(directory, root, DIRECTORY_MODE)
        unfinished.write_bytes(data)
        _share(unfinished, root, FILE_MODE)
        unfinished.replace(path)
    except OSError:
        for each, remove in [(unfinished, Path.unlink), *((folder, Path.rmdir) for folder in reversed(made))]:
            with contextlib.suppress(OSError):
                remove(each)
        raise


def _share(path: Path, root: Path, mode: int) -> None:
    """Give what is ours to the group of `root`; where we may not, to everybody's eyes: a halt unread is a halt for all.

    Nothing is changed that is right already: the sandbox of a unit forbids even that.
    """
    found = path.stat()
    if found.st_uid != os.geteuid():
        return
    if found.st_gid != (group := root.stat().st_gid):
        try:
            os.chown(path, -1, group)
        except PermissionError:
            mode |= 0o5 if path.is_dir() else 0o4
    if stat.S_IMODE(path.stat().st_mode) != mode:  # mkdir's own is cut by the umask
        path.chmod(mode)
