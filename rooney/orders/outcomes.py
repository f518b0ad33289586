"""Outcomes for the step, from the ledger's rows: the same live, on a restart and in a replay by research. Pure."""

import math
from collections.abc import Sequence

from rooney.kernels.codes import Cause, OutcomeKind
from rooney.orders.control import Act, Verb
from rooney.orders.decisions import Outcome
from rooney.orders.intents import Event, Intent, Role, Said, State

OUTCOME_STATES = (State.ACKNOWLEDGED, State.REFUSED, State.DROPPED, State.UNCONFIRMED, State.RESOLVED)
BY_OPERATOR = Cause.OPERATOR.name.lower()  # an exit with this cause was not decided by the step
OUTCOMES_PER_MARK = 4  # per instrument: the engine has room for a few more


def outcome_kind(role: Role, state: State, said: Said = Said.NOBODY, cause: str = "") -> OutcomeKind | None:
    """Outcome that the step is told when an intent reaches `state`; None when it need not know."""
    if role is Role.ENTRY:
        if state is State.ACKNOWLEDGED or said is Said.FILLED:
            return OutcomeKind.ACKNOWLEDGED
        if said is Said.SUPERSEDED:
            return None  # the step has the position from the operator
        if state in (State.REFUSED, State.DROPPED, State.RESOLVED):
            return OutcomeKind.CANCELLED
        return OutcomeKind.UNCONFIRMED if state is State.UNCONFIRMED else None
    if state is State.ACKNOWLEDGED or said is Said.FILLED:
        return OutcomeKind.FLATTENED if cause == BY_OPERATOR else OutcomeKind.ACKNOWLEDGED
    if said is Said.NOT_FILLED and cause != BY_OPERATOR:
        return OutcomeKind.CANCELLED  # still open: the step decides anew
    return None  # still wanted, whatever happened to the attempt


def of_event(intent: Intent, event: Event) -> Outcome | None:
    """Outcome of an event in an order's life."""
    kind = outcome_kind(intent.role, event.state, event.said, intent.cause)
    if kind is None:
        return None
    return Outcome(intent.symbol, intent.role, intent.ts_mark, kind, event.ts_clock)


def of_act(act: Act, symbols: Sequence[str]) -> list[Outcome]:
    """Outcomes of an operator's act. symbols: all that the strategy trades, in its order."""
    said, ts = act.command, act.ts_clock
    match said.verb:
        case Verb.RESUME:
            return [Outcome(symbol, Role.EXIT, 0, OutcomeKind.RESUMED, ts) for symbol in symbols]
        case Verb.CASH:
            usd = math.nan if said.usd is None else said.usd
            return [Outcome(symbols[0], Role.EXIT, 0, OutcomeKind.CASH, ts, price=usd)]
        case Verb.POSITION if said.symbol in symbols:
            price = math.nan if said.price is None else said.price
            kind = OutcomeKind.POSITION
            return [Outcome(said.symbol, Role.EXIT, 0, kind, ts, said.side, said.quantity, price)]
    return []  # resolve and flatten reach the step through the orders they change
