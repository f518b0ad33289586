"""A closed minute of all contracts → the tape's minute of all instruments: fronts, rolls, hours, days, states."""

from collections.abc import Callable, Iterable
from datetime import date

import msgspec

from rooney.errors import MessageError
from rooney.market import rolls, sessions
from rooney.market.bars import AHEAD_NS, PRICE_SCALE, ClosedMinute, ContractMinute
from rooney.market.instruments import Contract
from rooney.market.messages import Bar, BarFlag, InstrumentState, Minute, MinuteFlag, Roll, decode_minute
from rooney.market.resample import Coarse
from rooney.market.sessions import MINUTE_NS, Window

_FIRST_NS = 30 * 365 * 24 * 60 * MINUTE_NS  # before there was electronic trading in these products


def is_ahead(ts_close: int, latest_ns: int) -> bool:
    """True of an entry's time that cannot have come. latest_ns: the later of host clock and hub's last record."""
    return ts_close > latest_ns + AHEAD_NS


def is_session_minute(ts_close: int) -> bool:
    """True if a minute in session, of any group, ends then."""
    if ts_close % MINUTE_NS or ts_close < _FIRST_NS:
        return False
    return any(sessions.window_at(group, ts_close - MINUTE_NS) for group in sessions.table().regular)


def read_entry(ts_close: int, data: bytes, latest_ns: int) -> Minute:
    """The minute of a tape entry; its bars and rolls are to be sifted. Raises MessageError.

    ts_close:  by the entry's id, UTC ns
    latest_ns: the later of host clock and hub's last record
    """
    if is_ahead(ts_close, latest_ns):
        raise MessageError(f"{(ts_close - latest_ns) // 1_000_000_000} s after the hub's last record and this clock")
    if ts_close % MINUTE_NS:
        raise MessageError("no whole minute")
    minute = decode_minute(data)
    if minute.ts_close != ts_close:
        raise MessageError(f"holds the minute {minute.ts_close}")
    # A trade outside the session makes a minute of its own, and its bars say so.
    if not is_session_minute(ts_close) and not any(bar.flags & BarFlag.OFF_SESSION for bar in minute.bars):
        raise MessageError("no session minute")
    return minute


class ContractCount(msgspec.Struct, frozen=True):
    """Share of a minute in a contract's trade date; `last` in points."""

    contract: Contract
    day: date
    volume: int
    last: float


class Published(msgspec.Struct, frozen=True):
    """Everything one minute writes to Redis, in one script."""

    minute: Minute
    counts: list[ContractCount]
    fronts: dict[str, Contract]


class RootState:
    """Memory of the hub of a root between minutes; all of it is on Redis too."""

    def __init__(self, root: str, group: str, fixed: bool) -> None:
        self.root = root
        self.group = group
        self.fixed = fixed  # a raw or continuous subscription: the mapping is the front, no rule chooses
        self.coarse = Coarse(group)
        self.front: Contract | None = None
        self.front_day: date | None = None
        self.listed: set[Contract] = set()
        self.volumes: dict[Contract, int] = {}
        self.volumes_day: date | None = None
        self.previous: dict[Contract, int] = {}
        self.last: dict[Contract, float] = {}
        self.newest = InstrumentState.QUIET  # OPEN, QUIET or INCOMPLETE, by the trades of the newest minute

    def count(self, day: date, contract: Contract, volume: int, last: float) -> None:
        """Add to the volume of a trade date; the last complete one is kept for the next decision."""
        if self.volumes_day is None or day > self.volumes_day:
            if self.volumes:
                self.previous = self.volumes
            self.volumes, self.volumes_day = {}, day
        self.volumes[contract] = self.volumes.get(contract, 0) + volume
        self.last[contract] = last

    def decide(self, day: date, ts: int) -> Roll | None:
        """Choose the front for a trade date, once, or take it from the mapping at any time; the roll if it changed."""
        old = self.front
        if self.fixed:
            new, rule = max(self.listed, default=None), "mapping"
        elif old is not None and self.front_day == day:
            return None
        else:
            new, rule = rolls.front(day, old, self._volumes_before(day), self.listed)
        if old is not None and new is not None and new != old and new not in self.last:
            return None  # it has no price yet: roll with its first one
        self.front, self.front_day = new, day
        if old is None or new is None or new == old:
            return None
        return Roll(self.root, old.raw, new.raw, self.last.get(old, float("nan")), self.last[new], ts, rule)

    def _volumes_before(self, day: date) -> dict[Contract, int]:
        return self.volumes if self.volumes_day is not None and self.volumes_day < day else self.previous


class MinuteAssembler:
    """Turns closed minutes into tape entries. Not thread-safe; deterministic in its input.

    roots: (root, session group, fixed) in the order of `instruments` in the configuration
    """

    def __init__(self, roots: Iterable[tuple[str, str, bool]]) -> None:
        self.roots = {root: RootState(root, group, fixed) for root, group, fixed in roots}
        self._refused: frozenset[str] = frozenset()

    def refuse(self, roots: Iterable[str]) -> None:
        """From now on these roots must not be entered; their bars go on."""
        self._refused = frozenset(roots)

    def states_now(self, ts_ns: int, alive: bool) -> dict[str, InstrumentState]:
        """Per root, what holds at `ts_ns`, which no minute may have come to tell. alive: whether the feed is."""
        return {
            root: self._state(state, sessions.window_at(state.group, ts_ns), alive)
            for root, state in self.roots.items()
        }

    def _state(self, state: RootState, window: Window | None, alive: bool) -> InstrumentState:
        if window is None:
            return InstrumentState.CLOSED
        if state.root in self._refused:
            return InstrumentState.REFUSED
        return state.newest if alive else InstrumentState.DEAD

    def list_contract(self, contract: Contract) -> None:
        """The feed knows this contract."""
        state = self.roots.get(contract.root)
        if state is not None:
            state.listed.add(contract)

    def assemble(self, closed: ClosedMinute, wall_ns: Callable[[], int]) -> Published:
        """The tape entry of one closed minute. `wall_ns` stamps the moment it is handed on."""
        ts_open = closed.ts_close - MINUTE_NS
        quality = MinuteFlag.REPAIRED if closed.repaired else MinuteFlag.NONE
        if closed.gap:
            quality |= MinuteFlag.GAP
        if closed.dropped:
            quality |= MinuteFlag.INCOMPLETE
        traded: dict[str, list[ContractMinute]] = {}
        for contract in closed.contracts:
            traded.setdefault(contract.contract.root, []).append(contract)
        found_rolls: list[Roll] = []
        counts: list[ContractCount] = []
        minutes: list[Bar] = []
        coarse: list[Bar] = []
        states: dict[str, int] = {}
        for root, state in self.roots.items():
            window = sessions.window_at(state.group, ts_open)
            bar = None
            if window is not None or root in traded:
                day = window.trade_date if window is not None else sessions.trade_date(ts_open)
                for part in traded.get(root, ()):
                    state.last.setdefault(part.contract, part.open / PRICE_SCALE)
                # Off session the old front stays: the roll belongs to the first entry of the next session.
                if window is not None or state.front is None:
                    roll = state.decide(day, closed.ts_close)
                    found_rolls += [roll] if roll is not None else []
                for part in traded.get(root, ()):
                    last = part.close / PRICE_SCALE
                    state.count(day, part.contract, part.volume, last)
                    counts.append(ContractCount(part.contract, day, part.volume, last))
                    if part.contract == state.front:
                        flags = BarFlag.REPAIRED if part.replayed or closed.repaired else BarFlag.NONE
                        flags |= BarFlag.OFF_SESSION if window is None else BarFlag.NONE
                        flags |= BarFlag.INCOMPLETE if state.front in closed.dropped else BarFlag.NONE
                        bar = part.bar(ts_open, flags, closed.ts_hub_ns)
            if closed.gap:
                coarse += state.coarse.close(ts_open, closed.ts_hub_ns)  # what ended within the gap
            if bar is not None:
                minutes.append(bar)
                state.coarse.fold(bar)
            # A trade of an unknown instrument may have been of any that has no bar: none of them was quiet.
            if state.front in closed.dropped or (bar is None and None in closed.dropped):
                state.newest = InstrumentState.INCOMPLETE
            else:
                state.newest = InstrumentState.OPEN if bar is not None else InstrumentState.QUIET
            states[root] = self._state(state, window, not closed.repaired)
        for state in self.roots.values():
            coarse += state.coarse.close(closed.ts_close, closed.ts_hub_ns)
        hours = [bar for bar in coarse if bar.timeframe == "hourly"]
        days = [bar for bar in coarse if bar.timeframe == "daily"]
        minute = Minute(
            closed.ts_close,
            found_rolls,
            [*minutes, *hours, *days],
            states,
            int(quality),
            closed.ts_hub_ns,
            wall_ns(),
        )
        fronts = {root: state.front for root, state in self.roots.items() if state.front is not None}
        return Published(minute, counts, fronts)
