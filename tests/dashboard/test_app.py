"""The dashboard as its clients see it: pages, parts, stream, metrics and health, over real ledgers and a real Redis."""

import hashlib
import http.client
import json
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from rooney.config.schema import StrategyBlock
from rooney.dashboard import charts
from rooney.dashboard.facts import clock
from rooney.dashboard.facts import settings as shown_settings
from rooney.dashboard.query import Query
from rooney.market.sessions import CHICAGO
from rooney.monitor.conditions import Severity, conditions
from rooney.orders.control import Level, set_switch
from rooney.secrets import Secret
from tests.support.command_line import Bench
from tests.support.dashboard import Site, look, standing, two_strategies
from tests.support.minutes import ENTERED, LEAVE
from tests.support.times import chicago
from tests.support.waiting import until
from tests.support.workers import Zygote

Make = Callable[..., Bench]
PAGES = ("/", "/strategy/a", "/strategy/b", "/market", "/orders", "/system", "/compare")


@pytest.fixture(scope="module")
def shown(operate_zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same as `site`, for tests that only read."""
    with standing(operate_zygote, tmp_path_factory.mktemp("site")) as (site, _):
        yield site


@pytest.fixture
def site(bench: Make) -> Site:
    """Two strategies: `a` has closed a trade and holds one more, `b` has an order of unknown fate."""
    return Site(two_strategies(bench)).start()


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links += [value for name, value in attrs if name in ("src", "href", "action") and value]
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        self.inline += [tag] if tag == "style" or (tag == "script" and "src" not in given) else []
        self.ids += [given["id"]] if given.get("id") else []  # type: ignore[list-item]

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def _parsed(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    return page


def test_every_page_is_whole_links_to_nothing_outside_and_carries_no_inline_code(shown: Site) -> None:
    for path in PAGES:
        status, headers, text = shown.get(path)
        page = _parsed(text)
        assert status == 200 and headers["content-type"].startswith("text/html"), path
        assert "default-src 'none'" in headers["content-security-policy"]
        assert page.inline == []
        assert len(page.ids) == len(set(page.ids)), path
        for link in page.links:
            assert link.startswith(("/", "#")) and not link.startswith("//"), link
            if link.startswith("/"):
                assert shown.get(link)[0] == 200, link


@pytest.mark.parametrize(
    ("groups", "chicago_time", "event", "until_time"),
    [
        ("equity grains", "2026-06-03 07:00", "grains pause", "07:45"),
        ("grains", "2026-06-03 07:00", "pauses", "07:45"),
        ("equity grains", "2026-06-03 08:00", "closes", "16:00"),
        ("equity grains", "2026-06-03 13:00", "grains close", "13:20"),
        ("equity fx grains", "2026-06-03 15:00", "closes", "16:00"),
        ("equity", "2026-06-19 11:00", "pauses", "12:00"),  # a holiday: its trade date goes on in the evening
        ("equity grains", "2026-06-06 12:00", "opens", "17:00"),
    ],
)
def test_a_pause_in_mid_session_is_not_called_its_close(
    groups: str, chicago_time: str, event: str, until_time: str
) -> None:
    shown = clock(chicago(chicago_time), groups.split())
    next_text = datetime.fromtimestamp(shown["next"] // 1_000_000_000, CHICAGO).strftime("%H:%M")
    assert (shown["event"], next_text) == (event, until_time)


def test_head_and_rows_of_the_market_say_what_its_session_does_next(shown: Site) -> None:
    text = " ".join(_parsed(shown.get("/market")[2]).text.split())
    assert "session open, closes 21:00" in text
    assert "closes 21:00" in text.partition("Instruments")[2]


def test_the_numbers_of_a_page_are_those_of_the_ledger(shown: Site) -> None:
    reading = shown.bench.read("a")
    assert reading.account is not None and len(reading.trades) == 1
    text = shown.get("/strategy/a")[2]
    values = {
        name: re.sub(r"<[^>]+>", "", html) for name, html in re.findall(r'data-value="(\w+)">(.*?)</(?:b|td)>', text)
    }
    assert values["equity"] == charts.plain(reading.account.equity_usd)
    assert values["day"] == charts.usd(reading.account.day_usd)
    assert values["realized"] == charts.usd(reading.trades[0].pnl_usd)
    held = next(one for one in reading.held if one.side)
    open_usd = held.side * held.quantity * (held.mark - held.entry_price) * 50.0
    assert charts.usd(open_usd) == values["open"] and values["open"] != "0.00"


def test_an_order_of_unknown_fate_is_first_with_its_remedies(shown: Site) -> None:
    text = _parsed(shown.get("/orders")[2]).text
    order = shown.bench.read("b").orders[0]
    assert text.index("Unknown: look at the broker first") < text.index("acknowledged")
    assert f"rooney resolve {order.id} --not-filled" in text and "1 unknown order" in text


def test_filters_of_the_trades_are_links(shown: Site) -> None:
    trade = re.compile(r'data-trade="(\d+)"')
    assert trade.findall(shown.get("/strategy/a?symbol=ES&side=long&reason=rule")[2]) == ["1"]
    assert trade.findall(shown.get("/strategy/a?side=short")[2]) == []


def test_a_page_elsewhere_cannot_read_it_under_its_own_name(shown: Site) -> None:
    for host in ("evil.example", "evil.example:5000", "localhost.evil.example", ""):
        for path in ("/", "/healthz", "/metrics", "/events?page=/", "/parts?page=/"):
            assert shown.get(path, Host=host)[0] == 403, (host, path)
    assert shown.get("/", Host=f"127.0.0.1:{shown.port}")[0] == 200


def test_nothing_can_be_changed(shown: Site) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert shown.get("/", method)[0] == 405, method
    assert shown.get("/", "HEAD")[0] == 200


def test_another_path_is_not_found(shown: Site) -> None:
    for path in (
        "/nowhere",
        "/strategy/zz",
        "/static/../app.py",
        "/static/nothing.js",
        "/events?page=/x",
        "/parts?page=/x",
        "/strategy/a/",
    ):
        assert shown.get(path)[0] == 404, path


def test_healthz_names_what_needs_a_person_and_is_503_then(shown: Site) -> None:
    status, _, text = shown.get("/healthz")
    found = json.loads(text)
    assert status == 503 and found["ok"] is False
    assert any("may be live" in line for line in found["attention"])


def test_healthz_names_what_status_names_and_nothing_else(site: Site) -> None:
    set_switch(site.bench.control, "a", Level.HALT, "ann", "news")
    until(lambda: "switch halt of a" in site.get("/healthz")[2], what=lambda: site.get("/healthz")[2])
    found = conditions(look(site.bench))
    assert site.json("/healthz")["attention"] == [one.text for one in found if one.severity > Severity.NOTE]


# ── the stream ──


class _Listener:
    """A client of the event stream."""

    def __init__(self, site: Site, page: str = "/") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=15)
        self.connection.request("GET", f"/events?page={page}", headers={"Host": "localhost"})
        self.answer = self.connection.getresponse()

    def next(self, kind: str = "parts") -> dict[str, str]:
        """The parts of the next such event."""
        name = ""
        while True:
            line = self.answer.fp.readline().decode().rstrip("\n")
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: ") and name == kind:
                data = json.loads(line.removeprefix("data: "))
                return dict(data["parts"]) if kind == "parts" else {}

    def close(self) -> None:
        self.connection.close()


def test_a_stream_begins_with_everything_and_goes_on_with_what_changed(site: Site) -> None:
    one = _Listener(site, "/strategy/a")
    assert one.answer.getheader("Content-Type", "").startswith("text/event-stream")
    first = one.next()
    assert {"head", "measures", "positions", "trades"} <= set(first)
    site.bench.more(104.5)
    changed: dict[str, str] = {}
    while "positions" not in changed:
        changed |= one.next()
    assert "104.50" in changed["positions"]
    assert "configuration" not in changed
    one.close()


def test_a_quiet_stream_still_beats(shown: Site) -> None:
    one = _Listener(shown, "/compare")
    one.next()
    one.next("beat")
    one.close()


def test_the_same_parts_come_without_a_stream_and_only_when_there_are_new_ones(shown: Site) -> None:
    found = shown.json("/parts?page=/market")
    assert {name for name, _ in found["parts"]} == {"head", "alarms", "market"}
    assert shown.get(f"/parts?page=/market&v={found['version']}")[0] in (200, 204)
    until(lambda: shown.get(f"/parts?page=/market&v={shown.json('/parts?page=/market')['version']}")[0] == 204)


def test_a_client_that_does_not_read_stops_no_other_and_leaves(site: Site) -> None:
    deaf = socket.create_connection(("127.0.0.1", site.port))
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    deaf.sendall(b"GET /events?page=/strategy/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
    one = _Listener(site)
    one.next()
    site.bench.more(104.5)
    one.next()
    one.close()
    deaf.close()


def test_it_ends_at_once_with_streams_open_and_its_port_can_be_taken_again(site: Site) -> None:
    listeners = [_Listener(site) for _ in range(5)]
    for one in listeners:
        one.next()
    began = time.monotonic()
    assert site.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 5
    site.start()
    for one in listeners:
        one.close()


def test_with_redis_gone_pages_stay_and_say_so(bench: Make) -> None:
    from pathlib import Path

    one = bench("a")
    one.begin()
    one.rig.redis_socket = Path(str(one.rig.redis_socket) + ".gone")
    site = Site(one).start()
    text = site.get("/")[2]
    assert "ESM6" in text and "Redis at unix:" in text
    assert 'rooney_up{component="redis",strategy=""} 0' in site.get("/metrics")[2]


# ── metrics ──


def _metrics(site: Site) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    status, headers, text = site.get("/metrics")
    assert status == 200 and headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation and family.name.startswith("rooney_")
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_metrics_are_valid_openmetrics_and_equal_the_ledger(shown: Site) -> None:
    found = _metrics(shown)
    reading = shown.bench.read("a")
    assert reading.account is not None
    mine = ("strategy", "a")
    assert found["rooney_daily_pnl_usd", (mine,)] == reading.account.day_usd
    assert found["rooney_pnl_usd", (("kind", "realized"), mine)] == reading.trades[0].pnl_usd
    assert found["rooney_orders_total", (("outcome", "acknowledged"), ("role", "entry"), mine)] == 2
    assert found["rooney_orders_unconfirmed", (("strategy", "b"),)] == 1
    assert found["rooney_position_contracts", (mine, ("symbol", "ES"))] == 1
    assert found["rooney_heartbeat_timestamp_seconds", (("component", "worker"), mine)] == reading.ts_wall / 1e9
    assert found["rooney_webhook_seconds_count", (mine,)] == 3
    assert found["rooney_tape_timestamp_seconds", ()] == reading.ts_mark / 1e9


def test_counters_never_fall_while_minutes_come(site: Site) -> None:
    before = _metrics(site)
    site.bench.more(LEAVE, 104.0)
    counters = [key for key in before if key[0].endswith(("_total", "_count", "_bucket"))]

    def have_risen() -> bool:  # one look may serve requests for a moment
        after = _metrics(site)
        assert all(after[key] >= before[key] for key in counters)
        return any(after[key] > before[key] for key in counters)

    until(have_risen)


# ── numbers and plots ──


@given(st.floats(-1e9, 1e9), st.integers(0, 4))
def test_money_always_has_its_sign_unless_it_is_nothing(value: float, places: int) -> None:
    text = charts.usd(value, places)
    number = float(text.replace(",", "").replace(charts.MINUS, "-"))
    assert number == pytest.approx(value, abs=0.51 * 10**-places)
    assert text[0] in f"+{charts.MINUS}" or number == 0.0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 10**18), st.floats(-1e6, 1e6)), max_size=900), st.booleans())
def test_a_plot_stays_inside_its_frame_and_loses_no_extreme(points: list[tuple[int, float]], area: bool) -> None:
    points = sorted(points)
    if area:
        points = [(ts, -abs(value)) for ts, value in points]
    svg = str(charts.plot([charts.Curve("x", points)], "label", "utc", 200, area))
    xs = [float(x) for x in re.findall(r"[MH]([\d.]+)", svg)]
    ys = [float(y) for y in re.findall(r"V([\d.-]+)", svg)]
    assert all(0 <= x <= charts.WIDTH for x in xs) and all(-0.1 <= y <= 178.1 for y in ys)
    kept = charts._thin([(float(ts), value) for ts, value in points])
    if points:
        values = [value for _, value in points]
        assert {min(values), max(values)} <= {value for _, value in kept}


@given(st.dictionaries(st.sampled_from([*Query.__struct_fields__, "x"]), st.text(max_size=50)))
def test_whatever_is_asked_a_link_says_the_same_again(given_: dict[str, str]) -> None:
    from urllib.parse import parse_qsl

    query = Query.of(given_)
    again = Query.of(dict(parse_qsl(query.link("/").partition("?")[2])))
    assert again == query
    assert query.zone in charts.ZONES and query.colours in ("classic", "safe")


def test_no_account_is_ever_shown() -> None:
    secret = "https://webhooks.traderspost.io/trading/webhook/0f3b/s3cret"
    block = StrategyBlock(broker_account=Secret(secret), paper_account=Secret("${X}"), instruments=("ES",))
    text = str(shown_settings(block))
    assert "s3cret" not in text and "not shown" in text


def test_names_of_the_market_are_escaped(bench: Make) -> None:
    one = bench("a")
    one.begin(ENTERED[:1])
    one.rooney("halt", "a", "--reason", "<img src=x onerror=alert(1)>", "--yes")
    text = Site(one).start().get("/")[2]
    assert "<img" not in text and "&lt;img src=x" in text


def test_what_a_browser_keeps_has_the_address_of_its_content(shown: Site) -> None:
    for link in re.findall(r'(?:href|src)="(/static/[^"]+)"', shown.get("/")[2]):
        _, headers, text = shown.get(link)
        assert link.endswith(hashlib.sha256(text.encode()).hexdigest()[:12])
        assert "immutable" in headers["cache-control"]
