"""`python -m research.data.session_table`: write `rooney/market/sessions.csv`, the one table of sessions.

Sources, in this order of trust:

1. REGULAR, RULES, CORRECTIONS and the rules of `_grains` here: what the exchange announced and the calendars do not
   know. Each has its reason; most were confirmed by the last traded hour of those days in recorded data.
2. pandas-market-calendars: holidays and early closes. Its calendar of grains knows no early close and no Juneteenth, so
   grains are ruled here.
3. Checked against, not read from: exchange_calendars (`CMES`, one calendar for all groups), and with `--compare FILE`
   the closes of another source, such as LEAN's market hours, cell by cell.

A difference is settled by a rule here (the exchange's for that kind of day, or recorded hours) or by a line in SETTLED,
or the day is disputed and has both closes in the table. What is none of these is printed. A day ahead is settled by
the exchange's own word only.

A day that is not regular and whose reason cannot be named stops the generator: nothing gets into the table unexplained.
"""

import argparse
import csv
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rooney.market.instruments import group_of
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
NEW_YORK_GROUPS = ("energy", "equity", "metals")  # LEAN keeps these in New York time

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

FOREVER, REGULAR_CLOSE = date.max, time.max
# Closes of a kind of day where the calendars have another: (since, until, groups, kind of day, their close, close). A
# kind is what the table calls the day, "holiday", or "Friday holiday".
RULES = [
    # NYMEX and COMEX traded holidays to the regular close: exchange notice of 2007-08-20, and silver to the last hour
    # on both holidays of early 2009.
    (FIRST, date(2009, 5, 25), "energy metals", "holiday", time(12), REGULAR_CLOSE),
    # Then they halted at 12:15: brokers' schedules of 2013, and copper and silver trade in that hour until Presidents'
    # Day 2014 and not on Thanksgiving 2014.
    (date(2009, 5, 25), date(2014, 5, 26), "energy metals", "holiday", time(12), time(12, 15)),
    # Silver and copper traded to that hour on every one; the calendars know it for 2026 only.
    (date(2009, 12, 24), FOREVER, "energy metals", "Christmas Eve", REGULAR_CLOSE, time(12, 45)),
    # As on their other holidays since 2022; the calendars know it for 2026 only, schedules of 2025 too.
    (date(2022, 1, 1), FOREVER, "energy metals", "Labor Day", time(12), time(13, 30)),
    # Nothing opens again on a Friday evening, so all stop when index futures do: the exchange's hours of 2026-06-19 and
    # 2026-07-03 (energy, metals), LEAN for all groups, news of the hours of 2025-07-04.
    (date(2022, 1, 1), FOREVER, "energy metals", "Friday holiday", time(13, 30), time(12)),
    (date(2022, 1, 1), date(2027, 1, 1), "fx", "Friday holiday", REGULAR_CLOSE, time(12)),
    # The exchange's hours of 2026-11-27 (energy, metals), LEAN for all three groups in 2025 and 2026.
    (date(2025, 1, 1), FOREVER, "energy metals", "the day after Thanksgiving", time(12, 45), time(13, 45)),
    (date(2025, 1, 1), FOREVER, "fx", "the day after Thanksgiving", time(12, 15), time(13, 45)),
    # LEAN for 2025 and 2026, news of the hours of 2025-12-24.
    (date(2025, 1, 1), FOREVER, "fx", "Christmas Eve", time(12, 15), time(12, 45)),
]
_FX_2015 = "calendars 16:00; LEAN 15:15"
_NOT_YET = "calendars 12:45; the exchange 13:45 in 2026 and nothing yet for this year"
# The earlier close of a kind of day whose sources disagree: (since, until, groups, kind of day, close, who says what).
# The calendar of fx says of itself that it is accurate to 2022.
DISPUTED = [
    (date(2015, 1, 1), date(2015, 6, 1), "fx", "the day before Martin Luther King Jr. Day", time(15, 15), _FX_2015),
    (date(2015, 1, 1), date(2015, 6, 1), "fx", "the day before Presidents' Day", time(15, 15), _FX_2015),
    (date(2015, 1, 1), date(2015, 6, 1), "fx", "the day before Memorial Day", time(15, 15), _FX_2015),
    (date(2025, 1, 1), FOREVER, "fx", "the day after Thanksgiving", time(12, 15), "calendars 12:15; LEAN 13:45"),
    (date(2026, 1, 1), FOREVER, "fx", "Christmas Eve", time(12, 15), "calendars 12:15; LEAN 12:45"),
    (date(2027, 1, 1), FOREVER, "fx", "Friday holiday", time(12), "calendars 16:00; LEAN 12:00"),
    (date(2027, 1, 1), FOREVER, "energy metals", "the day after Thanksgiving", time(12, 45), _NOT_YET),
]
# Where another source is wrong: (day, group) → what it says, and why not.
SETTLED = {
    (date(2015, 7, 2), "grains"): "LEAN 12:00; wheat traded past 12:00 by the recorded hours",
    (date(2024, 1, 2), "grains"): "LEAN closed; they trade on 2 January of every other year, and in the calendars",
    (date(2025, 12, 25), "energy"): "LEAN 16:00; all are closed on Christmas, its correction is on the way",
    (date(2025, 12, 25), "equity"): "LEAN 16:00; all are closed on Christmas, its correction is on the way",
}

# Grains closed 12:00 until the close of the day moved to 13:20, 12:05 since; wheat traded past 12:00 on 2015-07-02.
GRAIN_EARLY_CLOSE_MOVED = date(2015, 7, 1)
# Days before a holiday on which grains closed early, beyond Christmas Eve and the Friday after Thanksgiving. Since 2023
# 3 July is no such day: farm press of 2023, a data vendor's schedule of 2024, LEAN for 2025.
GRAIN_EARLY_CLOSES = [
    *(date(year, 7, 3) for year in (2013, 2014, 2017, 2018, 2019)),
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
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="another source: CSV of date,root,kind,exchange_time"
    )
    options = parser.parse_args()
    last = options.last or date(date.today().year + YEARS_AHEAD, 12, 31)
    options.out.write_text(render(last), encoding="utf-8")
    found = read_table(options.out)
    print(f"{options.out}: {found.first} to {found.last}, {len(found.holidays)} holidays, {len(found.days)} other days")
    for line in [*differences(found), *(unsettled(found, options.compare) if options.compare else ())]:
        print(f"differs: {line}")
    return 0


def render(last: date) -> str:
    """The table's text from FIRST to `last`, inclusive."""
    holidays, days, disputed = _build(last)
    head = [
        "# Sessions of CME products, Chicago time, by `python -m research.data.session_table`; correct it there.",
        f"# pandas-market-calendars {version('pandas_market_calendars')}.",
        "#",
        "# kind,day,groups,hours,reason",
        "#   first, last   the days this table speaks of",
        "#   regular       hours of the week from that day on; friday: those of Fridays, where they differ",
        "#   holiday       no trade date: what trades then belongs to the next one; groups no `day` names are closed",
        "#   day           hours on a day that is not regular; empty = closed",
        "#   disputed      the same with the earlier close, where sources disagree: entries and auto-close go by it",
        "# A window that opens later than it closes opens on the evening before.",
    ]
    rows: list[tuple[date, int, str]] = [(FIRST, -2, f"first,{FIRST},,,"), (last, 9, f"last,{last},,,")]
    for since, group, hours, friday, reason in REGULAR:
        rows.append((since, 0, f"regular,{since},{group},{hours},{reason}"))
        if friday:
            rows.append((since, 0, f"friday,{since},{group},{friday},no trading after the halt on Fridays"))
    rows += [(day, 1, f"holiday,{day},,,{reason}") for day, reason in holidays.items()]
    shared: dict[tuple[date, str, Hours, str], list[str]] = {}
    for kind, cells in (("day", days), ("disputed", disputed)):
        for (day, group), (found, reason) in cells.items():
            shared.setdefault((day, kind, found, reason), []).append(group)
    for (day, kind, found, reason), groups in shared.items():
        rows.append((day, 2, f"{kind},{day},{' '.join(sorted(groups))},{_text(found)},{reason}"))
    rows.sort(key=lambda row: row[:2])
    return "\n".join([*head, *(text for _, _, text in rows)]) + "\n"


def differences(found: Table) -> list[str]:
    """Where exchange_calendars' CMES, over its years, disagrees about trade dates, full closures or early closes."""
    import exchange_calendars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what pandas will change some day
        calendar = exchange_calendars.get_calendar("CMES", start=found.first.isoformat())
    sessions = {stamp.date() for stamp in calendar.sessions}
    early = {stamp.date() for stamp in calendar.early_closes}
    lines = []
    for day in _weekdays(found.first, min(found.last, max(sessions))):
        closes = {_close(found, group, day) for group in GROUPS}
        if (closes == {"closed"}) == (day in sessions) or (day in early and closes == {"regular"}):
            there = "early" if day in early else "regular" if day in sessions else "closed"
            lines.append(f"{day} {_name(day, found.holidays)}: here {'/'.join(sorted(closes))}, CMES {there}")
    return lines


def unsettled(found: Table, path: Path) -> list[str]:
    """Closes in a file of LEAN's market hours that the table neither has nor disputes, and that nothing settles.

    Its rows are (date, root, kind, exchange_time); kinds other than holiday and early_close say nothing of a close.
    """
    lines = []
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        day, group, says = date.fromisoformat(row["date"]), group_of(row["root"]), "closed"
        if row["kind"] not in ("holiday", "early_close") or day.weekday() >= 5 or (day, group) in SETTLED:
            continue  # weekend rows are cuts of a Sunday evening
        if row["kind"] == "early_close":
            at = time.fromisoformat(row["exchange_time"])
            says = _spelled(group, day, at.replace(hour=at.hour - (group in NEW_YORK_GROUPS)))
        if says not in ((here := _close(found, group, day)), str(found.disputed.get((day, group)))[:5]):
            lines.append(f"{day} {row['root']} ({group}): here {here}, {path.name} {says}")
    return lines


def _close(found: Table, group: str, day: date) -> str:
    """When a group closes on a weekday, in words."""
    hours = found.days.get((day, group), () if day in found.holidays else _regular(group, day))
    return _spelled(group, day, hours[-1][1]) if hours else "closed"


def _spelled(group: str, day: date, close: time) -> str:
    """A close in words; a later one than the regular is a cut of the evening after it."""
    return f"{close:%H:%M}" if close < _regular(group, day)[-1][1] else "regular"


def _build(last: date) -> tuple[dict[date, str], dict[tuple[date, str], Day], dict[tuple[date, str], Day]]:
    """Holidays, days that are not regular, and those of them with an earlier close in dispute."""
    closes = {group: _closes(names, last) for group, names in CALENDARS.items()}
    business = _schedule(BUSINESS_DAYS, last)
    holidays = {
        day: _holiday(day) for day in _weekdays(FIRST, last) if day not in business and day not in TRADE_DATES_AFTER_ALL
    }
    days: dict[tuple[date, str], Day] = {}
    disputed: dict[tuple[date, str], Day] = {}
    for group, found in closes.items():
        for day in _weekdays(FIRST, last):
            name = _name(day, holidays)
            kinds = (name, "holiday", f"{day:%A} holiday") if day in holidays else (name,)
            close = found.get(day)
            ruled = (rule for calendars, rule in _matching(RULES, day, group, kinds) if calendars == close)
            close = next(ruled, close)
            hours = _cut(_regular(group, day), close) if close is not None else ()
            usual = () if day in holidays else _regular(group, day)
            if hours != usual:
                if not name:
                    raise SystemExit(f"{day} is not regular for {group}: name its reason here first")
                days[day, group] = hours, name
            for earlier, who in _matching(DISPUTED, day, group, kinds):
                if _cut(hours, earlier) != hours:
                    disputed[day, group] = _cut(hours, earlier), who
    days |= {(day, "grains"): found for day, found in _grains(holidays, last)}
    corrected = {(day, group): (parse_hours(text), reason) for day, group, text, reason in CORRECTIONS if day <= last}
    return holidays, days | corrected, {cell: found for cell, found in disputed.items() if cell not in corrected}


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


def _grains(holidays: dict[date, str], last: date) -> Iterator[tuple[date, Day]]:
    """Grains are closed on holidays; around some of them they close early, and skip the night after."""
    for day in _weekdays(FIRST, last):
        if day in holidays:
            continue
        hours, reason = _regular("grains", day), ""
        name = "the day before a holiday" if day in GRAIN_EARLY_CLOSES else _name(day, holidays)
        if name in ("the day before a holiday", "Christmas Eve", "the day after Thanksgiving"):
            hours, reason = _cut(hours, time(12) if day < GRAIN_EARLY_CLOSE_MOVED else time(12, 5)), name
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


def _name(day: date, holidays: Mapping[date, str]) -> str:
    """What is special about a weekday; empty for any other."""
    if day in holidays or _is_thanksgiving(day - timedelta(days=1)):
        return holidays.get(day, "the day after Thanksgiving")
    following = day + timedelta(days=3 if day.weekday() == 4 else 1)
    before = f"the day before {holidays[following]}" if following in holidays else ""
    return {(12, 24): "Christmas Eve", (12, 31): "New Year's Eve"}.get((day.month, day.day), before)


def _matching(rows: Iterable[tuple[Any, ...]], day: date, group: str, kinds: Collection[str]) -> Iterator[list[Any]]:
    """What rows (since, until, groups, kind, …) say of a day of these kinds and a group."""
    for since, until, groups, kind, *says in rows:
        if since <= day < until and group in groups.split() and kind in kinds:
            yield says


if __name__ == "__main__":
    raise SystemExit(main())
