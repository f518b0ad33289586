"""Sessions: dates with their reasons, the table's own soundness, and real bars as evidence.

What recorded data says about the table as a whole is in research/data/test_session_table.py.
"""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.history.history import session_windows
from rooney.config.check import DISPUTE_WARNING_DAYS, TABLE_WARNING_DAYS, table_findings
from rooney.errors import ConfigError
from rooney.kernels.codes import Cause, Reason
from rooney.market import sessions
from rooney.market.bars import ClosedMinute, ContractMinute
from rooney.market.instruments import Contract, group_of, is_open
from rooney.market.messages import Bar, BarFlag, InstrumentState
from rooney.market.resample import Coarse
from rooney.market.sessions import (
    CHICAGO,
    GROUPS,
    HOUR_NS,
    MINUTE_NS,
    Window,
    covered,
    hour_close_ns,
    is_trade_date,
    next_trade_date,
    next_window,
    previous_trade_date,
    trade_date,
    window_at,
)
from rooney.market.tape import MinuteAssembler
from rooney.orders.decisions import Decisions
from rooney.orders.intents import Role
from tests.support.engines import Driver, engine
from tests.support.minutes import BUY, LEAVE, QUIET, bar
from tests.support.paths import RECORDED_DATA, needs_recorded_data
from tests.support.times import chicago

LAST = sessions.table().last
# Beyond both ends of the table too: there the regular week goes on.
instants = st.integers(
    int(datetime(2007, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2035, 1, 1, tzinfo=UTC).timestamp())
).map(lambda seconds: seconds * 1_000_000_000)


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def minutes_of(group: str, day: date) -> int:
    return sum((window.close_ns - window.open_ns) // MINUTE_NS for window in windows_of(group, day))


def windows_of(group: str, day: date) -> list[Window]:
    """Every window of one trade date, found as the hub finds them."""
    found = []
    window = next_window(group, sessions.session_open_ns(group, day))
    while window.trade_date == day:
        found.append(window)
        window = next_window(group, window.close_ns)
    return found


def spelled(group: str, day: date) -> str:
    """`Wed 17:00-Thu 12:00, Thu 17:00-Fri 12:15`: the windows of one trade date, Chicago time."""

    def at(ts_ns: int) -> str:
        return f"{datetime.fromtimestamp(ts_ns // 10**9, CHICAGO):%a %H:%M}"

    return ", ".join(f"{at(window.open_ns)}-{at(window.close_ns)}" for window in windows_of(group, day))


# (groups, trade date, its windows): the reason is the line above.
DATES = [
    # Clocks: Chicago's go forward on 8 March and back on 1 November, Europe's on 29 March and 25 October.
    *(
        ("equity fx rates energy metals", monday, "Sun 17:00-Mon 16:00")
        for monday in ("2026-03-09", "2026-03-23", "2026-03-30", "2026-10-26", "2026-11-02")
    ),
    *(
        ("grains", monday, "Sun 19:00-Mon 07:45, Mon 08:30-Mon 13:20")
        for monday in ("2026-03-09", "2026-03-23", "2026-03-30", "2026-10-26", "2026-11-02")
    ),
    ("equity fx rates energy metals", "2026-03-06", "Thu 17:00-Fri 16:00"),
    ("grains", "2026-03-06", "Thu 19:00-Fri 07:45, Fri 08:30-Fri 13:20"),
    # Sunday evening is Monday's, in a week without anything.
    ("equity fx rates energy metals", "2026-06-08", "Sun 17:00-Mon 16:00"),
    ("grains", "2026-06-08", "Sun 19:00-Mon 07:45, Mon 08:30-Mon 13:20"),
    # Thanksgiving belongs to the Friday after it, which closes early.
    ("equity rates", "2026-11-27", "Wed 17:00-Thu 12:00, Thu 17:00-Fri 12:15"),
    ("fx", "2026-11-27", "Wed 17:00-Thu 16:00, Thu 17:00-Fri 13:45"),  # disputed: or 12:15
    ("energy metals", "2026-11-27", "Wed 17:00-Thu 13:30, Thu 17:00-Fri 13:45"),
    ("grains", "2026-11-27", "Fri 08:30-Fri 12:05"),
    # Memorial Day belongs to Tuesday: three calendar days, one trade date.
    ("equity rates", "2026-05-26", "Sun 17:00-Mon 12:00, Mon 17:00-Tue 16:00"),
    ("fx", "2026-05-26", "Sun 17:00-Mon 16:00, Mon 17:00-Tue 16:00"),
    ("energy metals", "2026-05-26", "Sun 17:00-Mon 13:30, Mon 17:00-Tue 16:00"),
    ("grains", "2026-05-26", "Mon 19:00-Tue 07:45, Tue 08:30-Tue 13:20"),
    # Labor Day 2025 in energy and metals: 13:30, where the calendars say 12:00.
    ("energy metals", "2025-09-02", "Sun 17:00-Mon 13:30, Mon 17:00-Tue 16:00"),
    # Until 2014 index futures stopped at 10:30 on holidays, energy and metals at 12:15; before 2009 they did not stop.
    ("equity", "2013-02-19", "Sun 17:00-Mon 10:30, Mon 17:00-Tue 15:15, Tue 15:30-Tue 16:15"),
    ("energy metals", "2013-02-19", "Sun 17:00-Mon 12:15, Mon 17:00-Tue 16:15"),
    ("energy metals", "2009-01-20", "Sun 17:00-Mon 16:15, Mon 17:00-Tue 16:15"),
    # Good Friday with the employment report: an early close that belongs to Monday; nothing for energy and metals.
    ("equity", "2026-04-06", "Thu 17:00-Fri 08:15, Sun 17:00-Mon 16:00"),
    ("fx rates", "2026-04-06", "Thu 17:00-Fri 10:15, Sun 17:00-Mon 16:00"),
    ("energy metals", "2026-04-06", "Sun 17:00-Mon 16:00"),
    ("grains", "2026-04-06", "Sun 19:00-Mon 07:45, Mon 08:30-Mon 13:20"),
    # Good Friday without: closed for all.
    ("equity fx rates energy metals", "2022-04-18", "Sun 17:00-Mon 16:00"),
    ("grains", "2022-04-18", "Sun 19:00-Mon 07:45, Mon 08:30-Mon 13:20"),
    # Juneteenth; grains are closed, and open again the same evening.
    ("grains", "2024-06-20", "Wed 19:00-Thu 07:45, Thu 08:30-Thu 13:20"),
    ("equity fx rates energy metals", "2026-06-22", "Thu 17:00-Fri 12:00, Sun 17:00-Mon 16:00"),
    # Independence Day on a Friday: all stop at noon, since nothing opens again that evening.
    ("equity fx rates energy metals", "2025-07-07", "Thu 17:00-Fri 12:00, Sun 17:00-Mon 16:00"),
    ("energy metals", "2027-06-21", "Thu 17:00-Fri 12:00, Sun 17:00-Mon 16:00"),
    ("grains", "2026-06-22", "Sun 19:00-Mon 07:45, Mon 08:30-Mon 13:20"),
    # 4 July in mid-week: grains skip the night after it; before 2023 they also closed early on the day before.
    ("equity", "2024-07-03", "Tue 17:00-Wed 12:15"),
    ("grains", "2024-07-03", "Tue 19:00-Wed 07:45, Wed 08:30-Wed 13:20"),
    ("grains", "2019-07-03", "Tue 19:00-Wed 07:45, Wed 08:30-Wed 12:05"),
    ("grains", "2024-07-05", "Fri 08:30-Fri 13:20"),
    # Christmas 2026 is a Friday; year end.
    ("equity rates", "2026-12-24", "Wed 17:00-Thu 12:15"),
    ("energy fx metals", "2026-12-24", "Wed 17:00-Thu 12:45"),  # fx disputed: or 12:15
    ("grains", "2026-12-24", "Wed 19:00-Thu 07:45, Thu 08:30-Thu 12:05"),
    ("equity fx rates energy metals", "2026-12-28", "Sun 17:00-Mon 16:00"),
    ("grains", "2026-12-28", "Sun 19:00-Mon 07:45, Mon 08:30-Mon 13:20"),
    ("equity fx rates energy metals", "2024-12-31", "Mon 17:00-Tue 16:00"),
    ("grains", "2024-12-31", "Mon 19:00-Tue 07:45, Tue 08:30-Tue 13:20"),
    ("equity fx rates energy metals", "2025-01-02", "Wed 17:00-Thu 16:00"),
    ("grains", "2025-01-02", "Thu 08:30-Thu 13:20"),
    # A holiday on a Sunday is observed on Monday; grains then open in the evening.
    ("equity", "2023-01-03", "Mon 17:00-Tue 16:00"),
    ("grains", "2023-01-03", "Mon 19:00-Tue 07:45, Tue 08:30-Tue 13:20"),
    # National Day of Mourning for Jimmy Carter.
    ("equity", "2025-01-09", "Wed 17:00-Thu 08:30"),
    ("grains", "2025-01-09", "Wed 19:00-Thu 07:45, Thu 08:30-Thu 12:15"),
    ("rates", "2025-01-09", "Wed 17:00-Thu 12:15"),
    ("fx energy metals", "2025-01-09", "Wed 17:00-Thu 16:00"),
    ("equity", "2025-01-10", "Thu 17:00-Fri 16:00"),
    # That for George H. W. Bush: rates did not trade at all, others as on any day.
    ("equity", "2018-12-05", "Tue 17:00-Wed 08:30"),
    ("rates", "2018-12-05", ""),
    ("grains", "2018-12-05", "Tue 19:00-Wed 07:45, Wed 08:30-Wed 13:20"),
    ("fx energy metals", "2018-12-05", "Tue 17:00-Wed 16:00"),
    # Hurricane Sandy.
    ("equity", "2012-10-29", "Sun 17:00-Mon 08:15"),
    ("rates", "2012-10-29", "Sun 17:00-Mon 11:00"),
    ("equity", "2012-10-30", "Mon 17:00-Tue 08:15"),
    ("rates fx", "2012-10-30", "Mon 17:00-Tue 16:00"),
    # Hours of earlier years: index futures on Friday and Thursday, grains in 2010, 2012 and 2013.
    ("equity", "2010-06-10", "Wed 17:00-Thu 15:15, Thu 15:30-Thu 16:30"),
    ("equity", "2010-06-11", "Thu 17:00-Fri 15:15"),
    ("grains", "2010-06-11", "Thu 18:00-Fri 07:15, Fri 09:30-Fri 13:15"),
    ("grains", "2012-06-08", "Thu 17:00-Fri 14:00"),
    ("grains", "2013-06-07", "Thu 19:00-Fri 07:45, Fri 08:30-Fri 13:15"),
]


@pytest.mark.parametrize(
    ("group", "day", "expected"),
    [(group, date.fromisoformat(day), expected) for groups, day, expected in DATES for group in groups.split()],
    ids=lambda value: value.isoformat() if isinstance(value, date) else None,
)
def test_a_trade_date_has_the_windows_the_exchange_announced(group: str, day: date, expected: str) -> None:
    assert spelled(group, day) == expected


@pytest.mark.parametrize(
    ("kind", "days"),
    [
        ("clock changes and the weeks between", ("2026-03-09", "2026-03-23", "2026-03-30", "2026-10-26", "2026-11-02")),
        ("early closes", ("2026-11-27", "2026-12-24")),
        ("Good Friday", ("2022-04-18", "2026-04-06")),
        ("mourning", ("2025-01-09",)),
        ("Sunday open", ("2026-06-08",)),
        ("year end", ("2024-12-31", "2025-01-02", "2026-12-28")),
        ("holidays that belong to the next trade date", ("2026-05-26", "2026-06-22")),
    ],
)
def test_every_kind_of_day_is_spelled_out_for_every_group(kind: str, days: tuple[str, ...]) -> None:
    told = {(group, day) for groups, day, _ in DATES for group in groups.split()}
    assert [(group, day) for group in GROUPS for day in days if (group, day) not in told] == []


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("day", [date(2026, 1, 1), date(2026, 12, 25), date(2022, 4, 15), date(2016, 12, 26)])
def test_on_a_full_holiday_no_window_is_open(group: str, day: date) -> None:
    for hour in range(24):
        window = window_at(group, chicago(f"{day} {hour:02}:30"))
        assert window is None or hour >= 17, hour


def test_a_holiday_belongs_to_the_next_trade_date_and_so_does_the_night_before_it() -> None:
    friday = date(2026, 11, 27)
    for text in ("2026-11-25 17:00", "2026-11-26 11:59", "2026-11-26 12:00", "2026-11-26 17:00", "2026-11-27 16:59"):
        assert trade_date(chicago(text)) == friday, text
    assert trade_date(chicago("2026-11-25 16:59")) == date(2026, 11, 25)
    assert not is_trade_date(date(2026, 11, 26))
    assert (previous_trade_date(friday), next_trade_date(friday)) == (date(2026, 11, 25), date(2026, 11, 30))


def test_a_trade_date_over_a_holiday_has_one_close() -> None:
    day = date(2026, 11, 27)
    assert len(windows_of("equity", day)) == 2
    assert sessions.session_open_ns("equity", day) == chicago("2026-11-25 17:00")
    assert sessions.session_close_ns("equity", day) == chicago("2026-11-27 12:15")


def test_where_a_group_has_no_session_the_next_one_counts() -> None:
    """Mourning on Wednesday, a holiday, a Saturday: what would hold a bar of such a day is the session after it."""
    assert sessions.session_open_ns("rates", date(2018, 12, 5)) == chicago("2018-12-05 17:00")
    assert sessions.session_close_ns("grains", date(2026, 11, 26)) == chicago("2026-11-27 12:05")
    assert sessions.session_open_ns("fx", date(2026, 6, 6)) == chicago("2026-06-07 17:00")


@pytest.mark.parametrize("group", GROUPS)
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
def test_the_evening_open_follows_chicagos_clocks_and_not_europes(group: str, opens: str, day: date | None) -> None:
    opens_ns = utc(opens) + (2 * HOUR_NS if group == "grains" else 0)
    window = window_at(group, opens_ns)
    assert (window.trade_date if window is not None else None) == day
    if window is not None:
        assert window.open_ns == opens_ns
        assert window_at(group, opens_ns - 1) is None


@pytest.mark.parametrize("group", [group for group in GROUPS if group != "grains"])
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


@given(instants)
def test_trade_dates_are_business_days_and_never_go_back(ts_ns: int) -> None:
    assert is_trade_date(trade_date(ts_ns))
    assert trade_date(ts_ns) <= trade_date(ts_ns + 3_600 * 10**9)


@given(st.sampled_from(GROUPS), instants)
def test_windows_follow_each_other_and_each_has_one_trade_date(group: str, ts_ns: int) -> None:
    window = next_window(group, ts_ns)
    for _ in range(30):
        following = next_window(group, window.close_ns)
        assert window.open_ns < window.close_ns <= following.open_ns
        assert trade_date(window.open_ns) == window.trade_date == trade_date(window.close_ns - 1)
        assert window.trade_date <= following.trade_date
        window = following


@given(st.sampled_from(GROUPS), instants, st.integers(1, 60 * 24 * 40))
def test_the_arrays_of_the_compiled_scan_are_the_windows_of_the_hub(group: str, start_ns: int, minutes: int) -> None:
    start_ns -= start_ns % MINUTE_NS
    end_ns = start_ns + minutes * MINUTE_NS
    arrays = session_windows(group, start_ns, end_ns)
    for k in range(len(arrays.open_ns)):
        window = window_at(group, int(arrays.open_ns[k]))
        assert window is not None
        day = date(1970, 1, 1) + timedelta(days=int(arrays.trade_date[k]))
        assert (window.open_ns, window.close_ns, window.trade_date) == (arrays.open_ns[k], arrays.close_ns[k], day)
        assert sessions.session_open_ns(group, day) == arrays.day_open_ns[k] <= window.open_ns
        assert sessions.session_close_ns(group, day) == arrays.day_close_ns[k] >= window.close_ns
        assert window.ends_ns == arrays.ends_ns[k]
    # And none is missing: an instant lies in one of them as the hub says.
    for ts_ns in range(start_ns, end_ns, max(MINUTE_NS, (minutes // 50) * MINUTE_NS)):
        inside = bool(((arrays.open_ns <= ts_ns) & (ts_ns < arrays.close_ns)).any())
        assert inside == (window_at(group, ts_ns) is not None)


# ── disputed closes ──


@pytest.mark.parametrize(
    ("symbol", "earlier", "later"),
    [
        ("6A", "2026-11-27 12:15", "2026-11-27 13:45"),  # the last window of its trade date
        ("6A", "2027-06-18 12:00", "2027-06-18 16:00"),  # a holiday: its trade date goes on after the weekend
        ("CL", "2027-11-26 12:45", "2027-11-26 13:45"),
    ],
)
def test_a_disputed_close_is_the_earlier_one_for_entries_and_the_auto_close_and_the_later_one_for_bars_and_exits(
    symbol: str, earlier: str, later: str
) -> None:
    """Margin 2 minutes: the last entry is decided before that, and what is open is left then."""
    driver = Driver(engine((symbol,), close_margin_s=120.0, auto_close_ns=15 * 60 * MINUTE_NS))
    driver.now = chicago(earlier) - 5 * MINUTE_NS
    contract = Contract(symbol, int(later[:4]) + 1, 3)

    def step(price: float) -> Decisions:
        return driver.mark(bar(symbol, driver.now + MINUTE_NS, price, contract=contract.raw))

    assert [intent.role for intent in step(BUY).intents] == [Role.ENTRY]
    assert step(QUIET).intents == []
    assert [intent.cause for intent in step(QUIET).intents] == [Cause.AUTO_CLOSE]
    for _ in range(10):  # across the earlier close
        assert [evaluated.reason for evaluated in step(BUY).evaluated] == [Reason.CLOSE_MARGIN]
    assert driver.now > chicago(earlier)
    assert is_open(symbol, chicago(later) - MINUTE_NS)
    assert not is_open(symbol, chicago(later))
    assembler = MinuteAssembler([(symbol, group_of(symbol), False)])
    assembler.list_contract(contract)
    traded = ContractMinute(contract, 100, 101, 99, 100, 5, 1)
    minute = assembler.assemble(ClosedMinute(chicago(later), [traded], 0), lambda: 0).minute
    assert [made.flags & BarFlag.OFF_SESSION for made in minute.bars if made.timeframe == "1min"] == [0]


def test_after_a_disputed_holiday_the_rest_of_its_trade_date_is_as_any_other() -> None:
    friday, sunday = next_window("fx", chicago("2027-06-17 17:00")), next_window("fx", chicago("2027-06-18 17:00"))
    assert friday.trade_date == sunday.trade_date
    assert (friday.ends_ns, friday.close_ns) == (chicago("2027-06-18 12:00"), chicago("2027-06-18 16:00"))
    assert sunday.ends_ns == sunday.close_ns == sessions.session_close_ns("fx", sunday.trade_date)


def test_an_undisputed_session_ends_with_its_last_window() -> None:
    windows = windows_of("grains", date(2026, 6, 8)) + windows_of("equity", date(2026, 5, 26))
    closes = [sessions.session_close_ns("grains", date(2026, 6, 8))] * 2
    closes += [sessions.session_close_ns("equity", date(2026, 5, 26))] * 2
    assert [window.ends_ns for window in windows] == closes


def test_a_disputed_close_is_said_before_its_day_to_those_whom_it_concerns() -> None:
    def said(day: date, *roots: str) -> list[str]:
        return [finding.text[:51] for finding in table_findings(day, roots)]

    told = "2027-06-18: whether fx closes 12:00 or 16:00, Chica"
    day = date(2027, 6, 18)
    assert said(day, "6A", "6B", "ES") == said(day - timedelta(days=DISPUTE_WARNING_DAYS), "6A") == [told]
    assert said(day - timedelta(days=DISPUTE_WARNING_DAYS + 1), "6A") == said(day + timedelta(days=1), "6A") == []
    assert said(day, "ES", "CL", "ZC") == []


# ── the table's end ──


def test_beyond_the_table_the_regular_week_goes_on_but_is_not_covered() -> None:
    day = next_trade_date(LAST)
    for group in GROUPS:
        window = next_window(group, sessions.session_open_ns(group, day))
        assert not covered(window.open_ns)
        assert window_at(group, window.open_ns) == window
    assert covered(sessions.session_close_ns("equity", previous_trade_date(LAST)) - 1)
    assert not covered(chicago("2007-12-27 10:00"))


def test_beyond_the_table_a_strategy_enters_nothing() -> None:
    day = next_trade_date(LAST)
    before = Driver(engine(("ES",)), start=f"{previous_trade_date(LAST + timedelta(days=1))} 10:00")
    after = Driver(engine(("ES",)), start=f"{day} 10:00")
    assert [intent.role for intent in before.close(ES=BUY).intents] == [Role.ENTRY]
    decided = after.close(ES=BUY)
    assert decided.intents == []
    assert [evaluated.reason for evaluated in decided.evaluated] == [Reason.CLOSE_MARGIN]


def test_beyond_the_table_an_open_position_is_still_left() -> None:
    driver = Driver(engine(("ES",)), start=f"{previous_trade_date(LAST + timedelta(days=1))} 10:00")
    driver.close(ES=BUY)
    driver.close(ES=QUIET)
    driver.now = chicago(f"{next_trade_date(LAST)} 10:00")
    assert [intent.role for intent in driver.close(ES=LEAVE).intents] == [Role.EXIT]


def test_beyond_the_table_the_hub_goes_on_making_minutes() -> None:
    """So that stops, exits and the mark to market of open positions go on."""
    assembler = MinuteAssembler([("ES", "equity", False)])
    opens = chicago(f"{next_trade_date(LAST)} 10:00")
    contract = Contract("ES", LAST.year + 1, 3)
    assembler.list_contract(contract)
    traded = ContractMinute(contract, 100, 101, 99, 100, 5, 1)
    minute = assembler.assemble(ClosedMinute(opens + MINUTE_NS, [traded], 0), lambda: 0).minute
    assert [(bar.symbol, bar.flags & BarFlag.OFF_SESSION) for bar in minute.bars] == [("ES", 0)]
    assert minute.states == {"ES": InstrumentState.OPEN}


@pytest.mark.parametrize(
    ("left_days", "levels"),
    [(TABLE_WARNING_DAYS, []), (TABLE_WARNING_DAYS - 1, ["warning"]), (0, ["warning"]), (-1, ["error"])],
)
def test_a_table_about_to_end_is_said_in_time(left_days: int, levels: list[str]) -> None:
    found = table_findings(LAST - timedelta(days=left_days), ["ES"])
    assert [finding.level for finding in found] == levels
    assert all(str(LAST) in finding.text and "research.data.session_table" in finding.text for finding in found)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("day,2026-01-19,equity,17:00-25:00,x", "hour must be in 0..23"),
        ("day,2026-01-19,grains,19:00-07:45 07:30-13:20,x", "07:30-13:20 does not follow"),
        ("day,2026-01-19,equities,17:00-12:00,x", "unknown group equities"),
        ("night,2026-01-19,equity,17:00-12:00,x", "unknown kind 'night'"),
        ("day,2026-01-19", "not enough values"),
        ("holiday,2026-13-01,,,x", "month"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_by_file_and_line(line: str, wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "sessions.csv"
    path.write_text(sessions.TABLE.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    number = len(path.read_text(encoding="utf-8").splitlines())
    with pytest.raises(ConfigError, match=f"sessions.csv:{number}: .*{wrong}"):
        sessions.read_table(path)


def test_a_table_without_its_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sessions.csv"
    lines = sessions.TABLE.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("last,")), encoding="utf-8")
    with pytest.raises(ConfigError, match="first, last or a group is missing"):
        sessions.read_table(path)


def test_reading_the_table_and_asking_it_are_fast() -> None:
    """Best of several on a busy machine; idle: 2 ms to read, 0.4 us to ask. The limits are ten times that."""

    def best_s(work: Callable[[], object], count: int) -> float:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            for _ in range(count):
                work()
            times.append((time.perf_counter() - started) / count)
        return min(times)

    now_ns = chicago("2026-06-03 10:00")
    assert best_s(lambda: sessions.read_table(sessions.TABLE), 1) < 0.020
    assert best_s(lambda: window_at("equity", now_ns), 10_000) < 4e-6
    assert best_s(lambda: trade_date(now_ns), 10_000) < 4e-6


# ── real bars ──


@needs_recorded_data
@pytest.mark.parametrize("name", ["ES_lean_2013", "GC_lean_2013", "6EH4_2024-01a", "ES_NQ_databento"])
def test_every_recorded_minute_lies_in_a_session(name: str) -> None:
    pl = pytest.importorskip("polars")
    table = pl.read_parquet(RECORDED_DATA / "bars_1m" / f"{name}.parquet")
    rows = table.select(pl.col("ts_event").cast(pl.Int64), "root").unique().rows()
    assert rows
    assert [row for row in rows if window_at(group_of(row[1]), row[0]) is None] == []


@needs_recorded_data
def test_the_recorded_es_of_2013_touches_both_edges_of_halt_and_close() -> None:
    """Our hours are not merely wide enough: trading goes up to each edge."""
    pl = pytest.importorskip("polars")
    table = pl.read_parquet(RECORDED_DATA / "bars_1m" / "ES_lean_2013.parquet")
    stamps = set(table["ts_event"].cast(pl.Int64).to_list())
    for text in ("2013-10-06 17:00", "2013-10-07 15:14", "2013-10-07 15:30", "2013-10-07 16:14", "2013-10-07 17:00"):
        assert chicago(text) in stamps, text


def hub_bars(root: str, symbol: str, name: str) -> list[Bar]:
    """Hours and days as the hub folds them from recorded minutes of one contract; bars carry open times."""
    pl = pytest.importorskip("polars")
    rows = pl.read_parquet(RECORDED_DATA / "bars_1m" / name).filter(pl.col("symbol") == symbol).sort("ts_event")
    coarse = Coarse(group_of(root))
    found: list[Bar] = []
    columns = rows.select(pl.col("ts_event").cast(pl.Int64), "open", "high", "low", "close", "volume")
    for ts, first, high, low, last, volume in columns.iter_rows():
        found += coarse.close(ts, 0)
        coarse.fold(Bar(root, symbol, "1min", ts, ts + MINUTE_NS, first, high, low, last, volume, 1))
        found += coarse.close(ts + MINUTE_NS, 0)
    return found + coarse.close(2**62, 0)


def recorded(folder: str, root: str, symbol: str) -> dict[int, tuple[float, ...]]:
    pl = pytest.importorskip("polars")
    rows = pl.read_parquet(RECORDED_DATA / folder / "ES_GC_lean.parquet").filter(pl.col("symbol") == symbol)
    columns = rows.select(pl.col("ts_event").cast(pl.Int64), "open", "high", "low", "close", "volume")
    return {row[0]: row[1:] for row in columns.iter_rows()}


def prices_of(bars: list[Bar]) -> tuple[float, ...]:
    """Open, high, low, close and volume of bars in a row, as one."""
    high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
    return bars[0].open, high, low, bars[-1].close, sum(bar.volume for bar in bars)


REAL = [("ES", "ESZ3", "ES_lean_2013.parquet"), ("ES", "ESH4", "ES_lean_2013.parquet")]
REAL += [("GC", "GCZ3", "GC_lean_2013.parquet"), ("GC", "GCV3", "GC_lean_2013.parquet")]


@needs_recorded_data
@pytest.mark.parametrize(("root", "symbol", "name"), REAL, ids=[symbol for _, symbol, _ in REAL])
def test_hours_folded_from_real_minutes_are_the_recorded_hours(root: str, symbol: str, name: str) -> None:
    """All five columns of every hour. The source leaves out the last 15 minutes of a day, from 16:00 Chicago."""
    wanted = recorded("bars_1h", root, symbol)
    hours = [bar for bar in hub_bars(root, symbol, name) if bar.timeframe == "hourly"]
    span = [bar for bar in hours if bar.ts_open <= max(wanted)]
    missing = [bar.ts_open for bar in span if bar.ts_open not in wanted]
    assert len(wanted) >= 27
    assert {ts: found for ts, found in ((bar.ts_open, prices_of([bar])) for bar in span) if ts in wanted} == wanted
    assert {datetime.fromtimestamp(ts // 10**9, CHICAGO).hour for ts in missing} <= {16}


@needs_recorded_data
@pytest.mark.parametrize(("root", "symbol", "name"), REAL, ids=[symbol for _, symbol, _ in REAL])
def test_days_folded_from_real_minutes_are_the_hours_of_their_trade_date(root: str, symbol: str, name: str) -> None:
    bars = hub_bars(root, symbol, name)
    days = [bar for bar in bars if bar.timeframe == "daily"]
    assert days
    for day in days:
        hours = [bar for bar in bars if bar.timeframe == "hourly" and day.ts_open <= bar.ts_open < day.ts_close]
        assert prices_of([day]) == prices_of(hours)
        assert {trade_date(bar.ts_open) for bar in hours} == {trade_date(day.ts_open)}


@needs_recorded_data
def test_the_recorded_days_of_gold_are_the_same_hours_cut_at_midnight_utc() -> None:
    """The source's day is the UTC day, which no session is, without the last 15 minutes of the trade date."""
    hours = [bar for bar in hub_bars("GC", "GCZ3", "GC_lean_2013.parquet") if bar.timeframe == "hourly"]
    for ts, wanted in recorded("bars_1d", "GC", "GCZ3").items():
        own = [bar for bar in hours if ts <= bar.ts_open < ts + 24 * HOUR_NS]
        own = [bar for bar in own if datetime.fromtimestamp(bar.ts_open // 10**9, CHICAGO).hour != 16]
        assert prices_of(own) == wanted


@needs_recorded_data
def test_the_recorded_days_of_es_open_with_the_pit_and_lie_within_our_trade_dates() -> None:
    """The source's ES day begins 08:30 and ends with the settlement; its volume is another feed's. Sunday is apart."""
    days = {
        trade_date(bar.ts_open): bar
        for bar in hub_bars("ES", "ESZ3", "ES_lean_2013.parquet")
        if bar.timeframe == "daily"
    }
    pl = pytest.importorskip("polars")
    minutes = pl.read_parquet(RECORDED_DATA / "bars_1m" / "ES_lean_2013.parquet").filter(pl.col("symbol") == "ESZ3")
    opens = dict(minutes.select(pl.col("ts_event").cast(pl.Int64), "open").rows())
    checked = 0
    for ts, (first, high, low, last, _) in recorded("bars_1d", "ES", "ESZ3").items():
        day = datetime.fromtimestamp(ts // 10**9, UTC).date()
        if day.weekday() == 6:
            continue
        assert first == opens[chicago(f"{day} 08:30")]
        assert days[day].low <= low <= last <= high <= days[day].high
        checked += 1
    assert checked == 5
