"""Named places at which a test lets a process be killed; in production nothing is armed and a place costs one call.

`ROONEY_FAULT=after_mark_commit:17` kills the process with SIGKILL when it comes to that place for the 17th time.

    in_mark_commit     everything of a mark is written, its transaction not yet committed
    after_mark_commit  committed, nothing of it sent
    before_send        on the sending thread, nothing journalled yet
    after_sending      "sending" is in the ledger, no byte has left
    after_post         the answer is here, the ledger does not know it
    after_outcome      the outcome is in the ledger, the step has not heard of it
"""

import itertools
import os
import signal

_place, _, _nth = os.environ.get("ROONEY_FAULT", "").partition(":")
_count = itertools.count(1)


def point(place: str) -> None:
    """The process is at `place` now."""
    if place == _place and next(_count) == int(_nth or 1):
        os.kill(os.getpid(), signal.SIGKILL)
