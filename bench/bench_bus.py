"""Publish → worker: from the call of `Publisher.publish` to the minute decoded in another process that waits in XREAD.

Stands for: the hop between hub and worker over a unix socket: encoding, the script's writes and channels, Redis, the
wake-up of the reader, parsing, decoding. 18 bars an entry, one entry every 5 ms, an idle reader.
Doubts: CLOCK_MONOTONIC is one clock for all processes of a machine, so no synchronisation is in the figures; a busy
reader adds what it is busy with.
"""

import subprocess
import sys
import time
from typing import Any

from bench import data
from bench.measure import Row, median_of, percentile, report, rounds
from rooney.bus.publisher import Publisher
from rooney.config.schema import DataHub
from rooney.market.instruments import parse_contract
from rooney.market.messages import decode_minute
from rooney.market.tape import ContractCount, Published

COUNT = 140
EVERY_S = 0.005
P50_MS, P99_MS = 2.0, 10.0  # more than the whole way may take would leave nothing for the worker


def read(path: str, count: int, after_ns: int) -> None:
    """The reader's process: the moment each minute was decoded, on stdout."""
    bus = Publisher(DataHub(redis_socket=path))
    print("ready", flush=True)
    found: list[tuple[int, int]] = []
    while len(found) < count:
        for ts_close, entry in bus.read_tape(after_ns, 200, 1.0):
            minute = decode_minute(entry)
            found.append((minute.ts_close, time.monotonic_ns()))
            after_ns = ts_close
    print(*(f"{ts_close} {at_ns}" for ts_close, at_ns in found), sep="\n")


def test_publish_to_worker(benchmark: Any, redis_socket: str, bus: Publisher) -> None:
    fronts = {root: parse_contract(raw, data.DAY) for root, raw in data.fronts().items()}
    contracts = {root: contract for root, contract in fronts.items() if contract is not None}
    counts = [ContractCount(contract, data.DAY, 100, 1.0) for contract in contracts.values()]
    entries = iter(data.minutes(8 * COUNT))
    after_ns = 0

    def once() -> list[float]:
        nonlocal after_ns
        argv = [sys.executable, "-m", "bench.bench_bus", redis_socket, str(COUNT), str(after_ns)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
            published: dict[int, int] = {}
            for _ in range(COUNT):
                minute = next(entries)
                time.sleep(EVERY_S)
                published[minute.ts_close] = time.monotonic_ns()
                assert bus.publish(Published(minute, counts, contracts))
                after_ns = minute.ts_close
            lines = reader.stdout.read().split("\n")
        pairs = (line.split() for line in lines if line)
        seen = {int(ts_close): int(at_ns) for ts_close, at_ns in pairs}
        assert list(seen) == list(published)
        return [(seen[ts_close] - at_ns) / 1e6 for ts_close, at_ns in published.items()]

    def p50(one: list[float]) -> float:
        return percentile(one, 0.50)

    def p99(one: list[float]) -> float:
        return percentile(one, 0.99)

    def met(found: list[list[float]]) -> bool:
        return median_of(found, p50) < P50_MS and median_of(found, p99) < P99_MS

    found = rounds(once, met, least=2)
    found.append(benchmark.pedantic(once, rounds=1, iterations=1))
    middle, high = median_of(found, p50), median_of(found, p99)
    report(
        benchmark,
        [
            Row(
                "publish → worker, p50 / p99",
                f"{middle:.2f} / {high:.2f} ms",
                f"< {P50_MS:.0f} / {P99_MS:.0f} ms",
                met(found),
            )
        ],
    )


if __name__ == "__main__":
    read(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
