"""Verbs that keep copies: a backup of all that cannot be had again, and the way back."""

import os
from pathlib import Path

import click

from rooney.cli import prompt
from rooney.cli.options import PATH, Call, takes
from rooney.paths import CREDENTIAL_STORE


@click.command()
@click.argument("out", type=PATH)
@click.option("--with-secrets", is_flag=True, help="Webhooks and keys too: then guard the file like them.")
@takes("config", "credentials", "state", "json")
def backup(call: Call, out: Path, with_secrets: bool) -> None:
    """Write ledgers, configuration, strategies, models and switches to one file; workers may go on."""
    from rooney.ops import backup as act

    items = act.collect(
        call.load(), call.state_directory, call.control, call.credential_store, with_secrets=with_secrets
    )
    manifest = act.backup(items, out, with_secrets=with_secrets)
    lines = [f"{kept.kind:<14}{kept.path}" for kept in manifest.files]
    lines.append(f"{len(manifest.files)} files in {out}, secrets {'INCLUDED' if with_secrets else 'left out'}")
    call.say({"file": str(out), "files": [kept.path for kept in manifest.files]}, lines)


@click.command()
@click.argument("file", type=PATH)
@click.option("--root", type=PATH, default=Path("/"), help="Directory that stands for /.")
@click.option("--force", is_flag=True, help="Put files that are there aside and take their place.")
@takes("config", "state", "credentials", "yes", "json")
def restore(call: Call, file: Path, root: Path, force: bool) -> None:
    """Put back what a backup holds, each file where this machine keeps its kind and nowhere else."""
    from rooney.ops import restore as act

    config = call.load() if os.path.exists(call.config_file) else None
    credentials = call.credentials or CREDENTIAL_STORE
    places = act.places(Path(call.config_file), config, call.state_directory, call.control, credentials)
    manifest = act.read_manifest(file, places, root)
    act.refuse(manifest, root, force=force)
    targets = act.targets(manifest, root)
    call.show(f"{kept.kind:<14}{path}" for kept, path in targets)
    prompt.confirm("Write these files?", call.is_sure)
    aside = act.restore(file, places, root, force=force)
    lines = [f"put aside: {path}" for path in aside]
    lines.append(f"{len(targets)} files restored. Before a worker starts, compare: rooney reconcile NAME FILE")
    call.say({"files": [str(path) for _, path in targets], "put_aside": [str(path) for path in aside]}, lines)


VERBS = (backup, restore)
