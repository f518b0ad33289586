"""The hub whole: gateway, the real client, bars, Redis; in a thread where that is enough, else as a process."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any

import pytest

from rooney.bus.keys import TAPE
from rooney.bus.publisher import Publisher
from rooney.config.schema import DataHub
from rooney.errors import EXIT_CONFIG, EXIT_FAILURE, EXIT_OK, FeedFatalError
from rooney.hub.process import Hub
from rooney.market import sessions
from rooney.market.instruments import Contract, group_of, parse_contract
from rooney.market.messages import Bar, BarFlag, InstrumentState, Roll
from rooney.market.sessions import CHICAGO, HOUR_NS, MINUTE_NS
from rooney.sim.characters import CHARACTERS, FIRST_SESSION
from rooney.sim.databento.sources import Instrument, Recorded, Until, read
from rooney.sim.databento.wire import empty_trades
from rooney.sim.market import Market
from tests.support import gateway_faults as faults
from tests.support import market_bars
from tests.support.faulty_gateway import FaultyGateway as Gateway
from tests.support.gateways import running
from tests.support.hub import HubThread, hub_process, hub_thread, parents, plain, plain_tape
from tests.support.hub_by_hand import OPEN, ByHand, Stub, redis_tape
from tests.support.hub_day import AFTERNOON, DAY_PART, MARKET, MORNING, ROOTS, Result, assert_same_result
from tests.support.paths import RECORDED_DATA, needs_recorded_data
from tests.support.private_redis import PrivateRedis, private_redis
from tests.support.times import chicago
from tests.support.waiting import until

SECOND = 1_000_000_000
CLOSE = sessions.session_close_ns("equity", FIRST_SESSION)
TRADE_COUNTS = ("built", "spread", "unknown_instrument", "late", "replayed", "absurd_price", "bad_clock", "reread")


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateRedis]:
    with private_redis() as redis:
        yield redis


@pytest.fixture
def redis(server: PrivateRedis) -> PrivateRedis:
    server.clear()
    return server


@pytest.fixture
def own_redis() -> Iterator[PrivateRedis]:
    """One that a test may stop."""
    with private_redis() as redis:
        yield redis


# ── undisturbed: against a second opinion ──


def test_all_eighteen_roots_of_a_session_equal_the_bars_made_from_the_trades_directly(redis: PrivateRedis) -> None:
    market = Market(trades_per_minute=100)
    with running(Gateway(market)) as gateway, hub_thread(redis, gateway, parents(*CHARACTERS), OPEN) as hub:
        hub.wait(CLOSE)
        bars = [bar for _, minute in hub.bus.tape(0) for bar in minute.bars]
        assert [plain(bar) for bar in bars if bar.timeframe == "1min"] == market_bars.bars(market, FIRST_SESSION)
        assert not any(
            bar.flags for bar in bars if bar.ts_open > OPEN
        )  # the first minute may have begun before the hub
        for root in CHARACTERS:
            assert hub.bus.history(root, "1min", 5_000) == [
                b for b in bars if (b.symbol, b.timeframe) == (root, "1min")
            ]
        assert sum(bar.timeframe == "daily" for bar in bars) == len(CHARACTERS)


def test_hours_and_days_equal_a_group_by_of_the_minutes(redis: PrivateRedis, undisturbed: Result) -> None:
    bars = [bar for minute in undisturbed.tape for bar in minute.bars]

    def grouped(timeframe: str, key: Callable[[Bar], tuple[int, int]]) -> list[Bar]:
        groups: dict[tuple[str, tuple[int, int]], list[Bar]] = {}
        for bar in bars:
            if bar.timeframe == "1min":
                groups.setdefault((bar.symbol, key(bar)), []).append(bar)
        return [
            Bar(
                symbol,
                rows[0].contract,
                timeframe,
                opens,
                closes,
                rows[0].open,
                max(row.high for row in rows),
                min(row.low for row in rows),
                rows[-1].close,
                sum(row.volume for row in rows),
                sum(row.trades for row in rows),
            )
            for (symbol, (opens, closes)), rows in groups.items()
        ]

    def hour(bar: Bar) -> tuple[int, int]:
        opens = bar.ts_open - bar.ts_open % HOUR_NS
        ends = {"07:00": 45, "13:00": 20} if bar.symbol == "ZC" else {}
        at = datetime.fromtimestamp(opens // SECOND, CHICAGO).strftime("%H:%M")
        return opens, opens + ends.get(at, 60) * MINUTE_NS

    def day(bar: Bar) -> tuple[int, int]:
        grains = bar.symbol == "ZC"
        return (
            chicago("2026-03-10 19:00" if grains else "2026-03-10 17:00"),
            chicago("2026-03-11 13:20" if grains else "2026-03-11 16:00"),
        )

    def ordered(found: list[Bar]) -> list[Bar]:
        return sorted(found, key=lambda bar: (bar.symbol, bar.ts_open))

    for timeframe, key in (("hourly", hour), ("daily", day)):
        assert ordered([bar for bar in bars if bar.timeframe == timeframe]) == ordered(grouped(timeframe, key))


def test_the_counts_in_the_status_add_up_and_volumes_are_those_of_the_trades(redis: PrivateRedis) -> None:
    with running(Gateway(DAY_PART, begin_ns=MORNING, until_ns=AFTERNOON)) as gateway:
        with hub_thread(redis, gateway, ROOTS, MORNING) as hub:
            hub.wait(AFTERNOON)
        status = hub.bus.status()
        sent = gateway.stats()["total"]
    assert status is not None
    counts = status.counts
    assert counts["trades_in"] == sent["trades"]
    assert sum(counts.get(name, 0) for name in TRADE_COUNTS) + counts["pending"] == sent["trades"]
    assert counts["spread"] == sent["spreads"] > 0
    assert counts["minutes"] == (AFTERNOON - MORNING) // MINUTE_NS
    assert (status.state, status.ts_tape, status.pending_minutes, status.sessions) == ("stopping", AFTERNOON, 0, 1)
    assert status.fronts == {"ES": "ESH6", "6N": "6NH6", "ZC": "ZCK6"}
    ids = {instrument.instrument_id: instrument.raw for instrument in MARKET.instruments}
    expected: dict[str, int] = {}
    for batch in DAY_PART.batches(MORNING):
        for number, size, ts_event in batch[["instrument_id", "size", "ts_event"]].tolist():
            if ts_event >= MORNING:
                expected[ids[number]] = expected.get(ids[number], 0) + size
    found = {
        Contract(root, number // 100, number % 100).raw: volume
        for root, _, _ in ROOTS
        for number, volume in hub.bus.volumes(root, FIRST_SESSION).items()
    }
    assert found == {raw: volume for raw, volume in expected.items() if "-" not in raw}


def test_the_roll_is_in_the_first_entry_of_the_session_also_for_a_hub_that_starts_after_the_volume_moved(
    redis: PrivateRedis,
) -> None:
    tuesday, wednesday = date(2026, 3, 10), FIRST_SESSION
    market = Market(first=tuesday, roots=["ES"], sessions=2, trades_per_minute=100, rolls={"ES": tuesday})
    begin = sessions.session_open_ns("equity", tuesday)
    first = sessions.session_open_ns("equity", wednesday) + MINUTE_NS
    roots = parents("ES")
    with running(Gateway(market)) as gateway:
        with hub_thread(redis, gateway, roots, begin) as hub:
            hub.wait(first + HOUR_NS)
        whole = [minute for minute in plain_tape(hub.bus) if minute.rolls]
        redis.clear()
    early = Gateway(Until(market, first - 2 * HOUR_NS))
    with running(early), hub_thread(redis, early, roots, begin) as hub:
        hub.wait(first - 2 * HOUR_NS)
    with running(Gateway(market)) as gateway, hub_thread(redis, gateway, roots, begin) as hub:
        hub.wait(first + HOUR_NS)
        assert [minute for minute in plain_tape(hub.bus) if minute.rolls] == whole
    ((roll,),) = [minute.rolls for minute in whole]
    last = {
        contract: price for contract, price in closes(market, first - MINUTE_NS).items() if contract in ("ESH6", "ESM6")
    }
    assert roll == Roll("ES", "ESH6", "ESM6", last["ESH6"], last["ESM6"], first, "volume")


def closes(market: Market, before_ns: int) -> dict[str, float]:
    """Last price per raw symbol."""
    ids = {instrument.instrument_id: instrument.raw for instrument in market.instruments}
    last: dict[str, float] = {}
    for batch in market.batches(0):
        for number, price, ts_recv in batch[["instrument_id", "price", "ts_recv"]].tolist():
            if ts_recv < before_ns:
                last[ids[number]] = price / 1e9
    return last


# ── clocks and prices that are wrong ──


def test_a_host_clock_that_is_behind_is_named_in_the_status_told_once_and_makes_no_minute_quiet(
    redis: PrivateRedis, caplog: pytest.LogCaptureFixture
) -> None:
    """A market of next week: to it, this machine's clock is days behind."""
    day = sessions.next_trade_date(datetime.fromtimestamp(time.time() + 7 * 86_400, CHICAGO).date())
    begin = sessions.session_open_ns("equity", day)
    end = begin + HOUR_NS
    gateway = Gateway(Until(Market(first=day, roots=["ES"], trades_per_minute=600), end), until_ns=end + 5 * SECOND)
    with running(gateway), hub_thread(redis, gateway, parents("ES"), begin) as hub:
        hub.wait(end)
        until(lambda: (hub.bus.status() or pytest.fail("no status")).state == "clock behind")
        status, tape = hub.bus.status(), [minute for _, minute in hub.bus.tape(0)]
    assert "this machine's clock is 6" in status.detail or "this machine's clock is 7" in status.detail
    assert status.counts.get("bad_clock", 0) == 0
    assert [minute.states["ES"] for minute in tape if minute.ts_close <= end] == [InstrumentState.OPEN] * 60
    told = [record for record in caplog.records if getattr(record, "rooney_event", "") == "clock"]
    assert len(told) == 1


def test_the_first_trade_after_a_start_is_judged_by_the_last_bar_of_the_tape(redis: PrivateRedis) -> None:
    by_hand = ByHand(redis.bus())
    by_hand.feed.minute(0)
    assert by_hand.stop() == EXIT_OK
    trades = empty_trades(2)
    trades["instrument_id"], trades["size"] = 7, 1
    trades["price"] = [2 * 6_800 * SECOND, 6_801 * SECOND]
    trades["ts_event"] = trades["ts_recv"] = [OPEN + MINUTE_NS + SECOND, OPEN + MINUTE_NS + 2 * SECOND]
    gateway = Gateway(Recorded(trades, [Instrument(7, "ESH6", "ES")]), until_ns=OPEN + 3 * MINUTE_NS)
    with running(gateway), hub_thread(redis, gateway, parents("ES"), OPEN) as hub:
        hub.wait(OPEN + 2 * MINUTE_NS)
        (minute,) = [minute for _, minute in hub.bus.tape(OPEN + MINUTE_NS) if minute.ts_close == OPEN + 2 * MINUTE_NS]
        until(lambda: hub.counts().get("absurd_price") == 1)
    (bar,) = minute.bars
    assert (bar.open, bar.high, bar.trades) == (6_801.0, 6_801.0, 1)
    assert bar.flags & BarFlag.INCOMPLETE
    assert minute.states == {"ES": InstrumentState.INCOMPLETE}


# ── recorded data ──


def recorded_bars(trades: Any, raw: str) -> list[tuple[Any, ...]]:
    """An independent group-by: polars over the file's rows."""
    pl = pytest.importorskip("polars")
    received = "ts_recv" if "ts_recv" in trades.columns else "ts_event"
    price = pl.col("price_e9") / 1e9 if "price_e9" in trades.columns else pl.col("price")
    grouped = (
        trades.filter(pl.col("symbol") == raw)
        .with_columns(minute=pl.col(received).dt.truncate("1m").cast(pl.Int64), p=price)
        .group_by("minute", maintain_order=True)
        .agg(
            pl.col("p").first().alias("open"),
            pl.col("p").max().alias("high"),
            pl.col("p").min().alias("low"),
            pl.col("p").last().alias("close"),
            pl.col("size").sum().alias("volume"),
            pl.len().alias("trades"),
        )
    )
    return [(raw, *row) for row in grouped.rows()]


def tape_bars(bus: Publisher) -> list[tuple[Any, ...]]:
    return [
        (bar.contract, bar.ts_open, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades)
        for _, minute in bus.tape(0)
        for bar in minute.bars
        if bar.timeframe == "1min"
    ]


def replay(redis: PrivateRedis, source: Any, roots: list[tuple[str, str, str]]) -> HubThread:
    """A whole recording through gateway, client, hub and Redis."""
    first, last = int(source.trades["ts_recv"].min()), int(source.trades["ts_recv"].max())
    begin, end = first - first % MINUTE_NS, last - last % MINUTE_NS + MINUTE_NS
    hub: HubThread
    with running(Gateway(source, begin_ns=begin, until_ns=end)) as gateway:
        with hub_thread(redis, gateway, roots, begin) as hub:
            until(lambda: hub.builder is not None and hub.builder.minute_ns >= end, 30)
        assert hub.code == EXIT_OK
        counts = hub.counts()
        sent = gateway.stats()
        assert len(sent["sessions"]) > 1 or counts["trades_in"] == sent["total"]["trades"]
    assert sum(counts.get(name, 0) for name in TRADE_COUNTS) + counts["pending"] == counts["trades_in"]
    return hub


GOLD = RECORDED_DATA / "trades/GC_lean_2013-10-07_08.parquet"


@pytest.fixture(scope="module")
def gold() -> tuple[Any, Any]:
    pl = pytest.importorskip("polars")
    return read([GOLD]), pl.read_parquet(GOLD)


@needs_recorded_data
@pytest.mark.parametrize("product", ["GC.FUT", "GC.v.0", "GCZ3"])
def test_every_field_of_every_minute_of_two_days_of_gold_equals_a_group_by_of_the_file(
    redis: PrivateRedis, gold: tuple[Any, Any], product: str
) -> None:
    source, table = gold
    hub = replay(redis, source, [("GC", "metals", product)])
    assert tape_bars(hub.bus) == recorded_bars(table, "GCZ3")
    counts = hub.counts()
    assert counts["built"] == (len(table) if product == "GC.FUT" else 91_740)
    assert not any(bar.flags & BarFlag.OFF_SESSION for _, minute in hub.bus.tape(0) for bar in minute.bars)
    if product == "GC.FUT":
        volumes = [hub.bus.volumes("GC", date(2013, 10, day)) for day in (7, 8, 9)]
        assert sum(sum(of_day.values()) for of_day in volumes) == table["size"].sum()


@needs_recorded_data
def test_every_other_contract_of_gold_equals_its_own_group_by(redis: PrivateRedis, gold: tuple[Any, Any]) -> None:
    source, table = gold
    others = [raw for raw in table["symbol"].unique().to_list() if raw != "GCZ3"]
    assert len(others) == 10
    for raw in others:
        redis.clear()
        hub = replay(redis, source, [("GC", "metals", raw)])
        assert tape_bars(hub.bus) == recorded_bars(table, raw), raw


@needs_recorded_data
@pytest.mark.parametrize(
    "name", ["trades/ESH4_databento_2023-12-25.parquet", "dbn/nt_esh4-glbx-mdp3-20231225.mbo.dbn.zst"]
)
def test_the_first_hour_after_christmas_equals_a_group_by_of_its_trades(redis: PrivateRedis, name: str) -> None:
    pl = pytest.importorskip("polars")
    table = pl.read_parquet(RECORDED_DATA / "trades/ESH4_databento_2023-12-25.parquet")
    hub = replay(redis, read([RECORDED_DATA / name]), [("ES", "equity", "ES.FUT")])
    assert tape_bars(hub.bus) == recorded_bars(table, "ESH4")


@needs_recorded_data
@pytest.mark.parametrize("name", ["glbx_test_data.trades", "glbx_test_data.tbbo", "test_data.live"])
def test_databentos_own_files_with_trades_go_through(redis: PrivateRedis, name: str) -> None:
    source = read([RECORDED_DATA / f"dbn/dbpy_{name}.dbn.zst"])
    raw = source.instruments[0].raw
    hub = replay(redis, source, [("ES", "equity", raw)])
    assert sum(row[-1] for row in tape_bars(hub.bus)) == len(source.trades) > 0
    assert {row[0] for row in tape_bars(hub.bus)} == {raw}


# ── ends of sessions, whole ──


@pytest.mark.parametrize(
    "script",
    [
        [faults.Close(after=5_000)],
        [faults.Reset(after=5_000)],
        [faults.Silence(after=5_000)],
        [faults.Garbage(after=5_000), faults.Close(after=3_000), faults.Reset(after=4_000)],
        [faults.UnknownIds(after=900), faults.AbsurdPrices(after=2_000), faults.TimeJumps(after=4_000)],
    ],
    ids=["FIN", "RST", "silence", "garbage, FIN, RST", "wrong records"],
)
def test_whatever_the_gateway_does_the_tape_is_that_of_an_undisturbed_run(
    redis: PrivateRedis, undisturbed: Result, script: list[faults.Fault]
) -> None:
    with running(Gateway(DAY_PART, begin_ns=MORNING, until_ns=AFTERNOON, faults=script)) as gateway:
        with hub_thread(redis, gateway, ROOTS, MORNING, dead_s=0.5) as hub:
            hub.wait(AFTERNOON)
        assert gateway.stats()["total"]["faults"] == len(script)
    assert_same_result(hub.bus, undisturbed)


def test_a_dead_feed_shows_in_the_status_within_its_limit(redis: PrivateRedis) -> None:
    script = [faults.Silence(after=2_000), faults.HangAfterAuth(), faults.HangAfterAuth()]
    gateway = Gateway(DAY_PART, begin_ns=MORNING, until_ns=AFTERNOON, faults=script)
    with running(gateway), hub_thread(redis, gateway, ROOTS, MORNING, dead_s=1.5, pauses_s=(3.0,)) as hub:
        until(lambda: gateway.stats()["total"]["faults"] == 1)
        struck = time.monotonic()

        def state() -> str:
            status = hub.bus.status()
            return "" if status is None else status.state

        until(lambda: state() in ("feed dead", "reconnecting"), 5)
        assert time.monotonic() - struck < 1.5 + 1.0 + 0.5


# ── Redis goes ──


@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "SIGKILL"])
def test_redis_may_be_restarted_in_mid_run_and_no_minute_is_missing_or_there_twice(
    own_redis: PrivateRedis, undisturbed: Result, kill: bool
) -> None:
    with running(Gateway(DAY_PART, speed=14_400, begin_ns=MORNING, until_ns=AFTERNOON)) as gateway:
        with hub_thread(own_redis, gateway, ROOTS, MORNING) as hub:
            for hours in (1, 4):
                hub.wait(MORNING + hours * HOUR_NS)
                own_redis.stop(kill=kill)
                time.sleep(0.4)
                own_redis.start()
            hub.wait(AFTERNOON)
        assert hub.code == EXIT_OK
        assert_same_result(hub.bus, undisturbed)


def test_a_redis_that_lost_everything_gets_the_ring(own_redis: PrivateRedis, undisturbed: Result) -> None:
    with running(Gateway(DAY_PART, speed=14_400, begin_ns=MORNING, until_ns=AFTERNOON)) as gateway:
        with hub_thread(own_redis, gateway, ROOTS, MORNING) as hub:
            hub.wait(MORNING + 2 * HOUR_NS)
            own_redis.stop(kill=True)
            for file in own_redis.directory.rglob("appendonly*"):  # a folder of files since Redis 7, one file before
                if file.is_file():
                    file.unlink()
            own_redis.start()
            hub.wait(AFTERNOON)
        assert_same_result(hub.bus, undisturbed)


def test_a_redis_that_is_down_at_the_start_is_waited_for(own_redis: PrivateRedis, undisturbed: Result) -> None:
    own_redis.stop()
    with running(Gateway(DAY_PART, begin_ns=MORNING, until_ns=AFTERNOON)) as gateway:
        bus = own_redis.bus(timeout_s=0.5)
        hub = Hub(ROOTS, bus, lambda *_: pytest.fail("too early"), DataHub(), start_ns=MORNING)
        thread = threading.Thread(target=hub.run, daemon=True)
        thread.start()
        time.sleep(0.3)
        hub.stop()  # before Redis is there: nothing was begun, nothing is left
        thread.join(5)
        assert not thread.is_alive()
        with hub_thread(own_redis, gateway, ROOTS, MORNING) as started:
            time.sleep(0.4)
            own_redis.start()
            started.wait(AFTERNOON)
        assert started.code == EXIT_OK
        assert_same_result(started.bus, undisturbed)


def test_a_closed_minute_is_on_redis_within_milliseconds(redis: PrivateRedis) -> None:
    hub, reader = ByHand(redis.bus()), redis.bus()
    taken = []
    for i in range(60):
        began = time.perf_counter()
        hub.feed.minute(i)
        while not reader.read_tape(OPEN + i * MINUTE_NS, 1, block_s=1.0):
            pass
        taken.append(time.perf_counter() - began)
        time.sleep(0.005)
    assert hub.stop() == EXIT_OK
    assert sorted(taken)[30] < 0.01, taken


def test_the_ring_gives_back_what_an_outage_held(own_redis: PrivateRedis) -> None:
    hub = ByHand(own_redis.bus(timeout_s=0.5), ring=50)
    hub.feed.minute(0)
    reader = own_redis.bus()
    until(lambda: reader.tape_bounds() is not None, 5)
    own_redis.stop()
    for i in range(1, 50):
        hub.feed.minute(i)
    time.sleep(0.3)
    own_redis.start()
    until(lambda: len(list(redis_tape(own_redis))) == 50, 10)
    assert hub.stop() == EXIT_OK


def test_a_replay_that_closes_more_minutes_at_once_than_the_ring_holds_loses_none(redis: PrivateRedis) -> None:
    hub = ByHand(redis.bus(), ring=10)
    for i in range(500):
        hub.feed.minute(i)
    assert hub.stop() == EXIT_OK
    assert [minute.ts_close for minute in redis_tape(redis)] == [OPEN + (i + 1) * MINUTE_NS for i in range(500)]


def test_an_outage_longer_than_the_ring_ends_the_hub_rather_than_leave_a_hole(own_redis: PrivateRedis) -> None:
    """Its next start replays from the tape's end."""
    hub = ByHand(own_redis.bus(timeout_s=0.5), ring=10)
    hub.feed.minute(0)
    reader = own_redis.bus()
    until(lambda: reader.tape_bounds() is not None, 5)
    own_redis.stop()
    for i in range(1, 30):
        hub.feed.minute(i)
    time.sleep(0.5)
    own_redis.start()
    hub.thread.join(10)
    assert hub.codes == [EXIT_FAILURE]
    assert len(list(redis_tape(own_redis))) == 1


def test_a_redis_that_lost_what_another_hub_published_ends_the_hub_rather_than_leave_a_hole(
    own_redis: PrivateRedis,
) -> None:
    """A replica that was behind is the primary now: the tape ends before this hub began, and so before its ring."""
    first = ByHand(own_redis.bus())
    for i in range(10):
        first.feed.minute(i)
    assert first.stop() == EXIT_OK
    hub = ByHand(own_redis.bus(timeout_s=0.5))
    hub.feed.minute(10)
    until(lambda: len(redis_tape(own_redis)) == 11, 10)
    own_redis.bus()._redis.xdel(TAPE, *(f"{(OPEN + (i + 1) * MINUTE_NS) // 1_000_000}-0" for i in range(5, 11)))
    own_redis.stop()
    hub.feed.minute(11)
    until(lambda: hub.hub._outage.is_on, 10)
    own_redis.start()
    hub.thread.join(10)
    assert hub.codes == [EXIT_FAILURE]
    assert [minute.ts_close for minute in redis_tape(own_redis)] == [OPEN + (i + 1) * MINUTE_NS for i in range(5)]


def test_a_hub_stops_in_time_although_redis_hangs(own_redis: PrivateRedis) -> None:
    hub = ByHand(own_redis.bus(timeout_s=0.5))
    pid = own_redis.part.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        for i in range(50):
            hub.feed.minute(i)
        began = time.monotonic()
        assert hub.stop() == EXIT_OK
        assert time.monotonic() - began < 5
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("failure", "code"), [(FeedFatalError("no"), EXIT_CONFIG), (ZeroDivisionError("ours"), EXIT_FAILURE)]
)
def test_a_failure_of_the_feed_ends_the_hub_after_what_is_closed_is_published(
    redis: PrivateRedis, failure: Exception, code: int
) -> None:
    hub = ByHand(redis.bus())
    hub.feed.minute(0)
    hub.feed.send(failure)
    hub.thread.join(10)
    assert hub.codes == [code]
    assert len(redis_tape(redis)) == 1


def test_bytes_of_someone_else_in_the_history_do_not_stop_a_start(redis: PrivateRedis) -> None:
    bus = redis.bus()
    first = ByHand(redis.bus())
    first.feed.minute(0)
    until(lambda: bus.tape_bounds() is not None, 5)
    assert first.stop() == EXIT_OK
    bus._redis.xadd("market:ES:1min", {"b": b"\xff"}, id=f"{(OPEN + MINUTE_NS) // 1_000_000}-0")
    second = ByHand(redis.bus())
    assert second.stop() == EXIT_OK


# ── as processes ──


def started(redis: PrivateRedis, gateway: Gateway, name: str = "hub") -> Any:
    start = datetime.fromtimestamp(MORNING // SECOND).astimezone().isoformat()
    return hub_process(redis, gateway.port, ROOTS, start, name=name)


def test_a_wrong_key_is_exit_78(redis: PrivateRedis) -> None:
    with running(Gateway(DAY_PART, begin_ns=MORNING)) as gateway:
        part = hub_process(redis, gateway.port, ROOTS, "2026-03-11T12:00:00Z", key="db-" + "x" * 29)
        try:
            assert part.process.wait(20) == EXIT_CONFIG
        finally:
            part.stop()
    assert "refused this account" in part.tail()


def test_sigterm_is_a_clean_end_that_publishes_all_closed_minutes_and_no_open_one(redis: PrivateRedis) -> None:
    with running(Gateway(DAY_PART, speed=3_600, begin_ns=MORNING, until_ns=AFTERNOON)) as gateway:
        part = started(redis, gateway)
        bus = redis.bus()
        try:
            part.wait_ready(20)
            until(lambda: (bus.tape_bounds() or (0, 0))[1] > MORNING + 30 * MINUTE_NS)
            began = time.monotonic()
            assert part.stop() == EXIT_OK
            assert time.monotonic() - began < 3
        finally:
            part.stop()
        status, bounds = bus.status(), bus.tape_bounds()
        assert status is not None
        assert bounds is not None
        assert status.counts["minutes"] == len(list(bus.tape(0)))
        assert status.ts_tape == bounds[1] <= gateway.clock.now()
        assert (
            sum(status.counts.get(name, 0) for name in TRADE_COUNTS) + status.counts["pending"]
            == (status.counts["trades_in"])
        )
        built = sum(bar.trades for _, m in bus.tape(0) for bar in m.bars if bar.timeframe == "1min")
        assert 0 < built <= status.counts["built"]
    bus.close()


def kill_and_restart(redis: PrivateRedis, undisturbed: Result, marks: list[int], speed: float) -> None:
    """SIGKILL the hub once the tape has reached each of the marks; it starts again at once."""
    bus = redis.bus()
    with running(Gateway(DAY_PART, speed=speed, begin_ns=MORNING, until_ns=AFTERNOON)) as gateway:
        for number, mark in enumerate([*marks, AFTERNOON]):
            part = started(redis, gateway, f"hub{number}")
            try:
                until(lambda mark=mark: (bus.tape_bounds() or (0, 0))[1] >= mark, 60, part.tail)  # type: ignore[misc]
            finally:
                part.process.kill() if mark != AFTERNOON else None
                part.stop()
        minutes = [minute for _, minute in bus.tape(0)]
    assert_same_result(bus, undisturbed)
    assert any(bar.flags & BarFlag.REPAIRED for minute in minutes for bar in minute.bars)
    bus.close()


def test_a_hub_killed_in_mid_hour_in_mid_day_and_in_a_break_goes_on_as_if_it_had_not_been(
    redis: PrivateRedis, undisturbed: Result
) -> None:
    marks = [chicago(f"2026-03-11 {at}") for at in ("07:55", "09:31", "13:10")]
    kill_and_restart(redis, undisturbed, marks, speed=3_600)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_hub_killed_at_random_goes_on_as_if_it_had_not_been(
    redis: PrivateRedis, undisturbed: Result, seed: int
) -> None:
    chosen = random.Random(seed)
    marks = sorted(chosen.randrange(MORNING, AFTERNOON) for _ in range(5))
    kill_and_restart(redis, undisturbed, marks, speed=chosen.choice([3_600, 20_000, float("inf")]))


def test_the_hub_carries_no_numba_polars_or_scikit_learn() -> None:
    code = "import sys, rooney.hub.process, rooney.cli; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "databento" in found
    assert not {"numba", "polars", "sklearn", "rooney.sim", "rooney.worker.process"} & set(found)


def test_the_public_channels_can_be_switched_off(redis: PrivateRedis) -> None:
    heard: list[object] = []
    bus = redis.bus()
    listener: Any = bus._redis.pubsub(ignore_subscribe_messages=True)
    listener.psubscribe("market:*")
    until(lambda: bus._redis.pubsub_numpat() == 1, 5)
    stub: list[Stub] = []

    def make(builder: Any, tell: Any) -> Any:
        stub.append(Stub(tell))
        return stub[0]

    hub = Hub(parents("ES"), redis.bus(), make, DataHub(publish_channels=()), start_ns=OPEN)
    thread = threading.Thread(target=hub.run, daemon=True)
    thread.start()
    until(lambda: bool(stub), 5)
    stub[0].minute(0)
    until(lambda: bus.tape_bounds() is not None, 5)
    hub.stop()
    thread.join(10)
    heard += [listener.get_message(timeout=0.05) for _ in range(3)]
    listener.close()
    assert not any(heard)


def test_every_product_of_the_shipped_configuration_has_a_session_group() -> None:
    assert {group_of(root) for root in CHARACTERS} == {"equity", "energy", "fx", "metals", "grains"}
    assert all(parse_contract(f"{root}Z6", FIRST_SESSION) for root in CHARACTERS)


def test_the_watchdog_hears_nothing_of_a_hub_whose_feed_does_not_turn(
    redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(redis.directory / "manager"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(redis.directory / "manager"))
        by_hand = ByHand(redis.bus())
        while manager.recv(4_096) != b"WATCHDOG=1":
            pass
        by_hand.feed.turns = False
        heard: list[bytes] = []
        while sum(line.startswith(b"STATUS=") for line in heard) < 3:
            heard.append(manager.recv(4_096))
        # A ping sent before this was so may follow the first status, which may be of the same turn; not the second.
        second = [i for i, line in enumerate(heard) if line.startswith(b"STATUS=")][1]
        assert b"WATCHDOG=1" not in heard[second:]
        assert by_hand.stop() == EXIT_OK
