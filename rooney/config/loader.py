"""`config.multi_alpha.yml` → what each process needs of it. Checked as a whole, and resolved only part by part.

`load_config` refuses a wrong file before anything starts. `${NAME}` stays as it is until a process asks for its own
part: the hub needs no webhook, a worker needs no data key and no other strategy's webhook.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from rooney.config.account_sharing import Account, open_account
from rooney.config.schema import Alerts, Dashboard, Databento, DataHub, File, InstrumentBlock, Override, StrategyBlock
from rooney.config.settings import HubConfig, Instrument, StrategyConfig, WorkerConfig
from rooney.config.tradable import tradable_instruments, traded_instruments
from rooney.config.validation import REFUSED, Reader, Tree, join, override, parse_yaml, unknown, wrong
from rooney.config.webhook_url import webhook_fault
from rooney.errors import BundleError, ConfigError
from rooney.files import read_text
from rooney.models.bundle import Bundle, promoted, read_bundle
from rooney.secrets import Secret, credentials_directory, expand, read_credential

B = TypeVar("B", bound=msgspec.Struct)

_NAME = re.compile(r"[a-z0-9_]+")
_ROOT = re.compile(r"[A-Z0-9]{2,3}")
_NAMED = ("instruments", "strategies")  # sections whose second level is a name of the user's choice


class Config:
    """A checked file. Each method resolves one process's part, or raises ConfigError if that part cannot be used."""

    def __init__(self, path: Path, tree: Tree, environ: Mapping[str, str]) -> None:
        self.path = path
        self._tree = tree
        self._environ = environ
        reader = Reader(environ=None)
        self.file = reader.struct("", tree, File)
        _check_names(self.file)
        # What depends on a variable is checked again, completely, by the method that resolves it.
        if reader.deferred.isdisjoint({"data_hub.feed_dead_s", "data_hub.heartbeat_interval_s"}):
            _check_hub(self.file.data_hub)
        if not any(path.startswith("instruments.") for path in reader.deferred):
            instruments = tradable_instruments(self.file.instruments)
            for name, block in self.file.strategies.items():
                deferred = any(path.startswith(f"strategies.{name}.") for path in reader.deferred)
                if not deferred and (block.instruments or block.bundle is None):
                    traded_instruments(name, block, instruments)

    @property
    def names(self) -> tuple[str, ...]:
        """Every strategy of the file, enabled or not, in its order."""
        return tuple(self.file.strategies)

    def data_hub(self, credentials: Path | None = None) -> DataHub:
        """Place of Redis and how much it holds. credentials: the directory with `redis_password`, if it needs one."""
        block = self._resolve("data_hub", DataHub)
        _check_hub(block)
        found = self._secret("data_hub.redis_password", block.redis_password, "redis_password", credentials)
        return msgspec.structs.replace(block, redis_password=found)

    def instruments(self) -> dict[str, Instrument]:
        """Every instrument, in the file's order."""
        tree = self._tree["instruments"]
        reader = Reader(self._environ)
        return tradable_instruments(
            {root: reader.struct(f"instruments.{root}", tree[root], InstrumentBlock) for root in tree}
        )

    def dashboard(self) -> Dashboard:
        """The dashboard's block, its list of strategies filled in."""
        block = self._resolve("dashboard", Dashboard)
        _check_dashboard(block, self.names)
        return msgspec.structs.replace(block, strategies=block.strategies or self.names)

    def alerts(self) -> Alerts:
        """The block of the alerts; its targets by `alert_target`."""
        return self._resolve("alerts", Alerts)

    def alert_target(self, scope: str, key: str, credentials: Path | None = None) -> Secret | None:
        """The webhook of a strategy, or the common one (scope empty), or None; a credential comes before the file.

        key: slack, discord, apprise or ping; credentials: the directory that holds alert_slack, alert_ibs.slack …
        """
        path = f"strategies.{scope}.{key}" if scope else f"alerts.{key}"
        block = self.file.strategies[scope] if scope else self.file.alerts
        name = f"alert_{scope}.{key}" if scope else f"alert_{key}"
        found = self._secret(path, getattr(block, key), name, credentials)
        if found is not None and key != "apprise" and (fault := webhook_fault(found.reveal())):
            raise ConfigError(f"{path}: the webhook URL cannot be used: {fault}; nothing is sent to it")
        return found

    def hub(self, credentials: Path | None = None) -> HubConfig:
        """The hub's part. credentials: the directory with `databento_api_key`; default: the one systemd made."""
        block = self._resolve("databento", Databento)
        key = self._secret("databento.api_key", block.api_key, "databento_api_key", credentials)
        return HubConfig(msgspec.structs.replace(block, api_key=key), self.data_hub(credentials), self.instruments())

    def strategy(self, name: str, bundle: Bundle | None = None) -> StrategyConfig:
        """Settings of a strategy without its account, enabled or not. Raises BundleError for a bundle it cannot use.

        bundle: in place of the one its block names
        """
        block = self.block(name)
        if block.bundle is None and bundle is None:
            return self._strategy(name, block)
        if block.models_path is not None:
            raise ConfigError(
                f"strategies.{name}.models_path: models come with the bundle; take one of the two keys out; {REFUSED}"
            )
        found = bundle or read_bundle(self.path.parent / (block.bundle or ""))
        wanted = Path(block.strategy or name).stem
        if found.manifest.strategy != wanted:
            raise BundleError(f"{found.path}: is a bundle of {found.manifest.strategy}, not of {wanted}; not used")
        if not block.instruments:
            block = msgspec.structs.replace(block, instruments=found.manifest.instruments)
        return self._strategy(name, block, found)

    def wanted(self, name: str) -> StrategyConfig:
        """Settings of a strategy as its next bundle is to be: the block's instruments and parameters.

        Where it has none, those of the bundle in force.
        """
        block = self.block(name)
        bundle = promoted(self.path.parent / block.bundle) if block.bundle is not None else None
        return self._strategy(name, block if bundle is None else _filled(block, bundle))

    def _strategy(self, name: str, block: StrategyBlock, bundle: Bundle | None = None) -> StrategyConfig:
        models = self.path.parent / block.models_path if block.models_path else None
        instruments = self.instruments()
        return StrategyConfig(
            name=name,
            strategy=block.strategy or name,
            settings=block,
            instruments=instruments,
            traded=traded_instruments(name, block, instruments),
            models_path=bundle.path if bundle is not None else models,
            bundle=bundle,
        )

    def worker(self, name: str, credentials: Path | None = None) -> WorkerConfig:
        """A worker's part; refuses a strategy that must not trade. credentials: as for `account`."""
        strategy = self.strategy(name)
        settings = strategy.settings
        if not settings.enabled:
            raise ConfigError(f"{strategy.path}.enabled: {name} is switched off in {self.path.name}; not starting")
        if settings.fill != "next_open":
            raise ConfigError(
                f"{strategy.path}.fill: expected next_open, got {settings.fill}; a worker cannot trade at a close that "
                "is over, so that fill exists in research only: not starting"
            )
        if settings.stop_fill == "inside" and not settings.broker_stop:
            raise ConfigError(
                f"{strategy.path}.stop_fill: expected close, got inside without broker_stop: true; a worker sees a bar "
                "only after it closed, so that fill exists in research only: not starting"
            )
        if settings.mode == "live" and strategy.bundle is not None and strategy.bundle.manifest.despite:
            raise BundleError(
                f"{strategy.bundle.path}: was promoted although it missed gates ({strategy.bundle.manifest.despite}): "
                "it may trade on paper and dry, not in mode live. Not starting"
            )
        return WorkerConfig(strategy, self.data_hub(credentials), self.account(name, credentials))

    def account(self, name: str, credentials: Path | None = None) -> Account | None:
        """The account a strategy trades in its mode; None in mode dry.

        mode live uses broker_account. mode paper uses paper_account, and broker_account only if there is no
        paper_account at all. Of either, a credential comes before the file.

        credentials: a directory with files `{name}.broker_account`, as an operator keeps them for all strategies;
        default: the directory systemd made for this one, with a file `broker_account`
        """
        block = self.block(name)
        prefix = f"{name}." if credentials else ""
        keys = {"dry": (), "live": ("broker_account",), "paper": ("paper_account", "broker_account")}[block.mode]
        for key in keys:
            path = f"strategies.{name}.{key}"
            if found := self._secret(path, getattr(block, key), prefix + key, credentials):
                return open_account(path, found)
        if not keys:
            return None
        raise ConfigError(
            f"strategies.{name}.broker_account: mode {block.mode} needs a webhook, and there is neither a credential "
            f"{prefix}{' nor '.join(keys)} nor such a key; give one, or use mode: dry. Not starting"
        )

    def block(self, name: str) -> StrategyBlock:
        """A strategy's block, its variables resolved; no other file is read."""
        if name not in self.names:
            raise unknown(join("strategies", name), "strategy", name, self.names)
        return self._resolve(f"strategies.{name}", StrategyBlock)

    def _secret(self, path: str, written: Secret | None, name: str, credentials: Path | None) -> Secret | None:
        """The credential of that name, else what is written in the file, its variables resolved; None for neither."""
        found = read_credential(path, credentials or credentials_directory(self._environ), name)
        if found is None and written is not None:
            return Secret(expand(path, written.reveal(), self._environ))
        return found

    def _resolve(self, path: str, cls: type[B]) -> B:
        tree: Any = self._tree
        for key in path.split("."):
            tree = (tree or {}).get(key)
        return Reader(self._environ).struct(path, tree, cls)


def load_config(path: Path | str, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Config:
    """Read, override and check a configuration file.

    overrides: `strategies.ibs.max_positions=3`, values as YAML
    environ:   where `${NAME}` is looked up when used; default: this process's environment
    """
    path = Path(path)
    tree = parse_yaml(str(path), read_text(path, what="the configuration", then="not starting"))
    if not isinstance(tree, dict):
        raise wrong(str(path), "the sections databento, data_hub, instruments, strategies, dashboard", tree)
    for assignment in overrides:
        override(tree, assignment, named=_NAMED)
    return Config(path, tree, os.environ if environ is None else environ)


# -- what one key alone cannot say --------------------------------------------------------------------------------


def _check_names(file: File) -> None:
    if not file.instruments:
        raise ConfigError(f"instruments: expected at least one instrument, got none; {REFUSED}")
    for root in file.instruments:
        if not _ROOT.fullmatch(root):
            raise wrong(join("instruments", root), "a root such as ES", root)
    for name in file.strategies:
        if not _NAME.fullmatch(name):
            raise wrong(join("strategies", name), "a name of a-z, 0-9 and _", name)
    _check_dashboard(file.dashboard, file.strategies)


def _check_dashboard(block: Dashboard, names: Iterable[str]) -> None:
    for index, name in enumerate(block.strategies):
        if name not in names:
            raise unknown(f"dashboard.strategies[{index}]", "strategy", name, names)


def _check_hub(block: DataHub) -> None:
    if block.redis_sentinels and (block.redis_socket or not block.redis_service):
        what = "no redis_socket beside it" if block.redis_socket else "redis_service, the name they know the primary by"
        raise ConfigError(f"data_hub.redis_sentinels: expected {what}; {REFUSED}")
    if block.redis_ca and not block.redis_tls:
        raise ConfigError(f"data_hub.redis_ca: expected redis_tls: true with it; {REFUSED}")
    if block.feed_dead_s <= block.heartbeat_interval_s:
        raise wrong(
            "data_hub.feed_dead_s",
            f"more than heartbeat_interval_s ({block.heartbeat_interval_s}), or a quiet market counts as a dead feed",
            block.feed_dead_s,
        )


def _filled(block: StrategyBlock, bundle: Bundle) -> StrategyBlock:
    """The block, and where it says nothing, the bundle."""
    given, said = block.strategy_params, bundle.manifest
    instruments = block.instruments or said.instruments
    overrides = dict(block.overrides)
    for root, params in said.overrides.items():
        if root in instruments:
            changed = overrides.get(root, Override())
            own = {key: value for key, value in params.items() if key not in given} | changed.strategy_params
            overrides[root] = msgspec.structs.replace(changed, strategy_params=own)
    return msgspec.structs.replace(
        block, instruments=instruments, strategy_params=said.strategy_params | given, overrides=overrides
    )
