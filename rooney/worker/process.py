"""The worker process: tape → engine → ledger → webhook. Wiring and supervision, no arithmetic.

A start is a recovery: load the newest checkpoint, step the tape again up to the ledger's position with the outcomes it
holds, sending nothing, then go on. Every minute ends in one transaction with its intents and the tape position.
"""

import atexit
import contextlib
import logging
import math
import os
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rooney import failpoints as faults
from rooney import log
from rooney.bus.client import Bus
from rooney.clock import CLOCK_DRIFT_S, Clock, ReplayClock
from rooney.config.loader import Config
from rooney.config.preflight import table_findings, worker_findings
from rooney.engine.build import build_engine
from rooney.engine.engine import Engine
from rooney.engine.model_checks import model_findings
from rooney.errors import EXIT_OK, BusError, ConfigError, LedgerError, MessageError
from rooney.execution import traderspost
from rooney.execution.account_lock import AccountLock, runtime_directory
from rooney.execution.command_handler import Desk
from rooney.execution.delivery import Delivery, take_over
from rooney.execution.gates import Rules, stopped
from rooney.execution.traderspost import TradersPost
from rooney.format import iso_second
from rooney.ledger.records import Checkpoint, Finished
from rooney.ledger.writer import Ledger
from rooney.market.instruments import group_of
from rooney.market.messages import (
    NO_ENTRY,
    TIMEFRAMES,
    Bar,
    InstrumentState,
    Minute,
    MinuteFlag,
    Roll,
    decode_minute,
    decode_roll,
)
from rooney.market.sessions import MINUTE_NS, trade_date, window_at
from rooney.orders import order_log as orderlog
from rooney.orders.control import Act, Control, control_directory
from rooney.orders.decisions import Book, Decided, Decisions, Outcome, Trade, intent_of
from rooney.orders.intents import Event, Intent, Payload
from rooney.orders.notices import DAILY_LOSS, DRAWDOWN, Notice, Turn
from rooney.orders.outcomes import OUTCOMES_PER_MARK, of_act, of_event
from rooney.strategy.hooks import Hooks
from rooney.systemd import Notifier
from rooney.systemd import interval as watchdog_interval_s
from rooney.worker import status as statusline

logger = logging.getLogger(__name__)

BLOCK_S = 0.5
REDIS_PAUSE_S = 0.5
REDIS_ALERT_S = 30.0
CHECKPOINT_EVERY_NS = 60 * MINUTE_NS
READ_AHEAD = 200
MIN_HISTORY_BARS = 300
COMPILE_S = 600.0  # ten seconds of work; a busy small machine may take minutes, and says nothing meanwhile
HEAD_START_S = 0.005
STOP_S = 60.0  # on_stop: flatten: how long the exits of a worker that ends may take
STOP_REPLAY_S = 2.0  # a replay's clock stands still: what is not due at once never will be


class Worker:
    """One strategy. `run()` returns the exit status.

    order_root: root in which the orders of a symbol are sent
    """

    def __init__(
        self,
        name: str,
        mode: str,
        engine: Engine,
        ledger: Ledger,
        bus: Bus,
        make_delivery: Callable[[Desk, Callable[[str], str]], Delivery],
        control: Control,
        notifier: Notifier,
        clock: Clock,
        order_root: Callable[[str], str],
        on_stop: str,
    ) -> None:
        self.name = name
        self._mode = mode
        self._engine = engine
        self._ledger = ledger
        self._bus = bus
        self._make_delivery = make_delivery
        self._notifier = notifier
        self._clock = clock
        self._order_root = order_root
        self._on_stop = on_stop
        self._symbols = [instrument.symbol for instrument in engine.instruments if instrument.traded]
        self._desk = Desk(name, mode, self._symbols, ledger, control, clock)
        self._hooks = Hooks(engine.compiled.instance())
        self._blank = engine.freeze()
        self._position_ns = 0  # of the engine on the tape
        self._goal: Finished | None = None  # where the last process ended; minutes up to there are only stepped again
        self._applied: dict[int, list[Outcome]] = {}
        self._stopping = False
        self._redis_ok = True
        self._redis_gone_mono = 0.0
        self._alerted = False
        self._minute_says: dict[str, int] = {}  # symbol → state in which the last minute wants no entries in it
        self._hub_says: dict[str, int] = {}  # the same of the hub's status, between its minutes
        self._clock_behind_s = 0.0  # of this machine, as the newest minute shows it
        # How long delivery may be waited for. A replay's clock stands still meanwhile, so it waits as long as it takes.
        self._patience_s = math.inf if clock.replay else 0.0
        self._halted: set[str] = set()  # limits that hold entries back, as last said
        self._said_ready = False
        self._delivery: Delivery

    def stop(self) -> None:
        """Finish the send in flight and end."""
        self._stopping = True

    def run(self) -> int:
        """Until stopped."""
        self._notifier.extend_timeout(COMPILE_S)
        self._engine.compile()
        self._take_over()
        if self._until_redis(self._recover):
            warm = f"{self._engine.warm()} of {len(self._symbols)} instruments warm"
            text = f"ready: {self._mode} mode, {warm}, tape position {iso_second(self._position_ns)}"
            log.event(logger, log.NOTICE, "start", text)
            self._say()
            self._follow()
        self._notifier.stopping()
        if self._on_stop == "flatten":
            self._flatten()
        if self._delivery.close(timeout_s=15):
            self._ledger.close()
        else:
            text = "stopping with a send in flight: it will be unconfirmed at the next start"
            log.event(logger, logging.CRITICAL, "stop", text)
        for position in self._engine.positions():
            text = f"stopping with a position: {position.contract} {position.side * position.quantity:+d}"
            log.event(logger, logging.WARNING, "stop", text, symbol=position.symbol)
        text = f"stopped at tape position {iso_second(self._position_ns)} after {self._engine.marks()} marks"
        log.event(logger, log.NOTICE, "stop", text)
        return EXIT_OK

    def _flatten(self) -> None:
        """Close everything before ending, as far as markets are open and the time to stop allows."""
        self._notifier.extend_timeout(STOP_S + 20)
        self._desk.leave("on_stop: flatten")
        end = time.monotonic() + (STOP_REPLAY_S if self._clock.replay else STOP_S)
        while True:
            self._serve()
            exposed = [one.symbol for one in self._desk.exposed()]
            is_open = any(window_at(group_of(symbol), self._clock.now_ns()) is not None for symbol in exposed)
            if not is_open or time.monotonic() > end or stopped(self._desk.switches()):
                break
            self._notifier.watchdog()
            time.sleep(0.05)
        if exposed:
            text = f"on_stop: flatten: {', '.join(exposed)} may still be open; exits go on at the next start"
            log.event(logger, logging.CRITICAL, "exit", text)

    def _serve(self) -> None:
        """The operator, and what is due to be sent."""
        self._desk.turn()
        self._delivery.turn(self._patience_s)

    def _feed(self, symbol: str) -> str:
        """Why the market data of a symbol cannot be trusted now, or empty; from any thread."""
        if not self._redis_ok:
            return "Redis is away"
        state = self._minute_says.get(symbol, self._hub_says.get(symbol))
        return NO_ENTRY[state] if state is not None else ""

    # ── start ──

    def _until_redis(self, act: Callable[[], None]) -> bool:
        """Do what needs Redis, as often as it takes; False when stopped meanwhile."""
        while not self._stopping:
            try:
                act()
            except BusError as error:
                logger.error("%s; waiting for it", error)
                self._notifier.status("waiting for Redis")
                self._notifier.extend_timeout(30)
                self._serve()
                time.sleep(REDIS_PAUSE_S)
            else:
                return True
        return False

    def _take_over(self) -> None:
        """Take charge of the orders of the last process; from the ledger alone, so that Redis may be away."""
        finished = self._ledger.finished()
        if finished is not None:
            self._check_mode(finished)
            self._clock.on_mark(finished.ts_mark)
        take_over(self._ledger, self._clock)
        self._delivery = self._make_delivery(self._desk, self._feed)
        self._desk.attach(self._delivery)
        for intent, events in self._ledger.unfinished():
            self._delivery.add(intent, events)

    def _recover(self) -> None:
        """Bring engine and tape position to where the last process ended."""
        finished, bounds = self._ledger.finished(), self._bus.tape_bounds()
        if finished is None:
            self._begin(bounds[1] if bounds else 0)
            return
        checkpoint = self._ledger.checkpoint()
        if checkpoint is None or not self._engine.has_digest(checkpoint.digest):
            self._begin_again(finished, bounds, "code or configuration changed")
        elif bounds is not None and bounds[0] > checkpoint.ts_mark + MINUTE_NS:
            self._begin_again(finished, bounds, "the tape no longer reaches back to the checkpoint")
        else:
            self._engine.restore(checkpoint.state)
            self._position_ns = checkpoint.ts_mark
            self._goal = finished if checkpoint.ts_mark < finished.ts_mark else None
            self._applied = {}
            for ts_mark, event in self._ledger.applied_after(checkpoint.ts_mark):
                heard = [(self._ledger.intent(event.intent), event)]
                self._applied.setdefault(ts_mark, []).extend(self._heard(heard, []))
            for ts_mark, act in self._ledger.obeyed_after(checkpoint.ts_mark):
                self._applied.setdefault(ts_mark, []).extend(self._heard([], [act]))
            self._catch_up()
        for ts_close, data in self._bus.read_tape(finished.ts_mark - 1_000_000, 1):
            if ts_close == finished.ts_mark:  # an entry may be left that was decided on it
                self._minute_says = _refused(self._decode(ts_close, data))

    def _check_mode(self, finished: Finished) -> None:
        """Another mode is another account: its positions would be orphaned."""
        last = self._ledger.last_intent()
        if last is None or last.mode == self._mode:
            return
        self._engine.keep(finished.book)
        held = [position.contract for position in self._engine.positions()]
        held += [intent.contract for intent, _ in self._ledger.unfinished()]
        if held:
            raise ConfigError(
                f"strategies.{self.name}.mode: changed from {last.mode} to {self._mode} with positions or orders in "
                f"{', '.join(dict.fromkeys(held))}; close them in mode {last.mode} first. Not starting"
            )

    def _catch_up(self) -> None:
        """Step again what the ledger has finished, as far as the tape reaches."""
        while self._goal is not None:
            entries = self._bus.read_tape(self._position_ns, READ_AHEAD)
            if not entries or entries[0][0] > self._goal.ts_mark:
                return  # the tape lost its end, or all: the hub may bring it back
            for ts_close, data in entries:
                if self._goal is not None:
                    self._step_again(ts_close, data, self._goal)
            self._notifier.extend_timeout(60)

    def _step_again(self, ts_close: int, data: bytes, goal: Finished) -> None:
        """A minute that is finished already, with the outcomes it had; nothing is sent or written."""
        if ts_close > goal.ts_mark:
            self._begin_again(goal, (ts_close, ts_close - MINUTE_NS), "the tape has lost minutes")
            return
        self._engine.on_minute(self._decode(ts_close, data), self._applied.pop(ts_close, []))
        self._position_ns = ts_close
        if ts_close < goal.ts_mark:
            return
        if self._engine.marks() != goal.marks:
            self._begin_again(goal, None, "the tape has lost minutes")
        elif self._engine.book() != goal.book:
            raise LedgerError(
                f"{self._ledger.path}: stepping the tape again up to {iso_second(ts_close)} gave other positions than "
                "those written down; a step that decides differently the second time is not trusted with money: not "
                "starting"
            )
        self._goal = None

    def _begin_again(self, finished: Finished, bounds: tuple[int, int] | None, why: str) -> None:
        """Warm up afresh and keep the positions: at the ledger's position if the tape goes on from there."""
        lost = bounds is not None and bounds[0] > finished.ts_mark
        at_ns = bounds[1] if bounds is not None and lost else finished.ts_mark
        what = f"; minutes after {iso_second(finished.ts_mark)} are lost" if lost else ""
        logger.warning("%s: warming up afresh, positions kept%s", why, what)
        self._begin(at_ns, finished.book)

    def _begin(self, at_ns: int, book: Book | None = None) -> None:
        """Take up work after the minute `at_ns`, features from history; 0 while there is no tape yet."""
        bars, rolls = self._history(at_ns or time.time_ns())
        self._engine.restore(self._blank)
        self._engine.warm_up(bars, rolls)
        if book is not None:
            self._engine.keep(book)
        self._position_ns, self._goal = at_ns, None
        if at_ns:
            self._clock.on_mark(at_ns)
            self._commit(Decisions(at_ns, [], [], []), [], [], [], 0, checkpoint=True)

    def _history(self, until_ns: int) -> tuple[list[Bar], list[Roll]]:
        """What the features need, closed at or before `until_ns`."""
        bars: list[Bar] = []
        rolls: list[Roll] = []
        for instrument in self._engine.instruments:
            symbol = instrument.symbol
            for index, timeframe in enumerate(TIMEFRAMES):
                need = self._engine.history_bars(index)
                if not need:
                    continue
                try:
                    bars += self._bus.history(symbol, timeframe, max(MIN_HISTORY_BARS, 10 * need))
                except MessageError as error:
                    logger.error("history of %s %s left out: %s", symbol, timeframe, error)
            for data in self._bus.rolls(symbol):
                with contextlib.suppress(MessageError):
                    rolls.append(decode_roll(data))
        bars = [bar for bar in bars if bar.ts_close <= until_ns and _possible(bar)]
        first_ns = min((bar.ts_close for bar in bars), default=0)
        return bars, [roll for roll in rolls if first_ns <= roll.ts <= until_ns]

    # ── the loop ──

    def _follow(self) -> None:
        interval_s = watchdog_interval_s() or 10.0
        next_ping = next_say = 0.0
        while not self._stopping:
            now = time.monotonic()
            if now >= next_ping:
                self._notifier.watchdog()
                next_ping = now + interval_s
            if now >= next_say:
                self._ask_hub()
                self._say()
                next_say = now + 1.0
            self._serve()
            try:
                entries = self._bus.read_tape(self._position_ns, READ_AHEAD, self._delivery.idle_s(BLOCK_S))
                if not self._redis_ok:  # said before the entries it brings, for those may be traded
                    logger.warning("Redis is back")
                    self._redis_ok = True
                for ts_close, data in entries:
                    if self._stopping:
                        break
                    self._on_entry(ts_close, data)
                    if time.monotonic() >= next_ping:
                        self._notifier.watchdog()
                        next_ping = time.monotonic() + interval_s
            except BusError as error:
                self._redis_failed(error)
                time.sleep(REDIS_PAUSE_S)

    def _redis_failed(self, error: BusError) -> None:
        """No entry leaves any more, exits follow their policy; said once, and once more when it has lasted."""
        now = time.monotonic()
        if self._redis_ok:
            logger.error("%s; no new entries until it is back", error)
            self._redis_gone_mono, self._alerted = now, False
        self._redis_ok = False
        if not self._alerted and now - self._redis_gone_mono >= REDIS_ALERT_S:
            self._alerted = True
            logger.critical("Redis has been away for %g s: nothing is decided, no entries", REDIS_ALERT_S)

    def _ask_hub(self) -> None:
        """What the hub says of the instruments, between its minutes; a replay's past has no such present."""
        if self._clock.replay or not self._redis_ok:
            return
        try:
            status = self._bus.status()
        except MessageError as error:
            logger.error("hub:status cannot be read: %s", error)
            return
        except BusError as error:
            self._redis_failed(error)
            return
        states = {InstrumentState(state).name.lower(): state for state in NO_ENTRY}
        told = status.instruments if status is not None else {}
        self._hub_says = {symbol: states[name] for symbol, name in told.items() if name in states}

    def _on_entry(self, ts_close: int, data: bytes) -> None:
        if not self._position_ns:
            # The tape was empty at the start; the hub has brought history since. A restart comes back to here.
            self._begin(ts_close - MINUTE_NS)
        if self._goal is not None:
            self._step_again(ts_close, data, self._goal)
            if ts_close <= self._position_ns:
                return
        self._clock.on_mark(ts_close)
        self._compare_clock(ts_close)
        self._delivery.turn(self._patience_s)
        minute = self._decode(ts_close, data)
        self._minute_says = _refused(minute)
        # What does not fit into one mark waits for the next; an operator's act finds room in any.
        room = OUTCOMES_PER_MARK * len(self._symbols)
        heard = self._delivery.outcomes(room - len(self._symbols))
        acts = self._desk.acts(room - len(heard))
        decisions = self._engine.on_minute(minute, self._heard(heard, acts))
        intents: list[Intent] = []
        for decided in decisions.intents:
            intents.append(self._intent(decided, ts_close, {intent.id for intent in intents}))
        halts, closed = self._halts(), [_closed(trade) for trade in decisions.trades]
        latency_ns = max(0, time.time_ns() - minute.ts_hub_ns) if minute.ts_hub_ns else 0
        self._position_ns = ts_close
        is_due = ts_close % CHECKPOINT_EVERY_NS == 0
        planned = self._commit(decisions, intents, heard, acts, latency_ns, is_due, [*halts, *closed])
        for intent, event in zip(intents, planned, strict=True):
            self._delivery.add(intent, [event])
        # An intent that waits costs latency: it is on its way before anything is said about it.
        self._delivery.turn()
        self._delivery.give_way(HEAD_START_S)
        for intent in intents:
            orderlog.decided(logger, intent)
        self._tell_halts(halts)
        for trade in closed:
            orderlog.say(logger, "trade", trade)
        self._delivery.turn(self._patience_s)
        self._hooks.call(intents, decisions.trades)

    def _halts(self) -> list[Notice]:
        """Whether the daily loss and the drawdown limit hold entries back."""
        _, day_usd, is_halted = self._engine.equity()
        drawdown_usd, is_drawdown_halted = self._engine.drawdown()
        limits = (
            (DAILY_LOSS, is_halted, f"day {day_usd:+.2f}"),
            (DRAWDOWN, is_drawdown_halted, f"{-drawdown_usd:+.2f}"),
        )
        found = []
        for about, is_latched, usd in limits:
            text = f"{about} limit lifted"
            if is_latched:
                text = f"{about} limit reached, est. {usd} USD: closing all, no entries until it is lifted"
                text += f" (rooney resume {self.name})"
            turn = Turn.BEGINS if is_latched else Turn.ENDS
            found.append(Notice(about, turn, logging.CRITICAL if is_latched else log.NOTICE, text))
        return found

    def _tell_halts(self, halts: list[Notice]) -> None:
        """Say once that a limit holds entries back, or does no longer."""
        for halt in halts:
            if (halt.turn is Turn.BEGINS) is not (halt.about in self._halted):
                self._halted ^= {halt.about}
                orderlog.say(logger, "halt", halt)

    def _compare_clock(self, ts_close: int) -> None:
        """A minute that has ended for the exchange and not for us: our clock is behind, and ages look too young."""
        behind_s = (ts_close - self._clock.now_ns()) / 1e9
        if behind_s > CLOCK_DRIFT_S >= self._clock_behind_s:
            text = f"this machine's clock is {behind_s:.1f} s behind the exchange's: the age of a bar cannot be judged"
            log.event(logger, logging.ERROR, "clock", text)
        elif behind_s <= CLOCK_DRIFT_S < self._clock_behind_s:
            log.event(logger, log.NOTICE, "clock", "this machine's clock agrees with the exchange's again")
        self._clock_behind_s = behind_s

    def _decode(self, ts_close: int, data: bytes) -> Minute:
        """The minute of a tape entry. One that cannot be read is a gap: nothing in it is known."""
        with contextlib.suppress(MessageError):
            minute = decode_minute(data)
            if minute.ts_close == ts_close and all(map(_possible, minute.bars)):
                return minute
        logger.error("tape entry %s cannot be read (%d bytes): treated as a gap", iso_second(ts_close), len(data))
        return Minute(ts_close, [], [], {}, int(MinuteFlag.GAP))

    def _heard(self, events: list[tuple[Intent, Event]], acts: list[Act]) -> list[Outcome]:
        """What the step is told; of instruments that are no longer traded nothing."""
        found = [of_event(intent, event) for intent, event in events]
        known = [outcome for outcome in found if outcome is not None and outcome.symbol in self._symbols]
        return known + [outcome for act in acts for outcome in of_act(act, self._symbols)]

    def _intent(self, decided: Decided, ts_mark: int, taken: set[str]) -> Intent:
        """The intent of a decision, with a number and an id that no other has; `taken` are ids of this mark."""

        def is_taken(id_: str) -> bool:
            return id_ in taken or self._ledger.has_intent(id_)

        root, seq = self._order_root(decided.symbol), self._ledger.next_seq()
        return intent_of(decided, self.name, self._mode, root, ts_mark, seq, is_taken)

    def _commit(
        self,
        decisions: Decisions,
        intents: list[Intent],
        heard: list[tuple[Intent, Event]],
        acts: list[Act],
        latency_ns: int,
        checkpoint: bool,
        notices: Sequence[Notice] = (),
    ) -> list[Event]:
        equity, day_pnl, halted = self._engine.equity()
        detail = {
            "equity_usd": equity,
            "day_pnl_usd": day_pnl,
            "halted": halted,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "warm": self._engine.warm(),
        }
        planned = self._ledger.commit_mark(
            decisions.ts_mark,
            intents,
            [event.seq for _, event in heard],
            decisions.evaluated,
            decisions.trades,
            self._engine.marks(),
            latency_ns,
            detail,
            self._engine.book(),
            Checkpoint(decisions.ts_mark, self._engine.digest, self._engine.freeze()) if checkpoint else None,
            [act.seq for act in acts],
            notices,
        )
        faults.point("after_mark_commit")
        return planned

    def _say(self) -> None:
        """READY until the manager has taken it, then STATUS."""
        self._said_ready = self._said_ready or self._notifier.ready()
        _, day_usd, halted = self._engine.equity()
        state = "HALTED daily loss" if halted else self._mode
        if self._clock_behind_s > CLOCK_DRIFT_S:
            state = f"ATTENTION clock {self._clock_behind_s:.0f} s behind"
        if self._delivery.breaker():
            state = "HALTED breaker"
        if switches := self._desk.switches():
            state = f"HALTED {switches[0].level}"
        if not self._redis_ok:
            state = "ALERT Redis away" if self._alerted else "ATTENTION Redis away"
        values = {one.symbol: one.point_value for one in self._engine.instruments}
        is_sending = any(map(self._delivery.is_in_flight, self._symbols))
        self._notifier.status(
            " | ".join(
                (
                    f"{state} {statusline.holdings(self._engine.positions(), values)} day {day_usd:+.2f}",
                    statusline.orders(len(self._delivery.unconfirmed()), is_sending),
                    self._data(),
                    f"mark {iso_second(self._position_ns)[11:16]}Z" if self._position_ns else "mark none",
                )
            )
        )

    def _data(self) -> str:
        """The part of STATUS that says how far the market data can be trusted."""
        now_ns = self._clock.now_ns()
        states = {
            symbol: InstrumentState(state).name.lower()
            for symbol, state in (self._hub_says | self._minute_says).items()
            if symbol in self._symbols
        }
        is_open = any(window_at(group_of(symbol), now_ns) is not None for symbol in self._symbols)
        return statusline.data(states, is_open, (now_ns - self._position_ns) / 1e9 if self._position_ns else None)


def _refused(minute: Minute) -> dict[str, int]:
    """Symbol → its state, of those in which nothing may be entered on this minute."""
    return {symbol: state for symbol, state in minute.states.items() if state in NO_ENTRY}


def _closed(trade: Trade) -> Notice:
    """A trade that is over."""
    text = f"{trade.contract} {trade.side:+d} closed: {trade.cause}, est. P&L {trade.pnl_usd:+.2f} USD"
    return Notice("trade", Turn.NEWS, log.NOTICE, text, trade.symbol)


def _possible(bar: Bar) -> bool:
    """Whether such a bar can be; prices below zero can, they have been."""
    prices = bar.open + bar.high + bar.low + bar.close
    return 0 <= bar.ts_open < bar.ts_close < 1 << 62 and 0 <= bar.volume < 1 << 53 and math.isfinite(prices)


def build(config: Config, name: str, *, state: Path, replay: bool, credentials: Path | None = None) -> Worker:
    """The worker of one strategy. state: its own directory. Raises ConfigError or LedgerError (exit 78)."""
    settings = config.worker(name, credentials)
    strategy = settings.strategy
    for finding in [*worker_findings(settings), *model_findings(strategy), *table_findings(trade_date(time.time_ns()))]:
        logger.log(log.NOTICE if finding.level == "note" else logging.WARNING, "%s: %s", finding.path, finding.text)
    if settings.account is not None:
        lock = AccountLock(settings.account, name, runtime_directory(os.environ))
        atexit.register(lock.close)
    engine = build_engine(strategy)
    client = TradersPost(settings.account.url.reveal()) if settings.account is not None else None
    ledger = Ledger(state / "ledger.sqlite", name)
    clock = ReplayClock() if replay else Clock()
    block = strategy.settings
    traded = strategy.traded

    def payload(intent: Intent, ts_decided_ns: int) -> Payload:
        return traderspost.payload(
            intent,
            reject_after_s=block.reject_after_s,
            tick_size=traded[intent.symbol].tick_size,
            ts_decided_ns=ts_decided_ns,
            broker_stop=block.broker_stop,
        )

    def make_delivery(desk: Desk, feed: Callable[[str], str]) -> Delivery:
        caps = {symbol: instrument.size for symbol, instrument in traded.items()}
        rules = Rules(
            stale_after_s=block.stale_after_s,
            settle_s=block.settle_s,
            mode=block.mode,
            size_caps=caps,
            requests_per_minute=block.requests_per_minute,
            requests_per_hour=block.requests_per_hour,
        )
        send = client.send if client else None
        return Delivery(ledger, send, payload, group_of, clock, rules, desk.switches, feed)

    hub = settings.data_hub
    bus = Bus.to(hub)
    return Worker(
        name,
        block.mode,
        engine,
        ledger,
        bus,
        make_delivery,
        Control(control_directory(os.environ), name),
        Notifier(),
        clock,
        lambda symbol: traded[symbol].root,
        block.on_stop,
    )
