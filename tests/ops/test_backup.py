"""`rooney backup` and `restore`: everything comes back as it was, or nothing is touched."""

import gzip
import json
import shutil
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooney.ledger.reader import created_ns
from rooney.ops import backup
from rooney.ops.backup import BackupError, Item
from rooney.orders.control import MARKER
from tests.support.command_line import Bench
from tests.support.ledgers import contents
from tests.support.minutes import ENTERED, LEAVE, QUIET, closes

Make = Callable[..., Bench]
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40
)
TREES = st.dictionaries(
    NAMES.filter(lambda name: name not in (".", "..") and len(name.encode()) < 200),
    st.binary(max_size=2000),
    max_size=6,
)


def write(directory: Path, tree: dict[str, bytes]) -> list[Item]:
    directory.mkdir()
    for name, data in tree.items():
        (directory / name).write_bytes(data)
    return [Item("model", directory / name) for name in tree]


@given(TREES)
@settings(max_examples=60, deadline=None)
def test_what_was_kept_comes_back_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, bytes]
) -> None:
    place = tmp_path_factory.mktemp("b")
    items = write(place / "models", tree)
    backup.backup(items, place / "out.tgz", with_secrets=False)
    backup.restore(place / "out.tgz", place / "root", force=False)
    for item in items:
        back = place / "root" / str(item.path).lstrip("/")
        assert back.read_bytes() == item.path.read_bytes()
        assert back.stat().st_mode == item.path.stat().st_mode


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_a_backup_that_was_changed_anywhere_restores_nothing(
    tmp_path_factory: pytest.TempPathFactory, where: float, change: int
) -> None:
    place = tmp_path_factory.mktemp("b")
    backup.backup(write(place / "models", {"a": b"x" * 3000, "b": bytes(range(256))}), place / "o", with_secrets=False)
    plain = bytearray(gzip.decompress((place / "o").read_bytes()))
    with tarfile.open(place / "o") as tar:
        parts = [(member.offset_data, member.size) for member in tar.getmembers()]
    places = [offset + k for offset, size in parts for k in range(size)]
    plain[places[int(where * len(places))]] ^= change
    (place / "changed").write_bytes(gzip.compress(bytes(plain)))
    try:
        backup.restore(place / "changed", place / "root", force=False)
    except BackupError:
        assert not (place / "root").exists()
    else:  # a byte of the manifest that says nothing about a file, such as when it was made
        kept = place / "root" / str(place / "models").lstrip("/")
        assert {path.name: path.read_bytes() for path in kept.iterdir()} == {"a": b"x" * 3000, "b": bytes(range(256))}


@pytest.mark.parametrize("path", ["../../etc/passwd", "/tmp/../etc/passwd", "//etc/passwd", "etc/passwd", "/a/./b"])
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    kept = backup.Kept("model", path, 0, "", 0o600, "", "")
    with pytest.raises(BackupError, match="no whole, plain path"):
        backup._refuse_odd_path(tmp_path, kept)


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    backup.backup(write(tmp_path / "m", {"a": b""}), tmp_path / "out", with_secrets=False)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600


def test_a_backup_never_replaces_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(BackupError, match="there is such a file already"):
        backup.backup([], tmp_path / "out", with_secrets=False)
    assert (tmp_path / "out").read_text() == "mine"


def kept(bench: Make, tmp_path: Path, *arguments: object, **block: Any) -> tuple[Bench, Path]:
    """A bench whose worker goes on while a backup is made."""
    one = bench(models_path="models", **block)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "ES.npz").write_bytes(b"arrays")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "a.broker_account").write_text(one.rig.env["WEBHOOK_A"])
    one.begin()
    one.rooney("halt", "a", "--reason", "before the move", "--yes")
    one.rooney("backup", tmp_path / "out.tgz", "--credentials", tmp_path / "secrets", *arguments)
    return one, tmp_path / "out.tgz"


def moved(one: Bench, tmp_path: Path) -> Path:
    return tmp_path / "elsewhere" / str(one.rig.directory).lstrip("/")


def test_a_worker_goes_on_from_a_ledger_moved_to_another_root(bench: Make, tmp_path: Path) -> None:
    one, out = kept(bench, tmp_path)
    shown = one.rooney("restore", out, "--root", tmp_path / "elsewhere", "--yes")
    assert shown.splitlines()[-1].startswith("4 files restored.")
    rest = closes(LEAVE, QUIET, QUIET, start=ENTERED[-1].ts_close)
    one.rig.publish(rest)
    here = one.rig.finish(one.rig.started[-1], rest[-1].ts_close)
    one.rig.directory = moved(one, tmp_path)
    there = one.rig.finish(one.rig.start(), rest[-1].ts_close)
    assert there["trade"] == here["trade"]
    assert there["status"] == here["status"]
    assert (one.rig.control / "a" / "halt").is_file()


def test_secrets_are_left_out_unless_asked_for(bench: Make, tmp_path: Path) -> None:
    one, out = kept(bench, tmp_path)
    password = one.rig.accounts[0].password.encode()
    assert password not in gzip.decompress(out.read_bytes())
    one.rooney("backup", tmp_path / "all.tgz", "--credentials", tmp_path / "secrets", "--with-secrets")
    assert password in gzip.decompress((tmp_path / "all.tgz").read_bytes())


def test_a_secret_in_the_configuration_is_kept_only_when_asked_for(bench: Make, tmp_path: Path) -> None:
    one = bench()
    one.begin(ENTERED[:1])
    one.rig.blocks["a"]["broker_account"] = one.rig.env["WEBHOOK_A"]
    done = one.run("backup", tmp_path / "out.tgz")
    assert done.returncode == 78
    assert "strategies.a.broker_account: the configuration file holds the secret itself" in done.stderr
    assert one.rig.accounts[0].password not in done.stderr
    assert not (tmp_path / "out.tgz").exists()


def test_a_ledger_in_use_is_never_replaced(bench: Make, tmp_path: Path) -> None:
    one, out = kept(bench, tmp_path)
    done = one.run("restore", out, "--force", "--yes")
    assert (done.returncode, "a worker works with this ledger; stop it first" in done.stderr) == (2, True)


def test_what_is_there_is_put_aside_only_by_force(bench: Make, tmp_path: Path) -> None:
    one, out = kept(bench, tmp_path)
    before = contents(one.rig.ledger())
    one.rooney("flatten", "a", "--reason", "x", "--yes", "--clock", "replay")
    one.rig.started[-1].kill(signal.SIGKILL)  # its journal is left beside the ledger
    assert one.rig.ledger().with_name("ledger.sqlite-wal").exists()
    done = one.run("restore", out, "--yes")
    assert (done.returncode, "(--force puts it aside)" in done.stderr) == (2, True)
    one.rooney("restore", out, "--force", "--yes")
    assert contents(one.rig.ledger()) == before
    aside = {path.name.partition(".replaced-")[0] for path in one.rig.state().glob("*.replaced-*")}
    assert {"ledger.sqlite", "ledger.sqlite-wal"} <= aside


def test_a_restored_ledger_is_the_strategys_whatever_ledger_it_had_meanwhile(bench: Make, tmp_path: Path) -> None:
    one, out = kept(bench, tmp_path)
    one.rig.started[-1].kill(signal.SIGKILL)
    before = created_ns(one.rig.ledger())
    shutil.rmtree(one.rig.state())
    one.rig.started.append(worker := one.rig.start())
    one.rig.wait_ready("a", starts=2)
    one.rooney("resume", "a", "--new-ledger", "--reason", "flat", "--yes")
    one.obeyed()
    worker.kill(signal.SIGKILL)
    assert json.loads((one.control / "a" / MARKER).read_text()) == str(created_ns(one.rig.ledger())) != str(before)
    one.rooney("restore", out, "--force", "--yes")
    assert json.loads((one.control / "a" / MARKER).read_text()) == str(before)
