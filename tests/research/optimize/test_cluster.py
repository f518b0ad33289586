"""joblib's work on a cluster of two processes, Dask's or Ray's: there, and to the same bytes."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import joblib
import pytest

from research.models.train import Plan, train
from research.optimize import parameters as optimize
from research.optimize.cluster import joblib_on
from research.optimize.search import Workers, search_parameters
from rooney.errors import ConfigError
from rooney.models.forest import to_bytes
from tests.support.breakout_market import breakout, write_closes
from tests.support.training_sets import samples
from tests.support.waiting import until

RAY_PORT = 10_001


@contextmanager
def dask() -> Iterator[str]:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        yield cluster.scheduler_address.replace("tcp://", "dask://")


@contextmanager
def ray() -> Iterator[str]:
    """Not among our extras, for its size: `uv run --all-extras --with "ray[client]" pytest -m slow` runs these too."""
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "ray.scripts.scripts"]
    start = ["start", "--head", f"--ray-client-server-port={RAY_PORT}", "--num-cpus=2", "--include-dashboard=false"]
    subprocess.run([*command, *start], check=True)
    until(lambda: socket.socket().connect_ex(("127.0.0.1", RAY_PORT)) == 0, 60.0)
    try:
        yield f"ray://127.0.0.1:{RAY_PORT}"
    finally:
        subprocess.run([*command, "stop", "--force"], check=True)


@pytest.fixture(scope="module", params=["dask", pytest.param("ray", marks=pytest.mark.slow)])
def cluster(request: pytest.FixtureRequest) -> Iterator[str]:
    with {"dask": dask, "ray": ray}[request.param]() as address:
        yield address


def test_work_is_done_in_the_processes_of_the_cluster(cluster: str) -> None:
    with joblib_on(cluster):
        assert joblib.effective_n_jobs(-1) == 2
        pids = set(joblib.Parallel(n_jobs=-1)(joblib.delayed(os.getpid)() for _ in range(20)))
    assert pids
    assert os.getpid() not in pids


@pytest.mark.parametrize(
    ("address", "said"), [("spark://x:1", "expected dask://"), ("dask://127.0.0.1:1", "nothing answers")]
)
def test_a_cluster_that_is_not_there_is_said_at_once(address: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said), joblib_on(address):
        pass


@pytest.mark.slow
def test_a_model_trained_on_a_cluster_is_the_same_to_the_last_byte(cluster: str) -> None:
    plan = Plan(trials=2, trees=20)
    here = train(samples(1, 60.0), plan, "ibs", {})
    with joblib_on(cluster):
        there = train(samples(1, 60.0), plan, "ibs", {}, jobs=-1)
    assert here.model is not None and there.model is not None
    assert to_bytes(here.model) == to_bytes(there.model)


@pytest.mark.slow
def test_a_search_on_a_cluster_finishes_the_study_in_its_processes(cluster: str, tmp_path: Path) -> None:
    closes = write_closes(tmp_path, {"ES": 0.45, "NQ": 0.45})
    plan = optimize.Plan(trials=8, min_trades=20, min_final_trades=5)
    searched = ["breakout_lookback=10:60", "exit_lookback=5:40", "stop_atr=1:6"]
    workers = Workers(jobs=-1, cluster=cluster)
    search_parameters(breakout("ES", "NQ"), closes, (None, None), searched, plan, tmp_path / "out", workers)
    found = optimize.read(tmp_path / "out" / "optimize.json")
    assert len(found.trials) >= 8
    journal = (tmp_path / "out" / "study.journal").read_text()
    workers = set(re.findall(r'"worker":\s*"([^"]+)"', journal))
    # Ray draws the process for each task: both may fall to one.
    assert len(workers) == 2 or (workers and cluster.startswith("ray"))
    assert not any(worker.endswith(f":{os.getpid()}") for worker in workers)
