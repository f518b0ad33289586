"""State that all sessions of a gateway share, and what is counted about each."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from rooney.sim.databento.market_clock import Clock
from rooney.sim.databento.sources import Source


class SessionStats(msgspec.Struct):
    """Counts of what a session was sent. `trades` includes `spreads`."""

    number: int
    trades: int = 0
    spreads: int = 0
    heartbeats: int = 0
    mappings: int = 0
    acks: int = 0
    errors: int = 0
    replays: int = 0
    definitions: int = 0
    bytes: int = 0
    first_ts_recv: int = 0  # of its trades, as on the wire, UTC ns
    last_ts_recv: int = 0
    finished: bool = False  # everything up to the end of the market was sent


class MinuteSent(msgspec.Struct, frozen=True):
    """When the first record that may close a minute was written to a session's socket.

    end_ns: the minute's end; ts_ns: the record's ts_recv or the heartbeat's ts_event (both as on the wire)
    wall_ns: time.time_ns() directly before the write
    """

    session: int
    end_ns: int
    ts_ns: int
    wall_ns: int


@dataclass
class Venue:
    """A market with its clock.

    minutes: where MinuteSent are kept; None = they are not
    facts:   root → tick size and USD per point of its definitions, where they are not those of
    rooney.market.instruments
    """

    source: Source
    clock: Clock
    until_ns: int
    minutes: list[MinuteSent] | None
    facts: Mapping[str, tuple[float, float]]
