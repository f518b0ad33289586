"""Codes of the step: causes, reasons, outcomes, what is pending. Numbers stay: ledgers and digests are made of them."""

import enum


class Role(enum.IntEnum):
    """Entries open a position, exits close whatever is open."""

    ENTRY = 1
    EXIT = 2


class Cause(enum.IntEnum):
    """Why an intent was decided."""

    RULE = 1
    TIME_STOP = 2
    DAILY_LOSS = 3
    ROLL = 4
    UNCONFIRMED = 5
    STOP = 6
    TARGET = 7
    AUTO_CLOSE = 8
    OPERATOR = 9


class Reason(enum.IntEnum):
    """Decision for an instrument at a mark, and why. Numbers stay: digests are made of them; 14 is free."""

    NOT_EVALUATED = 0
    WARMING_UP = 1
    NO_SIGNAL = 2
    HOLD = 3
    ENTER_LONG = 4
    ENTER_SHORT = 5
    EXIT = 6
    SLOTS_FULL = 7
    DAILY_LOSS = 8
    PENDING = 9
    REENTRY_WAIT = 10
    CLOSE_MARGIN = 11
    GAP = 12
    UNCERTAIN = 13
    FILTERED = 15
    VETOED = 16
    NO_SCORE = 17
    WINDOW = 18
    MARGIN = 19
    DRAWDOWN = 20
    ROLLING = 21
    NO_MODEL = 22


class VetoKind(enum.IntEnum):
    """Judge of an instrument's entries."""

    NONE = 0
    LOGISTIC = 1
    FOREST = 2
    ABSENT = 3  # there should be a model, and there is none: no entries


class OutcomeKind(enum.IntEnum):
    """Outcome of an intent, as the step needs to know it."""

    ACKNOWLEDGED = 1
    CANCELLED = 2  # refused, dropped or resolved as not filled
    UNCONFIRMED = 3
    FLATTENED = 4  # an exit the step did not decide was acknowledged: the operator's
    RESUMED = 5  # the operator lifts what is latched
    POSITION = 6  # the operator says what is open: side, quantity, price; side 0: closed at price
    CASH = 7  # price is USD to add to the cash: real fills differed from the assumed ones


class Pending(enum.IntEnum):
    """Intent whose outcome an instrument waits for."""

    NONE = 0
    ENTRY = 1
    EXIT = 2
    UNCERTAIN = 3  # an entry that may or may not have been filled


class Fill(enum.IntEnum):
    """Which price a decision is assumed to get."""

    NEXT_OPEN = 0
    SIGNAL_CLOSE = 1


class OnUnconfirmed(enum.IntEnum):
    """Policy for an entry whose fate is unknown."""

    FLATTEN = 0
    MANAGE = 1
    HOLD = 2
