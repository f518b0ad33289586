"""The ledger: append-only, one writer, sound after any kill, untouched when it cannot be trusted."""

import hashlib
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rooney.errors import LedgerError
from rooney.files import MIB
from rooney.kernels.codes import Reason
from rooney.ledger import latency as pace
from rooney.ledger import schema as ledgerfile
from rooney.ledger.reader import read_pace
from rooney.ledger.records import Checkpoint
from rooney.ledger.schema import SCHEMA_VERSION
from rooney.ledger.snapshot import read_ledger
from rooney.ledger.writer import CHECKPOINTS_KEPT, DECISIONS_KEPT_NS, Ledger
from rooney.orders.control import Command, Verb
from rooney.orders.decisions import Book, Evaluated, Trade
from rooney.orders.intents import Intent, Receipt, Role, Said, Side, State
from rooney.orders.lifecycle import IllegalMoveError
from rooney.orders.notices import Notice, Turn
from tests.support.children import child
from tests.support.full_disk import fill, mounted
from tests.support.ledgers import assert_same_contents, commit, contents, intent, read_only
from tests.support.paths import GOLDEN, ROOT
from tests.support.waiting import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def advance(ledger: Ledger, one: Intent, *states: State) -> None:
    for state in states:
        ledger.record(one, state, 100)


# ── what is written is there, and stays ──


def test_an_intent_comes_back_as_it_was(ledger: Ledger) -> None:
    ledger_intents = [intent(1), intent(2, Role.EXIT, side=Side.SHORT)]
    commit(ledger, 60, *ledger_intents)
    assert ledger.intents() == ledger_intents
    assert ledger.intent(ledger_intents[1].id) == ledger_intents[1]
    assert ledger.last_intent() == ledger_intents[1]
    assert ledger.has_intent(ledger_intents[0].id)
    assert not ledger.has_intent("0")


def test_an_intent_without_a_price_comes_back_without_one(ledger: Ledger) -> None:
    commit(ledger, 60, intent(1, Role.EXIT, signal_price=math.nan))
    assert math.isnan(ledger.intents()[0].signal_price)


def test_an_intent_begins_as_planned_at_its_mark(ledger: Ledger) -> None:
    commit(ledger, 60, intent())
    (event,) = ledger.events(intent().id)
    assert (event.state, event.ts_clock) == (State.PLANNED, 60)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE intent SET quantity = 2",
        "DELETE FROM intent",
        "UPDATE event SET state = 'acknowledged'",
        "DELETE FROM event",
        "UPDATE applied SET ts_mark = 0",
        "DELETE FROM applied",
        "UPDATE trade SET pnl_usd = 0",
        "DELETE FROM trade",
        "UPDATE notice SET text = ''",
        "DELETE FROM notice",
    ],
)
def test_what_happened_cannot_be_changed_or_deleted(ledger: Ledger, path: Path, sql: str) -> None:
    commit(ledger, 60, intent(), trades=[Trade("ES", "ESM6", 1, 1, 0, 1.0, 1, 2.0, "rule", 50.0, 0.0, 1)])
    commit(ledger, 120, applied=[1], notices=[Notice("trade", Turn.NEWS, 25, "closed")])
    with closing(sqlite3.connect(path)) as db, pytest.raises(sqlite3.IntegrityError, match=r"never|stays"):
        db.execute(sql)


def test_an_intent_id_is_taken_once(ledger: Ledger) -> None:
    commit(ledger, 60, intent(1))
    with pytest.raises(sqlite3.IntegrityError):
        commit(ledger, 120, intent(2, id=intent(1).id))
    assert ledger.finished().ts_mark == 60  # type: ignore[union-attr]


def test_a_move_that_an_orders_life_does_not_know_is_refused_and_leaves_nothing(ledger: Ledger) -> None:
    commit(ledger, 60, intent())
    advance(ledger, intent(), State.SENDING, State.UNCONFIRMED)
    with pytest.raises(IllegalMoveError):
        ledger.record(intent(), State.SENDING, 200)
    assert [event.state for event in ledger.events(intent().id)] == [State.PLANNED, State.SENDING, State.UNCONFIRMED]


def test_an_acknowledged_exit_resolves_what_was_unconfirmed_before_it_on_its_contract(ledger: Ledger) -> None:
    lost, other = intent(1), intent(2, contract="NQM6")
    out, later = intent(3, Role.EXIT), intent(4)
    commit(ledger, 60, lost, other, out, later)
    for entry in (lost, other, later):
        advance(ledger, entry, State.SENDING, State.UNCONFIRMED)
    advance(ledger, out, State.SENDING, State.ACKNOWLEDGED)
    last = {one.seq: ledger.events(one.id)[-1].state for one in (lost, other, out, later)}
    assert last == {1: State.RESOLVED, 2: State.UNCONFIRMED, 3: State.ACKNOWLEDGED, 4: State.UNCONFIRMED}


def test_the_cursor_moves_in_one_transaction_with_everything_of_its_mark(ledger: Ledger) -> None:
    commit(ledger, 60)
    trade = Trade("ES", "ESM6", 1, 1, 0, 1.0, 1, 2.0, "rule", 50.0, 0.0, 1)
    evaluated = [Evaluated("ES", Reason.HOLD, {"ibs": 0.5})]
    with pytest.raises(sqlite3.IntegrityError):
        commit(ledger, 120, intent(1), applied=[99], trades=[trade], evaluated=evaluated)  # no event 99
    with read_only(ledger.path) as db:
        counts = [
            db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("intent", "event", "trade", "decision")
        ]
        assert counts == [0, 0, 0, 0]
    assert ledger.finished().ts_mark == 60  # type: ignore[union-attr]


def test_features_that_have_no_value_are_null_in_json(ledger: Ledger, path: Path) -> None:
    commit(ledger, 60, evaluated=[Evaluated("ES", Reason.WARMING_UP, {"rsi": math.nan, "close": 5000.25})])
    with read_only(path) as db:
        assert db.execute("SELECT features ->> 'rsi', features ->> 'close' FROM decision").fetchone() == (None, 5000.25)


def test_only_the_newest_checkpoints_and_ninety_days_of_decisions_are_kept(ledger: Ledger, path: Path) -> None:
    for ts in (1, 2, 3, DECISIONS_KEPT_NS + 2):
        commit(ledger, ts, evaluated=[Evaluated("ES", Reason.HOLD, {})], checkpoint=Checkpoint(ts, "d", b"x"))
    with read_only(path) as db:
        assert db.execute("SELECT ts_mark FROM decision ORDER BY 1").fetchall() == [
            (2,),
            (3,),
            (DECISIONS_KEPT_NS + 2,),
        ]
        assert db.execute("SELECT count(*) FROM checkpoint").fetchone() == (CHECKPOINTS_KEPT,)
    assert ledger.checkpoint() == Checkpoint(DECISIONS_KEPT_NS + 2, "d", b"x")


# ── what a start reads ──


def test_numbers_of_intents_go_on_after_a_restart(path: Path) -> None:
    first = Ledger(path, "ibs")
    commit(first, 60, intent(first.next_seq()), intent(first.next_seq()))
    first.close()
    second = Ledger(path, "ibs")
    assert second.next_seq() == 3
    second.close()


def test_the_last_mark_comes_back_with_its_book(ledger: Ledger) -> None:
    assert ledger.finished() is None
    commit(ledger, 60)
    commit(ledger, 120, book=Book("{}", b"\0\1"), marks=7)
    found = ledger.finished()
    assert found is not None
    assert (found.ts_mark, found.marks, found.book) == (120, 7, Book("{}", b"\0\1"))


ENDS = {
    "planned": ((), True, True),
    "sending": ((State.SENDING,), True, True),
    "not sent": ((State.SENDING, State.PLANNED), True, True),
    "acknowledged": ((State.SENDING, State.ACKNOWLEDGED), False, False),
    "refused": ((State.SENDING, State.REFUSED), False, True),
    "unconfirmed": ((State.SENDING, State.UNCONFIRMED), True, True),
    "resolved": ((State.SENDING, State.UNCONFIRMED, State.RESOLVED), False, False),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_intent_is_unfinished_as_long_as_something_can_still_happen_to_it(ledger: Ledger, end: str) -> None:
    states, entry_open, exit_open = ENDS[end]
    commit(ledger, 60, intent(1), intent(2, Role.EXIT, contract="NQM6"))
    for one in (intent(1), intent(2, Role.EXIT, contract="NQM6")):
        advance(ledger, one, *states)
    wanted = [role for role, is_open in ((Role.ENTRY, entry_open), (Role.EXIT, exit_open)) if is_open]
    assert [found.role for found, _ in ledger.unfinished()] == wanted


def test_an_outcome_is_unapplied_until_a_mark_has_taken_it_in(ledger: Ledger) -> None:
    commit(ledger, 60, intent())
    ledger.record(intent(), State.SENDING, 60)
    receipt = Receipt(State.UNCONFIRMED, 500, "HTTP 500", 1, 2)
    event = ledger.record(intent(), State.UNCONFIRMED, 61, receipt)
    assert ledger.unapplied([State.UNCONFIRMED]) == [event]
    commit(ledger, 120, applied=[event.seq])
    assert ledger.unapplied([State.UNCONFIRMED]) == []
    assert ledger.applied_after(60) == [(120, event)]
    assert ledger.applied_after(120) == []


# ── who may open it ──


def test_a_second_process_is_refused(ledger: Ledger, path: Path) -> None:
    commit(ledger, 60)
    code = f"from rooney.ledger.writer import Ledger; from pathlib import Path; Ledger(Path({str(path)!r}), 'ibs')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "another process works with this ledger; a strategy runs once. Not starting" in done.stderr


def test_the_lock_ends_with_its_process_however_it_ends(path: Path) -> None:
    code = f"from rooney.ledger.writer import Ledger; from pathlib import Path; Ledger(Path({str(path)!r}), 'ibs')"
    subprocess.run([sys.executable, "-c", code + "; import os; os.kill(os.getpid(), 9)"], cwd=ROOT)
    Ledger(path, "ibs").close()


def written(path: Path) -> None:
    opened = Ledger(path, "ibs")
    commit(opened, 60, intent())
    opened.close()


def _zero(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("this was never a database\n" * 100)


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE theirs (a)")


def _newer(path: Path) -> None:
    written(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")


def _torn(path: Path) -> None:
    written(path)
    data = bytearray(path.read_bytes())
    for at in range(4096, len(data), 4096):
        data[at : at + 64] = os.urandom(64)
    path.write_bytes(data)


def _cut(path: Path) -> None:
    written(path)
    path.write_bytes(path.read_bytes()[: 3 * 4096 + 100])


def _other(path: Path) -> None:
    Ledger(path, "breakout").close()


def _edited(statement: str) -> Any:
    def spoil(path: Path) -> None:
        written(path)
        with closing(sqlite3.connect(path)) as db:
            db.execute(statement)
            db.commit()

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            _edited("DROP TABLE status"),
            f"lacks what a ledger of schema version {SCHEMA_VERSION} has: table status book,",
        ),
        (_edited("DROP TRIGGER event_stays"), "has: trigger event_stays; left untouched. Restore a backup"),
        (_edited("DELETE FROM strategy"), "the ledger of strategy nobody, not of 'ibs'; left untouched"),
        (_zero, "not a SQLite file; left untouched"),
        (_text, "not a SQLite file; left untouched"),
        (_foreign, "a SQLite file of another program (id 0); left untouched"),
        (_newer, f"schema version {SCHEMA_VERSION + 1}, this rooney writes {SCHEMA_VERSION}; left untouched"),
        (_torn, "left untouched. Restore a backup or move it away"),
        (_cut, "left untouched. Restore a backup or move it away"),
        (_other, "the ledger of strategy 'breakout', not of 'ibs'; left untouched"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused_and_stays_as_it_is(path: Path, spoil: Any, said: str) -> None:
    spoil(path)
    before = sha(path)
    with pytest.raises(LedgerError) as error:
        Ledger(path, "ibs")
    assert str(error.value).startswith(str(path))
    assert said in str(error.value)
    assert sha(path) == before


def test_a_ledger_of_nobody_is_refused_by_readers_too(path: Path) -> None:
    _edited("DELETE FROM strategy")(path)
    with pytest.raises(LedgerError, match="the ledger of no strategy; left untouched"):
        read_ledger(path)


def test_a_foreign_file_with_a_journal_of_its_own_keeps_both(path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE theirs (a)")
        db.commit()
        for name in ("ledger.sqlite", "ledger.sqlite-wal"):
            shutil.copy(tmp_path / name, tmp_path / f"{name}.copy")
    for name in ("ledger.sqlite", "ledger.sqlite-wal"):
        shutil.move(tmp_path / f"{name}.copy", tmp_path / name)
    before = sha(path), sha(tmp_path / "ledger.sqlite-wal")
    with pytest.raises(LedgerError, match="of another program"):
        Ledger(path, "ibs")
    assert (sha(path), sha(tmp_path / "ledger.sqlite-wal")) == before


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: (Not a directory|File exists); not starting"):
        Ledger(tmp_path / "file" / "ledger.sqlite", "ibs")


def test_a_creation_that_was_cut_short_is_no_ledger_and_does_no_harm(path: Path) -> None:
    path.with_suffix(".new").write_bytes(b"half a file")
    Ledger(path, "ibs").close()
    assert not path.with_suffix(".new").exists()


# ── while it is written ──

WRITER = """
import itertools, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.support.ledgers import commit, intent
from rooney.ledger.writer import Checkpoint, Ledger
from rooney.orders.intents import State
ledger = Ledger(Path({path!r}), "ibs")
for k in itertools.count(1):
    one = intent(ledger.next_seq())
    commit(ledger, 60 * one.seq, one, marks=one.seq, checkpoint=Checkpoint(60 * one.seq, "d", bytes(5000)))
    ledger.record(one, State.SENDING, 1)
    ledger.record(one, State.ACKNOWLEDGED, 1)
"""


def test_killed_in_mid_write_it_is_sound_and_whole(path: Path) -> None:
    for _ in range(4):
        before = _rows(path)
        with child([sys.executable, "-c", WRITER.format(root=str(ROOT), path=str(path))], cwd=ROOT):
            until(lambda before=before: _rows(path) > before + 20)
            time.sleep(0.003 * (before % 7))
        opened = Ledger(path, "ibs")
        last = opened.last_intent()
        finished = opened.finished()
        assert last is not None
        assert finished is not None
        assert (finished.ts_mark, finished.marks) == (60 * last.seq, last.seq)
        assert [one.seq for one in opened.intents()] == list(range(1, last.seq + 1))
        assert all(opened.events(one.id)[0].state is State.PLANNED for one in opened.intents())
        for one, _ in opened.unfinished():
            opened.record(one, State.SENDING, 1) if opened.events(one.id)[-1].state is State.PLANNED else None
            opened.record(one, State.ACKNOWLEDGED, 1)
        opened.close()


def _rows(path: Path) -> int:
    try:
        with read_only(path) as db:
            return int(db.execute("SELECT count(*) FROM intent").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def test_it_is_read_while_it_is_written_without_holding_the_writer_up(ledger: Ledger, path: Path) -> None:
    commit(ledger, 60)
    with read_only(path) as db:
        db.execute("BEGIN")
        assert db.execute("SELECT ts_mark FROM status").fetchone() == (60,)
        began = time.monotonic()
        commit(ledger, 120, intent())
        assert time.monotonic() - began < 1.0
        assert db.execute("SELECT ts_mark FROM status").fetchone() == (60,)  # its own moment
        db.execute("COMMIT")
        assert db.execute("SELECT ts_mark FROM status").fetchone() == (120,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("DELETE FROM status")


def test_a_closed_ledger_is_one_file(path: Path) -> None:
    written(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["ledger.lock", "ledger.sqlite"]


# ── what people are told ──


def outbox(path: Path) -> list[tuple[str, str, int]]:
    with read_only(path) as db:
        return db.execute("SELECT about, turn, level FROM notice ORDER BY seq").fetchall()


def test_an_order_of_unknown_fate_and_its_end_are_in_the_outbox_and_its_usual_way_is_not(ledger: Ledger) -> None:
    entry, out = intent(1), intent(2, Role.EXIT)
    commit(ledger, 60, entry)
    advance(ledger, entry, State.SENDING, State.UNCONFIRMED)
    assert outbox(ledger.path) == [(f"order {entry.id}", "begins", 50)]
    commit(ledger, 120, out)
    advance(ledger, out, State.SENDING, State.ACKNOWLEDGED)
    assert outbox(ledger.path)[1:] == [(f"order {out.id}", "ends", 25), (f"order {entry.id}", "ends", 25)]


@pytest.mark.parametrize(
    ("role", "states", "told"),
    [
        (Role.ENTRY, (State.SENDING, State.ACKNOWLEDGED), [("ends", 25)]),
        (Role.ENTRY, (State.SENDING, State.REFUSED), [("ends", 50)]),
        (Role.ENTRY, (State.DROPPED,), [("ends", 30)]),
        (Role.EXIT, (State.SENDING, State.REFUSED), [("begins", 50)]),
        (Role.EXIT, (State.SENDING, State.PLANNED) * 3, [("begins", 30)]),
        (Role.EXIT, (State.SENDING, State.PLANNED) * 2, []),
    ],
)
def test_what_is_told_of_an_order_and_how_loud(
    ledger: Ledger, role: Role, states: tuple[State, ...], told: list[tuple[str, int]]
) -> None:
    commit(ledger, 60, intent(1, role))
    advance(ledger, intent(1, role), *states)
    assert [row[1:] for row in outbox(ledger.path)] == told


def test_a_notice_is_there_if_its_fact_is(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("rooney.failpoints.point", fails)
    loss = Notice("daily loss", Turn.BEGINS, 50, "reached")
    with pytest.raises(OSError):
        commit(ledger, 60, intent(1), notices=[loss])
    monkeypatch.undo()
    assert outbox(ledger.path) == [] and ledger.intents() == []


def test_a_trouble_that_goes_on_is_told_once_and_so_is_its_end_also_over_a_restart(path: Path) -> None:
    begins, ends = (Notice("daily loss", turn, 50, "") for turn in (Turn.BEGINS, Turn.ENDS))
    opened = Ledger(path, "ibs")
    for k, notice in enumerate((ends, begins, begins)):
        commit(opened, 60 * k, notices=[notice])
    opened.close()
    again = Ledger(path, "ibs")
    for k, notice in enumerate((begins, ends, ends), 3):
        commit(again, 60 * k, notices=[notice])
    again.close()
    assert [turn for _, turn, _ in outbox(path)] == ["begins", "ends"]


def test_minutes_are_counted_by_how_soon_they_were_acted_on(ledger: Ledger) -> None:
    noon = 1_773_241_200_000_000_000  # of 2026-03-11, Chicago's morning
    for k, latency_ms in enumerate((0.5, 1.0, 150, 200, 201, 5_000)):
        commit(ledger, noon + k * 60_000_000_000, latency_ns=int(latency_ms * 1e6))
    commit(ledger, noon + 3600 * 10**9, latency_ns=0)  # not known: not counted
    counts = read_pace(ledger.path, "2026-03-11", "2026-03-11")["2026-03-11"]
    assert counts == {1: 2, 200: 2, 500: 1, 0: 1}
    assert pace.within(counts) == 4 and pace.quantile_ms(counts, 0.5) == 200 and pace.quantile_ms(counts, 1) == math.inf


# ── schema versions ──


def older(path: Path) -> Path:
    """A ledger that the release with schema 1 wrote: an entry and an exit that were acknowledged, one unconfirmed."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript((GOLDEN / "ledger_v1.sql").read_text())
        db.execute("PRAGMA journal_mode=WAL")
    return path


def schema(path: Path) -> list[Any]:
    with read_only(path) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        columns = [(name, db.execute(f"PRAGMA table_info({name})").fetchall()) for name in tables]
        others = db.execute("SELECT type, name, tbl_name FROM sqlite_master WHERE type <> 'table' ORDER BY 1, 2")
        return [columns, others.fetchall(), db.execute("PRAGMA user_version").fetchone()]


def test_a_ledger_of_the_schema_before_is_brought_up_to_date_with_all_it_holds(path: Path, tmp_path: Path) -> None:
    opened = Ledger(older(path), "ibs")
    new = Ledger(tmp_path / "new.sqlite", "ibs")
    assert schema(path) == schema(tmp_path / "new.sqlite")
    assert [(one.seq, one.contract, math.isnan(one.stop_price)) for one in opened.intents()] == [
        (1, "ESM6", True),
        (2, "ESM6", True),
        (3, "NQM6", True),
    ]
    assert [(e.state, e.said) for e in opened.events(intent(3).id)] == [
        (State.PLANNED, Said.NOBODY),
        (State.SENDING, Said.NOBODY),
        (State.UNCONFIRMED, Said.NOBODY),
    ]
    assert opened.finished().ts_mark == 180  # type: ignore[union-attr]
    commit(opened, 240, intent(4, stop_price=99.5))
    assert opened.intent(intent(4).id).stop_price == 99.5
    opened.journal(Command(1, Verb.RESUME, "ann", "r"), 250)
    opened.close()
    new.close()


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older(path)
    before = schema(path)
    monkeypatch.setattr(ledgerfile, "_VERSIONS", (*ledgerfile._VERSIONS[:1], "CREATE TABLE half (a); nonsense;"))
    with pytest.raises(LedgerError, match="left untouched"):
        Ledger(path, "ibs")
    assert schema(path) == before


def test_a_released_schema_never_changes(path: Path) -> None:
    """The script of version 1 still makes what the release with version 1 made."""
    older(path)
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(ledgerfile._VERSIONS[0])
        ours = {
            (name, " ".join(sql.split()))
            for name, sql in db.execute("SELECT name, sql FROM sqlite_master WHERE sql > ''")
        }
    with read_only(path) as db:
        theirs = {
            (name, " ".join(sql.split()))
            for name, sql in db.execute("SELECT name, sql FROM sqlite_master WHERE sql > ''")
        }
    assert ours == theirs


def test_a_newer_schema_that_stands_in_the_journal_only_is_refused(path: Path) -> None:
    Ledger(path, "ibs").close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
        assert path.with_name("ledger.sqlite-wal").stat().st_size > 0
        with pytest.raises(LedgerError, match=f"schema version {SCHEMA_VERSION + 1}, this rooney writes"):
            Ledger(path, "ibs")


# ── the operator's acts ──


def test_an_act_and_the_orders_it_changes_are_one_transaction(ledger: Ledger) -> None:
    commit(ledger, 60, intent(1))
    advance(ledger, intent(1), State.SENDING, State.ACKNOWLEDGED)
    with pytest.raises(IllegalMoveError):
        ledger.journal(
            Command(1, Verb.FLATTEN, "ann", "r"), 70, [intent(2, Role.EXIT)], [(intent(1), State.RESOLVED, Said.FILLED)]
        )
    assert not ledger.has_act("1-flatten")
    assert not ledger.has_intent(intent(2).id)
    act = ledger.journal(Command(1, Verb.FLATTEN, "ann", "r"), 70, [intent(2, Role.EXIT)])
    assert ledger.has_act("1-flatten")
    assert [e.state for e in ledger.events(intent(2).id)] == [State.PLANNED]
    assert ledger.unobeyed() == [act]


def test_an_act_is_unobeyed_until_a_mark_has_taken_it_in(ledger: Ledger) -> None:
    act = ledger.journal(Command(1, Verb.CASH, "ann", "r", usd=5.0), 70)
    commit(ledger, 120, obeyed=[act.seq])
    assert ledger.unobeyed() == []
    assert ledger.obeyed_after(60) == [(120, msgspec.structs.replace(act, is_obeyed=True))]
    assert ledger.obeyed_after(120) == []


def test_a_command_is_journalled_once(ledger: Ledger) -> None:
    ledger.journal(Command(1, Verb.CASH, "ann", "r", usd=5.0), 70)
    with pytest.raises(sqlite3.IntegrityError):
        ledger.journal(Command(1, Verb.CASH, "ann", "r", usd=5.0), 71)


@pytest.mark.parametrize("sql", ["UPDATE operator SET who = 'bob'", "DELETE FROM operator", "DELETE FROM obeyed"])
def test_what_an_operator_did_stays(ledger: Ledger, path: Path, sql: str) -> None:
    act = ledger.journal(Command(1, Verb.CASH, "ann", "r", usd=5.0), 70)
    commit(ledger, 120, obeyed=[act.seq])
    with closing(sqlite3.connect(path)) as db, pytest.raises(sqlite3.IntegrityError, match=r"never|stays"):
        db.execute(sql)


def test_an_acknowledged_exit_resolves_the_exits_before_it_that_were_still_wanted(ledger: Ledger) -> None:
    planned, refused, unknown, last = (intent(k, Role.EXIT) for k in range(1, 5))
    commit(ledger, 60, planned, refused, unknown, last)
    advance(ledger, refused, State.SENDING, State.REFUSED)
    advance(ledger, unknown, State.SENDING, State.UNCONFIRMED)
    advance(ledger, last, State.SENDING, State.ACKNOWLEDGED)
    assert [ledger.events(one.id)[-1].state for one in (planned, refused, unknown)] == [State.RESOLVED] * 3


def test_a_closed_ledger_is_read_where_nothing_can_be_written(path: Path) -> None:
    written(path)
    path.chmod(0o440)
    path.parent.chmod(0o550)
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as db:
            assert db.execute("SELECT count(*) FROM intent").fetchone()[0] > 0
    finally:
        path.parent.chmod(0o750)


# ── a disk that is full ──


def live(ledger: Ledger) -> None:
    """An entry and its exit, marks, a command, and a move that is refused."""
    entry, leave = intent(1), intent(2, Role.EXIT, side=Side.SHORT)
    commit(ledger, 60, entry, evaluated=[Evaluated("ES", Reason.NO_SIGNAL, {"ibs": 0.1}, math.nan)])
    advance(ledger, entry, State.SENDING, State.ACKNOWLEDGED)
    commit(ledger, 120, leave, applied=[ledger.last_event()], checkpoint=Checkpoint(120, "digest", b"state" * 5_000))
    with pytest.raises(IllegalMoveError):
        ledger.record(leave, State.ACKNOWLEDGED, 100)
    ledger.journal(Command(5, Verb.RESUME, "mia", "all well"), 130)
    advance(ledger, leave, State.SENDING, State.ACKNOWLEDGED)
    assert [event.state for event in ledger.events(leave.id)] == [State.PLANNED, State.SENDING, State.ACKNOWLEDGED]


def test_what_waits_for_room_is_written_as_if_there_had_been_room(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 32 * MIB) as place, closing(Ledger(tmp_path / "ledger.sqlite", "ibs")) as roomy:
        full = Ledger(place / "ledger.sqlite", "ibs")
        large = fill(place)
        live(full)
        live(roomy)
        assert full.is_behind
        assert contents(full.path)["event"] == []
        full.write_out()
        assert full.is_behind, "there is no room yet"
        large.unlink()
        full.close()
        assert not full.is_behind
        assert_same_contents(contents(full.path), contents(roomy.path))
