"""Every reader of a file that somebody else leaves, over every way in which a file can be damaged."""

import os
import time
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from research.backtest import golden
from research.legacy import models as old_models
from research.optimize import instruments, parameters
from rooney.alerts.outbox import of_directory
from rooney.config.loader import load_config
from rooney.errors import RooneyError
from rooney.ledger.snapshot import read_ledger
from rooney.models.bundle import read_bundle
from rooney.models.forest import read_model
from rooney.monitor.heartbeat import BEAT, read_beat
from rooney.monitor.watch import read_said
from rooney.ops.broker_fills import read_statement
from rooney.ops.migrate_config import read_old
from rooney.orders.control import Control, Level, switches
from rooney.orders.decisions import Trade
from rooney.performance.sources import of_backtest
from rooney.performance.store import KeptView
from rooney.secrets import read_credential, read_env_file
from rooney.strategy.loader import load
from tests.support.webhook_faults import read_faults

GIB = 1 << 30


def _is_nothing(value: object) -> str:
    assert not value
    return ""


class Reader(NamedTuple):
    """A reader. name: of the file below a folder; read: given the folder, what it says of a file it cannot use.

    says: False where a damaged file is as good as none
    """

    name: str
    read: Callable[[Path], Any]
    says: bool = True


def _switch(level: Level) -> Callable[[Path], str]:
    def read(root: Path) -> str:
        (found,) = switches(root, "ibs")
        assert found.level is level
        return str(root / "ibs" / level.value)  # it holds, whatever is in it

    return read


def _command(root: Path) -> str:
    (waiting,) = Control(root, "ibs").commands()
    assert waiting.command is None
    return f"{waiting.path}: {waiting.lack}"


def _kept(root: Path) -> str:
    view = KeptView(root)
    assert view.look() == ([], {})
    return " ".join(view.troubles.values())


def _posted(root: Path) -> str:
    found, after = of_directory(root, 0)
    assert after == 7  # what comes after it is not held up
    return " ".join(notice.text for _, notice, _ in found)


def _summary(root: Path) -> None:
    pl.DataFrame(schema=list(Trade.__struct_fields__)).write_parquet(root / "trades.parquet")
    of_backtest(root)


def _old_model(root: Path) -> None:
    (root / "ES_best.json").write_text('{"Prod_Threshold": 0.5, "Features": ["ibs"]}')
    old_models.read_old(root / "ES.pkl", "ibs", "ES")


READERS = [
    *(Reader(f"ibs/{level.value}", _switch(level)) for level in Level),
    Reader("ibs/commands/7-resume.json", _command),
    Reader("compare/ibs.compare.json", _kept),
    Reader("compare/ibs.expectation.json", _kept),
    Reader("7.json", _posted),
    Reader("said.json", lambda root: _is_nothing(read_said(root / "said.json")), says=False),
    Reader(BEAT, lambda root: _is_nothing(read_beat(root)), says=False),
    Reader("current", read_bundle),
    Reader("ES.model", lambda root: read_model(root / "ES.model")),
    Reader("optimize.json", lambda root: parameters.read(root / "optimize.json")),
    Reader("portfolio.json", lambda root: instruments.read(root / "portfolio.json")),
    Reader("golden.json", lambda root: golden.read(root / "golden.json")),
    Reader("summary.json", _summary),
    Reader("rooney.yml", lambda root: load_config(root / "rooney.yml")),
    Reader("old.yml", lambda root: read_old(root / "old.yml")),
    Reader("fills.csv", lambda root: read_statement(root / "fills.csv", UTC)),
    Reader("rooney.env", lambda root: read_env_file(root / "rooney.env", {})),
    Reader("ibs.broker_account", lambda root: read_credential("a.key", root, "ibs.broker_account")),
    Reader("faults.json", lambda root: read_faults(root / "faults.json")),
    Reader("mine.py", lambda root: load("mine", root)),
    Reader("ES.pkl", _old_model),
    Reader("ledger.sqlite", lambda root: read_ledger(root / "ledger.sqlite")),
]


def _large(path: Path) -> None:
    path.touch()
    os.truncate(path, GIB)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "latin-1": lambda path: path.write_bytes(b'{"who": "J\xf6rg", "reason": "\xe9"}\n'),
    "brackets": lambda path: path.write_bytes(b"[" * 100_000),
    "another shape": lambda path: path.write_bytes(b'[{"a": [1]}]\n'),
    "zeros": lambda path: path.write_bytes(bytes(4_096)),
    "a FIFO": os.mkfifo,
    "a directory": Path.mkdir,
    "a gigabyte": _large,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_damaged_file_is_a_value_or_one_error_that_names_it_within_seconds(
    tmp_path: Path, reader: Reader, damage: str
) -> None:
    path = tmp_path / reader.name
    path.parent.mkdir(parents=True, exist_ok=True)
    DAMAGE[damage](path)
    began = time.monotonic()
    try:
        said = reader.read(tmp_path)
    except RooneyError as error:
        said = str(error)
        assert len(said) < 1_000
    assert time.monotonic() - began < 60  # some start a process of their own, beside what else runs here
    if not isinstance(said, str):
        return  # a value, which is judged by what it is for
    if reader.says:
        assert reader.name.rpartition("/")[2] in said
    assert "\\xf6" not in said


@pytest.mark.parametrize("level", Level)
def test_a_switch_of_which_the_name_beside_it_is_no_text_holds(tmp_path: Path, level: Level) -> None:
    folder = tmp_path / "ibs"
    (folder / "commands").mkdir(parents=True)
    (folder / level.value).touch()
    for directory in (folder, folder / "commands"):
        (directory / os.fsdecode(b"J\xf6rg.json")).write_bytes(b"\xff")
    control = Control(tmp_path, "ibs")
    assert [switch.level for switch in control.switches()] == [level]
    (waiting,) = control.commands()
    control.refuse(waiting, waiting.lack)
    assert control.commands() == []
