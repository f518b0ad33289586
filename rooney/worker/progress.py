"""A worker's progress along the tape: engine and ledger, moved together by one transaction per minute."""

from collections.abc import Sequence

import msgspec

from rooney import failpoints as faults
from rooney.engine.engine import Engine
from rooney.ledger.records import Checkpoint
from rooney.ledger.writer import Ledger
from rooney.orders.control import Act
from rooney.orders.decisions import Decisions, Outcome
from rooney.orders.intents import Event, Intent
from rooney.orders.notices import Notice
from rooney.orders.outcomes import of_act, of_event
from rooney.worker import status


class Heard(msgspec.Struct, frozen=True):
    """News for the step at one mark: events in the lives of its orders, then the operator's acts."""

    events: Sequence[tuple[Intent, Event]] = ()
    acts: Sequence[Act] = ()

    def outcomes(self, symbols: Sequence[str]) -> list[Outcome]:
        """As the step is told; of instruments that are no longer traded nothing. symbols: all traded, in order."""
        told = [of_event(intent, event) for intent, event in self.events]
        known = [outcome for outcome in told if outcome is not None and outcome.symbol in symbols]
        return known + [outcome for act in self.acts for outcome in of_act(act, symbols)]


NOTHING = Heard()


class Progress:
    """Engine and ledger of one strategy. position_ns: end of the newest minute stepped, UTC ns; 0 before the first."""

    def __init__(self, engine: Engine, ledger: Ledger) -> None:
        self.engine = engine
        self.ledger = ledger
        self.symbols = [instrument.symbol for instrument in engine.instruments if instrument.traded]
        self.position_ns = 0

    def commit(
        self,
        decisions: Decisions,
        intents: Sequence[Intent] = (),
        heard: Heard = NOTHING,
        latency_ns: int = 0,
        notices: Sequence[Notice] = (),
        *,
        checkpoint: bool,
    ) -> list[Event]:
        """Write one mark, whole; returns the event that begins the life of each intent.

        latency_ns: from the minute's end at the hub to the decision; 0 where it is not known
        """
        planned = self.ledger.commit_mark(
            decisions.ts_mark,
            intents,
            [event.seq for _, event in heard.events],
            decisions.evaluated,
            decisions.trades,
            self.engine.marks(),
            latency_ns,
            status.row(self.engine),
            self.engine.book(),
            Checkpoint(decisions.ts_mark, self.engine.digest, self.engine.freeze()) if checkpoint else None,
            [act.seq for act in heard.acts],
            notices,
        )
        faults.point("after_mark_commit")
        return planned
