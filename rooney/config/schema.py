"""The blocks of `config.multi_alpha.yml` as written: what each key takes, and what stands where it is left out.

Values are checked one by one here; what several say together, and what they come to, is `rooney.config.loader`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from rooney.config.validation import Scalar
from rooney.secrets import Secret

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


class _Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A block of the file."""


class Databento(_Block, frozen=True):
    """Source of the trades. gateway, port: a local stand-in for the live gateway, in tests and the demo."""

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
    """An instrument as written; what is left out comes from `rooney.market.instruments`."""

    databento_product_id: Text | None = None
    tradovate_symbol: Text | None = None
    size: Count = 1
    commission: NotNegative | None = None
    multiplier: Positive | None = None
    margin: Positive | None = None
    tick_size: Positive | None = None
    slippage_ticks: NotNegative = 1.0
    reference: bool = False


class Override(_Block, frozen=True):
    """Differences of a strategy for one instrument; absent keys change nothing."""

    size: Count | None = None
    commission: NotNegative | None = None
    margin: Positive | None = None
    slippage_ticks: NotNegative | None = None
    strategy_params: dict[str, Scalar] = {}


class FilterBlock(_Block, frozen=True):
    """An entry filter; absent keys keep what the strategy's file says of a filter of that name.

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
    """Evidence that must hold before `rooney promote` puts a model into a bundle; each instrument by itself.

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
    """Settings of `rooney retrain` for a strategy, by hand or by its timer.

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
    """A strategy as written.

    strategy:      strategy file, by name or path; default: the block's own name
    broker_account: webhook for mode live, and for mode paper as long as there is no paper_account
    paper_account: webhook for mode paper
    slack, discord, apprise: where this strategy's alerts go (rooney.alerts.routing); default: those of `alerts`
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
    """Targets of alerts.

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
