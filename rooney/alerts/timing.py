"""Timing of alerts: how long a trouble must last to count, what comes together, pauses and repeats. Pure.

A critical one is told at once, others after 30 s, so that what belongs together comes together; after a message the
next one waits. One that stands is told again every four hours, a critical one every 15 minutes until somebody has said
that it is known. The end of each is told once.
"""

import logging
from collections.abc import Sequence

from rooney.alerts.incidents import Item, Telling, Trouble
from rooney.alerts.thresholds import Found

HOLD_NS = 15_000_000_000  # a trouble counts when it has lasted so long
CALM_NS = 60_000_000_000  # and is over when it has been gone for so long
GROUP_NS = 30_000_000_000  # from the first thing to tell to the message
GAP_NS = 60_000_000_000  # from one message of a channel to the next
CRITICAL_GAP_NS = 15_000_000_000
REPEAT_NS = 4 * 3_600_000_000_000
CRITICAL_REPEAT_NS = 900_000_000_000


def pending(troubles: Sequence[Trouble], channel: str, now_ns: int, known_ns: int = 0) -> list[Item]:
    """Items a channel has to be told, most urgent first. known_ns: when somebody last said that all is known."""
    found = []
    for one in troubles:
        told = one.tellings.get(channel) or Telling()
        if told.is_over:
            continue
        if one.is_news or one.ended_ns:
            found.append(Item(one, "news" if one.is_news else "over", one.ended_ns))
        elif not told.told_ns:
            found.append(Item(one, "begins", one.began_ns))
        else:
            is_pressing = one.level >= logging.CRITICAL and told.told_ns > known_ns
            at_ns = told.told_ns + (CRITICAL_REPEAT_NS if is_pressing else REPEAT_NS)
            if now_ns >= at_ns:
                found.append(Item(one, "stands", at_ns))
    order = ("begins", "stands", "over", "news")
    return sorted(found, key=lambda item: (-item.trouble.level, order.index(item.what), item.since_ns))


def is_due(items: Sequence[Item], last_ns: int, now_ns: int) -> bool:
    """True if a channel's next message is to be made now. last_ns: when its last one was, 0 for never."""
    if not items:
        return False
    if any(item.what in ("begins", "news") and item.trouble.level >= logging.CRITICAL for item in items):
        return now_ns >= last_ns + CRITICAL_GAP_NS
    return now_ns >= max(min(item.since_ns for item in items) + GROUP_NS, last_ns + GAP_NS)


class Steady:
    """begun: what stood when the process before this one ended."""

    def __init__(self, begun: Found, now_ns: int) -> None:
        self._since = dict.fromkeys(begun, now_ns - HOLD_NS)
        self._last = dict.fromkeys(begun, now_ns)
        self._known = dict(begun)

    def look(self, found: Found, now_ns: int) -> Found:
        """Notices that stand, from those found now."""
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
