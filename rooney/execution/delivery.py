"""Getting intents to the webhook: what to do next with each is decided here, purely; one thread does the sending.

Entries go out at most once. Exits go out until one is acknowledged, never two at a time and never within the settling
time of another one of the contract. Every state is in the ledger before the next thing happens, the gates are asked at
the moment of sending, and nothing here ever blocks the worker's loop.
"""

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from rooney import failpoints as faults
from rooney.clock import Clock
from rooney.execution import gates
from rooney.execution.gates import Rules, Traffic, View
from rooney.ledger.writer import Ledger
from rooney.market.instruments import is_open
from rooney.market.sessions import HOUR_NS
from rooney.orders import order_log as orderlog
from rooney.orders.control import Switch
from rooney.orders.intents import Event, Intent, Payload, Receipt, Role, State
from rooney.orders.notices import EXIT_ALARM_S, Notice
from rooney.orders.outcomes import OUTCOME_STATES

logger = logging.getLogger(__name__)

NOT_SENT_PAUSES_S = (0.3, 1.0, 2.0, 5.0, 15.0)
REFUSED_PAUSE_S = 60.0
RETRY_LATER_PAUSE_S = 20.0
MAX_UNCONFIRMED_EXITS = 5
IN_FLIGHT_S = 0.05
_NEVER = 1 << 62
FINAL = (State.ACKNOWLEDGED, State.DROPPED, State.RESOLVED)


class Next(msgspec.Struct, frozen=True):
    """What to do with an intent: send it at `at_ns`, drop it for a reason, or leave it (both empty)."""

    at_ns: int | None = None
    drop: str = ""


def next_action(intent: Intent, events: Sequence[Event], now_ns: int, rules: Rules) -> Next:
    """Pure: the next thing to do with an intent whose life so far is `events`. All times by the worker's clock."""
    last = events[-1]
    if intent.role is Role.ENTRY:
        if last.state is not State.PLANNED:
            return Next()
        at_ns = _next_try(events, now_ns)
        age_s = (max(now_ns, at_ns) - intent.ts_mark) / 1e9
        if age_s > rules.stale_after_s:
            return Next(drop=gates.stale(age_s, rules))
        return Next(at_ns=at_ns)
    if last.state is State.PLANNED:
        return Next(at_ns=_next_try(events, now_ns))
    if last.state is State.REFUSED:
        pause_s = RETRY_LATER_PAUSE_S if last.status == 429 else REFUSED_PAUSE_S
    elif last.state is State.UNCONFIRMED:
        if is_given_up(event.state for event in events):
            return Next()
        pause_s = rules.settle_s
    else:
        return Next()
    return Next(at_ns=last.ts_clock + int(pause_s * 1e9))


def is_given_up(states: Iterable[State]) -> bool:
    """An exit whose `states` were unknown so often that an operator has to look."""
    return sum(state is State.UNCONFIRMED for state in states) >= MAX_UNCONFIRMED_EXITS


def _next_try(events: Sequence[Event], now_ns: int) -> int:
    """When an intent that certainly did not leave is due: at once, also by a clock that is behind; then with pauses."""
    tries = sum(event.state is State.SENDING for event in events)
    if not tries:
        return min(now_ns, events[-1].ts_clock)
    return events[-1].ts_clock + int(NOT_SENT_PAUSES_S[min(tries, len(NOT_SENT_PAUSES_S)) - 1] * 1e9)


class _Order:
    __slots__ = ("events", "in_flight", "intent", "said", "wanted_ns")

    def __init__(self, intent: Intent, events: list[Event]) -> None:
        self.intent = intent
        self.events = events
        self.in_flight = False
        self.wanted_ns = 0  # since when an exit could have gone out
        self.said: set[str] = set()  # alarms that were raised


class _Result(msgspec.Struct, frozen=True):
    """What the sending thread did with an intent. event: None when it was not to be sent now after all."""

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
        recent = ledger.attempts_since(clock.now_ns() - HOUR_NS)
        self._traffic = Traffic(recent, ledger.answers_since_resume(), rules)
        self._orders: dict[str, _Order] = {}
        self._heard = [(ledger.intent(event.intent), event) for event in ledger.unapplied(OUTCOME_STATES)]
        self._breaker_told = self._traffic.breaker()
        self._ledger.tell(orderlog.breaker(ledger.strategy, self._breaker_told), clock.now_ns())
        self._in_flight = 0
        self._closing = False
        self._turns = itertools.count()
        # Exits overtake entries that wait: (-role, turn, intent, its life); the last word comes before any other.
        self._outbox: queue.PriorityQueue[tuple[int, int, Intent | None, list[Event]]] = queue.PriorityQueue()
        self._results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._attempted = threading.Event()  # since the last time when nothing was in flight
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def add(self, intent: Intent, events: list[Event]) -> None:
        """Take charge of an intent that is in the ledger."""
        self._orders[intent.id] = _Order(intent, events)
        self._traffic.know(intent, events[-1].state)

    def resume(self) -> None:
        """The operator closes the breaker."""
        self._traffic.resume()
        self._tell_breaker()

    def breaker(self) -> str:
        """Why entries are held back after failures, or empty."""
        return self._traffic.breaker()

    def is_in_flight(self, symbol: str) -> bool:
        """Whether a request for a symbol is with the sending thread now."""
        return any(order.in_flight and order.intent.symbol == symbol for order in self._orders.values())

    def open_orders(self) -> list[tuple[Intent, list[Event]]]:
        """Orders whose life is not over, each with what has happened to it."""
        return [(order.intent, order.events) for order in self._orders.values()]

    def moved(self, intent: Intent) -> None:
        """The ledger moved an order that is not in flight: take in what it says now."""
        order = self._orders.setdefault(intent.id, _Order(intent, self._ledger.events(intent.id)[:-1]))
        self._catch_up(order)

    def idle_s(self, longest_s: float) -> float:
        """Seconds until the next turn has something to do, as far as can be known; at most `longest_s`."""
        if self._in_flight:
            return min(IN_FLIGHT_S, longest_s)
        now_ns = self._clock.now_ns()
        actions = [
            (order.intent, next_action(order.intent, order.events, now_ns, self._rules))
            for order in self._orders.values()
        ]
        waits = [(self._at_ns(intent, action, now_ns) - now_ns) / 1e9 for intent, action in actions]
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
        self._outbox.put((-len(Role) - 1, 0, None, []))
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _start_due(self) -> None:
        if not self._orders:
            return
        now_ns = self._clock.now_ns()
        stopped = gates.stopped(self._switches())
        for order in list(self._orders.values()):
            if order.in_flight:
                continue
            intent = order.intent
            action = next_action(intent, order.events, now_ns, self._rules)
            if action.drop:
                self._take(order, self._ledger.record(intent, State.DROPPED, now_ns, detail=action.drop))
                continue
            if intent.role is Role.EXIT:
                self._watch(order, now_ns, stopped)
            # Under `stop` an entry goes to the gates, which drop it; an exit waits.
            if self._at_ns(intent, action, now_ns) <= now_ns and not (stopped and intent.role is Role.EXIT):
                if not self._in_flight:
                    self._attempted.clear()
                order.in_flight = True
                self._in_flight += 1
                self._outbox.put((-intent.role, next(self._turns), intent, order.events))

    def _at_ns(self, intent: Intent, action: Next, now_ns: int) -> int:
        """When an order may go out, UTC ns; never, while its instrument is closed: TradersPost would queue it."""
        if action.at_ns is None or not is_open(intent.symbol, now_ns):
            return _NEVER
        return max(action.at_ns, self._traffic.exit_from(intent) if intent.role is Role.EXIT else 0)

    def _watch(self, order: _Order, now_ns: int, stopped: str) -> None:
        """Tell people of an exit that does not get through, each reason once."""
        if not is_open(order.intent.symbol, now_ns):
            order.wanted_ns = 0
            return
        order.wanted_ns = order.wanted_ns or now_ns
        waited_s = (now_ns - order.wanted_ns) / 1e9
        if stopped:
            self._alarm(order, "stop", f"is held back by {stopped}")
        elif is_given_up(event.state for event in order.events):
            self._alarm(
                order, "given up", f"is of unknown fate after {MAX_UNCONFIRMED_EXITS} requests and not sent again"
            )
        elif waited_s > EXIT_ALARM_S:
            self._alarm(order, "late", f"is not acknowledged after {waited_s:.0f} s, going on")

    def _alarm(self, order: _Order, kind: str, text: str) -> None:
        if kind not in order.said:
            order.said.add(kind)
            self._say("exit", orderlog.alarm(order.intent, text))

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
            self._say("breaker", orderlog.breaker(self._ledger.strategy, why))

    def _say(self, kind: str, notice: Notice) -> None:
        self._ledger.tell(notice, self._clock.now_ns())
        orderlog.say(logger, kind, notice)

    def _catch_up(self, order: _Order) -> None:
        """Take in what the ledger has of an order."""
        known, intent = order.events[-1].seq, order.intent
        order.events = self._ledger.events(intent.id)
        for n, event in enumerate(order.events, 1):
            if event.seq <= known or event.state is State.SENDING:
                continue
            orderlog.happened(logger, intent, order.events[:n])
            if event.state in OUTCOME_STATES:
                self._heard.append((intent, event))
        last = order.events[-1].state
        self._traffic.know(intent, last)
        if last in FINAL or (intent.role is Role.ENTRY and last is State.REFUSED):
            del self._orders[intent.id]

    # ── on the sending thread ──

    def _run(self) -> None:
        while True:
            _, _, intent, events = self._outbox.get()
            if intent is None or self._closing:
                return
            try:
                self._results.put(_Result(intent.id, self._attempt(intent, events)))
            except BaseException as error:  # noqa: BLE001 - the loop must hear of it, or it waits for ever
                self._results.put(_Result(intent.id, error=error))
            self._attempted.set()

    def _attempt(self, intent: Intent, events: list[Event]) -> Event | None:
        faults.point("before_send")
        now_ns = self._clock.now_ns()
        # It may have waited behind an order that hung, so what holds is what holds now.
        action = next_action(intent, events, now_ns, self._rules)
        if action.drop:
            return self._record(intent, State.DROPPED, action.drop)
        if action.at_ns is None or action.at_ns > now_ns or not is_open(intent.symbol, now_ns):
            return None
        if reason := self._held_back(intent, now_ns):
            return None if intent.role is Role.EXIT else self._record(intent, State.DROPPED, reason)
        try:
            payload = self._payload(intent, events[0].ts_wall)
        except ValueError as error:  # an entry that makes no sense; an exit always has a payload
            if intent.role is Role.EXIT:
                raise
            return self._record(intent, State.DROPPED, str(error))
        self._record(intent, State.SENDING)
        if self._send is None:
            return self._record(intent, State.ACKNOWLEDGED, "dry: not sent")
        faults.point("after_sending")
        receipt = self._send(payload)
        faults.point("after_post")
        event = self._record(intent, receipt.state, receipt=receipt)
        faults.point("after_outcome")
        return event

    def _held_back(self, intent: Intent, now_ns: int) -> str:
        """Why it must not go out now, or empty."""
        switches, traffic = self._switches(), self._traffic
        if intent.role is Role.EXIT:
            return gates.stopped(switches) or ("settling" if traffic.exit_from(intent) > now_ns else "")
        feed, busy = self._feed(intent.symbol), traffic.busy(now_ns)
        view = View(now_ns, switches, traffic.breaker(), feed, traffic.unclear(intent), busy)
        return gates.refusal(intent, view, self._rules)

    def _record(self, intent: Intent, state: State, detail: str = "", receipt: Receipt | None = None) -> Event:
        event = self._ledger.record(intent, state, self._clock.now_ns(), receipt, detail)
        self._traffic.note(intent, event)
        return event
