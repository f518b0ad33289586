"""The local TradersPost answers as the contract says, keeps a paper position, and misbehaves only as declared."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rooney.errors import EXIT_CONFIG, EXIT_OK, ConfigError
from rooney.execution.traderspost import TradersPost
from rooney.orders.intents import State
from rooney.sim.traderspost import Account, Book, check, read_accounts
from tests.support.children import child
from tests.support.waiting import until
from tests.support.webhook_faults import Fault
from tests.support.webhooks import Running, running

IBS = Account("ibs", "11111111-2222-3333-4444-55556666abcd", "pw-one")
BREAKOUT = Account("breakout", "99999999-8888-7777-6666-55554444ef01", "pw-two")
BUY = {"ticker": "ESZ2025", "action": "buy", "quantity": 2, "orderType": "market", "cancel": True}
SELL = BUY | {"action": "sell"}
EXIT = {"ticker": "ESZ2025", "action": "exit", "cancel": True}


def post(url: str, body: bytes | dict[str, Any], method: str = "POST") -> tuple[int, dict[str, Any]]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 0, timeout=5)
    with contextlib.closing(connection):
        connection.request(method, parts.path, body if isinstance(body, bytes) else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def held_becomes(vendor: Running, positions: dict[str, int]) -> None:
    """Wait for the positions of IBS, at most 5 s."""
    end = time.monotonic() + 5
    while (held := vendor.state()["accounts"]["ibs"]["positions"]) != positions and time.monotonic() < end:
        time.sleep(0.01)
    assert held == positions


def planned(book: Book, payload: dict[str, Any], **options: Any) -> tuple[str, int]:
    """Plan and fill; kind and resulting position."""
    effect = book.plan(payload, **options)
    book.fill(payload, effect)
    return effect.kind, book.positions[payload["ticker"]]


# --- answers ---------------------------------------------------------------------------------------------------------


def test_a_good_signal_gets_success_ids_and_its_own_payload_back() -> None:
    with running([IBS]) as vendor:
        status, answer = post(vendor.url("ibs"), BUY)
    assert (status, answer["success"], answer["payload"]) == (200, True, BUY)
    assert len(answer["id"]) == len(answer["logId"]) == 36


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty-json"),
        (b"  ", "empty-json"),
        (b"{", "malformed-json"),
        (b'{"ticker": NaN}', "malformed-json"),
        (b"[" * 60_000, "malformed-json"),
        (b"[]", "invalid-payload"),
    ],
)
def test_bodies_that_are_no_object_are_refused(body: bytes, code: str) -> None:
    with running([IBS]) as vendor:
        status, answer = post(vendor.url("ibs"), body)
    assert (status, answer["success"], answer["messageCode"]) == (400, False, code)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ticker": ""}, "empty-ticker-name"),
        ({"ticker": 5}, "empty-ticker-name"),
        ({"action": None}, "invalid-action"),
        ({"action": "long"}, "invalid-action"),
        ({"action": ["buy"]}, "invalid-action"),
        ({"sentiment": "up"}, "invalid-sentiment"),
        ({"action": "cancel", "sentiment": "flat"}, "invalid-sentiment-action"),
        ({"quantity": 0}, "invalid-quantity"),
        ({"quantity": -1}, "invalid-quantity"),
        ({"quantity": 1.5}, "invalid-quantity"),
        ({"quantity": "1"}, "invalid-quantity"),
        ({"quantity": True}, "invalid-quantity"),
        ({"quantity": float("inf")}, "invalid-quantity"),
        ({"quantityType": "lots"}, "invalid-quantity-type"),
        ({"quantityType": "risk_percent"}, "invalid-quantity-type-for-asset-class"),
        ({"quantityType": "percent_of_position"}, "invalid-percent-of-position-action"),
        ({"quantityType": "fixed_quantity", "quantity": None}, "quantity-type-requires-quantity"),
        ({"orderType": "iceberg"}, "invalid-order-type"),
        ({"orderType": "trailing_stop"}, "invalid-trailing-stop"),
        ({"timeInForce": "forever"}, "invalid-time-in-force"),
        ({"takeProfit": {"amount": 1, "percent": 1}}, "invalid-take-profit-price"),
        ({"stopLoss": {"type": "magic", "stopPrice": 1}}, "invalid-stop-loss-type"),
        ({"stopLoss": {"type": "stop"}}, "invalid-stop-loss-price"),
        ({"signalPrice": "5321"}, "invalid-payload"),
        ({"rejectAfter": 60}, "invalid-payload"),
        ({"cancel": "true"}, "invalid-payload"),
        ({"time": "2025-11-22T12:00:00"}, "invalid-payload"),
    ],
    ids=str,
)
def test_each_wrong_field_has_its_code(change: dict[str, Any], code: str) -> None:
    refusal = check(BUY | change)
    assert refusal is not None
    assert (refusal.status, refusal.code) == (400, code)


def test_bug_4_an_exit_with_sentiment_flat_is_refused() -> None:
    refusal = check(EXIT | {"sentiment": "flat"})
    assert refusal is not None
    assert refusal.code == "invalid-sentiment-action"


@pytest.mark.parametrize(
    "names", [{"symbol": "ESZ2025", "side": "buy"}, {"ticker": "ESZ2025", "event": "buy", "size": 1}]
)
def test_bug_5_wrong_field_names_are_refused(names: dict[str, Any]) -> None:
    assert check(names) is not None


@pytest.mark.parametrize(
    "ticker", ["ES", "ESZ5", "ESZ25", "ES1!", "ES*0", "ES.v.0", "XXZ2025", "esz2025", "ESA2025", "ESZ20255"]
)
def test_bug_14_only_explicit_contracts_of_known_roots_exist(ticker: str) -> None:
    refusal = check(BUY | {"ticker": ticker})
    assert refusal is not None
    assert refusal.code == "ticker-does-not-exist"


def test_unknown_fields_are_ignored_as_the_vendor_ignores_them() -> None:
    assert check(BUY | {"singalPrice": "typing error"}) is None


def test_a_wrong_password_is_a_400() -> None:
    with running([IBS]) as vendor:
        status, answer = post(vendor.url("ibs") + "x", BUY)
    assert (status, answer["messageCode"]) == (400, "invalid-password")


def test_an_unknown_webhook_is_a_404() -> None:
    with running([IBS]) as vendor:
        status, answer = post(f"http://127.0.0.1:{vendor.port}/trading/webhook/{BREAKOUT.uuid}/pw", BUY)
    assert (status, answer["messageCode"]) == (404, "not-found")


def test_another_method_is_refused() -> None:
    with running([IBS]) as vendor:
        status, answer = post(vendor.url("ibs"), b"", method="GET")
    assert (status, answer["messageCode"]) == (400, "post-required")


def test_a_request_that_is_no_http_ends_the_connection_not_the_server() -> None:
    with running([IBS]) as vendor:
        with socket.create_connection(("127.0.0.1", vendor.port)) as connection:
            connection.sendall(b"\x16\x03\x01\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
        assert post(vendor.url("ibs"), BUY)[0] == 200


# --- limits ----------------------------------------------------------------------------------------------------------


def test_the_61st_request_of_a_minute_is_too_many() -> None:
    book = Book()
    assert [book.over_limit(n * 0.9) for n in range(61)] == [False] * 60 + [True]


def test_a_minute_later_there_is_room_again() -> None:
    book = Book()
    for _ in range(70):
        book.over_limit(0.0)
    assert not book.over_limit(60.0)


def test_the_501st_request_of_an_hour_is_too_many() -> None:
    book = Book()
    assert [book.over_limit(n * 7.0) for n in range(501)] == [False] * 500 + [True]


def test_a_replay_switches_the_limit_off() -> None:
    with running([IBS], rate_limit=False) as vendor:
        assert {post(vendor.url("ibs"), EXIT)[0] for _ in range(70)} == {200}


# --- positions -------------------------------------------------------------------------------------------------------


def test_an_entry_opens_and_an_exit_closes_whichever_side_is_open() -> None:
    book = Book()
    assert planned(book, BUY) == ("entry", 2)
    assert planned(book, EXIT) == ("exit", 0)
    assert planned(book, SELL) == ("entry", -2)
    assert planned(book, EXIT) == ("exit", 0)


def test_a_second_entry_on_the_same_side_is_rejected() -> None:
    book = Book()
    planned(book, BUY)
    assert planned(book, BUY) == ("rejected", 2)


def test_an_exit_with_nothing_open_is_rejected_although_http_says_200() -> None:
    with running([IBS]) as vendor:
        assert post(vendor.url("ibs"), EXIT)[0] == 200
        assert vendor.state()["accounts"]["ibs"]["counts"] == {
            "requests": 1,
            "received": 1,
            "refused": 0,
            "faults": 0,
            "orders": 0,
            "entries": 0,
            "exits": 0,
            "reverses": 0,
            "cancels": 0,
            "breakevens": 0,
            "rejected": 1,
        }


def test_an_opposite_entry_only_exits() -> None:
    book = Book()
    planned(book, BUY)
    assert planned(book, SELL | {"quantity": 5}) == ("exit", 0)


def test_sentiment_flat_closes_its_own_side_only() -> None:
    book = Book()
    planned(book, BUY)
    assert planned(book, BUY | {"sentiment": "flat"}) == ("rejected", 2)
    assert planned(book, SELL | {"sentiment": "flat"}) == ("exit", 0)


def test_bug_17_a_quantity_makes_an_exit_partial() -> None:
    book = Book()
    planned(book, BUY)
    assert planned(book, EXIT | {"quantity": 1}) == ("exit", 1)
    assert planned(book, EXIT | {"quantity": 9}) == ("exit", 0)


def test_an_exit_can_be_a_percentage() -> None:
    book = Book()
    planned(book, BUY)
    assert planned(book, EXIT | {"quantityType": "percent_of_position", "quantity": 50}) == ("exit", 1)


def test_bug_11_closing_by_quantity_when_flat_opens_a_short() -> None:
    assert planned(Book(), SELL) == ("entry", -2)


def test_add_adds_to_a_position_and_is_rejected_when_flat() -> None:
    book = Book()
    assert planned(book, BUY | {"action": "add"}) == ("rejected", 0)
    planned(book, SELL)
    assert planned(book, BUY | {"action": "add", "quantity": 1}) == ("entry", -3)


def test_reverse_swaps_sides_whatever_the_settings() -> None:
    book = Book()
    planned(book, BUY)
    assert planned(book, {"ticker": "ESZ2025", "action": "reverse"}) == ("reverse", -2)


def test_bug_12_an_exit_without_cancel_leaves_the_stop_working() -> None:
    book = Book()
    planned(book, BUY | {"stopLoss": {"type": "stop", "stopPrice": 5300.0}})
    planned(book, {"ticker": "ESZ2025", "action": "exit"})
    assert book.shown()["stops"] == {"ESZ2025": 1}
    assert planned(book, EXIT) == ("cancel", 0)
    assert book.shown()["stops"] == {}


def test_an_entry_rejected_for_adding_leaves_the_stop_working() -> None:
    book = Book()
    planned(book, BUY | {"stopLoss": {"type": "stop", "stopPrice": 5300.0}})
    planned(book, BUY)
    assert book.shown()["stops"] == {"ESZ2025": 1}


def test_cancel_clears_orders_and_leaves_the_position() -> None:
    book = Book()
    planned(book, BUY | {"stopLoss": {"type": "stop", "stopPrice": 5300.0}})
    assert planned(book, {"ticker": "ESZ2025", "action": "cancel"}) == ("cancel", 2)
    assert planned(book, {"ticker": "ESZ2025", "action": "cancel"}) == ("rejected", 2)


def test_bug_10_a_test_flag_is_no_dry_run() -> None:
    assert planned(Book(), BUY | {"test": True}) == ("entry", 2)


def test_bug_16_an_entry_older_than_reject_after_is_rejected_where_age_is_checked() -> None:
    late = BUY | {"rejectAfter": 15}
    assert planned(Book(), late, age_s=16.0) == ("rejected", 0)
    assert planned(Book(), late, age_s=14.0) == ("entry", 2)


def test_age_is_measured_from_time_to_arrival() -> None:
    stale = BUY | {"rejectAfter": 15, "time": "2020-01-01T00:00:00.000+00:00"}
    for check_age, orders in ((True, 0), (False, 1)):
        with running([IBS], check_age=check_age) as vendor:
            post(vendor.url("ibs"), stale)
            assert vendor.state()["accounts"]["ibs"]["counts"]["orders"] == orders


def test_accounts_are_apart() -> None:
    with running([IBS, BREAKOUT]) as vendor:
        post(vendor.url("ibs"), BUY)
        post(vendor.url("breakout"), SELL)
        accounts = vendor.state()["accounts"]
    assert (accounts["ibs"]["positions"], accounts["breakout"]["positions"]) == ({"ESZ2025": 2}, {"ESZ2025": -2})


def test_bug_9_two_exits_planned_before_the_first_has_filled_reverse_the_position() -> None:
    """What the settling time is for; an id in extras deduplicates nothing."""
    twice = EXIT | {"extras": {"intent": "same"}}
    with running([IBS], fill_s=0.4) as vendor:
        post(vendor.url("ibs"), BUY)
        held_becomes(vendor, {"ESZ2025": 2})
        post(vendor.url("ibs"), twice)
        post(vendor.url("ibs"), twice)
        held_becomes(vendor, {"ESZ2025": -2})


def test_bug_9_one_entry_sent_twice_is_two_positions() -> None:
    """Why an entry is never repeated: the second is planned before the first has filled."""
    twice = BUY | {"extras": {"intent": "same"}, "orderRef": "same", "signalId": "same"}
    with running([IBS], fill_s=0.4) as vendor:
        post(vendor.url("ibs"), twice)
        post(vendor.url("ibs"), twice)
        held_becomes(vendor, {"ESZ2025": 4})


def test_planning_comes_after_the_answer(tmp_path: Path) -> None:
    log = tmp_path / "webhooks.jsonl"
    with running([IBS], planning_s=0.4, log=log) as vendor:
        assert post(vendor.url("ibs"), BUY)[0] == 200
        assert vendor.state()["accounts"]["ibs"]["positions"] == {}
        held_becomes(vendor, {"ESZ2025": 2})
        post(vendor.url("ibs"), EXIT)
    assert [line["effect"] for line in lines(log)] == ["entry", "unplanned"]


# --- log and state ---------------------------------------------------------------------------------------------------


def test_every_request_is_logged_with_times_account_and_effect_but_no_url(tmp_path: Path) -> None:
    log = tmp_path / "webhooks.jsonl"
    before = time.time_ns()
    with running([IBS], log=log) as vendor:
        post(vendor.url("ibs"), BUY)
        post(vendor.url("ibs"), EXIT | {"sentiment": "flat"})
        post(vendor.url("ibs"), b"{")
        post(f"http://127.0.0.1:{vendor.port}/trading/webhook/other/pw", EXIT)
    entries = lines(log)
    assert [(e["n"], e["account"], e["status"], e["effect"]) for e in entries] == [
        (1, "ibs", 200, "entry"),
        (2, "ibs", 400, "refused"),
        (3, "ibs", 400, "refused"),
        (4, "", 404, "refused"),
    ]
    assert all(before <= e["ts_first_ns"] <= e["ts_read_ns"] <= time.time_ns() for e in entries)
    assert (entries[0]["payload"], entries[0]["position"], entries[1]["code"]) == (BUY, 2, "invalid-sentiment-action")
    assert IBS.password not in log.read_text()
    assert IBS.uuid not in log.read_text()


def test_a_request_is_logged_before_it_is_answered(tmp_path: Path) -> None:
    log = tmp_path / "webhooks.jsonl"
    with running([IBS], log=log) as vendor:
        for n in range(1, 20):
            post(vendor.url("ibs"), EXIT)
            assert len(lines(log)) == n


def test_the_first_byte_has_a_time_of_its_own(tmp_path: Path) -> None:
    log, body = tmp_path / "webhooks.jsonl", json.dumps(EXIT).encode()
    with running([IBS], log=log) as vendor, socket.create_connection(("127.0.0.1", vendor.port)) as connection:
        connection.sendall(b"POST ")
        time.sleep(0.1)
        connection.sendall(f"{IBS.path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        connection.recv(1000)
        (entry,) = lines(log)
    assert entry["ts_read_ns"] - entry["ts_first_ns"] >= 0.09e9


def test_state_over_http_is_the_state_in_process() -> None:
    with running([IBS]) as vendor:
        post(vendor.url("ibs"), BUY)
        status, shown = post(f"http://127.0.0.1:{vendor.port}/state", b"", method="GET")
        assert status == 200
        assert shown["accounts"] == vendor.state()["accounts"]
        assert shown["accounts"]["ibs"]["positions"] == {"ESZ2025": 2}


def test_a_connection_may_be_kept() -> None:
    with running([IBS]) as vendor, contextlib.closing(http.client.HTTPConnection("127.0.0.1", vendor.port)) as kept:
        for _ in range(3):
            kept.request("POST", IBS.path, json.dumps(EXIT))
            answer = kept.getresponse()
            answer.read()
            assert (answer.status, answer.will_close) == (200, False)


# --- faults ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def faulty(fault: Fault, **options: float) -> Iterator[tuple[TradersPost, Running]]:
    with running([IBS], faults=[fault]) as vendor:
        yield TradersPost(vendor.url("ibs"), **options), vendor  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fault", "state", "orders"),
    [
        (Fault("delay", at=(1,), seconds=0.1), State.ACKNOWLEDGED, 1),
        (Fault("reset", at=(1,)), State.UNCONFIRMED, 1),
        (Fault("reset", at=(1,), bytes=40), State.UNCONFIRMED, 1),
        (Fault("close", at=(1,)), State.UNCONFIRMED, 1),
        (Fault("close", at=(1,), booked=False), State.UNCONFIRMED, 0),
        (Fault("half", at=(1,)), State.UNCONFIRMED, 1),
        (Fault("half", at=(1,), booked=False), State.UNCONFIRMED, 0),
        (Fault("html500", at=(1,)), State.UNCONFIRMED, 0),
        (Fault("html500", at=(1,), booked=True), State.UNCONFIRMED, 1),
        (Fault("limited", at=(1,)), State.REFUSED, 0),
        (Fault("no_id", at=(1,)), State.UNCONFIRMED, 1),
        (Fault("redirect", at=(1,)), State.REFUSED, 0),
        (Fault("slow", at=(1,), seconds=0.05), State.UNCONFIRMED, 1),
        (Fault("slow", at=(1,), seconds=0.0), State.ACKNOWLEDGED, 1),
        (Fault("hang", at=(1,)), State.UNCONFIRMED, 1),
        (Fault("hang", at=(1,), booked=False), State.UNCONFIRMED, 0),
    ],
    ids=lambda value: f"{value.do}-{value.booked}-{value.bytes}-{value.seconds}" if isinstance(value, Fault) else "",
)
def test_each_fault_is_what_it_says_and_only_once(fault: Fault, state: State, orders: int) -> None:
    with faulty(fault, total_s=0.4 if fault.do in ("hang", "slow") and state is State.UNCONFIRMED else 5) as (
        client,
        vendor,
    ):
        assert client.send(BUY).state is state
        assert vendor.state()["accounts"]["ibs"]["counts"]["orders"] == orders
        assert client.send(EXIT).state is State.ACKNOWLEDGED


def test_every_nth_request_can_be_faulty() -> None:
    with faulty(Fault("html500", every=3)) as (client, _):
        assert [client.send(EXIT).status for _ in range(6)] == [200, 200, 500, 200, 200, 500]


def test_a_fault_can_be_for_one_account_by_its_own_count() -> None:
    fault = Fault("limited", at=(2,), account="breakout")
    with running([IBS, BREAKOUT], faults=[fault]) as vendor:
        order = ["ibs", "ibs", "breakout", "ibs", "breakout", "breakout"]
        assert [post(vendor.url(name), EXIT)[0] for name in order] == [200, 200, 200, 200, 429, 200]


def test_a_fault_is_named_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "webhooks.jsonl"
    with running([IBS], log=log, faults=[Fault("hang", at=(1,)), Fault("html500", at=(2,))]) as vendor:
        client = TradersPost(vendor.url("ibs"), total_s=0.2)
        client.send(BUY)
        client.send(BUY)
    seen = [(e["fault"], e["status"], e["effect"]) for e in lines(log)]
    assert seen == [("hang", 0, "entry"), ("html500", 500, "none")]


def test_a_fault_for_an_account_nobody_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="nobody"), running([IBS], faults=[Fault("hang", account="nobody")]):
        pass


def test_a_handshake_or_a_name_that_fails_reaches_no_book(certificate: Any) -> None:
    cert, context = certificate
    with running([IBS], tls=context, faults=[Fault("html500", at=(2,))]) as vendor:
        assert TradersPost(vendor.url("ibs")).send(BUY).state is State.PLANNED  # a certificate it does not trust
        assert TradersPost(vendor.url("ibs", "nowhere.invalid")).send(BUY).state is State.PLANNED
        assert vendor.state()["requests"] == 0
        client = TradersPost(vendor.url("ibs"), ca_file=str(cert))
        assert [client.send(BUY).state for _ in range(2)] == [State.ACKNOWLEDGED, State.UNCONFIRMED]
        assert vendor.state()["accounts"]["ibs"]["positions"] == {"ESZ2025": 2}


# --- process ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "ibs", "ibs=u", "ibs=u/", "ibs=u/p,", "ibs=u/p/q"])
def test_accounts_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="NAME=UUID/PASSWORD"):
        read_accounts(text)


def test_as_a_process_it_says_its_port_and_ends_cleanly_on_sigterm(tmp_path: Path) -> None:
    ready, log, faults = tmp_path / "port", tmp_path / "webhooks.jsonl", tmp_path / "faults.json"
    faults.write_text('[{"do": "html500", "at": [2]}]')
    command = [sys.executable, "-m", "tests.support.faulty_webhook", "--ready-file", str(ready), "--log", str(log)]
    accounts = f"ibs={IBS.uuid}/{IBS.password},breakout={BREAKOUT.uuid}/{BREAKOUT.password}"
    options = ["--accounts", accounts, "--faults", str(faults), "--no-rate-limit"]
    with child([*command, *options]) as process:
        until(ready.exists)
        url = f"http://127.0.0.1:{int(ready.read_text())}{BREAKOUT.path}"
        assert [TradersPost(url).send(BUY).status for _ in range(2)] == [200, 500]
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=5) == EXIT_OK
    assert [line["account"] for line in lines(log)] == ["breakout", "breakout"]


def test_a_fault_script_that_cannot_be_read_ends_with_78(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('[{"do": "explode"}]')
    command = [sys.executable, "-m", "tests.support.faulty_webhook", "--accounts", "a=b/c", "--faults", str(faults)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == EXIT_CONFIG
    assert "explode" in ended.stderr
