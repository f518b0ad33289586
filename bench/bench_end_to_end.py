"""The record at the hub's socket that closes a minute → the first byte of the webhook request, through real processes.

Gateway, Redis, hub, worker and TradersPost run as in production, over loopback and one unix socket. 50,000 trades/s of
18 instruments in clumps of 50 a millisecond; a minute ends every 250 ms of wall time, and at each end the worker's
strategy orders in as many instruments as it may hold, entry and exit in turn: in 2, the default, or (slow) in all 18.
Start: the gateway is about to write the closing record. End: the request's first byte is read by the webhook. A mark's
orders go out one after the other; the first is judged.

Stands for: the latency the system adds to a decision. Two commits of the ledger are synced to the disk before an order
leaves; they are measured in the worker in the same run, printed, and left out of what is judged, because they measure
the disk. Medians over stretches of 30 minutes; a second run is added when the first one is out of proportion.
Doubts: market time runs 240 times as fast as wall time, so that a run has enough minute ends; the worker therefore runs
with `--clock replay`, or it would take every entry for stale. That changes what it does after the first order is on its
way (it waits for the answers before it reads on), nothing before. Between two marks caches go cold, in reality for
longer than here. Gateway and webhook share the machine's cores with the system. Writing the journal's pages is counted
with its sync (a few hundredths of a millisecond).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench import bench_chain, data, system
from bench.measure import Row, median_of, percentile, report
from bench.system import Load, Order, Run
from rooney.market.sessions import MINUTE_NS

STRETCHES, STRETCH = 3, 30
MINUTES = STRETCHES * STRETCH
SPEED = 240
RATE = 50_000
PER_MINUTE = RATE * 60 // SPEED
P50_MS, P99_MS = 2.0, 10.0
# The hops alone, without any work, cost nearly all of P50_MS on a small shared machine (bench_chain), so what fails the
# run is a multiple of them, measured in the same run; the target itself is reported beside it, met or missed.
P50_CHAINS, P99_CHAINS = 6.0, 8.0
MAX_RUNS = 2
STAGES = ("written", "hub", "sent", "decided", "planned", "sending", "posting", "received")
Cells = tuple[float, float, float]  # p50, p99, max


def _check(run: Run, expected: data.Expected, positions: int) -> None:
    """Every trade accounted for, every bar right, an order in each of `positions` instruments at each mark."""
    counts = run.counts
    assert counts["trades_in"] == MINUTES * PER_MINUTE
    assert counts["built"] + counts["spread"] + counts["pending"] == counts["trades_in"]
    bars = [data.bar_key(bar) for minute in run.tape for bar in minute.bars if bar.timeframe == "1min"]
    assert len(bars) == MINUTES * len(data.ROOTS)
    assert all(expected[key] == bar for key, bar in bars)
    assert len(run.orders) == MINUTES * positions
    assert all(order.synced_ns > 0 for order in run.orders), "the stopwatch saw no commit"


def _cells(runs: Sequence[Run], value: Callable[[Order], float], first_only: bool = True) -> Cells:
    """p50 and p99 as medians over all stretches of all runs, and the largest value of all."""
    stretches: list[list[float]] = []
    for run in runs:
        parts: list[list[float]] = [[] for _ in range(STRETCHES)]
        for order in run.orders:
            if order.number == 0 or not first_only:
                parts[(order.ts_mark - data.START_NS - 1) // (STRETCH * MINUTE_NS)].append(value(order))
        stretches += parts
    p50 = median_of(stretches, lambda one: percentile(one, 0.50))
    p99 = median_of(stretches, lambda one: percentile(one, 0.99))
    return p50, p99, max(max(one) for one in stretches)


def _text(cells: Cells) -> str:
    return " / ".join(f"{cell:.2f}" for cell in cells) + " ms"


def _total(order: Order) -> float:
    return order.total_ms


def _net(order: Order) -> float:
    return order.net_ms


def _met(runs: Sequence[Run]) -> bool:
    p50, p99, _ = _cells(runs, _net)
    return p50 < P50_MS and p99 < P99_MS


def _in_proportion(runs: Sequence[Run], chain: Sequence[float]) -> bool:
    p50, p99, _ = _cells(runs, _net)
    return p50 < P50_CHAINS * percentile(chain, 0.50) and p99 < P99_CHAINS * percentile(chain, 0.99)


def _stage(begin: str, end: str) -> Callable[[Order], float]:
    return lambda order: (getattr(order, end) - getattr(order, begin)) / 1e6


@pytest.mark.parametrize("positions", [2, pytest.param(18, marks=pytest.mark.slow)])
def test_end_to_end(benchmark: Any, redis_socket: str, tmp_path: Path, positions: int) -> None:
    chain = bench_chain.measure(redis_socket, tmp_path)
    load = Load(MINUTES, PER_MINUTE, RATE // 1_000, SPEED, positions)
    runs: list[Run] = []

    def once() -> None:
        run, expected = system.run(load)
        _check(run, expected, positions)
        runs.append(run)

    benchmark.pedantic(once, rounds=1, iterations=1)
    while not _in_proportion(runs, chain) and len(runs) < MAX_RUNS:
        once()
    rate = PER_MINUTE / median_of(runs, lambda run: run.minute_s)
    rows = [
        Row(
            f"end to end, {positions} orders a mark, every bar right at",
            f"{rate:,.0f} trades/s",
            f"≥ {0.98 * RATE:,.0f}",
            rate > 0.98 * RATE,
        ),
        Row("closing record → webhook, first order, p50 / p99 / max", _text(_cells(runs, _total))),
        Row("… of it the journal's commits", _text(_cells(runs, lambda order: order.synced_ns / 1e6))),
        Row(
            "… without them",
            _text(_cells(runs, _net)),
            f"p50 < {P50_MS:g} ms, p99 < {P99_MS:g} ms{'' if _met(runs) else ' (missed here)'}",
        ),
        Row(
            "… as multiples of the bare chain, p50 / p99",
            " / ".join(
                f"{cell / percentile(chain, share):.1f}"
                for cell, share in zip(_cells(runs, _net), (0.50, 0.99), strict=False)
            )
            + " ×",
            f"< {P50_CHAINS:g} / {P99_CHAINS:g} ×",
            _in_proportion(runs, chain),
        ),
        Row("… all orders", _text(_cells(runs, _total, first_only=False))),
        Row("… all orders, without the commits", _text(_cells(runs, _net, first_only=False))),
    ]
    rows += [
        Row(f"… first order, {begin} → {end}", _text(_cells(runs, _stage(begin, end))))
        for begin, end in pairwise(STAGES)
    ]
    report(benchmark, rows)
