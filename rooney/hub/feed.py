"""Databento's live feed: sessions of the official client → trades and heartbeats.

The client's own reconnection drops the gap, so every session here is a new `Live` with a start of its own, and any end
of a session, however it looks, leads to the next one after a pause. Only an answer that a new session would just get
again (key, account) is fatal. The client's callbacks run on its thread; a slow callback would stall its socket, so they
do no more than fold trades. `rooney.hub.backfill` has what is too old to be replayed.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from typing import Any

import databento
import databento_dbn as dbn

from rooney.config.schema import DataHub
from rooney.errors import FeedError, FeedFatalError
from rooney.format import iso_minute
from rooney.hub.backfill import Archive
from rooney.hub.databento import Subscription, contract_at, received_ns
from rooney.hub.definitions import Definition
from rooney.hub.receiver import TURN_S, Heard, Receiver, Session, listen_for_definitions, panics_told
from rooney.market.bars import MAX_TIME_NS, MinuteBuilder
from rooney.market.instruments import Contract
from rooney.market.sessions import HOUR_NS, MINUTE_NS, trade_date

logger = logging.getLogger(__name__)

boot_s = partial(time.clock_gettime, time.CLOCK_BOOTTIME)  # a machine that slept has missed what came meanwhile
News = Contract | Definition | Exception

BREAK_NS = 30 * MINUTE_NS  # half an hour before a trade date begins: all are closed, for every product
REREAD_NS = 10_000_000_000  # a replay is asked for from this long before the first wanted minute
# What a refused login says is plain text; other refusals (too many connections) may pass.
_FATAL_TEXT = re.compile(r"authentication failed|deactivated", re.IGNORECASE)
_FATAL_CODES = {dbn.ErrorCode.AUTH_FAILED, dbn.ErrorCode.API_KEY_DEACTIVATED}
MAX_HUNG = 3  # so many threads may hang before the hub starts anew
LEAVE_S = 10.0  # a thread may be held by the hub's own, which publishes: so long it may take to leave its record
TURNING_MARGIN_S = 20.0  # a session that is given up may take this long to end
# An archive gives what is older than this, the gateway's replay the rest: the archive's newest hours may not be there.
ARCHIVE_UNTIL_NS = HOUR_NS


class Feed(threading.Thread):
    """Keeps a session with the gateway running and feeds a MinuteBuilder with it.

    While a session lives only the client's one thread touches the builder: each session's first record restarts it,
    and records of a session that is over are ignored. Between sessions this thread may fill it from the archive.

    tell:           called with each contract the feed knows and each definition it read; once with an error, when
                    going on makes no sense (FeedFatalError or an error of our own)
    data_hub:       limits. Without any record for feed_dead_s a session is ended and a new one made; when gateway or
                    archive have answered the wish for the past with errors for gap_limit_s, or the archive says that
                    it will never give it, the feed goes on without: a gap
    archive:        gives what the gateway does not replay; None = that is a gap
    replay_limit_s: the gateway replays no more than this; None = everything
    pauses_s:       between sessions, the last one again and again
    """

    def __init__(
        self,
        builder: MinuteBuilder,
        subscription: Subscription,
        tell: Callable[[News], None],
        data_hub: DataHub,
        *,
        archive: Archive | None = None,
        replay_limit_s: float | None = None,
        pauses_s: Sequence[float] = (1, 2, 4, 8, 16, 30),
    ) -> None:
        super().__init__(name="feed", daemon=True)
        self._builder = builder
        self._subscription = subscription
        self._tell = tell
        self._data_hub = data_hub
        self._archive = archive
        self._replay_limit_s = replay_limit_s
        self._pauses_s = pauses_s
        self._stopping = threading.Event()
        self._current: Session | None = None
        self._error: Exception | None = None
        self._said: str = ""
        self._fatal = False
        self._archive_refused = ""  # why
        self._archive_failed_mono = 0.0
        self._turned_mono = time.monotonic()
        self._hung: list[Receiver] = []  # abandoned
        self._broken_ns = 0  # the minute that was open when a record last broke the client
        self._no_replay = ""  # why the next session asks for none
        self.records = 0
        self.trades = 0
        self.sessions = 0
        self.last_record_s = boot_s()
        self.last_record_ns = 0
        self.state = "connecting"
        self.gap = ""  # what the tape lacks for good, and why
        self.gap_day: date | None = None  # the trade date on which it goes on

    def alive(self) -> bool:
        """True while a record of any kind came lately, in whatever session; at the start, while one may still come."""
        return boot_s() - self.last_record_s < self._data_hub.feed_dead_s

    def now_ns(self) -> int:
        """The market's time as far as it can be told, UTC ns: the newest stamp moved on by the local clock."""
        return self.last_record_ns and self.last_record_ns + int((boot_s() - self.last_record_s) * 1e9)

    def turning(self) -> bool:
        """True while the feed's thread turns, and with it the client's that receives. Downloads may take their time."""
        turned = time.monotonic() - self._turned_mono < self._data_hub.feed_dead_s + TURNING_MARGIN_S
        return self.is_alive() and (turned or self.state == "filling")

    def _turn(self) -> None:
        self._turned_mono = time.monotonic()

    def stop(self) -> None:
        """End the session and the thread; the open minute is left unpublished."""
        # Not by terminating the client here: while it connects, that waits for up to 40 s.
        self._current = None
        self._stopping.set()

    def run(self) -> None:
        try:
            with panics_told():
                failure = self._run()
        except Exception as error:  # noqa: BLE001 - without this thread the hub would wait for trades forever
            failure = error
        if failure is not None:
            self._tell(failure)

    def _run(self) -> Exception | None:
        """Session after session; returns why there cannot be another one, None when stopped."""
        attempt = -1
        refused_mono: float | None = None
        while True:
            if self._subscription.definitions and not self.last_record_ns:
                self._read_definitions()
            heard_ns = self.last_record_ns
            now = time.monotonic()
            replay = refused_mono is None or now - refused_mono < self._data_hub.gap_limit_s
            session: Session | None = None
            ended = self._fill()
            if not ended:
                session = Session(self._from_ns() if replay and not self._no_replay else None)
                ended = self._session(session)
            self._current = None
            if self._error is not None:
                return self._error
            if self._fatal:
                return FeedFatalError(f"the gateway refused this account: {ended}; not trying again")
            if self._stopping.is_set():
                return None
            if self.last_record_ns != heard_ns:
                attempt, refused_mono = -1, None
            elif session is not None and session.errors and refused_mono is None:
                refused_mono = now
            attempt = min(attempt + 1, len(self._pauses_s) - 1)
            self.state = "reconnecting"
            self._turned_mono = time.monotonic() + self._pauses_s[attempt]
            self._builder.counts["reconnects"] += 1
            logger.warning("feed session ended: %s; next one in %g s", ended, self._pauses_s[attempt])
            if self._stopping.wait(self._pauses_s[attempt]):
                return None

    def _from_ns(self) -> int:
        """From when on to ask for a replay."""
        return max(self._builder.minute_ns - REREAD_NS, self._replayed_from_ns())

    def _replayed_from_ns(self) -> int:
        """The oldest moment that the gateway replays."""
        return 0 if self._replay_limit_s is None else self._present_ns() - int(self._replay_limit_s * 1e9)

    def _present_ns(self) -> int:
        """The moment that the exchange has lived up to, UTC ns: neither a clock nor a record alone can put it ahead."""
        return min(time.time_ns(), self.now_ns() or time.time_ns())

    def _fill(self) -> str:
        """Have the archive build what the gateway no longer replays; returns why another try is needed, if it is."""
        oldest_ns = self._replayed_from_ns()
        if self._archive is None or self._archive_refused or self._builder.minute_ns - REREAD_NS >= oldest_ns:
            return ""
        if self._subscription.definitions and not self.last_record_ns:
            return "nothing is bought from the archive before the gateway has told the time"
        until_ns = oldest_ns + ARCHIVE_UNTIL_NS
        until_ns -= until_ns % MINUTE_NS
        self.state = "filling"
        logger.warning(
            "%s to %s is too old for a replay: asking the archive",
            *map(iso_minute, (self._builder.minute_ns, until_ns)),
        )
        try:
            self._archive.fill(self._builder, until_ns, self._present_ns(), self._tell, self._stopping.is_set)
        except FeedFatalError as error:
            self._archive_refused = str(error)
            self._builder.counts["feed_errors"] += 1
            logger.error("%s; not trying again: what is missing will be a gap", error)
        except FeedError as error:
            self._builder.counts["feed_errors"] += 1
            now = time.monotonic()
            self._archive_failed_mono = self._archive_failed_mono or now
            if now - self._archive_failed_mono < self._data_hub.gap_limit_s:
                return str(error)
            self._archive_refused = f"{error}, for {self._data_hub.gap_limit_s:g} s (data_hub.gap_limit_s)"
            logger.error("%s; for %g s now: what is missing will be a gap", error, self._data_hub.gap_limit_s)
        else:
            self._archive_failed_mono = 0.0
        return ""

    def _read_definitions(self) -> None:
        """Tell of the definitions of all products, from a session of their own that ends with their replay.

        Not in the session of trades: what tells the end of one replay there would end the other's.
        """
        receiver = self._receiver()
        heard = Heard()
        try:
            listen_for_definitions(self._subscription, receiver, heard, self._stopping.is_set)
        except (databento.BentoError, FeedError, ValueError, OSError) as error:
            self._fatal = self._fatal or _FATAL_TEXT.search(str(error)) is not None
            logger.error("no definitions to compare the configuration with: %s", error)
        if not receiver.end():
            self._hung.append(receiver)
        if 0 < heard.time_ns <= MAX_TIME_NS:
            self.last_record_ns, self.last_record_s = heard.time_ns, boot_s()
        for outright in heard.outrights(self._builder.minute_ns, self._text):
            self._tell(outright)
        logger.info("%d definitions read%s", len(heard.records), "" if heard.end.is_set() else ", their end not seen")

    def _receiver(self) -> Receiver:
        return Receiver(f"feed session {self.sessions + 1}", self._data_hub.feed_dead_s, self._turn)

    def _mapping_day(self) -> date | None:
        """The trade date that mappings are for: a continuous symbol keeps its contract while its session lasts."""
        return trade_date(self._builder.minute_ns + BREAK_NS) if self._subscription.is_continuous else None

    def _session(self, session: Session) -> str:
        """One session from subscribing to its end, its thread's too; returns how it ended, in words for people."""
        self._said = ""
        receiver = self._receiver()
        live = self._subscription.client(receiver.loop, heartbeat_interval_s=self._data_hub.heartbeat_interval_s)
        live.add_callback(partial(self._on_record, session), self._on_callback_error)
        try:
            ended = self._converse(session, receiver, live)
        except (databento.BentoError, FeedError, ValueError, OSError) as error:
            ended = str(error)
            self._fatal = self._fatal or _FATAL_TEXT.search(ended) is not None
        self._current = None
        live.terminate()
        if not receiver.end():
            self._abandon(session, receiver)
        if receiver.failure:
            ended = f"the client failed on what it received: {receiver.failure}"
            self._on_broken()
        return ended

    def _abandon(self, session: Session, receiver: Receiver) -> None:
        """Go on without a thread that hangs: its records come to nothing, should it ever go on."""
        self._hung = [each for each in (*self._hung, receiver) if each.is_alive()]
        self._builder.counts["abandoned"] += 1
        logger.error("%s hangs and is abandoned", receiver.name)
        end_s = boot_s() + LEAVE_S
        while session.inside and boot_s() < end_s and not self._stopping.wait(TURN_S):
            pass
        if session.inside:
            self._error = FeedError(f"{receiver.name} hangs in the midst of a record: what it may still do is unsafe")
        elif len(self._hung) > MAX_HUNG:
            self._error = FeedError(f"{len(self._hung)} receiving threads hang (limit {MAX_HUNG})")

    def _on_broken(self) -> None:
        """A second time in the same minute: the replay has the same record again, and would for ever."""
        self._builder.counts["broken_sessions"] += 1
        if self._broken_ns == self._builder.minute_ns:
            self._no_replay = f"a record in the minute of {iso_minute(self._broken_ns)} breaks the client"
        self._broken_ns = self._builder.minute_ns

    def _converse(self, session: Session, receiver: Receiver, live: databento.Live) -> str:
        """Subscribe, and watch until the session ends or is to end."""
        receiver.call(partial(self._subscription.subscribe, live, "trades", session.from_ns), self._stopping.is_set)
        began_s = boot_s()
        self._current = session
        live.start()
        self.sessions += 1
        self.state = "live"
        day = self._mapping_day()
        while live.is_connected() and self._error is None and not self._stopping.wait(TURN_S):
            receiver.turn()
            silent_s = boot_s() - max(self.last_record_s, began_s)
            if silent_s > self._data_hub.feed_dead_s:
                self._said = f"no record for {silent_s:.1f} s (limit {self._data_hub.feed_dead_s:g} s)"
                break
            if self._current is not session:
                break
            if self._mapping_day() != day:
                self._said = "in the daily break, continuous symbols are mapped anew"
                break
        try:
            if live.is_connected():
                live.terminate()
            receiver.call(partial(live.block_for_close, timeout=5))
        except databento.BentoError as error:
            return self._said or str(error)
        return self._said or "the gateway closed the connection"

    # ── on the client's thread ──

    def _on_callback_error(self, error: Exception) -> None:
        self._current = None  # a minute that lacks a trade must not be published
        self._error = self._error or error

    def _on_record(self, session: Session, record: Any) -> None:
        # In this order: whoever abandons the session first makes another the current one, then looks whether it is in.
        session.inside = True
        try:
            if session is self._current:
                self._take(session, record)
        finally:
            session.inside = False

    def _take(self, session: Session, record: Any) -> None:
        if not session.begun:
            self._begin(session, record.ts_event)
        self.records += 1
        self.last_record_s = boot_s()
        if type(record) is dbn.TradeMsg:
            self.trades += 1
            ts_recv = received_ns(record)
            if ts_recv <= MAX_TIME_NS:
                self.last_record_ns = ts_recv
            self._builder.on_trade(record.instrument_id, ts_recv, record.price, record.size)
        else:
            self._on_other(session, record)

    def _begin(self, session: Session, ts_event: int) -> None:
        """The first record of a session: what is before it will not come."""
        session.begun = True
        lost_ns = self._builder.minute_ns
        if self._builder.restart(ts_event if session.from_ns is None else session.from_ns):
            why = "".join(f": {each}" for each in (self._archive_refused, self._no_replay) if each)
            self.gap = f"a gap: {iso_minute(lost_ns)} to {iso_minute(self._builder.minute_ns)} is not replayed{why}"
            self.gap_day = trade_date(self._builder.minute_ns)
            self._archive_refused = ""  # that was about this gap
            self._archive_failed_mono = 0.0
            logger.critical("%s; no entries before the next session", self.gap)
        if session.from_ns is None:
            self._builder.replay_completed(ts_event)
            self._no_replay = ""

    def _text(self, record: Any, field: str) -> str:
        """A text of a record; empty where it is none, which is said once."""
        try:
            text: str = getattr(record, field)
        except dbn.DBNError as error:
            self._builder.counts["undecodable"] += 1
            if self._builder.counts["undecodable"] == 1:
                what = f"{type(record).__name__} of instrument_id {record.instrument_id}"
                logger.error("%s: %s cannot be decoded: %s; ignored, others are counted", what, field, str(error)[:100])
            return ""
        return text

    def _on_other(self, session: Session, record: object) -> None:
        if isinstance(record, dbn.SystemMsg):
            if record.is_heartbeat():
                if record.ts_event <= MAX_TIME_NS:
                    self.last_record_ns = record.ts_event
                self._builder.on_time(record.ts_event)
            elif record.code == dbn.SystemCode.REPLAY_COMPLETED:
                self._builder.replay_completed(record.ts_event)
            elif record.code == dbn.SystemCode.SLOW_READER_WARNING:
                self._builder.counts["slow_reader"] += 1
                logger.warning("the gateway says we read too slowly: %s", self._text(record, "msg"))
        elif isinstance(record, dbn.SymbolMappingMsg):
            raw = self._text(record, "stype_out_symbol")
            if raw:
                self._on_symbol(session, record.instrument_id, raw)
        elif isinstance(record, dbn.ErrorMsg):
            self._said = self._text(record, "err") or f"error {record.code}"
            session.errors += 1
            self._fatal = self._fatal or record.code in _FATAL_CODES
            self._builder.counts["feed_errors"] += 1
            logger.error("the gateway says: %s", self._said)
        else:
            self._builder.counts["other_records"] += 1

    def _on_symbol(self, session: Session, instrument_id: int, raw: str) -> None:
        known = session.names.setdefault(instrument_id, raw)
        if known != raw:
            # Either name may be wrong, and trades of both would be one bar: a new session maps anew.
            self._said = f"instrument_id {instrument_id} was {known} and is now called {raw}"
            self._builder.counts["feed_errors"] += 1
            self._current = None
            return
        contract = contract_at(raw, self._builder.minute_ns)
        self._builder.map(instrument_id, contract)
        if contract is not None:
            self._tell(contract)
