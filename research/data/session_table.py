"""`python -m research.data.session_table`: write `rooney/market/sessions.csv`, the one table of sessions.

Three sources, in this order of trust:

1. REGULAR, CORRECTIONS and the rules of `_grains` here: what the exchange announced and the calendars do not know.
   Each has its reason; most were confirmed by the last traded hour of those days in recorded data.
2. pandas-market-calendars: holidays and early closes.
3. exchange_calendars (`CMES`): checked against, not read from; `differences` lists where it disagrees.

A day that is not regular and whose reason cannot be named stops the generator: nothing gets into the table unexplained.
"""

import argparse
import warnings
from collections.abc import Iterator
from datetime import date, time, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rooney.market.sessions import GROUPS, TABLE, Hours, Table, parse_hours, read_table

FIRST = date(2008, 1, 1)
YEARS_AHEAD = 2

CALENDARS = {
    "energy": ("CMEGlobex_CL", "CMEGlobex_NG"),
    "equity": ("CME Globex Equity",),
    "fx": ("CMEGlobex_FX",),
    "metals": ("CMEGlobex_GC", "CMEGlobex_SI", "CMEGlobex_HG", "CMEGlobex_PL"),
    "rates": ("CME Globex Fixed Income",),
}
BUSINESS_DAYS = "CME_TradeDate"

# (since, group, hours, hours of Fridays if others, reason)
REGULAR = [
    (
        FIRST,
        "equity",
        "17:00-15:15 15:30-16:30",
        "17:00-15:15",
        "until 2012 the next trade date began at 15:30; it is"
        " counted to the day here, so that trade dates change at 17:00 for all",
    ),
    (date(2012, 11, 19), "equity", "17:00-15:15 15:30-16:15", "", "the day ends 16:15, on Fridays too"),
    (date(2015, 9, 21), "equity", "17:00-15:15 15:30-16:00", "", "maintenance begins 16:00"),
    (date(2021, 6, 28), "equity", "17:00-16:00", "", "the halt at 15:15 is abolished"),
    (FIRST, "fx", "17:00-16:00", "", "regular week"),
    (FIRST, "rates", "17:00-16:00", "", "regular week"),
    (FIRST, "energy", "17:00-16:15", "", "regular week"),
    (date(2015, 9, 21), "energy", "17:00-16:00", "", "maintenance begins 16:00"),
    (FIRST, "metals", "17:00-16:15", "", "regular week"),
    (date(2015, 9, 21), "metals", "17:00-16:00", "", "maintenance begins 16:00"),
    (FIRST, "grains", "18:00-07:15 09:30-13:15", "", "regular week"),
    (date(2012, 5, 21), "grains", "17:00-14:00", "", "extended to 21 hours"),
    (date(2013, 4, 8), "grains", "19:00-07:45 08:30-13:15", "", "night and day again"),
    (date(2015, 7, 6), "grains", "19:00-07:45 08:30-13:20", "", "the day ends 13:20"),
]

BUSH = "National Day of Mourning for George H. W. Bush (exchange notice of 2018-12-02)"
CARTER = "National Day of Mourning for Jimmy Carter (exchange notice of 2024-12-30)"
SANDY = "Hurricane Sandy (exchange notices of 2012-10-28 and -29)"
# (day, groups, hours, reason); hours empty: closed.
CORRECTIONS = [
    (date(2010, 4, 2), "fx", "17:00-10:15", "Good Friday"),  # francs and Canadian dollars traded on these three
    (date(2010, 12, 31), "fx", "17:00-12:15", "New Year's Eve"),  # likewise, to that hour
    (date(2012, 4, 6), "fx", "17:00-10:15", "Good Friday"),
    (date(2012, 7, 3), "equity", "17:00-12:15 15:30-16:30", "the day before Independence Day"),  # the Dow traded again
    (date(2012, 10, 29), "equity", "17:00-08:15", SANDY),
    (date(2012, 10, 29), "rates", "17:00-11:00", SANDY),
    (date(2012, 10, 30), "equity", "17:00-08:15", SANDY),
    (date(2015, 4, 3), "fx", "17:00-10:15", "Good Friday"),
    (date(2018, 12, 5), "equity", "17:00-08:30", BUSH),
    (date(2018, 12, 5), "rates", "", BUSH),
    (date(2025, 1, 9), "equity", "17:00-08:30", CARTER),
    (date(2025, 1, 9), "grains", "19:00-07:45 08:30-12:15", CARTER),
    (date(2025, 1, 9), "rates", "17:00-12:15", CARTER),
]
# No business days to the calendars; the groups that were not named in the notices traded them as any other.
TRADE_DATES_AFTER_ALL = {date(2018, 12, 5), date(2025, 1, 9)}

# Before this holiday NYMEX and COMEX traded holidays to the regular close: exchange notice of 2007-08-20, and silver
# to the last hour on both holidays of early 2009.
ENERGY_METALS_HOLIDAY_REGULAR_UNTIL = date(2009, 5, 25)
# On holidays before this one NYMEX and COMEX halted at 12:15, 15 minutes after what the calendars say: brokers'
# schedules of 2013, and copper and silver trade in that hour until Presidents' Day 2014 and not on Thanksgiving 2014.
ENERGY_METALS_HOLIDAY_CLOSE_UNTIL = date(2014, 5, 26)
# The calendars have no early close of energy and metals on Christmas Eve before 2026. Silver and copper traded to the
# same hour (12:45) on every one from 2009 on.
ENERGY_METALS_CHRISTMAS_EVE_SINCE = date(2009, 12, 24)
# Since 2022 they halt at 13:30 on holidays; the calendars have that for Labor Day in 2026 only, schedules of 2025 too.
ENERGY_METALS_LABOR_DAY_SINCE = date(2022, 1, 1)
# Grains closed 12:00 until the close of the day moved to 13:20, 12:05 since; wheat traded past 12:00 on 2015-07-02.
GRAIN_EARLY_CLOSE_MOVED = date(2015, 7, 1)
# Days before a holiday on which grains closed early, beyond Christmas Eve and the Friday after Thanksgiving.
GRAIN_EARLY_CLOSES = [
    *(date(year, 7, 3) for year in (2013, 2014, 2017, 2018, 2019, 2023, 2024, 2025, 2028)),
    date(2015, 7, 2),
    date(2016, 12, 23),
    date(2017, 12, 22),
    date(2020, 7, 2),
]
GRAIN_LATE_OPENS = [date(2014, 7, 7)]  # after a Friday, 4 July, there was no Sunday night either

Day = tuple[Hours, str]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m research.data.session_table", description=__doc__.splitlines()[0])
    parser.add_argument("--last", type=date.fromisoformat, help="last day of the table (default: two years ahead)")
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    last = options.last or date(date.today().year + YEARS_AHEAD, 12, 31)
    options.out.write_text(render(last), encoding="utf-8")
    found = read_table(options.out)
    print(f"{options.out}: {found.first} to {found.last}, {len(found.holidays)} holidays, {len(found.days)} other days")
    for line in differences(found):
        print(f"exchange_calendars differs: {line}")
    return 0


def render(last: date) -> str:
    """The table's text from FIRST to `last`, inclusive."""
    holidays, days = _build(last)
    head = [
        "# Sessions of CME products, Chicago time, by `python -m research.data.session_table`; correct it there.",
        f"# pandas-market-calendars {version('pandas_market_calendars')}.",
        "#",
        "# kind,day,groups,hours,reason",
        "#   first, last   the days this table speaks of",
        "#   regular       hours of the week from that day on; friday: those of Fridays, where they differ",
        "#   holiday       no trade date: what trades then belongs to the next one; groups no `day` names are closed",
        "#   day           hours on a day that is not regular; empty = closed",
        "# A window that opens later than it closes opens on the evening before.",
    ]
    rows: list[tuple[date, int, str]] = [(FIRST, -2, f"first,{FIRST},,,"), (last, 9, f"last,{last},,,")]
    for since, group, hours, friday, reason in REGULAR:
        rows.append((since, 0, f"regular,{since},{group},{hours},{reason}"))
        if friday:
            rows.append((since, 0, f"friday,{since},{group},{friday},no trading after the halt on Fridays"))
    rows += [(day, 1, f"holiday,{day},,,{reason}") for day, reason in holidays.items()]
    shared: dict[tuple[date, Hours, str], list[str]] = {}
    for (day, group), (found, reason) in days.items():
        shared.setdefault((day, found, reason), []).append(group)
    for (day, found, reason), groups in shared.items():
        rows.append((day, 2, f"day,{day},{' '.join(sorted(groups))},{_text(found)},{reason}"))
    rows.sort(key=lambda row: row[:2])
    return "\n".join([*head, *(text for _, _, text in rows)]) + "\n"


def differences(found: Table) -> list[str]:
    """Where exchange_calendars' CMES disagrees about trade dates or full closures, over the years it covers."""
    import exchange_calendars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what pandas will change some day
        calendar = exchange_calendars.get_calendar("CMES", start=found.first.isoformat())
    sessions = {stamp.date() for stamp in calendar.sessions}
    lines = []
    for day in _weekdays(found.first, min(found.last, max(sessions))):
        trades = any(_hours(found, group, day) for group in GROUPS)
        if trades != (day in sessions):
            lines.append(f"{day} {found.holidays.get(day, 'regular')}: open here: {trades}, there: {day in sessions}")
    return lines


def _hours(found: Table, group: str, day: date) -> Hours:
    if day in found.holidays:
        return found.days.get((day, group), ())
    return found.days.get((day, group), _regular(group, day))


def _build(last: date) -> tuple[dict[date, str], dict[tuple[date, str], Day]]:
    closes = {group: _closes(names, last) for group, names in CALENDARS.items()}
    business = _schedule(BUSINESS_DAYS, last)
    holidays = {
        day: _holiday(day) for day in _weekdays(FIRST, last) if day not in business and day not in TRADE_DATES_AFTER_ALL
    }
    days: dict[tuple[date, str], Day] = {}
    for group, found in closes.items():
        for day in _weekdays(FIRST, last):
            close = found.get(day)
            if group in ("energy", "metals"):
                close = _energy_metals(day, close, day in holidays)
            hours = _cut(_regular(group, day), close) if close is not None else ()
            usual = () if day in holidays else _regular(group, day)
            if hours != usual:
                days[day, group] = hours, holidays.get(day) or _early(day)
    days |= {(day, "grains"): found for day, found in _grains(holidays, last)}
    days |= {(day, group): (parse_hours(text), reason) for day, group, text, reason in CORRECTIONS if day <= last}
    return holidays, days


def _closes(names: tuple[str, ...], last: date) -> dict[date, time | None]:
    """Day → time of an early close, time.max for the regular one; days without a session are absent."""
    first, *others = (_schedule(name, last) for name in names)
    for name, other in zip(names[1:], others, strict=True):
        if other != first:
            raise SystemExit(f"{names[0]} and {name} have different days: their products need groups of their own")
    return {day: time.max if close == time(16) else close for day, close in first.items()}


def _schedule(name: str, last: date) -> dict[date, time]:
    import pandas_market_calendars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what pandas will change some day
        calendar: Any = pandas_market_calendars.get_calendar(name)
        rows = calendar.schedule(FIRST.isoformat(), last.isoformat(), tz="America/Chicago")
    return {stamp.date(): close.time() for stamp, close in rows["market_close"].items()}


def _energy_metals(day: date, close: time | None, holiday: bool) -> time | None:
    if holiday and close == time(12) and day < ENERGY_METALS_HOLIDAY_REGULAR_UNTIL:
        return time.max
    if holiday and close == time(12) and day < ENERGY_METALS_HOLIDAY_CLOSE_UNTIL:
        return time(12, 15)
    if day >= ENERGY_METALS_CHRISTMAS_EVE_SINCE and (day.month, day.day) == (12, 24) and close == time.max:
        return time(12, 45)
    if day >= ENERGY_METALS_LABOR_DAY_SINCE and holiday and day.month == 9 and close == time(12):
        return time(13, 30)
    return close


def _grains(holidays: dict[date, str], last: date) -> Iterator[tuple[date, Day]]:
    """Grains are closed on holidays; around some of them they close early, and skip the night after."""
    for day in _weekdays(FIRST, last):
        if day in holidays:
            continue
        hours, reason = _regular("grains", day), ""
        if _is_christmas_eve(day) or _is_after_thanksgiving(day) or day in GRAIN_EARLY_CLOSES:
            hours = _cut(hours, time(12) if day < GRAIN_EARLY_CLOSE_MOVED else time(12, 5))
            reason = "the day before a holiday" if day in GRAIN_EARLY_CLOSES else _early(day)
        if _skips_night(day - timedelta(days=1)) or day in GRAIN_LATE_OPENS:
            day_opens = time(9, 30) if hours[0][0] <= time(18) else time(8, 30)
            hours = ((day_opens, hours[-1][1]),)
            reason = reason or "no night session after a holiday"
        if reason:
            yield day, (hours, reason)


def _skips_night(day: date) -> bool:
    """After New Year's Day, 4 July, Thanksgiving and Christmas, not the days they are observed on, no night follows."""
    return (day.month, day.day) in ((1, 1), (7, 4), (12, 25)) or _is_thanksgiving(day)


def _regular(group: str, day: date) -> Hours:
    found = ""
    for since, of, hours, friday, _ in REGULAR:
        if of == group and since <= day:
            found = friday if friday and day.weekday() == 4 else hours
    return parse_hours(found)


def _cut(hours: Hours, close: time) -> Hours:
    """Hours up to an early close; time.max leaves them as they are."""
    if close == time.max:
        return hours
    return tuple((opens, min(closes, close)) for opens, closes in hours if opens > closes or opens < close)


def _text(hours: Hours) -> str:
    return " ".join(f"{opens:%H:%M}-{closes:%H:%M}" for opens, closes in hours)


def _weekdays(first: date, last: date) -> Iterator[date]:
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        if day.weekday() < 5:
            yield day


def _is_thanksgiving(day: date) -> bool:
    return day.month == 11 and day.weekday() == 3 and 22 <= day.day <= 28


def _is_after_thanksgiving(day: date) -> bool:
    return _is_thanksgiving(day - timedelta(days=1))


def _is_christmas_eve(day: date) -> bool:
    return (day.month, day.day) == (12, 24)


def _holiday(day: date) -> str:
    """Name of a holiday. Raises SystemExit for a day that has none."""
    from dateutil.easter import easter

    nth = (day.day - 1) // 7 + 1
    near = {day + timedelta(days=offset) for offset in (-1, 0, 1)}
    if day == easter(day.year) - timedelta(days=2):
        return "Good Friday"
    if day.weekday() == 0:
        name = {(1, 3): "Martin Luther King Jr. Day", (2, 3): "Presidents' Day", (9, 1): "Labor Day"}.get(
            (day.month, nth)
        )
        if name is not None:
            return name
        if day.month == 5 and day.day > 24:
            return "Memorial Day"
    if _is_thanksgiving(day):
        return "Thanksgiving"
    for month, number, name in (
        (1, 1, "New Year's Day"),
        (6, 19, "Juneteenth"),
        (7, 4, "Independence Day"),
        (12, 25, "Christmas"),
    ):
        if date(day.year, month, number) in near:
            return name if (day.month, day.day) == (month, number) else f"{name} observed"
    raise SystemExit(f"{day} is no business day of the exchange: name its reason here first")


def _early(day: date) -> str:
    """Reason of an early close on a trade date. Raises SystemExit for a day that has none."""
    if _is_after_thanksgiving(day):
        return "the day after Thanksgiving"
    if _is_christmas_eve(day):
        return "Christmas Eve"
    if (day.month, day.day) == (7, 3):
        return "the day before Independence Day"
    if (day.month, day.day) == (12, 31):
        return "New Year's Eve"
    following = day + timedelta(days=3 if day.weekday() == 4 else 1)
    return f"the day before {_holiday(following)}"


if __name__ == "__main__":
    raise SystemExit(main())
