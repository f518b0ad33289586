"""Hosts made of network namespaces: each has an address of its own, and a link to one switch that can be cut.

They share this machine's files and processes, not its network. Needs root and iproute2.
"""

import contextlib
import ctypes
import os
import subprocess
import uuid
from collections.abc import Iterator, Sequence

from tests.support.tools import SUPERUSER, require

_CLONE_NEWNET = 0x40000000
_SUBNET = "10.77.0"


class Host:
    """Where a process can be started. namespace: None = this machine itself, by its loopback."""

    def __init__(self, name: str = "here", address: str = "127.0.0.1", namespace: str | None = None) -> None:
        self.name = name
        self.address = address
        self.namespace = namespace

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets this thread opens here, and processes and threads it starts here, are this host's."""
        if self.namespace is None:
            yield
            return
        with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{self.namespace}") as own:
            _enter(own.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())


HERE = Host()


class Network:
    """Hosts on one switch."""

    def __init__(self, names: Sequence[str]) -> None:
        label = f"rooney-{uuid.uuid4().hex[:6]}"
        self._switch = f"{label}-switch"
        self.hosts = {
            name: Host(name, f"{_SUBNET}.{number}", f"{label}-{name}") for number, name in enumerate(names, start=1)
        }
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "ports", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "ports", "up")
        for host in self.hosts.values():
            assert host.namespace is not None
            _ip("netns", "add", host.namespace)
            link = ["link", "add", f"to-{host.name}", "type", "veth", "peer", "name", "eth0", "netns", host.namespace]
            _ip("-n", self._switch, *link)
            _ip("-n", self._switch, "link", "set", f"to-{host.name}", "master", "ports", "up")
            _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", host.namespace, "link", "set", device, "up")

    def cut(self, host: Host) -> None:
        """From now on no packet leaves or reaches it; its connections are not told."""
        _ip("-n", self._switch, "link", "set", f"to-{host.name}", "down")

    def join(self, host: Host) -> None:
        """The link is there again."""
        _ip("-n", self._switch, "link", "set", f"to-{host.name}", "up")

    def close(self) -> None:
        """Take everything away; what still runs inside keeps its namespace until it ends."""
        for name in (self._switch, *(host.namespace or "" for host in self.hosts.values())):
            if os.path.exists(f"/run/netns/{name}"):
                _ip("netns", "del", name)


@contextlib.contextmanager
def network(*names: str) -> Iterator[Network]:
    """Skips where namespaces cannot be made."""
    require(SUPERUSER, "ip")
    made = Network(names)
    try:
        yield made
    finally:
        made.close()


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
