"""What happens next to an order, as a table; and over real HTTP to a webhook that misbehaves."""

import math
import threading
import time
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooney.clock import Moment, ReplayClock
from rooney.execution.delivery import Delivery
from rooney.execution.rate_limits import ENTRY_FILL_S
from rooney.execution.retry_policy import BEFORE_CLOSE_S, Next, Progress, next_action
from rooney.execution.traderspost import TradersPost
from rooney.files import MIB
from rooney.ledger.writer import Ledger
from rooney.market.instruments import PRODUCTS
from rooney.orders.control import Level, Switch
from rooney.orders.intents import Event, Intent, Payload, Receipt, Role, State
from rooney.orders.lifecycle import TRANSITIONS
from rooney.sim.traderspost import Account
from tests.support.deliveries import ENTRY, EXIT, OPEN, RULES, A, DeliveryRig, G, HandClock, P, R, S, U, life, says
from tests.support.full_disk import fill, mounted
from tests.support.ledgers import commit, contents, intent
from tests.support.times import chicago
from tests.support.webhook_faults import Fault
from tests.support.webhooks import running


def next_of(one: Intent, events: list[Event], now_s: float) -> Next:
    """The next action at seconds after the mark, where both clocks go alike."""
    progress = Progress()
    for event in events:
        progress = progress.after(event, event.ts_clock)
    now_ns = OPEN + int(now_s * S)
    return next_action(one, progress, Moment(now_ns, now_ns), RULES)


def at(role: Role, now_s: float, *moves: Any) -> float | str | None:
    """Seconds after the mark at which it is sent, why it is dropped, or None."""
    action = next_of(intent(role=role, ts_mark=OPEN), life(*moves), now_s)
    return action.drop.partition(":")[0] or (None if action.at_ns is None else (action.at_ns - OPEN) / S)


@pytest.mark.parametrize(
    ("role", "now_s", "moves", "wanted"),
    [
        (ENTRY, 0.1, [], 0.0),
        (ENTRY, 15.0, [], 0.0),
        (ENTRY, 15.1, [], "stale"),
        (ENTRY, 0.2, [(G, 0.1), (P, 0.2)], 0.5),
        (ENTRY, 1.0, [(G, 0.1), (P, 0.2), (G, 0.5), (P, 1.0)], 2.0),
        (ENTRY, 14.9, [(G, 14.7), (P, 14.8)], "stale"),  # the pause would end too late
        (ENTRY, 1.0, [(G, 0.1)], None),
        (ENTRY, 1.0, [(G, 0.1), (A, 0.2)], None),
        (ENTRY, 1.0, [(G, 0.1), (R, 0.2, 429)], None),
        (ENTRY, 1e6, [(G, 0.1), (U, 0.2)], None),
        (EXIT, 1e6, [], 0.0),  # never stale
        (EXIT, 1.0, [(G, 0.1)], None),
        (EXIT, 1.0, [(G, 0.1), (P, 0.2)], 0.5),
        (EXIT, 1.0, [(G, 0, 0), (P, 0)] * 9, 15.0),
        (EXIT, 1.0, [(G, 0.1), (R, 1.0, 400)], 61.0),
        (EXIT, 1.0, [(G, 0.1), (R, 1.0, 429)], 1.0),  # the webhook pauses, not the order
        (EXIT, 1.0, [(G, 0.1), (U, 1.0)], 61.0),
        (EXIT, 1.0, [(G, 0.1), (A, 1.0)], None),
        (EXIT, 1e6, [(G, 0), (U, 0)] * 2, 120.0),
        (EXIT, 1e6, [(G, 0), (U, 0)] * 3, 240.0),
        (EXIT, 1e6, [(G, 0), (U, 0)] * 4, 300.0),
        (EXIT, 1e6, [(G, 0), (U, 0)] * 1_000, 300.0),  # there is no last attempt
        (EXIT, 1e6, [(G, 0), (U, 0), (G, 0), (P, 0)], 0.3),
    ],
)
def test_the_next_action(role: Role, now_s: float, moves: list[Any], wanted: float | str | None) -> None:
    assert at(role, now_s, *moves) == wanted


@st.composite
def lives(draw: st.DrawFn, role: Role) -> list[Event]:
    """A life that keeps to the table, times never going back."""
    moves: list[Any] = []
    state, now_s = State.PLANNED, 0.0
    for _ in range(draw(st.integers(0, 12))):
        allowed = sorted(TRANSITIONS[role].get(state, ()))
        if not allowed:
            break
        state = draw(st.sampled_from(allowed))
        now_s += draw(st.floats(0, 100))
        moves.append((state, now_s, draw(st.sampled_from([0, 400, 429, 500]))))
    return life(*moves)


@given(lives(Role.ENTRY), st.floats(-10, 1000))
def test_an_entry_is_sent_only_if_every_attempt_before_is_known_not_to_have_left(
    life_: list[Event], now: float
) -> None:
    action = next_of(intent(ts_mark=OPEN), life_, now)
    if action.at_ns is not None:
        states = [event.state for event in life_]
        assert set(states) <= {State.PLANNED, State.SENDING}
        assert states[-1] is State.PLANNED
        assert states.count(State.SENDING) == states.count(State.PLANNED) - 1


@given(lives(Role.ENTRY), st.floats(-10, 1000))
def test_an_entry_is_never_sent_later_than_the_staleness_limit(life_: list[Event], now: float) -> None:
    action = next_of(intent(ts_mark=OPEN), life_, now)
    if action.at_ns is not None:
        assert max(action.at_ns, OPEN + int(now * S)) - OPEN <= 15 * S


@given(lives(Role.EXIT), st.floats(0, 1000))
def test_an_exit_is_never_sent_within_the_settling_time_of_one_whose_fate_is_unknown(
    life_: list[Event], now: float
) -> None:
    action = next_of(intent(role=EXIT, ts_mark=OPEN), life_, now)
    if action.at_ns is not None and life_[-1].state is State.UNCONFIRMED:
        assert action.at_ns - life_[-1].ts_clock >= 60 * S


@given(lives(Role.EXIT), st.floats(0, 1e6))
def test_an_exit_is_never_dropped_and_never_forgotten(life_: list[Event], now: float) -> None:
    action = next_of(intent(role=EXIT, ts_mark=OPEN), life_, now)
    assert action.drop == ""
    over = life_[-1].state in (State.ACKNOWLEDGED, State.RESOLVED, State.SENDING)
    assert action != Next() or over


# ── with a ledger, and a thread that sends ──


def test_every_state_is_in_the_ledger_before_the_next_thing_happens(new_delivery: Any, ledger: Ledger) -> None:
    seen: list[list[State]] = []

    def send(payload: Payload) -> Receipt:
        seen.append([event.state for event in ledger.events(payload["extras"]["intent"])])
        return Receipt(A, 200, "", 1, 2)

    d = new_delivery(send)
    one = d.plan()
    d.work()
    assert seen == [[P, G]]
    assert d.states(one) == [P, G, A]


def test_outcomes_are_given_once_and_in_order(new_delivery: Any) -> None:
    d = new_delivery(says(A, 200))
    d.plan()
    d.plan(EXIT, symbol="NQ", contract="NQM6")
    d.work()
    heard = [event for _, event in d.delivery.outcomes(99)]
    assert [event.state for event in heard] == [A, A]
    assert [event.seq for event in heard] == sorted(event.seq for event in heard)
    assert d.delivery.outcomes(99) == []


def test_outcomes_that_no_mark_has_taken_in_come_again_after_a_restart(new_delivery: Any, ledger: Ledger) -> None:
    first = new_delivery(says(U))
    one = first.plan()
    first.work()
    ((intent, event),) = new_delivery(says(U)).delivery.outcomes(99)
    assert (intent, event.intent, event.state) == (one, one.id, U)
    commit(ledger, OPEN + 60 * S, applied=[event.seq])
    assert new_delivery(says(U)).delivery.outcomes(99) == []


def test_exits_overtake_entries(new_delivery: Any) -> None:
    d = new_delivery(says(A, 200))
    for role, contract in ((ENTRY, "ESM6"), (ENTRY, "NQM6"), (EXIT, "GCJ6"), (EXIT, "ZCK6")):
        d.plan(role, contract=contract, ticker=contract)
    held = threading.Event()
    d._send = lambda payload: (held.wait(5) and None) or Receipt(A, 200, "", 1, 2)
    d.delivery._start_due()
    held.set()
    d.work()
    assert [payload["ticker"] for payload in d.sent][-1] == "NQM6"
    assert {payload["ticker"] for payload in d.sent[-3:-1]} <= {"GCJ6", "ZCK6", "ESM6"}


def test_an_entry_that_waited_behind_a_hanging_order_until_it_was_stale_is_dropped(new_delivery: Any) -> None:
    clock = HandClock()

    def send(payload: Payload) -> Receipt:
        clock.ns += 20 * S
        return Receipt(A, 200, "", 1, 2)

    d = new_delivery(send, clock)
    first, second = d.plan(), d.plan(contract="NQM6")
    d.work()
    assert d.states(first) == [P, G, A]
    assert d.states(second) == [P, State.DROPPED]
    assert len(d.sent) == 1
    assert [event.state for _, event in d.delivery.outcomes(99)] == [A, State.DROPPED]


def test_an_exit_planned_while_closed_is_sent_at_the_open_and_not_before(new_delivery: Any) -> None:
    clock = HandClock(chicago("2026-03-11 16:00"))
    d = new_delivery(says(A, 200), clock)
    one = d.plan(EXIT, ts_mark=clock.ns)
    for at_ in ("2026-03-11 16:00", "2026-03-11 16:30", "2026-03-11 16:59"):
        clock.ns = chicago(at_)
        d.work()
        assert d.sent == []
        assert d.delivery.idle_s(1.0) == 1.0
    clock.ns = chicago("2026-03-11 17:00")
    d.work()
    assert d.states(one) == [P, G, A]


def test_an_entry_is_not_sent_while_its_instrument_is_closed(new_delivery: Any) -> None:
    clock = HandClock(chicago("2026-03-11 14:00"))
    d = new_delivery(says(A, 200), clock)
    one = d.plan(symbol="ZC", contract="ZCK6", ts_mark=clock.ns)
    d.work()
    clock.ns += 16 * S
    d.work()
    assert d.states(one) == [P, State.DROPPED]


def test_a_refused_exit_goes_out_again_after_a_minute_and_a_limited_one_after_twenty_seconds(new_delivery: Any) -> None:
    clock = HandClock()
    d = new_delivery(says(R, 400), clock)
    one = d.plan(EXIT)
    d.work()
    clock.ns += 59 * S
    d.work()
    assert len(d.sent) == 1
    clock.ns += S
    d._send = says(R, 429)
    d.work()
    clock.ns += 19 * S
    d.work()
    assert len(d.sent) == 2
    clock.ns += S
    d._send = says(A, 200)
    d.work()
    assert d.states(one) == [P, G, R, G, R, G, A]


def test_an_exit_of_unknown_fate_is_repeated_until_the_vendor_recovers_with_pauses_that_grow(new_delivery: Any) -> None:
    clock = HandClock()
    d = new_delivery(says(U, 500), clock)
    one = d.plan(EXIT)
    for _ in range(720):
        d.work()
        clock.ns += 5 * S
    sent = [event.ts_clock for event in d.ledger.events(one.id) if event.state is G]
    assert [(b - a) // S for a, b in pairwise(sent)] == [60, 120, 240, *[300] * (len(sent) - 4)]
    assert len(sent) > 10
    assert d.delivery.unconfirmed() == [one]
    d._send = says(A, 200)
    clock.ns += 300 * S
    d.work()
    assert d.states(one)[-1] is A


def test_no_pause_of_an_exit_crosses_the_close_of_its_instrument(new_delivery: Any) -> None:
    clock = HandClock(chicago("2026-03-11 15:53"))
    d = new_delivery(says(U, 500), clock)
    one = d.plan(EXIT, ts_mark=clock.ns)
    while clock.ns < chicago("2026-03-11 17:01"):
        d.work()
        clock.ns += S
    sent = [event.ts_clock for event in d.ledger.events(one.id) if event.state is G]
    close = chicago("2026-03-11 16:00")
    assert [ts for ts in sent if ts < close][-1] == close - int(BEFORE_CLOSE_S * S)
    assert [ts for ts in sent if ts >= close] == [chicago("2026-03-11 17:00")]
    assert all(b - a >= 60 * S for a, b in pairwise(sent))


def test_an_exit_of_a_contract_for_which_one_waits_makes_that_one_due_and_is_settled_by_it(new_delivery: Any) -> None:
    clock = HandClock()
    d = new_delivery(says(U, 500), clock)
    first = d.plan(EXIT)
    for _ in range(240):
        d.work()
        clock.ns += 5 * S
    d.work()
    count, clock.ns = len(d.sent), clock.ns + 60 * S
    second = d.plan(EXIT)
    d._send = says(A, 200)
    d.work()
    assert len(d.sent) == count + 1
    assert (d.states(first)[-1], d.states(second)) == (A, [P, State.RESOLVED])
    clock.ns += 3600 * S
    d.work()
    assert len(d.sent) == count + 1


@pytest.mark.parametrize("step_s", [-86_400, -3_600, 3_600, 86_400])
def test_a_wall_clock_that_is_set_neither_holds_an_exit_nor_skips_its_settling(new_delivery: Any, step_s: int) -> None:
    clock = HandClock()
    answers = iter([U, U])
    d = new_delivery(lambda payload: Receipt(next(answers, A), 500, "", 1, 2), clock)
    one = d.plan(EXIT)
    d.work()
    clock.set_by_s = step_s
    sent = []
    for second in range(300):
        d.work()
        if len(d.sent) > 1 + len(sent):
            sent.append(second)
        clock.ns += S
    assert sent == [60, 180]
    assert d.states(one)[-1] is A


@pytest.mark.parametrize("step_s", [-86_400, 0, 86_400])
def test_what_may_be_at_the_vendor_settles_anew_in_a_new_process(new_delivery: Any, step_s: int) -> None:
    clock = HandClock()
    first = new_delivery(says(U, 500), clock)
    one = first.plan(EXIT)
    first.work()
    clock.ns += 30 * S
    clock.set_by_s = step_s
    again = new_delivery(says(A, 200), clock)
    again.delivery.add(one, again.ledger.events(one.id))
    for _ in range(60):
        again.work()
        assert again.sent == []
        clock.ns += S
    again.work()
    assert again.states(one)[-1] is A


@pytest.mark.parametrize("step_s", [-86_400, 86_400])
def test_a_wall_clock_set_before_a_start_holds_up_no_fresh_exit(new_delivery: Any, step_s: int) -> None:
    clock = HandClock()
    first = new_delivery(says(A, 200), clock)
    for i in range(450):
        first.plan(EXIT, contract=f"C{i}", ticker=f"C{i}")
        first.work()
        clock.ns += 100 * S
    clock.set_by_s = step_s
    again = new_delivery(says(A, 200), clock)
    one = again.plan(EXIT, contract="FRESH", ticker="FRESH")
    again.work()
    assert again.states(one) == [P, G, A]


def test_an_outage_of_ten_minutes_uses_up_no_limit_and_holds_up_no_fresh_exit(new_delivery: Any) -> None:
    clock = HandClock()
    d = new_delivery(says(P), clock)
    waiting = [d.plan(EXIT, contract=f"C{i}", ticker=f"C{i}") for i in range(18)]
    for _ in range(1_200):
        d.work()
        clock.ns += S // 2
    assert len(d.sent) > 500
    d._send = says(U, 503)
    fresh = d.plan(EXIT, contract="FRESH", ticker="FRESH")
    d.work()
    assert d.states(fresh) == [P, G, U]
    clock.ns += 16 * S
    d.work()
    assert all(d.states(one)[-1] is U for one in waiting)


@pytest.mark.parametrize("answer", [(U, 503), (R, 400), (R, 429)])
def test_first_attempts_never_wait_for_repeats_and_the_vendors_limits_hold(
    new_delivery: Any, answer: tuple[State, int]
) -> None:
    clock = HandClock()
    d = new_delivery(says(*answer), clock)
    for i in range(40):
        d.plan(EXIT, contract=f"C{i}", ticker=f"C{i}")
    began, sent = {}, []
    for second in range(4_500):
        if second % 300 == 299 and answer[1] != 429:
            began[d.plan(EXIT, contract=f"F{second}", ticker=f"F{second}").id] = clock.ns
        before = len(d.sent)
        d.work()
        sent += [clock.ns] * (len(d.sent) - before)
        clock.ns += S
    for span_s, limit in ((60, 60), (3_600, 500)):
        assert all(b - a >= span_s * S for a, b in zip(sent, sent[limit:], strict=False))
    for id_, planned_ns in began.items():
        first = next(event for event in d.ledger.events(id_) if event.state is G)
        assert first.ts_clock == planned_ns


@pytest.mark.parametrize(("asked_s", "pause_s"), [(0.0, 20), (7.0, 7), (100_000.0, 300)])
def test_a_429_pauses_the_whole_webhook_and_one_probe_ends_it(new_delivery: Any, asked_s: float, pause_s: int) -> None:
    clock = HandClock()
    d = new_delivery(lambda payload: Receipt(R, 429, "", 1, 2, retry_after_s=asked_s), clock)
    d.plan(EXIT, contract="A", ticker="A")
    d.work()
    entry = d.plan()
    for i in range(3):
        d.plan(EXIT, contract=f"B{i}", ticker=f"B{i}")
    for _ in range(pause_s):
        d.work()
        assert len(d.sent) == 1
        clock.ns += S
    assert d.states(entry) == [P, State.DROPPED]
    d.work()
    assert len(d.sent) == 2  # the probe, which is refused again
    clock.ns += 300 * S
    d._send = says(A, 200)
    d.work()
    assert len(d.sent) == 6


def test_an_entry_of_unknown_fate_is_shown_until_an_exit_has_settled_it(new_delivery: Any) -> None:
    d = new_delivery(says(U))
    entry = d.plan()
    d.work()
    assert d.delivery.unconfirmed() == [entry]
    d._send = says(A, 200)
    d.plan(EXIT)
    d.clock.ns += 60 * S
    d.work()
    assert d.delivery.unconfirmed() == []
    assert d.states(entry) == [P, G, U, State.RESOLVED]
    assert [event.state for _, event in d.delivery.outcomes(99)] == [U, A, State.RESOLVED]


def test_an_entry_that_makes_no_sense_is_dropped_and_nothing_else_suffers(new_delivery: Any) -> None:
    d = new_delivery(says(A, 200))
    bad, good = d.plan(quantity=0), d.plan(contract="NQM6")
    d.work()
    assert d.states(bad) == [P, State.DROPPED]
    assert d.states(good) == [P, G, A]


def test_an_exit_without_a_price_goes_out(new_delivery: Any) -> None:
    d = new_delivery(says(A, 200))
    d.plan(EXIT, signal_price=float("nan"))
    d.work()
    assert "signalPrice" not in d.sent[0]


def test_mode_dry_sends_nothing_and_acknowledges(ledger: Ledger) -> None:
    d = Delivery(ledger, None, lambda one, ts: {}, HandClock(), RULES, list, lambda symbol: "")
    one = intent(ts_mark=OPEN)
    commit(ledger, OPEN, one)
    d.add(one, ledger.events(one.id))
    d.turn(math.inf)
    assert [event.state for event in ledger.events(one.id)] == [P, G, A]
    assert d.close(5)


def test_an_error_on_the_sending_thread_reaches_the_loop(new_delivery: Any) -> None:
    def send(payload: Payload) -> Receipt:
        raise RuntimeError("a bug")

    d = new_delivery(send)
    d.plan()
    with pytest.raises(RuntimeError, match="a bug"):
        d.work()


def test_closing_finishes_the_attempt_in_flight_and_starts_no_other(new_delivery: Any) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def send(payload: Payload) -> Receipt:
        begun.set()
        go_on.wait(5)
        return Receipt(A, 200, "", 1, 2)

    d = new_delivery(send)
    first, second = d.plan(), d.plan(contract="NQM6")
    d.delivery.turn()
    begun.wait(5)
    threading.Timer(0.2, go_on.set).start()
    assert d.delivery.close(5)
    assert d.states(first) == [P, G, A]
    assert d.states(second) == [P]


def test_the_caller_gives_way_until_the_first_attempt_is_over(new_delivery: Any) -> None:
    d = new_delivery(lambda payload: time.sleep(0.2) or Receipt(A, 200, "", 1, 2))
    one = d.plan()
    d.delivery.turn()
    d.delivery.give_way(30)
    assert d.states(one) == [P, G, A]


def test_the_caller_gives_way_no_longer_than_it_says_and_not_at_all_when_nothing_is_sent(new_delivery: Any) -> None:
    go_on = threading.Event()
    d = new_delivery(lambda payload: go_on.wait(30) and Receipt(A, 200, "", 1, 2))
    began = time.monotonic()
    d.delivery.give_way(30)
    one = d.plan()
    d.delivery.turn()
    d.delivery.give_way(0.01)
    assert time.monotonic() - began < 5
    assert A not in d.states(one)
    go_on.set()


def test_a_turn_in_a_replay_waits_for_the_answer_and_time_stands_still(ledger: Ledger) -> None:
    clock = ReplayClock()
    clock.on_mark(OPEN)
    d = DeliveryRig(ledger, clock, lambda payload: time.sleep(0.2) or Receipt(A, 200, "", 1, 2))
    one = d.plan()
    d.delivery.turn(math.inf)
    assert [(event.state, event.ts_clock) for event in ledger.events(one.id)] == [(P, OPEN), (G, OPEN), (A, OPEN)]
    assert d.delivery.close(5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([A, R, U, P]), max_size=12), st.lists(st.integers(0, 40), min_size=12, max_size=12))
def test_whatever_the_webhook_answers_entries_go_out_once_and_exits_until_one_is_acknowledged(
    answers: list[State], steps: list[int]
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        ledger = Ledger(Path(directory) / "ledger.sqlite", "ibs")
        clock = HandClock()
        left = iter(answers)
        d = DeliveryRig(ledger, clock, lambda payload: Receipt(next(left, A), 0, "", 1, 2))
        entry, exit_ = d.plan(), d.plan(EXIT, contract="NQM6", ticker="NQM2026")
        for step in steps * 40:
            d.work()
            clock.ns += step * S
        reached = [e.state for e in ledger.events(entry.id) if e.state in (A, R, U)]
        assert len(reached) <= 1
        for _ in range(40):
            clock.ns += 300 * S
            d.work()
        assert d.states(exit_)[-1] is A
        assert d.delivery.close(5)
        ledger.close()


# ── over HTTP ──


def counts(server: Any) -> dict[str, int]:
    return server.state()["accounts"]["ibs"]["counts"]  # type: ignore[no-any-return]


def test_an_order_arrives(webhook: Any) -> None:
    d, server = webhook()
    one = d.plan()
    d.work()
    assert d.states(one) == [P, G, A]
    assert server.state()["accounts"]["ibs"]["positions"] == {"ESM2026": 1}


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (Fault("html500", at=(1,)), U),
        (Fault("close", at=(1,)), U),
        (Fault("half", at=(1,)), U),
        (Fault("reset", at=(1,)), U),
        (Fault("no_id", at=(1,)), U),
        (Fault("redirect", at=(1,)), R),
        (Fault("limited", at=(1,)), R),
        (Fault("hang", at=(1,)), U),
    ],
    ids=lambda value: value.do if isinstance(value, Fault) else value,
)
def test_a_webhook_that_misbehaves_gets_an_entry_once(webhook: Any, fault: Fault, state: State) -> None:
    d, server = webhook(fault, total_s=0.5)
    one = d.plan()
    for _ in range(20):
        d.work()
        d.clock.ns += 5 * S
    assert d.states(one) == [P, G, state]
    assert counts(server)["requests"] == 1


def test_an_exit_goes_on_through_faults_until_it_is_acknowledged(webhook: Any) -> None:
    d, server = webhook(Fault("html500", at=(2,)), Fault("close", at=(3,)), Fault("limited", at=(4,)))
    d.plan()
    d.work()
    out = d.plan(EXIT)
    for _ in range(60):
        d.work()
        d.clock.ns += 5 * S
    assert d.states(out) == [P, G, U, G, U, G, R, G, A]
    assert server.state()["accounts"]["ibs"]["positions"] == {}
    times = [event.ts_clock for event in d.ledger.events(out.id) if event.state is G]
    assert all(b - a >= 60 * S for a, b in pairwise(times[:3]))


def test_a_webhook_that_hangs_never_holds_the_loop(webhook: Any) -> None:
    d, _ = webhook(Fault("hang", at=(1,)), total_s=1.5)
    one = d.plan()
    began = time.monotonic()
    longest = 0.0
    while d.states(one)[-1] is not U:
        turn = time.monotonic()
        d.delivery.turn()
        longest = max(longest, time.monotonic() - turn)
        time.sleep(0.01)
    assert time.monotonic() - began > 1.4
    assert longest < 0.2


def test_a_webhook_that_is_down_is_tried_again_while_the_entry_is_fresh(ledger: Ledger) -> None:
    account = Account("ibs", str(uuid.uuid4()), "secret")
    with running([account]) as server:
        port = server.port
    url = f"http://127.0.0.1:{port}{account.path}"
    d = DeliveryRig(ledger, HandClock(), TradersPost(url).send)
    fresh, out = d.plan(), d.plan(EXIT, symbol="NQ", contract="NQM6")
    for _ in range(80):
        d.work()
        d.clock.ns += S // 4
    assert d.states(fresh)[-1] is State.DROPPED
    assert set(d.states(fresh)[:-1]) == {P, G}
    assert d.states(out)[-1] is P
    assert 3 < d.states(out).count(G) < 10
    assert d.delivery.close(12)


def test_nineteen_positions_are_flattened_within_the_rate_budget_beside_a_minute_full_of_entries(
    ledger: Ledger,
) -> None:
    roots = [*PRODUCTS][:19]
    account = Account("ibs", str(uuid.uuid4()), "secret")
    with running([account]) as server:  # its limit is on: 60 requests a minute
        d = DeliveryRig(ledger, HandClock(), TradersPost(server.url("ibs")).send)

        def plan(root: str, role: Role) -> Intent:
            return d.plan(role, symbol=root, contract=f"{root}M6", ticker=f"{root}M2026", ts_mark=d.clock.ns)

        entries = [plan(root, ENTRY) for root in (*roots, "MES", "MNQ")]
        d.work()
        assert [d.states(one)[-1] for one in entries] == [A] * 20 + [State.DROPPED]  # the rest is kept for exits
        d.clock.ns += int(ENTRY_FILL_S * S)
        exits = [plan(root, EXIT) for root in roots]
        d.work()
        assert [d.states(one) for one in exits] == [[P, G, A]] * 19
        assert set(server.state()["accounts"]["ibs"]["positions"]) <= {"MESM2026", "MNQM2026"}
        assert d.delivery.close(12)


@pytest.mark.parametrize(
    ("switch", "feed", "reason"),
    [
        (Level.HALT, "", "kill switch: halt of ibs"),
        (Level.FLATTEN, "", "kill switch: flatten of ibs"),
        (Level.STOP, "", "kill switch: stop of ibs"),
        (None, "Redis is away", "feed: Redis is away"),
    ],
)
def test_what_holds_entries_back_lets_exits_go_but_for_stop(
    new_delivery: Any, switch: Level | None, feed: str, reason: str
) -> None:
    d = new_delivery(says(A, 200))
    d.switches, d.feed = [Switch(switch, "ibs")] if switch else [], feed
    entry, out = d.plan(), d.plan(EXIT, symbol="NQ", contract="NQM6")
    d.work()
    (dropped,) = [event.detail for event in d.ledger.events(entry.id) if event.state is State.DROPPED]
    assert dropped == reason
    assert d.states(out)[-1] is (P if switch is Level.STOP else A)
    d.switches = []
    d.work()
    assert d.states(out)[-1] is A


def test_two_exits_of_one_contract_keep_the_settling_time_between_them(new_delivery: Any) -> None:
    clock = HandClock()
    d = new_delivery(says(A, 200), clock)
    first = d.plan(EXIT)
    d.work()
    second = d.plan(EXIT)
    clock.ns += 59 * S
    d.work()
    assert (d.states(first)[-1], d.states(second)[-1]) == (A, P)
    clock.ns += S
    d.work()
    assert d.states(second)[-1] is A


def test_an_exit_after_an_entry_waits_until_the_entry_has_filled(new_delivery: Any) -> None:
    clock = HandClock()
    d = new_delivery(says(A, 200), clock)
    d.plan()
    d.work()
    out = d.plan(EXIT)
    d.work()
    assert d.states(out)[-1] is P
    clock.ns += int(ENTRY_FILL_S * S)
    d.work()
    assert d.states(out)[-1] is A


def test_people_are_told_of_an_exit_that_does_not_get_through(
    new_delivery: Any, caplog: pytest.LogCaptureFixture
) -> None:
    clock = HandClock()
    d = new_delivery(says(U), clock)
    d.plan(EXIT)
    for _ in range(100):
        d.work()
        clock.ns += 5 * S
    told = [r.message for r in caplog.records if r.levelname == "CRITICAL" and "unconfirmed" not in r.message]
    hint = "look at the broker: rooney position ibs ES"
    assert told == [
        f"exit ESM2026 is not acknowledged after 35 s, going on; {hint}",
    ]


def test_no_part_of_the_url_is_in_the_ledger(webhook: Any, tmp_path: Path) -> None:
    d, server = webhook(Fault("redirect", at=(1,)), Fault("close", at=(2,)))
    for contract in ("ESM6", "NQM6", "GCJ6"):
        d.plan(contract=contract)
    d.work()
    url = server.url("ibs")
    data = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"GCJ6" in data
    assert not any(part.encode() in data for part in (url, *url.split("/")[-2:]))


def test_an_entry_whose_sending_the_disk_does_not_take_down_is_not_sent(tmp_path: Path) -> None:
    class Filling(DeliveryRig):
        def _payload(self, one: Intent, ts_decided_ns: int) -> Payload:
            self.large = fill(place)  # after the gates, before "sending"
            return super()._payload(one, ts_decided_ns)

    with mounted(tmp_path / "disk", 32 * MIB) as place:
        ledger = Ledger(place / "ledger.sqlite", "ibs")
        rig = Filling(ledger, HandClock(), says(A))
        entry = rig.plan(ENTRY)
        rig.work()
        assert (rig.sent, ledger.is_behind) == ([], True)
        assert rig.states(entry) == [P, G, P, State.DROPPED]
        rig.large.unlink()
        ledger.write_out()
        assert rig.delivery.close(12)
        ledger.close()
        assert [row[2] for row in contents(ledger.path)["event"]] == [P, G, P, State.DROPPED]
