"""A run: closed trades of a strategy over some span, live or tested, and what is known of how they came about.

Whatever wrote it (a ledger, a backtest's output, the old system), a run is compared, drawn and measured the same way.
"""

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Protocol

import msgspec

from rooney.ledger.records import Decision
from rooney.market import sessions
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.orders.decisions import Trade
from rooney.orders.lifecycle import Order
from rooney.performance.measures import Point, by_trade_date, equity_curve, sharpe, sums, with_flat_days

BAR_NS = {"1min": MINUTE_NS, "hourly": HOUR_NS, "daily": 24 * HOUR_NS}


class Kind(enum.StrEnum):
    """Who wrote a run."""

    LEDGER = "ledger"
    BACKTEST = "backtest"
    OLD = "old system"


class OldTrade(Trade, frozen=True):
    """Trade of the old system, which names no contract and counts no bars. written_ts: of its record; 0: not known."""

    written_ts: int = 0


class Assumed(msgspec.Struct, frozen=True):
    """Assumptions a run was made with, as far as it says so.

    symbols: what it trades; slippage_ticks, thresholds: by symbol; fill, stop_fill: words, empty if not said
    holes: trade dates without any bar in its data
    """

    symbols: tuple[str, ...] = ()
    slippage_ticks: Mapping[str, float] = {}
    thresholds: Mapping[str, float] = {}
    fill: str = ""
    stop_fill: str = ""
    max_positions: int = 0
    data: str = ""
    holes: frozenset[date] = frozenset()


class Witness(Protocol):
    """Decisions and orders of a run in a stretch of time, (begin, end] by marks; empty where it does not know."""

    def decisions(self, symbol: str, begin_ns: int, end_ns: int) -> Sequence[Decision]:
        """By time."""

    def orders(self, symbol: str, begin_ns: int, end_ns: int) -> Sequence[Order]:
        """By time."""


class Silent:
    """A witness that knows nothing."""

    def decisions(self, symbol: str, begin_ns: int, end_ns: int) -> Sequence[Decision]:
        """None."""
        return ()

    def orders(self, symbol: str, begin_ns: int, end_ns: int) -> Sequence[Order]:
        """None."""
        return ()


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds, 50th and 99th percentile: bar to decision, request to answer. NaN where not known."""

    decide_p50: float = math.nan
    decide_p99: float = math.nan
    send_p50: float = math.nan
    send_p99: float = math.nan


class Run(msgspec.Struct, frozen=True):
    """Run of a strategy.

    trades: by exit; begin_ns, end_ns: what it covers, UTC ns; timeframe: of its decisions, or empty
    start_usd: cash it began with, 0 if not known
    """

    label: str
    kind: Kind
    trades: tuple[Trade, ...]
    begin_ns: int
    end_ns: int
    timeframe: str = ""
    start_usd: float = 0.0
    assumed: Assumed = Assumed()
    latency: Latency = Latency()
    witness: Witness = Silent()


class Measures(msgspec.Struct, frozen=True):
    """Of one run over a span; None where there is too little to say it. Formulas: rooney.performance.measures."""

    label: str
    trades: int
    pnl_usd: float
    win_rate: float | None
    profit_factor: float | None
    expectancy_usd: float | None
    sharpe: float | None
    days: int
    max_drawdown_usd: float
    costs_usd: float | None
    hours_held: float | None
    decide_p50_ms: float | None
    decide_p99_ms: float | None
    send_p50_ms: float | None


def within(run: Run, begin_ns: int, end_ns: int) -> list[Trade]:
    """Trades that began and ended in a span."""
    return [trade for trade in run.trades if begin_ns <= trade.entry_ts and trade.exit_ts <= end_ns]


def daily(trades: Iterable[Trade], begin_ns: int, end_ns: int) -> dict[date, float]:
    """Trade date → P&L of the trades closed in it, for every trade date of (begin, end], flat ones included."""
    if end_ns <= begin_ns:
        return {}
    return with_flat_days(by_trade_date(trades), sessions.trade_date(begin_ns), sessions.trade_date(end_ns - 1))


def curve(trades: Sequence[Trade], begin_ns: int, end_ns: int) -> list[Point]:
    """P&L from zero where trades were closed, and at the end."""
    points = equity_curve(0.0, begin_ns, ((trade.exit_ts, trade.pnl_usd) for trade in trades))
    return [*points, msgspec.structs.replace(points[-1], ts=max(end_ns, points[-1].ts))]


def measure(run: Run, trades: Sequence[Trade], begin_ns: int, end_ns: int) -> Measures:
    """Of those trades of a run that count."""
    closed = sums([trade.pnl_usd for trade in trades])
    days = [usd for day, usd in daily(trades, begin_ns, end_ns).items() if usd or day not in run.assumed.holes]
    n = closed.trades
    return Measures(
        label=run.label,
        trades=n,
        pnl_usd=closed.total_usd,
        win_rate=_told(closed.win_rate),
        profit_factor=_told(closed.profit_factor),
        expectancy_usd=_told(closed.expectancy_usd),
        sharpe=_told(sharpe(days)),
        days=len(days),
        max_drawdown_usd=max(point.drawdown_usd for point in curve(trades, begin_ns, end_ns)),
        costs_usd=_told(sum(trade.costs_usd for trade in trades)),
        hours_held=_told(sum(trade.exit_ts - trade.entry_ts for trade in trades) / n / HOUR_NS if n else math.nan),
        decide_p50_ms=_told(run.latency.decide_p50),
        decide_p99_ms=_told(run.latency.decide_p99),
        send_p50_ms=_told(run.latency.send_p50),
    )


def _told(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
