"""The reports of a search for parameters and of a choice of instruments: HTML files that open offline."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import msgspec
import plotly.graph_objects as go

from research.backtest.report import GAIN, LINE, LOSS, SOFT, facts, page, plot, table
from research.optimize.instruments import Portfolio
from research.optimize.parameters import Optimized

CLOSES_ONLY = "closes only: open, high and low of an hour are its close, so ranges within an hour are not seen"


def optimized(found: Optimized) -> str:
    """The page as text; it carries `optimize.json` along."""
    parts = [_head(found, f"{found.strategy}: parameters", _verdict(found.confirmed, found.reasons))]
    m = found.measures
    parts.append(
        _tiles(
            (
                (ratio(m.get("sharpe")), "Sharpe, searched"),
                (ratio(m.get("path_sharpe")), "… of choosing, mean of the paths"),
                (ratio(m.get("final_sharpe")), "… in the final period"),
                (share(m.get("deflated_sharpe")), "deflated Sharpe"),
                (share(m.get("overfitting")), "probability of overfitting"),
                (usd(m.get("final_pnl_usd")), "final P&L, USD"),
                (f"{m['trials']:.0f}", "trials"),
                (f"{m['final_trades']:.0f}", "trades in the final period"),
            )
        )
    )
    rows = [
        (key, value(found.configured[key]), value(found.strategy_params[key]), f"{low:g} to {high:g}")
        for key, (low, high) in found.search.items()
    ]
    parts += ["<h2>Parameters</h2>", table(("", "configured", "found", "searched"), rows)]
    parts += [f"<h2>P&amp;L so far, USD</h2>{_key('found', 'configured')}"]
    parts.append(_curves(found.curve, found.final_from))
    note = "Right of the line: the period put away, looked at once. Nothing but rules and filters held an entry back; "
    parts.append(f"<p class=soft>{note}<code>rooney backtest</code> shows what slots and limits leave.</p>")
    lines = [
        (
            label,
            usd(m.get(f"{key}_pnl_usd")),
            ratio(m.get(f"{key}_sharpe")),
            share(m.get(f"{key}_sharpe_probability")),
            f"{m[f'{key}_trades']:,.0f}",
        )
        for key, label in (("final", "found"), ("configured_final", "configured"))
    ]
    head = ("", "P&L, USD", "Sharpe", "probability of a profit", "trades")
    parts += [f"<h2>The final period, from {found.final_from}</h2>", table(head, lines, signed=True)]
    parts += [
        "<div class=pair><div><h2>Trials</h2><p class=soft>Sharpe of what each saw; pruned ones hollow, the "
        "chosen one filled green</p>",
        _trials(found),
        "</div><div><h2>Paths</h2><p class=soft>Sharpe of choosing on what was known, per path</p>",
        _bars(found.path_sharpes),
        "</div></div>",
    ]
    parts += ["<h2>Each parameter</h2><p class=soft>Mean Sharpe of the tested part of the splits, by value</p>"]
    parts += ["<div class=pair>", *(_slice(found, key) for key in found.search), "</div>"]
    parts += ["<h2>Instruments</h2>", _instruments(found.per_instrument)]
    parts += ["<h2>How it was searched</h2>", facts(_plan(found))]
    return page(f"{found.strategy}: parameters", parts, msgspec.to_builtins(found))


def chosen(found: Portfolio) -> str:
    """The page as text; it carries `portfolio.json` along."""
    parts = [_head(found, f"{found.strategy}: instruments", _verdict(found.confirmed, found.reasons))]
    way, m = found.ways["selection"], found.measures
    parts.append(
        _tiles(
            (
                (str(len(found.selected)), "instruments chosen"),
                (ratio(way.path_sharpe), "Sharpe of choosing, mean of paths"),
                (ratio(way.path_sharpe_worst), "… of the worst path"),
                (ratio(way.final_sharpe), "… in the final period"),
                (usd(way.final_pnl_usd), "final P&L, USD"),
                (f"{way.final_drawdown_usd:,.0f}", "final drawdown, USD"),
                (f"{m['final_trades']:.0f}", "trades in the final period"),
                (share(m.get("final_sharpe_probability")), "probability of a profit"),
            )
        )
    )
    head = ("", "paths: Sharpe", "worst", "final: Sharpe", "P&L, USD", "drawdown, USD")
    rows = [
        (
            name,
            ratio(w.path_sharpe),
            ratio(w.path_sharpe_worst),
            ratio(w.final_sharpe),
            usd(w.final_pnl_usd),
            f"{w.final_drawdown_usd:,.0f}",
        )
        for name, w in found.ways.items()
    ]
    parts += ["<h2>Against what needs no choice</h2>", table(head, rows, signed=True)]
    note = (
        "Selection and all trade under the limits of the configuration. Equal risk and HRP hold every instrument at "
        "once, in fractions of contracts, so compare their Sharpe ratios only."
    )
    parts.append(f"<p class=soft>{note}</p>")
    parts += [f"<h2>P&amp;L in the final period, USD</h2>{_key('selection', 'all')}", _curves(found.curve)]
    lines = [
        (str(k + 1), step.symbol, ratio(step.sharpe), f"{step.drawdown_usd:,.0f}") for k, step in enumerate(found.steps)
    ]
    if lines:
        parts += ["<h2>In which order</h2>", table(("", "added", "Sharpe of all so far", "drawdown, USD"), lines)]
    frequency = {symbol: member.frequency for symbol, member in found.members.items()}
    parts += ["<h2>How often each is chosen</h2><p class=soft>share of the splits; the selection in green</p>"]
    parts += [_frequency(frequency, found.selected), "<h2>Each alone</h2>", _instruments(found.members)]
    parts += ["<h2>How it was chosen</h2>", facts(_plan(found))]
    return page(f"{found.strategy}: instruments", parts, msgspec.to_builtins(found))


def ratio(number: float | None) -> str:
    """Two decimals with the sign; – where there is none."""
    return "–" if number is None else f"{number:+.2f}"


def share(number: float | None) -> str:
    return "–" if number is None else f"{number:.1%}"


def usd(number: float | None) -> str:
    return "–" if number is None else f"{number:+,.0f}" if number else "0"


def value(number: Any) -> str:
    """A parameter, as short as it is known."""
    if not isinstance(number, float):
        return str(number)
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def _head(found: Optimized | Portfolio, title: str, verdict: str) -> str:
    begin, end = (at[:10] for at in found.span)
    note = f"<p class=soft>Data are {CLOSES_ONLY}.</p>" if found.closes_only else ""
    away = f"{begin} to {end}; put away from {found.final_from} on"
    return f"<h1>{escape(title)}</h1><p class=soft>{away}</p>{verdict}{note}"


def _verdict(confirmed: bool, reasons: Sequence[str]) -> str:
    if confirmed:
        return "<p><b class=gain>confirmed</b></p>"
    items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    return f"<p><b class=loss>not confirmed</b></p><ul>{items}</ul>"


def _tiles(tiles: Sequence[tuple[str, str]]) -> str:
    cells = (f"<div class=tile><b>{escape(number)}</b><span>{escape(label)}</span></div>" for number, label in tiles)
    return f"<div class=tiles>{''.join(cells)}</div>"


def _plan(found: Optimized | Portfolio) -> dict[str, str]:
    plan = {key: value(item) for key, item in msgspec.structs.asdict(found.plan).items() if item != ""}
    return {key.replace("_", " "): text for key, text in plan.items()} | {"data": found.data_sha256}


def _key(first: str, second: str) -> str:
    return (
        f"<p class=soft><span style='color:{LINE}'>━</span> {escape(first)} "
        f"<span style='color:{SOFT}'>━</span> {escape(second)}</p>"
    )


def _curves(curve: Sequence[tuple[str, float, float]], final_from: str = "") -> str:
    dates = [row[0] for row in curve]
    lines = [
        go.Scatter(x=dates, y=[row[k] for row in curve], line={"width": 1.4, "color": color})
        for k, color in ((2, SOFT), (1, LINE))
    ]
    shapes = []
    if final_from:
        shapes = [
            {
                "type": "line",
                "x0": final_from,
                "x1": final_from,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": SOFT, "dash": "dot", "width": 1},
            }
        ]
    return plot(lines, 320, yaxis={"tickformat": ",.0f"}, shapes=shapes)


def _trials(found: Optimized) -> str:
    shown = [trial for trial in found.trials if trial.sharpe is not None]
    best = max((trial.value for trial in shown if trial.value is not None), default=None)
    colors = [GAIN if trial.value is not None and trial.value == best else SOFT for trial in shown]
    symbols = ["circle-open" if trial.value is None else "circle" for trial in shown]
    dots = go.Scatter(
        x=[trial.number for trial in shown],
        y=[trial.sharpe for trial in shown],
        mode="markers",
        marker={"color": colors, "symbol": symbols, "size": 8},
    )
    return plot([dots], 280, xaxis={"title": {"text": "trial"}})


def _bars(ratios: Sequence[float]) -> str:
    colors = [GAIN if number > 0 else LOSS for number in ratios]
    bars = go.Bar(x=list(range(1, len(ratios) + 1)), y=list(ratios), marker={"color": colors})
    return plot([bars], 280, xaxis={"title": {"text": "path"}, "dtick": 1})


def _slice(found: Optimized, key: str) -> str:
    shown = [trial for trial in found.trials if trial.value is not None]
    dots = go.Scatter(
        x=[trial.params[key] for trial in shown],
        y=[trial.value for trial in shown],
        mode="markers",
        marker={"color": LINE, "size": 6},
    )
    return f"<div>{plot([dots], 240, xaxis={'title': {'text': key}})}</div>"


def _frequency(shares: Mapping[str, float], selected: Sequence[str]) -> str:
    order = sorted(shares, key=lambda symbol: shares[symbol])
    colors = [GAIN if symbol in selected else SOFT for symbol in order]
    bars = go.Bar(y=order, x=[shares[symbol] for symbol in order], orientation="h", marker={"color": colors})
    height = max(200, 22 * len(order) + 60)
    return plot([bars], height, xaxis={"tickformat": ".0%", "range": [0, 1]}, yaxis={"type": "category"})


def _instruments(parts: Mapping[str, Any]) -> str:
    head = ("", "trades", "P&L, USD", "Sharpe", "final: trades", "P&L, USD", "Sharpe")
    rows = [
        (
            symbol,
            f"{part.trades:,}",
            usd(part.pnl_usd),
            ratio(part.sharpe),
            f"{part.final_trades:,}",
            usd(part.final_pnl_usd),
            ratio(part.final_sharpe),
        )
        for symbol, part in parts.items()
    ]
    return table(head, rows, signed=True)
