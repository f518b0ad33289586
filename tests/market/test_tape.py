"""From closed minutes to tape entries: fronts, rolls, order of bars, states."""

import math
from datetime import date

import pytest

from rooney.market import sessions
from rooney.market.bars import PRICE_SCALE, ClosedMinute, ContractMinute
from rooney.market.instruments import Contract
from rooney.market.messages import BarFlag, InstrumentState, Minute, MinuteFlag, Roll
from rooney.market.sessions import MINUTE_NS
from rooney.market.tape import MinuteAssembler, Published

WEDNESDAY, THURSDAY, MONDAY = date(2026, 3, 11), date(2026, 3, 12), date(2026, 3, 16)
OPEN = sessions.session_open_ns("equity", WEDNESDAY)
CLOSE = sessions.session_close_ns("equity", WEDNESDAY)
NEXT_OPEN = sessions.session_open_ns("equity", THURSDAY)
ESH6, ESM6 = Contract("ES", 2026, 3), Contract("ES", 2026, 6)
ZCK6, ZCN6 = Contract("ZC", 2026, 5), Contract("ZC", 2026, 7)
GCJ6, GCM6 = Contract("GC", 2026, 4), Contract("GC", 2026, 6)


def part(contract: Contract, price: float, volume: int = 1, close: float | None = None) -> ContractMinute:
    opens = round(price * PRICE_SCALE)
    closes = opens if close is None else round(close * PRICE_SCALE)
    return ContractMinute(contract, opens, max(opens, closes), min(opens, closes), closes, volume, 1)


class Assembler:
    def __init__(self, *roots: tuple[str, str, bool]) -> None:
        self.it = MinuteAssembler(roots or [("ES", "equity", False)])

    def list(self, *contracts: Contract) -> "Assembler":
        for contract in contracts:
            self.it.list_contract(contract)
        return self

    def published(self, ts_open: int, *parts: ContractMinute, repaired: bool = False, gap: bool = False) -> Published:
        closed = ClosedMinute(ts_open + MINUTE_NS, list(parts), 5, repaired, gap)
        return self.it.assemble(closed, lambda: 7)

    def minute(self, ts_open: int, *parts: ContractMinute, repaired: bool = False, gap: bool = False) -> Minute:
        return self.published(ts_open, *parts, repaired=repaired, gap=gap).minute


def test_only_the_front_has_a_bar_and_every_contract_is_counted() -> None:
    assembler = Assembler().list(ESH6, ESM6)
    published = assembler.published(OPEN, part(ESM6, 6850.0, 3), part(ESH6, 6800.25, 2))
    (bar,) = published.minute.bars
    assert (bar.contract, bar.open, bar.volume, bar.ts_open, bar.ts_close) == (
        "ESH6",
        6800.25,
        2,
        OPEN,
        OPEN + MINUTE_NS,
    )
    assert [(count.contract, count.day, count.volume, count.last) for count in published.counts] == [
        (ESM6, WEDNESDAY, 3, 6850.0),
        (ESH6, WEDNESDAY, 2, 6800.25),
    ]
    assert published.fronts == {"ES": ESH6}
    assert (published.minute.ts_hub_ns, published.minute.ts_sent_ns) == (5, 7)


def test_the_roll_is_in_the_first_entry_of_the_session_with_both_last_prices() -> None:
    assembler = Assembler().list(ESH6, ESM6)
    assert assembler.minute(OPEN, part(ESH6, 6800.0, 10), part(ESM6, 6850.0, 99)).rolls == []
    assert assembler.minute(CLOSE - MINUTE_NS, part(ESH6, 6801.0), part(ESM6, 6851.0)).rolls == []
    first = assembler.minute(NEXT_OPEN)
    assert first.rolls == [Roll("ES", "ESH6", "ESM6", 6801.0, 6851.0, NEXT_OPEN + MINUTE_NS, "volume")]
    assert first.bars == []
    second = assembler.minute(NEXT_OPEN + MINUTE_NS, part(ESH6, 6802.0), part(ESM6, 6852.0))
    assert second.rolls == []
    assert [bar.contract for bar in second.bars] == ["ESM6"]


def test_the_front_never_goes_back() -> None:
    assembler = Assembler().list(ESH6, ESM6)
    assembler.minute(OPEN, part(ESH6, 6800.0, 10), part(ESM6, 6850.0, 99))
    assembler.minute(NEXT_OPEN, part(ESH6, 6800.0, 500), part(ESM6, 6850.0, 1))
    friday = sessions.session_open_ns("equity", date(2026, 3, 13))
    assert assembler.minute(friday, part(ESM6, 6850.0)).rolls == []
    assert assembler.it.roots["ES"].front == ESM6


def test_the_new_front_must_have_a_price_and_may_have_it_from_the_first_minute_itself() -> None:
    """The gateway lists a contract that never traded; the first trade of it decides when the roll is."""
    assembler = Assembler().list(ESH6, ESM6)
    assembler.minute(OPEN, part(ESH6, 6800.0, 10))
    stop = sessions.session_open_ns("equity", MONDAY)  # the hard stop: ESH6's deadline is on Friday
    assert assembler.minute(stop, part(ESH6, 6801.0)).rolls == []
    rolled = assembler.minute(stop + MINUTE_NS, part(ESH6, 6802.0), part(ESM6, 6852.0, 4, close=6853.0))
    assert rolled.rolls == [Roll("ES", "ESH6", "ESM6", 6801.0, 6852.0, stop + 2 * MINUTE_NS, "deadline")]
    assert [(bar.contract, bar.volume) for bar in rolled.bars] == [("ESM6", 4)]


def test_a_fixed_product_rolls_when_its_mapping_changes_and_loses_no_bar() -> None:
    assembler = Assembler(("ES", "equity", True)).list(ESH6)
    assembler.minute(OPEN, part(ESH6, 6800.0))
    assembler.list(ESM6)
    rolled = assembler.minute(OPEN + MINUTE_NS, part(ESM6, 6850.0))
    assert rolled.rolls == [Roll("ES", "ESH6", "ESM6", 6800.0, 6850.0, OPEN + 2 * MINUTE_NS, "mapping")]
    assert [bar.contract for bar in rolled.bars] == ["ESM6"]


def test_a_mapping_that_goes_back_does_not_roll_back() -> None:
    assembler = Assembler(("ES", "equity", True)).list(ESM6)
    assembler.minute(OPEN, part(ESM6, 6850.0))
    assembler.list(ESH6)
    assert assembler.minute(OPEN + MINUTE_NS, part(ESH6, 6800.0)).rolls == []


def test_a_trade_outside_the_session_makes_a_flagged_bar_and_no_hour() -> None:
    assembler = Assembler().list(ESH6)
    minute = assembler.minute(CLOSE + 5 * MINUTE_NS, part(ESH6, 6800.0))
    assert [bar.flags for bar in minute.bars] == [BarFlag.OFF_SESSION]
    assert minute.states == {"ES": InstrumentState.CLOSED}
    assert assembler.minute(NEXT_OPEN + 59 * MINUTE_NS).bars == []


def test_a_trade_between_two_sessions_does_not_take_the_roll_away_from_the_next_one() -> None:
    assembler = Assembler().list(ESH6, ESM6)
    friday = sessions.session_close_ns("equity", date(2026, 3, 13))
    assembler.minute(friday - MINUTE_NS, part(ESH6, 6800.0, 1), part(ESM6, 6850.0, 9))
    saturday = assembler.minute(friday + 20 * 60 * MINUTE_NS, part(ESH6, 6803.0))
    assert saturday.rolls == []
    assert saturday.bars[0].contract == "ESH6"
    first = assembler.minute(sessions.session_open_ns("equity", MONDAY))
    assert [(roll.old_last, roll.new_last) for roll in first.rolls] == [(6803.0, 6850.0)]


def test_bars_come_by_timeframe_and_then_in_the_order_of_the_configuration() -> None:
    assembler = Assembler(("ZC", "grains", False), ("ES", "equity", False), ("GC", "metals", False))
    assembler.list(ZCK6, ESH6, GCJ6)
    last = CLOSE - MINUTE_NS
    assembler.minute(last - MINUTE_NS, part(GCJ6, 4000.0))
    minute = assembler.minute(last, part(GCJ6, 4001.0), part(ESH6, 6800.0))
    assert [(bar.symbol, bar.timeframe) for bar in minute.bars] == [
        ("ES", "1min"),
        ("GC", "1min"),
        ("ES", "hourly"),
        ("GC", "hourly"),
        ("ES", "daily"),
        ("GC", "daily"),
    ]
    assert minute.states == {"ZC": InstrumentState.CLOSED, "ES": InstrumentState.OPEN, "GC": InstrumentState.OPEN}


def test_states_tell_open_quiet_and_closed() -> None:
    assembler = Assembler(("ES", "equity", False), ("GC", "metals", False), ("ZC", "grains", False)).list(ESH6)
    assert assembler.minute(OPEN, part(ESH6, 6800.0)).states == {
        "ES": InstrumentState.OPEN,
        "GC": InstrumentState.QUIET,
        "ZC": InstrumentState.CLOSED,
    }


def test_repaired_and_gap_are_flags_of_that_minute_alone() -> None:
    assembler = Assembler().list(ESH6)
    repaired = assembler.minute(OPEN, part(ESH6, 6800.0), repaired=True)
    gap = assembler.minute(OPEN + MINUTE_NS, part(ESH6, 6800.0), gap=True)
    normal = assembler.minute(OPEN + 2 * MINUTE_NS, part(ESH6, 6800.0))
    assert [minute.quality for minute in (repaired, gap, normal)] == [MinuteFlag.REPAIRED, MinuteFlag.GAP, 0]
    assert [minute.bars[0].flags for minute in (repaired, gap, normal)] == [BarFlag.REPAIRED, 0, 0]


@pytest.mark.parametrize(
    ("dropped", "es", "gc", "flags"),
    [
        ({ESH6}, InstrumentState.INCOMPLETE, InstrumentState.QUIET, BarFlag.INCOMPLETE),
        ({GCJ6}, InstrumentState.OPEN, InstrumentState.INCOMPLETE, 0),
        ({None}, InstrumentState.OPEN, InstrumentState.INCOMPLETE, 0),
        ({ESM6, GCM6}, InstrumentState.OPEN, InstrumentState.QUIET, 0),
    ],
    ids=["of a front with a bar", "of a front without one", "of nobody knows what", "of contracts that are no fronts"],
)
def test_a_minute_that_lacks_a_trade_says_so_of_each_instrument_whose_it_was_or_may_have_been(
    dropped: frozenset[Contract | None], es: InstrumentState, gc: InstrumentState, flags: int
) -> None:
    """An instrument with a bar is not doubted for a trade of nobody knows what: one such record would hold all."""
    assembler = Assembler(("ES", "equity", False), ("GC", "metals", False), ("ZC", "grains", False))
    assembler.list(ESH6, GCJ6, ZCK6)
    closed = ClosedMinute(OPEN + MINUTE_NS, [part(ESH6, 6800.0)], 5, dropped=frozenset(dropped))
    minute = assembler.it.assemble(closed, lambda: 7).minute
    assert minute.quality == MinuteFlag.INCOMPLETE
    assert minute.states == {"ES": es, "GC": gc, "ZC": InstrumentState.CLOSED}
    assert [bar.flags for bar in minute.bars] == [flags]
    assert assembler.it.states_now(OPEN + MINUTE_NS, alive=True) == minute.states
    after = assembler.minute(OPEN + MINUTE_NS, part(ESH6, 6800.0))
    assert (after.quality, after.states["ES"], after.bars[0].flags) == (0, InstrumentState.OPEN, 0)


def test_the_hour_of_a_bar_that_lacks_a_trade_lacks_it_too() -> None:
    assembler = Assembler().list(ESH6)
    closed = ClosedMinute(OPEN + MINUTE_NS, [part(ESH6, 6800.0)], 5, dropped=frozenset({ESH6}))
    assembler.it.assemble(closed, lambda: 7)
    (hour,) = assembler.minute(OPEN + 59 * MINUTE_NS).bars
    assert (hour.timeframe, hour.flags) == ("hourly", BarFlag.INCOMPLETE)


def test_an_hour_that_ended_within_a_gap_takes_nothing_from_after_it() -> None:
    assembler = Assembler().list(ESH6)
    assembler.minute(OPEN, part(ESH6, 6800.0, 5))
    after = assembler.minute(OPEN + 90 * MINUTE_NS, part(ESH6, 6900.0, 7), gap=True)
    (hour,) = [bar for bar in after.bars if bar.timeframe == "hourly"]
    assert (hour.ts_open, hour.close, hour.volume) == (OPEN, 6800.0, 5)


def test_a_root_without_any_contract_has_no_bar_and_no_roll() -> None:
    minute = Assembler().minute(OPEN)
    assert (minute.bars, minute.rolls, minute.states) == ([], [], {"ES": InstrumentState.QUIET})


def test_contracts_of_other_roots_are_left_alone() -> None:
    published = Assembler().list(ESH6, GCJ6).published(OPEN, part(GCJ6, 4000.0))
    assert (published.minute.bars, published.counts) == ([], [])


@pytest.mark.parametrize("volume", [0, 3])
def test_a_roll_needs_more_volume_than_the_old_contract_on_the_day_before(volume: int) -> None:
    assembler = Assembler(("GC", "metals", False)).list(GCJ6, GCM6)
    assembler.minute(OPEN, part(GCJ6, 4000.0, 3), part(GCM6, 4040.0, volume))
    assert assembler.minute(NEXT_OPEN).rolls == []


def test_days_without_trades_do_not_decide_by_older_volumes_twice() -> None:
    """A holiday: the last day with volume decides, and deciding again on the next day changes nothing."""
    assembler = Assembler(("GC", "metals", False)).list(GCJ6, GCM6)
    assembler.minute(OPEN, part(GCJ6, 4000.0, 3), part(GCM6, 4040.0, 9))
    assert [roll.new_contract for roll in assembler.minute(NEXT_OPEN).rolls] == ["GCM6"]
    friday = sessions.session_open_ns("equity", date(2026, 3, 13))
    assert assembler.minute(friday).rolls == []
    assert not math.isnan(assembler.it.roots["GC"].last[GCM6])
