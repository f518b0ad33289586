"""Loops over columns of bars: what is there per trade date, where order breaks, and which bar goes where in a chunk.

They hold no lock, so that reading, placing and the scan run side by side. Times are UTC ns.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from rooney.market.messages import COUNT_LIMIT, PRICE_LIMIT

MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS

# µs or ms taken for ns lie in January 1970, before any bar there is; the calendar ends with 2099.
FIRST_DAY, LAST_DAY = 365, 47_480
NOT_CHOSEN = -1
OUT_OF_RANGE = -1  # a stamp outside the calendar: its unit is wrong

# Why a row is no bar, a kind of `research.history.findings` each, by the number that `judge` gives; 0: it is one.
LACKS = (
    "",
    "not_outright",
    "no_root",
    "wrong_root",
    "no_time",
    "off_minute",
    "not_a_number",
    "inconsistent",
    "bad_volume",
    "no_trade",
)
_WRONG_ROOT, _NO_TIME, _OFF_MINUTE, _NOT_A_NUMBER, _INCONSISTENT, _BAD_VOLUME, _NO_TRADE = range(3, len(LACKS))

# What rows of one root, contract and timeframe are judged by.
RULE = np.dtype(
    (
        np.record,  # attribute access with the JIT on and off alike
        [
            ("timeframe", np.int64),  # 0 minutes, 1 hours, 2 days; -1: nobody asked for it, and it is not judged
            ("lack", np.int64),  # of its name
            ("floor", np.float64),  # the price that all prices are above
            ("first_ns", np.int64),  # the time in which its contract is listed
            ("past_ns", np.int64),
        ],
    )
)
NO_RULE = np.array((-1, 0, 0.0, 0, 0), RULE)
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
def bar_lack(floor: float, open_: float, high: float, low: float, close: float, volume: float) -> int:
    """`rooney.market.messages.bar_lack` of prices and volume, and bars that no trade made; the number of LACKS."""
    if not (floor < low <= open_ <= high < PRICE_LIMIT and low <= close <= high):
        for price in (open_, high, low, close):
            if not floor < price < PRICE_LIMIT:
                return _NOT_A_NUMBER
        return _INCONSISTENT
    if not (0 <= volume < COUNT_LIMIT and math.floor(volume) == volume):
        return _BAD_VOLUME
    return _NO_TRADE if volume == 0 and high == low else 0


@njit(cache=True, nogil=True)
def judge(
    ts: Any,
    keys: Any,
    rules: Any,
    start_ns: int,
    end_ns: int,
    open_: Any,
    high: Any,
    low: Any,
    close: Any,
    volume: Any,
    lacks: Any,
) -> int:
    """Why each row is no bar, into `lacks`, uint8[row]; such a row's key becomes the last one. Returns how many.

    rules: RULE[key]; [start, end): what is judged, and rows without a time
    """
    n = 0
    for i in range(len(ts)):
        rule = rules[keys[i]]
        t = ts[i]
        lack = 0
        if rule.timeframe >= 0 and t < FIRST_DAY * DAY_NS:
            lack = _NO_TIME
        elif rule.timeframe >= 0 and start_ns <= t < end_ns:
            if t >= (LAST_DAY + 1) * DAY_NS:
                lack = _NO_TIME
            elif rule.lack:
                lack = rule.lack
            elif not rule.first_ns <= t < rule.past_ns:
                lack = _WRONG_ROOT
            elif (rule.timeframe == 0 and t % MINUTE_NS) or (rule.timeframe == 1 and t % HOUR_NS):
                lack = _OFF_MINUTE
            else:
                lack = bar_lack(rule.floor, open_[i], high[i], low[i], close[i], volume[i])
        lacks[i] = lack
        if lack:
            keys[i] = len(rules) - 1
            n += 1
    return n


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

    ts:        int64[row]; close, volume: float64[row]
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
        if series_of[key] < 0 or t < start_ns or t >= end_ns:
            continue
        day = t // DAY_NS
        if day < FIRST_DAY or day > LAST_DAY:
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
) -> tuple[int, int]:
    """Append the chosen bars of a piece to the HISTORY records `staged` and note which row is at which slot.

    instrument_of: int64[series], -1 for a series that is not one of minutes
    numbers:  int32[series, day], the contract where that series is the front one, else NOT_CHOSEN
    row_at:   int32[slot], 1 + the row in staged, 0 for none; slot = minute since begin_ns times n, plus the instrument
    return:   rows staged now; the row of the piece whose slot was taken, or -1
    """
    for i in range(len(ts)):
        series = series_of[keys[i]]
        t = ts[i]
        if series < 0 or instrument_of[series] < 0 or t < start_ns:
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
            return n_staged, i
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
    return n_staged, -1


@njit(cache=True, nogil=True)
def gather(row_at: Any, staged: Any, records: Any) -> None:
    """Copy staged records in the order of their slots: a few streams are read and one is written, nothing is sorted."""
    k = 0
    for slot in range(len(row_at)):
        if row_at[slot]:
            records[k] = staged[row_at[slot] - 1]
            k += 1
