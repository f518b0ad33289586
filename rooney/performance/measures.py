"""Measures of trades, each formula once, and of what a ledger holds. Pure.

Of a ledger every number is an estimate, because fills are never reported back.

equity curve   starting cash + P&L of closed trades in the order they closed + the operator's corrections; its last
               point is equity now, open positions marked
drawdown       fall of a curve from its running maximum, USD, never negative. Of a ledger and between runs it is that of
               closed trades; of a backtest that of marked equity, by session hours
daily P&L      of the CME trade date in which a trade closed; today's is equity now - equity at its begin
Sharpe         mean / sample standard deviation of daily P&L, times sqrt(252); risk-free rate 0, flat trade dates
               count; nothing is told per year of fewer than 60 trade dates, or of P&L that never varies
win rate       trades with P&L > 0 / trades
profit factor  sum of winning trades / -sum of losing trades
correlation    Pearson's, of the daily P&L of two strategies; not told below 30 common trade dates
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from statistics import fmean, stdev

import msgspec

from rooney.ledger.records import TradeRow
from rooney.ledger.snapshot import Snapshot
from rooney.market import sessions
from rooney.orders.decisions import Trade

ANNUAL_DAYS, CORRELATION_DAYS, YEAR_DAYS = 60, 30, 252
YEAR = math.sqrt(YEAR_DAYS)  # from a Sharpe ratio per trade date to one per year
ROUNDING = 1e-9  # a deviation that is smaller beside its mean is what adding up leaves over


class Point(msgspec.Struct, frozen=True):
    """Equity after something was booked. drawdown_usd: below the highest point before, >= 0."""

    ts: int
    equity_usd: float
    drawdown_usd: float


class Measures(msgspec.Struct, frozen=True):
    """Of one strategy; NaN where there is too little to say it."""

    trades: int
    total_usd: float
    realized_usd: float
    open_usd: float
    day_usd: float
    win_rate: float
    profit_factor: float
    expectancy_usd: float
    sharpe: float
    days: int
    max_drawdown_usd: float
    drawdown_usd: float
    average_bars_held: float
    costs_usd: float


class TradeSums(msgspec.Struct, frozen=True):
    """Sums over closed trades, from which their measures follow; NaN where nothing was traded."""

    trades: int
    winners: int
    won_usd: float
    lost_usd: float
    total_usd: float

    @property
    def win_rate(self) -> float:
        """Trades with P&L > 0, of all."""
        return self.winners / self.trades if self.trades else math.nan

    @property
    def profit_factor(self) -> float:
        """Winning trades' P&L to that of the losing ones; NaN without a loss."""
        return self.won_usd / -self.lost_usd if self.lost_usd < 0 else math.nan

    @property
    def expectancy_usd(self) -> float:
        """Mean P&L per trade."""
        return self.total_usd / self.trades if self.trades else math.nan


def sums(pnl_usd: Sequence[float]) -> TradeSums:
    """Sums over the P&L of trades."""
    won, lost = sum(usd for usd in pnl_usd if usd > 0), sum(usd for usd in pnl_usd if usd < 0)
    return TradeSums(len(pnl_usd), sum(usd > 0 for usd in pnl_usd), won, lost, sum(pnl_usd))


def falls(changes_usd: Iterable[float]) -> list[tuple[float, float]]:
    """(sum so far, its fall from the highest before or 0) after each change, USD."""
    total = best = 0.0
    found = []
    for usd in changes_usd:
        total += usd
        best = max(best, total)
        found.append((total, best - total))
    return found


def equity_curve(start_usd: float, begin_ns: int, bookings: Iterable[tuple[int, float]]) -> list[Point]:
    """Equity at the begin and after each booking (UTC ns, USD), by time."""
    booked: dict[int, float] = {}  # what closes in one minute is one step: its order within it is nobody's loss
    for ts, usd in bookings:
        booked[ts] = booked.get(ts, 0.0) + usd
    equity = best = start_usd
    points = [Point(begin_ns, equity, 0.0)]
    for ts, usd in sorted(booked.items()):
        equity += usd
        best = max(best, equity)
        points.append(Point(ts, equity, best - equity))
    return points


def curve(snapshot: Snapshot) -> list[Point]:
    """Oldest first; empty before the first finished minute."""
    account = snapshot.account
    if account is None:
        return []
    begin_ns = min([trade.entry_ts for trade in snapshot.trades[:1]] + [snapshot.ts_mark])
    bookings = (*((trade.exit_ts, trade.pnl_usd) for trade in snapshot.trades), *snapshot.cash_acts)
    points = equity_curve(snapshot.start_usd, begin_ns, bookings)
    best = max(account.equity_usd, *(point.equity_usd for point in points))
    return [*points, Point(snapshot.ts_mark, account.equity_usd, best - account.equity_usd)]


def by_trade_date(trades: Iterable[Trade]) -> dict[date, float]:
    """Trade date → P&L of the trades closed in it."""
    booked: dict[date, float] = {}
    for trade in trades:
        day = sessions.trade_date(trade.exit_ts)
        booked[day] = booked.get(day, 0.0) + trade.pnl_usd
    return booked


def with_flat_days(booked: dict[date, float], first: date, last: date) -> dict[date, float]:
    """Daily P&L with 0 for each trade date from `first` to `last` in which nothing was booked."""
    days: dict[date, float] = {}
    while first <= last:
        days[first] = 0.0
        first = sessions.next_trade_date(first)
    return days | booked


def daily(snapshot: Snapshot, today: date | None = None) -> dict[date, float]:
    """Trade date → P&L, from the first trade's on, flat ones included; `today`: the one in progress, marked."""
    booked = by_trade_date(snapshot.trades)
    if today is not None and snapshot.account is not None:
        booked[today] = snapshot.account.day_usd
    return with_flat_days(booked, min(booked), max(booked)) if booked else {}


def sharpe_ratio(mean: float, deviation: float) -> float:
    """Sharpe ratio per period, from the moments of what each period made; NaN without variation."""
    return mean / deviation if deviation > ROUNDING * abs(mean) else math.nan


def per_year(ratio: float, days: int) -> float:
    """A ratio or deviation per trade date as one per year; NaN of fewer than 60 trade dates."""
    return ratio * YEAR if days >= ANNUAL_DAYS else math.nan


def sharpe(days: Sequence[float]) -> float:
    """Annualised; NaN below 60 days or without variation."""
    return per_year(sharpe_ratio(fmean(days), stdev(days)), len(days)) if len(days) > 1 else math.nan


def correlation(a: Mapping[date, float], b: Mapping[date, float]) -> tuple[float, int]:
    """(of common trade dates, how many there are); NaN for fewer than 30 or without variation."""
    common = sorted(a.keys() & b.keys())
    if len(common) < CORRELATION_DAYS:
        return math.nan, len(common)
    xs, ys = [a[day] for day in common], [b[day] for day in common]
    x0, y0 = fmean(xs), fmean(ys)
    sxx, syy = sum((x - x0) ** 2 for x in xs), sum((y - y0) ** 2 for y in ys)
    if sxx <= len(xs) * (ROUNDING * x0) ** 2 or syy <= len(ys) * (ROUNDING * y0) ** 2:
        return math.nan, len(common)
    return sum((x - x0) * (y - y0) for x, y in zip(xs, ys, strict=True)) / math.sqrt(sxx * syy), len(common)


def measure(snapshot: Snapshot, points: Sequence[Point], days: Mapping[date, float]) -> Measures:
    """All of them. points: its curve; days: its daily P&L."""
    trades: Sequence[TradeRow] = snapshot.trades
    account = snapshot.account
    closed = sums([trade.pnl_usd for trade in trades])
    n = closed.trades
    return Measures(
        trades=n,
        total_usd=account.equity_usd - snapshot.start_usd if account else 0.0,
        realized_usd=closed.total_usd,
        open_usd=account.open_usd if account else 0.0,
        day_usd=account.day_usd if account else 0.0,
        win_rate=closed.win_rate,
        profit_factor=closed.profit_factor,
        expectancy_usd=closed.expectancy_usd,
        sharpe=sharpe(list(days.values())),
        days=len(days),
        max_drawdown_usd=max((point.drawdown_usd for point in points), default=0.0),
        drawdown_usd=account.drawdown_usd if account else 0.0,
        average_bars_held=sum(trade.bars_held for trade in trades) / n if n else math.nan,
        costs_usd=sum(trade.costs_usd for trade in trades),
    )
