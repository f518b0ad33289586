"""Measures of what a ledger holds. Pure; every number is an estimate, because fills are never reported back.

equity curve   starting cash + P&L of closed trades in the order they closed + the operator's corrections; its last
               point is equity now, open positions marked
drawdown       fall of that curve from its running maximum, USD
daily P&L      of the CME trade date in which a trade closed; today's is equity now - equity at its begin
Sharpe         mean / sample standard deviation of daily P&L, times sqrt(252); risk-free rate 0, flat trade dates
               count; not told below 20 trade dates
win rate       trades with P&L > 0 / trades
profit factor  sum of winning trades / -sum of losing trades
correlation    Pearson's, of the daily P&L of two strategies; not told below 30 common trade dates
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from statistics import fmean, stdev

import msgspec

from rooney.ledger.records import TradeRow
from rooney.ledger.snapshot import Snapshot
from rooney.market import sessions

SHARPE_DAYS, CORRELATION_DAYS, YEAR_DAYS = 20, 30, 252


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


def curve(portrait: Snapshot) -> list[Point]:
    """Oldest first; empty before the first finished minute."""
    account = portrait.account
    if account is None:
        return []
    booked: dict[int, float] = {}  # what closes in one minute is one step: its order within it is nobody's loss
    for ts, usd in (*((trade.exit_ts, trade.pnl_usd) for trade in portrait.trades), *portrait.cash_acts):
        booked[ts] = booked.get(ts, 0.0) + usd
    equity = best = portrait.start_usd
    begin = min([trade.entry_ts for trade in portrait.trades[:1]] + [portrait.ts_mark])
    points = [Point(begin, equity, 0.0)]
    for ts, usd in sorted(booked.items()):
        equity += usd
        best = max(best, equity)
        points.append(Point(ts, equity, best - equity))
    best = max(best, account.equity_usd)
    points.append(Point(portrait.ts_mark, account.equity_usd, best - account.equity_usd))
    return points


def daily(portrait: Snapshot, today: date | None = None) -> dict[date, float]:
    """Trade date → P&L, from the first trade's on, flat ones included; `today`: the one in progress, marked."""
    if not portrait.trades and not (today and portrait.account):
        return {}
    booked: dict[date, float] = {}
    for trade in portrait.trades:
        day = sessions.trade_date(trade.exit_ts)
        booked[day] = booked.get(day, 0.0) + trade.pnl_usd
    if today is not None and portrait.account is not None:
        booked[today] = portrait.account.day_usd
    day, last = min(booked), max(booked)
    found = {}
    while day <= last:
        found[day] = booked.get(day, 0.0)
        day = sessions.next_trade_date(day)
    return found


def sharpe(days: Sequence[float]) -> float:
    """Annualised; NaN below 20 days or without variation."""
    if len(days) < SHARPE_DAYS or (deviation := stdev(days)) == 0.0:
        return math.nan
    return fmean(days) / deviation * math.sqrt(YEAR_DAYS)


def correlation(a: Mapping[date, float], b: Mapping[date, float]) -> tuple[float, int]:
    """(of common trade dates, how many there are); NaN for fewer than 30 or without variation."""
    common = sorted(a.keys() & b.keys())
    if len(common) < CORRELATION_DAYS:
        return math.nan, len(common)
    xs, ys = [a[day] for day in common], [b[day] for day in common]
    x0, y0 = fmean(xs), fmean(ys)
    sxx, syy = sum((x - x0) ** 2 for x in xs), sum((y - y0) ** 2 for y in ys)
    if sxx <= 0.0 or syy <= 0.0:
        return math.nan, len(common)
    return sum((x - x0) * (y - y0) for x, y in zip(xs, ys, strict=True)) / math.sqrt(sxx * syy), len(common)


def measure(portrait: Snapshot, points: Sequence[Point], days: Mapping[date, float]) -> Measures:
    """All of them. points: its curve; days: its daily P&L."""
    trades: Sequence[TradeRow] = portrait.trades
    account = portrait.account
    pnl = [trade.pnl_usd for trade in trades]
    wins, losses = sum(usd for usd in pnl if usd > 0), sum(usd for usd in pnl if usd < 0)
    n = len(pnl)
    return Measures(
        trades=n,
        total_usd=account.equity_usd - portrait.start_usd if account else 0.0,
        realized_usd=sum(pnl),
        open_usd=account.open_usd if account else 0.0,
        day_usd=account.day_usd if account else 0.0,
        win_rate=sum(usd > 0 for usd in pnl) / n if n else math.nan,
        profit_factor=wins / -losses if losses < 0 else math.nan,
        expectancy_usd=sum(pnl) / n if n else math.nan,
        sharpe=sharpe(list(days.values())),
        days=len(days),
        max_drawdown_usd=max([account.drawdown_usd if account else 0.0, *(point.drawdown_usd for point in points)]),
        drawdown_usd=account.drawdown_usd if account else 0.0,
        average_bars_held=sum(trade.bars_held for trade in trades) / n if n else math.nan,
        costs_usd=sum(trade.costs_usd for trade in trades),
    )
