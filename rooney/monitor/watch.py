"""`rooney watch`: look once, say what needs a person, remember what was said."""

import contextlib
import os
from pathlib import Path

import msgspec

from rooney.bus.reader import Reader
from rooney.config.loader import Config
from rooney.errors import BusError, ConfigError, LedgerError, MessageError
from rooney.ledger.reader import Record, read_record
from rooney.market.instruments import group_of
from rooney.market.messages import HubStatus
from rooney.monitor.conditions import Seen
from rooney.paths import STATE_DIRECTORY, ledger_path

SENDER = Path("/var/lib/rooney-alert-sender")
REPEAT_NS = 4 * 3600 * 1_000_000_000


def look(config: Config, state: Path = STATE_DIRECTORY) -> Seen:
    """The hub's status and every enabled strategy's ledger."""
    block = config.data_hub()
    why, hub = "", None
    bus = Reader.to(block)
    with contextlib.closing(bus):
        try:
            hub = _status(bus)
        except BusError as error:
            why = str(error)
    records: dict[str, Record | LedgerError | None] = {}
    for name in config.names:
        try:
            if config.strategy(name).settings.enabled:
                records[name] = read_record(ledger_path(state, name))
        except LedgerError as error:
            records[name] = error
        except ConfigError:  # its worker refuses to start and says so
            records[name] = None
    return Seen(why, hub, records, frozenset(group_of(root) for root in config.file.instruments))


def _status(bus: Reader) -> HubStatus | None:
    with contextlib.suppress(MessageError):
        return bus.status()
    return None


def news(found: dict[str, str], said: dict[str, int], now_ns: int) -> tuple[dict[str, str], dict[str, int]]:
    """Pure: what to say of what was found, and what to remember (kind → when it was last said, UTC ns).

    One trouble is said when it begins and every four hours while it lasts.
    """
    fresh = {kind: line for kind, line in found.items() if now_ns - said.get(kind, 0) >= REPEAT_NS}
    return fresh, {kind: now_ns if kind in fresh else said[kind] for kind in found}


def read_said(path: Path) -> dict[str, int]:
    """What was said before; nothing where the file is missing or torn, so that it is rather said twice."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except (OSError, msgspec.DecodeError):
        return {}


def write_said(path: Path, said: dict[str, int]) -> None:
    """Remember, whole or not at all."""
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(msgspec.json.encode(said))
    os.replace(unfinished, path)
