"""What may be open, told from a ledger alone: what closes a position must neither miss one nor close it twice."""

import math
from pathlib import Path

import pytest

from rooney.kernels.codes import Pending
from rooney.ledger.exposure import Exposure, exposures
from rooney.ledger.records import Held
from rooney.ledger.snapshot import Snapshot
from rooney.orders.control import Act, Command, Verb
from rooney.orders.intents import Event, Role, Said, Side, State
from rooney.orders.lifecycle import Order

MARK = 1_773_241_320_000_000_000  # 2026-03-11 15:02 UTC
ENTRY, EXIT = Role.ENTRY, Role.EXIT


def held(side: Side = Side.LONG, pending: Pending = Pending.NONE, acknowledged: bool = False) -> Held:
    quantity, number = (2, 202606) if side else (0, 0)
    return Held(
        "ES",
        side,
        quantity,
        number,
        MARK,
        100.0,
        3,
        math.nan,
        math.nan,
        math.nan,
        0.0,
        101.0,
        202606,
        pending,
        Side.LONG,
        1,
        202606,
        acknowledged,
    )


def order(seq: int, role: Role, state: State, applied: bool = False, said: Said = Said.NOBODY, event: int = 0) -> Order:
    last = Event(event or seq * 10, f"{seq:016x}", state, MARK, MARK, 0, "", said)
    return Order(
        last.intent,
        "a",
        "paper",
        "ES",
        "MESM6",
        "MESM2026",
        role,
        Side.LONG,
        1,
        "rule",
        math.nan,
        MARK,
        seq,
        events=(last,),
        is_applied=applied,
    )


def stated(side: int, quantity: int, after_event: int) -> Act:
    command = Command(MARK, Verb.POSITION, "ada", "looked", symbol="ES", side=side, quantity=quantity, price=100.0)
    return Act(1, MARK, command, after_event)


def exposed(position: Held, *orders: Order, acts: tuple[Act, ...] = ()) -> Exposure | None:
    found = exposures(Snapshot(path=Path("a"), name="a", held=(position,), orders=orders, acts=acts))
    return found[0] if found else None


BOOKED = order(1, ENTRY, State.ACKNOWLEDGED, applied=True)
NEW = {state: order(1, ENTRY, state) for state in State}

CLOSED = {
    "flat, nothing ever sent": (held(Side.FLAT), ()),
    "flat, all booked": (held(Side.FLAT), (BOOKED, order(2, EXIT, State.ACKNOWLEDGED, applied=True))),
    "exit acknowledged, not heard of": (held(), (BOOKED, order(2, EXIT, State.ACKNOWLEDGED))),
    "exit acknowledged, not booked": (held(pending=Pending.EXIT, acknowledged=True), (BOOKED,)),
    "exit said to be filled": (held(), (BOOKED, order(2, EXIT, State.RESOLVED, said=Said.FILLED))),
    "entry planned": (held(Side.FLAT, Pending.ENTRY), (NEW[State.PLANNED],)),
    "entry refused": (held(Side.FLAT, Pending.ENTRY), (NEW[State.REFUSED],)),
    "entry dropped": (held(Side.FLAT, Pending.ENTRY), (NEW[State.DROPPED],)),
    "entry said not to be filled": (
        held(Side.FLAT, Pending.UNCERTAIN),
        (order(1, ENTRY, State.RESOLVED, said=Said.NOT_FILLED),),
    ),
    "entry unconfirmed, then an exit acknowledged": (
        held(Side.FLAT, Pending.UNCERTAIN),
        (NEW[State.UNCONFIRMED], order(2, EXIT, State.ACKNOWLEDGED)),
    ),
    "stated flat": (held(), (BOOKED,), (stated(0, 0, 99),)),
}


@pytest.mark.parametrize("name", CLOSED)
def test_this_needs_no_exit(name: str) -> None:
    position, orders, *acts = CLOSED[name]
    assert exposed(position, *orders, acts=acts[0] if acts else ()) is None


OPEN = {
    "held": (held(), (BOOKED,), True),
    "held, exit planned": (held(pending=Pending.EXIT), (BOOKED, order(2, EXIT, State.PLANNED)), True),
    "held, exit unconfirmed": (held(pending=Pending.EXIT), (BOOKED, order(2, EXIT, State.UNCONFIRMED)), True),
    "held, exit refused": (held(pending=Pending.EXIT), (BOOKED, order(2, EXIT, State.REFUSED)), True),
    "held, exit said not to be filled": (
        held(),
        (BOOKED, order(2, EXIT, State.RESOLVED, said=Said.NOT_FILLED)),
        True,
    ),
    "held, an exit of before": (
        held(),
        (order(1, EXIT, State.ACKNOWLEDGED), order(2, ENTRY, State.ACKNOWLEDGED)),
        True,
    ),
    "entry on its way": (held(Side.FLAT, Pending.ENTRY), (NEW[State.SENDING],), False),
    "entry acknowledged, not heard of": (held(Side.FLAT, Pending.ENTRY), (NEW[State.ACKNOWLEDGED],), False),
    "entry acknowledged, not booked": (held(Side.FLAT, Pending.ENTRY, True), (BOOKED,), False),
    "entry unconfirmed": (held(Side.FLAT, Pending.ENTRY), (NEW[State.UNCONFIRMED],), False),
    "entry unconfirmed, heard of": (
        held(Side.FLAT, Pending.UNCERTAIN),
        (order(1, ENTRY, State.UNCONFIRMED, applied=True),),
        False,
    ),
    "entry said to be filled": (
        held(Side.FLAT, Pending.UNCERTAIN),
        (order(1, ENTRY, State.RESOLVED, said=Said.FILLED),),
        False,
    ),
    "stated open": (held(Side.FLAT), (), True, (stated(-1, 3, 0),)),
    "stated flat, then an entry": (
        held(Side.FLAT, Pending.ENTRY),
        (NEW[State.ACKNOWLEDGED],),
        False,
        (stated(0, 0, 5),),
    ),
}


@pytest.mark.parametrize("name", OPEN)
def test_this_is_or_may_be_open(name: str) -> None:
    position, orders, is_certain, *acts = OPEN[name]
    found = exposed(position, *orders, acts=acts[0] if acts else ())
    assert found is not None
    assert found.is_certain is is_certain


@pytest.mark.parametrize("state", [State.PLANNED, State.SENDING, State.UNCONFIRMED, State.REFUSED])
def test_an_exit_that_is_not_over_is_the_one_to_go_on_with(state: State) -> None:
    found = exposed(held(pending=Pending.EXIT), BOOKED, order(2, EXIT, state))
    assert found is not None
    assert found.exit is not None


def test_the_exit_is_for_the_product_that_was_ordered() -> None:
    found = exposed(held(), BOOKED)
    assert found is not None
    assert (found.symbol, found.contract, found.ticker) == ("ES", "MESM6", "MESM2026")


def test_a_stated_position_counts_until_an_exit_after_it() -> None:
    said = (stated(1, 1, 15),)
    assert exposed(held(Side.FLAT), BOOKED, order(2, EXIT, State.ACKNOWLEDGED, event=12), acts=said) is not None
    assert exposed(held(Side.FLAT), BOOKED, order(2, EXIT, State.ACKNOWLEDGED, event=20), acts=said) is None
