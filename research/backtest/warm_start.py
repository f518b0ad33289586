"""A scan that begins in the middle of history, as a worker begins in the middle of a day.

Features are warmed up with the last bars closed by then, as many as a worker asks Redis for; hours and days in progress
are taken up as the hub has them; then the scan goes on from the next minute.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from research.backtest.backtest import Scan
from research.history.history import History
from research.history.sessions import DAY_NS, Windows
from rooney.engine.engine import Engine
from rooney.kernels import dtypes
from rooney.kernels.array_types import I64, Records
from rooney.market.instruments import contract_from_number, group_of
from rooney.market.messages import Bar, Roll
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.market.timeframes import TIMEFRAMES
from rooney.orders.decisions import Decisions


class Walk:
    """A scan on its way through history, to be stopped after any minute."""

    def __init__(self, engine: Engine, scan: Scan, chunks: Iterable[Records], at_ns: int) -> None:
        self.engine, self.scan = engine, scan
        self.at_ns = at_ns  # end of the last minute stepped
        self.chunks = iter(chunks)  # bars not begun yet
        self._records = np.zeros(0, dtypes.HISTORY)

    def on(self, until_ns: int) -> int:
        """Step every minute up to the one that ends at `until_ns`; how many there were."""
        return sum(self.scan.step(records, end_ns) for records, end_ns in self._ahead(until_ns))

    def marks(self, until_ns: int) -> Iterator[Decisions]:
        """Decisions of every mark, minute by minute."""
        for records, end_ns in self._ahead(until_ns):
            yield from self.scan.marks_of(records, end_ns)

    def _ahead(self, until_ns: int) -> Iterator[tuple[Records, int]]:
        """Bars not stepped yet, as the chunks hold them, and the minute that each part of them reaches to."""
        while self.at_ns < until_ns:
            if not len(self._records):
                self._records = next(self.chunks, self._records)
            end_ns = min(until_ns, int(self._records["ts_close"][-1])) if len(self._records) else until_ns
            past = int(np.searchsorted(self._records["ts_close"], end_ns, "right"))
            yield self._records[:past], end_ns
            self._records, self.at_ns = self._records[past:], end_ns


def history_bars(engine: Engine) -> tuple[int, ...]:
    """Numbers of 1min, hourly and daily bars a worker warms up with; 0 where nothing reads them."""
    return tuple(engine.warm_up_bars(timeframe) for timeframe in range(len(TIMEFRAMES)))


def warm_start(
    scan: Scan, engine: Engine, history: History, start_ns: int, counts: tuple[int, ...] | None = None
) -> Walk:
    """Make a blank engine and its scan ready to go on after the minute that ended at `start_ns`.

    counts: 1min, hourly and daily bars to warm up with; None: as many as a worker
    """
    counts = history_bars(engine) if counts is None else counts
    roots = [instrument.symbol for instrument in engine.instruments]
    past, ahead = _split(history, counts, start_ns)
    windows = history.windows(engine.limits.profile)
    hours, days = np.zeros(len(roots), dtypes.SPAN), np.zeros(len(roots), dtypes.SPAN)
    bars: list[Bar] = []
    for i, root in enumerate(roots):
        found, hours[i], days[i] = fold(past[past["instrument"] == i], windows[group_of(root)], start_ns)
        for timeframe, (records, count) in enumerate(zip(found, counts, strict=True)):
            bars += _bars(root, timeframe, records[max(0, len(records) - count) :])
    first_ns = min((bar.ts_close for bar in bars), default=0)
    engine.warm_up(bars, [roll for roll in _rolls(history) if first_ns <= roll.ts <= start_ns])
    scan.begin(start_ns, hours, days)
    return Walk(engine, scan, ahead, start_ns)


def _split(history: History, counts: tuple[int, ...], start_ns: int) -> tuple[Records, Iterator[Records]]:
    """(bars known by the start, as far back as they are needed; those after it, chunk by chunk)."""
    # Weekends, nights and holidays hold no bars: three times the length is enough, and a week for what is in progress.
    reach_ns = 3 * max(n * length for n, length in zip(counts, (MINUTE_NS, HOUR_NS, DAY_NS), strict=True)) + 7 * DAY_NS
    chunks = history.chunks()
    past = [np.zeros(0, dtypes.HISTORY)]
    rest: list[Records] = []
    for chunk in chunks:
        first, middle = np.searchsorted(chunk["ts_close"], (start_ns - reach_ns, start_ns), "right")
        past.append(chunk[first:middle].copy())
        if middle < len(chunk):
            rest.append(chunk[middle:])
            break

    def ahead() -> Iterator[Records]:
        yield from rest
        yield from chunks

    return np.concatenate(past), ahead()


def fold(records: Records, windows: Windows, until_ns: int) -> tuple[list[Records], Any, Any]:
    """Bars of one instrument as the hub has closed them by `until_ns`, and what is in progress then.

    records: HISTORY by time, all known by then
    return:  ([1min, hourly, daily] as SPAN records by ts_close, the hour in progress, the day in progress)
    """
    minute_open = records["ts_close"] - MINUTE_NS
    at = np.searchsorted(windows.close_ns, minute_open, "right")
    inside = np.minimum(at, len(windows.open_ns) - 1)
    in_session = (at < len(windows.open_ns)) & (windows.open_ns[inside] <= minute_open)
    records, inside, minute_open = records[in_session], inside[in_session], minute_open[in_session]
    kinds = [records["timeframe"] == k for k in range(len(TIMEFRAMES))]
    minutes = kinds[0]
    hour_open = minute_open[minutes] - minute_open[minutes] % HOUR_NS
    last_window = np.searchsorted(windows.open_ns, hour_open + HOUR_NS, "left") - 1
    hour_close = np.minimum(windows.close_ns[last_window], hour_open + HOUR_NS)
    hours = _grouped(records[minutes], hour_open, hour_close)
    finer = kinds[0] | kinds[1]
    days = _grouped(records[finer], windows.day_open_ns[inside[finer]], windows.day_close_ns[inside[finer]])
    blank = np.zeros(1, dtypes.SPAN)[0]
    found = [_spans(records[minutes])]
    running = []
    for spans, given in ((hours, kinds[1]), (days, kinds[2])):
        closed = np.concatenate([spans[spans["ts_close"] <= until_ns], _spans(records[given])])
        found.append(closed[np.argsort(closed["ts_close"], kind="stable")])
        open_ = spans[spans["ts_close"] > until_ns]
        running.append(open_[-1] if len(open_) else blank)
    return found, running[0], running[1]


def _spans(records: Records) -> Records:
    spans = np.zeros(len(records), dtypes.SPAN)
    for name in ("ts_open", "ts_close", "contract", "open", "high", "low", "close", "volume"):
        spans[name] = records[name]
    spans["valid"] = 1
    return spans


def _grouped(records: Records, opens: I64, closes: I64) -> Records:
    """A SPAN per distinct open."""
    if not len(records):
        return np.zeros(0, dtypes.SPAN)
    first = np.flatnonzero(np.concatenate(([True], opens[1:] != opens[:-1])))
    last = np.append(first[1:], len(records)) - 1
    spans = np.zeros(len(first), dtypes.SPAN)
    spans["valid"], spans["ts_open"], spans["ts_close"] = 1, opens[first], closes[first]
    spans["open"], spans["close"] = records["open"][first], records["close"][last]
    spans["contract"] = records["contract"][last]
    spans["high"] = np.maximum.reduceat(records["high"], first)
    spans["low"] = np.minimum.reduceat(records["low"], first)
    spans["volume"] = np.add.reduceat(records["volume"], first)
    return spans


def _bars(root: str, timeframe: int, spans: Records) -> list[Bar]:
    return [
        Bar(
            root,
            contract_from_number(root, int(span["contract"])).raw,
            TIMEFRAMES[timeframe],
            int(span["ts_open"]),
            int(span["ts_close"]),
            float(span["open"]),
            float(span["high"]),
            float(span["low"]),
            float(span["close"]),
            int(span["volume"]),
            0,
        )
        for span in spans
        if span["contract"]
    ]


def _rolls(history: History) -> list[Roll]:
    return [
        Roll(
            one.root, "", contract_from_number(one.root, one.contract).raw, one.old_last, one.new_last, one.ts, "files"
        )
        for one in history.events
    ]
