"""Names and lengths of what the hub keeps in Redis."""

from datetime import date

TAPE = "market:tape"
STATUS = "hub:status"
WRITTEN = "hub:written"
FRONTS = "hub:front"
HISTORY_LENGTH = {"1min": 15_000, "hourly": 6_500, "daily": 1_400}  # ≥ 10 sessions, 1 year, 5 years
TAPE_LENGTH = 15_000
STATUS_TTL_S = 15


def market_key(symbol: str, timeframe: str) -> str:
    """Stream and channel of one instrument's bars."""
    return f"market:{symbol}:{timeframe}"


def volumes_key(root: str, day: date) -> str:
    """Volume per contract number of one trade date."""
    return f"hub:volume:{root}:{day.isoformat()}"


def last_prices_key(root: str) -> str:
    """Last price per contract number, in points."""
    return f"hub:last:{root}"


_LAST_OF_MS = 999_999
_MAX_ID = 2**64 - 1


def entry_id(ts_ns: int) -> str:
    """Id of a stream's entry at a time in UTC ns: milliseconds, and what is over as the number within one."""
    ms, number = divmod(ts_ns, 1_000_000)
    return f"{min(ms, _MAX_ID)}-{_MAX_ID if number == _LAST_OF_MS else number}"


def time_ns(id_: bytes) -> int:
    """Time of a stream's entry by its id, UTC ns; never a whole millisecond unless the id ends in -0."""
    ms, number = id_.split(b"-")
    return int(ms) * 1_000_000 + min(int(number), _LAST_OF_MS)
