"""A comparison as HTML: on the dashboard's tab, and as one page that opens offline (`rooney compare --report`)."""

import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rooney.dashboard import charts
from rooney.dashboard.charts import Curve
from rooney.performance.runs import Measures
from rooney.performance.verdict import Verdict

TEMPLATES = Path(__file__).with_name("templates")
STYLE = Path(__file__).with_name("static") / "style.css"
DIFFERENCES_SHOWN = 60
_ROWS = (
    ("trades", "trades", "count"),
    ("pnl_usd", "P&L, USD", "usd"),
    ("win_rate", "win rate", "share"),
    ("profit_factor", "profit factor", "plain"),
    ("expectancy_usd", "per trade", "usd"),
    ("sharpe", "Sharpe", "plain"),
    ("max_drawdown_usd", "max drawdown by closed trades, USD", "plain"),
    ("costs_usd", "costs", "plain"),
    ("hours_held", "hours held", "plain"),
    ("decide_p50_ms", "bar to decision p50, ms", "plain"),
    ("decide_p99_ms", "bar to decision p99, ms", "plain"),
    ("send_p50_ms", "request to answer p50, ms", "plain"),
)


def environment() -> Environment:
    """Environment of all templates: what they may call, and how numbers are written."""
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "usd": charts.usd,
        "plain": charts.plain,
        "share": charts.share,
        "price": charts.price,
        "ms": charts.milliseconds,
        "mib": charts.mebibytes,
        "sign": charts.sign,
        "label": charts.label,
    }
    return found


def plots(verdict: Verdict, zone: str) -> Markup:
    """The runs' curves laid over one another."""
    curves = [Curve(name, points) for name, points in verdict.curves.items()]
    return charts.plot(curves, f"P&L of the runs compared with {verdict.name}, USD", zone)


def rows_of(runs: tuple[Measures, ...]) -> list[tuple[str, list[str]]]:
    """(measure, a text per run), those no run can tell left out."""
    writers = {"usd": charts.usd, "plain": charts.plain, "share": charts.share}
    rows = []
    for name, label, kind in _ROWS:
        values = [getattr(run, name) for run in runs]
        if all(value is None for value in values):
            continue
        write = writers.get(kind)
        rows.append((label, [write(math.nan if v is None else v) if write is not None else f"{v:,}" for v in values]))
    return rows


def page(verdict: Verdict, made: str) -> str:
    """The offline page: its style is in it, and nothing is asked of anyone."""

    def stamp(ts_ns: int, form: str = "%m-%d %H:%M") -> Markup:
        return charts.stamp(ts_ns, "utc", form)

    return (
        environment()
        .get_template("comparison.html")
        .render(
            style=Markup(STYLE.read_text()),
            made=made,
            verdict=verdict,
            plot=plots(verdict, "utc"),
            rows_of=rows_of,
            stamp=stamp,
            shown=10**9,
        )
    )
