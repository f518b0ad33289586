"""The report of a backtest: one HTML file that opens offline, in light and dark, on a desk and on a phone."""

import html as escape
import json
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import plotly.io
import plotly.offline
import polars as pl

from research.backtest.result import Result, opened_text

GAIN, LOSS, LINE, SOFT = "#2a9d6f", "#d1495b", "#3b7dd8", "#98a2b3"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #667085; --rule: #e3e6ec; --paper: #fff; --card: #f7f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #98a2b3; --rule: #2c3340; --paper: #12161d; --card: #1a2029; }
}
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem;
       color: var(--ink); background: var(--paper); }
h1 { margin: 0; font-size: 1.6rem; } h2 { font-size: 1.05rem; margin: 2.2rem 0 .6rem; }
.soft { color: var(--soft); margin: .2rem 0 0; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 1rem 0; font-size: .9rem; }
dl.facts dt { color: var(--soft); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .6rem; margin: 1.2rem 0; }
.tile { background: var(--card); border-radius: .5rem; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.2rem; font-variant-numeric: tabular-nums; font-weight: 600; }
.tile span { color: var(--soft); font-size: .8rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; width: 100%; }
td, th { padding: .25rem .55rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } th:first-child, td:first-child { text-align: left; }
.gain { color: #2a9d6f; } .loss { color: #d1495b; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 1.5rem; }
.pair > div { min-width: 0; }
"""
# Plots are drawn on nothing; text and grid follow the page.
_DRAW = """
const dark = matchMedia("(prefers-color-scheme: dark)");
function look() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--soft").trim(), rule = style.getPropertyValue("--rule").trim();
  for (const plot of document.querySelectorAll(".plot")) {
    const axis = {gridcolor: rule, zerolinecolor: rule, linecolor: rule};
    const given = JSON.parse(plot.dataset.figure);
    const layout = {...given.layout, font: {color: ink, size: 12, family: "system-ui, sans-serif"},
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)"};
    layout.xaxis = {...layout.xaxis, ...axis}; layout.yaxis = {...layout.yaxis, ...axis};
    Plotly.react(plot, given.data, layout, {responsive: true, displayModeBar: false});
  }
}
dark.addEventListener("change", look); look();
"""
_TILES = (
    ("net_pnl_usd", "net P&L, USD"),
    ("open_pnl_usd", "open at the end, USD"),
    ("cagr", "CAGR"),
    ("sharpe", "Sharpe"),
    ("sortino", "Sortino"),
    ("max_drawdown_usd", "max drawdown by session hours, USD"),
    ("max_drawdown_closed_usd", "… by closed trades, USD"),
    ("max_drawdown_days", "… longest, trade dates"),
    ("calmar", "Calmar"),
    ("volatility", "volatility"),
    ("trades", "trades"),
    ("win_rate", "win rate"),
    ("profit_factor", "profit factor"),
    ("expectancy_usd", "expectancy, USD"),
    ("exposure", "exposure"),
    ("average_bars_held", "bars held, mean"),
    ("turnover_contracts_per_day", "contracts a day"),
    ("costs_usd", "costs, USD"),
)
_SHARES = {"cagr", "volatility", "win_rate", "exposure"}


def html(result: Result, summary: dict[str, Any], starting_cash: float) -> str:
    """The page as text.

    summary: as in `summary.json`, which the page carries along word for word
    """
    parts = [_head(result, summary, starting_cash), _tiles(summary["measures"])]
    parts += ["<h2>Equity, USD</h2><p class=soft>open positions marked, estimated</p>", _equity(result.equity)]
    parts += ["<h2>Drawdown by session hours, USD</h2>", _drawdown(result.equity)]
    parts += ["<h2>P&amp;L per month, USD</h2>", _months(summary["per_month"])]
    if len(result.trades):
        parts += ["<h2>Instruments</h2>", _instruments(summary["per_instrument"])]
        parts += ["<div class=pair><div><h2>P&amp;L per instrument, USD</h2>", _per_instrument(result.trades)]
        parts += ["</div><div><h2>P&amp;L per trade, USD</h2>", _distribution(result.trades)]
        parts += ["</div></div><h2>Why trades were closed</h2>", _reasons(result.trades)]
    else:
        parts.append("<p class=soft>No trade was closed in this run.</p>")
    parameters = [(key, str(value)) for key, value in summary["parameters"].items()]
    parts += ["<h2>Parameters</h2>", table(("parameter", "value"), parameters)]
    return page(f"{result.strategy}: backtest", parts, summary)


def page(title: str, parts: Sequence[str], summary: dict[str, Any]) -> str:
    """A whole page of parts, which carries its summary along as JSON."""
    text = json.dumps(summary, default=str).replace("<", "\\u003c")  # no text in it can end the element
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape.escape(title)}</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style><script>{plotly.offline.get_plotlyjs()}</script></head><body>{''.join(parts)}"
        f"<script id=summary type=application/json>{text}</script><script>{_DRAW}</script></body></html>"
    )


def _head(result: Result, summary: dict[str, Any], starting_cash: float) -> str:
    """Facts that made the numbers: nobody should have to ask which fills, costs, data or decisions they are of."""
    begin, end = (str(at)[:10] for at in summary["span"])
    fills = summary["fills"]
    rows = {
        "instruments": ", ".join(summary["instruments"]),
        "fills": f"assumed, at the {fills['entry']}; stops on {fills['stop_fill']}",
        "costs": f"commission and slippage as configured: {summary['measures']['costs_usd'] or 0:,.0f} USD commission",
        "starting cash": f"{starting_cash:,.0f} USD",
        "profile": str(summary.get("profile", "default")),
        "bars, marks": f"{result.bars:,}, {result.marks:,}",
        "data": str(summary["data_sha256"]),
        "decisions": f"{result.decisions:,}, digest {result.digest}",
    }
    if summary["open_positions"]:
        rows["open at the end"] = opened_text(summary)
    if summary["days_without_bars"]:
        rows["trade dates without bars"] = f"{', '.join(summary['days_without_bars'])}: left out"
    if summary.get("closes_only"):
        rows["note"] = "closes only: open, high and low are the close, so ranges say nothing"
    return f"<h1>{escape.escape(result.strategy)}</h1><p class=soft>backtest, {begin} to {end}</p>{facts(rows)}"


def facts(rows: Mapping[str, str]) -> str:
    """A list of names and what they stand for."""
    listed = "".join(f"<dt>{escape.escape(key)}</dt><dd>{escape.escape(text)}</dd>" for key, text in rows.items())
    return f"<dl class=facts>{listed}</dl>"


def _tiles(measures: dict[str, Any]) -> str:
    tiles = (
        f"<div class=tile><b class={_sign(measures[key]) if key == 'net_pnl_usd' else 'plain'}>"
        f"{_number(key, measures[key])}</b><span>{escape.escape(label)}</span></div>"
        for key, label in _TILES
        if key in measures
    )
    return f"<div class=tiles>{''.join(tiles)}</div>"


def _number(key: str, value: Any) -> str:
    if value is None or value != value:
        return "–"
    if key in _SHARES:
        return f"{value:.1%}"
    return f"{value:,.2f}" if isinstance(value, float) and abs(value) < 100 else f"{value:,.0f}"


def _sign(value: Any) -> str:
    return "gain" if value and value > 0 else "loss" if value and value < 0 else "plain"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], signed: bool = False) -> str:
    """A table of texts. Cells of a signed table are coloured by the sign they begin with."""
    body = ""
    for row in rows:
        body += "<tr>"
        for cell in row:
            kind = {"+": " class=gain", "-": " class=loss"}.get(cell[:1], "") if signed else ""
            body += f"<td{kind}>{escape.escape(cell)}</td>"
        body += "</tr>"
    cells = "".join(f"<th>{escape.escape(cell)}</th>" for cell in head)
    return f"<div class=wide><table><tr>{cells}</tr>{body}</table></div>"


def _months(rows: list[dict[str, Any]]) -> str:
    years: dict[int, dict[int, float]] = {}
    for row in rows:
        years.setdefault(row["year"], {})[row["month"]] = row["pnl_usd"]
    lines = []
    for year, months in years.items():
        cells = [f"{months[m]:+,.0f}" if m in months else "" for m in range(1, 13)]
        lines.append((str(year), *cells, f"{sum(months.values()):+,.0f}"))
    return table(("", *_MONTHS, "year"), lines, signed=True)


def _instruments(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in sorted(rows, key=lambda row: -float(row["pnl_usd"])):
        factor, expectancy = row["profit_factor"], row.get("expectancy_usd")
        lines.append(
            (
                str(row["symbol"]),
                f"{row['pnl_usd']:+,.0f}",
                f"{row['trades']:,}",
                f"{row['win_rate']:.1%}",
                _number("profit_factor", factor),
                f"{expectancy:+,.2f}" if expectancy is not None else "–",
            )
        )
    return table(("", "P&L, USD", "trades", "win rate", "profit factor", "expectancy, USD"), lines, signed=True)


def _reasons(trades: pl.DataFrame) -> str:
    pnl = pl.col("pnl_usd")
    rows = (
        trades.group_by("exit_reason")
        .agg(pl.len().alias("n"), pnl.sum().alias("sum"), pnl.mean().alias("mean"), pl.col("bars_held").mean())
        .sort("n", "exit_reason", descending=[True, False])
    )
    lines = [
        (reason.replace("_", " "), f"{n:,}", f"{n / len(trades):.1%}", f"{total:+,.0f}", f"{mean:+,.2f}", f"{held:.1f}")
        for reason, n, total, mean, held in rows.iter_rows()
    ]
    return table(("reason", "trades", "share", "P&L, USD", "mean, USD", "bars held"), lines, signed=True)


def plot(data: list[Any], height: int, **layout: Any) -> str:
    """A place for a plot; the page draws it in its own colours."""
    figure = go.Figure(data, {"height": height, "margin": {"l": 60, "r": 10, "t": 10, "b": 35}, "showlegend": False})
    figure.update_layout(template="none", **layout)
    text = escape.escape(plotly.io.to_json(figure), quote=True)
    return f'<div class=plot style="height:{height}px" data-figure="{text}"></div>'


def _thinned(frame: pl.DataFrame, rows: int = 2_000) -> pl.DataFrame:
    """At most so many points, the last one and the deepest among them: a screen has no more."""
    if len(frame) <= rows:
        return frame
    every = len(frame) // rows + 1
    at = pl.int_range(pl.len())
    worst = pl.col("drawdown_usd") == pl.col("drawdown_usd").max()
    return frame.filter((at % every == 0) | (at == pl.len() - 1) | worst)


def _equity(equity: pl.DataFrame) -> str:
    shown = _thinned(equity)
    line = go.Scatter(x=_stamps(shown), y=shown["equity_usd"].round(2).to_list(), line={"width": 1.4, "color": LINE})
    return plot([line], 320, yaxis={"tickformat": ",.0f"})


def _drawdown(equity: pl.DataFrame) -> str:
    shown = _thinned(equity)
    below = shown["drawdown_usd"].round(2).to_list()
    area = go.Scatter(x=_stamps(shown), y=below, fill="tozeroy", line={"width": 1, "color": LOSS})
    return plot([area], 200, yaxis={"tickformat": ",.0f", "autorange": "reversed"})


def _stamps(frame: pl.DataFrame) -> list[str]:
    return frame["ts"].dt.strftime("%Y-%m-%d %H:%M").to_list()


def _per_instrument(trades: pl.DataFrame) -> str:
    sums = trades.group_by("symbol").agg(pl.col("pnl_usd").sum()).sort("pnl_usd")
    values = sums["pnl_usd"].round(2).to_list()
    colors = [GAIN if value >= 0 else LOSS for value in values]
    bars = go.Bar(y=sums["symbol"].to_list(), x=values, orientation="h", marker={"color": colors})
    return plot([bars], max(200, 22 * len(values) + 60), xaxis={"tickformat": ",.0f"}, yaxis={"type": "category"})


def _distribution(trades: pl.DataFrame) -> str:
    """Trades beyond the outermost hundredths are counted in the last bar on their side, so that the middle shows."""
    pnl = trades["pnl_usd"]
    low, high = pnl.quantile(0.01, "lower"), pnl.quantile(0.99, "higher")
    shown = pnl.clip(low, high).round(2).to_list()
    bars = go.Histogram(x=shown, nbinsx=60, marker={"color": LINE})
    return plot([bars], 320, bargap=0.05, xaxis={"tickformat": ",.0f"}, yaxis={"title": {"text": "trades"}})
