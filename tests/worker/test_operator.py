"""The operator and a running worker: switches, commands, Redis down, stopping; a restart hears it all again."""

import json
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rooney import log
from rooney.bus.publisher import Publisher
from rooney.config.schema import DataHub
from rooney.market.messages import Roll
from rooney.market.sessions import MINUTE_NS
from rooney.orders.control import ALL, Command, Level, Resolution, Verb, clear_switches, put_command, set_switch
from rooney.sim.processes import Part, start_redis
from tests.support.alerts import routes, sender, service, turns
from tests.support.ledgers import assert_same_contents, read_only
from tests.support.minutes import BUY, LEAVE, QUIET, START, bar, closes, minute
from tests.support.rigs import Rig, requests, states
from tests.support.waiting import until
from tests.support.webhook_faults import Fault


def told(one: Rig, sql: str, name: str = "a") -> list[Any]:
    with read_only(one.ledger(name)) as db:
        return list(db.execute(sql).fetchall())


def drops(one: Rig) -> list[str]:
    """Reasons of the dropped entries."""
    return [detail for (detail,) in told(one, "SELECT detail FROM event WHERE state = 'dropped' ORDER BY seq")]


def actions(one: Any) -> list[str]:
    return [request["payload"]["action"] for request in requests(one)]


def say(one: Rig, verb: Verb, ts_ns: int = 0, **fields: Any) -> None:
    """Give a command and wait until it was taken."""
    path = put_command(one.control, "a", Command(ts_ns or time.time_ns(), verb, "ann", "because", **fields))
    until(lambda: not path.exists(), what=lambda: one.said()[-2000:])


class Stage:
    """A worker whose minutes come one by one."""

    def __init__(self, one: Rig, first: float = QUIET, fault: str = "") -> None:
        self.one, self.now = one, START
        self.worker = one.begin([], fault=fault)
        self.minute(first)
        if first == BUY:
            until(lambda: states(one)[-1] not in ("planned", "sending"))

    def minute(self, *prices: float) -> None:
        """Publish minutes and wait until they are finished."""
        self.later(*prices)
        self.one.wait_position(self.now)

    def later(self, *prices: float) -> None:
        self.one.publish(closes(*prices, start=self.now))
        self.now += len(prices) * MINUTE_NS

    def end(self) -> dict[str, list[Any]]:
        return self.one.finish(self.worker, self.now)


# ── switches ──


@pytest.mark.parametrize("scope", ["a", ALL])
def test_halt_drops_entries_with_its_reason_and_lets_exits_go(rig: Any, scope: str) -> None:
    one = rig("a")
    stage = Stage(one, BUY)
    set_switch(one.control, scope, Level.HALT, "ann", "news")
    stage.minute(QUIET, LEAVE, QUIET, BUY, QUIET)
    clear_switches(one.control, scope)
    stage.minute(BUY, QUIET)
    found = stage.end()
    assert drops(one) == [f"kill switch: halt of {scope}: news (ann)"]
    assert actions(one) == ["buy", "exit", "buy"]  # the step heard of the dropped one and decided anew
    assert len(found["trade"]) == 1


def test_a_switch_survives_a_restart_and_needs_nothing_but_touch(rig: Any) -> None:
    one = rig("a")
    (one.control / "a").mkdir(parents=True)
    (one.control / "a" / "halt").touch()
    stage = Stage(one)
    stage.minute(BUY)
    stage.worker.kill(signal.SIGKILL)
    stage.later(QUIET, BUY, QUIET)
    one.resume(stage.now)
    assert drops(one) == ["kill switch: halt of a"] * 2
    assert actions(one) == []


def test_stop_holds_back_exits_too_until_it_is_lifted(rig: Any) -> None:
    one = rig("a")
    stage = Stage(one, BUY)
    stage.minute(QUIET)
    set_switch(one.control, "a", Level.STOP, "ann", "by hand")
    stage.minute(LEAVE, QUIET, QUIET)
    assert actions(one) == ["buy"]
    assert "exit ESM2026 is held back by stop of a: by hand (ann)" in one.said()
    clear_switches(one.control, "a")
    stage.minute(QUIET, QUIET)
    assert actions(one) == ["buy", "exit"]
    assert len(stage.end()["trade"]) == 1


def test_flatten_closes_everything_and_takes_no_entries_until_resume(rig: Any) -> None:
    one = rig("a")
    stage = Stage(one, BUY)
    stage.minute(QUIET)
    set_switch(one.control, ALL, Level.FLATTEN, "ann", "out")
    until(lambda: actions(one) == ["buy", "exit"])
    stage.minute(QUIET, QUIET, BUY, QUIET)
    found = stage.end()
    assert actions(one) == ["buy", "exit"]
    assert drops(one) == ["kill switch: flatten of all: out (ann)"]
    assert told(one, "SELECT cause FROM intent WHERE role = 2") == [("operator",)]
    assert told(one, "SELECT verb, who, reason FROM operator") == [("flatten", "ann", "out")]
    assert [row[10] for row in found["trade"]] == ["operator"]


def test_a_control_directory_that_cannot_be_read_stops_entries_and_no_exit(rig: Any) -> None:
    one = rig("a")
    stage = Stage(one, BUY)
    (one.control / "all").write_text("no directory")
    stage.minute(QUIET, LEAVE, QUIET, BUY, QUIET)
    stage.end()
    assert actions(one) == ["buy", "exit"]
    assert drops(one) == [f"kill switch: halt of all: {one.control}/all cannot be read: Not a directory"]
    assert one.said().count("cannot be read: Not a directory") == 3  # by itself, as a switch, with the entry


# ── Redis down ──


@contextmanager
def own_redis(one: Rig) -> Iterator[Part]:
    """A Redis of this rig's own, to take away."""
    directory = Path(tempfile.mkdtemp(prefix="ro-"))
    one.redis_socket = directory / "redis.sock"
    server = start_redis(directory)
    one.bus = Publisher(DataHub(redis_socket=str(one.redis_socket)))
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


def test_flatten_with_redis_down_closes_at_once_and_the_step_hears_it_at_the_next_mark(rig: Any) -> None:
    one = rig("a")
    with own_redis(one) as server:
        stage = Stage(one, BUY)
        stage.minute(QUIET)
        server.stop()
        until(lambda: "no new entries until it is back" in one.said())
        set_switch(one.control, "a", Level.FLATTEN, "ann", "Redis is gone")
        until(lambda: actions(one) == ["buy", "exit"])
        assert told(one, "SELECT * FROM trade") == []
        again = start_redis(one.redis_socket.parent)
        try:
            until(lambda: "Redis is back" in one.said())
            one.bus = Publisher(DataHub(redis_socket=str(one.redis_socket)))
            stage.minute(QUIET, QUIET)
            found = stage.end()
        finally:
            again.stop()
    assert [row[10] for row in found["trade"]] == ["operator"]
    assert actions(one) == ["buy", "exit"]


def test_a_worker_that_starts_without_redis_closes_what_its_ledger_holds(rig: Any) -> None:
    one = rig("a")
    with own_redis(one) as server:
        stage = Stage(one, BUY)
        stage.minute(QUIET)
        stage.worker.kill(signal.SIGKILL)
        server.stop()
        set_switch(one.control, "a", Level.FLATTEN, "ann", "out")
        worker = one.start()
        until(lambda: actions(one) == ["buy", "exit"], what=lambda: one.said()[-2000:])
        assert worker.kill(signal.SIGTERM) == 0
    assert states(one)[-3:] == ["planned", "sending", "acknowledged"]


# ── commands ──


def test_a_stated_position_is_what_the_step_goes_on_with(rig: Any) -> None:
    one = rig("a")
    stage = Stage(one)
    say(one, Verb.POSITION, symbol="ES", side=1, quantity=2, price=90.0)
    stage.minute(QUIET, LEAVE, QUIET)
    found = stage.end()
    assert told(one, "SELECT verb, ts_mark FROM operator JOIN obeyed ON operator = seq") == [
        ("position", START + 2 * MINUTE_NS)
    ]
    assert [(row[5], row[7], row[10]) for row in found["trade"]] == [(2, 90.0, "rule")]
    assert actions(one) == ["exit"]


def test_a_position_that_was_closed_by_hand_is_booked_at_its_price(rig: Any) -> None:
    one = rig("a")
    stage = Stage(one, BUY)
    stage.minute(QUIET, QUIET)
    say(one, Verb.POSITION, symbol="ES", side=0, quantity=0, price=110.0)
    stage.minute(QUIET, LEAVE, QUIET)
    found = stage.end()
    assert [(row[9], row[10]) for row in found["trade"]] == [(110.0, "operator")]
    assert actions(one) == ["buy"]  # nothing was sent


def test_a_stated_position_ends_what_was_open_of_its_symbol(rig: Any) -> None:
    one = rig("a", faults=(Fault("close", at=(2,)),))
    stage = Stage(one, BUY)
    stage.minute(QUIET, LEAVE)
    until(lambda: "unconfirmed" in states(one))
    say(one, Verb.POSITION, symbol="ES", side=0, quantity=0, price=103.0)
    stage.minute(QUIET, QUIET, QUIET)
    found = stage.end()
    assert actions(one) == ["buy", "exit"]
    assert told(one, "SELECT state, said FROM event ORDER BY seq DESC LIMIT 1") == [("resolved", "superseded")]
    assert len(found["trade"]) == 1


@pytest.mark.parametrize(("outcome", "trades"), [(Resolution.FILLED, 1), (Resolution.NOT_FILLED, 0)])
def test_an_entry_of_unknown_fate_becomes_what_the_operator_found_out(
    rig: Any, outcome: Resolution, trades: int
) -> None:
    one = rig("a", faults=(Fault("close", at=(1,)),))
    one.blocks["a"]["on_unconfirmed_entry"] = "hold"
    stage = Stage(one, BUY)
    stage.minute(QUIET, QUIET, QUIET)
    ((intent,),) = told(one, "SELECT id FROM intent")
    say(one, Verb.RESOLVE, intent=intent, outcome=outcome, price=101.0)
    stage.minute(QUIET, LEAVE, QUIET)
    found = stage.end()
    assert told(one, "SELECT state, said FROM event WHERE state = 'resolved'") == [("resolved", outcome.value)]
    assert actions(one) == ["buy", *["exit"] * trades]
    assert len(found["trade"]) == trades


@pytest.mark.parametrize(("outcome", "exits"), [(Resolution.FILLED, 1), (Resolution.NOT_FILLED, 2)])
def test_an_exit_of_unknown_fate_becomes_what_the_operator_found_out(rig: Any, outcome: Resolution, exits: int) -> None:
    one = rig("a", faults=(Fault("close", at=(2,)),))
    one.blocks["a"]["settle_s"] = 180
    stage = Stage(one, BUY)
    stage.minute(QUIET, LEAVE)
    ((intent,),) = told(one, "SELECT id FROM intent WHERE role = 2")
    until(lambda: "unconfirmed" in states(one))
    say(one, Verb.RESOLVE, intent=intent, outcome=outcome)
    stage.minute(QUIET, LEAVE, QUIET, QUIET, QUIET)
    found = stage.end()
    assert actions(one) == ["buy", *["exit"] * exits]
    assert len(found["trade"]) == 1


def test_what_cannot_be_obeyed_is_refused_and_changes_nothing(rig: Any) -> None:
    one = rig("a")
    stage = Stage(one, BUY)
    stage.minute(QUIET)
    ((acknowledged,),) = told(one, "SELECT id FROM intent")
    say(one, Verb.RESOLVE, intent="nonesuch", outcome=Resolution.FILLED)
    say(one, Verb.RESOLVE, intent=acknowledged, outcome=Resolution.NOT_FILLED)
    say(one, Verb.POSITION, symbol="GC", side=0, quantity=0, price=1.0)
    say(one, Verb.FLATTEN, symbols=("ES", "CL"))
    stage.minute(QUIET)
    stage.end()
    assert told(one, "SELECT * FROM operator") == []
    assert len(list((one.control / "a" / "commands").glob("*.refused"))) == 4
    assert "no intent is called 'nonesuch'; nothing was done" in one.said()
    assert "entry cannot go from acknowledged to resolved" in one.said()
    assert "GC: not traded here, which are ES, NQ" in one.said()


def test_flatten_by_command_closes_the_named_symbols_and_the_next_entry_may_come(rig: Any) -> None:
    one = rig("a")
    stage = Stage(one, BUY)
    stage.minute(QUIET)
    say(one, Verb.FLATTEN, symbols=("NQ",))
    assert actions(one) == ["buy"]
    say(one, Verb.FLATTEN, symbols=("ES",))
    until(lambda: actions(one) == ["buy", "exit"])
    stage.minute(QUIET, QUIET, BUY, QUIET)
    assert len(stage.end()["trade"]) == 1
    assert actions(one) == ["buy", "exit", "buy"]


def test_a_refusal_opens_the_breaker_which_a_restart_remembers_and_resume_closes(rig: Any) -> None:
    one = rig("a", faults=(Fault("redirect", at=(1,)),))
    stage = Stage(one, BUY)
    stage.minute(QUIET, BUY)
    stage.worker.kill(signal.SIGKILL)
    stage.worker = one.start()
    stage.minute(QUIET, BUY)
    say(one, Verb.RESUME)
    stage.minute(QUIET, BUY, QUIET)
    stage.end()
    assert drops(one) == ["breaker: entry refused (HTTP 302)"] * 2
    assert actions(one) == ["buy", "buy"]


# ── stopping ──


def test_on_stop_flatten_closes_positions_within_the_time_to_stop(rig: Any) -> None:
    one = rig("a")
    one.blocks["a"]["on_stop"] = "flatten"
    stage = Stage(one, BUY)
    stage.minute(QUIET)
    stage.end()
    assert actions(one) == ["buy", "exit"]
    assert told(one, "SELECT verb, who, reason FROM operator") == [("flatten", "rooney", "on_stop: flatten")]
    stage.later(QUIET, QUIET)
    assert [row[10] for row in one.resume(stage.now)["trade"]] == ["operator"]
    assert actions(one) == ["buy", "exit"]


def test_on_stop_keep_leaves_the_position_and_says_so(rig: Any) -> None:
    one = rig("a")
    stage = Stage(one, BUY)
    stage.minute(QUIET)
    stage.end()
    assert actions(one) == ["buy"]
    assert "stopping with a position: ESM6 +1" in one.said()


def test_the_daily_loss_limit_is_told_once_when_it_is_reached_and_once_when_it_is_lifted(rig: Any) -> None:
    one = rig("a")
    one.blocks["a"]["daily_stop_loss"] = 100
    stage = Stage(one, BUY)
    stage.minute(QUIET, 90.0, 90.0, 90.0)
    say(one, Verb.RESUME)
    stage.minute(90.0, 90.0)
    stage.end()
    lines = [line.split("  ", 1)[1] for line in one.said().splitlines() if "daily loss limit" in line]
    assert len(lines) == 2
    assert "daily loss limit reached, est. day -" in lines[0]
    assert "daily loss limit lifted" in lines[1]
    sql = "SELECT turn, level FROM notice WHERE about = 'daily loss' ORDER BY seq"
    assert told(one, sql) == [("begins", logging.CRITICAL), ("ends", log.NOTICE)]
    assert actions(one) == ["buy", "exit"]


def test_an_order_of_unknown_fate_is_told_to_people_and_so_is_its_end(rig: Any, tmp_path: Path) -> None:
    one = rig("a", faults=(Fault("close", at=(1,)),))
    one.blocks["a"]["on_unconfirmed_entry"] = "hold"
    stage = Stage(one, BUY)
    stage.minute(QUIET)
    with service() as slack:
        sends = sender(tmp_path, routes(slack), state=one.ledger().parents[1])
        turns(sends, lambda: bool(slack.taken))
        (id_,) = (row[0] for row in told(one, "SELECT id FROM intent"))
        assert slack.taken[0].startswith("CRIT a ES: entry ESM2026 unconfirmed answer lost")
        assert f"rooney resolve {id_} --filled PRICE" in slack.taken[0]
        say(one, Verb.RESOLVE, intent=id_, outcome=Resolution.NOT_FILLED)
        stage.minute(QUIET)
        turns(sends, lambda: "order" not in {item.kind for item in sends._book.troubles.values() if not item.ended_ns})
        stage.end()


# ── a protective stop at the broker ──


def protected(one: Any) -> Stage:
    """A strategy whose entries carry their stop, long at 100 with one at 100 (101 less 1 per cent, on the tick)."""
    one.blocks["a"] |= {"broker_stop": True, "strategy_params": {"stop_percent": 1.0}}
    return Stage(one, BUY)


def at_broker(one: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Positions, stops that rest."""
    account = one.vendor.state()["accounts"]["a"]
    return account["positions"], account["stops"]


def test_bug_13_an_entry_and_its_stop_are_one_request_and_the_exit_cancels_the_stop(rig: Any) -> None:
    one = rig("a")
    stage = protected(one)
    (entry,) = requests(one)
    assert entry["payload"]["stopLoss"] == {"type": "stop", "stopPrice": 100.0}
    assert told(one, "SELECT stop_price FROM intent") == [(pytest.approx(101.0 * 0.99),)]
    assert at_broker(one) == ({"ESM2026": 1}, {"ESM2026": 1})
    stage.minute(QUIET, LEAVE, QUIET)
    stage.end()
    assert actions(one) == ["buy", "exit"]
    assert requests(one)[1]["payload"]["cancel"] is True
    assert at_broker(one) == ({}, {})


def test_an_exit_after_the_brokers_stop_has_filled_opens_nothing(rig: Any) -> None:
    one = rig("a")
    stage = protected(one)
    stage.minute(QUIET)
    one.vendor.stop_out("a", "ESM2026")
    stage.minute(90.0, 90.0)
    found = stage.end()
    assert [row[10] for row in found["trade"]] == ["stop"]
    assert (actions(one), at_broker(one)) == (["buy", "exit"], ({}, {}))


def test_flatten_by_the_operator_cancels_the_stop(rig: Any) -> None:
    one = rig("a")
    stage = protected(one)
    stage.minute(QUIET)
    say(one, Verb.FLATTEN)
    until(lambda: at_broker(one) == ({}, {}))
    stage.end()
    assert actions(one) == ["buy", "exit"]


def test_a_broker_stop_the_strategy_gives_no_price_for_means_no_entry(rig: Any) -> None:
    one = rig("a")
    one.blocks["a"]["broker_stop"] = True
    stage = Stage(one, BUY)
    stage.minute(QUIET)
    stage.end()
    assert actions(one) == []
    assert "the strategy gives no stop price; an unprotected entry is not sent" in drops(one)[0]


# ── bugs seen elsewhere, traderspost.md §11 ──


def test_bug_7_an_order_leaves_on_its_decision_before_any_later_bar(rig: Any) -> None:
    one = rig("a")
    one.begin(closes(BUY))
    until(lambda: actions(one) == ["buy"])
    assert one.position() == START + MINUTE_NS
    one.started[-1].kill()


def test_bug_8_a_start_and_a_restart_send_nothing(rig: Any) -> None:
    one = rig("a")
    stage = Stage(one)
    stage.end()
    stage.later(QUIET)
    one.resume(stage.now)
    assert actions(one) == []


def test_bug_14_an_exit_names_the_contract_of_its_entry_and_not_todays_front(rig: Any) -> None:
    one = rig("a")
    one.blocks["a"]["on_roll"] = "close"
    stage = Stage(one, BUY)
    stage.minute(QUIET)
    stage.now += MINUTE_NS
    roll = Roll("ES", "ESM6", "ESU6", 100.0, 105.0, stage.now, "volume")
    one.publish([minute(stage.now, bar("ES", stage.now, 105.0, contract="ESU6"), rolls=[roll])])
    one.wait_position(stage.now)
    stage.end()
    assert [(r["payload"]["action"], r["payload"]["ticker"]) for r in requests(one)] == [
        ("buy", "ESM2026"),
        ("exit", "ESM2026"),
    ]


# ── crash equivalence ──


def acted(one: Rig, label: str, fault: str = "") -> dict[str, list[Any]]:
    """A day with an operator in it, killed at `fault`; what the ledger holds in the end."""
    one.label = label
    one.bus._redis.flushall()
    shutil.rmtree(one.control, ignore_errors=True)
    stage = Stage(one, fault=fault)

    def alive() -> None:
        if stage.worker.code is None and Path(f"/proc/{stage.worker.pid}").exists():
            return
        assert stage.worker.wait() == -signal.SIGKILL, one.said()[-2000:]
        stage.worker = one.start()

    def minute(*prices: float) -> None:
        stage.later(*prices)
        until(lambda: alive() or one.position() >= stage.now)  # type: ignore[func-returns-value]

    def say(ts_ns: int, verb: Verb, **fields: Any) -> None:
        path = put_command(one.control, "a", Command(ts_ns, verb, "ann", "because", **fields))
        until(lambda: alive() or not path.exists())  # type: ignore[func-returns-value]

    minute(BUY, QUIET)
    say(1, Verb.CASH, usd=12.5)
    say(2, Verb.POSITION, symbol="NQ", side=-1, quantity=1, price=99.0)
    minute(QUIET)
    say(3, Verb.FLATTEN, symbols=("ES",))
    minute(QUIET, QUIET)
    say(4, Verb.RESUME)
    say(5, Verb.POSITION, symbol="NQ", side=0, quantity=0, price=98.0)
    minute(QUIET, BUY, QUIET, LEAVE, QUIET)
    until(lambda: alive() or True)  # type: ignore[func-returns-value]
    return one.finish(stage.worker, stage.now)


def test_killed_around_the_operators_acts_the_ledger_is_the_same(rig: Any) -> None:
    one = rig("a")
    wanted = acted(one, "whole")
    assert [row[2] for row in wanted["operator"]] == ["cash", "position", "flatten", "resume", "position"]
    assert sorted((row[3], row[11]) for row in wanted["trade"]) == sorted((row[3], row[11]) for row in wanted["trade"])
    assert len(wanted["trade"]) == 3
    for fault in (
        "in_act_commit:2",
        "in_act_commit:3",
        "after_mark_commit:5",
        "in_mark_commit:6",
        "after_mark_commit:8",
    ):
        assert_same_contents(acted(one, fault.replace(":", "-"), fault), wanted)
    assert json.loads(wanted["operator"][0][7])["usd"] == 12.5
