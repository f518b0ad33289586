"""Verbs that set a machine up, and say what would stop a start."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from rooney.cli.options import PATH, Call, takes
from rooney.config.credentials import Store
from rooney.errors import EXIT_ATTENTION, EXIT_OK, ConfigError
from rooney.paths import CREDENTIAL_STORE


@click.command("compile")
@click.argument("name")
@click.option("--out", type=PATH, help="Write everything here, and change no unit.")
@click.option("--cache", is_flag=True, help="Compile into $NUMBA_CACHE_DIR only, as its worker's user; no root needed.")
@takes("config", "json")
def compile_(call: Call, name: str, out: Path | None, cache: bool) -> None:
    """Compile a strategy's step ahead of time, and have its worker load it; as root.

    The worker then has no compiler in its process and may execute no memory it has written. Needs setuptools and a C
    and C++ compiler; the worker does not. With --cache the worker finds in its cache what it would compile at its
    start; the installer does that before it switches versions.
    """
    from rooney.engine.build import build_engine
    from rooney.ops import compile as act
    from rooney.strategy import aot

    if cache and out is not None:
        raise ConfigError("compile: --cache writes into the cache and --out DIR elsewhere: one of both")
    engine = build_engine(call.strategy(name))
    if cache:
        directory = act.fill_cache(engine)
        call.say({"cache": directory}, [f"{name}: compiled into {directory}"])
    directory = out.absolute() if out else act.installed_directory()
    step = act.build(engine, directory)
    drop_in = act.write(out / aot.DROP_IN, directory) if out else act.enable(name, directory)
    if out:
        then = f"{drop_in}: copy it to {act.drop_in_path(name).parent}/, then"
    else:
        then = f"{drop_in}: remove it to compile at every start again"
    used = f"in use after: systemctl daemon-reload && systemctl restart rooney-worker@{name}"
    call.say({"step": step, "drop_in": drop_in}, [f"{name}: {step}", then, used])


@click.command()
@click.option("--offline", is_flag=True, help="Leave out Redis, the hub and the clock.")
@takes("config", "json")
def check(call: Call, offline: bool) -> None:
    """Say what would stop a start, before it does."""
    from rooney.ops import host_check as act

    config = call.load()
    with _credential_store() as store:
        findings = act.findings(config, online=not offline, now_ns=time.time_ns, store=store)
    code = act.code(findings)
    lines = [f"{finding.level:<8}{finding.path}: {finding.text}" for finding in findings]
    verdict = {EXIT_OK: "ok", EXIT_ATTENTION: "attention"}.get(code, "would not start")
    strategies = ", ".join(config.names) or "none"
    lines.append(f"{verdict}: {config.path}, {len(config.file.instruments)} instruments, strategies {strategies}")
    call.say({"findings": [finding._asdict() for finding in findings]}, lines, code)


@click.group("config")
def config_() -> None:
    """The configuration file: make it from the old system's, name its strategies."""


@config_.command("strategies")
@takes("config", "json")
def config_strategies(call: Call) -> None:
    """Name the strategies that are enabled, one a line."""
    config = call.load()
    names = [name for name in config.names if config.strategy(name).settings.enabled]
    call.say({"strategies": names}, names)


@config_.command("migrate")
@click.argument("old", type=PATH)
@click.option("--out", type=PATH, help="Write it here [standard output].")
@takes("json")
def config_migrate(call: Call, old: Path, out: Path | None) -> None:
    """Turn the old system's config.yml into a config.multi_alpha.yml, and say what became of each key.

    Exit status 1: something is left for a person to see to.
    """
    from rooney.ops.migrate_config import check_migrated, migrate, read_old

    made = migrate(read_old(old), old.name)
    check_migrated(made)
    if out is not None:
        try:
            with out.open("x", encoding="utf-8") as file:
                file.write(made.text)
        except OSError as error:
            raise ConfigError(f"{out}: {error.strerror}; nothing was written") from None
    lines = [
        f"{note.became:<9}{note.key}{f' → {note.new}' if note.new else ''}{': ' if note.text else ''}{note.text}"
        for note in made.notes
    ]
    if out is not None:
        lines.append(f"written: {out}; next: rooney check --config {out}   (docs/CONFIG_MIGRATION.md)")
    elif not call.as_json:  # the file alone on standard output
        click.echo("\n".join(lines), err=True)
        lines = [made.text.removesuffix("\n")]
    code = EXIT_ATTENTION if any(note.became == "look" for note in made.notes) else EXIT_OK
    call.say({"out": out, "text": made.text, "notes": [note._asdict() for note in made.notes]}, lines, code)


@contextlib.contextmanager
def _credential_store() -> Iterator[Path]:
    """Folder in which `check` reads credentials: the store, and for root also what is encrypted in it."""
    if os.geteuid() == 0 and any(CREDENTIAL_STORE.glob("*.cred")):
        with Store().readable() as folder:
            yield folder
    else:
        yield CREDENTIAL_STORE


@click.group()
def credentials() -> None:
    """Keep the secrets units load (/etc/rooney/credentials); as root. None is ever shown."""


@credentials.command("list")
@takes("json")
def credentials_list(call: Call) -> None:
    """Name what there is."""
    items = Store().items()
    lines = []
    for item in items:
        changed = time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(item.changed_s))
        lines.append(f"{item.name:<32}{'encrypted' if item.encrypted else 'plain':<11}{changed}  {item.unit}")
    call.say(items, lines)


def _put(name: str, encrypt: bool, *, replace: bool) -> None:
    """Read one secret from a prompt or standard input, never from an argument, and store it."""
    from rooney.secrets import Secret

    store = Store()
    old = store.item(name)
    if replace and old is None:
        raise ConfigError(f"credentials.{name}: there is none to rotate; `rooney credentials set {name}` makes one")
    if sys.stdin.isatty():
        text = click.prompt(f"{name} (not shown)", hide_input=True, default="", show_default=False)
    else:
        text = sys.stdin.read()
    item = store.put(name, Secret(text.strip()), encrypt=encrypt or (old is not None and old.encrypted))
    kind = "encrypted" if item.encrypted else "readable by root only"
    click.echo(f"{name}: {'replaced' if old else 'stored'}, {kind}")
    click.echo(f"in use after: systemctl daemon-reload && systemctl restart {item.unit}")


@credentials.command("set")
@click.argument("name")
@click.option("--encrypt", is_flag=True, help="With this machine's key (systemd-creds).")
def credentials_set(name: str, encrypt: bool) -> None:
    """Store one: databento_api_key, NAME.broker_account, NAME.paper_account, alert/slack, alert/NAME.slack …"""
    _put(name, encrypt, replace=False)


@credentials.command("rotate")
@click.argument("name")
def credentials_rotate(name: str) -> None:
    """Replace one by a new value; it stays encrypted if it was."""
    _put(name, encrypt=False, replace=True)


@credentials.command("encrypt")
@click.argument("name")
def credentials_encrypt(name: str) -> None:
    """Encrypt one that is stored in plain."""
    unit = Store().encrypt(name).unit
    click.echo(f"{name}: encrypted; in use after: systemctl daemon-reload && systemctl restart {unit}")


@credentials.command("remove")
@click.argument("name")
def credentials_remove(name: str) -> None:
    """Take one away; a running unit keeps what it has until it is restarted."""
    item = Store().remove(name)
    click.echo(f"{name}: removed; {item.unit} has it until it is restarted")


def _installer(verb: str, text: str) -> click.Command:
    """`rooney VERB …` = `python3 -m rooney.install VERB …`, which needs nothing installed."""

    @click.command(verb, help=text, context_settings={"ignore_unknown_options": True, "help_option_names": []})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        from rooney.install.command import main as installer

        sys.exit(installer([verb, *arguments]))

    return command


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script with which a shell completes rooney's verbs and options: eval "$(rooney completion bash)"."""
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    assert script is not None  # click knows all three
    click.echo(script(context.find_root().command, {}, "rooney", "_ROONEY_COMPLETE").source())


VERBS: tuple[click.Command, ...] = (
    compile_,
    check,
    config_,
    credentials,
    completion,
    _installer("install", "Install or upgrade to a checkout (--source DIR); as root."),
    _installer("rollback", "Go back to the version before, one unit at a time; as root."),
    _installer("uninstall", "Remove rooney; configuration, credentials and ledgers stay; as root."),
)
