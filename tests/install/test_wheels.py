"""Wheels: on every machine and Python that is supported, rooney is installed without a compiler."""

import re
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from tests.support.paths import ROOT

GLIBC_LEAST = 28  # Debian 10, RHEL 8: the oldest manylinux that the JIT's own wheels are made for
SOURCE_ONLY = {"sdnotify"}  # one pure Python file: needs no compiler
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def tags_of(python: tuple[int, int], machine: str) -> set[Tag]:
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_LEAST, 4, -1)]
    platforms += [f"{old}_{machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    interpreter = f"cp{python[0]}{python[1]}"
    return {*cpython_tags(python, platforms=platforms), *compatible_tags(python, interpreter, platforms)}


@pytest.fixture(scope="module")
def wheels() -> dict[tuple[str, str], list[str]]:
    """File names of the wheels of each locked package and version."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    return {
        (package["name"], package["version"]): [wheel["url"].rpartition("/")[2] for wheel in package.get("wheels", ())]
        for package in lock["package"]
    }


@pytest.fixture(scope="module", params=["", *EXTRAS])
def requirements(request: pytest.FixtureRequest) -> list[Requirement]:
    """All that is installed with one extra, and with none, as the lock file has it."""
    argv = ["uv", "export", "--offline", "--frozen", "--quiet", "--no-dev", "--no-emit-project", "--no-hashes"]
    argv += ["--extra", request.param] if request.param else []
    text = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [Requirement(line) for line in text.splitlines() if re.match(r"[a-z0-9]", line, re.IGNORECASE)]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", [(3, 11), (3, 12), (3, 13), (3, 14)])
def test_every_package_has_a_wheel(
    python: tuple[int, int], machine: str, requirements: list[Requirement], wheels: dict[tuple[str, str], list[str]]
) -> None:
    supported = tags_of(python, machine)
    version = f"{python[0]}.{python[1]}"
    environment = {
        "python_version": version,
        "python_full_version": f"{version}.9",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": machine,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    missing = []
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        if name in SOURCE_ONLY or (requirement.marker and not requirement.marker.evaluate(environment)):
            continue
        exact = str(requirement.specifier).removeprefix("==")
        if not any(parse_wheel_filename(file)[3] & supported for file in wheels[name, exact]):
            missing.append(f"{name} {exact}")
    assert not missing
