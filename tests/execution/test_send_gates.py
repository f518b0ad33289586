"""What holds an order back: the gates in their order, the breaker, the webhook's limits."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooney.clock import CLOCK_BEHIND_S
from rooney.execution.rate_limits import ENTRY_FILL_S, Traffic
from rooney.execution.send_gates import (
    BREAKER_FAILURES,
    BREAKER_WINDOW_NS,
    HOUR_NS,
    MINUTE_NS,
    Breaker,
    Rules,
    View,
    refusal,
)
from rooney.ledger.records import Attempt
from rooney.orders.control import Level, Switch
from rooney.orders.intents import Event, Role, State
from tests.support.ledgers import intent
from tests.support.times import chicago

S = 1_000_000_000
NOW = chicago("2026-03-11 10:00")
RULES = Rules(size_caps={"ES": 1})
OPEN = intent(ts_mark=NOW)
EVERY_GATE: dict[str, Any] = {  # in the order in which they are asked
    "kill switch": {"switches": (Switch(Level.HALT, "ibs", 1, "ann", "news"),)},
    "mode": {"mode": "live"},
    "breaker": {"breaker": "three of unknown fate"},
    "stale": {"late_s": 16.0},
    "feed": {"feed": "Redis is away"},
    "clock": {"late_s": -CLOCK_BEHIND_S - 0.1},
    "unconfirmed": {"unclear": "entry 7f3a (unconfirmed)"},
    "rate": {"busy": "20 entries within the last minute"},
    "size": {"quantity": 2},
}


def said(**wrong: Any) -> str:
    """The reason of an entry with these things wrong; empty if it may go."""
    one = msgspec.structs.replace(OPEN, mode=wrong.pop("mode", OPEN.mode), quantity=wrong.pop("quantity", 1))
    view = View(NOW + int(wrong.pop("late_s", 0.1) * S), **wrong)
    return refusal(one, view, RULES)


def test_an_entry_with_nothing_against_it_may_go() -> None:
    assert said() == ""


@pytest.mark.parametrize("gate", EVERY_GATE)
def test_each_gate_alone_says_no_with_its_own_reason(gate: str) -> None:
    assert said(**EVERY_GATE[gate]).partition(":")[0] == gate


@given(st.sets(st.sampled_from(sorted(EVERY_GATE)), min_size=1))
def test_of_several_gates_the_first_gives_the_reason(shut: set[str]) -> None:
    shut = shut - {"clock"} if "stale" in shut else shut  # a time is either late or early
    wrong: dict[str, Any] = {}
    for gate in shut:
        wrong |= EVERY_GATE[gate]
    assert said(**wrong).partition(":")[0] == next(gate for gate in EVERY_GATE if gate in shut)


def test_the_reason_names_switch_person_and_why() -> None:
    assert said(**EVERY_GATE["kill switch"]) == "kill switch: halt of ibs: news (ann)"


# ── breaker ──


def attempt(
    state: State, ts_s: float = 0.0, role: Role = Role.ENTRY, status: int = 0, contract: str = "ESM6"
) -> Attempt:
    return Attempt(contract, role, state, status, NOW + int(ts_s * S))


def after(*attempts: Attempt) -> Breaker:
    breaker = Breaker()
    for one in attempts:
        breaker = breaker.after(one)
    return breaker


def test_the_third_request_of_unknown_fate_within_five_minutes_opens_the_breaker() -> None:
    two = [attempt(State.UNCONFIRMED, at) for at in (0, 100)]
    assert after(*two).reason == ""
    assert after(*two, attempt(State.UNCONFIRMED, 299)).reason == "3 requests of unknown fate within 5 min"
    assert after(*two, attempt(State.UNCONFIRMED, 301)).reason == ""


def test_one_refusal_opens_the_breaker_and_a_429_does_not() -> None:
    assert after(attempt(State.REFUSED, status=400)).reason == "entry refused (HTTP 400)"
    assert after(attempt(State.REFUSED, status=429)).reason == ""


@given(st.lists(st.floats(0, 1e6), max_size=20))
def test_an_open_breaker_is_closed_by_an_acknowledged_exit_and_by_no_time_or_entry(times: list[float]) -> None:
    opened = after(attempt(State.REFUSED, status=400), *(attempt(State.ACKNOWLEDGED, at) for at in sorted(times)))
    assert opened.reason
    assert opened.after(attempt(State.ACKNOWLEDGED, role=Role.EXIT)) == Breaker()


@given(st.lists(st.tuples(st.sampled_from(State), st.sampled_from(Role), st.floats(0, 2000)), max_size=30))
def test_the_breaker_is_open_only_after_as_many_failures_as_it_says(moves: list[tuple[State, Role, float]]) -> None:
    times = sorted(at for *_, at in moves)
    attempts = [attempt(state, at, role) for (state, role, _), at in zip(moves, times, strict=True)]
    found = after(*attempts)
    last = max((k for k, a in enumerate(attempts) if (a.state, a.role) == (State.ACKNOWLEDGED, Role.EXIT)), default=-1)
    unknown = [a.ts_ns for a in attempts[last + 1 :] if a.state is State.UNCONFIRMED]
    near = any(b - a < BREAKER_WINDOW_NS for a, b in zip(unknown, unknown[BREAKER_FAILURES - 1 :], strict=False))
    refused = any(a.state is State.REFUSED for a in attempts[last + 1 :])
    assert bool(found.reason) == (near or refused)


# ── the webhook's limits ──


def traffic(*recent: Attempt) -> Traffic:
    return Traffic(recent, (), RULES)


def test_the_share_of_exits_is_left_when_entries_have_used_theirs() -> None:
    sent = [attempt(State.SENDING, k) for k in range(20)]
    full = traffic(*sent)
    assert full.busy(NOW + 20 * S).startswith("20 entries within the last minute (limit 20)")
    assert full.exit_from(intent(2, Role.EXIT, contract="NQM6")) == 0
    assert full.busy(NOW + MINUTE_NS) == ""


def test_an_hour_of_entries_is_limited_too() -> None:
    full = traffic(*(attempt(State.SENDING, 15 * k) for k in range(200)))
    assert "200 entries within the last hour" in full.busy(NOW + 3000 * S)


def test_exits_may_use_what_entries_may_not_and_wait_for_the_vendors_limit_only() -> None:
    one = intent(2, Role.EXIT, contract="NQM6")
    sent = [attempt(State.SENDING, 0.1 * k, Role.EXIT) for k in range(54)]
    assert traffic(*sent[1:]).exit_from(one) == 0
    assert traffic(*sent).exit_from(one) == sent[0].ts_ns + MINUTE_NS


@given(st.lists(st.floats(0, 7200), max_size=900))
def test_exits_sent_when_they_may_keep_to_the_vendors_limits(waits: list[float]) -> None:
    """However fast they are wanted: never 60 in a minute or 500 in an hour."""
    one = intent(2, Role.EXIT, contract="NQM6")
    lately, sent, now = traffic(), [], NOW
    for k, wait in enumerate(sorted(waits)):
        now = max(now, NOW + int(wait * S), lately.exit_from(one))
        sent.append(now)
        lately.note(intent(k + 3, Role.EXIT), Event(k, "", State.SENDING, 0, now, 0, ""), now)
    for span_ns, limit in ((MINUTE_NS, 60), (HOUR_NS, 500)):
        assert all(b - a >= span_ns for a, b in zip(sent, sent[limit:], strict=False))


@pytest.mark.parametrize(
    ("last", "wait_s"),
    [
        (attempt(State.ACKNOWLEDGED, role=Role.EXIT), 60.0),
        (attempt(State.UNCONFIRMED, role=Role.EXIT), 60.0),
        (attempt(State.ACKNOWLEDGED), ENTRY_FILL_S),
        (attempt(State.UNCONFIRMED), 60.0),
        (attempt(State.REFUSED, status=400), None),
        (attempt(State.PLANNED), None),
    ],
)
def test_an_exit_waits_until_what_may_be_there_on_its_contract_has_settled(last: Attempt, wait_s: float | None) -> None:
    from_ns = traffic(last).exit_from(intent(2, Role.EXIT, ts_mark=NOW))
    assert from_ns == (0 if wait_s is None else NOW + int(wait_s * S))


def test_an_order_that_is_not_settled_is_named_to_the_next_entry_of_its_symbol_only() -> None:
    lately = traffic()
    lately.know(intent(1), State.UNCONFIRMED)
    assert lately.unclear(intent(2)) == f"entry {intent(1).id} (unconfirmed)"
    assert lately.unclear(intent(1)) == ""
    assert lately.unclear(intent(2, symbol="NQ")) == ""
    lately.know(intent(1), State.RESOLVED)
    assert lately.unclear(intent(2)) == ""
