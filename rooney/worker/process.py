"""The worker process: tape → engine → ledger → webhook. Wiring and supervision, no arithmetic.

A start is a recovery (`recovery.py`), then the loop follows the tape. Every minute ends in one transaction with its
intents and the tape position; an intent is in the ledger before anything is sent.
"""

import atexit
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from rooney import log
from rooney.bus.reader import Reader
from rooney.clock import Clock, ReplayClock
from rooney.config.check import table_findings, worker_findings
from rooney.config.loader import Config
from rooney.config.settings import StrategyConfig
from rooney.engine.build import build_engine
from rooney.engine.engine import Engine
from rooney.engine.model_checks import model_findings
from rooney.errors import EXIT_OK, BusError, FullError, RooneyError
from rooney.execution.account_lock import AccountLock, runtime_directory
from rooney.execution.command_handler import CommandHandler
from rooney.execution.delivery import Delivery
from rooney.execution.payload import payload_of
from rooney.execution.send_gates import Rules
from rooney.execution.traderspost import TradersPost
from rooney.format import iso_second
from rooney.ledger.writer import Ledger
from rooney.market.sessions import MINUTE_NS, trade_date
from rooney.orders import order_messages
from rooney.orders.control import Control
from rooney.orders.decisions import Decided, intent_of
from rooney.orders.intents import Intent, Payload
from rooney.orders.notices import DISK, DISK_FULL, Notice, Turn
from rooney.orders.outcomes import OUTCOMES_PER_MARK
from rooney.strategy.hooks import Hooks
from rooney.systemd import Notifier
from rooney.systemd import interval as watchdog_interval_s
from rooney.worker import status
from rooney.worker.market_data import MarketData
from rooney.worker.recovery import READ_AHEAD, Progress

logger = logging.getLogger(__name__)

BLOCK_S = 0.5
REDIS_PAUSE_S = 0.5
CHECKPOINT_EVERY_NS = 60 * MINUTE_NS
COMPILE_S = 600.0  # ten seconds of work; a busy small machine may take minutes, and says nothing meanwhile
FULL_WAIT_S = 200  # for room before a start; with the unit's start limit of 5 in 900 s it is never given up
HEAD_START_S = 0.005
STOP_S = 60.0  # on_stop: flatten: how long the exits of a worker that ends may take
STOP_REPLAY_S = 2.0  # a replay's clock stands still: what is not due at once never will be


class Worker:
    """One strategy. `run()` returns the exit status."""

    def __init__(
        self,
        strategy: StrategyConfig,
        engine: Engine,
        ledger: Ledger,
        bus: Reader,
        make_delivery: Callable[[CommandHandler, Callable[[str], str]], Delivery],
        control: Control,
        clock: Clock,
    ) -> None:
        """make_delivery: of the operator's commands, and of why the market data of a symbol cannot be trusted."""
        self._strategy = strategy
        self._mode = strategy.settings.mode
        self._engine = engine
        self._ledger = ledger
        self._bus = bus
        self._make_delivery = make_delivery
        self._clock = clock
        self._notifier = Notifier()
        self._symbols = [instrument.symbol for instrument in engine.instruments if instrument.traded]
        self._market_data = MarketData(bus, clock, self._symbols)
        self._progress = Progress(engine, ledger, bus, self._market_data, clock, self._notifier)
        self._commands = CommandHandler(strategy.name, self._mode, self._symbols, ledger, control, clock)
        self._hooks = Hooks(engine.compiled.instance())
        self._stopping = False
        self._halted: set[str] = set()  # limits that hold entries back, as last said
        self._said_ready = False
        self._disk_told = DISK_FULL if ledger.has_trouble(DISK) else ""
        self._delivery: Delivery

    def stop(self) -> None:
        """Finish the send in flight and end."""
        self._stopping = True

    def run(self) -> int:
        """Until stopped."""
        self._tell_last_end()
        try:
            self._run()
        except RooneyError:  # an end that says why itself
            self._ledger.doing("")
            raise
        return EXIT_OK

    def _run(self) -> None:
        self._ledger.doing("starting")
        self._ledger.ballast.lay()
        self._notifier.extend_timeout(COMPILE_S)
        self._engine.compile()
        self._take_over()
        self._ledger.doing("stepping the tape again")
        if self._recover():
            warm = f"{self._engine.warm()} of {len(self._symbols)} instruments warm"
            text = f"ready: {self._mode} mode, {warm}, tape position {iso_second(self._progress.position_ns)}"
            log.event(logger, log.NOTICE, "start", text)
            self._say()
            self._ledger.doing("following the tape")
            self._follow()
        self._ledger.doing("stopping")
        self._notifier.stopping()
        if self._strategy.settings.on_stop == "flatten":
            self._flatten()
        if self._delivery.close(timeout_s=15):
            self._ledger.doing("")
            self._ledger.close()
            if self._ledger.is_behind:
                log.event(logger, logging.CRITICAL, "disk", f"stopping; lost, as {self._ledger.lack}")
        else:
            text = "stopping with a send in flight: it will be unconfirmed at the next start"
            log.event(logger, logging.CRITICAL, "stop", text)
        for position in self._engine.positions():
            text = f"stopping with a position: {position.contract} {position.side * position.quantity:+d}"
            log.event(logger, logging.WARNING, "stop", text, symbol=position.symbol)
        at = iso_second(self._progress.position_ns)
        log.event(logger, log.NOTICE, "stop", f"stopped at tape position {at} after {self._engine.marks()} marks")

    def _tell_last_end(self) -> None:
        """Say once that the last process was killed or crashed, and at what."""
        if self._ledger.left_doing:
            finished = self._ledger.finished()
            mark = iso_second(finished.ts_mark) if finished else "none"
            settle_s = self._strategy.settings.settle_s
            wait = f"; exits wait {settle_s:g} s: some may be on their way" if self._ledger.is_uncertain else ""
            text = f"the last run did not end cleanly: it was {self._ledger.left_doing}, last mark {mark}{wait}"
            notice = Notice("start", Turn.NEWS, logging.ERROR, text)
            self._ledger.tell(notice, finished.ts_mark if finished else 0)
            order_messages.say(logger, "start", notice)

    def _flatten(self) -> None:
        """Close everything before ending, as far as markets are open and the time to stop allows."""
        self._notifier.extend_timeout(STOP_S + 20)
        self._commands.leave("on_stop: flatten")
        end = time.monotonic() + (STOP_REPLAY_S if self._clock.replay else STOP_S)

        def pass_time() -> None:
            self._notifier.watchdog()
            time.sleep(0.05)

        exposed = self._commands.deliver(lambda: time.monotonic() > end, pass_time)
        if exposed:
            symbols = ", ".join(exposure.symbol for exposure in exposed)
            text = f"on_stop: flatten: {symbols} may still be open; exits go on at the next start"
            log.event(logger, logging.CRITICAL, "exit", text)

    # ── start ──

    def _recover(self) -> bool:
        """Recover once Redis is there; False when stopped meanwhile."""
        while not self._stopping:
            try:
                minute = self._progress.recover()
            except BusError as error:
                logger.error("%s; waiting for it", error)
                self._notifier.status("waiting for Redis")
                self._notifier.extend_timeout(30)
                self._tell_disk()
                self._commands.serve()
                time.sleep(REDIS_PAUSE_S)
            else:
                if minute is not None:
                    self._market_data.take(minute)
                return True
        return False

    def _take_over(self) -> None:
        """Take charge of the orders of the last process; from the ledger alone, so that Redis may be away."""
        finished = self._ledger.finished()
        if finished is not None:
            self._progress.check_mode(finished, self._mode)
            self._clock.on_mark(finished.ts_mark)
        self._delivery = self._commands.take_over(lambda: self._make_delivery(self._commands, self._lack))

    def _lack(self, symbol: str) -> str:
        """Why nothing may be entered in a symbol now, or nothing."""
        if self._ledger.lack:
            return DISK_FULL
        return self._commands.doubt(symbol) or self._market_data.lack(symbol)

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
                self._tell_disk()
                self._market_data.ask_hub()
                self._say()
                next_say = now + 1.0
            self._commands.serve()
            try:
                wait_s = self._delivery.idle_s(BLOCK_S)
                entries = self._market_data.entries(self._progress.position_ns, READ_AHEAD, wait_s)
                self._market_data.answered()
                for ts_close, data in entries:
                    if self._stopping:
                        break
                    self._on_entry(ts_close, data)
                    if time.monotonic() >= next_ping:
                        self._notifier.watchdog()
                        next_ping = time.monotonic() + interval_s
            except BusError as error:
                # No entry leaves any more, exits follow their policy.
                self._market_data.outage.failed(error)
                time.sleep(REDIS_PAUSE_S)

    def _on_entry(self, ts_close: int, data: bytes) -> None:
        if self._progress.takes(ts_close, data):
            return
        self._clock.on_mark(ts_close)
        self._market_data.compare_clock(ts_close)
        self._delivery.turn(self._clock.patience_s)
        minute = self._market_data.minute(ts_close, data)
        self._market_data.take(minute)
        # What does not fit into one mark waits for the next; an operator's act finds room in any.
        room = OUTCOMES_PER_MARK * len(self._symbols)
        events = self._delivery.outcomes(room - len(self._symbols))
        acts = self._commands.acts(room - len(events))
        decisions = self._engine.on_minute(minute, self._progress.outcomes(events, acts))
        intents: list[Intent] = []
        for decided in decisions.intents:
            intents.append(self._intent(decided, ts_close, {intent.id for intent in intents}))
        halts = status.limit_notices(self._engine, self._strategy.name)
        closed = [status.trade_notice(trade) for trade in decisions.trades]
        latency_ns = max(0, time.time_ns() - minute.ts_hub_ns) if minute.ts_hub_ns else 0
        self._progress.position_ns = ts_close
        is_due = ts_close % CHECKPOINT_EVERY_NS == 0
        planned = self._progress.commit(
            decisions, intents, events, acts, latency_ns, [*halts, *closed], checkpoint=is_due
        )
        for intent, event in zip(intents, planned, strict=True):
            self._delivery.add(intent, [event])
        # An intent that waits costs latency: it is on its way before anything is said about it.
        self._delivery.turn()
        self._delivery.give_way(HEAD_START_S)
        for intent in intents:
            order_messages.decided(logger, intent)
        self._tell_halts(halts)
        for trade in closed:
            order_messages.say(logger, "trade", trade)
        self._delivery.turn(self._clock.patience_s)
        self._hooks.call(intents, decisions.trades)

    def _tell_disk(self) -> None:
        """Write what waits for room, and say once that the disk is full, or is no longer."""
        self._ledger.write_out()
        if (lack := self._ledger.lack) == self._disk_told:
            return
        self._disk_told = lack
        over = Notice(DISK, Turn.ENDS, log.NOTICE, "the disk has room again, and all is written down")
        notice = Notice(DISK, Turn.BEGINS, logging.CRITICAL, lack) if lack else over
        order_messages.say(logger, "disk", notice)  # first: the journal is on another disk, or in memory
        self._ledger.tell(notice, self._clock.now_ns())

    def _tell_halts(self, halts: list[Notice]) -> None:
        """Say once that a limit holds entries back, or does no longer."""
        for halt in halts:
            if (halt.turn is Turn.BEGINS) is not (halt.about in self._halted):
                self._halted ^= {halt.about}
                order_messages.say(logger, "halt", halt)

    def _intent(self, decided: Decided, ts_mark: int, taken: set[str]) -> Intent:
        """The intent of a decision, with a number and an id that no other has; `taken` are ids of this mark."""

        def is_taken(id_: str) -> bool:
            return id_ in taken or self._ledger.has_intent(id_)

        root, seq = self._strategy.traded[decided.symbol].root, self._ledger.next_seq()
        return intent_of(decided, self._strategy.name, self._mode, root, ts_mark, seq, is_taken)

    def _say(self) -> None:
        """READY until the manager has taken it, then STATUS."""
        self._said_ready = self._said_ready or self._notifier.ready()
        _, day_usd, is_halted = self._engine.equity()
        switches = self._commands.switches()
        state = status.headline(
            self._mode,
            is_disk_full=bool(self._ledger.lack),
            is_redis_away=self._market_data.outage.is_on,
            is_alerted=self._market_data.outage.is_alerted,
            switch=switches[0].level if switches else "",
            has_breaker=bool(self._delivery.breaker()),
            clock_behind_s=self._market_data.host_clock.behind_s,
            is_halted=is_halted,
        )
        values = {instrument.symbol: instrument.point_value for instrument in self._engine.instruments}
        is_sending = any(map(self._delivery.is_in_flight, self._symbols))
        position_ns = self._progress.position_ns
        parts = (
            f"{state} {status.holdings(self._engine.positions(), values)} day {day_usd:+.2f}",
            status.orders(len(self._delivery.unconfirmed()), is_sending),
            self._market_data.text(position_ns),
            f"mark {iso_second(position_ns)[11:16]}Z" if position_ns else "mark none",
        )
        self._notifier.status(" | ".join(parts))


def _open_ledger(path: Path, name: str, notifier: Notifier) -> Ledger:
    """The ledger; under systemd also waited for while its disk is full. Raises LedgerError, FullError."""
    for second in range(FULL_WAIT_S):
        try:
            return Ledger(path, name)
        except FullError as error:
            if not notifier.status(f"ATTENTION {DISK_FULL}, not started"):
                raise
            log.event(logger, logging.DEBUG if second else logging.CRITICAL, "disk", f"{error}. Waiting for it")
        notifier.extend_timeout(30)
        time.sleep(1)
    return Ledger(path, name)


def build(
    config: Config,
    name: str,
    *,
    state: Path,
    control: Path,
    replay: bool,
    credentials: Path | None = None,
) -> Worker:
    """The worker of one strategy. Raises ConfigError or LedgerError (exit 78).

    state: its own directory; control: the one of switches and commands, of all strategies
    """
    settings = config.worker(name, credentials)
    strategy = settings.strategy
    of_table = table_findings(trade_date(time.time_ns()), strategy.traded)
    for finding in [*worker_findings(settings), *model_findings(strategy), *of_table]:
        logger.log(log.NOTICE if finding.level == "note" else logging.WARNING, "%s: %s", finding.path, finding.text)
    if settings.account is not None:
        lock = AccountLock(settings.account, name, runtime_directory(os.environ))
        atexit.register(lock.close)
    engine = build_engine(strategy)
    client = TradersPost(settings.account.url.reveal()) if settings.account is not None else None
    ledger = _open_ledger(state / "ledger.sqlite", name, Notifier())
    clock = ReplayClock() if replay else Clock()
    block = strategy.settings
    traded = strategy.traded

    def payload(intent: Intent, ts_decided_ns: int) -> Payload:
        return payload_of(
            intent,
            reject_after_s=block.reject_after_s,
            tick_size=traded[intent.symbol].tick_size,
            ts_decided_ns=ts_decided_ns,
            broker_stop=block.broker_stop,
        )

    def make_delivery(commands: CommandHandler, feed: Callable[[str], str]) -> Delivery:
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
        return Delivery(ledger, send, payload, clock, rules, commands.switches, feed)

    switches = Control(control, name)
    return Worker(strategy, engine, ledger, Reader(settings.data_hub), make_delivery, switches, clock)
