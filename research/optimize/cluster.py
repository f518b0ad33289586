"""Place where joblib's work is done: here, or on a Dask or Ray cluster that is there already (`--cluster`)."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

from rooney.errors import ConfigError

_ANSWER_S = 10
_KINDS = {"dask": "distributed", "ray": "ray"}


@contextmanager
def joblib_on(cluster: str | None) -> Iterator[None]:
    """Have every `joblib.Parallel` within run there. cluster: dask://HOST:PORT, ray://HOST:PORT, None: on this machine

    Raises ConfigError for another address, one that does not answer, or a package that is not installed.
    """
    if cluster is None:
        yield
        return
    kind, _, address = cluster.partition("://")
    if kind not in _KINDS or not address:
        raise ConfigError(f"--cluster: expected dask://HOST:PORT or ray://HOST:PORT, got {cluster!r}; nothing was run")
    if find_spec(_KINDS[kind]) is None:
        wanted = "rooney[cluster]" if kind == "dask" else "ray"
        raise ConfigError(f"--cluster: {cluster} needs {_KINDS[kind]}: install {wanted}; nothing was run")
    host, _, port = address.rpartition(":")
    with ExitStack() as entered:
        try:
            socket.create_connection((host, int(port)), _ANSWER_S).close()  # their own clients try for long
            entered.enter_context(_dask(address) if kind == "dask" else _ray(cluster))
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(f"--cluster: nothing answers at {cluster}: {error}; nothing was run") from error
        yield


@contextmanager
def _dask(address: str) -> Iterator[None]:
    from distributed import Client
    from joblib import parallel_config

    with Client(f"tcp://{address}", timeout=_ANSWER_S), parallel_config(backend="dask"):
        yield


@contextmanager
def _ray(address: str) -> Iterator[None]:
    import ray
    from joblib import parallel_config
    from ray.util.joblib import register_ray

    ray.init(address=address)
    register_ray()
    try:
        with parallel_config(backend="ray"):
            yield
    finally:
        ray.shutdown()
