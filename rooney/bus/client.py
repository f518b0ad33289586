"""The connection to Redis. Every method of it raises BusError when Redis does not do its part."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.exceptions import NoPermissionError
from redis.retry import Retry
from redis.sentinel import Sentinel

from rooney.config.schema import DataHub
from rooney.errors import BusError, MessageError

logger = logging.getLogger(__name__)


def uses_hiredis() -> bool:
    """True where replies are parsed by hiredis; redis-py falls back to Python silently."""
    return DefaultParser.__name__ == "_HiredisParser"


class Connection:
    """A connection to the Redis of `block`: by its unix socket, else to its host or what its sentinels name.

    timeout_s: limit of every call; blocking reads may take that much longer than asked for
    garbled:   key → values of it that could not be read, and were taken as missing
    """

    def __init__(self, block: DataHub, timeout_s: float = 3.0) -> None:
        if not uses_hiredis():
            raise BusError("redis-py uses its Python parser: install hiredis into this environment")
        host, port, socket = block.redis_host, block.redis_port, block.redis_socket
        self.where = f"unix:{socket}" if socket else f"{host}:{port}"
        options: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        if block.redis_tls:
            options |= {
                "ssl": True,
                "ssl_cert_reqs": "required",
                "ssl_check_hostname": True,
                "ssl_ca_certs": block.redis_ca,
            }
        anonymous = dict(options)  # as sentinels are asked, which know no users
        if block.redis_username is not None:
            options["username"] = block.redis_username
        if block.redis_password is not None:
            options["password"] = block.redis_password.reveal()
        self._service = block.redis_service or ""
        self._sentinel: Sentinel | None = None
        if socket:
            options["unix_socket_path"] = socket
        elif block.redis_sentinels:
            self.where = f"the primary of {self._service}"
            addresses = [
                (name, int(number)) for name, number in (text.rsplit(":", 1) for text in block.redis_sentinels)
            ]
            self._sentinel = Sentinel(addresses, sentinel_kwargs=anonymous)  # type: ignore[no-untyped-call]
        else:
            options |= {"host": host, "port": port}
        self._options = options
        self.garbled: Counter[str] = Counter()
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

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        """Of one key: MessageError where it is of another type or not ours to read, which no new connection changes."""
        with self._errors(f"read {key}"):
            try:
                yield
            except redis.ResponseError as error:
                if not isinstance(error, NoPermissionError) and not str(error).startswith("WRONGTYPE"):
                    raise
                raise MessageError(f"{key}: {error}") from error

    def _missing(self, key: str, why: object) -> None:
        """A value of a key is garbled: as if it were not there, said once per key."""
        self.garbled[key] += 1
        if self.garbled[key] == 1:
            logger.error("Redis at %s: %s cannot be read, taken as missing: %s", self.where, key, why)

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
