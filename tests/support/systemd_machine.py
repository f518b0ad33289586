"""A booted systemd to test against: a container whose root is an overlay of this machine, with a loopback of its own.

What is installed here (interpreters, redis-server, uv's cache) is there too; nothing done there reaches this machine.
Needs root and `apt-get install systemd-container dbus`.
"""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT
from tests.support.tools import SUPERUSER

REPOSITORY = ROOT

# The cgroup controllers of a v1 machine stay where they are: memory and CPU limits are accepted there, not enforced.
_LAUNCH = r"""
set -e
cd "$1"
lower=$5
mkdir -p upper work root
overlay() { mount -t overlay overlay -o lowerdir="$lower",upperdir="$PWD/upper",workdir="$PWD/work" root; }
overlay 2>/dev/null || { mount -t tmpfs tmpfs "$PWD" && cd "$PWD" && mkdir upper work root && overlay; }
printf '%s\n' "$2" > root/etc/machine-id
for unit in systemd-networkd systemd-resolved systemd-timesyncd systemd-tmpfiles-clean apt-daily man-db; do
    for kind in service socket timer; do ln -sf /dev/null "root/etc/systemd/system/$unit.$kind"; done
done
ln -sf /dev/null root/etc/tmpfiles.d/tmp.conf
rm -rf root/etc/systemd/system/redis-server.service root/etc/systemd/system/multi-user.target.wants/redis*
rm -rf root/etc/rooney root/opt/rooney root/run/rooney root/var/cache/rooney root/var/lib/rooney*
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$3"
echo $$ > "/sys/fs/cgroup/$3/cgroup.procs"
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec systemd-nspawn --quiet --register=no --keep-unit --boot -D root --machine="$3" $6 \
    --link-journal=no --console=pipe --bind-ro="$4" systemd.unit=basic.target
"""


TOOLS = (SUPERUSER, "systemd-nspawn", "nsenter", "unshare", "dbus-daemon")  # that booting a systemd takes


class Machine:
    """One booted container; `close()` powers it off and leaves nothing behind.

    lower:     the root it lies over, which stays as it is
    is_online: it has this machine's network instead of a loopback of its own
    """

    def __init__(self, lower: Path = Path("/"), is_online: bool = False) -> None:
        self.name = f"rooney-{uuid.uuid4().hex[:8]}"
        self._directory = Path(tempfile.mkdtemp(prefix="rooney-machine-", dir="/var/tmp"))
        self._console = (self._directory / "console").open("wb")
        self._nspawn = subprocess.Popen(
            [
                "unshare",
                "-m",
                "--propagation",
                "private",
                "bash",
                "-c",
                _LAUNCH,
                "launch",
                str(self._directory),
                uuid.uuid4().hex,
                self.name,
                str(REPOSITORY),
                str(lower),
                "--resolv-conf=copy-host" if is_online else "--private-network",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=self._console,
        )
        try:
            self.pid = self._init()
            self.until(
                lambda: (
                    self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")
                ),
                "the container's systemd is up",
            )
        except BaseException:
            self.close()
            raise

    def _init(self) -> int:
        """The container's init: the child of nspawn that runs systemd."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self._nspawn.poll() is not None:
                raise RuntimeError(f"nspawn ended with {self._nspawn.returncode}: {self.console()}")
            children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
            for child in children:
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                        return int(child)
            time.sleep(0.05)
        raise RuntimeError(f"no init within 60 s: {self.console()}")

    def console(self) -> str:
        """What the container's console showed."""
        return (self._directory / "console").read_text(errors="replace")[-3000:]

    def path(self, path: str | Path) -> Path:
        """A file of the container, seen from here; its absolute symbolic links lead astray."""
        return Path(f"/proc/{self.pid}/root") / str(path).lstrip("/")

    def write(self, path: str, text: str) -> None:
        """A file of root's in the container, its folder made."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def run(
        self,
        *argv: str,
        check: bool = True,
        text: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 120.0,
    ) -> subprocess.CompletedProcess[str]:
        """A command as root in the container. text: its standard input; env: added to a plain environment."""
        plain = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        command = ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-C", "--", *argv]
        done = subprocess.run(
            command,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            env=plain | dict(env or {}),
            timeout=timeout_s,
            check=False,
            errors="replace",
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def systemctl(self, *argv: str, check: bool = True, timeout_s: float = 120.0) -> str:
        """What systemctl says, stripped."""
        return self.run("systemctl", *argv, check=check, timeout_s=timeout_s).stdout.strip()

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.systemctl("show", "-P", name, unit)

    def pid_of(self, unit: str) -> int:
        """Main PID in the container's own numbers; 0 if it does not run."""
        return int(self.show(unit, "MainPID"))

    def journal(self, *argv: str) -> list[dict[str, Any]]:
        """Entries that match, oldest first."""
        self.run("journalctl", "--sync")
        out = self.run("journalctl", "-o", "json", "--all", *argv, check=False).stdout
        return [json.loads(line) for line in out.splitlines() if line.startswith("{")]

    def messages(self, *argv: str) -> list[str]:
        """Texts of the entries that match."""
        return [str(entry.get("MESSAGE")) for entry in self.journal(*argv)]

    def drop_in(self, unit: str, text: str, name: str = "90-test") -> None:
        """Change a unit for a test."""
        self.write(f"/etc/systemd/system/{unit}.d/{name}.conf", text)
        self.systemctl("daemon-reload")

    def drop_out(self, unit: str, name: str = "90-test") -> None:
        """Take that back."""
        self.path(f"/etc/systemd/system/{unit}.d/{name}.conf").unlink(missing_ok=True)
        self.systemctl("daemon-reload")

    def until(self, done: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        """Wait for something that has to happen."""
        end = time.monotonic() + timeout_s
        while not done():
            assert self._nspawn.poll() is None, self.console()
            assert time.monotonic() < end, f"not within {timeout_s:g} s: {what}"
            time.sleep(0.1)

    def close(self) -> None:
        """Power off and clean up."""
        if self._nspawn.poll() is None:
            with contextlib.suppress(AttributeError, subprocess.TimeoutExpired):
                self.run("systemctl", "poweroff", "--force", check=False, timeout_s=20)
            try:
                self._nspawn.wait(30)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
        self._console.close()
        # the control group outlives the namespace it was made in, on a v1 machine under `unified`
        for top in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
            group = Path(top) / self.name
            for folder in sorted([*group.rglob("*"), group], key=lambda path: -len(path.parts)):
                with contextlib.suppress(OSError):
                    folder.rmdir()
        shutil.rmtree(self._directory, ignore_errors=True)


UNITS = REPOSITORY / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
