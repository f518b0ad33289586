"""Conditions that flap, made steady: one counts when it was seen for a while, and is over when unseen for longer."""

from rooney.alerts.vitals import Found

HOLD_NS = 15_000_000_000
CALM_NS = 60_000_000_000


class Steady:
    """begun: what stood when the process before this one ended."""

    def __init__(self, begun: Found, now_ns: int) -> None:
        self._since = dict.fromkeys(begun, now_ns - HOLD_NS)
        self._last = dict.fromkeys(begun, now_ns)
        self._known = dict(begun)

    def look(self, found: Found, now_ns: int) -> Found:
        """What stands, from what is found now."""
        for key, seen_ns in list(self._last.items()):
            is_held = seen_ns - self._since[key] >= HOLD_NS
            if now_ns - seen_ns >= (CALM_NS if is_held else HOLD_NS):
                for kept in (self._since, self._last, self._known):
                    del kept[key]
        for key, notice in found.items():
            self._since.setdefault(key, now_ns)
            self._last[key] = now_ns
            self._known[key] = notice
        return {key: notice for key, notice in self._known.items() if self._last[key] - self._since[key] >= HOLD_NS}
