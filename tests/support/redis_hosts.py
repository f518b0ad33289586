"""Redis over the network as docs/BEYOND_ONE_HOST.md describes it: users, a primary, a replica, sentinels."""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

import redis as redis_py

from rooney.bus.publisher import Publisher
from rooney.config.schema import DataHub
from rooney.secrets import Secret
from rooney.sim.processes import Part, redis_server
from tests.support.network_hosts import HERE, Host
from tests.support.paths import ROOT
from tests.support.private_redis import free_port
from tests.support.waiting import until

EXAMPLE = ROOT / "systemd/redis/users.acl.example"
PASSWORDS = {"hub": "h" * 40, "worker": "w" * 40, "replica": "r" * 40, "sentinel": "s" * 40}
SERVICE = "rooney"


def users_file(directory: Path) -> Path:
    """The example, filled in as it says."""
    text = EXAMPLE.read_text()
    for user, password in PASSWORDS.items():
        text = re.sub(rf"(user {user} on >)\S+", rf"\g<1>{password}", text)
    path = directory / "users.acl"
    # Redis takes no comments in this file.
    path.write_text("\n".join(line for line in text.splitlines() if line.startswith("user ")) + "\n")
    return path


def connection(user: str, **options: object) -> Publisher:
    """A connection of one of the users. options: of DataHub, where and how."""
    block = DataHub(redis_username=user, redis_password=Secret(PASSWORDS[user]), **options)  # type: ignore[arg-type]
    return Publisher(block, timeout_s=1.0)


class Node:
    """A Redis of its own at a port, with the example's users; a primary or a replica of one."""

    def __init__(
        self, directory: Path, *options: str, host: Host = HERE, primary: "Node | None" = None, tls: bool = False
    ) -> None:
        self.host = host
        with host.inside():
            self.port = free_port()
        self._directory = directory
        home = directory / f"node-{host.name}-{self.port}"
        home.mkdir()
        argv = [redis_server(), "--bind", host.address, "--dir", str(home), "--save", "", "--appendonly", "yes"]
        argv += ["--tls-port" if tls else "--port", str(self.port), *(["--port", "0"] if tls else [])]
        argv += ["--aclfile", str(users_file(home))]
        argv += ["--masteruser", "replica", "--masterauth", PASSWORDS["replica"], "--repl-diskless-sync-delay", "0"]
        argv += ["--replicaof", f"{primary.host.address} {primary.port}"] if primary else []
        self._argv = [*argv, *options]
        self.start()

    def start(self) -> None:
        """Also again, after it was killed."""
        with self.host.inside():
            self.part = Part(f"redis-{self.host.name}-{self.port}", self._argv, self._directory)

    def bus(self, user: str = "hub", **options: object) -> Publisher:
        """A connection; it is made by its first call, from where that is. options: of DataHub."""
        return connection(user, redis_host=self.host.address, redis_port=self.port, **options)

    def end_ns(self) -> int:
        """ts_close of the newest minute it has; 0 without one."""
        with self.host.inside(), contextlib.closing(self.bus("worker")) as bus:
            bounds = bus.tape_bounds()
        return bounds[1] if bounds else 0

    def role(self) -> str:
        """As sentinels see it, of a replica once it has what its primary has; empty while it does not answer."""
        with self.host.inside(), contextlib.suppress(redis_py.RedisError, OSError):
            options = {"username": "sentinel", "password": PASSWORDS["sentinel"]}
            with redis_py.Redis(self.host.address, self.port, socket_timeout=1, **options) as client:  # type: ignore[arg-type]
                role, *more = client.role()
                return "syncing" if role == b"slave" and more[2] != b"connected" else str(role.decode())
        return ""


class Cluster:
    """A primary on the first host, a replica on the second, a sentinel on each of three."""

    def __init__(self, directory: Path, hosts: Sequence[Host] = (HERE, HERE, HERE)) -> None:
        primary = Node(directory, host=hosts[0])
        until(lambda: primary.role() == "master", 20, primary.part.tail)
        self.nodes = [primary, Node(directory, host=hosts[1], primary=primary)]
        self.sentinels = [self._sentinel(directory, number, host) for number, host in enumerate(hosts)]
        until(self._agreed, 30, lambda: [part.tail() for _, _, part in self.sentinels])

    def _sentinel(self, directory: Path, number: int, host: Host) -> tuple[Host, int, Part]:
        primary = self.nodes[0]
        with host.inside():
            port = free_port()
            path = directory / f"sentinel{number}.conf"
            path.write_text(
                # Asked by other hosts without a password: that they are reached by no one else is the network's affair.
                f"port {port}\nbind {host.address}\nprotected-mode no\ndir {directory}\n"
                f"sentinel monitor {SERVICE} {primary.host.address} {primary.port} 2\n"
                f"sentinel auth-user {SERVICE} sentinel\nsentinel auth-pass {SERVICE} {PASSWORDS['sentinel']}\n"
                f"sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 4000\n"
            )
            return host, port, Part(f"sentinel{number}", [redis_server(), str(path), "--sentinel"], directory)

    def _agreed(self) -> bool:
        """Whether each sentinel knows the replica and the others, and the replica has what the primary has."""
        with contextlib.suppress(redis_py.RedisError):
            for host, port, _ in self.sentinels:
                with host.inside(), redis_py.Redis(host.address, port, socket_timeout=1) as client:
                    state = client.sentinel_master(SERVICE)
                    if state["num-slaves"] != 1 or state["num-other-sentinels"] != 2:
                        return False
            primary = self.nodes[0]
            options = {"username": "sentinel", "password": PASSWORDS["sentinel"]}
            with primary.host.inside(), redis_py.Redis(primary.host.address, primary.port, **options) as client:  # type: ignore[arg-type]
                return "online" in str(client.info("replication"))
        return False

    def addresses(self) -> list[str]:
        """Of the sentinels, as the configuration names them."""
        return [f"{host.address}:{port}" for host, port, _ in self.sentinels]

    def bus(self, user: str = "hub") -> Publisher:
        """A connection to whatever is the primary."""
        return connection(user, redis_sentinels=tuple(self.addresses()), redis_service=SERVICE)

    def close(self) -> None:
        """End everything."""
        for _, _, part in self.sentinels:
            part.stop(timeout_s=2)
        for node in self.nodes:
            node.part.stop(timeout_s=2)
