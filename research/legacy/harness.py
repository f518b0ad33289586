"""The real `ibs` strategy, profile v1, run as the old system was, on the bars recorded with the old system's trades.

A folder is laid out like the recorded set (its README): hourly and daily bars with naive exchange-local stamps, and, as
far as they are there, models, variants and values. Stamps are taken as they are and compared across instruments as they
are. The step is the one that trades: trades come out of the compiled scan, values out of the engine, bar by bar.
"""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import polars as pl

from research.backtest.backtest import Scan
from research.history.history import History, Windows
from research.legacy import parameters as old_system
from research.legacy.models import old_names
from research.legacy.parameters import Translation, translate
from rooney.engine.build import span_ns, time_of_day_ns
from rooney.engine.engine import Engine
from rooney.engine.settings import EngineInstrument, Limits
from rooney.engine.veto import Logistic
from rooney.features.catalogue import FIRST_BAR_V1, catalogue
from rooney.features.feature import Feature
from rooney.files import MIB, read_json
from rooney.kernels import dtypes
from rooney.kernels.array_types import F64, I64, Records
from rooney.kernels.codes import Cause
from rooney.market.instruments import group_of
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.strategy.compiler import Compiled, compile_strategy
from rooney.strategy.filters import filter_field
from rooney.strategy.loader import load

REASONS = {
    "stop": "stop loss",
    "target": "take profit",
    "rule": "IBS exit",
    "time_stop": "bar stop",
    "auto_close": "auto close",
}
_CLOSE, _DAILY_CLOSE = Feature("close"), Feature("close", "daily")
INDICATORS = {  # those the strategy's values hold; the other columns are bars and what follows from trades
    "ibs": Feature("ibs"),
    "daily_ibs": catalogue("daily_ibs_v1"),
    "prev_daily_ibs": catalogue("prev_daily_ibs_v1"),
    "prev_day_pct": catalogue("prev_day_pct_v1"),
    "prev_bar_pct": catalogue("prev_bar_pct_v1"),
    "pivot_high": Feature("pivot_high", "hourly", old_system.PIVOT_V1),
    "pivot_low": Feature("pivot_low", "hourly", old_system.PIVOT_V1),
    "h_sma20": Feature("sma", "hourly", 20, (_CLOSE,)),
    "h_ema20": Feature("ema", "hourly", 20, (_CLOSE,)),
    "h_rsi14": Feature("rsi_v1", "hourly", 14),
    "h_rsi2": Feature("rsi_v1", "hourly", 2),
    "h_atr14": Feature("atr", "hourly", 14),
    "h_std20": Feature("stdev", "hourly", 20, (_CLOSE,)),
    "h_adx14": Feature("adx", "hourly", 14),
    "h_psar": Feature("psar", "hourly", (0.02, 0.2)),
    "h_mom3": Feature("change", "hourly", 3, (_CLOSE,)),
    "d_sma20": Feature("sma", "daily", 20, (_DAILY_CLOSE,)),
    "d_rsi14": Feature("rsi", "daily", 14),
    "d_rsi2": Feature("rsi", "daily", 2),
    "d_atr14": Feature("atr", "daily", 14),
    "d_sma200": Feature("sma", "daily", 200, (_DAILY_CLOSE,)),
}
ASKED = ("rsixatrz", "rsixvolz")  # products, computed where what they are made of was asked for
_DAY_NS = 24 * HOUR_NS
_FOREVER_NS = 1 << 62


class ListedTrade(msgspec.Struct, frozen=True, order=True):
    """A row of a trade list; stamps are starts of bars, ns of the naive clock."""

    entry_signal: int
    entry: int
    entry_price: float
    exit_signal: int
    reason: str
    exit: int
    exit_price: float


class Bars:
    """The recorded bars, in the form a scan reads: every hour ends an hour after its stamp, every day with the next.

    symbols: in the order they appear in the file
    """

    def __init__(self, folder: Path) -> None:
        self.hourly = pl.read_parquet(folder / "bars_hourly.parquet").sort("datetime", "symbol")
        self.daily = pl.read_parquet(folder / "bars_daily.parquet").sort("datetime", "symbol")
        self.symbols = sorted(self.hourly["symbol"].unique().to_list())

    def history(self, symbols: list[str]) -> "_History":
        """All bars of these instruments, the first the traded one."""
        parts = []
        for i, symbol in enumerate(symbols):
            hours = self.hourly.filter(pl.col("symbol") == symbol)
            days = self.daily.filter(pl.col("symbol") == symbol)
            opens = stamps_of(hours)
            parts.append(_rows(hours, i, 1, opens, opens + HOUR_NS))
            opens = stamps_of(days)
            ends = np.append(opens[1:], opens[-1:] + _DAY_NS)
            parts.append(_rows(days, i, 2, opens, ends))
            parts.append(_rows(days, i, 3, opens, opens))  # complete at its start: what the old backtests looked at
        rows = np.concatenate(parts)
        return _History(rows[np.lexsort((rows["instrument"], rows["timeframe"], rows["ts_close"]))], symbols)


class _History:
    """The part of a history that a Scan asks for; one endless session without rolls."""

    sparse = True
    events: tuple[()] = ()

    def __init__(self, rows: Records, symbols: list[str]) -> None:
        self.rows = rows
        self._groups = sorted({group_of(symbol) for symbol in symbols})
        self.start_ns = int(rows["ts_close"][0]) - MINUTE_NS
        self.end_ns = int(rows["ts_close"][-1])

    def windows(self, profile: str, more: Iterable[str] = ()) -> dict[str, Windows]:
        """Windows without an end: hours and days are those of the files, whatever the profile."""
        columns = (np.array([value], np.int64) for value in (0, _FOREVER_NS, 1, 0, _FOREVER_NS, 0, _FOREVER_NS))
        window = Windows(*columns)
        return dict.fromkeys(self._groups, window)

    def chunks(self) -> Iterator[Records]:
        yield self.rows


def stamps_of(frame: pl.DataFrame) -> I64:
    """Starts of bars, ns of the naive clock."""
    return frame["datetime"].dt.timestamp("ns").to_numpy()


def _rows(frame: pl.DataFrame, i: int, timeframe: int, opens: Any, closes: Any) -> Records:
    rows = np.zeros(len(frame), dtypes.HISTORY)
    rows["instrument"], rows["timeframe"] = i, timeframe
    rows["ts_open"], rows["ts_close"] = opens, closes
    for name in ("open", "high", "low", "close", "volume"):
        rows[name] = frame[name].to_numpy()
    return rows


class Harness:
    """The strategy compiled once per kind of list, with every feature its lists ask for; a run switches on its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bars = Bars(folder)
        self.models: dict[str, dict[str, Any]] = _json(folder / "ml_models.json")
        self._filters: dict[str, Feature] = {}
        variants = _json(folder / "variants.json")
        self.default = self._named(translate({}))  # first: its names are the same whatever other lists there are
        self._translations = {key: self._named(translate(item["old_params"])) for key, item in variants.items()}
        self.columns = self._columns()
        names = {name for key in self.models for name in self.inputs(key).values()}
        self._models = {f"m_{name}": catalogue(name) for name in sorted(names)}
        self._gate = {filter_field(name): item.feature for name, item in self.default.filters.items()}

    @functools.cached_property
    def of_default(self) -> Compiled:
        """For the lists without filters of their own."""
        return _compile(self._gate)

    @functools.cached_property
    def of_variants(self) -> Compiled:
        """With the filters of every variant."""
        return _compile(self._filters)

    @functools.cached_property
    def of_models(self) -> Compiled:
        """With what the models read."""
        return _compile(self._gate | self._models)

    @functools.cached_property
    def of_columns(self) -> Compiled:
        """With every recorded column."""
        columns = {field_of("features", name): feature for name, feature in self.columns.items()}
        columns |= {field_of("indicators", name): feature for name, feature in INDICATORS.items()}
        return _compile(self._gate | self._models | columns)

    def _named(self, translation: Translation) -> Translation:
        """The same filters under names that no other list uses for another feature."""
        filters = {}
        for name, item in translation.filters.items():
            number = 0
            while self._filters.setdefault(filter_field(f"{name}_{number}"), item.feature) != item.feature:
                number += 1
            filters[f"{name}_{number}"] = item
        return msgspec.structs.replace(translation, filters=filters)

    def _columns(self) -> dict[str, Feature]:
        path = self.folder / "features.parquet"
        names = pl.read_parquet_schema(path) if path.is_file() else ()
        return {name: _column_feature(name) for name in names if name not in ("symbol", "datetime")}

    def inputs(self, key: str) -> dict[str, str]:
        """Inputs of a recorded model ("ml_hourly:6A") reads, by its own names and by the catalogue's."""
        names = self.models[key]["features"]
        return dict(zip(names, old_names(names, self.folder / "ml_models.json"), strict=True))

    def engine(
        self,
        compiled: Compiled,
        symbol: str,
        translation: Translation,
        fill: str = "next_open",
        ticks: float = 0.0,
        veto: Logistic | None = None,
    ) -> Engine:
        """Engine of an instrument alone, as the old runs were made; the others are there to be read."""
        cls = load("ibs")
        params = {name: param.default for name, param in cls.declared().items()} | translation.params
        symbols = [symbol, *(other for other in self.bars.symbols if other != symbol)]
        instruments = [
            EngineInstrument(
                name,
                group_of(name),
                old_system.TICKS.get(name, 0.01),
                1.0,
                0.0,
                ticks,
                1,
                params,
                traded=name == symbol,
            )
            for name in symbols
        ]
        limits = Limits(
            starting_cash=1e12,
            max_positions=1,
            daily_stop_loss=1e12,
            reentry_wait_s=0.0,
            fill=fill,
            entry_windows=tuple(map(span_ns, translation.entry_windows)),
            auto_close_ns=time_of_day_ns(translation.auto_close),
            warm_up_bars=FIRST_BAR_V1,
            profile="v1",
        )
        return Engine(compiled, instruments, limits, translation.filters, {symbol: veto} if veto else {})

    def trades(self, engine: Engine) -> list[ListedTrade]:
        """Closed trades of a run."""
        history = self.bars.history([instrument.symbol for instrument in engine.instruments])
        scan = Scan(engine, cast("History", history))
        for chunk in history.chunks():
            scan.step(chunk)
        own = self.bars.hourly.filter(pl.col("symbol") == engine.instruments[0].symbol)
        opens = stamps_of(own)

        def signal(ts_mark: int) -> int:
            """Start of the bar that was looked at: the last one, also where the mark is another instrument's."""
            return int(opens[np.searchsorted(opens, ts_mark - HOUR_NS, "right") - 1])

        coc = engine.limits.fill == "signal_close"
        found = []
        for row in scan.closed():
            signals = signal(int(row["entry_mark"])), signal(int(row["exit_mark"]))
            fills = signals if coc else (int(row["entry_ts"]), int(row["exit_ts"]))
            reason = REASONS[Cause(int(row["cause"])).name.lower()]
            prices = float(row["entry_price"]), float(row["exit_price"])
            found.append(ListedTrade(signals[0], fills[0], prices[0], signals[1], reason, fills[1], prices[1]))
        return found

    def run(self, name: str, symbol: str) -> list[ListedTrade]:
        """Trades of a list: default, coc_slip1, ml_hourly, ml_daily or a variant."""
        if name == "default":
            return self.trades(self.engine(self.of_default, symbol, self.default))
        if name == "coc_slip1":
            translation = msgspec.structs.replace(self.default, filters={})
            return self.trades(self.engine(self.of_default, symbol, translation, "signal_close", 1.0))
        if f"{name}:{symbol}" in self.models:
            return self.trades(self.engine(self.of_models, symbol, self.default, veto=self.veto(name, symbol)))
        return self.trades(self.engine(self.of_variants, symbol, self._translations[f"{name}:{symbol}"]))

    def veto(self, name: str, symbol: str) -> Logistic:
        """A recorded model."""
        model = self.models[f"{name}:{symbol}"]
        inputs = []
        for given, feature in self.inputs(f"{name}:{symbol}").items():
            numbers = model["coef"][given]
            required = catalogue(feature).kernel == "cross_z_v1"
            inputs.append((f"m_{feature}", required, numbers["mean"], numbers["sd"], numbers["weight"]))
        return Logistic(tuple(inputs), model["intercept"], model["clip"], model["threshold"])

    def values(self, symbol: str) -> tuple[I64, F64]:
        """Stamp of every bar of `symbol` from the first that decides, and all values after it."""
        engine = self.engine(self.of_columns, symbol, self.default)
        history = self.bars.history([instrument.symbol for instrument in engine.instruments])
        return values_by_bar(engine, history.rows)


def values_by_bar(engine: Engine, rows: Records) -> tuple[I64, F64]:
    """Step the engine mark by mark; its values as the decision of each bar of the first instrument saw them."""
    history = _History(rows, [instrument.symbol for instrument in engine.instruments])
    scan = Scan(engine, cast("History", history))
    stamps, found = [], []
    ends, first = np.unique(rows["ts_close"], return_index=True)
    bounds = np.append(first, len(rows))
    for k in range(len(ends)):
        chunk = rows[bounds[k] : bounds[k + 1]]
        scan.step(chunk)
        own = chunk[(chunk["instrument"] == 0) & (chunk["timeframe"] == 1)]
        if len(own):
            stamps.append(int(own["ts_open"][0]))
            found.append(engine.values(engine.instruments[0].symbol))
    return np.array(stamps, np.int64), np.array(found)


def _compile(features: dict[str, Feature]) -> Compiled:
    params = {name: param.default for name, param in load("ibs").declared().items()}
    stop = {"stop_atr": Feature("atr", "hourly", 14)}
    return compile_strategy("ibs", params | {"first_bar": FIRST_BAR_V1}, features | stop)


def _json(path: Path) -> dict[str, Any]:
    """Empty where there is no such file: a folder may hold fewer lists."""
    return read_json(path, dict[str, Any], 64 * MIB) if path.is_file() else {}


def _column_feature(name: str) -> Feature:
    if name == "mom3_z":  # what the old code computed where its own alias gap was not in the way
        return catalogue(name)
    if name == "mom3_z_pct":
        ranked = catalogue("volz_pct_v1")
        return msgspec.structs.replace(ranked, of=(catalogue("mom3_z"), *ranked.of[1:]))
    return catalogue(f"{name}_asked_v1" if name in ASKED else f"{name}_v1")


def field_of(file: str, name: str) -> str:
    """Field of the strategy's values that holds a column of a file."""
    return f"{'i' if file == 'indicators' else 'x'}_{name}"
