"""Ballast: room on a ledger's disk, given up when that is nearly full, so that exits can still be journalled."""

import contextlib
import os
from pathlib import Path

from rooney.files import MIB

SIZE_BYTES = 16 * MIB
SHORT_BYTES = 8 * MIB  # with less than this free the disk counts as full
REFILL_BYTES = 10 * SIZE_BYTES


class Ballast:
    """File beside a ledger, as large as the room it keeps. No room for it is no error: then there is none.

    is_short: the disk is full, or was until now and has no room for the ballast yet
    """

    def __init__(self, ledger: Path) -> None:
        self.path = ledger.with_name("ballast")
        self.is_short = False

    def lay(self) -> None:
        """Take the room, if ten times as much is free."""
        if self.path.exists() or self._free_bytes() < REFILL_BYTES:
            return
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(handle, 0, SIZE_BYTES)
            finally:
                os.close(handle)
        except OSError:
            self._give_up()
        else:
            self.is_short = False

    def look(self) -> None:
        """Give the room up if the disk is nearly full, take it again when that is over."""
        if self.is_short:
            self.lay()
        elif self._free_bytes() < SHORT_BYTES:
            self.is_short = True
            self._give_up()

    def _give_up(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _free_bytes(self) -> int:
        try:
            disk = os.statvfs(self.path.parent)
        except OSError:
            return SHORT_BYTES  # it cannot be told: nothing is changed
        return disk.f_bavail * disk.f_frsize
