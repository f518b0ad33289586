"""The text of a message to a channel: what it tells, most urgent first, within a service's limit. Pure.

Many of a kind are one line with their number.
"""

import hashlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from rooney import log
from rooney.alerts.incidents import Item, Trouble

MAX_CHARS = 1_800  # Discord takes 2,000, and characters beyond the first plane count twice there
MAX_TEXT_CHARS = 420
SEPARATE = 3  # so many of a kind have a line of their own
_WORDS = ((log.ALERT, "ALERT"), (logging.CRITICAL, "CRIT"), (logging.ERROR, "ERROR"), (logging.WARNING, "WARN"))


class Message(msgspec.Struct, frozen=True):
    """number: in the text, the same in each repeat."""

    channel: str
    number: str
    text: str
    made_ns: int


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
