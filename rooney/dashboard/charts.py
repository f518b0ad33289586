"""Curves as SVG and numbers as text. Pure; no style attribute anywhere, since the page's policy forbids them.

A plot is an outer SVG in pixels, for text, around an inner one that is stretched to the width there is.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

from markupsafe import Markup, escape

from rooney.market.sessions import CHICAGO

MINUS, NONE = "\u2212", "n/a"
WIDTH = 1000
MAX_POINTS = 600
AHEAD = 0.015  # share of the width beyond the last point, so that a step at the end is seen
ZONES: dict[str, tzinfo] = {"utc": UTC, "chicago": CHICAGO}


def usd(value: float, places: int = 2) -> str:
    """+1,234.50, −12.00, 0.00; a sign wherever there is something to have one."""
    if not math.isfinite(value):
        return NONE
    text = f"{abs(value):,.{places}f}"
    if not float(text.replace(",", "")):
        return text
    return ("+" if value > 0 else MINUS) + text


def plain(value: float, places: int = 2) -> str:
    """1,234.50; a minus sign only."""
    if not math.isfinite(value):
        return NONE
    return f"{value:,.{places}f}".replace("-", MINUS)


def share(value: float) -> str:
    """61.5 %"""
    return f"{value * 100:.1f} %" if math.isfinite(value) else NONE


def price(value: float, tick: float = 0.0) -> str:
    """With the decimals of its tick; without one, as many as it has."""
    if not math.isfinite(value):
        return ""
    if tick <= 0.0:
        return f"{value:.10g}".replace("-", MINUS)
    text = f"{tick:.10f}".rstrip("0")
    return plain(value, len(text.partition(".")[2]))


def milliseconds(seconds: float) -> str:
    """12.3 ms"""
    return f"{seconds * 1e3:,.1f} ms" if math.isfinite(seconds) else NONE


def mebibytes(count: float | None) -> str:
    """24.1 MiB"""
    return NONE if count is None else f"{count / 2**20:,.1f} MiB"


def sign(value: float) -> str:
    """Class of a number: what it is coloured by, beside its sign."""
    return "gain" if value > 0 else "loss" if value < 0 else "even"


def local(ts_ns: int, zone: str) -> datetime:
    """An instant in one of `ZONES`."""
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, ZONES[zone])


def stamp(ts_ns: int, zone: str, form: str = "%m-%d %H:%M") -> Markup:
    """<time> with the instant in it, for the script that shows ages."""
    if not ts_ns:
        return Markup("never")
    at = datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC)
    shown = local(ts_ns, zone).strftime(form) + ("Z" if zone == "utc" else "")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M:%S UTC"), shown
    )


# ── plots ──


def _ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers within [low, high]."""
    if not high > low:
        return [low]
    raw = (high - low) / wanted
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * k for k in (1, 2, 2.5, 5, 10) if unit * k >= raw)
    first = math.ceil(low / step) * step
    return [first + k * step for k in range(int((high - first) / step + 1e-9) + 1)]


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most about MAX_POINTS: of each stretch its lowest and highest, in order, so that no extreme is lost."""
    if len(points) <= MAX_POINTS:
        return list(points)
    size = math.ceil(len(points) / (MAX_POINTS // 2))
    kept = [points[0]]
    for k in range(0, len(points), size):
        part = points[k : k + size]
        kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return [*kept, points[-1]]


class Curve:
    """A line of a plot. points: (UTC ns, value) in order; each value holds until the next one."""

    def __init__(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        self.name = name
        self.points = [(float(ts), value) for ts, value in points if math.isfinite(value)]


def plot(curves: Sequence[Curve], label: str, zone: str, height: int = 220, area: bool = False) -> Markup:
    """Lines over time with round numbers at the left and dates below; `area`: filled towards zero, falls."""
    points = [point for curve in curves for point in curve.points]
    if len(points) < 2:
        return Markup('<p class="empty">Nothing to draw yet.</p>')
    begin, last = min(p[0] for p in points), max(p[0] for p in points)
    end = last + AHEAD * (last - begin)
    low, high = min(p[1] for p in points), max(p[1] for p in points)
    margin = (high - low) * 0.06 or 1.0
    if area:
        low, high = min(low - margin, 0.0), 0.0
    else:
        low, high = low - margin, high + margin
    frame = _Frame(begin, end, low, high, height - 22)
    grid, texts = Markup(""), Markup("")
    for tick in _ticks(low, high):
        y = frame.y(tick)
        text = plain(abs(tick) if area else tick, 0 if abs(tick) >= 10 or tick == round(tick) else 2)
        grid += Markup('<line class="grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(y)
        texts += Markup('<text class="tick" x="4" y="{}">{}</text>').format(max(10.0, y - 3), text)
    days = (end - begin) / 86_400e9
    form = "%H:%M" if days < 1.5 else "%m-%d" if days < 300 else "%Y-%m"
    for at, anchor in ((0, "start"), (50, "middle"), (100, "end")):
        when = local(int(begin + at / 100 * (last - begin)), zone).strftime(form)
        texts += Markup('<text class="tick" x="{}%" y="{}" text-anchor="{}">{}</text>').format(
            at, height - 6, anchor, when
        )
    lines = Markup("").join(_line(k, curve, frame, area) for k, curve in enumerate(curves) if curve.points)
    return Markup(
        '<svg class="plot" role="img" aria-label="{}" width="100%" height="{}">{}'
        '<svg width="100%" height="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">{}</svg>{}</svg>'
    ).format(label, height, grid, frame.height, WIDTH, frame.height, lines, texts)


class _Frame(NamedTuple):
    """From values to the coordinates of a plot."""

    begin: float
    end: float
    low: float
    high: float
    height: int

    def x(self, ts: float) -> float:
        return round(WIDTH * (ts - self.begin) / (self.end - self.begin), 1) if self.end > self.begin else 0.0

    def y(self, value: float) -> float:
        return round(self.height * (self.high - value) / (self.high - self.low), 1)


def _line(k: int, curve: Curve, frame: _Frame, area: bool) -> Markup:
    thin = _thin(curve.points)
    path = [f"M{frame.x(thin[0][0])} {frame.y(thin[0][1])}"]
    for ts, value in thin[1:]:
        x, y = frame.x(ts), frame.y(value)
        path.append(f"H{x}V{y}")
    path.append(f"H{WIDTH}")  # the last value is the one of now
    line = Markup('<path class="line line-{}" d="{}"><title>{}</title></path>').format(k, "".join(path), curve.name)
    if not area:
        return line
    closed = f"{''.join(path)}V{frame.y(0.0)}H{frame.x(thin[0][0])}Z"
    return Markup('<path class="area" d="{}"/>').format(closed) + line


def spark(points: Sequence[tuple[int, float]], label: str) -> Markup:
    """A curve the size of a word."""
    if len(points) < 2:
        return Markup("")
    low, high = min(v for _, v in points), max(v for _, v in points)
    span, n = (high - low) or 1.0, len(points) - 1
    path = "".join(
        f"{'L' if k else 'M'}{round(100 * k / n, 1)} {round(22 - 20 * (v - low) / span, 1)}"
        for k, (_, v) in enumerate(points)
    )
    trend = sign(points[-1][1] - points[0][1])
    return Markup(
        '<svg class="spark {}" role="img" aria-label="{}" viewBox="0 0 100 24" preserveAspectRatio="none">'
        '<path d="{}"/></svg>'
    ).format(trend, label, path)


def gauge(used: float, label: str) -> Markup:
    """Share of a limit that is used, 0 to 1 and beyond; amber from a half, red from nine tenths."""
    level = "full" if used >= 0.9 else "half" if used >= 0.5 else "low"
    width = round(min(1.0, max(0.0, used)) * 100, 1)
    return Markup(
        '<svg class="gauge {}" role="img" aria-label="{}"><rect class="track" width="100%" height="100%" rx="3"/>'
        '<rect class="used" width="{}%" height="100%" rx="3"/></svg>'
    ).format(level, label, width)


def calendar(days: Mapping[date, float], weeks: int = 9) -> Markup:
    """Daily P&L, a row per week, Monday to Friday; its class says how much of the largest move it was."""
    if not days:
        return Markup('<p class="empty">No trade date yet.</p>')
    last = max(days)
    monday = last - timedelta(days=last.weekday(), weeks=weeks - 1)
    monday = max(monday, min(days) - timedelta(days=min(days).weekday()))
    largest = max((abs(usd_) for day, usd_ in days.items() if day >= monday), default=0.0) or 1.0
    rows = []
    while monday <= last:
        cells = []
        for k in range(5):
            day = monday + timedelta(days=k)
            if day not in days:
                cells.append(Markup('<td class="none"></td>'))
                continue
            value = days[day]
            level = math.ceil(4 * abs(value) / largest)
            cells.append(
                Markup('<td class="{} l{}"><span class="day">{}</span> {}</td>').format(
                    sign(value), level, f"{day:%d}", usd(value, 0)
                )
            )
        total = sum(days.get(monday + timedelta(days=k), 0.0) for k in range(5))
        rows.append(
            Markup('<tr><th scope="row">{}</th>{}<td class="sum {}">{}</td></tr>').format(
                f"{monday:%b %d}", Markup("").join(cells), sign(total), usd(total, 0)
            )
        )
        monday += timedelta(weeks=1)
    names = ("Mon", "Tue", "Wed", "Thu", "Fri", "Week")
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in names)
    return Markup('<table class="calendar"><thead><tr><td></td>{}</tr></thead><tbody>{}</tbody></table>').format(
        head, Markup("").join(rows)
    )


def label(text: str) -> Markup:
    """Escaped, words that may be broken at underscores."""
    return Markup("_<wbr>").join(escape(part) for part in text.split("_"))
