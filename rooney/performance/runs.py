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
from rooney.performance.measures import Point, sharpe

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
    """What a run was made with, as far as it says so.

    symbols: what it trades; slippage_ticks, thresholds: by symbol; fill, stop_fill: words, empty if not said
    """

    symbols: tuple[str, ...] = ()
    slippage_ticks: Mapping[str, float] = {}
    thresholds: Mapping[str, float] = {}
    fill: str = ""
    stop_fill: str = ""
    max_positions: int = 0
    data: str = ""


class Witness(Protocol):
    """What a run can be asked about a stretch of time, (begin, end] by marks; empty where it does not know."""

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
    """One run. trades: by exit; begin_ns, end_ns: what it covers, UTC ns; timeframe: of its decisions, or empty.

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
    found: dict[date, float] = {}
    if end_ns <= begin_ns:
        return found
    day, last = sessions.trade_date(begin_ns), sessions.trade_date(end_ns - 1)
    while day <= last:
        found[day] = 0.0
        day = sessions.next_trade_date(day)
    for trade in trades:
        day = sessions.trade_date(trade.exit_ts)
        found[day] = found.get(day, 0.0) + trade.pnl_usd
    return found


def curve(trades: Sequence[Trade], begin_ns: int, end_ns: int) -> list[Point]:
    """P&L from zero where trades were closed; what closes in one minute is one step."""
    booked: dict[int, float] = {}
    for trade in trades:
        booked[trade.exit_ts] = booked.get(trade.exit_ts, 0.0) + trade.pnl_usd
    total = best = 0.0
    points = [Point(begin_ns, 0.0, 0.0)]
    for ts, usd in sorted(booked.items()):
        total += usd
        best = max(best, total)
        points.append(Point(ts, total, best - total))
    points.append(Point(max(end_ns, points[-1].ts), total, best - total))
    return points


def measure(run: Run, trades: Sequence[Trade], begin_ns: int, end_ns: int) -> Measures:
    """Of those trades of a run that count."""
    pnl = [trade.pnl_usd for trade in trades]
    wins, losses = sum(usd for usd in pnl if usd > 0), sum(usd for usd in pnl if usd < 0)
    days = list(daily(trades, begin_ns, end_ns).values())
    n = len(pnl)
    return Measures(
        label=run.label,
        trades=n,
        pnl_usd=sum(pnl),
        win_rate=_told(sum(usd > 0 for usd in pnl) / n if n else math.nan),
        profit_factor=_told(wins / -losses if losses < 0 else math.nan),
        expectancy_usd=_told(sum(pnl) / n if n else math.nan),
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
