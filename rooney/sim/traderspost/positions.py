"""The broker on paper behind one webhook: what planning a received signal comes to, and its effects counted."""

from collections import Counter, deque
from typing import Any, NamedTuple

from rooney.sim.traderspost.validation import SENTIMENTS

PER_MINUTE, PER_HOUR = 60, 500  # requests per webhook


class Effect(NamedTuple):
    """Plan for a received signal.

    kind:  entry, exit, reverse, cancel, breakeven: done; rejected: a safeguard stopped the trade, HTTP was 200
    order: signed contracts of the one market order that goes out, 0 for none
    """

    kind: str
    reason: str = ""
    order: int = 0


class Book:
    """An account at the broker: net contracts and resting protective stops per ticker, and what was counted.

    Side swapping off, adding off, cancelling open orders only where the signal says so (new strategies' default).
    """

    def __init__(self) -> None:
        self.positions: Counter[str] = Counter()
        self.stops: Counter[str] = Counter()
        self.counts: Counter[str] = Counter(dict.fromkeys((*_COUNTS, *_COUNTED.values()), 0))
        self.recent: deque[float] = deque()  # seconds of the last hour's requests

    def over_limit(self, now_s: float) -> bool:
        """Count a request at `now_s`; true if it is one too many. A refused request counts too."""
        while self.recent and self.recent[0] <= now_s - 3600:
            self.recent.popleft()
        self.recent.append(now_s)
        last_minute = len(self.recent) > PER_MINUTE and self.recent[-PER_MINUTE - 1] > now_s - 60
        return last_minute or len(self.recent) > PER_HOUR

    def plan(self, payload: dict[str, Any], age_s: float | None = None) -> Effect:
        """Decide on a valid signal from the position as it is now; cancels open orders, fills nothing yet.

        age_s: seconds since the signal's `time`; None switches `rejectAfter` off
        """
        ticker, effect = payload["ticker"], self._decide(payload, age_s)
        if payload.get("cancel") is True and effect.reason not in (_ADDING, _STALE) and self.stops.pop(ticker, 0):
            effect = effect if effect.kind != "rejected" else Effect("cancel", effect.reason)
        self.counts[_COUNTED[effect.kind]] += 1
        self.counts["orders"] += effect.order != 0
        return effect

    def fill(self, payload: dict[str, Any], effect: Effect) -> None:
        """The order of a plan fills, whole and always; an entry's stop starts to rest."""
        self.positions[payload["ticker"]] += effect.order
        if effect.kind == "entry" and "stopLoss" in payload:
            self.stops[payload["ticker"]] += 1

    def _decide(self, payload: dict[str, Any], age_s: float | None) -> Effect:
        ticker, action = payload["ticker"], payload["action"]
        held = self.positions[ticker]
        quantity = payload.get("quantity")
        if age_s is not None and age_s > payload.get("rejectAfter", float("inf")):
            return Effect("rejected", _STALE)
        if action == "cancel":
            return Effect("cancel") if self.stops.pop(ticker, 0) else Effect("rejected", "nothing to cancel")
        if action in ("buy", "sell"):
            return self._buy_or_sell(1 if action == "buy" else -1, held, int(quantity or 1), payload.get("sentiment"))
        if held == 0:
            return Effect("rejected", f"no open position to {action}")
        if action == "add":
            return Effect("entry", order=int(quantity or 1) * (1 if held > 0 else -1))
        if action == "reverse":
            return Effect("reverse", order=-2 * held)
        if action == "breakeven":
            return Effect("breakeven")
        if quantity is not None and payload.get("quantityType") == "percent_of_position":
            quantity = abs(held) * quantity / 100
        size = min(abs(held), max(int(quantity), 1)) if quantity is not None else abs(held)
        return Effect("exit", order=-size if held > 0 else size)

    def _buy_or_sell(self, side: int, held: int, quantity: int, sentiment: str | None) -> Effect:
        if held * side < 0:
            return Effect("exit", "side swapping is off", order=-held)
        if sentiment is not None and SENTIMENTS[sentiment] != side:
            return Effect("rejected", "no position on that side to close")
        if held * side > 0:
            return Effect("rejected", _ADDING)
        return Effect("entry", order=side * quantity)

    def shown(self) -> dict[str, dict[str, int]]:
        """For /state: positions that are not flat, stops that rest, counts."""
        return {
            "positions": {ticker: held for ticker, held in self.positions.items() if held},
            "stops": {ticker: resting for ticker, resting in self.stops.items() if resting},
            "counts": dict(self.counts),
        }


_ADDING = "already in a position on that side, adding is off"
_STALE = "the signal is older than its rejectAfter"
_COUNTS = ("requests", "received", "refused", "orders")  # and, below, what planning comes to
_COUNTED = {
    "entry": "entries",
    "exit": "exits",
    "reverse": "reverses",
    "cancel": "cancels",
    "breakeven": "breakevens",
    "rejected": "rejected",
}
