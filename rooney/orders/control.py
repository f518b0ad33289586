"""Wishes of an operator to the workers, as files: read with Redis down, and `touch` is enough to write one.

    CONTROL/                        `rooney.paths.control_directory`, by default /var/lib/rooney/control; 2770
    ├── all/halt                    a switch for every strategy
    └── ibs/
        ├── halt | flatten | stop   a switch for one; it holds for as long as the file is there
        ├── ledger                  the id of the ledger that the strategy has: another one enters nothing
        └── commands/TS-VERB.json   a command for the worker: journalled in its ledger, obeyed, then deleted

halt: no entries. flatten: close everything now, then no entries. stop: nothing at all is sent, exits included.
A switch is its name, whatever is in the file: one JSON line {ts_ns, who, reason} is for people and may be missing. Only
a folder that cannot be read counts as `halt`: it fails closed for entries, never for exits.
A worker that is down takes its commands, in the order of their names, when it starts.
"""

import enum
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from rooney.errors import FileError, RooneyError
from rooney.files import KIB, decode_json, read_bytes, read_json, write_shared

logger = logging.getLogger(__name__)

KNOWN = "known"  # a file beside the folders: its time says when somebody took note of all alerts
MARKER = "ledger"  # in a strategy's folder
ALL = "all"  # the folder for every strategy; a strategy of that name would share it
_MOST_BYTES = 64 * KIB  # of a switch or a command

# Far beyond any account, and far within what the step can count: a statement beyond them is a slip of the hand.
MOST_CONTRACTS = 100_000
MOST_POINTS = 10_000_000.0
MOST_USD = 1_000_000_000.0


class ControlError(RooneyError):
    """A control file cannot be written, read or removed; the message names it."""


class Level(enum.StrEnum):
    """Reach of a switch, in what it holds back; the file's name."""

    HALT = "halt"
    FLATTEN = "flatten"
    STOP = "stop"


class Switch(msgspec.Struct, frozen=True):
    """A switch that is on. scope: a strategy's name or `all`; ts_ns: 0, who, reason: empty when nobody said."""

    level: Level
    scope: str
    ts_ns: int = 0
    who: str = ""
    reason: str = ""

    def __str__(self) -> str:
        said = " ".join(f"{self.reason} ({self.who})".split()) if self.who else self.reason
        return f"{self.level} of {self.scope}" + (f": {said}" if said else "")


class Verb(enum.StrEnum):
    """Commands that a running worker takes."""

    RESUME = "resume"  # lift what is latched: daily loss, drawdown, gap, breaker
    RESOLVE = "resolve"  # say what became of an order: intent, outcome, price
    POSITION = "position"  # say what is open: symbol, side, quantity, price
    CASH = "cash"  # correct the cash: usd
    FLATTEN = "flatten"  # close now: symbols, or all


class Resolution(enum.StrEnum):
    """Fate of an order, as an operator found it out."""

    FILLED = "filled"
    NOT_FILLED = "not_filled"


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A command; which fields belong to which verb: see Verb.

    ts_ns: wall clock, when it was given, UTC ns
    side:  1 long, -1 short, 0 flat; quantity in contracts; price in points of the ordered product
    usd:   added to the cash
    """

    ts_ns: int
    verb: Verb
    who: str
    reason: str
    intent: str = ""
    outcome: Resolution | None = None
    symbol: str = ""
    side: int = 0
    quantity: int = 0
    price: float | None = None
    usd: float | None = None
    symbols: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its file's name without the ending: the key under which the ledger knows it."""
        return f"{self.ts_ns}-{self.verb}"


class Act(msgspec.Struct, frozen=True):
    """Command as it stands in the ledger.

    ts_clock:    the worker's clock when it was journalled, UTC ns
    after_event: number of the newest event in any order's life at that time; is_obeyed: it has reached the step
    is_set_aside: the step cannot take it and never hears of it
    """

    seq: int
    ts_clock: int
    command: Command
    after_event: int = 0
    is_obeyed: bool = False
    is_set_aside: bool = False

    @property
    def is_awaited(self) -> bool:
        """The step will hear of it."""
        return not (self.is_obeyed or self.is_set_aside or missing(self.command))


def beyond(quantity: int = 0, price: float | None = None, usd: float | None = None) -> str:
    """Part of an operator's statement that is out of bounds, or nothing."""
    stated = (("quantity", quantity, MOST_CONTRACTS), ("price", price, MOST_POINTS), ("usd", usd, MOST_USD))
    lacks = (
        f"{name} {_figure(value)} is not between {-most:,.0f} and {most:,.0f}"
        for name, value, most in stated
        if value is not None and not -most <= value <= most  # also of NaN
    )
    return "; ".join(lacks)


def _figure(value: float) -> str:
    is_short = isinstance(value, float) or abs(value) < 2**1000  # a longer whole number is no float
    return f"{value:.10g}" if is_short else "of hundreds of digits"


def missing(command: Command) -> str:
    """Lack that keeps a command from being obeyed, or nothing; asked before the journal and the step hear of it."""
    if lack := beyond(command.quantity, command.price, command.usd):
        return lack
    match command.verb:
        case Verb.RESOLVE if not command.intent or command.outcome is None:
            return "resolve needs an intent and an outcome (filled or not_filled)"
        case Verb.POSITION:
            if not command.symbol or command.price is None or command.side not in (-1, 0, 1):
                return "position needs a symbol, a side (1, -1 or 0) and a price"
            if (command.side != 0) != (command.quantity > 0):
                return "position needs a quantity of 1 or more with a side, and 0 without"
        case Verb.CASH if command.usd is None:
            return "cash needs usd"
    return "" if command.who and command.reason else "a command needs who and reason"


# ── what an operator does ──


def set_switch(root: Path, scope: str, level: Level, who: str, reason: str) -> Path:
    """Turn a switch on. Raises ControlError."""
    content = {"ts_ns": time.time_ns(), "who": who, "reason": reason}
    return _put(root, root / scope / level.value, content)


def clear_switches(root: Path, scope: str, levels: Iterable[Level] = tuple(Level)) -> list[Level]:
    """Turn switches off; those that were on. Raises ControlError."""
    return [level for level in levels if _remove(root / scope / level.value)]


def forget_ledger(root: Path, name: str) -> None:
    """Let the next ledger that its worker has be the strategy's. Raises ControlError."""
    _remove(root / name / MARKER)


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror}; it still holds") from None
    return True


def put_command(root: Path, name: str, command: Command) -> Path:
    """Leave a command for the worker of a strategy. Raises ControlError, also for a command that lacks something."""
    if lack := missing(command):
        raise ControlError(f"{lack}; nothing was written")
    return _put(root, root / name / "commands" / f"{command.name}.json", command)


def mark_ledger(root: Path, name: str, ledger_id: str) -> Path:
    """Leave word which ledger a strategy has. Raises ControlError."""
    return _put(root, root / name / MARKER, ledger_id)


def _put(root: Path, path: Path, content: Any) -> Path:
    try:
        write_shared(root, path, msgspec.json.encode(content) + b"\n")
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror}; nothing was written") from None
    return path


# ── what a worker reads ──


def switches(root: Path, name: str) -> list[Switch]:
    """The switches that hold for a strategy; a folder of them that cannot be read is a halt that says so."""
    found: list[Switch] = []
    for scope in dict.fromkeys((ALL, name)):
        try:
            names = os.listdir(root / scope)
        except FileNotFoundError:
            continue
        except OSError as error:
            found.append(Switch(Level.HALT, scope, reason=f"{root / scope} cannot be read: {error.strerror}"))
            continue
        found += [_switch(root / scope / level.value, level, scope) for level in Level if level.value in names]
    return found


def _switch(path: Path, level: Level, scope: str) -> Switch:
    try:
        content = read_bytes(path, _MOST_BYTES)
    except FileError as error:
        return Switch(level, scope, reason=f"{path} cannot be read: {error.why}")
    try:
        said = decode_json(content, _Said, path)
    except FileError:
        return Switch(level, scope, reason=" ".join(content.decode(errors="replace").split())[:200])
    return Switch(level, scope, said.ts_ns, said.who, said.reason)


class _Said(msgspec.Struct, frozen=True):
    ts_ns: int = 0
    who: str = ""
    reason: str = ""


class Waiting(msgspec.Struct, frozen=True):
    """A command file. command: None if it cannot be understood, and `lack` says why."""

    path: Path
    command: Command | None
    lack: str = ""


class Control:
    """A worker's view of its part of the directory. What cannot be read is logged once."""

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self._name = name
        self._complained: set[str] = set()

    def switches(self) -> list[Switch]:
        """As they are now."""
        found = switches(self._root, self._name)
        self._complain({s.reason for s in found if "cannot be read" in s.reason})
        return found

    def mistrust(self, ledger_id: str) -> str:
        """Why a ledger is not known to be the strategy's, or empty: the first that is there leaves word of itself."""
        path = self._root / self._name / MARKER
        try:
            if not os.path.lexists(path):
                mark_ledger(self._root, self._name, ledger_id)
            known = read_json(path, str, _MOST_BYTES)
        except (FileError, ControlError) as error:
            return str(error)
        return "" if known == ledger_id else f"it had the ledger {known[:100]}, this is {ledger_id}"

    def commands(self) -> list[Waiting]:
        """Commands that wait, oldest first. A file that is no command has none, and should be refused."""
        directory = self._root / self._name / "commands"
        try:
            names = [name for name in os.listdir(directory) if name.endswith(".json") and not name.startswith(".")]
        except FileNotFoundError:
            return []
        except OSError as error:
            self._complain({f"{directory} cannot be read: {error.strerror}"})
            return []
        return [self._waiting(directory / name) for name in sorted(names, key=_by_time)]

    @staticmethod
    def _waiting(path: Path) -> Waiting:
        try:
            command = read_json(path, Command, _MOST_BYTES)
        except FileError as error:
            return Waiting(path, None, error.why)
        if command.name != path.stem:
            return Waiting(path, None, f"it says it is {command.name}")
        lack = missing(command)
        return Waiting(path, None if lack else command, lack)

    def done(self, waiting: Waiting) -> None:
        """Take a command that is in the ledger away. One that stays is known by its name and not obeyed twice."""
        try:
            waiting.path.unlink(missing_ok=True)
        except OSError as error:
            self._complain({f"{waiting.path} cannot be removed: {error.strerror}; it is not obeyed again"})

    def refuse(self, waiting: Waiting, why: str) -> None:
        """Put a command aside as NAME.refused, which says that and why it did nothing."""
        shown = os.fsencode(waiting.path).decode(errors="backslashreplace")  # a name need not be text
        logger.error("%s refused: %s; nothing was done", shown, why)
        try:
            waiting.path.rename(waiting.path.with_suffix(".refused"))
        except OSError as error:
            self._complain({f"{waiting.path} cannot be put aside: {error.strerror}"})

    def _complain(self, texts: set[str]) -> None:
        for text in texts - self._complained:
            logger.error("%s", text)
        self._complained |= texts


def _by_time(name: str) -> tuple[int, str]:
    stamp = name.partition("-")[0]
    return int(stamp) if stamp.isdecimal() else 0, name
