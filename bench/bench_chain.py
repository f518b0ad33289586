"""The bare chain: XADD → XREAD in another process → one http.client request → the webhook, and nothing else.

Stands for: what this machine asks for the hops alone that an order takes after the hub, at the pace of bench_end_to_end
(an entry every 250 ms, so everything is as cold as there). It is no target: it tells how much of the whole way could be
saved at best by doing nothing.
Doubts: no load beside it; end to end the feed's 50,000 trades/s run on the same cores.
"""

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import redis

from bench import data
from bench.measure import Row, percentile, report
from rooney.market.messages import encode
from rooney.sim.processes import Part, python

COUNT = 40
EVERY_S = 0.25
STREAM = "chain"
ACCOUNT = "00000000-0000-4000-8000-000000000000/chain"


def follow(path: str, port: int, count: int) -> None:
    """The reader's process: one request per entry."""
    client: Any = redis.Redis(unix_socket_path=path, protocol=2)
    after: Any = "0-0"
    print("ready", flush=True)
    for _ in range(count):
        ((_, ((after, fields), *_)),) = client.xread({STREAM: after}, count=1, block=5_000)
        body = {"ticker": "ESH2026", "action": "exit", "extras": {"n": int(fields[b"n"])}}
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", f"/trading/webhook/{ACCOUNT}", json.dumps(body))
        connection.getresponse().read()
        connection.close()


def measure(redis_socket: str, tmp_path: Path) -> list[float]:
    """Milliseconds of each entry's way."""
    ready, log = tmp_path / "port", tmp_path / "webhooks.jsonl"
    argv = python("rooney.sim.traderspost", "--ready-file", str(ready), "--no-rate-limit", "--log", str(log))
    webhook = Part("traderspost", argv, tmp_path, {"ROONEY_SIM_ACCOUNTS": f"chain={ACCOUNT}"})
    entry = encode(data.minutes(1)[0])
    added: list[int] = []
    try:
        webhook.wait("listening", ready.exists, 20.0)
        argv = [sys.executable, "-m", "bench.bench_chain", redis_socket, ready.read_text().strip(), str(COUNT)]
        client = redis.Redis(unix_socket_path=redis_socket)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
            for number in range(COUNT):
                time.sleep(EVERY_S)
                added.append(time.time_ns())
                client.xadd(STREAM, {"n": number, "m": entry})
        assert reader.returncode == 0
        client.delete(STREAM)
    finally:
        webhook.stop()
    requests = [json.loads(line) for line in log.read_text().splitlines()]
    assert [request["payload"]["extras"]["n"] for request in requests] == list(range(COUNT))
    return [(request["ts_first_ns"] - at_ns) / 1e6 for request, at_ns in zip(requests, added, strict=True)]


def test_bare_chain(benchmark: Any, redis_socket: str, tmp_path: Path) -> None:
    took = benchmark.pedantic(measure, args=(redis_socket, tmp_path), rounds=1, iterations=1)
    text = f"{percentile(took, 0.50):.2f} / {percentile(took, 0.99):.2f} ms"
    report(benchmark, [Row("bare XADD → XREAD → http.client → webhook, no work, p50 / p99", text)])


if __name__ == "__main__":
    follow(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
