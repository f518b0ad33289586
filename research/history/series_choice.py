"""Series in use on each trade date: the finest timeframe there is, and in it the front contract."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from research.history import kernels as runs
from research.history import sessions as calendar
from research.history.columns import PRICES, Batch, Registry, Source
from research.history.rolls import Day, RollEvent, choose
from research.history.series_names import HOURS, MINUTES
from research.history.sessions import DAY_NS, session_windows
from rooney.kernels import dtypes
from rooney.kernels.array_types import I64, Records
from rooney.market.instruments import group_of


class Table:
    """The choice for all roots and trade dates.

    numbers:       int32[series, trade date - first_day], contract (yyyymm, 0 without contracts) or runs.NOT_CHOSEN
    instrument_of: int64[series], the root's index for series of minutes, -1 for coarser ones
    roots:         those with a bar in use
    events:        the rolls
    minutes, first_ns, last_ns: number of one-minute bars in use; first and last open of all bars in use
    """

    def __init__(self, registry: Registry, roots: Sequence[str], days: Sequence[pl.DataFrame]) -> None:
        self.roots_in_order = list(roots)
        self.series = registry.series
        self.events: list[RollEvent] = []
        self.roots: set[str] = set()
        self.minutes, self.first_ns, self.last_ns = 0, 1 << 62, 0
        n = len(self.series)
        self._instrument = np.array([self.roots_in_order.index(series.root) for series in self.series], np.int64)
        self._timeframe = np.array([series.timeframe for series in self.series], np.int64)
        self.instrument_of = np.where(self._timeframe == MINUTES, self._instrument, -1)
        self.first_day = 0
        self.numbers = np.full((n, 1), runs.NOT_CHOSEN, np.int32)
        counted = self._finest(days)
        if len(counted):
            self.first_day = int(counted["day"].min())  # type: ignore[arg-type]
            last_day = int(counted["day"].max())  # type: ignore[arg-type]
            self.numbers = np.full((n, last_day - self.first_day + 1), runs.NOT_CHOSEN, np.int32)
            self._choose(counted)

    def name(self, batch: Batch, row: int) -> str:
        """Name of what a row is a bar of, for messages."""
        series = self.series[int(batch.series_of[int(batch.keys[row])])]
        return series.raw or series.root

    def dates(self) -> I64:
        """Trade dates with a one-minute bar in use, days since 1970."""
        return self.first_day + np.flatnonzero(
            (self.numbers[self._timeframe == MINUTES] != runs.NOT_CHOSEN).any(axis=0)
        )

    def coarse(self, source: Source, span: tuple[int, int]) -> Records:
        """HISTORY records of the hourly and daily bars of a source that are in use, in its order."""
        parts = [np.zeros(0, dtypes.HISTORY)]
        if source.has_coarse:
            parts += [self._records(batch, span) for batch in source.batches(PRICES)]
        return np.concatenate(parts)

    def _finest(self, days: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """A row per series and trade date, of the finest timeframe its root has on that date."""
        if not self.series or not days:
            return pl.DataFrame({"day": []})
        names = pl.DataFrame(
            {"series": range(len(self.series)), "instrument": self._instrument, "timeframe": self._timeframe}
        )
        return (
            pl.concat(days)
            .group_by("series", "day")
            .agg(
                pl.col("bars").sum(),
                pl.col("volume").sum(),
                pl.col("close").get(pl.col("last").arg_max()),
                pl.col("first").min(),
                pl.col("last").max(),
            )
            .join(names, on="series")
            .filter(pl.col("timeframe") == pl.col("timeframe").min().over("instrument", "day"))
            .sort("instrument", "day", "series")
        )

    def _choose(self, counted: pl.DataFrame) -> None:
        for (instrument,), rows in counted.group_by("instrument", maintain_order=True):
            root = self.roots_in_order[int(str(instrument))]
            columns = rows.select("day", "series", "volume", "close").iter_rows()
            days = [Day(day, series, self.series[series].raw, volume, close) for day, series, volume, close in columns]
            chosen, events = choose(root, days)
            self.events += events
            if chosen:
                self.roots.add(root)
            for day, series, number in chosen:
                self.numbers[series, day - self.first_day] = number
        used = counted.filter(
            pl.Series(self.numbers[counted["series"].to_numpy(), counted["day"].to_numpy() - self.first_day] >= 0)
        )
        if len(used):
            self.minutes = int(used.filter(pl.col("timeframe") == MINUTES)["bars"].sum())
            self.first_ns, self.last_ns = int(used["first"].min()), int(used["last"].max())  # type: ignore[arg-type]

    def _records(self, batch: Batch, span: tuple[int, int]) -> Records:
        series = batch.series_of[batch.keys]
        day = calendar.trade_date_of(batch.ts) - self.first_day
        inside = (series >= 0) & (batch.ts >= span[0]) & (batch.ts < span[1])
        at = np.flatnonzero(inside)
        at = at[(self._timeframe[series[at]] > MINUTES) & (self.numbers[series[at], day[at]] != runs.NOT_CHOSEN)]
        records = np.zeros(len(at), dtypes.HISTORY)
        if not len(at):
            return records
        series, ts = series[at], batch.ts[at]
        records["ts_open"], records["instrument"] = ts, self._instrument[series]
        records["contract"], records["timeframe"] = self.numbers[series, day[at]], self._timeframe[series]
        for name in PRICES:
            records[name] = batch.prices[name][at]
        for i in np.unique(records["instrument"]).tolist():
            group = group_of(self.roots_in_order[i])
            windows = session_windows(group, int(ts.min()) - 7 * DAY_NS, int(ts.max()) + 7 * DAY_NS)
            for timeframe, closes in ((HOURS, calendar.hour_closes), (HOURS + 1, calendar.day_closes)):
                mine = (records["instrument"] == i) & (records["timeframe"] == timeframe)
                records["ts_close"][mine] = closes(ts[mine], windows)
        return records
