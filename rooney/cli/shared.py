"""What the operator's verbs have in common on the command line."""

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from rooney.errors import ConfigError
from rooney.paths import ledger_names, ledger_path

STATE = click.option(
    "--state-directory",
    "state",
    type=click.Path(path_type=Path),
    help="Directory with a folder per strategy [$ROONEY_STATE_DIRECTORY, /var/lib/rooney].",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
CREDENTIALS = click.option(
    "--credentials", type=click.Path(path_type=Path), help="Directory of the credentials [/etc/rooney/credentials]."
)
CLOCK = click.option(
    "--clock", type=click.Choice(["live", "replay"]), default="live", help="Time: the wall's or the tape's."
)


def say(as_json: bool, found: dict[str, Any], lines: list[str], code: int) -> NoReturn:
    """The result, for a program or a person, and the exit status."""
    click.echo(json.dumps({"exit": code} | found) if as_json else "\n".join(lines))
    sys.exit(code)


def show(as_json: bool, lines: list[str]) -> None:
    """What will be done; beside the JSON, not in it."""
    click.echo("\n".join(lines), err=as_json)


def strategies_of(state: Path, name: str | None, is_all: bool) -> list[str]:
    """Strategies a verb is about: the one named, or all that have a ledger."""
    if (name is None) is not is_all:
        raise ConfigError("expected the name of a strategy or --all, one of both; nothing was done")
    if name is None:
        return ledger_names(state)
    ledger_path(state, name)
    return [name]
