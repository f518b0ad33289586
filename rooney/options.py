"""Options every verb that reads the configuration has."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rooney.config import Config

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
    from rooney.config import load_config
    from rooney.secrets import read_env_file

    if env_file is not None:
        read_env_file(env_file, os.environ)
    if config_path is None:
        here = Path("config.multi_alpha.yml")
        config_path = str(here) if here.is_file() and not Path(DEFAULT_CONFIG).is_file() else DEFAULT_CONFIG
    return load_config(config_path, overrides)
