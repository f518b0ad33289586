"""Broker accounts, each the webhook that reaches it, and the rule that an account belongs to one strategy only.

Two strategies on one account would close each other's positions, so sharing is refused twice: `shared` compares what
an operator can see, `AccountLock` is held by every running worker.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping

import msgspec

from rooney.config.webhook_url import account_fault, normal_form
from rooney.errors import ConfigError
from rooney.secrets import Secret

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Account(msgspec.Struct, frozen=True):
    """A checked webhook; `path` is the configuration key it came from."""

    path: str
    url: Secret

    @property
    def digest(self) -> str:
        """sha256 of the URL's normal form: the account's name where the URL must not be seen."""
        return hashlib.sha256(normal_form(self.url.reveal()).encode()).hexdigest()

    @property
    def hint(self) -> str:
        """As much of the URL as may be shown: the last four characters of its uuid."""
        return _hint(self.url.reveal())


def _hint(url: str) -> str:
    match = _UUID.search(url)
    return f"…{match.group()[-4:]}" if match else "…"


def open_account(path: str, url: Secret) -> Account:
    """The account behind `url`. Raises ConfigError, which shows no more of it than the hint."""
    if fault := account_fault(url.reveal()):
        raise ConfigError(
            f"{path}: the webhook URL {_hint(url.reveal())} cannot be used: {fault}; nothing is sent to it"
        )
    return Account(path, url)


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
