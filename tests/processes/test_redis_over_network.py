"""Redis over the network: users, TLS, a planned fail-over, the configuration. What fails is in test_two_hosts.py."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py
import yaml

from rooney.bus.publisher import Publisher
from rooney.config.loader import load_config
from rooney.config.schema import DataHub
from rooney.errors import BusError, ConfigError
from rooney.market.messages import HubStatus
from rooney.market.sessions import MINUTE_NS
from rooney.monitor import watch
from rooney.secrets import Secret
from tests.support.published import published
from tests.support.redis_hosts import PASSWORDS, SERVICE, Cluster, Node, connection
from tests.support.tools import needs
from tests.support.waiting import until


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="rooney-n-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


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
        Publisher(DataHub(redis_host="127.0.0.1", redis_port=node.port)).ping()
    wrong = "not-the-password-of-anyone"
    with pytest.raises(BusError, match="invalid username-password") as refused:
        block = DataHub(
            redis_host="127.0.0.1", redis_port=node.port, redis_username="hub", redis_password=Secret(wrong)
        )
        Publisher(block).ping()
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
    openssl(
        "x509",
        "-req",
        "-in",
        "redis.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "redis.pem",
    )
    return directory / "ca.pem"


@needs("openssl", "redis-server")
def test_over_tls_only_a_server_that_our_ca_signed_is_spoken_to(directory: Path) -> None:
    ca = certificates(directory)
    tls = ["--tls-cert-file", str(directory / "redis.pem"), "--tls-key-file", str(directory / "redis.key")]
    tls += ["--tls-ca-cert-file", str(ca), "--tls-auth-clients", "no"]
    node = Node(directory, *tls, tls=True)
    try:
        bus = node.bus(redis_tls=True, redis_ca=str(ca))
        until(lambda: answers(bus), 20, node.part.tail)
        assert bus.publish(published(0))
        with pytest.raises(BusError, match="certificate verify failed"):
            node.bus(redis_tls=True).ping()
        with pytest.raises(BusError):
            node.bus().ping()
        elsewhere = connection("hub", redis_port=node.port, redis_tls=True, redis_ca=str(ca))
        with pytest.raises(BusError, match=r"[Hh]ostname"):
            elsewhere.ping()
    finally:
        node.part.stop()


def answers(bus: Publisher) -> bool:
    with contextlib.suppress(BusError):
        bus.ping()
        return True
    return False


# ── fail-over ──


def test_a_primary_that_was_demoted_takes_no_minute_and_the_hub_finds_the_new_one(directory: Path) -> None:
    cluster = Cluster(directory)
    try:
        hub = cluster.bus()
        assert hub.publish(published(0))
        _, port, _ = cluster.sentinels[0]
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


def test_the_watch_reaches_a_redis_that_asks_who_it_is(node: Node, directory: Path) -> None:
    node.bus().set_status(HubStatus("live", 1, 2, 3, 1, 0, {}, {}))
    where = {"redis_host": node.host.address, "redis_port": node.port, "redis_username": "worker"}
    config = load_config(write(directory, **where, redis_password="${P}"), environ={"P": PASSWORDS["worker"]})
    seen = watch.look(config, directory)
    assert (seen.redis, seen.hub and seen.hub.state) == ("", "live")


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
