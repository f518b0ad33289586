"""Trades in, closed minutes out; minutes in, hours and days out.

`MinuteBuilder` chooses a trade's minute by its ts_recv, as Databento does for its own bars, and closes a minute for all
instruments at once on event time alone. `Coarse` folds one-minute bars into the hour and the day in progress.
Prices stay the feed's integers (1e-9) until a bar is made.
"""

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from rooney.market import sessions
from rooney.market.instruments import PRODUCTS, Contract
from rooney.market.messages import Bar, is_price
from rooney.market.sessions import MINUTE_NS

PRICE_SCALE = 1_000_000_000
UNDEF_PRICE = 2**63 - 1
MAX_SIZE = 1_000_000  # of one trade; the exchange takes no order of a tenth of it
MAX_TIME_NS = 2**63 - 1  # a later stamp is none: undefined, or damaged
HEARTBEAT_LAG_NS = 1_000_000_000  # a heartbeat closes minutes that ended this long before its stamp
# Between heartbeats event time moves by seconds; a leap this long is believed only when the next record is no earlier.
MAX_LEAP_NS = 10 * MINUTE_NS
# What the host clock has not lived up to is believed when so many records in a row say so: that clock may be wrong by
# any amount, and damaged stamps do not lie within MAX_LEAP_NS of each other.
AHEAD_NS = 2 * MINUTE_NS
AGREEING = 5
# A price this far from its contract's last one is believed only when the contract's next trade confirms it. Near zero,
# where oil has been, a share of the price is no distance: so many ticks are always believed.
MAX_PRICE_MOVE = 0.25
MAX_PRICE_TICKS = 200
MAX_UNMAPPED = 10_000  # trades that wait for the names of their instruments

Trade = tuple[int, int, int, int]  # instrument_id, ts_recv, price (1e-9), size


class Fold:
    """Trades of a contract in the open minute; prices in 1e-9 units."""

    __slots__ = (
        "band_high",
        "band_low",
        "close",
        "contract",
        "doubted",
        "high",
        "least_reach",
        "low",
        "open",
        "trades",
        "volume",
    )

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        product = PRODUCTS.get(contract.root)
        self.least_reach = round(product.tick_size * MAX_PRICE_TICKS * PRICE_SCALE) if product is not None else 0
        self.open = self.high = self.low = self.close = 0
        self.volume = self.trades = 0
        # Limits of a believable price; the first one of a contract that nobody knows a price of has none.
        self.band_low, self.band_high = -UNDEF_PRICE, UNDEF_PRICE - 1
        self.doubted: int | None = None

    def believe(self, price: int) -> None:
        """Centre the band on a price that was accepted."""
        reach = max(int(abs(price) * MAX_PRICE_MOVE), self.least_reach)
        self.band_low, self.band_high = price - reach, price + reach

    def confirms(self, price: int) -> bool:
        """True if a price outside the band is near the one doubted just before: then the market did move."""
        doubted, self.doubted = self.doubted, None
        if price == UNDEF_PRICE:
            return False
        # Only where the market was near zero before: elsewhere two wrong prices about zero would confirm each other.
        least_reach = self.least_reach if self.band_high - self.band_low == 2 * self.least_reach else 0
        if doubted is not None and abs(price - doubted) <= max(abs(doubted) * MAX_PRICE_MOVE, least_reach):
            self.believe(price)
            return True
        self.doubted = price
        return False


class ContractMinute(msgspec.Struct, frozen=True):
    """Trades of a contract in a minute; prices in 1e-9 units. replayed: not all of it as it happened."""

    contract: Contract
    open: int
    high: int
    low: int
    close: int
    volume: int
    trades: int
    replayed: bool = False

    def bar(self, ts_open: int, flags: int, ts_hub_ns: int) -> Bar:
        """The one-minute bar. Prices by true division: the last bit decides IBS at exactly 0.2."""
        return Bar(
            self.contract.root,
            self.contract.raw,
            "1min",
            ts_open,
            ts_open + MINUTE_NS,
            self.open / PRICE_SCALE,
            self.high / PRICE_SCALE,
            self.low / PRICE_SCALE,
            self.close / PRICE_SCALE,
            self.volume,
            self.trades,
            flags,
            ts_hub_ns,
        )


class ClosedMinute(msgspec.Struct, frozen=True):
    """All contracts that traded in [ts_close - 1 min, ts_close).

    repaired: it was over before the session that sent it had replayed the past
    gap:      session minutes before it are lost for good
    dropped:  contracts of trades that came since the minute before and are in no bar; None = of an unknown instrument
    """

    ts_close: int
    contracts: list[ContractMinute]
    ts_hub_ns: int
    repaired: bool = False
    gap: bool = False
    dropped: frozenset[Contract | None] = frozenset()


class MinuteBuilder:
    """Builds minutes from trades in the order the feed gives them.

    groups:         session groups of the configured instruments; a minute in which any is in session is emitted even
                    without a trade, so the sequence is dense; other minutes only if something traded
    start_ns:       first minute to build, UTC ns on a whole minute
    close_after_ns: how far event time must be past a minute's end before it closes
    emit:           called with each ClosedMinute, in order, on the caller's thread
    wall_ns:        the host clock; what is ahead of it is doubted, and it stamps latency; it closes nothing

    Every trade ends in exactly one of `counts` or is still in `pending()`. What is in no bar although it may belong to
    one flags the minute in which that shows. Only counts, `pending` and `behind_ns` may be asked from another thread.

    behind_ns: how far the host clock is behind the exchange's, as the newest record that moved event time on shows it
    """

    def __init__(
        self,
        groups: Iterable[str],
        start_ns: int,
        close_after_ns: int,
        emit: Callable[[ClosedMinute], None],
        wall_ns: Callable[[], int],
    ) -> None:
        self._groups = sorted(set(groups))
        self._close_after_ns = close_after_ns
        self._emit = emit
        self._wall_ns = wall_ns
        self._by_id: dict[int, Fold | None] = {}
        self._by_contract: dict[Contract, Fold] = {}
        self._early: list[Trade] = []  # trades of later minutes that came before this one may close
        self._unmapped: dict[int, list[Trade]] = {}  # trades of the open minute whose instruments have no name yet
        self._doubted: list[tuple[int, Trade | None]] = []  # records whose time waits for others to agree with it
        self._doubted_at = 0  # trades of the open minute when the newest of them came
        self._agreeing = 1  # so many of them are believed
        self._dropped: set[Contract | None] = set()
        self._restarted_ns = start_ns  # where the session began: what is older was only asked for to miss nothing
        self._watermark_ns = start_ns
        self._replaying = False  # the session is still sending the past it was asked for
        self._replayed_until_ns = 0
        self._gap = False
        self.behind_ns = 0
        self.minute_ns = start_ns
        self._end_ns = start_ns + MINUTE_NS
        self.counts: Counter[str] = Counter()

    def restart(self, from_ns: int = 0) -> bool:
        """A new session replays the open minute from its start: drop what is in it. Old mappings are void.

        from_ns: what was received before then cannot be had any more; minutes not built by then are given up
        return:  whether that is a gap: whether there are session minutes among them
        """
        self.counts["reread"] += self.pending()
        for fold in self._by_contract.values():
            fold.volume = fold.trades = 0
        self._by_id.clear()
        self._early.clear()
        self._unmapped.clear()
        self._doubted.clear()
        self._replaying = True
        gap = from_ns > self.minute_ns and self._give_up(-(-from_ns // MINUTE_NS) * MINUTE_NS)
        self._restarted_ns = self._watermark_ns = self.minute_ns
        return gap

    def replay_completed(self, ts_ns: int) -> None:
        """The past that the session was asked for has been sent, up to `ts_ns`."""
        self._replaying = False
        self._replayed_until_ns = ts_ns

    def map(self, instrument_id: int, contract: Contract | None) -> None:
        """From now on `instrument_id` means `contract`; None marks what is known and not wanted (spreads).

        Its trades of the open minute that came before are folded now.
        """
        self._by_id[instrument_id] = None if contract is None else self._fold(contract)
        for trade in self._unmapped.pop(instrument_id, ()):
            self.on_trade(*trade)

    def expect(self, contract: Contract, price: float) -> None:
        """Judge the first trade of a contract by its last known price, in points; NaN is none."""
        if is_price(price):
            self._fold(contract).believe(round(price * PRICE_SCALE))

    def _fold(self, contract: Contract) -> Fold:
        if contract not in self._by_contract:
            self._by_contract[contract] = Fold(contract)
        return self._by_contract[contract]

    def pending(self) -> int:
        """Trades received and not yet in a closed minute."""
        doubted = sum(trade is not None for _, trade in tuple(self._doubted))  # also asked by another thread
        waiting = sum(map(len, tuple(self._unmapped.values())))
        return self._folded() + len(self._early) + waiting + doubted

    def _folded(self) -> int:
        """Trades of the open minute so far."""
        return sum(fold.trades for fold in tuple(self._by_contract.values()))

    def on_trade(self, instrument_id: int, ts_recv: int, price: int, size: int) -> None:
        """Fold one trade into its minute, or count why not."""
        if ts_recv >= self._end_ns:
            self._on_later(ts_recv, (instrument_id, ts_recv, price, size))
            return
        fold = self._by_id.get(instrument_id)
        if fold is None or ts_recv < self.minute_ns:
            self._on_other((instrument_id, ts_recv, price, size))
            return
        if size >= MAX_SIZE or not (fold.band_low <= price <= fold.band_high or fold.confirms(price)):
            self._drop("absurd_price", instrument_id)
            return
        if fold.trades:
            if price > fold.high:
                fold.high = price
            elif price < fold.low:
                fold.low = price
        else:
            fold.open = fold.high = fold.low = price
            fold.believe(price)
        fold.close = price
        fold.volume += size
        fold.trades += 1

    def on_time(self, ts_ns: int) -> None:
        """A heartbeat of the gateway: every minute that ended a second before it is over.

        One that comes in the midst of a replay is stamped with the present: it says nothing about the past.
        """
        if not self._replaying and ts_ns - HEARTBEAT_LAG_NS >= self._end_ns:
            self._on_later(ts_ns, None)

    def complete_until(self, ts_ns: int) -> None:
        """Every trade received before `ts_ns` was given: an archive, unlike a stream, says where it ends."""
        while self._doubted and self._doubted[0][0] < ts_ns:
            self._move_on(*self._doubted.pop(0))  # nothing later is needed to believe it
        self._drop_doubted()
        self._watermark_ns = max(self._watermark_ns, ts_ns)
        self._close_until(ts_ns)

    def _on_other(self, trade: Trade) -> None:
        """A trade before the open minute, or of what is no known contract."""
        instrument_id, ts_recv, _, _ = trade
        if instrument_id in self._by_id and self._by_id[instrument_id] is None:
            self.counts["spread"] += 1
        elif ts_recv < self._restarted_ns:
            self.counts["replayed"] += 1
        elif ts_recv < self.minute_ns:
            self._drop("late", instrument_id)
        elif sum(map(len, self._unmapped.values())) < MAX_UNMAPPED:
            self._unmapped.setdefault(instrument_id, []).append(trade)
        else:
            self._drop("unknown_instrument", instrument_id)

    def _drop(self, why: str, instrument_id: int) -> None:
        """Count a trade that is in no bar, and flag the open minute unless it was a spread's."""
        self.counts[why] += 1
        fold = self._by_id.get(instrument_id)
        if fold is not None or instrument_id not in self._by_id:
            self._dropped.add(fold.contract if fold is not None else None)

    def _on_later(self, ts_ns: int, trade: Trade | None) -> None:
        """A record from after the open minute: event time moves on once enough others agree with its stamp.

        After a true leap everything is later; after a wrong stamp time goes on where it was. No more is asked of the
        record after a leap: a replay has no heartbeats, and in a thin market each trade is a leap from the one before.
        """
        if ts_ns > MAX_TIME_NS:
            if trade is not None:
                self._drop("bad_clock", trade[0])
            return
        doubted = self._doubted
        if doubted:
            first_ns = doubted[0][0]
            least_ns = first_ns - HEARTBEAT_LAG_NS
            is_earlier = ts_ns < least_ns or (least_ns >= self._end_ns and self._folded() != self._doubted_at)
            if is_earlier or (self._agreeing == AGREEING and ts_ns > first_ns + MAX_LEAP_NS):
                self._drop_doubted()
        doubted.append((ts_ns, trade))
        wall_ns = self._wall_ns()
        while doubted:
            first_ns = doubted[0][0]
            ahead_ns, leap_ns = first_ns - wall_ns, first_ns - self._watermark_ns
            self._agreeing = AGREEING if ahead_ns > self.behind_ns + AHEAD_NS else 1 + (leap_ns > MAX_LEAP_NS)
            if len(doubted) < self._agreeing:
                self._doubted_at = self._folded()
                return
            # What is replayed is of the past: it can show that the clock is behind, not that it is right.
            self.behind_ns = max(ahead_ns, self.behind_ns if self._replaying else 0)
            self._move_on(*doubted.pop(0))

    def _move_on(self, ts_ns: int, trade: Trade | None) -> None:
        self._watermark_ns = max(self._watermark_ns, ts_ns)
        self._close_until(ts_ns - (HEARTBEAT_LAG_NS if trade is None else self._close_after_ns))
        if trade is not None and ts_ns >= self._end_ns:
            self._early.append(trade)
        elif trade is not None:
            self.on_trade(*trade)

    def _drop_doubted(self) -> None:
        """Nothing agreed with these stamps."""
        for _, trade in self._doubted:
            if trade is not None:
                self._drop("bad_clock", trade[0])
        self._doubted.clear()

    def _close_until(self, ts_ns: int) -> None:
        """Close every minute that ended at or before `ts_ns`."""
        while self._end_ns <= ts_ns:
            self._close()
            early, self._early = self._early, []
            for trade in early:
                if trade[1] < self._end_ns:
                    self.on_trade(*trade)
                else:
                    self._early.append(trade)

    def _close(self) -> None:
        contracts = []
        while self._unmapped:
            instrument_id, trades = self._unmapped.popitem()
            for _ in trades:
                self._drop("unknown_instrument", instrument_id)
        # Also the bar of a contract that the replay had no trade of: what it left out cannot be seen.
        replayed = self._replaying or self.minute_ns < self._replayed_until_ns
        for fold in self._by_contract.values():
            if fold.trades:
                prices = fold.open, fold.high, fold.low, fold.close
                contracts.append(ContractMinute(fold.contract, *prices, fold.volume, fold.trades, replayed))
                self.counts["built"] += fold.trades
                fold.believe(fold.close)
                fold.volume = fold.trades = 0
        if contracts or any(sessions.window_at(group, self.minute_ns) for group in self._groups):
            repaired = self._replaying or self._end_ns <= self._replayed_until_ns
            dropped, self._dropped = frozenset(self._dropped), set()
            self._emit(ClosedMinute(self._end_ns, contracts, self._wall_ns(), repaired, self._gap, dropped))
            self._gap = False
        self.minute_ns = self._end_ns
        self._end_ns += MINUTE_NS

    def _give_up(self, minute_ns: int) -> bool:
        """Go on with a later minute."""
        gap = any(
            sessions.window_at(group, self.minute_ns) is not None
            or sessions.next_window(group, self.minute_ns).open_ns < minute_ns
            for group in self._groups
        )
        self.counts["gaps"] += gap
        self._gap = self._gap or gap
        self.minute_ns = minute_ns
        self._end_ns = minute_ns + MINUTE_NS
        return gap
