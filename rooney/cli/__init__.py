"""The `rooney` command. Its verbs are beside this file; heavy parts are imported by the verb that needs them."""

import sys

import click

from rooney import __version__
from rooney.cli import backup as copying
from rooney.cli import compare as comparing
from rooney.cli import data as history
from rooney.cli import inspect as looking
from rooney.cli import monitor as watching
from rooney.cli import operate as acting
from rooney.cli import research as studying
from rooney.cli import services as processes
from rooney.cli import setup
from rooney.errors import EXIT_CONFIG, EXIT_FAILURE, ConfigError, LedgerError, RooneyError


def main() -> None:
    """Entry point: every error of ours is one line and an exit status."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_CONFIG)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except (ConfigError, LedgerError) as error:
        click.echo(f"rooney: {error}", err=True)
        sys.exit(EXIT_CONFIG)
    except RooneyError as error:
        click.echo(f"rooney: {error}", err=True)
        sys.exit(EXIT_FAILURE)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rooney")
def cli() -> None:
    """Trade CME futures with several independent strategies."""


for _module in (processes, setup, history, studying, watching, looking, acting, copying, comparing):
    for _verb in _module.VERBS:
        cli.add_command(_verb)
