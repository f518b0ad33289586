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
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
TRANSACTION_BYTES = MIB  # more than any takes


class Ballast:
    """File beside a ledger, as large as the room it keeps. No room for it is no error: then there is none.

    is_short: the disk is full, or was until now and does not have `enough_bytes` free yet
    """

    def __init__(self, ledger: Path) -> None:
        self.path = ledger.with_name("ballast")
        self.is_short = False
        self.enough_bytes = 0

    def lay(self) -> None:
        """Take the room, if ten times as much is free; a disk with a quota may be full all the same."""
        if self.free_bytes() >= REFILL_BYTES:
            self.is_short = self._take(SIZE_BYTES, is_kept=True) in NO_ROOM

    def look(self) -> None:
        """Give the room up if the disk is nearly full, take it again when that is over."""
        free_bytes = self.free_bytes()
        if self.is_short and free_bytes >= self.enough_bytes:
            self.is_short = False
            self.lay()
        elif not self.is_short and free_bytes < SHORT_BYTES:
            self.is_short, self.enough_bytes = True, REFILL_BYTES if self.path.exists() else ENOUGH_BYTES
            self._give_up()

    def leaves_room(self, size_bytes: int) -> bool:
        """So much can be written now: on a disk that is short it is taken and given up, as nothing else is sure."""
        return not (self.is_short and self._take(size_bytes, is_kept=False))

    def free_bytes(self) -> int:
        """Of the disk, for those who are not root."""
        try:
            disk = os.statvfs(self.path.parent)
        except OSError:
            return SHORT_BYTES  # it cannot be told: nothing is changed
        return disk.f_bavail * disk.f_frsize

    def _take(self, size_bytes: int, *, is_kept: bool) -> int:
        """Number of the error that is in the way, 0 without one."""
        number = 0
        try:
            with self.path.open("a+b") as file:
                os.posix_fallocate(file.fileno(), 0, size_bytes)
        except OSError as error:
            number = error.errno or errno.EIO
        if number or not is_kept:
            self._give_up()
        return number

    def _give_up(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()
