"""The store of credentials, root's alone: what is in it, and how something gets in. Never shows one.

/etc/rooney/credentials/
    databento_api_key        the hub's
    NAME.broker_account      a worker's, NAME.paper_account beside it if it has one
    alert/slack, discord     where failures are told, and alerts; alert/apprise, alert/ping: for alerts only
    alert/NAME.slack …       where one strategy's alerts are told
    *.cred                   the same, encrypted by systemd-creds with this machine's key

What a unit loads by itself are the plain files of its own name. Anything else (a paper account, an encrypted file) is
loaded by a drop-in that is written here and follows the store.
"""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from rooney.config.account_sharing import open_account, sharing_error
from rooney.config.webhook_url import webhook_fault
from rooney.errors import ConfigError
from rooney.files import MIB, read_bytes, write_whole
from rooney.paths import CREDENTIAL_STORE
from rooney.secrets import Secret
from rooney.systemd import unit_name

UNITS = Path("/etc/systemd/system")
DROP_IN = "40-credentials.conf"
ENCRYPTED = ".cred"
_NAME = re.compile(
    r"databento_api_key|(?P<strategy>[a-z0-9_]+)\.(?P<key>broker_account|paper_account)"
    r"|alert/([a-z0-9_]+\.)?(slack|discord|apprise)|alert/ping"
)


class Item(msgspec.Struct, frozen=True):
    """Credential by name: databento_api_key, ibs.broker_account, alert/slack …"""

    name: str
    encrypted: bool
    changed_s: float

    @property
    def strategy(self) -> str:
        """Whose it is; empty for the hub's and the alerts'."""
        match = _NAME.fullmatch(self.name)
        return (match["strategy"] or "") if match else ""

    @property
    def key(self) -> str:
        """The name under which the unit sees it."""
        return self.name.rpartition(".")[2].replace("/", "_")

    @property
    def unit(self) -> str:
        """The unit that loads it."""
        if self.name == "databento_api_key":
            return "rooney-hub.service"
        return unit_name(self.strategy) if self.strategy else "rooney-alert-sender.service"


class Store:
    """The folder, and the units' drop-ins that go with it."""

    def __init__(self, directory: Path = CREDENTIAL_STORE, units: Path = UNITS) -> None:
        self.directory = directory
        self.units = units

    def items(self) -> list[Item]:
        """All there are, by name."""
        try:
            files = [path for path in self.directory.rglob("*") if path.is_file()]
        except OSError as error:
            raise ConfigError(f"{self.directory}: {error.strerror}; run this as root") from None
        found = []
        for path in files:
            name = str(path.relative_to(self.directory))
            if _NAME.fullmatch(name.removesuffix(ENCRYPTED)):
                found.append(Item(name.removesuffix(ENCRYPTED), name.endswith(ENCRYPTED), path.stat().st_mtime))
        return sorted(found, key=lambda item: item.name)

    def item(self, name: str) -> Item | None:
        """The one of that name. Raises ConfigError for a name that no unit would load."""
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"credentials.{name}: expected databento_api_key, NAME.broker_account, NAME.paper_account, "
                "alert/slack, alert/discord, alert/apprise, alert/NAME.slack … or alert/ping; nothing was changed"
            )
        return next((item for item in self.items() if item.name == name), None)

    def put(self, name: str, secret: Secret, *, encrypt: bool) -> Item:
        """Create or replace one. Raises ConfigError and changes nothing if it is unsound or another strategy's."""
        self.item(name)
        self._check(name, secret)
        if encrypt and name.startswith("alert/"):
            raise ConfigError(f"credentials.{name}: alerts are kept plain (root only); nothing was changed")
        plain = self.directory / name
        plain.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = secret.reveal().encode() + b"\n"
        kept, dropped = (Path(f"{plain}{ENCRYPTED}"), plain) if encrypt else (plain, Path(f"{plain}{ENCRYPTED}"))
        if encrypt:
            text = _creds("encrypt", Item(name, True, 0.0).key, text)
        write_whole(kept, text, mode=0o600, synced=True)
        dropped.unlink(missing_ok=True)
        item = Item(name, encrypt, kept.stat().st_mtime)
        self._follow(item)
        return item

    def encrypt(self, name: str) -> Item:
        """Replace a plain one by its encrypted form."""
        item = self.item(name)
        if item is None or item.encrypted:
            raise ConfigError(f"credentials.{name}: {'is encrypted already' if item else 'there is none'}")
        return self.put(name, self._read(item), encrypt=True)

    def remove(self, name: str) -> Item:
        """Take one away."""
        item = self.item(name)
        if item is None:
            raise ConfigError(f"credentials.{name}: there is none")
        (self.directory / (name + (ENCRYPTED if item.encrypted else ""))).unlink()
        self._follow(item)
        return item

    @contextmanager
    def readable(self) -> Iterator[Path]:
        """A folder with all of them in plain, in memory, for `rooney check` to compare; gone afterwards."""
        with TemporaryDirectory(prefix="rooney-", dir="/run") as folder:
            for item in self.items():
                if item.strategy or item.name == "databento_api_key":
                    path = Path(folder) / item.name
                    path.touch(mode=0o600)
                    path.write_text(self._read(item).reveal())
            yield Path(folder)

    def _read(self, item: Item) -> Secret:
        path = self.directory / (item.name + (ENCRYPTED if item.encrypted else ""))
        data = read_bytes(path, MIB)
        if item.encrypted:
            data = _creds("decrypt", item.key, data)
        return Secret(data.decode("utf-8", "replace").strip())

    def _check(self, name: str, secret: Secret) -> None:
        path, text = f"credentials.{name}", secret.reveal()
        if not text or not text.isprintable():
            raise ConfigError(
                f"{path}: expected one line of text, got {'none' if not text else 'more'}; nothing was changed"
            )
        new = Item(name, False, 0.0)
        if name.startswith("alert/") and not name.endswith("apprise") and (fault := webhook_fault(text)):
            raise ConfigError(f"{path}: the webhook URL cannot be used: {fault}; nothing was changed")
        if not new.strategy:
            return
        account = open_account(path, secret)
        for other in self.items():
            if other.strategy and other.strategy != new.strategy:
                theirs = self._read(other)
                if open_account(f"credentials.{other.name}", theirs).digest == account.digest:
                    raise sharing_error((new.strategy, other.strategy))

    def _follow(self, item: Item) -> None:
        """Make the unit's drop-in say what the store holds."""
        path = self.units / f"{item.unit}.d" / DROP_IN
        mine = [other for other in self.items() if other.unit == item.unit]
        text = drop_in(self.directory, mine)
        if text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif path.exists():
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()


def drop_in(directory: Path, items: list[Item]) -> str:
    """Pure: what a unit must be told to load `items`; nothing where its own lines do."""
    lines = [
        f"LoadCredential{'Encrypted' if item.encrypted else ''}={item.key}:{directory / item.name}"
        + (ENCRYPTED if item.encrypted else "")
        for item in items
        if item.encrypted or item.key == "paper_account"
    ]
    if not lines:
        return ""
    if not any(item.key == "broker_account" for item in items) and any(item.strategy for item in items):
        lines.insert(0, "LoadCredential=")  # only a paper account: the unit's own line would stop the start
    return "\n".join(
        ["# Written by `rooney credentials`; it follows /etc/rooney/credentials.", "[Service]", *lines, ""]
    )


def _creds(verb: str, key: str, data: bytes) -> bytes:
    """systemd-creds, by pipes alone: no argument, file or error ever holds the text."""
    argv = ["systemd-creds", verb, f"--name={key}", "-", "-"]
    try:
        done = subprocess.run(argv, input=data, capture_output=True, timeout=30, check=False)
    except OSError as error:
        raise ConfigError(f"credentials: systemd-creds: {error.strerror}; nothing was changed") from None
    if done.returncode != 0:
        why = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise ConfigError(f"credentials: systemd-creds {verb} failed: {why[0]}; nothing was changed")
    return done.stdout
