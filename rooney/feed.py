"""Databento's live feed: sessions of the official client → trades and heartbeats. The only importer of databento.

The client's own reconnection drops the gap, so every session here is a new `Live` with a start of its own, and any end
of a session, however it looks, leads to the next one after a pause. Only an answer that a new session would just get
again (key, account) is fatal. The client's callbacks run on its thread; a slow callback would stall its socket, so they
do no more than fold trades.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import databento
import databento_dbn as dbn

from rooney.bars import MinuteBuilder
from rooney.errors import FeedFatalError
from rooney.instruments import Contract, parse_contract

logger = logging.getLogger(__name__)

UNDEF_TIMESTAMP = 2**64 - 1
F_BAD_TS_RECV = 8  # a plain integer: this is asked of every trade
REREAD_NS = 10_000_000_000  # a replay is asked for from this long before the first wanted minute
_FATAL_CODES = {dbn.ErrorCode.AUTH_FAILED, dbn.ErrorCode.API_KEY_DEACTIVATED}
_CONTINUOUS = re.compile(r"^[A-Z0-9]{2,3}\.[cnvCNV]\.\d+$")


def stype_of(product_id: str) -> str:
    """How a product id must be subscribed: parent (ES.FUT), continuous (ES.v.0) or raw_symbol (ESZ5)."""
    if product_id.endswith((".FUT", ".OPT")):
        return "parent"
    return "continuous" if _CONTINUOUS.match(product_id) else "raw_symbol"


class Feed(threading.Thread):
    """Keeps a session with the gateway running and feeds a MinuteBuilder with it.

    products:   Databento product ids to subscribe to
    on_mapping: called on the client's thread with each contract the feed knows
    on_failure: called once, when going on makes no sense (FeedFatalError or an error of our own in a callback)
    dead_s:     without any record for so long a session is ended and a new one made
    """

    def __init__(
        self,
        builder: MinuteBuilder,
        products: Sequence[str],
        on_mapping: Callable[[Contract], None],
        on_failure: Callable[[Exception], None],
        *,
        key: str,
        dataset: str = "GLBX.MDP3",
        gateway: str | None = None,
        port: int | None = None,
        heartbeat_interval_s: int = 5,
        dead_s: float = 15.0,
        pauses_s: Sequence[float] = (1, 2, 4, 8, 16, 30),
    ) -> None:
        super().__init__(name="feed", daemon=True)
        self._builder = builder
        self._products = products
        self._on_mapping = on_mapping
        self._on_failure = on_failure
        self._key = key
        self._dataset = dataset
        self._where: dict[str, object] = {} if gateway is None else {"gateway": gateway, "port": port}
        self._heartbeat_interval_s = heartbeat_interval_s
        self._dead_s = dead_s
        self._pauses_s = pauses_s
        self._stopping = threading.Event()
        self._live: databento.Live | None = None
        self._error: Exception | None = None
        self._said: str = ""
        self._fatal = False
        self.records = 0
        self.trades = 0
        self.sessions = 0
        self.last_record_mono = 0.0
        self.last_record_ns = 0
        self.state = "connecting"

    def alive(self) -> bool:
        """Whether a record of any kind came lately."""
        return self.state == "live" and time.monotonic() - self.last_record_mono < self._dead_s

    def stop(self) -> None:
        """End the session and the thread; the open minute is left unpublished."""
        self._stopping.set()
        live = self._live
        if live is not None:
            live.terminate()

    def run(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            records = self.records
            ended = self._session()
            if self._error is not None:
                self._on_failure(self._error)
                return
            if self._fatal:
                self._on_failure(FeedFatalError(f"the gateway refused this account: {ended}; not trying again"))
                return
            if self._stopping.is_set():
                return
            attempt = 0 if self.records > records else min(attempt + 1, len(self._pauses_s) - 1)
            pause_s = self._pauses_s[attempt]
            self.state = "reconnecting"
            self._builder.counts["reconnects"] += 1
            logger.warning("feed session ended: %s; next one in %g s", ended, pause_s)
            self._stopping.wait(pause_s)

    def _session(self) -> str:
        """One session from subscribing to its end; returns how it ended, in words for people."""
        self._said = ""
        self._builder.restart()
        start_ns = self._builder.minute_ns - REREAD_NS
        self._builder.replaying = True
        self._builder.repairing = self.sessions > 0
        live = databento.Live(
            key=self._key, heartbeat_interval_s=self._heartbeat_interval_s, reconnect_policy="none", **self._where
        )
        self._live = live
        live.add_callback(self._on_record, self._on_callback_error)
        self.last_record_mono = time.monotonic()
        try:
            for stype in ("parent", "continuous", "raw_symbol"):
                symbols = [product for product in self._products if stype_of(product) == stype]
                if symbols:
                    live.subscribe(self._dataset, "trades", symbols=symbols, stype_in=stype, start=start_ns)
            live.start()
        except (databento.BentoError, ValueError, OSError) as error:
            live.terminate() if live.is_connected() else None
            said = str(error)
            # A refused key comes as plain text before the first record.
            self._fatal = self._fatal or "authentication failed" in said.lower()
            return said
        self.sessions += 1
        self.state = "live"
        self.last_record_mono = time.monotonic()
        while live.is_connected() and not self._stopping.wait(0.05):
            if self._error is not None:
                live.terminate()
                break
            silent_s = time.monotonic() - self.last_record_mono
            if silent_s > self._dead_s:
                self._said = f"no record for {silent_s:.1f} s (limit {self._dead_s:g} s)"
                live.terminate()
                break
        try:
            live.block_for_close(timeout=5)
        except databento.BentoError as error:
            return self._said or str(error)
        return self._said or "the gateway closed the connection"

    # ── on the client's thread ──

    def _on_callback_error(self, error: Exception) -> None:
        self._error = self._error or error

    def _on_record(self, record: Any) -> None:
        self.records += 1
        self.last_record_mono = time.monotonic()
        if type(record) is dbn.TradeMsg:
            self.trades += 1
            ts_recv = record.ts_recv
            if ts_recv == UNDEF_TIMESTAMP or record.flags & F_BAD_TS_RECV:
                ts_recv = record.ts_event
            self.last_record_ns = ts_recv
            self._builder.on_trade(record.instrument_id, ts_recv, record.price, record.size)
        else:
            self._on_other(record)

    def _on_other(self, record: object) -> None:
        if isinstance(record, dbn.SystemMsg):
            if record.is_heartbeat():
                self.last_record_ns = record.ts_event
                self._builder.on_time(record.ts_event)
            elif record.code == dbn.SystemCode.REPLAY_COMPLETED:
                self._builder.replaying = self._builder.repairing = False
            elif record.code == dbn.SystemCode.SLOW_READER_WARNING:
                self._builder.counts["slow_reader"] += 1
                logger.warning("the gateway says we read too slowly: %s", record.msg)
        elif isinstance(record, dbn.SymbolMappingMsg):
            self._on_symbol(record.instrument_id, record.stype_out_symbol)
        elif isinstance(record, dbn.ErrorMsg):
            self._said = record.err
            self._fatal = self._fatal or record.code in _FATAL_CODES
            self._builder.counts["feed_errors"] += 1
            logger.error("the gateway says: %s", record.err)
        else:
            self._builder.counts["other_records"] += 1

    def _on_symbol(self, instrument_id: int, raw: str) -> None:
        on = datetime.fromtimestamp(self._builder.minute_ns // 1_000_000_000, UTC).date()
        contract = parse_contract(raw, on)
        self._builder.map(instrument_id, contract)
        if contract is not None:
            self._on_mapping(contract)
