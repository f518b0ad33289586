"""Versions, the switch between them, and what is written, without touching this machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rooney.install import redis
from rooney.install.build import choose_python, units_of
from rooney.install.command import SOCKET_LINE, _configuration, enabled, main, run_as_worker
from rooney.install.host import Host, InstallError
from rooney.install.layout import SHIPPED, Layout, version_of
from tests.support.paths import ROOT


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An image with two built versions."""
    found = Layout(Path("/usr/lib/rooney"), tmp_path / "image")
    for version in ("1-a", "2-b"):
        share = found.home(version) / "share"
        shutil.copytree(ROOT / "systemd", share / "systemd")
        shutil.copy(ROOT / "config.multi_alpha.yml", share)
        (share / "complete").touch()
    return found


@pytest.fixture
def host() -> Host:
    return Host(lambda line: None)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    for name in SHIPPED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        folder.mkdir(exist_ok=True)
        copy(ROOT / name, folder / name)
    return folder


def test_a_switch_keeps_the_version_it_replaces(layout: Layout) -> None:
    layout.switch("1-a")
    assert (layout.version("current"), layout.version("previous")) == ("1-a", None)
    layout.switch("2-b")
    assert (layout.version("current"), layout.version("previous")) == ("2-b", "1-a")


def test_a_switch_to_the_version_in_use_does_not_forget_the_one_before(layout: Layout) -> None:
    layout.switch("1-a")
    layout.switch("2-b")
    layout.switch("2-b")
    assert layout.version("previous") == "1-a"


def test_the_link_is_valid_inside_the_image_and_outside(layout: Layout) -> None:
    layout.switch("1-a")
    assert (layout.at(layout.prefix) / "current").readlink() == Path("versions/1-a")
    assert (layout.at(layout.prefix) / "current/share/complete").is_file()


def test_only_versions_that_nobody_can_go_back_to_are_superfluous(layout: Layout) -> None:
    (layout.versions / "0-z").mkdir()
    layout.switch("1-a")
    layout.switch("2-b")
    assert layout.superfluous() == ["0-z"]


def test_a_version_is_named_by_its_number_and_by_all_it_ships(checkout: Path) -> None:
    first = version_of(checkout)
    (checkout / "rooney/__pycache__").mkdir(exist_ok=True)
    (checkout / "rooney/__pycache__/x.pyc").touch()
    assert version_of(checkout) == first
    assert first.startswith("0.1.0-")
    for changed in ("strategies/ibs.py", "systemd/rooney-hub.service", "uv.lock"):
        before = version_of(checkout)
        (checkout / changed).write_text((checkout / changed).read_text() + "\n")
        assert version_of(checkout) != before


def test_units_name_the_prefix_they_are_installed_under(layout: Layout) -> None:
    units = units_of(layout, "1-a")
    assert "rooney-worker@.service" in units and "50-rooney.conf" not in units
    assert not [name for name, text in units.items() if "/opt/rooney" in text]


def test_an_edited_configuration_is_never_overwritten(layout: Layout, host: Host) -> None:
    _configuration(host, layout, "1-a")
    assert layout.config.stat().st_mode & 0o777 == 0o640
    layout.config.write_text("mine\n")
    _configuration(host, layout, "2-b")
    assert layout.config.read_text() == "mine\n"
    example = layout.config.with_name("config.multi_alpha.yml.example").read_text()
    assert f"\n  {SOCKET_LINE.removeprefix('# ')}\n" in example


def test_the_shipped_configuration_has_the_line_the_installer_switches_on() -> None:
    assert (ROOT / "config.multi_alpha.yml").read_text().count(SOCKET_LINE) == 1


def test_a_file_that_is_right_already_keeps_its_time(tmp_path: Path, host: Host) -> None:
    path = tmp_path / "file"
    assert host.write(path, "text")
    os.utime(path, (1, 1))
    assert not host.write(path, "text")
    assert path.stat().st_mtime == 1


def test_redis_gets_the_shipped_settings_and_the_drop_in_that_includes_them_and_loses_both(
    layout: Layout, host: Host
) -> None:
    shipped = ROOT / "systemd/redis"
    redis.configure(host, layout, shipped)
    assert layout.redis_settings.read_text() == (shipped / "rooney.conf").read_text()
    included = f"--include /{layout.redis_settings.relative_to(layout.root)}\n"
    assert included in layout.redis_drop_in.read_text()
    for path in (layout.redis_settings, layout.redis_drop_in):
        os.utime(path, (1, 1))
    redis.configure(host, layout, shipped)
    assert layout.redis_settings.stat().st_mtime == layout.redis_drop_in.stat().st_mtime == 1
    redis.restore(host, layout)
    assert not layout.redis_settings.exists() and not layout.redis_drop_in.parent.exists()


def test_a_command_that_fails_is_quoted_with_its_last_words(host: Host) -> None:
    with pytest.raises(InstallError, match=r"(?s)ended with 3.*no such thing"):
        host.run(["sh", "-c", "echo no such thing >&2; exit 3"])


def test_an_interpreter_the_units_cannot_see_is_refused(tmp_path: Path) -> None:
    hidden = tmp_path / "python3"
    hidden.symlink_to(sys.executable)
    for path in (str(hidden), "/home/me/python3"):
        if os.path.realpath(path).startswith(("/root/", "/home/", "/tmp/")):
            with pytest.raises(InstallError, match="the units cannot see"):
                choose_python(path)


@pytest.mark.parametrize("prefix", ["/home/me/rooney", "/root", "/tmp/rooney", "rooney"])
def test_a_prefix_the_units_cannot_see_is_refused_and_nothing_is_written(
    prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["install", "--root", str(tmp_path), "--prefix", prefix]) == 2
    assert f"--prefix {prefix}: it has to be absolute" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_rollback_without_a_version_before_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rollback", "--root", str(tmp_path)]) == 2
    assert "no previous version" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_rollback_in_an_image_swaps_versions_and_units(layout: Layout) -> None:
    layout.switch("1-a")
    layout.switch("2-b")
    assert main(["rollback", "--root", str(layout.root), "--prefix", str(layout.prefix)]) == 0
    assert (layout.version("current"), layout.version("previous")) == ("1-a", "2-b")
    assert (layout.units / "rooney-hub.service").is_file()


class Versions(Host):
    """A machine whose version knows these modules' arguments only, and prints two names."""

    def __init__(self, *known: str) -> None:
        super().__init__(lambda line: None)
        self.known = known
        self.commands: list[list[str]] = []

    def run(self, argv: Any, **how: Any) -> str:
        words = [str(word) for word in argv][3:]
        if not any(" ".join(words).startswith(known) for known in self.known):
            raise InstallError(f"Error: No such command {words}.", 78)
        if words[-1] != "--help":
            self.commands.append(words)
        return "a\nb\n"


NEW = ("rooney config strategies", "rooney compile a --cache", "rooney.warm")


def test_a_version_is_asked_for_its_strategies_and_cache_by_its_verbs(layout: Layout) -> None:
    host = Versions(*NEW)
    assert enabled(host, layout, "2-b") == ["a", "b"]
    run_as_worker(host, layout, "2-b", ["compile", "a", "--cache"], ["a"])
    config = ["--config", str(layout.config)]
    assert host.commands == [
        ["rooney", "config", "strategies", *config],
        ["rooney", "compile", "a", "--cache", *config],
    ]


def test_an_older_version_is_asked_by_the_name_it_knows(layout: Layout) -> None:
    host = Versions("rooney.warm")
    assert enabled(host, layout, "1-a") == ["a", "b"]
    run_as_worker(host, layout, "1-a", ["compile", "a", "--cache"], ["a"])
    config = ["--config", str(layout.config)]
    assert host.commands == [["rooney.warm", *config, "--names"], ["rooney.warm", *config, "a"]]


def test_a_version_that_refuses_the_configuration_is_not_asked_by_another_name(layout: Layout) -> None:
    class Refusing(Versions):
        def run(self, argv: Any, **how: Any) -> str:
            said = super().run(argv, **how)
            if str(argv[-1]) != "--help":
                raise InstallError("strategies.ibs.max_position: no such key")
            return said

    host = Refusing(*NEW)
    with pytest.raises(InstallError, match="no such key"):
        enabled(host, layout, "2-b")
    assert [words[0] for words in host.commands] == ["rooney"]


class AsThisUser(Host):
    """A real machine's commands, without a change of user."""

    def run(self, argv: Any, *, user: str | None = None, **how: Any) -> str:
        return super().run(argv, **how)


def test_only_a_version_that_does_not_know_the_verb_is_asked_by_the_old_name(layout: Layout) -> None:
    asked = layout.root / "asked"
    layout.config.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "config.multi_alpha.yml", layout.config)
    python = layout.home("1-a") / "bin/python"
    python.parent.mkdir(parents=True)

    def ask(script: str, *verb: str) -> str:
        python.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n{script}\n')
        python.chmod(0o755)
        asked.write_text("")
        return run_as_worker(AsThisUser(lambda line: None), layout, "1-a", list(verb), ["--names"])

    this = f'exec {sys.executable} "$@"'
    for verb in (["nosuch"], ["config", "nosuch"], ["compile", "a", "--nosuch"]):
        assert ask(this, *verb).split() == ["ibs", "breakout"]
        assert "rooney.warm" in asked.read_text()
    for failure in (
        "echo No module named numpy >&2; exit 1",
        "echo strategies: no such key >&2; exit 78",
        "kill -9 $$",
    ):
        with pytest.raises(InstallError, match="ended with"):
            ask(failure, "config", "strategies")
        assert "rooney.warm" not in asked.read_text()


def warm(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """The command of an older installer."""
    command = [sys.executable, "-m", "rooney.warm", "--config", str(ROOT / "config.multi_alpha.yml"), *arguments]
    env = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env, check=False)


def test_an_older_installer_is_told_the_enabled_strategies(tmp_path: Path) -> None:
    done = warm("--names", cache=tmp_path)
    assert (done.returncode, done.stdout.split()) == (0, ["ibs", "breakout"])


def test_an_older_installer_has_a_strategy_compiled_into_the_cache(tmp_path: Path) -> None:
    done = warm("breakout", cache=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*.step-*.nbc"))


def test_an_older_installer_is_refused_an_unknown_strategy(tmp_path: Path) -> None:
    assert warm("ibz", cache=tmp_path).returncode == 78
