"""What the operator's verbs have in common on the command line."""

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

STATE = click.option(
    "--state-directory",
    "state",
    type=click.Path(path_type=Path),
    help="Directory with a folder per strategy [$ROONEY_STATE_DIRECTORY, /var/lib/rooney].",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def say(as_json: bool, found: dict[str, Any], lines: list[str], code: int) -> NoReturn:
    """The result, for a program or a person, and the exit status."""
    click.echo(json.dumps({"exit": code} | found) if as_json else "\n".join(lines))
    sys.exit(code)
