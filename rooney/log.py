"""Log lines for two readers: a person at a terminal, and the journal, by fields.

`setup` once per process, then `event(logger, level, kind, text, symbol=…, intent=…)`; plain `logger.info` works too.
Levels: ALERT a unit failed for good · CRITICAL money at risk now · ERROR an action failed · WARNING degraded ·
NOTICE order, halt, roll, start, stop · INFO decisions · DEBUG. Few kinds of event; no secret in any text, and if one
slips in it is taken out here, last.
"""

import array
import errno
import fcntl
import logging
import os
import re
import socket
import sys
import threading
import uuid
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

NOTICE = 25
ALERT = 60
JOURNAL_SOCKET = "/run/systemd/journal/socket"

_LEVELS = (  # least level, word on a terminal, syslog priority
    (ALERT, "ALERT", 1),
    (logging.CRITICAL, "CRIT", 2),
    (logging.ERROR, "ERROR", 3),
    (logging.WARNING, "WARN", 4),
    (NOTICE, "NOTE", 5),
    (logging.INFO, "INFO", 6),
    (0, "DEBUG", 7),
)
_SECRETS = (
    (re.compile(r"(?:https?://[^\s/\"'<>]+)?/trading/webhook/[^\s\"'<>]+", re.IGNORECASE), "<webhook>"),
    (re.compile(r"(?:https?://hooks\.slack\.com)?/(?:services|workflows|triggers)/T[^\s\"'<>]+"), "<webhook>"),
    (re.compile(r"(?:https?://[^\s/\"'<>]+)?/api/(?:v\d+/)?webhooks/\d+/[^\s\"'<>]+"), "<webhook>"),
    (re.compile(r"https?://[^\s/\"'<>]*hc-ping\.com/[^\s\"'<>]+"), "<ping>"),
    (re.compile(r"db-[A-Za-z0-9]{20,}"), "<key>"),  # Databento's are 32 characters
)
_EVENT_IDS = uuid.UUID("5a1f6f0c-6a0e-4d0b-9f0e-726f6f6e6579")

logging.addLevelName(NOTICE, "NOTICE")
logging.addLevelName(ALERT, "ALERT")


def setup(component: str, strategy: str | None = None, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send this process's log to the journal if stderr is one, else to stderr (or `stream`) as readable lines.

    component: hub, worker, watch …; strategy: the worker's instance. Calling it again replaces what it set up before.
    """
    handler: logging.Handler
    if stream is None and _stderr_is_journal():
        handler = JournalHandler(component, strategy or "", JOURNAL_SOCKET)
    else:
        handler = LineHandler(stream or sys.stderr)
    handler.setFormatter(_Lines(component, strategy or ""))
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, LineHandler | JournalHandler)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def event(
    logger: logging.Logger,
    level: int,
    kind: str,
    text: str,
    *,
    symbol: str = "",
    intent: str = "",
    exc_info: bool | BaseException = False,
) -> None:
    """Log an event, as one record. `text` is used as it stands, so a `%` in it is only a `%`."""
    extra = {"rooney_event": kind, "rooney_symbol": symbol, "rooney_intent": intent}
    logger.log(level, text, extra=extra, exc_info=exc_info, stacklevel=2)


def message_id(kind: str) -> str:
    """MESSAGE_ID of an event kind: the same 32 hex digits in every release, for `journalctl MESSAGE_ID=`."""
    return uuid.uuid5(_EVENT_IDS, kind).hex


def redact(text: str) -> str:
    """`text` without anything that looks like a webhook URL or a Databento key."""
    for pattern, word in _SECRETS:
        text = pattern.sub(word, text)
    return text


def _stderr_is_journal() -> bool:
    """systemd's own test: JOURNAL_STREAM names the device and inode that stderr still has."""
    try:
        stderr = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stderr.st_dev}:{stderr.st_ino}"


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """For sys and threading: their own hooks would print a traceback, secrets included, past the handlers."""
    if issubclass(kind, SystemExit):
        return
    error = error or kind()
    event(logging.getLogger("rooney"), logging.ERROR, "uncaught", f"{kind.__name__} was not caught", exc_info=error)


def _level(record: logging.LogRecord) -> tuple[str, int]:
    """Word and syslog priority."""
    return next((word, priority) for least, word, priority in _LEVELS if record.levelno >= least)


class _Lines(logging.Formatter):
    """2026-11-22T12:00:00.123Z INFO  worker ibs  order  text"""

    def __init__(self, component: str, strategy: str) -> None:
        super().__init__()
        self._who = f"{component} {strategy}".rstrip()

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging calls it so
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        about = "".join(f"  {name}={value}" for name in ("symbol", "intent") if (value := _field(record, name)))
        kind = _field(record, "event") or record.name
        return f"{when}.{int(record.msecs):03d}Z {_level(record)[0]:<5} {self._who}  {kind}  {record.message}{about}"

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def _field(record: logging.LogRecord, name: str) -> str:
    return str(getattr(record, f"rooney_{name}", ""))


def _lost(record: logging.LogRecord) -> None:
    """Say that a record could not be written without showing its arguments, as logging's own report would."""
    what = sys.exc_info()[0]
    try:
        sys.stderr.write(f"log record of {record.name} line {record.lineno} lost: {what.__name__ if what else '?'}\n")
    except (OSError, ValueError):
        return  # stderr is gone too: there is nowhere left to say it


class LineHandler(logging.StreamHandler[TextIO]):
    """Readable lines."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging calls it so
        _lost(record)


class JournalHandler(logging.Handler):
    """The journal's native protocol: one datagram per record; a memfd carries what is too large for one.

    lost: records that a journal which hangs did not take; the ledger, not the log, is the record of orders
    """

    def __init__(self, component: str, strategy: str, path: str) -> None:
        super().__init__()
        self._path = path
        self._fixed = {
            "SYSLOG_IDENTIFIER": "-".join(filter(None, ("rooney", component, strategy))),  # the units' own
            "ROONEY_COMPONENT": component,
            "ROONEY_STRATEGY": strategy,
        }
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0.05)  # a journal that hangs must not hang an order
        self.lost = 0
        self._text = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send(self._datagram(record))
        except TimeoutError:  # stderr, which leads to the same journal, would hang without a limit
            self.lost += 1
        except OSError:  # the journal restarts: its stream, behind stderr, may still take the line
            self._to_stderr(record)
        except Exception:  # noqa: BLE001 - a record that cannot be formatted is reported, it must not end the caller
            self.handleError(record)

    def _datagram(self, record: logging.LogRecord) -> bytes:
        kind = _field(record, "event")
        fields = self._fixed | {
            "MESSAGE": self._text.format(record),
            "PRIORITY": str(_level(record)[1]),
            "ROONEY_EVENT": kind,
            "ROONEY_SYMBOL": _field(record, "symbol"),
            "ROONEY_INTENT": _field(record, "intent"),
            "MESSAGE_ID": message_id(kind) if kind else "",
        }
        return b"".join(_encode(name, redact(value)) for name, value in fields.items() if value)

    def _send(self, datagram: bytes) -> None:
        try:
            self._socket.sendto(datagram, self._path)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            with open(os.memfd_create("rooney-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb", buffering=0) as file:
                file.write(datagram)
                seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
                fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)  # the journal takes only what cannot change any more
                descriptor = array.array("i", [file.fileno()])  # socket.send_fds of 3.11 forgets its address
                self._socket.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)], 0, self._path)

    def _to_stderr(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"<{_level(record)[1]}>{self.format(record)}\n")
        except (OSError, ValueError):
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging calls it so
        _lost(record)

    def close(self) -> None:
        self._socket.close()
        super().close()


def _encode(name: str, value: str) -> bytes:
    """A field; a value with a newline is preceded by its length, 64 bits little endian."""
    data = value.encode("utf-8", "replace")
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
