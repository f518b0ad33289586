"""The three verbs. Each can be run again at any time: it does what is left to do and says so."""

import argparse
import grp
import os
import pwd
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rooney.install import redis
from rooney.install.build import build, check_prefix, choose_python, has_research, units_of
from rooney.install.host import Host, InstallError
from rooney.install.layout import AHEAD_DROP_IN, UNIT_DROP_INS, Layout, version_of

EXIT_OK, EXIT_FAILURE = 0, 2
SOURCE = Path(__file__).resolve().parents[2]
RESTARTED = (
    "rooney-hub.service",
    "rooney-worker@*.service",
    "rooney-dashboard.service",
    "rooney-alert-sender.service",
)  # in order
SOCKET_LINE = "# redis_socket: /run/redis/redis-server.sock"


def main(arguments: Sequence[str] | None = None) -> int:
    """`python3 -m rooney.install [install|rollback|uninstall]`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help")):
        given.insert(0, "install")
    options = _parser().parse_args(given)
    host = Host(lambda line: print(f"  {line}", flush=True))
    layout = Layout(options.prefix, options.root)
    try:
        if not layout.is_image and os.geteuid() != 0:
            raise InstallError(f"{options.verb} changes the machine: run it as root (sudo)")
        {"install": install, "rollback": rollback, "uninstall": uninstall}[options.verb](host, layout, options)
    except (InstallError, OSError) as error:
        print(f"rooney {options.verb}: {error}", file=sys.stderr)
        return EXIT_FAILURE
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rooney.install", description="Install, upgrade, go back, remove; as root.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--prefix", type=Path, default=Path("/opt/rooney"), help="where versions live [/opt/rooney]")
    common.add_argument("--root", type=Path, default=Path("/"), help="install into a tree, such as an image, not here")
    one = verbs.add_parser("install", parents=[common], help="install this checkout, or upgrade to it")
    one.add_argument("--source", type=Path, default=SOURCE, help="the checkout [the one this runs from]")
    one.add_argument("--python", help="interpreter of the virtual environment [this one, else /usr/bin/python3]")
    one.add_argument("--ahead-of-time", action="store_true", help="compile kernels ahead of time (`rooney compile`)")
    one.add_argument("--research", action="store_true", help="also what `rooney retrain` needs; upgrades keep it")
    one.add_argument("--no-restart", action="store_true", help="leave running units on the version they run")
    verbs.add_parser("rollback", parents=[common], help="back to the version before, restarting one unit at a time")
    verbs.add_parser("uninstall", parents=[common], help="remove all but configuration, credentials and state")
    return parser


def install(host: Host, layout: Layout, options: argparse.Namespace) -> None:
    """From nothing to units that can be started, or from one version to the next."""
    check_prefix(layout.prefix)
    os.umask(0o022)
    source = options.source.resolve()
    version, replaced = version_of(source), layout.version("current")
    print(f"rooney {version} into {layout.at(layout.prefix)}" + (f", replacing {replaced}" if replaced else ""))
    if not layout.is_image:
        redis.ensure_package(host)
    research = options.research or (replaced is not None and has_research(layout, replaced))
    build(host, layout, source, version, choose_python(options.python), research)
    _users(host, layout, version)
    _configuration(host, layout, version)
    if not layout.is_image:
        # before the switch: a version that does not take this configuration, or does not compile, changes nothing
        _kernels(host, layout, version, options.ahead_of_time)
    layout.switch(version)
    _launch_link(host, layout)
    changed = _units(host, layout, version)
    redis.configure(host, layout, layout.home(version) / "share/systemd/redis")
    if replaced is None:
        _enable(host, layout, version)
    if not layout.is_image and not options.no_restart and replaced and (replaced != version or changed):
        _restart(host)
    for old in layout.superfluous():
        host.remove(layout.home(old))
        host.say(f"version {old} removed")
    _left(layout)


def rollback(host: Host, layout: Layout, options: argparse.Namespace) -> None:
    """Swap current and previous."""
    previous = layout.version("previous")
    if previous is None or not layout.is_complete(previous):
        raise InstallError("there is no previous version to go back to; nothing was changed")
    print(f"rooney {layout.version('current')} → {previous}")
    layout.switch(previous)
    _units(host, layout, previous)
    if not layout.is_image:
        _restart(host)


def uninstall(host: Host, layout: Layout, options: argparse.Namespace) -> None:
    """Stop and remove everything but what cannot be made again: configuration, credentials, ledgers, the user."""
    current = layout.version("current")
    names = sorted(units_of(layout, current)) if current else []
    if not layout.is_image and names:
        running = host.active("rooney*")
        if running:
            host.systemctl("stop", "rooney.target", *running)
            host.say(f"stopped {', '.join(running)}")
        known = host.systemctl("list-unit-files", "--plain", "--no-legend", "--state=enabled", "rooney*")
        enabled = [line.split()[0] for line in known.splitlines() if line.strip()]
        instances = [
            path.name for path in layout.at("/etc/systemd/system/rooney.target.wants").glob("rooney-worker@*.service")
        ]
        if enabled or instances:
            host.systemctl("disable", "--quiet", *dict.fromkeys([*enabled, *instances]))
    for name in names:
        host.remove(layout.units / name)
    for path in layout.at(UNIT_DROP_INS).glob(f"rooney-worker@*.service.d/{AHEAD_DROP_IN}"):
        host.remove(path)  # what it names goes with the prefix
    redis.restore(host, layout)
    for path in (layout.command, layout.sysusers, layout.tmpfiles, layout.at(layout.prefix), layout.caches):
        if host.remove(path):
            host.say(f"removed {path}")
    if not layout.is_image:
        host.systemctl("daemon-reload")
    host.say("kept /etc/rooney, /var/lib/rooney, the user rooney and Redis with its data")


# -- steps --------------------------------------------------------------------------------------------------------


def _users(host: Host, layout: Layout, version: str) -> None:
    """The user, the directories, and the groups of whoever installs."""
    share = layout.home(version) / "share/systemd"
    host.write(layout.sysusers, (share / "rooney.sysusers").read_text())
    host.write(layout.tmpfiles, (share / "rooney.tmpfiles").read_text())
    root = [f"--root={layout.root}"] if layout.is_image else []
    host.run(["systemd-sysusers", *root, "rooney.conf"])
    host.run(["systemd-tmpfiles", "--create", *root, "rooney.conf"])
    host.say("user rooney and its directories are there")
    person = os.environ.get("SUDO_USER", "root")
    if layout.is_image or person == "root":
        return
    wanted = ("rooney", "redis", "systemd-journal")
    missing = [name for name in wanted if person not in grp.getgrnam(name).gr_mem]
    if missing:
        host.run(["usermod", "--append", "--groups", ",".join(missing), person])
        host.say(f"{person} joined {', '.join(missing)}: log in again, then `rooney status` needs no sudo")


def _configuration(host: Host, layout: Layout, version: str) -> None:
    """The example always, the configuration only where there is none."""
    shipped = (layout.home(version) / "share/config.multi_alpha.yml").read_text()
    if shipped.count(SOCKET_LINE) != 1:
        raise InstallError(
            f"config.multi_alpha.yml: expected one line {SOCKET_LINE!r} to switch on; nothing was changed"
        )
    text = shipped.replace(SOCKET_LINE, SOCKET_LINE.removeprefix("# "))
    host.write(layout.config.with_name("config.multi_alpha.yml.example"), text)
    if layout.config.exists():
        host.say(f"{layout.config} kept as it is")
        return
    host.write(layout.config, text, 0o640)
    if not layout.is_image:
        shutil.chown(layout.config, "root", "rooney")
    host.say(f"{layout.config} written: edit it")


def _kernels(host: Host, layout: Layout, version: str, ahead_of_time: bool) -> None:
    """Compile as the user the units run as, into the caches they read. Raises if the configuration is refused."""
    account = pwd.getpwnam("rooney")
    names = enabled(host, layout, version)
    for name in names:
        folder = layout.caches / name
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        os.chown(folder, account.pw_uid, account.pw_gid)
        env = {"NUMBA_CACHE_DIR": str(folder / "numba"), "HOME": "/nonexistent"}
        run_as_worker(host, layout, version, ["compile", name, "--cache"], [name], env)
    host.say(f"kernels compiled for {', '.join(names) or 'no strategy (none is enabled)'}")
    command = layout.home(version) / "bin/rooney"
    # a worker that is to load its step would stay down without the new version's; the old version's stays where it is
    ahead = [name for name in names if ahead_of_time or layout.ahead_drop_in(name).exists()]
    for name in ahead:
        host.run([command, "compile", name, "--config", layout.config])
        host.say(f"kernels of {name} compiled ahead of time")
    if ahead:
        host.systemctl("daemon-reload")


def enabled(host: Host, layout: Layout, version: str) -> list[str]:
    """Strategies that are enabled, by the version's own reading of the configuration. Raises if it refuses that."""
    return run_as_worker(host, layout, version, ["config", "strategies"], ["--names"]).split()


def run_as_worker(
    host: Host,
    layout: Layout,
    version: str,
    verb: list[str],
    old_arguments: list[str],
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a version's verb as the user the units run as.

    old_arguments: of `rooney.warm`, which did it in versions from before these verbs; one of them may be installed too
    """
    rooney: list[str | Path] = [layout.home(version) / "bin/python", "-I", "-m"]
    try:
        host.run([*rooney, "rooney", *verb, "--help"], user="rooney", env=env)
    except InstallError as error:
        # a version that cannot even answer is broken, and its old name would only hide why
        if error.status not in (2, 78) or not re.search("no such (command|option)", str(error), re.IGNORECASE):
            raise
        command = [*rooney, "rooney.warm", "--config", layout.config, *old_arguments]
    else:
        command = [*rooney, "rooney", *verb, "--config", layout.config]
    return host.run(command, user="rooney", env=env)


def _launch_link(host: Host, layout: Layout) -> None:
    target = layout.prefix / "current/bin/rooney"
    if layout.command.is_symlink() and layout.command.readlink() == target:
        return
    if layout.command.exists():
        raise InstallError(f"{layout.command} is there already and is not ours: move it away")
    layout.command.parent.mkdir(parents=True, exist_ok=True)
    layout.command.unlink(missing_ok=True)
    layout.command.symlink_to(target)
    host.say(f"{layout.command} → {target}")


def _units(host: Host, layout: Layout, version: str) -> bool:
    """The version's units, and none that only another version has; True if anything changed."""
    wanted = units_of(layout, version)
    changed = [name for name, text in wanted.items() if host.write(layout.units / name, text)]
    gone = [path.name for path in layout.units.glob("rooney*") if path.name not in wanted]
    for name in gone:
        host.remove(layout.units / name)
    if changed or gone:
        host.say(f"{len(changed)} units written to {layout.units}" + (f", {len(gone)} removed" if gone else ""))
        if not layout.is_image:
            host.systemctl("daemon-reload")
    else:
        host.say("units are as they should be")
    return bool(changed or gone)


def _enable(host: Host, layout: Layout, version: str) -> None:
    """Enable what trading needs: Redis, the hub, a worker per enabled strategy. All else is the operator's choice."""
    names: list[str] = []
    if not layout.is_image:
        names = enabled(host, layout, version)
    units = ["rooney.target", "rooney-hub.service", *(f"rooney-worker@{name}.service" for name in names)]
    root = [f"--root={layout.root}"] if layout.is_image else []
    host.run(["systemctl", *root, "--quiet", "enable", *units])
    host.say(f"enabled {', '.join(units)}")
    if not layout.is_image:
        host.systemctl("--quiet", "enable", "--now", redis.UNIT)
        host.say("enabled and started Redis")


def _restart(host: Host) -> None:
    """Running units, one at a time, each ready before the next; the first that does not come up ends it.

    What one misses meanwhile it takes up: the hub from the gateway's replay, a worker from the tape.
    """
    for pattern in RESTARTED:
        for unit in host.active(pattern):
            try:
                host.systemctl("restart", unit)
            except InstallError as error:
                raise InstallError(
                    f"{unit} did not come up; units after it still run the version before. Look at "
                    f"`journalctl -u {unit} -n 50`, then repair it or run `rooney rollback`.\n    {error}"
                ) from error
            host.say(f"restarted {unit}")


def _left(layout: Layout) -> None:
    """Print what only the operator can do."""
    left = []
    if not (layout.credentials / "databento_api_key").exists():
        left.append("rooney credentials set databento_api_key")
    if not any(layout.credentials.glob("*.broker_account")):
        left.append("rooney credentials set NAME.broker_account     for each strategy")
    if left:
        left = [f"edit {layout.config}", *left, "rooney check", "systemctl start rooney.target"]
    sync = ("systemd-timesyncd.service", "systemd-time-wait-sync.service", "chrony-wait.service")
    wants = layout.at("/etc/systemd/system/sysinit.target.wants")
    if not any((wants / name).is_symlink() for name in sync[1:]):
        left.append("systemctl enable systemd-time-wait-sync    (or chrony-wait): units then wait for a right clock")
    if left:
        print("left to do:", *left, sep="\n  ")
