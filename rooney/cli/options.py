"""Options that verbs share, each declared once, and the printer of every verb's result."""

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from rooney.cli import prompt
from rooney.errors import EXIT_OK, ConfigError, DataWarning
from rooney.paths import (
    CONFIG,
    control_directory,
    credential_store,
    find_ledger,
    has_units,
    ledger_names,
    state_directory,
)

if TYPE_CHECKING:
    from datetime import datetime

    from rooney.clock import Clock
    from rooney.config.loader import Config
    from rooney.config.settings import StrategyConfig
    from rooney.ledger.snapshot import Snapshot
    from rooney.monitor.system import Looker

DEFAULT_CONFIG = f"/etc/rooney/{CONFIG}"
PATH = click.Path(path_type=Path)
EXISTING = click.Path(path_type=Path, exists=True)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
TIMEFRAME = click.Choice(["1min", "hourly", "daily"])


class Call:
    """A verb as it was called: the values of the options it shares with others, and how its result is printed."""

    config_path: str | None = None
    overrides: tuple[str, ...] = ()
    env_file: Path | None = None
    state: Path | None = None
    credentials: Path | None = None
    clock_name: str = "live"
    reason: str | None = None
    is_sure: bool = False
    as_json: bool = False

    def load(self, *overrides: str) -> "Config":
        """Configuration that the options name, or the state directory's own, overridden further. Raises ConfigError."""
        from rooney.config.loader import load_config
        from rooney.secrets import read_env_file

        if self.env_file is not None:
            read_env_file(self.env_file, os.environ)
        return load_config(self.config_file, (*self.overrides, *overrides))

    @property
    def config_file(self) -> str:
        """Path of the configuration that the options name, or of the state directory's own."""
        if self.config_path is not None:
            return self.config_path
        if self.state is not None and not self.has_units and (self.state / CONFIG).is_file():
            return str(self.state / CONFIG)
        return CONFIG if Path(CONFIG).is_file() and not Path(DEFAULT_CONFIG).is_file() else DEFAULT_CONFIG

    def strategy(self, name: str, symbols: str | None = None) -> "StrategyConfig":
        """Settings of a strategy with any bundle in force. symbols: of its instruments only these, as ES,NQ."""
        return self.load(*_chosen(name, symbols)).strategy(name)

    def wanted(self, name: str, symbols: str | None = None) -> "StrategyConfig":
        """Settings of a strategy as its block says, without a bundle."""
        return self.load(*_chosen(name, symbols)).wanted(name)

    @cached_property
    def state_directory(self) -> Path:
        """Directory with a folder per strategy."""
        return state_directory(self.state, os.environ)

    @cached_property
    def control(self) -> Path:
        """Directory of switches and commands."""
        return control_directory(self.state, os.environ)

    @property
    def has_units(self) -> bool:
        """True where this machine's units work in that directory."""
        return has_units(self.state)

    @property
    def credential_store(self) -> Path | None:
        """Folder of credentials; None if it is closed to this user."""
        return credential_store(self.credentials)

    @property
    def is_replay(self) -> bool:
        """True on the tape's time."""
        return self.clock_name == "replay"

    def clock(self) -> "Clock":
        """Time as the worker has it."""
        from rooney.clock import Clock, ReplayClock

        return ReplayClock() if self.is_replay else Clock()

    def ledger(self, name: str) -> Path:
        """Ledger of a strategy. Raises ConfigError if there is none."""
        return find_ledger(self.state_directory, name)

    def read(self, name: str) -> "Snapshot":
        """Content of a strategy's ledger."""
        from rooney.ledger.snapshot import read_ledger

        return read_ledger(self.ledger(name))

    def names(self, name: str | None, is_all: bool) -> list[str]:
        """Strategies a verb is about: the one named, or all that have a ledger. Raises ConfigError."""
        if (name is None) is not is_all:
            raise ConfigError("expected the name of a strategy or --all, one of both; nothing was done")
        if name is None:
            return ledger_names(self.state_directory)
        self.ledger(name)
        return [name]

    def looker(self, config: "Config | None" = None) -> "Looker":
        """A look at everything. config: None: the one the options name."""
        from rooney.monitor.system import Looker

        return Looker(config or self.load(), self.state_directory, self.control, replay=self.is_replay)

    def show(self, lines: Iterable[str]) -> None:
        """Say what will be done; beside the JSON, not in it."""
        click.echo("\n".join(lines), err=self.as_json)

    def agreed(self, plan: Callable[[], list[str]], question: str) -> str:
        """The operator's reason, once given and the plan shown and agreed to; else the command ends, nothing done."""
        reason = prompt.reason(self.reason)
        self.show(plan())
        prompt.confirm(question, self.is_sure)
        return reason

    def say(self, result: Any, lines: Iterable[str], code: int = EXIT_OK, *, tells_exit: bool = True) -> NoReturn:
        """Print the result for a program or a person, and end. An object for programs also tells the exit status."""
        if self.as_json:
            import msgspec  # not where every start pays for it

            plain = json.loads(msgspec.json.encode(result, enc_hook=str))
            click.echo(json.dumps({"exit": code} | plain if tells_exit and isinstance(plain, dict) else plain))
        elif text := "\n".join(lines):
            click.echo(text)
        sys.exit(code)


def _chosen(name: str, symbols: str | None) -> list[str]:
    return [] if symbols is None else [f"strategies.{name}.instruments=[{symbols}]"]


def _kept(context: click.Context, param: click.Parameter, value: Any) -> None:
    if value not in (None, (), False):
        setattr(context.ensure_object(Call), str(param.name), value)


def _refuse_data(context: click.Context, param: click.Parameter, value: bool) -> None:
    """--strict: what a run only warns of ends it."""
    if value:
        warnings.simplefilter("error", DataWarning)


def _shared(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    return click.option(*names, expose_value=False, callback=_kept, **attributes)


def formerly(old: str, name: str, **attributes: Any) -> Callable[[Any], Any]:
    """An option's name of earlier versions: it works, and is not shown. name: of the value, as the option has it."""
    return click.option(old, name, hidden=True, expose_value=False, **attributes)


_OPTIONS = {
    "config": (
        _shared("--config", "config_path", envvar="ROONEY_CONFIG", help=f"Configuration file [{DEFAULT_CONFIG}]."),
        _shared("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one configuration key."),
        _shared("--env-file", type=PATH, help="Variables for a terminal session."),
    ),
    "env-file": (_shared("--env-file", type=PATH, help="Variables for a terminal session."),),
    "state": (
        _shared(
            "--state-directory",
            "state",
            type=PATH,
            help="Directory with a folder per strategy, control/ and maybe a configuration "
            "[$ROONEY_STATE_DIRECTORY, /var/lib/rooney].",
        ),
    ),
    "credentials": (_shared("--credentials", type=PATH, help="Their directory [/etc/rooney/credentials]."),),
    "clock": (
        _shared(
            "--clock",
            "clock_name",
            type=click.Choice(["live", "replay"]),
            help="Time: the wall's or the tape's [live].",
        ),
    ),
    "reason": (_shared("--reason", help="Why; goes into the ledger. Asked for if left out."),),
    "yes": (_shared("--yes", "is_sure", is_flag=True, help="Do not ask before doing it."),),
    "strict": (
        click.option(
            "--strict",
            is_flag=True,
            expose_value=False,
            callback=_refuse_data,
            help="Run nothing if a row of the data can be no bar; exit 1.",
        ),
    ),
    "json": (_shared("--json", "as_json", is_flag=True, help="Print the result as JSON."),),
}
ACTS = ("state", "reason", "yes", "json")  # of a verb that changes something


def takes(*kinds: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command options of these kinds, and its `Call` as the first argument."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        wrapped: Callable[..., None] = click.make_pass_decorator(Call, ensure=True)(command)
        for option in reversed([option for kind in kinds for option in _OPTIONS[kind]]):
            wrapped = option(wrapped)
        return wrapped

    return decorate


def needs(verb: str, *modules: str, extras: str = "research,optimize") -> None:
    """Raises ConfigError unless these packages are there. extras: of rooney, that bring them."""
    from importlib.util import find_spec

    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigError(f"rooney {verb} needs {' and '.join(missing)}: install rooney[{extras}]")


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


def instant_ns(text: str | None, option: str) -> int | None:
    """The same in UTC ns."""
    at = instant(text, option)
    return None if at is None else int(at.timestamp()) * 1_000_000_000


def zone(text: str | None, *others: str) -> Any:
    """The time zone of --zone; None for none, and for other words it may be. Raises ConfigError."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if text is None or text in others:
        return None
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError):
        also = "".join(f", or {word}" for word in others)
        raise ConfigError(
            f"--zone: expected a zone such as America/Chicago{also}, got {text!r}; nothing was done"
        ) from None


def trade_day(text: str) -> str:
    """The trade date of --final-from, empty for none. Raises ConfigError."""
    from datetime import date

    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError as error:
        raise ConfigError(f"--final-from: expected a date such as 2024-01-01, got {text!r}") from error
