"""What verbs share: options of those that read the configuration, and what their texts mean."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rooney.errors import ConfigError

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
    from rooney.config.secrets import read_env_file

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
