"""Notices: lines a ledger has for people, written in the same transaction as the fact it is about.

The ledger's table `notice` is the outbox of alerts: append-only, read by `rooney alert-sender`, with its own cursor.
A notice begins a trouble, ends it, or is news; `about` names the trouble for as long as it lasts, whatever its numbers.
"""

import enum

import msgspec

DAILY_LOSS, DRAWDOWN, BREAKER, DISK = "daily loss", "drawdown", "breaker", "disk"
DISK_FULL = "the disk is full"
UNWRITTEN = f"{DISK_FULL}, sending exits that it does not take down"
DOUBT = "doubt"  # what is open is not certain: no entries in an instrument (`doubt ES`), or in any
STRANGE_LEDGER = "strange ledger"  # it is not known to be the strategy's: no entries
EXIT_ALARM_S = 30.0  # an exit that could go out and is not acknowledged after so long is told to people


class Turn(enum.StrEnum):
    """Effect of a notice on the trouble it is about. One that ends what never began is news."""

    BEGINS = "begins"
    ENDS = "ends"
    NEWS = "news"


class Notice(msgspec.Struct, frozen=True):
    """about: `order ID`, a name above, `trade` or `operator`; level: of `rooney.log`; symbol, intent: may be empty."""

    about: str
    turn: Turn
    level: int
    text: str
    symbol: str = ""
    intent: str = ""
