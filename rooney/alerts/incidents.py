"""Troubles: what stands, what is over, what a channel has not been told of yet, and how that reads. Pure.

A critical one is told at once, others after 30 s, so that what belongs together comes together; after a message the
next one waits. One that stands is told again every four hours, a critical one every 15 minutes until somebody has said
that it is known. The end of each is told once. Many of a kind are one line with their number.
"""

import hashlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from rooney import log
from rooney.alerts.vitals import Found

GROUP_NS = 30_000_000_000  # from the first thing to tell to the message
GAP_NS = 60_000_000_000  # from one message of a channel to the next
CRITICAL_GAP_NS = 15_000_000_000
REPEAT_NS = 4 * 3_600_000_000_000
CRITICAL_REPEAT_NS = 900_000_000_000
OLD_NS = 86_400_000_000_000  # what was over before that is not told any more
MAX_CHARS = 1_800  # Discord takes 2,000, and characters beyond the first plane count twice there
MAX_TEXT_CHARS = 420
SEPARATE = 3  # so many of a kind have a line of their own

_WORDS = ((log.ALERT, "ALERT"), (logging.CRITICAL, "CRIT"), (logging.ERROR, "ERROR"), (logging.WARNING, "WARN"))


class Telling(msgspec.Struct):
    """What a channel was told of a trouble. told_ns: when last, 0 never; is_over: its end, too."""

    told_ns: int = 0
    is_over: bool = False


class Trouble(msgspec.Struct):
    """One trouble, or one piece of news, which is over when it begins.

    scope: a strategy, empty for what is common to all; about: its name within the scope; ended_ns: 0 while it stands
    tellings: by channel; id: in the book
    """

    id: int
    scope: str
    about: str
    level: int
    symbol: str
    text: str
    began_ns: int
    ended_ns: int = 0
    end_text: str = ""
    is_news: bool = False
    is_seen: bool = False  # found by looking; it ends when it is no longer seen
    tellings: dict[str, Telling] = {}

    @property
    def kind(self) -> str:
        """What it has in common with others: `order` of `order 7f3a`."""
        return self.about.partition(" ")[0]


class Item(msgspec.Struct, frozen=True):
    """Something to tell: since_ns: when it came about; what: begins, stands, over or news."""

    trouble: Trouble
    what: str
    since_ns: int


class Message(msgspec.Struct, frozen=True):
    """number: in the text, the same in each repeat."""

    channel: str
    number: str
    text: str
    made_ns: int


def pending(troubles: Sequence[Trouble], channel: str, now_ns: int, known_ns: int = 0) -> list[Item]:
    """What a channel has to be told, most urgent first. known_ns: when somebody last said that all is known."""
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
    """Whether a channel's next message is to be made now. last_ns: when its last one was, 0 for never."""
    if not items:
        return False
    if any(item.what in ("begins", "news") and item.trouble.level >= logging.CRITICAL for item in items):
        return now_ns >= last_ns + CRITICAL_GAP_NS
    return now_ns >= max(min(item.since_ns for item in items) + GROUP_NS, last_ns + GAP_NS)


def compose(items: Sequence[Item], channel: str, now_ns: int) -> tuple[Message, list[Item]]:
    """The message that tells of `items`, and those it tells of: what does not fit waits for the next one."""
    groups: dict[tuple[str, str, int, str], list[Item]] = {}
    for item in items:
        one = item.trouble
        groups.setdefault((one.scope, item.what, one.level, one.kind), []).append(item)
    lines: list[str] = []
    told: list[Item] = []
    used, room = 0, MAX_CHARS - 40
    for group in groups.values():
        parts = [[item] for item in group] if len(group) <= SEPARATE else [group]
        for part in parts:
            line = log.redact(_single(part[0], now_ns) if len(part) == 1 else _several(part))
            if lines and used + len(line) + 1 > room:
                break
            lines.append(line)
            told += part
            used += len(line) + 1
    left = len(items) - len(told)
    if left:
        lines.append(f"({left} more follow)")
    number = hashlib.sha256(f"{channel} {now_ns} {lines}".encode()).hexdigest()[:8]
    first, _, rest = "\n".join(lines).partition("\n")
    text = f"{first} [#{number}]" + (f"\n{rest}" if rest else "")
    return Message(channel, number, text, now_ns), told


def _single(item: Item, now_ns: int) -> str:
    one = item.trouble
    at = _clock(one.began_ns)
    match item.what:
        case "over":
            text = f"{one.end_text or one.text} (it began {at}, {_span(one.ended_ns - one.began_ns)})"
            return f"RESOLVED {_who(one)}: {shorten(text)}"
        case "stands":
            return (
                f"STILL {word(one.level)} {_who(one)}: {shorten(one.text)} ({at}, for {_span(now_ns - one.began_ns)})"
            )
    if one.kind == "report":
        return shorten(one.text, MAX_CHARS - 200)
    return f"{word(one.level)} {_who(one)}: {shorten(one.text)} ({at})"


def _several(items: Sequence[Item]) -> str:
    first, last = items[0].trouble, items[-1].trouble
    symbols: dict[str, int] = {}
    for item in items:
        symbols[item.trouble.symbol] = symbols.get(item.trouble.symbol, 0) + 1
    top = sorted(symbols.items(), key=lambda pair: (-pair[1], pair[0]))
    which = ", ".join(f"{symbol} {number:,}" for symbol, number in top[:8] if symbol)
    which = f" ({which}{', …' if len(top) > 8 else ''})" if which else ""
    head = {"over": "RESOLVED", "stands": f"STILL {word(first.level)}"}.get(items[0].what, word(first.level))
    span = f"{_clock(min(i.trouble.began_ns for i in items))} to {_clock(max(i.trouble.began_ns for i in items))}"
    text = f"{head} {_who(first)}: {len(items):,} × {first.kind}{which}, {span}; "
    return text + shorten(f"first: {first.text}", 260) + f"; last: {last.about}. All: rooney alerts"


def _who(one: Trouble) -> str:
    return " ".join(filter(None, (one.scope or "system", one.symbol)))


def word(level: int) -> str:
    """A level in a word of its own."""
    return next((text for least, text in _WORDS if level >= least), "NOTE")


def shorten(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """Cut in the middle: what it is about and what to do are at the ends."""
    half = (limit - 3) // 2
    return text if len(text) <= limit else f"{text[:half]} … {text[-half:]}"


def _clock(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).strftime("%H:%M:%SZ")


def _span(ns: int) -> str:
    seconds = max(0, ns // 1_000_000_000)
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7_200 else f"{seconds / 3600:.1f} h"


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
