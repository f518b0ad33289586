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
from rooney.market.messages import Bar
from rooney.market.sessions import MINUTE_NS

PRICE_SCALE = 1_000_000_000
UNDEF_PRICE = 2**63 - 1
UNDEF_SIZE = 2**32 - 1
HEARTBEAT_LAG_NS = 1_000_000_000  # a heartbeat closes minutes that ended this long before its stamp
# Between heartbeats event time moves by seconds; a leap this long is believed only when the next record is no earlier.
MAX_LEAP_NS = 10 * MINUTE_NS
# A price this far from its contract's last one is believed only when the contract's next trade confirms it. Near zero,
# where oil has been, a share of the price is no distance: so many ticks are always believed.
MAX_PRICE_MOVE = 0.25
MAX_PRICE_TICKS = 200
MAX_AHEAD_NS = MINUTE_NS  # a stamp this far ahead of the local clock is refused

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
        # Limits of a believable price; the first price of a contract has none.
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
        if doubted is not None and abs(price - doubted) <= abs(doubted) * MAX_PRICE_MOVE:
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
    """

    ts_close: int
    contracts: list[ContractMinute]
    ts_hub_ns: int
    repaired: bool = False
    gap: bool = False


class MinuteBuilder:
    """Builds minutes from trades in the order the feed gives them.

    groups:         session groups of the configured instruments; a minute in which any is in session is emitted even
                    without a trade, so the sequence is dense; other minutes only if something traded
    start_ns:       first minute to build, UTC ns on a whole minute
    close_after_ns: how far event time must be past a minute's end before it closes
    emit:           called with each ClosedMinute, in order, on the caller's thread
    wall_ns:        the local clock; it refuses stamps from the future and stamps latency, it closes nothing

    Every trade ends in exactly one of `counts` or is still in `pending()`; only these may be asked from another thread.
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
        self._held: tuple[int, Trade | None] | None = None  # a leap in time that waits for confirmation
        self._restarted_ns = start_ns  # where the session began: what is older was only asked for to miss nothing
        self._watermark_ns = start_ns
        self._replaying = False  # the session is still sending the past it was asked for
        self._replayed_until_ns = 0
        self._gap = False
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
        self._held = None
        self._replaying = True
        gap = from_ns > self.minute_ns and self._give_up(-(-from_ns // MINUTE_NS) * MINUTE_NS)
        self._restarted_ns = self._watermark_ns = self.minute_ns
        return gap

    def replay_completed(self, ts_ns: int) -> None:
        """The past that the session was asked for has been sent, up to `ts_ns`."""
        self._replaying = False
        self._replayed_until_ns = ts_ns

    def map(self, instrument_id: int, contract: Contract | None) -> None:
        """From now on `instrument_id` means `contract`; None marks what is known and not wanted (spreads)."""
        if contract is None:
            self._by_id[instrument_id] = None
            return
        if contract not in self._by_contract:
            self._by_contract[contract] = Fold(contract)
        self._by_id[instrument_id] = self._by_contract[contract]

    def pending(self) -> int:
        """Trades received and not yet in a closed minute."""
        held = self._held  # this is also asked by another thread, for the status
        folds = list(self._by_contract.values())
        return sum(fold.trades for fold in folds) + len(self._early) + (held is not None and held[1] is not None)

    def on_trade(self, instrument_id: int, ts_recv: int, price: int, size: int) -> None:
        """Fold one trade into its minute, or count why not."""
        if ts_recv >= self._end_ns:
            self._on_later((instrument_id, ts_recv, price, size))
            return
        fold = self._by_id.get(instrument_id)
        if fold is None:
            self.counts["spread" if instrument_id in self._by_id else "unknown_instrument"] += 1
            return
        if ts_recv < self.minute_ns:
            self.counts["replayed" if ts_recv < self._restarted_ns else "late"] += 1
            return
        if size == UNDEF_SIZE or not (fold.band_low <= price <= fold.band_high or fold.confirms(price)):
            self.counts["absurd_price"] += 1
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
        if not self._replaying and ts_ns - HEARTBEAT_LAG_NS >= self._end_ns and self._moves_on(ts_ns, None):
            self._close_until(ts_ns - HEARTBEAT_LAG_NS)

    def complete_until(self, ts_ns: int) -> None:
        """Every trade received before `ts_ns` was given: an archive, unlike a stream, says where it ends."""
        held, self._held = self._held, None
        if held is not None and held[1] is not None:
            self._watermark_ns = held[0]  # nothing later is needed to believe it
            self._on_later(held[1])
        self._watermark_ns = max(self._watermark_ns, ts_ns)
        self._close_until(ts_ns)

    def _on_later(self, trade: Trade) -> None:
        """A trade of a later minute: it may close the present one."""
        ts_recv = trade[1]
        if self._moves_on(ts_recv, trade):
            self._close_until(ts_recv - self._close_after_ns)
            if ts_recv >= self._end_ns:
                self._early.append(trade)
            else:
                self.on_trade(*trade)

    def _moves_on(self, ts_ns: int, trade: Trade | None) -> bool:
        """True if event time may move on to `ts_ns`. A leap waits, held, for the next record to agree with it.

        After a true leap everything is later; after a wrong stamp time goes on where it was. Nothing more is asked of
        the next record: a replay has no heartbeats, and in a thin market each trade is a leap from the one before.
        """
        if ts_ns > self._wall_ns() + MAX_AHEAD_NS:
            self.counts["bad_clock"] += trade is not None
            return False
        held, self._held = self._held, None
        if held is not None:
            if ts_ns >= held[0] - HEARTBEAT_LAG_NS:
                self._watermark_ns = held[0]
                if held[1] is not None:
                    self._on_later(held[1])
            else:
                self.counts["bad_clock"] += held[1] is not None
        if ts_ns - self._watermark_ns > MAX_LEAP_NS:
            self._held = (ts_ns, trade)
            return False
        self._watermark_ns = max(self._watermark_ns, ts_ns)
        return True

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
            self._emit(ClosedMinute(self._end_ns, contracts, self._wall_ns(), repaired, self._gap))
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
