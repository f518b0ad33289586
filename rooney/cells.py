"""How times, sides and prices are written for people; the same in every verb."""

import time
from collections.abc import Sequence

from rooney.orders.intents import Side


def minute(ts_ns: int) -> str:
    """2026-03-11 15:02Z"""
    return time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(ts_ns // 1_000_000_000)) if ts_ns else "never"


def second(ts_ns: int) -> str:
    """2026-03-11 15:02:07Z"""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(ts_ns // 1_000_000_000)) if ts_ns else "never"


def size(side: Side | int, quantity: int) -> str:
    """long 2, short 1, flat"""
    return f"{Side(side).name.lower()} {quantity}" if side else "flat"


def price(value: float) -> str:
    """As many digits as the price has."""
    return f"{value:.10g}"


def usd(value: float) -> str:
    """+1,234.50"""
    return f"{value:+,.2f}"


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Lines with columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]
