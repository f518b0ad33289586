"""The local gateway, seen through the unmodified databento.Live client, and the files it can replay."""

import collections
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import databento
import msgspec
import numpy as np
import pytest
from databento import BentoError
from databento_dbn import (
    UNDEF_PRICE,
    UNDEF_TIMESTAMP,
    Action,
    ErrorCode,
    ErrorMsg,
    MBOMsg,
    Metadata,
    Side,
    SType,
    SymbolMappingMsg,
    SystemCode,
    SystemMsg,
    TradeMsg,
)

from rooney.errors import EXIT_OK, ConfigError
from rooney.market.sessions import MINUTE_NS
from rooney.sim.databento.gateway import DEMO_KEY, Gateway
from rooney.sim.databento.sources import Instrument, Recorded, Source, read
from rooney.sim.databento.wire import DATASET, TRADE, Trades, empty_trades
from rooney.sim.market import Market
from tests.support import gateway_faults as faults
from tests.support.children import child
from tests.support.faulty_gateway import FaultyGateway
from tests.support.gateways import running
from tests.support.paths import RECORDED_DATA, TESTS

SECOND_NS = 1_000_000_000
RECORDED_DATA = RECORDED_DATA
MARKET = Market(roots=["ES", "6N"], trades_per_minute=60)
ALL = np.concatenate(list(MARKET.batches(0)))
MARKET_OPEN_NS = int(ALL["ts_recv"][0]) // MINUTE_NS * MINUTE_NS
ROOT = {instrument.instrument_id: instrument.root for instrument in MARKET.instruments}
needs_recorded_data = pytest.mark.skipif(
    not RECORDED_DATA.is_dir(), reason=f"recorded market data is not at {RECORDED_DATA}"
)


class Client:
    """A databento.Live session that keeps every record."""

    def __init__(
        self,
        gateway: Gateway,
        symbols: str | list[str] = "ES.FUT",
        stype_in: str = "parent",
        start: int | None = None,
        key: str = DEMO_KEY,
    ) -> None:
        self.gateway = gateway
        self.records: list[Any] = []
        self.live = databento.Live(key=key, gateway=gateway.host, port=gateway.port, heartbeat_interval_s=5)
        self.live.add_callback(self.records.append)
        self.live.subscribe(DATASET, "trades", symbols, stype_in, start=start)
        self.number = len(gateway.sessions) - 1
        self.live.start()

    def until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> Self:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"{len(self.records)} records, {self.gateway.stats()}"
            time.sleep(0.005)
        return self

    def until_finished(self) -> Self:
        """Until the market is over and its last heartbeat has arrived."""
        stats = self.gateway.sessions[self.number]
        return self.until(lambda: stats.finished and len(self.heartbeats) >= stats.heartbeats)

    def until_closed(self, timeout_s: float = 10.0) -> None:
        """Until the connection has ended; raises BentoError if the client calls that an error."""
        deadline = time.monotonic() + timeout_s
        self.live.block_for_close(timeout_s)
        assert time.monotonic() < deadline, "still connected"

    def of(self, kind: type) -> list[Any]:
        return [record for record in list(self.records) if isinstance(record, kind)]

    @property
    def trades(self) -> list[Any]:
        return self.of(TradeMsg)

    @property
    def wire(self) -> bytes:
        return b"".join(bytes(trade) for trade in self.trades)

    def system(self, code: SystemCode) -> list[Any]:
        return [record for record in self.of(SystemMsg) if record.code == code]

    @property
    def heartbeats(self) -> list[Any]:
        return self.system(SystemCode.HEARTBEAT)

    @property
    def mapped(self) -> set[str]:
        return {record.stype_out_symbol for record in self.of(SymbolMappingMsg)}


@contextmanager
def connected(gateway: Gateway, *arguments: Any, **named: Any) -> Iterator[Client]:
    client = Client(gateway, *arguments, **named)
    try:
        yield client
    finally:
        client.live.terminate()


def serve(source: Source = MARKET, **options: Any) -> Any:
    return running(FaultyGateway(source, **options) if "faults" in options else Gateway(source, **options))


def of_root(root: str) -> Trades:
    found: Trades = ALL[[ROOT[number] == root for number in ALL["instrument_id"].tolist()]]
    return found


def of_raw(raw: str) -> Trades:
    number = next(instrument.instrument_id for instrument in MARKET.instruments if instrument.raw == raw)
    found: Trades = ALL[ALL["instrument_id"] == number]
    return found


def recorded(*times_s: float) -> Recorded:
    """One trade of ESH6 at each of these times after a whole minute."""
    trades = empty_trades(len(times_s))
    trades["ts_event"] = trades["ts_recv"] = [1_773_241_200 * SECOND_NS + round(at * SECOND_NS) for at in times_s]
    trades["instrument_id"], trades["size"], trades["side"] = 1, 1, b"B"
    trades["price"] = 6_800 * SECOND_NS
    return Recorded(trades, [Instrument(1, "ESH6", "ES")])


# -- who may come in


def test_a_wrong_key_is_refused() -> None:
    with serve() as gateway, pytest.raises(BentoError, match="Authentication failed"):
        Client(gateway, key="db-00000000000000000000000000000")


def test_another_dataset_is_refused() -> None:
    with serve() as gateway:
        live = databento.Live(key=DEMO_KEY, gateway=gateway.host, port=gateway.port)
        with pytest.raises(BentoError, match="Unknown dataset"):
            live.subscribe("XNAS.ITCH", "trades", "AAPL")


# -- what is subscribed is what comes


def test_a_trade_has_the_layout_of_the_clients_own_record() -> None:
    assert np.dtype([(name, kind) for name, kind in TradeMsg._dtypes]) == TRADE


def test_a_parent_brings_every_outright_and_spread_of_its_root_and_nothing_else() -> None:
    with serve() as gateway, connected(gateway, "ES.FUT") as client:
        client.until_finished()
        assert client.wire == of_root("ES").tobytes()
        assert client.mapped == {i.raw for i in MARKET.instruments if i.root == "ES"}
        assert {"ESH6", "ESM6", "ESH6-ESM6"} <= client.mapped
        assert gateway.sessions[0].spreads == sum(len(of_raw(raw)) for raw in client.mapped if "-" in raw)


def test_a_raw_symbol_brings_that_contract_alone() -> None:
    with serve() as gateway, connected(gateway, ["ESM6"], "raw_symbol") as client:
        client.until_finished()
        assert client.wire == of_raw("ESM6").tobytes()


@pytest.mark.parametrize(("symbol", "raw"), [("ES.v.0", "ESH6"), ("ES.n.1", "ESM6"), ("6N.c.0", "6NH6")])
def test_a_continuous_symbol_is_mapped_to_one_contract(symbol: str, raw: str) -> None:
    with serve() as gateway, connected(gateway, symbol, "continuous") as client:
        client.until_finished()
        (mapping,) = client.of(SymbolMappingMsg)
        assert (mapping.stype_in_symbol, mapping.stype_out_symbol) == (symbol, raw)
        assert mapping.start_ts == mapping.end_ts == UNDEF_TIMESTAMP
        assert client.wire == of_raw(raw).tobytes()


def test_volume_and_calendar_rank_differ_once_the_volume_has_moved() -> None:
    market = Market(roots=["6N"], trades_per_minute=60, first=MARKET.days[0].replace(day=13))
    with serve(market) as gateway, connected(gateway, ["6N.v.0", "6N.c.0"], "continuous") as client:
        client.until_finished()
        assert [m.stype_out_symbol for m in client.of(SymbolMappingMsg)] == ["6NM6", "6NH6"]


def test_all_symbols_brings_everything() -> None:
    with serve() as gateway, connected(gateway, "ALL_SYMBOLS", "raw_symbol") as client:
        client.until_finished()
        assert client.wire == ALL.tobytes()


def test_metadata_mappings_and_acknowledgement_come_before_the_first_trade() -> None:
    with serve() as gateway, connected(gateway) as client:
        client.until_finished()
        metadata = client.live.metadata
        assert metadata is not None
        assert metadata.dataset == DATASET
        assert metadata.version == 3
        kinds = [type(record) for record in client.records[:7]]
        assert kinds[:6] == [SymbolMappingMsg] * 5 + [SystemMsg]
        assert client.records[5].code == SystemCode.SUBSCRIPTION_ACK
        assert client.live.symbology_map[of_raw("ESH6")["instrument_id"][0].item()] == "ESH6"


def test_a_subscription_of_several_lines_has_one_acknowledgement_and_names_what_it_does_not_know() -> None:
    symbols = [f"ESH6-X{i}" for i in range(700)] + ["ESH6"]
    with serve() as gateway, connected(gateway, symbols, "raw_symbol") as client:
        client.until_finished()
        errors = client.of(ErrorMsg)
        assert len(errors) == 700
        assert {error.code for error in errors} == {ErrorCode.SYMBOL_RESOLUTION_FAILED}
        assert "ESH6-X0" in errors[0].err
        assert len(client.system(SystemCode.SUBSCRIPTION_ACK)) == 1
        assert client.wire == of_raw("ESH6").tobytes()


def test_a_subscription_after_the_start_adds_to_the_session() -> None:
    with serve(speed=2_000) as gateway, connected(gateway, "ESH6", "raw_symbol") as client:
        client.until(lambda: len(client.trades) > 10)
        client.live.subscribe(DATASET, "trades", "6NH6", "raw_symbol")
        kiwi = int(of_raw("6NH6")["instrument_id"][0])
        client.until(lambda: any(trade.instrument_id == kiwi for trade in client.trades))
        assert client.mapped == {"ESH6", "6NH6"}
        assert len(client.system(SystemCode.SUBSCRIPTION_ACK)) == 2


def test_a_replay_cannot_be_asked_for_after_the_start() -> None:
    with serve(speed=2_000) as gateway, connected(gateway) as client:
        client.until(lambda: len(client.trades) > 10)
        client.live.subscribe(DATASET, "trades", "6N.FUT", "parent", start=0)
        with pytest.raises(BentoError, match="before the session starts"):
            client.until_closed()


def test_another_schema_is_an_error_that_ends_the_session() -> None:
    with serve() as gateway:
        live = databento.Live(key=DEMO_KEY, gateway=gateway.host, port=gateway.port)
        records: list[Any] = []
        live.add_callback(records.append)
        live.subscribe(DATASET, "mbo", "ES.FUT", "parent")
        live.start()
        with pytest.raises(BentoError, match="Invalid schema mbo"):
            live.block_for_close(10)
        assert [record.code for record in records] == [ErrorCode.INVALID_SUBSCRIPTION]


# -- the market's clock and its heartbeats


def test_every_minute_is_closed_within_a_second_by_a_trade_or_a_heartbeat() -> None:
    """A trade 50 ms after the end may close it, or a heartbeat a second after."""
    with serve() as gateway, connected(gateway, "6N.FUT") as client:
        client.until_finished()
        trades = np.array([trade.ts_recv for trade in client.trades])
        beats = np.array([beat.ts_event for beat in client.heartbeats])
        ends = np.arange(MARKET_OPEN_NS + MINUTE_NS, int(beats[-1]) - SECOND_NS, MINUTE_NS)
        by_trade = np.append(trades, 2**63 - 1)[np.searchsorted(trades, ends + 50_000_000)]
        by_beat = beats[np.searchsorted(beats, ends + SECOND_NS)]
        assert len(ends) == 23 * 60
        assert (np.minimum(by_trade, by_beat) - ends).max() <= SECOND_NS


def test_a_quiet_session_hears_a_heartbeat_every_interval_of_market_time_in_order() -> None:
    with serve() as gateway, connected(gateway, "6N.FUT") as client:
        client.until_finished()
        times = [r.ts_recv if isinstance(r, TradeMsg) else r.ts_event for r in client.records[7:]]
        assert times == sorted(times)
        assert np.diff(times).max() <= 5 * SECOND_NS
        quiet = [beat.ts_event % MINUTE_NS for beat in client.heartbeats]
        assert all(beat.is_heartbeat() for beat in client.heartbeats)
        assert len(quiet) > 5_000


def test_busy_stretches_have_no_heartbeats() -> None:
    source = recorded(*np.arange(1.0, 300.0, 0.5))
    with serve(source) as gateway, connected(gateway) as client:
        client.until_finished()
        inside = [beat for beat in client.heartbeats if beat.ts_event < source.trades["ts_recv"][-1]]
        assert inside == []


def test_the_last_heartbeat_closes_the_last_minute_and_the_connection_stays() -> None:
    source = recorded(10.0, 70.0)
    with serve(source) as gateway, connected(gateway) as client:
        client.until_finished()
        assert client.heartbeats[-1].ts_event == int(source.trades["ts_recv"][0]) - 10 * SECOND_NS + 122 * SECOND_NS
        assert client.live.is_connected()
        before = len(client.heartbeats)
        client.until(lambda: len(client.heartbeats) > before, timeout_s=7)
        assert client.heartbeats[-1].ts_event == client.heartbeats[-2].ts_event


def test_a_market_that_lasts_longer_than_its_trades_sends_heartbeats_to_its_end() -> None:
    source = recorded(10.0)
    until_ns = int(source.trades["ts_recv"][0]) + 600 * SECOND_NS
    with serve(source, until_ns=until_ns) as gateway, connected(gateway) as client:
        client.until_finished()
        assert client.heartbeats[-1].ts_event == until_ns + 2 * SECOND_NS
        assert len(client.heartbeats) >= 120


def test_heartbeats_carry_consecutive_sessions_over_a_weekend() -> None:
    market = Market(roots=["ES"], first=MARKET.days[0].replace(day=13), sessions=2, trades_per_minute=20)
    with serve(market) as gateway, connected(gateway) as client:
        client.until_finished()
        assert client.wire == np.concatenate(list(market.batches(0))).tobytes()
        times = [r.ts_recv if isinstance(r, TradeMsg) else r.ts_event for r in client.records]
        assert np.diff(np.array(times)).max() <= 5 * SECOND_NS
        assert len(client.heartbeats) > 49 * 60 * 12


def test_at_a_speed_no_record_comes_before_its_market_time() -> None:
    source = recorded(*np.arange(0.0, 120.0, 1.0))
    arrivals: list[tuple[int, float]] = []
    with serve(source, speed=60) as gateway:
        live = databento.Live(key=DEMO_KEY, gateway=gateway.host, port=gateway.port)
        live.add_callback(lambda record: arrivals.append((record.ts_event, time.monotonic())))
        live.subscribe(DATASET, "trades", "ES.FUT", "parent")
        started = time.monotonic()
        live.start()
        while not gateway.sessions[0].finished:
            time.sleep(0.01)
        live.terminate()
    begin_ns = int(source.trades["ts_event"][0]) - SECOND_NS
    early = [(at - started) - (ts_event - begin_ns) / 60 / 1e9 for ts_event, at in arrivals if ts_event > begin_ns]
    assert len(early) > 100
    assert min(early) > -0.001
    assert np.median(early) < 0.5


def test_a_rebased_market_happens_now_with_its_minutes_kept() -> None:
    source = recorded(*np.arange(0.0, 7_200.0, 0.1))
    with serve(source, speed=1, rebase=True) as gateway, connected(gateway) as client:
        before = time.time_ns()
        client.until(lambda: len(client.trades) > 10)
        for trade in client.trades:
            assert abs(trade.ts_recv - before) < 3 * SECOND_NS
            assert (trade.ts_recv - int(source.trades["ts_recv"][0])) % (SECOND_NS // 10) == 0
        offset = gateway.clock.offset_ns
        assert offset % MINUTE_NS == 0
        assert offset > 0


def test_a_rebased_market_has_no_other_speed() -> None:
    with pytest.raises(ValueError, match="rebased"):
        Gateway(MARKET, speed=2, rebase=True)


def test_the_minute_log_says_when_each_minutes_end_was_written() -> None:
    source = recorded(10.0, 59.0, 60.02, 60.07, 170.0)
    first = int(source.trades["ts_recv"][0]) - 10 * SECOND_NS
    before = time.time_ns()
    with serve(source, log_minutes=True) as gateway, connected(gateway) as client:
        client.until_finished()
    # A record 20 ms after the minute's end may not close it; one 70 ms after does. Quiet minutes: heartbeat, +1 s.
    logged = [((entry.end_ns - first) / 1e9, (entry.ts_ns - first) / 1e9) for entry in gateway.minutes]
    assert logged[-3:] == [(60.0, 60.07), (120.0, 121.0), (180.0, 181.0)]
    assert all(before < entry.wall_ns < time.time_ns() for entry in gateway.minutes)


# -- replay


def test_a_replay_is_identical_to_what_was_sent_live() -> None:
    with serve() as gateway:
        with connected(gateway) as client:
            live = client.until_finished().wire
        with connected(gateway, start=0) as client:
            assert client.until_finished().wire == live
            (completed,) = client.system(SystemCode.REPLAY_COMPLETED)
            assert client.records.index(completed) > client.records.index(client.trades[-1])


def test_a_replay_begins_with_the_ts_event_it_asks_for() -> None:
    trades = of_root("ES")
    start = int(trades["ts_event"][1_000])
    with serve() as gateway:
        with connected(gateway) as client:
            client.until_finished()
        with connected(gateway, start=start) as client:
            assert client.until_finished().wire == trades[trades["ts_event"] >= start].tobytes()


def test_a_session_with_start_goes_on_live_after_its_replay() -> None:
    begin_ns = int(ALL["ts_recv"][len(ALL) // 2])
    with serve(begin_ns=begin_ns) as gateway, connected(gateway, start=0) as client:
        client.until_finished()
        (completed,) = client.system(SystemCode.REPLAY_COMPLETED)
        replayed = [r for r in client.records[: client.records.index(completed)] if isinstance(r, TradeMsg)]
        assert replayed[-1].ts_recv <= begin_ns < client.trades[len(replayed)].ts_recv
        assert client.wire == of_root("ES").tobytes()
        before = client.records[: client.records.index(completed)]
        assert not [r for r in before if isinstance(r, SystemMsg) and r.code == SystemCode.HEARTBEAT]


def test_a_session_without_start_begins_at_the_present() -> None:
    begin_ns = int(ALL["ts_recv"][len(ALL) // 2])
    with serve(begin_ns=begin_ns) as gateway, connected(gateway) as client:
        trades = of_root("ES")
        assert client.until_finished().wire == trades[trades["ts_event"] >= begin_ns].tobytes()


def test_a_client_that_comes_back_with_start_misses_nothing() -> None:
    with serve(speed=40_000) as gateway:
        with connected(gateway) as client:
            client.until(lambda: len(client.trades) > 1_000)
        first = client.trades
        time.sleep(0.2)
        last_ns = first[-1].ts_event
        with connected(gateway, start=last_ns) as client:
            client.until_finished()
        kept = [trade for trade in first if trade.ts_event < last_ns]
        assert b"".join(map(bytes, kept)) + client.wire == of_root("ES").tobytes()


def test_a_replay_is_identical_in_another_process_run_by_the_same_seed(tmp_path: Path) -> None:
    ready, stats = tmp_path / "ready", tmp_path / "stats.json"
    command = [sys.executable, "-m", "rooney.sim.databento.gateway", "--ready-file", str(ready), "--stats", str(stats)]
    command += ["--roots", "ES,6N", "--trades-per-minute", "60", "--minute-log", str(tmp_path / "minutes")]
    environment = {k: v for k, v in os.environ.items() if k != "DATABENTO_API_KEY"}
    with child(command, cwd=TESTS.parent, env=environment) as process:
        deadline = time.monotonic() + 20
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        records: list[Any] = []
        live = databento.Live(key=DEMO_KEY, gateway="127.0.0.1", port=int(ready.read_text()))
        live.add_callback(records.append)
        live.subscribe(DATASET, "trades", "ES.FUT", "parent")
        live.start()
        expected = of_root("ES")
        while sum(isinstance(record, TradeMsg) for record in list(records)) < len(expected):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        live.terminate()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == EXIT_OK
    assert b"".join(bytes(record) for record in records if isinstance(record, TradeMsg)) == expected.tobytes()
    assert json.loads(stats.read_text())["total"]["trades"] == len(expected)
    assert len((tmp_path / "minutes").read_text().splitlines()) > 1_000


# -- a slow reader


def test_a_client_that_does_not_read_holds_the_market_up_and_then_gets_all_of_it() -> None:
    trades = np.tile(recorded(*np.arange(0.0, 100.0, 0.001)).trades, 20)
    source = Recorded(trades[np.argsort(trades["ts_recv"], kind="stable")], [Instrument(1, "ESH6", "ES")])
    with serve(source) as gateway, Raw(gateway) as raw:
        time.sleep(0.5)
        held = gateway.sessions[0].trades
        time.sleep(0.3)
        assert gateway.sessions[0].trades == held < len(trades) / 4
        assert raw.count_trades(len(trades)) == len(trades)


class Raw:
    """A client in a few lines of text, which reads only when told to."""

    def __init__(self, gateway: Gateway) -> None:
        from databento.common.cram import get_challenge_response

        self.socket = socket.create_connection((gateway.host, gateway.port), timeout=10)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        challenge = self.file.readline().decode().strip().partition("=")[2]
        self._say(f"auth={get_challenge_response(challenge, DEMO_KEY)}|dataset={DATASET}|heartbeat_interval_s=30")
        assert self.file.readline().startswith(b"success=1")
        self._say("schema=trades|stype_in=parent|symbols=ES.FUT|id=0|is_last=1")
        self._say("start_session=0")

    def _say(self, line: str) -> None:
        self.socket.sendall(f"{line}\n".encode())

    def count_trades(self, expected: int) -> int:
        """Trades after the metadata: records start with their length in words, and only trades have 12."""
        self.file.read(128)
        found = 0
        while found < expected:
            words = self.file.read(1)[0]
            found += words == 12
            self.file.read(4 * words - 1)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()


def test_the_client_gets_records_by_the_hundred_thousand_a_second() -> None:
    """Measured 860,000/s with the gateway alone on a core; here it shares one, and the limit only catches a loop."""
    source = Recorded(np.repeat(ALL, 10), MARKET.instruments)
    with serve(source) as gateway:
        count = collections.Counter[str]()
        live = databento.Live(key=DEMO_KEY, gateway=gateway.host, port=gateway.port)
        live.add_callback(lambda record: count.update((type(record).__name__,)))
        live.subscribe(DATASET, "trades", "ALL_SYMBOLS")
        live.start()
        started = time.monotonic()
        while count["TradeMsg"] < len(source.trades):
            assert time.monotonic() - started < 20
            time.sleep(0.01)
        live.terminate()
    assert len(source.trades) / (time.monotonic() - started) > 20_000


# -- faults


def test_refused_authentication_strikes_once() -> None:
    with serve(faults=[faults.RefuseAuth(error="Too many connections.")]) as gateway:
        with pytest.raises(BentoError, match="Too many connections"):
            Client(gateway)
        with connected(gateway) as client:
            client.until_finished()


def test_a_gateway_that_hangs_before_authentication_says_nothing() -> None:
    with serve(faults=[faults.HangBeforeAuth()]) as gateway:
        address = (gateway.host, gateway.port)
        with socket.create_connection(address, timeout=0.3) as connection, pytest.raises(TimeoutError):
            connection.recv(1)
        with connected(gateway) as client:
            client.until_finished()


def test_a_gateway_that_hangs_after_authentication_sends_no_metadata() -> None:
    with serve(faults=[faults.HangAfterAuth()]) as gateway, connected(gateway) as client:
        time.sleep(0.5)
        assert client.live.is_connected()
        assert client.live.metadata is None
        assert client.records == []


def test_a_clean_close_delivers_all_before_it_and_is_no_error() -> None:
    with serve(faults=[faults.Close(after=100)]) as gateway, connected(gateway) as client:
        client.until_closed()
        assert client.wire == of_root("ES")[:100].tobytes()


def test_a_reset_is_an_error() -> None:
    with serve(faults=[faults.Reset(after=1_000)]) as gateway, connected(gateway) as client:
        with pytest.raises(BentoError, match="reset"):
            client.until_closed()
        assert of_root("ES")[:1_000].tobytes().startswith(client.wire)


def test_a_silent_gateway_keeps_the_connection_open() -> None:
    with serve(faults=[faults.Silence(after=100)]) as gateway, connected(gateway) as client:
        client.until(lambda: len(client.trades) == 100)
        before = len(client.records)
        time.sleep(0.5)
        assert client.live.is_connected()
        assert len(client.records) == before


def test_a_silence_may_end_and_nothing_is_lost() -> None:
    with serve(faults=[faults.Silence(after=100, seconds=0.3)]) as gateway, connected(gateway) as client:
        client.until_finished()
        assert client.wire == of_root("ES").tobytes()


def test_an_error_record_before_the_close_is_what_the_client_raises() -> None:
    script = [faults.ErrorThenClose(after=10, code="connection_limit_exceeded", text="Too many sessions.")]
    with serve(faults=script) as gateway, connected(gateway) as client:
        with pytest.raises(BentoError, match="Too many sessions"):
            client.until_closed()
        assert client.of(ErrorMsg)[0].code == ErrorCode.CONNECTION_LIMIT_EXCEEDED


def test_an_unreachable_gateway_refuses_connections_and_comes_back_on_its_port() -> None:
    with serve(faults=[faults.Unreachable(after=100, seconds=0.7)], speed=40_000) as gateway:
        with connected(gateway) as client, pytest.raises(BentoError):
            client.until_closed()
        with pytest.raises(BentoError, match="failed"):
            Client(gateway)
        time.sleep(1.0)
        with connected(gateway, start=0) as client:
            client.until_finished()
            assert client.wire == of_root("ES").tobytes()


def test_garbage_ends_the_session_without_an_error_as_the_client_documents() -> None:
    with serve(faults=[faults.Garbage(after=100)]) as gateway, connected(gateway) as client:
        with suppress(BentoError):
            client.until_closed()
        assert of_root("ES")[:100].tobytes().startswith(client.wire)


def test_unknown_instrument_ids_are_never_mapped() -> None:
    with serve(faults=[faults.UnknownIds(after=50, count=3)]) as gateway, connected(gateway) as client:
        client.until_finished()
        strangers = [trade for trade in client.trades if trade.instrument_id not in client.live.symbology_map]
        assert [trade.instrument_id for trade in strangers] == [faults.UNKNOWN_ID + i for i in range(3)]
        assert client.trades.index(strangers[0]) == 50
        assert gateway.sessions[0].injected == 3


def test_duplicates_repeat_the_last_trades() -> None:
    with serve(faults=[faults.Duplicates(after=50, count=5)]) as gateway, connected(gateway) as client:
        client.until_finished()
        expected = of_root("ES")
        assert client.wire == np.concatenate((expected[:50], expected[45:50], expected[50:])).tobytes()


def test_trades_out_of_order_come_last_first() -> None:
    with serve(faults=[faults.OutOfOrder(after=50, count=5)], speed=40_000) as gateway, connected(gateway) as client:
        client.until_finished()
        expected = of_root("ES")
        assert client.wire == np.concatenate((expected[:50], expected[50:55][::-1], expected[55:])).tobytes()


def test_absurd_prices_come_as_extra_trades() -> None:
    with serve(faults=[faults.AbsurdPrices(after=50)]) as gateway, connected(gateway) as client:
        client.until_finished()
        assert [trade.price for trade in client.trades[50:54]] == [-SECOND_NS, 0, UNDEF_PRICE, 10**18]
        assert len(client.trades) == len(of_root("ES")) + 4


def test_time_jumps_come_as_extra_trades_from_the_future_the_past_and_nowhere() -> None:
    with serve(faults=[faults.TimeJumps(after=50)]) as gateway, connected(gateway) as client:
        client.until_finished()
        base = client.trades[49].ts_event
        jumps = [trade.ts_event for trade in client.trades[50:53]]
        assert jumps == [base + 10 * faults.DAY_NS, base - 10 * faults.DAY_NS, UNDEF_TIMESTAMP]


def test_a_fault_that_repeats_trades_waits_for_the_first_one() -> None:
    with serve(faults=[faults.Duplicates()]) as gateway, connected(gateway) as client:
        client.until_finished()
        expected = of_root("ES")
        assert client.wire == np.concatenate((expected[:1], expected)).tobytes()


def test_mappings_may_be_repeated_and_changed_in_mid_session() -> None:
    script = [faults.RepeatMappings(after=50), faults.ChangeMapping(after=60, requested="ES.v.0", raw="ESM6")]
    with serve(faults=script) as gateway, connected(gateway, "ES.v.0", "continuous") as client:
        client.until_finished()
        assert [m.stype_out_symbol for m in client.of(SymbolMappingMsg)] == ["ESH6", "ESH6", "ESM6"]
        assert {trade.instrument_id for trade in client.trades[:60]} == {of_raw("ESH6")["instrument_id"][0]}
        assert {trade.instrument_id for trade in client.trades} == {
            of_raw(raw)["instrument_id"][0] for raw in ("ESH6", "ESM6")
        }


def test_a_fault_may_strike_at_a_market_time() -> None:
    expected = of_root("ES")
    at_ns = int(expected["ts_recv"][200])
    with serve(faults=[faults.Close(at_ns=at_ns)]) as gateway, connected(gateway) as client:
        client.until_closed()
        assert client.wire == expected[:200].tobytes()


def test_faults_strike_in_the_order_of_the_script_each_once() -> None:
    written = b'[{"type": "Close", "after": 100}, {"type": "RefuseAuth"}, {"type": "Close", "after": 50}]'
    script = msgspec.json.decode(written, type=list[faults.Fault])
    with serve(faults=script) as gateway:
        with connected(gateway, start=0) as client:
            client.until_closed()
            assert len(client.trades) == 100
        with pytest.raises(BentoError):
            Client(gateway)
        with connected(gateway, start=0) as client:
            client.until_closed()
            assert len(client.trades) == 50
        with connected(gateway, start=0) as client:
            assert client.until_finished().wire == of_root("ES").tobytes()
        assert gateway.stats()["total"]["faults"] == 3


# -- recorded files


@needs_recorded_data
def test_the_recorded_gold_trades_are_delivered_one_and_all_in_their_order() -> None:
    import polars as pl

    path = RECORDED_DATA / "trades/GC_lean_2013-10-07_08.parquet"
    table = pl.read_parquet(path)
    with serve(read([path])) as gateway, connected(gateway, "GC.FUT") as client:
        client.until_finished()
        trades = client.trades
        assert len(trades) == 92_514
        assert [trade.sequence for trade in trades] == table["seq"].to_list()
        assert [trade.price / SECOND_NS for trade in trades] == table["price"].to_list()
        assert [trade.ts_recv for trade in trades] == table["ts_event"].to_physical().to_list()
        names = client.live.symbology_map
        assert [names[trade.instrument_id] for trade in trades] == table["symbol"].to_list()


@needs_recorded_data
def test_the_recorded_es_trades_are_the_same_from_parquet_and_from_the_order_book_file() -> None:
    parquet = read([RECORDED_DATA / "trades/ESH4_databento_2023-12-25.parquet"])
    book = read([RECORDED_DATA / "dbn/nt_esh4-glbx-mdp3-20231225.mbo.dbn.zst"])
    assert len(parquet.trades) == 2_973
    assert parquet.instruments == book.instruments == [Instrument(17077, "ESH4", "ES")]
    for field in ("instrument_id", "ts_event", "ts_recv", "price", "size", "side", "flags", "sequence"):
        assert (parquet.trades[field] == book.trades[field]).all()


@needs_recorded_data
@pytest.mark.parametrize(("schema", "count"), [("trades", 4), ("tbbo", 4)])
def test_databentos_own_files_with_trades_are_read(schema: str, count: int) -> None:
    source = read([RECORDED_DATA / f"dbn/dbpy_glbx_test_data.{schema}.dbn.zst"])
    assert len(source.trades) == count
    assert source.instruments == [Instrument(5482, "ESH1", "ES")]


@needs_recorded_data
def test_a_recorded_live_session_with_many_schemas_gives_each_trade_once() -> None:
    source = read([RECORDED_DATA / "dbn/dbpy_test_data.live.dbn.zst"])
    assert len(source.trades) == 2
    assert source.instruments == [Instrument(183748, "ESZ4", "ES")]


@needs_recorded_data
def test_a_file_without_trades_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match=r"ohlcv-1m\.dbn\.zst: no trades"):
        read([RECORDED_DATA / "dbn/dbpy_glbx_test_data.ohlcv-1m.dbn.zst"])
    with pytest.raises(ConfigError, match=r"GC_lean_2013\.parquet: no trades"):
        read([RECORDED_DATA / "bars_1m/GC_lean_2013.parquet"])


def trade(instrument_id: int, ts_recv: int) -> TradeMsg:
    return TradeMsg(1, instrument_id, ts_recv - 1, 5 * SECOND_NS, 2, Action.TRADE, Side.BID, 0, ts_recv, sequence=9)


def write_dbn(path: Path, *records: Any) -> Path:
    """A DBN file as a live session has it: names come as records, none are in the header."""
    metadata = Metadata(DATASET, 0, stype_in=None, stype_out=SType.INSTRUMENT_ID, schema=None, version=3)
    path.write_bytes(bytes(metadata) + b"".join(map(bytes, records)))
    return path


def mapping(instrument_id: int, raw: str) -> SymbolMappingMsg:
    raw_symbol, number = SType.RAW_SYMBOL, SType.INSTRUMENT_ID
    return SymbolMappingMsg(0, instrument_id, 0, raw_symbol, raw, number, raw, UNDEF_TIMESTAMP, UNDEF_TIMESTAMP)


def test_a_folder_of_dbn_files_is_merged_by_ts_recv_with_one_id_per_contract(tmp_path: Path) -> None:
    write_dbn(tmp_path / "b.dbn", mapping(7, "ESZ5"), trade(7, 10), trade(7, 30))
    write_dbn(tmp_path / "a.dbn", mapping(7, "NQZ5"), trade(7, 20), trade(7, 40))
    source = read([tmp_path])
    names = {instrument.instrument_id: instrument.raw for instrument in source.instruments}
    assert source.trades["ts_recv"].tolist() == [10, 20, 30, 40]
    assert [names[number] for number in source.trades["instrument_id"].tolist()] == ["ESZ5", "NQZ5"] * 2


def test_of_a_file_with_several_schemas_each_trade_is_taken_once(tmp_path: Path) -> None:
    order = MBOMsg(1, 7, 9, 1, 5 * SECOND_NS, 2, Action.TRADE, Side.BID, 10)
    added = MBOMsg(1, 7, 9, 1, 5 * SECOND_NS, 2, Action.ADD, Side.BID, 10)
    both = write_dbn(tmp_path / "both.dbn", mapping(7, "ESZ5"), added, order, trade(7, 10))
    book = write_dbn(tmp_path / "book.dbn", mapping(7, "ESZ5"), added, order)
    assert len(read([both]).trades) == len(read([book]).trades) == 1


def test_trades_of_a_contract_without_a_name_are_refused(tmp_path: Path) -> None:
    path = write_dbn(tmp_path / "nameless.dbn", trade(7, 10))
    with pytest.raises(ConfigError, match=r"nameless\.dbn: trades of instrument_id \[7\]"):
        read([path])


def test_a_torn_file_and_an_empty_folder_are_errors_that_say_so(tmp_path: Path) -> None:
    (tmp_path / "torn.dbn").write_bytes(b"DBN\x03 and then nothing that makes sense")
    with pytest.raises(ConfigError, match=r"torn\.dbn"):
        read([tmp_path / "torn.dbn"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no \.parquet"):
        read([tmp_path / "empty"])
