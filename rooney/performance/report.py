"""What strategies did in a period, from their ledgers: trades, orders, P&L, and how soon minutes were acted on."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from rooney import log
from rooney.errors import LedgerError
from rooney.ledger import latency as pace
from rooney.ledger.reader import Day, created_ns, read_day, read_pace
from rooney.ledger.records import TradeRow
from rooney.ledger.snapshot import LedgerView, Snapshot
from rooney.market import sessions
from rooney.orders.notices import Notice, Turn
from rooney.paths import ledger_path
from rooney.performance.period import Period


class Pace(msgspec.Struct, frozen=True):
    """Minutes of a period: in session, finished with a known latency, and of these within 200 ms; p99_ms: a bound."""

    expected: int
    acted: int
    within: int
    p99_ms: float

    @property
    def share(self) -> float:
        """Of the minutes in session those acted on within 200 ms; NaN where none was."""
        return min(1.0, self.within / self.expected) if self.expected else float("nan")

    @property
    def is_kept(self) -> bool:
        """What is promised for a week."""
        return not self.expected or self.share >= pace.PROMISED_SHARE


class Report(msgspec.Struct, frozen=True):
    """One strategy. lack: why there is no more to say; trades: those closed in the period, oldest first."""

    name: str
    lack: str
    day: Day | None = None
    pace: Pace | None = None
    portrait: Snapshot | None = None
    trades: tuple[TradeRow, ...] = ()


def read(names: Sequence[str], groups: Iterable[str], period: Period, state: Path, now_ns: int) -> list[Report]:
    """Every strategy's. groups: session groups of all instruments. What cannot be read is in `lack`."""
    groups = sorted(groups)
    return [_read(name, groups, period, ledger_path(state, name), now_ns) for name in names]


def _read(name: str, groups: Sequence[str], period: Period, path: Path, now_ns: int) -> Report:
    try:
        portrait = LedgerView(path).look()
        day = read_day(path, *period.span)
        if portrait is None or day is None:
            return Report(name, "no ledger yet")
        counts: dict[int, int] = {}
        for of_day in read_pace(path, period.first.isoformat(), period.last.isoformat()).values():
            for bound, minutes in of_day.items():
                counts[bound] = counts.get(bound, 0) + minutes
        begin, end = period.span
        born = created_ns(path)
        expected = minutes_in_session(groups, born if begin < born < end else begin, min(end, max(now_ns, begin)))
    except LedgerError as error:
        return Report(name, str(error))
    found = Pace(expected, sum(counts.values()), pace.within(counts), pace.quantile_ms(counts, 0.99))
    trades = tuple(trade for trade in portrait.trades if begin <= trade.ts_mark < end)
    return Report(name, "", day, found, portrait, trades)


def minutes_in_session(groups: Iterable[str], begin_ns: int, end_ns: int) -> int:
    """Minutes that end in (begin, end] in which at least one group is in session: as many entries the tape has."""
    spans = []
    for group in groups:
        at = begin_ns
        while at < end_ns:
            window = sessions.window_at(group, at) or sessions.next_window(group, at)
            if window.open_ns >= end_ns:
                break
            spans.append((max(window.open_ns, begin_ns), min(window.close_ns, end_ns)))
            at = window.close_ns
    minutes, until = 0, begin_ns
    for opens, closes in sorted(spans):
        opens = max(opens, until)
        if closes > opens:
            minutes += closes // sessions.MINUTE_NS - opens // sessions.MINUTE_NS
            until = closes
    return minutes


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
