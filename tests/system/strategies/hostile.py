"""A strategy that means harm: as soon as it is loaded it tries what no strategy may do, and writes down what it got."""

import ctypes
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

from rooney.strategy import Feature, Strategy

OWN = Path(os.environ["NUMBA_CACHE_DIR"]).parents[3] / "lib/rooney/hostile"
LIBC = ctypes.CDLL(None, use_errno=True)


def read(path):
    return lambda: Path(path).read_bytes()[:1] or True


def write(path):
    return lambda: Path(path).write_text("x")


def execute(folder):
    def attempt():
        dropped = Path(folder) / "dropped"
        shutil.copy("/usr/bin/true", dropped)
        dropped.chmod(0o755)
        subprocess.run([str(dropped)], check=True)

    return attempt


def open_socket(family, kind, protocol=0):
    return lambda: socket.socket(family, kind, protocol).close()


def connect(path):
    def attempt():
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)

    return attempt


def call(name, *arguments):
    def attempt():
        if getattr(LIBC, name)(*arguments) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    return attempt


def read_the_memory_of_others():
    for process in Path("/proc").glob("[0-9]*"):
        if process.name != str(os.getpid()):
            (process / "environ").read_bytes()
            return
    raise PermissionError("no other process is to be seen")


HARM = {
    "another's credential in the store": read("/etc/rooney/credentials/ibs.broker_account"),
    "another's credential as loaded": read("/run/credentials/rooney-worker@ibs.service/broker_account"),
    "another's ledger": read("/var/lib/rooney/ibs/ledger.sqlite"),
    "another's kernels": lambda: next(Path("/var/cache/rooney/ibs").rglob("*")),
    "another's process": read_the_memory_of_others,
    "what Redis keeps on disk": lambda: next(Path("/var/lib/redis").iterdir()),
    "a write to the configuration": write("/etc/rooney/config.multi_alpha.yml"),
    "a write beside the strategies": write("/etc/rooney/strategies/more.py"),
    "a write into the version": write("/opt/rooney/current/more.py"),
    "a write into another's state": write("/var/lib/rooney/ibs/more"),
    "a write into another's control": write("/var/lib/rooney/control/ibs/resume"),
    "a write into the state's root": write("/var/lib/rooney/more"),
    "a write into /root": write("/root/more"),
    "a binary dropped into its state": execute(OWN),
    "a binary dropped into its cache": execute(Path(os.environ["NUMBA_CACHE_DIR"]).parent),
    "a binary dropped into /tmp": execute("/tmp"),
    "a binary dropped into /dev/shm": execute("/dev/shm"),
    "a binary dropped among the locks": execute("/run/rooney/accounts"),
    "a netlink socket": open_socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "a packet socket": open_socket(socket.AF_PACKET, socket.SOCK_RAW),
    "a raw socket": open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "the system's message bus": connect("/run/dbus/system_bus_socket"),
    "systemd itself": connect("/run/systemd/private"),
    "another user": call("setuid", 0),
    "a namespace": call("unshare", 0x10000000),
    "a mount": call("mount", b"tmpfs", b"/tmp", b"tmpfs", 0, None),
    "a look into init": call("ptrace", 16, 1, 0, 0),
}
ALLOWED = {
    "its own credential": lambda: (Path(os.environ["CREDENTIALS_DIRECTORY"]) / "broker_account").read_bytes(),
    "its own state": write(OWN / "mine"),
    "its own control folder": write("/var/lib/rooney/control/hostile/mine"),
    "Redis": connect("/run/redis/redis-server.sock"),
    "a program of the machine": lambda: subprocess.run(["/usr/bin/true"], check=True),
    "a connection out": open_socket(socket.AF_INET, socket.SOCK_STREAM),
}


def outcome(attempt):
    try:
        attempt()
    except StopIteration:
        return "refused: nothing there"
    except Exception as error:  # noqa: BLE001 - however it is refused
        return f"refused: {type(error).__name__}: {error}"
    return "done"


found = {name: outcome(attempt) for name, attempt in (HARM | ALLOWED).items()}
(OWN / "outcomes.new").write_text(json.dumps(found))
(OWN / "outcomes.new").rename(OWN / "outcomes.json")


class Hostile(Strategy):
    features = {"close": Feature("close", "hourly")}
