"""`rooney audit`: what a strategy did live, against its recorded tape stepped again: the parity audit.

The replay is `research.backtest.replay`'s, told the outcomes its orders really had, so whatever differs is a defect: of
the tape, of the code, or of the machine. Decisions are compared one by one; trades as `rooney compare` compares them.
"""

import math
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec

from research.backtest import replay
from research.backtest.ledger_outcomes import Rows
from rooney.config.settings import StrategyConfig
from rooney.errors import ConfigError, LedgerError
from rooney.format import minute_text
from rooney.ledger.records import Decision
from rooney.market import sessions
from rooney.orders.decisions import Trade
from rooney.orders.lifecycle import Order
from rooney.performance.comparison import compare_all
from rooney.performance.pairs import differing
from rooney.performance.runs import Kind, Run
from rooney.performance.sources import of_ledger
from rooney.performance.verdict import Audit, Matched, Verdict


class _Rows:
    """Decisions of a replay, to be asked as a ledger's are."""

    def __init__(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._by_symbol: dict[str, list[tuple[Any, ...]]] = {}
        for row in rows:
            self._by_symbol.setdefault(row[1], []).append(row)

    def decisions(self, symbol: str, begin_ns: int, end_ns: int) -> list[Decision]:
        """By time."""
        return [
            Decision(row[0], symbol, row[2], msgspec.json.decode(row[3]), 0, math.nan if row[4] is None else row[4])
            for row in self._by_symbol.get(symbol, ())
            if begin_ns < row[0] <= end_ns
        ]

    def orders(self, symbol: str, begin_ns: int, end_ns: int) -> Sequence[Order]:
        """A replay sends none."""
        return ()


def audit(strategy: StrategyConfig, data: Path, ledger: Path, limit: float = 0.0, end_ns: int = 0) -> Verdict:
    """Step the whole live run again and say how much of it came out the same; never raises for what it finds.

    data: bars of the run and of what warmed it up; limit: the discrepancy above which it wants attention
    end_ns: last mark compared, the ledger's before `data` was taken, because a live worker goes on; 0: its last one now
    """
    now_ns = time.time_ns()
    try:
        end = datetime.fromtimestamp(end_ns / 1e9, UTC) if end_ns else None
        replayed, _, _ = replay.replay(strategy, data, ledger, end=end)
    except (LedgerError, ConfigError) as error:
        return Verdict(strategy.name, "audit", now_ns, limit, 0.0, 0, (), (), {}, trouble=str(error))
    live = msgspec.structs.replace(of_ledger(ledger, strategy.name), begin_ns=replayed.start_ns)
    again = Run(
        "tape again",
        Kind.BACKTEST,
        _trades(replayed.replayed),
        replayed.start_ns,
        replayed.end_ns,
        live.timeframe,
        live.start_usd,
        witness=_Rows(replayed.replayed["decisions"]),
    )
    made = compare_all([live, again], limit, now_ns, None, None, None, "audit")
    day = sessions.trade_date(replayed.end_ns - 1)
    decisions = [row for row in replayed.recorded["decisions"] if row[0] <= replayed.end_ns]
    recorded = {**replayed.recorded, "decisions": decisions}
    of_all = _matched(recorded, replayed.replayed, None)
    of_day = _matched(recorded, replayed.replayed, day)
    decided = sum(symbol.decisions for symbol in of_day)
    off = 1.0 - sum(symbol.same for symbol in of_day) / decided if decided else 0.0
    return msgspec.structs.replace(
        made,
        discrepancy=max(made.discrepancy, off),
        audit=Audit(day, of_day, of_all, replayed.is_same_code),
    )


def _trades(rows: Rows) -> tuple[Trade, ...]:
    def values(row: Sequence[Any]) -> list[Any]:
        return [math.nan if value is None else value for value in row[1:]]

    return tuple(Trade(*values(row)) for row in rows["trades"])


def _matched(live: Rows, again: Rows, day: date | None) -> tuple[Matched, ...]:
    """Decisions by symbol, of one trade date or of all: those either side has, and those that are the same on both."""
    kept_from = min((row[0] for row in live["decisions"]), default=0)  # older ones are pruned from a ledger

    def by_key(rows: Rows) -> dict[tuple[str, int], tuple[Any, ...]]:
        return {
            (row[1], row[0]): row
            for row in rows["decisions"]
            if row[0] >= kept_from and (day is None or sessions.trade_date(row[0] - 1) == day)
        }

    ours, theirs = by_key(live), by_key(again)
    differing_keys = sorted(differing(ours, theirs))
    symbols = sorted({row[1] for rows in (live, again) for row in rows["decisions"]})
    matched = []
    for symbol in symbols:
        count = sum(key[0] == symbol for key in ours.keys() | theirs.keys())
        parted = [key for key in differing_keys if key[0] == symbol]
        first = ""
        if parted:
            said = [rows[parted[0]][2] if parted[0] in rows else "nothing" for rows in (ours, theirs)]
            same = " on other numbers" if said[0] == said[1] else ""
            first = f"{minute_text(parted[0][1])}: live {said[0]}, again {said[1]}{same}"
        matched.append(Matched(symbol, count, count - len(parted), first))
    return tuple(matched)
