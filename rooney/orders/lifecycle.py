"""Life cycle of an order: the table of its states and of what may follow each.

planned ─gate→ dropped                       (entries only)
planned → sending → acknowledged             received by TradersPost; a fill is never reported
                  → refused                  certainly not accepted
                  → planned                  certainly not sent: may be tried again
                  → unconfirmed              may be live: an entry is never sent again
unconfirmed → resolved                       by an operator, or by an exit that was acknowledged after it
unconfirmed, refused → sending               exits only, after the settling time
planned, refused → resolved                  exits only: another one closed the position, or the operator says so
"""

from rooney.errors import RooneyError
from rooney.orders.intents import Event, Intent, Role, State

TRANSITIONS: dict[Role, dict[State, frozenset[State]]] = {
    Role.ENTRY: {
        State.PLANNED: frozenset({State.SENDING, State.DROPPED}),
        State.SENDING: frozenset({State.ACKNOWLEDGED, State.REFUSED, State.PLANNED, State.UNCONFIRMED}),
        State.UNCONFIRMED: frozenset({State.RESOLVED}),
    },
    Role.EXIT: {
        State.PLANNED: frozenset({State.SENDING, State.RESOLVED}),
        State.SENDING: frozenset({State.ACKNOWLEDGED, State.REFUSED, State.PLANNED, State.UNCONFIRMED}),
        State.REFUSED: frozenset({State.SENDING, State.RESOLVED}),
        State.UNCONFIRMED: frozenset({State.SENDING, State.RESOLVED}),
    },
}


class IllegalMoveError(RooneyError):
    """Change of state that an order's life does not know."""


def check_move(role: Role, old: State, new: State) -> None:
    """Raises IllegalMoveError naming both ends unless `old` → `new` is in the table."""
    allowed = TRANSITIONS[role].get(old, frozenset())
    if new not in allowed:
        names = ", ".join(sorted(allowed)) or "nothing, it is final"
        raise IllegalMoveError(f"{role.name.lower()} cannot go from {old} to {new}; allowed from {old}: {names}")


class Order(Intent, frozen=True):
    """Intent with all that has happened to it, oldest event first. is_applied: the last one has reached the step."""

    events: tuple[Event, ...] = ()
    is_applied: bool = False

    @property
    def state(self) -> State:
        """State of the last event."""
        return self.events[-1].state

    @property
    def is_open(self) -> bool:
        """Something can still come of it, or has to be done about it."""
        return self.state in TRANSITIONS[self.role]

    @property
    def needs_person(self) -> bool:
        """Its fate is unknown, or it is an exit that was refused."""
        return self.is_open and self.state in (State.UNCONFIRMED, State.REFUSED)
