"""`rooney backup` and `restore`: everything comes back as it was, or nothing is touched."""

import gzip
import hashlib
import json
import os
import shutil
import signal
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import settings
from hypothesis import strategies as st

from rooney.cli import cli
from rooney.files import MIB
from rooney.ledger.reader import created_ns
from rooney.ops import backup, restore
from rooney.ops.backup import FORMAT, BackupError, Item, Kept, Kind, Manifest
from rooney.orders.control import MARKER
from tests.support.backups import archive, entry, member, places, raw
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
    directory.mkdir(parents=True)
    for name, data in tree.items():
        (directory / name).write_bytes(data)
    return [Item("model", directory / name) for name in tree]


@hypothesis.given(TREES)
@settings(max_examples=60, deadline=None)
def test_what_was_kept_comes_back_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, bytes]
) -> None:
    place = tmp_path_factory.mktemp("b")
    here = places(place)
    items = write(here.models[0], tree)
    backup.backup(items, place / "out.tgz", with_secrets=False)
    restore.restore(place / "out.tgz", here, place / "root", force=False)
    for item in items:
        back = place / "root" / str(item.path).lstrip("/")
        assert back.read_bytes() == item.path.read_bytes()
        assert back.stat().st_mode == item.path.stat().st_mode


@hypothesis.given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_a_backup_that_was_changed_anywhere_restores_nothing(
    tmp_path_factory: pytest.TempPathFactory, where: float, change: int
) -> None:
    place = tmp_path_factory.mktemp("b")
    here = places(place)
    backup.backup(write(here.models[0], {"a": b"x" * 3000, "b": bytes(range(256))}), place / "o", with_secrets=False)
    plain = bytearray(gzip.decompress((place / "o").read_bytes()))
    with tarfile.open(place / "o") as tar:
        parts = [(member.offset_data, member.size) for member in tar.getmembers()]
    offsets = [offset + k for offset, size in parts for k in range(size)]
    plain[offsets[int(where * len(offsets))]] ^= change
    (place / "changed").write_bytes(gzip.compress(bytes(plain)))
    try:
        restore.restore(place / "changed", here, place / "root", force=False)
    except BackupError:
        assert not (place / "root").exists()
    else:  # a byte of the manifest that says nothing about a file, such as when it was made
        kept = place / "root" / str(here.models[0]).lstrip("/")
        assert {path.name: path.read_bytes() for path in kept.iterdir()} == {"a": b"x" * 3000, "b": bytes(range(256))}


def given(tmp_path: Path, *files: tuple[Kept, bytes]) -> str:
    """Error of `rooney restore` of a backup with these files; empty without one."""
    return restored(tmp_path, archive(tmp_path / "b.tgz", files))


def restored(tmp_path: Path, file: Path, *more: object) -> str:
    here = places(Path("/srv"))
    folders = ["--config", here.configuration, "--state-directory", here.state, "--credentials", here.credentials]
    done = CliRunner().invoke(
        cli, ["restore", *map(str, [file, "--root", tmp_path / "root", *folders, *more, "--yes"])]
    )
    assert done.exit_code == 0 or isinstance(done.exception, BackupError), done.output
    return str(done.exception or "")


def written(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "root").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        *(("model", path) for path in ("../../etc/passwd", "/srv/etc/models/../../x", "//srv/etc/models/x", "srv/x")),
        ("model", "/srv/etc/models/./b"),
        ("model", "/srv/etc/models/a\0b"),
        ("configuration", "/etc/cron.d/job"),
        ("configuration", "/srv/etc/config.yml.d"),
        ("strategy", "/etc/rooney/strategies/a.pth"),
        ("strategy", "/etc/rooney/strategies/more/a.py"),
        ("strategy", "/srv/etc/a.py"),
        ("model", "/srv/etc/credentials/ibs.broker_account"),
        ("model", "/srv/etc/config.yml"),
        ("model", "/srv/state/ibs/ledger.sqlite"),
        ("model", "/srv/etc/models"),
        ("switch", "/srv/state/control/ibs/commands/1.json"),
        ("switch", "/srv/state/control/halt"),
        ("ledger", "/etc/ibs/ledger.sqlite"),
        ("ledger", "/srv/state/Ibs/ledger.sqlite"),
        ("ledger", "/srv/state/ibs/ledger.sqlite-wal"),
        ("secret", "/root/.ssh/authorized_keys"),
        ("secret", "/srv/etc/credentials"),
    ],
)
def test_a_file_goes_only_where_this_machine_keeps_its_kind(tmp_path: Path, kind: Kind, path: str) -> None:
    said = given(tmp_path, (entry("switch", "/srv/state/control/a/halt"), b""), (entry(kind, path, b"x"), b"x"))
    assert written(tmp_path) == []
    assert "no whole, plain path" in said or f"is no place of a {kind} by this machine's" in said


def test_models_go_to_the_folders_that_this_machines_configuration_names(tmp_path: Path) -> None:
    file = archive(tmp_path / "b.tgz", [(entry("model", "/data/models/ES.model", b"x"), b"x")])
    config = tmp_path / "config.yml"
    config.write_text("instruments: {ES: {}}\nstrategies: {ibs: {instruments: [ES], models_path: /data/other}}\n")
    assert "'/data/models/ES.model' is no place of a model" in restored(tmp_path, file, "--config", config)
    assert restored(tmp_path, file, "--config", config, "--set", "strategies.ibs.models_path=/data/models") == ""
    assert written(tmp_path) == [tmp_path / "root/data/models/ES.model"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_backup_makes_no_file_executable_or_setuid_or_another_users(tmp_path: Path) -> None:
    files = [entry("strategy", "/etc/rooney/strategies/a.py", b"x", 0o6777, "nobody", "nogroup")]
    files += [entry("secret", "/srv/etc/credentials/a.broker_account", b"x", 0o644, "daemon", "daemon")]
    files += [entry("configuration", "/srv/etc/config.yml", b"x", 0o640, "root", "root")]
    assert given(tmp_path, *((kept, b"x") for kept in files)) == ""
    found = {path.name: path.stat() for path in written(tmp_path)}
    modes = {name: stat.st_mode & 0o7777 for name, stat in found.items()}
    assert modes == {"a.py": 0o664, "a.broker_account": 0o600, "config.yml": 0o640}
    assert {(stat.st_uid, stat.st_gid) for stat in found.values()} == {(0, 0)}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_only_plain_files_are_restored(tmp_path: Path, kind: bytes) -> None:
    kept = entry("switch", "/srv/state/control/a/halt")
    manifest = msgspec.json.encode(Manifest(FORMAT, "0", 0, False, (kept,)))
    info = member(f"files{kept.path}", kind=kind)
    info.linkname = "/etc/passwd"
    said = restored(tmp_path, raw(tmp_path / "b", [(member("manifest.json", len(manifest)), manifest), (info, b"")]))
    assert "is a link, a device or no plain file" in said
    assert written(tmp_path) == []


def test_a_link_on_the_way_is_not_followed(tmp_path: Path) -> None:
    control = tmp_path / "root/srv/state/control"
    control.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (control / "a").symlink_to(tmp_path / "elsewhere")
    assert "which is a link" in given(tmp_path, (entry("switch", "/srv/state/control/a/halt"), b""))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def zeros(size: int) -> Iterator[bytes]:
    return (bytes(MIB) for _ in range(size // MIB))


def bombs(kind: str) -> Iterator[tuple[tarfile.TarInfo, bytes | Iterator[bytes]]]:
    """A backup of 1 MB that unpacks to 128 MB, in different places."""
    size = 128 * MIB
    digest = hashlib.sha256()
    for piece in zeros(size):
        digest.update(piece)
    kept = Kept("model", "/srv/etc/models/ES.model", size, digest.hexdigest(), 0o600, "", "")
    if kind == "manifest":
        yield member("manifest.json", size), zeros(size)
        return
    manifest = msgspec.json.encode(Manifest(FORMAT, "0", 0, False, (kept,)))
    yield member("manifest.json", len(manifest)), manifest
    if kind != "content":
        yield member("x", size, {"pax": tarfile.XHDTYPE, "name": tarfile.GNUTYPE_LONGNAME}[kind]), zeros(size)
    yield member(f"files{kept.path}", size), zeros(size)


@pytest.mark.parametrize("kind", ["content", "pax", "name", "manifest"])
def test_a_backup_takes_no_more_memory_than_a_few_megabytes_whatever_it_unpacks_to(tmp_path: Path, kind: str) -> None:
    file = raw(tmp_path / "b", bombs(kind))
    assert file.stat().st_size < 2 * MIB
    assert "No such file" in restored(tmp_path, tmp_path / "none")  # imports what every run does
    tracemalloc.start()
    try:
        said = restored(tmp_path, file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert bool(said) == (kind != "content"), said
    assert peak < 16 * MIB


def test_a_backup_that_does_not_fit_on_the_disk_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    big = [Kept("ledger", f"/srv/state/a{n}/ledger.sqlite", 32 << 30, "", 0o600, "", "") for n in range(free >> 34)]
    assert "are free; nothing was restored" in given(tmp_path, *((kept, b"") for kept in big))


def test_a_size_of_no_such_file_is_refused(tmp_path: Path) -> None:
    kept = Kept("strategy", "/etc/rooney/strategies/a.py", 1 << 40, "", 0o600, "", "")
    assert "of at most 1,048,576 bytes" in given(tmp_path, (kept, b""))


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
