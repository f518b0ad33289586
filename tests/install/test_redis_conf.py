"""The shipped Redis settings, on a real redis-server."""

import contextlib
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py

from rooney.sim.processes import redis_server
from tests.support.paths import ROOT
from tests.support.redis_hosts import PASSWORDS, users_file
from tests.support.waiting import until

SHIPPED = ROOT / "systemd/redis"
CONF = SHIPPED / "rooney.conf"
# What Debian's redis.conf says otherwise.
DEBIAN = "port 6379\nappendonly no\nsave 900 1\nmaxmemory-policy allkeys-lru\n"


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="rc-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def command(main: Path, socket: Path) -> list[str]:
    """As the drop-in has systemd start it; only the places are others."""
    text = (SHIPPED / "50-rooney.conf").read_text().replace("\\\n", "")
    (line,) = re.findall(r"^ExecStart=(\S.*)$", text, re.MULTILINE)
    for installed, here in (("/etc/redis/redis.conf", main), ("/etc/redis/rooney.conf", CONF)):
        assert line.count(installed) == 1
        line = line.replace(installed, str(here))
    _, *argv = line.replace("--supervised systemd", "").split()
    return [redis_server(), *argv, "--unixsocket", str(socket), "--dir", str(main.parent)]


@contextlib.contextmanager
def server(directory: Path) -> Iterator[redis_py.Redis]:
    main, socket = directory / "redis.conf", directory / "redis.sock"
    main.write_text(DEBIAN)
    with subprocess.Popen(command(main, socket), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            until(lambda: socket.exists() or process.poll() is not None, 10)
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            yield redis_py.Redis(unix_socket_path=str(socket), decode_responses=True)
        finally:
            process.terminate()


def test_the_settings_are_in_one_file_that_the_drop_in_includes() -> None:
    """What it says on the command line itself is about systemd, and nothing that the file says."""
    text = (SHIPPED / "50-rooney.conf").read_text().replace("\\\n", "")
    assert set(re.findall(r"--([a-z-]+)", text)) == {"supervised", "daemonize", "include"}


def test_redis_takes_every_line_of_the_shipped_settings(directory: Path) -> None:
    with server(directory) as client:
        lines = [line.split(None, 1) for line in CONF.read_text().splitlines() if line and not line.startswith("#")]
        found = {name: client.config_get(name)[name] for name, _ in lines}
        assert found.pop("client-output-buffer-limit").endswith("pubsub 8388608 2097152 60")
        assert found.pop("unixsocket") == str(directory / "redis.sock")
        assert found == {
            "port": "0",
            "unixsocketperm": "770",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-use-rdb-preamble": "yes",
            "save": "",
            "maxmemory": str(1 << 30),
            "maxmemory-policy": "noeviction",
        }
        assert stat.S_IMODE((directory / "redis.sock").stat().st_mode) == 0o770


def test_what_was_written_is_there_after_a_restart(directory: Path) -> None:
    with server(directory) as client:
        client.xadd("market:tape", {"m": "x"}, id="1-0")
    with server(directory) as client:
        assert client.xlen("market:tape") == 1


def test_a_full_redis_refuses_and_drops_nothing(directory: Path) -> None:
    with server(directory) as client:
        client.set("kept", "x")
        client.config_set("maxmemory", 1)
        with pytest.raises(redis_py.OutOfMemoryError):
            client.set("more", "x")
        assert client.get("kept") == "x"


def test_a_damaged_journal_ends_every_start_and_the_unit_after_a_bounded_number_of_them_with_an_alert(
    directory: Path,
) -> None:
    with server(directory) as client:
        client.set("key", "value" * 100)
        until(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0, 5)
        client.bgrewriteaof()
        until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0, 5)
    (base,) = [*directory.glob("appendonlydir/*.base.rdb"), *directory.glob("appendonly.aof")]  # of 7, and before
    whole = base.read_bytes()
    base.write_bytes(whole[: len(whole) // 2] + b"\xff" * 16 + whole[len(whole) // 2 + 16 :])
    try:
        found = subprocess.run(
            command(directory / "redis.conf", directory / "redis.sock"), capture_output=True, timeout=20, check=False
        )
    finally:
        base.write_bytes(whole)
    assert found.returncode != 0
    lines = (SHIPPED / "50-rooney.conf").read_text().splitlines()
    limits = dict(line.split("=", 1) for line in lines if line.startswith(("StartLimit", "OnFailure", "RestartSec")))
    pause_s = int(limits["RestartSec"].removesuffix("ms")) / 1_000
    assert 0 < int(limits["StartLimitBurst"]) * (pause_s + 10) <= int(limits["StartLimitIntervalSec"])
    assert limits["OnFailure"] == "rooney-alert@%N.service"


def test_the_example_of_users_is_taken_where_channels_are_open_to_all_by_default(directory: Path) -> None:
    """As in Redis 6.2; in later ones a user begins without channels."""
    socket = directory / "users.sock"
    argv = [redis_server(), "--port", "0", "--unixsocket", str(socket), "--dir", str(directory), "--save", ""]
    argv += ["--acl-pubsub-default", "allchannels", "--aclfile", str(users_file(directory))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            until(lambda: socket.exists() or process.poll() is not None, 10)
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            client = redis_py.Redis(unix_socket_path=str(socket), username="worker", password=PASSWORDS["worker"])
            assert client.ping()
        finally:
            process.terminate()
