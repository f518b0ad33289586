"""Trades by the trade date that decided them: one row per date for cross-validation, whatever the parameters were.

A row's span runs from the start of its date to the last exit of a trade decided on it, so that what is learned from a
date and what is tested on another share no trade. Dates are those of the sessions, so they are the same for every run.
"""

import msgspec
import numpy as np

from research.history import sessions as calendar
from research.history.history import History
from rooney.kernels.array_types import F64, I64, Records


class Days(msgspec.Struct, frozen=True):
    """Trade dates in order, days since 1970, and where each begins, UTC ns."""

    dates: I64
    start_ns: I64

    def __len__(self) -> int:
        return len(self.dates)

    def take(self, first: int, past: int) -> "Days":
        """Some of them."""
        return Days(self.dates[first:past], self.start_ns[first:past])

    def rows(self, ts: I64) -> I64:
        """Row of each instant, -1 for one on none of these dates."""
        dates = calendar.trade_date_of(ts)
        at = np.searchsorted(self.dates, dates)
        return np.where(self.dates[np.minimum(at, len(self) - 1)] == dates, at, -1)

    def usd(self, trades: Records, n_instruments: int = 1) -> F64:
        """float64[date, instrument]: P&L of TRADE records by the date that decided them, after costs.

        n_instruments: 1 puts all into one column
        """
        at = self.rows(trades["entry_mark"])
        column = trades["instrument"] if n_instruments > 1 else np.zeros(len(trades), np.int64)
        found = np.zeros((len(self), n_instruments))
        np.add.at(found, (at[at >= 0], column[at >= 0]), trades["pnl_usd"][at >= 0])
        return found

    def end_ns(self, trades: Records) -> I64:
        """int64[date]: end of each row's span."""
        found = self.start_ns.copy()
        at = self.rows(trades["entry_mark"])
        np.maximum.at(found, at[at >= 0], trades["exit_ts"][at >= 0])
        return found


def days_of(history: History) -> Days:
    """Every trade date with a bar of any of its instruments: a hole in the data is no flat day."""
    dates, _ = history.dates()
    turns, labels = calendar.trade_dates()
    days, first = np.unique(labels, return_index=True)
    return Days(dates, turns[first[np.searchsorted(days, dates)] - 1])
