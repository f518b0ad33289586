"""`python -m research.parity DIR`: the real `ibs` strategy, profile v1, against recorded runs of the old system.

DIR is laid out like the recorded set (its README): hourly and daily bars with naive exchange-local stamps, `trades.csv`
and, as far as they are there, other lists and values of indicators, features and scores. Stamps are taken as they are
and compared across instruments as they are. The step is the one that trades: trades come out of the compiled scan,
values out of the engine, bar by bar.
"""

import functools
import gzip
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import click
import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from research import old_system
from research.backtest import Scan
from research.history import History, Windows
from research.old_models import old_names
from research.old_system import Translation, translate
from rooney.catalogue import catalogue
from rooney.engine import Engine, EngineInstrument, Limits, Logistic
from rooney.errors import RooneyError
from rooney.filters import filter_field
from rooney.instruments import group_of
from rooney.kernels import dtypes
from rooney.registry import Feature
from rooney.sessions import HOUR_NS, MINUTE_NS
from rooney.strategy import Compiled, compile_strategy, load

FIRST_BAR = 252  # old system §1.4
REASONS = {
    "stop": "stop loss",
    "target": "take profit",
    "rule": "IBS exit",
    "time_stop": "bar stop",
    "auto_close": "auto close",
}
PRICE_TOLERANCE = 1e-9
VALUES = ("indicators", "features", "ml_inputs")
COUNTS = ("expected", "equal", "missing", "extra")
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


class Trade(msgspec.Struct, frozen=True, order=True):
    """One row of a trade list; stamps are starts of bars, ns of the naive clock."""

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
            opens = _stamps(hours)
            parts.append(_rows(hours, i, 1, opens, opens + HOUR_NS))
            opens = _stamps(days)
            ends = np.append(opens[1:], opens[-1:] + _DAY_NS)
            parts.append(_rows(days, i, 2, opens, ends))
            parts.append(_rows(days, i, 3, opens, opens))  # complete at its start: what the old backtests looked at
        rows = np.concatenate(parts)
        return _History(rows[np.lexsort((rows["instrument"], rows["timeframe"], rows["ts_close"]))], symbols)


class _History:
    """What a Scan asks of a history; one endless session without rolls."""

    sparse = True
    events: tuple[()] = ()

    def __init__(self, rows: NDArray[np.void], symbols: list[str]) -> None:
        self.rows = rows
        self._groups = sorted({group_of(symbol) for symbol in symbols})
        self.start_ns = int(rows["ts_close"][0]) - MINUTE_NS
        self.end_ns = int(rows["ts_close"][-1])

    def windows(self, profile: str, more: Iterable[str] = ()) -> dict[str, Windows]:
        """One window without an end: hours and days are those of the files, whatever the profile."""
        columns = (np.array([value], np.int64) for value in (0, _FOREVER_NS, 1, 0, _FOREVER_NS, 0))
        window = Windows(*columns)
        return dict.fromkeys(self._groups, window)

    def chunks(self) -> Iterator[NDArray[np.void]]:
        yield self.rows


def _stamps(frame: pl.DataFrame) -> NDArray[np.int64]:
    return frame["datetime"].dt.timestamp("ns").to_numpy()


def _rows(frame: pl.DataFrame, i: int, timeframe: int, opens: Any, closes: Any) -> NDArray[np.void]:
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
        columns = {_field("features", name): feature for name, feature in self.columns.items()}
        columns |= {_field("indicators", name): feature for name, feature in INDICATORS.items()}
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
        """What a recorded model ("ml_hourly:6A") reads, by its own names and by the catalogue's."""
        names = self.models[key]["features"]
        return dict(zip(names, old_names(names, self.folder / "ml_models.json"), strict=True))

    def engine(
        self, compiled: Compiled, symbol: str, translation: Translation, fill: str = "next_open", ticks: float = 0.0,
        veto: Logistic | None = None,
    ) -> Engine:  # fmt: skip
        """One instrument alone, as the old runs were made; the others are there to be read."""
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
            entry_windows=tuple(map(_span_ns, translation.entry_windows)),
            auto_close_ns=-1 if translation.auto_close == "off" else _time_ns(translation.auto_close),
            warm_up_bars=FIRST_BAR,
            profile="v1",
        )
        return Engine(compiled, instruments, limits, translation.filters, {symbol: veto} if veto else {})

    def trades(self, engine: Engine) -> list[Trade]:
        """Closed trades of a run."""
        history = self.bars.history([instrument.symbol for instrument in engine.instruments])
        scan = Scan(engine, cast("History", history))
        for chunk in history.chunks():
            scan.step(chunk)
        own = self.bars.hourly.filter(pl.col("symbol") == engine.instruments[0].symbol)
        opens = _stamps(own)

        def signal(ts_mark: int) -> int:
            """Start of the bar that was looked at: the last one, also where the mark is another instrument's."""
            return int(opens[np.searchsorted(opens, ts_mark - HOUR_NS, "right") - 1])

        coc = engine.limits.fill == "signal_close"
        found = []
        for row in scan.closed():
            signals = signal(int(row["entry_mark"])), signal(int(row["exit_mark"]))
            fills = signals if coc else (int(row["entry_ts"]), int(row["exit_ts"]))
            reason = REASONS[dtypes.Cause(int(row["cause"])).name.lower()]
            prices = float(row["entry_price"]), float(row["exit_price"])
            found.append(Trade(signals[0], fills[0], prices[0], signals[1], reason, fills[1], prices[1]))
        return found

    def run(self, name: str, symbol: str) -> list[Trade]:
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

    def values(self, symbol: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Stamp of every bar of `symbol` from the first that decides, and all values after it."""
        engine = self.engine(self.of_columns, symbol, self.default)
        history = self.bars.history([instrument.symbol for instrument in engine.instruments])
        return values_by_bar(engine, history.rows)


def values_by_bar(engine: Engine, rows: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
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
    return compile_strategy("ibs", params | {"first_bar": FIRST_BAR}, features | stop)


def _json(path: Path) -> dict[str, Any]:
    """Empty where there is no such file: a folder may hold fewer lists."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def _column_feature(name: str) -> Feature:
    if name == "mom3_z":  # what the old code computed where its own alias gap was not in the way
        return catalogue(name)
    if name == "mom3_z_pct":
        ranked = catalogue("volz_pct_v1")
        return msgspec.structs.replace(ranked, of=(catalogue("mom3_z"), *ranked.of[1:]))
    return catalogue(f"{name}_asked_v1" if name in ASKED else f"{name}_v1")


def _span_ns(span: str) -> tuple[int, int]:
    begin, end = span.split("-")
    return _time_ns(begin), _time_ns(end)


def _time_ns(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * HOUR_NS + int(minute) * MINUTE_NS


def recorded(folder: Path) -> dict[tuple[str, str], list[Trade]]:
    """Every trade list of a folder by (list, symbol); those the old code could not run, or nobody, are not there."""
    frames = {"default": pl.read_csv(folder / "trades.csv").with_columns(pl.lit("default").alias("variant"))}
    for path in (folder / "trades_other.csv.gz", folder / "trades_variants.csv.gz"):
        if path.is_file():
            frames[path.name] = pl.read_csv(gzip.decompress(path.read_bytes()))
    found: dict[tuple[str, str], list[Trade]] = {}
    for frame in frames.values():
        stamps = [
            pl.col(name).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ns").dt.timestamp("ns")
            for name in ("entry_signal_time", "entry_time", "exit_signal_time", "exit_time")
        ]
        rows = frame.with_columns(stamps).select(
            "variant", "symbol", "entry_signal_time", "entry_time", "entry_price", "exit_signal_time", "exit_reason",
            "exit_time", "exit_price",
        )  # fmt: skip
        for variant, symbol, *trade in rows.iter_rows():
            found.setdefault((variant, symbol), []).append(Trade(*trade))
    return found


class Compared(msgspec.Struct, frozen=True):
    """One list: how many trades were recorded, and how ours differ. same: up to PRICE_TOLERANCE in prices."""

    expected: int
    equal: int
    missing: list[Trade]
    extra: list[Trade]


def compare(expected: list[Trade], ours: list[Trade]) -> Compared:
    """Match by entry signal; a trade that differs in anything is missing and extra."""
    by_signal = {trade.entry_signal: trade for trade in ours}
    equal = {trade.entry_signal for trade in expected if _same(trade, by_signal.get(trade.entry_signal))}
    return Compared(
        len(expected),
        len(equal),
        [trade for trade in expected if trade.entry_signal not in equal],
        [trade for trade in ours if trade.entry_signal not in equal],
    )


def _same(one: Trade, other: Trade | None) -> bool:
    if other is None:
        return False
    stamps = (one.entry, one.exit_signal, one.reason, one.exit) == (
        other.entry, other.exit_signal, other.reason, other.exit,
    )  # fmt: skip
    prices = ((one.entry_price, other.entry_price), (one.exit_price, other.exit_price))
    return stamps and all(math.isclose(a, b, rel_tol=PRICE_TOLERANCE) for a, b in prices)


def columns(harness: Harness, symbol: str) -> dict[str, dict[str, float]]:
    """Worst relative difference of each column of indicators and features, and of the scores, for one instrument.

    Scores of the recorded inputs, and of our own values of them. The old code squared a mean with pow(), which now and
    then rounds otherwise than a product, so some of its deviations differ from ours in the tenth digit.
    """
    if not any((harness.folder / f"{file}.parquet").is_file() for file in VALUES):
        return {}
    stamps, values = harness.values(symbol)
    fields = {field: k for k, field in enumerate(harness.of_columns.layout.fields)}
    found: dict[str, dict[str, float]] = {}
    for file, named in (("indicators", INDICATORS), ("features", harness.columns)):
        if not (path := harness.folder / f"{file}.parquet").is_file():
            continue
        frame = pl.read_parquet(path).filter(pl.col("symbol") == symbol)
        at = np.searchsorted(stamps, _stamps(frame))
        found[file] = {
            name: worst(frame[name].cast(pl.Float64).to_numpy(), values[at, fields[_field(file, name)]])
            for name in named
            if name in frame.columns
        }
    if not (path := harness.folder / "ml_inputs.parquet").is_file():
        return found
    scored = pl.read_parquet(path).filter(pl.col("symbol") == symbol)
    found["scores"], found["scores of our values"] = {}, {}
    for (name,), frame in scored.group_by("variant", maintain_order=True):
        engine = harness.engine(harness.of_columns, symbol, harness.default, veto=harness.veto(str(name), symbol))
        expected = frame["ml_score"].to_numpy()
        at = np.searchsorted(stamps, _stamps(frame))
        found["scores of our values"][str(name)] = worst(
            expected, np.array([engine.score(symbol, values[k]) for k in at])
        )
        given = np.full((len(frame), len(fields)), math.nan)
        for own, feature in harness.inputs(f"{name}:{symbol}").items():
            given[:, fields[f"m_{feature}"]] = frame[own].cast(pl.Float64).to_numpy()
        found["scores"][str(name)] = worst(expected, np.array([engine.score(symbol, row) for row in given]))
    return found


def _field(file: str, name: str) -> str:
    return f"{'i' if file == 'indicators' else 'x'}_{name}"


def worst(expected: NDArray[np.float64], ours: NDArray[np.float64]) -> float:
    """Largest relative difference; infinite where one of the two has no value."""
    missing = np.isnan(expected)
    if (missing != np.isnan(ours)).any():
        return math.inf
    known, found = expected[~missing], ours[~missing]
    # A difference of two numbers that should be 0 is judged by the size of the column, not by its own.
    floor = 0.01 * float(np.median(np.abs(known))) if len(known) else 0.0
    scale = np.maximum(np.maximum(np.abs(known), np.abs(found)), max(floor, 1e-12))
    return float((np.abs(known - found) / scale).max()) if len(known) else 0.0


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="one JSON object instead of tables")
def main(folder: Path, as_json: bool) -> None:
    """Compare the ibs strategy (profile v1) with the recorded runs of the old system in FOLDER; 1 if a trade differs.

    As JSON: `lists`, each with expected, equal, missing and extra trades in all and in `symbols`, and per file of
    values the worst relative difference of each column, null where one side has no value.
    """
    try:
        harness = Harness(folder)
        lists = recorded(folder)
    except (OSError, KeyError, ValueError, pl.exceptions.PolarsError, RooneyError) as error:
        raise click.ClickException(f"{folder}: not laid out like the recorded set: {error}") from error
    report = Report(harness, lists, as_json)
    differing = report.trades()
    report.values()
    if as_json:
        click.echo(json.dumps(report.found))
    raise SystemExit(1 if differing else 0)


class Report:
    """Runs everything and says it, as it goes or at the end."""

    def __init__(self, harness: Harness, lists: dict[tuple[str, str], list[Trade]], quiet: bool) -> None:
        self._harness = harness
        self._lists = lists
        self._quiet = quiet
        self.found: dict[str, Any] = {"lists": {}}

    def _say(self, text: str) -> None:
        if not self._quiet:
            click.echo(text)

    def trades(self) -> int:
        """How many lists differ."""
        self._say(f"{'list':<24}{'symbol':<8}" + "".join(f"{name:>9}" for name in COUNTS))
        differing = 0
        for (name, symbol), expected in self._lists.items():
            result = compare(expected, self._harness.run(name, symbol))
            row = dict(
                zip(COUNTS, (result.expected, result.equal, len(result.missing), len(result.extra)), strict=True)
            )
            found = self.found["lists"].setdefault(name, dict.fromkeys(COUNTS, 0) | {"symbols": {}})
            found["symbols"][symbol] = row
            for count, number in row.items():
                found[count] += number
            self._say(f"{name:<24}{symbol:<8}" + "".join(f"{number:>9}" for number in row.values()))
            for word, trades in (("missing", result.missing), ("extra", result.extra)):
                for trade in trades[:3]:
                    self._say(f"    {word}: {_described(trade)}")
            differing += bool(result.missing or result.extra)
        total = [sum(found[count] for found in self.found["lists"].values()) for count in COUNTS]
        self._say(f"{'all':<32}" + "".join(f"{number:>9}" for number in total))
        return differing

    def values(self) -> None:
        """Worst relative difference of every column, over all instruments."""
        worst_of: dict[str, dict[str, float]] = {}
        for symbol in dict.fromkeys(symbol for _, symbol in self._lists):
            for file, found in columns(self._harness, symbol).items():
                for name, difference in found.items():
                    known = worst_of.setdefault(file, {})
                    known[name] = max(known.get(name, 0.0), difference)
        for file, found in worst_of.items():
            self.found[file] = {name: number if math.isfinite(number) else None for name, number in found.items()}
            self._say(f"\n{file}: worst relative difference")
            for name, difference in found.items():
                self._say(f"  {name:<40}{difference:.1e}")


def _described(trade: Trade) -> str:
    entry, out = (np.datetime64(ts, "ns").astype("datetime64[m]") for ts in (trade.entry_signal, trade.exit_signal))
    return f"{entry} at {trade.entry_price:g}, {out} at {trade.exit_price:g}, {trade.reason}"


if __name__ == "__main__":
    main()
