"""Loops over columns of bars: what is there per trade date, where order breaks, and which bar goes where in a chunk.

They hold no lock, so that reading, placing and the scan run side by side. Times are UTC ns.
"""

import math
from typing import Any

import numpy as np
from numba import njit

MINUTE_NS = 60_000_000_000
DAY_NS = 24 * 60 * MINUTE_NS

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
    ts: Any, keys: Any, series_of: Any, close: Any, volume: Any, start_ns: int, end_ns: int, turns: Any, labels: Any,
    found: Any, breaks: Any,
) -> tuple[int, int]:  # fmt: skip
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
        if day < 0 or day + 1 >= len(turns):
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
def claim(
    ts: Any, keys: Any, series_of: Any, instrument_of: Any, numbers: Any, first_day: int, close: Any, turns: Any,
    labels: Any, start_ns: int, begin_ns: int, n: int, taken: Any, slot_of: Any,
) -> int:  # fmt: skip
    """Give each chosen bar of a piece its slot, minute by minute and in each minute instrument by instrument.

    instrument_of: int64[series], -1 for a series that is not one of minutes
    numbers:  int32[series, day], the contract where that series is the front one, else NOT_CHOSEN
    taken:    int32[slot], 1 where a bar is; slot = minute since begin_ns times n, plus the instrument
    slot_of:  int32[row], filled with the slot, or -1
    return:   the first row whose slot was taken already, -1 if there is none
    """
    for i in range(len(ts)):
        slot_of[i] = -1
        series = series_of[keys[i]]
        t = ts[i]
        if series < 0 or instrument_of[series] < 0 or t < start_ns or math.isnan(close[i]):
            continue
        day = t // DAY_NS
        if t >= turns[day]:
            day += 1
        if numbers[series, labels[day] - first_day] == NOT_CHOSEN:
            continue
        slot = (t - begin_ns) // MINUTE_NS * n + instrument_of[series]
        if taken[slot]:
            return i
        taken[slot] = 1
        slot_of[i] = slot
    return -1


@njit(cache=True, nogil=True)
def rank(taken: Any) -> int:
    """Replace each taken slot by its place among them; returns how many there are."""
    count = 0
    for slot in range(len(taken)):
        if taken[slot]:
            taken[slot] = count
            count += 1
    return count


@njit(cache=True, nogil=True)
def place(
    ts: Any, keys: Any, series_of: Any, instrument_of: Any, numbers: Any, first_day: int, turns: Any, labels: Any,
    open_: Any, high: Any, low: Any, close: Any, volume: Any, slot_of: Any, places: Any, records: Any,
) -> int:  # fmt: skip
    """Write the bars of a piece to their places among the chunk's HISTORY records.

    places: int32[slot], as `rank` left them
    return: the first row with a close and without another price, -1 if there is none
    """
    for i in range(len(ts)):
        slot = slot_of[i]
        if slot < 0:
            continue
        if math.isnan(open_[i]) or math.isnan(high[i]) or math.isnan(low[i]):
            return i
        series = series_of[keys[i]]
        t = ts[i]
        day = t // DAY_NS
        if t >= turns[day]:
            day += 1
        record = records[places[slot]]
        record.ts_open = t
        record.instrument = instrument_of[series]
        record.contract = numbers[series, labels[day] - first_day]
        record.open = open_[i]
        record.high = high[i]
        record.low = low[i]
        record.close = close[i]
        record.volume = volume[i]
        record.ts_close = t // MINUTE_NS * MINUTE_NS + MINUTE_NS
        record.timeframe = 0
    return -1
