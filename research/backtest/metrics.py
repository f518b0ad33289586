"""Measures of a run, each with its formula. Daily P&L counts every trade date of the run, flat ones included.

    net P&L          sum of the trades' P&L after costs, USD
    CAGR             (1 + net P&L / starting cash) ^ (252 / days) - 1; the capital is not compounded
    volatility       sample standard deviation of daily P&L / starting cash, times sqrt(252)
    Sharpe           mean / sample standard deviation of daily P&L, times sqrt(252); risk-free rate 0
    Sortino          mean / sqrt(mean(min(daily P&L, 0)^2)), times sqrt(252)
    max drawdown     largest fall of equity from its running maximum, USD; and the longest time below one, trade dates
    Calmar           CAGR / (max drawdown / starting cash)
    profit factor    sum of winning trades / -sum of losing trades, USD
    win rate         trades with P&L > 0 / trades
    expectancy       mean P&L per trade, USD
    exposure         time with at least one position open / time from the first trade date's midnight (UTC) to the end
                     of the last; hours in which markets are closed count in both
    turnover         contracts traded, both sides, per trade date
    avg bars held    mean over trades of the bars of the strategy's timeframe each was held

Sharpe, Sortino and deviations: W. F. Sharpe, The Sharpe Ratio (1994); F. Sortino and R. van der Meer, Downside Risk
(1991). A measure without what it divides by is NaN.
"""

import math
from typing import Any

import numpy as np
import polars as pl

from research.validation import sharpe as selection
from rooney.kernels.array_types import F64
from rooney.performance.measures import YEAR, YEAR_DAYS, TradeSums, sharpe_ratio

_DAY_NS = 86_400_000_000_000


def sharpe(daily: F64) -> float:
    """Annualised; NaN for fewer than two days or no variation."""
    return selection.sharpe(daily) * YEAR


def sortino(daily: F64) -> float:
    """Annualised; NaN without a losing day."""
    if not len(daily):
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(daily, 0.0) ** 2)))
    return sharpe_ratio(float(np.mean(daily)), downside) * YEAR


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

    trades: pnl_usd, costs_usd, quantity, entry_ts, exit_ts, bars_held of closed trades
    daily:  trade_date, equity_usd at the end of each trade date, in order
    """
    equity = daily["equity_usd"].to_numpy()
    changes = np.diff(equity, prepend=starting_cash)
    pnl = trades["pnl_usd"].to_numpy()
    wins = pnl > 0
    closed = TradeSums(len(pnl), int(wins.sum()), float(pnl[wins].sum()), float(pnl[pnl < 0].sum()), float(pnl.sum()))
    days = len(daily)
    net = closed.total_usd
    growth = 1.0 + net / starting_cash
    cagr = growth ** (YEAR_DAYS / days) - 1.0 if days and growth > 0 else math.nan
    drawdown, drawdown_days = max_drawdown(np.concatenate(([starting_cash], equity)))
    volatility = float(np.std(changes, ddof=1)) / starting_cash * YEAR if days > 1 else math.nan
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
        "profit_factor": closed.profit_factor,
        "win_rate": closed.win_rate,
        "expectancy_usd": closed.expectancy_usd,
        "costs_usd": float(trades["costs_usd"].sum()),
        "exposure": exposure(trades, daily),
        "turnover_contracts_per_day": 2.0 * float(trades["quantity"].sum()) / days if days else math.nan,
        "average_bars_held": float(trades["bars_held"].to_numpy().mean()) if len(trades) else math.nan,
    }


def exposure(trades: pl.DataFrame, daily: pl.DataFrame) -> float:
    """Share of the run's time with at least one position open, 0 to 1; NaN without a trade date.

    trades: entry_ts, exit_ts; overlapping ones count once
    """
    if not len(daily):
        return math.nan
    days = daily["trade_date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    total_ns = (int(days[-1]) - int(days[0]) + 1) * _DAY_NS
    order = trades.sort("entry_ts")
    entries, exits = (order[name].dt.timestamp("ns").to_numpy() for name in ("entry_ts", "exit_ts"))
    if not len(entries):
        return 0.0
    # What is open before each entry ends with the latest exit so far.
    before = np.concatenate(([entries[0]], np.maximum.accumulate(exits)[:-1]))
    return float(np.maximum(exits - np.maximum(entries, before), 0).sum()) / total_ns


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


def by_year(daily: pl.DataFrame, starting_cash: float) -> pl.DataFrame:
    """P&L, Sharpe and max drawdown per year; the drawdown is measured from that year's own running maximum."""
    rows = []
    for (year,), part in _changes(daily, starting_cash).group_by("year", maintain_order=True):
        pnl = part["pnl_usd"].to_numpy()
        curve = np.concatenate(([0.0], np.cumsum(pnl)))
        rows.append((year, len(part), float(pnl.sum()), sharpe(pnl), max_drawdown(curve)[0]))
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
