"""Tools of the machine that tests need: what is not there skips them, and the end of the run says what brings it.

With ROONEY_TESTS=all, as in CI, what lacks a tool fails.
"""

import os
import shutil
from collections.abc import Iterable

import pytest

PACKAGES = {  # of Debian
    "chromium": "chromium",
    "dbus-daemon": "dbus",
    "debootstrap": "debootstrap",
    "g++": "g++",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "redis-server": "redis-server",
    "systemd-analyze": "systemd",
    "systemd-creds": "systemd",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}
SUPERUSER = "root"  # as a tool: what only root may do
BROWSER = "chromium"
_NOT_HERE = "not on this machine: "


def needs(*tools: str) -> pytest.MarkDecorator:
    """Mark of a test, or of a file's tests, that run only where each of `tools` is."""
    return pytest.mark.needs(*tools)


def require(*tools: str) -> None:
    """Skip what runs now, or fail with ROONEY_TESTS=all, unless each of `tools` is here."""
    missing = [tool for tool in tools if not (os.geteuid() == 0 if tool == SUPERUSER else shutil.which(tool))]
    if missing:
        stop = pytest.fail if os.environ.get("ROONEY_TESTS") == "all" else pytest.skip
        stop(_NOT_HERE + ", ".join(missing))


def summary(reasons: Iterable[str]) -> list[str]:
    """Lines about the tests that were skipped for want of a tool, and the command that brings the tools."""
    lacking: dict[str, int] = {}
    for reason in reasons:
        for tool in reason.partition(_NOT_HERE)[2].split(", "):
            if tool:
                lacking[tool] = lacking.get(tool, 0) + 1
    lines = [f"{number} skipped, which need {tool}" for tool, number in sorted(lacking.items())]
    if packages := sorted({PACKAGES[tool] for tool in lacking if tool != SUPERUSER}):
        lines.append(f"to run them: apt-get install {' '.join(packages)}")
    return lines
