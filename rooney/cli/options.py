"""What verbs share: options of those that read the configuration, and what their texts mean."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from rooney.errors import ConfigError
from rooney.paths import find_ledger, ledger_names

if TYPE_CHECKING:
    from datetime import datetime

    from rooney.config.loader import Config

DEFAULT_CONFIG = "/etc/rooney/config.multi_alpha.yml"


def configured(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --config, --set and --env-file."""
    options = (
        click.option("--config", "config_path", envvar="ROONEY_CONFIG", help=f"Configuration file [{DEFAULT_CONFIG}]."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one configuration key."),
        click.option("--env-file", type=click.Path(path_type=Path), help="Variables for a terminal session."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def load(config_path: str | None, overrides: tuple[str, ...], env_file: Path | None) -> "Config":
    """The configuration those options name. Raises ConfigError."""
    from rooney.config.loader import load_config
    from rooney.secrets import read_env_file

    if env_file is not None:
        read_env_file(env_file, os.environ)
    if config_path is None:
        here = Path("config.multi_alpha.yml")
        config_path = str(here) if here.is_file() and not Path(DEFAULT_CONFIG).is_file() else DEFAULT_CONFIG
    return load_config(config_path, overrides)


def needs(verb: str, *modules: str) -> None:
    """Raises ConfigError unless the packages of research are there."""
    from importlib.util import find_spec

    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigError(f"rooney {verb} needs {' and '.join(missing)}: install rooney[research,optimize]")


def instant(text: str | None, option: str) -> "datetime | None":
    """An ISO time, UTC where it names no zone; None for none. Raises ConfigError that names the option."""
    from datetime import UTC, datetime

    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option}: expected an ISO time such as 2026-03-10T22:00, got {text!r}") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def trade_day(text: str) -> str:
    """The trade date of --final-from, empty for none. Raises ConfigError."""
    from datetime import date

    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError as error:
        raise ConfigError(f"--final-from: expected a date such as 2024-01-01, got {text!r}") from error


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
    find_ledger(state, name)
    return [name]
