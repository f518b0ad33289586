"""The worker process: tape → engine → ledger → webhook. Wiring and supervision, no arithmetic.

A start is a recovery: load the newest checkpoint, step the tape again up to the ledger's position with the outcomes it
holds, sending nothing, then go on. Every minute ends in one transaction with its intents and the tape position.
"""

import atexit
import contextlib
import logging
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from rooney import codec, log, traderspost
from rooney.accounts import AccountLock, runtime_directory
from rooney.bus import Bus
from rooney.clock import Clock, ReplayClock
from rooney.config import Config, StrategyConfig
from rooney.delivery import Delivery, Rules, outcome_kind
from rooney.engine import Decided, Decisions, Engine, EngineInstrument, Limits, Outcome
from rooney.errors import EXIT_OK, BusError, LedgerError, MessageError
from rooney.instruments import group_of
from rooney.ledger import Checkpoint, Event, Ledger
from rooney.messages import TIMEFRAMES, Minute, MinuteFlag
from rooney.notify import Notifier
from rooney.notify import interval as watchdog_interval_s
from rooney.orders import Intent, Payload, Role, State, intent_id
from rooney.sessions import MINUTE_NS
from rooney.strategy import compile_strategy, load
from rooney.traderspost import TradersPost

logger = logging.getLogger(__name__)

BLOCK_S = 1.0
BUSY_BLOCK_S = 0.05
REDIS_PAUSE_S = 0.5
CHECKPOINT_EVERY_NS = 60 * MINUTE_NS
READ_AHEAD = 200
MIN_HISTORY_BARS = 300


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
        make_delivery: Callable[[], Delivery],
        notifier: Notifier,
        clock: Clock,
        order_root: Callable[[str], str],
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
        self._intents = {intent.id: intent for intent in ledger.intents()}
        self._position_ns = 0
        self._stopping = False
        self._redis_ok = True
        self._said_ready = False
        self._delivery: Delivery

    def stop(self) -> None:
        """Finish the send in flight and end."""
        self._stopping = True

    def run(self) -> int:
        """Until stopped."""
        self._notifier.extend_timeout(120)
        self._engine.compile()
        if not self._until_redis(self._recover):
            return EXIT_OK
        self._delivery = self._make_delivery()
        for intent, events in self._ledger.unfinished():
            if intent.role is Role.EXIT or events[-1].state is State.PLANNED:
                self._delivery.add(intent, events)
        self._say()
        logger.info(
            "ready: %s mode, %d of %d instruments warm, tape position %s",
            self._mode, self._engine.warm(), len(self._engine.instruments), _utc(self._position_ns),
        )  # fmt: skip
        self._follow()
        self._notifier.stopping()
        if not self._delivery.close(timeout_s=15):
            logger.error("stopping with a send in flight: it will be unconfirmed at the next start")
        for position in self._engine.positions():
            logger.warning("stopping with a position: %s %+d", position.contract, position.side * position.quantity)
        logger.info("stopped at tape position %s after %d marks", _utc(self._position_ns), self._engine.marks())
        return EXIT_OK

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
                time.sleep(REDIS_PAUSE_S)
            else:
                return True
        return False

    def _recover(self) -> None:
        """Bring engine and tape position to where the last process ended."""
        for intent, events in self._ledger.unfinished():
            if events[-1].state is State.SENDING:
                why = "the process ended between sending and outcome"
                self._ledger.record(intent, State.UNCONFIRMED, events[-1].ts_clock, detail=why)
                log.event(logger, logging.CRITICAL, "order", f"{intent.ticker} unconfirmed: {why}", intent=intent.id)
        position = self._ledger.position()
        if position is None:
            self._first_start()
            return
        checkpoint = self._ledger.checkpoint()
        bounds = self._bus.tape_bounds()
        same = checkpoint is not None and checkpoint.digest == self._engine.digest
        if same and checkpoint and bounds and self._covers(bounds, checkpoint.ts_mark, position):
            self._engine.restore(checkpoint.state)
            self._step_again(checkpoint.ts_mark, position)
            self._position_ns = position
            self._clock.on_mark(position)
            return
        why = "code or configuration changed" if not same else "the tape no longer reaches back to the checkpoint"
        logger.warning("%s: warming up afresh; positions kept", why)
        if bounds is None or bounds[1] < position:
            # The tape was lost: what it will hold from now on is all new.
            self._warm_up(position)
            self._position_ns = position
        else:
            self._warm_up(bounds[1])
            self._position_ns = bounds[1]
        if checkpoint is not None:
            self._restore_positions(checkpoint)
        self._clock.on_mark(self._position_ns)

    @staticmethod
    def _covers(bounds: tuple[int, int], checkpoint_ns: int, position_ns: int) -> bool:
        """Whether every minute after the checkpoint is still on the tape, up to the position."""
        return bounds[0] <= checkpoint_ns + MINUTE_NS and bounds[1] >= position_ns or checkpoint_ns == position_ns

    def _restore_positions(self, checkpoint: Checkpoint) -> None:
        try:
            self._engine.keep_positions(checkpoint.state)
        except ValueError as error:
            raise LedgerError(
                f"{self._ledger.path}: the instruments changed while positions may be open: {error}; not starting"
            ) from error

    def _first_start(self) -> None:
        bounds = self._bus.tape_bounds()
        self._position_ns = bounds[1] if bounds else 0
        self._warm_up(self._position_ns or None)
        self._clock.on_mark(self._position_ns)
        if self._position_ns:
            self._commit(Decisions(self._position_ns, [], [], []), [], [], 0, checkpoint=True)

    def _warm_up(self, until_ns: int | None) -> None:
        """Fold history closed at or before `until_ns` into the features."""
        bars, rolls = [], []
        for index, timeframe in enumerate(TIMEFRAMES):
            needs = [f.kernel.warm_up(f.length) for f in self._engine.compiled.features if f.timeframe == index]
            if not needs:
                continue
            for instrument in self._engine.instruments:
                bars += self._bus.history(instrument.symbol, timeframe, max(MIN_HISTORY_BARS, 10 * max(needs)))
        for instrument in self._engine.instruments:
            rolls += [codec.decode_roll(data) for data in self._bus.rolls(instrument.symbol)]
        limit = until_ns if until_ns is not None else time.time_ns()
        first = min((bar.ts_close for bar in bars), default=0)
        self._engine.warm_up(
            [bar for bar in bars if bar.ts_close <= limit], [roll for roll in rolls if first <= roll.ts <= limit]
        )

    def _step_again(self, after_ns: int, until_ns: int) -> None:
        """Step minutes that are finished already, with the outcomes they had; nothing is sent or written."""
        applied: dict[int, list[Event]] = {}
        for ts_mark, event in self._ledger.applied_after(after_ns):
            applied.setdefault(ts_mark, []).append(event)
        position = after_ns
        while position < until_ns:
            entries = self._bus.read_tape(position, READ_AHEAD)
            if not entries:
                raise BusError("the tape ended before the ledger's position")
            for ts_close, data in entries:
                if ts_close > until_ns:
                    return
                decisions = self._engine.on_minute(self._decode(ts_close, data), self._heard(applied.get(ts_close, [])))
                self._check_again(decisions)
                position = ts_close
            self._notifier.extend_timeout(60)

    def _check_again(self, decisions: Decisions) -> None:
        """A step that decides differently the second time cannot be trusted with money."""
        for decided in decisions.intents:
            intent = self._intent(decided, decisions.ts_mark, seq=0)
            if intent.id not in self._intents:
                raise LedgerError(
                    f"{self._ledger.path}: stepping {_utc(decisions.ts_mark)} again decided "
                    f"{decided.role.name.lower()} {intent.ticker}, which is not in the ledger; not starting"
                )

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
                self._say()
                next_say = now + 1.0
            self._delivery.turn(wait=self._clock.replay)
            try:
                block_s = BUSY_BLOCK_S if self._delivery.busy() else BLOCK_S
                entries = self._bus.read_tape(self._position_ns, READ_AHEAD, block_s)
            except BusError as error:
                if self._redis_ok:
                    logger.error("%s; no new entries until it is back", error)
                self._redis_ok = False
                time.sleep(REDIS_PAUSE_S)
                continue
            if not self._redis_ok:
                logger.warning("Redis is back")
                self._redis_ok = True
            for ts_close, data in entries:
                if self._stopping:
                    break
                self._on_entry(ts_close, data)
                if time.monotonic() >= next_ping:
                    self._notifier.watchdog()
                    next_ping = time.monotonic() + interval_s

    def _on_entry(self, ts_close: int, data: bytes) -> None:
        if not self._position_ns:
            # The tape was empty at the first start: this is the state a restart has to come back to.
            before = Decisions(ts_close - MINUTE_NS, [], [], [])
            self._commit(before, [], [], 0, checkpoint=True)
        self._clock.on_mark(ts_close)
        self._delivery.turn(wait=self._clock.replay)
        minute = self._decode(ts_close, data)
        heard = self._delivery.outcomes()
        outcomes = [event for event in heard if self._kind(event) is not None]
        decisions = self._engine.on_minute(minute, self._heard(outcomes))
        intents = [self._intent(decided, ts_close, self._ledger.next_seq()) for decided in decisions.intents]
        latency_ns = max(0, time.time_ns() - minute.ts_hub_ns) if minute.ts_hub_ns else 0
        self._position_ns = ts_close
        self._commit(decisions, intents, heard, latency_ns, checkpoint=ts_close % CHECKPOINT_EVERY_NS == 0)
        for intent, decided in zip(intents, decisions.intents, strict=True):
            self._intents[intent.id] = intent
            self._delivery.add(intent, self._ledger.events(intent.id))
            what = f"{intent.role.name.lower()} {intent.ticker} {intent.side.name.lower()} x{intent.quantity}"
            text = f"{what} decided: {intent.cause}"
            log.event(logger, logging.INFO, "intent", text, symbol=decided.symbol, intent=intent.id)
        for trade in decisions.trades:
            text = f"{trade.contract} {trade.side:+d} closed: {trade.cause}, est. P&L {trade.pnl_usd:+.2f} USD"
            log.event(logger, logging.INFO, "trade", text, symbol=trade.symbol)
        # An intent that waits costs latency: what was just decided is started before the next read.
        self._delivery.turn(wait=self._clock.replay)

    def _decode(self, ts_close: int, data: bytes) -> Minute:
        """The minute of a tape entry. One that cannot be read is a gap: nothing in it is known."""
        with contextlib.suppress(MessageError):
            minute = codec.decode_minute(data)
            if minute.ts_close == ts_close:
                return minute
        logger.error("tape entry %s cannot be read (%d bytes): treated as a gap", _utc(ts_close), len(data))
        return Minute(ts_close, [], [], {}, int(MinuteFlag.GAP))

    def _kind(self, event: Event) -> Any:
        return outcome_kind(self._intents[event.intent].role, event.state)

    def _heard(self, events: list[Event]) -> list[Outcome]:
        found = []
        for event in events:
            intent = self._intents[event.intent]
            kind = outcome_kind(intent.role, event.state)
            if kind is not None:
                found.append(Outcome(intent.symbol, intent.role, intent.ts_mark, kind))
        return found

    def _intent(self, decided: Decided, ts_mark: int, seq: int) -> Intent:
        contract = decided.contract
        root = self._order_root(decided.symbol)
        ordered = msgspec.structs.replace(contract, root=root)
        return Intent(
            intent_id(self.name, self._mode, ordered.raw, decided.role, ts_mark),
            self.name,
            self._mode,
            decided.symbol,
            ordered.raw,
            ordered.ticker,
            decided.role,
            decided.side,
            decided.quantity,
            decided.cause.name.lower(),
            decided.price,
            ts_mark,
            seq,
        )

    def _commit(
        self, decisions: Decisions, intents: list[Intent], heard: list[Event], latency_ns: int, checkpoint: bool
    ) -> None:
        equity, day_pnl, halted = self._engine.equity()
        detail = {
            "equity_usd": equity,
            "day_pnl_usd": day_pnl,
            "halted": halted,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "warm": self._engine.warm(),
        }
        self._ledger.commit_mark(
            decisions.ts_mark,
            intents,
            [event.seq for event in heard],
            decisions.evaluated,
            decisions.trades,
            self._engine.marks(),
            latency_ns,
            detail,
            Checkpoint(decisions.ts_mark, self._engine.digest, self._engine.freeze()) if checkpoint else None,
        )

    def _say(self) -> None:
        """READY until the manager has taken it, then STATUS, facts in a fixed order."""
        self._said_ready = self._said_ready or self._notifier.ready()
        equity, day_pnl, halted = self._engine.equity()
        held = " ".join(f"{p.symbol} {p.side * p.quantity:+d}" for p in self._engine.positions() if p.side) or "flat"
        unconfirmed = len(self._delivery.unconfirmed())
        orders = f"{unconfirmed} UNCONFIRMED" if unconfirmed else "ok"
        state = "HALTED daily loss" if halted else self._mode
        if not self._redis_ok:
            state = "ATTENTION Redis away"
        mark = _utc(self._position_ns)[11:16] if self._position_ns else "none"
        self._notifier.status(f"{state} {held} | day {day_pnl:+.2f} | orders {orders} | mark {mark}Z")


def _utc(ts_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ts_ns // 1_000_000_000))


def build(config: Config, name: str, *, state: Path, replay: bool, credentials: Path | None = None) -> Worker:
    """The worker of one strategy. state: its own directory. Raises ConfigError or LedgerError (exit 78)."""
    settings = config.worker(name, credentials)
    strategy = settings.strategy
    if settings.account is not None:
        lock = AccountLock(settings.account, name, runtime_directory(os.environ))
        atexit.register(lock.close)
    engine = build_engine(strategy)
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
        )

    def make_delivery() -> Delivery:
        client = TradersPost(settings.account.url.reveal()) if settings.account is not None else None
        rules = Rules(block.stale_after_s, block.settle_s)
        return Delivery(ledger, client.send if client else None, payload, group_of, clock, rules)

    hub = settings.data_hub
    bus = Bus(hub.redis_host, hub.redis_port, hub.redis_socket)
    return Worker(
        name, block.mode, engine, ledger, bus, make_delivery, Notifier(), clock, lambda symbol: traded[symbol].root
    )


def build_engine(strategy: StrategyConfig) -> Engine:
    """Engine of a configured strategy: the very one for live and backtest."""
    cls = load(strategy.strategy)
    declared = {key: (param.default, param.low, param.high) for key, param in cls.params.items()}
    params = strategy.params(declared)
    block = strategy.settings
    instruments = [
        EngineInstrument(
            symbol,
            group_of(symbol),
            item.tick_size,
            item.multiplier,
            item.commission,
            item.slippage_ticks,
            item.size,
            strategy.params(declared, symbol),
        )
        for symbol, item in strategy.traded.items()
    ]
    limits = Limits(
        starting_cash=block.starting_cash,
        max_positions=block.max_positions,
        daily_stop_loss=block.daily_stop_loss,
        time_stop_bars=int(params.get("time_stop_bars", 0)),
        close_margin_s=block.close_margin_s,
        reentry_wait_s=block.reentry_wait_s,
        settle_s=block.settle_s,
        on_unconfirmed_entry=block.on_unconfirmed_entry,
    )
    return Engine(compile_strategy(strategy.strategy, params), instruments, limits)
