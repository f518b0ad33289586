"""The table as a whole: it is what its generator writes, and it agrees with exchange_calendars and with recorded hours.

The recorded hours are closes of all 18 roots up to 2019. Until some year of each series (`SUMMER_EARLY_UNTIL`) they are
stamped an hour early during London's summer time: every first and last hour of a session is.
"""

from collections import defaultdict
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from research.data import session_table
from rooney.market import sessions
from rooney.market.instruments import group_of
from rooney.market.sessions import CHICAGO, GROUPS, HOUR_NS, TABLE, hours_on, is_trade_date, next_window, window_at
from tests.support.paths import RECORDED_DATA, needs_recorded_data

LONDON = ZoneInfo("Europe/London")
ALWAYS = date(2020, 1, 1)
NEVER = date(2000, 1, 1)
# Until this day a stamp within London's summer time is one hour early; the source changed one series after another.
SUMMER_EARLY_UNTIL = {
    "6C": ALWAYS,
    "6S": ALWAYS,
    "ES": ALWAYS,
    "HG": ALWAYS,
    "SI": ALWAYS,
    "YM": ALWAYS,
    "ZS": ALWAYS,
    "NQ": date(2018, 3, 11),
    "CL": date(2019, 4, 30),
    "ZW": date(2018, 9, 30),
    "RTY": ALWAYS,
}
RTY_CAME = date(2017, 7, 10)  # until then the Russell traded at ICE, with other hours
CL_MIXED = (date(2019, 4, 30), date(2019, 11, 4))  # both kinds of stamps side by side
# An hour of 6C at 15:00 on the Sundays of one winter; no other root has it, and no session opened then.
SUNDAYS_OF_6C = (date(2008, 12, 1), date(2009, 2, 2))
# One row each: of the hour that begins with a holiday's close at 12:00, and of a Sunday before the open.
SINGLE_ROWS = {"HG": [date(2017, 7, 4)], "ES": [date(2018, 9, 3)], "YM": [date(2009, 9, 20)]}
# Silver, thin on two holidays, stopped before the close; copper and the metals' other holidays of those years did not.
STOPPED_EARLY = {"SI": [date(2013, 11, 28), date(2014, 9, 1)]}

EXPLAINED = {
    "Good Friday": "trades to an early close when the employment report comes on it; there it is closed always",
    "2018-12-05": "mourning: closed there, but only index futures and rates were",
    "2025-01-09": "mourning: closed there, but index futures closed early, others later or not at all",
}


def test_the_table_is_what_its_generator_writes() -> None:
    """So nobody has edited it by hand, and the installed calendars still say the same."""
    assert session_table.render(sessions.table().last) == TABLE.read_text(encoding="utf-8")


def test_the_table_reaches_two_years_ahead_of_the_calendars_it_was_made_from() -> None:
    table = sessions.table()
    assert table.first == date(2008, 1, 1)
    assert table.last.year - 2 >= 2026


def test_exchange_calendars_differs_only_where_it_is_known_to_be_coarser() -> None:
    found = session_table.differences(sessions.table())
    assert found
    for line in found:
        assert any(reason in line for reason in EXPLAINED), line


OTHER = RECORDED_DATA / "sessions_lean_2015_2027.csv"


@needs_recorded_data
def test_every_close_of_another_source_since_2015_is_the_tables_or_settled_or_disputed() -> None:
    assert session_table.unsettled(sessions.table(), OTHER) == []


def test_a_close_of_another_source_that_nothing_settles_is_named_with_both(tmp_path: Path) -> None:
    """Their closes in New York time where they keep it; cuts of an evening and bank holidays say nothing."""
    path = tmp_path / "other.csv"
    rows = [
        "2026-11-27,ES,early_close,13:15:00",  # 12:15 in Chicago, as here
        "2026-11-27,GC,early_close,13:45:00",
        "2026-11-27,6A,early_close,12:15:00",  # disputed: both are right
        "2026-11-27,6B,early_close,13:45:00",
        "2026-11-27,6C,early_close,12:45:00",
        "2026-11-25,ZC,early_close,16:00:00",
        "2026-11-29,ZC,early_close,16:00:00",
        "2026-11-26,CL,bank_holiday,",
        "2026-12-28,ZW,holiday,",
        "2024-01-02,ZW,holiday,",  # settled
    ]
    path.write_text("\n".join(["date,root,kind,exchange_time", *rows]) + "\n", encoding="utf-8")
    assert session_table.unsettled(sessions.table(), path) == [
        "2026-11-27 GC (metals): here 13:45, other.csv 12:45",
        "2026-11-27 6C (fx): here 13:45, other.csv 12:45",
        "2026-12-28 ZW (grains): here regular, other.csv closed",
    ]


def test_a_disputed_day_has_an_earlier_close_than_its_hours() -> None:
    disputed = sessions.table().disputed
    assert len(disputed) > 10
    for (day, group), earlier in disputed.items():
        opens, closes = hours_on(group, day)[-1]
        assert (opens > closes or opens < earlier) and earlier < closes, (day, group)


def test_a_correction_ends_a_dispute(monkeypatch: pytest.MonkeyPatch) -> None:
    notice = (date(2026, 12, 24), "fx", "17:00-12:45", "Christmas Eve (exchange notice)")
    monkeypatch.setattr(session_table, "CORRECTIONS", [*session_table.CORRECTIONS, notice])
    rows = session_table.render(sessions.table().last).splitlines()
    assert "day,2026-12-24,fx,17:00-12:45,Christmas Eve (exchange notice)" in rows
    assert [row for row in rows if row.startswith("disputed,2026-12-24")] == []


def test_every_row_has_its_reason() -> None:
    rows = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    reasons = {row.split(",")[0]: set() for row in rows}
    for row in rows:
        kind, _, _, _, reason = row.split(",", 4)
        reasons[kind].add(reason)
    assert all("" not in reasons[kind] for kind in ("regular", "friday", "holiday", "day", "disputed"))


def test_every_year_has_its_holidays() -> None:
    """Nine a year until Juneteenth became the tenth; one falls away when New Year's Day is a Saturday."""
    per_year: dict[int, int] = defaultdict(int)
    for day in sessions.table().holidays:
        per_year[day.year] += 1
    assert all(8 <= count <= 10 for count in per_year.values())
    assert set(per_year) == set(range(2008, sessions.table().last.year + 1))


def instants(root: str) -> list[int]:
    """Starts of the recorded hours, UTC ns, with the source's summer stamps put right."""
    pl = pytest.importorskip("polars")
    rows = pl.read_parquet(RECORDED_DATA / "close_1h" / f"{root}.parquet").filter(pl.col("kind") == "hour")
    until = SUMMER_EARLY_UNTIL.get(root, NEVER)
    found = []
    for ts in rows["ts_event"].cast(pl.Int64).to_list():
        local = datetime.fromtimestamp(ts // 10**9, LONDON)
        day = local.date()
        if (root == "RTY" and day < RTY_CAME) or (root == "CL" and CL_MIXED[0] <= day < CL_MIXED[1]):
            continue
        found.append(ts + HOUR_NS if day < until and local.dst() else ts)
    return found


def between_clock_changes(at: datetime) -> bool:
    """Whether London and Chicago are not six hours apart: one of them has changed its clocks, the other not yet."""
    offset, london = at.utcoffset(), at.astimezone(LONDON).utcoffset()
    assert offset is not None and london is not None
    return london - offset != timedelta(hours=6)


ROOTS = [*SUMMER_EARLY_UNTIL, "6A", "6B", "6M", "6N", "GC", "NG", "ZC"]


@needs_recorded_data
@pytest.mark.parametrize("root", ROOTS)
def test_every_recorded_hour_lies_in_a_session(root: str) -> None:
    group = group_of(root)
    outside = []
    for ts in instants(root):
        window = window_at(group, ts) or next_window(group, ts)
        if window.open_ns >= ts + HOUR_NS:
            outside.append(datetime.fromtimestamp(ts // 10**9, CHICAGO))
    unexplained = [
        at
        for at in outside
        if not between_clock_changes(at)
        and not _is_snapshot_after_close(group, at)
        and not (root == "6C" and SUNDAYS_OF_6C[0] <= at.date() < SUNDAYS_OF_6C[1] and at.weekday() == 6)
        and at.date() not in SINGLE_ROWS.get(root, [])
    ]
    assert unexplained == []
    assert len(outside) < 0.005 * len(instants(root)) + 30


def _is_snapshot_after_close(group: str, at: datetime) -> bool:
    """A price taken at a regular close, stamped into the hour that begins with it."""
    return at.hour == 16 and all(window_at(group, _ns(at) - k * HOUR_NS) is not None for k in (1, 2, 3))


@needs_recorded_data
@pytest.mark.parametrize("root", ["6C", "6S", "GC", "HG", "NG", "SI", "YM", "ZC"])
def test_every_trade_date_of_the_table_has_recorded_hours(root: str) -> None:
    """The other direction: a day the table calls open was traded. These series have no gap of a whole day."""
    group, traded = group_of(root), set()
    for ts in instants(root):
        traded.add(_calendar_day(ts))
    first, last = min(traded), max(traded)
    days = [first + timedelta(days=k) for k in range((last - first).days)]
    assert [day for day in days if hours_on(group, day) and day not in traded] == []


@needs_recorded_data
@pytest.mark.parametrize("root", ["6C", "6S", "SI", "YM"])
def test_early_closes_are_the_recorded_ones_to_the_hour(root: str) -> None:
    """On every day with an early close the last recorded hour is the one that holds the table's close."""
    group = group_of(root)
    last: dict[date, int] = {}
    for ts in instants(root):
        last[_calendar_day(ts)] = max(last.get(_calendar_day(ts), 0), ts)
    checked, odd = 0, []
    for (day, of), hours in sessions.table().days.items():
        if of != group or not hours or day not in last or hours[-1][1] >= time(15):
            continue
        close = datetime.combine(day, hours[-1][1], CHICAGO)
        ended = datetime.fromtimestamp(last[day] // 10**9, CHICAGO)
        checked += 1
        if not ended < close <= ended + timedelta(hours=1):
            odd.append(day)
    assert checked > 60
    assert odd == STOPPED_EARLY.get(root, [])


def test_every_group_is_open_on_every_trade_date_but_one() -> None:
    """Rates on 2018-12-05. So no instrument waits a day for a session the table forgot."""
    day, closed = sessions.table().first, []
    while day <= sessions.table().last:
        closed += [(group, day) for group in GROUPS if is_trade_date(day) and not hours_on(group, day)]
        day += timedelta(days=1)
    assert closed == [("rates", date(2018, 12, 5))]


def _ns(at: datetime) -> int:
    return int(at.timestamp()) * 10**9


def _calendar_day(ts: int) -> date:
    """The day whose session an instant lies in, holidays too."""
    return (datetime.fromtimestamp(ts // 10**9, CHICAGO).replace(tzinfo=None) + timedelta(hours=7)).date()
