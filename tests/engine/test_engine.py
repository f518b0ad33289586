"""The step, mark by mark, against numbers worked by hand. ES: 50 USD a point, tick 0.25.

A minute that closes at BUY, SELL or LEAVE makes the scripted strategy enter long, enter short or exit.
"""

import math
import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooney.engine.engine import Engine
from rooney.errors import ConfigError
from rooney.kernels import entries, exits, scan, units
from rooney.kernels import positions as book
from rooney.kernels import step as kernel
from rooney.kernels.codes import Cause, OutcomeKind, Pending, Reason
from rooney.market.messages import BarFlag, Roll
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.orders.decisions import Decisions
from rooney.orders.intents import Role, Side
from tests.support.engines import SCRIPTED, Driver, digest_of, engine, outcome, run_random, warmed
from tests.support.minutes import BUY, FRONT, LEAVE, NEXT, QUIET, SELL, bar, minute, random_tape
from tests.support.times import chicago

ENTRY, EXIT = Role.ENTRY, Role.EXIT


def reasons(decided: Decisions) -> dict[str, Reason]:
    return {evaluated.symbol: evaluated.reason for evaluated in decided.evaluated}


def roles(decided: Decisions) -> list[tuple[str, Role]]:
    return [(intent.symbol, intent.role) for intent in decided.intents]


def held(e: Engine) -> dict[str, int]:
    return {position.symbol: position.side * position.quantity for position in e.positions() if position.side}


def long_es(**changes: Any) -> Driver:
    """ES bought at 100.0 in the minute from 10:01, marked at 100.0."""
    driver = Driver(engine(("ES",), **changes))
    driver.close(ES=BUY)
    driver.close(ES=QUIET)
    assert held(driver.engine) == {"ES": driver.engine.instruments[0].quantity}
    return driver


# ── fills, costs, P&L ──


def test_an_entry_is_decided_on_the_close_and_filled_at_the_next_open_plus_slippage() -> None:
    driver = Driver(engine(("ES",), slippage_ticks=1.0))
    decided = driver.close(ES=BUY)
    (intent,) = decided.intents
    assert (intent.role, intent.side, intent.quantity, intent.price) == (ENTRY, Side.LONG, 1, BUY)
    assert (intent.contract.raw, intent.cause) == ("ESM6", Cause.RULE)
    assert held(driver.engine) == {}
    driver.close(ES=(100.5, 107.0))
    (position,) = driver.engine.positions()
    assert (position.side, position.entry_price) == (1, 100.75)


def test_a_round_trip_pays_slippage_and_half_the_commission_on_each_side() -> None:
    driver = Driver(engine(("ES",), slippage_ticks=1.0, commission_usd=4.0, quantity=2))
    driver.close(ES=BUY)
    driver.close(ES=(100.0, LEAVE))
    driver.close(ES=(110.0, 111.0))
    (trade,) = driver.trades
    # In 100.25, out 109.75: 9.5 points x 50 x 2 = 950; commission 4 x 2 = 8.
    assert (trade.entry_price, trade.exit_price, trade.costs_usd, trade.pnl_usd) == (100.25, 109.75, 8.0, 942.0)
    assert (trade.entry_ts, trade.exit_ts) == (chicago("2026-03-11 10:01"), chicago("2026-03-11 10:02"))
    assert driver.engine.equity()[0] == 150_942.0


def test_a_short_earns_when_the_price_falls_and_slippage_is_against_it_too() -> None:
    driver = Driver(engine(("ES",), slippage_ticks=1.0))
    driver.close(ES=SELL)
    driver.close(ES=(100.0, LEAVE))
    driver.close(ES=(90.0, 90.0))
    # In 99.75, out 90.25.
    assert [(trade.side, trade.pnl_usd) for trade in driver.trades] == [(-1, 475.0)]


def test_open_positions_are_marked_at_the_last_close() -> None:
    driver = long_es(commission_usd=4.0)
    driver.close(ES=104.0)
    assert driver.engine.equity()[0] == 150_000.0 - 2.0 + 4 * 50.0
    driver.mark()
    assert driver.engine.equity()[0] == 150_198.0


def test_a_fill_waits_for_the_first_bar_of_its_instrument() -> None:
    driver = Driver(engine(("ES", "NQ")))
    driver.close(ES=BUY)
    driver.close(NQ=QUIET)
    driver.close(NQ=QUIET)
    assert held(driver.engine) == {}
    driver.close(ES=(99.0, 99.0))
    assert driver.engine.positions()[0].entry_price == 99.0


def test_a_bar_from_outside_the_session_is_no_fill_and_no_price() -> None:
    driver = Driver(engine(("ES",)))
    driver.close(ES=BUY)
    driver.mark(bar("ES", driver.now + MINUTE_NS, 50.0, flags=int(BarFlag.OFF_SESSION)))
    assert held(driver.engine) == {}
    driver.close(ES=QUIET)
    assert driver.engine.positions()[0].entry_price == QUIET


def test_a_late_acknowledgement_discards_the_price_of_a_bar_that_was_over_when_the_order_went_out() -> None:
    driver = Driver(engine(("ES",)), answer=False)
    driver.close(ES=BUY)
    decided_at = driver.now
    driver.close(ES=(90.0, 90.0))
    driver.close(ES=(91.0, 91.0))
    driver.outcomes = [outcome("ES", ENTRY, decided_at, ts=driver.now + 5_000_000_000)]
    driver.close(ES=(92.0, 92.0))
    assert driver.engine.positions()[0].entry_price == 92.0


def test_an_acknowledgement_within_the_minute_takes_the_open_of_that_minute() -> None:
    driver = Driver(engine(("ES",)), answer=False)
    driver.close(ES=BUY)
    driver.outcomes = [outcome("ES", ENTRY, driver.now, ts=driver.now + 9_000_000_000)]
    driver.close(ES=(90.0, 95.0))
    assert driver.engine.positions()[0].entry_price == 90.0


def test_the_size_that_was_decided_is_the_size_that_is_booked() -> None:
    before = Driver(engine(("ES",), quantity=3))
    before.close(ES=BUY)
    after = Driver(engine(("ES",), quantity=1))
    after.engine.keep(before.engine.book())
    after.now, after.outcomes = before.now, before.outcomes
    after.close(ES=QUIET)
    assert held(after.engine) == {"ES": 3}


def test_an_hour_that_closes_before_any_minute_with_a_trade_names_the_contract_of_an_order() -> None:
    e = engine(("ES",), "ibs")
    now = chicago("2026-03-11 11:00")
    e.warm_up([bar("ES", chicago("2026-03-10 16:00"), 100.0, timeframe="daily")])
    decided = e.on_minute(minute(now, bar("ES", now, 100.0, 110.0, timeframe="hourly")))
    assert [(intent.contract.raw, intent.price) for intent in decided.intents] == [("ESM6", 100.0)]


# ── slots ──


def test_entries_are_taken_in_configured_order_until_the_slots_are_full() -> None:
    driver = Driver(engine(("NQ", "ES", "GC"), max_positions=2))
    decided = driver.close(ES=BUY, GC=SELL, NQ=BUY)
    assert [intent.symbol for intent in decided.intents] == ["NQ", "ES"]
    assert reasons(decided) == {"NQ": Reason.ENTER_LONG, "ES": Reason.ENTER_LONG, "GC": Reason.SLOTS_FULL}


def test_a_slot_is_freed_by_the_exits_fill_and_not_by_its_decision() -> None:
    driver = Driver(engine(("ES", "NQ"), max_positions=1))
    driver.close(ES=BUY)
    driver.close(ES=QUIET)
    decided = driver.close(ES=LEAVE, NQ=BUY)
    assert roles(decided) == [("ES", EXIT)]
    assert reasons(decided)["NQ"] is Reason.SLOTS_FULL
    decided = driver.close(ES=QUIET, NQ=BUY)
    assert roles(decided) == [("NQ", ENTRY)]


def test_a_pending_entry_counts_as_a_slot() -> None:
    driver = Driver(engine(("ES", "NQ"), max_positions=1), answer=False)
    driver.close(ES=BUY)
    assert reasons(driver.close(NQ=BUY)) == {"NQ": Reason.SLOTS_FULL}


def test_a_refused_entry_frees_its_slot_at_the_mark_that_hears_of_it() -> None:
    driver = Driver(engine(("ES", "NQ"), max_positions=1), answer=False)
    driver.close(ES=BUY)
    driver.outcomes = [outcome("ES", ENTRY, driver.now, OutcomeKind.CANCELLED)]
    assert roles(driver.close(NQ=BUY)) == [("NQ", ENTRY)]
    assert held(driver.engine) == {}


def test_exits_come_before_entries() -> None:
    driver = Driver(engine(("ES", "NQ")))
    driver.close(NQ=BUY)
    driver.close(NQ=QUIET)
    assert roles(driver.close(ES=BUY, NQ=LEAVE)) == [("NQ", EXIT), ("ES", ENTRY)]


# ── outcomes ──


def test_nothing_is_booked_before_it_is_acknowledged() -> None:
    driver = Driver(engine(("ES",)), answer=False)
    driver.close(ES=BUY)
    for _ in range(3):
        driver.close(ES=QUIET)
    assert held(driver.engine) == {}
    assert driver.engine.positions()[0].pending is Pending.ENTRY


def test_an_outcome_of_an_older_intent_is_ignored() -> None:
    driver = Driver(engine(("ES",)), answer=False)
    driver.close(ES=BUY)
    older = driver.now
    driver.outcomes = [outcome("ES", ENTRY, older, OutcomeKind.CANCELLED)]
    driver.close(ES=BUY)
    driver.outcomes = [outcome("ES", ENTRY, older)]
    driver.close(ES=QUIET)
    assert held(driver.engine) == {}
    assert driver.engine.positions()[0].pending is Pending.ENTRY


def test_an_exit_that_is_refused_or_unknown_stays_pending_until_it_is_acknowledged() -> None:
    driver = long_es()
    driver.answer = False
    driver.close(ES=LEAVE)
    decided_at = driver.now
    driver.outcomes = [outcome("ES", EXIT, decided_at, OutcomeKind.UNCONFIRMED)]
    assert roles(driver.close(ES=LEAVE)) == []
    assert held(driver.engine) == {"ES": 1}
    driver.outcomes = [outcome("ES", EXIT, decided_at, ts=driver.now)]
    driver.close(ES=QUIET)
    assert held(driver.engine) == {}


# ── an entry of unknown fate ──


def unknown_entry(policy: str) -> Driver:
    driver = Driver(engine(("ES", "NQ"), on_unconfirmed_entry=policy, settle_s=120.0, max_positions=1), answer=False)
    driver.close(ES=BUY)
    driver.outcomes = [outcome("ES", ENTRY, driver.now, OutcomeKind.UNCONFIRMED)]
    return driver


def test_flatten_sends_an_exit_after_the_settling_time_and_enters_no_more_that_day() -> None:
    driver = unknown_entry("flatten")
    assert reasons(driver.close(ES=QUIET, NQ=BUY)) == {"ES": Reason.UNCERTAIN, "NQ": Reason.SLOTS_FULL}
    assert roles(driver.close(ES=QUIET)) == []
    (intent,) = driver.close(ES=QUIET).intents
    assert (intent.role, intent.cause, intent.contract.raw) == (EXIT, Cause.UNCONFIRMED, "ESM6")
    driver.outcomes = [outcome("ES", EXIT, driver.now)]
    decided = driver.close(ES=BUY, NQ=BUY)
    assert reasons(decided) == {"ES": Reason.UNCERTAIN, "NQ": Reason.ENTER_LONG}
    assert driver.trades == []
    assert driver.engine.equity()[0] == 150_000.0


def test_after_flatten_the_next_trade_date_may_enter_again() -> None:
    driver = unknown_entry("flatten")
    for _ in range(3):
        driver.close(ES=QUIET)
    driver.outcomes = [outcome("ES", EXIT, driver.now)]
    driver.close(ES=QUIET)
    driver.now = chicago("2026-03-11 17:00")
    assert roles(driver.close(ES=BUY)) == [("ES", ENTRY)]


def test_manage_books_the_entry_and_runs_the_normal_exit() -> None:
    driver = unknown_entry("manage")
    driver.close(ES=(100.0, 100.0))
    assert held(driver.engine) == {"ES": 1}
    assert [intent.cause for intent in driver.close(ES=LEAVE).intents] == [Cause.RULE]


def test_hold_does_nothing_and_keeps_the_slot() -> None:
    driver = unknown_entry("hold")
    for _ in range(5):
        assert driver.close(ES=LEAVE, NQ=BUY).intents == []
    assert driver.engine.positions()[0].pending is Pending.UNCERTAIN


@pytest.mark.parametrize("policy", ["flatten", "hold"])
def test_an_unknown_entry_that_turns_out_refused_frees_its_slot(policy: str) -> None:
    driver = unknown_entry(policy)
    decided_at = driver.now
    driver.close(ES=QUIET)
    driver.outcomes = [outcome("ES", ENTRY, decided_at, OutcomeKind.CANCELLED)]
    assert roles(driver.close(NQ=BUY)) == [("NQ", ENTRY)]


# ── daily loss ──


def test_the_daily_loss_flattens_and_lets_nothing_in_until_the_trade_date_turns() -> None:
    driver = Driver(engine(("ES", "NQ"), daily_stop_loss=500.0, max_positions=3))
    driver.close(ES=BUY)
    driver.close(ES=100.0)
    assert driver.close(ES=90.25).intents == []  # 487.50 lost
    (intent,) = driver.close(ES=90.0).intents  # 500.00 lost
    assert (intent.role, intent.cause) == (EXIT, Cause.DAILY_LOSS)
    assert driver.engine.equity() == (149_500.0, -500.0, True)
    driver.close(ES=(100.0, 100.0))  # filled back at 100: the loss is gone, the latch is not
    assert driver.engine.equity() == (150_000.0, 0.0, True)
    assert reasons(driver.close(NQ=BUY)) == {"NQ": Reason.DAILY_LOSS}
    driver.now = chicago("2026-03-11 17:00")
    assert roles(driver.close(NQ=BUY)) == [("NQ", ENTRY)]


def test_a_daily_loss_that_was_lifted_latches_again_only_after_another_limit_from_there() -> None:
    driver = Driver(engine(("ES", "NQ"), daily_stop_loss=500.0, max_positions=3))
    driver.close(ES=BUY)
    driver.close(ES=QUIET)
    driver.close(ES=90.0)  # 500.00 lost
    driver.close(ES=90.0)
    driver.outcomes = [outcome(symbol, EXIT, 0, OutcomeKind.RESUMED) for symbol in ("ES", "NQ")]
    assert roles(driver.close(NQ=BUY)) == [("NQ", ENTRY)]
    driver.close(NQ=QUIET)  # 20 USD a point
    assert driver.engine.equity() == (149_500.0, -500.0, False)
    driver.close(NQ=75.25)
    assert driver.engine.equity() == (149_005.0, -995.0, False)
    driver.close(NQ=75.0)
    assert driver.engine.equity() == (149_000.0, -1_000.0, True)


def test_the_daily_loss_is_judged_at_every_mark_also_of_an_hourly_strategy() -> None:
    driver = Driver(engine(("ES",), "ibs", daily_stop_loss=500.0), start="2026-03-11 09:59")
    driver.engine.warm_up([bar("ES", chicago("2026-03-10 16:00"), 100.0, timeframe="daily")])
    now = driver.now + MINUTE_NS
    hour = bar("ES", now, 100.0, 110.0, timeframe="hourly")
    assert roles(driver.mark(bar("ES", now, 100.0), hour)) == [("ES", ENTRY)]
    driver.close(ES=100.0)
    assert [intent.cause for intent in driver.close(ES=89.0).intents] == [Cause.DAILY_LOSS]


def test_a_days_profit_is_counted_from_the_last_mark_of_the_trade_date_before() -> None:
    driver = long_es()
    driver.now = chicago("2026-03-11 15:59")
    driver.close(ES=110.0)
    assert driver.engine.equity() == (150_500.0, 500.0, False)
    driver.now = chicago("2026-03-11 17:00")
    driver.close(ES=108.0)
    assert driver.engine.equity() == (150_400.0, -100.0, False)


# ── exits ──


def test_the_time_stop_counts_bars_of_the_strategys_timeframe_since_the_fill() -> None:
    driver = long_es(time_stop_bars=3)  # the minute of the fill is the first
    assert roles(driver.close(ES=QUIET)) == []
    (intent,) = driver.close(ES=QUIET).intents
    assert intent.cause is Cause.TIME_STOP
    driver.close(ES=QUIET)
    assert driver.trades[0].bars_held == 3


def test_the_rule_comes_before_the_time_stop() -> None:
    driver = long_es(time_stop_bars=2)
    assert [intent.cause for intent in driver.close(ES=LEAVE).intents] == [Cause.RULE]


def test_the_time_stop_is_each_instruments_own() -> None:
    base = engine(("ES", "NQ"))
    own = [
        msgspec.structs.replace(item, params=item.params | {"time_stop_bars": n})
        for item, n in zip(base.instruments, (2, 0), strict=True)
    ]
    driver = Driver(Engine(base.compiled, own, base.limits))
    driver.close(ES=BUY, NQ=BUY)
    driver.close(ES=QUIET, NQ=QUIET)
    assert roles(driver.close(ES=QUIET, NQ=QUIET)) == [("ES", EXIT)]


def test_no_second_exit_is_decided_while_one_is_pending() -> None:
    driver = long_es()
    driver.answer = False
    assert roles(driver.close(ES=LEAVE)) == [("ES", EXIT)]
    decided = driver.close(ES=LEAVE)
    assert (roles(decided), reasons(decided)) == ([], {"ES": Reason.PENDING})


def test_an_exit_decided_while_closed_is_filled_at_the_open() -> None:
    driver = long_es()
    driver.now = chicago("2026-03-11 15:59")
    assert roles(driver.close(ES=LEAVE)) == [("ES", EXIT)]
    driver.now = chicago("2026-03-11 17:00")
    # In a replay it is sent by the clock of the mark that ends the first minute.
    driver.outcomes = [outcome("ES", EXIT, chicago("2026-03-11 16:00"), ts=chicago("2026-03-11 17:01"))]
    driver.close(ES=(120.0, 121.0))
    assert driver.trades[0].exit_price == 120.0


# ── what keeps an entry out ──


def test_no_entry_within_the_reentry_wait_of_the_exits_fill() -> None:
    driver = long_es(reentry_wait_s=120.0)
    driver.close(ES=LEAVE)
    assert reasons(driver.close(ES=BUY)) == {"ES": Reason.REENTRY_WAIT}
    assert reasons(driver.close(ES=BUY)) == {"ES": Reason.REENTRY_WAIT}
    assert reasons(driver.close(ES=BUY)) == {"ES": Reason.ENTER_LONG}


@pytest.mark.parametrize(
    ("symbol", "at", "allowed"),
    [
        ("ES", "2026-03-11 15:58", True),
        ("ES", "2026-03-11 15:59", False),
        ("ES", "2026-03-11 16:00", False),
        ("ZC", "2026-03-11 13:18", True),
        ("ZC", "2026-03-11 13:19", False),
        ("ZC", "2026-03-11 07:45", False),  # the night has ended, the day not begun
        ("ZC", "2026-03-11 08:31", True),
    ],
)
def test_no_entry_is_decided_later_than_the_margin_before_the_close(symbol: str, at: str, allowed: bool) -> None:
    driver = Driver(engine((symbol,), close_margin_s=120.0))
    driver.now = chicago(at) - MINUTE_NS
    found = reasons(driver.close(**{symbol: BUY}))
    assert found == {symbol: Reason.ENTER_LONG if allowed else Reason.CLOSE_MARGIN}


def test_a_gap_keeps_entries_out_until_the_next_session_and_exits_go_on() -> None:
    driver = long_es(max_positions=5)
    driver.mark(bar("ES", driver.now + MINUTE_NS, BUY), gap=True)
    assert roles(driver.close(ES=LEAVE)) == [("ES", EXIT)]
    driver.close(ES=QUIET)
    assert reasons(driver.close(ES=BUY)) == {"ES": Reason.GAP}
    driver.now = chicago("2026-03-11 17:00")
    assert roles(driver.close(ES=BUY)) == [("ES", ENTRY)]


def test_an_instrument_without_history_is_warming_up() -> None:
    driver = Driver(engine(("ES",), "breakout"))
    now = driver.now = chicago("2026-03-11 10:59")
    decided = driver.mark(bar("ES", now + MINUTE_NS, 100.0, timeframe="hourly"))
    assert reasons(decided) == {"ES": Reason.WARMING_UP}
    assert math.isnan(decided.evaluated[0].features["channel_high"])


# ── what is recorded ──


def test_every_bar_of_the_strategys_timeframe_is_recorded_and_no_other() -> None:
    driver = Driver(engine(("ES", "NQ")))
    assert reasons(driver.close(ES=QUIET, NQ=QUIET)) == {"ES": Reason.NO_SIGNAL, "NQ": Reason.NO_SIGNAL}
    assert reasons(driver.close(NQ=QUIET)) == {"NQ": Reason.NO_SIGNAL}
    assert reasons(driver.mark(bar("ES", driver.now + MINUTE_NS, QUIET, timeframe="hourly"))) == {}
    driver.close(ES=BUY)
    assert reasons(driver.close(ES=QUIET)) == {"ES": Reason.HOLD}


def test_an_exit_between_two_bars_of_the_timeframe_is_recorded() -> None:
    driver = long_es(daily_stop_loss=500.0)
    driver.engine._limits["timeframe"] = driver.engine._timeframe = 1  # as if hourly
    assert reasons(driver.close(ES=QUIET)) == {}
    assert reasons(driver.close(ES=80.0)) == {"ES": Reason.EXIT}
    assert reasons(driver.mark()) == {}


# ── rolls ──


def roll(now: int, symbol: str = "ES", old: float = 100.0, new: float = 105.0) -> Roll:
    return Roll(symbol, FRONT[symbol], NEXT[symbol], old, new, now, "volume")


def next_bar(now: int, close: float, open_: float | None = None) -> Any:
    return bar("ES", now, close, open_, contract=NEXT["ES"])


def test_a_roll_closes_an_open_position_in_the_old_contract_at_its_last_price() -> None:
    driver = long_es(slippage_ticks=1.0)  # in at 100.25
    driver.close(ES=107.0)
    now = driver.now + MINUTE_NS
    decided = driver.mark(next_bar(now, 113.0), rolls=[roll(now, old=108.0, new=112.0)])
    (intent,) = decided.intents
    assert (intent.role, intent.cause, intent.contract.raw, intent.price) == (EXIT, Cause.ROLL, "ESM6", 108.0)
    assert driver.engine.equity()[0] == 150_000.0 + 7.75 * 50.0  # marked in its own contract
    driver.mark(next_bar(driver.now + MINUTE_NS, 120.0))
    (trade,) = driver.trades
    assert (trade.contract, trade.exit_price, trade.pnl_usd) == ("ESM6", 107.75, 375.0)


def test_a_roll_fills_a_pending_entry_in_the_old_contract_and_closes_it() -> None:
    driver = Driver(engine(("ES",)))
    driver.close(ES=BUY)
    now = driver.now + MINUTE_NS
    decided = driver.mark(next_bar(now, QUIET, 111.0), rolls=[roll(now, old=99.0, new=112.0)])
    assert [(i.role, i.cause, i.contract.raw) for i in decided.intents] == [(EXIT, Cause.ROLL, "ESM6")]
    driver.mark(next_bar(driver.now + MINUTE_NS, QUIET))
    assert [(t.contract, t.entry_price, t.exit_price) for t in driver.trades] == [("ESM6", 99.0, 99.0)]


def test_a_roll_fills_a_pending_exit_at_the_old_contracts_last_price() -> None:
    driver = long_es()
    driver.close(ES=LEAVE)
    now = driver.now + MINUTE_NS
    decided = driver.mark(next_bar(now, QUIET, 130.0), rolls=[roll(now, old=106.0, new=112.0)])
    assert decided.intents == []
    assert [(t.contract, t.exit_price) for t in driver.trades] == [("ESM6", 106.0)]


def test_an_exit_that_is_acknowledged_long_after_a_roll_is_booked_at_the_price_the_contract_was_left_at() -> None:
    driver = long_es()
    driver.answer = False
    driver.close(ES=LEAVE)
    decided_at, now = driver.now, driver.now + MINUTE_NS
    driver.mark(next_bar(now, QUIET, 130.0), rolls=[roll(now, old=106.0, new=112.0)])
    for _ in range(3):
        driver.mark(next_bar(driver.now + MINUTE_NS, QUIET, 131.0))
    driver.outcomes = [outcome("ES", EXIT, decided_at, ts=driver.now)]
    driver.mark(next_bar(driver.now + MINUTE_NS, QUIET, 132.0))
    assert [(t.contract, t.exit_price) for t in driver.trades] == [("ESM6", 106.0)]


def test_after_a_roll_entries_are_in_the_new_contract() -> None:
    driver = Driver(engine(("ES",)))
    driver.close(ES=QUIET)
    now = driver.now + MINUTE_NS
    driver.mark(rolls=[roll(now)])
    decided = driver.mark(next_bar(driver.now + MINUTE_NS, BUY))
    assert [intent.contract.raw for intent in decided.intents] == ["ESU6"]


def test_a_roll_that_nobody_saw_is_noticed_from_the_first_bar_of_the_new_contract() -> None:
    driver = long_es()
    driver.close(ES=106.0)
    decided = driver.mark(next_bar(driver.now + MINUTE_NS, 130.0))
    (intent,) = decided.intents
    assert (intent.cause, intent.contract.raw, intent.price) == (Cause.ROLL, "ESM6", 106.0)
    driver.mark(next_bar(driver.now + MINUTE_NS, 131.0))
    assert [t.pnl_usd for t in driver.trades] == [300.0]


def test_a_roll_moves_prices_among_the_features_and_nothing_else() -> None:
    e = engine(("ES", "NQ"), "breakout")
    hours = [chicago("2026-03-10 17:00") + k * HOUR_NS for k in range(1, 25)]
    e.warm_up([bar(s, at, 100.0 + k, timeframe="hourly") for k, at in enumerate(hours) for s in ("ES", "NQ")])
    before = e._values.copy()
    now = hours[-1] + 2 * HOUR_NS
    e.on_minute(minute(now, rolls=[roll(now, old=123.0, new=128.0)]))
    for name, points in (("close", 5.0), ("channel_high", 5.0), ("channel_low", 5.0), ("exit_high", 5.0), ("atr", 0.0)):
        assert e._values[name].tolist() == [before[name][0] + points, before[name][1]]


# ── keeping, freezing ──


def test_positions_are_kept_by_symbol_and_not_by_place() -> None:
    driver = Driver(engine(("ES", "NQ"), max_positions=5))
    driver.close(NQ=BUY)
    driver.close(NQ=QUIET)
    other = engine(("GC", "NQ", "ES"), quantity=7, max_positions=5)
    other.keep(driver.engine.book())
    assert held(other) == {"NQ": 1}
    assert other.equity() == driver.engine.equity()


def test_an_instrument_that_was_flat_may_go_and_one_that_holds_a_position_may_not() -> None:
    driver = Driver(engine(("ES", "NQ")))
    driver.close(NQ=BUY)
    book = driver.engine.book()
    engine(("NQ",)).keep(book)
    with pytest.raises(ConfigError, match="NQ is no longer among the instruments"):
        engine(("ES",)).keep(book)


def test_a_book_of_another_release_is_read_by_the_names_of_its_fields() -> None:
    driver = long_es()
    book = driver.engine.book()
    layout = msgspec.json.decode(book.layout)
    layout["position"] = [["forgotten" if field == "best" else field, kind] for field, kind in layout["position"]]
    other = engine(("ES",))
    other.keep(msgspec.structs.replace(book, layout=msgspec.json.encode(layout).decode()))
    assert held(other) == {"ES": 1}
    assert other._positions["best"][0] == 0.0


def test_the_digest_names_rules_parameters_instruments_and_limits() -> None:
    base = engine(("ES",)).digest
    assert engine(("ES",)).digest == base
    changed = [engine(("NQ",)), engine(("ES",), "ibs"), engine(("ES",), buy=7.0), engine(("ES",), max_positions=9)]
    assert base not in {e.digest for e in changed}


def test_a_frozen_state_of_another_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        engine(("ES",)).restore(engine(("ES", "NQ")).freeze())


def test_compiling_changes_no_byte() -> None:
    e = engine(("ES", "NQ"))
    before = e.freeze()
    e.compile()
    assert e.freeze() == before


SYMBOLS = ("ES", "NQ", "ZC")
SEED = 7  # one with which every strategy trades


@pytest.mark.parametrize("name", [SCRIPTED, "ibs", "breakout"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.frozensets(st.integers(0, 199), max_size=6))
def test_freezing_and_thawing_at_any_cut_changes_no_byte(name: str, seed: int, cuts: frozenset[int]) -> None:
    tape = random_tape(seed, 200, SYMBOLS)
    whole = run_random(warmed(SYMBOLS, name), tape, seed)
    assert run_random(warmed(SYMBOLS, name), tape, seed, cuts) == whole


@pytest.mark.parametrize("name", [SCRIPTED, "ibs", "breakout"])
def test_the_step_gives_the_same_bytes_with_the_jit_off(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.engines", name, str(SEED)],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest_of(name, SEED)


@pytest.mark.parametrize("name", [SCRIPTED, "ibs", "breakout"])
def test_the_random_tape_makes_every_strategy_enter_and_exit(name: str) -> None:
    driver = Driver(warmed(SYMBOLS, name, max_positions=3))
    roles_seen = set()
    for one in random_tape(SEED, 300, SYMBOLS):
        decided = driver.engine.on_minute(one, driver.outcomes)
        driver.outcomes = [outcome(i.symbol, i.role, one.ts_close) for i in decided.intents]
        roles_seen |= {intent.role for intent in decided.intents}
    assert roles_seen == {ENTRY, EXIT}


def test_kernels_keep_no_second_list_of_the_codes() -> None:
    own = {"EVENING_NS": 17 * HOUR_NS, "FINEST": 0}  # FINEST: of rules that read nothing
    for module in (kernel, book, entries, exits, scan):
        bare = {name: value for name, value in vars(module).items() if name.isupper() and type(value) is int}
        numbers = {name: value for name, value in bare.items() if not hasattr(units, name)}
        assert numbers.items() <= own.items() | {("FOREVER_NS", 1 << 62), ("FNV_PRIME", 1_099_511_628_211)}
