"""A live run again, from bars on disk and its ledger: the same decisions and the same assumed trades, to the last byte.

The live run is a real worker process on a real Redis that is killed in bad places, with a webhook that refuses and goes
silent, and an operator who steps in; it starts in the middle of an hour, a day and a roll, warm from history.
"""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from research.backtest import backtest, replay
from research.backtest.audit import audit
from research.backtest.replay import Replayed
from research.backtest.result import Result
from research.history.history import History
from rooney.config.loader import load_config
from rooney.config.settings import StrategyConfig
from rooney.errors import LedgerError
from rooney.ledger.writer import Ledger
from rooney.ops.compare import audit_lines
from rooney.ops.tape_export import record
from rooney.orders.control import Command, Level, Verb, clear_switches, put_command, set_switch
from tests.support.backtests import PARAMS, ROOTS, assembled, random_minutes
from tests.support.ledgers import read_only
from tests.support.paths import ROOT
from tests.support.rigs import Rig
from tests.support.waiting import until
from tests.support.webhook_faults import Fault
from tests.support.webhooks import running
from tests.support.workers import Forked

DAYS = 4
BEGIN = datetime(2026, 3, 10, 16, 37, tzinfo=UTC)  # of the live run: the 17th hour of four days
ROLL = datetime(2026, 3, 12, 18, tzinfo=UTC)  # June trades more than March from here on: a roll with the next session
FAULTS = (Fault("limited", at=(2,)), Fault("redirect", at=(5,)), Fault("reset", at=(8,)), Fault("no_id", at=(15,)))
KILLS = ("after_sending:2", "after_outcome:3", "in_mark_commit:40", "after_post:3", "after_mark_commit:60", "")


class Live:
    """A finished run: its ledger and configuration, and the bars it was made from."""

    def __init__(self, one: Rig, bars: Path) -> None:
        self.rig = one
        self.ledger, self.bars, self.said = one.ledger(), bars, one.said()
        self.config = one.directory / "config.yml"
        self.whole = cache(self.replayed)

    def strategy(self, *changes: str) -> StrategyConfig:
        return load_config(self.config, changes).strategy("a")

    def replayed(self, **options: Any) -> tuple[Replayed, Result]:
        paths = options.pop("bars", self.bars), options.pop("ledger", self.ledger)
        found, result, _ = replay.replay(self.strategy(), *paths, **options)
        return found, result

    def replay(self, **options: Any) -> Replayed:
        return self.replayed(**options)[0]


class _Rig(Rig):
    def write(self) -> Path:
        """Three instruments with costs, breakout on them as other tests have it compiled."""
        path = self.directory / "config.yml"
        path.write_text(
            yaml.safe_dump(
                {
                    "data_hub": {"redis_socket": str(self.redis_socket)},
                    "instruments": {root: {} for root in ROOTS},
                    "strategies": self.blocks,
                },
                sort_keys=False,
            )
        )
        return path


def market() -> pl.DataFrame:
    """Four days of thin minutes; the equity index rolls with the last session."""
    bars = random_minutes(5, ROOTS, days=DAYS)
    later = bars.filter((pl.col("root") == "ES") & (pl.col("ts_open") >= ROLL))
    june = later.with_columns(
        pl.lit("ESM6").alias("contract"),
        pl.lit(50).alias("volume").cast(bars["volume"].dtype),
        *(pl.col(name) + 12.25 for name in ("open", "high", "low", "close")),
    )
    return pl.concat([bars, june]).sort("ts_open", "contract", maintain_order=True)


@pytest.fixture(scope="module")
def live(rig_place: Path, rig_redis: Any, zygote: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One run for all tests."""
    folder = tmp_path_factory.mktemp("live")
    bars = market()
    bars.write_parquet(folder / "bars.parquet")
    tape = list(assembled(bars, ROOTS))
    one = _Rig(folder, rig_place / "redis.sock", zygote)
    one.blocks["a"] |= {"strategy": "breakout", "instruments": ROOTS, "max_positions": 3, "settle_s": 0}
    one.blocks["a"]["strategy_params"] = yaml.safe_load(PARAMS[1].partition("=")[2])
    with running(one.accounts, log=folder / "webhooks.jsonl", faults=FAULTS, rate_limit=False) as server:
        one.webhook({"a": server.url("a")})
        first = next(k for k, item in enumerate(tape) if item.minute.ts_close > int(BEGIN.timestamp()) * 10**9)
        for item in tape[:first]:
            one.bus.publish(item)
        cuts = [first + k * (len(tape) - first) // len(KILLS) for k in range(len(KILLS) + 1)]
        for number, (a, b) in enumerate(pairwise(cuts)):
            running_worker = one.start(fault=KILLS[number])
            if not number:  # the first start is at the tape's end
                one.wait_ready("a")
            _operate(one, number)
            for item in tape[a:b]:
                one.bus.publish(item)
            last = tape[b - 1].minute.ts_close
            _until_dead_or_at(one, running_worker, last)
            if one.position() < last:
                assert running_worker.wait() == -signal.SIGKILL, one.said()
                running_worker = one.start()
                _until_dead_or_at(one, running_worker, last)
            running_worker.kill(signal.SIGKILL if b < len(tape) else signal.SIGTERM)
        yield Live(one, folder / "bars.parquet")
        one.close()


def _until_dead_or_at(one: Rig, forked: Forked, ts: int) -> None:
    until(lambda: not Path(f"/proc/{forked.pid}").exists() or one.position() >= ts, 60.0, lambda: one.said())


def _operate(one: Rig, number: int) -> None:
    """What a person does before part `number` of the day."""
    if number == 1:
        set_switch(one.control, "a", Level("halt"), "ann", "lunch")
    commands = {
        2: [
            Command(time.time_ns(), Verb.RESUME, "ann", "seen"),
            Command(time.time_ns(), Verb.CASH, "ann", "real fills differed", usd=-12.5),
        ],
        3: [Command(time.time_ns(), Verb.POSITION, "ann", "by hand", symbol="ZC", side=1, quantity=1, price=1000.0)],
        4: [Command(time.time_ns(), Verb.POSITION, "ann", "long now", symbol="ES", side=1, quantity=1, price=1001.0)],
        5: [Command(time.time_ns(), Verb.FLATTEN, "ann", "enough")],
    }
    if number == 2:
        clear_switches(one.control, "a")
    given = commands.get(number, [])
    for command in given:
        put_command(one.control, "a", command)
    until(lambda: _known(one.ledger(), given), 60.0, lambda: one.said())


def _known(ledger: Path, given: list[Command]) -> bool:
    if not given:
        return True
    with read_only(ledger) as db:
        return {command.name for command in given} <= {name for (name,) in db.execute("SELECT name FROM operator")}


def test_the_live_run_had_all_that_can_go_wrong(live: Live) -> None:
    with read_only(live.ledger) as db:
        applied = db.execute("SELECT e.state FROM applied a JOIN event e ON e.seq = a.event")
        states = Counter(state for (state,) in applied)
        verbs = {verb for (verb,) in db.execute("SELECT verb FROM operator")}
        causes = {cause for (cause,) in db.execute("SELECT cause FROM intent")}
        trades = db.execute("SELECT count(*) FROM trade").fetchone()[0]
    assert min(states[name] for name in ("acknowledged", "refused", "unconfirmed", "dropped")) >= 1, states
    assert verbs == {"resume", "cash", "position", "flatten"}
    assert {"rule", "unconfirmed", "operator", "roll"} <= causes
    assert trades >= 6


def test_a_live_run_comes_out_again_to_the_last_byte(live: Live) -> None:
    """Intents, decisions with their features, trades; account and positions as bytes. The ledger is only read."""
    before = {file.name: file.read_bytes() for file in live.ledger.parent.iterdir()}
    found, _ = live.whole()
    assert found.differences == []
    assert found.rows == {name: (count, count, count) for name, count in _counts(live.ledger).items()}
    assert found.is_same_book
    assert found.is_same_code
    assert found.is_equal
    assert {file.name: file.read_bytes() for file in live.ledger.parent.iterdir()} == before


def _counts(ledger: Path) -> dict[str, int]:
    sources = {"intents": "intent WHERE cause != 'operator'", "decisions": "decision", "trades": "trade"}
    with read_only(ledger) as db:
        return {name: db.execute(f"SELECT count(*) FROM {source}").fetchone()[0] for name, source in sources.items()}


def test_the_trades_of_a_replay_are_those_of_the_ledger_and_not_those_of_a_good_day(live: Live) -> None:
    roots = list(live.strategy().traded)
    good_day = backtest.run(live.strategy(), History(live.bars, roots)).trades
    _, result = live.whole()
    with read_only(live.ledger) as db:
        rows = db.execute("SELECT contract, entry_price, exit_price, pnl_usd FROM trade ORDER BY seq").fetchall()
    columns = ["contract", "entry_price", "exit_price", "pnl_usd"]
    assert list(result.trades.select(columns).iter_rows()) == rows
    assert list(good_day.select(columns).iter_rows()) != rows


def test_a_replay_of_the_first_part_ends_there_and_knows_no_book(live: Live) -> None:
    found = live.replay(end=datetime(2026, 3, 12, tzinfo=UTC))
    assert found.is_equal
    assert found.is_same_book is None
    assert 0 < found.rows["decisions"][0] < _counts(live.ledger)["decisions"]


def test_another_bar_is_told_as_the_first_decision_it_changes(live: Live, tmp_path: Path) -> None:
    at = datetime(2026, 3, 12, 4, 30, tzinfo=UTC)
    bars = pl.read_parquet(live.bars)
    first = bars.filter((pl.col("ts_open") >= at) & (pl.col("root") == "GC"))["ts_open"][0]
    changed = (pl.col("ts_open") == first) & (pl.col("root") == "GC")
    bars.with_columns(pl.when(changed).then(pl.col("high") + 5.0).otherwise("high").alias("high")).write_parquet(
        tmp_path / "bars.parquet"
    )
    found = live.replay(bars=tmp_path / "bars.parquet")
    assert not found.is_equal
    difference = next(one for one in found.differences if one.table == "decisions")
    assert difference.ledger is not None
    assert (difference.ledger["symbol"], difference.ledger["ts_mark"] // 10**9) == ("GC", int(at.timestamp()) + 1800)
    first_ns = difference.ledger["ts_mark"]
    before = sum(row[0] < first_ns for row in found.recorded["decisions"])
    others = sum(row[0] > first_ns and row[1] != "GC" for row in found.recorded["decisions"])
    assert before + others // 2 < found.rows["decisions"][2] < found.rows["decisions"][0]


def test_the_tape_as_redis_keeps_it_gives_an_audit_in_which_everything_is_the_same(live: Live, tmp_path: Path) -> None:
    kept = tmp_path / "tape"
    assert record(live.rig.bus, ROOTS, kept) > 1_000
    assert record(live.rig.bus, ROOTS, kept) == 0  # nothing new
    found = audit(live.strategy(), kept, live.ledger)
    assert found.trouble == "" and found.audit is not None
    assert [(one.share, one.first) for one in found.audit.of_all] == [(1.0, "")] * len(ROOTS)
    assert sum(one.decisions for one in found.audit.of_all) == live.replay().rows["decisions"][0] > 100
    (one,) = found.comparisons
    assert one.identical == one.pairs == one.trades_a == one.trades_b == live.replay().rows["trades"][0] > 0
    assert found.discrepancy == 0.0 and not found.is_alarm
    assert "100.00% of" in "\n".join(audit_lines(found))


def test_an_audit_during_a_session_ends_where_the_ledger_stood_when_the_tape_was_taken(
    live: Live, tmp_path: Path
) -> None:
    """The worker has gone on meanwhile, with minutes that this tape does not have."""
    taken = datetime(2026, 3, 12, tzinfo=UTC)
    pl.read_parquet(live.bars).filter(pl.col("ts_open") < taken).write_parquet(tmp_path / "bars.parquet")
    assert audit(live.strategy(), tmp_path / "bars.parquet", live.ledger).is_alarm  # on minutes it has not
    found = audit(live.strategy(), tmp_path / "bars.parquet", live.ledger, end_ns=int(taken.timestamp()) * 10**9)
    assert found.trouble == "" and not found.is_alarm
    assert found.audit is not None and all(one.share == 1.0 for one in found.audit.of_all)


def test_an_audit_of_other_bars_names_the_first_decision_and_is_an_alarm(live: Live, tmp_path: Path) -> None:
    bars = pl.read_parquet(live.bars)
    wrong = (pl.col("root") == "GC") & (pl.col("ts_open") > bars["ts_open"].max() - timedelta(hours=6))
    off = pl.when(wrong).then(40.0).otherwise(0.0)
    moved = bars.with_columns(pl.col("open", "high", "low", "close") + off)
    moved.write_parquet(tmp_path / "bars.parquet")
    found = audit(live.strategy(), tmp_path / "bars.parquet", live.ledger)
    assert found.audit is not None and found.is_alarm
    by_symbol = {one.symbol: one for one in found.audit.of_day}
    assert by_symbol["GC"].share < 1.0 and by_symbol["GC"].first.split(": ")[1].startswith("live ")


def test_an_audit_that_cannot_be_done_says_why(live: Live, tmp_path: Path) -> None:
    found = audit(live.strategy("strategies.a.profile=v1"), live.bars, live.ledger)
    assert found.is_alarm and "profile: v1" in found.trouble and found.comparisons == ()


def test_the_command_replays_a_live_day_and_says_so(live: Live, tmp_path: Path) -> None:
    done = _command(live, "--outcomes", str(live.ledger), "--json", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    counts = {name: dict.fromkeys(("ledger", "replay", "same"), n) for name, n in _counts(live.ledger).items()}
    assert summary["replay"]["rows"] == counts
    assert summary["replay"]["is_equal"]
    assert summary["fills"]["outcomes"] == str(live.ledger)


def test_a_replay_with_other_settings_says_what_differs_and_exits_1(live: Live) -> None:
    done = _command(live, "--outcomes", str(live.ledger), "--set", "strategies.a.max_positions=1")
    assert done.returncode == 1
    assert "slots_full" in done.stdout
    assert "another code or configuration" in done.stdout


def _command(live: Live, *argv: str) -> Any:
    command = [sys.executable, "-m", "rooney", "backtest", "a", "--config", str(live.config), "--data", str(live.bars)]
    return subprocess.run([*command, *argv], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_ledger_whose_beginning_cannot_be_counted_back_asks_for_the_minute_before_it(
    live: Live, tmp_path: Path
) -> None:
    """As if the hub had been away for a day: the tape holds fewer minutes than the sessions had."""
    shutil.copy(live.ledger, tmp_path / "ledger.sqlite")
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("UPDATE status SET marks = marks - 1380")
    with pytest.raises(LedgerError, match=r"lacked minutes.*--start"):
        live.replay(ledger=tmp_path / "ledger.sqlite")
    begin = datetime.fromtimestamp(live.whole()[0].start_ns / 1e9, UTC)
    part = datetime(2026, 3, 11, tzinfo=UTC)
    assert live.replay(ledger=tmp_path / "ledger.sqlite", start=begin, end=part).is_equal


def test_a_gap_cannot_be_replayed_and_the_message_says_up_to_where_it_can(live: Live, tmp_path: Path) -> None:
    shutil.copy(live.ledger, tmp_path / "ledger.sqlite")
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("UPDATE decision SET reason = 'gap' WHERE ts_mark = (SELECT max(ts_mark) FROM decision)")
    with pytest.raises(LedgerError, match=r"gap in the tape.*--end 2026-03-13T"):
        live.replay(ledger=tmp_path / "ledger.sqlite")


def test_what_is_no_ledger_of_the_strategy_is_refused(live: Live, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x" * 4096)
    with pytest.raises(LedgerError, match="cannot be read as a ledger"):
        live.replay(ledger=tmp_path / "text")
    with pytest.raises(LedgerError, match="no such ledger"):
        live.replay(ledger=tmp_path / "nothing")
    Ledger(tmp_path / "ledger.sqlite", "other").close()
    with pytest.raises(LedgerError, match="of strategy 'other', not of 'a'"):
        live.replay(ledger=tmp_path / "ledger.sqlite")


def test_the_old_profile_is_refused(live: Live) -> None:
    with pytest.raises(LedgerError, match="profile: v1"):
        replay.replay(live.strategy("strategies.a.profile=v1"), live.bars, live.ledger)
