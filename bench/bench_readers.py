"""One Redis, 1 to 64 readers: from the call of `Publisher.publish` to the last reader that has the minute.

Stands for: how many workers a Redis carries. Each reader is a connection of its own that waits in XREAD, as a worker's;
all of them live in one process beside Redis', so that 64 interpreters do not fight for two cores: what is measured is
Redis' side and the kernel's, not what 64 workers do with a minute.
Doubts: the reading process takes its turns too; on a machine of its own the last reader would be served sooner.
"""

import selectors
import socket
import subprocess
import sys
import time
from typing import Any, cast

import hiredis

from bench import data
from bench.measure import Row, median_of, percentile, report, rounds
from rooney.bus.keys import TAPE
from rooney.bus.publisher import Publisher
from rooney.market.tape import Published

READERS = (1, 8, 32, 64)
COUNT = 50
EVERY_S = 0.01
LAST_P99_MS = 50.0  # as long as 32 workers may take to decide on a minute


def _xread(after_ms: int) -> bytes:
    words = [b"XREAD", b"COUNT", b"1", b"BLOCK", b"20000", b"STREAMS", TAPE.encode(), b"%d-0" % after_ms]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def read(path: str, readers: int, ids_ms: list[int], after_ms: int) -> None:
    """The readers' process: when each minute was with its last reader, on stdout."""
    selector = selectors.DefaultSelector()
    for _ in range(readers):
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        client.sendall(_xread(after_ms))
        selector.register(client, selectors.EVENT_READ, hiredis.Reader())
    print("ready", flush=True)
    have = dict.fromkeys(ids_ms, 0)
    done_ns: dict[int, int] = {}
    while len(done_ns) < len(ids_ms):
        for key, _ in selector.select():
            client, reader = cast(socket.socket, key.fileobj), key.data
            reader.feed(client.recv(1 << 16))
            if (reply := reader.gets()) is not False:
                entry_ms = int(reply[0][1][0][0].split(b"-")[0])
                have[entry_ms] += 1
                if have[entry_ms] == readers:
                    done_ns[entry_ms] = time.monotonic_ns()
                client.sendall(_xread(entry_ms))
    print(*(f"{entry_ms} {at_ns}" for entry_ms, at_ns in done_ns.items()), sep="\n")


def test_readers(benchmark: Any, redis_socket: str, bus: Publisher) -> None:
    entries = iter(data.minutes(9 * COUNT * len(READERS)))
    after_ms = 0

    def once(readers: int) -> list[float]:
        nonlocal after_ms
        batch = [next(entries) for _ in range(COUNT)]
        ids = [minute.ts_close // 1_000_000 for minute in batch]
        argv = [sys.executable, "-m", "bench.bench_readers", redis_socket, str(readers), str(after_ms), *map(str, ids)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            published = {}
            for entry_ms, minute in zip(ids, batch, strict=True):
                time.sleep(EVERY_S)
                published[entry_ms] = time.monotonic_ns()
                assert bus.publish(Published(minute, [], {}))
            seen = dict(map(int, line.split()) for line in process.stdout.read().splitlines())
        after_ms = ids[-1]
        assert list(seen) == ids
        return [(seen[entry_ms] - at_ns) / 1e6 for entry_ms, at_ns in published.items()]

    def p50(one: list[float]) -> float:
        return percentile(one, 0.50)

    def p99(one: list[float]) -> float:
        return percentile(one, 0.99)

    def met(found: list[list[float]]) -> bool:
        return median_of(found, p99) < LAST_P99_MS

    rows = []
    for readers in READERS[:-1]:
        found = rounds(lambda readers=readers: once(readers), met, least=1)  # type: ignore[misc]
        rows.append(_row(readers, median_of(found, p50), median_of(found, p99), met(found)))
    found = rounds(lambda: once(READERS[-1]), met, least=1)
    found.append(benchmark.pedantic(once, args=(READERS[-1],), rounds=1, iterations=1))
    rows.append(_row(READERS[-1], median_of(found, p50), median_of(found, p99), met(found)))
    report(benchmark, rows)


def _row(readers: int, middle: float, high: float, met: bool) -> Row:
    text = f"publish → last of {readers} readers, p50 / p99"
    return Row(text, f"{middle:.2f} / {high:.2f} ms", f"p99 < {LAST_P99_MS:.0f} ms", met)


if __name__ == "__main__":
    read(sys.argv[1], int(sys.argv[2]), [int(word) for word in sys.argv[4:]], int(sys.argv[3]))
