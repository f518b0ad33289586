"""`rooney status`, `top` and `why`: what they print, what they end with, and why a strategy did not trade."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooney.config.schema import StrategyBlock
from rooney.engine.engine import Engine
from rooney.engine.veto import Logistic
from rooney.features import Feature
from rooney.kernels import dtypes, entries
from rooney.kernels.codes import Reason
from rooney.ledger.snapshot import LedgerView
from rooney.ledger.writer import Ledger
from rooney.market.messages import InstrumentState
from rooney.market.sessions import MINUTE_NS
from rooney.ops import status as screen
from rooney.ops import why
from rooney.strategy.filters import Filter, filter_field
from rooney.strategy.loader import load
from tests.support.command_line import Bench
from tests.support.dashboard import rooney, say_live
from tests.support.engines import SCRIPTED, engine
from tests.support.minutes import BUY, ENTERED, LEAVE, QUIET, START, bar, closes, minute
from tests.support.paths import GOLDEN
from tests.support.times import chicago
from tests.support.webhook_faults import Fault

GOLDEN = GOLDEN / "why"
Make = Callable[..., Bench]


# ── status and top ──


def test_a_system_in_order_is_one_screen_and_exit_0(bench: Make) -> None:
    one = bench()
    one.begin()
    say_live(one)
    text = rooney(one, "status", "--clock", "replay")
    assert len(text.splitlines()) <= 24
    row = next(line for line in text.splitlines() if line.startswith("a "))
    account = one.read().account
    assert account is not None
    for part in ("paper", "trading", "ESM6 +1", f"{account.day_usd:+,.2f}", "ES hold 15:04Z", "ok"):
        assert part in row, row
    assert text.splitlines()[-1] == "ok"


def test_status_as_json_says_what_the_ledger_says(bench: Make) -> None:
    one = bench()
    one.begin()
    say_live(one)
    found = json.loads(rooney(one, "status", "--clock", "replay", "--json"))
    assert (found["exit"], found["conditions"]) == (0, [])
    (told,) = found["strategies"]
    reading = one.read()
    assert reading.account is not None
    assert (told["equity_usd"], told["day_usd"]) == (reading.account.equity_usd, reading.account.day_usd)
    (held,) = told["positions"]
    assert (held["contract"], held["side"], held["entry_price"]) == ("ESM6", 1, 104.25)
    assert held["open_usd"] == (104.25 - 104.25) * 50.0
    assert found["instruments"]["ES"]["last"] == 104.25


@pytest.mark.parametrize(("held", "code"), [(False, 1), (True, 2)])
def test_a_dead_worker_is_attention_and_with_a_position_critical(bench: Make, held: bool, code: int) -> None:
    one = bench()
    one.begin(ENTERED if held else ENTERED[:1]).kill()
    say_live(one)
    text = rooney(one, "status", "--clock", "replay", code=code)
    assert "a: no worker runs" in text and "systemctl start rooney-worker@a" in text


def test_an_order_of_unknown_fate_is_critical_and_names_its_remedies(bench: Make) -> None:
    one = bench(faults=(Fault("close", at=(1,)),), on_unconfirmed_entry="hold")
    one.begin()
    say_live(one)
    text = rooney(one, "status", "--clock", "replay", code=2)
    assert "1 UNKNOWN" in text and f"rooney resolve {one.read().orders[0].id} --not-filled" in text


def test_with_redis_dead_everything_of_the_ledgers_is_still_there(bench: Make) -> None:
    one = bench()
    one.begin()
    one.rig.redis_socket = Path(str(one.rig.redis_socket) + ".gone")
    text = rooney(one, "status", code=2)
    assert "redis  AWAY" in text and "ESM6 +1" in text


def test_before_the_first_ledger_there_is_nothing_to_look_at_and_it_says_so(bench: Make) -> None:
    one = bench()
    one.rig.bus._redis.flushall()
    assert "never started" in rooney(one, "status", code=1)


def test_top_draws_the_same_again(bench: Make) -> None:
    one = bench()
    one.begin()
    say_live(one)
    text = rooney(one, "top", "--clock", "replay", "--count", 2, "--every", 0.2)
    assert text.count("strategy  mode") == 2


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text("abc +1", max_size=60), max_size=60), st.integers(1, 50), st.integers(2, 40))
def test_a_picture_never_overflows_its_terminal(lines: list[str], width: int, height: int) -> None:
    rows = screen.screen([" ".join(line.split()) for line in lines], width, height).split("\n")
    assert len(rows) < height or height <= 1
    assert all(len(row.removeprefix("\x1b[H").replace("\x1b[K", "").replace("\x1b[J", "")) <= width for row in rows)


# ── why ──


def golden(name: str, text: str) -> None:
    """Compare with the recorded output; ROONEY_GOLDEN=write records it anew, to be read before it is committed."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("ROONEY_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def test_why_an_order_went_out(bench: Make) -> None:
    one = bench()
    one.begin()
    golden("order", rooney(one, "why", "a", "ES", "--at", "2026-03-11T15:02", "--clock", "replay"))


def test_why_a_daily_loss_limit_holds_entries_back(bench: Make) -> None:
    one = bench(daily_stop_loss=100)
    one.begin([*ENTERED, *closes(101.0 - 0.75, 100.5, QUIET, BUY, start=ENTERED[-1].ts_close)])
    assert one.read().account is not None
    golden("limit", rooney(one, "why", "a", "ES", "--clock", "replay"))


def test_why_an_entry_on_a_dead_feed_was_dropped(bench: Make) -> None:
    one = bench()
    one.begin(ENTERED[:1])
    (bought,) = closes(BUY, start=ENTERED[0].ts_close)
    one.rig.publish([msgspec.structs.replace(bought, states={"ES": int(InstrumentState.DEAD)})])
    one.rig.wait_position(bought.ts_close)
    golden("stale-feed", rooney(one, "why", "a", "ES", "--clock", "replay", code=1))


def test_why_a_halted_strategy_does_not_enter(bench: Make) -> None:
    one = bench()
    one.begin(ENTERED[:1])
    rooney(one, "halt", "a", "--reason", "news at 15:00", "--yes")
    one.more(BUY)
    golden("halted", rooney(one, "why", "a", "ES", "--clock", "replay", code=1))


def test_why_a_model_vetoed_an_entry(tmp_path: Path) -> None:
    """Weights by hand: the score of close 101 is 1 / (1 + exp(-(101 - 103) / 2)) = 0.2689."""
    plain_engine = engine(("ES",))
    model = Logistic((("close", True, 103.0, 2.0, 1.0),), 0.0, 6.0, 0.55)
    vetoing = Engine(plain_engine.compiled, plain_engine.instruments, plain_engine.limits, vetoes={"ES": model})
    ledger = Ledger(tmp_path / "ledger.sqlite", "a")
    for one in closes(QUIET, BUY):
        decided = vetoing.on_minute(one)
        ledger.commit_mark(one.ts_close, [], [], decided.evaluated, [], 1, 2_500_000, {}, vetoing.book())
    ledger.close()
    snapshot = LedgerView(tmp_path / "ledger.sqlite").look()
    found = why.newest_decision(tmp_path / "ledger.sqlite", START + 10 * MINUTE_NS, "ES")
    assert snapshot is not None and found is not None
    answer = why.explain(*found, snapshot, _rules(thresholds={"ES": 0.55}))
    assert answer.score == pytest.approx(1 / (1 + math.exp(1.0)))
    golden("veto", "\n".join(why.lines([answer], "a")) + "\n")


def test_why_tells_both_closes_of_a_disputed_day(tmp_path: Path) -> None:
    """12:14 in Chicago: too late for an entry if the market closes at 12:15, not if at 13:45."""
    quiet = engine(("6A",), close_margin_s=120.0)
    ledger = Ledger(tmp_path / "ledger.sqlite", "a")
    at = chicago("2026-11-27 12:14")
    decided = quiet.on_minute(minute(at, bar("6A", at, BUY, contract="6AH7")))
    ledger.commit_mark(at, [], [], decided.evaluated, [], 1, 2_500_000, {}, quiet.book())
    ledger.close()
    snapshot = LedgerView(tmp_path / "ledger.sqlite").look()
    found = why.newest_decision(tmp_path / "ledger.sqlite", at + MINUTE_NS, "6A")
    assert snapshot is not None and found is not None
    told = "\n".join(why.lines([why.explain(*found, snapshot, _rules(params={"6A": {}}))], "a"))
    assert "close_margin" in told
    assert "closes 18:15Z or closes 19:45Z" in told


def _rules(**changes: object) -> why.Rules:
    scripted = load(SCRIPTED)
    params = {name: param.default for name, param in scripted.params.items()}
    usual: dict[str, object] = {
        "timeframe": "1min",
        "params": {"ES": params},
        "filters": {},
        "rules": {name: getattr(scripted, name) for name in ("should_enter_long", "should_enter_short")},
        "block": StrategyBlock(reentry_wait_s=0.0, close_margin_s=0.0),
        "entry_windows": (),
        "thresholds": {},
    }
    return why.Rules(**(usual | changes))  # type: ignore[arg-type]


def test_every_reason_of_the_step_has_words() -> None:
    assert set(why.SAID) == {reason.name.lower() for reason in Reason}


@pytest.mark.parametrize(
    ("symbol", "at", "said"),
    [
        ("ZC", "2026-06-03 07:00", "pauses 12:45Z"),
        ("ZC", "2026-06-03 13:00", "closes 18:20Z"),
        ("ES", "2026-06-03 13:00", "closes 21:00Z"),
        ("ES", "2026-06-06 12:00", "market closed"),
    ],
)
def test_why_says_what_the_session_does_next_and_calls_a_pause_no_close(symbol: str, at: str, said: str) -> None:
    assert why._clock(symbol, chicago(at)).endswith(said)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("2026-03-11T15:30", "no_tape: no minute of that time is on the tape (the hub says feed dead)"),
        ("2026-03-11T21:30", "closed: the market was closed"),
        ("2026-03-11T15:04", "hold: a position is open"),
        ("2026-03-11T14:00", "no_bar: no 1min bar of ES ended then"),
        ("2099-01-05T16:00", "future: that is not over yet"),
    ],
)
def test_why_nothing_was_decided_is_told_from_the_first_cause_that_holds(bench: Make, at: str, said: str) -> None:
    one = bench()
    one.begin()
    say_live(one, "feed dead")
    assert said in rooney(one, "why", "a", "ES", "--at", at, code=None)


def test_a_worker_that_is_down_is_why_nothing_was_decided(bench: Make) -> None:
    one = bench()
    one.begin().kill()
    one.rig.publish(closes(QUIET, start=ENTERED[-1].ts_close))
    say_live(one)
    assert "down: its worker does not run" in rooney(one, "why", "a", "ES", "--clock", "replay", code=1)


def test_why_without_an_instrument_is_a_line_for_each(bench: Make) -> None:
    one = bench()
    one.begin([*ENTERED, *closes(LEAVE, start=ENTERED[-1].ts_close)])
    say_live(one)
    lines = rooney(one, "why", "a", "--clock", "replay", code=None).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["ES", "NQ"]
    assert "exit" in lines[1]


def test_why_as_json_carries_features_and_the_order_s_life(bench: Make) -> None:
    one = bench()
    one.begin()
    found = json.loads(rooney(one, "why", "a", "ES", "--at", "2026-03-11T15:02", "--clock", "replay", "--json"))
    (answer,) = found["answers"]
    assert (answer["reason"], answer["features"]) == ("enter_long", {"close": BUY})
    assert [event["state"] for event in answer["orders"][0]["events"]] == ["planned", "sending", "acknowledged"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody",), "unknown strategy"),
        (("a", "ZZ"), "not traded by a"),
        (("a", "ES", "--at", "noon"), "--at: expected"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_can(bench: Make, arguments: tuple[str, ...], words: str) -> None:
    one = bench()
    one.begin(ENTERED[:1])
    assert words in rooney(one, "why", *arguments, code=78)


_BOUND = st.one_of(st.just(math.nan), st.floats(-5, 70), st.integers(-2, 65).map(float))


@settings(deadline=None, max_examples=60)
@given(_BOUND, st.floats(-5, 30), st.floats(0, 40), st.sets(st.integers(0, 62), max_size=4), st.booleans())
def test_a_filter_is_judged_as_the_step_judges_it(
    value: float, low: float, width: float, allowed: set[int], passes_missing: bool
) -> None:
    one = Filter(
        Feature("close", "1min"),
        low=low,
        high=low + width,
        allowed=tuple(allowed),
        missing="pass" if passes_missing else "block",
    )
    filters = np.zeros(1, dtypes.FILTER)
    filters[0] = (0, one.low, one.high, one.above, one.below, one.mask, int(passes_missing))
    refusing = entries.first_refusing(filters, np.array([value]))
    told = why.first_refusing({"f": one}, {filter_field("f"): None if math.isnan(value) else value})
    assert (told == "") == (refusing < 0)
