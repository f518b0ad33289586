"""What the step is told of events and of the operator's acts."""

import math

import pytest

from rooney.kernels.codes import OutcomeKind
from rooney.orders.control import Act, Command, Verb
from rooney.orders.decisions import Outcome
from rooney.orders.intents import Event, Role, Said, State
from rooney.orders.outcomes import BY_OPERATOR, of_act, of_event, outcome_kind
from tests.support.ledgers import intent

ENTRY, EXIT = Role.ENTRY, Role.EXIT
K = OutcomeKind


def test_the_step_hears_of_an_entry_that_is_over_and_of_an_exit_that_is_acknowledged() -> None:
    assert {state: outcome_kind(ENTRY, state) for state in State} == {
        State.PLANNED: None,
        State.SENDING: None,
        State.ACKNOWLEDGED: K.ACKNOWLEDGED,
        State.REFUSED: K.CANCELLED,
        State.UNCONFIRMED: K.UNCONFIRMED,
        State.DROPPED: K.CANCELLED,
        State.RESOLVED: K.CANCELLED,
    }
    heard = {state for state in State if outcome_kind(EXIT, state) is not None}
    assert heard == {State.ACKNOWLEDGED}


@pytest.mark.parametrize(
    ("role", "cause", "said", "kind"),
    [
        (ENTRY, "rule", Said.FILLED, K.ACKNOWLEDGED),
        (ENTRY, "rule", Said.NOT_FILLED, K.CANCELLED),
        (ENTRY, "rule", Said.SUPERSEDED, None),
        (EXIT, "rule", Said.FILLED, K.ACKNOWLEDGED),
        (EXIT, "rule", Said.NOT_FILLED, K.CANCELLED),
        (EXIT, "rule", Said.SUPERSEDED, None),
        (EXIT, BY_OPERATOR, Said.FILLED, K.FLATTENED),
        (EXIT, BY_OPERATOR, Said.NOT_FILLED, None),
    ],
)
def test_what_the_operator_found_out_reaches_the_step(
    role: Role, cause: str, said: Said, kind: OutcomeKind | None
) -> None:
    assert outcome_kind(role, State.RESOLVED, said, cause) == kind


def test_an_exit_the_step_did_not_decide_reaches_it_as_flattened() -> None:
    one = intent(3, EXIT, cause=BY_OPERATOR, ts_mark=600)
    event = Event(9, one.id, State.ACKNOWLEDGED, 1, 660, 200, "")
    assert of_event(one, event) == Outcome("ES", EXIT, 600, K.FLATTENED, 660)


def act(verb: Verb, **fields: object) -> Act:
    return Act(1, 660, Command(5, verb, "ann", "because", **fields))  # type: ignore[arg-type]


def test_a_resume_lifts_what_is_latched_of_every_instrument() -> None:
    assert [(o.symbol, o.kind) for o in of_act(act(Verb.RESUME), ("ES", "NQ"))] == [
        ("ES", K.RESUMED),
        ("NQ", K.RESUMED),
    ]


def test_a_position_is_told_as_it_was_stated() -> None:
    (told,) = of_act(act(Verb.POSITION, symbol="NQ", side=-1, quantity=2, price=101.5), ("ES", "NQ"))
    assert (told.symbol, told.kind, told.side, told.quantity, told.price, told.ts) == (
        "NQ",
        K.POSITION,
        -1,
        2,
        101.5,
        660,
    )


def test_cash_is_told_in_usd() -> None:
    (told,) = of_act(act(Verb.CASH, usd=-12.5), ("ES", "NQ"))
    assert (told.kind, told.price) == (K.CASH, -12.5)


def test_resolve_and_flatten_reach_the_step_through_their_orders_only() -> None:
    assert of_act(act(Verb.FLATTEN), ("ES",)) == []
    assert of_act(act(Verb.RESOLVE, intent="7f"), ("ES",)) == []
    assert math.isnan(Outcome("ES", EXIT, 0, K.RESUMED, 0).price)
