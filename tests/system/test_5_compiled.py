"""A worker whose step is compiled ahead of time, in its unit: no compiler, no code in memory that was written."""

import re
from collections.abc import Iterator

import pytest
import yaml

from rooney.strategy.aot import DROP_IN
from tests.support.installed_system import CONFIG, World, worker
from tests.support.systemd_machine import REPOSITORY, Machine
from tests.system.conftest import Guide

UNIT = worker("ibs")
FOLDER = f"/etc/systemd/system/{UNIT}.d"


@pytest.fixture(scope="module")
def compiled(webhooks: World, guide: Guide) -> Iterator[Machine]:
    """As the guide says; taken back at the end."""
    guide.follow("Compile ahead of time")
    yield webhooks.machine
    webhooks.machine.path(f"{FOLDER}/{DROP_IN}").unlink(missing_ok=True)
    webhooks.machine.systemctl("daemon-reload")


def maps(machine: Machine) -> str:
    """What the worker has in its memory."""
    return machine.run("cat", f"/proc/{machine.pid_of(UNIT)}/maps").stdout


def test_it_runs_where_no_memory_may_be_written_and_then_executed(compiled: Machine) -> None:
    assert compiled.show(UNIT, "ActiveState") == "active"
    assert compiled.show(UNIT, "MemoryDenyWriteExecute") == "yes"
    found = maps(compiled)
    assert re.search(r"r-xp .* /opt/rooney/compiled/rooney_step_ibs_\w+\.cpython-\S+\.so$", found, re.MULTILINE)
    assert not re.search("numba|llvmlite", found)


def test_what_it_loads_nobody_but_root_can_write(compiled: Machine) -> None:
    written = compiled.run(
        "find", "/opt/rooney/compiled", f"{FOLDER}/{DROP_IN}", "(", "!", "-user", "root", "-o", "-perm", "/022", ")"
    ).stdout
    assert written == ""


def test_a_length_that_was_changed_stops_the_start_and_the_journal_says_what_to_do(compiled: Machine) -> None:
    kept = compiled.path(CONFIG).read_text()
    config = yaml.safe_load(kept)
    config["strategies"]["ibs"]["strategy_params"] = {"pivot_bars": 4}
    compiled.path(CONFIG).write_text(yaml.safe_dump(config, sort_keys=False))
    try:
        compiled.systemctl("restart", UNIT, check=False)
        assert compiled.show(UNIT, "ExecMainStatus") == "78"
    finally:
        compiled.path(CONFIG).write_text(kept)
    said = compiled.messages("-u", UNIT, "-n", "5")
    assert any("strategies.ibs: " in line and "`rooney compile ibs` makes it" in line for line in said), said
    compiled.systemctl("reset-failed", UNIT)
    compiled.systemctl("start", UNIT)


@pytest.mark.slow
def test_an_upgrade_compiles_for_whoever_has_the_drop_in(compiled: Machine, wheels: dict[str, str]) -> None:
    compiled.run("sh", "-c", "rm /opt/rooney/compiled/*.so")
    argv = f"cd {REPOSITORY} && /usr/bin/python3 -m rooney.install"
    said = compiled.run("sh", "-c", argv, env=wheels, timeout_s=300).stdout
    assert "kernels of ibs compiled ahead of time" in said
    assert "kernels of breakout compiled ahead of time" not in said
    compiled.systemctl("restart", UNIT)
    assert "/opt/rooney/compiled/" in maps(compiled)


def test_without_the_one_file_it_compiles_again(compiled: Machine) -> None:
    compiled.run("rm", f"{FOLDER}/{DROP_IN}")
    compiled.systemctl("daemon-reload")
    compiled.systemctl("restart", UNIT)
    assert compiled.show(UNIT, "MemoryDenyWriteExecute") == "no"
    found = maps(compiled)
    assert "/opt/rooney/compiled/" not in found
    assert "llvmlite" in found
