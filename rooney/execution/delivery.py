"""Getting intents to the webhook: one loop says which order is due, one thread sends.

Entries go out at most once. Exits go out until one is acknowledged, however long that takes, never two at a time and
never within the settling time of another one of the contract (`rooney.execution.retry_policy` says when). Every state
is in the ledger before the next thing happens, the gates are asked at the moment of sending, and nothing here ever
blocks the worker's loop.
"""

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from rooney import failpoints as faults
from rooney.clock import Clock, Moment
from rooney.execution import send_gates
from rooney.execution.rate_limits import Traffic
from rooney.execution.retry_policy import Progress, next_action
from rooney.execution.send_gates import Rules, View
from rooney.ledger.writer import Ledger
from rooney.market.instruments import is_open
from rooney.orders import order_messages
from rooney.orders.control import Switch
from rooney.orders.intents import Event, Intent, Payload, Receipt, Role, State
from rooney.orders.notices import DISK_FULL, EXIT_ALARM_S, Notice
from rooney.orders.outcomes import OUTCOME_STATES

logger = logging.getLogger(__name__)

IN_FLIGHT_S = 0.05
RECENT_EVENTS = 10_000  # of orders, looked at when a process starts: more than an hour of requests makes
_NEVER = 1 << 62
FINAL = (State.ACKNOWLEDGED, State.DROPPED, State.RESOLVED)


class _Order:
    __slots__ = ("events", "in_flight", "intent", "progress", "said", "wanted_ns")

    def __init__(self, intent: Intent, events: list[Event], clock: Clock) -> None:
        self.intent = intent
        self.events = events
        self.progress = Progress()
        for event in events:
            self.progress = self.progress.after(event, clock.settles_from(event.ts_clock))
        if not clock.replay:
            self.progress = self.progress.hurried()  # of another process: pauses begin anew
        self.in_flight = False
        self.wanted_ns = 0  # since when an exit could have gone out, steady
        self.said: set[str] = set()  # alarms that were raised


class _Result(msgspec.Struct, frozen=True):
    """Report of the sending thread about an intent. event: None when it was not to be sent now after all."""

    intent: str
    event: Event | None = None
    error: BaseException | None = None


class Delivery:
    """Sends the intents of one strategy.

    send:     posts a payload and says what is known (rooney.execution.traderspost); None in mode dry: assumed
              acknowledged
    payload:  makes the request of an intent; its second argument is when it was decided, UTC ns
    nothing is sent while the session of an instrument is closed
    switches: the operator's, read anew for each request
    feed:     why the market data of a symbol cannot be trusted now, or empty
    """

    def __init__(
        self,
        ledger: Ledger,
        send: Callable[[Payload], Receipt] | None,
        payload: Callable[[Intent, int], Payload],
        clock: Clock,
        rules: Rules,
        switches: Callable[[], Sequence[Switch]],
        feed: Callable[[str], str],
    ) -> None:
        self._ledger = ledger
        self._send = send
        self._payload = payload
        self._clock = clock
        self._rules = rules
        self._switches = switches
        self._feed = feed
        recent, answers = (
            [msgspec.structs.replace(attempt, ts_ns=clock.steady_at(attempt.ts_ns)) for attempt in attempts]
            for attempts in (ledger.newest_attempts(RECENT_EVENTS), ledger.answers_since_resume())
        )
        self._traffic = Traffic(recent, answers, rules)
        self._traffic.settle_from(clock.settles_from)
        self._exits_from_ns = clock.steady_ns() + int(rules.settle_s * 1e9) if ledger.is_uncertain else 0
        self._orders: dict[str, _Order] = {}
        self._heard = [(ledger.intent(event.intent), event) for event in ledger.unapplied(OUTCOME_STATES)]
        self._breaker_told = self._traffic.breaker()
        self._ledger.tell(order_messages.breaker(ledger.strategy, self._breaker_told), clock.now_ns())
        self._in_flight = 0
        self._closing = False
        self._turns = itertools.count()
        # Exits overtake entries that wait, and an exit's first attempt those that go out again: (-role, repeats, turn,
        # order); the last word comes before any other.
        self._outbox: queue.PriorityQueue[tuple[int, int, int, _Order | None]] = queue.PriorityQueue()
        self._results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._attempted = threading.Event()  # since the last time when nothing was in flight
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def add(self, intent: Intent, events: list[Event]) -> None:
        """Take charge of an intent that is in the ledger.

        An exit of a contract for which another one waits is not sent beside it: that one becomes due instead.
        """
        if intent.role is Role.EXIT:
            self.hurry(intent.contract)
        self._orders[intent.id] = _Order(intent, events, self._clock)
        self._traffic.know(intent, events[-1].state)

    def hurry(self, contract: str) -> None:
        """The exit that waits for a contract is wanted as soon as it has settled."""
        for order in self._orders.values():
            if order.intent.role is Role.EXIT and order.intent.contract == contract:
                order.progress = order.progress.hurried()

    def resume(self) -> None:
        """The operator closes the breaker."""
        self._traffic.resume()
        self._tell_breaker()

    def breaker(self) -> str:
        """Why entries are held back after failures, or empty."""
        return self._traffic.breaker()

    def is_in_flight(self, symbol: str) -> bool:
        """True if a request for a symbol is with the sending thread now."""
        return any(order.in_flight and order.intent.symbol == symbol for order in self._orders.values())

    def open_orders(self) -> list[tuple[Intent, list[Event]]]:
        """Orders whose life is not over, each with what has happened to it."""
        return [(order.intent, order.events) for order in self._orders.values()]

    def moved(self, intent: Intent) -> None:
        """The ledger moved an order that is not in flight: take in what it says now."""
        events = self._ledger.events(intent.id)[:-1]
        order = self._orders.setdefault(intent.id, _Order(intent, events, self._clock))
        self._catch_up(order)

    def idle_s(self, longest_s: float) -> float:
        """Seconds until the next turn has something to do, as far as can be known; at most `longest_s`."""
        if self._in_flight:
            return min(IN_FLIGHT_S, longest_s)
        now = self._clock.moment()
        waits = [(self._due_ns(order, now) - now.steady_ns) / 1e9 for order in self._first_of_contracts()]
        return min([longest_s, *(max(wait, IN_FLIGHT_S) for wait in waits if wait > 0)])

    def outcomes(self, at_most: int) -> list[tuple[Intent, Event]]:
        """Outcomes the step has not heard of yet, in order; asked once per mark."""
        self._heard.sort(key=lambda one: one[1].seq)
        heard, self._heard = self._heard[:at_most], self._heard[at_most:]
        return heard

    def unconfirmed(self) -> list[Intent]:
        """Orders whose fate is unknown."""
        return [order.intent for order in self._orders.values() if order.events[-1].state is State.UNCONFIRMED]

    def turn(self, wait_s: float = 0.0) -> None:
        """Start what is due and take in what came back, waiting at most so long for what is in flight."""
        if self._ledger.is_uncertain and self._clock.steady_ns() >= self._exits_from_ns:
            self._ledger.is_uncertain = False  # what went out untold has settled
        self._start_due()
        end = time.monotonic() + wait_s
        while self._in_flight:
            try:
                result = self._results.get(timeout=min(max(0.0, end - time.monotonic()), threading.TIMEOUT_MAX))
            except queue.Empty:
                return
            if result.error is not None:
                raise result.error
            order = self._orders[result.intent]
            order.in_flight = False
            self._in_flight -= 1
            if result.event is not None:
                self._take(order, result.event)
                self._start_due()

    def give_way(self, longest_s: float) -> None:
        """Leave the interpreter to the sending thread until its first attempt is over, at most so long.

        Two threads that run Python take turns of milliseconds; what the caller does next can wait, an order cannot.
        """
        if self._in_flight:
            self._attempted.wait(longest_s)

    def close(self, timeout_s: float) -> bool:
        """Finish the attempt in flight, start none; False if it did not finish in time."""
        self._closing = True
        self._outbox.put((-len(Role) - 1, 0, 0, None))
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _first_of_contracts(self) -> list[_Order]:
        """Orders that may go out: of the exits of one contract the oldest, which closes what the others would."""
        orders = sorted(self._orders.values(), key=lambda order: order.intent.seq, reverse=True)
        oldest = {order.intent.contract: order for order in orders if order.intent.role is Role.EXIT}
        return [
            order
            for order in self._orders.values()
            if order.intent.role is Role.ENTRY or oldest[order.intent.contract] is order
        ]

    def _start_due(self) -> None:
        if not self._orders:
            return
        now = self._clock.moment()
        stopped = send_gates.stopped(self._switches())
        for order in self._first_of_contracts():
            if order.in_flight:
                continue
            intent = order.intent
            if drop := next_action(intent, order.progress, now, self._rules).drop:
                self._take(order, self._ledger.record(intent, State.DROPPED, now.wall_ns, detail=drop))
                continue
            if intent.role is Role.EXIT:
                self._watch(order, now, stopped)
            # Under `stop` an entry goes to the gates, which drop it; an exit waits.
            if self._due_ns(order, now) <= now.steady_ns and not (stopped and intent.role is Role.EXIT):
                if not self._in_flight:
                    self._attempted.clear()
                order.in_flight = True
                self._in_flight += 1
                tries = sum(event.state is State.SENDING for event in order.events)
                self._outbox.put((-intent.role, tries, next(self._turns), order))

    def _due_ns(self, order: _Order, now: Moment) -> int:
        """When an order may go out, steady ns; never, while its instrument is closed: TradersPost would queue it."""
        intent = order.intent
        action = next_action(intent, order.progress, now, self._rules)
        if action.at_ns is None or not is_open(intent.symbol, now.wall_ns):
            return _NEVER
        wait_ns = max(self._traffic.exit_from(intent), self._exits_from_ns) if intent.role is Role.EXIT else 0
        return max(action.at_ns, wait_ns)

    def _watch(self, order: _Order, now: Moment, stopped: str) -> None:
        """Tell people of an exit that does not get through, each reason once."""
        if not is_open(order.intent.symbol, now.wall_ns):
            order.wanted_ns = 0
            return
        order.wanted_ns = order.wanted_ns or now.steady_ns
        waited_s = (now.steady_ns - order.wanted_ns) / 1e9
        if stopped:
            self._alarm(order, "stop", f"is held back by {stopped}")
        elif waited_s > EXIT_ALARM_S:
            self._alarm(order, "late", f"is not acknowledged after {waited_s:.0f} s, going on")

    def _alarm(self, order: _Order, kind: str, text: str) -> None:
        if kind not in order.said:
            order.said.add(kind)
            self._say("exit", order_messages.alarm(order.intent, text))

    def _take(self, order: _Order, event: Event) -> None:
        intent = order.intent
        touched = [order]
        if intent.role is Role.EXIT and event.state is State.ACKNOWLEDGED:
            # It resolved what was not settled before it on its contract.
            others = [other for other in self._orders.values() if other is not order and not other.in_flight]
            touched += [other for other in others if other.intent.contract == intent.contract]
        for one in touched:
            self._catch_up(one)
        self._tell_breaker()

    def _tell_breaker(self) -> None:
        """Once that it opened, once that it closed."""
        if (why := self._traffic.breaker()) != self._breaker_told:
            self._breaker_told = why
            self._say("breaker", order_messages.breaker(self._ledger.strategy, why))

    def _say(self, kind: str, notice: Notice) -> None:
        self._ledger.tell(notice, self._clock.now_ns())
        order_messages.say(logger, kind, notice)

    def _catch_up(self, order: _Order) -> None:
        """Take in what the ledger has of an order."""
        known, intent = order.events[-1].seq, order.intent
        order.events = self._ledger.events(intent.id)
        for n, event in enumerate(order.events, 1):
            if event.seq <= known:
                continue
            order.progress = order.progress.after(event, self._clock.steady_ns())
            if event.state is State.SENDING:
                continue
            order_messages.happened(logger, intent, order.events[:n])
            if event.state in OUTCOME_STATES:
                self._heard.append((intent, event))
        last = order.events[-1].state
        self._traffic.know(intent, last)
        if last in FINAL or (intent.role is Role.ENTRY and last is State.REFUSED):
            del self._orders[intent.id]

    # ── on the sending thread ──

    def _run(self) -> None:
        while True:
            *_, order = self._outbox.get()
            if order is None or self._closing:
                return
            try:
                result = _Result(order.intent.id, self._attempt(order))
            except BaseException as error:  # noqa: BLE001 - the loop must hear of it, or it waits for ever
                result = _Result(order.intent.id, error=error)
            self._results.put(result)
            self._attempted.set()

    def _attempt(self, order: _Order) -> Event | None:
        faults.point("before_send")
        intent, now = order.intent, self._clock.moment()
        # It may have waited behind an order that hung, so what holds is what holds now.
        if drop := next_action(intent, order.progress, now, self._rules).drop:
            return self._record(intent, State.DROPPED, drop)
        if self._due_ns(order, now) > now.steady_ns:
            return None
        if reason := self._held_back(intent, now):
            return None if intent.role is Role.EXIT else self._record(intent, State.DROPPED, reason)
        try:
            payload = self._payload(intent, order.events[0].ts_wall)
        except ValueError as error:  # an entry that makes no sense; an exit always has a payload
            if intent.role is Role.EXIT:
                raise
            return self._record(intent, State.DROPPED, str(error))
        self._record(intent, State.SENDING)
        if intent.role is Role.ENTRY and self._ledger.is_behind:  # a restart would not know of it and send it again
            self._record(intent, State.PLANNED, "not sent")
            return self._record(intent, State.DROPPED, DISK_FULL)
        if self._send is None:
            return self._record(intent, State.ACKNOWLEDGED, "dry: not sent")
        faults.point("after_sending")
        receipt = self._send(payload)
        faults.point("after_post")
        event = self._record(intent, receipt.state, receipt=receipt)
        faults.point("after_outcome")
        return event

    def _held_back(self, intent: Intent, now: Moment) -> str:
        """Why it must not go out now, or empty."""
        switches, traffic = self._switches(), self._traffic
        if intent.role is Role.EXIT:
            return send_gates.stopped(switches)
        feed, busy = self._feed(intent.symbol), traffic.busy(now.steady_ns)
        view = View(now.wall_ns, switches, traffic.breaker(), feed, traffic.unclear(intent), busy)
        return send_gates.refusal(intent, view, self._rules)

    def _record(self, intent: Intent, state: State, detail: str = "", receipt: Receipt | None = None) -> Event:
        event = self._ledger.record(intent, state, self._clock.now_ns(), receipt, detail)
        self._traffic.note(
            intent, event, self._clock.steady_ns(), receipt.retry_after_s if receipt is not None else 0.0
        )
        return event
