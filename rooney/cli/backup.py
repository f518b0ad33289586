"""The verbs that keep copies: a backup of all that cannot be had again, and the way back."""

import os
from pathlib import Path

import click

from rooney.cli import prompt as asking
from rooney.cli.options import CREDENTIALS, JSON, STATE, configured, load, say, show
from rooney.errors import EXIT_OK
from rooney.paths import credential_store, state_directory


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@configured
@CREDENTIALS
@STATE
@click.option("--with-secrets", is_flag=True, help="Webhooks and keys too: then guard the file like them.")
@JSON
def backup(
    out: Path,
    config_path: str | None,
    overrides: tuple[str, ...],
    env_file: Path | None,
    credentials: Path | None,
    state: Path | None,
    with_secrets: bool,
    as_json: bool,
) -> None:
    """Write ledgers, configuration, strategies, models and switches to one file; workers may go on."""
    from rooney.ops import backup as act
    from rooney.orders.control import control_directory

    config = load(config_path, overrides, env_file)
    items = act.collect(
        config,
        state_directory(state, os.environ),
        control_directory(os.environ),
        credential_store(credentials),
        with_secrets=with_secrets,
    )
    manifest = act.backup(items, out, with_secrets=with_secrets)
    lines = [f"{kept.kind:<14}{kept.path}" for kept in manifest.files]
    lines.append(f"{len(manifest.files)} files in {out}, secrets {'INCLUDED' if with_secrets else 'left out'}")
    say(as_json, {"file": str(out), "files": [kept.path for kept in manifest.files]}, lines, EXIT_OK)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--root", type=click.Path(path_type=Path), default=Path("/"), help="Directory that stands for /.")
@click.option("--force", is_flag=True, help="Put files that are there aside and take their place.")
@click.option("--yes", is_flag=True, help="Do not ask before doing it.")
@JSON
def restore(file: Path, root: Path, force: bool, yes: bool, as_json: bool) -> None:
    """Put back what a backup holds."""
    from rooney.ops import backup as act

    manifest = act.read_manifest(file)
    act.refuse(manifest, root, force=force)
    targets = act.targets(manifest, root)
    show(as_json, [f"{kept.kind:<14}{path}" for kept, path in targets])
    asking.confirm("Write these files?", yes)
    aside = act.restore(file, root, force=force)
    lines = [f"put aside: {path}" for path in aside]
    lines.append(f"{len(targets)} files restored. Before a worker starts, compare: rooney reconcile NAME FILE")
    found = {"files": [str(path) for _, path in targets], "put_aside": [str(path) for path in aside]}
    say(as_json, found, lines, EXIT_OK)


VERBS = (backup, restore)
