"""A training set: what a strategy would have traded, each trade with the features its decision saw and its label.

One row per trade of a run in which nothing but the rules and filters holds an entry back: no veto, no slots, no daily
loss, no margin. So each instrument's trades are its own, and a model is asked about all of them, not about those that
others happened to leave room for.

Features are the step's own values at the mark that decided, read by stopping the scan there. The label is known with
the exit: `span` runs from the deciding mark to the exit's fill, and whoever splits rows must keep spans apart.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from research.backtest.backtest import Scan
from research.history.history import History
from research.history.progress import Steps, unwatched
from rooney.config.settings import StrategyConfig
from rooney.engine.build import build_engine
from rooney.engine.engine import Engine
from rooney.engine.model_checks import parameters_digest
from rooney.engine.veto import model_field
from rooney.errors import ConfigError
from rooney.features import Feature, catalogue, is_research_only
from rooney.kernels.array_types import F64, I64, Records
from rooney.strategy.digest import code_digests

_NO_LIMIT_USD = 1e15

# Of the instrument itself, standard definitions, no price level: what is alike in every year and needs no other feed.
DEFAULT_FEATURES = (
    "ibs",
    "prev_ibs",
    "daily_ibs",
    "prev_bar_pct",
    "prev_day_pct",
    "return_4",
    "rsi",
    "rsi_len14",
    "daily_rsi",
    "atrz",
    "volz",
    "z_score",
    "dist_z",
    "tratr",
    "hourly_atr_percentile",
    "bb",
    "adx_value",
    "spiral_efficiency_ratio",
    "weekday",
    "hhmm",
)


class TrainingSet(msgspec.Struct, frozen=True):
    """Trades of one instrument, ordered by decision.

    names:   of the features, as in the catalogue
    rows:    float64[trade, feature], NaN where a feature had no value
    start_ns, end_ns: int64[trade], the mark that decided and the fill of the exit, UTC
    pnl_usd: float64[trade], after costs
    """

    symbol: str
    names: tuple[str, ...]
    rows: F64
    start_ns: I64
    end_ns: I64
    pnl_usd: F64

    @property
    def labels(self) -> I64:
        """1 where the trade earned more than its costs, else 0."""
        return (self.pnl_usd > 0).astype(np.int64)

    def __len__(self) -> int:
        return len(self.pnl_usd)

    def take(self, chosen: Any) -> "TrainingSet":
        """Some of the rows, by mask or index."""
        return TrainingSet(
            self.symbol, self.names, self.rows[chosen], self.start_ns[chosen], self.end_ns[chosen], self.pnl_usd[chosen]
        )

    def of(self, names: Sequence[str]) -> "TrainingSet":
        """The same trades with some of the features, in that order."""
        columns = [self.names.index(name) for name in names]
        return TrainingSet(self.symbol, tuple(names), self.rows[:, columns], self.start_ns, self.end_ns, self.pnl_usd)

    def complete(self) -> "TrainingSet":
        """Without the trades a model could not have judged: a feature was missing."""
        return self.take(np.isfinite(self.rows).all(axis=1))

    def before(self, cut_ns: int) -> "TrainingSet":
        """Trades that were over before an instant: what is known of them was known then."""
        return self.take(self.end_ns < cut_ns)

    def since(self, cut_ns: int) -> "TrainingSet":
        """Trades decided at an instant or later."""
        return self.take(self.start_ns >= cut_ns)


def resolve(names: Sequence[str]) -> dict[str, Feature]:
    """Features by field, in the order of their names. Raises ConfigError for one that a live model cannot have."""
    found = {}
    for name in names:
        feature = catalogue(name)
        if is_research_only(feature):
            raise ConfigError(f"--features: {name} reads the future; a model of it could not trade")
        if name.endswith("_v1"):
            raise ConfigError(f"--features: {name} repeats a defect of the old system; use {name.removesuffix('_v1')}")
        found[model_field(name)] = feature
    return dict(sorted(found.items()))


def unlimited(strategy: StrategyConfig) -> StrategyConfig:
    """The strategy with nothing but its rules and filters to hold an entry back."""
    settings = msgspec.structs.replace(
        strategy.settings,
        max_positions=len(strategy.traded),
        daily_stop_loss=_NO_LIMIT_USD,
        drawdown_halt=None,
        starting_cash=_NO_LIMIT_USD,
    )
    return msgspec.structs.replace(strategy, settings=settings)


def engine_of(strategy: StrategyConfig, names: Sequence[str]) -> Engine:
    """The engine that makes training sets: without a veto, with all features."""
    return build_engine(unlimited(strategy), resolve(names), {})


def collect(
    strategy: StrategyConfig, history: History, names: Sequence[str], progress: Steps = unwatched
) -> dict[str, TrainingSet]:
    """A set per traded instrument; those without a trade are empty.

    history: of all instruments of `engine_of(strategy, names)`; progress: called with the share that is done
    """
    trades = _trades(engine_of(strategy, names), history)
    engine = engine_of(strategy, names)
    symbols = [instrument.symbol for instrument in engine.instruments]
    columns = [engine.compiled.layout.fields.index(model_field(name)) for name in names]
    rows = np.full((len(trades), len(names)), np.nan)
    marks, at = np.unique(trades["entry_mark"], return_inverse=True)
    who = [np.flatnonzero(at == k) for k in range(len(marks))]
    scan, k = Scan(engine, history), 0
    for chunk in history.chunks():
        past_ns = int(chunk["ts_close"][-1])
        while k < len(marks) and marks[k] <= past_ns:
            scan.step(chunk, int(marks[k]))
            chunk = chunk[np.searchsorted(chunk["ts_close"], marks[k], "right") :]
            for row in who[k].tolist():
                rows[row] = engine.values(symbols[int(trades["instrument"][row])])[columns]
            k += 1
        scan.step(chunk, past_ns)
        progress((past_ns - history.start_ns) / (history.end_ns - history.start_ns))
    found = {}
    for i, symbol in enumerate(symbols):
        if not engine.instruments[i].traded:
            continue
        own = np.flatnonzero(trades["instrument"] == i)
        own = own[np.argsort(trades["entry_mark"][own], kind="stable")]
        own_trades = trades[own]
        found[symbol] = TrainingSet(
            symbol,
            tuple(names),
            rows[own],
            own_trades["entry_mark"].astype(np.int64),
            own_trades["exit_ts"].astype(np.int64),
            own_trades["pnl_usd"].astype(np.float64),
        )
    return found


def _trades(engine: Engine, history: History) -> Records:
    """TRADE records of a run."""
    scan = Scan(engine, history)
    for chunk in history.chunks():
        scan.step(chunk)
    return scan.closed()


def made_from(strategy: StrategyConfig, symbol: str, features: Iterable[str], history: History) -> dict[str, str]:
    """sha256 of what a set came from: the instrument's parameters, the kernels, the data."""
    return {
        "parameters": parameters_digest(strategy, symbol),
        "kernels": code_digests(strategy.strategy, features)["kernels"],
        "data": history.digest(),
    }
