"""`config.multi_alpha.yml` → frozen structs. The file is checked as a whole, and resolved only part by part.

`load_config` refuses a wrong file before anything starts. `${NAME}` stays as it is until a process asks for its own
part: the hub needs no webhook, a worker needs no data key and no other strategy's webhook.
"""

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from rooney.accounts import Account, open_account
from rooney.bundle import Bundle, promoted, read_bundle
from rooney.errors import BundleError, ConfigError
from rooney.instruments import MONTH_CODES, PRODUCTS, Product
from rooney.schema import REFUSED, Reader, Scalar, Tree, join, override, parse_yaml, unknown, wrong
from rooney.secrets import Secret, credentials_directory, expand, read_credential

Count = Annotated[int, Meta(ge=1)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Text = Annotated[str, Meta(min_length=1)]
Host = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]+\Z", description="a host name or address")]
HostPort = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_.:-]+:[1-9]\d{0,4}\Z", description="a host and port such as sentinel1:26379")
]
Root = Annotated[str, Meta(pattern=r"^[A-Z0-9]{2,3}\Z", description="a root such as ES")]
TimeSpan = Annotated[
    str,
    Meta(
        pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d\Z",
        description='Chicago times such as "08:25-08:35"',
    ),
]
TimeOfDay = Annotated[
    str, Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|off)\Z", description='a Chicago time such as "15:00", or off')
]
Declared = Mapping[str, tuple[Scalar, float | None, float | None]]  # name → default, low, high

B = TypeVar("B", bound=msgspec.Struct)

_NAME = re.compile(r"[a-z0-9_]+")
_ROOT = re.compile(r"[A-Z0-9]{2,3}")
_NAMED = ("instruments", "strategies")  # sections whose second level is a name of the user's choice


class _Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One block of the file."""


class Databento(_Block, frozen=True):
    """Where trades come from. gateway, port: a local stand-in for the live gateway, in tests and the demo."""

    api_key: Secret = Secret("${DATABENTO_API_KEY}")
    dataset: Literal["GLBX.MDP3"] = "GLBX.MDP3"
    gateway: Host | None = None
    port: Port | None = None


class DataHub(_Block, frozen=True):
    """Redis, when a minute closes, and how much is kept.

    redis_socket:       path of a unix socket; wins over redis_host and redis_port
    redis_username, redis_password: of Redis' own users; the password also as the credential redis_password
    redis_tls, redis_ca: an encrypted connection, and the certificates its server's must be signed by
    redis_sentinels, redis_service: `host:port` of sentinels; they name the primary in place of redis_host
    publish_channels:   ["market"]: bars also go out as pub/sub messages; []: the tape and the histories only
    heartbeat_file, heartbeat_interval: the old heartbeat file; read and ignored, systemd's watchdog does that work
    close_after_ms:     a minute closes with the first record stamped this long after its end
    heartbeat_interval_s: asked of the gateway, which allows 5 to 1800
    feed_dead_s:        no record and no heartbeat for so long, in session: the feed is dead
    gap_limit_s:        a gap not replayed after so long is given up
    heal_limit_days:    a gap that begins longer ago is not healed from the historical API
    heal_limit_usd:     neither is one whose trades cost more; asked for before anything is bought
    ring_minutes:       minutes kept in memory while Redis is away
    """

    redis_host: Host = "localhost"
    redis_port: Port = 6379
    redis_socket: Text | None = None
    redis_username: Text | None = None
    redis_password: Secret | None = None
    redis_tls: bool = False
    redis_ca: Text | None = None
    redis_sentinels: tuple[HostPort, ...] = ()
    redis_service: Text | None = None
    publish_channels: tuple[Literal["market"], ...] = ("market",)
    heartbeat_file: Text | None = None
    heartbeat_interval: Positive | None = None
    close_after_ms: Annotated[int, Meta(ge=0, le=10_000)] = 50
    heartbeat_interval_s: Annotated[int, Meta(ge=5, le=1800)] = 5
    feed_dead_s: Positive = 15.0
    gap_limit_s: Positive = 300.0
    heal_limit_days: NotNegative = 7.0
    heal_limit_usd: NotNegative = 20.0
    ring_minutes: Count = 1440


class InstrumentBlock(_Block, frozen=True):
    """One instrument as written; what is left out comes from `rooney.instruments`."""

    databento_product_id: Text | None = None
    tradovate_symbol: Text | None = None
    size: Count = 1
    commission: NotNegative | None = None
    multiplier: Positive | None = None
    margin: Positive | None = None
    tick_size: Positive | None = None
    slippage_ticks: NotNegative = 1.0
    reference: bool = False


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument, complete.

    size:       contracts per entry
    commission: USD per contract, round turn
    multiplier: USD per 1.0 of price
    margin:     USD per contract
    tick_size:  in price units
    slippage_ticks: assumed per side
    reference:  data for features, never traded
    """

    root: str
    databento_product_id: str
    tradovate_symbol: str
    size: int
    commission: float
    multiplier: float
    margin: float
    tick_size: float
    slippage_ticks: float
    reference: bool


class Override(_Block, frozen=True):
    """What one strategy does differently with one instrument; absent keys change nothing."""

    size: Count | None = None
    commission: NotNegative | None = None
    margin: Positive | None = None
    slippage_ticks: NotNegative | None = None
    strategy_params: dict[str, Scalar] = {}


class FilterBlock(_Block, frozen=True):
    """One entry filter; absent keys keep what the strategy's file says of a filter of that name.

    feature:    a feature of the catalogue, or a kernel of the library with its timeframe and length
    symbol:     the instrument it is read from; pair: the instrument's pair
    low, high:  inclusive; above, below: exclusive; allowed: whole numbers
    missing:    what to do while the feature has no value
    """

    enabled: bool = True
    feature: Text | None = None
    timeframe: Literal["1min", "hourly", "daily"] | None = None
    length: Positive | None = None
    symbol: Text | None = None
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    allowed: tuple[int, ...] | None = None
    missing: Literal["block", "pass"] | None = None


class Gates(_Block, frozen=True):
    """What evidence must hold before `rooney promote` puts a model into a bundle; each instrument by itself.

    min_paths:         of the cross-validation
    min_path_share:    of them, those on which the kept trades beat the average trade
    max_overfitting:   probability of backtest overfitting
    min_deflated_sharpe, min_final_sharpe: probabilities; the second of the period put away
    min_trades:        kept on every path; min_final_trades: kept in the period put away
    """

    min_paths: Count = 5
    min_path_share: Share = 0.8
    max_overfitting: Share = 0.2
    min_deflated_sharpe: Share = 0.95
    min_trades: NotNegative = 100
    min_final_trades: NotNegative = 30
    min_final_sharpe: Share = 0.8


class Retrain(_Block, frozen=True):
    """What `rooney retrain` does for a strategy, by hand or by its timer.

    data:       store of bars; relative to the configuration file
    promote:    put what passes the gates and beats the bundle in force, into force by itself
    min_better: how probable it must be that the new models choose better than those in force
    features:   of the catalogue; default: those of the bundle in force, else those of `rooney train`
    trials, trees: of the search
    """

    data: Text
    promote: bool = False
    min_better: Share = 0.8
    features: tuple[Text, ...] = ()
    trials: Count = 40
    trees: Count = 200


class StrategyBlock(_Block, frozen=True):
    """One strategy as written.

    strategy:      strategy file, by name or path; default: the block's own name
    broker_account: webhook for mode live, and for mode paper as long as there is no paper_account
    paper_account: webhook for mode paper
    slack, discord, apprise: where this strategy's alerts go (rooney.alerts.channels); default: those of `alerts`
    daily_stop_loss, drawdown_halt: USD
    max_instruments: upper limit for the list of instruments
    bundle:        folder of what was promoted, or one bundle in it; relative to the configuration file
    models_path:   directory of models in place of a bundle; relative to the configuration file
    gates:         what `rooney promote` asks of evidence
    retrain:       how `rooney retrain` makes the next models
    *_s:           seconds; reject_after_s is TradersPost's own limit, 1 to 30
    requests_per_*: what TradersPost takes of one webhook; entries may use a third of a minute's and 2/5 of an hour's
    no_entry_windows: Chicago times of day
    entry_windows: Chicago times of day at which a bar that may enter begins; default: the strategy file's
    auto_close:    Chicago time of day at which open trades are closed, or off; default: the strategy file's
    filters:       entry filters by name, beside or instead of the strategy file's
    fill:          assumed price of a decision: the next open, or the close that decided (research only)
    order_symbol:  signal root → root the orders are sent in
    overrides:     root → what differs for it
    """

    strategy: Text | None = None
    enabled: bool = True
    mode: Literal["dry", "paper", "live"] = "paper"
    profile: Literal["default", "v1"] = "default"
    broker_account: Secret | None = None
    paper_account: Secret | None = None
    slack: Secret | None = None
    discord: Secret | None = None
    apprise: Secret | None = None
    starting_cash: Positive = 150_000.0
    max_positions: Count = 2
    daily_stop_loss: Positive = 2_500.0
    drawdown_halt: Annotated[float, Meta(gt=0, description="a number > 0 or off")] | None = None
    bundle: Text | None = None
    models_path: Text | None = None
    gates: Gates = Gates()
    retrain: Retrain | None = None
    max_instruments: Count | None = None
    instruments: tuple[Root, ...] = ()
    strategy_params: dict[str, Scalar] = {}
    overrides: dict[str, Override] = {}
    order_symbol: dict[str, Root] = {}
    stale_after_s: Positive = 15.0
    reject_after_s: Annotated[int, Meta(ge=1, le=30)] = 15
    settle_s: NotNegative = 60.0
    reentry_wait_s: NotNegative = 60.0
    requests_per_minute: Count = 60
    requests_per_hour: Count = 500
    close_margin_s: NotNegative = 120.0
    on_stop: Literal["keep", "flatten"] = "keep"
    on_unconfirmed_entry: Literal["flatten", "manage", "hold"] = "flatten"
    on_roll: Literal["close", "roll"] = "close"
    on_missing_model: Literal["refuse", "trade"] = "refuse"
    stop_fill: Literal["close", "inside"] = "close"
    broker_stop: bool = False
    no_entry_windows: tuple[TimeSpan, ...] = ()
    entry_windows: tuple[TimeSpan, ...] | None = None
    auto_close: TimeOfDay | None = None
    filters: dict[str, FilterBlock] = {}
    fill: Literal["next_open", "signal_close"] = "next_open"


class Dashboard(_Block, frozen=True):
    """The dashboard. strategies: what it shows; empty in the file means all."""

    port: Port = 5000
    strategies: tuple[Text, ...] = ()


class Alerts(_Block, frozen=True):
    """Where alerts go.

    slack, discord, apprise: webhooks for what is common to all strategies, for those without their own, and for all
                    that is critical; also as the credentials alert/slack, alert/discord, alert/apprise
    ping:           URL asked for every minute while alerts can be sent; whoever is behind it misses it otherwise
    level:          the least that is told; notice: also orders, trades, reports
    """

    slack: Secret | None = None
    discord: Secret | None = None
    apprise: Secret | None = None
    ping: Secret | None = None
    level: Literal["notice", "warning", "error", "critical"] = "notice"


class File(_Block, frozen=True):
    """The whole file as written, its `${NAME}` values left at their defaults."""

    databento: Databento = Databento()
    data_hub: DataHub = DataHub()
    instruments: dict[str, InstrumentBlock] = {}
    strategies: dict[str, StrategyBlock] = {}
    dashboard: Dashboard = Dashboard()
    alerts: Alerts = Alerts()


class HubConfig(msgspec.Struct, frozen=True):
    """All that the hub needs; `databento.api_key` is resolved."""

    databento: Databento
    data_hub: DataHub
    instruments: dict[str, Instrument]


class StrategyConfig(msgspec.Struct, frozen=True):
    """One strategy without its account: enough for backtest, research and status.

    instruments: every configured instrument in the file's order, as the hub publishes them
    traded:      signal root → the instrument its orders are sent in, overrides applied, in the block's order
    bundle:      what it trades by, if the block names one; its folder is then `models_path`
    """

    name: str
    strategy: str
    settings: StrategyBlock
    instruments: dict[str, Instrument]
    traded: dict[str, Instrument]
    models_path: Path | None
    bundle: Bundle | None = None

    @property
    def path(self) -> str:
        """Key path of the block."""
        return f"strategies.{self.name}"

    def params(self, declared: Declared, symbol: str | None = None) -> dict[str, Scalar]:
        """Every declared parameter with its value: default, then the block's, then the override of `symbol`.

        Of a bundle, its own; a block that says otherwise is refused (BundleError).
        """
        path = f"{self.path}.strategy_params"
        given = _given_params(path, self.settings.strategy_params, declared)
        changed = self.settings.overrides.get(symbol) if symbol else None
        if changed is not None:
            own = f"{self.path}.overrides.{symbol}.strategy_params"
            given |= _given_params(own, changed.strategy_params, declared)
        if self.bundle is None:
            return check_params(path, {}, declared) | given
        found = check_params(str(self.bundle.path), self.bundle.params(symbol), declared)
        for key, value in given.items():
            if found[key] != value:
                where = f"{path}.{key}" if symbol is None else f"{path}.{key} of {symbol}"
                raise BundleError(
                    f"{where}: is {value} here and {found[key]} in bundle {self.bundle.short}, whose models know no "
                    "other trades: take the key out, or train and promote anew; not used"
                )
        return found


class WorkerConfig(msgspec.Struct, frozen=True):
    """All that one worker needs. account: None in mode dry."""

    strategy: StrategyConfig
    data_hub: DataHub
    account: Account | None


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
            instruments = _instruments(self.file.instruments)
            for name, block in self.file.strategies.items():
                deferred = any(path.startswith(f"strategies.{name}.") for path in reader.deferred)
                if not deferred and (block.instruments or block.bundle is None):
                    _traded(name, block, instruments)

    @property
    def names(self) -> tuple[str, ...]:
        """Every strategy of the file, enabled or not, in its order."""
        return tuple(self.file.strategies)

    def data_hub(self, credentials: Path | None = None) -> DataHub:
        """Where Redis is and what it holds. credentials: the directory with `redis_password`, if it needs one."""
        block = self._resolve("data_hub", DataHub)
        _check_hub(block)
        path = "data_hub.redis_password"
        found = read_credential(path, credentials or credentials_directory(self._environ), "redis_password")
        if found is None and block.redis_password is not None:
            found = Secret(expand(path, block.redis_password.reveal(), self._environ))
        return msgspec.structs.replace(block, redis_password=found)

    def instruments(self) -> dict[str, Instrument]:
        """Every instrument, in the file's order."""
        tree = self._tree["instruments"]
        reader = Reader(self._environ)
        return _instruments({root: reader.struct(f"instruments.{root}", tree[root], InstrumentBlock) for root in tree})

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
        written: Secret | None = getattr(block, key)
        directory = credentials or credentials_directory(self._environ)
        found = read_credential(path, directory, f"alert_{scope}.{key}" if scope else f"alert_{key}")
        if found is None and written is not None:
            found = Secret(expand(path, written.reveal(), self._environ))
        return found

    def hub(self, credentials: Path | None = None) -> HubConfig:
        """The hub's part. credentials: the directory with `databento_api_key`; default: the one systemd made."""
        block = self._resolve("databento", Databento)
        path = "databento.api_key"
        found = read_credential(path, credentials or credentials_directory(self._environ), "databento_api_key")
        key = found or Secret(expand(path, block.api_key.reveal(), self._environ))
        return HubConfig(msgspec.structs.replace(block, api_key=key), self.data_hub(credentials), self.instruments())

    def strategy(self, name: str, bundle: Bundle | None = None) -> StrategyConfig:
        """One strategy without its account, enabled or not. Raises BundleError for a bundle it cannot use.

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
        """One strategy as its next bundle is to be: the block's instruments and parameters, and where it has none,
        those of the bundle in force.
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
            traded=_traded(name, block, instruments),
            models_path=bundle.path if bundle is not None else models,
            bundle=bundle,
        )

    def worker(self, name: str, credentials: Path | None = None) -> WorkerConfig:
        """One worker's part; refuses a strategy that must not trade. credentials: as for `account`."""
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
        directory, prefix = (credentials, f"{name}.") if credentials else (credentials_directory(self._environ), "")
        keys = {"dry": (), "live": ("broker_account",), "paper": ("paper_account", "broker_account")}[block.mode]
        for key in keys:
            path = f"strategies.{name}.{key}"
            written: Secret | None = getattr(block, key)
            if found := read_credential(path, directory, prefix + key):
                return open_account(path, found)
            if written:
                return open_account(path, Secret(expand(path, written.reveal(), self._environ)))
        if not keys:
            return None
        raise ConfigError(
            f"strategies.{name}.broker_account: mode {block.mode} needs a webhook, and there is neither a credential "
            f"{prefix}{' nor '.join(keys)} nor such a key; give one, or use mode: dry. Not starting"
        )

    def block(self, name: str) -> StrategyBlock:
        """One strategy's block, its variables resolved; no other file is read."""
        if name not in self.names:
            raise unknown(join("strategies", name), "strategy", name, self.names)
        return self._resolve(f"strategies.{name}", StrategyBlock)

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
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path}: the configuration cannot be read: {why}; not starting") from None
    tree = parse_yaml(str(path), text)
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


def _instruments(blocks: Mapping[str, InstrumentBlock]) -> dict[str, Instrument]:
    return {root: _instrument(f"instruments.{root}", root, block) for root, block in blocks.items()}


def _instrument(path: str, root: str, block: InstrumentBlock) -> Instrument:
    """The block completed by what is known of the product; a fact of the exchange cannot be configured away."""
    product = PRODUCTS.get(root)
    if product is None:
        facts = ("commission", "margin", "multiplier", "tick_size")
        missing = [key for key in facts if getattr(block, key) is None]
        if missing:
            raise ConfigError(
                f"{path}: {root} is not a product rooney knows, so {', '.join(missing)} must be given; {REFUSED}"
            )
        product = Product(root, root, "", block.multiplier or 0.0, block.tick_size or 0.0, "", 0.0)
    for key, given, fact in (
        ("multiplier", block.multiplier, product.point_value),
        ("tick_size", block.tick_size, product.tick_size),
    ):
        if given is not None and not math.isclose(given, fact, rel_tol=1e-9):
            raise wrong(f"{path}.{key}", f"{fact:.10g}, which is what the exchange says of {product.name}", given)
    # Orders in another product are `order_symbol`; data of another product would be bars under a false name.
    product_id = block.databento_product_id or f"{root}.FUT"
    if not re.fullmatch(rf"{root}(\.FUT|\.[cnv]\.\d|[{MONTH_CODES}]\d)", product_id):
        raise wrong(f"{path}.databento_product_id", f"{root}.FUT, {root}.v.0 or one contract of {root}", product_id)
    if block.tradovate_symbol not in (None, root):
        raise wrong(f"{path}.tradovate_symbol", root, block.tradovate_symbol)
    return Instrument(
        root=root,
        databento_product_id=product_id,
        tradovate_symbol=root,
        size=block.size,
        commission=product.commission_usd if block.commission is None else block.commission,
        multiplier=product.point_value,
        margin=block.margin or product.margin_usd,
        tick_size=product.tick_size,
        slippage_ticks=block.slippage_ticks,
        reference=block.reference,
    )


def _traded(name: str, block: StrategyBlock, instruments: Mapping[str, Instrument]) -> dict[str, Instrument]:
    """Signal root → instrument of its orders; refuses what the strategy may not trade."""
    path = f"strategies.{name}.instruments"
    if not block.instruments:
        raise ConfigError(f"{path}: expected at least one instrument, got none; {REFUSED}")
    if block.max_instruments and len(block.instruments) > block.max_instruments:
        raise wrong(path, f"at most max_instruments ({block.max_instruments})", block.instruments)
    for index, root in enumerate(block.instruments):
        if root in block.instruments[:index]:
            raise ConfigError(f"{path}[{index}]: {root} is listed twice; {REFUSED}")
        _check_tradable(f"{path}[{index}]", root, instruments)
    for key in ("overrides", "order_symbol"):
        for root in getattr(block, key):
            if root not in block.instruments:
                raise unknown(
                    f"strategies.{name}.{join(key, root)}", "instrument of this strategy", root, block.instruments
                )
    traded: dict[str, Instrument] = {}
    for root in block.instruments:
        order = _order_instrument(f"strategies.{name}.order_symbol.{root}", root, block, instruments)
        twin = next((other for other, item in traded.items() if item.root == order.root), None)
        if twin is not None:  # an exit closes all there is of a product, so one position would close the other's
            raise ConfigError(
                f"strategies.{name}.order_symbol: the orders of {twin} and {root} would both go out in {order.root}; "
                f"{REFUSED}"
            )
        changed = block.overrides.get(root, Override())
        fields = {key: getattr(changed, key) for key in ("size", "commission", "margin", "slippage_ticks")}
        changes: Any = {key: value for key, value in fields.items() if value is not None}
        traded[root] = msgspec.structs.replace(order, **changes)
    return traded


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


def _check_tradable(path: str, root: str, instruments: Mapping[str, Instrument]) -> None:
    if root not in instruments:
        raise unknown(path, "instrument", root, instruments)
    if instruments[root].reference:
        raise ConfigError(f"{path}: {root} is reference: true, data without orders; {REFUSED}")


def _order_instrument(path: str, root: str, block: StrategyBlock, instruments: Mapping[str, Instrument]) -> Instrument:
    """What `root`'s orders are sent in. A product without a block (the hub need not subscribe it) will do."""
    other = block.order_symbol.get(root, root)
    if other in instruments or other not in PRODUCTS:
        _check_tradable(path, other, instruments)
        order = instruments[other]
    else:
        order = _instrument(path, other, InstrumentBlock())
    ours, theirs = PRODUCTS.get(root), PRODUCTS.get(other)
    if ours and theirs and ours.months != theirs.months:
        raise wrong(path, f"a product with the contract months of {root} ({ours.months})", other)
    return order


# -- strategy parameters ------------------------------------------------------------------------------------------

_OLD_NAMES = {"max_bars_in_trade": "time_stop_bars"}  # the first configuration's name → ours


def check_params(path: str, given: Mapping[str, Scalar], declared: Declared) -> dict[str, Scalar]:
    """Every declared parameter with its value; `given` may only name declared ones, in their type and limits.

    max_bars_in_trade, where a strategy does not declare it, sets time_stop_bars and wins over it.
    """
    return {name: default for name, (default, _, _) in declared.items()} | _given_params(path, given, declared)


def _given_params(path: str, given: Mapping[str, Scalar], declared: Declared) -> dict[str, Scalar]:
    values: dict[str, Scalar] = {}
    # An old name comes last, so that it wins.
    for key in sorted(given, key=lambda key: key in _OLD_NAMES):
        name = key if key in declared else _OLD_NAMES.get(key, key)
        if name not in declared:
            raise unknown(join(path, key), "parameter", key, declared)
        values[name] = _param(join(path, key), given[key], declared[name])
    return values


def _param(path: str, value: Scalar, declared: tuple[Scalar, float | None, float | None]) -> Scalar:
    default, low, high = declared
    kinds: dict[type, tuple[str, tuple[type, ...]]] = {
        bool: ("true or false", (bool,)),
        int: ("an int", (int,)),
        float: ("a number", (int, float)),
        str: ("a text", (str,)),
    }
    noun, accepted = kinds[type(default)]
    limits = [f"{sign} {bound:g}" for sign, bound in ((">=", low), ("<=", high)) if bound is not None]
    expected = " ".join([noun, " and ".join(limits)]).strip()
    # bool is an int to Python, never to a person
    if not isinstance(value, accepted) or isinstance(value, bool) is not isinstance(default, bool):
        raise wrong(path, expected, value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        inside = (low is None or value >= low) and (high is None or value <= high)
        if not inside or not math.isfinite(value):
            raise wrong(path, expected, value)
        return float(value) if isinstance(default, float) else value
    return value
