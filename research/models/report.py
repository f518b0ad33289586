"""The report of a training: one HTML file that opens offline. Why each model may trade, or why there is none."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from research.backtest.report import GAIN, LINE, SOFT, facts, page, plot, table
from research.models.train import DAY_NS, Verdict

_SHOWN = (
    ("search_trades", "trades searched"),
    ("final_trades", "trades put away"),
    ("trials", "trials"),
    ("kept_trades", "kept, least of a path"),
    ("paths", "paths"),
    ("path_share", "… with an excess, share"),
    ("sharpe", "Sharpe of the excess, per day"),
    ("sharpe_worst_path", "… of the worst path"),
    ("deflated_sharpe", "deflated Sharpe (probability)"),
    ("overfitting", "probability of overfitting"),
    ("pnl_usd", "P&L kept, USD"),
    ("all_pnl_usd", "… of all, USD"),
    ("final_kept", "final: kept"),
    ("final_pnl_usd", "final: P&L kept, USD"),
    ("final_all_pnl_usd", "final: … of all, USD"),
    ("final_sharpe_probability", "final: probability of an excess"),
)


def html(name: str, verdicts: Sequence[Verdict], summary: dict[str, Any], beside: Sequence[str] = ()) -> str:
    """The page as text. summary: as in `training.json`, which the page carries along; beside: of `comparison`."""
    begin, end = (str(at)[:10] for at in summary["span"])
    parts = [f"<h1>{escape(name)}</h1><p class=soft>models, trained on {begin} to {end}</p>"]
    made = {
        "features": ", ".join(summary["features"]),
        "data": summary["data_sha256"],
        "plan": ", ".join(f"{key} {value}" for key, value in summary["plan"].items()),
    }
    parts.append(f"{facts(made)}<h2>Instruments</h2>")
    rows = [(v.symbol, "confirmed" if v.model else "; ".join(v.reasons)) for v in verdicts]
    parts.append(table(("", "verdict"), rows))
    parts += beside
    for verdict in verdicts:
        parts += _instrument(verdict)
    return page(f"{name}: models", parts, summary)


def comparison(told: dict[str, Any], days: Any, difference: Any) -> list[str]:
    """The new models beside those in force. told: `evaluation.json`; difference: USD[day], new less in force."""
    keys = ("trades", "new_kept", "new_usd", "in_force_kept", "in_force_usd")
    rows = [(symbol, *(f"{one[key]:,.0f}" for key in keys)) for symbol, one in told["instruments"].items()]
    titles = ("", "trades", "new: kept", "P&L, USD", "in force: kept", "P&L, USD")
    line = go.Scatter(x=_dates(days * DAY_NS), y=np.cumsum(difference).round(2).tolist(), line={"color": LINE})
    return [
        f"<h2>Beside the bundle in force</h2><p>{escape(told['verdict'])}</p>",
        table(titles, rows),
        "<p class=soft>New less in force, USD, trades neither was fitted to</p>",
        plot([line], 260),
    ]


def _instrument(verdict: Verdict) -> list[str]:
    found = [(label, verdict.measures[key]) for key, label in _SHOWN if key in verdict.measures]
    measures = [(label, f"{x:,.0f}" if abs(x) >= 1_000 else f"{x:.4g}") for label, x in found]
    parts = [f"<h2>{escape(verdict.symbol)}: {'confirmed' if verdict.model else 'no model'}</h2>"]
    if verdict.best is None:
        return [*parts, table(("", ""), measures)]
    parts += ["<div class=pair><div>", table(("", ""), measures), "</div><div>"]
    parts += ["<p class=soft>Sharpe of the excess of each trial; the chosen one marked</p>", _trials(verdict)]
    parts += ["</div></div><p class=soft>Excess of kept trades in cross-validation, USD, mean of the paths</p>"]
    parts += [_excess(verdict)]
    parts += ["<p class=soft>The period put away, USD: trades kept by the model, and all of them</p>", _final(verdict)]
    return parts


def _trials(verdict: Verdict) -> str:
    shown = [(k, trial.sharpe) for k, trial in enumerate(verdict.trials) if trial.sharpe == trial.sharpe]
    best = verdict.trials.index(verdict.best) if verdict.best is not None else -1
    colors = [GAIN if k == best else SOFT for k, _ in shown]
    dots = go.Scatter(
        x=[k for k, _ in shown], y=[round(ratio, 5) for _, ratio in shown], mode="markers", marker={"color": colors}
    )
    return plot([dots], 280, xaxis={"title": {"text": "trial"}})


def _excess(verdict: Verdict) -> str:
    line = go.Scatter(
        x=_dates(verdict.days * DAY_NS),
        y=np.cumsum(verdict.excess).round(2).tolist(),
        line={"width": 1.4, "color": LINE},
    )
    return plot([line], 260, yaxis={"tickformat": ",.0f"})


def _final(verdict: Verdict) -> str:
    final = verdict.final
    if final is None or verdict.best is None:
        return ""
    x = _dates(final.end_ns)
    kept = np.where(verdict.scores >= verdict.best.threshold, final.pnl_usd, 0.0)
    lines = [
        go.Scatter(x=x, y=np.cumsum(values).round(2).tolist(), name=name, line={"width": 1.4, "color": color})
        for values, name, color in ((final.pnl_usd, "all", SOFT), (kept, "kept", GAIN))
    ]
    return plot(lines, 260, yaxis={"tickformat": ",.0f"})


def _dates(ts_ns: Any) -> list[str]:
    return [datetime.fromtimestamp(int(ts) // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M") for ts in ts_ns]
