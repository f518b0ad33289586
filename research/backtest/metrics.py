"""Measures of a run, each with its formula. Daily P&L counts every trade date with bars, flat ones included.

    days             trade dates with at least one bar; a hole in the data is no flat day
    net P&L          sum of the closed trades' P&L after costs, USD
    open P&L         of positions open at the end, at their last price, less the costs paid
    total P&L        net and open, and what an operator corrected, of a replay; what daily and monthly P&L add up to
    CAGR             (1 + total P&L / starting cash) ^ (252 / days) - 1; the capital is not compounded
    volatility       sample standard deviation of daily P&L / starting cash, times sqrt(252)
    Sharpe           mean / sample standard deviation of daily P&L, times sqrt(252); risk-free rate 0
    Sortino          mean / sqrt(mean(min(daily P&L, 0)^2)), times sqrt(252)
    max drawdown     largest fall of equity from its running maximum, USD: of marked equity by session hours, and of the
                     sum of closed trades, which is that of a ledger; and the longest time below one, trade dates
    Calmar           CAGR / (max drawdown / starting cash)
    profit factor    sum of winning trades / -sum of losing trades, USD
    win rate         trades with P&L > 0 / trades
    expectancy       mean P&L per trade, USD
    exposure         time with at least one position open / time from the first trade date's midnight (UTC) to the end
                     of the last; hours in which markets are closed count in both, holes and the days before in neither
    turnover         contracts traded, both sides, per trade date
    avg bars held    mean over trades of the bars of the strategy's timeframe each was held

Nothing is told per year of fewer than 60 trade dates.
Sharpe, Sortino and deviations: W. F. Sharpe, The Sharpe Ratio (1994); F. Sortino and R. van der Meer, Downside Risk
(1991). A measure without what it divides by is NaN.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from research.history.sessions import DAY_NS, trade_dates
from rooney.kernels.array_types import F64
from rooney.ledger.records import Held
from rooney.performance.measures import (
    ANNUAL_DAYS,
    YEAR_DAYS,
    TradeSums,
    equity_curve,
    per_year,
    sharpe,
    sharpe_ratio,
    sums,
)


def sortino(daily: F64) -> float:
    """Annualised; NaN for fewer than 60 days or without a losing one."""
    if not len(daily):
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(daily, 0.0) ** 2)))
    return per_year(sharpe_ratio(float(np.mean(daily)), downside), len(daily))


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


def measure(
    trades: pl.DataFrame,
    opened: Sequence[Held],
    open_usd: float,
    equity: pl.DataFrame,
    daily: pl.DataFrame,
    starting_cash: float,
) -> dict[str, Any]:
    """All measures of a run.

    trades:   pnl_usd, costs_usd, quantity, entry_ts, exit_ts, bars_held of closed trades
    opened:   positions open at the end; open_usd: their P&L
    equity:   ts, equity_usd, drawdown_usd by session hours; daily: trade_date, equity_usd at the end of each, in order
    """
    closing = np.concatenate(([starting_cash], daily["equity_usd"].to_numpy()))
    changes = np.diff(closing)
    pnl = trades["pnl_usd"].to_list()
    closed = sums(pnl)
    days = len(daily)
    growth = float(closing[-1]) / starting_cash
    cagr = growth ** (YEAR_DAYS / days) - 1.0 if days >= ANNUAL_DAYS and growth > 0 else math.nan
    drawdown = max(equity["drawdown_usd"], default=0.0)
    booked = equity_curve(0.0, 0, zip(trades["exit_ts"].dt.timestamp("ns"), pnl, strict=True))
    return {
        "net_pnl_usd": closed.total_usd,
        "open_pnl_usd": open_usd,
        "total_pnl_usd": float(closing[-1]) - starting_cash,
        "trades": len(trades),
        "days": days,
        "cagr": cagr,
        "volatility": per_year(float(np.std(changes, ddof=1)) / starting_cash, days) if days > 1 else math.nan,
        "sharpe": sharpe(changes.tolist()),
        "sortino": sortino(changes),
        "max_drawdown_usd": drawdown,
        "max_drawdown_closed_usd": max(point.drawdown_usd for point in booked),
        "max_drawdown_days": max_drawdown(closing)[1],
        "calmar": cagr / (drawdown / starting_cash) if drawdown > 0 else math.nan,
        "profit_factor": closed.profit_factor,
        "win_rate": closed.win_rate,
        "expectancy_usd": closed.expectancy_usd,
        "costs_usd": float(trades["costs_usd"].sum()),
        "exposure": exposure(trades, opened, daily),
        "turnover_contracts_per_day": 2.0 * float(trades["quantity"].sum()) / days if days else math.nan,
        "average_bars_held": float(trades["bars_held"].to_numpy().mean()) if len(trades) else math.nan,
    }


def exposure(trades: pl.DataFrame, opened: Sequence[Held], daily: pl.DataFrame) -> float:
    """Share of the run's time with at least one position open, 0 to 1; NaN without a trade date.

    trades: entry_ts, exit_ts; opened: still open at the end; what overlaps counts once
    """
    if not len(daily):
        return math.nan
    days = daily["trade_date"].cast(pl.Int32).to_numpy()
    grid = np.arange(days[0], days[-1] + 2)
    # Days that count, by days that pass: in a hole they stand still.
    counted = np.append(0, np.cumsum(np.isin(trade_dates()[1][grid[:-1]], days)))
    late = ([held.entry_ts for held in opened], [grid[-1] * DAY_NS] * len(opened))
    spans = [
        np.interp(np.append(trades[name].dt.timestamp("ns"), more) / DAY_NS, grid, counted)
        for name, more in zip(("entry_ts", "exit_ts"), late, strict=True)
    ]
    entries, exits = (span[np.argsort(spans[0])] for span in spans)
    if not len(entries):
        return 0.0
    # What is open before each entry ends with the latest exit so far.
    before = np.concatenate(([entries[0]], np.maximum.accumulate(exits)[:-1]))
    return float(np.maximum(exits - np.maximum(entries, before), 0).sum() / counted[-1])


def _changes(daily: pl.DataFrame, starting_cash: float) -> pl.DataFrame:
    """`daily` with its year and the P&L of each trade date."""
    equity = pl.col("equity_usd")
    return daily.with_columns(
        (equity - equity.shift(1, fill_value=starting_cash)).alias("pnl_usd"),
        pl.col("trade_date").dt.year().alias("year"),
    )


def by_period(daily: pl.DataFrame, starting_cash: float) -> pl.DataFrame:
    """P&L per year and month, USD, from equity at the end of each trade date."""
    month = pl.col("trade_date").dt.month().alias("month")
    return _changes(daily, starting_cash).group_by("year", month).agg(pl.col("pnl_usd").sum()).sort("year", "month")


def by_year(daily: pl.DataFrame, equity: pl.DataFrame, starting_cash: float) -> pl.DataFrame:
    """P&L, Sharpe and max drawdown per year; the drawdown, by session hours, from that year's own running maximum."""
    rows, before = [], starting_cash
    for (year,), part in _changes(daily, starting_cash).group_by("year", maintain_order=True):
        pnl = part["pnl_usd"].to_numpy()
        hours = equity.filter(pl.col("trade_date").dt.year() == year)["equity_usd"].to_numpy()
        fall, _ = max_drawdown(np.concatenate(([before], hours)))
        rows.append((year, len(part), float(pnl.sum()), sharpe(pnl.tolist()), fall))
        before = part["equity_usd"][-1]
    schema = {
        "year": pl.Int64,
        "days": pl.Int64,
        "pnl_usd": pl.Float64,
        "sharpe": pl.Float64,
        "max_drawdown_usd": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def by_instrument(trades: pl.DataFrame) -> list[dict[str, Any]]:
    """Trades, P&L and their measures per instrument; a profit factor without a loss is None."""
    pnl = pl.col("pnl_usd")
    columns = (
        pl.len(),
        (pnl > 0).sum().alias("winners"),
        pnl.filter(pnl > 0).sum().alias("won"),
        pnl.filter(pnl < 0).sum().alias("lost"),
        pnl.sum(),
        pl.col("bars_held").mean(),
    )
    rows = []
    for symbol, *numbers, held in trades.group_by("symbol").agg(columns).sort("symbol").iter_rows():
        closed = TradeSums(*numbers)
        rows.append(
            {
                "symbol": symbol,
                "trades": closed.trades,
                "pnl_usd": closed.total_usd,
                "win_rate": closed.win_rate,
                "profit_factor": closed.profit_factor if closed.lost_usd < 0 else None,
                "expectancy_usd": closed.expectancy_usd,
                "average_bars_held": held,
            }
        )
    return rows
