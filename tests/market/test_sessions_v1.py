"""The old system's days: from 18:00 to 18:00 of the exchange's own clock, through weekends and clock turns."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.history.sessions import old_days, session_windows
from rooney.market import sessions
from rooney.market import sessions_v1 as oldclock
from rooney.market.sessions import CHICAGO, HOUR_NS, Window
from tests.support.times import chicago

DAY_NS = 24 * HOUR_NS


def window(group: str, text: str) -> Window:
    found = sessions.window_at(group, chicago(text))
    assert found is not None
    return found


def times(group: str, text: str) -> list[tuple[str, str]]:
    """When the parts of a window begin and end, in Chicago."""
    return [(clock(opens), clock(closes)) for opens, closes, _, _ in oldclock.split(group, window(group, text))]


def clock(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).astimezone(CHICAGO).strftime("%a %H:%M")


def test_a_chicago_product_has_its_first_hour_in_the_day_before() -> None:
    assert times("fx", "2026-03-11 10:00") == [("Tue 17:00", "Tue 18:00"), ("Tue 18:00", "Wed 16:00")]


def test_sundays_first_hour_is_a_day_of_its_own() -> None:
    (hour, rest) = oldclock.split("equity", window("equity", "2026-03-09 10:00"))
    assert (clock(hour[0]), clock(hour[1])) == ("Sun 17:00", "Sun 18:00")
    assert hour[2:] != rest[2:]
    friday = oldclock.split("equity", window("equity", "2026-03-06 10:00"))
    assert hour[2] > friday[-1][2]


@pytest.mark.parametrize("group", oldclock.NEW_YORK_GROUPS)
def test_a_new_york_products_day_ends_where_its_session_does(group: str) -> None:
    assert times(group, "2026-03-11 10:00") == [("Tue 17:00", "Wed 16:00")]
    assert oldclock.day_at(group, chicago("2026-03-11 10:00")) == (
        chicago("2026-03-10 17:00"),
        chicago("2026-03-11 17:00"),
    )


@pytest.mark.parametrize(("day", "offset"), [("2026-03-06", 6), ("2026-03-11", 5)])
def test_an_old_day_keeps_its_hour_when_the_clocks_turn(day: str, offset: int) -> None:
    opens, closes = oldclock.day_at("equity", chicago(f"{day} 10:00"))
    assert closes - opens == DAY_NS
    assert closes % DAY_NS == (18 + offset) % 24 * HOUR_NS


@given(
    group=st.sampled_from(["equity", "fx", "energy", "metals", "grains"]),
    hours=st.integers(0, 24 * 365 * 5),
)
def test_the_parts_are_the_window_and_each_lies_within_its_day(group: str, hours: int) -> None:
    found = sessions.window_at(group, chicago("2020-01-02 10:00") + hours * HOUR_NS)
    if found is None:
        return
    parts = oldclock.split(group, found)
    assert [part[0] for part in parts] == [found.open_ns, *(part[1] for part in parts[:-1])]
    assert parts[-1][1] == found.close_ns
    for opens, closes, day_open, day_close in parts:
        assert day_open <= opens < closes <= day_close


@pytest.mark.parametrize("group", ["equity", "grains", "metals"])
def test_a_backtests_windows_cut_at_old_days_cover_the_same_minutes_on_the_same_trade_dates(group: str) -> None:
    start, end = chicago("2026-02-10 00:00"), chicago("2026-03-20 00:00")
    whole = session_windows(group, start, end)
    cut = old_days(group, whole)

    def minutes(windows: object) -> dict[int, int]:
        spans = zip(windows.open_ns, windows.close_ns, windows.trade_date, strict=True)  # type: ignore[attr-defined]
        return {ts: int(on) for opens, closes, on in spans for ts in range(int(opens), int(closes), 60_000_000_000)}

    assert minutes(cut) == minutes(whole)
    assert date(1970, 1, 1) + timedelta(days=int(cut.trade_date[0])) == sessions.trade_date(int(cut.open_ns[0]))
