"""History into an empty Redis: what a hub would have left there, and workers that cannot tell the difference."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from research.data.frame import STORED
from research.data.store import Store
from rooney.bus.keys import market_key
from rooney.bus.publisher import Publisher
from rooney.cli import cli
from rooney.errors import ConfigError
from rooney.market import sessions
from rooney.market.bars import ClosedMinute, MinuteBuilder
from rooney.market.instruments import group_of, parse_contract
from rooney.market.messages import decode_bar, decode_roll
from rooney.market.sessions import MINUTE_NS
from rooney.market.tape import MinuteAssembler, Published
from rooney.market.timeframes import TIMEFRAMES
from rooney.sim.market import Market
from tests.support.hub import plain
from tests.support.ledgers import read_only
from tests.support.paths import ROOT
from tests.support.private_redis import PrivateRedis, private_redis
from tests.support.waiting import until
from tests.support.workers import Zygote

ROOTS = ["ES", "6A", "GC", "ZC"]
FIRST = date(2026, 3, 9)
SESSIONS = 6
CUT = date(2026, 3, 16)  # filled up to its open, followed from there on; 6A and ES roll before, in the midst
ROLLS = {"ES": date(2026, 3, 11), "6A": date(2026, 3, 13)}
UNTIL = "2026-03-15T22:00Z"
OPENS = sessions.session_open_ns("fx", CUT)


class Followed:
    """What a hub makes of six sessions of trades: what it publishes, and every contract's minutes."""

    def __init__(self) -> None:
        market = Market(3, FIRST, SESSIONS, trades_per_minute=60.0, roots=ROOTS, rolls=ROLLS)
        self.closed: list[ClosedMinute] = []
        start_ns = min(sessions.session_open_ns(group_of(root), FIRST) for root in ROOTS)
        groups = [group_of(root) for root in ROOTS]
        builder = MinuteBuilder(groups, start_ns, 50_000_000, self.closed.append, lambda: (1 << 62) - 1)
        assembler = MinuteAssembler((root, group_of(root), False) for root in ROOTS)
        for instrument in market.instruments:
            contract = parse_contract(instrument.raw, FIRST)
            builder.map(instrument.instrument_id, contract)
            if contract is not None:
                assembler.list_contract(contract)
        for batch in market.batches(0):
            columns = (batch[name].tolist() for name in ("instrument_id", "ts_recv", "price", "size"))
            for trade in zip(*columns, strict=True):
                builder.on_trade(*trade)
        self.published: list[Published] = [assembler.assemble(closed, lambda: 0) for closed in self.closed]

    def rows(self, until_ns: int) -> pl.DataFrame:
        """Minutes of every contract, as a download of the parent symbols has them."""
        rows = []
        for closed in self.closed:
            ts_open = closed.ts_close - MINUTE_NS
            for one in closed.contracts:
                bar = one.bar(ts_open, 0, 0)
                prices = (bar.open, bar.high, bar.low, bar.close)
                if closed.ts_close <= until_ns:
                    rows.append((ts_open, bar.symbol, bar.contract, "1min", *prices, bar.volume))
        table = pl.DataFrame(rows, list(STORED), orient="row")
        return table.with_columns(pl.col("ts_open").cast(pl.Datetime("ns")).dt.replace_time_zone("UTC"))


@pytest.fixture(scope="module")
def followed() -> Followed:
    return Followed()


@pytest.fixture(scope="module")
def store(followed: Followed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store")
    Store(path).add(followed.rows(OPENS))
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateRedis]:
    with private_redis() as redis:
        yield redis


@pytest.fixture
def bus(server: PrivateRedis) -> Iterator[Publisher]:
    server.clear()
    with contextlib.closing(server.bus()) as bus:
        yield bus


def configuration(path: Path, socket: str, roots: list[str] = ROOTS, **strategies: Any) -> Path:
    config = {
        "data_hub": {"redis_socket": socket},
        "instruments": {root: {} for root in roots},
        "strategies": strategies,
    }
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def fill(store: Path, config: Path, *arguments: str) -> dict[str, Any]:
    """`rooney data fill`."""
    argv = ["data", "fill", str(store), "--config", str(config), "--json", *arguments]
    done = CliRunner().invoke(cli, argv)
    assert done.stdout, done.exception
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exit"] == done.exit_code
    return found


def streams(bus: Publisher, roots: list[str] = ROOTS) -> dict[str, list[Any]]:
    """Every history and roll stream, without what only a hub knows: stamps, number of trades, the rule of a roll."""
    found: dict[str, list[Any]] = {}
    for root in roots:
        for timeframe in TIMEFRAMES:
            bars = bus.history(root, timeframe, 100_000)
            found[market_key(root, timeframe)] = [msgspec.structs.replace(plain(bar), trades=0) for bar in bars]
        rolls = bus.rolls(root)
        found[market_key(root, "roll")] = [msgspec.structs.replace(roll, rule="") for roll in rolls]
    return found


def test_filling_leaves_what_the_hub_would_have_left(
    followed: Followed, store: Path, bus: Publisher, server: PrivateRedis, tmp_path: Path
) -> None:
    for published in followed.published:
        if published.minute.ts_close <= OPENS:
            bus.publish(published, channels=False)
    expected, fronts = streams(bus), bus.fronts()
    volumes = {root: bus.volumes(root, date(2026, 3, 13)) for root in ROOTS}
    lasts = {root: bus.last_prices(root) for root in ROOTS}
    server.clear()
    config = configuration(tmp_path / "c.yml", server.socket)
    argv = [sys.executable, "-m", "rooney", "data", "fill", str(store), "--config", str(config)]
    done = subprocess.run([*argv, "--until", UNTIL], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1, done.stderr  # six sessions are fewer than promised
    assert "ES   " in done.stdout
    found = streams(bus)
    assert found.keys() == expected.keys()
    for name, entries in expected.items():
        assert found[name] == entries, name
    assert [len(expected[market_key(root, "roll")]) for root in ("ES", "6A")] == [1, 1]
    assert all(len(expected[market_key(root, timeframe)]) > 4 for root in ROOTS for timeframe in TIMEFRAMES)
    assert bus.fronts() == fronts
    assert {root: bus.volumes(root, date(2026, 3, 13)) for root in ROOTS} == volumes
    assert {root: bus.last_prices(root) for root in ROOTS} == lasts
    assert bus.tape_bounds() is None


def test_the_ids_are_the_opens_in_milliseconds(
    store: Path, bus: Publisher, server: PrivateRedis, tmp_path: Path
) -> None:
    fill(store, configuration(tmp_path / "c.yml", server.socket), "--until", UNTIL)
    for root in ROOTS:
        for timeframe in TIMEFRAMES:
            for entry_id, fields in bus._redis.xrange(market_key(root, timeframe)):
                assert entry_id == f"{decode_bar(fields[b'b']).ts_open // 1_000_000}-0".encode()
        for entry_id, fields in bus._redis.xrange(market_key(root, "roll")):
            assert entry_id == f"{decode_roll(fields[b'r']).ts // 1_000_000}-0".encode()


def test_filling_twice_changes_nothing(store: Path, bus: Publisher, server: PrivateRedis, tmp_path: Path) -> None:
    config = configuration(tmp_path / "c.yml", server.socket)
    first = fill(store, config, "--until", UNTIL)
    before = {key: bus._redis.dump(key) for key in bus._redis.scan_iter()}
    again = fill(store, config, "--until", UNTIL)
    assert {key: bus._redis.dump(key) for key in bus._redis.scan_iter()} == before
    assert all(one["new"]["1min"] > 1_000 for one in first["filled"])
    assert all(set(one["new"].values()) == {0} for one in again["filled"])


def test_what_a_hub_published_stays_and_the_past_goes_before_it(
    followed: Followed, store: Path, bus: Publisher, server: PrivateRedis, tmp_path: Path
) -> None:
    late = [one for one in followed.published if one.minute.ts_close > OPENS - 60 * MINUTE_NS * 60][:120]
    for published in late:
        bus.publish(published)
    kept = {name: bus._redis.xrange(name) for name in (market_key(root, "1min") for root in ROOTS)}
    fronts = bus.fronts()
    fill(store, configuration(tmp_path / "c.yml", server.socket), "--until", UNTIL)
    for name, entries in kept.items():
        after = bus._redis.xrange(name)
        assert len(after) > len(entries) > 0
        assert [entry for entry in after if entry in entries] == entries
    assert bus.fronts() == fronts


def test_a_hub_that_publishes_meanwhile_loses_nothing(bus: Publisher, server: PrivateRedis) -> None:
    name = market_key("ES", "1min")
    stop = threading.Event()
    written: list[int] = []

    def publish() -> None:
        with contextlib.closing(server.bus()) as own:
            while not stop.is_set():
                ts = (10_000_000 + len(written)) * MINUTE_NS
                own._redis.xadd(name, {"b": b"hub"}, id=f"{ts // 1_000_000}-0")
                written.append(ts // 1_000_000)
                time.sleep(0.005)

    hub = threading.Thread(target=publish)
    hub.start()
    for k in range(30):
        assert bus.merge(name, "b", [((1_000 - k) * MINUTE_NS, b"past")]) == 1
    stop.set()
    hub.join()
    ids = [int(entry_id.split(b"-")[0]) for entry_id, _ in bus._redis.xrange(name)]
    assert ids == sorted(ids)
    assert ids[:30] == [(1_000 - k) * MINUTE_NS // 1_000_000 for k in range(29, -1, -1)]
    assert ids[30:] == written


def test_a_stream_keeps_its_length_and_the_newest(bus: Publisher) -> None:
    name = market_key("ES", "daily")
    entries = [(k * MINUTE_NS, b"%d" % k) for k in range(1, 1_001)]
    assert bus.merge(name, "b", entries, 600) == 600
    assert [fields[b"b"] for _, fields in bus._redis.xrange(name)] == [b"%d" % k for k in range(401, 1_001)]
    assert bus.merge(name, "b", entries, 600) == 0


def test_a_series_without_contracts_fills_nothing_and_says_why(
    followed: Followed, server: PrivateRedis, bus: Publisher, tmp_path: Path
) -> None:
    rows = followed.rows(OPENS).filter(pl.col("root") == "ZC").unique("ts_open", keep="first")
    Store(tmp_path / "store").add(rows.with_columns(pl.lit("").alias("contract")))
    config = configuration(tmp_path / "c.yml", server.socket, ["ZC"])
    with pytest.raises(ConfigError, match="ZC has bars that name no contract"):
        CliRunner().invoke(
            cli, ["data", "fill", str(tmp_path / "store"), "--config", str(config)], catch_exceptions=False
        )
    assert bus._redis.keys() == []


def test_instruments_that_the_store_does_not_have_are_named(
    store: Path, server: PrivateRedis, bus: Publisher, tmp_path: Path
) -> None:
    config = configuration(tmp_path / "c.yml", server.socket, ["ES", "NG"])
    found = fill(store, config, "--until", UNTIL)
    assert found["exit"] == 1
    assert found["absent"] == ["NG"]
    assert [one["symbol"] for one in found["filled"]] == ["ES"]
    assert found["filled"][0]["short"] == ["1min", "hourly", "daily"]


def test_a_worker_on_a_filled_redis_decides_as_one_that_followed_the_hub_all_along(
    followed: Followed, store: Path, tmp_path: Path
) -> None:
    blocks = {
        "ibs": {
            "mode": "dry",
            "instruments": ROOTS,
            "max_positions": 4,
            "daily_stop_loss": 1e9,
            "strategy_params": {"time_stop_bars": 0},
        },
        "breakout": {
            "mode": "dry",
            "instruments": ROOTS,
            "max_positions": 4,
            "strategy_params": {"min_channel_atr": 0.5},
        },
    }
    zygote = Zygote(tmp_path)
    before = [one for one in followed.published if one.minute.ts_close <= OPENS]
    after = [one for one in followed.published if one.minute.ts_close > OPENS]
    decided: dict[tuple[str, str], Any] = {}
    try:
        for case in ("followed", "filled", "cold"):
            with private_redis() as redis, contextlib.closing(redis.bus()) as bus:
                config = configuration(redis.directory / "config.yml", redis.socket, **blocks)
                if case == "filled":
                    fill(store, config, "--until", UNTIL)
                workers = {}
                for name in blocks:
                    state, log = tmp_path / case / name, tmp_path / f"{case}-{name}.log"
                    argv = ["worker", name, "--config", str(config), "--clock", "replay", "--state", str(state)]
                    env = {"ROONEY_RUNTIME_DIRECTORY": str(tmp_path / case)}
                    workers[name] = zygote.start(argv, log, env), state / "ledger.sqlite", log
                for _, _, log in workers.values():
                    until(lambda log=log: log.exists() and "ready:" in log.read_text(), 60)  # type: ignore[misc]
                for published in before + after if case == "followed" else after:
                    bus.publish(published, channels=False)
                for name, (forked, ledger, log) in workers.items():
                    if case != "cold":
                        assert ("4 of 4 instruments warm" in log.read_text()) is (case == "filled")
                    until(lambda path=ledger: position(path) >= after[-1].minute.ts_close, 60)  # type: ignore[misc]
                    assert forked.kill(signal.SIGTERM) == 0
                    decided[case, name] = decisions(ledger)
    finally:
        zygote.close()
    for name in blocks:
        features = {case: [row[:3] for row in decided[case, name]] for case in ("followed", "filled", "cold")}
        assert len(features["followed"]) > 50
        assert features["filled"] == features["followed"]
        assert features["cold"] != features["followed"]
    # A position from before the cut blocks an entry until its exit, which does not depend on it; then all is the same.
    for root in ROOTS:
        mine = {case: [row for row in decided[case, "ibs"] if row[1] == root] for case in ("followed", "filled")}
        synchronous = next(ts for ts, _, features, _, _ in mine["filled"] if json.loads(features)["ibs"] >= 0.8)
        filled, alike = ([row for row in mine[case] if row[0] > synchronous] for case in ("filled", "followed"))
        assert filled == alike
    assert any(role is not None for *_, role in decided["filled", "ibs"])


def position(ledger: Path) -> int:
    with read_only(ledger) as db:
        row = db.execute("SELECT ts_mark FROM status").fetchone()
    return row[0] if row else 0


def decisions(ledger: Path) -> list[tuple[Any, ...]]:
    """(mark, symbol, features bit for bit, reason, role of the intent) from the cut on."""
    with read_only(ledger) as db:
        found: list[tuple[Any, ...]] = db.execute(
            "SELECT d.ts_mark, d.symbol, d.features, d.reason, i.role FROM decision d LEFT JOIN intent i"
            " ON i.ts_mark = d.ts_mark AND i.symbol = d.symbol WHERE d.ts_mark > ? ORDER BY 1, 2",
            (OPENS,),
        ).fetchall()
    return found
