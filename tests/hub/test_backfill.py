"""The real historical client against a server that speaks its protocol and misbehaves."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import databento
import msgspec
import numpy as np
import pytest

from rooney.config.schema import Databento
from rooney.errors import FeedError, FeedFatalError
from rooney.hub.backfill import Archive
from rooney.hub.databento import Subscription
from rooney.hub.feed import News
from rooney.hub.process import REPLAY_LIMIT_S
from rooney.market import sessions
from rooney.market.bars import ClosedMinute, MinuteBuilder
from rooney.market.messages import MinuteFlag
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.secrets import Secret
from rooney.sim.characters import FIRST_SESSION
from rooney.sim.databento.gateway import DEMO_KEY
from rooney.sim.databento.sources import Until
from rooney.sim.market import Market
from tests.support.archive_server import ArchiveServer, Cut, Misbehaviour, Nonsense, Refuse, serving
from tests.support.faulty_gateway import FaultyGateway as Gateway
from tests.support.gateway_faults import Close, Fault, Unreachable
from tests.support.gateways import running
from tests.support.hub import hub_thread, new_feed, parents, plain_minutes
from tests.support.private_redis import private_redis
from tests.support.waiting import until

OPEN = sessions.session_open_ns("equity", FIRST_SESSION)
END = OPEN + 3 * HOUR_NS
MARKET = Until(Market(roots=["ES", "6N"], trades_per_minute=100), END)
ROOTS = parents("ES", "6N")
PRODUCTS = tuple(product for _, _, product in ROOTS)


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Starts a server whose certificate the client trusts."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(*script: Misbehaviour) -> ArchiveServer:
            server = stack.enter_context(serving(MARKET, tmp_path, script=script))
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
            return server

        yield start


def archive_at(url: str, products: tuple[str, ...] = PRODUCTS, key: str = DEMO_KEY, **limits: float) -> Archive:
    return Archive(Subscription(Databento(Secret(key), gateway=url), products), **limits)


def failures_into(failures: list[Exception]) -> Callable[[News], None]:
    """What a feed tells, of which only failures are kept."""
    return lambda news: failures.append(news) if isinstance(news, Exception) else None


class Filled:
    """A builder, and an archive that fills it."""

    def __init__(self, url: str, products: tuple[str, ...] = PRODUCTS, key: str = DEMO_KEY, **limits: float) -> None:
        self.closed: list[ClosedMinute] = []
        self.contracts: list[object] = []
        self.builder = MinuteBuilder(["equity"], OPEN, 50_000_000, self.closed.append, time.time_ns)
        self.archive = archive_at(url, products, key, **limits)

    def fill(self, until_ns: int = END) -> "Filled":
        self.archive.fill(self.builder, until_ns, time.time_ns(), self.contracts.append, lambda: False)
        return self

    def minutes(self) -> list[ClosedMinute]:
        return plain_minutes(self.closed, END)


@pytest.fixture(scope="module")
def live() -> list[ClosedMinute]:
    """The same hours as the live gateway gives them."""
    closed: list[ClosedMinute] = []
    builder = MinuteBuilder(["equity"], OPEN, 50_000_000, closed.append, time.time_ns)
    with running(Gateway(MARKET, until_ns=END + 2_000_000_000)) as gateway:
        failures: list[Exception] = []
        feed = new_feed(builder, PRODUCTS, failures_into(failures), gateway.port)
        feed.start()
        until(lambda: builder.minute_ns >= END)
        feed.stop()
        feed.join(10)
    assert not failures
    assert len(plain_minutes(closed, END)) == 180
    return plain_minutes(closed, END)


def test_minutes_from_the_archive_equal_the_live_ones_in_every_field_and_are_marked_repaired(
    serve: Any, live: list[ClosedMinute]
) -> None:
    filled = Filled(serve().url).fill()
    assert filled.minutes() == live
    assert all(minute.repaired and not minute.gap for minute in filled.closed)
    counts = filled.builder.counts
    assert counts["built"] + counts["spread"] == filled.archive.trades == len(np.concatenate(list(MARKET.batches(0))))


def test_the_archive_is_asked_for_an_hour_at_a_time_from_the_open_minute_on(serve: Any) -> None:
    server = serve()
    filled = Filled(server.url)
    filled.builder.complete_until(OPEN + 30 * MINUTE_NS)
    filled.fill(END - 7 * MINUTE_NS)
    asked = [((r.start_ns - OPEN) // MINUTE_NS, (r.end_ns - OPEN) // MINUTE_NS) for r in server.requests]
    assert asked == [(30, 60), (60, 120), (120, 173)]
    assert filled.builder.minute_ns == END - 7 * MINUTE_NS


@pytest.mark.parametrize(
    "trouble",
    [Refuse(500), Refuse(504), Refuse(429), Cut(tell=True), Cut(tell=False), Cut(share=0.0), Nonsense()],
    ids=repr,
)
def test_trouble_that_may_pass_is_a_feed_error_and_the_next_try_goes_on_where_it_broke(
    serve: Any, live: list[ClosedMinute], trouble: Misbehaviour
) -> None:
    server = serve()
    filled = Filled(server.url).fill(OPEN + HOUR_NS)
    server.script.append(trouble)
    with pytest.raises(FeedError) as caught:
        filled.fill()
    assert not isinstance(caught.value, FeedFatalError)
    assert DEMO_KEY not in str(caught.value)
    assert filled.fill().minutes() == live


@pytest.mark.parametrize("status", [401, 403, 422])
def test_a_refusal_that_no_other_try_changes_is_fatal(serve: Any, status: int) -> None:
    with pytest.raises(FeedFatalError, match=str(status)):
        Filled(serve(Refuse(status)).url).fill()


def test_a_wrong_key_is_fatal_and_not_repeated_in_the_error(serve: Any) -> None:
    with pytest.raises(FeedFatalError) as caught:
        Filled(serve().url, key="db-" + "x" * 29).fill()
    assert "xxx" not in str(caught.value)


def test_a_server_that_is_not_there_may_come_back() -> None:
    with pytest.raises(FeedError) as caught:
        Filled("https://127.0.0.1:9").fill()
    assert not isinstance(caught.value, FeedFatalError)


def test_a_continuous_product_is_refused_because_its_records_do_not_name_the_contract(serve: Any) -> None:
    with pytest.raises(FeedFatalError, match="continuous"):
        Filled(serve().url, products=("ES.v.0",)).fill()


def days_old() -> float:
    """Of the market, seen from today."""
    return (time.time_ns() - OPEN) / 86_400e9


def price_usd(server: ArchiveServer) -> float:
    """Of the three hours, asked of the same server by another client."""
    return float(
        databento.Historical(DEMO_KEY, gateway=server.url).metadata.get_cost(
            "GLBX.MDP3", OPEN, END, symbols=list(PRODUCTS), schema="trades", stype_in="parent"
        )
    )


def test_a_gap_within_both_limits_is_healed(serve: Any, live: list[ClosedMinute]) -> None:
    server = serve()
    price = price_usd(server)
    assert price > 0.0
    assert Filled(server.url, limit_days=days_old() + 0.1, limit_usd=price).fill().minutes() == live


def test_a_gap_that_is_too_old_is_refused_naming_its_age_and_nothing_is_bought(serve: Any) -> None:
    server = serve()
    with pytest.raises(FeedFatalError, match=r"begins \d+\.\d days ago, data_hub.heal_limit_days allows 7$"):
        Filled(server.url, limit_days=7.0).fill()
    assert server.requests == []


def test_a_gap_that_is_too_dear_is_refused_naming_its_price_and_nothing_is_bought(serve: Any) -> None:
    server = serve()
    server.usd_per_gib = 1e6
    price = price_usd(server)
    told = f"the gap cost {price:.2f} USD, data_hub.heal_limit_usd allows {price / 2:.2f}"
    with pytest.raises(FeedFatalError, match=re.escape(told)):
        Filled(server.url, limit_usd=price / 2).fill()
    assert server.requests == []


def test_a_price_that_cannot_be_had_now_is_asked_for_again(serve: Any) -> None:
    filled = Filled("https://127.0.0.1:9", limit_usd=1.0)
    with pytest.raises(FeedError, match=r"gave no price of ES\.FUT, 6N\.FUT") as caught:
        filled.fill()
    assert not isinstance(caught.value, FeedFatalError)


# ── with the feed: what the gateway no longer replays ──


def replayed_s(before_end_ns: int) -> float:
    """The gateway's limit that replays so much of the market's end."""
    return (time.time_ns() - (END - before_end_ns)) / 1e9


class Healing:
    """A feed whose gateway replays only the last two hours of a market; the archive is asked for all but the last."""

    def __init__(self, port: int, url: str, limits: dict[str, float] | None = None, **options: Any) -> None:
        self.filled = Filled(url, **(limits or {}))
        self.failures: list[Exception] = []
        named: dict[str, Any] = {"pauses_s": (0.05,), "dead_s": 2.0} | options
        self.feed = new_feed(
            self.filled.builder,
            PRODUCTS,
            failures_into(self.failures),
            port,
            archive=self.filled.archive,
            replay_limit_s=replayed_s(2 * HOUR_NS),
            **named,
        )

    def run(self) -> list[ClosedMinute]:
        self.feed.start()
        until(lambda: self.filled.builder.minute_ns >= END or bool(self.failures))
        self.feed.stop()
        self.feed.join(10)
        assert not self.failures
        return self.filled.minutes()


@pytest.mark.parametrize("script", [(), (Refuse(500), Cut())], ids=["at once", "at the third try"])
def test_a_gap_older_than_the_replay_is_healed_from_the_archive_and_the_rest_from_the_gateway(
    serve: Any, live: list[ClosedMinute], script: tuple[Misbehaviour, ...]
) -> None:
    server = serve(*script)
    with running(Gateway(MARKET, begin_ns=END - 10 * MINUTE_NS, until_ns=END + 2_000_000_000)) as gateway:
        healing = Healing(gateway.port, server.url)
        assert healing.run() == live
    assert not any(minute.gap for minute in healing.filled.closed)
    flags = [minute.repaired for minute in healing.filled.closed if minute.ts_close <= END]
    assert flags == sorted(flags, reverse=True)
    assert 165 <= sum(flags) <= 172
    assert max(request.end_ns for request in server.requests) < END - 59 * MINUTE_NS


@pytest.mark.parametrize(
    ("script", "options"),
    [([Refuse(403)], {}), ([Refuse(500)] * 50, {"gap_limit_s": 0.3})],
    ids=["refused for good", "failing until the limit"],
)
def test_what_the_archive_will_not_give_is_a_gap_and_what_the_gateway_replays_is_not(
    serve: Any, live: list[ClosedMinute], script: list[Misbehaviour], options: dict[str, Any]
) -> None:
    server = serve(*script)
    with running(Gateway(MARKET, begin_ns=END - 10 * MINUTE_NS, until_ns=END + 2_000_000_000)) as gateway:
        healing = Healing(gateway.port, server.url, **options)
        minutes = healing.run()
    assert [minute.ts_close for minute in healing.filled.closed if minute.gap] == [minutes[0].ts_close]
    assert 118 <= len(minutes) <= 120
    assert [msgspec.structs.replace(minute, gap=False) for minute in minutes] == live[-len(minutes) :]


@pytest.mark.parametrize("script", [[], [Close(after=50), Close(after=90)], [Unreachable(after=50, seconds=0.5)]])
def test_a_clock_that_is_ahead_of_the_exchange_buys_nothing_and_makes_no_gap(serve: Any, script: list[Fault]) -> None:
    """This machine's clock is long past the market, which says itself what time it is."""
    server = serve()
    gateway = Gateway(MARKET, speed=1_200, begin_ns=OPEN, until_ns=END, faults=script)
    with running(gateway):
        healing = Healing(gateway.port, server.url, definitions=True)
        healing.feed._replay_limit_s = REPLAY_LIMIT_S
        healing.feed.start()
        until(lambda: healing.filled.builder.minute_ns >= OPEN + HOUR_NS or bool(healing.failures))
        healing.feed.stop()
        healing.feed.join(10)
    assert server.requests == healing.failures == []
    assert healing.feed.gap == ""
    assert not any(minute.gap for minute in healing.filled.closed)


def test_nothing_is_bought_before_the_gateway_has_told_the_time(serve: Any) -> None:
    server = serve()
    healing = Healing(9, server.url, definitions=True)
    healing.feed.start()
    until(lambda: healing.feed._builder.counts["reconnects"] >= 3)
    healing.feed.stop()
    healing.feed.join(10)
    assert server.requests == healing.failures == []


def test_a_failure_that_passed_does_not_count_against_a_later_gap(serve: Any) -> None:
    healing = Healing(9, serve(Refuse(500)).url, gap_limit_s=0.2)
    assert "500" in healing.feed._fill()
    assert healing.feed._fill() == ""
    healed_ns = healing.filled.builder.minute_ns
    assert healed_ns > OPEN
    time.sleep(0.3)
    healing.feed._replay_limit_s = replayed_s(0)
    source = msgspec.structs.replace(healing.filled.archive._subscription.source, api_key=Secret("db-" + "x" * 29))
    healing.filled.archive._subscription = Subscription(source, PRODUCTS)  # refused for good, but by what happens now
    healing.feed._fill()
    assert "401" in healing.feed._archive_refused


def test_a_gap_beyond_the_limits_shows_in_the_hub_s_state_with_its_reason_and_as_one_flagged_minute(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    archive = archive_at(server.url, limit_days=7.0)
    gateway = Gateway(MARKET, speed=3_600, begin_ns=END - 30 * MINUTE_NS, until_ns=END + 30 * MINUTE_NS)
    options: dict[str, Any] = {"archive": archive, "replay_limit_s": replayed_s(2 * HOUR_NS)}
    with private_redis() as redis, running(gateway), hub_thread(redis, gateway, ROOTS, OPEN, **options) as hub:
        hub.wait(END)
        until(lambda: getattr(hub.bus.status(), "state", "") == "gap")
        status = hub.bus.status()
        tape = [minute for _, minute in hub.bus.tape(0)]
    assert server.requests == []
    assert status.detail.startswith("a gap: 2026-03-10T22:00Z to 2026-03-10T23:0")
    assert "data_hub.heal_limit_days allows 7" in status.detail
    assert f"{status.detail}; no entries before the next session" in caplog.text
    assert [bool(minute.quality & MinuteFlag.GAP) for minute in tape] == [True] + [False] * (len(tape) - 1)
