"""The connection to Redis. Every method of it raises BusError when Redis does not do its part."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.retry import Retry
from redis.sentinel import Sentinel

from rooney.config.schema import DataHub
from rooney.errors import BusError
from rooney.secrets import Secret


def uses_hiredis() -> bool:
    """Whether replies are parsed by hiredis; redis-py falls back to Python silently."""
    return DefaultParser.__name__ == "_HiredisParser"


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to reach a Redis on another host; by default nothing.

    username, password: of Redis' own users (ACL)
    tls, ca:   encrypted, and the file of certificates that the server's must be signed by; None = the system's
    sentinels: who is asked, at each connection, which host is the primary of `service`; without a user
    """

    username: str | None = None
    password: Secret | None = None
    tls: bool = False
    ca: str | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""

    def options(self) -> dict[str, Any]:
        """For redis-py."""
        found: dict[str, Any] = {}
        if self.username is not None:
            found["username"] = self.username
        if self.password is not None:
            found["password"] = self.password.reveal()
        if self.tls:
            found |= {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": self.ca}
        return found


_PLAIN = Access()


class Connection:
    """A connection to Redis, by unix socket when `socket` is given, else to `host` or what sentinels name.

    timeout_s: limit of every call; blocking reads may take that much longer than asked for
    """

    @classmethod
    def to(cls, block: DataHub, timeout_s: float = 3.0) -> Self:
        """The Redis of a configuration."""
        access = Access(
            username=block.redis_username,
            password=block.redis_password,
            tls=block.redis_tls,
            ca=block.redis_ca,
            sentinels=tuple((host, int(port)) for host, port in (one.rsplit(":", 1) for one in block.redis_sentinels)),
            service=block.redis_service or "",
        )
        return cls(block.redis_host, block.redis_port, block.redis_socket, timeout_s, access)

    def __init__(
        self,
        host: str = "localhost",
        port: int = 6379,
        socket: str | None = None,
        timeout_s: float = 3.0,
        access: Access = _PLAIN,
    ) -> None:
        if not uses_hiredis():
            raise BusError("redis-py uses its Python parser: install hiredis into this environment")
        self.where = f"unix:{socket}" if socket else f"{host}:{port}"
        options: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        options |= access.options()
        self._sentinel: Sentinel | None = None
        if socket:
            options["unix_socket_path"] = socket
        elif access.sentinels:
            self.where = f"the primary of {access.service}"
            asked = {key: value for key, value in options.items() if key not in ("username", "password")}
            self._sentinel = Sentinel(list(access.sentinels), sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
        else:
            options |= {"host": host, "port": port}
        self._options = options
        self._service = access.service
        self._client: redis.Redis | None = None

    @property
    def _redis(self) -> redis.Redis:
        """The client; making it connects, so it is made by the first call and again after an outage."""
        if self._client is None:
            options = self._options
            if self._sentinel is not None:
                # Asked at each connection, never by a pool: one that went over to a new primary by itself would hide
                # that the new one may lack the last minutes.
                host, port = self._sentinel.discover_master(self._service)  # type: ignore[no-untyped-call]
                options = options | {"host": host, "port": port}
            # A silent retry, or a pool's silent reconnection, would hide an outage that the caller has to see.
            self._client = redis.Redis(**options, retry=Retry(NoBackoff(), 0), single_connection_client=True)
        return self._client

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError) as error:
            # The next call makes a new connection: an answer to this one must never be read as the answer to that one.
            self.close()
            raise BusError(f"Redis at {self.where}: {doing}: {error}") from error

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()
            self._client.connection_pool.disconnect()
            self._client = None

    def ping(self) -> None:
        """Raises BusError unless Redis answers."""
        with self._errors("ping"):
            self._redis.ping()
