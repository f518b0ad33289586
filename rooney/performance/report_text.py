"""A report as text, for a terminal, a journal, Slack and Discord; and what of it is an alert. Pure."""

import logging
from collections.abc import Sequence

from rooney import log
from rooney.ledger import latency as pace
from rooney.orders.notices import Notice, Turn
from rooney.performance.period import Period
from rooney.performance.report import Report

PACE = "pace"
_NOTE = "P&L estimated: no fills are reported back"


def text(period: Period, reports: Sequence[Report]) -> str:
    """A title, a line per strategy, and all together."""
    lines = [f"{period.title} ({_NOTE})", *(f"{one.name}: {line(one)}" for one in reports)]
    if len(reports) != 1:
        days = [one.day for one in reports if one.day is not None]
        trades, winners = sum(day.trades for day in days), sum(day.winners for day in days)
        total = sum(day.pnl_usd for day in days)
        lines.append(f"all: {total:+,.2f} USD, {_trades(trades, winners)}")
    return "\n".join(lines)


def line(one: Report) -> str:
    """What one strategy did."""
    if one.day is None or one.portrait is None:
        return one.lack
    orders = ", ".join(f"{number} {state}" for state, number in one.day.orders.items()) or "none"
    parts = [f"{one.day.pnl_usd:+,.2f} USD", _trades(one.day.trades, one.day.winners), f"orders: {orders}"]
    held = ", ".join(f"{held.contract} {held.side * held.quantity:+d}" for held in one.portrait.open)
    parts.append(f"open: {held}" if held else "flat")
    if one.pace is not None and one.pace.expected:
        parts.append(f"{one.pace.share:.2%} of {one.pace.expected:,} minutes within {pace.PROMISED_MS} ms")
    return ", ".join(parts)


def _trades(number: int, winners: int) -> str:
    return f"{number} trade{'' if number == 1 else 's'}" + (f" ({winners} won)" if number else "")


def notices(period: Period, reports: Sequence[Report]) -> list[tuple[str, Notice]]:
    """(scope, notice): the report for all, each strategy's own part, and after a week whether the promise was kept."""
    found = [("", _report(text(period, reports)))]
    for one in reports:
        found.append((one.name, _report(text(period, [one]))))
        if period.is_week and one.pace is not None:
            found.append((one.name, _promise(one.pace.share, one.pace.is_kept, period)))
    return found


def _report(said: str) -> Notice:
    return Notice("report", Turn.NEWS, log.NOTICE, said)


def _promise(share: float, is_kept: bool, period: Period) -> Notice:
    said = f"{share:.2%} of the minutes in session were acted on within {pace.PROMISED_MS} ms"
    said += f" (promised {pace.PROMISED_SHARE:.1%}), {period.title.lower()}"
    # the end of what never began is no news
    return Notice(PACE, Turn.ENDS, logging.INFO, said) if is_kept else Notice(PACE, Turn.BEGINS, logging.WARNING, said)
