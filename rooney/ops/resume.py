"""`rooney resume`: switches off, latches lifted."""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from rooney.errors import EXIT_ATTENTION, EXIT_OK
from rooney.orders.control import ALL, Command, Verb, clear_switches, forget_ledger, put_command, switches


class Resumed(msgspec.Struct, frozen=True):
    """Switches that were taken away, and those that still hold, as texts."""

    cleared: list[str]
    still_on: list[str]

    @property
    def code(self) -> int:
        """Attention if something still holds."""
        return EXIT_ATTENTION if self.still_on else EXIT_OK

    @property
    def lines(self) -> list[str]:
        """For a terminal."""
        found = [f"off: {text}" for text in self.cleared] or ["no switch was on"]
        return [*found, *(f"still on: {text}" for text in self.still_on)]


def plan(root: Path, name: str | None, names: Sequence[str]) -> list[str]:
    """Lines about what resuming does. name: None for all; names: the strategies meant."""
    scope = name or ALL
    found = dict.fromkeys(switch for one in (names or [ALL]) for switch in switches(root, one))
    on = [f"  {switch}" for switch in found if switch.scope == scope] or ["  none"]
    return [
        f"switches of {scope} that go off:",
        *on,
        f"latches lifted at the next minute: {', '.join(names) or 'none'}",
    ]


def resume(
    root: Path, name: str | None, names: Sequence[str], who: str, reason: str, *, new_ledger: bool = False
) -> Resumed:
    """Do it. A worker that is down hears of it when it starts. Raises ControlError.

    new_ledger: the ledgers there are the strategies' from now on
    """
    scope = name or ALL
    cleared = [f"{level} of {scope}" for level in clear_switches(root, scope)]
    for one in names:
        if new_ledger:
            forget_ledger(root, one)
        put_command(root, one, Command(time.time_ns(), Verb.RESUME, who, reason))
    left = dict.fromkeys(switch for one in (names or [ALL]) for switch in switches(root, one))
    return Resumed(cleared, [str(switch) for switch in left])
