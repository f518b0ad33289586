"""Sources of `rooney compare`: a ledger, a backtest's folder, the old system's trades database or a CSV → a run.

A ledger is asked for decisions and orders only around the trades that differ, so that a year of minutes costs nothing.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from rooney.errors import ConfigError, LedgerError
from rooney.files import MIB, read_json, read_text
from rooney.ledger.reader import opened, table_names, table_rows
from rooney.ledger.records import Decision
from rooney.ledger.snapshot import LedgerView
from rooney.market.instruments import PRODUCTS, group_of
from rooney.market.sessions import CHICAGO, HOUR_NS, MINUTE_NS
from rooney.market.sessions_v1 import NEW_YORK_GROUPS
from rooney.orders.decisions import Trade
from rooney.orders.lifecycle import Order
from rooney.paths import LEDGER, ledger_names
from rooney.performance.runs import Assumed, Kind, Latency, OldTrade, Run

EXCHANGE = "exchange"  # the old system's research files: Chicago, for metals and energy New York
OLD_COMMISSION_USD = 2.50  # per contract and round turn, as the old system booked it (its §1.6)
_SQLITE = b"SQLite format 3\0"
_SIDES = {"long": 1, "buy": 1, "1": 1, "short": -1, "sell": -1, "-1": -1}
_OLD_CAUSES = {
    "stop loss": "stop",
    "take profit": "target",
    "ibs exit": "rule",
    "bar stop": "time_stop",
    "auto close": "auto_close",
}
_LATENCIES = 5_000  # newest ones
_SPAN = "symbol = ? AND ts_mark > ? AND ts_mark <= ?"
_NAMES = {  # of the old database, of its research files, of a backtest's trades as CSV
    "quantity": ("entry_size", "qty", "quantity", "size"),
    "entry": ("entry_time", "entry_ts"),
    "exit": ("exit_time", "exit_ts"),
    "pnl": ("pnl", "pnl_usd"),
    "costs": ("costs_usd",),
    "cause": ("exit_reason", "cause"),
    "score": ("ml_score", "entry_score"),
    "written": ("created_at",),
}


def read_run(given: str, state: Path, zone: str | None = None) -> Run:
    """The run a word on the command line means: the name of a strategy with a ledger, else a path.

    zone: of times that do not say theirs: a name of the time-zone database, or `exchange`
    Raises ConfigError, LedgerError.
    """
    if given in ledger_names(state):
        return of_ledger(state / given / LEDGER, given)
    path = Path(given)
    if not path.exists():
        known = ", ".join(ledger_names(state)) or "none"
        raise ConfigError(f"{given}: neither a strategy with a ledger in {state} ({known}) nor a file or folder")
    if path.is_dir():
        if (path / "trades.parquet").is_file():
            return of_backtest(path)
        if (path / LEDGER).is_file():
            return of_ledger(path / LEDGER)
        raise ConfigError(f"{given}: expected trades.parquet of a backtest or {LEDGER} in this folder, found neither")
    if not path.is_file():
        raise ConfigError(f"{given}: neither a file nor a folder")
    with path.open("rb") as file:
        is_sqlite = file.read(len(_SQLITE)) == _SQLITE
    if not is_sqlite:
        return of_csv(path, zone)
    tables = table_names(path)
    if "intent" in tables:
        return of_ledger(path)
    if "trades" in tables:
        return of_database(path, zone)
    raise ConfigError(f"{given}: a database without ledger and without a table `trades`; it has {', '.join(tables)}")


# -- ledgers --


class _LedgerWitness:
    """Asks a ledger, read only, each time anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def decisions(self, symbol: str, begin_ns: int, end_ns: int) -> Sequence[Decision]:
        """By time."""
        with opened(self._path) as ask:
            return ask.decisions(f"WHERE {_SPAN} ORDER BY ts_mark", (symbol, begin_ns, end_ns))

    def orders(self, symbol: str, begin_ns: int, end_ns: int) -> Sequence[Order]:
        """By time."""
        with opened(self._path) as ask:
            return ask.orders(_SPAN, (symbol, begin_ns, end_ns))


def of_ledger(path: Path, label: str = "") -> Run:
    """Run of a strategy by its ledger. Raises LedgerError."""
    portrait = LedgerView(path).look()
    assert portrait is not None, f"{path} is there"
    with opened(path) as ask:
        first = ask.rows("SELECT ts_mark FROM decision ORDER BY ts_mark LIMIT 1")
        marks = [ts for (ts,) in ask.rows("SELECT DISTINCT ts_mark FROM decision ORDER BY ts_mark DESC LIMIT 500")]
        decide = ask.rows(
            f"SELECT latency_ns FROM decision WHERE latency_ns > 0 ORDER BY ts_mark DESC LIMIT {_LATENCIES}"
        )
        send = ask.rows(f"SELECT latency_ns FROM event WHERE latency_ns > 0 ORDER BY seq DESC LIMIT {_LATENCIES}")
    # Of a dense tape the marks are known by their number alone; that is more than there is time, so it is only a bound.
    begins = [ts for ts in (*(ts for (ts,) in first), *(trade.entry_ts for trade in portrait.trades[:1])) if ts]
    return Run(
        label or portrait.name,
        Kind.LEDGER,
        tuple(msgspec.convert(trade, Trade, from_attributes=True) for trade in portrait.trades),
        min(begins, default=portrait.ts_mark),
        portrait.ts_mark,
        _timeframe(marks),
        portrait.start_usd,
        Assumed(symbols=tuple(held.symbol for held in portrait.held)),
        Latency(*_percentiles(decide), *_percentiles(send)),
        _LedgerWitness(path),
    )


def _timeframe(marks: Sequence[int]) -> str:
    """By how close together decisions are; empty for too few to tell. marks: newest first."""
    apart = [newer - older for newer, older in pairwise(marks)]
    if not apart:
        return ""
    return "1min" if min(apart) < 20 * MINUTE_NS else "hourly" if min(apart) < 12 * HOUR_NS else "daily"


def _percentiles(rows: Sequence[tuple[int]]) -> tuple[float, float]:
    """(50th, 99th), ms, nearest rank."""
    found = sorted(value / 1e6 for (value,) in rows)
    if not found:
        return math.nan, math.nan
    return found[(len(found) - 1) // 2], found[max(0, math.ceil(0.99 * len(found)) - 1)]


# -- backtests --


class _TableWitness:
    """Decisions a backtest kept."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _by_symbol(self) -> dict[str, list[Decision]]:
        found: dict[str, list[Decision]] = {}
        for row in _parquet(self._path):
            score = math.nan if row["score"] is None else row["score"]
            features = msgspec.json.decode(row["features"], type=dict[str, float | None])
            one = Decision(row["ts_mark"], row["symbol"], row["reason"], features, 0, score)
            found.setdefault(one.symbol, []).append(one)
        return found

    def decisions(self, symbol: str, begin_ns: int, end_ns: int) -> list[Decision]:
        """By time."""
        return [one for one in self._by_symbol.get(symbol, ()) if begin_ns < one.ts_mark <= end_ns]

    def orders(self, symbol: str, begin_ns: int, end_ns: int) -> Sequence[Order]:
        """A backtest sends none."""
        return ()


def of_backtest(folder: Path) -> Run:
    """Run that `rooney backtest NAME --out FOLDER` wrote. Raises ConfigError."""
    rows = _parquet(folder / "trades.parquet")
    named = {"cause": "exit_reason", "score": "ml_score"}
    trades = []
    for row in rows:
        values = {name: row[named.get(name, name)] for name in Trade.__struct_fields__}
        values |= {"score": math.nan if values["score"] is None else values["score"]}
        trades.append(Trade(**values))
    try:
        summary = read_json(folder / "summary.json", dict[str, Any], 64 * MIB, what="the summary of a backtest")
        fills = summary["fills"]
        begin_ns, end_ns = (int(datetime.fromisoformat(at).timestamp()) * 1_000_000_000 for at in summary["span"])
        assumed = Assumed(
            symbols=tuple(summary["instruments"]),
            slippage_ticks={symbol: float(ticks) for symbol, ticks in fills["slippage_ticks"].items()},
            thresholds=summary.get("thresholds") or {},
            fill=fills["entry"],
            stop_fill=fills["stop_fill"],
            max_positions=int(summary.get("max_positions") or 0),
            data=summary["data_sha256"],
            holes=frozenset(map(date.fromisoformat, summary.get("days_without_bars") or ())),
        )
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ConfigError(f"{folder}/summary.json: cannot be read as a backtest's: {error!r}") from error
    kept = folder / "decisions.parquet"
    run = Run(
        folder.name, Kind.BACKTEST, _by_exit(trades), begin_ns, end_ns, summary.get("timeframe", ""), assumed=assumed
    )
    return msgspec.structs.replace(run, witness=_TableWitness(kept)) if kept.is_file() else run


def _parquet(path: Path) -> list[dict[str, Any]]:
    try:
        import polars as pl
    except ImportError:
        raise ConfigError(
            f"{path}: Parquet needs polars, which is not installed (pip install 'rooney[research]')"
        ) from None
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; nothing was compared") from None
    times = [name for name, kind in frame.schema.items() if kind == pl.Datetime]
    return frame.with_columns(pl.col(name).dt.timestamp("ns") for name in times).to_dicts()


# -- the old system --


def of_database(path: Path, zone: str | None = None) -> Run:
    """The old system's `trades.db`; its times are UTC. Raises ConfigError."""
    try:
        rows = table_rows(path, "trades")
    except LedgerError as error:
        raise ConfigError(f"{error}; nothing was compared") from error
    return _old(path, rows, zone or "UTC", OLD_COMMISSION_USD)


def of_csv(path: Path, zone: str | None = None) -> Run:
    """Trades as CSV: the old database's columns, the old research files', or a backtest's. Raises ConfigError."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path, 256 * MIB, then="nothing was compared"), newline="")))
    except csv.Error as error:
        raise ConfigError(f"{path}: cannot be read as CSV: {error}; nothing was compared") from error
    is_research = bool(rows) and "entry_signal_time" in rows[0]
    return _old(path, rows, zone or (EXCHANGE if is_research else "UTC"), math.nan)


def _old(path: Path, rows: Sequence[Mapping[str, Any]], zone: str, commission_usd: float) -> Run:
    trades = []
    for number, row in enumerate(rows, 1):
        try:
            trades.append(_old_trade(row, zone, commission_usd))
        except (KeyError, ValueError, TypeError) as error:
            raise ConfigError(f"{path}: trade {number}: {error}; nothing was compared") from error
    if not trades:
        raise ConfigError(f"{path}: no trades in it; nothing was compared")
    begin_ns = min(trade.entry_ts for trade in trades)
    symbols = tuple(sorted({trade.symbol for trade in trades}))
    ordered = _by_exit(trades)
    # Its fills were the next hourly open as it was (its §1.6).
    assumed = Assumed(symbols, dict.fromkeys(symbols, 0.0))
    return Run(path.name, Kind.OLD, ordered, begin_ns, ordered[-1].exit_ts, "hourly", assumed=assumed)


def _old_trade(row: Mapping[str, Any], zone: str, commission_usd: float) -> OldTrade:
    def value(name: str) -> Any:
        return next((row[one] for one in _NAMES[name] if row.get(one) not in (None, "")), None)

    symbol = str(row["symbol"])
    if symbol not in PRODUCTS:
        raise ValueError(f"symbol: expected a root such as ES, got {symbol!r}")
    side = _SIDES.get(str(row["side"]).lower())
    if side is None:
        raise ValueError(f"side: expected long, short, buy, sell, 1 or -1, got {row['side']!r}")
    where = _zone(zone, symbol)
    quantity = abs(int(float(value("quantity") or 1)))
    entry_price, exit_price = float(row["entry_price"]), float(row["exit_price"])
    gross_usd = side * (exit_price - entry_price) * quantity * PRODUCTS[symbol].point_value
    pnl, costs = value("pnl"), value("costs")
    if pnl is None:
        pnl, costs = gross_usd, None
    elif costs is None and not math.isnan(commission_usd):
        costs = commission_usd * quantity
    elif costs is None:
        costs = round(gross_usd - float(pnl), 2)
    written, cause = value("written"), str(value("cause") or "")
    return OldTrade(
        symbol=symbol,
        contract="",
        side=side,
        quantity=quantity,
        entry_ts=_parsed(value("entry"), where),
        entry_price=entry_price,
        exit_ts=_parsed(value("exit"), where),
        exit_price=exit_price,
        cause=_OLD_CAUSES.get(cause.lower(), cause),
        pnl_usd=float(pnl),
        costs_usd=math.nan if costs is None else float(costs),
        bars_held=0,
        score=float(value("score") or math.nan),
        written_ts=_parsed(written, UTC) if written else 0,
    )


def _zone(zone: str, symbol: str) -> tzinfo:
    if zone == EXCHANGE:
        return ZoneInfo("America/New_York") if group_of(symbol) in NEW_YORK_GROUPS else CHICAGO
    return UTC if zone == "UTC" else ZoneInfo(zone)


def _parsed(text: Any, zone: tzinfo) -> int:
    if text is None:
        raise ValueError("expected a time of entry and one of exit")
    at = datetime.fromisoformat(str(text))
    return _ns(at if at.tzinfo else at.replace(tzinfo=zone))


def _ns(at: Any) -> int:
    return at if isinstance(at, int) else int(at.timestamp()) * 1_000_000_000


def _by_exit(trades: Iterable[Trade]) -> tuple[Trade, ...]:
    return tuple(sorted(trades, key=lambda trade: (trade.exit_ts, trade.entry_ts, trade.symbol)))
