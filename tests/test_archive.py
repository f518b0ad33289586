"""The real historical client against a server that speaks its protocol and misbehaves."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support import until

from rooney import sessions
from rooney.archive import Archive
from rooney.bars import ClosedMinute, MinuteBuilder
from rooney.errors import FeedError, FeedFatalError
from rooney.feed import Feed
from rooney.sessions import HOUR_NS, MINUTE_NS
from rooney.sim.archive import ArchiveServer, Cut, Misbehaviour, Nonsense, Refuse, serving
from rooney.sim.gateway import DEMO_KEY, Gateway, running
from rooney.sim.market import FIRST_SESSION, Market
from rooney.sim.sources import Until

OPEN = sessions.session_open_ns("equity", FIRST_SESSION)
END = OPEN + 3 * HOUR_NS
MARKET = Until(Market(roots=["ES", "6N"], trades_per_minute=100), END)
PRODUCTS = ("ES.FUT", "6N.FUT")


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


class Filled:
    """A builder, and an archive that fills it."""

    def __init__(self, url: str, products: tuple[str, ...] = PRODUCTS, key: str = DEMO_KEY) -> None:
        self.closed: list[ClosedMinute] = []
        self.contracts: list[object] = []
        self.builder = MinuteBuilder(["equity"], OPEN, 50_000_000, self.closed.append, time.time_ns)
        self.archive = Archive(products, key=key, gateway=url)

    def fill(self, until_ns: int = END) -> "Filled":
        self.archive.fill(self.builder, until_ns, self.contracts.append, lambda: False)
        return self

    def minutes(self) -> list[ClosedMinute]:
        return plain(self.closed)


def plain(closed: list[ClosedMinute]) -> list[ClosedMinute]:
    return [
        msgspec.structs.replace(
            minute,
            contracts=sorted(
                (msgspec.structs.replace(part, replayed=False) for part in minute.contracts),
                key=lambda part: part.contract,
            ),
            ts_hub_ns=0,
            repaired=False,
        )
        for minute in closed
        if minute.ts_close <= END
    ]


@pytest.fixture(scope="module")
def live() -> list[ClosedMinute]:
    """The same hours as the live gateway gives them."""
    closed: list[ClosedMinute] = []
    builder = MinuteBuilder(["equity"], OPEN, 50_000_000, closed.append, time.time_ns)
    with running(Gateway(MARKET, until_ns=END + 2_000_000_000)) as gateway:
        feed = Feed(
            builder, PRODUCTS, lambda _: None, pytest.fail, key=DEMO_KEY, gateway="127.0.0.1", port=gateway.port
        )
        feed.start()
        until(lambda: builder.minute_ns >= END)
        feed.stop()
        feed.join(10)
    assert len(plain(closed)) == 180
    return plain(closed)


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


# ── with the feed: what the gateway no longer replays ──


class Healing:
    """A feed whose gateway replays only the last two hours of a market; the archive is asked for all but the last."""

    def __init__(self, port: int, url: str, **options: Any) -> None:
        self.filled = Filled(url)
        self.failures: list[Exception] = []
        limit_s = (time.time_ns() - (END - 2 * HOUR_NS)) / 1e9
        named: dict[str, Any] = {"pauses_s": (0.05,), "dead_s": 2.0} | options
        self.feed = Feed(
            self.filled.builder, PRODUCTS, lambda _: None, self.failures.append, key=DEMO_KEY, gateway="127.0.0.1",
            port=port, archive=self.filled.archive, replay_limit_s=limit_s, **named,
        )  # fmt: skip

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
