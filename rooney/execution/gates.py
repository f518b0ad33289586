"""What may hold an order back at the moment of sending, in one order, each with its reason. Decisions are pure.

An entry passes every gate or is dropped. An exit is only ever delayed: by the operator's `stop`, by a closed market, by
the settling time of its contract and by the vendor's limits; never dropped, and by nothing else.
"""

import threading
from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from rooney.clock import CLOCK_BEHIND_S
from rooney.ledger.records import Attempt
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.orders.control import Level, Switch
from rooney.orders.intents import Event, Intent, Role, State

BREAKER_FAILURES, BREAKER_WINDOW_NS = 3, 5 * MINUTE_NS
ENTRY_FILL_S = 5.0  # an exit planned before the entry has filled finds nothing to close, and the entry fills after it
_MAY_BE_LIVE = (State.ACKNOWLEDGED, State.UNCONFIRMED)


class Rules(msgspec.Struct, frozen=True):
    """Limits of one strategy's delivery.

    stale_after_s: oldest an entry may be when it is sent; settle_s: wait between two exits of a contract
    mode:          of the account that is sent to; size_caps: most contracts of an entry, by symbol, absent for none
    requests_per_*: what the vendor takes of one webhook, refused ones included
    """

    stale_after_s: float = 15.0
    settle_s: float = 60.0
    mode: str = "paper"
    size_caps: dict[str, int] = {}
    requests_per_minute: int = 60
    requests_per_hour: int = 500

    @property
    def entry_limits(self) -> tuple[tuple[int, str, int], ...]:
        """(span in ns, its name, entries in it): what is left is kept for exits."""
        return (
            (MINUTE_NS, "minute", max(1, self.requests_per_minute // 3)),
            (HOUR_NS, "hour", max(1, self.requests_per_hour * 2 // 5)),
        )

    @property
    def request_limits(self) -> tuple[tuple[int, int], ...]:
        """(span in ns, requests in it): a little less than the vendor's, whose clock is not ours."""
        return (
            (MINUTE_NS, max(1, self.requests_per_minute * 9 // 10)),
            (HOUR_NS, max(1, self.requests_per_hour * 9 // 10)),
        )


class Breaker(msgspec.Struct, frozen=True):
    """No entries after repeated failures; an acknowledged exit or the operator closes it, an entry never probes it.

    failures: times of requests of unknown fate, UTC ns; reason: why it is open, or empty
    """

    failures: tuple[int, ...] = ()
    reason: str = ""

    def after(self, attempt: Attempt) -> "Breaker":
        """It, once this outcome is known."""
        if attempt.state is State.ACKNOWLEDGED:
            return Breaker() if attempt.role is Role.EXIT else self
        if attempt.state is State.REFUSED and attempt.status != 429:
            return Breaker(self.failures, f"{attempt.role.name.lower()} refused (HTTP {attempt.status})")
        if attempt.state is not State.UNCONFIRMED:
            return self
        failures = (*(ts for ts in self.failures if ts > attempt.ts_clock - BREAKER_WINDOW_NS), attempt.ts_clock)
        if len(failures) < BREAKER_FAILURES or self.reason:
            return Breaker(failures, self.reason)
        return Breaker(failures, f"{len(failures)} requests of unknown fate within {BREAKER_WINDOW_NS / 6e10:g} min")


class View(msgspec.Struct, frozen=True):
    """What is known at the moment of sending. feed: why the market data cannot be trusted, or empty."""

    now_ns: int
    switches: Sequence[Switch] = ()
    breaker: str = ""
    feed: str = ""
    unclear: str = ""
    busy: str = ""


def refusal(intent: Intent, view: View, rules: Rules) -> str:
    """Why an entry must not be sent, by the first gate that says no; empty if it may."""
    age_s = (view.now_ns - intent.ts_mark) / 1e9
    cap = rules.size_caps.get(intent.symbol, intent.quantity)
    gates = (
        (bool(view.switches), f"kill switch: {'; '.join(str(s) for s in view.switches)}"),
        (intent.mode != rules.mode, f"mode: decided in {intent.mode}, the account is {rules.mode}"),
        (bool(view.breaker), f"breaker: {view.breaker}"),
        (age_s > rules.stale_after_s, stale(age_s, rules)),
        (bool(view.feed), f"feed: {view.feed}"),
        (age_s < -CLOCK_BEHIND_S, f"clock: {-age_s:.1f} s behind the exchange (limit {CLOCK_BEHIND_S:g} s)"),
        (bool(view.unclear), f"unconfirmed: {view.unclear} of {intent.symbol} is not settled"),
        (bool(view.busy), f"rate: {view.busy}"),
        (intent.quantity > cap, f"size: {intent.quantity} contracts (limit {cap})"),
    )
    return next((reason for is_shut, reason in gates if is_shut), "")


def stale(age_s: float, rules: Rules) -> str:
    """The reason of an entry that is too old."""
    return f"stale: {age_s:.1f} s after its bar closed (limit {rules.stale_after_s:g} s)"


def stopped(switches: Iterable[Switch]) -> str:
    """Which switch holds back everything, exits included; empty if none does."""
    return next((str(switch) for switch in switches if switch.level is Level.STOP), "")


class Traffic:
    """What went over one webhook lately, and what is not settled. From the ledger at a start; from any thread then."""

    def __init__(self, recent: Iterable[Attempt], answers: Iterable[Attempt], rules: Rules) -> None:
        """recent: requests and outcomes of the last hour; answers: outcomes since the breaker was last closed."""
        self._rules = rules
        self._mutex = threading.Lock()
        self._requests: deque[int] = deque()
        self._entries: deque[int] = deque()
        self._last: dict[str, Attempt] = {}  # by contract, what may be at the other side
        self._unclear: dict[str, tuple[str, Role, State]] = {}  # intent → symbol, role, state
        self._breaker = Breaker()
        for attempt in recent:
            self._count(attempt)
        for attempt in answers:
            self._breaker = self._breaker.after(attempt)

    def _count(self, attempt: Attempt) -> None:
        if attempt.state is State.SENDING:
            for times in (self._requests, self._entries) if attempt.role is Role.ENTRY else (self._requests,):
                times.append(attempt.ts_clock)
                while times[0] <= attempt.ts_clock - HOUR_NS:
                    times.popleft()
        if attempt.state in _MAY_BE_LIVE:
            self._last[attempt.contract] = attempt

    def note(self, intent: Intent, event: Event) -> None:
        """An order of ours has moved."""
        attempt = Attempt(intent.contract, intent.role, event.state, event.status, event.ts_clock)
        with self._mutex:
            self._count(attempt)
            self._breaker = self._breaker.after(attempt)
            self._keep(intent, event.state)

    def know(self, intent: Intent, state: State) -> None:
        """An order stands there, as the ledger says."""
        with self._mutex:
            self._keep(intent, state)

    def _keep(self, intent: Intent, state: State) -> None:
        unclear = state in (State.SENDING, State.UNCONFIRMED)
        if unclear or (intent.role is Role.EXIT and state in (State.PLANNED, State.REFUSED)):
            self._unclear[intent.id] = (intent.symbol, intent.role, state)
        else:
            self._unclear.pop(intent.id, None)

    def resume(self) -> None:
        """The operator closes the breaker."""
        with self._mutex:
            self._breaker = Breaker()

    def breaker(self) -> str:
        """Why it is open, or empty."""
        return self._breaker.reason

    def unclear(self, intent: Intent) -> str:
        """Another order of the symbol of which something may still come, or empty."""
        with self._mutex:
            for id_, (symbol, role, state) in self._unclear.items():
                if symbol == intent.symbol and id_ != intent.id:
                    return f"{role.name.lower()} {id_} ({state})"
        return ""

    def busy(self, now_ns: int) -> str:
        """Why there is no room for an entry, or empty."""
        with self._mutex:
            for span_ns, name, limit in self._rules.entry_limits:
                if (sent := _since(self._entries, now_ns - span_ns)) >= limit:
                    return f"{sent} entries within the last {name} (limit {limit}); the rest is kept for exits"
        return ""

    def exit_from(self, intent: Intent) -> int:
        """When an exit may go out at the earliest, UTC ns: settled on its contract, and room on the webhook."""
        rules, waits = self._rules, [0]
        with self._mutex:
            last = self._last.get(intent.contract)
            for span_ns, limit in rules.request_limits:
                if len(self._requests) >= limit:
                    waits.append(self._requests[-limit] + span_ns)
        if last is not None:
            is_filling = last.role is Role.ENTRY and last.state is State.ACKNOWLEDGED
            wait_s = min(ENTRY_FILL_S, rules.settle_s) if is_filling else rules.settle_s
            waits.append(last.ts_clock + int(wait_s * 1e9))
        return max(waits)


def _since(times: Sequence[int], ts: int) -> int:
    return sum(time > ts for time in times)
