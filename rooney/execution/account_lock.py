"""The lock that keeps a broker account with one worker."""

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rooney.config.account_sharing import Account
from rooney.errors import ConfigError


def runtime_directory(environ: Mapping[str, str]) -> Path:
    """Where the locks of all workers of this machine meet.

    $ROONEY_RUNTIME_DIRECTORY, else the parent of systemd's $RUNTIME_DIRECTORY, else a directory of this user's alone:
    anybody can make one of its name in /tmp before. Raises ConfigError for that.
    """
    if chosen := environ.get("ROONEY_RUNTIME_DIRECTORY"):
        return Path(chosen)
    if own := environ.get("RUNTIME_DIRECTORY", "").split(":")[0]:
        return Path(own).parent
    if session := environ.get("XDG_RUNTIME_DIR"):
        return Path(session) / "rooney"
    folder = Path(tempfile.gettempdir()) / f"rooney-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if not stat.S_ISDIR((status := folder.lstat()).st_mode) or status.st_uid != os.getuid():
        raise ConfigError(
            f"{folder}: expected a directory of this user's for the locks of accounts, found another's or a link; "
            "not starting (remove it, or ROONEY_RUNTIME_DIRECTORY names a directory all workers can write)"
        )
    folder.chmod(0o700)
    return folder


class AccountLock:
    """Held by a worker for its life; the kernel lets go of it however the process ends."""

    def __init__(self, account: Account, strategy: str, directory: Path) -> None:
        path = directory / f"{account.digest}.lock"
        try:
            directory.mkdir(mode=0o770, parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o660)
        except OSError as error:
            raise ConfigError(
                f"{account.path}: the account's lock cannot be made in {directory}: {error.strerror}; not starting "
                "(ROONEY_RUNTIME_DIRECTORY names a directory all workers can write)"
            ) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 200).decode(errors="replace").strip() or "another worker"
            os.close(self._fd)
            raise ConfigError(
                f"{account.path}: {strategy!r} would trade the account {account.hint} that {holder} is trading; "
                "one account can hold the positions of one strategy only: not starting"
            ) from None
        # For the refusal above. The file stays behind: removing it would let two workers lock two files of one name.
        os.truncate(self._fd, 0)
        os.write(self._fd, f"{strategy!r} (process {os.getpid()})\n".encode())

    def close(self) -> None:
        """Let go of the account."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()
