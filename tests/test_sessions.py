"""Sessions: both clock changes, halts and breaks of all years, and real bars as evidence."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import SHARED, needs_shared

from rooney import sessions
from rooney.instruments import group_of
from rooney.sessions import CHICAGO, HOUR_NS, MINUTE_NS, hour_close_ns, next_window, trade_date, window_at

GROUPS = ["equity", "energy", "metals", "fx", "grains", "rates"]
instants = st.integers(
    int(datetime(2010, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2035, 1, 1, tzinfo=UTC).timestamp())
).map(lambda seconds: seconds * 1_000_000_000)


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def chicago(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=CHICAGO).timestamp()) * 1_000_000_000


def minutes_of(group: str, day: date) -> int:
    window = next_window(group, sessions.session_open_ns(group, day))
    total = 0
    while window.trade_date == day:
        total += (window.close_ns - window.open_ns) // MINUTE_NS
        window = next_window(group, window.close_ns)
    return total


@pytest.mark.parametrize(
    ("opens", "day"),
    [
        ("2026-03-05T23:00", date(2026, 3, 6)),  # Friday before the clocks go forward: still winter
        ("2026-03-08T22:00", date(2026, 3, 9)),  # the Sunday on which they do
        ("2026-03-27T22:00", None),  # no session: Friday evening
        ("2026-03-29T22:00", date(2026, 3, 30)),  # Europe changes on this day; Chicago does not
        ("2026-10-25T22:00", date(2026, 10, 26)),  # Europe has gone back, Chicago not yet
        ("2026-11-01T23:00", date(2026, 11, 2)),  # Chicago has
    ],
)
def test_the_evening_open_follows_chicagos_clocks_and_not_europes(opens: str, day: date | None) -> None:
    window = window_at("equity", utc(opens))
    assert (window.trade_date if window is not None else None) == day
    if window is not None:
        assert window.open_ns == utc(opens)
        assert window_at("equity", utc(opens) - 1) is None


@pytest.mark.parametrize("group", ["equity", "energy", "metals", "fx"])
@pytest.mark.parametrize("day", [date(2026, 3, 9), date(2026, 11, 2), date(2026, 6, 3)])
def test_a_session_lasts_23_hours_also_around_a_clock_change(group: str, day: date) -> None:
    assert minutes_of(group, day) == 23 * 60


@pytest.mark.parametrize("day", [date(2026, 3, 9), date(2026, 11, 2), date(2026, 6, 3)])
def test_grains_trade_a_night_and_a_day_with_a_break(day: date) -> None:
    assert minutes_of("grains", day) == 12 * 60 + 45 + 4 * 60 + 50
    assert window_at("grains", chicago(f"{day} 07:44")) is not None
    assert window_at("grains", chicago(f"{day} 07:45")) is None
    assert window_at("grains", chicago(f"{day} 08:29")) is None
    assert window_at("grains", chicago(f"{day} 08:30")) is not None
    assert window_at("grains", chicago(f"{day} 13:19")) is not None
    assert window_at("grains", chicago(f"{day} 13:20")) is None
    assert window_at("grains", chicago(f"{day} 18:59")) is None


def test_sunday_evening_belongs_to_monday_and_so_does_the_weekend() -> None:
    monday = date(2026, 6, 8)
    for text in ("2026-06-05 17:00", "2026-06-06 12:00", "2026-06-07 16:59", "2026-06-07 17:00", "2026-06-08 16:59"):
        assert trade_date(chicago(text)) == monday, text
    assert trade_date(chicago("2026-06-05 16:59")) == date(2026, 6, 5)
    assert trade_date(chicago("2026-06-08 17:00")) == date(2026, 6, 9)
    assert sessions.session_open_ns("equity", monday) == chicago("2026-06-07 17:00")
    assert sessions.session_open_ns("grains", monday) == chicago("2026-06-07 19:00")


def test_nothing_trades_from_friday_afternoon_to_sunday_evening() -> None:
    for group in GROUPS:
        for text in ("2026-06-05 16:00", "2026-06-06 08:00", "2026-06-07 16:59"):
            assert window_at(group, chicago(text)) is None


@pytest.mark.parametrize(
    ("day", "halted", "late"),
    [
        ("2013-10-07", True, True),
        ("2015-09-18", True, True),
        ("2015-09-21", True, False),
        ("2021-06-25", True, False),
        ("2021-06-28", False, False),
    ],
)
def test_index_futures_had_a_halt_and_a_later_close(day: str, halted: bool, late: bool) -> None:
    assert window_at("equity", chicago(f"{day} 15:14")) is not None
    assert (window_at("equity", chicago(f"{day} 15:15")) is None) == halted
    assert (window_at("equity", chicago(f"{day} 15:29")) is None) == halted
    assert window_at("equity", chicago(f"{day} 15:30")) is not None
    assert (window_at("equity", chicago(f"{day} 16:14")) is not None) == late
    assert window_at("equity", chicago(f"{day} 16:15")) is None


def test_the_grains_day_ended_five_minutes_earlier_until_july_2015() -> None:
    assert window_at("grains", chicago("2015-07-02 13:15")) is None
    assert window_at("grains", chicago("2015-07-06 13:19")) is not None


def test_an_hour_closes_with_its_last_session_minute() -> None:
    def closes(group: str, text: str) -> str:
        at = datetime.fromtimestamp(hour_close_ns(group, chicago(text)) // 10**9, CHICAGO)
        return at.strftime("%H:%M")

    assert closes("equity", "2026-06-03 15:10") == "16:00"
    assert closes("equity", "2020-06-03 15:10") == "16:00"  # the halt is in the midst of it
    assert closes("equity", "2020-06-03 15:40") == "16:00"
    assert closes("equity", "2013-10-07 16:05") == "16:15"
    assert closes("grains", "2026-06-03 07:10") == "07:45"
    assert closes("grains", "2026-06-03 08:40") == "09:00"
    assert closes("grains", "2026-06-03 13:00") == "13:20"
    with pytest.raises(ValueError, match="closed"):
        hour_close_ns("grains", chicago("2026-06-03 08:00"))


@given(st.sampled_from(GROUPS), instants)
def test_an_instant_is_in_a_window_or_before_the_next_one(group: str, ts_ns: int) -> None:
    window, following = window_at(group, ts_ns), next_window(group, ts_ns)
    assert following.open_ns >= ts_ns
    if window is not None:
        assert window.open_ns <= ts_ns < window.close_ns <= following.open_ns or following == window
        assert window.trade_date == trade_date(ts_ns)
        assert sessions.session_open_ns(group, window.trade_date) <= window.open_ns
        assert window.close_ns <= sessions.session_close_ns(group, window.trade_date)
        assert ts_ns < hour_close_ns(group, ts_ns) <= ts_ns - ts_ns % HOUR_NS + HOUR_NS
    else:
        assert window_at(group, following.open_ns - 1) is None


@given(st.sampled_from(GROUPS), instants)
def test_trade_dates_are_weekdays_and_never_go_back(group: str, ts_ns: int) -> None:
    assert trade_date(ts_ns).weekday() < 5
    assert trade_date(ts_ns) <= trade_date(ts_ns + 3_600 * 10**9)


@needs_shared
@pytest.mark.parametrize("name", ["ES_lean_2013", "GC_lean_2013", "6EH4_2024-01a", "ES_NQ_databento"])
def test_every_recorded_minute_lies_in_a_session(name: str) -> None:
    pl = pytest.importorskip("polars")
    table = pl.read_parquet(SHARED / "bars_1m" / f"{name}.parquet")
    rows = table.select(pl.col("ts_event").cast(pl.Int64), "root").unique().rows()
    assert rows
    assert [row for row in rows if window_at(group_of(row[1]), row[0]) is None] == []


@needs_shared
def test_the_recorded_es_of_2013_touches_both_edges_of_halt_and_close() -> None:
    """Our hours are not merely wide enough: trading goes up to each edge."""
    pl = pytest.importorskip("polars")
    table = pl.read_parquet(SHARED / "bars_1m" / "ES_lean_2013.parquet")
    stamps = set(table["ts_event"].cast(pl.Int64).to_list())
    for text in ("2013-10-06 17:00", "2013-10-07 15:14", "2013-10-07 15:30", "2013-10-07 16:14", "2013-10-07 17:00"):
        assert chicago(text) in stamps, text
