"""A strategy that means harm, in the unit every strategy gets."""

import json
from pathlib import Path

import pytest

from tests.support.installed_system import World, worker
from tests.support.systemd_machine import REPOSITORY

SOURCE = Path(__file__).parent / "strategies/hostile.py"


def _names(kind: str) -> list[str]:
    """The attempts the file lists, read without making them."""
    text = SOURCE.read_text().partition(f"\n{kind} = {{\n")[2].partition("\n}")[0]
    return [line.strip().split('"')[1] for line in text.splitlines()]


@pytest.fixture(scope="module")
def outcomes(webhooks: World) -> dict[str, str]:
    """Attempt → what came of it, while the strategy `ibs` runs beside it."""
    machine = webhooks.machine
    machine.write("/etc/rooney/strategies/hostile.py", SOURCE.read_text())
    webhooks.add_strategy("hostile")
    webhooks.give_account("hostile")
    machine.systemctl("start", worker("ibs"))
    # it does its harm as it is loaded; that it would then compile its step is of no interest
    machine.systemctl("start", "--no-block", worker("hostile"))
    written = machine.path("/var/lib/rooney/hostile/outcomes.json")
    machine.until(written.exists, "it has tried everything")
    assert machine.pid_of(worker("ibs")) > 0
    machine.drop_in(worker("hostile"), "[Service]\nRestart=no\n")
    machine.systemctl("kill", "-s", "KILL", worker("hostile"))
    return dict(json.loads(written.read_text()))


@pytest.mark.parametrize("name", _names("HARM"))
def test_a_hostile_strategy_is_refused(outcomes: dict[str, str], name: str) -> None:
    assert outcomes[name].startswith("refused"), outcomes[name]


@pytest.mark.parametrize("name", _names("ALLOWED"))
def test_what_a_strategy_needs_it_can_do_in_the_same_place(outcomes: dict[str, str], name: str) -> None:
    assert outcomes[name] == "done"


def test_a_worker_runs_in_the_strictest_variant_too(webhooks: World) -> None:
    machine = webhooks.machine
    machine.drop_in(worker("ibs"), (REPOSITORY / "systemd/examples/strict.conf").read_text(), "50-strict")
    try:
        machine.systemctl("restart", worker("ibs"))
        pid = machine.pid_of(worker("ibs"))
        inside = ["nsenter", "-t", str(pid), "-m", "--"]
        assert machine.run(*inside, "/usr/bin/id", check=False).returncode == 126
    finally:
        machine.drop_out(worker("ibs"), "50-strict")
