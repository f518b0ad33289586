"""What several strategies are together, how much capital they take, and whether one is still what its backtest said."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooney.ledger.records import TradeRow
from rooney.ledger.snapshot import Snapshot
from rooney.market.sessions import HOUR_NS
from rooney.monitor.conditions import Severity, conditions
from rooney.monitor.portfolio import capacity, combine, exposure
from rooney.orders.control import Act, Command, Verb
from rooney.performance.drift import AT_LEAST, MIN_EXPECTED, WINDOW, Light, expect, judge
from rooney.performance.measures import daily, sharpe
from rooney.performance.runs import Kind, Run
from rooney.performance.store import DIRECTORY, keep_expectation
from rooney.performance.verdict import Verdict
from tests.support.command_line import Bench
from tests.support.compared_runs import backtest_of, trade
from tests.support.dashboard import look, rooney
from tests.support.minutes import BUY, LEAVE, START

Make = Callable[..., Bench]
FRIDAY = START + 2 * 24 * HOUR_NS + 7 * HOUR_NS  # 22:00 UTC; START is a Wednesday, 15:00 UTC


def closed(at_h: int, hours: int, usd: float, symbol: str = "ES", quantity: int = 1) -> TradeRow:
    entry_ts = START + at_h * HOUR_NS
    exit_ts = entry_ts + hours * HOUR_NS
    return TradeRow(
        symbol, "ESH6", 1, quantity, entry_ts, 100.0, exit_ts, 101.0, "rule", usd, 0.0, 1, seq=1, ts_mark=exit_ts
    )


def cash(ts_ns: int, usd: float) -> Act:
    return Act(1, ts_ns, Command(1, Verb.CASH, "ada", "reconciled", usd=usd), is_obeyed=True)


def snapshot(*trades: TradeRow, **more: Any) -> Snapshot:
    ts = START + 400 * HOUR_NS
    return Snapshot(path=Path("a"), name="a", ts_mark=ts, ts_wall=ts, marks=1, trades=trades, **more)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=12))
def test_exposure_is_what_counting_every_hour_gives(spans: list[tuple[int, int]]) -> None:
    times = [(START + a * HOUR_NS, START + (a + n) * HOUR_NS) for a, n in spans]
    mean, most, share = exposure(times)
    first, last = min(a for a, _ in spans), max(a + n for a, n in spans)
    held = [sum(a <= h < a + n for a, n in spans) for h in range(first, last)]
    in_week = [n for h, n in enumerate(held, first) if START + h * HOUR_NS < FRIDAY]
    assert most == max(held)
    if in_week:
        assert mean == pytest.approx(sum(in_week) / len(in_week))
        assert share == pytest.approx(sum(n > 0 for n in in_week) / len(in_week))


def test_a_weekend_is_no_time() -> None:
    over_it, after_it = (FRIDAY - HOUR_NS, FRIDAY + 49 * HOUR_NS), (FRIDAY + 51 * HOUR_NS, FRIDAY + 52 * HOUR_NS)
    whole, _, share = exposure([over_it, after_it])
    assert (whole, share) == (pytest.approx(3 / 5), pytest.approx(3 / 5))


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(-500, 500)), min_size=1, max_size=40), st.integers(0, 40))
def test_all_together_is_the_sum_of_all(rows: list[tuple[int, float]], cut: int) -> None:
    trades = [closed(at, 1, round(usd, 2)) for at, usd in sorted(rows)]
    parts = [snapshot(*trades[:cut]), snapshot(*trades[cut:])]
    found = combine(parts, [daily(one) for one in parts])
    assert found.pnl_usd == pytest.approx(sum(one.pnl_usd for one in trades), abs=1e-6)
    if cut == 0:
        days = list(daily(parts[1]).values())
        assert found.days == len(days)
        assert math.isnan(found.sharpe) if len(days) < 20 else found.sharpe == pytest.approx(sharpe(days), nan_ok=True)


@pytest.mark.parametrize(
    ("size", "volume", "word"), [(1, 1_000, ""), (3, 400, "twice the size"), (5, 400, "it moves its own price")]
)
def test_a_size_that_costs_is_warned_of(size: int, volume: int, word: str) -> None:
    one = snapshot(closed(0, 1, 10.0, quantity=size))
    (found,) = capacity(one, {"ES": [volume] * 30}, {"ES": (50.0, 0.25)}, {"ES": 1.0})
    assert found.participation == pytest.approx(size / volume) and found.room == pytest.approx(volume / 100)
    assert (word in found.warning) if word else found.warning == ""


def test_real_fills_worse_than_assumed_are_warned_of() -> None:
    one = snapshot(closed(0, 1, 10.0), closed(2, 1, 10.0), acts=(cash(START + 9 * HOUR_NS, -50.0),))
    (found,) = capacity(one, {}, {"ES": (50.0, 0.25)}, {"ES": 1.0})
    assert found.slip_ticks == pytest.approx(50.0 / (2 * 2 * 12.5))  # two trades, two sides, a tick is 12.50 USD
    assert "+1.00 ticks a side worse" in found.warning
    assert math.isnan(found.participation)


# -- health --


def drawn(n: int, seed: int, win: float = 0.6) -> list[float]:
    one = random.Random(seed)
    return [100.0 if one.random() < win else -100.0 for _ in range(n)]


def test_a_strategy_that_does_as_its_backtest_is_green_about_as_often_as_promised() -> None:
    expected = expect("a", "bt", 1, drawn(2_000, 1))
    assert expected is not None and expected.win_rate == pytest.approx(0.6, abs=0.03)
    lights = []
    for seed in range(200):
        health = judge(expected, drawn(WINDOW, 100 + seed))
        assert health is not None
        lights.append(health.light)
    assert lights.count(Light.GREEN) > 160 and lights.count(Light.RED) < 10


def test_a_strategy_that_lost_its_edge_is_red_and_says_why() -> None:
    expected = expect("a", "bt", 1, drawn(2_000, 1))
    assert expected is not None
    health = judge(expected, drawn(500, 3) + [-100.0] * 20 + drawn(30, 4, win=0.3))
    assert health is not None and health.light is Light.RED and health.n == WINDOW
    for word in ("wins ", "the backtest 60%", "USD a trade", "99 % of windows"):
        assert word in health.text, health.text


def test_too_few_trades_say_nothing() -> None:
    assert expect("a", "bt", 1, [1.0] * (MIN_EXPECTED - 1)) is None
    expected = expect("a", "bt", 1, drawn(100, 1))
    assert expected is not None and judge(expected, [1.0] * (AT_LEAST - 1)) is None


def test_health_and_a_comparison_that_differs_are_conditions_and_in_status(bench: Make, tmp_path: Path) -> None:
    one = bench("a", settle_s=0, reentry_wait_s=0)
    one.begin()
    one.more(LEAVE, 100.5, *[price for _ in range(AT_LEAST) for price in (BUY, 100.5, LEAVE, 100.5)])
    assert len(one.read().trades) >= AT_LEAST
    promised = Run("bt", Kind.BACKTEST, tuple(trade(k, gain=4.0 + k % 3) for k in range(60)), START, START + HOUR_NS)
    keep_expectation(one.state, "a", promised, 1)
    rooney(one, "compare", "a", backtest_of(one, promised.trades, tmp_path / "bt"), "--keep", code=1)
    found = {item.text: item.severity for item in conditions(look(one))}
    (health,) = [text for text in found if "not as its backtest" in text]
    (differs,) = [text for text in found if "differs from bt" in text]
    assert found[health] is found[differs] is Severity.ATTENTION
    said = msgspec.json.decode(rooney(one, "status", "--json", "--clock", "replay", code=1))
    assert said["strategies"][0]["health"]["light"] == Light.RED
    assert said["comparisons"][0]["is_alarm"] and said["combined"]["pnl_usd"] is not None
    assert said["capacity"][0]["symbol"] == "ES"


def test_a_kept_file_that_cannot_be_read_is_told_and_hides_nothing_else(bench: Make) -> None:
    one = bench("a")
    one.begin()
    (one.state / DIRECTORY).mkdir()
    (one.state / DIRECTORY / "a.compare.json").write_text("{}")
    good = Verdict("b", "audit", 1, 0.0, 0.0, 0, (), (), {}, trouble="no bars")
    (one.state / DIRECTORY / "b.audit.json").write_bytes(msgspec.json.encode(good))
    system = look(one)
    assert system.verdicts == (good,) and list(system.unread) == ["a.compare.json"]
    texts = [item.text for item in conditions(system)]
    assert any("a.compare.json" in text for text in texts) and any("no bars" in text for text in texts)
