"""Messages about an order: a line for each step in its life, how loud it is, and what to do about it.

`journalctl -u rooney-worker@NAME ROONEY_INTENT=ID` is one order's whole story: decided, then what came of it.

    CRITICAL  money is at risk now: its fate is unknown, an exit is not accepted; or a setting is wrong
    ERROR     refused for now (429); the breaker is open
    WARNING   an entry is dropped; an order did not get out several times
    NOTICE    acknowledged, resolved; did not get out, and is tried again
    INFO      decided
"""

import logging
from collections.abc import Sequence

from rooney import log
from rooney.orders.intents import Event, Intent, Role, State
from rooney.orders.notices import BREAKER, Notice, Turn

RETRIES_TOLD = 3  # from so many attempts on an order that does not get out is a warning


def decided(logger: logging.Logger, intent: Intent) -> None:
    """An intent is in the ledger."""
    what = f"{intent.role.name.lower()} {intent.ticker} {intent.side.name.lower()} x{intent.quantity}"
    _tell(logger, logging.INFO, "intent", f"{what} decided: {intent.cause}", intent)


def happened(logger: logging.Logger, intent: Intent, life: Sequence[Event]) -> None:
    """The last event of `life`, which is all that has happened to the intent up to there."""
    _tell(logger, level(life), "order", _sentence(intent, life), intent)


def notice(intent: Intent, life: Sequence[Event]) -> Notice | None:
    """Pure: the last event of `life` as a notice; None where it is only the usual way of an order."""
    event, loud = life[-1], level(life)
    if event.state is State.SENDING or (event.state is State.PLANNED and loud < logging.WARNING):
        return None
    if event.state is State.PLANNED or event.state is State.UNCONFIRMED or _still_wanted(intent, event):
        turn = Turn.BEGINS
    else:
        turn = Turn.ENDS
    return Notice(f"order {intent.id}", turn, loud, _sentence(intent, life), intent.symbol, intent.id)


def alarm(intent: Intent, text: str) -> Notice:
    """Pure: an exit does not get through."""
    hint = f"look at the broker: rooney position {intent.strategy} {intent.symbol}"
    sentence = f"exit {intent.ticker} {text}; {hint}"
    return Notice(f"order {intent.id}", Turn.BEGINS, logging.CRITICAL, sentence, intent.symbol, intent.id)


def breaker(strategy: str, why: str) -> Notice:
    """Pure: the breaker opened for a reason, or closed (empty)."""
    if not why:
        return Notice(BREAKER, Turn.ENDS, log.NOTICE, "the breaker is closed")
    text = f"the breaker is open, no entries until an exit is acknowledged or rooney resume {strategy}: {why}"
    return Notice(BREAKER, Turn.BEGINS, logging.ERROR, text)


def say(logger: logging.Logger, kind: str, notice: Notice) -> None:
    """A notice, in the journal too."""
    log.event(logger, notice.level, kind, notice.text, symbol=notice.symbol, intent=notice.intent)


def level(life: Sequence[Event]) -> int:
    """How loud the last event of `life` is."""
    event = life[-1]
    match event.state:
        case State.UNCONFIRMED:
            return logging.CRITICAL
        case State.REFUSED:
            return logging.ERROR if event.status == 429 else logging.CRITICAL
        case State.DROPPED:
            return logging.WARNING
        case State.PLANNED:
            tries = sum(one.state is State.SENDING for one in life)
            return logging.WARNING if tries >= RETRIES_TOLD else log.NOTICE
    return log.NOTICE


def _still_wanted(intent: Intent, event: Event) -> bool:
    """An exit that was refused: the position is open."""
    return event.state is State.REFUSED and intent.role is Role.EXIT


def _sentence(intent: Intent, life: Sequence[Event]) -> str:
    event = life[-1]
    said = f"{intent.role.name.lower()} {intent.ticker} {event.state} {event.status or ''} {event.detail}"
    advice = _advice(intent, event)
    return " ".join(said.split()) + (f"; {advice}" if advice else "")


def _advice(intent: Intent, event: Event) -> str:
    """The consequence, and what a person can do."""
    if event.state is State.UNCONFIRMED and intent.role is Role.ENTRY:
        resolve = f"rooney resolve {intent.id} --filled PRICE | --not-filled"
        return f"it may be live and is not sent again. {resolve}, or rooney flatten {intent.strategy} {intent.symbol}"
    if event.state is State.UNCONFIRMED:
        return "it may be open still; the exit goes out again after the settling time"
    if _still_wanted(intent, event):
        return "it is open still; the exit goes out again"
    return ""


def _tell(logger: logging.Logger, level_: int, kind: str, text: str, intent: Intent) -> None:
    log.event(logger, level_, kind, text, symbol=intent.symbol, intent=intent.id)
