"""Times as tests write them."""

from datetime import datetime
from zoneinfo import ZoneInfo

CHICAGO = ZoneInfo("America/Chicago")


def chicago(text: str) -> int:
    """`2026-03-11 10:00` in Chicago, UTC ns."""
    return int(datetime.fromisoformat(text).replace(tzinfo=CHICAGO).timestamp()) * 1_000_000_000
