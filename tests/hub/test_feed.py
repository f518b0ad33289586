"""The supervisor around the real databento.Live client, against the local gateway and what goes wrong there."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from datetime import date
from typing import Any

import databento_dbn as dbn
import numpy as np
import pytest
from databento.live import session as client_session

from rooney.errors import FeedFatalError
from rooney.hub import feed
from rooney.hub.databento import stype_of
from rooney.hub.feed import News
from rooney.hub.receiver import Session
from rooney.market import sessions
from rooney.market.bars import ClosedMinute, MinuteBuilder
from rooney.market.instruments import Contract
from rooney.market.sessions import MINUTE_NS
from rooney.sim.characters import FIRST_SESSION
from rooney.sim.databento import wire
from rooney.sim.databento.gateway import DEMO_KEY
from rooney.sim.databento.sources import Instrument, Recorded, Source, Until
from rooney.sim.databento.wire import empty_trades
from rooney.sim.market import Market
from tests.support import gateway_faults as faults
from tests.support.faulty_gateway import FaultyGateway as Gateway
from tests.support.gateways import running
from tests.support.hub import new_feed, plain_minutes
from tests.support.private_redis import free_port
from tests.support.waiting import until

SECOND = 1_000_000_000
OPEN = sessions.session_open_ns("equity", FIRST_SESSION)
END = OPEN + 120 * MINUTE_NS
MARKET = Until(Market(roots=["ES", "6N"], trades_per_minute=100), END)
TRADES = np.concatenate(list(MARKET.batches(0)))
TRADE_COUNTS = ("built", "spread", "unknown_instrument", "late", "replayed", "absurd_price", "bad_clock", "reread")


class Rig:
    """A feed and its builder; the minutes that closed, the contracts heard of, the failures."""

    def __init__(
        self,
        port: int,
        *,
        products: tuple[str, ...] = ("ES.FUT", "6N.FUT"),
        start_ns: int = OPEN,
        key: str = DEMO_KEY,
        **options: Any,
    ) -> None:
        self.closed: list[ClosedMinute] = []
        self.contracts: list[Contract] = []
        self.failures: list[Exception] = []
        self.builder = MinuteBuilder(["equity"], start_ns, 50_000_000, self.closed.append, time.time_ns)
        named: dict[str, Any] = {"pauses_s": (0.02,), "dead_s": 2.0} | options
        self.feed = new_feed(self.builder, products, self._hear, port, key=key, **named)

    def _hear(self, news: News) -> None:
        if isinstance(news, Exception):
            self.failures.append(news)
        elif isinstance(news, Contract):
            self.contracts.append(news)

    def wait(self, end_ns: int = END, timeout_s: float = 30.0) -> None:
        until(lambda: self.builder.minute_ns >= end_ns or bool(self.failures), timeout_s, lambda: self.builder.counts)
        assert not self.failures

    def minutes(self, end_ns: int = END) -> list[ClosedMinute]:
        """What was built."""
        return plain_minutes(self.closed, end_ns)

    def stop(self) -> None:
        self.feed.stop()
        if self.feed.is_alive():
            self.feed.join(10)
        assert not self.feed.is_alive()


@contextlib.contextmanager
def rig(port: int, **options: Any) -> Iterator[Rig]:
    made = Rig(port, **options)
    made.feed.start()
    try:
        yield made
    finally:
        made.stop()
        if not made.failures:
            accounted = sum(made.builder.counts[name] for name in TRADE_COUNTS) + made.builder.pending()
            assert accounted == made.feed.trades


def serve(source: Source = MARKET, **options: Any) -> Any:
    return running(Gateway(source, until_ns=END + 2 * SECOND, **options))


@contextlib.contextmanager
def rig_of(gateway: Gateway, **options: Any) -> Iterator[Rig]:
    """Once the gateway runs and has its port."""
    with rig(gateway.port, **options) as made:
        yield made


PAUSES = (0.01, 0.02, 0.04)


def pauses(caplog: pytest.LogCaptureFixture) -> list[object]:
    return [
        r.args[1]
        for r in caplog.records
        if r.name == "rooney.hub.feed" and isinstance(r.args, tuple) and len(r.args) > 1
    ]


@pytest.fixture(scope="module")
def undisturbed() -> list[ClosedMinute]:
    with serve() as gateway, rig(gateway.port) as made:
        made.wait()
    assert len(made.minutes()) == 120
    assert made.feed.sessions == 1
    return made.minutes()


@pytest.mark.parametrize(
    ("product", "stype"),
    [("ES.FUT", "parent"), ("ES.v.0", "continuous"), ("6A.c.1", "continuous"), ("ESZ5", "raw_symbol")],
)
def test_a_product_id_tells_how_it_is_subscribed(product: str, stype: str) -> None:
    assert stype_of(product) == stype


def test_an_undisturbed_run_repairs_nothing(undisturbed: list[ClosedMinute]) -> None:
    with serve() as gateway, rig(gateway.port) as made:
        made.wait()
        assert made.feed.alive()
    assert made.minutes() == undisturbed
    assert not any(minute.repaired or minute.gap for minute in made.closed)
    assert made.builder.counts["built"] + made.builder.counts["spread"] == len(TRADES)


# ── what can never work ──


def test_a_wrong_key_is_fatal_at_once() -> None:
    with serve() as gateway, rig(gateway.port, key="db-" + "x" * 29) as made:
        until(lambda: bool(made.failures))
        made.feed.join(5)
        assert not made.feed.is_alive()
    (failure,) = made.failures
    assert isinstance(failure, FeedFatalError)
    assert len(gateway.sessions) == 1


@pytest.mark.parametrize("code", ["auth_failed", "api_key_deactivated"])
def test_an_account_that_is_refused_in_mid_session_is_fatal(code: str) -> None:
    script = [faults.ErrorThenClose(after=50, code=code, text="no")]
    with serve(faults=script) as gateway, rig(gateway.port) as made:
        until(lambda: bool(made.failures))
    assert isinstance(made.failures[0], FeedFatalError)


# ── what may pass ──


@pytest.mark.parametrize("text", ["User has reached their open connection limit", "Internal error"])
def test_a_refusal_that_may_pass_is_tried_again(text: str, undisturbed: list[ClosedMinute]) -> None:
    script = [faults.RefuseAuth(error=text), faults.RefuseAuth(error=text)]
    with serve(faults=script) as gateway, rig(gateway.port) as made:
        made.wait()
    assert made.minutes() == undisturbed
    assert made.builder.counts["reconnects"] == 2


def test_a_gateway_that_is_not_there_is_tried_again_after_growing_pauses(
    caplog: pytest.LogCaptureFixture, undisturbed: list[ClosedMinute]
) -> None:
    port = free_port()
    with caplog.at_level(logging.WARNING, "rooney.hub.feed"), rig(port, pauses_s=PAUSES) as made:
        until(lambda: made.builder.counts["reconnects"] >= 5)
        assert made.feed.state == "reconnecting"
        with serve(port=port):
            made.wait()
    assert pauses(caplog)[:4] == [0.01, 0.02, 0.04, 0.04]
    assert made.minutes() == undisturbed


def test_the_pause_is_short_again_after_a_session_that_brought_something(caplog: pytest.LogCaptureFixture) -> None:
    script = [faults.RefuseAuth("later"), faults.RefuseAuth("later"), faults.Close(after=10), faults.Close(after=20)]
    gateway = Gateway(MARKET, until_ns=END + 2 * SECOND, faults=script)
    with (
        caplog.at_level(logging.WARNING, "rooney.hub.feed"),
        running(gateway),
        rig_of(gateway, pauses_s=PAUSES) as made,
    ):
        made.wait()
    assert pauses(caplog) == [0.01, 0.02, 0.01, 0.01]


def test_a_gateway_that_says_nothing_after_the_login_is_left(undisturbed: list[ClosedMinute]) -> None:
    with serve(faults=[faults.HangAfterAuth()]) as gateway, rig(gateway.port, dead_s=0.3) as made:
        made.wait()
    assert made.minutes() == undisturbed
    assert made.builder.counts["reconnects"] >= 1


def test_a_gateway_that_says_nothing_before_the_login_is_left(
    monkeypatch: pytest.MonkeyPatch, undisturbed: list[ClosedMinute]
) -> None:
    monkeypatch.setattr(client_session, "AUTH_TIMEOUT_SECONDS", 0.3)
    with serve(faults=[faults.HangBeforeAuth()]) as gateway, rig(gateway.port) as made:
        made.wait()
    assert made.minutes() == undisturbed


def test_stopping_does_not_wait_for_a_gateway_that_hangs() -> None:
    with serve(faults=[faults.HangBeforeAuth()]) as gateway:
        made = Rig(gateway.port)
        made.feed.start()
        until(lambda: len(gateway.sessions) == 1)
        began = time.monotonic()
        made.feed.stop()
        assert time.monotonic() - began < 0.2


FAULTS: dict[str, list[faults.Fault]] = {
    "FIN": [faults.Close(after=300)],
    "RST": [faults.Reset(after=300)],
    "FIN, RST and FIN again": [faults.Close(after=100), faults.Reset(after=50), faults.Close(after=400)],
    "before the first trade": [faults.Close(after=0), faults.Reset(after=0)],
    "silence": [faults.Silence(after=300)],
    "undecodable bytes": [faults.Garbage(after=300)],
    "an error and FIN": [faults.ErrorThenClose(after=300)],
    "unreachable for a while": [faults.Unreachable(after=300, seconds=0.5)],
}


@pytest.mark.parametrize("script", FAULTS.values(), ids=FAULTS)
def test_after_any_end_of_a_session_the_minutes_are_those_of_an_undisturbed_run(
    script: list[faults.Fault], undisturbed: list[ClosedMinute]
) -> None:
    with serve(faults=script) as gateway, rig(gateway.port, dead_s=0.5) as made:
        made.wait()
    assert made.minutes() == undisturbed
    assert made.builder.counts["reconnects"] >= len(script) == gateway.stats()["total"]["faults"]
    assert made.builder.counts["late"] == 0


def test_a_dead_feed_is_seen_after_dead_s_and_alive_when_records_come_again() -> None:
    with serve(faults=[faults.Silence(after=300)]) as gateway, rig(gateway.port, dead_s=0.5, pauses_s=(0.3,)) as made:
        until(lambda: gateway.stats()["total"]["faults"] == 1)
        began = time.monotonic()
        until(lambda: not made.feed.alive())
        assert time.monotonic() - began < 1.0
        until(made.feed.alive)
        made.wait()


def test_only_minutes_that_were_missed_are_repaired() -> None:
    """A market at 600 times its pace, half a second of which (5 minutes) is missed."""
    strike = OPEN + 20 * MINUTE_NS
    script = [faults.Unreachable(at_ns=strike, seconds=0.5)]
    with serve(speed=600, begin_ns=OPEN, faults=script) as gateway, rig(gateway.port) as made:
        made.wait(OPEN + 40 * MINUTE_NS)
    repaired = [(minute.ts_close - strike) // MINUTE_NS for minute in made.closed if minute.repaired]
    assert repaired == list(range(repaired[0], repaired[-1] + 1))  # one stretch
    assert repaired[0] in (0, 1)
    assert 4 <= len(repaired) <= 12


# ── records that are wrong ──


def test_records_no_one_can_use_are_counted_and_change_no_minute(undisturbed: list[ClosedMinute]) -> None:
    script: list[faults.Fault] = [
        faults.UnknownIds(after=100, count=3),
        faults.AbsurdPrices(after=200),
        faults.TimeJumps(after=300),
        faults.RepeatMappings(after=350),
    ]
    with serve(faults=script) as gateway, rig(gateway.port) as made:
        made.wait()
    assert made.minutes() == undisturbed
    counts = made.builder.counts
    assert (counts["unknown_instrument"], counts["absurd_price"]) == (3, 4)
    assert counts["bad_clock"] == 2  # from the future and without any time
    assert counts["replayed"] == 1  # ten days old: from before the session began
    assert made.feed.last_record_ns < END + 10 * SECOND
    dropped = set().union(*(minute.dropped for minute in made.closed))
    assert None in dropped  # of what nobody has mapped
    assert {contract.root for contract in dropped if contract is not None} <= {"ES", "6N"}
    assert 2 <= sum(bool(minute.dropped) for minute in made.closed) <= 4  # the minutes it came in, and no other


def test_a_trade_that_comes_before_its_mapping_is_in_its_bar(undisturbed: list[ClosedMinute]) -> None:
    raws = {instrument.instrument_id: instrument.raw for instrument in MARKET.instruments}
    after = next(n for n in range(1, len(TRADES)) if raws[TRADES["instrument_id"][n - 1]] == "ESH6")
    late_name = wire.mapping(OPEN, faults.UNKNOWN_ID, "parent", "ES.FUT", "ESH6")
    script: list[faults.Fault] = [faults.UnknownIds(after=after), faults.Raw(after=after, data=late_name)]
    with serve(faults=script) as gateway, rig(gateway.port) as made:
        made.wait()
    counts = made.builder.counts
    assert (counts["unknown_instrument"], counts["built"] + counts["spread"]) == (0, len(TRADES) + 1)
    assert not any(minute.dropped for minute in made.closed)
    assert made.minutes()[1:] == undisturbed[1:]


@pytest.mark.parametrize("behind_s", [90, 7 * 86_400])
def test_a_host_clock_that_is_behind_drops_no_trade_and_makes_no_minute_quiet(
    behind_s: int, undisturbed: list[ClosedMinute]
) -> None:
    with serve() as gateway:
        made = Rig(gateway.port)
        made.builder._wall_ns = lambda: gateway.clock.now() - behind_s * SECOND
        made.feed.start()
        made.wait()
        made.stop()
    assert made.minutes() == undisturbed
    assert not any(minute.dropped for minute in made.closed)
    assert made.builder.counts["bad_clock"] == 0
    assert made.builder.behind_ns > (behind_s - 60) * SECOND


def test_a_duplicate_is_a_trade_like_any_other(undisturbed: list[ClosedMinute]) -> None:
    """Real trades are identical in every field: nothing is ever de-duplicated."""
    with serve(faults=[faults.Duplicates(after=100, count=4)]) as gateway, rig(gateway.port) as made:
        made.wait()
    counts = made.builder.counts
    assert counts["built"] + counts["spread"] + counts["late"] == len(TRADES) + 4
    assert counts["late"] < 4
    volume = sum(part.volume for minute in made.minutes() for part in minute.contracts)
    assert volume > sum(part.volume for minute in undisturbed for part in minute.contracts)


def test_trades_out_of_order_are_all_accounted_for() -> None:
    with serve(faults=[faults.OutOfOrder(after=100, count=30)]) as gateway, rig(gateway.port) as made:
        made.wait()
    counts = made.builder.counts
    assert counts["built"] + counts["spread"] + counts["late"] == len(TRADES)


def trade_msg(ts_event: int, ts_recv: int, flags: int = 0) -> Any:
    return dbn.TradeMsg(
        1, 7, ts_event, 6800 * SECOND, 1, dbn.Action.TRADE, dbn.Side.BID, 0, ts_recv, flags=flags, ts_in_delta=0
    )


def mapping_msg(raw: str = "ESH6") -> Any:
    return dbn.SymbolMappingMsg(0, 7, OPEN, dbn.SType.PARENT, "ES.FUT", dbn.SType.INSTRUMENT_ID, raw, 0, 0)


def test_a_trade_with_a_bad_receive_time_is_placed_by_its_event_time() -> None:
    made = Rig(0)
    made.feed._current = session = Session(OPEN)
    made.feed._on_record(session, mapping_msg())
    made.feed._on_record(session, trade_msg(OPEN + SECOND, OPEN + SECOND))
    made.feed._on_record(session, trade_msg(OPEN + 2 * SECOND, OPEN + 3600 * SECOND, flags=8))
    made.feed._on_record(session, trade_msg(OPEN + 3 * SECOND, 2**64 - 1))
    made.feed._on_record(session, trade_msg(2**64 - 1, 2**64 - 1))
    assert made.builder.pending() == 3
    assert made.builder.counts["bad_clock"] == 1
    assert made.feed.last_record_ns == OPEN + 3 * SECOND


# ── records that break the client ──

PANIC = bytes([11, 0x13]) + bytes(42)  # a definition too short for one: the client's decoder panics
NO_TEXT = wire.error(OPEN, "internal_error", "TEXT").replace(b"TEXT", b"\xff\xfe\xff\xfe")
BREAKING = {"panic": PANIC, "zeros": bytes(64), "error text": NO_TEXT}


@pytest.mark.parametrize("data", BREAKING.values(), ids=BREAKING)
def test_a_record_that_breaks_the_client_costs_a_session_and_no_minute(
    data: bytes, undisturbed: list[ClosedMinute]
) -> None:
    first, second = (faults.Raw(at_ns=OPEN + minutes * MINUTE_NS, data=data) for minutes in (10, 30))
    script = [first, faults.RefuseAuth("later"), second]
    end = OPEN + 40 * MINUTE_NS
    with serve(speed=600, begin_ns=OPEN, faults=script) as gateway, rig(gateway.port) as made:
        made.wait(end)
    assert made.minutes(end) == undisturbed[:40]
    assert made.builder.counts["broken_sessions"] == 2
    assert made.feed.gap == ""


@pytest.mark.parametrize("data", BREAKING.values(), ids=BREAKING)
def test_a_record_that_breaks_the_client_again_in_its_replay_is_passed_and_its_minute_is_a_gap(data: bytes) -> None:
    record = faults.Raw(at_ns=OPEN + 20 * MINUTE_NS + 30 * SECOND, data=data)
    script = [record, faults.RefuseAuth("later"), record]
    gateway = Gateway(MARKET, speed=60, begin_ns=OPEN + 19 * MINUTE_NS, faults=script)
    with running(gateway), rig_of(gateway, start_ns=OPEN + 19 * MINUTE_NS) as made:
        made.wait(OPEN + 24 * MINUTE_NS)
    assert made.feed.sessions == 3
    assert made.builder.counts["broken_sessions"] == 2
    gaps = [minute.ts_close for minute in made.closed if minute.gap]
    assert len(gaps) == made.builder.counts["gaps"] == 1
    assert gaps[0] <= OPEN + 23 * MINUTE_NS
    assert "breaks the client" in made.feed.gap


def test_a_symbol_that_cannot_be_decoded_is_counted_and_said_once(
    caplog: pytest.LogCaptureFixture, undisturbed: list[ClosedMinute]
) -> None:
    odd = wire.mapping(OPEN, faults.UNKNOWN_ID, "parent", "ES.FUT", "SYMB").replace(b"SYMB", b"\xff\xfe\0\0")
    endless = wire.mapping(OPEN, faults.UNKNOWN_ID, "parent", "ES.FUT", "A" * 70).replace(b"A\0", b"AA")
    script = [faults.Raw(after=100 + i, data=data) for i, data in enumerate((odd, endless, odd))]
    with serve(faults=script) as gateway, rig(gateway.port) as made:
        made.wait()
    assert made.minutes() == undisturbed
    assert made.builder.counts["undecodable"] == 3
    assert made.feed.sessions == 1
    assert sum("cannot be decoded" in record.message for record in caplog.records) == 1


# ── threads ──


def test_a_thread_that_hangs_in_the_midst_of_a_record_ends_the_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would still do to the minute, should it go on, nobody can know: the hub has to start anew."""
    monkeypatch.setattr(feed, "LEAVE_S", 0.5)
    released = threading.Event()
    with serve() as gateway:
        made = Rig(gateway.port, dead_s=0.5)
        fold = made.builder.on_trade

        def stuck(*trade: int) -> None:
            if made.builder.minute_ns >= OPEN + 10 * MINUTE_NS:
                released.wait(60)
            fold(*trade)  # type: ignore[arg-type]

        made.builder.on_trade = stuck  # type: ignore[method-assign]
        made.feed.start()
        until(lambda: bool(made.failures))
        released.set()
        made.feed.join(5)
    assert "in the midst of a record" in str(made.failures[0])
    assert not isinstance(made.failures[0], FeedFatalError)
    assert made.closed[-1].ts_close == OPEN + 10 * MINUTE_NS
    assert not made.feed.turning()


def test_a_late_callback_of_a_dead_session_does_not_write_into_the_new_one() -> None:
    made = Rig(0)
    old, new = Session(OPEN), Session(OPEN)
    made.feed._current = old
    mapping, trade = mapping_msg(), trade_msg(OPEN + SECOND, OPEN + SECOND)
    for record in (mapping, trade):
        made.feed._on_record(old, record)
    assert made.builder.pending() == 1
    made.feed._current = new
    for record in (mapping, trade):
        made.feed._on_record(new, record)
    made.feed._on_record(old, trade)
    assert made.builder.pending() == 1
    assert made.builder.counts["reread"] == 1
    assert made.feed.trades == 2


def test_an_error_of_our_own_ends_the_feed_and_publishes_nothing_more() -> None:
    with serve() as gateway:
        made = Rig(gateway.port)
        fold = made.builder.on_trade

        def broken(*trade: int) -> None:
            if made.builder.minute_ns >= OPEN + 10 * MINUTE_NS:
                raise ZeroDivisionError("ours")
            fold(*trade)  # type: ignore[arg-type]

        made.builder.on_trade = broken  # type: ignore[method-assign]
        made.feed.start()
        until(lambda: bool(made.failures))
        made.feed.join(5)
    assert isinstance(made.failures[0], ZeroDivisionError)
    assert made.closed[-1].ts_close == OPEN + 10 * MINUTE_NS


def test_an_error_of_the_feeds_own_thread_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as gateway:
        made = Rig(gateway.port)
        monkeypatch.setattr(made.feed, "_session", lambda session: 1 / 0)
        made.feed.start()
        until(lambda: bool(made.failures))
    assert isinstance(made.failures[0], ZeroDivisionError)


def test_the_status_may_be_read_while_contracts_come_in() -> None:
    """`pending` walks what another thread adds to."""
    builder = Rig(0).builder
    going = threading.Event()
    failures: list[Exception] = []

    def read() -> None:
        while not going.is_set():
            try:
                builder.pending()
            except RuntimeError as error:
                failures.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20_000):
        builder.map(number, Contract("ES", number, 3))
    going.set()
    reader.join()
    assert failures == []


# ── gaps and mappings ──


def test_what_is_older_than_the_gateways_replay_is_one_gap() -> None:
    """The hub was down for longer than that; the market is moved to the present, as live."""
    now = time.time_ns()
    begin = now - now % MINUTE_NS
    groups_open = any(sessions.window_at("equity", begin - i * MINUTE_NS) for i in range(3 * 24 * 60))
    assert groups_open
    trades = empty_trades(3)
    trades["instrument_id"], trades["size"], trades["price"] = 7, 1, 6800 * SECOND
    trades["ts_event"] = trades["ts_recv"] = [begin - 80 * 3600 * SECOND, begin - 60 * SECOND, begin - 59 * SECOND]
    source = Recorded(trades, [Instrument(7, "ESH7", "ES")])
    gateway = Gateway(source, begin_ns=begin - 2 * SECOND, until_ns=begin + 70 * SECOND)
    options: dict[str, Any] = {
        "products": ("ES.FUT",),
        "start_ns": begin - 90 * 3600 * SECOND,
        "replay_limit_s": 3600.0,
    }
    with running(gateway), rig_of(gateway, **options) as made:
        until(lambda: bool(made.closed), what=lambda: made.builder.counts)
    assert made.closed[0].ts_close > begin - 3700 * SECOND
    assert [minute.gap for minute in made.closed].count(True) == made.builder.counts["gaps"] == 1
    assert made.closed[0].gap


def test_a_replay_that_is_refused_for_too_long_is_given_up() -> None:
    script = [faults.ErrorThenClose(after=0, code="replay_data_aged_out")] * 8
    gateway = Gateway(MARKET, speed=600, begin_ns=OPEN + 30 * MINUTE_NS, faults=script)
    with running(gateway), rig_of(gateway, gap_limit_s=0.1, pauses_s=(0.05,)) as made:
        made.wait(OPEN + 50 * MINUTE_NS)
    assert [minute.gap for minute in made.closed] == [True] + [False] * (len(made.closed) - 1)
    assert made.closed[0].ts_close > OPEN + 30 * MINUTE_NS
    assert not any(minute.repaired for minute in made.closed)


def test_continuous_symbols_are_mapped_anew_in_the_daily_break() -> None:
    """A continuous symbol keeps its contract for as long as its session lasts."""
    tuesday = date(2026, 3, 10)
    market = Market(first=tuesday, roots=["ES"], sessions=3, trades_per_minute=60, rolls={"ES": tuesday})
    begin = sessions.session_close_ns("equity", tuesday) - 5 * MINUTE_NS
    end = sessions.session_open_ns("equity", date(2026, 3, 12)) + 30 * MINUTE_NS
    # The half hour between the new mapping and the open has to outlast a new session on a busy machine: 0.3 s.
    gateway = Gateway(Until(market, end), speed=6_000, begin_ns=begin, until_ns=end + 5 * SECOND)
    with running(gateway), rig_of(gateway, products=("ES.v.0",), start_ns=begin) as made:
        made.wait(end)
    # On Tuesday most volume moved: Wednesday's break is the first in which that shows.
    assert [contract.raw for contract in made.contracts] == ["ESH6", "ESH6", "ESM6"]
    wednesday = sessions.session_close_ns("equity", date(2026, 3, 11))
    traded = [(minute.ts_close > wednesday, part.contract.raw) for minute in made.closed for part in minute.contracts]
    assert set(traded) == {(False, "ESH6"), (True, "ESM6")}


def test_a_bar_of_which_a_part_came_in_a_replay_says_so_and_the_next_one_does_not() -> None:
    """Also when its minute closes in time: the part may be what the gateway remembers, not what was sent."""
    strike = OPEN + 20 * MINUTE_NS + 30 * SECOND
    gateway = Gateway(MARKET, speed=60, begin_ns=OPEN + 19 * MINUTE_NS, faults=[faults.Reset(at_ns=strike)])
    with running(gateway), rig_of(gateway, start_ns=OPEN + 19 * MINUTE_NS) as made:
        made.wait(OPEN + 22 * MINUTE_NS)
    replayed = {
        (minute.ts_close - OPEN) // MINUTE_NS - 1: any(part.replayed for part in minute.contracts)
        for minute in made.closed
    }
    assert replayed[20]
    assert not replayed[21]
    assert not any(minute.repaired for minute in made.closed)


def test_an_id_that_gets_another_name_within_a_session_ends_the_session_before_a_bar_mixes_the_two(
    undisturbed: list[ClosedMinute],
) -> None:
    script: list[faults.Fault] = [faults.WrongMapping(after=300, raw="ESH6", called="ESM6")]
    with serve(faults=script) as gateway, rig(gateway.port) as made:
        made.wait()
    assert made.minutes() == undisturbed
    assert made.builder.counts["reconnects"] == 1
