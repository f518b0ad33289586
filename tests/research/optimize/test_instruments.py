"""Choosing instruments: slots as counted by hand, a greedy choice that stops, and a choice that is judged elsewhere."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from research.optimize import instruments as portfolio
from research.optimize.instruments import EQUAL_RISK, HRP, Plan, Trades, greedy, weights
from research.optimize.slots import admitted_usd
from research.validation.daily_pnl import Days
from rooney.cli import cli
from rooney.errors import ConfigError
from rooney.kernels import dtypes
from tests.support.breakout_market import CONFIG, write_closes

DAY_NS = 86_400_000_000_000
N_DAYS = 400
DAYS = Days(np.arange(N_DAYS) + 18_000, (np.arange(N_DAYS) + 18_000) * DAY_NS - 7 * 3_600_000_000_000)


def trades(means: list[float], held_days: float = 0.3, max_positions: int = 2, seed: int = 0) -> Trades:
    """A trade of each instrument a day, with a mean P&L each and a deviation of 100 USD."""
    rng = np.random.default_rng(seed)
    records = np.zeros(N_DAYS * len(means), dtypes.TRADE)
    for i, mean in enumerate(means):
        own = records[i :: len(means)]
        own["instrument"], own["pnl_usd"] = i, rng.normal(mean, 100.0, N_DAYS)
        own["entry_mark"] = DAYS.start_ns + (i + 1) * 3_600_000_000_000
        own["exit_ts"] = own["entry_mark"] + int(held_days * DAY_NS)
    return Trades(records, DAYS.rows(records["entry_mark"]), max_positions)


def picked(found: list[tuple[int, float, float]]) -> list[int]:
    return [i for i, _, _ in found]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_a_trade_finds_a_slot_when_fewer_than_the_limit_are_open(seed: int, max_positions: int) -> None:
    rng = np.random.default_rng(seed)
    n = 40
    start = np.sort(rng.integers(0, 60, n))
    end = start + rng.integers(1, 9, n)
    usd, who = rng.normal(size=n), rng.integers(0, 3, n)
    allowed, chosen = rng.random(n) < 0.8, np.array([True, True, False])
    taken: list[int] = []
    for i in range(n):
        is_open = sum(end[k] > start[i] for k in taken)
        if allowed[i] and chosen[who[i]] and is_open < max_positions:
            taken.append(i)
    out = np.zeros(1)
    count = admitted_usd(start, end, who, usd, np.zeros(n, np.int64), allowed, chosen, max_positions, out)
    assert count == len(taken)
    assert out[0] == pytest.approx(usd[taken].sum())


def test_what_earns_is_chosen_best_first_and_what_loses_is_not() -> None:
    plan = Plan(max_drawdown_usd=1e6)
    found = greedy(trades([20.0, -20.0, 40.0], max_positions=3), N_DAYS, np.arange(N_DAYS), 3, plan)
    assert picked(found) == [2, 0]
    assert found[1][1] > found[0][1]


def test_no_more_are_chosen_than_allowed() -> None:
    plan = Plan(max_drawdown_usd=1e6, max_instruments=2)
    assert len(greedy(trades([30.0] * 5, max_positions=5), N_DAYS, np.arange(N_DAYS), 5, plan)) == 2


def test_one_whose_drawdown_is_beyond_the_limit_is_not_chosen() -> None:
    plan = Plan(max_drawdown_usd=10.0)
    assert greedy(trades([20.0, 30.0]), N_DAYS, np.arange(N_DAYS), 2, plan) == []


def test_an_instrument_with_few_trades_on_the_dates_it_may_know_is_not_chosen() -> None:
    plan = Plan(max_drawdown_usd=1e6, min_trades=30)
    assert picked(greedy(trades([30.0]), N_DAYS, np.arange(29), 1, plan)) == []


def test_a_choice_knows_nothing_of_other_dates() -> None:
    """The first instrument earns in the first half only: chosen there, and not in the second."""
    both = trades([60.0, 0.0])
    both.usd[(both.who == 0) & (both.row >= N_DAYS // 2)] -= 120.0
    plan = Plan(max_drawdown_usd=1e6)
    early, late = np.array_split(np.arange(N_DAYS), 2)
    assert 0 in picked(greedy(both, N_DAYS, early, 2, plan))
    assert 0 not in picked(greedy(both, N_DAYS, late, 2, plan))


@pytest.mark.parametrize("how", [EQUAL_RISK, HRP])
def test_weights_are_less_for_what_moves_more_and_none_for_what_does_not(how: str) -> None:
    rng = np.random.default_rng(0)
    daily = np.stack([rng.normal(0, 100, 300), rng.normal(0, 400, 300), np.zeros(300)], axis=1)
    found = weights(daily, how)
    assert found[0] > 2 * found[1] > 0
    assert found[2] == 0
    assert found[:2].mean() == pytest.approx(1.0)


def test_the_command_takes_what_earns_and_the_final_period_is_what_the_step_made_of_it(tmp_path: Path) -> None:
    closes = write_closes(tmp_path, {"ES": 0.45, "NQ": 0.0, "YM": 0.45})
    done = CliRunner().invoke(
        cli,
        [
            "portfolio",
            "breakout",
            "--config",
            CONFIG,
            "--symbols",
            "ES,NQ,YM",
            "--data",
            str(closes),
            "--out",
            str(tmp_path / "out"),
            "--min-final-trades",
            "5",
            "--json",
        ],
    )
    found = portfolio.read(tmp_path / "out" / "portfolio.json")
    assert done.exit_code == 0, found.reasons
    assert json.loads(done.stdout)["instruments"] == found.instruments == ["ES", "YM"]
    assert set(found.ways) == {"selection", "all", EQUAL_RISK, HRP}
    assert found.members["ES"].frequency > 0.9 > found.members["NQ"].frequency
    assert "instruments: [ES, YM]" in (tmp_path / "out" / "portfolio.yml").read_text()
    assert "How often each is chosen" in (tmp_path / "out" / "portfolio.html").read_text()


def test_a_choice_that_does_not_hold_hands_on_no_instruments(tmp_path: Path) -> None:
    closes = write_closes(tmp_path, {"ES": 0.45, "NQ": 0.45}, flip_from=0.7)
    done = CliRunner().invoke(
        cli,
        [
            "portfolio",
            "breakout",
            "--config",
            CONFIG,
            "--symbols",
            "ES,NQ",
            "--data",
            str(closes),
            "--out",
            str(tmp_path / "out"),
            "--min-final-trades",
            "5",
        ],
    )
    found = portfolio.read(tmp_path / "out" / "portfolio.json")
    assert done.exit_code == 1
    assert found.selected
    assert found.instruments == []
    assert "final period" in done.stdout


def test_a_file_that_is_no_portfolio_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "portfolio.json"
    path.write_bytes(msgspec.json.encode({"format": 1}))
    with pytest.raises(ConfigError, match="no result of rooney portfolio"):
        portfolio.read(path)
