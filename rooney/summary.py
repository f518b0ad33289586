"""`rooney report`: what each strategy did in one trade date, as text; from the ledgers alone."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta

from rooney.errors import LedgerError
from rooney.ledgerview import Day
from rooney.sessions import CHICAGO, trade_date

_CLOSE = time(16)  # of the last product
_TURN = time(17)  # one trade date ends, the next begins


def last_ended(now_ns: int) -> date:
    """The newest trade date that is over."""
    day = trade_date(now_ns)
    if now_ns >= _ns(day, _CLOSE):
        return day
    day -= timedelta(days=1)
    return day - timedelta(days=max(0, day.weekday() - 4))


def span(day: date) -> tuple[int, int]:
    """A CME trade date: 17:00 the day before to 17:00 Chicago, UTC ns [begin, end)."""
    return _ns(day - timedelta(days=1), _TURN), _ns(day, _TURN)


def _ns(day: date, at: time) -> int:
    return int(datetime.combine(day, at, CHICAGO).astimezone(UTC).timestamp()) * 1_000_000_000


def lines(day: date, found: Mapping[str, Day | LedgerError | None]) -> list[str]:
    """One line per strategy and a sum. P&L is an estimate: fills are never reported back."""
    text = [f"trade date {day.isoformat()} (P&L estimated: no fills are reported back)"]
    total = 0.0
    for name, one in found.items():
        if isinstance(one, LedgerError):
            text.append(f"{name:<12}{one}")
        elif one is None:
            text.append(f"{name:<12}no ledger yet")
        else:
            total += one.pnl_usd
            orders = ", ".join(f"{number} {state}" for state, number in one.orders.items()) or "none"
            won = f" ({one.winners} won)" if one.trades else ""
            text.append(f"{name:<12}{one.pnl_usd:+12.2f} USD  trades {one.trades}{won}  orders {orders}")
    return [*text, f"{'all':<12}{total:+12.2f} USD"]
