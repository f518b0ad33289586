"""A synthetic market: trades of all roots, session by session, the same for the same seed.

Each root has one price level that moves continuously through all sessions; a contract trades at the level times a
factor of its own (carry), so contracts differ by a basis and each is continuous too. A session is made on its own,
from (seed, root, trade date) alone: it never depends on which sessions or roots were made before it, so history
and stream join.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cache, lru_cache

import msgspec
import numpy as np
import numpy.typing as npt

from rooney.market.instruments import PRODUCTS, Contract, business_days_before, deadline, following, nearest
from rooney.market.sessions import (
    MINUTE_NS,
    SECOND_NS,
    is_trade_date,
    next_trade_date,
    next_window,
    previous_trade_date,
    session_open_ns,
    trade_date,
)
from rooney.sim.characters import CHARACTERS, FIRST_SESSION, activity
from rooney.sim.databento.sources import BATCH_RECORDS, Instrument
from rooney.sim.databento.wire import PRICE_SCALE, Trades, empty_trades

_MIN_LATENCY_NS, _MAX_LATENCY_NS = 200_000, 2_000_000
_LAST_TRADE_NS = 5_000_000  # the last trade comes this long before the close, so that it is also received before it

# The exchange lists a finer tick for calendar spreads of index futures.
_SPREAD_TICKS_PER_TICK = {"equity": 5}


# Trade dates before `deadline` of the first trade date on which most volume is in the next contract.
_CROSSING_DAYS = {"equity": 4, "fx": 2, "energy": 4, "metals": 4, "grains": 8}

# Parts of a root's trades: front, next, the one after, spread front-next, spread next-after.
_SHARES_FAR_FROM_ROLL = (0.950, 0.025, 0.007, 0.015, 0.003)
_SHARES_BEFORE_CROSSING = (0.630, 0.300, 0.005, 0.060, 0.005)
_SHARES_AT_CROSSING = (0.240, 0.690, 0.005, 0.060, 0.005)
_SHARES_AFTER_CROSSING = (0.050, 0.905, 0.010, 0.030, 0.005)


class _Leg(msgspec.Struct, frozen=True):
    """A tradable of a root: price = level * factor on a grid of `tick_e9` (1e-9)."""

    raw: str
    factor: float
    tick_e9: int
    share: float


class Market:
    """A `Source` of `sessions` consecutive trade dates from `first` on.

    trades_per_minute: of all 18 roots together, on average over a 23-hour session
    rolls: root → first trade date on which the following contract has most of the volume, instead of the usual
           date of the contract that is in front then
    A root's trades do not depend on which other roots are made.
    """

    def __init__(
        self,
        seed: int = 0,
        first: date = FIRST_SESSION,
        sessions: int = 1,
        trades_per_minute: float = 300.0,
        roots: Sequence[str] = tuple(CHARACTERS),
        rolls: Mapping[str, date] | None = None,
    ) -> None:
        unknown = [root for root in roots if root not in CHARACTERS]
        if unknown:
            raise ValueError(f"no synthetic market for {', '.join(unknown)}; there is one for {', '.join(CHARACTERS)}")
        if not is_trade_date(first):
            raise ValueError(f"{first} is no trade date: weekends and holidays belong to the next one")
        self.seed = seed
        self.roots = tuple(roots)
        self.trades_per_minute = trades_per_minute
        self.days = [first]
        while len(self.days) < sessions:
            self.days.append(next_trade_date(self.days[-1]))
        self._rolls = dict(rolls or {})
        self._session = lru_cache(maxsize=2)(self._make_session)
        self._day_return = cache(self._make_day_return)
        self.day_volumes = lru_cache(maxsize=8)(self._make_day_volumes)
        raws = {leg.raw: root for root in self.roots for day in self.days for leg in self._legs(root, day)}
        self.instruments: list[Instrument] = [
            Instrument(number, raw, root) for number, (raw, root) in enumerate(raws.items(), start=1001)
        ]
        self._ids = {instrument.raw: instrument.instrument_id for instrument in self.instruments}

    def batches(self, from_ns: int) -> Iterator[Trades]:
        for day in self.days:
            if max(_minutes(PRODUCTS[root].group, day)[-1] for root in self.roots) + MINUTE_NS <= from_ns:
                continue
            trades = self._session(day)
            first = int(np.searchsorted(trades["ts_recv"], np.uint64(max(from_ns, 0))))
            for start in range(first, len(trades), BATCH_RECORDS):
                yield trades[start : start + BATCH_RECORDS]

    def volumes(self, at_ns: int) -> Mapping[str, int]:
        return self.day_volumes(previous_trade_date(trade_date(at_ns)))

    def _make_day_volumes(self, day: date) -> Mapping[str, int]:
        volumes: dict[str, int] = {}
        for root in self.roots:
            legs, trades = self._root_trades(root, day)
            counts = np.bincount(trades["instrument_id"], weights=trades["size"], minlength=len(legs))
            volumes |= {leg.raw: int(count) for leg, count in zip(legs, counts, strict=True)}
        return volumes

    def _make_session(self, day: date) -> Trades:
        parts = []
        for root in self.roots:
            legs, trades = self._root_trades(root, day)
            ids = np.array([self._ids[leg.raw] for leg in legs], np.uint32)
            trades["instrument_id"] = ids[trades["instrument_id"]]
            parts.append(trades)
        merged = np.concatenate(parts)
        # Sort keys, then gather once: numpy sorts whole records an order of magnitude slower.
        session: Trades = merged[np.argsort(merged["ts_recv"], kind="stable")]
        session["ts_recv"] = _strictly_increasing(session["ts_recv"])
        session["ts_in_delta"] = (session["ts_recv"] - session["ts_event"]) // 4
        session["sequence"] = np.arange(1, len(session) + 1)
        session.flags.writeable = False  # it is kept and given out again
        return session

    def _root_trades(self, root: str, day: date) -> tuple[list[_Leg], Trades]:
        """Trades of a root on a trade date by ts_recv; instrument_id is the position in the returned legs."""
        product, character = PRODUCTS[root], CHARACTERS[root]
        minutes = _minutes(product.group, day)
        random = self._random(root, day, "trades")
        legs = self._legs(root, day)

        # Activity comes in waves: a Poisson count around a gamma-distributed rate.
        rate = (
            self.trades_per_minute
            * character.share
            * activity(product.group, minutes)
            * random.gamma(3.0, 1 / 3.0, len(minutes))
        )
        counts = random.poisson(rate)
        n = int(counts.sum())
        at = np.repeat(minutes, counts) + random.integers(0, MINUTE_NS, n)
        at.sort()
        # One order that takes several resting ones makes several trades of one instant.
        sweep = random.random(n) < 0.05
        at = at[np.maximum.accumulate(np.where(sweep, 0, np.arange(n)))]
        at = np.minimum(at, minutes[-1] + MINUTE_NS - _LAST_TRADE_NS)

        trades = empty_trades(n)
        trades["ts_event"] = at
        trades["ts_recv"] = np.maximum.accumulate(at + random.integers(_MIN_LATENCY_NS, _MAX_LATENCY_NS, n))
        leg = np.searchsorted(np.cumsum([leg.share for leg in legs])[:-1], random.random(n), side="right")
        trades["instrument_id"] = leg
        buys = random.random(n) < 0.5
        trades["side"] = np.where(random.random(n) < 1 / 3000, b"N", np.where(buys, b"B", b"A"))
        trades["size"] = random.geometric(1 / character.size, n)

        ticks = np.array([leg.tick_e9 for leg in legs])[leg]
        factors = np.array([leg.factor for leg in legs])[leg]
        exact = self._path(root, day, at) * factors * PRICE_SCALE / ticks
        # A buyer pays the ask, the tick above the level; a seller gets the bid below it.
        trades["price"] = np.where(buys, np.ceil(exact), np.floor(exact)).astype(np.int64) * ticks
        return legs, trades

    def _path(self, root: str, day: date, at: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The root's price level at times within a session.

        A random walk in steps of a second, faster when there is more trade, plus trends of one to three hours and
        swings of 30 to 150 minutes, bent so that it starts and ends on the levels of this open and the next.
        """
        product, character = PRODUCTS[root], CHARACTERS[root]
        minutes = _minutes(product.group, day)
        random = self._random(root, day, "path")
        variance = np.repeat(activity(product.group, minutes) / 60, 60) / len(minutes)
        n = len(variance)
        steps = random.standard_normal(n) * np.sqrt(variance)
        trend_ends = np.cumsum(random.uniform(3600, 10800, n // 3600 + 1))
        trends = random.standard_normal(len(trend_ends) + 1) * 0.8
        steps += trends[np.searchsorted(trend_ends, np.arange(n))] * np.sqrt(n / 7200) / n
        walk = np.concatenate(([0.0], np.cumsum(steps)))
        seconds = np.arange(n + 1)
        for period_s in random.uniform(1800, 9000, 3):
            walk += 0.1 * np.sin(2 * np.pi * (seconds / period_s + random.random()))
        start, end = self._log_level(root, day), self._log_level(root, next_trade_date(day))
        bridge = walk - walk[0] - (walk[-1] - walk[0]) * seconds / n
        path = np.exp(start + (end - start) * seconds / n + character.sigma * 0.8 * bridge)
        traded_ns = np.searchsorted(minutes, at, side="right") - 1  # session minutes, so that a break takes no time
        levels: npt.NDArray[np.float64] = np.interp(
            traded_ns * 60 + (at - minutes[traded_ns]) / SECOND_NS, seconds, path
        )
        return levels

    def _log_level(self, root: str, day: date) -> float:
        """Log of the level at a trade date's open: a random walk over days with CHARACTERS' level on FIRST_SESSION."""
        level = float(np.log(CHARACTERS[root].level))
        reached = FIRST_SESSION
        while reached < day:
            level += self._day_return(root, reached)
            reached = next_trade_date(reached)
        while reached > day:
            reached = previous_trade_date(reached)
            level -= self._day_return(root, reached)
        return level

    def _make_day_return(self, root: str, day: date) -> float:
        return CHARACTERS[root].sigma * float(self._random(root, day, "return").standard_normal())

    def _random(self, root: str, day: date, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(f"{root} {purpose}".encode()), day.toordinal()])

    def _legs(self, root: str, day: date) -> list[_Leg]:
        product = PRODUCTS[root]
        front, second, crossing = self._chain(root, day)
        after = following(second)
        factors = [self._factor(contract) for contract in (front, second, after)]
        tick_e9 = round(product.tick_size * PRICE_SCALE)
        spread_tick_e9 = tick_e9 // _SPREAD_TICKS_PER_TICK.get(product.group, 1)
        if day > crossing:
            shares = _SHARES_AFTER_CROSSING
        elif day == crossing:
            shares = _SHARES_AT_CROSSING
        elif next_trade_date(day) == crossing:
            shares = _SHARES_BEFORE_CROSSING
        else:
            shares = _SHARES_FAR_FROM_ROLL
        return [
            _Leg(front.raw, factors[0], tick_e9, shares[0]),
            _Leg(second.raw, factors[1], tick_e9, shares[1]),
            _Leg(after.raw, factors[2], tick_e9, shares[2]),
            _Leg(f"{front.raw}-{second.raw}", factors[0] - factors[1], spread_tick_e9, shares[3]),
            _Leg(f"{second.raw}-{after.raw}", factors[1] - factors[2], spread_tick_e9, shares[4]),
        ]

    def _chain(self, root: str, day: date) -> tuple[Contract, Contract, date]:
        """The nearest contract that still trades, the one after it, and the day most volume is in the latter."""
        front = nearest(root, day)
        crossing = _usual_crossing(front)
        chosen = self._rolls.get(root)
        if chosen is not None and nearest(root, chosen) == front:
            crossing = chosen
        return front, following(front), crossing

    def _factor(self, contract: Contract) -> float:
        base = nearest(contract.root, FIRST_SESSION)
        if _usual_crossing(base) <= FIRST_SESSION:
            base = following(base)
        months = (contract.year - base.year) * 12 + contract.month - base.month
        return 1.0 + CHARACTERS[contract.root].carry * months / 12


@cache
def _usual_crossing(contract: Contract) -> date:
    return business_days_before(deadline(contract), _CROSSING_DAYS[PRODUCTS[contract.root].group])


@lru_cache(maxsize=64)
def _minutes(group: str, day: date) -> npt.NDArray[np.int64]:
    """Opens of every session minute of a trade date, UTC ns."""
    window = next_window(group, session_open_ns(group, day))
    parts = []
    while window.trade_date == day:
        parts.append(np.arange(window.open_ns, window.close_ns, MINUTE_NS, dtype=np.int64))
        window = next_window(group, window.close_ns)
    return np.concatenate(parts)


def _strictly_increasing(times: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The same times, equal ones moved apart by nanoseconds."""
    steps = np.arange(len(times), dtype=np.uint64)
    return np.maximum.accumulate(times - steps) + steps
