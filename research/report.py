"""The report of a backtest: one HTML file with plots that opens offline."""

import html as escape
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import plotly.io
import polars as pl

if TYPE_CHECKING:
    from research.backtest import Result

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd; } th:first-child, td:first-child { text-align: left; }
.note { color: #666; }
"""  # noqa: E501
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def html(result: "Result", summary: dict[str, Any], starting_cash: float) -> str:
    """The page as text."""
    name = escape.escape(result.strategy)
    begin, end = summary["span"]
    parts = [
        f"<h1>{name}</h1><p class=note>{begin} to {end} · {result.bars:,} one-minute bars · fills are assumed, at the "
        f"next minute's open · decisions {result.digest}</p>",
        _table(("measure", "value"), [(key, _number(value)) for key, value in summary["measures"].items()]),
    ]
    figures = [_equity(result.equity), _drawdown(result.equity)]
    if len(result.trades):
        figures += [_per_instrument(result.trades), _distribution(result.trades)]
    for i, figure in enumerate(figures):
        figure.update_layout(height=330, margin={"l": 60, "r": 20, "t": 40, "b": 40}, template="plotly_white")
        # The library is put into the page once, so that it opens without a network.
        parts.append(plotly.io.to_html(figure, include_plotlyjs=i == 0, full_html=False))
    parts.append("<h2>P&amp;L per month, USD</h2>" + _months(summary["per_month"]))
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}: backtest</title><style>{_STYLE}</style>"
    return f"{head}<body>{''.join(parts)}</body></html>"


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,.4g}" if isinstance(value, float) and abs(value) < 100 else f"{value:,.0f}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = "".join(f"<th>{cell}" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}" for cell in row) for row in rows)
    return f"<table><tr>{cells}{body}</table>"


def _months(rows: list[dict[str, Any]]) -> str:
    years: dict[int, dict[int, float]] = {}
    for row in rows:
        years.setdefault(row["year"], {})[row["month"]] = row["pnl_usd"]
    lines = []
    for year, months in years.items():
        cells = [f"{months[m]:+,.0f}" if m in months else "" for m in range(1, 13)]
        lines.append((str(year), *cells, f"{sum(months.values()):+,.0f}"))
    return _table(("year", *_MONTHS, "year"), lines)


def _thinned(frame: pl.DataFrame, rows: int = 5_000) -> pl.DataFrame:
    """At most so many points: a screen has no more."""
    return frame.gather_every(max(1, len(frame) // rows))


def _equity(equity: pl.DataFrame) -> go.Figure:
    shown = _thinned(equity)
    line = go.Scatter(x=shown["ts"].to_list(), y=shown["equity_usd"].to_list(), line={"width": 1})
    return go.Figure(line, {"title": "Equity, open positions marked, USD (estimated)"})


def _drawdown(equity: pl.DataFrame) -> go.Figure:
    shown = _thinned(equity)
    area = go.Scatter(
        x=shown["ts"].to_list(),
        y=(-shown["drawdown_usd"]).to_list(),
        fill="tozeroy",
        line={"width": 1, "color": "#b33"},
    )
    return go.Figure(area, {"title": "Drawdown, USD"})


def _per_instrument(trades: pl.DataFrame) -> go.Figure:
    sums = trades.group_by("symbol").agg(pl.col("pnl_usd").sum()).sort("pnl_usd", descending=True)
    return go.Figure(
        go.Bar(x=sums["symbol"].to_list(), y=sums["pnl_usd"].to_list()), {"title": "P&L per instrument, USD"}
    )


def _distribution(trades: pl.DataFrame) -> go.Figure:
    return go.Figure(go.Histogram(x=trades["pnl_usd"].to_list(), nbinsx=80), {"title": "P&L per trade, USD"})
