"""What people hear of an order: its level, and its whole story in the journal by its id."""

import logging
from pathlib import Path
from typing import Any

import pytest

from rooney import log
from rooney.clock import Clock
from rooney.execution.command_handler import CommandHandler
from rooney.ledger.writer import Ledger
from rooney.orders import order_messages
from rooney.orders.control import Control, Level, clear_switches, set_switch
from rooney.orders.intents import State
from tests.support.deliveries import EXIT, A, G, P, R, S, U, life, says
from tests.support.journal import Journal
from tests.support.webhook_faults import Fault

pytestmark = pytest.mark.usefixtures("restored")

CRIT, ERR, WARN, NOTE, INFO = "2", "3", "4", "5", "6"


@pytest.mark.parametrize(
    ("moves", "wanted"),
    [
        ([(G, 0), (A, 1)], log.NOTICE),
        ([(G, 0), (U, 1)], logging.CRITICAL),
        ([(G, 0), (R, 1, 400)], logging.CRITICAL),  # a setting is wrong: every order will be refused
        ([(G, 0), (R, 1, 429)], logging.ERROR),
        ([(G, 0), (U, 1), (State.RESOLVED, 2)], log.NOTICE),
        ([(State.DROPPED, 1)], logging.WARNING),
        ([(G, 0), (P, 1)], log.NOTICE),
        ([(G, 0), (P, 1), (G, 2), (P, 3), (G, 4), (P, 5)], logging.WARNING),
    ],
)
def test_how_loud_what_came_of_an_order_is(moves: list[Any], wanted: int) -> None:
    assert order_messages.level(life(*moves)) == wanted


def story(journal: Journal, intent_id: str) -> list[tuple[str, str, str]]:
    """As `journalctl ROONEY_INTENT=ID` shows it: event, priority, message."""
    found = []
    journal.socket.settimeout(0.1)
    while True:
        try:
            fields = journal.read()
        except TimeoutError:
            return found
        if fields.get("ROONEY_INTENT") == intent_id:
            assert (fields["ROONEY_STRATEGY"], fields["ROONEY_SYMBOL"]) == ("ibs", "ES")
            found.append((fields["ROONEY_EVENT"], fields["PRIORITY"], fields["MESSAGE"]))


def test_the_journal_tells_the_whole_story_of_an_order_by_its_id(webhook: Any, journal: Journal) -> None:
    log.setup("worker", "ibs")
    d, _ = webhook(Fault("close", at=(1,)))
    entry = d.plan()
    order_messages.decided(logging.getLogger("rooney.test"), entry)
    d.work()
    d.plan(EXIT)
    d.clock.ns += 60 * S
    d.work()
    assert d.states(entry)[-1] is State.RESOLVED
    told = story(journal, entry.id)
    assert [(kind, priority) for kind, priority, _ in told] == [("intent", INFO), ("order", CRIT), ("order", NOTE)]
    assert "unconfirmed answer lost: RemoteDisconnected; it may be live and is not sent again" in told[1][2]
    assert f"rooney resolve {entry.id} --filled PRICE | --not-filled, or rooney flatten ibs ES" in told[1][2]
    assert "resolved settled by exit" in told[2][2]


def test_an_exit_that_is_trapped_is_crit(new_delivery: Any, journal: Journal) -> None:
    log.setup("worker", "ibs")
    d = new_delivery(says(P))
    out = d.plan(EXIT)
    for _ in range(7):
        d.work()
        d.clock.ns += 6 * S
    assert ("exit", CRIT) in [(kind, priority) for kind, priority, _ in story(journal, out.id)]


def test_the_breaker_is_told_when_it_opens_and_when_it_closes(
    new_delivery: Any, caplog: pytest.LogCaptureFixture
) -> None:
    d = new_delivery(says(R, 400))
    d.plan()
    with caplog.at_level(logging.INFO):
        d.work()
        d._send = says(A, 200)
        d.plan(EXIT)
        d.work()
    told = [(r.levelname, r.message) for r in caplog.records if getattr(r, "rooney_event", "") == "breaker"]
    assert [name for name, _ in told] == ["ERROR", "NOTICE"]
    assert "rooney resume ibs: entry refused (HTTP 400)" in told[0][1]


def test_a_switch_is_told_once_when_it_is_set_and_once_when_it_is_lifted(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    at_hand = CommandHandler("ibs", "paper", ["ES"], ledger, Control(tmp_path, "ibs"), Clock())
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            at_hand.turn()
        set_switch(tmp_path, "ibs", Level.HALT, "ann", "news")
        for _ in range(3):
            at_hand.turn()
        clear_switches(tmp_path, "ibs")
        at_hand.turn()
    told = [(r.levelname, r.message) for r in caplog.records]
    assert told == [("NOTICE", "switches on: halt of ibs: news (ann)"), ("NOTICE", "switches on: none")]


def test_what_a_process_left_between_sending_and_outcome_is_crit_at_the_next_start(
    new_delivery: Any, ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    d = new_delivery(says(A, 200))
    one = d.plan()
    ledger.record(one, G, d.clock.ns)
    commands = CommandHandler("ibs", "paper", ["ES"], ledger, Control(tmp_path, "ibs"), d.clock)
    commands.take_over(lambda: d.delivery)
    (told,) = [r for r in caplog.records if r.levelname == "CRITICAL"]
    assert "unconfirmed the process ended between sending and outcome; it may be live" in told.message
    assert d.states(one) == [P, G, U]
