"""Debian's redis-server made fit for the tape: a socket, a journal on disk, always back."""

import shutil
import time
from pathlib import Path

from rooney.install.host import Host, InstallError
from rooney.install.layout import Layout

UNIT = "redis-server.service"
SOCKET = "/run/redis/redis-server.sock"
REWRITE_S = 120.0


def ensure_package(host: Host) -> None:
    """Debian's package, if it is not there."""
    if shutil.which("redis-server"):
        return
    if shutil.which("apt-get") is None:
        raise InstallError("redis-server is not installed, and there is no apt-get: install redis 6.2 or later first")
    host.run(["apt-get", "install", "-y", "-q", "redis-server"], env={"DEBIAN_FRONTEND": "noninteractive"})
    host.say("installed Debian's redis-server")


def configure(host: Host, layout: Layout, shipped: Path) -> None:
    """Put settings and drop-in in place, from `shipped`; restarts Redis only if that changes something."""
    # The settings first: a Redis that restarts by itself in between must find what the drop-in includes.
    written = [
        path
        for path, name in ((layout.redis_settings, "rooney.conf"), (layout.redis_drop_in, "50-rooney.conf"))
        if host.write(path, (shipped / name).read_text())
    ]
    if not written:
        host.say("Redis: configured already")
        return
    host.say(f"Redis: {' and '.join(map(str, written))} written; it answers on {SOCKET} and on no port")
    if layout.is_image:
        return
    host.systemctl("daemon-reload")
    if UNIT in host.active(UNIT):
        _start_journal(host)
        host.systemctl("restart", UNIT)
        host.say("Redis restarted with it")


def _start_journal(host: Host) -> None:
    """Have a Redis that runs without an AOF write one first: started with an empty one, it would forget all it has."""
    found = shutil.which("redis-cli")
    if found is None:
        raise InstallError("redis-cli is missing (Debian: redis-tools): what Redis holds cannot be carried over")
    # Debian's own listens on TCP only, ours on the socket only.
    cli = [found, "-s", SOCKET] if Path(SOCKET).exists() else [found]
    host.run([*cli, "config", "set", "appendonly", "yes"])
    end = time.monotonic() + REWRITE_S
    while "aof_rewrite_in_progress:0" not in (said := host.run([*cli, "info", "persistence"])) or (
        "aof_rewrite_scheduled:0" not in said
    ):
        if time.monotonic() > end:
            raise InstallError(
                f"Redis has not finished its append-only file after {REWRITE_S:g} s; run this again later"
            )
        time.sleep(0.1)


def restore(host: Host, layout: Layout) -> None:
    """Take drop-in and settings away; Redis goes on as it is until its next start."""
    folder: Path = layout.redis_drop_in.parent
    if host.remove(layout.redis_drop_in) and not any(folder.iterdir()):
        folder.rmdir()
    host.remove(layout.redis_settings)
