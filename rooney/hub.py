"""The hub process: feed → minutes → Redis. Wiring and supervision, no arithmetic.

Three threads: the client's own folds trades into minutes, the feed's keeps a session running, and this one assembles
closed minutes, publishes them and tells systemd that it turns. Redis may go away: minutes wait in a bounded ring, and
everything later than the tape's last id is published when it is back.
"""

import contextlib
import logging
import queue
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from rooney import sessions
from rooney.bars import ClosedMinute, MinuteBuilder
from rooney.bus import Bus
from rooney.config import Config
from rooney.errors import EXIT_CONFIG, EXIT_FAILURE, EXIT_OK, BusError, FeedFatalError
from rooney.feed import Feed, stype_of
from rooney.instruments import Contract, contract_from_number, group_of
from rooney.messages import HubStatus
from rooney.minutes import MinuteAssembler, Published
from rooney.notify import Notifier
from rooney.sessions import MINUTE_NS

logger = logging.getLogger(__name__)

TURN_S = 0.25  # the loop turns at least this often
STATUS_EVERY_S = 1.0
REDIS_PAUSE_S = 0.2
REPLAY_LIMIT_S = 23.9 * 3600  # Databento's gateway replays the last 24 h; a local one all it has


class Hub:
    """One hub. `run()` returns the exit status.

    roots:    (root, session group, Databento product id) in the order of `instruments` in the configuration
    start_ns: where to begin when the tape is empty; None means the open of the session in progress
    ring:     minutes kept for a Redis that comes back without them
    """

    def __init__(
        self,
        roots: list[tuple[str, str, str]],
        bus: Bus,
        make_feed: Callable[[MinuteBuilder, Callable[[Contract], None], Callable[[Exception], None]], Feed],
        notifier: Notifier,
        *,
        close_after_ms: int = 50,
        start_ns: int | None = None,
        channels: bool = True,
        ring: int = 3_000,
    ) -> None:
        self._roots = roots
        self._bus = bus
        self._make_feed = make_feed
        self._notifier = notifier
        self._close_after_ns = close_after_ms * 1_000_000
        self._start_ns = start_ns
        self._channels = channels
        self._inbox: queue.SimpleQueue[ClosedMinute | Contract | Exception] = queue.SimpleQueue()
        self._ring: deque[Published] = deque(maxlen=ring)
        self._unpublished: deque[Published] = deque(maxlen=ring)
        self._dropped_ns = 0  # newest minute that the ring no longer holds
        self._assembler = MinuteAssembler(
            (root, group, stype_of(product) != "parent") for root, group, product in roots
        )
        self._stopping = False
        self._redis_ok = True
        self._said_ready = False
        self._published_ns = 0
        self._minutes = 0

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
        groups = [group for _, group, _ in self._roots]
        builder = MinuteBuilder(groups, start_ns, self._close_after_ns, self._inbox.put, time.time_ns)
        feed = self._make_feed(builder, self._inbox.put, self._inbox.put)
        feed.start()
        logger.info("hub begins at %s, tape %s", _utc(start_ns), "continued" if last_ns else "new")
        failure: Exception | None = None
        next_status = 0.0
        while not self._stopping and failure is None:
            failure = self._turn(TURN_S)
            self._notifier.watchdog()
            now = time.monotonic()
            if now >= next_status:
                next_status = now + STATUS_EVERY_S
                self._say(feed, builder)
        self._notifier.stopping()
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
        items: list[ClosedMinute | Contract | Exception] = []
        with contextlib.suppress(queue.Empty):
            items.append(self._inbox.get(timeout=timeout_s))
        items += [self._inbox.get_nowait() for _ in range(self._inbox.qsize())]
        failure: Exception | None = None
        for item in items:
            if isinstance(item, Exception):
                failure = failure or item
            elif isinstance(item, Contract):
                self._assembler.list_contract(item)
            else:
                self._keep(self._assembler.assemble(item, time.time_ns))
                if self._redis_ok:  # at once: a replay closes more minutes in one turn than the ring holds
                    failure = failure or self._flush()
        return failure or self._flush()

    def _keep(self, published: Published) -> None:
        if len(self._ring) == self._ring.maxlen:
            self._dropped_ns = self._ring[0].minute.ts_close
        self._ring.append(published)
        self._unpublished.append(published)
        self._minutes += 1

    def _flush(self) -> Exception | None:
        """Publish in order. After an outage, first give a Redis that lost minutes everything it lacks."""
        if not self._unpublished and self._redis_ok:
            return None
        try:
            if not self._redis_ok:
                bounds = self._bus.tape_bounds()
                last_ns = bounds[1] if bounds else 0
                if self._dropped_ns > last_ns:
                    return BusError(f"the tape ends at {_utc(last_ns)}, before the ring of {self._ring.maxlen} minutes")
                self._unpublished = deque((p for p in self._ring if p.minute.ts_close > last_ns), self._ring.maxlen)
                self._redis_ok = True
                logger.warning("Redis is back; publishing %d minutes from the ring", len(self._unpublished))
            while self._unpublished:
                published = self._unpublished[0]
                self._bus.publish(published, self._channels)
                self._published_ns = published.minute.ts_close
                self._unpublished.popleft()
        except BusError as error:
            if self._redis_ok:
                logger.error("%s; minutes wait in a ring of %d", error, self._ring.maxlen)
            self._redis_ok = False
            time.sleep(REDIS_PAUSE_S)
        return None

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
        bounds = self._bus.tape_bounds()
        fronts = self._bus.fronts()
        end_ns = bounds[1] if bounds else self._start_ns or self._session_open_ns()
        today = sessions.trade_date(end_ns)
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
            if bounds is None:
                continue
            # A quiet end of an hour has no bar to close it: the next bar does, before it is added.
            opened_ns = sessions.session_open_ns(state.group, sessions.trade_date(end_ns - 1))
            for bar in self._bus.history_since(root, "1min", opened_ns):
                state.coarse.close(bar.ts_open, 0)
                state.coarse.fold(bar)
            state.coarse.close(end_ns, 0)
        return bounds[1] if bounds else None

    def _session_open_ns(self) -> int:
        """The earliest open among the sessions in progress, or now when all are closed."""
        now_ns = time.time_ns()
        day = sessions.trade_date(now_ns)
        spans = [(sessions.session_open_ns(g, day), sessions.session_close_ns(g, day)) for _, g, _ in self._roots]
        return min((opens for opens, closes in spans if opens <= now_ns < closes), default=now_ns)

    def _say(self, feed: Feed, builder: MinuteBuilder) -> None:
        """READY until the manager has taken it, STATUS, and `hub:status` for everyone else."""
        self._said_ready = self._said_ready or self._notifier.ready()
        state = "stopping" if self._stopping else feed.state
        if state == "live" and not feed.alive():
            state = "feed dead"
        if not self._redis_ok:
            state = "redis away"
        lag = f"tape {_utc(self._published_ns)[11:16]}Z" if self._published_ns else "no minute yet"
        self._notifier.status(f"{state} | {lag} | {feed.trades} trades | {len(self._unpublished)} waiting")
        if not self._redis_ok:
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
        )
        try:
            self._bus.set_status(status)
        except BusError as error:
            logger.error("%s", error)
            self._redis_ok = False


def _utc(ts_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ts_ns // 1_000_000_000))


def build(config: Config, *, start_ns: int | None = None, credentials: Path | None = None) -> Hub:
    """The hub of a configuration. start_ns: where an empty tape begins. Raises ConfigError."""
    settings = config.hub(credentials)
    source, hub = settings.databento, settings.data_hub
    roots = [(root, group_of(root), item.databento_product_id) for root, item in settings.instruments.items()]

    def make_feed(
        builder: MinuteBuilder, on_mapping: Callable[[Contract], None], on_failure: Callable[[Exception], None]
    ) -> Feed:
        return Feed(
            builder,
            [product for _, _, product in roots],
            on_mapping,
            on_failure,
            key=source.api_key.reveal(),
            dataset=source.dataset,
            gateway=source.gateway,
            port=source.port,
            heartbeat_interval_s=hub.heartbeat_interval_s,
            dead_s=hub.feed_dead_s,
            replay_limit_s=REPLAY_LIMIT_S if source.gateway is None else None,
            gap_limit_s=hub.gap_limit_s,
        )

    return Hub(
        roots,
        Bus(hub.redis_host, hub.redis_port, hub.redis_socket),
        make_feed,
        Notifier(),
        close_after_ms=hub.close_after_ms,
        start_ns=start_ns,
        channels=bool(hub.publish_channels),
        ring=hub.ring_minutes,
    )
