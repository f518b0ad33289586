"""Contract of a root that a backtest trades on each trade date: the hub's rule over counted days."""

from collections.abc import Iterable
from datetime import timedelta
from itertools import groupby
from typing import NamedTuple

import msgspec

from research.history.series_names import contract_of
from research.history.sessions import EPOCH
from rooney.market import rolls, sessions
from rooney.market.instruments import Contract, group_of


class RollEvent(msgspec.Struct, frozen=True):
    """`root` is traded in `contract` (yyyymm) from the mark at `ts` on; last prices of both contracts."""

    ts: int
    root: str
    contract: int
    old_last: float
    new_last: float


class Day(NamedTuple):
    """Trading of a contract of a root on a trade date (days since 1970); series: its number in the registry."""

    day: int
    series: int
    raw: str
    volume: float
    close: float


class Front(NamedTuple):
    """The series in use on a trade date, and its contract as yyyymm; 0 for a series without contracts."""

    day: int
    series: int
    number: int


def choose(root: str, days: Iterable[Day]) -> tuple[list[Front], list[RollEvent]]:
    """The front contract of a root on each trade date, by `rooney.market.rolls`, and the rolls between them.

    days: by trade date
    A contract that never traded has no price to roll at: it is rolled into when it has one.
    """
    current: Contract | None = None
    before: dict[Contract, int] = {}
    last: dict[Contract, float] = {}
    chosen: list[Front] = []
    events: list[RollEvent] = []
    for number, rows in groupby(days, key=lambda row: row.day):
        day = EPOCH + timedelta(days=number)
        traded = {contract_of(row.raw, root, day) or Contract(root, 0, 0): row for row in rows}
        front = next(iter(traded)) if len(traded) == 1 and current in (None, *traded) else None
        if front is None:
            front, _ = rolls.front(day, current, before, traded)
        if front is not None and current is not None and front != current:
            if front in last:
                opens = sessions.session_open_ns(group_of(root), day)
                ts = opens + sessions.MINUTE_NS
                events.append(RollEvent(ts, root, front.number, last[current], last[front]))
            else:
                front = current
        current = front
        if front is not None and front in traded:
            chosen.append(Front(number, traded[front].series, front.number))
        before = {contract: int(row.volume) for contract, row in traded.items()}
        last |= {contract: row.close for contract, row in traded.items()}
    return chosen, events
