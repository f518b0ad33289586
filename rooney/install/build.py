"""A version of rooney on disk: a virtual environment of exactly what uv.lock names, and what goes with the code."""

import os
import shutil
import sys
from pathlib import Path

from rooney.install.host import Host, InstallError
from rooney.install.layout import COMPLETE, Layout

MIN_PYTHON = (3, 11)
EXTRAS = ("hub", "dashboard", "compile")
RESEARCH = ("research", "optimize")  # what `rooney train` and `rooney retrain` need; no unit that trades does
IMPORTED = (
    "rooney.cli",
    "rooney.hub.process",
    "rooney.worker.process",
    "rooney.dashboard.process",
    "rooney.alerts.on_failure",
    "rooney.alerts.process",
    "uvicorn",
    "starlette",
)
_HIDDEN = ("/root/", "/home/", "/tmp/", "/var/tmp/")  # ProtectHome= and PrivateTmp= hide these from every unit

_LAUNCHER = """#!{python}
# Started through PREFIX/current, it runs from its own version's path: a switch never mixes two versions.
import sys

from rooney.cli import main

if __name__ == "__main__":
    sys.exit(main())
"""


def choose_python(wanted: str | None) -> str:
    """The interpreter the units will use: `wanted`, else this one, else the system's."""
    candidates = [wanted] if wanted else [os.path.realpath(sys.executable), "/usr/bin/python3"]
    own = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    if not wanted and sys.prefix != sys.base_prefix:
        candidates.insert(0, own)
    refused = []
    for path in candidates:
        real = os.path.realpath(path)
        if real.startswith(_HIDDEN):
            refused.append(f"{path} is at {real}, which the units cannot see")
        elif not os.access(real, os.X_OK):
            refused.append(f"{path} is not there")
        else:
            return path
    least = ".".join(map(str, MIN_PYTHON))
    raise InstallError(f"no usable Python: {'; '.join(refused)}. Install python3 ({least} or later), or give --python")


def check_prefix(prefix: Path) -> None:
    """Raises InstallError for a place that the units could not see."""
    if not prefix.is_absolute() or f"{prefix}/".startswith(_HIDDEN):
        raise InstallError(
            f"--prefix {prefix}: it has to be absolute and outside {', '.join(_HIDDEN)}, which no unit sees; "
            "nothing was changed"
        )


def find_uv(host: Host, layout: Layout, python: str) -> str:
    """uv: this machine's, else one of our own beside the versions."""
    own = layout.at(layout.prefix / "tools/bin/uv")
    found = os.environ.get("UV") or shutil.which("uv") or (str(own) if own.is_file() else None)
    if found:
        return found
    host.run([python, "-m", "venv", own.parents[1]])
    host.run([own.parent / "pip", "install", "--quiet", "uv"])
    host.say(f"uv installed for rooney alone, in {own.parent}")
    return str(own)


def has_research(layout: Layout, version: str) -> bool:
    """True for a version that was built with what trains models."""
    return any((layout.home(version) / "lib").glob("python3*/site-packages/sklearn"))


def build(host: Host, layout: Layout, source: Path, version: str, python: str, research: bool = False) -> None:
    """Make `version` from a checkout, whole or not at all; nothing of it is in use before the switch.

    research: with what trains models; to a version that is built already it is added
    """
    home = layout.home(version)
    if layout.is_complete(version) and (not research or has_research(layout, version)):
        host.say(f"version {version} is built already")
        return
    if not (source / "uv.lock").is_file():
        raise InstallError(f"{source} is no checkout of rooney (no uv.lock): run `python3 -m rooney.install` in one")
    uv = find_uv(host, layout, python)
    # copies: a production environment must not share files with a cache that something else cleans
    env = {"UV_PROJECT_ENVIRONMENT": str(home), "UV_LINK_MODE": "copy", "UV_PYTHON_DOWNLOADS": "never"}
    env |= {"VIRTUAL_ENV": "", "UV_NO_PROGRESS": "1"}
    sync: list[str | Path] = [uv, "sync", "--quiet", "--frozen", "--no-dev", "--no-editable", "--project", source]
    sync += [word for extra in (*EXTRAS, *(RESEARCH if research else ())) for word in ("--extra", extra)]
    if layout.is_complete(version):  # workers may run from it: what is there stays as it is
        host.run([*sync, "--inexact", "--no-install-project", "--python", home / "bin/python"], env=env)
        host.say(f"what trains models added to version {version}")
        return
    host.remove(home)
    host.run([uv, "venv", "--quiet", "--no-config", "--python", python, home], env=env)
    found = host.run([home / "bin/python", "-c", "import sys; print(*sys.version_info[:2])"])
    if tuple(map(int, found.split())) < MIN_PYTHON:
        raise InstallError(f"{python} is Python {'.'.join(found.split())}, rooney needs 3.11 or later; give --python")
    # uv's cache would give a wheel of this path from before an edit
    host.run([*sync, "--reinstall-package", "rooney", "--python", home / "bin/python"], env=env)
    # as root, and now: a unit could not write what Python compiles, and would compile it again at every start
    host.run(
        [home / "bin/python", "-I", "-c", f"import {', '.join(IMPORTED)}"], env={"NUMBA_CACHE_DIR": str(home / "tmp")}
    )
    host.remove(home / "tmp")
    launcher = _LAUNCHER.format(python=layout.installed_home(version) / "bin/python")
    host.write(home / "bin/rooney", launcher, 0o755)
    share = home / "share"
    shutil.copytree(source / "systemd", share / "systemd", dirs_exist_ok=True)
    shutil.copy(source / "config.multi_alpha.yml", share)
    if (source / "docs").is_dir():
        shutil.copytree(source / "docs", share / "docs", dirs_exist_ok=True)
    host.write(home / COMPLETE, version + "\n")
    host.say(f"version {version} built with {python}")


def units_of(layout: Layout, version: str) -> dict[str, str]:
    """Name → text of every unit a version ships, for this prefix."""
    folder = layout.home(version) / "share/systemd"
    kinds = (".service", ".socket", ".timer", ".target", ".slice")
    return {
        path.name: path.read_text().replace("/opt/rooney/", f"{layout.prefix}/")
        for path in sorted(folder.iterdir())
        if path.suffix in kinds
    }
