"""A trade → the bar of its minute: `MinuteBuilder.on_trade`, the hub's inner loop, without the feed's client.

Stands for: CPU per trade of the one thread that must keep up. The ratio to a loop that calls an empty function with the
same arguments tells what the folding costs on top of Python's own call.
Doubts: values of the trades are at hand as plain integers, whereas the client makes them from bytes (bench_feed).
"""

import time
from typing import Any

from bench import data
from bench.measure import Row, median_of, report, rounds
from rooney.market.bars import ClosedMinute, MinuteBuilder
from rooney.market.instruments import group_of, parse_contract
from rooney.market.sessions import MINUTE_NS

MINUTES, PER_MINUTE = 40, 5_000
MAX_NS = 2_000.0  # ten times the 50,000 trades/s that the hub has to sustain
MAX_RATIO = 8.0

Calls = list[tuple[int, int, int, int]]


def _empty(instrument_id: int, ts_recv: int, price: int, size: int) -> None:
    """What a callback that does nothing costs."""


def _build(calls: Calls, instruments: list[Any]) -> tuple[float, list[ClosedMinute]]:
    closed: list[ClosedMinute] = []
    groups = [group_of(root) for root in data.ROOTS]
    builder = MinuteBuilder(groups, data.START_NS, 50_000_000, closed.append, time.time_ns)
    for item in instruments:
        builder.map(item.instrument_id, parse_contract(item.raw, data.DAY))
    on_trade = builder.on_trade
    started_ns = time.perf_counter_ns()
    for number, ts_recv, price, size in calls:
        on_trade(number, ts_recv, price, size)
    took_ns = time.perf_counter_ns() - started_ns
    builder.on_time(calls[-1][1] + 60 * data.SECOND_NS)
    return took_ns / len(calls), closed


def _call_empty(calls: Calls) -> float:
    started_ns = time.perf_counter_ns()
    for number, ts_recv, price, size in calls:
        _empty(number, ts_recv, price, size)
    return (time.perf_counter_ns() - started_ns) / len(calls)


def test_trade_to_bar(benchmark: Any) -> None:
    trades, instruments = data.stream(MINUTES, PER_MINUTE)
    fields = (trades[name].tolist() for name in ("instrument_id", "ts_recv", "price", "size"))
    calls = list(zip(*fields, strict=True))
    _, closed = _build(calls, instruments)
    bars = dict(
        data.bar_key(part.bar(minute.ts_close - MINUTE_NS, 0, 0)) for minute in closed for part in minute.contracts
    )
    assert bars == data.expected_bars(trades, instruments)

    def once() -> tuple[float, float]:
        return _call_empty(calls), _build(calls, instruments)[0]

    def ratio(pair: tuple[float, float]) -> float:
        return pair[1] / pair[0]

    def per_trade(pair: tuple[float, float]) -> float:
        return pair[1]

    found = rounds(once, lambda found: median_of(found, ratio) <= MAX_RATIO, least=5)
    benchmark.pedantic(_build, args=(calls, instruments), rounds=1, iterations=1)
    ns, times = median_of(found, per_trade), median_of(found, ratio)
    report(
        benchmark,
        [
            Row("trade → bar, per trade", f"{ns:.0f} ns", f"≤ {MAX_NS:.0f} ns", ns <= MAX_NS),
            Row("… to an empty Python call", f"{times:.1f} ×", f"≤ {MAX_RATIO:.0f} ×", times <= MAX_RATIO),
        ],
    )
