"""A strategy's progress along the tape: engine and ledger, moved together by one transaction per minute.

It survives its process, for every start is a recovery: the newest checkpoint, then the tape again up to the ledger's
position with the outcomes it holds, nothing sent or written; or, where that cannot be, features warmed up afresh from
history and the positions kept.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from rooney import failpoints as faults
from rooney.bus.reader import Reader
from rooney.clock import Clock
from rooney.engine.engine import Engine
from rooney.errors import BusError, ConfigError, LedgerError, StepError
from rooney.format import iso_second
from rooney.ledger.records import Checkpoint, Finished
from rooney.ledger.writer import Ledger
from rooney.market.messages import Bar, Minute, Roll
from rooney.market.sessions import MINUTE_NS
from rooney.market.timeframes import TIMEFRAMES
from rooney.orders import order_messages
from rooney.orders.control import Act
from rooney.orders.decisions import Book, Decisions, Outcome
from rooney.orders.intents import Event, Intent
from rooney.orders.notices import DOUBT, Notice, Turn
from rooney.orders.outcomes import of_act, of_event
from rooney.systemd import Notifier
from rooney.worker import status
from rooney.worker.market_data import MarketData

logger = logging.getLogger(__name__)

READ_AHEAD = 200


class Progress:
    """Engine and ledger of one strategy.

    A recovery may go on while the worker's loop already turns: a tape that lost its end may come back.

    symbols:     all that are traded, in order
    position_ns: end of the newest minute stepped, UTC ns; 0 before the first
    """

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        bus: Reader,
        market_data: MarketData,
        clock: Clock,
        notifier: Notifier,
    ) -> None:
        self._engine = engine
        self._ledger = ledger
        self._bus = bus
        self._market_data = market_data
        self._clock = clock
        self._notifier = notifier
        self.symbols = [instrument.symbol for instrument in engine.instruments if instrument.traded]
        self.position_ns = 0
        self._blank = engine.freeze()
        self._goal: Finished | None = None  # where the last process ended; minutes up to there are only stepped again
        self._applied: defaultdict[int, list[Outcome]] = defaultdict(list)

    # ── a mark ──

    def outcomes(self, events: Sequence[tuple[Intent, Event]], acts: Sequence[Act]) -> list[Outcome]:
        """News of orders, then of the operator, as the step is told; nothing of what is no longer traded."""
        told = [of_event(intent, event) for intent, event in events]
        known = [outcome for outcome in told if outcome is not None and outcome.symbol in self.symbols]
        return known + [outcome for act in acts for outcome in of_act(act, self.symbols)]

    def commit(
        self,
        decisions: Decisions,
        intents: Sequence[Intent] = (),
        events: Sequence[tuple[Intent, Event]] = (),
        acts: Sequence[Act] = (),
        latency_ns: int = 0,
        notices: Sequence[Notice] = (),
        *,
        checkpoint: bool,
    ) -> list[Event]:
        """Write one mark, whole; returns the event that begins the life of each intent.

        events, acts: the step has heard of
        latency_ns:   from the minute's end at the hub to the decision; 0 where it is not known
        """
        planned = self._ledger.commit_mark(
            decisions.ts_mark,
            intents,
            [event.seq for _, event in events],
            decisions.evaluated,
            decisions.trades,
            self._engine.marks(),
            latency_ns,
            status.row(self._engine),
            self._engine.book(),
            Checkpoint(decisions.ts_mark, self._engine.digest, self._engine.freeze()) if checkpoint else None,
            [act.seq for act in acts],
            notices,
        )
        faults.point("after_mark_commit")
        return planned

    # ── recovery ──

    def check_mode(self, finished: Finished, mode: str) -> None:
        """Raise ConfigError if positions or orders are open in another mode: they would be orphaned in its account."""
        last = self._ledger.last_intent()
        if last is None or last.mode == mode:
            return
        self._keep(finished.book)
        held = [position.contract for position in self._engine.positions()]
        held += [intent.contract for intent, _ in self._ledger.unfinished()]
        if held:
            raise ConfigError(
                f"strategies.{self._ledger.strategy}.mode: changed from {last.mode} to {mode} with positions or "
                f"orders in {', '.join(dict.fromkeys(held))}; close them in mode {last.mode} first. Not starting"
            )

    def recover(self) -> Minute | None:
        """Bring engine and position to where the last process ended, as far as the tape reaches.

        return: the minute it ended with, if the tape has it: an entry may be left that was decided on it
        """
        finished, bounds = self._ledger.finished(), self._market_data.bounds()
        if finished is None:
            self.begin(bounds[1] if bounds else 0)
            return None
        if self._market_data.is_ahead(finished.ts_mark):
            self._come_back(finished, bounds)
            return None
        checkpoint = self._ledger.checkpoint()
        if checkpoint is None or not self._engine.has_digest(checkpoint.digest):
            self._begin_again(finished, bounds, "code or configuration changed")
        elif bounds is not None and bounds[0] > checkpoint.ts_mark + MINUTE_NS:
            self._begin_again(finished, bounds, "the tape no longer reaches back to the checkpoint")
        elif not self._is_restored(checkpoint):
            self._begin_again(finished, bounds, "the checkpoint is damaged")
        else:
            self.position_ns = checkpoint.ts_mark
            self._goal = finished if checkpoint.ts_mark < finished.ts_mark else None
            self._applied.clear()
            for ts_mark, event in self._ledger.applied_after(checkpoint.ts_mark):
                self._applied[ts_mark] += self.outcomes([(self._ledger.intent(event.intent), event)], [])
            for ts_mark, act in self._ledger.obeyed_after(checkpoint.ts_mark):
                self._applied[ts_mark] += self.outcomes([], [act])
            self._catch_up()
        for ts_close, data in self._market_data.entries(finished.ts_mark - 1_000_000, 1):
            if ts_close == finished.ts_mark:
                return self._market_data.minute(ts_close, data)
        return None

    def _come_back(self, finished: Finished, bounds: tuple[int, int] | None) -> None:
        """Go on from the tape's end: the ledger's position has not come yet. Raises BusError while nobody knows."""
        at = iso_second(finished.ts_mark)
        if not self._market_data.has_hub():  # it may be this machine's clock that is behind
            raise BusError(f"the ledger's position {at} is later than this machine's clock, and no hub tells the time")
        logger.error("%s: its position %s has not come yet: going on from the tape's end", self._ledger.path, at)
        self.begin(bounds[1] if bounds is not None else 0, finished.book)

    def _is_restored(self, checkpoint: Checkpoint) -> bool:
        """Whether the engine has become what a checkpoint froze; False of one that is not whole."""
        try:
            self._engine.restore(checkpoint.state)
        except (TypeError, ValueError) as error:
            logger.error("%s: checkpoint: %s", self._ledger.path, error)
            return False
        return True

    def _keep(self, book: Book) -> None:
        """Take over a book of the ledger. Raises LedgerError for one that cannot be read."""
        try:
            self._engine.keep(book)
        except (TypeError, ValueError, LookupError, msgspec.DecodeError) as error:
            raise LedgerError(f"{self._ledger.path}: its book cannot be read: {error}; not starting") from error

    def takes(self, ts_close: int, data: bytes) -> bool:
        """Take a minute that is finished already; False of one that is new, and to be decided on."""
        if not self.position_ns:
            # The tape was empty at the start; the hub has brought history since. A restart comes back to here.
            self.begin(ts_close - MINUTE_NS)
        if self._goal is None:
            return False
        self._step_again(ts_close, data, self._goal)
        return ts_close <= self.position_ns

    def begin(self, at_ns: int, book: Book | None = None, notices: Sequence[Notice] = ()) -> None:
        """Take up work after the minute `at_ns`, features from history; 0 while there is no tape yet."""
        bars, rolls = self._history(at_ns or time.time_ns())
        self._engine.restore(self._blank)
        self._engine.warm_up(bars, rolls)
        if book is not None:
            self._keep(book)
        self.position_ns, self._goal = at_ns, None
        if at_ns:
            self._clock.on_mark(at_ns)
            self.commit(Decisions(at_ns, [], [], []), notices=notices, checkpoint=True)

    def _catch_up(self) -> None:
        """Step again what the ledger has finished, as far as the tape reaches."""
        while self._goal is not None:
            entries = self._market_data.entries(self.position_ns, READ_AHEAD)
            if not entries or entries[0][0] > self._goal.ts_mark:
                return  # the tape lost its end, or all: the hub may bring it back
            for ts_close, data in entries:
                if self._goal is not None:
                    self._step_again(ts_close, data, self._goal)
            self._notifier.extend_timeout(60)

    def _step_again(self, ts_close: int, data: bytes, goal: Finished) -> None:
        """Step a minute that is finished already, with the outcomes it had; nothing is sent or written."""
        if ts_close > goal.ts_mark:
            self._begin_again(goal, (ts_close, ts_close - MINUTE_NS), "the tape has lost minutes")
            return
        try:
            self._engine.on_minute(self._market_data.minute(ts_close, data), self._applied.pop(ts_close, []))
        except StepError as error:
            self._keep_ledgers(goal, str(error))
            return
        self.position_ns = ts_close
        if ts_close < goal.ts_mark:
            return
        if self._engine.marks() != goal.marks:
            self._begin_again(goal, None, "the tape has lost minutes")
        elif self._engine.book() != goal.book:
            self._keep_ledgers(goal, "it gave another account or other positions than those written down")
        self._goal = None

    def _keep_ledgers(self, goal: Finished, why: str) -> None:
        """Go on with the ledger's book where stepping again gives another: exits go out, no entries."""
        name = self._ledger.strategy
        text = (
            f"stepping the tape again up to {iso_second(goal.ts_mark)} failed: {why}. The ledger's book is kept, no "
            f"entries: look at the broker, state what differs (rooney position {name} …), then rooney resume {name}"
        )
        notice = Notice(DOUBT, Turn.BEGINS, logging.CRITICAL, text)
        order_messages.say(logger, "start", notice)
        self._begin_again(goal, None, "stepping again failed", [notice])

    def _begin_again(
        self, finished: Finished, bounds: tuple[int, int] | None, why: str, notices: Sequence[Notice] = ()
    ) -> None:
        """Warm up afresh and keep the positions: at the ledger's position if the tape goes on from there."""
        lost = bounds is not None and bounds[0] > finished.ts_mark
        at_ns = bounds[1] if bounds is not None and lost else finished.ts_mark
        what = f"; minutes after {iso_second(finished.ts_mark)} are lost" if lost else ""
        logger.warning("%s: warming up afresh, positions kept%s", why, what)
        self.begin(at_ns, finished.book, notices)

    def _history(self, until_ns: int) -> tuple[list[Bar], list[Roll]]:
        """Bars and rolls that the features need, closed at or before `until_ns`."""
        bars: list[Bar] = []
        rolls: list[Roll] = []
        for instrument in self._engine.instruments:
            symbol = instrument.symbol
            for index, timeframe in enumerate(TIMEFRAMES):
                count = self._engine.warm_up_bars(index)
                if not count:
                    continue
                bars += self._bus.history(symbol, timeframe, count)
            rolls += self._bus.rolls(symbol)
        bars = [bar for bar in bars if bar.ts_close <= until_ns]
        first_ns = min((bar.ts_close for bar in bars), default=0)
        return bars, [roll for roll in rolls if first_ns <= roll.ts <= until_ns]
