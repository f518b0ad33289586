"""Gates that may hold an order back at the moment of sending, in one order, each with its reason. Decisions are pure.

An entry passes every gate or is dropped. An exit is only ever delayed: by the operator's `stop`, by a closed market, by
the settling time of its contract and by the vendor's limits; never dropped, and by nothing else. Limits, pauses and the
breaker count on the worker's steady clock.
"""

from collections.abc import Iterable, Sequence

import msgspec

from rooney.clock import CLOCK_BEHIND_S
from rooney.ledger.records import Attempt
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.orders.control import Level, Switch
from rooney.orders.intents import Intent, Role, State

BREAKER_FAILURES, BREAKER_WINDOW_NS = 3, 5 * MINUTE_NS


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
    def repeat_limits(self) -> tuple[tuple[int, int], ...]:
        """(span in ns, requests in it) of exits that go out again: with the entries' share, some is left for others."""
        return (
            (MINUTE_NS, max(1, self.requests_per_minute * 2 // 5)),
            (HOUR_NS, max(1, self.requests_per_hour * 2 // 5)),
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

    failures: times of requests of unknown fate, ns; reason: why it is open, or empty
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
        failures = (*(ts for ts in self.failures if ts > attempt.ts_ns - BREAKER_WINDOW_NS), attempt.ts_ns)
        if len(failures) < BREAKER_FAILURES or self.reason:
            return Breaker(failures, self.reason)
        return Breaker(failures, f"{len(failures)} requests of unknown fate within {BREAKER_WINDOW_NS / 6e10:g} min")


class View(msgspec.Struct, frozen=True):
    """Knowledge at the moment of sending. feed: why the market data cannot be trusted, or empty."""

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
