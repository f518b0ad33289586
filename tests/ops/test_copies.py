"""A copy of the state, by --state-directory: what an operator does there acts on no worker of this machine."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from rooney.ledger.snapshot import read_ledger
from tests.support.command_line import Bench
from tests.support.minutes import ENTERED, QUIET
from tests.support.waiting import until

Make = Callable[..., Bench]
SURE = ("--reason", "a drill", "--yes")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Folder with a `systemctl` that says the worker's unit runs, and writes down what else it is told."""
    script = tmp_path / "bin" / "systemctl"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\n[ "$1" = is-active ] && echo active || echo "$@" >> {tmp_path}/told\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script.parent


@pytest.mark.parametrize(
    ("verb", "code"),
    [
        (("halt", "a"), 0),
        (("halt", "--all", "--exits-too"), 0),
        (("resume", "a"), 0),
        (("flatten", "a", "--clock", "replay"), 2),  # the account is the live worker's
        (("position", "a", "ES", "0", "--price", "4500"), 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_an_act_on_a_copy_leaves_the_live_strategy_alone(
    bench: Make, tmp_path: Path, unit: Path, verb: tuple[str, ...], code: int
) -> None:
    one = bench()
    one.begin()
    one.rooney("halt", "a", "--reason", "the live one's own", "--yes")
    before = sorted(one.control.rglob("*"))
    copy = tmp_path / "copy"
    shutil.copytree(one.state, copy)
    path = f"{unit}:{os.environ['PATH']}"
    one.rooney(*verb, *SURE, "--state-directory", copy, code=code, PATH=path)
    one.more(QUIET)  # a turn, in which it would have obeyed
    assert sorted(one.control.rglob("*")) == before
    assert (one.actions(), one.read().acts, (tmp_path / "told").exists()) == (["buy"], (), False)
    if verb[0] == "position":
        assert [act.command.symbol for act in read_ledger(copy / "a" / "ledger.sqlite").acts] == ["ES"]
    elif verb[0] != "resume":
        assert list((copy / "control").glob("*/*"))


@pytest.mark.parametrize(("option", "below"), [("--state-directory", ""), ("--state", "a")])
def test_a_worker_obeys_the_control_folder_of_the_state_directory_it_was_given(
    bench: Make, tmp_path: Path, option: str, below: str
) -> None:
    one = bench()
    one.rig.env["ROONEY_CONTROL_DIRECTORY"] = str(tmp_path / "another")
    one.rig.started.append(
        one.rig.zygote.start(
            [*one.rig.argv()[:-2], option, str(one.state / below)],
            one.rig.log(),
            one.rig.env | {"ROONEY_FAULT": ""},
        )
    )
    one.rig.wait_ready("a")
    one.rig.publish(ENTERED)
    one.rig.wait_position(ENTERED[-1].ts_close)
    place = ("--state-directory", one.state)
    one.rooney("resume", "a", *SURE, *place)
    until(lambda: [str(act.command.verb) for act in one.read().acts] == ["resume"])
    assert not (tmp_path / "another").exists()
