"""`rooney backtest`: history → the step that trades live → trades, equity, measures, report."""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from research.backtest import metrics
from research.backtest.result import Result
from research.history import sessions as calendar
from research.history.history import History
from research.history.progress import Steps, unwatched
from rooney.config.settings import StrategyConfig
from rooney.engine.build import build_engine
from rooney.engine.engine import Engine
from rooney.engine.model_checks import configured_vetoes
from rooney.format import iso
from rooney.kernels import dtypes
from rooney.kernels.array_types import I64, Records
from rooney.kernels.codes import Cause
from rooney.ledger.records import decode_book
from rooney.market.instruments import contract_from_number, group_of
from rooney.market.sessions import MINUTE_NS
from rooney.models.forest import NoModel
from rooney.orders.decisions import Decisions, intent_of
from rooney.orders.intents import Intent
from rooney.strategy.entry_filters import entry_filters
from rooney.strategy.hooks import Hooks
from rooney.strategy.loader import find, load

_ROWS = 1 << 16  # room for trades and equity rows, doubled when a chunk fills it
_DIGEST_START = 1_469_598_103_934_665_603


def roots_of(strategy: StrategyConfig) -> list[str]:
    """Whose bars its backtest reads: all it trades, then those its features read besides."""
    return [instrument.symbol for instrument in build_engine(strategy).instruments]


def run(
    strategy: StrategyConfig,
    history: History,
    progress: Steps = unwatched,
    decided: Callable[[Decisions], None] | None = None,
) -> Result:
    """Step a strategy through history, exactly as a live worker would step the hub's minutes.

    Bars that the files say were there before the run warm it up as they did its worker. Every intent counts as
    acknowledged at once. A strategy with hooks of its own is stepped mark by mark, far slower,
    and told of each; so is one whose decisions are asked for. progress: called with the share that is done; decided:
    with what each mark decides
    """
    from research.backtest.warm_start import warm_start  # which steps a Scan

    engine = build_engine(strategy)
    scan = Scan(engine, history)
    begin_ns = history.warm_up_until_ns
    chunks = warm_start(scan, engine, history, begin_ns).chunks if begin_ns else history.chunks()
    hooks = Hooks(engine.compiled.instance())
    began = time.perf_counter()
    engine_s = 0.0
    for chunk in chunks:
        started = time.perf_counter()
        if hooks.wanted or decided is not None:
            for decisions in scan.marks_of(chunk):
                hooks.call(_intents(decisions, strategy), decisions.trades)
                if decided is not None:
                    decided(decisions)
        else:
            scan.step(chunk)
        engine_s += time.perf_counter() - started
        progress((int(chunk["ts_open"][-1]) - history.start_ns) / (history.end_ns - history.start_ns))
    load_s = time.perf_counter() - began - engine_s
    return result(strategy, scan, history, load_s, engine_s)


def _intents(decisions: Decisions, strategy: StrategyConfig) -> list[Intent]:
    """As a worker whose orders are all acknowledged plans them, so at most one per contract, role and mark."""
    name, mode = strategy.name, strategy.settings.mode
    return [
        intent_of(one, name, mode, strategy.traded[one.symbol].root, decisions.ts_mark, 0, lambda _: False)
        for one in decisions.intents
    ]


def result(strategy: StrategyConfig, scan: "Scan", history: History, load_s: float, engine_s: float) -> Result:
    """Result of a scan."""
    trades, equity, cash_usd = scan.trades(), scan.equity(), strategy.settings.starting_cash
    book = scan.engine.book()
    account, held = decode_book(book.layout, book.data)
    opened = tuple(one for one in held if one.side)
    daily = equity.group_by("trade_date", maintain_order=True).agg(pl.col("equity_usd").last())
    holes = pl.Series(history.dates()[1].astype(np.int32)).cast(pl.Date)
    # What an operator booked on a date without bars still counts on it.
    has_moved = pl.col("equity_usd") != pl.col("equity_usd").shift(1, fill_value=cash_usd)
    daily = daily.filter(~pl.col("trade_date").is_in(holes.to_list()) | has_moved)
    holes = holes.filter(holes.is_between(daily["trade_date"].min(), daily["trade_date"].max()))
    open_usd = account.open_usd - sum(one.costs_usd for one in opened)
    return Result(
        strategy.name,
        trades,
        opened,
        equity,
        daily,
        tuple(holes.to_list()),
        metrics.measure(trades, opened, open_usd, equity, daily, cash_usd),
        f"{scan.digest:016x}",
        history.bars,
        scan.marks,
        scan.decisions,
        load_s,
        engine_s,
    )


class Scan:
    """The compiled scan with its arrays: an engine's state is advanced chunk by chunk."""

    def __init__(
        self,
        engine: Engine,
        history: History,
        recorded: Records | None = None,
        visited: Sequence[str] = (),
    ) -> None:
        """recorded: RECORDED outcomes, none: all is acknowledged; visited: groups whose minutes are marks, too."""
        self.engine = engine
        n = len(engine.instruments)
        symbols = [instrument.symbol for instrument in engine.instruments]
        groups = sorted({group_of(symbol) for symbol in symbols} | set(visited))
        windows = history.windows(engine.limits.profile, groups)
        parts, first = [], [0]
        for group in groups:
            window = windows[group]
            part = np.zeros(len(window.open_ns), dtypes.WINDOW)
            for name in dtypes.WINDOW.names or ():
                part[name] = getattr(window, name)
            parts.append(part)
            first.append(first[-1] + len(part))
        self._windows = np.concatenate(parts)
        self._first_window = np.array(first, np.int64)
        self._window_at = self._first_window[:-1].copy()
        self._window_of = np.zeros(n, np.int64)
        self._group_of = np.array([groups.index(group_of(symbol)) for symbol in symbols], np.int64)
        self._events = np.zeros(len(history.events), dtypes.ROLL_EVENT)
        for k, event in enumerate(history.events):
            self._events[k] = (event.ts, symbols.index(event.root), event.contract, event.old_last, event.new_last)
        self._recorded = recorded if recorded is not None else np.zeros(0, dtypes.RECORDED)
        self._hours = np.zeros(n, dtypes.SPAN)
        self._days = engine.days_in_progress()
        self._progress = np.zeros(1, dtypes.PROGRESS)
        self._progress["ts_ns"] = history.start_ns - history.start_ns % 60_000_000_000
        self._progress["digest"] = _DIGEST_START
        self._sparse = int(history.sparse)
        self._found: list[Records] = []
        self._curve: list[Records] = []
        self.marks = 0

    @property
    def digest(self) -> int:
        """FNV-1a over every decision so far."""
        return int(self._progress["digest"][0])

    @property
    def is_waiting(self) -> bool:
        """True if something decided at the last mark is acknowledged at the next one."""
        return int(self._progress["n_pending"][0]) > 0

    def forget(self) -> None:
        """Begin the digest again, from the next mark on."""
        self._progress["digest"] = _DIGEST_START

    @property
    def decisions(self) -> int:
        """Decisions so far: one per instrument and completed bar of the strategy's timeframe."""
        return int(self._progress["decisions"][0])

    def begin(self, ts_ns: int, hours: Records, days: Records) -> None:
        """Go on after the minute that ended at `ts_ns`. hours, days: SPAN per instrument, in progress then."""
        self._progress["ts_ns"] = ts_ns
        self._progress["event"] = np.searchsorted(self._events["ts"], ts_ns, "right")
        self._hours[:], self._days[:] = hours, days

    def step(self, chunk: Records, until_ns: int | None = None) -> int:
        """Advance through the minutes of a chunk, the last one or `until_ns` ends it; how many there were."""
        progress = self._progress
        progress["bar"] = 0
        until_ns = int(chunk["ts_close"][-1]) if until_ns is None else until_ns
        span_hours = (until_ns - int(progress["ts_ns"][0])) // 3_600_000_000_000 + 2
        n = len(self._group_of)
        minutes = (until_ns - int(progress["ts_ns"][0])) // 60_000_000_000 + 1
        # at most two trades end per instrument and mark: a walk from minute to minute needs no room for a month
        rows = min(max(_ROWS, int(span_hours) * n), 2 * int(minutes) * n)
        found = np.zeros(rows, dtypes.TRADE)
        curve = np.zeros(2 * int(span_hours), dtypes.EQUITY)  # fewer windows close than hours
        progress["n_trades"] = progress["n_equity"] = 0
        arguments = (
            *self.engine.arrays(),
            chunk,
            self._windows,
            self._first_window,
            self._group_of,
            self._events,
            self._recorded,
            self._hours,
            self._days,
            progress,
            self._window_at,
            self._window_of,
            *calendar.trade_dates(),
            found,
            curve,
            until_ns,
            self._sparse,
        )
        try:
            marks = int(self.engine.compiled.module.scan(*arguments))
        except Exception as error:  # the first call compiles the rules
            raise self.engine.explain(error) from error
        self.marks += marks
        self._found.append(found[: int(progress["n_trades"][0])].copy())
        self._curve.append(curve[: int(progress["n_equity"][0])].copy())
        return marks

    def marks_of(self, chunk: Records, until_ns: int | None = None) -> Iterator[Decisions]:
        """Decisions of every mark on the way through a chunk, minute by minute, as far as `step` would go."""
        at_ns, past = int(self._progress["ts_ns"][0]), 0
        until_ns = int(chunk["ts_close"][-1]) if until_ns is None else until_ns
        ends: Sequence[int] = range(at_ns + MINUTE_NS, until_ns + 1, MINUTE_NS)
        if self._sparse:  # without minutes there is a mark where a bar was known, and nowhere else
            ends = np.unique(chunk["ts_close"]).tolist()
        for end_ns in ends:
            first, past = past, int(np.searchsorted(chunk["ts_close"], end_ns, "right"))
            if self.step(chunk[first:past], end_ns):
                yield self.engine.read(end_ns)

    def closed(self) -> Records:
        """TRADE records of all closed trades, in the order they were closed."""
        return np.concatenate(self._found) if self._found else np.zeros(0, dtypes.TRADE)

    def trades(self) -> pl.DataFrame:
        """Closed trades, in the order they were closed; `trades.parquet`."""
        rows = self.closed()
        symbols = [instrument.symbol for instrument in self.engine.instruments]
        symbol = [symbols[i] for i in rows["instrument"].tolist()]
        raw = [
            contract_from_number(root, number).raw if number else root
            for root, number in zip(symbol, rows["contract"].tolist(), strict=True)
        ]
        return pl.DataFrame(
            {
                "symbol": pl.Series(symbol, dtype=pl.String),
                "contract": pl.Series(raw, dtype=pl.String),
                "side": rows["side"],
                "quantity": rows["quantity"],
                "entry_ts": _times(rows["entry_ts"]),
                "entry_price": rows["entry_price"],
                "exit_ts": _times(rows["exit_ts"]),
                "exit_price": rows["exit_price"],
                "exit_reason": pl.Series([Cause(c).name.lower() for c in rows["cause"].tolist()], dtype=pl.String),
                "pnl_usd": rows["pnl_usd"],
                "costs_usd": rows["costs_usd"],
                "bars_held": rows["bars_held"],
                "ml_score": rows["score"],
            }
        )

    def equity(self) -> pl.DataFrame:
        """Equity, open positions marked, at the end of each session hour, of each session and of the run.

        `equity.parquet` has ts, equity, drawdown.
        """
        last = np.zeros(1, dtypes.EQUITY)
        last["ts"], last["trade_date"] = self._progress["ts_ns"], self._progress["trade_date"]
        last["equity_usd"] = self.engine.equity()[0]
        rows = np.concatenate([*self._curve, last])
        rows = rows[np.append(rows["ts"][:-1] < last["ts"], True)]
        peak = np.maximum.accumulate(np.concatenate(([self.engine.limits.starting_cash], rows["equity_usd"])))[1:]
        return pl.DataFrame(
            {
                "ts": _times(rows["ts"]),
                "trade_date": pl.Series(rows["trade_date"].astype(np.int32)).cast(pl.Date),
                "equity_usd": rows["equity_usd"],
                "drawdown_usd": peak - rows["equity_usd"],
            }
        )


def _times(ns: I64) -> pl.Series:
    return pl.Series(ns.astype(np.int64)).cast(pl.Datetime("ns", "UTC"))


_ENTRIES = {"next_open": "next minute's open", "signal_close": "close of the bar that decided"}
_ALL_ACKNOWLEDGED = "all acknowledged at once"


def summary(
    result: Result, strategy: StrategyConfig, history: History, outcomes: str = _ALL_ACKNOWLEDGED
) -> dict[str, Any]:
    """`summary.json`: measures, what made them, and how to know the run again.

    outcomes: what became of the orders: where it was read, or what was assumed
    """
    block = strategy.settings
    cls = load(strategy.strategy)
    declared = {key: (param.default, param.low, param.high) for key, param in cls.declared().items()}
    params = strategy.params(declared)
    own = {symbol: strategy.params(declared, symbol) for symbol in strategy.traded}
    return {
        "strategy": strategy.name,
        "file": str(find(strategy.strategy)),
        "profile": block.profile,
        "measures": {name: _plain(value) for name, value in result.measures.items()},
        "per_instrument": metrics.by_instrument(result.trades),
        "per_year": [
            {name: _plain(value) for name, value in row.items()}
            for row in metrics.by_year(result.daily, result.equity, block.starting_cash).to_dicts()
        ],
        "per_month": metrics.by_period(result.daily, block.starting_cash).to_dicts(),
        "parameters": params,
        "overrides": {
            symbol: changed
            for symbol, each in own.items()
            if (changed := {key: value for key, value in each.items() if value != params[key]})
        },
        "filters": {
            name: {key: _plain(value) for key, value in msgspec.to_builtins(item).items()}
            for name, item in entry_filters(strategy, cls).items()
        },
        "instruments": list(strategy.traded),
        "timeframe": cls.timeframe,
        "max_positions": block.max_positions,
        "thresholds": {
            symbol: model.threshold
            for symbol, model in configured_vetoes(strategy).items()
            if not isinstance(model, NoModel)
        },
        "open_positions": [
            {
                "symbol": held.symbol,
                "contract": held.contract,
                "side": int(held.side),
                "quantity": held.quantity,
                "entry_ts": iso(held.entry_ts),
                "entry_price": held.entry_price,
                "mark": held.mark,
            }
            for held in result.opened
        ],
        "without_bars": history.missing,
        "days_without_bars": [day.isoformat() for day in result.holes],
        "closes_only": history.closes_only,
        "findings": msgspec.to_builtins(history.findings),
        "fills": {
            "entry": _ENTRIES[block.fill],
            "exit": _ENTRIES[block.fill],
            "stop_fill": block.stop_fill,
            "slippage_ticks": {symbol: item.slippage_ticks for symbol, item in strategy.traded.items()},
            "profile": block.profile,
            "assumed": True,
            "outcomes": outcomes,
        },
        "span": [iso(history.warm_up_until_ns or history.start_ns), iso(history.end_ns)],
        "warm_up_from": iso(history.start_ns) if history.warm_up_until_ns else None,
        "bars": result.bars,
        "marks": result.marks,
        "decisions": result.decisions,
        "decision_digest": result.digest,
        "data_sha256": history.digest(),
        "load_s": round(result.load_s, 3),
        "engine_s": round(result.engine_s, 3),
    }


def write(result: Result, found: dict[str, Any], starting_cash: float, out: Path) -> None:
    """trades.parquet, equity.parquet, summary.json and report.html."""
    from research.backtest.report import html

    out.mkdir(parents=True, exist_ok=True)
    result.trades.write_parquet(out / "trades.parquet")
    result.equity.drop("trade_date").write_parquet(out / "equity.parquet")
    (out / "summary.json").write_text(json.dumps(found, indent=2, default=str) + "\n")
    (out / "report.html").write_text(html(result, found, starting_cash))


def _plain(value: Any) -> Any:
    """JSON knows no NaN: a measure that does not exist is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
