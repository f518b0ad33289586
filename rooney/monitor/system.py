"""Everything at one moment: what each strategy's ledger, the switches, Redis and the units say.

`Looker.look()` never raises and never writes. What cannot be read is in the result as a text, beside all that can.
"""

import os
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import msgspec

from rooney.bus.reader import Reader
from rooney.config.loader import Config
from rooney.config.schema import StrategyBlock
from rooney.errors import ConfigError, LedgerError
from rooney.ledger.reader import doing, holder
from rooney.ledger.records import Decision, Held
from rooney.ledger.snapshot import LedgerView, Snapshot
from rooney.market.instruments import PRODUCTS, group_of
from rooney.market.messages import HubStatus
from rooney.market.sessions import trade_date
from rooney.monitor.market import Market, MarketView
from rooney.orders.control import Switch, switches
from rooney.paths import ledger_path
from rooney.performance.drift import WINDOW, Expectation, Health, judge
from rooney.performance.store import KeptView
from rooney.performance.verdict import Verdict
from rooney.systemd import UnitsView, Usage

REDIS_TIMEOUT_S = 1.0
_LEDGER = "ledger.sqlite"


class StrategyLook(msgspec.Struct, frozen=True):
    """A strategy. snapshot: None without a ledger; unreadable: why it cannot be read.

    block: as configured, None where it is not; lack: what keeps its block from being used, or empty
    traded: symbol → (USD per 1.0 of price, tick size) of the product it is ordered in; waiting: commands not taken
    doing: what its worker does, or did when it ended without a word
    slippage_ticks: symbol → assumed a side; health: against its backtest, None without one or with too few trades
    """

    name: str
    block: StrategyBlock | None
    lack: str
    snapshot: Snapshot | None
    unreadable: LedgerError | None
    switches: tuple[Switch, ...]
    traded: Mapping[str, tuple[float, float]]
    is_running: bool
    waiting: int
    doing: str = ""
    slippage_ticks: Mapping[str, float] = {}
    health: Health | None = None

    @property
    def is_configured(self) -> bool:
        """It has a block."""
        return self.block is not None

    @property
    def is_enabled(self) -> bool:
        """Its worker would start."""
        return self.block is not None and self.block.enabled

    @property
    def newest_decisions(self) -> list[Decision]:
        """Decisions of the newest mark that has any; first the one that acted, or was kept from it."""
        decisions = self.snapshot.decisions if self.snapshot else ()
        newest = [item for item in decisions if item.ts_mark == decisions[0].ts_mark]
        return sorted(newest, key=lambda item: (item.reason in ("no_signal", "warming_up", "hold"), item.symbol))

    def open_usd(self, held: Held) -> float:
        """P&L of one position at its last price, before costs; an estimate."""
        value, _ = self.traded.get(held.symbol) or (PRODUCTS[held.symbol].point_value, 0.0)
        return held.side * held.quantity * (held.mark - held.entry_price) * value


class Seen(msgspec.Struct, frozen=True):
    """Findings at one moment. redis: why it does not answer, or empty; groups: session groups of the instruments.

    ledgers: of every enabled strategy, None without one
    """

    redis: str
    hub: HubStatus | None
    ledgers: Mapping[str, Snapshot | LedgerError | None]
    groups: frozenset[str]


class System(msgspec.Struct, frozen=True):
    """Everything. ts_wall: when it was read; now_ns: the time it is about, on a replay that of the tape; UTC ns.

    verdicts: comparisons that were kept; unread: file → why what was kept in it cannot be read
    """

    ts_wall: int
    now_ns: int
    trade_date: date
    market: Market
    strategies: tuple[StrategyLook, ...]
    symbols: tuple[str, ...]
    groups: frozenset[str]
    usage: Mapping[str, Usage]
    verdicts: tuple[Verdict, ...] = ()
    unread: Mapping[str, str] = {}

    @property
    def hub_now(self) -> HubStatus | None:
        """The hub's word, stamped on the clock of `now_ns`: on a replay it is as old as it is by the wall."""
        hub = self.market.hub
        if hub is None or self.now_ns == self.ts_wall:
            return hub
        shift_ns = self.now_ns - self.ts_wall
        return msgspec.structs.replace(
            hub, ts_ns=hub.ts_ns + shift_ns, ts_last_record=min(hub.ts_last_record, self.now_ns)
        )

    @property
    def seen(self) -> Seen:
        """Part of it that `rooney watch` looks at too."""
        ledgers = {one.name: one.unreadable or one.snapshot for one in self.strategies if one.is_enabled}
        return Seen(self.market.away, self.hub_now, ledgers, self.groups)


class Looker:
    """Looks at one installation; one thread at a time.

    state, control: directories of ledgers and of switches; replay: time is that of the tape
    """

    def __init__(self, config: Config, state: Path, control: Path, replay: bool = False) -> None:
        self._config = config
        self.state = state
        self._control = control
        self._replay = replay
        self.symbols = tuple(config.file.instruments)
        block = config.data_hub()
        self._bus = Reader(block, timeout_s=REDIS_TIMEOUT_S)
        self.market = MarketView(self._bus, self.symbols)
        self.units = UnitsView()
        self._kept = KeptView(state)
        self.ledgers: dict[str, LedgerView] = {}
        self._groups = frozenset(map(group_of, self.symbols))
        self._facts = {name: self._facts_of(name) for name in config.names}

    def close(self) -> None:
        """Hang up."""
        self._bus.close()

    def look(self) -> System:
        """As it is now."""
        ts_wall, mono_s = time.time_ns(), time.monotonic()
        market = self.market.look(mono_s)
        now_ns = market.ts_tape if self._replay and market.ts_tape else ts_wall
        verdicts, expected = self._kept.look()
        return System(
            ts_wall,
            now_ns,
            trade_date(now_ns),
            market,
            tuple(self._strategy(name, expected.get(name)) for name in self._names()),
            self.symbols,
            self._groups,
            self.units.look(mono_s),
            tuple(verdicts),
            self._kept.troubles,
        )

    def _names(self) -> list[str]:
        """Configured ones first; one that has a ledger and no block any more is not forgotten."""
        try:
            there = sorted(path.parent.name for path in self.state.glob(f"*/{_LEDGER}"))
        except OSError:
            there = []
        return list(dict.fromkeys((*self._config.names, *there)))

    def _strategy(self, name: str, expected: Expectation | None) -> StrategyLook:
        path = ledger_path(self.state, name)
        view = self.ledgers.setdefault(name, LedgerView(path))
        snapshot, unreadable = None, None
        try:
            snapshot = view.look()
        except LedgerError as error:
            unreadable = error
        lack, traded, slippage_ticks = self._facts.get(name, ("", {}, {}))
        health = None
        if expected is not None and snapshot is not None:
            health = judge(expected, [trade.pnl_usd for trade in snapshot.trades[-WINDOW:]])
        try:
            is_running = holder(path) is not None
        except OSError:
            is_running = False
        return StrategyLook(
            name,
            self._config.file.strategies.get(name),
            lack,
            snapshot,
            unreadable,
            tuple(switches(self._control, name)),
            traded,
            is_running,
            _count(self._control / name / "commands"),
            doing(path),
            slippage_ticks,
            health,
        )

    def _facts_of(self, name: str) -> tuple[str, dict[str, tuple[float, float]], dict[str, float]]:
        try:
            traded = self._config.strategy(name).traded
        except ConfigError as error:
            return str(error), {}, {}
        products = {symbol: (item.multiplier, item.tick_size) for symbol, item in traded.items()}
        return "", products, {symbol: item.slippage_ticks for symbol, item in traded.items()}


def _count(directory: Path) -> int:
    try:
        return sum(name.endswith(".json") for name in os.listdir(directory))
    except OSError:
        return 0
