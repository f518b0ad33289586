"""Loops over columns of bars: what is there per trade date, where order breaks, and which bar goes where in a chunk.

They hold no lock, so that reading, placing and the scan run side by side. Times are UTC ns.
"""

import math
from typing import Any

import numpy as np
from numba import njit

MINUTE_NS = 60_000_000_000
DAY_NS = 24 * 60 * MINUTE_NS

FIRST_DAY = 365  # µs or ms taken for ns lie in January 1970, before any bar there is
NOT_CHOSEN = -1
OUT_OF_RANGE = -1  # a stamp outside the calendar: its unit is wrong

DAY_STATS = np.dtype(
    (
        np.record,
        [
            ("series", np.int64),
            ("day", np.int64),  # trade date, days since 1970
            ("bars", np.int64),
            ("volume", np.float64),
            ("close", np.float64),  # of the last bar
            ("first", np.int64),
            ("last", np.int64),
        ],
    )
)


@njit(cache=True, nogil=True)
def combine(keys: Any, codes: Any, n_codes: int) -> None:
    """Fold one more column of dictionary codes into `keys`, in place; int32[row] both."""
    for i in range(len(keys)):
        keys[i] = keys[i] * n_codes + codes[i]


@njit(cache=True, nogil=True)
def mark_present(keys: Any, present: Any) -> None:
    """present: bool[key], True for those that occur."""
    for i in range(len(keys)):
        present[keys[i]] = True


@njit(cache=True, nogil=True)
def count_days(
    ts: Any,
    keys: Any,
    series_of: Any,
    close: Any,
    volume: Any,
    start_ns: int,
    end_ns: int,
    turns: Any,
    labels: Any,
    found: Any,
    breaks: Any,
) -> tuple[int, int]:
    """Bars, volume, last close, first and last time per series and trade date of a batch; and where time goes back.

    ts:        int64[row]; close, volume: float64[row]; rows without a close count for nothing
    keys:      int32[row]; series_of: int32[key], -1 for a series that is not wanted
    turns:     int64[UTC day], when that day's next trade date begins; labels: int64[UTC day], the trade date of the
               time before that
    found:     DAY_STATS, room for one per row; a series and day may come more than once
    breaks:    int64[row], filled with the rows that are earlier than the row before them
    return:    how many of found and breaks are filled; OUT_OF_RANGE for a stamp that `turns` does not cover
    """
    open_at = np.full(len(series_of), -1, np.int64)  # where in found a key's day in progress is
    n_found = 0
    n_breaks = 0
    for i in range(len(ts)):
        t = ts[i]
        if i > 0 and t < ts[i - 1]:
            breaks[n_breaks] = i
            n_breaks += 1
        key = keys[i]
        if series_of[key] < 0 or t < start_ns or t >= end_ns or math.isnan(close[i]):
            continue
        day = t // DAY_NS
        if day < FIRST_DAY or day + 1 >= len(turns):
            return OUT_OF_RANGE, i
        if t >= turns[day]:
            day += 1
        day = labels[day]
        k = open_at[key]
        if k < 0 or found[k].day != day:
            k = n_found
            n_found += 1
            open_at[key] = k
            found[k].series = series_of[key]
            found[k].day = day
            found[k].bars = 0
            found[k].volume = 0.0
            found[k].first = t
            found[k].last = t
        row = found[k]
        row.bars += 1
        if not math.isnan(volume[i]):
            row.volume += volume[i]
        if t < row.first:
            row.first = t
        if t >= row.last:
            row.last = t
            row.close = close[i]
    return n_found, n_breaks


@njit(cache=True, nogil=True)
def stage(
    ts: Any,
    keys: Any,
    series_of: Any,
    instrument_of: Any,
    numbers: Any,
    first_day: int,
    turns: Any,
    labels: Any,
    open_: Any,
    high: Any,
    low: Any,
    close: Any,
    volume: Any,
    start_ns: int,
    begin_ns: int,
    n: int,
    row_at: Any,
    staged: Any,
    n_staged: int,
) -> tuple[int, int, int]:
    """Append the chosen bars of a piece to the HISTORY records `staged` and note which row is at which slot.

    instrument_of: int64[series], -1 for a series that is not one of minutes
    numbers:  int32[series, day], the contract where that series is the front one, else NOT_CHOSEN
    row_at:   int32[slot], 1 + the row in staged, 0 for none; slot = minute since begin_ns times n, plus the instrument
    return:   rows staged now; the row of the piece whose slot was taken, and the one without a price, or -1
    """
    for i in range(len(ts)):
        series = series_of[keys[i]]
        t = ts[i]
        if series < 0 or instrument_of[series] < 0 or t < start_ns or math.isnan(close[i]):
            continue
        day = t // DAY_NS
        if t >= turns[day]:
            day += 1
        number = numbers[series, labels[day] - first_day]
        if number == NOT_CHOSEN:
            continue
        minute = (t - begin_ns) // MINUTE_NS
        slot = minute * n + instrument_of[series]
        if row_at[slot]:
            return n_staged, i, -1
        if math.isnan(open_[i]) or math.isnan(high[i]) or math.isnan(low[i]):
            return n_staged, -1, i
        record = staged[n_staged]
        record.ts_open = t
        record.instrument = instrument_of[series]
        record.contract = number
        record.open = open_[i]
        record.high = high[i]
        record.low = low[i]
        record.close = close[i]
        record.volume = volume[i]
        record.ts_close = begin_ns + (minute + 1) * MINUTE_NS
        record.timeframe = 0
        n_staged += 1
        row_at[slot] = n_staged
    return n_staged, -1, -1


@njit(cache=True, nogil=True)
def gather(row_at: Any, staged: Any, records: Any) -> None:
    """Copy staged records in the order of their slots: a few streams are read and one is written, nothing is sorted."""
    k = 0
    for slot in range(len(row_at)):
        if row_at[slot]:
            records[k] = staged[row_at[slot] - 1]
            k += 1
