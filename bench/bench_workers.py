"""Many workers on one machine: minute published → decided, for every one of them, while some are stopped, killed, hung.

Stands for: how many strategies two cores carry, and that they carry each other's trouble: each worker is the real
process with its own ledger, 18 instruments, a strategy that decides in all of them at every mark and orders in two. A
minute is published to all of them at once; its latency is what each worker wrote into its own ledger, from the hub's
stamp to the end of the step. Half way one worker is stopped, one killed and one hung; the others must go on in the same
processes, decide the same, and not later than the target says.
Doubts: a minute comes every half second instead of every 60, so caches are warmer than they will be, and commits of the
ledger's disk are still under way when the next one comes. Mode dry: no requests. 32 workers are marked slow.
"""

import os
import signal
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from bench import data
from bench.measure import Row, percentile, report
from bench.system import STRATEGY
from rooney.bus.publisher import Publisher
from rooney.config.loader import load_config
from rooney.config.schema import DataHub
from rooney.engine.build import build_engine
from rooney.market.sessions import MINUTE_NS
from rooney.market.tape import Published
from rooney.sim.processes import Part, python, start_redis

EVERY_S = 0.5
P99_MS = 50.0
ENOUGH = 1_000  # figures for a p99; fewer, as in the short run of 5 workers, are judged by their median
Decided = dict[tuple[int, str], tuple[str, str]]  # (mark, symbol) → (reason, features)


def _name(number: int) -> str:
    return f"w{number:02}"


def _configuration(directory: Path, workers: int) -> dict[str, object]:
    block = {
        "strategy": str(STRATEGY),
        "mode": "dry",
        "broker_account": "${UNUSED:-}",
        "instruments": list(data.ROOTS),
        "max_positions": 2,
        "daily_stop_loss": 1e12,
        "starting_cash": 1e12,
        "reentry_wait_s": 0,
    }
    return {
        "data_hub": {"redis_socket": str(directory / "redis.sock")},
        "instruments": {root: {} for root in data.ROOTS},
        "strategies": {_name(number): block for number in range(workers)},
    }


def _ledger(directory: Path, number: int) -> tuple[Decided, dict[int, float]]:
    """What a worker decided, and per mark how many milliseconds after the hub's stamp."""
    db = sqlite3.connect(f"file:{directory / _name(number) / 'ledger.sqlite'}?mode=ro", uri=True, timeout=30)
    try:
        rows = db.execute("SELECT ts_mark, symbol, reason, features, latency_ns FROM decision").fetchall()
    finally:
        db.close()
    return {row[:2]: row[2:4] for row in rows}, {row[0]: row[4] / 1e6 for row in rows}


def _run(
    directory: Path, workers: int, minutes: int, parts: list[Part]
) -> tuple[list[Decided], list[dict[int, float]], float]:
    """Decisions and latencies of each worker, and resident memory of one in MB."""
    config = directory / "config.yml"
    config.write_text(yaml.safe_dump(_configuration(directory, workers)))
    build_engine(load_config(config).strategy(_name(0))).compile()
    parts.append(start_redis(directory))
    env = {"ROONEY_RUNTIME_DIRECTORY": str(directory), "ROONEY_CONTROL_DIRECTORY": str(directory / "control")}
    for number in range(workers):
        argv = python("rooney", "worker", _name(number), "--config", str(config), "--clock", "replay")
        parts.append(Part(_name(number), [*argv, "--state", str(directory / _name(number))], directory, env, True))
    running = parts[1:]
    for part in running:
        part.wait_ready(300)
    bus = Publisher(DataHub(redis_socket=str(directory / "redis.sock")))
    stopped, killed, hung, *others = running
    entries = data.minutes(minutes)
    for number, minute in enumerate(entries):
        if number == minutes // 2:
            stopped.process.terminate()
            killed.process.kill()
            os.kill(hung.process.pid, signal.SIGSTOP)
        time.sleep(EVERY_S)
        for part in others:
            part.check()  # the very process it was
        stamped = msgspec.structs.replace(minute, ts_hub_ns=time.time_ns())
        assert bus.publish(Published(stamped, [], {}))
    end = time.monotonic() + 60
    last = entries[-1].ts_close
    while any(last not in _ledger(directory, number)[1] for number in range(3, workers)):
        assert time.monotonic() < end, "not every worker reached the last minute"
        time.sleep(0.5)
    rss_mb = int(Path(f"/proc/{others[0].process.pid}/statm").read_text().split()[1]) * 4096 / 1e6
    os.kill(hung.process.pid, signal.SIGCONT)
    found = [_ledger(directory, number) for number in range(workers)]
    return [decided for decided, _ in found], [latency for _, latency in found], rss_mb


@pytest.mark.parametrize(("workers", "minutes"), [(5, 30), pytest.param(32, 120, marks=pytest.mark.slow)])
def test_workers(benchmark: Any, workers: int, minutes: int) -> None:
    with tempfile.TemporaryDirectory(prefix="rooney-") as name:
        parts: list[Part] = []
        try:
            decided, latency, rss_mb = benchmark.pedantic(
                _run, args=(Path(name), workers, minutes, parts), rounds=1, iterations=1
            )
        finally:
            for part in reversed(parts):
                part.stop(timeout_s=20)
    others = decided[3:]
    assert len(others[0]) == minutes * len(data.ROOTS)
    assert all(one == others[0] for one in others), "a worker decided otherwise because of another's end"
    strike_ns = data.START_NS + minutes // 2 * MINUTE_NS
    begun_ns = data.START_NS + MINUTE_NS  # workers that found an empty tape begin with its first minute
    quiet = [ms for one in latency[3:] for mark, ms in one.items() if begun_ns < mark <= strike_ns]
    struck = [ms for one in latency[3:] for mark, ms in one.items() if mark > strike_ns]

    def row(what: str, found: list[float]) -> Row:
        p50, p99 = percentile(found, 0.50), percentile(found, 0.99)
        judged, name = (p99, "p99") if len(found) >= ENOUGH else (p50, "p50")
        return Row(what, f"{p50:.1f} / {p99:.1f} ms", f"{name} < {P99_MS:.0f} ms", judged < P99_MS)

    report(
        benchmark,
        [
            row(f"minute → decision of {workers} workers, p50 / p99", quiet),
            row("… after one of them is stopped, one killed, one hung", struck),
            Row("… resident memory of one, JIT", f"{rss_mb:.0f} MB"),
        ],
    )
