"""Codes of a bar's start on the exchange's wall clock: `update(s, n, local_ns) -> float`, without state.

local_ns: nanoseconds since 1970-01-01 00:00 as the wall clock of the exchange shows them. Codes: 1 yes, 2 no.
"""

from rooney.kernels.array_types import F64
from rooney.kernels.jit import njit
from rooney.kernels.units import DAY_NS, MINUTE_NS


@njit(cache=True)
def _minute(local_ns: int) -> int:
    return (local_ns % DAY_NS) // MINUTE_NS


@njit(cache=True)
def _month_and_day(local_ns: int) -> tuple[int, int]:
    """Hinnant, "chrono-compatible low-level date algorithms": years begin in March, so a leap day is their last."""
    days = local_ns // DAY_NS + 719_468
    of_era = days % 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    return (month + 2) % 12 + 1, of_year - (153 * month + 2) // 5 + 1


@njit(cache=True)
def date_number(s: F64, n: int, local_ns: int) -> float:
    """Days since 1970-01-01."""
    return float(local_ns // DAY_NS)


@njit(cache=True)
def weekday(s: F64, n: int, local_ns: int) -> float:
    """ISO weekday: Monday 1 to Sunday 7."""
    return float((local_ns // DAY_NS + 3) % 7 + 1)


@njit(cache=True)
def month(s: F64, n: int, local_ns: int) -> float:
    """Month, 1 to 12."""
    return float(_month_and_day(local_ns)[0])


@njit(cache=True)
def day(s: F64, n: int, local_ns: int) -> float:
    """Day of the month, 1 to 31."""
    return float(_month_and_day(local_ns)[1])


@njit(cache=True)
def day_after(s: F64, n: int, local_ns: int) -> float:
    """1 when the day of the month is after n, else 2."""
    return 1.0 if _month_and_day(local_ns)[1] > n else 2.0


@njit(cache=True)
def week_start(s: F64, n: int, local_ns: int) -> float:
    """1 on Monday and Tuesday, else 2."""
    return 1.0 if (local_ns // DAY_NS + 3) % 7 < 2 else 2.0


@njit(cache=True)
def even_odd(s: F64, n: int, local_ns: int) -> float:
    """1 on an even day of the month, 2 on an odd one."""
    return 1.0 if _month_and_day(local_ns)[1] % 2 == 0 else 2.0


@njit(cache=True)
def hhmm(s: F64, n: int, local_ns: int) -> float:
    """Time of day as 100 x hour + minute: 1500.0 is 15:00."""
    minute = _minute(local_ns)
    return float(100 * (minute // 60) + minute % 60)


@njit(cache=True)
def session_code(s: F64, n: int, local_ns: int) -> float:
    """1 before 08:00, 2 from 08:00, 4 from 15:00, 3 from 17:00."""
    hour = _minute(local_ns) // 60
    return 1.0 if hour < 8 else 2.0 if hour < 15 else 4.0 if hour < 17 else 3.0


@njit(cache=True)
def open_close(s: F64, n: int, local_ns: int) -> float:
    """1 in the hour from 08:00, 2 in the hour from 14:00, else 0."""
    hour = _minute(local_ns) // 60
    return 1.0 if hour == 8 else 2.0 if hour == 14 else 0.0
