"""Text for people and files: instants, sizes, prices, money, tables; and what services answer."""

import json
import math
import time
from collections.abc import Collection, Sequence
from email.utils import parsedate_to_datetime
from typing import Any


def iso_minute(ts_ns: int) -> str:
    """2026-03-11T15:02Z"""
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(ts_ns // 1_000_000_000))


def iso_second(ts_ns: int) -> str:
    """2026-03-11T15:02:07Z"""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ts_ns // 1_000_000_000))


def iso(ts_ns: int) -> str:
    """2026-03-11T15:02:07+00:00, as results of research are written"""
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(ts_ns // 1_000_000_000))


def minute_text(ts_ns: int) -> str:
    """2026-03-11 15:02Z"""
    return time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(ts_ns // 1_000_000_000)) if ts_ns else "never"


def second_text(ts_ns: int) -> str:
    """2026-03-11 15:02:07Z"""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(ts_ns // 1_000_000_000)) if ts_ns else "never"


def size_text(side: int, quantity: int) -> str:
    """long 2, short 1, flat"""
    return f"{'long' if side > 0 else 'short'} {quantity}" if side else "flat"


def price_text(value: float) -> str:
    """All the digits that a price has: they are whole 1e-9."""
    return f"{value:.9f}".rstrip("0").rstrip(".") if abs(value) < 1e12 else f"{value:.10g}"


def usd_text(value: float) -> str:
    """+1,234.50"""
    return f"{value:+,.2f}"


def table(rows: Sequence[Sequence[str]], indent: str = "  ", right: Collection[int] = ()) -> list[str]:
    """Lines with columns as wide as their widest cell. right: columns whose cells end at the same place."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        (
            indent
            + "  ".join(
                cell.rjust(width) if k in right else cell.ljust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
        ).rstrip()
        for row in rows
    ]


def json_object(body: str | bytes) -> dict[str, Any]:
    """A service's answer as a JSON object, empty if it is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):  # a thousand brackets
        return {}
    return value if isinstance(value, dict) else {}


def retry_after_s(value: str, date: str) -> float:
    """Seconds that a `Retry-After` header asks to wait (RFC 9110, 10.2.3); 0 if it says nothing that can be read.

    value: seconds, or a date
    date:  the answer's own `Date`: a date is meant by the clock of whoever sent it
    """
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds(value) - _seconds(date or value)
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _seconds(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return 0.0
