"""Minutes as the hub publishes them whole: bars, rolls, volumes and front contracts."""

from datetime import date

from rooney.market.instruments import Contract
from rooney.market.messages import Bar, Minute, Roll
from rooney.market.sessions import MINUTE_NS, session_open_ns
from rooney.market.tape import ContractCount, Published

DAY = date(2026, 3, 11)
OPEN = session_open_ns("equity", DAY)
ESH6 = Contract("ES", 2026, 3)
ESM6 = Contract("ES", 2026, 6)


def bar(i: int, timeframe: str = "1min", symbol: str = "ES") -> Bar:
    """The bar of minute `i` of the session."""
    ts_open = OPEN + i * MINUTE_NS
    return Bar(symbol, "ESH6", timeframe, ts_open, ts_open + MINUTE_NS, 1.0, 2.0 + i, 0.5, 1.5 + i, 7, 3)


def published(i: int, *bars: Bar, rolls: tuple[Roll, ...] = ()) -> Published:
    """Minute `i` of the session, with these bars or its own of ES."""
    minute = Minute(OPEN + (i + 1) * MINUTE_NS, list(rolls), list(bars) or [bar(i)], {"ES": 1}, 0, 1, 2)
    counts = [ContractCount(ESH6, DAY, 10, 6800.1), ContractCount(ESM6, DAY, 3, 6850.25)]
    return Published(minute, counts, {"ES": ESH6})
