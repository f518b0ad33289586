"""Ballast: room on a ledger's disk, given up when that is nearly full, so that exits can still be journalled."""

import contextlib
import errno
import os
from pathlib import Path

from rooney.files import MIB

SIZE_BYTES = 16 * MIB
SHORT_BYTES = 8 * MIB  # with less than this free the disk counts as full
ENOUGH_BYTES = 2 * SHORT_BYTES  # with so much it no longer does, where no ballast was given up
REFILL_BYTES = 10 * SIZE_BYTES
TRANSACTION_BYTES = MIB  # more than any takes
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Ballast:
    """File beside a ledger, as large as the room it keeps. No room for it is no error: then there is none.

    is_short: the disk is full, or was until now and does not have `enough_bytes` free yet
    """

    def __init__(self, ledger: Path) -> None:
        self.path = ledger.with_name("ballast")
        self.is_short = False
        self.enough_bytes = ENOUGH_BYTES

    def lay(self) -> None:
        """Take the room, if ten times as much is free."""
        if self.free_bytes() >= REFILL_BYTES:
            self._take(SIZE_BYTES)

    def look(self) -> None:
        """Give the room up if the disk is nearly full, take it again when that is over."""
        free_bytes = self.free_bytes()
        if self.is_short and free_bytes >= self.enough_bytes:
            self.is_short, self.enough_bytes = False, ENOUGH_BYTES
            self.lay()
        elif not self.is_short and free_bytes < SHORT_BYTES:
            self.is_short = True
            if self.path.exists():
                self.enough_bytes = REFILL_BYTES
            self._give_up()

    def leaves_room(self) -> bool:
        """A transaction finds room now: on a disk that is short it is taken and given up, as nothing else is sure."""
        if not self.is_short:
            return True
        is_taken = self._take(TRANSACTION_BYTES)
        self._give_up()
        return is_taken

    def free_bytes(self) -> int:
        """Of the disk, for those who are not root."""
        try:
            disk = os.statvfs(self.path.parent)
        except OSError:
            return SHORT_BYTES  # it cannot be told: nothing is changed
        return disk.f_bavail * disk.f_frsize

    def _take(self, size_bytes: int) -> bool:
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(handle, 0, size_bytes)
            finally:
                os.close(handle)
        except OSError as error:
            self.is_short |= error.errno in NO_ROOM  # of a quota: what is free does not tell
            self._give_up()
            return False
        return True

    def _give_up(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()
