"""`rooney watch`: look once, say what needs a person, remember what was said."""

import contextlib
from pathlib import Path

import msgspec

from rooney.bus.reader import Reader
from rooney.config.loader import Config
from rooney.errors import BusError, ConfigError, FileError, LedgerError, MessageError
from rooney.files import read_json, write_whole
from rooney.ledger.snapshot import LedgerView, Snapshot
from rooney.market.instruments import group_of
from rooney.market.messages import HubStatus
from rooney.monitor.system import Seen
from rooney.paths import STATE_DIRECTORY, ledger_path

SENDER = Path("/var/lib/rooney-alert-sender")
REPEAT_NS = 4 * 3600 * 1_000_000_000


def look(config: Config, state: Path = STATE_DIRECTORY) -> Seen:
    """The hub's status and every enabled strategy's ledger."""
    block = config.data_hub()
    why, hub = "", None
    bus = Reader(block)
    with contextlib.closing(bus):
        try:
            hub = _status(bus)
        except BusError as error:
            why = str(error)
    ledgers: dict[str, Snapshot | LedgerError | None] = {}
    for name in config.names:
        try:
            if config.strategy(name).settings.enabled:
                ledgers[name] = LedgerView(ledger_path(state, name)).look()
        except LedgerError as error:
            ledgers[name] = error
        except ConfigError:  # its worker refuses to start and says so
            ledgers[name] = None
    return Seen(why, hub, ledgers, frozenset(group_of(root) for root in config.file.instruments))


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
    """Kinds said before; none where the file is missing or torn, so that it is rather said twice."""
    try:
        return read_json(path, dict[str, int])
    except FileError:
        return {}


def write_said(path: Path, said: dict[str, int]) -> None:
    """Remember, whole or not at all."""
    write_whole(path, msgspec.json.encode(said))
