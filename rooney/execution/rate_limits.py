"""Limits of a webhook: what went over it lately, what may still be on the other side, and when the next may go."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from rooney.execution.send_gates import Breaker, Rules
from rooney.ledger.records import Attempt
from rooney.market.sessions import HOUR_NS
from rooney.orders.intents import Event, Intent, Role, State

LIMITED_PAUSE_S = 20.0  # after a 429 that does not say how long; doubled while they go on
LIMITED_PAUSE_MOST_S = 300.0
ENTRY_FILL_S = 5.0  # an exit planned before the entry has filled finds nothing to close, and the entry fills after it
_MAY_BE_LIVE = (State.ACKNOWLEDGED, State.UNCONFIRMED)


class _Limited(msgspec.Struct, frozen=True):
    """The vendor said 429: nothing goes out until `until_ns`, then one request that shows whether it is over."""

    until_ns: int = 0
    pause_s: float = 0.0

    def after(self, attempt: Attempt, retry_after_s: float) -> "_Limited":
        """It, once this outcome is known."""
        if attempt.state not in (State.REFUSED, State.ACKNOWLEDGED, State.UNCONFIRMED):
            return self
        if attempt.state is not State.REFUSED or attempt.status != 429:
            return _Limited()
        pause_s = min(retry_after_s or max(LIMITED_PAUSE_S, 2 * self.pause_s), LIMITED_PAUSE_MOST_S)
        return _Limited(attempt.ts_ns + int(pause_s * 1e9), pause_s)


class Traffic:
    """Requests over a webhook lately, and what is not settled. From the ledger at a start; from any thread then."""

    def __init__(self, recent: Iterable[Attempt], answers: Iterable[Attempt], rules: Rules) -> None:
        """recent: the newest events of orders; answers: outcomes since the breaker was last closed."""
        self._rules = rules
        self._mutex = threading.Lock()
        self._requests: deque[int] = deque()
        self._entries: deque[int] = deque()
        self._repeats: deque[int] = deque()
        self._on_its_way: dict[str, int] = {}  # intent → when its request began
        self._tried: set[str] = set()  # exits that may have been at the other side
        self._last: dict[str, Attempt] = {}  # by contract, what may be at the other side
        self._unclear: dict[str, tuple[str, Role, State]] = {}  # intent → symbol, role, state
        self._breaker = Breaker()
        self._limited = _Limited()
        for attempt in recent:
            self._count(attempt)
        for attempt in answers:
            self._breaker = self._breaker.after(attempt)

    def settle_from(self, settles_from: Callable[[int], int]) -> None:
        """Let what may be at the other side settle from the times that `settles_from` gives instead of its own."""
        self._last = {
            contract: msgspec.structs.replace(attempt, ts_ns=settles_from(attempt.ts_ns))
            for contract, attempt in self._last.items()
        }

    def _windows(self, attempt: Attempt) -> list[deque[int]]:
        """Where a request counts."""
        if attempt.role is Role.ENTRY:
            return [self._requests, self._entries]
        return [self._requests, self._repeats] if attempt.intent in self._tried else [self._requests]

    def _count(self, attempt: Attempt, retry_after_s: float = 0.0) -> None:
        if attempt.state is State.SENDING:
            self._on_its_way[attempt.intent] = attempt.ts_ns
            for times in self._windows(attempt):
                times.append(attempt.ts_ns)
                while times[0] <= attempt.ts_ns - HOUR_NS:
                    times.popleft()
            return
        began_ns = self._on_its_way.pop(attempt.intent, None)
        if attempt.state is State.PLANNED and began_ns is not None:
            # It did not leave, so the vendor has not counted it.
            for times in self._windows(attempt):
                with contextlib.suppress(ValueError):
                    times.remove(began_ns)
        elif attempt.role is Role.EXIT and attempt.state in (State.UNCONFIRMED, State.REFUSED):
            self._tried.add(attempt.intent)
        else:
            self._tried.discard(attempt.intent)
        self._limited = self._limited.after(attempt, retry_after_s)
        if attempt.state in _MAY_BE_LIVE:
            self._last[attempt.contract] = attempt

    def note(self, intent: Intent, event: Event, steady_ns: int, retry_after_s: float = 0.0) -> None:
        """An order of ours has moved."""
        attempt = Attempt(intent.contract, intent.role, event.state, event.status, steady_ns, intent.id)
        with self._mutex:
            self._count(attempt, retry_after_s)
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
            self._tried.discard(intent.id)

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

    def busy(self, steady_ns: int) -> str:
        """Why there is no room for an entry, or empty."""
        with self._mutex:
            if (left_ns := self._limited.until_ns - steady_ns) > 0:
                return f"TradersPost said 429, no requests for another {left_ns / 1e9:.0f} s"
            for span_ns, name, limit in self._rules.entry_limits:
                if (sent := _since(self._entries, steady_ns - span_ns)) >= limit:
                    return f"{sent} entries within the last {name} (limit {limit}); the rest is kept for exits"
        return ""

    def exit_from(self, intent: Intent) -> int:
        """When an exit may go out at the earliest, steady ns: settled on its contract, and room on the webhook."""
        rules, waits = self._rules, [0]
        with self._mutex:
            waits.append(self._limited.until_ns)
            last = self._last.get(intent.contract)
            windows = [(self._requests, rules.request_limits)]
            if intent.id in self._tried:
                windows.append((self._repeats, rules.repeat_limits))
            for times, limits in windows:
                waits += [times[-limit] + span_ns for span_ns, limit in limits if len(times) >= limit]
        if last is not None:
            is_filling = last.role is Role.ENTRY and last.state is State.ACKNOWLEDGED
            wait_s = min(ENTRY_FILL_S, rules.settle_s) if is_filling else rules.settle_s
            waits.append(last.ts_ns + int(wait_s * 1e9))
        return max(waits)


def _since(times: Sequence[int], ts: int) -> int:
    return sum(time > ts for time in times)
