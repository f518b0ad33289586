"""docs/OPERATING.md: every command in it is run as it stands there, on a strategy in the state it is about."""

import json
import re
import shutil
import signal
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rooney.cli import backup, cli, compare, inspect, operate
from rooney.models.bundle import before, in_force
from tests.support.broker_exports import BOUGHT, tradovate
from tests.support.bundles import config, promoted, training
from tests.support.command_line import Bench, hang
from tests.support.compared_runs import old_database
from tests.support.minutes import BUY, ENTERED, LEAVE
from tests.support.paths import ROOT
from tests.support.waiting import until
from tests.support.webhook_faults import Fault

TEXT = (ROOT / "docs" / "OPERATING.md").read_text()
COMMANDS = re.findall(r"^    rooney (.+)$", TEXT, re.MULTILINE)
ACTS = ("flatten", "halt", "resume", "resolve", "reconcile")  # those that ask for a reason
LOOKS = ("status", "top", "why")
Make = Callable[..., Bench]


def arguments(command: str, one: Bench, tmp_path: Path, order_id: str) -> list[str]:
    """A command of the text for this bench."""
    words = command.replace("/mnt/new", str(tmp_path / "new")).split()
    places = {"NAME": "a", "ID": order_id, "5012.25": "104.5"}
    files = ("trades.parquet", "fills.csv", "rooney.tgz", "bars.parquet", "DIR", "compare.html", "trades.db")
    found = [places.get(word, str(tmp_path / word) if word in files else word) for word in words]
    if words[0] in ACTS or (words[0] == "position" and len(words) > 3):
        found += ["--reason", "as the text says", "--yes"]
    if words[0] == "restore":
        found += ["--yes"]
    if words[0] in ("flatten", "resolve", "reconcile", "position", *LOOKS):
        found += ["--clock", "replay"]
    if words[0] == "top":
        found += ["--count", "1"]
    return found


def of(*verbs: str) -> list[str]:
    return [command for command in COMMANDS if command.split()[0] in verbs]


def test_every_command_of_the_text_is_run_here() -> None:
    modules = (inspect, operate, backup, compare)
    tested = {verb.name for module in modules for verb in module.VERBS}
    assert {command.split()[0] for command in COMMANDS} == {*tested, "backtest", "promote"}


def test_looking_and_switching_commands_do_what_the_text_says(bench: Make, tmp_path: Path) -> None:
    one = bench()
    one.begin()
    order_id = one.read().orders[0].id
    for command in of(*LOOKS, "orders", "position", "halt", "resume"):
        done = one.run(*arguments(command, one, tmp_path, order_id))
        # no hub runs beside this worker, and a position is open: `status` calls that critical
        assert done.returncode in ((0, 1, 2) if command in ("status", "top") else (0, 1)), (
            f"{command}\n{done.stdout}{done.stderr}"
        )
        one.obeyed()
    assert not list(one.control.rglob("*.refused"))


def section(title: str) -> list[str]:
    """Commands of the section whose title begins so."""
    body = TEXT.partition(f"\n## {title}")[2].partition("\n## ")[0]
    return re.findall(r"^    rooney (.+)$", body, re.MULTILINE)


def conditions(one: Bench) -> dict[str, Any]:
    """State of the strategy, and of each condition that is critical its commands."""
    found = one.json("status", "--clock", "replay", code=None)
    critical = {each["text"]: each["do"] for each in found["conditions"] if each["severity"] == "critical"}
    return {"state": found["strategies"][0]["state"], "do": [do for text, do in critical.items() if "hub" not in text]}


def test_a_doubt_is_shown_and_the_commands_of_the_text_end_it(bench: Make, tmp_path: Path) -> None:
    one = bench()
    one.begin().kill(signal.SIGTERM)
    with closing(sqlite3.connect(one.rig.ledger())) as db, db:
        ((layout, book),) = db.execute("SELECT layout, book FROM status").fetchall()
        at = 8 * [name for name, _ in json.loads(layout)["account"]].index("cash")
        db.execute("UPDATE status SET book = ?", (book[:at] + struct.pack("<d", 1e6) + book[at + 8 :],))
    one.rig.started.append(one.rig.start())
    one.rig.wait_ready("a", starts=2)
    assert conditions(one) == {"state": "HALTED doubt", "do": [["rooney resume a"]]}
    one.more(LEAVE, 100.0, BUY, 100.0)
    assert one.actions() == ["buy", "exit"]
    for command in section("`HALTED doubt`"):
        one.rooney(*arguments(command, one, tmp_path, ""), code=None)
        one.obeyed()
    assert conditions(one) == {"state": "trading", "do": []}
    one.more(LEAVE, 100.0, BUY, 100.0)
    assert one.actions() == ["buy", "exit", "exit", "buy"]


def test_a_strange_ledger_is_shown_and_the_command_of_the_text_ends_it(bench: Make, tmp_path: Path) -> None:
    one = bench()
    one.begin().kill(signal.SIGKILL)
    shutil.rmtree(one.rig.state())
    one.rig.started.append(one.rig.start())
    one.rig.wait_ready("a", starts=2)
    (command,) = section("`HALTED strange ledger`")
    assert conditions(one) == {"state": "HALTED strange ledger", "do": [[f"rooney {command.replace('NAME', 'a')}"]]}
    one.more(BUY, 100.0)
    assert one.actions() == ["buy"]
    one.rooney(*arguments(command, one, tmp_path, ""))
    one.obeyed()
    assert conditions(one) == {"state": "trading", "do": []}
    one.more(BUY, 100.0)
    assert one.actions() == ["buy", "buy"]


@pytest.mark.parametrize("command", of("resolve") + ["flatten NAME ES"])
def test_each_command_for_an_unconfirmed_order_ends_that_state(bench: Make, tmp_path: Path, command: str) -> None:
    one = bench(faults=(Fault("close", at=(1,)),), on_unconfirmed_entry="hold")
    worker = one.begin(ENTERED[:2])
    until(lambda: str(one.read().orders[0].state) == "unconfirmed")
    worker.kill(signal.SIGKILL)
    assert one.run("orders").returncode == 1
    one.rooney(*arguments(command, one, tmp_path, one.read().orders[0].id[:4]))
    assert one.run("orders").returncode == 0


@pytest.mark.parametrize("command", of("flatten")[:2])
def test_each_command_that_closes_everything_does(bench: Make, tmp_path: Path, command: str) -> None:
    one = bench()
    one.begin().kill()
    one.rooney(*arguments(command, one, tmp_path, ""))
    assert one.broker() in ({}, {"ESM2026": 0})


def test_the_comparison_commands_correct_what_they_show(bench: Make, tmp_path: Path) -> None:
    one = bench()
    one.begin().kill()
    (tmp_path / "fills.csv").write_text(tradovate((BOUGHT, "ESM6", "Buy", 1, 104.0)))
    for command in of("reconcile"):
        shown = one.rooney(*arguments(command, one, tmp_path, ""), code=1)
        assert "assumed 104.25  filled at 104" in shown
    assert [str(act.command.verb) for act in one.read().acts] == ["position"]


def test_the_comparing_commands_find_the_live_run_in_its_own_tape(bench: Make, tmp_path: Path) -> None:
    one = bench(settle_s=0, reentry_wait_s=0)
    one.begin()
    one.more(LEAVE, 100.5, BUY, 100.25, LEAVE, 100.5)
    for command in of("audit"):
        done = one.run(*arguments(command, one, tmp_path, ""))
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert "100.00% of" in done.stdout and "discrepancy 0.0%" in done.stdout
    (kept,) = (one.state / "audit").glob("*.parquet")
    shutil.copy(kept, tmp_path / "bars.parquet")
    old_database(tmp_path / "trades.db", [("2026-03-11T15:02:00", "2026-03-11T15:05:00", "2026-03-11T15:06:00")])
    for command in of("backtest", "compare"):
        done = one.run(*arguments(command, one, tmp_path, ""))
        assert done.returncode == ("trades.db" in command), f"{command}\n{done.stdout}{done.stderr}"
        assert "trades.db" in command or command.startswith("backtest") or "2 of 2 pairs" in done.stdout
    assert (tmp_path / "compare.html").is_file()


def test_the_moving_commands_move_a_stopped_strategy(bench: Make, tmp_path: Path) -> None:
    one = bench()
    one.begin().kill(signal.SIGTERM)
    for command in of("backup", "restore"):
        words = arguments(command, one, tmp_path, "")
        if "--with-secrets" in words:
            (tmp_path / "rooney.tgz").unlink()
        done = one.run(*words)
        in_place = words[0] == "restore" and "--root" not in words  # the files are still there
        assert done.returncode == (2 if in_place else 0), f"{command}\n{done.stdout}{done.stderr}"
    assert (tmp_path / "new" / str(one.rig.ledger()).lstrip("/")).read_bytes()


def test_the_commands_for_new_models_put_them_in_force_and_the_old_ones_again(tmp_path: Path) -> None:
    one = config(tmp_path)
    assert promoted(one, training(tmp_path / "first", one, votes=0.25)) == 0
    training(tmp_path / "trained", one)
    folder, found = tmp_path / "bundles", []
    for command in of("promote"):
        words = command.replace("NAME", "a").replace("trained/", str(tmp_path / "trained")).split()
        done = CliRunner().invoke(cli, [*words, "--config", str(one.path)])
        assert done.exit_code == 0, f"{command}\n{done.output}"
        found.append(in_force(folder))
    new, _, old = found
    assert (new != old, before(folder)) == (True, new)


def test_touch_is_enough_to_halt(bench: Make) -> None:
    one = bench()
    one.begin(ENTERED[:1])
    assert "`touch /var/lib/rooney/control/all/halt`" in TEXT
    (one.control / "all").mkdir(parents=True, exist_ok=True)
    (one.control / "all" / "halt").touch()
    one.more(BUY, 100.0)
    assert one.actions() == []


def test_the_words_the_text_quotes_are_those_the_commands_print(bench: Make) -> None:
    one = bench()
    worker = one.begin()
    hang(worker)
    shown = one.rooney("flatten", "a", "--hung-after", 0.2, "--reason", "x", "--yes", "--clock", "replay", code=2)
    assert "holds" in shown and "and has taken no command for" in shown and "so it hangs" in shown
    done = one.run("worker", "a", "--state", one.rig.state())
    assert "another process works with this ledger" in done.stderr or "is trading" in done.stderr
