"""Ten days at the desk worked by hand, to the cent.

ES is 50 USD a point, NQ 20; a tick is 0.25. Everywhere: one tick of slippage against us on each fill, 4.00 USD a round
turn, half of it paid with each fill, 150,000.00 to start with. The scripted strategy buys on a close of 101 (BUY)
and leaves on 103 (LEAVE). A minute is named by its end, so its bar opens a minute earlier.
"""

from datetime import UTC, datetime
from typing import Any

from rooney.kernels.codes import Cause, Reason
from rooney.market.messages import Bar, Roll
from rooney.market.sessions import CHICAGO, MINUTE_NS
from rooney.orders.decisions import Trade
from tests.support.engines import SCRIPTED, Driver, engine
from tests.support.minutes import BUY, LEAVE, NEXT, QUIET, bar
from tests.support.times import chicago


def driver(*symbols: str, name: str = SCRIPTED, start: str = "2026-03-11 10:00", **changes: Any) -> Driver:
    return Driver(engine(symbols, name, slippage_ticks=1.0, commission_usd=4.0, **changes), start)


def clock(ts: int) -> str:
    return datetime.fromtimestamp(ts // 1_000_000_000, UTC).astimezone(CHICAGO).strftime("%H:%M")


def row(trade: Trade) -> tuple[Any, ...]:
    """(contract, side, entry time and price, exit time and price, cause, P&L in cents exactly)."""
    entry, exit_ = (clock(trade.entry_ts), trade.entry_price), (clock(trade.exit_ts), trade.exit_price)
    return trade.contract, trade.side, *entry, *exit_, trade.cause, trade.pnl_usd


def equity(d: Driver) -> float:
    return d.engine.equity()[0]


def wide(d: Driver, open_: float, high: float, low: float, close: float, symbol: str = "ES") -> Bar:
    """The bar of the coming minute."""
    return bar(symbol, d.now + MINUTE_NS, close, open_, high=high, low=low)


def test_a_gap_through_a_stop_is_filled_at_the_open_and_not_at_the_stop() -> None:
    """Stop 1 % inside the bar.

    10:01 BUY. 10:02 opens 99.75: long at 100.00, stop 99.00, cash 149,998.00.
    10:03 opens 97.00, beyond the stop: out at 97.00 - 0.25 = 96.75; marked at 97.00: 149,998 - 150 = 149,848.00.
    -3.25 x 50 = -162.50, costs 4.00: -166.50. Equity 149,833.50.
    """
    d = driver("ES", stop_percent=1.0, stop_fill="inside")
    d.close(ES=BUY)
    d.close(ES=(99.75, 100.0))
    d.mark(wide(d, 97.0, 97.5, 96.5, 97.5))
    assert equity(d) == 149_848.00
    d.close(ES=QUIET)
    assert [row(t) for t in d.trades] == [("ESM6", 1, "10:01", 100.0, "10:03", 96.75, "stop", -166.50)]
    assert equity(d) == 149_833.50


def test_a_gap_through_a_stop_that_is_judged_on_closes_is_filled_at_the_open_after_the_close() -> None:
    """Stop 1 %, judged on closes.

    10:01 BUY. 10:02 opens 99.75: long at 100.00, stop 99.00. 10:03 opens 97.00 and closes 97.50: the stop is hit.
    10:04 opens 96.00: out at 95.75. -4.25 x 50 = -212.50, costs 4.00: -216.50. Equity 149,783.50.
    """
    d = driver("ES", stop_percent=1.0)
    d.close(ES=BUY)
    d.close(ES=(99.75, 100.0))
    assert [i.cause for i in d.close(ES=(97.0, 97.5)).intents] == [Cause.STOP]
    assert equity(d) == 149_998.00 - 125.00
    d.close(ES=(96.0, 96.0))
    assert [row(t) for t in d.trades] == [("ESM6", 1, "10:01", 100.0, "10:03", 95.75, "stop", -216.50)]
    assert equity(d) == 149_783.50


def test_of_a_stop_and_a_target_in_one_bar_the_stop_counts() -> None:
    """Stop 1 %, target 1 %, inside the bar.

    10:01 BUY. 10:02 opens 99.75: long at 100.00, stop 99.00, target 101.00. 10:03 runs from 98.00 to 102.00: which came
    first nobody knows, so the worse did: out at 99.00 - 0.25 = 98.75. -1.25 x 50 = -62.50, costs 4.00: -66.50.
    Equity 149,933.50.
    """
    d = driver("ES", stop_percent=1.0, target_percent=1.0, stop_fill="inside")
    d.close(ES=BUY)
    d.close(ES=(99.75, 100.0))
    d.mark(wide(d, 100.0, 102.0, 98.0, 101.5))
    d.close(ES=QUIET)
    assert [row(t) for t in d.trades] == [("ESM6", 1, "10:01", 100.0, "10:03", 98.75, "stop", -66.50)]
    assert equity(d) == 149_933.50


def test_four_signals_in_one_minute_and_two_slots_are_two_trades() -> None:
    """Two slots; NQ, ES, GC and ZC all say buy at 10:01: the first two in configured order go in, at 100.25.

    10:02 closes 103 in both: out. 10:03 opens 110.00: out at 109.75, +9.50 points.
    NQ 9.5 x 20 = 190.00 - 4.00 = 186.00; ES 9.5 x 50 = 475.00 - 4.00 = 471.00. Equity 150,657.00.
    """
    d = driver("NQ", "ES", "GC", "ZC", max_positions=2)
    decided = d.close(GC=BUY, ES=BUY, ZC=BUY, NQ=BUY)
    assert [e.reason for e in decided.evaluated] == [Reason.ENTER_LONG] * 2 + [Reason.SLOTS_FULL] * 2
    d.close(ES=(100.0, LEAVE), NQ=(100.0, LEAVE))
    d.close(ES=(110.0, 110.0), NQ=(110.0, 110.0))
    assert [row(t) for t in d.trades] == [
        ("NQM6", 1, "10:01", 100.25, "10:02", 109.75, "rule", 186.00),
        ("ESM6", 1, "10:01", 100.25, "10:02", 109.75, "rule", 471.00),
    ]
    assert equity(d) == 150_657.00


def test_the_daily_stop_is_hit_by_two_instruments_together() -> None:
    """500.00 a day. ES and NQ long at 100.25, cash 149,996.00.

    10:03 ES 95.25 (-250.00), NQ 88.00 (-245.00): 149,501.00, a loss of 499.00. 10:04 NQ 87.75 (-250.00): 504.00, so
    both out at the next open: ES 95.25 - 0.25: -5.25 x 50 - 4 = -266.50; NQ 87.75 - 0.25: -12.75 x 20 - 4 = -259.00.
    Equity 149,474.50.
    """
    d = driver("ES", "NQ", "GC", daily_stop_loss=500.0, max_positions=3)
    d.close(ES=BUY, NQ=BUY)
    d.close(ES=QUIET, NQ=QUIET)
    assert d.close(ES=95.25, NQ=88.0).intents == []
    assert d.engine.equity() == (149_501.00, -499.00, False)
    assert [i.cause for i in d.close(ES=95.25, NQ=87.75).intents] == [Cause.DAILY_LOSS] * 2
    assert d.engine.equity() == (149_496.00, -504.00, True)
    decided = d.close(ES=95.25, NQ=87.75, GC=BUY)
    assert {e.symbol: e.reason for e in decided.evaluated}["GC"] is Reason.DAILY_LOSS
    assert [row(t) for t in d.trades] == [
        ("ESM6", 1, "10:01", 100.25, "10:04", 95.0, "daily_loss", -266.50),
        ("NQM6", 1, "10:01", 100.25, "10:04", 87.5, "daily_loss", -259.00),
    ]
    assert d.engine.equity() == (149_474.50, -525.50, True)


def test_an_exit_and_the_next_entry_meet_on_one_bar() -> None:
    """The bar at whose open a position is left may be the signal of the next.

    10:01 BUY. 10:02 opens 100.00: long at 100.25, closes 103: leave. 10:03 opens 102.00: out at 101.75, and closes at
    101: BUY. 10:04 opens 101.00: long at 101.25, closes 103: leave. 10:05 opens 104.00: out at 103.75.
    1.50 x 50 - 4 = 71.00; 2.50 x 50 - 4 = 121.00. Equity 150,192.00.
    """
    d = driver("ES", max_positions=1)
    d.close(ES=BUY)
    d.close(ES=(100.0, LEAVE))
    d.close(ES=(102.0, BUY))
    d.close(ES=(101.0, LEAVE))
    d.close(ES=(104.0, QUIET))
    assert [row(t) for t in d.trades] == [
        ("ESM6", 1, "10:01", 100.25, "10:02", 101.75, "rule", 71.00),
        ("ESM6", 1, "10:03", 101.25, "10:04", 103.75, "rule", 121.00),
    ]
    assert equity(d) == 150_192.00


def next_bar(d: Driver, open_: float, close: float) -> Bar:
    return bar("ES", d.now + MINUTE_NS, close, open_, contract=NEXT["ES"])


def rolled(on_roll: str) -> Driver:
    """Long at 100.25 in June; at 10:03 June stands at 108.00, September, the new front, at 112.00."""
    d = driver("ES", on_roll=on_roll)
    d.close(ES=BUY)
    d.close(ES=QUIET)
    roll = Roll("ES", "ESM6", "ESU6", 108.0, 112.0, d.now + MINUTE_NS, "volume")
    d.mark(next_bar(d, 112.0, 113.0), rolls=[roll])
    return d


def test_a_roll_closes_the_position_and_that_is_all() -> None:
    """Out of June at 108.00 - 0.25 = 107.75: 7.50 x 50 - 4 = 371.00. Equity 150,371.00, whatever September does."""
    d = rolled("close")
    for price in (120.0, 125.0, 90.0):
        d.mark(next_bar(d, price, price))
    assert [row(t) for t in d.trades] == [("ESM6", 1, "10:01", 100.25, "10:03", 107.75, "roll", 371.00)]
    assert equity(d) == 150_371.00


def test_a_position_that_is_rolled_over_pays_for_the_exit_and_for_the_new_entry() -> None:
    """Out of June at 107.75: +371.00, booked at 10:04, and September decided there.

    10:05 opens 120.00: long at 120.25, closes 103: leave. 10:06 opens 125.00: out at 124.75: 4.50 x 50 - 4 = 221.00.
    The four points between the contracts are nobody's profit. Equity 150,592.00.
    """
    d = rolled("roll")
    d.mark(next_bar(d, 113.0, 113.0))
    assert equity(d) == 150_371.00
    d.mark(next_bar(d, 120.0, LEAVE))
    d.mark(next_bar(d, 125.0, 125.0))
    assert [row(t) for t in d.trades] == [
        ("ESM6", 1, "10:01", 100.25, "10:03", 107.75, "roll", 371.00),
        ("ESU6", 1, "10:04", 120.25, "10:05", 124.75, "rule", 221.00),
    ]
    assert equity(d) == 150_592.00


def test_a_fill_waits_through_minutes_without_a_bar() -> None:
    """10:01 BUY, nothing until 10:04, which opens 98.00: long at 98.25. 10:05 closes 103: leave, marked 237.50 up.

    Nothing until 10:08, which opens 99.50: out at 99.25. 1.00 x 50 - 4 = 46.00. Two bars were held, not five minutes.
    Equity 150,046.00.
    """
    d = driver("ES", "NQ")
    d.close(ES=BUY)
    d.close(NQ=QUIET)
    d.mark()
    assert equity(d) == 150_000.00
    d.close(ES=(98.0, 98.0))
    d.close(ES=LEAVE)
    d.close(NQ=QUIET)
    d.mark()
    assert equity(d) == 149_998.00 + 237.50
    d.close(ES=(99.5, 99.5))
    assert [row(t) for t in d.trades] == [("ESM6", 1, "10:03", 98.25, "10:07", 99.25, "rule", 46.00)]
    assert d.trades[0].bars_held == 2
    assert equity(d) == 150_046.00


def test_a_half_day_ends_before_the_auto_close_and_nothing_is_held_over_the_weekend() -> None:
    """The Friday after Thanksgiving 2025: index futures end at 12:15, before the auto-close of 15:00.

    12:01 BUY. 12:02 opens 100.00: long at 100.25. 12:13 is the margin of two minutes before the end: out, at the next
    open, 103.25 - 0.25 = 103.00. 2.75 x 50 - 4 = 133.50. No entry any more. Equity 150,133.50.
    """
    d = driver("ES", start="2025-11-28 12:00", close_margin_s=120.0, auto_close_ns=15 * 60 * MINUTE_NS)
    d.close(ES=BUY)
    while d.now < chicago("2025-11-28 12:12"):
        assert d.close(ES=QUIET).intents == []
    assert [i.cause for i in d.close(ES=QUIET).intents] == [Cause.AUTO_CLOSE]
    decided = d.close(ES=(103.25, BUY))
    assert [e.reason for e in decided.evaluated] == [Reason.CLOSE_MARGIN]
    assert [row(t) for t in d.trades] == [("ESM6", 1, "12:01", 100.25, "12:13", 103.0, "auto_close", 133.50)]
    assert equity(d) == 150_133.50


def test_an_hour_without_a_range_has_no_inside_and_neither_enters_nor_leaves() -> None:
    """IBS. 10:00 closes at its low: in at the next open, 100.25. 11:00 is a single price, 100.25: its IBS is 0.5.

    12:00 runs from 100.00 to 101.00 and closes there: out at the next open, 101.00 - 0.25 = 100.75.
    0.50 x 50 - 4 = 21.00; two hours held. Equity 150,021.00.
    """
    d = driver("ES", name="ibs", start="2026-03-11 09:59")
    d.engine.warm_up([bar("ES", chicago("2026-03-10 16:00"), 100.0, 99.0, timeframe="daily")])

    def hour(end: str, open_: float, high: float, low: float, close: float) -> list[Reason]:
        d.now = chicago(f"2026-03-11 {end}") - MINUTE_NS
        decided = d.mark(bar("ES", d.now + MINUTE_NS, close, open_, high=high, low=low, timeframe="hourly"))
        return [e.reason for e in decided.evaluated]

    assert hour("09:00", 100.25, 100.25, 100.25, 100.25) == [Reason.NO_SIGNAL]
    assert hour("10:00", 101.0, 101.0, 100.0, 100.0) == [Reason.ENTER_LONG]
    d.close(ES=(100.0, 100.0))
    assert hour("11:00", 100.25, 100.25, 100.25, 100.25) == [Reason.HOLD]
    assert hour("12:00", 100.25, 101.0, 100.0, 101.0) == [Reason.EXIT]
    d.close(ES=(101.0, 101.0))
    assert [row(t) for t in d.trades] == [("ESM6", 1, "10:00", 100.25, "12:00", 100.75, "rule", 21.00)]
    assert d.trades[0].bars_held == 2
    assert equity(d) == 150_021.00


def test_an_instrument_that_stops_trading_keeps_its_slot_and_its_last_price_until_it_trades_again() -> None:
    """500.00 a day, two slots. ES and NQ long at 100.25, ES last at 100.00, then silent.

    10:03 NQ 76.00: -485.00 - 12.50 - 4.00 = -501.50: halted, both to be closed. 10:04 NQ out at 75.75:
    -24.50 x 20 - 4 = -494.00. ES has no price to be closed at: 150,000 - 494 - 2 - 12.50 = 149,491.50, its slot taken.
    17:01 ES opens 90.00: out at 89.75: -10.50 x 50 - 4 = -529.00. Equity 148,977.00.
    """
    d = driver("ES", "NQ", "GC", daily_stop_loss=500.0, max_positions=2)
    d.close(ES=BUY, NQ=BUY)
    d.close(ES=QUIET, NQ=QUIET)
    assert len(d.close(NQ=76.0).intents) == 2
    d.close(NQ=76.0)
    for _ in range(5):
        assert d.close(NQ=QUIET).intents == []
    assert equity(d) == 149_491.50
    assert [(p.symbol, p.side) for p in d.engine.positions()] == [("ES", 1)]
    d.now = chicago("2026-03-11 17:00")
    d.close(ES=(90.0, 90.0))
    assert [row(t) for t in d.trades] == [
        ("NQM6", 1, "10:01", 100.25, "10:03", 75.75, "daily_loss", -494.00),
        ("ESM6", 1, "10:01", 100.25, "17:00", 89.75, "daily_loss", -529.00),
    ]
    assert equity(d) == 148_977.00
