"""`rooney flatten`: close what is open, whatever state the rest of the system is in.

A worker that lives does it itself: it is left a command and, unless only some instruments are meant, the switch that
keeps it from entering again. Whether it lives is judged by one thing alone: that the command is gone within
`HUNG_AFTER_S`. A worker's loop takes commands at every turn, with Redis down and markets closed too, so one that takes
none makes no turn. A worker that is down, or was stopped because it hung, is stood in for.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from rooney.clock import Clock
from rooney.config.loader import Config
from rooney.config.settings import Instrument
from rooney.errors import EXIT_ATTENTION, EXIT_FAILURE, EXIT_OK, BundleError, LedgerError, RooneyError
from rooney.execution.offline import OfflineWorker
from rooney.execution.send_gates import Rules
from rooney.execution.traderspost import TradersPost
from rooney.ledger.exposure import Exposure, exposures
from rooney.ledger.reader import holder
from rooney.ledger.snapshot import Snapshot, read_open
from rooney.market.instruments import is_open
from rooney.ops import position as positions
from rooney.ops.commands import HUNG_AFTER_S, POLL_S, is_taken
from rooney.orders.control import ALL, Command, Level, Verb, put_command, set_switch
from rooney.orders.intents import Role, State
from rooney.systemd import is_running, stop, unit_name

WAIT_S = 150.0  # an exit may have to wait for the settling time of the one before it


class Flattened(msgspec.Struct, frozen=True, rename={"name": "strategy"}):
    """Outcome for a strategy. closed: tickers whose exit was acknowledged; left: lines about what may be open."""

    name: str
    by: Literal["worker", "here", "nobody"]
    closed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    failure: str = ""

    @property
    def code(self) -> int:
        """Failure before attention before all well."""
        return EXIT_FAILURE if self.failure else EXIT_ATTENTION if self.left else EXIT_OK

    @property
    def lines(self) -> list[str]:
        """For a terminal."""
        who = {"worker": "its worker", "here": "this command, in place of its worker", "nobody": "nobody"}[self.by]
        found = [f"{self.name}: exit {ticker} acknowledged, sent by {who}" for ticker in self.closed]
        found += [f"{self.name}: {text}" for text in (self.failure, *self.left) if text]
        return found or [f"{self.name}: nothing was open"]


class Order(msgspec.Struct, frozen=True):
    """An order to close. symbols: empty for all, and then no entries follow until `rooney resume`; see --hung-after."""

    names: tuple[str, ...]
    is_all: bool
    symbols: tuple[str, ...]
    who: str
    reason: str
    wait_s: float = WAIT_S
    hung_after_s: float = HUNG_AFTER_S


class Means(NamedTuple):
    """Means of closing where no worker does it.

    configure: a strategy's configuration in a mode
    credentials, control: directories; has_units: they, and the ledgers, are those this machine's units work with
    """

    configure: Callable[[str, str], Config]
    credentials: Path | None
    clock: Clock
    control: Path
    has_units: bool


def wanted(snapshot: Snapshot, symbols: Sequence[str]) -> list[Exposure]:
    """Exposures that are to be closed."""
    return [one for one in exposures(snapshot) if not symbols or one.symbol in symbols]


def plan(readings: Sequence[Snapshot], symbols: Sequence[str]) -> list[str]:
    """Lines about what closing sends, for the operator to read first."""
    found = []
    for snapshot in readings:
        open_now = wanted(snapshot, symbols)
        found.append(f"{snapshot.name}  {snapshot.mode or 'no order yet'}  " + ("" if open_now else "nothing is open"))
        found += [f"  {positions.exit_text(one)}" for one in open_now]
    if not symbols:
        found.append("then no new entries, until rooney resume")
    return [line.rstrip() for line in found]


def flatten(order: Order, ledgers: Mapping[str, Path], means: Means) -> list[Flattened]:
    """Do it for each strategy; what fails for one is said and does not keep the others open."""
    began_ns = time.time_ns()
    commands: dict[str, Path] = {}
    outcomes: dict[str, Flattened] = {}
    if not order.symbols:
        try:
            for scope in (ALL,) if order.is_all else order.names:
                set_switch(means.control, scope, Level.FLATTEN, order.who, order.reason)
        except RooneyError as error:
            return [_failed(name, ledgers[name], order, began_ns, error) for name in order.names]
    for name in order.names:  # all of them first: those that live begin at once
        try:
            command = Command(time.time_ns(), Verb.FLATTEN, order.who, order.reason, symbols=order.symbols)
            commands[name] = put_command(means.control, name, command)
        except RooneyError as error:
            outcomes[name] = _failed(name, ledgers[name], order, began_ns, error)
    for name, left_at in commands.items():
        try:
            outcomes[name] = _one(name, left_at, ledgers[name], order, means)
        except RooneyError as error:
            outcomes[name] = _failed(name, ledgers[name], order, began_ns, error)
    return [outcomes[name] for name in order.names]


def _failed(name: str, ledger: Path, order: Order, began_ns: int, error: RooneyError) -> Flattened:
    """The failure, what was sent all the same, and what is still open, as the ledger has it now."""
    try:
        now = read_open(ledger)
    except LedgerError as unread:
        return Flattened(name, "nobody", left=(f"{unread}. Look at the broker",), failure=str(error))
    left = wanted(now, order.symbols)
    steps = [step for one in now.orders if one.role is Role.EXIT for step in one.events]
    is_sent = any(step.state is State.SENDING and step.ts_wall >= began_ns for step in steps)
    text = f"{error}. {'An exit was sent before that' if is_sent else 'Nothing was sent'}"
    then = "mend this and run it again, or close by hand at the broker" if left else "nothing was open"
    return Flattened(name, "nobody", left=tuple(_left_text(one) for one in left), failure=f"{text}; {then}")


def _one(name: str, command: Path, ledger: Path, order: Order, means: Means) -> Flattened:
    before = read_open(ledger)
    means.clock.on_mark(before.ts_mark)
    if holder(ledger) is not None:
        if is_taken(command, ledger, order.hung_after_s):
            return _by_worker(before, ledger, order, means.clock)
        if not (means.has_units and is_running(name)):
            raise RooneyError(_hung(name, ledger, order.hung_after_s))
    if is_running(name):
        if not means.has_units:
            raise RooneyError(
                f"{unit_name(name)} runs, and not with {ledger}: one account would have two who close. NOTHING WAS "
                "SENT. Without --state-directory, this command closes what that worker holds"
            )
        stop(name)  # hung, or about to be started again while its ledger is worked on here
    return _here(before, order, means) if before.mode else Flattened(name, "here")


def _hung(name: str, ledger: Path, after_s: float) -> str:
    pid = holder(ledger)
    return (
        f"its worker (process {pid or 'unknown'}) holds {ledger} and has taken no command for {after_s:g} s, so it "
        f"hangs, and no {unit_name(name)} is known to systemd here. End it (kill -9 {pid or 'PID'}); should it come "
        "back, it closes by itself"
    )


def _by_worker(before: Snapshot, ledger: Path, order: Order, clock: Clock) -> Flattened:
    """Watch the worker do it."""
    end = time.monotonic() + order.wait_s
    while True:
        now = read_open(ledger)
        left = wanted(now, order.symbols)
        can_close = any(is_open(exposure.symbol, clock.now_ns()) for exposure in left)
        if not can_close or time.monotonic() > end:
            return _result("worker", before, left, order)
        if holder(ledger) is None:
            raise RooneyError("its worker has ended meanwhile")
        time.sleep(POLL_S)


def _here(before: Snapshot, order: Order, means: Means) -> Flattened:
    """Stand in for the worker."""
    # The account a position was opened in is that of its mode, whatever the configuration says by now.
    config = means.configure(before.name, before.mode)
    account = config.account(before.name, means.credentials)
    block = config.block(before.name)
    tick_sizes = {symbol: item.tick_size for symbol, item in _traded(config, before.name).items()}
    rules = Rules(stale_after_s=block.stale_after_s, settle_s=block.settle_s, mode=before.mode)
    client = TradersPost(account.url.reveal()) if account is not None else None

    send = client.send if client is not None else None
    with OfflineWorker(before, means.control, means.clock, rules, send, tick_sizes) as worker:
        left = [one for one in worker.deliver(order.wait_s) if not order.symbols or one.symbol in order.symbols]
    return _result("here", before, left, order)


def _traded(config: Config, name: str) -> dict[str, Instrument]:
    """Instruments by symbol, as far as they are known; a bundle that cannot be used keeps nobody from closing."""
    try:
        return config.strategy(name).traded
    except BundleError:
        return {}


def _result(by: Literal["worker", "here"], before: Snapshot, left: Sequence[Exposure], order: Order) -> Flattened:
    still = {one.contract for one in left}
    closed = tuple(one.ticker for one in wanted(before, order.symbols) if one.contract not in still)
    return Flattened(before.name, by, closed, tuple(_left_text(one) for one in left))


def _left_text(one: Exposure) -> str:
    order = one.exit
    if order is None:
        return f"{one.ticker} may still be open and has no exit: look at the broker"
    last = order.events[-1]
    said = " ".join(f"{order.state} {last.detail}".split())
    return f"{one.ticker} may still be open: exit {order.id} is {said}. It goes on; look at the broker"
