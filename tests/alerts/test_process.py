"""Alerts: from a ledger's outbox to Slack and Discord, whatever those answer and whenever the sender dies."""

import json
import logging
import random
import re
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooney import log
from rooney.alerts import services, timing
from rooney.alerts.dead_mans_switch import ping
from rooney.alerts.incidents import Telling, Trouble
from rooney.alerts.message import MAX_CHARS, compose
from rooney.alerts.outbox import Posted, post
from rooney.alerts.routing import routes as configured_routes
from rooney.alerts.services import judge
from rooney.alerts.store import Book, told
from rooney.alerts.thresholds import HOUR_NS, Sample, Thresholds
from rooney.alerts.timing import CALM_NS, CRITICAL_GAP_NS, HOLD_NS, Steady, is_due, pending
from rooney.config.loader import load_config
from rooney.orders.notices import Notice, Turn
from tests.support.alerts import TAKEN, configuration, counted, ledger, order, process, routes, sender, service, turns
from tests.support.paths import GOLDEN

S = 1_000_000_000
NOW = 1_773_241_200 * S  # 2026-03-11 15:00 UTC


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for; their ratios stay."""
    for name in ("GROUP_NS", "GAP_NS", "CRITICAL_GAP_NS"):
        monkeypatch.setattr(timing, name, getattr(timing, name) // 100)
    monkeypatch.setattr(services, "BACK_OFF_S", (0.02, 0.05))
    monkeypatch.setattr(services, "LEAST_PAUSE_S", dict.fromkeys(services.LEAST_PAUSE_S, 0.0))


# ── the whole way ──


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("size", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_storm_of_orders_is_a_few_messages_and_each_is_told_and_resolved(tmp_path: Path, size: int) -> None:
    with service() as slack, closing(ledger(tmp_path / "state")) as book:
        one = sender(tmp_path, routes(slack))
        began_ns = time.monotonic_ns()
        for n in range(size):
            book.tell(order(n), n)
            if n % 200 == 0:
                one.turn()
        turns(one, lambda: counted(slack.taken, "CRIT ibs") == size)
        begun = len(slack.taken)
        for n in range(size):
            book.tell(order(n, Turn.ENDS, log.NOTICE), n)
        turns(one, lambda: counted(slack.taken, "RESOLVED ibs") == size)
        gaps = (time.monotonic_ns() - began_ns) // CRITICAL_GAP_NS  # a slow machine has time for more
        assert begun <= max(30, gaps) and len(slack.taken) <= max(45, gaps)
        assert all(len(text) <= 2_000 for text in slack.taken)
        turns(one, lambda: not one._book.troubles)
        kept = told(tmp_path / "book" / "book.sqlite", 0)
        assert len({item.about for item in kept}) == size
        assert all(len(item.messages.split()) >= 1 for item in kept)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("slack", [(429, {"Retry-After": "1"}, "rate_limited"), (500, {}, "oops"), (503, {}, "<html>")]),
        ("discord", [(429, {"Retry-After": "1"}, '{"retry_after": 0.4, "global": false}'), (502, {}, "")]),
    ],
)
def test_a_service_that_wants_a_pause_gets_it_and_then_the_message_once(
    tmp_path: Path, kind: str, answers: list[tuple[int, dict[str, str], str]]
) -> None:
    last = (204, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "0.5"}, "") if kind == "discord" else TAKEN
    with service(*answers, otherwise=last) as one, closing(ledger(tmp_path / "state")) as book:
        sent = sender(tmp_path, routes(one, kind=kind))
        book.tell(order(1), 1)
        turns(sent, lambda: bool(one.taken))
        assert [status for _, status in one.requests] == [*[answer[0] for answer in answers], last[0]]
        assert one.requests[1][0] - one.requests[0][0] >= 1.0
        book.tell(order(2), 2)
        turns(sent, lambda: len(one.taken) == 2)
        pause_s = one.requests[-1][0] - one.requests[-2][0]
        assert pause_s >= (0.5 if kind == "discord" else 0.1)


@pytest.mark.usefixtures("quick")
def test_a_service_that_hangs_delays_no_other_and_gets_its_message_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "READ_S", 0.5)
    with service("hang") as slow, service() as quick_one, closing(ledger(tmp_path / "state")) as book:
        one = sender(tmp_path, routes(slow, quick_one))
        book.tell(order(1), 1)
        began = time.monotonic()
        turns(one, lambda: bool(quick_one.taken))
        assert time.monotonic() - began < 0.5
        turns(one, lambda: bool(slow.taken))
        assert len(slow.requests) == 2


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "answer", [(404, {}, "no_service"), (410, {}, "channel_is_archived"), (403, {}, "invalid_token")]
)
def test_a_revoked_webhook_is_asked_once_said_locally_and_its_alerts_go_elsewhere(
    tmp_path: Path, answer: tuple[int, dict[str, str], str], caplog: pytest.LogCaptureFixture
) -> None:
    with service(otherwise=answer) as gone, service() as common, closing(ledger(tmp_path / "state")) as book:
        routes_ = routes(common, own={"ibs": gone})
        one = sender(tmp_path, routes_)
        book.tell(order(1, level=logging.ERROR), 1)  # not critical: to the strategy's own channel alone
        turns(one, lambda: bool(common.taken))
        assert "order" not in common.taken[0] and "ESM6 unconfirmed" in common.taken[0]
        loud = [record for record in caplog.records if record.levelno == log.ALERT]
        assert len(loud) == 1 and "switched off" in loud[0].getMessage() and "ESM6" in loud[0].getMessage()
        one._book.close()
        again = sender(tmp_path, routes_)  # it stays switched off
        book.tell(order(2), 2)
        turns(again, lambda: len(common.taken) == 2)
        assert len(gone.requests) == 1


@pytest.mark.usefixtures("quick")
def test_a_message_a_service_refuses_for_good_blocks_no_later_one_and_is_in_the_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with service((400, {}, "invalid_payload")) as slack, closing(ledger(tmp_path / "state")) as book:
        one = sender(tmp_path, routes(slack))
        book.tell(order(1), 1)
        turns(one, lambda: len(slack.requests) == 1)
        book.tell(order(2), 2)
        turns(one, lambda: bool(slack.taken))
        assert any("refused this message for good" in record.getMessage() for record in caplog.records)


def kills(tmp_path: Path, rounds: int, seed: int) -> None:
    """The sender dies by SIGKILL `rounds` times while orders come; everything arrives, and repeats are known."""
    rng = random.Random(seed)
    with service() as slack, closing(ledger(tmp_path / "state")) as book:
        n = 0
        for k in range(rounds + 1):
            before = len(slack.taken)
            running = process(tmp_path, slack, tmp_path / "sender.log")
            try:
                end = time.monotonic() + (rng.uniform(0.6, 1.6) if k < rounds else 90.0)
                if k == rounds:  # something is left for the last one, which is up when it has told that
                    book.tell(order(n), n)
                    n += 1
                while time.monotonic() < end:
                    for _ in range(rng.randrange(6)):
                        if n < 400:
                            book.tell(order(n), n)
                            n += 1
                    if k == rounds and counted(slack.taken, "CRIT ibs") >= n:
                        break
                    if k < rounds and len(slack.taken) > before + rng.randrange(4):
                        break
                    time.sleep(rng.uniform(0, 0.02))
            finally:
                running.send_signal(signal.SIGKILL if k < rounds else signal.SIGTERM)
                assert running.wait(20) == (-signal.SIGKILL if k < rounds else 0), (tmp_path / "sender.log").read_text()
        numbers = [re.findall(r"\[#(\w{8})\]", text)[0] for text in slack.taken]
        texts = dict(zip(numbers, slack.taken, strict=True))
        assert all(texts[number] == text for number, text in zip(numbers, slack.taken, strict=True))
        assert max(Counter(numbers).values()) <= 1 + rounds
        assert counted(slack.taken, "CRIT ibs") == n
    text = (tmp_path / "sender.log").read_text()
    assert "s3cret" not in text and "/services/" not in text


def test_a_sender_killed_at_random_points_tells_everything_and_its_repeats_have_the_same_number(tmp_path: Path) -> None:
    kills(tmp_path, 2, 7)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_sender_killed_ten_times_tells_everything(tmp_path: Path, seed: int) -> None:
    kills(tmp_path, 10, seed)


@pytest.mark.usefixtures("quick")
def test_a_message_that_was_taken_by_a_service_as_its_sender_died_goes_out_again_as_it_was(tmp_path: Path) -> None:
    with service() as slack, closing(ledger(tmp_path / "state")) as book:
        book.tell(order(1), 1)
        one = sender(tmp_path, routes(slack))
        end = time.monotonic() + 10
        one.turn()
        while not slack.taken:  # its answer is not taken in: as if it died here
            assert time.monotonic() < end
            time.sleep(0.01)
        one._book.close()
        again = sender(tmp_path, routes(slack))
        turns(again, lambda: len(slack.taken) == 2 and not again._book.messages)
        assert slack.taken[0] == slack.taken[1]


def test_no_url_is_in_a_log_or_an_exception(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with service() as slack:
        url = slack.url
    verdict = services.post("slack", configured(url), "text", 0)  # nobody listens there any more
    assert verdict.result == "later" and "s3cret" not in repr(verdict)
    assert "s3cret" not in "".join(log.redact(record.getMessage()) for record in caplog.records)
    assert "s3cret" not in ping(configured(url))


def configured(url: str) -> "services.Secret":
    return services.Secret(url)


def test_nothing_in_a_text_pings_anybody(tmp_path: Path) -> None:
    with service() as one:
        services.post("slack", configured(one.url), "<!channel> & <@U1> @here", 0)
        services.post("discord", configured(one.url), "@everyone", 0)
    assert one.bodies[0]["text"] == "&lt;!channel&gt; &amp; &lt;@U1&gt; @here"
    assert one.bodies[1]["allowed_mentions"] == {"parse": []}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_apprise_carries_what_has_no_sender_here(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with service() as one:
        url = configured(f"json://127.0.0.1:{one.server.server_port}/s3cret")
        assert services.post("apprise", url, "CRIT a\nrest", 0).result == "taken"
        one.otherwise = (500, {}, "")
        assert services.post("apprise", url, "CRIT a", 0).result == "later"
    assert (one.bodies[0]["title"], one.bodies[0]["message"]) == ("CRIT a", "rest")
    assert services.post("apprise", configured("nothing://s3cret"), "x", 0).result == "gone"
    assert "s3cret" not in "".join(record.getMessage() for record in caplog.records if record.name == "apprise")


def test_the_dead_mans_ping_goes_out_with_the_turns(tmp_path: Path) -> None:
    with service() as outside:
        one = sender(tmp_path, routes(), ping=outside)
        turns(one, lambda: outside.pings == 1)


# ── where it goes ──


def test_a_strategy_has_its_own_channel_and_what_is_critical_goes_to_the_common_one_too(tmp_path: Path) -> None:
    environ = {"IBS_SLACK": "https://hooks.example/ibs", "ALL_DISCORD": "https://discord.example/all"}
    path = configuration(tmp_path, ibs={"slack": "${IBS_SLACK}"}, third={"discord": "${MISSING}"})
    text = path.read_text() + "alerts:\n  discord: ${ALL_DISCORD}\n"
    path.write_text(text)
    found, lacks = configured_routes(load_config(path, (), environ=environ), None)
    labels = {key: channel.label for key, channel in found.channels.items()}

    def to(scope: str, level: int) -> list[str]:
        return [labels[key] for key in found.to(Trouble(1, scope, "order 1", level, "", "", NOW), ())]

    assert to("ibs", logging.ERROR) == ["slack of ibs"]
    assert to("ibs", logging.CRITICAL) == ["slack of ibs", "discord of all"]
    assert to("third", logging.ERROR) == to("", logging.WARNING) == ["discord of all"]
    assert len(lacks) == 1 and "MISSING" in lacks[0]


def test_a_credential_comes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "alert_ibs.slack").write_text("https://hooks.example/credential\n")
    path = configuration(tmp_path, ibs={"slack": "${IBS_SLACK}"})
    config = load_config(path, (), environ={"IBS_SLACK": "https://hooks.example/file"})
    for credentials, url in ((tmp_path, "https://hooks.example/credential"), (None, "https://hooks.example/file")):
        target = config.alert_target("ibs", "slack", credentials)
        assert target is not None and target.reveal() == url


# ── what is told, and when ──


def trouble(n: int = 1, level: int = logging.CRITICAL, **changes: object) -> Trouble:
    usual = {
        "id": n,
        "scope": "ibs",
        "about": f"order {n}",
        "level": level,
        "symbol": "ES",
        "text": "t",
        "began_ns": NOW,
    }
    return Trouble(**(usual | changes))  # type: ignore[arg-type]


def test_a_critical_one_is_told_at_once_and_others_are_gathered_for_a_while() -> None:
    grave, mild = pending([trouble()], "c", NOW), pending([trouble(level=logging.WARNING)], "c", NOW)
    refused = pending(
        [trouble(is_news=True, ended_ns=NOW)], "c", NOW
    )  # an entry, for good: over, and a setting is wrong
    assert is_due(grave, 0, NOW) and is_due(refused, 0, NOW)
    assert not is_due(mild, 0, NOW + 29 * S) and is_due(mild, 0, NOW + 30 * S)
    assert not is_due(grave, NOW - S, NOW) and is_due(grave, NOW - 15 * S, NOW)


def test_what_stands_is_told_again_every_four_hours_and_a_critical_one_every_quarter_until_it_is_known() -> None:
    grave, mild = trouble(1), trouble(2, logging.WARNING)
    for one in (grave, mild):
        one.tellings["c"] = Telling(NOW)

    def told_at(minutes: int, known_ns: int = 0) -> list[int]:
        return [item.trouble.id for item in pending([grave, mild], "c", NOW + minutes * 60 * S, known_ns)]

    assert told_at(14) == [] and told_at(15) == [1] and told_at(240) == [1, 2]
    assert told_at(15, known_ns=NOW + S) == [] and told_at(240, known_ns=NOW + S) == [1, 2]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["ibs", "breakout"]), st.sampled_from([25, 30, 40, 50]), st.text(max_size=900)),
        max_size=40,
    )
)
def test_a_message_fits_a_service_and_what_does_not_fit_waits_for_the_next(found: list[tuple[str, int, str]]) -> None:
    all_ = [trouble(n, level, scope=scope, text=text, about=f"k{n} x") for n, (scope, level, text) in enumerate(found)]
    seen: list[int] = []
    for k in range(100):
        items = pending(all_, "c", NOW)
        if not items:
            break
        message, told_ = compose(items, "c", NOW + k)
        assert told_ and len(message.text) <= MAX_CHARS and f"[#{message.number}]" in message.text
        seen += [item.trouble.id for item in told_]
        for item in told_:
            item.trouble.tellings["c"] = Telling(NOW)
    assert sorted(seen) == list(range(len(found)))


def test_the_first_line_is_complete_on_a_phone() -> None:
    text = "entry ESM6 unconfirmed answer lost; it may be live. rooney resolve 7f3a --filled PRICE | --not-filled"
    message, _ = compose(pending([trouble(text=text)], "c", NOW), "c", NOW)
    assert message.text == f"CRIT ibs ES: {text} (15:00:00Z) [#{message.number}]"


def test_an_end_is_told_with_how_long_it_lasted() -> None:
    one = trouble(ended_ns=NOW + 65 * S, end_text="entry ESM6 resolved: settled by exit 1")
    message, _ = compose(pending([one], "c", NOW), "c", NOW)
    assert message.text.startswith("RESOLVED ibs ES: entry ESM6 resolved: settled by exit 1 (it began 15:00:00Z, 65 s)")


def test_news_and_ends_from_before_the_day_are_not_told(tmp_path: Path) -> None:
    book = Book(tmp_path / "book.sqlite")
    book.take("x", 1, [("ibs", Notice("trade", Turn.NEWS, log.NOTICE, "old"), NOW), ("ibs", order(1), NOW)])
    book.settle(dict.fromkeys(book.troubles, ("c",)), NOW + 2 * 86_400 * S)
    assert [one.about for one in book.troubles.values()] == [order(1).about]


def test_what_gets_graver_is_told_as_if_it_began(tmp_path: Path) -> None:
    book = Book(tmp_path / "book.sqlite")
    book.take("x", 1, [("ibs", order(1, level=logging.WARNING), NOW)])
    message, told_ = compose(pending(list(book.troubles.values()), "c", NOW), "c", NOW)
    book.keep(message, told_)
    assert not pending(list(book.troubles.values()), "c", NOW)
    book.take("x", 2, [("ibs", order(1), NOW)])
    assert [item.what for item in pending(list(book.troubles.values()), "c", NOW)] == ["begins"]


def test_a_condition_that_gets_graver_is_told_again_and_one_that_goes_is_over(tmp_path: Path) -> None:
    book, key = Book(tmp_path / "book.sqlite"), ("", "hub")
    mild, grave = (Notice("hub", Turn.BEGINS, level, "no hub") for level in (30, 50))
    assert book.see({key: mild}, NOW) == [("", mild)] and book.see({key: mild}, NOW) == []
    message, told_ = compose(pending(list(book.troubles.values()), "c", NOW), "c", NOW)
    book.keep(message, told_)
    assert book.see({key: grave}, NOW + S) == [("", grave)]
    assert [item.what for item in pending(list(book.troubles.values()), "c", NOW)] == ["begins"]
    ((_, end),) = book.see({}, NOW + 2 * S)
    assert end.turn is Turn.ENDS and [item.what for item in pending(list(book.troubles.values()), "c", NOW)] == ["over"]


def test_what_a_ledger_began_is_ended_by_the_ledger_and_not_by_looking(tmp_path: Path) -> None:
    book, key = Book(tmp_path / "book.sqlite"), ("ibs", order(1).about)
    book.see({key: order(1)}, NOW)
    book.take("x", 1, [("ibs", order(1), NOW)])
    assert book.see({}, NOW + S) == []
    book.take("x", 2, [("ibs", order(1, Turn.ENDS, 25), NOW + S)])
    assert [one.ended_ns for one in book.troubles.values()] == [NOW + S]


def test_the_book_comes_back_as_it_was(tmp_path: Path) -> None:
    book = Book(tmp_path / "book.sqlite")
    book.take("x", 7, [("ibs", order(n), NOW) for n in range(5)])
    message, told_ = compose(pending(list(book.troubles.values()), "c", NOW), "c", NOW)
    book.keep(message, told_)
    book.disable("d", "gone")
    book.close()
    again = Book(tmp_path / "book.sqlite")
    assert (again.troubles, again.messages, again.disabled) == (book.troubles, book.messages, book.disabled)
    assert again.cursor("x") == 7


def test_a_file_that_is_no_book_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "book.sqlite").write_text("no book" * 100)
    with pytest.raises(Exception, match="not a sound alert book"):
        Book(tmp_path / "book.sqlite")


# ── answers of the services ──


@pytest.mark.parametrize(
    ("service_", "status", "text", "result"),
    [
        ("slack", 200, "ok", "taken"),
        ("discord", 204, "", "taken"),
        ("slack", 404, "no_service", "gone"),
        ("slack", 403, "action_prohibited", "gone"),
        ("slack", 403, "Forbidden by a proxy", "later"),
        ("slack", 400, "invalid_payload", "refused"),
        ("slack", 400, "channel_not_found", "gone"),
        ("discord", 404, '{"message": "Unknown Webhook", "code": 10015}', "gone"),
        ("discord", 401, '{"message": "Invalid Webhook Token", "code": 50027}', "gone"),
        ("discord", 400, '{"content": ["too long"]}', "refused"),
        ("slack", 302, "", "refused"),
        ("discord", 500, "<html>", "later"),
    ],
)
def test_what_an_answer_means(service_: services.Service, status: int, text: str, result: str) -> None:
    assert judge(service_, status, {}, text, 0).result == result


def test_pauses_follow_what_the_services_ask_for() -> None:
    assert judge("slack", 429, {"Retry-After": "30"}, "", 0).pause_s == 30.0
    assert judge("discord", 429, {"Retry-After": "1"}, '{"retry_after": 64.57}', 0).pause_s == 64.57
    assert judge("slack", 429, {"Retry-After": "soon"}, "", 3).pause_s == services.BACK_OFF_S[3]
    assert judge("discord", 429, {"Retry-After": "1e9"}, "", 0).pause_s == services.MAX_PAUSE_S
    assert [judge("slack", 500, {}, "", tries).pause_s for tries in (0, 2, 99)] == [1.0, 5.0, 60.0]


@pytest.mark.parametrize("status", [429, 503])
def test_the_pause_a_service_asks_for_is_kept_whatever_its_status_and_its_form(status: int) -> None:
    said = {"Date": "Mon, 30 Nov 2026 06:00:00 GMT", "Retry-After": "Mon, 30 Nov 2026 06:01:30 GMT"}
    assert judge("slack", status, said, "", 0).pause_s == 90.0
    assert judge("slack", status, {"Retry-After": "45"}, "", 0).pause_s == 45.0
    for other in ({"Retry-After": said["Retry-After"]}, said | {"Retry-After": said["Date"]}, {"Retry-After": "nan"}):
        assert judge("slack", status, other, "", 2).pause_s == services.BACK_OFF_S[2]
    for text in ('{"retry_after": 1' + "0" * 400 + "}", "[" * 4_000):
        assert judge("discord", status, {}, text, 2).pause_s == services.BACK_OFF_S[2]


# ── conditions ──


def test_a_condition_that_flaps_is_one_trouble() -> None:
    steady, found = Steady({}, NOW), {("", "hub"): Notice("hub", Turn.BEGINS, 30, "no hub")}
    heard = []
    for at_s in range(0, 400, 5):
        is_there = at_s < 200 and at_s % 20 != 15
        heard.append(bool(steady.look(found if is_there else {}, NOW + at_s * S)))
    changes = [k * 5 for k in range(1, len(heard)) if heard[k] != heard[k - 1]]
    assert len(changes) == 2 and changes[0] == 20 and 190 + CALM_NS // S <= changes[1] <= 200 + CALM_NS // S


def test_a_condition_that_comes_and_goes_within_the_hold_is_nobodys_trouble() -> None:
    steady, found = Steady({}, NOW), {("", "hub"): Notice("hub", Turn.BEGINS, 30, "no hub")}
    assert steady.look(found, NOW) == {} and steady.look({}, NOW + HOLD_NS // 2) == {}
    assert steady.look(found, NOW + HOLD_NS + S) == {}


def test_a_trouble_that_stood_when_the_sender_ended_is_not_over_because_it_started(tmp_path: Path) -> None:
    begun = {("", "hub"): Notice("hub", Turn.BEGINS, 30, "no hub")}
    steady = Steady(begun, NOW)
    assert steady.look({}, NOW + S) == begun
    assert steady.look({}, NOW + CALM_NS) == {}


def vitals(*samples: Sample) -> dict[tuple[str, str], str]:
    one = Thresholds()
    for sample in samples:
        one.add(sample)
    return {key: notice.text for key, notice in one.found().items()}


def test_redis_that_is_full_crowded_or_slow_is_said() -> None:
    fine = (10, 0, 5, 100)
    assert vitals(Sample(NOW, fine)) == {}
    assert set(vitals(Sample(NOW, (85, 100, 5, 100)))) == {("", "redis memory")}
    assert set(vitals(Sample(NOW, (10, 100, 80, 100)))) == {("", "redis connections")}
    slow = [Sample(NOW + k * 60 * S, fine, 0.06) for k in range(5)]
    assert "60 ms" in vitals(*slow)["", "redis latency"]
    assert vitals(*slow[:4]) == {}


def test_minutes_acted_on_too_late_are_said_once_there_are_enough_of_them() -> None:
    def of(quick_: int, slow: int, at_s: int) -> Sample:
        return Sample(NOW + at_s * S, pace={"ibs": {10: quick_, 500: slow}})

    assert vitals(of(0, 0, 0), of(200, 1, 3600)) == {}
    assert "up to 500 ms in the last 203 minutes" in vitals(of(50, 0, 0), of(250, 3, 3600))["ibs", "latency"]
    assert vitals(of(0, 0, 0), of(30, 3, 3600)) == {}
    assert vitals(of(900, 9, 0), of(100, 0, 3600)) == {}  # a new trade date


def test_memory_that_grows_by_more_than_a_tenth_an_hour_is_said() -> None:
    def of(mib: float, minute: int) -> Sample:
        return Sample(NOW + minute * 60 * S, memory={"worker ibs": int(mib * 2**20)})

    grown = [of(200 + 0.5 * minute, minute) for minute in range(181)]
    assert "grew from" in vitals(*grown)["", "memory worker ibs"]
    assert vitals(*[of(200 + 0.3 * minute, minute) for minute in range(61)]) == {}
    assert vitals(*grown[:50]) == {}
    assert vitals(*grown, of(120, 182), of(121, 250)) == {}  # restarted
    assert HOUR_NS == 3600 * S


# ── reports, and the command line ──


@pytest.mark.usefixtures("quick")
def test_a_report_is_told_once_to_the_common_channel_and_each_strategy_its_own_part(tmp_path: Path) -> None:
    with service() as common, service() as own:
        one = sender(tmp_path, routes(common, own={"ibs": own}))
        parts = [
            (scope, Notice("report", Turn.NEWS, log.NOTICE, f"daily report\nof {scope or 'all'}"))
            for scope in ("", "ibs", "third")
        ]
        made_ns = time.time_ns()
        post(tmp_path / "reports", Posted(made_ns, parts))
        turns(one, lambda: bool(common.taken and own.taken))
        for _ in range(50):
            one.turn()
        assert [re.sub(r" \[#\w+\]", "", text) for text in common.taken] == ["daily report\nof all"]
        assert [re.sub(r" \[#\w+\]", "", text) for text in own.taken] == ["daily report\nof ibs"]


def test_an_older_ledger_without_an_outbox_is_read_as_one_that_has_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state" / "ibs" / "ledger.sqlite"
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as db:
        db.executescript((GOLDEN / "ledger_v1.sql").read_text())
    sender(tmp_path, routes()).turn()


def test_alerts_are_listed_with_the_messages_that_told_of_them(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from rooney.cli import cli

    book = Book(tmp_path / "book.sqlite")
    book.take("x", 1, [("ibs", order(1), time.time_ns())])
    message, told_ = compose(pending(list(book.troubles.values()), "c", NOW), "c", NOW)
    book.keep(message, told_)
    book.close()
    done = CliRunner(env={"ROONEY_CONTROL_DIRECTORY": str(tmp_path)}).invoke(
        cli, ["alerts", "--known", "--book", str(tmp_path)]
    )
    assert (
        done.exit_code == 1
        and f"STANDS CRIT  ibs: entry ESM6 unconfirmed; it may be live  [#{message.number}]" in done.output
    )
    assert (tmp_path / "known").exists()
    done = CliRunner().invoke(cli, ["alerts", "--json", "--book", str(tmp_path)])
    assert json.loads(done.output)["alerts"][0]["scope"] == "ibs"
