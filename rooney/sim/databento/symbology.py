"""Which instruments a requested symbol means, and which of them a session gets from when on."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date

import msgspec
import numpy as np

from rooney.market.instruments import parse_contract
from rooney.sim.databento.sources import Instrument
from rooney.sim.databento.wire import UNDEF_TIMESTAMP, Trades, mapping

ALL_SYMBOLS = "ALL_SYMBOLS"
_CONTINUOUS = re.compile(r"^([A-Z0-9]+)\.([cnv])\.(\d+)$")


def resolve(
    stype_in: str, symbol: str, instruments: Sequence[Instrument], on: date, volumes: Callable[[], Mapping[str, int]]
) -> list[Instrument]:
    """The instruments that `symbol` stands for on a day; none if it is unknown.

    volumes: gives contracts traded per raw symbol, the rank for `v`. Open interest is not known here: `n` ranks by
    volume as well.
    """
    if symbol == ALL_SYMBOLS:
        return list(instruments)
    if stype_in == "raw_symbol":
        return [instrument for instrument in instruments if instrument.raw == symbol]
    if stype_in == "instrument_id":
        return [instrument for instrument in instruments if str(instrument.instrument_id) == symbol]
    if stype_in == "parent":
        return [instrument for instrument in instruments if f"{instrument.root}.FUT" == symbol]
    match = _CONTINUOUS.match(symbol)
    if stype_in != "continuous" or match is None:
        return []
    root, rule, rank = match.groups()
    ranked = [
        (contract, instrument)
        for instrument in instruments
        if instrument.root == root and (contract := parse_contract(instrument.raw, on)) is not None
    ]
    ranked.sort(key=lambda pair: pair[0])
    if rule != "c":
        traded = volumes()
        ranked.sort(key=lambda pair: -traded.get(pair[1].raw, 0))
    return [instrument for _, instrument in ranked[int(rank) : int(rank) + 1]]


class Grant(msgspec.Struct, frozen=True):
    """A symbol that was asked for, and one of the instruments it means."""

    stype_in: str
    requested: str
    instrument: Instrument

    def mapping(self, ts_event: int) -> bytes:
        return mapping(ts_event, self.instrument.instrument_id, self.stype_in, self.requested, self.instrument.raw)


class Subscriptions:
    """Share of a session: its grants, and per instrument the first ts_event (UTC ns) that is sent."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        ordered = sorted(instruments, key=lambda instrument: instrument.instrument_id)
        self.granted: list[Grant] = []
        self._ids = np.array([instrument.instrument_id for instrument in ordered], np.uint32)
        self._spread = np.array([not instrument.outright for instrument in ordered])
        self._from_ns = np.full(len(ordered), UNDEF_TIMESTAMP, np.uint64)

    def add(self, grants: Sequence[Grant], from_ns: int) -> None:
        """Send these from `from_ns` on, or from earlier if that was asked before."""
        self.granted.extend(grants)
        at = np.searchsorted(self._ids, [grant.instrument.instrument_id for grant in grants])
        self._from_ns[at] = np.minimum(self._from_ns[at], np.uint64(max(from_ns, 0)))

    def pick(self, trades: Trades) -> Trades:
        """Those of `trades` that are sent, a copy."""
        from_ns = self._from_ns[np.searchsorted(self._ids, trades["instrument_id"])]
        picked: Trades = trades[trades["ts_event"] >= from_ns]
        return picked

    def count_spreads(self, trades: Trades) -> int:
        return int(np.count_nonzero(self._spread[np.searchsorted(self._ids, trades["instrument_id"])]))
