"""Handing an operator's act to the one who writes the ledger: its worker, now or at its next start."""

import time
from pathlib import Path

from rooney.clock import Clock
from rooney.errors import RooneyError
from rooney.ledger.reader import doing, holder
from rooney.ledger.snapshot import Snapshot
from rooney.orders.control import Command, Control, ControlError, put_command
from rooney.orders.notices import UNWRITTEN
from rooney.systemd import is_running

HUNG_AFTER_S = 15.0  # a request may take 10 s, and a command waits for the one before it
POLL_S = 0.05


def leave(snapshot: Snapshot, command: Command, control: Path, clock: Clock, *, has_units: bool) -> str:
    """Leave a command for the worker; what happens to it, as a sentence. Raises ControlError.

    has_units: the snapshot is of the state directory that this machine's units work in
    """
    path = put_command(control, snapshot.name, command)
    if holder(snapshot.path) is not None:
        return f"left for the worker of {snapshot.name}, which takes it at its next turn: {path}"
    # A unit about to start must find its ledger free: it would stay down for good.
    if not snapshot.held or (has_units and is_running(snapshot.name)):
        return f"left for the worker of {snapshot.name}, which takes it when it starts: {path}"
    from rooney.execution.offline import OfflineWorker  # compiled parts come with it

    with OfflineWorker(snapshot, control, clock) as worker:
        worker.obey()
    refused = path.with_suffix(".refused")
    if refused.exists():
        raise ControlError(f"{command.verb} was refused, see above; {refused} did nothing")
    where = f"the disk is full: it stays in {path}" if path.exists() else f"written to {snapshot.path}"
    return f"{where}; its worker is down and hears of it when it starts"


def is_taken(command: Path, ledger: Path, within_s: float) -> bool:
    """Whether the worker takes a command in that time. Raises RooneyError if it refuses it.

    One that cannot write it down obeys it and leaves it there.
    """
    end = time.monotonic() + within_s
    while command.exists() and UNWRITTEN not in doing(ledger):
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    refused = command.with_suffix(".refused")
    if refused.exists():
        raise RooneyError(f"its worker refused the command and says why in its log: {refused}")
    return True


def waiting(root: Path, name: str) -> list[Command]:
    """Commands the worker has not taken yet."""
    return [one.command for one in Control(root, name).commands() if one.command is not None]


def far_off(price: float, known: float) -> str:
    """A remark where a price is more than 5 % from one that is known, else nothing: a typing error is likely."""
    if not known > 0 or not price > 0 or abs(price / known - 1) <= 0.05:
        return ""
    return f"look twice: {price:.10g} is {price / known - 1:+.1%} from {known:.10g}"
