"""Start of a worker: from the fork of `rooney worker ibs` to its READY=1, and what memory it takes then.

Stands for: a restart of one strategy of 18 instruments, every cache warm, with a history to warm up from: its step from
the JIT's cache, and compiled ahead of time by `rooney compile`, which also forbids memory that is written and executed.
Doubts: most of it is Python's importing, as quick as the disk's cache; the memory counts pages of libraries that other
workers share, 60 MB of them the JIT's compiler.
"""

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench import data
from bench.measure import Row, median_of, report, rounds
from rooney.bus.publisher import Publisher
from rooney.market.messages import Minute
from rooney.market.tape import Published
from rooney.sim.processes import Part, python

ROOT = Path(__file__).parents[1]
CONFIG = str(ROOT / "config.multi_alpha.yml")
JIT_READY_S = 3.0
AHEAD_READY_S, AHEAD_RSS_MB = 1.0, 80.0


class Start(NamedTuple):
    """One start."""

    ready_s: float
    cpu_s: float
    rss_mb: float


def test_start(benchmark: Any, redis_socket: str, bus: Publisher, tmp_path: Path) -> None:
    history = sorted(data.history(), key=lambda bar: bar.ts_close)
    for ts_close, bars in itertools.groupby(history, key=lambda bar: bar.ts_close):
        assert bus.publish(Published(Minute(ts_close, [], list(bars), {}), [], {}))
    compiled = tmp_path / "compiled"
    # Python's own caches as an installation has them
    caches = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path / "python")}
    caches |= {"NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    compile_ = python("rooney", "compile", "ibs", "--config", CONFIG, "--out", str(compiled))
    subprocess.run(compile_, env=os.environ | caches, check=True, stdout=sys.stderr)

    def start(env: dict[str, str]) -> Start:
        own = {"ROONEY_RUNTIME_DIRECTORY": str(tmp_path / "run"), "ROONEY_CONTROL_DIRECTORY": str(tmp_path / "control")}
        argv = python("rooney", "worker", "ibs", "--config", CONFIG, "--state", str(tmp_path / f"{time.time_ns()}"))
        argv += ["--clock", "replay"]
        for one in (f"data_hub.redis_socket={redis_socket}", "strategies.ibs.mode=dry"):
            argv += ["--set", one]
        (tmp_path / "worker.notify").unlink(missing_ok=True)
        started = time.monotonic()
        worker = Part("worker", argv, tmp_path, caches | own | env, notify=True)
        worker.wait_ready()
        ready_s = time.monotonic() - started
        times = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
        cpu_s = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
        rss_mb = int(Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
        assert worker.stop() == 0
        return Start(ready_s, cpu_s, rss_mb)

    ahead_env = {"ROONEY_COMPILED_DIRECTORY": str(compiled)}
    for env in ({}, ahead_env):
        start(env)  # fills the caches

    def quick(limit_s: float, found: list[Start]) -> bool:
        return median_of(found, lambda one: one.ready_s) < limit_s

    jit = rounds(lambda: start({}), lambda found: quick(JIT_READY_S, found))
    ahead = rounds(lambda: start(ahead_env), lambda found: quick(AHEAD_READY_S, found))
    benchmark.pedantic(lambda: start(ahead_env), rounds=1)
    rows = []
    for what, found, limit_s, limit_mb in (
        ("step from the JIT's cache", jit, JIT_READY_S, 0.0),
        ("step compiled ahead of time", ahead, AHEAD_READY_S, AHEAD_RSS_MB),
    ):
        ready_s = median_of(found, lambda one: one.ready_s)
        cpu_s = median_of(found, lambda one: one.cpu_s)
        rss_mb = median_of(found, lambda one: one.rss_mb)
        target = f"< {limit_s:g} s" + (f", < {limit_mb:g} MB" if limit_mb else "")
        met = ready_s < limit_s and (not limit_mb or rss_mb < limit_mb)
        measured = f"{ready_s:.2f} s ({cpu_s:.2f} s of CPU), {rss_mb:.0f} MB"
        rows.append(Row(f"worker, 18 instruments, start to READY, {what}", measured, target, met))
    report(benchmark, rows)
