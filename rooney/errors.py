"""Errors, sorted by what the caller may do next.

    RooneyError
    ├── ConfigError        the file, a key or a credential is wrong: repair it; restarting cannot help (exit 78)
    │   ├── FileError      a file is not there, closed, too large or not of the form expected
    │   ├── StrategyError  a strategy file is wrong
    │   ├── ModelError     a model file is not what it was written as, or not for this strategy
    │   └── BundleError    the same of a bundle; or it was made of other code or other parameters than these
    ├── DataWarning        rows of a file that cannot be bars: a warning, or an error where --strict was asked for
    ├── LedgerError        the ledger is torn, foreign, newer or in use: no trading (exit 78)
    ├── FullError          the disk of a ledger is full: nothing was written; make room
    ├── StepError          news that the step has no room for: go on without it, entries held
    ├── MessageError       bytes on Redis that are no message of ours: refuse that one, go on
    ├── FeedError          the feed ended or refused: back off and make a new session
    │   └── FeedFatalError a new session would only be refused again (key, account)
    └── BusError           Redis does not answer: keep trying, publish nothing twice

What happens to an order is never an exception: it is a value (`rooney.orders.intents.Receipt`).
"""

from pathlib import Path

EXIT_OK = 0
EXIT_ATTENTION = 1
EXIT_FAILURE = 2
EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h; the units never restart on it


class RooneyError(Exception):
    """Base of every error rooney raises on purpose."""


class ConfigError(RooneyError):
    """A configuration key, credential or environment variable is wrong; the message starts with its path."""


class FileError(ConfigError):
    """A file that cannot be read.

    why:  in words, without its path and without a byte of its content
    what: the content as people call it; then: what follows; both may be empty
    """

    def __init__(self, path: Path, why: str, what: str = "", then: str = "") -> None:
        super().__init__(path, why, what, then)
        self.path = path
        self.why = why
        self.what = what
        self.then = then

    def __str__(self) -> str:
        text = f"{self.path}: {self.what + ' ' if self.what else ''}cannot be read: {self.why}"
        return f"{text}; {self.then}" if self.then else text


class MissingFileError(FileError):
    """There is no file of that name."""


class StrategyError(ConfigError):
    """A strategy file cannot be used; the message names the file and what a researcher should change."""


class ModelError(ConfigError):
    """A model file cannot be used; the message starts with its path."""


class BundleError(ConfigError):
    """A bundle cannot be used; the message starts with its path."""


class DataWarning(RooneyError, UserWarning):
    """Rows that a run leaves out because they cannot be bars; raised only where warnings of it are made errors."""


class LedgerError(RooneyError):
    """A ledger cannot be trusted or is held by another process; the file was left untouched."""


class FullError(RooneyError):
    """A ledger cannot be written for want of room; what was to be written was not."""


class StepError(RooneyError):
    """An outcome or an operator's act cannot be told to the step."""


class MessageError(RooneyError):
    """Bytes that do not decode into the message expected at that place."""


class FeedError(RooneyError):
    """The market data session ended or could not start."""


class FeedFatalError(FeedError):
    """The gateway refused us for a reason that a new session would only repeat."""


class BusError(RooneyError):
    """Redis refused, timed out or went away."""


class TapeError(BusError):
    """The tape does not end where the hub left it; nothing was written."""
