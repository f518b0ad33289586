"""Channels of troubles: each strategy's own webhooks, the common ones, and others when one no longer works. Pure.

A strategy's troubles go to its own channels, or to the common ones if it has none; critical ones go to both. What has
no channel that works goes to all that do: a revoked webhook must not swallow an alarm.
"""

import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from rooney.alerts.incidents import Trouble
from rooney.alerts.services import SERVICES, Service, has_apprise
from rooney.config.loader import Config
from rooney.errors import ConfigError
from rooney.secrets import Secret

REPORT = "report"


class Channel(msgspec.Struct, frozen=True):
    """A webhook. key: its name in the book, made from the URL; label: for people."""

    key: str
    label: str
    service: Service
    url: Secret


class Routes(msgspec.Struct, frozen=True):
    """Channels by key, and the keys of each strategy's own and of the common ones."""

    channels: Mapping[str, Channel]
    own: Mapping[str, tuple[str, ...]]
    common: tuple[str, ...]

    def to(self, trouble: Trouble, disabled: Collection[str]) -> tuple[str, ...]:
        """Keys of the channels a trouble is told to."""
        live = [key for key in self.channels if key not in disabled]
        own = [key for key in self.own.get(trouble.scope, ()) if key in live]
        common = [key for key in self.common if key in live]
        if trouble.kind == REPORT and trouble.scope:  # the common report has its line already
            return tuple(own)
        if own and trouble.level >= logging.CRITICAL:
            return tuple(dict.fromkeys([*own, *common]))
        return tuple(own or common or live)


def routes(config: Config, credentials: Path | None) -> tuple[Routes, list[str]]:
    """Channels of the configuration and the credentials, and why some of it leads nowhere; never a URL."""
    channels: dict[str, Channel] = {}
    lacks: list[str] = []

    def found(scope: str) -> tuple[str, ...]:
        keys = []
        for service in SERVICES:
            path = f"strategies.{scope}.{service}" if scope else f"alerts.{service}"
            try:
                url = config.alert_target(scope, service, credentials)
                if url is None:
                    continue
                if service == "apprise" and not has_apprise():
                    raise ConfigError(f"{path}: apprise is not installed: install rooney[apprise]; not used")
                channel = _channel(f"{service} of {scope or 'all'}", service, url)
            except ConfigError as error:
                lacks.append(str(error))
                continue
            keys.append(channel.key)
            channels.setdefault(channel.key, channel)
        return tuple(keys)

    common = found("")
    own = {name: keys for name in config.names if (keys := found(name))}
    return Routes(channels, own, common), lacks


def _channel(label: str, service: Service, url: Secret) -> Channel:
    return Channel(hashlib.sha256(f"{service} {url.reveal()}".encode()).hexdigest()[:16], label, service, url)


def recipients(routes_: Routes, troubles: Sequence[Trouble], disabled: Collection[str]) -> dict[int, tuple[str, ...]]:
    """Trouble → channels. Few kinds of troubles, however many there are."""
    known: dict[tuple[str, bool, bool], tuple[str, ...]] = {}
    result = {}
    for one in troubles:
        kind = (one.scope, one.level >= logging.CRITICAL, one.kind == REPORT)
        if kind not in known:
            known[kind] = routes_.to(one, disabled)
        result[one.id] = known[kind]
    return result
