"""Two hosts and a witness, each a network namespace: what fails between them, the tape and the workers miss nothing.

Host a has the hub, a Redis and a worker, host b a Redis and a worker, c only the third sentinel. Each is a process of
its own, at work while links are cut and others killed: for long and at random by `pytest -m slow`, ROONEY_ROUNDS times.
"""

import contextlib
import os
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
import redis as redis_py
import yaml

from rooney.market.sessions import MINUTE_NS
from rooney.sim.databento.gateway import DEMO_KEY, Gateway
from rooney.sim.processes import Part, python
from tests.support.gateways import running
from tests.support.hub import latest_agree
from tests.support.hub_day import AFTERNOON, DAY_PART, MORNING, ROOTS, Result, assert_same_result
from tests.support.ledgers import read_only
from tests.support.network_hosts import Host, Network, network
from tests.support.redis_hosts import PASSWORDS, SERVICE, Cluster, Node
from tests.support.waiting import until


class Site:
    """The whole of it: what runs where, and what can be done to it."""

    def __init__(self, directory: Path, net: Network, gateway: Gateway) -> None:
        self.directory = directory
        self.net = net
        self.a, self.b, self.c = net.hosts.values()
        self.gateway = gateway
        self.cluster = Cluster(directory, (self.a, self.b, self.c))
        self.hubs = 0
        self.hub: Part | None = None
        self.workers: dict[str, Part] = {}

    def _config(self, name: str, user: str) -> Path:
        path = self.directory / f"{name}.yml"
        path.write_text(
            yaml.safe_dump(
                {
                    "databento": {"api_key": "${DATABENTO_API_KEY}", "gateway": "127.0.0.1", "port": self.gateway.port},
                    "data_hub": {
                        "redis_sentinels": self.cluster.addresses(),
                        "redis_service": SERVICE,
                        "redis_username": user,
                        "redis_password": "${REDIS_PASSWORD}",
                    },
                    "instruments": {root: {} for root, _, _ in ROOTS},
                    "strategies": {
                        name: {"strategy": "ibs", "mode": "dry", "instruments": ["ES"]} for name in ("wa", "wb")
                    },
                },
                sort_keys=False,
            )
        )
        return path

    def _start(self, host: Host, name: str, user: str, *argv: str) -> Part:
        env = {"DATABENTO_API_KEY": DEMO_KEY, "REDIS_PASSWORD": PASSWORDS[user]}
        env |= {"ROONEY_RUNTIME_DIRECTORY": str(self.directory / "run")}
        command = python("rooney", *argv, "--config", str(self._config(name, user)))
        with host.inside():
            return Part(name, command, self.directory, env, notify=True)

    def start(self) -> None:
        """Workers, one after the other because the first may have to compile, then the hub."""
        for name, host in (("wa", self.a), ("wb", self.b)):
            argv = ["worker", name, "--clock", "replay", "--state", str(self.directory / name)]
            self.workers[name] = self._start(host, name, "worker", *argv)
            self.workers[name].wait_ready(150)
        self.start_hub()
        assert self.hub is not None
        self.hub.wait_ready(60)

    def start_hub(self) -> None:
        start = datetime.fromtimestamp(MORNING // 10**9).astimezone().isoformat()
        self.hubs += 1
        self.hub = self._start(self.a, f"hub{self.hubs}", "hub", "hub", "--start", start)

    def kill_hub(self) -> None:
        assert self.hub is not None
        self.hub.process.kill()
        self.hub.stop()

    def primary(self) -> Node:
        """The one that the majority follows; waits for it."""
        found: list[Node] = []

        def named() -> bool:
            with self.c.inside(), contextlib.suppress(redis_py.RedisError):
                host, port, _ = self.cluster.sentinels[2]
                with redis_py.Redis(host.address, port, socket_timeout=1, decode_responses=True) as client:
                    address = client.sentinel_get_master_addr_by_name(SERVICE)
                found[:] = [node for node in self.cluster.nodes if (node.host.address, node.port) == address]
            return bool(found) and found[0].role() == "master"

        until(named, 40, self.said)
        return found[0]

    def until_end(self, ts_ns: int, timeout_s: float = 120.0) -> None:
        """Until the primary has the minute; a hub that ended is started again, as its unit would."""

        def reached() -> bool:
            assert self.hub is not None
            if self.hub.process.poll() is not None:
                self.start_hub()
            with contextlib.suppress(Exception):
                return self.primary().end_ns() >= ts_ns
            return False

        until(reached, timeout_s, self.said)

    def go_on(self, minutes: int = 5) -> None:
        """Until so many more minutes are on the tape."""
        self.until_end(min(AFTERNOON, self.primary().end_ns() + minutes * MINUTE_NS))

    def position(self, name: str) -> int:
        with contextlib.suppress(sqlite3.OperationalError), read_only(self.directory / name / "ledger.sqlite") as db:
            row = db.execute("SELECT ts_mark FROM status").fetchone()
            return row[0] if row else 0
        return 0

    def said(self) -> str:
        parts = [*self.workers.values(), *([self.hub] if self.hub else []), *(node.part for node in self.cluster.nodes)]
        return "\n".join(f"-- {part.name}\n{part.tail(8)}" for part in parts)

    def log(self, *names: str) -> str:
        return "".join((self.directory / f"{name}.log").read_text() for name in names)

    def close(self) -> None:
        for part in [*([self.hub] if self.hub else []), *self.workers.values()]:
            part.stop(timeout_s=5)
        self.cluster.close()


@contextlib.contextmanager
def site(seconds: float) -> Iterator[Site]:
    """seconds: how long the market lasts."""
    directory = Path(tempfile.mkdtemp(prefix="rooney-2-"))
    speed = (AFTERNOON - MORNING) / 1e9 / seconds
    gateway = Gateway(DAY_PART, begin_ns=MORNING, until_ns=AFTERNOON, speed=speed)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        net = stack.enter_context(network("a", "b", "c"))
        with net.hosts["a"].inside():  # its thread is made here and stays there
            stack.enter_context(running(gateway))
        made = Site(directory, net, gateway)
        stack.callback(made.close)
        made.start()
        yield made


def finish(site: Site, undisturbed: Result) -> None:
    """To the end of the market; then tape, histories, latest bars and workers must be those of a quiet day."""
    site.until_end(AFTERNOON)
    primary = site.primary()
    for name in site.workers:
        until(lambda name=name: site.position(name) >= AFTERNOON, 60, site.said)  # type: ignore[misc]
    other = next(node for node in site.cluster.nodes if node is not primary)
    until(lambda: other.role() == "slave" and other.end_ns() == primary.end_ns(), 60, site.said)
    with primary.host.inside(), contextlib.closing(primary.bus()) as bus:
        assert_same_result(bus, undisturbed)
        latest_agree(bus, ROOTS)
        marks = len(list(bus.tape(0)))
    assert raw_tape(primary) == raw_tape(other)
    decided = []
    for name, part in site.workers.items():
        assert part.stop() == 0, part.tail()
        with read_only(site.directory / name / "ledger.sqlite") as db:
            assert db.execute("SELECT marks FROM status").fetchone()[0] == marks
            decided.append(
                db.execute("SELECT ts_mark, symbol, reason, features FROM decision ORDER BY 1, 2").fetchall()
            )
    assert decided[0] == decided[1] != []


def raw_tape(node: Node) -> list[tuple[int, bytes]]:
    with node.host.inside(), contextlib.closing(node.bus("worker")) as bus:
        return bus.read_tape(0, 5_000)


def fail_over(site: Site, break_it: Callable[[], None]) -> Node:
    """Break the primary; the other one, once the sentinels have made it the new one."""
    before = site.primary()
    break_it()
    until(lambda: site.primary() is not before, 60, site.said)
    return site.primary()


def test_through_partitions_and_a_primary_that_dies_the_tape_is_dense_and_every_worker_steps_each_minute_once(
    undisturbed: Result,
) -> None:
    with site(seconds=32) as one:
        first, second = one.cluster.nodes
        one.go_on(20)
        # The primary is cut off together with its hub, which goes on writing: all of that will be lost.
        kept = second.end_ns()
        assert fail_over(one, lambda: one.net.cut(one.a)) is second
        lost_minutes = (first.end_ns() - second.end_ns()) // MINUTE_NS
        assert kept <= second.end_ns()
        assert lost_minutes >= 10
        one.net.join(one.a)
        until(lambda: first.role() == "slave", 40, one.said)
        one.go_on()
        # The hub alone is cut off: minutes close and wait in its ring.
        one.net.cut(one.a)
        held = second.end_ns()
        time.sleep(3)
        assert second.end_ns() <= held + MINUTE_NS
        one.net.join(one.a)
        one.go_on()
        # And the primary dies.
        assert fail_over(one, second.part.process.kill) is first
        second.part.stop()
        second.start()
        finish(one, undisturbed)
        assert one.hubs == 1
        assert one.log("hub1").count("Redis is back; publishing") >= 3
        assert all("Redis is back" in one.log(name) for name in one.workers)


def test_from_either_host_a_worker_s_user_writes_nothing_and_reads_nothing_else() -> None:
    directory = Path(tempfile.mkdtemp(prefix="rooney-2-"))
    forbidden = (
        "XADD market:tape * m x",
        "SET hub:status x",
        "DEL market:tape",
        "GET other",
        "KEYS *",
        "CONFIG GET *",
        "REPLICAOF NO ONE",
        "FAILOVER",
        "SHUTDOWN NOSAVE",
    )
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        net = stack.enter_context(network("a", "b", "c"))
        cluster = Cluster(directory, tuple(net.hosts.values()))
        stack.callback(cluster.close)
        for host in net.hosts.values():
            for node in cluster.nodes:
                options = {"username": "worker", "password": PASSWORDS["worker"], "socket_timeout": 5}
                with host.inside(), redis_py.Redis(node.host.address, node.port, **options) as client:  # type: ignore[arg-type]
                    assert client.xlen("market:tape") == 0
                    for command in forbidden:
                        with pytest.raises(redis_py.exceptions.NoPermissionError):
                            client.execute_command(*command.split())


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(int(os.environ.get("ROONEY_ROUNDS", "3"))))
def test_the_same_whatever_fails_in_whatever_order(undisturbed: Result, seed: int) -> None:
    chosen = random.Random(seed)
    with site(seconds=180) as one:

        def partition() -> None:
            host = chosen.choice((one.a, one.b, one.c))
            one.net.cut(host)
            time.sleep(chosen.uniform(0.5, 8.0))
            one.net.join(host)

        def restart_redis() -> None:
            node = chosen.choice(one.cluster.nodes)
            node.part.process.kill()
            node.part.stop()
            time.sleep(chosen.uniform(0.2, 6.0))
            node.start()

        def restart_hub() -> None:
            one.kill_hub()
            time.sleep(chosen.uniform(0.0, 2.0))
            one.start_hub()

        one.go_on()
        while one.primary().end_ns() < AFTERNOON - 30 * MINUTE_NS:
            strike = chosen.choice((partition, partition, restart_redis, restart_hub))
            print(f"seed {seed}, {datetime.now():%H:%M:%S}: {strike.__name__}", flush=True)
            strike()
            # Two failures at once may take what was acknowledged from both; one at a time is what is promised.
            until(lambda: all(node.role() for node in one.cluster.nodes), 60, one.said)
            until(lambda: sorted(node.role() for node in one.cluster.nodes) == ["master", "slave"], 60, one.said)
            one.go_on(10)
        finish(one, undisturbed)
