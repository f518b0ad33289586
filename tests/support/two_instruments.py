"""An hour of ES and NQ whose prices a test names, as a gateway plays it."""

from collections.abc import Sequence

import numpy as np

from rooney.market.sessions import MINUTE_NS
from rooney.sim.databento.sources import Instrument, Recorded
from rooney.sim.databento.wire import PRICE_SCALE, empty_trades
from tests.support.minutes import QUIET
from tests.support.times import chicago

SECOND = 1_000_000_000
START = chicago("2026-03-11 10:00")
MINUTES = 60
END = START + MINUTES * MINUTE_NS
SPEED = 600.0


def market(prices: dict[int, float], quiet: Sequence[int] = ()) -> Recorded:
    """ES and NQ, a trade every ten seconds, at 100 but in the minutes named; in `quiet` ones ES does not trade."""
    rows = [
        (number, START + k * MINUTE_NS + (10 * i + 1) * SECOND, prices.get(k, QUIET) if number == 1 else QUIET)
        for k in range(MINUTES)
        for i in range(6)
        for number in (1, 2)
        if number == 2 or k not in quiet
    ]
    trades = empty_trades(len(rows))
    trades["instrument_id"], trades["ts_recv"], price = (np.array(column) for column in zip(*rows, strict=True))
    trades["ts_event"] = trades["ts_recv"] - 1_000_000
    trades["price"] = np.rint(price * PRICE_SCALE)
    trades["size"], trades["sequence"] = 1, np.arange(len(rows))
    return Recorded(trades, [Instrument(1, "ESM6", "ES"), Instrument(2, "NQM6", "NQ")])
