"""A broker account is the webhook that reaches it: is the URL sound, and is it used by one strategy only?

Two strategies on one account would close each other's positions, so sharing is refused twice: `shared` compares what
an operator can see, `AccountLock` is held by every running worker.
"""

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, urlsplit

import msgspec

from rooney.errors import ConfigError
from rooney.secrets import Secret

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


class Account(msgspec.Struct, frozen=True):
    """One checked webhook; `path` is the configuration key it came from."""

    path: str
    url: Secret

    @property
    def digest(self) -> str:
        """sha256 of the URL: the account's name where the URL must not be seen."""
        parts = urlsplit(self.url.reveal())
        same = parts._replace(scheme=parts.scheme.lower(), netloc=parts.netloc.lower(), path=parts.path.rstrip("/"))
        return hashlib.sha256(same.geturl().encode()).hexdigest()

    @property
    def hint(self) -> str:
        """As much of the URL as may be shown: the last four characters of its uuid."""
        return _hint(self.url.reveal())


def _hint(url: str) -> str:
    match = _UUID.search(url)
    return f"…{match.group()[-4:]}" if match else "…"


def open_account(path: str, url: Secret) -> Account:
    """The account behind `url`, which must be https; plain http is for stand-ins on this machine."""
    reason = _unsound(url.reveal())
    if reason:
        raise ConfigError(
            f"{path}: the webhook URL {_hint(url.reveal())} cannot be used: {reason}; nothing is sent to it"
        )
    return Account(path, url)


def _unsound(url: str) -> str:
    """Why `url` is no webhook, or nothing."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "it contains a space or a character no URL has"
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        loopback = _is_loopback(parts)
        _ = parts.port  # computed on access: raises for a bad one
    except ValueError:  # its text would quote the URL
        return "it is no URL"
    if parts.scheme not in ("https", "http"):
        return "it does not begin with https://"
    if not _HOST.fullmatch(host) and ":" not in host:
        return "it has no host name"
    if parts.scheme == "http" and not loopback:
        return "it begins with http://, which is allowed for this machine only"
    if "@" in parts.netloc or parts.fragment:
        return "it has a user name or a # part, which a webhook has not"
    if not parts.path.strip("/"):
        return "it ends after the host: the part that names the account is missing"
    return ""


def _is_loopback(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, not an address
        return False


def shared(accounts: Mapping[str, Account]) -> list[tuple[str, ...]]:
    """Names of strategies that would trade the same account, one tuple per account."""
    users: dict[str, list[str]] = {}
    for name, account in accounts.items():
        users.setdefault(account.digest, []).append(name)
    return [tuple(names) for names in users.values() if len(names) > 1]


def sharing_error(names: Iterable[str]) -> ConfigError:
    """The refusal for one tuple of `shared`."""
    first, *others = names
    them = " and ".join(repr(name) for name in (first, *others))
    return ConfigError(
        f"strategies.{first}.broker_account: {them} use the same webhook; one account can hold the positions of one "
        "strategy only: give each its own, none of them should be started"
    )
