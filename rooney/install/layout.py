"""Places of an installation, the versions it holds, and the switch between them.

    PREFIX/versions/VERSION/    a virtual environment; share/ holds its units, its example configuration, its documents
    PREFIX/current, previous    links to versions

A process is started through `current` and runs from the version's own path (the launcher names it), so that a switch
under a running process never mixes two versions.
"""

import hashlib
import os
import tomllib
from pathlib import Path

SHIPPED = ("rooney", "strategies", "research", "systemd", "config.multi_alpha.yml", "pyproject.toml", "uv.lock")
COMPLETE = "share/complete"
AHEAD_DROP_IN = "60-compiled.conf"  # what `rooney compile NAME` writes; rooney.strategy.aot has the same name
UNIT_DROP_INS = Path("/etc/systemd/system")


class Layout:
    """Paths of one installation. root: where the machine's own root is seen from here, other than / for an image."""

    def __init__(self, prefix: Path = Path("/opt/rooney"), root: Path = Path("/")) -> None:
        self.prefix = prefix
        self.root = root
        self.versions = self.at(prefix / "versions")
        self.config = self.at("/etc/rooney/config.multi_alpha.yml")
        self.credentials = self.at("/etc/rooney/credentials")
        self.units = self.at("/usr/local/lib/systemd/system")
        self.sysusers = self.at("/usr/local/lib/sysusers.d/rooney.conf")
        self.tmpfiles = self.at("/usr/local/lib/tmpfiles.d/rooney.conf")
        self.redis_drop_in = self.at("/etc/systemd/system/redis-server.service.d/50-rooney.conf")
        self.redis_settings = self.at("/etc/redis/rooney.conf")
        self.command = self.at("/usr/local/bin/rooney")
        self.caches = self.at("/var/cache/rooney")

    @property
    def is_image(self) -> bool:
        """True where the files are not those of the running machine: nothing is started or compiled."""
        return self.root != Path("/")

    def at(self, path: Path | str) -> Path:
        """`path` of the installed machine, as seen from here."""
        return self.root / str(path).lstrip("/")

    def ahead_drop_in(self, name: str) -> Path:
        """Drop-in that makes a strategy's worker load its step instead of compiling it, there or not."""
        return self.at(UNIT_DROP_INS / f"rooney-worker@{name}.service.d" / AHEAD_DROP_IN)

    def version(self, link: str) -> str | None:
        """The version `current` or `previous` names."""
        path = self.at(self.prefix / link)
        return path.readlink().name if path.is_symlink() else None

    def home(self, version: str) -> Path:
        """A version's directory, as seen from here."""
        return self.versions / version

    def installed_home(self, version: str) -> Path:
        """A version's directory, as the installed machine sees it."""
        return self.prefix / "versions" / version

    def is_complete(self, version: str) -> bool:
        """False for one whose build was interrupted."""
        return (self.home(version) / COMPLETE).is_file()

    def switch(self, version: str) -> None:
        """Make `version` the current one; the one it replaces is kept as previous. Each link changes in one step."""
        replaced = self.version("current")
        if replaced == version:
            return
        if replaced is not None:
            self._link("previous", replaced)
        self._link("current", version)

    def _link(self, name: str, version: str) -> None:
        link = self.at(self.prefix / name)
        unfinished = link.with_name(f".{name}.new")
        unfinished.unlink(missing_ok=True)
        unfinished.symlink_to(Path("versions") / version)
        os.replace(unfinished, link)

    def superfluous(self) -> list[str]:
        """Versions nobody can switch to any more."""
        if not self.versions.is_dir():
            return []
        kept = {self.version("current"), self.version("previous")}
        return sorted(path.name for path in self.versions.iterdir() if path.name not in kept)


def version_of(source: Path) -> str:
    """`0.1.0-1f3a9c04`: the number a checkout gives itself, and a hash of everything it ships."""
    digest = hashlib.sha256()
    for shipped in SHIPPED:
        top = source / shipped
        files = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file())
        for path in files:
            if "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(source)}\0".encode() + path.read_bytes() + b"\0")
    number = tomllib.loads((source / "pyproject.toml").read_text())["project"]["version"]
    return f"{number}-{digest.hexdigest()[:8]}"
