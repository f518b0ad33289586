"""Getting intents to the webhook: what to do next with each is decided here, purely; one thread does the sending.

Entries go out at most once. Exits go out until one is acknowledged, never two at a time and never within the settling
time of one whose fate is unknown. Every state is in the ledger before the next thing happens, and nothing here ever
blocks the worker's loop.
"""

import itertools
import logging
import queue
import threading
from collections.abc import Callable, Sequence

import msgspec

from rooney import faults, log, sessions
from rooney.clock import Clock
from rooney.kernels.dtypes import OutcomeKind
from rooney.ledger import Event, Ledger
from rooney.orders import Intent, Payload, Receipt, Role, State

logger = logging.getLogger(__name__)

NOT_SENT_PAUSES_S = (0.3, 1.0, 2.0, 5.0, 15.0)
REFUSED_PAUSE_S = 60.0
RETRY_LATER_PAUSE_S = 20.0
MAX_UNCONFIRMED_EXITS = 5
IN_FLIGHT_S = 0.05
OUTCOME_STATES = (State.ACKNOWLEDGED, State.REFUSED, State.DROPPED, State.UNCONFIRMED, State.RESOLVED)

FINAL = (State.ACKNOWLEDGED, State.DROPPED, State.RESOLVED)


class Rules(msgspec.Struct, frozen=True):
    """stale_after_s: oldest an entry may be when it is sent; settle_s: wait after an exit of unknown fate."""

    stale_after_s: float = 15.0
    settle_s: float = 60.0


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
            return Next(drop=f"stale: {age_s:.1f} s after its bar closed (limit {rules.stale_after_s:g} s)")
        return Next(at_ns=at_ns)
    if last.state is State.PLANNED:
        return Next(at_ns=_next_try(events, now_ns))
    if last.state is State.REFUSED:
        pause_s = RETRY_LATER_PAUSE_S if last.status == 429 else REFUSED_PAUSE_S
    elif last.state is State.UNCONFIRMED:
        if sum(event.state is State.UNCONFIRMED for event in events) >= MAX_UNCONFIRMED_EXITS:
            return Next()  # an operator has to look
        pause_s = rules.settle_s
    else:
        return Next()
    return Next(at_ns=last.ts_clock + int(pause_s * 1e9))


def _next_try(events: Sequence[Event], now_ns: int) -> int:
    """When an intent that certainly did not leave is due: at once, also by a clock that is behind; then with pauses."""
    tries = sum(event.state is State.SENDING for event in events)
    if not tries:
        return min(now_ns, events[-1].ts_clock)
    return events[-1].ts_clock + int(NOT_SENT_PAUSES_S[min(tries, len(NOT_SENT_PAUSES_S)) - 1] * 1e9)


def outcome_kind(role: Role, state: State) -> OutcomeKind | None:
    """What the step is told when an intent reaches `state`; None when it need not know."""
    if state is State.ACKNOWLEDGED:
        return OutcomeKind.ACKNOWLEDGED
    if role is Role.EXIT:
        return None  # still wanted, whatever happened to the attempt
    if state in (State.REFUSED, State.DROPPED, State.RESOLVED):
        return OutcomeKind.CANCELLED
    return OutcomeKind.UNCONFIRMED if state is State.UNCONFIRMED else None


class _Order:
    __slots__ = ("events", "in_flight", "intent")

    def __init__(self, intent: Intent, events: list[Event]) -> None:
        self.intent = intent
        self.events = events
        self.in_flight = False


class _Result(msgspec.Struct, frozen=True):
    """What the sending thread did with an intent. event: None when it was not to be sent now after all."""

    intent: str
    event: Event | None = None
    error: BaseException | None = None


class Delivery:
    """Sends the intents of one strategy.

    send:     posts a payload and says what is known (rooney.traderspost); None in mode dry: assumed acknowledged
    payload:  makes the request of an intent; its second argument is when it was decided, UTC ns
    group_of: session group per symbol; nothing is sent while its instrument is closed
    """

    def __init__(
        self,
        ledger: Ledger,
        send: Callable[[Payload], Receipt] | None,
        payload: Callable[[Intent, int], Payload],
        group_of: Callable[[str], str],
        clock: Clock,
        rules: Rules,
    ) -> None:
        self._ledger = ledger
        self._send = send
        self._payload = payload
        self._group_of = group_of
        self._clock = clock
        self._rules = rules
        self._orders: dict[str, _Order] = {}
        self._heard: list[Event] = ledger.unapplied(OUTCOME_STATES)
        self._in_flight = 0
        self._closing = False
        self._turns = itertools.count()
        # Exits overtake entries that wait: (-role, turn, intent, its life); the last word comes before any other.
        self._outbox: queue.PriorityQueue[tuple[int, int, Intent | None, list[Event]]] = queue.PriorityQueue()
        self._results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def add(self, intent: Intent, events: list[Event]) -> None:
        """Take charge of an intent that is in the ledger."""
        self._orders[intent.id] = _Order(intent, events)

    def drop_entries(self, why: Callable[[str], str]) -> None:
        """Let no entry out that waits, where `why` gives a reason against its symbol."""
        for order in list(self._orders.values()):
            if order.intent.role is Role.ENTRY and order.events[-1].state is State.PLANNED and not order.in_flight:
                reason = why(order.intent.symbol)
                if reason:
                    now_ns = self._clock.now_ns()
                    self._take(order, self._ledger.record(order.intent, State.DROPPED, now_ns, detail=reason))

    def idle_s(self, longest_s: float) -> float:
        """Seconds until the next turn has something to do, as far as can be known; at most `longest_s`."""
        if self._in_flight:
            return min(IN_FLIGHT_S, longest_s)
        now_ns = self._clock.now_ns()
        due = [next_action(order.intent, order.events, now_ns, self._rules).at_ns for order in self._orders.values()]
        waits = [(at_ns - now_ns) / 1e9 for at_ns in due if at_ns is not None]
        return min([longest_s, *(max(wait, IN_FLIGHT_S) for wait in waits if wait > 0)])

    def outcomes(self) -> list[Event]:
        """Outcomes the step has not heard of yet, in order; asked once per mark."""
        heard, self._heard = self._heard, []
        return sorted(heard, key=lambda event: event.seq)

    def unconfirmed(self) -> list[Intent]:
        """Orders whose fate is unknown."""
        return [order.intent for order in self._orders.values() if order.events[-1].state is State.UNCONFIRMED]

    def turn(self, wait: bool = False) -> None:
        """Start what is due and take in what came back. `wait`: until no attempt is in flight."""
        self._start_due()
        while self._in_flight and (wait or not self._results.empty()):
            result = self._results.get()
            if result.error is not None:
                raise result.error
            order = self._orders[result.intent]
            order.in_flight = False
            self._in_flight -= 1
            if result.event is not None:
                self._take(order, result.event)
                self._start_due()

    def close(self, timeout_s: float) -> bool:
        """Finish the attempt in flight, start none; False if it did not finish in time."""
        self._closing = True
        self._outbox.put((-len(Role) - 1, 0, None, []))
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _start_due(self) -> None:
        now_ns = self._clock.now_ns()
        for order in list(self._orders.values()):
            if order.in_flight:
                continue
            action = next_action(order.intent, order.events, now_ns, self._rules)
            if action.drop:
                self._take(order, self._ledger.record(order.intent, State.DROPPED, now_ns, detail=action.drop))
            elif self._due(order.intent, action, now_ns):
                order.in_flight = True
                self._in_flight += 1
                self._outbox.put((-order.intent.role, next(self._turns), order.intent, order.events))

    def _due(self, intent: Intent, action: Next, now_ns: int) -> bool:
        """Nothing is sent while the instrument is closed: TradersPost would queue it for the open."""
        open_now = sessions.window_at(self._group_of(intent.symbol), now_ns) is not None
        return action.at_ns is not None and action.at_ns <= now_ns and open_now

    def _take(self, order: _Order, event: Event) -> None:
        intent = order.intent
        level = logging.INFO if event.state is State.ACKNOWLEDGED else logging.WARNING
        text = f"{intent.role.name.lower()} {intent.ticker} {event.state.value} {event.status or ''} {event.detail}"
        log.event(logger, level, "order", " ".join(text.split()), symbol=intent.symbol, intent=intent.id)
        touched = [order]
        if intent.role is Role.EXIT and event.state is State.ACKNOWLEDGED:
            # It resolved what was unconfirmed before it on its contract.
            others = [other for other in self._orders.values() if other is not order and not other.in_flight]
            touched += [other for other in others if other.intent.contract == intent.contract]
        for one in touched:
            known = one.events[-1].seq
            one.events = self._ledger.events(one.intent.id)
            self._heard += [e for e in one.events if e.seq > known and e.state in OUTCOME_STATES]
            last = one.events[-1].state
            if last in FINAL or (one.intent.role is Role.ENTRY and last is State.REFUSED):
                del self._orders[one.intent.id]

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

    def _attempt(self, intent: Intent, events: list[Event]) -> Event | None:
        faults.point("before_send")
        now_ns = self._clock.now_ns()
        # It may have waited behind an order that hung, so what holds is what holds now.
        action = next_action(intent, events, now_ns, self._rules)
        if action.drop:
            return self._ledger.record(intent, State.DROPPED, now_ns, detail=action.drop)
        if not self._due(intent, action, now_ns):
            return None
        try:
            payload = self._payload(intent, events[0].ts_wall)
        except ValueError as error:  # an entry that makes no sense; an exit always has a payload
            if intent.role is Role.EXIT:
                raise
            return self._ledger.record(intent, State.DROPPED, now_ns, detail=str(error))
        self._ledger.record(intent, State.SENDING, now_ns)
        if self._send is None:
            return self._ledger.record(intent, State.ACKNOWLEDGED, now_ns, detail="dry: not sent")
        faults.point("after_sending")
        receipt = self._send(payload)
        faults.point("after_post")
        event = self._ledger.record(intent, receipt.state, self._clock.now_ns(), receipt)
        faults.point("after_outcome")
        return event
