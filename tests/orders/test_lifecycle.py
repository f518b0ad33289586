"""The life of an order."""

import hashlib
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooney.orders.intents import Role, State, intent_id, new_intent_id
from rooney.orders.lifecycle import TRANSITIONS, IllegalMoveError, check_move

MOVES = st.lists(st.sampled_from(State), max_size=30)


def walk(role: Role, moves: list[State]) -> list[State]:
    """The life that is left when every illegal move is refused."""
    life = [State.PLANNED]
    for new in moves:
        if new in TRANSITIONS[role].get(life[-1], ()):
            check_move(role, life[-1], new)
            life.append(new)
        else:
            with pytest.raises(IllegalMoveError):
                check_move(role, life[-1], new)
    return life


@given(MOVES)
def test_an_entry_is_never_sent_after_anything_but_planned(moves: list[State]) -> None:
    life = walk(Role.ENTRY, moves)
    assert {before for before, new in pairwise(life) if new is State.SENDING} <= {State.PLANNED}


@given(MOVES)
def test_an_entry_that_may_be_live_can_only_be_resolved(moves: list[State]) -> None:
    life = walk(Role.ENTRY, moves)
    assert all(new is State.RESOLVED for old, new in pairwise(life) if old is State.UNCONFIRMED)


@given(MOVES)
def test_an_exit_can_always_be_sent_again_until_it_is_acknowledged_or_resolved(moves: list[State]) -> None:
    last = walk(Role.EXIT, moves)[-1]
    final = last in (State.ACKNOWLEDGED, State.RESOLVED)
    assert final or last is State.SENDING or State.SENDING in TRANSITIONS[Role.EXIT][last]


@given(st.sampled_from(Role), MOVES)
def test_acknowledged_dropped_and_resolved_are_final(role: Role, moves: list[State]) -> None:
    assert not {State.ACKNOWLEDGED, State.DROPPED, State.RESOLVED} & set(walk(role, moves)[:-1])


@given(MOVES)
def test_an_exit_is_never_dropped(moves: list[State]) -> None:
    assert State.DROPPED not in walk(Role.EXIT, moves)


@pytest.mark.parametrize("role", Role)
def test_nothing_gets_an_outcome_that_was_not_sending(role: Role) -> None:
    outcomes = {State.ACKNOWLEDGED, State.REFUSED, State.UNCONFIRMED}
    assert {old for old, new in TRANSITIONS[role].items() if new & outcomes} == {State.SENDING}


def test_an_illegal_move_is_named_with_both_ends_and_what_was_allowed() -> None:
    said = "entry cannot go from unconfirmed to sending; allowed from unconfirmed: resolved"
    with pytest.raises(IllegalMoveError, match=re.escape(said)):
        check_move(Role.ENTRY, State.UNCONFIRMED, State.SENDING)


def test_the_intent_id_is_the_one_computed_by_hand() -> None:
    # printf 'ibs|live|ESZ5|entry|1764001800000000000|0' | sha256sum | cut -c1-16
    assert intent_id("ibs", "live", "ESZ5", Role.ENTRY, 1_764_001_800_000_000_000) == "298b0fb0e3ac5803"
    # printf 'ibs|live|ESZ5|exit|1764001800000000000|2' | sha256sum | cut -c1-16
    assert intent_id("ibs", "live", "ESZ5", Role.EXIT, 1_764_001_800_000_000_000, 2) == "2b15866d0e328572"


def test_the_intent_id_depends_on_every_field() -> None:
    base = ("ibs", "live", "ESZ5", Role.ENTRY, 60, 0)
    other = ("breakout", "paper", "ESH6", Role.EXIT, 120, 1)
    ids = {intent_id(*base)} | {intent_id(*base[:i], other[i], *base[i + 1 :]) for i in range(6)}  # type: ignore[arg-type]
    assert len(ids) == 7
    assert all(len(found) == 16 and int(found, 16) >= 0 for found in ids)
    assert intent_id(*base) == hashlib.sha256(b"ibs|live|ESZ5|entry|60|0").hexdigest()[:16]  # type: ignore[arg-type]


def test_intents_that_share_all_their_fields_are_numbered() -> None:
    fields = ("ibs", "paper", "ESZ5", Role.ENTRY, 1_700_000_000_000_000_000)
    taken: set[str] = set()
    for n in range(3):
        found = new_intent_id(*fields, taken.__contains__)
        assert found == intent_id(*fields, n)
        taken.add(found)
