"""Trades by the trade date that decided them: what is on a date, what on none, and where each date begins."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from research.history.history import History
from research.history.sessions import to_ns
from research.validation.daily_pnl import Days, days_of
from rooney.kernels.array_types import Records
from rooney.kernels.dtypes import TRADE
from rooney.market.sessions import CHICAGO

EPOCH = date(1970, 1, 1)
# Monday to Wednesday and Friday: a Thursday without bars is no date of these.
DATES = [date(2026, 3, day) for day in (9, 10, 11, 13)]


def evening(day: date) -> int:
    """17:00 in Chicago, when the next trade date begins; Monday's does on Friday."""
    return to_ns(datetime(day.year, day.month, day.day, 17, tzinfo=CHICAGO))


DAYS = Days(
    np.array([(day - EPOCH).days for day in DATES]),
    np.array([evening(date(2026, 3, day)) for day in (6, 9, 10, 12)]),
)


def noon(day: int) -> int:
    return to_ns(datetime(2026, 3, day, 18, tzinfo=UTC))


def trades(*given: tuple[int, int, int, float]) -> Records:
    """Of mark that decided, exit, instrument, P&L."""
    records = np.zeros(len(given), TRADE)
    for record, values in zip(records, given, strict=True):
        record["entry_mark"], record["exit_ts"], record["instrument"], record["pnl_usd"] = values
    return records


def test_an_instant_is_in_the_row_of_its_trade_date_or_in_none() -> None:
    first = DAYS.start_ns[0]
    stamps = [first - 1, first, DAYS.start_ns[1] - 1, DAYS.start_ns[1], noon(11), noon(12), noon(13), noon(16)]
    assert DAYS.rows(np.array(stamps)).tolist() == [-1, 0, 0, 1, 2, -1, 3, -1]
    assert DAYS.take(1, 3).rows(np.array(stamps)).tolist() == [-1, -1, -1, 0, 1, -1, -1, -1]
    assert (len(DAYS), len(DAYS.take(1, 3))) == (4, 2)


GIVEN = trades(
    (noon(9), noon(10), 0, 1.0),
    (noon(9), noon(9), 2, 10.0),
    (noon(13), noon(16), 1, 100.0),
    (noon(13), noon(13), 0, 1_000.0),
    (noon(12), noon(13), 0, 5_000.0),  # on no date of these
)


def test_pnl_is_on_the_date_that_decided_it_and_on_no_other() -> None:
    assert DAYS.usd(GIVEN).tolist() == [[11.0], [0.0], [0.0], [1_100.0]]
    assert DAYS.usd(GIVEN, 3).tolist() == [[1.0, 0.0, 10.0], [0.0] * 3, [0.0] * 3, [1_000.0, 100.0, 0.0]]
    assert DAYS.usd(GIVEN[GIVEN["instrument"] < 2], 2).tolist() == [[1.0, 0.0], [0.0] * 2, [0.0] * 2, [1_000.0, 100.0]]


def test_the_span_of_a_date_ends_with_the_last_exit_of_what_it_decided() -> None:
    assert DAYS.end_ns(GIVEN).tolist() == [noon(10), DAYS.start_ns[1], DAYS.start_ns[2], noon(16)]


def test_the_dates_of_a_history_are_those_with_a_bar_and_begin_where_the_one_before_ends(tmp_path: Path) -> None:
    days = [date(2026, 3, 5), date(2026, 3, 9), date(2026, 3, 10)]  # Friday has no bar, yet Monday is no longer for it
    at = [datetime(day.year, day.month, day.day, 14, 59, tzinfo=UTC) for day in days]
    bars = pl.DataFrame({"ts_open": pl.Series(at).cast(pl.Datetime("ns", "UTC")), "root": "ES", "close": 5_000.0})
    bars.write_parquet(tmp_path / "closes.parquet")
    found = days_of(History(tmp_path / "closes.parquet", ["ES"]))
    assert found.dates.tolist() == [(day - EPOCH).days for day in days]
    assert found.start_ns.tolist() == [evening(date(2026, 3, day)) for day in (4, 6, 9)]
