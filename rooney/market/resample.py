"""Hours and days folded from minutes."""

from rooney.market import sessions
from rooney.market.messages import Bar, BarFlag


class _Span:
    """An hour or a day in progress of one instrument."""

    __slots__ = ("close_ns", "first", "flags", "high", "last", "low", "trades", "volume")

    def __init__(self, bar: Bar, close_ns: int) -> None:
        self.first = self.last = bar
        self.high, self.low = bar.high, bar.low
        self.volume, self.trades, self.flags = bar.volume, bar.trades, bar.flags
        self.close_ns = close_ns

    def add(self, bar: Bar) -> None:
        self.last = bar
        self.high, self.low = max(self.high, bar.high), min(self.low, bar.low)
        self.volume += bar.volume
        self.trades += bar.trades
        self.flags |= bar.flags

    def bar(self, timeframe: str, ts_open: int, ts_hub_ns: int) -> Bar:
        return Bar(
            self.first.symbol,
            self.first.contract,
            timeframe,
            ts_open,
            self.close_ns,
            self.first.open,
            self.high,
            self.low,
            self.last.close,
            self.volume,
            self.trades,
            self.flags,
            ts_hub_ns,
        )


class Coarse:
    """The hour and the day in progress of one instrument, folded from its one-minute bars.

    An hour closes with its last session minute, a day with the last one of its trade date, traded then or not.
    After a roll in their midst they begin anew: no bar mixes two contracts.
    """

    def __init__(self, group: str) -> None:
        self._group = group
        self._hour: _Span | None = None
        self._day: _Span | None = None

    def fold(self, bar: Bar) -> None:
        """Add a one-minute bar; bars outside the session belong to no hour or day.

        What ended before the bar opened must have been closed by then: see `close`.
        """
        # The session table may have changed since the bar was made: what is closed now belongs to no hour either.
        if bar.flags & BarFlag.OFF_SESSION or sessions.window_at(self._group, bar.ts_open) is None:
            return
        if self._hour is None or self._hour.first.contract != bar.contract:
            self._hour = _Span(bar, sessions.hour_close_ns(self._group, bar.ts_open))
        else:
            self._hour.add(bar)
        if self._day is None or self._day.first.contract != bar.contract:
            day = sessions.trade_date(bar.ts_open)
            self._day = _Span(bar, sessions.session_close_ns(self._group, day))
        else:
            self._day.add(bar)

    def close(self, ts_close: int, ts_hub_ns: int) -> list[Bar]:
        """The hourly and then the daily bar that end at or before the mark `ts_close`."""
        bars = []
        if self._hour is not None and self._hour.close_ns <= ts_close:
            first_ns = self._hour.first.ts_open
            bars.append(self._hour.bar("hourly", first_ns - first_ns % sessions.HOUR_NS, ts_hub_ns))
            self._hour = None
        if self._day is not None and self._day.close_ns <= ts_close:
            day = sessions.trade_date(self._day.first.ts_open)
            bars.append(self._day.bar("daily", sessions.session_open_ns(self._group, day), ts_hub_ns))
            self._day = None
        return bars
