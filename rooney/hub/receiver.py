"""Thread and event loop of one session's client, which may hang or be broken by what it receives.

The client's own choice is one thread for all sessions: were it to hang, no session could ever be had again.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from typing import Any

import databento_dbn as dbn

from rooney.errors import FeedError
from rooney.hub.databento import Subscription, contract_at
from rooney.hub.definitions import Definition, definition

TURN_S = 0.05
JOIN_S = 2.0  # a loop that answers ends within milliseconds
DEFINITIONS_S = 20.0  # the week's definitions of 18 products take a second or two


class Panic(FeedError):
    """The client's Rust code has panicked."""


@contextmanager
def panics_told() -> Iterator[None]:
    """Raises Panic instead of a panic, which is no Exception: nobody would catch it, and its thread would end."""
    try:
        yield
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":  # PyO3 makes its class at run time: nothing to import
            raise
        raise Panic(f"the client's decoder panicked: {error}") from None


class Session:
    """One session, as its records see it.

    from_ns: what was received before then is not asked for; None = a replay is impossible, nothing is asked for
    inside:  its client's thread is at work on a record
    """

    __slots__ = ("begun", "errors", "from_ns", "inside", "names")

    def __init__(self, from_ns: int | None) -> None:
        self.from_ns = from_ns
        self.begun = False
        self.errors = 0
        self.inside = False
        self.names: dict[int, str] = {}  # instrument_id → what the session called it


class Receiver(threading.Thread):
    """Runs the loop that a client is given.

    limit_s: a loop that has not answered for so long hangs
    on_turn: called at each sign of life while the session's owner waits
    """

    def __init__(self, name: str, limit_s: float, on_turn: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._on_failure)
        self.failure = ""  # what the client could not take, in words for people
        self._limit_s = limit_s
        self._on_turn = on_turn
        self._asked = False
        self._answered_mono = time.monotonic()
        self.start()

    def run(self) -> None:
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def turn(self) -> None:
        """Ask the loop for an answer. Raises FeedError when it hangs."""
        silent_s = time.monotonic() - self._answered_mono
        if silent_s > self._limit_s:
            raise FeedError(f"the receiving thread has not answered for {silent_s:.1f} s (limit {self._limit_s:g} s)")
        if not self._asked:
            self._asked = True
            self.loop.call_soon_threadsafe(self._answer)
        self._on_turn()

    def call(self, function: Callable[[], Any], given_up: Callable[[], bool] = lambda: False) -> None:
        """Have the client do what blocks until the loop has done it.

        Raises what it raises, Panic, or FeedError when the loop hangs or `given_up` says so.
        """
        done: Future[None] = Future()

        def work() -> None:
            try:
                function()
            except BaseException as error:  # noqa: BLE001 - raised again by who waits for it
                done.set_exception(error)
            else:
                done.set_result(None)

        threading.Thread(target=work, name=f"{self.name} call", daemon=True).start()
        while not wait([done], TURN_S).done:
            if given_up():
                raise FeedError("given up")
            self.turn()
        with panics_told():
            done.result()

    def end(self) -> bool:
        """Stop the loop; False when it hangs: then it ends should it ever go on."""
        if self.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.join(JOIN_S)
        return not self.is_alive()

    # ── on the loop's thread ──

    def _answer(self) -> None:
        self._answered_mono = time.monotonic()
        self._asked = False

    def _on_failure(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Called by asyncio with whatever a callback of the loop raised, panics too."""
        error = context.get("exception")
        self.failure = self.failure or f"{context['message']} {type(error).__name__}: {str(error)[:200]}"


class Heard:
    """What a session of definitions brought.

    time_ns: the gateway's present, UTC ns; 0 = it told none
    """

    def __init__(self) -> None:
        self.records: list[Any] = []  # definitions
        self.time_ns = 0
        self.end = threading.Event()

    def on_record(self, record: Any) -> None:
        if isinstance(record, dbn.InstrumentDefMsg):
            self.records.append(record)
        elif isinstance(record, dbn.SystemMsg):
            self.time_ns = record.ts_event
            if record.code == dbn.SystemCode.REPLAY_COMPLETED:
                self.end.set()

    def outrights(self, at_ns: int, text: Callable[[Any, str], str]) -> Iterator[Definition]:
        """Facts of each outright; `text` reads a record's field."""
        for record in list(self.records):
            raw = text(record, "raw_symbol")
            contract = contract_at(raw, max(record.ts_recv, at_ns))
            if contract is None or record.instrument_class != dbn.InstrumentClass.FUTURE:
                continue
            found = definition(
                contract.root,
                raw,
                record.min_price_increment,
                record.min_price_increment_amount,
                record.display_factor,
                record.unit_of_measure_qty,
            )
            if found is not None:
                yield found


def listen_for_definitions(
    subscription: Subscription, receiver: Receiver, heard: Heard, stopped: Callable[[], bool]
) -> None:
    """Have a session of definitions alone until it has replayed the week's, DEFINITIONS_S at most.

    Raises what the client raises, or FeedError.
    """
    live = subscription.client(receiver.loop)
    live.add_callback(heard.on_record)
    try:
        receiver.call(partial(subscription.subscribe, live, "definition", 0), stopped)
        live.start()
        end = time.monotonic() + DEFINITIONS_S
        while not heard.end.wait(TURN_S) and live.is_connected() and not stopped() and time.monotonic() < end:
            receiver.turn()
        live.terminate()
        receiver.call(partial(live.block_for_close, timeout=5))
    finally:
        live.terminate()
