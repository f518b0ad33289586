"""Measures of a run, each with its formula. Daily P&L counts every trade date of the run, flat ones included.

    net P&L          sum of the trades' P&L after costs, USD
    CAGR             (1 + net P&L / starting cash) ^ (252 / days) - 1; the capital is not compounded
    volatility       sample standard deviation of daily P&L / starting cash, times sqrt(252)
    Sharpe           mean / sample standard deviation of daily P&L, times sqrt(252); risk-free rate 0
    Sortino          mean / sqrt(mean(min(daily P&L, 0)^2)), times sqrt(252)
    max drawdown     largest fall of equity from its running maximum, USD; and the longest time below one, days
    Calmar           CAGR / (max drawdown / starting cash)
    profit factor    sum of winning trades / -sum of losing trades, USD
    win rate         trades with P&L > 0 / trades
    expectancy       mean P&L per trade, USD
    exposure         bars of the strategy's timeframe held, per such bar of one instrument's history
    turnover         contracts traded, both sides, per trade date

Sharpe, Sortino and deviations: W. F. Sharpe, The Sharpe Ratio (1994); F. Sortino and R. van der Meer, Downside Risk
(1991). A measure without what it divides by is NaN.
"""

import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

F64 = NDArray[np.float64]
DAYS_PER_YEAR = 252


def sharpe(daily: F64) -> float:
    """Annualised; NaN for fewer than two days or no variation."""
    if len(daily) < 2:
        return math.nan
    deviation = float(np.std(daily, ddof=1))
    return float(np.mean(daily)) / deviation * math.sqrt(DAYS_PER_YEAR) if deviation > 0 else math.nan


def sortino(daily: F64) -> float:
    """Annualised; NaN without a losing day."""
    if not len(daily):
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(daily, 0.0) ** 2)))
    return float(np.mean(daily)) / downside * math.sqrt(DAYS_PER_YEAR) if downside > 0 else math.nan


def max_drawdown(equity: F64) -> tuple[float, int]:
    """(USD, longest number of rows below an earlier maximum) of an equity curve."""
    if not len(equity):
        return 0.0, 0
    peak = np.maximum.accumulate(equity)
    longest = run = 0
    for below in equity < peak:
        run = run + 1 if below else 0
        longest = max(longest, run)
    return float(np.max(peak - equity)), longest


def measure(trades: pl.DataFrame, daily: pl.DataFrame, starting_cash: float) -> dict[str, Any]:
    """All measures of a run.

    trades: pnl_usd, costs_usd, quantity, symbol, exit_ts of closed trades
    daily:  trade_date, equity_usd at the end of each trade date, in order
    """
    equity = daily["equity_usd"].to_numpy()
    changes = np.diff(equity, prepend=starting_cash)
    pnl = trades["pnl_usd"].to_numpy()
    wins, losses = float(pnl[pnl > 0].sum()), float(pnl[pnl < 0].sum())
    days = len(daily)
    net = float(pnl.sum())
    growth = 1.0 + net / starting_cash
    cagr = growth ** (DAYS_PER_YEAR / days) - 1.0 if days and growth > 0 else math.nan
    drawdown, drawdown_days = max_drawdown(np.concatenate(([starting_cash], equity)))
    volatility = float(np.std(changes, ddof=1)) / starting_cash * math.sqrt(DAYS_PER_YEAR) if days > 1 else math.nan
    return {
        "net_pnl_usd": net,
        "trades": len(trades),
        "days": days,
        "cagr": cagr,
        "volatility": volatility,
        "sharpe": sharpe(changes),
        "sortino": sortino(changes),
        "max_drawdown_usd": drawdown,
        "max_drawdown_days": drawdown_days,
        "calmar": cagr / (drawdown / starting_cash) if drawdown > 0 else math.nan,
        "profit_factor": wins / -losses if losses < 0 else math.nan,
        "win_rate": float((pnl > 0).mean()) if len(pnl) else math.nan,
        "expectancy_usd": float(pnl.mean()) if len(pnl) else math.nan,
        "costs_usd": float(trades["costs_usd"].sum()),
        "turnover_contracts_per_day": 2.0 * float(trades["quantity"].sum()) / days if days else math.nan,
    }


def by_period(daily: pl.DataFrame, starting_cash: float) -> pl.DataFrame:
    """P&L per year and month, USD, from equity at the end of each trade date."""
    changed = daily.with_columns(
        (pl.col("equity_usd") - pl.col("equity_usd").shift(1, fill_value=starting_cash)).alias("pnl_usd")
    )
    return (
        changed.group_by(pl.col("trade_date").dt.year().alias("year"), pl.col("trade_date").dt.month().alias("month"))
        .agg(pl.col("pnl_usd").sum())
        .sort("year", "month")
    )


def by_instrument(trades: pl.DataFrame) -> pl.DataFrame:
    """Trades, P&L, win rate and profit factor per instrument."""
    pnl = pl.col("pnl_usd")
    return (
        trades.group_by("symbol")
        .agg(
            pl.len().alias("trades"),
            pnl.sum().alias("pnl_usd"),
            (pnl > 0).mean().alias("win_rate"),
            (pnl.filter(pnl > 0).sum() / -pnl.filter(pnl < 0).sum()).alias("profit_factor"),
        )
        .sort("symbol")
    )
