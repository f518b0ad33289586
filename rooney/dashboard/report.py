"""A report as one HTML file that opens offline, without scripts; plots and looks are the dashboard's."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from rooney.dashboard import charts
from rooney.dashboard.charts import Curve
from rooney.dashboard.comparison import STYLE, environment
from rooney.ledger import latency as pace
from rooney.market import sessions
from rooney.monitor.portfolio import combine, sum_days
from rooney.performance import measures
from rooney.performance.period import Period
from rooney.performance.report import Report

ZONE = "chicago"


def html(period: Period, reports: Sequence[Report], made_ns: int) -> str:
    """The whole page. made_ns: when, UTC ns."""
    known = [one for one in reports if one.portrait is not None and one.day is not None]
    parts = {one.name: _part(one) for one in known}
    curves = [Curve(name, _gained(part)) for name, part in parts.items()]
    days = [part["days"] for part in parts.values()]
    template = environment().get_template("period.html")
    return template.render(
        period=period,
        reports=reports,
        parts=parts,
        curves=curves,
        plot=charts.plot(curves, "P&L since the start of every strategy", ZONE),
        together=combine([one.portrait for one in known if one.portrait], days),
        calendar=charts.calendar(sum_days(days)),
        total=sum(one.day.pnl_usd for one in known if one.day),
        trades=sum(one.day.trades for one in known if one.day),
        winners=sum(one.day.winners for one in known if one.day),
        costs=sum(one.day.costs_usd for one in known if one.day),
        promised_ms=pace.PROMISED_MS,
        promised_share=pace.PROMISED_SHARE,
        style=Markup(STYLE.read_text()),
        made=charts.stamp(made_ns, "utc", "%Y-%m-%d %H:%M"),
        stamp=lambda ts_ns: charts.stamp(ts_ns, ZONE),
    )


def _part(one: Report) -> dict[str, Any]:
    assert one.portrait is not None
    points = measures.curve(one.portrait)
    days = measures.daily(one.portrait, sessions.trade_date(one.portrait.ts_mark - 1) if one.portrait.ts_mark else None)
    equity = Curve(one.name, [(point.ts, point.equity_usd) for point in points])
    under = Curve("drawdown", [(point.ts, -point.drawdown_usd) for point in points])
    return {
        "points": points,
        "days": days,
        "measures": measures.measure(one.portrait, points, days),
        "equity": charts.plot([equity], f"Equity of {one.name}", ZONE, 180),
        "under": charts.plot([under], f"Drawdown of {one.name}", ZONE, 90, area=True),
        "calendar": charts.calendar(days),
    }


def _gained(part: dict[str, Any]) -> list[tuple[int, float]]:
    points = part["points"]
    start = points[0].equity_usd if points else 0.0
    return [(point.ts, point.equity_usd - start) for point in points]
