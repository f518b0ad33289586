"""A ledger's age: what a worker asks of it while it trades costs the same after a year as on the first day."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench.bench_ledger import acknowledge, aged
from rooney.ledger import schema as ledgerfile
from rooney.ledger import snapshot
from rooney.ledger.exposure import exposures
from rooney.ledger.queries import Queries
from rooney.ledger.snapshot import read_ledger, read_open
from rooney.ledger.writer import Ledger
from rooney.orders.intents import Role, State
from rooney.orders.lifecycle import TRANSITIONS
from tests.support.ledgers import commit, intent, read_only

EVERY = 10  # instructions of SQLite's machine per count


class Steps:
    """Instructions of SQLite's machine, in tens."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        self.count += 1
        return 0


def steps_of(monkeypatch: pytest.MonkeyPatch, ledger: Ledger, work: Callable[[], object]) -> int:
    """Instructions that work takes on the ledger's own connection and on those opened to read it."""
    steps, opened = Steps(), snapshot.opened

    @contextlib.contextmanager
    def counted(path: Path) -> Iterator[Queries]:
        with opened(path) as ask:
            ask._db.set_progress_handler(steps, EVERY)
            yield ask

    ledger._db.set_progress_handler(steps, EVERY)
    monkeypatch.setattr(snapshot, "opened", counted)
    work()
    monkeypatch.setattr(snapshot, "opened", opened)
    ledger._db.set_progress_handler(None, EVERY)
    return steps.count


@pytest.mark.parametrize(
    "work",
    [lambda ledger: acknowledge(ledger, 5_000), lambda ledger: exposures(read_open(ledger.path))],
    ids=["an exit is acknowledged", "what may be open is looked at"],
)
def test_work_after_an_event_is_the_same_in_an_old_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[Ledger], object]
) -> None:
    took = []
    for orders in (40, 4_000):
        with closing(aged(tmp_path / f"{orders}.sqlite", orders)) as ledger:
            took.append(steps_of(monkeypatch, ledger, lambda ledger=ledger: work(ledger)))  # type: ignore[misc]
    assert took[0] > 5
    assert took[1] < 2 * took[0]


def test_the_short_look_sees_what_the_long_one_sees(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(aged(path, 100)):
        whole, short = read_ledger(path), read_open(path)
    assert (short.mode, short.held, exposures(short)) == (whole.mode, whole.held, exposures(whole))
    newest = {(order.symbol, order.role): order for order in whole.orders}  # the last of each kind stands
    assert sorted(short.orders, key=lambda order: order.seq) == sorted(newest.values(), key=lambda order: order.seq)


def lives() -> list[tuple[Role, tuple[State, ...]]]:
    """The shortest life of an order to each of its states."""
    found: list[tuple[Role, tuple[State, ...]]] = []
    for role, moves in TRANSITIONS.items():
        shortest: dict[State, tuple[State, ...]] = {State.PLANNED: (State.PLANNED,)}
        for life in (waiting := list(shortest.values())):
            for state in moves.get(life[-1], ()):
                if state not in shortest:
                    shortest[state] = (*life, state)
                    waiting.append(shortest[state])
        found += [(role, life) for life in shortest.values()]
    return found


@pytest.mark.parametrize(("role", "life"), lives())
def test_an_order_is_listed_as_open_exactly_while_its_life_goes_on(
    ledger: Ledger, role: Role, life: tuple[State, ...]
) -> None:
    commit(ledger, 60, one := intent(1, role))
    for state in life[1:]:
        ledger.record(one, state, 100)
    is_open = life[-1] in TRANSITIONS[role]
    with read_only(ledger.path) as db:
        assert db.execute("SELECT intent FROM open_order").fetchall() == [(one.id,)] * is_open


def test_a_ledger_from_before_the_list_of_open_orders_is_read_as_it_is_and_gets_it_at_the_next_start(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(Ledger(path, "ibs")) as ledger:
        commit(ledger, 60, intent(1), intent(2, Role.EXIT))
        ledger.record(intent(1), State.DROPPED, 100)
    with closing(sqlite3.connect(path)) as db:  # as an earlier rooney left it
        db.executescript("DROP TABLE open_order; DROP TRIGGER order_moves; DROP INDEX intent_newest")
    with read_only(path) as db:
        assert [one.seq for one, _ in Queries(db).unfinished()] == [2]
        version = ledgerfile.schema_version(db)
    with closing(Ledger(path, "ibs")) as ledger:
        assert [one.seq for one, _ in ledger.unfinished()] == [2]
        assert ledgerfile.has_aids(ledger._db)
        assert ledgerfile.schema_version(ledger._db) == version, "an earlier rooney refuses a newer version"
