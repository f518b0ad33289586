"""The life of a position, rule by rule, long and short, mark by mark; and the scan over history against live stepping.

Levels are told as points in favour of the position: `at(side, -1.0)` is 99 for a long one entered at 100.
"""

import math
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from research.backtest.backtest import Scan
from research.history.history import History
from rooney.config.loader import load_config
from rooney.config.settings import StrategyConfig
from rooney.engine.build import build_engine
from rooney.kernels.codes import Cause, OutcomeKind, Pending, Reason
from rooney.market import sessions
from rooney.market.instruments import group_of
from rooney.market.messages import Bar, Roll
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.orders.decisions import Decisions, Outcome, Trade
from rooney.orders.intents import Role
from rooney.strategy.filters import Filter, filter_field
from tests.support.backtests import live_trades
from tests.support.engines import SCRIPTED, Driver, engine, outcome
from tests.support.minutes import BUY, LEAVE, NEXT, QUIET, SELL, bar, random_tape
from tests.support.paths import ROOT
from tests.support.position_rules import MARKETS, MORE, clock, everything, random_life, with_more
from tests.support.times import chicago

SIDES = pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])
WORD = {1: BUY, -1: SELL}


def at(side: int, points: float) -> float:
    return 100.0 + side * points


def causes(decided: Decisions) -> list[Cause]:
    return [intent.cause for intent in decided.intents]


def reason(decided: Decisions, symbol: str = "ES") -> Reason:
    return {e.symbol: e.reason for e in decided.evaluated}[symbol]


def held(d: Driver) -> dict[str, int]:
    return {p.symbol: p.side * p.quantity for p in d.engine.positions() if p.side}


def opened(side: int, atr: bool = False, **changes: Any) -> Driver:
    """A position at 100.0, marked there; the minute that decided it ran 3 points from the close before it.

    atr: with an average true range, that of the newest minute
    """
    e = engine(("ES", "NQ"), **changes)
    d = Driver(with_more(e) if atr else e)
    d.close(ES=QUIET)
    range_ = {"high": 103.0, "low": 100.0}
    d.mark(bar("ES", d.now + MINUTE_NS, WORD[side], 100.5, **range_))
    d.close(ES=100.0)
    assert held(d) == {"ES": side}
    return d


def run(d: Driver, side: int, low: float, high: float, close: float, open_: float | None = None) -> Decisions:
    """One minute, in points in favour."""
    first = close if open_ is None else open_
    worst, best = sorted((at(side, low), at(side, high)))
    return d.mark(bar("ES", d.now + MINUTE_NS, at(side, close), at(side, first), high=best, low=worst))


# ── stop and target, judged on closes ──


@SIDES
def test_a_close_at_the_stop_leaves_and_the_next_open_is_the_fill(side: int) -> None:
    d = opened(side, stop_percent=1.0)
    assert causes(run(d, side, -0.75, 0.0, -0.75)) == []
    assert causes(run(d, side, -1.0, 0.0, -1.0)) == [Cause.STOP]
    run(d, side, -5.0, -5.0, -5.0)
    assert [(t.cause, t.exit_price) for t in d.trades] == [("stop", at(side, -5.0))]


@SIDES
def test_a_stop_that_is_only_touched_stays(side: int) -> None:
    assert causes(run(opened(side, stop_percent=1.0), side, -4.0, 0.0, -0.5)) == []


@SIDES
def test_a_close_at_the_target_leaves(side: int) -> None:
    d = opened(side, target_percent=2.0)
    assert causes(run(d, side, 0.0, 5.0, 1.75)) == []
    assert causes(run(d, side, 0.0, 2.0, 2.0)) == [Cause.TARGET]


@SIDES
def test_the_true_range_of_stop_and_target_is_that_of_the_decision(side: int) -> None:
    for close, cause in ((-3.25, Cause.STOP), (3.25, Cause.TARGET)):
        d = opened(side, atr=True, stop_atr=1.0, target_atr=1.0)
        run(d, side, -20.0, 20.0, 0.0)  # a later range of 40 points moves neither
        assert causes(run(d, side, -2.75, 2.75, math.copysign(2.75, close))) == []
        assert causes(run(d, side, close, close, close)) == [cause]


@SIDES
@pytest.mark.parametrize(("percent", "level"), [(2.0, -2.0), (5.0, -3.0)])
def test_of_a_stop_in_per_cent_and_one_in_true_ranges_the_nearer_counts(
    side: int, percent: float, level: float
) -> None:
    d = opened(side, atr=True, stop_percent=percent, stop_atr=1.0)
    assert causes(run(d, side, 0.0, 0.0, level + 0.25)) == []
    assert causes(run(d, side, 0.0, 0.0, level - 0.25)) == [Cause.STOP]


@SIDES
def test_the_trailing_stop_follows_the_best_close_and_never_goes_back(side: int) -> None:
    d = opened(side, atr=True, trail_atr=1.0)
    run(d, side, 0.0, 2.5, 2.5, 0.0)  # true range 2.5: stop at 0
    run(d, side, 2.0, 2.5, 2.25)  # true range 0.5: stop at 2.5 - 0.5
    assert d.engine._positions["stop_price"][0] == at(side, 2.0)
    run(d, side, -9.0, 9.0, 2.25)  # a range of 18 would put it at -15.5
    assert d.engine._positions["stop_price"][0] == at(side, 2.0)
    assert causes(run(d, side, 1.75, 2.25, 1.75)) == [Cause.STOP]


@SIDES
def test_the_time_stop_leaves_after_so_many_bars(side: int) -> None:
    d = opened(side, time_stop_bars=3)  # the minute of the fill is the first
    assert causes(d.close(ES=100.0)) == []
    assert causes(d.close(NQ=100.0)) == []
    assert causes(d.close(ES=100.0)) == [Cause.TIME_STOP]


# ── inside the bar ──


@SIDES
def test_a_stop_inside_the_bar_is_filled_at_its_level_less_slippage(side: int) -> None:
    d = opened(side, stop_percent=1.0, stop_fill="inside", slippage_ticks=1.0)
    entry = at(side, 0.25)
    level = entry * (1.0 - side * 0.01)
    assert causes(run(d, side, -5.0, 0.0, 0.0)) == [Cause.STOP]
    d.close(ES=QUIET)
    assert [t.exit_price for t in d.trades] == [level - side * 0.25]


@SIDES
def test_a_target_inside_the_bar_is_a_limit_and_does_not_slip(side: int) -> None:
    d = opened(side, target_percent=1.0, stop_fill="inside", slippage_ticks=1.0)
    assert causes(run(d, side, 0.0, 5.0, 0.0)) == [Cause.TARGET]
    d.close(ES=QUIET)
    assert [t.exit_price for t in d.trades] == [pytest.approx(at(side, 0.25) * (1.0 + side * 0.01), abs=1e-9)]


@SIDES
def test_a_target_inside_the_bar_gets_the_open_that_is_better(side: int) -> None:
    d = opened(side, target_percent=1.0, stop_fill="inside")
    run(d, side, 4.0, 5.0, 4.5, 4.0)
    d.close(ES=QUIET)
    assert [t.exit_price for t in d.trades] == [at(side, 4.0)]


@SIDES
def test_the_minute_of_the_fill_can_already_stop(side: int) -> None:
    d = Driver(engine(("ES",), stop_percent=1.0, stop_fill="inside"))
    d.close(ES=WORD[side])
    assert causes(run(d, side, -2.0, 0.0, 0.0)) == [Cause.STOP]
    d.close(ES=QUIET)
    assert [(t.entry_price, t.exit_price) for t in d.trades] == [(100.0, 100.0 * (1.0 - side * 0.01))]


@pytest.mark.parametrize("minutes", [True, False])
def test_an_hour_stops_only_where_none_of_its_minutes_has_been_looked_at(minutes: bool) -> None:
    """Long at 10:30 at 100, stop 99: the 90 of 10:10 was before. Of a history of hours there is nothing else to see."""
    d = Driver(engine(("ES",), stop_percent=1.0, stop_fill="inside"), start="2026-03-11 10:28")
    if minutes:
        d.close(ES=BUY)
        d.close(ES=100.0)
    else:
        d.mark(bar("ES", d.now + MINUTE_NS, 100.0, timeframe="hourly"))
        d.outcomes = [operator(OutcomeKind.POSITION, d, side=1, quantity=1, price=100.0)]
        d.mark()
    assert held(d) == {"ES": 1}
    d.now = chicago("2026-03-11 10:59")
    hour = bar("ES", d.now + MINUTE_NS, 100.0, 100.0, high=101.0, low=90.0, timeframe="hourly")
    assert causes(d.mark(hour)) == ([] if minutes else [Cause.STOP])


@SIDES
def test_a_stop_inside_the_bar_bounds_the_days_loss_by_its_level(side: int) -> None:
    d = opened(side, stop_percent=1.0, stop_fill="inside", daily_stop_loss=100.0)
    run(d, side, -5.0, 0.0, -5.0, 0.0)
    equity, day, halted = d.engine.equity()
    assert (equity, day, halted) == (149_950.0, -50.0, False)  # out at -1 point, though it closed at -5


# ── when an entry may be ──


@SIDES
@pytest.mark.parametrize(("opens", "allowed"), [("10:04", False), ("10:05", True), ("10:09", True), ("10:10", False)])
def test_only_a_bar_that_begins_within_an_entry_window_enters(side: int, opens: str, allowed: bool) -> None:
    d = Driver(engine(("ES",), entry_windows=((clock(10, 5), clock(10, 10)),)), start=f"2026-03-11 {opens}")
    assert (reason(d.close(ES=WORD[side])) is not Reason.WINDOW) == allowed
    assert (d.outcomes != []) == allowed


@pytest.mark.parametrize(("opens", "allowed"), [("23:58", True), ("23:59", True), ("00:00", False), ("16:59", False)])
def test_a_window_may_end_at_midnight(opens: str, allowed: bool) -> None:
    d = Driver(engine(("ES",), entry_windows=((clock(17), 0),)), start=f"2026-03-11 {opens}")
    assert (reason(d.close(ES=BUY)) is not Reason.WINDOW) == allowed


@SIDES
@pytest.mark.parametrize(("now", "allowed"), [("10:04", True), ("10:05", False), ("10:09", False), ("10:10", True)])
def test_nothing_is_entered_at_a_time_of_a_no_entry_window(side: int, now: str, allowed: bool) -> None:
    d = Driver(engine(("ES",), no_entry_windows=((clock(10, 5), clock(10, 10)),)))
    d.now = chicago(f"2026-03-11 {now}") - MINUTE_NS
    assert (reason(d.close(ES=WORD[side])) is not Reason.WINDOW) == allowed


def test_a_no_entry_window_holds_back_no_exit() -> None:
    d = opened(1, no_entry_windows=((clock(10, 3), clock(11)),))
    assert causes(d.close(ES=LEAVE)) == [Cause.RULE]


# ── auto-close ──


@SIDES
def test_the_auto_close_leaves_at_its_time_and_not_before(side: int) -> None:
    d = opened(side, auto_close_ns=clock(15))
    d.now = chicago("2026-03-11 14:58")
    assert causes(d.close(ES=100.0)) == []
    assert causes(d.close(ES=100.0)) == [Cause.AUTO_CLOSE]


def test_the_auto_close_needs_no_bar_and_no_mark_at_its_time() -> None:
    d = opened(1, auto_close_ns=clock(15))
    d.now = chicago("2026-03-11 15:06")
    assert causes(d.mark()) == [Cause.AUTO_CLOSE]


def test_a_position_from_after_the_auto_close_is_held_to_the_next_days() -> None:
    d = Driver(engine(("ES",), auto_close_ns=clock(15)), start="2026-03-11 15:00")
    d.close(ES=BUY)
    for when in ("2026-03-11 15:02", "2026-03-11 15:58", "2026-03-11 17:00", "2026-03-12 14:58"):
        d.now = chicago(when)
        assert causes(d.close(ES=100.0)) == []
    assert causes(d.close(ES=100.0)) == [Cause.AUTO_CLOSE]


def test_without_an_auto_close_a_position_is_held() -> None:
    d = opened(1)
    for when in ("2026-03-11 15:00", "2026-03-11 15:59", "2026-03-12 15:00"):
        d.now = chicago(when) - MINUTE_NS
        assert causes(d.close(ES=100.0)) == []


def test_grains_are_left_the_margin_before_their_end_whatever_else_trades() -> None:
    d = Driver(engine(("ZC",), auto_close_ns=clock(15), close_margin_s=120.0))
    d.close(ZC=BUY)
    d.close(ZC=100.0)
    d.now = chicago("2026-03-11 13:16")
    assert causes(d.close(ZC=100.0)) == []
    assert causes(d.close(ZC=100.0)) == [Cause.AUTO_CLOSE]


def test_a_position_is_never_auto_closed_while_its_market_is_closed() -> None:
    """A worker gets marks of other groups then, a backtest of this instrument alone does not."""
    d = Driver(engine(("ZC", "ES"), auto_close_ns=clock(13)), start="2026-03-11 13:18")
    d.close(ZC=BUY)
    d.close(ZC=100.0)
    for when in ("2026-03-11 13:20", "2026-03-11 15:00", "2026-03-11 18:00"):
        d.now = chicago(when)
        assert causes(d.close(ES=100.0)) == []


# ── filters, margin, drawdown ──


def filtered(name: str = "x", **bounds: Any) -> Driver:
    return Driver(with_more(engine(("ES",)), {name: Filter(MORE[filter_field(name)], **bounds)}))


@SIDES
@pytest.mark.parametrize(
    ("bounds", "passes"),
    [
        ({"low": 101.0, "high": 102.0}, True),
        ({"low": 102.5}, False),
        ({"high": 100.5}, False),
        ({"above": 102.0}, False),
        ({"below": 101.0}, False),
        ({"above": 100.0, "below": 103.0}, True),
    ],
)
def test_an_entry_passes_a_filter_only_within_its_bounds(side: int, bounds: dict[str, float], passes: bool) -> None:
    decided = filtered(**bounds).close(ES=WORD[side])
    assert (reason(decided) is not Reason.FILTERED) == passes
    assert (decided.intents != []) == passes


@pytest.mark.parametrize(("missing", "found"), [("block", Reason.FILTERED), ("pass", Reason.ENTER_LONG)])
def test_a_filter_without_a_value_blocks_unless_it_says_pass(missing: str, found: Reason) -> None:
    assert reason(filtered("y", missing=missing).close(ES=BUY)) is found


def test_a_filter_holds_back_no_exit() -> None:
    d = filtered(high=101.0)
    d.close(ES=BUY)
    assert causes(d.close(ES=LEAVE)) == [Cause.RULE]


@SIDES
def test_no_entry_whose_margin_the_equity_does_not_cover(side: int) -> None:
    d = Driver(engine(("ES", "NQ"), margin_usd=80_000.0))
    decided = d.close(ES=WORD[side], NQ=WORD[side])
    assert (reason(decided, "ES"), reason(decided, "NQ")) == (
        {1: Reason.ENTER_LONG, -1: Reason.ENTER_SHORT}[side],
        Reason.MARGIN,
    )


def test_margin_of_all_contracts_counts() -> None:
    assert reason(Driver(engine(("ES",), margin_usd=80_000.0, quantity=2)).close(ES=BUY)) is Reason.MARGIN


@SIDES
def test_the_drawdown_halt_keeps_entries_out_until_the_operator_resumes(side: int) -> None:
    d = opened(side, drawdown_halt_usd=500.0)
    run(d, side, 0.0, 4.0, 4.0)  # best equity 150,200
    assert causes(run(d, side, -6.0, 0.0, -6.0)) == []  # 149,700: exits are not its business
    d.close(ES=LEAVE)
    d.close(ES=100.0)
    d.now = chicago("2026-03-12 10:00")
    assert reason(d.close(ES=WORD[side])) is Reason.DRAWDOWN
    d.outcomes = [operator(OutcomeKind.RESUMED, d)]
    assert reason(d.close(ES=WORD[side])) in (Reason.ENTER_LONG, Reason.ENTER_SHORT)


# ── rolls ──


def next_bar(d: Driver, close: float, open_: float | None = None) -> Bar:
    return bar("ES", d.now + MINUTE_NS, close, open_, contract=NEXT["ES"])


def roll(d: Driver) -> Decisions:
    """June stands at 100, September, the new front, at 110."""
    event = Roll("ES", "ESM6", "ESU6", 100.0, 110.0, d.now + MINUTE_NS, "volume")
    return d.mark(next_bar(d, 110.0), rolls=[event])


@SIDES
def test_a_position_that_is_rolled_over_is_the_same_in_the_new_contract(side: int) -> None:
    d = opened(side, on_roll="roll")
    assert causes(roll(d)) == [Cause.ROLL]
    (intent,) = d.mark(next_bar(d, 110.0)).intents
    assert (intent.role, intent.cause, intent.side, intent.contract.raw) == (Role.ENTRY, Cause.ROLL, side, "ESU6")
    d.mark(next_bar(d, 112.0, 111.0))
    assert held(d) == {"ES": side}
    assert d.engine.positions()[0].entry_price == 111.0


@SIDES
def test_a_position_that_is_rolled_over_has_its_stop_again(side: int) -> None:
    d = opened(side, atr=True, on_roll="roll", stop_atr=1.0)
    roll(d)
    (intent,) = d.mark(bar("ES", d.now + MINUTE_NS, 110.0, high=112.0, low=108.0, contract="ESU6")).intents
    assert intent.stop_price == 110.0 - side * 4.0
    d.mark(next_bar(d, 110.0))
    assert causes(d.mark(next_bar(d, 110.0 - side * 3.75))) == []
    assert causes(d.mark(next_bar(d, 110.0 - side * 4.25))) == [Cause.STOP]


def test_a_position_that_is_rolled_over_waits_for_its_reentry_and_keeps_its_slot() -> None:
    d = opened(1, on_roll="roll", reentry_wait_s=120.0, max_positions=1)
    roll(d)
    for _ in range(2):
        decided = d.mark(next_bar(d, 110.0), bar("NQ", d.now + MINUTE_NS, BUY))
        assert (causes(decided), reason(decided, "NQ")) == ([], Reason.SLOTS_FULL)
    assert causes(d.mark(next_bar(d, 110.0))) == [Cause.ROLL]


def test_a_position_is_not_rolled_into_a_day_that_is_halted() -> None:
    d = opened(1, on_roll="roll", daily_stop_loss=500.0)
    d.close(ES=89.0)
    assert d.engine.equity()[2]
    d.outcomes = []
    assert causes(roll(d)) == []  # the exit of the daily loss is on its way
    d.outcomes = [outcome("ES", Role.EXIT, chicago("2026-03-11 10:04"), ts=d.now)]
    for _ in range(3):
        assert causes(d.mark(next_bar(d, 110.0))) == []
    assert held(d) == {}


def test_a_position_is_not_rolled_over_in_the_last_minutes_of_a_session() -> None:
    d = opened(1, on_roll="roll", close_margin_s=120.0)
    d.now = chicago("2026-03-11 15:57")
    roll(d)
    assert causes(d.mark(next_bar(d, 110.0))) == []
    d.now = chicago("2026-03-11 17:00")
    assert causes(d.mark(next_bar(d, 110.0))) == [Cause.ROLL]


@pytest.mark.parametrize("kind", [OutcomeKind.FLATTENED, OutcomeKind.POSITION])
def test_the_operators_word_ends_a_roll(kind: OutcomeKind) -> None:
    d = opened(1, on_roll="roll", reentry_wait_s=60.0)
    roll(d)
    d.mark(next_bar(d, 110.0))
    d.outcomes = [operator(kind, d)]
    for _ in range(5):
        assert causes(d.mark(next_bar(d, 110.0))) == []


# ── the close that decides ──


@SIDES
def test_filled_at_the_close_that_decided_the_next_open_does_not_matter(side: int) -> None:
    d = Driver(engine(("ES",), fill="signal_close", slippage_ticks=1.0))
    d.close(ES=WORD[side])
    d.close(ES=(50.0, LEAVE))
    d.close(ES=(50.0, 50.0))
    (trade,) = d.trades
    assert (trade.entry_price, trade.exit_price) == (WORD[side] + side * 0.25, LEAVE - side * 0.25)
    assert (trade.entry_ts, trade.exit_ts) == (chicago("2026-03-11 10:01"), chicago("2026-03-11 10:02"))


# ── the operator ──


def operator(kind: OutcomeKind, d: Driver, **fields: Any) -> Outcome:
    return Outcome("ES", Role.EXIT, d.now, kind, fields.pop("ts", d.now), **fields)


@SIDES
def test_what_the_operator_flattened_is_closed_at_the_next_open(side: int) -> None:
    d = opened(side)
    d.outcomes = [operator(OutcomeKind.FLATTENED, d)]
    d.close(ES=(at(side, 7.0), 100.0))
    assert [(t.cause, t.pnl_usd) for t in d.trades] == [("operator", 350.0)]
    assert held(d) == {}


@SIDES
def test_an_entry_on_its_way_that_the_operator_flattened_is_filled_before_it_is_closed(side: int) -> None:
    """Sent half a minute after the entry: in at the open of that minute, out at the open of the next."""
    d = Driver(engine(("ES",)), answer=False)
    d.close(ES=WORD[side])
    d.outcomes = [operator(OutcomeKind.FLATTENED, d, ts=d.now + MINUTE_NS // 2)]
    d.close(ES=(at(side, 1.0), at(side, 2.0)))
    d.close(ES=(at(side, 4.0), 100.0))
    assert [(t.entry_price, t.exit_price, t.cause) for t in d.trades] == [(at(side, 1.0), at(side, 4.0), "operator")]
    assert d.engine.positions() == []


def test_an_entry_flattened_before_its_market_trades_again_is_in_at_the_last_price() -> None:
    d = Driver(engine(("ES",)), answer=False)
    d.close(ES=BUY)
    d.outcomes = [operator(OutcomeKind.FLATTENED, d)]
    d.mark()
    d.close(ES=(99.0, 100.0))
    assert [(t.entry_price, t.exit_price) for t in d.trades] == [(BUY, 99.0)]


def test_an_exit_of_what_may_never_have_been_open_flattens_into_no_trade() -> None:
    d = Driver(engine(("ES",), settle_s=60.0), answer=False)
    d.close(ES=BUY)
    d.outcomes = [outcome("ES", Role.ENTRY, d.now, OutcomeKind.UNCONFIRMED)]
    d.close(ES=QUIET)
    assert causes(d.close(ES=QUIET)) == [Cause.UNCONFIRMED]
    d.outcomes = [operator(OutcomeKind.FLATTENED, d)]
    d.close(ES=QUIET)
    d.close(ES=QUIET)
    assert (d.trades, d.engine.positions(), d.engine.equity()[0]) == ([], [], 150_000.0)


@SIDES
def test_the_position_the_operator_names_is_managed_as_any_other(side: int) -> None:
    d = Driver(engine(("ES",), stop_percent=1.0))
    d.close(ES=QUIET)
    d.outcomes = [operator(OutcomeKind.POSITION, d, side=side, quantity=2, price=100.0)]
    d.close(ES=100.0)
    assert held(d) == {"ES": 2 * side}
    assert causes(run(d, side, 0.0, 0.0, -1.25)) == [Cause.STOP]


@SIDES
def test_a_position_the_operator_says_is_closed_is_booked_at_his_price(side: int) -> None:
    d = opened(side, slippage_ticks=1.0)
    d.outcomes = [operator(OutcomeKind.POSITION, d, side=0, quantity=0, price=at(side, 4.25))]
    d.close(ES=QUIET)
    assert [(t.cause, t.exit_price, t.pnl_usd) for t in d.trades] == [("operator", at(side, 4.25), 200.0)]


def test_cash_the_operator_adds_is_cash_and_no_position() -> None:
    d = opened(1)
    d.outcomes = [operator(OutcomeKind.CASH, d, price=-12.34)]
    d.close(ES=100.0)
    assert d.engine.equity()[0] == 150_000.0 - 12.34


def halted_by_its_loss() -> Driver:
    """550.00 lost of 500.00 a day, flat, the latch on."""
    d = opened(1, daily_stop_loss=500.0)
    d.close(ES=89.0)
    d.close(ES=(89.0, 100.0))
    assert d.engine.equity() == (149_450.0, -550.0, True)
    return d


def test_resuming_lifts_the_daily_loss_though_the_loss_is_still_there() -> None:
    d = halted_by_its_loss()
    d.outcomes = [operator(OutcomeKind.RESUMED, d)]
    assert reason(d.close(ES=BUY)) is Reason.ENTER_LONG
    assert d.engine.equity() == (149_450.0, -550.0, False)


def test_after_resuming_the_daily_loss_counts_anew() -> None:
    d = halted_by_its_loss()
    d.outcomes = [operator(OutcomeKind.RESUMED, d)]
    d.close(ES=BUY)
    d.close(ES=100.0)
    assert causes(d.close(ES=90.25)) == []  # 487.50 since
    assert causes(d.close(ES=90.0)) == [Cause.DAILY_LOSS]
    assert d.engine.equity() == (148_950.0, -1_050.0, True)


def test_what_was_lifted_one_day_is_not_lifted_the_next() -> None:
    d = halted_by_its_loss()
    d.outcomes = [operator(OutcomeKind.RESUMED, d)]
    d.close(ES=QUIET)
    d.now = chicago("2026-03-11 17:00")
    d.close(ES=BUY)
    d.close(ES=100.0)
    assert causes(d.close(ES=90.0)) == [Cause.DAILY_LOSS]


def test_resuming_before_a_limit_is_reached_gives_no_more_room() -> None:
    d = opened(1, daily_stop_loss=500.0, drawdown_halt_usd=600.0)
    d.close(ES=92.0)  # 400.00 lost
    d.outcomes = [operator(OutcomeKind.RESUMED, d)]
    assert causes(d.close(ES=90.0)) == [Cause.DAILY_LOSS]
    assert d.engine._account[0]["best_equity"] == 150_000.0


# ── the stop of an entry ──


@SIDES
def test_an_entry_carries_the_stop_it_would_have_at_its_price(side: int) -> None:
    e = engine(("ES",), stop_percent=1.0)
    (intent,) = Driver(e).close(ES=WORD[side]).intents
    assert intent.stop_price == WORD[side] * (1.0 - side * 0.01)


def test_an_entry_without_a_stop_and_an_exit_carry_none() -> None:
    d = Driver(engine(("ES",)))
    (entry,) = d.close(ES=BUY).intents
    d.close(ES=QUIET)
    (exit_,) = d.close(ES=LEAVE).intents
    assert math.isnan(entry.stop_price) and math.isnan(exit_.stop_price)
    assert d.engine.positions()[0].pending is Pending.EXIT


# ── profile v1 ──


def old(side: int = 1, atr: bool = False, **changes: Any) -> Driver:
    return opened(side, atr, profile="v1", **changes)


@SIDES
def test_the_old_system_left_nothing_on_the_bar_that_filled_it(side: int) -> None:
    for profile, left in (("default", True), ("v1", False)):
        d = Driver(engine(("ES",), profile=profile))
        d.close(ES=WORD[side])
        assert (causes(d.close(ES=LEAVE)) == [Cause.RULE]) == left
        assert (causes(d.close(ES=LEAVE)) == [Cause.RULE]) != left


@SIDES
def test_the_old_system_counted_bars_from_the_one_after_the_fill(side: int) -> None:
    d = old(side, time_stop_bars=3)
    for _ in range(2):
        assert causes(d.close(ES=100.0)) == []
    assert causes(d.close(ES=100.0)) == [Cause.TIME_STOP]
    d.close(ES=100.0)
    assert d.trades[0].bars_held == 3


@SIDES
def test_the_old_systems_stop_breathed_with_the_true_range_of_the_newest_bar(side: int) -> None:
    d = old(side, atr=True, stop_atr=1.0)
    assert causes(run(d, side, -10.0, 10.0, -10.0)) == []  # a range of 20: the stop is 20 away
    assert causes(run(d, side, -10.0, -10.0, -10.0)) == [Cause.STOP]  # no range: the stop is the entry


def test_the_old_system_looked_again_at_an_old_bar_when_another_market_had_a_new_one() -> None:
    for profile, found in (("default", []), ("v1", [Role.ENTRY])):
        d = Driver(engine(("ES", "NQ"), profile=profile, no_entry_windows=((clock(10, 1), clock(10, 2)),)))
        assert reason(d.close(ES=BUY)) is Reason.WINDOW
        assert [intent.role for intent in d.close(NQ=QUIET).intents] == found


@pytest.mark.parametrize(("symbol", "ahead_ns"), [("ES", 0), ("GC", HOUR_NS)])
def test_the_old_auto_close_is_the_bar_stamped_with_it_on_the_exchanges_clock(symbol: str, ahead_ns: int) -> None:
    d = Driver(engine((symbol,), profile="v1", auto_close_ns=clock(14), clock_ns=ahead_ns))
    d.close(**{symbol: BUY})
    d.close(**{symbol: 100.0})
    for opens, found in (("12:59", []), ("13:00", ["GC"]), ("13:01", []), ("14:00", ["ES"]), ("14:01", [])):
        d.now = chicago(f"2026-03-11 {opens}")
        decided = d.close(**{symbol: 100.0})
        assert [intent.symbol for intent in decided.intents] == [s for s in found if s == symbol]


def test_the_old_auto_close_misses_its_time_where_no_bar_has_it() -> None:
    d = old(auto_close_ns=clock(14))
    for opens in ("13:59", "14:01", "15:59"):
        d.now = chicago(f"2026-03-11 {opens}")
        assert causes(d.close(ES=100.0)) == []


def test_the_old_system_entered_up_to_the_last_minute() -> None:
    for profile, found in (("default", Reason.CLOSE_MARGIN), ("v1", Reason.ENTER_LONG)):
        d = Driver(engine(("ES",), profile=profile, close_margin_s=120.0), start="2026-03-11 15:58")
        assert reason(d.close(ES=BUY)) is found


def test_an_old_day_ends_at_six_and_is_read_a_mark_later() -> None:
    """The bars of the tape's own day count for nothing: it closes at 90, the old one at 18:00 at 107."""
    d = Driver(with_more(engine(("ES",), profile="v1")), start="2026-03-11 15:59")
    column = d.engine.compiled.layout.fields.index("filter_y")

    def daily_close() -> float:
        return float(d.engine.values("ES")[column])

    end = d.now + MINUTE_NS
    d.mark(bar("ES", end, 105.0, timeframe="hourly"), bar("ES", end, 90.0, timeframe="daily"))
    assert math.isnan(daily_close())
    d.now = chicago("2026-03-11 17:59")
    d.mark(bar("ES", d.now + MINUTE_NS, 107.0, timeframe="hourly"))
    assert math.isnan(daily_close())
    d.mark()
    assert daily_close() == 107.0


# ── every rule at once ──


PROFILES = pytest.mark.parametrize("profile", ["default", "v1"])


@PROFILES
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.frozensets(st.integers(0, 249), max_size=6))
def test_a_cut_anywhere_in_a_positions_life_changes_no_byte(profile: str, seed: int, cuts: frozenset[int]) -> None:
    assert random_life(profile, seed, cuts) == random_life(profile, seed)


def test_a_positions_life_is_the_same_to_the_byte_with_the_jit_off() -> None:
    code = "from tests.support.position_rules import random_life;" + "".join(
        f"print(random_life({profile!r}, 3));" for profile in ("default", "v1")
    )
    env = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [random_life("default", 3), random_life("v1", 3)]


def test_the_random_tape_meets_the_rules() -> None:
    seen: set[Cause] = set()
    refused: set[Reason] = set()
    for seed in range(6):
        d = Driver(everything())
        for one in random_tape(seed, 250, MARKETS, gap=False):
            decided = d.engine.on_minute(one, d.outcomes)
            d.outcomes = [outcome(i.symbol, i.role, one.ts_close) for i in decided.intents]
            seen |= set(causes(decided))
            refused |= {e.reason for e in decided.evaluated}
    assert seen == set(Cause) - {Cause.UNCONFIRMED, Cause.OPERATOR}
    assert {Reason.FILTERED, Reason.WINDOW, Reason.DAILY_LOSS, Reason.ROLLING, Reason.REENTRY_WAIT} <= refused


# ── the scan over history ──

GRID = {"ES": ("ESH6", "ESM6"), "NQ": ("NQH6", "NQM6"), "ZC": ("ZCH6", "ZCK6")}
DAY_NS = 24 * HOUR_NS
FIRST_DAY = date(2026, 3, 10)


def minutes_of_two_contracts(
    seed: int, first: date = FIRST_DAY, days: int = 3, share: float = 0.5, walk: float = 0.0
) -> pl.DataFrame:
    """Prices on a grid of 100 to 103, which itself walks by up to `walk` a minute.

    The later contract, a point above, trades more from the second day on, so that the third begins with a roll. The
    last minute of an hour always trades: the state after it is that of whole hours.
    """
    generator = np.random.default_rng(seed)
    start = sessions.session_open_ns("equity", first)
    rows: list[tuple[Any, ...]] = []
    for root, contracts in GRID.items():
        level = 0.0
        for ts in range(start, start + days * DAY_NS, MINUTE_NS):
            whole = (ts + MINUTE_NS) % HOUR_NS == 0
            if sessions.window_at(group_of(root), ts) is None or not (whole or generator.random() < share):
                continue
            low, first_, last, high = np.sort(generator.integers(400, 413, 4)) / 4.0
            if generator.random() < 0.5:
                first_, last = last, first_
            level += round(generator.uniform(-walk, walk) * 4.0) / 4.0
            is_later = ts >= start + DAY_NS
            for k, contract in enumerate(contracts):
                prices = (float(x) + level + k for x in (first_, high, low, last))
                rows.append((root, contract, ts, *prices, 9 if is_later == bool(k) else 5))
    names = ["root", "contract", "ts_open", "open", "high", "low", "close", "volume"]
    frame = pl.DataFrame(rows, schema=names, orient="row")
    return frame.with_columns(pl.col("ts_open").cast(pl.Datetime("ns", "UTC"))).sort("ts_open", "root", "contract")


def block(folder: Path, strategy: str, roots: list[str], **keys: Any) -> StrategyConfig:
    tree = {
        "data_hub": {"redis_socket": "/run/redis.sock"},
        "instruments": {root: {} for root in roots},
        "strategies": {"a": {"strategy": strategy, "mode": "dry", "instruments": roots, **keys}},
    }
    (folder / "config.yml").write_text(yaml.safe_dump(tree))
    return load_config(folder / "config.yml").strategy("a")


def live_and_scanned(folder: Path, bars: pl.DataFrame, strategy: StrategyConfig) -> list[Trade]:
    """The trades, of hub and worker as of the scan, which end in the same state to the last byte."""
    bars.write_parquet(folder / "bars.parquet")
    live, scanned = build_engine(strategy), build_engine(strategy)
    trades = live_trades(live, bars)
    scan = Scan(scanned, History(folder / "bars.parquet", list(strategy.traded)))
    for chunk in History(folder / "bars.parquet", list(strategy.traded)).chunks():
        scan.step(chunk)
    assert scanned.freeze() == live.freeze()
    columns = ("symbol", "contract", "side", "entry_price", "exit_price", "exit_reason", "pnl_usd", "bars_held")
    assert [
        (t.symbol, t.contract, t.side, t.entry_price, t.exit_price, t.cause, t.pnl_usd, t.bars_held) for t in trades
    ] == list(scan.trades().select(columns).iter_rows())
    return trades


EVERYTHING = {
    "strategy_params": {
        "stop_percent": 2.0,
        "target_percent": 2.0,
        "trail_atr": 3.0,
        "stop_atr_bars": 1,
        "time_stop_bars": 40,
    },
    "filters": {
        "x": {"feature": "close", "timeframe": "1min", "low": 100.0},
        "y": {"feature": "close", "timeframe": "daily", "missing": "pass"},
        "z": {"feature": "atr", "timeframe": "1min", "length": 1, "low": 1.0},
    },
    "entry_windows": ["08:30-16:00", "17:00-02:00"],
    "no_entry_windows": ["10:00-10:30"],
    "auto_close": "13:00",
    "daily_stop_loss": 900,
}


@pytest.mark.parametrize(
    ("keys", "met"),
    [
        ({"on_roll": "roll"}, {"rule", "stop", "target", "time_stop", "auto_close", "daily_loss", "roll"}),
        ({"stop_fill": "inside", "drawdown_halt": 2000}, {"rule", "stop", "target", "time_stop"}),
        ({"fill": "signal_close"}, {"rule", "stop", "target", "time_stop", "daily_loss"}),
    ],
    ids=["closes", "inside", "signal-close"],
)
def test_the_scan_lives_every_rule_of_a_positions_life_as_the_worker_does(
    keys: dict[str, Any], met: set[str], tmp_path: Path
) -> None:
    strategy = block(tmp_path, SCRIPTED, list(GRID), **EVERYTHING, **keys)
    trades = live_and_scanned(tmp_path, minutes_of_two_contracts(12), strategy)
    assert met <= {trade.cause for trade in trades}


@pytest.mark.parametrize(
    ("profile", "first", "days"),
    [("default", FIRST_DAY, 6), ("v1", date(2026, 2, 24), 21)],  # v1 decides from its 252nd hour on
)
def test_the_scan_lives_ibs_with_filters_and_stops_of_true_ranges_as_the_worker_does(
    profile: str, first: date, days: int, tmp_path: Path
) -> None:
    """Profile v1 has days of its own, here over a turn of the clocks."""
    params = {"stop_atr": 0.5, "target_atr": 0.5, "trail_atr": 1.0, "time_stop_bars": 3, "stop_atr_bars": 3}
    filters = {"pivot": {"enabled": False}, "calm": {"feature": "rsi", "length": 3, "low": 10, "below": 70}}
    keys = {"profile": profile, "strategy_params": params, "filters": filters, "on_roll": "roll"}
    bars = minutes_of_two_contracts(6, first, days, share=0.1, walk=1.0)
    trades = live_and_scanned(tmp_path, bars, block(tmp_path, "ibs", list(GRID), **keys))
    assert {"rule", "stop", "target", "time_stop"} <= {trade.cause for trade in trades}
