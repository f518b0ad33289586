"""When an order is due: at once, after a pause, before the close, or never again. Pure; on a clock that no one sets.

    certainly not sent    again after 0.3, 1, 2, 5 and then every 15 s: an entry while it is fresh, an exit for ever
    may be at the vendor  an exit again after the settling time, then twice that, up to five minutes
    refused               the same
    429                   when the pause of the whole webhook is over (`rooney.execution.rate_limits`)

No pause of an exit crosses the close of its instrument: one attempt is made before it, if the last one has settled.
"""

import msgspec

from rooney.clock import Moment
from rooney.execution.send_gates import Rules, stale
from rooney.market.instruments import group_of
from rooney.market.sessions import window_at
from rooney.orders.intents import Event, Intent, Role, State

NOT_SENT_PAUSES_S = (0.3, 1.0, 2.0, 5.0, 15.0)
LONGEST_PAUSE_S = 300.0
BEFORE_CLOSE_S = 20.0  # an attempt takes at most 19 s: the name, the connection and the answer each have a limit


class Progress(msgspec.Struct, frozen=True):
    """Fate of an order so far, as far as it decides when it is due.

    since_ns: when its last event happened, by the steady clock
    unsent:   attempts since the last other outcome that certainly did not leave
    repeats:  attempts that may have left or were refused
    """

    state: State = State.PLANNED
    status: int = 0
    since_ns: int = 0
    unsent: int = 0
    repeats: int = 0

    def after(self, event: Event, steady_ns: int) -> "Progress":
        """It, once this event has happened."""
        unsent, repeats = self.unsent, self.repeats
        match event.state:
            case State.PLANNED if self.state is State.SENDING:
                unsent += 1
            case State.UNCONFIRMED | State.REFUSED:
                unsent, repeats = 0, repeats + 1
        return Progress(event.state, event.status, steady_ns, unsent, repeats)

    def hurried(self) -> "Progress":
        """It, when it is wanted as soon as it has settled."""
        return msgspec.structs.replace(self, unsent=0, repeats=min(self.repeats, 1))


class Next(msgspec.Struct, frozen=True):
    """Next thing to do with an order: send it at `at_ns` of the steady clock, drop it, or leave it (both empty)."""

    at_ns: int | None = None
    drop: str = ""


def next_action(intent: Intent, progress: Progress, now: Moment, rules: Rules) -> Next:
    """The next thing to do with an order."""
    unsent_ns = progress.since_ns
    if progress.unsent:
        unsent_ns += _ns(NOT_SENT_PAUSES_S[min(progress.unsent, len(NOT_SENT_PAUSES_S)) - 1])
    if intent.role is Role.ENTRY:
        if progress.state is not State.PLANNED:
            return Next()
        waits_ns = max(0, unsent_ns - now.steady_ns)
        age_s = (now.wall_ns + waits_ns - intent.ts_mark) / 1e9
        return Next(drop=stale(age_s, rules)) if age_s > rules.stale_after_s else Next(unsent_ns)
    match progress.state:
        case State.PLANNED:
            return Next(unsent_ns)
        case State.REFUSED if progress.status == 429:
            return Next(progress.since_ns)
        case State.REFUSED | State.UNCONFIRMED:
            return Next(_repeat_ns(intent, progress, now, rules))
    return Next()


def _repeat_ns(intent: Intent, progress: Progress, now: Moment, rules: Rules) -> int:
    """When an exit goes out again: after its pause, or before the close that lies in it."""
    settled_ns = progress.since_ns + _ns(rules.settle_s)
    pause_s = max(rules.settle_s, min(rules.settle_s * 2.0 ** min(progress.repeats - 1, 32), LONGEST_PAUSE_S))
    due_ns = progress.since_ns + _ns(pause_s)
    window = window_at(group_of(intent.symbol), now.wall_ns)
    if window is None:
        return due_ns
    close_ns = now.steady_ns + window.close_ns - now.wall_ns
    return due_ns if due_ns < close_ns else max(settled_ns, close_ns - _ns(BEFORE_CLOSE_S))


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
