"""Questions to the operator before anything is done: a reason, and a yes to what was shown."""

import getpass
import os
import sys

import click

from rooney.errors import EXIT_ATTENTION, ConfigError


def who() -> str:
    """The person, also behind sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # no such name in the user database
        return f"uid {os.getuid()}"


def reason(given: str | None) -> str:
    """Why; asked for if it was not given. One line that is not empty, because it goes into the ledger."""
    text = _one_line(given or "")
    while not text:
        try:
            text = _one_line(str(click.prompt("Reason", err=True)))
        except click.Abort:
            raise ConfigError("--reason: expected why this is done, for the ledger; nothing was done") from None
    return text[:200]


def confirm(question: str, is_sure: bool) -> None:
    """Go on only after a yes; anything else ends the command with nothing done."""
    try:
        if is_sure or click.confirm(question, err=True):
            return
    except click.Abort:
        click.echo("no answer (--yes answers for a script)", err=True)
    click.echo("nothing was done", err=True)
    sys.exit(EXIT_ATTENTION)


def _one_line(text: str) -> str:
    return " ".join(text.split())
