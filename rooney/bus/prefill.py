"""History into Redis: what a worker warms up from before there was a hub, or when Redis has lost it.

Only what is missing is added, in its place in time, so filling twice changes nothing and a running hub may be filled
beside: what it published stays. Where the bars come from is the caller's affair (`rooney data fill`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from rooney.bus.keys import HISTORY_LENGTH, market_key
from rooney.bus.publisher import Publisher
from rooney.market.instruments import Contract
from rooney.market.messages import Bar, Roll, encode
from rooney.market.tape import ContractCount
from rooney.market.timeframes import TIMEFRAMES

# What the histories promise: ten sessions, a year, five years; fewer is said, not refused.
ENOUGH = {"1min": 13_800, "hourly": 5_800, "daily": 1_250}


class Filled(msgspec.Struct, frozen=True):
    """Outcome of filling an instrument.

    new:   entries added per stream: the timeframes and `roll`
    held:  bars per timeframe that are there now
    """

    symbol: str
    new: dict[str, int]
    held: dict[str, int]

    @property
    def short(self) -> list[str]:
        """Timeframes with less history than promised: what needs that much is not warm at once."""
        return [timeframe for timeframe in TIMEFRAMES if self.held[timeframe] < ENOUGH[timeframe]]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**msgspec.structs.asdict(self), "short": self.short}

    def text(self) -> str:
        """For a person."""
        held = ", ".join(f"{self.held[name]:,} {name} (+{self.new[name]:,})" for name in TIMEFRAMES)
        short = f"; less than promised of {', '.join(self.short)}" if self.short else ""
        return f"{self.symbol:<5}{held}, {self.new['roll']} rolls new{short}"


def fill(
    bus: Publisher,
    symbol: str,
    bars: Mapping[str, Sequence[Bar]],
    rolls: Iterable[Roll],
    counts: Sequence[ContractCount],
    front: Contract,
) -> Filled:
    """Add what one instrument's streams lack. Raises BusError.

    bars:   per timeframe, closed ones only
    counts: volumes and last prices of the newest trade dates; with `front` they tell a first hub which contract to
            trade. Redis that knows the root's front contract keeps all it knows
    """
    new = {}
    for timeframe in TIMEFRAMES:
        entries = [(bar.ts_open, encode(bar)) for bar in bars.get(timeframe, ())]
        new[timeframe] = bus.merge(market_key(symbol, timeframe), "b", entries, HISTORY_LENGTH[timeframe])
    new["roll"] = bus.merge(market_key(symbol, "roll"), "r", [(roll.ts, encode(roll)) for roll in rolls])
    if symbol not in bus.fronts():
        bus.add_contracts(counts, [front])
    held = {timeframe: bus.length(market_key(symbol, timeframe)) for timeframe in TIMEFRAMES}
    return Filled(symbol, new, held)
