"""What people are told of an order: a line for each step in its life, how loud it is, and what to do about it.

`journalctl ROONEY_INTENT=ID` is one order's whole story: decided, then what came of it.

    CRITICAL  money is at risk now: its fate is unknown, an exit is not accepted; or a setting is wrong
    ERROR     refused for now (429); the breaker is open
    WARNING   an entry is dropped; an order did not get out several times
    NOTICE    acknowledged, resolved; did not get out, and is tried again
    INFO      decided
"""

import logging
from collections.abc import Sequence

from rooney import log
from rooney.orders import Event, Intent, Role, State

RETRIES_TOLD = 3  # from so many attempts on an order that does not get out is a warning


def decided(logger: logging.Logger, intent: Intent) -> None:
    """An intent is in the ledger."""
    what = f"{intent.role.name.lower()} {intent.ticker} {intent.side.name.lower()} x{intent.quantity}"
    _tell(logger, logging.INFO, "intent", f"{what} decided: {intent.cause}", intent)


def happened(logger: logging.Logger, intent: Intent, life: Sequence[Event]) -> None:
    """The last event of `life`, which is all that has happened to the intent up to there."""
    event = life[-1]
    said = f"{intent.role.name.lower()} {intent.ticker} {event.state} {event.status or ''} {event.detail}"
    advice = _advice(intent, event)
    text = " ".join(said.split()) + (f"; {advice}" if advice else "")
    _tell(logger, level(life), "order", text, intent)


def alarm(logger: logging.Logger, intent: Intent, text: str) -> None:
    """An exit does not get through."""
    hint = f"look at the broker: rooney position {intent.strategy} {intent.symbol}"
    _tell(logger, logging.CRITICAL, "exit", f"exit {intent.ticker} {text}; {hint}", intent)


def breaker(logger: logging.Logger, intent: Intent, why: str) -> None:
    """The breaker opened for a reason, or closed (empty), with what came of this intent."""
    text = f"the breaker is open, no entries until an exit is acknowledged or rooney resume {intent.strategy}: {why}"
    log.event(logger, logging.ERROR if why else log.NOTICE, "breaker", text if why else "the breaker is closed")


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


def _advice(intent: Intent, event: Event) -> str:
    """What happens now, and what a person can do."""
    if event.state is State.UNCONFIRMED and intent.role is Role.ENTRY:
        resolve = f"rooney resolve {intent.id} --filled PRICE | --not-filled"
        return f"it may be live and is not sent again. {resolve}, or rooney flatten {intent.strategy} {intent.symbol}"
    if event.state is State.UNCONFIRMED:
        return "it may be open still; the exit goes out again after the settling time"
    if event.state is State.REFUSED and intent.role is Role.EXIT:
        return "it is open still; the exit goes out again"
    return ""


def _tell(logger: logging.Logger, level_: int, kind: str, text: str, intent: Intent) -> None:
    log.event(logger, level_, kind, text, symbol=intent.symbol, intent=intent.id)
