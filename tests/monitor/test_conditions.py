"""What needs a person, what is said of it, and where: watch, alerts, report, /healthz."""

import contextlib
import json
import logging
import math
import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooney.alerts import on_failure as alert
from rooney.errors import EXIT_ATTENTION, EXIT_OK, LedgerError
from rooney.files import MIB
from rooney.ledger.reader import Day, opened, read_day
from rooney.ledger.records import Account
from rooney.ledger.schema import create
from rooney.ledger.snapshot import LedgerView, Snapshot
from rooney.ledger.writer import Ledger
from rooney.market.messages import HubStatus
from rooney.monitor import watch
from rooney.monitor.conditions import Seen, attention, sender
from rooney.monitor.heartbeat import Beat
from rooney.orders.intents import Event, Role, Side, State
from rooney.orders.lifecycle import Order
from rooney.orders.notices import Notice, Turn
from rooney.performance import period as summary
from rooney.secrets import Secret
from tests.support.full_disk import fill, mounted
from tests.support.paths import ROOT
from tests.support.times import chicago

NOW = chicago("2026-03-11 10:00")
S = 1_000_000_000


def seen(**changes: Any) -> Seen:
    """Everything as it should be, but for `changes` of the hub's status or of what was seen."""
    hub: dict[str, Any] = {"state": "live", "ts_ns": NOW - S, "ts_tape": NOW, "ts_last_record": NOW - S, "detail": ""}
    hub |= {key: changes.pop(key) for key in list(changes) if key in hub}
    status = HubStatus(**hub, sessions=1, pending_minutes=0, counts={}, fronts={})
    found: dict[str, Any] = {"redis": "", "hub": status, "ledgers": {"ibs": record()}, "groups": frozenset({"equity"})}
    return Seen(**(found | changes))


def record(
    *, halted: bool = False, day_pnl_usd: float = 0.0, unconfirmed: tuple[str, ...] = (), **changes: Any
) -> Snapshot:
    account = Account(1.0, 1.0 + day_pnl_usd, math.nan, 1.0, halted, False, 0)
    fate = Event(1, "", State.UNCONFIRMED, NOW, NOW, 0, "")
    orders = tuple(
        Order(
            id_, "ibs", "paper", "ES", "ESM6", "ESM2026", Role.ENTRY, Side.LONG, 1, "rule", 1.0, NOW, 1, events=(fate,)
        )
        for id_ in unconfirmed
    )
    usual: dict[str, Any] = {"ts_mark": NOW, "ts_wall": NOW, "account": account, "orders": orders}
    return Snapshot(path=Path("ledger.sqlite"), name="ibs", **(usual | changes))


def test_nothing_is_said_of_a_system_that_is_as_it_should_be() -> None:
    assert attention(seen(), NOW) == {}


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"redis": "Redis at x: ping: refused"}, "redis", "Redis at x"),
        ({"hub": None}, "hub", "no new bars"),
        ({"ts_ns": NOW - 11 * S}, "hub", "said nothing for 11 s"),
        ({"state": "feed dead"}, "feed", "feed dead"),
        ({"state": "gap", "detail": "a gap: too old"}, "feed", "the hub says: gap: a gap: too old"),
        ({"ts_last_record": NOW + 3 * S}, "clock", "3.0 s ahead"),
        ({"ts_last_record": NOW + 3 * S, "state": "clock behind"}, "clock", "3.0 s ahead"),
        ({"state": "clock behind", "detail": "its clock is 9 s behind"}, "feed", "the hub says: clock behind: its"),
        ({"ts_tape": NOW - 151 * S}, "tape", "151 s old"),
        ({"ledgers": {"ibs": record(halted=True, day_pnl_usd=-2501.0)}}, "halted ibs", "-2501.00 USD"),
        ({"ledgers": {"ibs": record(ts_mark=NOW - 121 * S)}}, "late ibs", "121 s behind"),
        ({"ledgers": {"ibs": record(unconfirmed=("ab",))}}, "unconfirmed ibs ab", "may be live"),
        ({"ledgers": {"ibs": LedgerError("torn")}}, "ledger ibs", "torn"),
    ],
)
def test_each_trouble_is_named(changes: dict[str, Any], kind: str, words: str) -> None:
    found = attention(seen(**changes), NOW)
    assert list(found) == [kind]
    assert words in found[kind].text


@pytest.mark.parametrize("changes", [{"state": "feed dead"}, {"ts_tape": NOW - 3 * 86_400 * S}])
def test_outside_the_session_a_quiet_feed_is_as_it_should_be(changes: dict[str, Any]) -> None:
    saturday = chicago("2026-03-14 12:00")
    one = seen(ts_ns=saturday, ts_last_record=saturday, **({"ts_tape": NOW} | changes))
    assert attention(one, saturday) == {}


def test_an_unconfirmed_order_is_told_with_redis_away_too_and_first() -> None:
    found = attention(seen(redis="away", ledgers={"ibs": record(unconfirmed=("ab",))}), NOW)
    assert list(found) == ["unconfirmed ibs ab", "redis"]


@given(st.lists(st.tuples(st.integers(0, 86_400), st.sets(st.sampled_from("abc"))), max_size=30))
def test_a_trouble_is_told_when_it_begins_and_every_four_hours(looks: list[tuple[int, set[str]]]) -> None:
    said: dict[str, int] = {}
    told: dict[str, int] = {}
    for at_s, kinds in sorted(looks, key=lambda look: look[0]):
        now = NOW + at_s * S
        fresh, said = watch.news(dict.fromkeys(kinds, "line"), said, now)
        told = {kind: when for kind, when in told.items() if kind in kinds}
        assert set(fresh) == {kind for kind in kinds if kind not in told or now - told[kind] >= watch.REPEAT_NS}
        told |= dict.fromkeys(fresh, now)


@pytest.mark.parametrize(
    ("beat", "kinds"),
    [
        (None, ["hub"]),
        (Beat(NOW - 5 * S, {}), []),
        (Beat(NOW - 61 * S, {}), ["alert sender", "hub"]),
        (Beat(NOW - 5 * S, {"slack of ibs": "answered 404 no_service"}), ["alert channel", "hub"]),
    ],
)
def test_beside_an_alert_sender_the_watch_looks_after_the_sender(beat: Beat | None, kinds: list[str]) -> None:
    assert list(sender({"hub": "no hub"}, beat, NOW)) == kinds


def test_what_was_said_survives_and_a_torn_file_is_rather_said_again(tmp_path: Path) -> None:
    path = tmp_path / "said.json"
    assert watch.read_said(path) == {}
    watch.write_said(path, {"hub": 5})
    assert watch.read_said(path) == {"hub": 5}
    path.write_bytes(b'{"hub": ')
    assert watch.read_said(path) == {}


# ── ledgers ──


def test_a_ledger_is_read_while_it_is_written_and_after_a_clean_close_without_write_access(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    assert LedgerView(path).look() is None
    ledger = Ledger(path, "ibs")
    assert LedgerView(path).look() == Snapshot(path=path, name="ibs")
    ledger.close()
    before = sorted(file.name for file in tmp_path.iterdir())
    assert LedgerView(path).look() == Snapshot(path=path, name="ibs")
    assert sorted(file.name for file in tmp_path.iterdir()) == before


def test_a_file_that_is_no_ledger_is_said_to_be_unreadable(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(LedgerError, match="cannot be read"):
        LedgerView(tmp_path / "ledger.sqlite").look()


def test_a_file_of_another_program_is_refused_by_name_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE strategy (name)")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"of another program .*left untouched"):
        LedgerView(path).look()
    assert path.read_bytes() == before


def test_all_that_is_read_of_a_ledger_is_of_one_moment(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path, "ibs")
    with opened(path) as ask:
        ledger.tell(Notice("x", Turn.NEWS, logging.INFO, "later"), 1)
        assert ask.rows("SELECT count(*) FROM notice") == [(0,)]
    with opened(path) as ask:
        assert ask.rows("SELECT count(*) FROM notice") == [(1,)]
    ledger.close()


def test_a_day_counts_orders_and_trades_of_its_span_only(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    create(path, "s")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for n, (mark, state, pnl) in enumerate([(9, "dropped", 7.0), (10, "acknowledged", 5.0), (19, "refused", -2.0)]):
            db.execute(f"INSERT INTO intent VALUES ('{n}','s','paper','ES','ESM6','ES',1,1,1,'x',1.0,{mark},{n},0)")
            db.execute(f"INSERT INTO event VALUES ({n},'{n}','{state}',0,0,0,'','',0,'','')")
            db.execute(f"INSERT INTO trade VALUES ({n},{mark},'ES','ESM6',1,1,0,0,0,0,'x',{pnl},1.0,1,NULL)")
    assert read_day(path, 10, 20) == Day({"acknowledged": 1, "refused": 1}, 2, 1, 3.0, 2.0)


@pytest.mark.parametrize(
    ("at", "day"),
    [
        ("2026-03-11 15:59", date(2026, 3, 10)),
        ("2026-03-11 16:00", date(2026, 3, 11)),
        ("2026-03-11 17:30", date(2026, 3, 11)),
        ("2026-03-14 12:00", date(2026, 3, 13)),
        ("2026-03-16 09:00", date(2026, 3, 13)),
    ],
)
def test_a_report_is_about_the_last_trade_date_that_ended(at: str, day: date) -> None:
    assert summary.last_ended(chicago(at)) == day


def test_a_trade_date_lasts_from_1700_to_1700_also_when_the_clocks_change() -> None:
    begin, end = summary.span(date(2026, 3, 9))
    assert (begin, end) == (chicago("2026-03-08 17:00"), chicago("2026-03-09 17:00"))
    begin, end = summary.span(date(2026, 3, 8))
    assert end - begin == 23 * 3600 * S


# ── alerts ──

MONITOR = {"MONITOR_SERVICE_RESULT": "exit-code", "MONITOR_EXIT_CODE": "exited", "MONITOR_EXIT_STATUS": "78"}


def test_the_first_line_of_an_alert_says_who_what_and_what_to_do() -> None:
    first, *rest = alert.compose("rooney-worker@ibs", MONITOR, ["last words"], "box").splitlines()
    assert first == (
        "box: rooney-worker@ibs failed: exit-code (exited 78): wrong configuration, it stays down. "
        "Look: journalctl -u rooney-worker@ibs -n 50"
    )
    assert rest == ["last words"]


@given(st.lists(st.text(max_size=400), max_size=40))
def test_an_alert_is_never_longer_than_discord_takes_and_keeps_its_first_line(tail: list[str]) -> None:
    text = alert.compose("rooney-hub", MONITOR, tail, "box")
    assert len(text) <= 2_000
    assert text.startswith("box: rooney-hub failed")


def test_an_alert_holds_no_webhook_and_no_key() -> None:
    tail = ["https://webhooks.traderspost.io/trading/webhook/0f3b/s3cret", "db-" + "a" * 29]
    text = alert.compose("rooney-hub", MONITOR, tail, "box")
    assert "s3cret" not in text and "aaaa" not in text


def test_nothing_in_a_text_can_ping_or_link_anybody() -> None:
    assert alert.body("slack", "<!channel> & <http://x|y>")["text"] == "&lt;!channel&gt; &amp; &lt;http://x|y&gt;"
    assert alert.body("discord", "@everyone")["allowed_mentions"] == {"parse": []}


@pytest.fixture
def answers() -> Iterator[tuple[int, list[bytes], list[int]]]:
    """A webhook's port, what it got, and what it answers next."""
    got: list[bytes] = []
    codes: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(codes.pop(0) if codes else 200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], got, codes
        server.shutdown()
        thread.join()


def test_an_alert_is_posted_where_a_credential_leads(
    answers: tuple[int, list[bytes], list[int]], tmp_path: Path
) -> None:
    port, got, codes = answers
    (tmp_path / "alert_discord").write_text(f"http://127.0.0.1:{port}/hook\n")
    environ = MONITOR | {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert alert.run("rooney-hub", environ, "box") == 0
    assert "rooney-hub failed" in json.loads(got[0])["content"]
    codes.append(404)
    assert alert.run("rooney-hub", environ, "box") == 1


def test_why_an_alert_was_not_taken_never_quotes_its_address() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/s3cret", "s3cret", "http://s3cret invalid/", "http://[s3cret"):
        why = alert.post(Secret(url), {})
        assert why and "s3cret" not in why


def test_watch_says_a_trouble_once_on_a_disk_that_is_full(tmp_path: Path) -> None:
    unit = (ROOT / "systemd" / "rooney-watch.service").read_text().splitlines()
    config = tmp_path / "config.yml"
    config.write_text(f"data_hub: {{redis_socket: {tmp_path / 'none'}}}\ninstruments: {{ES: {{}}}}\nstrategies: {{}}\n")
    with mounted(tmp_path / "disk", MIB) as place:
        (tmp_path / "run").mkdir()
        env = {"STATE_DIRECTORY": str(place)} if "StateDirectory=rooney-watch" in unit else {}
        env |= {"RUNTIME_DIRECTORY": str(tmp_path / "run")} if "RuntimeDirectory=rooney-watch" in unit else {}
        fill(place)
        command = [sys.executable, "-m", "rooney", "watch", "--config", str(config)]
        codes = [subprocess.run(command, cwd=ROOT, env=os.environ | env, check=False).returncode for _ in range(2)]
    assert codes == [EXIT_ATTENTION, EXIT_OK]
