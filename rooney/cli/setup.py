"""Verbs that set a machine up, and say what would stop a start."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from rooney.cli.options import configured, load
from rooney.errors import EXIT_ATTENTION, EXIT_CONFIG, EXIT_OK, ConfigError


@click.command("compile")
@click.argument("name")
@configured
@click.option("--out", type=click.Path(path_type=Path), help="Write everything here, and change no unit.")
@click.option("--json", "as_json", is_flag=True, help="The files written, as JSON.")
def compile_(
    name: str,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compile a strategy's step ahead of time, and have its worker load it; as root.

    The worker then has no compiler in its process and may execute no memory it has written. Needs setuptools and a C
    and C++ compiler; the worker does not.
    """
    from rooney.engine.build import build_engine
    from rooney.ops import compile as precompile
    from rooney.strategy import aot as ahead

    strategy = load(config_path, overrides, env_file).strategy(name)
    directory = out.absolute() if out else precompile.installed_directory()
    step = precompile.build(build_engine(strategy), directory)
    drop_in = precompile.write(out / ahead.DROP_IN, directory) if out else precompile.enable(name, directory)
    if as_json:
        click.echo(json.dumps({"exit": EXIT_OK, "step": str(step), "drop_in": str(drop_in)}))
        return
    click.echo(f"{name}: {step}")
    unit = f"rooney-worker@{name}"
    if out:
        click.echo(f"{drop_in}: copy it to {precompile.drop_in_path(name).parent}/, then")
    else:
        click.echo(f"{drop_in}: remove it to compile at every start again")
    click.echo(f"in use after: systemctl daemon-reload && systemctl restart {unit}")


@click.command()
@configured
@click.option("--offline", is_flag=True, help="Leave out Redis, the hub and the clock.")
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def check(
    config_path: str | None, overrides: tuple[str, ...], env_file: Path | None, offline: bool, as_json: bool
) -> None:
    """Say what would stop a start, before it does."""
    from rooney.ops.check import findings

    config = load(config_path, overrides, env_file)
    with _credential_store() as store:
        found = findings(config, online=not offline, now_ns=time.time_ns, store=store)
    levels = {finding.level for finding in found}
    away = any(finding.level == "warning" and finding.path in ("data_hub", "clock") for finding in found)
    code = EXIT_CONFIG if "error" in levels else EXIT_ATTENTION if away else EXIT_OK
    if as_json:
        click.echo(json.dumps({"exit": code, "findings": [finding._asdict() for finding in found]}))
    else:
        for finding in found:
            click.echo(f"{finding.level:<8}{finding.path}: {finding.text}")
        strategies = ", ".join(config.names) or "none"
        verdict = {EXIT_OK: "ok", EXIT_ATTENTION: "attention"}.get(code, "would not start")
        click.echo(f"{verdict}: {config.path}, {len(config.file.instruments)} instruments, strategies {strategies}")
    sys.exit(code)


@click.group("config")
def config_() -> None:
    """The configuration file: make it from the old system's."""


@config_.command("migrate")
@click.argument("old", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write it here [standard output].")
@click.option("--json", "as_json", is_flag=True, help="The new file and what became of each key, as JSON.")
def config_migrate(old: Path, out: Path | None, as_json: bool) -> None:
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
    code = EXIT_ATTENTION if any(note.became == "look" for note in made.notes) else EXIT_OK
    if as_json:
        found = {"exit": code, "out": out and str(out), "text": made.text, "notes": [n._asdict() for n in made.notes]}
        click.echo(json.dumps(found))
        sys.exit(code)
    if out is None:
        click.echo(made.text, nl=False)
    for note in made.notes:
        new = f" → {note.new}" if note.new else ""
        click.echo(f"{note.became:<9}{note.key}{new}{': ' if note.text else ''}{note.text}", err=out is None)
    if out is not None:
        click.echo(f"written: {out}; next: rooney check --config {out}   (docs/CONFIG_MIGRATION.md)")
    sys.exit(code)


@contextlib.contextmanager
def _credential_store() -> Iterator[Path]:
    """Where `check` reads credentials: the store, and for root also what is encrypted in it."""
    from rooney.config.credentials import Store
    from rooney.paths import CREDENTIAL_STORE

    if os.geteuid() == 0 and any(CREDENTIAL_STORE.glob("*.cred")):
        with Store().readable() as folder:
            yield folder
    else:
        yield CREDENTIAL_STORE


@click.group()
def credentials() -> None:
    """Keep the secrets units load (/etc/rooney/credentials); as root. None is ever shown."""


@credentials.command("list")
@click.option("--json", "as_json", is_flag=True, help="Names as JSON.")
def credentials_list(as_json: bool) -> None:
    """Name what there is."""
    import msgspec

    from rooney.config.credentials import Store

    items = Store().items()
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(item) for item in items]))
        return
    for item in items:
        changed = time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(item.changed_s))
        click.echo(f"{item.name:<32}{'encrypted' if item.encrypted else 'plain':<11}{changed}  {item.unit}")


def _put(name: str, encrypt: bool, *, replace: bool) -> None:
    """Read one secret from a prompt or standard input, never from an argument, and store it."""
    from rooney.config.credentials import Store
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
    from rooney.config.credentials import Store

    item = Store().encrypt(name)
    click.echo(f"{name}: encrypted; in use after: systemctl daemon-reload && systemctl restart {item.unit}")


@credentials.command("remove")
@click.argument("name")
def credentials_remove(name: str) -> None:
    """Take one away; a running unit keeps what it has until it is restarted."""
    from rooney.config.credentials import Store

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


VERBS: tuple[click.Command, ...] = (
    compile_,
    check,
    config_,
    credentials,
    _installer("install", "Install or upgrade to a checkout (--source DIR); as root."),
    _installer("rollback", "Go back to the version before, one unit at a time; as root."),
    _installer("uninstall", "Remove rooney; configuration, credentials and ledgers stay; as root."),
)
