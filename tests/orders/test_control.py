"""Switches and commands as files: what a worker reads, and what happens when it cannot."""

import errno
import logging
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rooney.orders.control import (
    ALL,
    MARKER,
    Command,
    Control,
    ControlError,
    Level,
    Resolution,
    Switch,
    Verb,
    clear_switches,
    forget_ledger,
    put_command,
    set_switch,
    switches,
)


def levels(root: Path, name: str = "ibs") -> list[Level]:
    return [switch.level for switch in switches(root, name)]


def test_without_a_directory_nothing_is_switched(tmp_path: Path) -> None:
    assert switches(tmp_path / "none", "ibs") == []


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("scope", ["ibs", ALL])
def test_an_empty_file_made_by_touch_is_a_switch(tmp_path: Path, level: Level, scope: str) -> None:
    (tmp_path / scope).mkdir()
    (tmp_path / scope / level.value).touch()
    assert switches(tmp_path, "ibs") == [Switch(level, scope)]


def test_a_switch_of_another_strategy_is_none_of_ours(tmp_path: Path) -> None:
    set_switch(tmp_path, "breakout", Level.STOP, "ann", "r")
    assert switches(tmp_path, "ibs") == []


def test_a_switch_says_who_and_why(tmp_path: Path) -> None:
    set_switch(tmp_path, "ibs", Level.HALT, "ann", "news at 14:00")
    (found,) = switches(tmp_path, "ibs")
    assert (found.level, found.scope, found.who, found.reason) == (Level.HALT, "ibs", "ann", "news at 14:00")
    assert found.ts_ns > 0
    assert str(found) == "halt of ibs: news at 14:00 (ann)"


def test_a_switch_with_words_instead_of_json_holds_and_shows_them(tmp_path: Path) -> None:
    (tmp_path / "ibs").mkdir()
    (tmp_path / "ibs" / "stop").write_text("do not touch\n")
    assert switches(tmp_path, "ibs") == [Switch(Level.STOP, "ibs", reason="do not touch")]


def test_removing_the_file_is_resuming(tmp_path: Path) -> None:
    for level in (Level.HALT, Level.FLATTEN):
        set_switch(tmp_path, "ibs", level, "ann", "r")
    set_switch(tmp_path, ALL, Level.HALT, "ann", "r")
    assert clear_switches(tmp_path, "ibs") == [Level.HALT, Level.FLATTEN]
    assert [s.scope for s in switches(tmp_path, "ibs")] == [ALL]
    assert clear_switches(tmp_path, "ibs") == []


@pytest.mark.parametrize("level", Level)
def test_a_switch_that_cannot_be_read_holds_by_its_name(tmp_path: Path, level: Level) -> None:
    (tmp_path / "ibs" / level).mkdir(parents=True)  # a directory cannot be read, by root neither
    (found,) = switches(tmp_path, "ibs")
    assert found.level is level
    assert f"{level} cannot be read: Is a directory" in found.reason


def test_a_switch_that_is_a_fifo_holds_and_nobody_waits_for_a_writer(tmp_path: Path) -> None:
    (tmp_path / ALL).mkdir()
    os.mkfifo(tmp_path / ALL / "stop")
    assert [switch.reason for switch in switches(tmp_path, "ibs")] == [f"{tmp_path}/all/stop cannot be read: Is a FIFO"]


@pytest.mark.parametrize(
    ("verb", "stated"),
    [
        ("position", '"symbol":"ES","side":1,"price":1.0,"quantity":1180591620717411303424'),
        ("position", '"symbol":"ES","side":1,"price":1e300,"quantity":1'),
        ("resolve", '"intent":"7f","outcome":"filled","price":-1e8'),
        ("cash", '"usd":-1e300'),
        ("resume", '"quantity":-100001'),
        ("resume", f'"quantity":{"9" * 400}'),
    ],
)
def test_what_an_operator_states_is_bounded_before_the_worker_takes_it(tmp_path: Path, verb: str, stated: str) -> None:
    path = tmp_path / "ibs" / "commands" / f"1-{verb}.json"
    path.parent.mkdir(parents=True)
    path.write_text(f'{{"ts_ns":1,"verb":"{verb}","who":"ann","reason":"by hand",{stated}}}')
    (waiting,) = Control(tmp_path, "ibs").commands()
    assert waiting.command is None and "is not between" in waiting.lack


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60))
def test_a_switch_holds_whatever_is_in_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ibs").mkdir(exist_ok=True)
    (tmp_path / "ibs" / "flatten").write_bytes(content)
    assert levels(tmp_path) == [Level.FLATTEN]


def test_a_directory_that_cannot_be_read_counts_as_halt_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ibs").write_text("no directory")
    control = Control(tmp_path, "ibs")
    for _ in range(5):
        assert [s.level for s in control.switches()] == [Level.HALT]
    assert [r.levelno for r in caplog.records if "ibs cannot be read: Not a directory" in r.message] == [logging.ERROR]


def test_what_root_leaves_belongs_to_the_group_of_the_folder_whatever_his_umask(tmp_path: Path) -> None:
    root = tmp_path / "control"
    root.mkdir()
    group = 54_321 if os.geteuid() == 0 else os.getegid()
    os.chown(root, -1, group)
    (root / "ibs").mkdir(mode=0o700)  # as a shell would make it
    before = os.umask(0o077)
    try:
        path = set_switch(root, "ibs", Level.HALT, "ann", "r")
        command = put_command(root, "ibs", Command(7, Verb.RESUME, "ann", "r"))
    finally:
        os.umask(before)
    for folder in (path.parent, command.parent):
        assert (folder.stat().st_gid, stat.S_IMODE(folder.stat().st_mode)) == (group, 0o2770)
    for file in (path, command):
        assert (file.stat().st_gid, stat.S_IMODE(file.stat().st_mode)) == (group, 0o660)


def test_whoever_may_not_give_a_file_to_the_group_leaves_it_to_be_read_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refused)  # as the sandbox of a unit does, or the kernel for no member of the group
    mine = set_switch(tmp_path, "ibs", Level.HALT, "ann", "r")
    assert stat.S_IMODE(mine.stat().st_mode) == 0o660  # the group was right already
    if os.geteuid() == 0:
        monkeypatch.undo()
        os.chown(tmp_path, -1, 54_321)
        monkeypatch.setattr(os, "chown", refused)
        other = set_switch(tmp_path, "breakout", Level.HALT, "ann", "r")
        assert stat.S_IMODE(other.stat().st_mode) == 0o664
        assert stat.S_IMODE(other.parent.stat().st_mode) & 0o775 == 0o775


def test_a_folder_that_a_unit_made_is_written_in_though_its_sandbox_forbids_owners_and_setgid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ibs").mkdir(mode=0o750)
    chmod = Path.chmod

    def restricted(path: Path, mode: int) -> None:
        if mode & 0o6000:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", restricted)  # as RestrictSUIDSGID=
    assert Control(tmp_path, "ibs").mistrust("1") == ""
    marker = tmp_path / "ibs" / MARKER
    assert (marker.read_text(), stat.S_IMODE(marker.stat().st_mode)) == ('"1"\n', 0o660)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('"1"', ""),
        ('"2"', "it had the ledger 2, this is 1"),
        ("", "ibs/ledger: "),
        ("7", "ibs/ledger: "),
    ],
)
def test_a_ledger_is_trusted_only_where_its_mark_says_its_id(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "ibs").mkdir()
    (tmp_path / "ibs" / MARKER).write_text(content)
    said = Control(tmp_path, "ibs").mistrust("1")
    assert why in said and bool(why) is bool(said)
    assert (tmp_path / "ibs" / MARKER).read_text() == content


def test_a_ledger_that_no_word_can_be_left_of_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "ibs").write_text("no directory")
    assert "nothing was written" in Control(tmp_path, "ibs").mistrust("1")


def test_a_ledger_that_is_forgotten_leaves_room_for_the_next(tmp_path: Path) -> None:
    control = Control(tmp_path, "ibs")
    assert (control.mistrust("1"), control.mistrust("2") != "") == ("", True)
    for _ in range(2):
        forget_ledger(tmp_path, "ibs")
    assert (control.mistrust("2"), control.mistrust("1") != "") == ("", True)


def test_a_switch_that_could_not_be_written_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ControlError, match="No space left on device; nothing was written"):
        set_switch(tmp_path, "ibs", Level.HALT, "ann", "r")
    assert list(tmp_path.iterdir()) == []


def test_operators_who_act_at_once_are_all_heard(tmp_path: Path) -> None:
    for round_ in range(40):
        root = tmp_path / str(round_)
        with ThreadPoolExecutor(4) as pool:
            done = [pool.submit(put_command, root, "ibs", Command(n, Verb.RESUME, "ann", "r")) for n in range(4)]
        assert len({one.result() for one in done}) == 4


def test_a_switch_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "ibs").write_text("")
    with pytest.raises(ControlError, match="nothing was written"):
        set_switch(tmp_path, "ibs", Level.HALT, "ann", "r")


# ── commands ──


def test_commands_come_in_the_order_they_were_given_whatever_their_verb(tmp_path: Path) -> None:
    given_ = [
        Command(9, Verb.RESUME, "ann", "r"),
        Command(10, Verb.FLATTEN, "ann", "r", symbols=("ES",)),
        Command(100, Verb.CASH, "ann", "r", usd=-3.5),
        Command(1000, Verb.POSITION, "ann", "r", symbol="ES", side=1, quantity=2, price=5000.25),
        Command(1001, Verb.RESOLVE, "ann", "r", intent="7f", outcome=Resolution.NOT_FILLED),
    ]
    for command in reversed(given_):
        put_command(tmp_path, "ibs", command)
    assert [waiting.command for waiting in Control(tmp_path, "ibs").commands()] == given_


def test_a_command_that_was_taken_is_gone(tmp_path: Path) -> None:
    put_command(tmp_path, "ibs", Command(9, Verb.RESUME, "ann", "r"))
    control = Control(tmp_path, "ibs")
    control.done(control.commands()[0])
    assert control.commands() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"verb": Verb.RESOLVE, "intent": "7f"},
        {"verb": Verb.RESOLVE, "outcome": Resolution.FILLED},
        {"verb": Verb.POSITION, "symbol": "ES", "side": 1, "quantity": 1},
        {"verb": Verb.POSITION, "symbol": "ES", "side": 1, "price": 1.0},
        {"verb": Verb.POSITION, "symbol": "ES", "side": 0, "quantity": 1, "price": 1.0},
        {"verb": Verb.POSITION, "symbol": "ES", "side": 2, "quantity": 1, "price": 1.0},
        {"verb": Verb.POSITION, "symbol": "ES", "side": 1, "quantity": 1, "price": float("inf")},
        {"verb": Verb.CASH},
        {"verb": Verb.RESUME, "who": ""},
        {"verb": Verb.RESUME, "reason": ""},
    ],
)
def test_a_command_that_lacks_something_is_not_written(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(ControlError, match="nothing was written"):
        put_command(tmp_path, "ibs", Command(**{"ts_ns": 1, "who": "ann", "reason": "r"} | fields))
    assert not (tmp_path / "ibs").exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=60), st.just(b'{"ts_ns":1,"verb":"resume","who":"a","reason":"b","x":1}')))
def test_a_file_that_is_no_command_is_put_aside_and_holds_up_nothing(tmp_path: Path, data: bytes) -> None:
    directory = tmp_path / "ibs" / "commands"
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    (directory / "1-resume.json").write_bytes(data)
    put_command(tmp_path, "ibs", Command(2, Verb.RESUME, "ann", "r"))
    control = Control(tmp_path, "ibs")
    bad, good = control.commands()
    assert bad.command is None
    assert bad.lack
    control.refuse(bad, bad.lack)
    assert [one.command for one in control.commands()] == [good.command]
    assert (directory / "1-resume.refused").read_bytes() == data


def test_a_command_under_another_ones_name_is_none(tmp_path: Path) -> None:
    path = put_command(tmp_path, "ibs", Command(2, Verb.RESUME, "ann", "r"))
    path.rename(path.with_name("3-resume.json"))
    (waiting,) = Control(tmp_path, "ibs").commands()
    assert waiting.lack == "it says it is 2-resume"
