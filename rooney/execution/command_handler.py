"""The operator's side of a worker: takes commands and the `flatten` switch, journals them, and changes what they say.

All of it works from the ledger and the control directory: with Redis down, before a restart has recovered, without a
bar. What the step has to know of it waits for the next mark.
"""

import logging
import time
from collections.abc import Callable, Sequence

from rooney import log
from rooney.clock import Clock
from rooney.execution.delivery import Delivery
from rooney.execution.send_gates import stopped
from rooney.ledger.exposure import Exposure, exposures
from rooney.ledger.snapshot import Snapshot, open_snapshot
from rooney.ledger.writer import Ledger
from rooney.market.instruments import is_open
from rooney.orders import order_messages
from rooney.orders.control import Act, Command, Control, Level, Resolution, Switch, Verb, Waiting, missing
from rooney.orders.intents import Intent, Role, Said, State, new_intent_id
from rooney.orders.lifecycle import IllegalMoveError
from rooney.orders.notices import DOUBT, STRANGE_LEDGER, Notice, Turn
from rooney.orders.outcomes import BY_OPERATOR, of_act

logger = logging.getLogger(__name__)

_REACHES_STEP = (Verb.RESUME, Verb.POSITION, Verb.CASH)


class CommandHandler:
    """Commands and switches of one strategy, and the delivery they act on.

    symbols: all that it trades, in its order
    """

    def __init__(
        self, name: str, mode: str, symbols: Sequence[str], ledger: Ledger, control: Control, clock: Clock
    ) -> None:
        self._name = name
        self._mode = mode
        self._symbols = tuple(symbols)
        self._ledger = ledger
        self._control = control
        self._clock = clock
        self._know_ledger()
        self._unheard = [act for act in ledger.unobeyed() if not self._is_set_aside(act)]
        self._leaving: Switch | None = None
        self._switches_told: list[str] = []
        self._looked_at: tuple[int, bool] | None = None
        self._delivery: Delivery

    def take_over(self, make_delivery: Callable[[], Delivery]) -> Delivery:
        """Take charge of the orders of the last process, by the delivery that is made.

        Before it is made, since it reads the ledger: what was left between "sending" and an outcome is of unknown fate.
        """
        for intent, events in self._ledger.unfinished():
            if events[-1].state is State.SENDING:
                # It was on its way until that process ended, which was before now: settling counts from here.
                at_ns = max(events[-1].ts_clock, self._clock.now_ns())
                why = "the process ended between sending and outcome"
                event = self._ledger.record(intent, State.UNCONFIRMED, at_ns, detail=why)
                order_messages.happened(logger, intent, [*events, event])
        self._delivery = make_delivery()
        for intent, events in self._ledger.unfinished():
            self._delivery.add(intent, events)
        return self._delivery

    def serve(self) -> None:
        """Obey what waits, send what is due."""
        self.turn()
        self._delivery.turn(self._clock.patience_s)

    def deliver(self, is_over: Callable[[], bool], pass_time: Callable[[], None]) -> list[Exposure]:
        """Serve until nothing is exposed, nothing can be sent, or it is over; returns what is still exposed."""
        while True:
            self.serve()
            exposed = exposures(open_snapshot(self._ledger.path, self._ledger))
            can_close = any(is_open(exposure.symbol, self._clock.now_ns()) for exposure in exposed)
            if not can_close or is_over() or stopped(self.switches()):
                return exposed
            pass_time()

    def switches(self) -> list[Switch]:
        """As they are now; from any thread."""
        return [*self._control.switches(), *([self._leaving] if self._leaving else [])]

    def leave(self, reason: str) -> None:
        """From now on as if `flatten` were on: the worker is about to end."""
        self._leaving = Switch(Level.FLATTEN, self._name, time.time_ns(), "rooney", reason)

    def turn(self) -> None:
        """Obey what waits."""
        for waiting in self._control.commands():
            if waiting.command is None:
                self._control.refuse(waiting, waiting.lack)
            elif not (self._ledger.has_act(waiting.command.name) or self._obey(waiting, waiting.command)):
                break  # the ones behind it wait with it
            elif not self._ledger.is_behind:  # else the next process may have to obey it
                self._control.done(waiting)
        on = self.switches()
        is_new = self._tell(on)
        for switch in on:
            if switch.level is Level.FLATTEN:
                self._flatten_all(switch, is_new=is_new)
                break

    def _tell(self, on: Sequence[Switch]) -> bool:
        """Say once that a switch is on, or off again; True if something has changed."""
        texts = [str(switch) for switch in on]
        if texts == self._switches_told:
            return False
        self._switches_told = texts
        log.event(logger, log.NOTICE, "halt", f"switches on: {', '.join(texts) or 'none'}")
        return True

    def acts(self, at_most: int) -> list[Act]:
        """Acts the step has not heard of yet, in order: as many as make `at_most` outcomes; asked once per mark."""
        taken = 0
        for act in self._unheard:
            at_most -= len(of_act(act, self._symbols))
            if at_most < 0:
                break
            taken += 1
        heard, self._unheard = self._unheard[:taken], self._unheard[taken:]
        return heard

    def _is_set_aside(self, act: Act) -> bool:
        """Set an act aside that the step cannot take; an older rooney journalled it."""
        lack = missing(act.command)
        if not lack or not of_act(act, self._symbols):
            return False
        said = act.command
        about, what, how = (
            (f"{DOUBT} {said.symbol}", said.symbol, f"rooney position {self._name} {said.symbol} …")
            if said.symbol
            else (DOUBT, "any instrument", f"rooney resume {self._name}")
        )
        text = f"{said.verb} by {said.who} set aside: {lack}; no entries in {what} before `{how}`"
        notice = Notice(about, Turn.BEGINS, logging.CRITICAL, text, said.symbol)
        finished = self._ledger.finished()
        self._ledger.set_aside(act, finished.ts_mark if finished else 0, notice)
        order_messages.say(logger, "operator", notice)
        return True

    def _know_ledger(self) -> None:
        """Leave word of the ledger before its first intent, or say that it is not known to be the strategy's.

        The one it had is lost, or this is a copy: what may be open is not in it.
        """
        why = self._control.mistrust(str(self._ledger.created_ns()))
        text = (
            f"{self._ledger.path} is not known to be the ledger of {self._name}: {why}; no entries: look at the "
            f"broker, then restore its ledger, or rooney resume {self._name} --new-ledger"
        )
        ended = Notice(STRANGE_LEDGER, Turn.ENDS, log.NOTICE, f"the ledger is known to be that of {self._name}")
        notice = Notice(STRANGE_LEDGER, Turn.BEGINS, logging.CRITICAL, text) if why else ended
        if why or self._ledger.has_trouble(STRANGE_LEDGER):
            order_messages.say(logger, "start", notice)
            self._ledger.tell(notice, self._clock.now_ns())

    def doubt(self, symbol: str) -> str:
        """Why nothing may be entered in an instrument whose position is not certain, or nothing."""
        if self._ledger.has_trouble(STRANGE_LEDGER):
            return f"the ledger is not known to be that of {self._name}: rooney resume {self._name} --new-ledger"
        if self._ledger.has_trouble(DOUBT):
            return f"what is open is in doubt: look at the broker, then rooney resume {self._name}"
        if self._ledger.has_trouble(f"{DOUBT} {symbol}"):
            return f"what is open in {symbol} is in doubt: rooney position {self._name} {symbol} …"
        return ""

    @staticmethod
    def _certain(command: Command, moves: Sequence[tuple[Intent, State, Said]]) -> list[Notice]:
        """Notices of the doubts that a command ends, if there are any."""
        symbols = {command.symbol, *(intent.symbol for intent, _, _ in moves)} - {""}
        ended = [DOUBT] if command.verb is Verb.RESUME else [f"{DOUBT} {symbol}" for symbol in sorted(symbols)]
        return [Notice(about, Turn.ENDS, log.NOTICE, f"{about} ended by {command.who}") for about in ended]

    # ── commands ──

    def _obey(self, waiting: Waiting, command: Command) -> bool:
        """False if it has to wait for a request that is on its way."""
        match command.verb:
            case Verb.RESOLVE:
                if not self._ledger.has_intent(command.intent):
                    self._control.refuse(waiting, f"no intent is called {command.intent!r}")
                    return True
                intent = self._ledger.intent(command.intent)
                if self._delivery.is_in_flight(intent.symbol):
                    return False
                said = Said.FILLED if command.outcome is Resolution.FILLED else Said.NOT_FILLED
                return self._journal(waiting, command, moves=[(intent, State.RESOLVED, said)])
            case Verb.POSITION:
                if lack := self._unknown([command.symbol]):
                    self._control.refuse(waiting, lack)
                    return True
                if self._delivery.is_in_flight(command.symbol):
                    return False
                return self._journal(waiting, command, moves=self._superseded(command.symbol))
            case Verb.FLATTEN:
                if lack := self._unknown(command.symbols):
                    self._control.refuse(waiting, lack)
                    return True
                snapshot = open_snapshot(self._ledger.path, self._ledger)
                wanted = command.symbols or self._symbols
                exposed = [exposure for exposure in exposures(snapshot) if exposure.symbol in wanted]
                self._hurry(exposed)
                intents = self._exits(snapshot, exposed)
                return self._journal(waiting, command, intents)
            case Verb.RESUME:
                self._delivery.resume()
                self._know_ledger()
        return self._journal(waiting, command)

    def _unknown(self, symbols: Sequence[str]) -> str:
        unknown = [symbol for symbol in symbols if symbol not in self._symbols]
        return f"{', '.join(unknown)}: not traded here, which are {', '.join(self._symbols)}" if unknown else ""

    def _superseded(self, symbol: str) -> list[tuple[Intent, State, Said]]:
        """The open orders of a symbol, ended: the operator says what came of all of them."""
        moves = []
        for intent, events in self._delivery.open_orders():
            if intent.symbol == symbol:
                is_unsent = intent.role is Role.ENTRY and events[-1].state is State.PLANNED
                moves.append((intent, State.DROPPED if is_unsent else State.RESOLVED, Said.SUPERSEDED))
        return moves

    def _journal(
        self,
        waiting: Waiting,
        command: Command,
        intents: Sequence[Intent] = (),
        moves: Sequence[tuple[Intent, State, Said]] = (),
    ) -> bool:
        try:
            self._write(command, intents, moves)
        except IllegalMoveError as error:
            self._control.refuse(waiting, str(error))
        return True

    def _write(
        self, command: Command, intents: Sequence[Intent] = (), moves: Sequence[tuple[Intent, State, Said]] = ()
    ) -> None:
        act = self._ledger.journal(command, self._clock.now_ns(), intents, moves, self._certain(command, moves))
        for intent in intents:
            self._delivery.add(intent, self._ledger.events(intent.id))
        for intent, _, _ in moves:
            self._delivery.moved(intent)
        if command.verb in _REACHES_STEP:
            self._unheard.append(act)
        about = " ".join([command.symbol or command.intent, *command.symbols, *(i.ticker for i in intents)]).strip()
        text = f"{command.verb} {about} by {command.who}: {command.reason}"
        log.event(logger, log.NOTICE, "operator", " ".join(text.split()), symbol=command.symbol, intent=command.intent)
        for intent in intents:
            order_messages.decided(logger, intent)

    # ── flatten ──

    def _hurry(self, exposed: Sequence[Exposure]) -> None:
        """Exits that wait already are wanted as soon as they have settled; a contract never gets a second one."""
        for exposure in exposed:
            self._delivery.hurry(exposure.contract)

    def _flatten_all(self, switch: Switch, *, is_new: bool) -> None:
        """Close what is open and has no exit yet; looked at again only when something has changed."""
        state = (self._ledger.last_event(), any(map(self._delivery.is_in_flight, self._symbols)))
        if state == self._looked_at and not is_new:
            return
        self._looked_at = state
        snapshot = open_snapshot(self._ledger.path, self._ledger)
        exposed = exposures(snapshot)
        if is_new:
            self._hurry(exposed)
        intents = self._exits(snapshot, exposed)
        if intents:
            who, reason = switch.who or "operator", switch.reason or f"switch {switch}"
            self._write(Command(time.time_ns(), Verb.FLATTEN, who, reason), intents)

    def _exits(self, snapshot: Snapshot, exposed: Sequence[Exposure]) -> list[Intent]:
        """The exits that close what is exposed and has none."""
        prices = {held.symbol: held.mark for held in snapshot.held}
        exits: dict[str, Intent] = {}
        for exposure in exposed:
            if exposure.exit is not None:
                continue

            def is_taken(id_: str) -> bool:
                return id_ in exits or self._ledger.has_intent(id_)

            intent = Intent(
                new_intent_id(self._name, self._mode, exposure.contract, Role.EXIT, snapshot.ts_mark, is_taken),
                self._name,
                self._mode,
                exposure.symbol,
                exposure.contract,
                exposure.ticker,
                Role.EXIT,
                exposure.side,
                exposure.quantity,
                BY_OPERATOR,
                prices[exposure.symbol],
                snapshot.ts_mark,
                self._ledger.next_seq(),
            )
            exits[intent.id] = intent
        return list(exits.values())
