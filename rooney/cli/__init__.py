"""The `rooney` command. Its verbs are beside this file; a verb's module is imported when it is asked for."""

import sys
import warnings
from importlib import import_module

import click

from rooney import __version__
from rooney.errors import EXIT_ATTENTION, EXIT_CONFIG, EXIT_FAILURE, ConfigError, DataWarning, LedgerError, RooneyError

# Section of the help → verb → module that has it, and its line there.
SECTIONS = {
    "Try": {
        "demo": ("services", "Run the whole system here, without any account."),
    },
    "Research": {
        "new": ("research", "Begin a strategy: its file, its block and its tests."),
        "features": ("research", "List what a strategy's features can be made of."),
        "data": ("data", "Import, download and check history, fill Redis with it."),
        "backtest": ("backtest", "Run a strategy over history, on the step that trades."),
        "train": ("research", "Train a strategy's models on its own trades."),
        "optimize": ("research", "Search for a strategy's parameters."),
        "portfolio": ("research", "Choose which instruments a strategy trades."),
        "promote": ("models", "Put what was trained in force, if it passes the gates."),
        "retrain": ("models", "Train anew as configured, compare with what is in force."),
        "models": ("models", "Read model files of the old system."),
    },
    "Operate": {
        "status": ("inspect", "Show everything on one screen."),
        "top": ("inspect", "Show the same, refreshed, until interrupted."),
        "why": ("inspect", "Say why a strategy did or did not trade."),
        "orders": ("inspect", "List orders and what became of them."),
        "position": ("operate", "Show what is open, or state it."),
        "bars": ("monitor", "Print published bars."),
        "alerts": ("monitor", "List alerts: what stands and what is over."),
        "report": ("monitor", "Sum up a trade date or a week."),
        "halt": ("operate", "No new entries, until `rooney resume`; exits go on."),
        "resume": ("operate", "Take halt, flatten, stop and latched limits away."),
        "flatten": ("operate", "Close what is open now, and no new entries."),
        "resolve": ("operate", "Say what became of an order of unknown fate."),
        "reconcile": ("operate", "Compare a ledger with the broker's fills."),
        "compare": ("compare", "Compare runs with one another, trade by trade."),
        "audit": ("compare", "Step live runs again from the tape and compare."),
        "backup": ("backup", "Write all that cannot be had again to one file."),
        "restore": ("backup", "Put back what a backup holds."),
    },
    "Install": {
        "install": ("setup", "Install or upgrade to a checkout; as root."),
        "rollback": ("setup", "Go back to the version before; as root."),
        "uninstall": ("setup", "Remove all but configuration and state; as root."),
        "config": ("setup", "Make the configuration file from the old system's."),
        "credentials": ("setup", "Keep the secrets units load; as root."),
        "check": ("setup", "Say what would stop a start, before it does."),
        "compile": ("setup", "Compile a strategy's step ahead of time."),
        "completion": ("setup", "Print the completion script of a shell."),
    },
    "Services": {
        "hub": ("services", "Receive trades, build bars, publish them."),
        "worker": ("services", "Run one strategy."),
        "dashboard": ("services", "Show everything in a browser, read only."),
        "alert-sender": ("services", "Tell people on Slack and Discord what needs them."),
        "watch": ("monitor", "Say once what needs a person."),
        "alert": ("monitor", "Say that a unit failed; for OnFailure=."),
    },
}
_VERBS = {verb: module for verbs in SECTIONS.values() for verb, (module, _) in verbs.items()}


class _Verbs(click.Group):
    """Verbs by section, each imported with the first use of its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all verbs, in the order of the help."""
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A verb; None for a name that is none."""
        if cmd_name not in _VERBS:
            return None
        verbs: tuple[click.Command, ...] = import_module(f"rooney.cli.{_VERBS[cmd_name]}").VERBS
        return next(verb for verb in verbs if verb.name == cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list per section."""
        for section, verbs in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(verb.ljust(max(map(len, _VERBS))), line) for verb, (_, line) in verbs.items()])


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rooney")
def cli() -> None:
    """Trade CME futures with several independent strategies."""


def main() -> None:
    """Entry point: every error of ours is one line and an exit status."""
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"  # no line of ours: it is about the data
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_CONFIG)
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__, EOFError):  # click takes the end of any file for the operator's
            raise error.__cause__ from None
        sys.exit(130)
    except DataWarning as error:
        click.echo(f"rooney: strict: nothing was done\n{error}", err=True)
        sys.exit(EXIT_ATTENTION)
    except (ConfigError, LedgerError) as error:
        click.echo(f"rooney: {error}", err=True)
        sys.exit(EXIT_CONFIG)
    except RooneyError as error:
        click.echo(f"rooney: {error}", err=True)
        sys.exit(EXIT_FAILURE)
