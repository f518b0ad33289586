"""The hub process: feed → minutes → Redis. Wiring and supervision, no arithmetic.

Three threads: the client's own folds trades into minutes, the feed's keeps a session running, and this one assembles
closed minutes, publishes them and tells systemd that it turns. Redis may go away: minutes wait in a bounded ring, and
everything later than the tape's last id is published when it is back. Should the ring not reach back that far, the hub
ends, and its next start fetches what is missing from the gateway: the tape never has a hole that nobody was told of.
"""

import contextlib
import logging
import queue
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from rooney.bus.outage import Outage
from rooney.bus.publisher import Publisher
from rooney.clock import HostClock
from rooney.config.loader import Config
from rooney.config.schema import DataHub
from rooney.config.settings import Instrument
from rooney.errors import EXIT_CONFIG, EXIT_FAILURE, EXIT_OK, BusError, FeedFatalError, MessageError, TapeError
from rooney.format import iso_second
from rooney.hub.backfill import Archive
from rooney.hub.databento import Subscription, stype_of
from rooney.hub.definitions import Definition, difference
from rooney.hub.feed import Feed, News
from rooney.market import sessions
from rooney.market.bars import ClosedMinute, MinuteBuilder
from rooney.market.instruments import Contract, contract_from_number, group_of
from rooney.market.messages import HubStatus, InstrumentState
from rooney.market.sessions import MINUTE_NS
from rooney.market.tape import MinuteAssembler, Published, is_ahead, read_entry
from rooney.systemd import Notifier

logger = logging.getLogger(__name__)

TURN_S = 0.25  # the loop turns at least this often
STATUS_EVERY_S = 1.0
INBOX_MINUTES = 200  # so far ahead of publishing may a replay run; then the gateway has to wait
REDIS_PAUSE_S = 0.2
REPLAY_LIMIT_S = 23.9 * 3600  # Databento's gateway replays the last 24 h
SESSION_NS = 4 * 24 * 60 * MINUTE_NS  # no trade date began longer ago: a weekend and a holiday are in between

MakeFeed = Callable[[MinuteBuilder, Callable[[News], None]], Feed]


class Hub:
    """One hub. `run()` returns the exit status.

    roots:    (root, session group, Databento product id) in the order of `instruments` in the configuration
    start_ns: where to begin when the tape is empty; None means the open of the session in progress
    facts:    what is configured of each root, to be compared with the definitions that the feed reads
    """

    def __init__(
        self,
        roots: list[tuple[str, str, str]],
        bus: Publisher,
        make_feed: MakeFeed,
        data_hub: DataHub,
        *,
        start_ns: int | None = None,
        facts: Mapping[str, Instrument] | None = None,
    ) -> None:
        self._roots = roots
        self._bus = bus
        self._make_feed = make_feed
        self._data_hub = data_hub
        self._notifier = Notifier()
        self._start_ns = start_ns
        self._facts = facts or {}
        self._refused: dict[str, str] = {}  # root → how its definition differs
        self._inbox: queue.SimpleQueue[ClosedMinute | News] = queue.SimpleQueue()
        self._ring: deque[Published] = deque(maxlen=data_hub.ring_minutes)
        self._unpublished: deque[Published] = deque(maxlen=data_hub.ring_minutes)
        self._dropped_ns = 0  # newest minute of the tape that the ring does not hold
        self._assembler = self._new_assembler()
        self._stopping = False
        self._ending = False
        meanwhile = f"minutes wait in a ring of {data_hub.ring_minutes}"
        self._outage = Outage(logger, meanwhile, "no worker decides, no entries are sent")
        self._detail = ""  # why the hub has to start again
        self._said_ready = False
        self._published_ns = 0
        self._end_ns = 0  # where the tape ends; what the next minute has to follow
        self._is_moved = False  # the tape ends elsewhere: somebody emptied it, or wrote to it
        self._last_record_ns: Callable[[], int] = lambda: 0
        self._host_clock = HostClock(logger)
        self._minutes = 0

    def _hand_over(self, item: ClosedMinute | News) -> None:
        """From the feed's threads to the hub's own, which takes in even while Redis is away."""
        while self._inbox.qsize() > INBOX_MINUTES and not self._ending:
            time.sleep(0.001)
        self._inbox.put(item)

    def stop(self) -> None:
        """Finish: publish what is closed, leave the open minute unpublished."""
        self._stopping = True

    def run(self) -> int:
        """Until stopped or until going on makes no sense."""
        last_ns = self._wait_for_tape()
        if self._stopping:
            return EXIT_OK
        start_ns = last_ns or self._start_ns or self._session_open_ns()
        start_ns -= start_ns % MINUTE_NS
        if last_ns:  # what is before is on Redis alone: one that comes back without it cannot have it from this ring
            self._dropped_ns = self._published_ns = start_ns
        groups = [group for _, group, _ in self._roots]
        close_after_ns = self._data_hub.close_after_ms * 1_000_000
        builder = MinuteBuilder(groups, start_ns, close_after_ns, self._hand_over, time.time_ns)
        for root in self._assembler.roots.values():
            for contract, price in root.last.items():
                builder.expect(contract, price)
        feed = self._make_feed(builder, self._hand_over)
        self._last_record_ns = lambda: feed.last_record_ns
        feed.start()
        logger.info("hub begins at %s, tape %s", iso_second(start_ns), "continued" if last_ns else "new")
        failure: Exception | None = None
        next_status = 0.0
        while not self._stopping and failure is None:
            failure = self._turn(TURN_S)
            if feed.turning():
                self._notifier.watchdog()
            now = time.monotonic()
            if now >= next_status:
                next_status = now + STATUS_EVERY_S
                self._say(feed, builder)
        self._notifier.stopping()
        self._ending = True  # nobody may wait for room any more
        feed.stop()
        feed.join(timeout=5)
        failure = self._turn(0) or failure
        self._say(feed, builder)
        if self._unpublished:
            logger.error("stopping with %d closed minutes that Redis did not take", len(self._unpublished))
        logger.info("hub stopped: %d minutes, counts %s", self._minutes, dict(builder.counts))
        if failure is None:
            return EXIT_OK
        logger.critical("hub gives up: %s", failure)
        return EXIT_CONFIG if isinstance(failure, FeedFatalError) else EXIT_FAILURE

    def _turn(self, timeout_s: float) -> Exception | None:
        """Wait for news, deal with all there is, publish; also what an outage held back. Returns why to give up."""
        items: list[ClosedMinute | News] = []
        with contextlib.suppress(queue.Empty):
            items.append(self._inbox.get(timeout=timeout_s))
        items += [self._inbox.get_nowait() for _ in range(self._inbox.qsize())]
        failure: Exception | None = None
        for item in items:
            if isinstance(item, Exception):
                failure = failure or item
            elif isinstance(item, Contract):
                self._assembler.list_contract(item)
            elif isinstance(item, Definition):
                self._compare(item)
            else:
                if item.dropped:
                    names = sorted(each.raw if each is not None else "an unknown instrument" for each in item.dropped)
                    logger.warning("minute %s: trades of %s were dropped", iso_second(item.ts_close), ", ".join(names))
                self._keep(self._assembler.assemble(item, time.time_ns))
                if not self._outage.is_on:  # at once: a replay closes more minutes in one turn than the ring holds
                    failure = failure or self._flush()
        return failure or self._flush()

    def _compare(self, definition: Definition) -> None:
        """Refuse a root whose definition contradicts what is configured, by name; the others go on."""
        root = definition.root
        facts = self._facts.get(root)
        why = difference(definition, facts.tick_size, facts.multiplier) if facts is not None else None
        if why is not None and root not in self._refused:
            self._refused[root] = why
            self._assembler.refuse(self._refused)
            logger.critical("instruments.%s: %s; no entries in %s until one of them is right", root, why, root)

    def _keep(self, published: Published) -> None:
        if len(self._ring) == self._ring.maxlen:
            if len(self._unpublished) == self._unpublished.maxlen and not self._overrun():
                logger.error(
                    "data_hub.ring_minutes: all %d wait for Redis; the oldest, %s, is dropped. When Redis is back the "
                    "hub starts again from the tape's end",
                    self._ring.maxlen,
                    iso_second(self._ring[0].minute.ts_close),
                )
            self._dropped_ns = self._ring[0].minute.ts_close
        self._ring.append(published)
        self._unpublished.append(published)
        self._minutes += 1

    def _overrun(self) -> bool:
        """True once a minute that was never published has been dropped."""
        return self._dropped_ns > self._published_ns and self._outage.is_on

    def _flush(self) -> Exception | None:
        """Publish in order. After an outage, first give a Redis that lost minutes everything it lacks."""
        is_doubtful = self._outage.is_on or self._is_moved
        if not self._unpublished and not is_doubtful:
            return None
        try:
            if is_doubtful:
                self._end_ns = self._bus.mend_tape(self._is_sound)
                if self._dropped_ns > self._end_ns:
                    where = f"the tape ends at {iso_second(self._end_ns)}"
                    self._detail = f"{where}, before the ring of {self._ring.maxlen} minutes"
                    return BusError(self._detail)
                missing = (item for item in self._ring if item.minute.ts_close > self._end_ns)
                self._unpublished = deque(missing, self._ring.maxlen)
                # A Redis that is full answers every question; only what it takes shows that it is back.
                self._bus.mark_written(self._end_ns)
                why = "Redis is back" if self._outage.is_on else "the tape ended elsewhere"
                logger.warning("%s; publishing %d minutes from the ring", why, len(self._unpublished))
                self._outage.ended()
                self._is_moved = False
            while self._unpublished:
                published = self._unpublished[0]
                self._bus.publish(published, self._end_ns, channels=bool(self._data_hub.publish_channels))
                self._end_ns = self._published_ns = published.minute.ts_close
                self._unpublished.popleft()
        except TapeError as error:
            logger.error("%s; looking where to go on", error)
            self._is_moved = True
        except BusError as error:
            self._outage.failed(error)
            time.sleep(REDIS_PAUSE_S)
        return None

    def _is_sound(self, ts_close: int, data: bytes | None) -> bool:
        """True of an entry of the tape that can be; one that was trimmed is known by its time alone."""
        latest_ns = max(time.time_ns(), self._last_record_ns(), self._bus.latest_ns())
        if data is None:
            return ts_close % MINUTE_NS == 0 and not is_ahead(ts_close, latest_ns)
        try:
            read_entry(ts_close, data, latest_ns)
        except MessageError:
            return False
        return True

    def _new_assembler(self) -> MinuteAssembler:
        return MinuteAssembler((root, group, stype_of(product) != "parent") for root, group, product in self._roots)

    def _wait_for_tape(self) -> int | None:
        """Where the tape ends, once Redis is there to tell; None when it is empty."""
        while not self._stopping:
            try:
                return self._restore()
            except BusError as error:
                logger.error("%s; waiting for it", error)
                self._notifier.status("waiting for Redis")
                self._notifier.extend_timeout(30)
                time.sleep(REDIS_PAUSE_S)
        return None

    def _restore(self) -> int | None:
        """Read what the tape knows: its end, fronts, volumes, last prices, the hour and day in progress."""
        self._assembler = self._new_assembler()  # an attempt that Redis broke off has counted some of it already
        self._end_ns = self._bus.mend_tape(self._is_sound)
        fronts = self._bus.fronts()
        end_ns = self._end_ns or self._start_ns or self._session_open_ns()
        today = sessions.trade_date(end_ns)
        in_progress = sessions.trade_date(end_ns - 1)
        for root, state in self._assembler.roots.items():
            if root in fronts:
                state.front = contract_from_number(root, fronts[root])
                state.listed.add(state.front)
            for days_back in range(10, -1, -1):
                day = today - timedelta(days=days_back)
                for number, volume in self._bus.volumes(root, day).items():
                    state.count(day, contract_from_number(root, number), volume, float("nan"))
            for number, price in self._bus.last_prices(root).items():
                state.last[contract_from_number(root, number)] = price
            if not self._end_ns:
                continue
            # A quiet end of an hour has no bar to close it: the next bar does, before it is added. The session table
            # may have changed since: only what each bar itself belongs to is asked of it.
            for bar in self._bus.history_since(root, "1min", end_ns - SESSION_NS):
                if bar.ts_open >= end_ns or sessions.trade_date(bar.ts_open) != in_progress:
                    continue
                state.coarse.close(bar.ts_open, 0)
                state.coarse.fold(bar)
            state.coarse.close(end_ns, 0)
        return self._end_ns or None

    def _session_open_ns(self) -> int:
        """The earliest open among the sessions in progress, or now when all are closed."""
        now_ns = time.time_ns()
        windows = {g: sessions.window_at(g, now_ns) or sessions.next_window(g, now_ns) for _, g, _ in self._roots}
        opens = [sessions.session_open_ns(g, window.trade_date) for g, window in windows.items()]
        return min([now_ns, *opens])

    def _say(self, feed: Feed, builder: MinuteBuilder) -> None:
        """READY until the manager has taken it, STATUS, and `hub:status` for everyone else."""
        self._said_ready = self._said_ready or self._notifier.ready()
        states = self._assembler.states_now(feed.now_ns() or time.time_ns(), feed.alive())
        state = "stopping" if self._stopping else feed.state
        if not self._stopping and InstrumentState.DEAD in states.values():
            state = "feed dead"
        gap = feed.gap if feed.gap_day == sessions.trade_date(feed.now_ns()) else ""
        self._host_clock.compare(builder.behind_ns / 1e9)
        if state == "live":
            state = "gap" if gap else "clock behind" if self._host_clock.text else state
        if self._outage.is_on:
            state = f"redis {self._outage.word}"
            state = f"ALERT {state} {self._outage.seconds:.0f} s" if self._outage.is_alerted else state
            state = "ALERT ring overrun" if self._overrun() else state
        if self._detail:
            state = "ring overrun"
        lag = f"tape {iso_second(self._published_ns)[11:16]}Z" if self._published_ns else "no minute yet"
        refused = f" | REFUSED {' '.join(self._refused)}" if self._refused else ""
        self._notifier.status(f"{state} | {lag} | {feed.trades} trades | {len(self._unpublished)} waiting{refused}")
        if self._outage.is_on and not self._detail:
            return
        counts = dict(sorted(builder.counts.items()))
        counts |= {"trades_in": feed.trades, "pending": builder.pending(), "minutes": self._minutes}
        fronts = {root: s.front.raw for root, s in self._assembler.roots.items() if s.front is not None}
        status = HubStatus(
            state,
            time.time_ns(),
            self._published_ns,
            feed.last_record_ns,
            feed.sessions,
            len(self._unpublished),
            counts,
            fronts,
            "; ".join(filter(None, (self._detail, gap, self._host_clock.text, *self._refused.values()))),
            {root: one.name.lower() for root, one in states.items()},
        )
        try:
            self._bus.set_status(status)
            self._is_moved = self._is_moved or self._bus.tape_end() != self._end_ns
        except BusError as error:
            self._outage.failed(error)


def build(config: Config, *, start_ns: int | None = None, credentials: Path | None = None) -> Hub:
    """The hub of a configuration. start_ns: where an empty tape begins. Raises ConfigError."""
    settings = config.hub(credentials)
    source, hub = settings.databento, settings.data_hub
    roots = [(root, group_of(root), item.databento_product_id) for root, item in settings.instruments.items()]
    subscription = Subscription(source, [product for _, _, product in roots], definitions=True)
    archive = Archive(subscription, limit_days=hub.heal_limit_days, limit_usd=hub.heal_limit_usd)

    def make_feed(builder: MinuteBuilder, tell: Callable[[News], None]) -> Feed:
        if source.gateway is not None:  # a local gateway replays all it has
            return Feed(builder, subscription, tell, hub)
        return Feed(builder, subscription, tell, hub, archive=archive, replay_limit_s=REPLAY_LIMIT_S)

    return Hub(roots, Publisher(hub), make_feed, hub, start_ns=start_ns, facts=settings.instruments)
