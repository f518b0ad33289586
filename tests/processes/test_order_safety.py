"""Whatever the webhook answers and whenever the worker is killed: no order twice, none lost, none trapped.

Real worker processes, a webhook over HTTP with a random fault script and a broker whose positions are counted, SIGKILL
at random places, switches set and lifted in between. `-m slow` makes at least 1,000 kills and prints how many.
"""

import contextlib
import os
import random
import signal
from collections import Counter
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest

from rooney.ledger.snapshot import read_ledger
from rooney.market import sessions
from rooney.market.instruments import group_of
from rooney.market.sessions import MINUTE_NS
from rooney.orders.control import ALL, Level, clear_switches, set_switch
from rooney.orders.intents import Role
from tests.support.ledgers import read_only
from tests.support.minutes import NEXT, QUIET, bar, minute, random_tape
from tests.support.rigs import Rig, requests
from tests.support.times import chicago
from tests.support.waiting import until
from tests.support.webhook_faults import Fault

SYMBOLS = ("ES", "NQ")
CLOSE, OPEN = chicago("2026-03-11 16:00"), chicago("2026-03-11 17:00")
SETTLE_NS = 60_000_000_000
PLACES = ("in_mark_commit", "after_mark_commit", "before_send", "after_sending", "after_post", "after_outcome")
KILLS, PARTS = 1000, 4
DOING = ("reset", "close", "half", "html500", "limited", "no_id", "redirect")
WEIGHTS = (3, 3, 3, 2, 2, 2, 1)


def day(seed: int) -> list[Any]:
    """The last hour of a session, the break, the first hour of the next one, and quiet minutes to settle in."""
    made = random_tape(seed, 180, SYMBOLS, "2026-03-11 15:00", gap=False)
    open_ = [m for m in made if not CLOSE < m.ts_close <= OPEN]
    return open_ + quiet(open_[-1].ts_close, 19)


def quiet(after_ns: int, count: int) -> list[Any]:
    """Minutes at a price that decides nothing; their bars are what an exit is booked at."""
    marks = [after_ns + k * MINUTE_NS for k in range(1, count + 1)]
    return [minute(ts, *(bar(symbol, ts, QUIET, contract=NEXT[symbol]) for symbol in SYMBOLS)) for ts in marks]


def script(rng: random.Random) -> tuple[Fault, ...]:
    """About one request in three meets a fault; of those that are refused some take effect all the same."""
    faults = []
    for n in range(1, 400):
        if rng.random() < 0.3:
            do = rng.choices(DOING, WEIGHTS)[0]
            booked = rng.choice((True, False)) if do in ("html500", "close", "reset") else None
            faults.append(Fault(do, at=(n,), bytes=rng.randrange(40), booked=booked))  # type: ignore[arg-type]
    return tuple(faults)


def run(one: Rig, seed: int) -> int:
    """One day with kills; returns how many."""
    rng = random.Random(seed)
    tape = day(seed)
    end = tape[-1].ts_close
    worker = one.begin(tape[:1], f"seed{seed}")
    one.wait_position(tape[0].ts_close)
    worker.kill(signal.SIGKILL)
    at, kills = 1, 1
    while at < len(tape):
        if rng.random() < 0.2:
            set_switch(one.control, rng.choice(("a", ALL)), rng.choice(list(Level)), "ann", "at random")
        elif rng.random() < 0.5:
            lift(one)
        some = tape[at : at + rng.randrange(5, 20)]
        at += len(some)
        one.publish(some)
        worker = one.start(fault=f"{rng.choice(PLACES)}:{rng.randrange(1, 7)}")
        last = some[-1].ts_close
        until(
            lambda pid=worker.pid, last=last: not alive(pid) or one.position() >= last, 60.0, lambda: one.said()[-2000:]
        )
        with contextlib.suppress(ProcessLookupError):  # it came to its fault meanwhile
            os.kill(worker.pid, signal.SIGKILL)
        assert worker.wait() == -signal.SIGKILL, one.said()[-3000:]
        kills += 1
    lift(one)
    more = quiet(end, 14)  # for exits that a switch has held back
    one.publish(more)
    one.finish(one.start(), more[-1].ts_close)
    check(one)
    return kills


def lift(one: Rig) -> None:
    for scope in ("a", ALL):
        clear_switches(one.control, scope)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def check(one: Any) -> None:
    """What must hold after any day."""
    log = requests(one)
    # no order twice
    entries = Counter(r["payload"]["extras"]["intent"] for r in log if r["payload"]["action"] != "exit")
    assert max(entries.values(), default=0) <= 1, "an entry was sent twice"
    assert {r["payload"]["action"] for r in log} <= {"buy", "sell", "exit"}
    assert not any("quantity" in r["payload"] for r in log if r["payload"]["action"] == "exit")
    with read_only(one.ledger()) as db:
        moves = db.execute(
            "SELECT i.contract, i.symbol, i.role, e.state, e.ts_clock, e.status FROM event e JOIN intent i"
            " ON i.id = e.intent WHERE e.state IN ('sending', 'acknowledged', 'unconfirmed', 'refused') ORDER BY e.seq"
        ).fetchall()
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for contract, items in groupby(sorted(moves, key=lambda m: m[0]), key=lambda m: m[0]):
        sent = list(items)
        # nothing outside the session
        for _, symbol, _, state, ts, _ in sent:
            assert state != "sending" or sessions.window_at(group_of(symbol), ts) is not None, contract
        # no exit pair within the settling time, unless the first was certainly not accepted
        live = [m for m in sent if m[3] != "refused"]
        tries = [(first, second) for first, second in pairwise(live) if (first[2], second[2]) == (Role.EXIT, Role.EXIT)]
        for first, second in tries:
            if second[3] == "sending" and first[3] in ("acknowledged", "unconfirmed"):
                assert second[4] - first[4] >= SETTLE_NS, (contract, first, second)
    # none lost, none trapped: what is believed is so at the broker, or a person has been told
    reading = read_ledger(one.ledger())
    held = {h.symbol: int(h.side) * h.quantity for h in reading.held}
    unclear = {o.symbol for o in reading.orders if o.is_open}
    broker: Counter[str] = Counter()
    for ticker, quantity in one.vendor.state()["accounts"]["a"]["positions"].items():
        broker[ticker[:2]] += quantity
    text = one.said()
    for symbol in SYMBOLS:
        if broker[symbol] != held.get(symbol, 0):
            assert symbol in unclear, (
                f"{one.label} {symbol}: {broker[symbol]} at the broker, {held.get(symbol)} believed, no alert"
            )
            assert "unconfirmed" in text or "is of unknown fate" in text
    # no secret
    account = one.accounts[0]
    for file in one.directory.rglob("*"):
        if file.is_file() and not file.name.startswith("webhooks"):
            data = file.read_bytes()
            assert account.password.encode() not in data, file
            assert account.uuid.encode() not in data, file


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_order_is_doubled_lost_or_trapped_whatever_fails(rig: Any, seed: int) -> None:
    one = rig("a", faults=script(random.Random(-seed)))
    assert run(one, seed) >= 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_order_is_doubled_lost_or_trapped_in_a_thousand_kills(
    rig: Any, part: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """In parts, so that a busy machine can run them apart."""
    kills = days = 0
    while kills < KILLS / PARTS:
        days += 1
        seed = 100 * (part + 1) + days
        one = rig("a", faults=script(random.Random(-seed)))
        kills += run(one, seed)
        one.close()
    with capsys.disabled():
        print(f"\npart {part + 1} of {PARTS}: {kills} kills in {days} days: no order twice, lost or trapped")
