"""One-minute bars of the synthetic market: of each root's front contract, by time, then in the order of its roots."""

from datetime import date

import numpy as np

from rooney.market.bars import PRICE_SCALE
from rooney.market.instruments import Contract, parse_contract
from rooney.market.messages import Bar
from rooney.market.sessions import MINUTE_NS, previous_trade_date
from rooney.sim.databento.sources import root_of
from rooney.sim.market import Market


def leader(market: Market, root: str, day: date) -> Contract:
    """The contract with most of the root's volume on a trade date."""
    volumes = market.day_volumes(day)
    contracts = {parse_contract(raw, day): volume for raw, volume in volumes.items() if root_of(raw) == root}
    return max((contract for contract in contracts if contract is not None), key=contracts.__getitem__)


def held(market: Market, root: str, day: date) -> Contract:
    """The contract that most volume was in on the trade date before."""
    return leader(market, root, previous_trade_date(day))


def bars(market: Market, day: date) -> list[Bar]:
    """Bars of one trade date, folded trade by trade."""
    session = Market(market.seed, day, trades_per_minute=market.trades_per_minute, roots=market.roots)
    trades = np.concatenate(list(session.batches(0)))
    columns: list[tuple[int, int, Bar]] = []
    for order, root in enumerate(session.roots):
        raw = held(market, root, day).raw
        number = next((one.instrument_id for one in session.instruments if one.raw == raw), 0)
        mine = trades[trades["instrument_id"] == number]
        minute = mine["ts_recv"].astype(np.int64) // MINUTE_NS * MINUTE_NS
        starts = np.flatnonzero(np.diff(minute, prepend=-1))
        for part in np.split(mine, starts[1:]) if len(mine) else ():
            opened = int(part["ts_recv"][0]) // MINUTE_NS * MINUTE_NS
            first, high, low, last = (
                int(price) / PRICE_SCALE
                for price in (part["price"][0], part["price"].max(), part["price"].min(), part["price"][-1])
            )
            volume, count = int(part["size"].sum()), len(part)
            bar = Bar(root, raw, "1min", opened, opened + MINUTE_NS, first, high, low, last, volume, count)
            columns.append((opened, order, bar))
    columns.sort(key=lambda column: column[:2])
    return [bar for _, _, bar in columns]
