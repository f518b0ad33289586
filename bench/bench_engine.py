"""A minute → intents: `Engine.on_minute` with 18 instruments, and the ledger's commit that follows it.

Stands for: what a worker does between an entry and its first order, apart from waiting. Decision: loading the minute
into arrays, the compiled step, reading the result. Commit: one transaction with 18 intents and the tape position, on
the disk of the temporary directory and in memory, where a sync costs nothing.
Doubts: machine code comes from the cache and is warm; marks with an hourly bar (one in 60) make the p99.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from bench import data
from bench.measure import Row, median_of, percentile, report, rounds
from rooney.engine.engine import Engine
from rooney.engine.settings import EngineInstrument, Limits
from rooney.ledger.writer import Ledger
from rooney.market.instruments import PRODUCTS, group_of
from rooney.market.sessions import MINUTE_NS
from rooney.orders.intents import Intent, Role, Side, intent_id
from rooney.strategy.compiler import compile_strategy
from rooney.strategy.loader import load

MARKS = 600
P50_US, P99_US = 500.0, 2_000.0
COMMITS = 60


def _engine(name: str) -> Engine:
    params = {key: param.default for key, param in load(name).declared().items()}
    instruments = [
        EngineInstrument(
            root, group_of(root), PRODUCTS[root].tick_size, PRODUCTS[root].point_value, 4.0, 1.0, 1, params
        )
        for root in data.ROOTS
    ]
    limits = Limits(starting_cash=1e12, max_positions=len(instruments), daily_stop_loss=1e12)
    engine = Engine(compile_strategy(name, params), instruments, limits)
    engine.compile()
    engine.warm_up(data.history())
    return engine


def test_minute_to_intents(benchmark: Any) -> None:
    minutes = data.minutes(MARKS)
    rows = []
    for name in ("ibs", "breakout"):
        engine = _engine(name)
        fresh = engine.freeze()
        first = [engine.on_minute(minute) for minute in minutes]
        intents = sum(len(decisions.intents) for decisions in first)
        assert intents > 0, f"{name} decides nothing: nothing is measured"
        engine.restore(fresh)
        again = [engine.on_minute(minute) for minute in minutes]
        assert msgspec.msgpack.encode(again) == msgspec.msgpack.encode(first)  # as bytes: a NaN equals no other

        def once(engine: Engine = engine, fresh: bytes = fresh) -> tuple[float, float]:
            engine.restore(fresh)
            took = []
            for minute in minutes:
                started_ns = time.perf_counter_ns()
                engine.on_minute(minute)
                took.append((time.perf_counter_ns() - started_ns) / 1e3)
            return percentile(took, 0.50), percentile(took, 0.99)

        def met(found: list[tuple[float, float]]) -> bool:
            return median_of(found, lambda one: one[0]) <= P50_US and median_of(found, lambda one: one[1]) <= P99_US

        found = rounds(once, met)
        middle, high = median_of(found, lambda one: one[0]), median_of(found, lambda one: one[1])
        rows.append(
            Row(
                f"minute → decisions, {name}, 18 instruments, p50 / p99",
                f"{middle:.0f} / {high:.0f} µs",
                f"≤ {P50_US:.0f} / {P99_US:.0f} µs",
                met(found),
            )
        )
    engine = _engine("ibs")
    benchmark.pedantic(engine.on_minute, args=(minutes[0],), rounds=100, iterations=1)
    report(benchmark, rows)


def _commit_ms(directory: Path, count: int) -> list[float]:
    """Milliseconds of each of COMMITS marks with `count` intents."""
    ledger = Ledger(directory / "ledger.sqlite", "bench")
    book = _engine("ibs").book()
    fronts = data.fronts()
    took = []
    for mark in range(COMMITS):
        ts_mark = data.START_NS + mark * MINUTE_NS
        intents = []
        for root in data.ROOTS[:count]:
            raw = fronts[root]
            key = intent_id("bench", "paper", raw, Role.ENTRY, ts_mark)
            intents.append(
                Intent(
                    key,
                    "bench",
                    "paper",
                    root,
                    raw,
                    raw,
                    Role.ENTRY,
                    Side.LONG,
                    1,
                    "rule",
                    1.0,
                    ts_mark,
                    ledger.next_seq(),
                )
            )
        started_ns = time.perf_counter_ns()
        ledger.commit_mark(ts_mark, intents, [], [], [], mark, 0, {"equity_usd": 150_000.0}, book)
        took.append((time.perf_counter_ns() - started_ns) / 1e6)
    ledger.close()
    return took


class _Commit(msgspec.Struct, frozen=True):
    disk_ms: float
    memory_ms: float
    p99_ms: float


def test_ledger_commit(benchmark: Any) -> None:
    """/dev/shm is memory: there a sync costs nothing, and the transaction is otherwise the same."""

    def once() -> _Commit:
        with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
            on_disk, in_memory = _commit_ms(Path(disk), 18), _commit_ms(Path(memory), 18)
        return _Commit(percentile(on_disk, 0.5), percentile(in_memory, 0.5), percentile(on_disk, 0.99))

    found = rounds(once, lambda found: True)
    benchmark.pedantic(once, rounds=1, iterations=1)
    disk, memory = median_of(found, lambda one: one.disk_ms), median_of(found, lambda one: one.memory_ms)
    high = median_of(found, lambda one: one.p99_ms)
    report(
        benchmark,
        [
            Row("commit of a mark with 18 intents, p50 / p99", f"{disk:.2f} / {high:.2f} ms"),
            Row("… without the disk's sync, p50", f"{memory:.2f} ms", "≤ 2 ms", memory <= 2.0),
        ],
    )
