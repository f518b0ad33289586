"""Minutes from trades, hours and days from minutes."""

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooney.market import sessions
from rooney.market.bars import (
    AGREEING,
    MAX_LEAP_NS,
    MAX_UNMAPPED,
    PRICE_SCALE,
    UNDEF_PRICE,
    ClosedMinute,
    ContractMinute,
    MinuteBuilder,
)
from rooney.market.instruments import Contract
from rooney.market.messages import Bar, BarFlag
from rooney.market.resample import Coarse
from rooney.market.sessions import CHICAGO, HOUR_NS, MINUTE_NS
from tests.support.times import chicago

MS = 1_000_000
SECOND = 1_000 * MS
DAY = date(2026, 3, 11)
OPEN = sessions.session_open_ns("equity", DAY)  # 22:00 UTC on the 10th
CLOSE = sessions.session_close_ns("equity", DAY)
ESH6, ESM6 = Contract("ES", 2026, 3), Contract("ES", 2026, 6)
PRICE = 6_800 * PRICE_SCALE
TRADE_COUNTS = ("built", "spread", "unknown_instrument", "late", "replayed", "absurd_price", "bad_clock", "reread")


class Builder:
    """A MinuteBuilder on whose clock it is always late enough, and what it closed."""

    def __init__(
        self, start_ns: int = OPEN, wall_ns: int = CLOSE + 365 * 24 * HOUR_NS, groups: Any = ("equity",)
    ) -> None:
        self.closed: list[ClosedMinute] = []
        self.it = MinuteBuilder(groups, start_ns, 50 * MS, self.closed.append, lambda: wall_ns)
        self.map()
        self.sent = 0

    def map(self) -> None:
        self.it.map(1, ESH6)
        self.it.map(2, ESM6)
        self.it.map(3, None)

    def trade(self, at_ns: int, price: int = PRICE, size: int = 1, instrument_id: int = 1) -> None:
        self.sent += 1
        self.it.on_trade(instrument_id, at_ns, price, size)

    @property
    def counts(self) -> dict[str, int]:
        return {name: count for name, count in self.it.counts.items() if count}

    def accounted(self) -> int:
        return sum(self.it.counts[name] for name in TRADE_COUNTS) + self.it.pending()

    def only(self) -> ContractMinute:
        (minute,) = self.closed
        (contract,) = minute.contracts
        return contract


# ── which trades make which minute ──

gaps = st.one_of(
    st.integers(0, 40 * MS), st.integers(0, 30 * SECOND), st.integers(0, 5 * MINUTE_NS), st.integers(0, 5 * HOUR_NS)
)
trades = st.tuples(gaps, st.integers(0, 50 * MS - 1), st.integers(-40, 40), st.integers(0, 9), st.sampled_from([1, 2]))


def grouped(arrivals: list[tuple[int, int, int, int]]) -> dict[tuple[int, Contract], ContractMinute]:
    """The bars, the slow way: by minute of ts_recv, in the order of arrival."""
    parts: dict[tuple[int, Contract], list[tuple[int, int]]] = {}
    for instrument_id, at_ns, price, size in arrivals:
        contract = {1: ESH6, 2: ESM6}[instrument_id]
        parts.setdefault((at_ns // MINUTE_NS * MINUTE_NS + MINUTE_NS, contract), []).append((price, size))
    return {
        key: ContractMinute(
            key[1],
            rows[0][0],
            max(price for price, _ in rows),
            min(price for price, _ in rows),
            rows[-1][0],
            sum(size for _, size in rows),
            len(rows),
        )
        for key, rows in parts.items()
    }


@settings(max_examples=300, deadline=None)
@given(st.lists(trades, max_size=60))
def test_minutes_equal_a_group_by_of_ts_recv_for_any_order_within_the_waiting_time(
    drawn: list[tuple[int, int, int, int, int]],
) -> None:
    builder, at_ns = Builder(), OPEN
    stamped = []
    for gap_ns, delay_ns, ticks, size, instrument_id in drawn:
        at_ns += gap_ns
        stamped.append((at_ns + delay_ns, (instrument_id, at_ns, PRICE + ticks * PRICE_SCALE // 4, size)))
    arrivals = [trade for _, trade in sorted(stamped, key=lambda pair: pair[0])]
    for trade in arrivals:
        builder.it.on_trade(*trade)
    for ahead_ns in (2 * MINUTE_NS, 2 * MINUTE_NS + 5 * SECOND):
        builder.it.on_time(at_ns + ahead_ns)
    found = {(minute.ts_close, part.contract): part for minute in builder.closed for part in minute.contracts}
    assert found == grouped(arrivals)
    assert builder.counts == ({"built": len(arrivals)} if arrivals else {})
    last_ns = builder.it.minute_ns
    dense = [ns + MINUTE_NS for ns in range(OPEN, last_ns, MINUTE_NS) if sessions.window_at("equity", ns)]
    traded = {ts_close for ts_close, _ in found}
    assert [minute.ts_close for minute in builder.closed] == sorted({*dense, *traded})


anything = st.one_of(
    st.tuples(
        st.just("trade"),
        st.one_of(
            st.integers(OPEN - HOUR_NS, OPEN + 3 * HOUR_NS),
            st.sampled_from([0, -1, 2**64 - 1, OPEN + 300 * 24 * HOUR_NS, OPEN + 900 * 24 * HOUR_NS]),
        ),
        st.one_of(
            st.integers(PRICE - 100 * PRICE_SCALE, PRICE + 100 * PRICE_SCALE),
            st.sampled_from([0, -PRICE, 10**18, UNDEF_PRICE, -(2**63)]),
        ),
        st.sampled_from([0, 1, 5, 2**32 - 1]),
        st.sampled_from([1, 2, 3, 4]),
    ),
    st.tuples(st.just("time"), st.integers(OPEN, OPEN + 3 * HOUR_NS)),
    st.tuples(st.just("restart"), st.sampled_from([0, 0, OPEN + HOUR_NS])),
    st.tuples(st.just("replayed"), st.integers(OPEN, OPEN + 3 * HOUR_NS)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(anything, max_size=60))
def test_every_trade_is_in_exactly_one_count_or_bar_or_pending(events: list[tuple[Any, ...]]) -> None:
    builder = Builder(wall_ns=OPEN + 2 * HOUR_NS)
    for kind, *values in events:
        match kind:
            case "trade":
                at_ns, price, size, instrument_id = values
                builder.trade(at_ns, price, size, instrument_id)
            case "time":
                builder.it.on_time(*values)
            case "restart":
                builder.it.restart(*values)
                builder.map()
            case "replayed":
                builder.it.replay_completed(*values)
        assert builder.accounted() == builder.sent
    assert sum(part.trades for minute in builder.closed for part in minute.contracts) == builder.it.counts["built"]
    closes = [minute.ts_close for minute in builder.closed]
    assert closes == sorted(set(closes))


def test_a_bar_has_the_first_highest_lowest_and_last_price_and_the_sum_of_sizes() -> None:
    builder = Builder()
    for i, ticks in enumerate((0, 3, -2, 1)):
        builder.trade(OPEN + i * SECOND, PRICE + ticks, size=i)
    builder.trade(OPEN + MINUTE_NS + 50 * MS)
    assert builder.only() == ContractMinute(ESH6, PRICE, PRICE + 3, PRICE - 2, PRICE + 1, 6, 4)


@given(st.integers(-(2**53), 2**53))
def test_a_float_price_is_the_integer_divided_exactly_once(price: int) -> None:
    bar = ContractMinute(ESH6, price, price, price, price, 1, 1).bar(OPEN, 0, 0)
    assert (bar.open, bar.high, bar.low, bar.close) == (price / 1e9,) * 4
    assert bar.ts_close - bar.ts_open == MINUTE_NS


# ── what closes a minute ──


def test_a_record_closes_a_minute_from_50_ms_after_its_end_on_and_not_before() -> None:
    builder = Builder()
    builder.trade(OPEN)
    builder.trade(OPEN + MINUTE_NS + 50 * MS - 1)
    assert builder.closed == []
    builder.trade(OPEN + MINUTE_NS + 50 * MS)
    assert [minute.ts_close for minute in builder.closed] == [OPEN + MINUTE_NS]
    assert builder.it.pending() == 2


def test_a_heartbeat_closes_a_minute_a_second_after_its_end() -> None:
    builder = Builder()
    builder.it.on_time(OPEN + MINUTE_NS + SECOND - 1)
    assert builder.closed == []
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert [minute.ts_close for minute in builder.closed] == [OPEN + MINUTE_NS]


@pytest.mark.parametrize("instrument_id", [3, 99])
def test_a_record_of_any_instrument_closes_the_minute_of_all(instrument_id: int) -> None:
    builder = Builder()
    builder.trade(OPEN, instrument_id=1)
    builder.trade(OPEN, instrument_id=2)
    builder.trade(OPEN + MINUTE_NS + 50 * MS, instrument_id=instrument_id)
    assert [part.contract for part in builder.closed[0].contracts] == [ESH6, ESM6]


def test_a_trade_out_of_order_within_the_waiting_time_is_in_its_minute() -> None:
    builder = Builder()
    builder.trade(OPEN + MINUTE_NS + 49 * MS, PRICE + 1)
    builder.trade(OPEN + MINUTE_NS - 1)
    builder.trade(OPEN + MINUTE_NS + 50 * MS)
    assert builder.only().close == PRICE
    assert builder.counts == {"built": 1}


def test_a_trade_that_comes_after_its_minute_is_counted_and_rewrites_nothing() -> None:
    builder = Builder()
    builder.trade(OPEN)
    builder.trade(OPEN + MINUTE_NS + 50 * MS)
    before = list(builder.closed)
    builder.trade(OPEN + MINUTE_NS - 1)
    assert builder.closed == before
    assert builder.counts == {"built": 1, "late": 1}


def test_quiet_minutes_are_emitted_in_session_and_none_outside() -> None:
    builder = Builder(start_ns=CLOSE - 2 * MINUTE_NS)
    for minutes in range(0, 65, 5):
        builder.it.on_time(CLOSE + minutes * MINUTE_NS + SECOND)
    assert [minute.ts_close for minute in builder.closed] == [CLOSE - MINUTE_NS, CLOSE]
    builder.it.on_time(CLOSE + HOUR_NS + MINUTE_NS + SECOND)
    assert builder.closed[-1].ts_close == CLOSE + HOUR_NS + MINUTE_NS


def test_a_minute_is_emitted_while_any_configured_group_is_in_session() -> None:
    builder = Builder(groups=("grains", "equity"))
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert len(builder.closed) == 1
    alone = Builder(groups=("grains",))
    alone.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert alone.closed == []


def test_a_trade_outside_the_session_makes_a_minute_of_its_own() -> None:
    builder = Builder(start_ns=CLOSE)
    builder.trade(CLOSE + 90 * SECOND)
    builder.it.on_time(CLOSE + 5 * MINUTE_NS)
    assert [minute.ts_close for minute in builder.closed] == [CLOSE + 2 * MINUTE_NS]


# ── leaps in time ──


def test_one_record_from_the_future_moves_nothing() -> None:
    builder = Builder()
    builder.trade(OPEN)
    builder.trade(OPEN + 10 * 24 * HOUR_NS)
    builder.trade(OPEN + SECOND)
    builder.trade(OPEN + MINUTE_NS + 50 * MS)
    assert [minute.ts_close for minute in builder.closed] == [OPEN + MINUTE_NS]
    assert builder.only().trades == 2
    assert builder.counts == {"built": 2, "bad_clock": 1}


def test_stamps_from_the_future_that_lie_far_apart_do_not_agree() -> None:
    builder = Builder(wall_ns=OPEN + HOUR_NS)
    for days in range(1, 2 * AGREEING):
        builder.trade(OPEN + days * 24 * HOUR_NS)
    builder.trade(OPEN + MINUTE_NS + 50 * MS)
    assert [minute.ts_close for minute in builder.closed] == [OPEN + MINUTE_NS]
    assert builder.counts == {"bad_clock": 2 * AGREEING - 1}


def test_a_heartbeat_from_the_future_moves_nothing_either() -> None:
    builder = Builder()
    builder.it.on_time(OPEN + 10 * 24 * HOUR_NS)
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert [minute.ts_close for minute in builder.closed] == [OPEN + MINUTE_NS]


def test_a_leap_ahead_of_the_host_clock_is_not_believed_although_a_few_agree() -> None:
    builder = Builder(wall_ns=OPEN + SECOND)
    for _ in range(AGREEING - 1):
        builder.trade(OPEN + 10 * 24 * HOUR_NS)
    builder.trade(OPEN + MINUTE_NS + 50 * MS)
    assert [minute.ts_close for minute in builder.closed] == [OPEN + MINUTE_NS]
    assert builder.counts == {"bad_clock": AGREEING - 1}


def test_stamps_from_the_future_agree_only_where_nothing_right_comes_in_between() -> None:
    builder = Builder()
    for i in range(2 * AGREEING):
        builder.trade(OPEN + 10 * 24 * HOUR_NS)
        builder.trade(OPEN + i * SECOND)
    assert builder.closed == []
    assert builder.counts["bad_clock"] == 2 * AGREEING - 1


def test_a_session_may_start_long_before_its_first_record_and_no_trade_is_lost() -> None:
    friday = sessions.session_close_ns("equity", date(2026, 3, 6))
    sunday = sessions.session_open_ns("equity", date(2026, 3, 9))
    builder = Builder(start_ns=friday)
    builder.trade(sunday + SECOND)
    assert builder.it.pending() == 1
    builder.trade(sunday + 2 * SECOND)
    builder.it.on_time(sunday + MINUTE_NS + SECOND)
    assert builder.only().trades == 2
    assert builder.closed[0].ts_close == sunday + MINUTE_NS


def test_in_a_thin_market_each_trade_may_be_a_leap_from_the_one_before() -> None:
    """A replay has no heartbeats in between."""
    builder = Builder()
    times = [OPEN + i * 2 * MAX_LEAP_NS for i in range(1, 8)]
    for at_ns in times:
        builder.trade(at_ns)
    assert builder.it.pending() == 2  # the last one is held, the one before it in the open minute
    builder.it.on_time(times[-1] + SECOND)
    builder.it.on_time(times[-1] + MINUTE_NS + SECOND)
    assert builder.counts == {"built": len(times)}


# ── prices and sizes no one can believe ──


@pytest.mark.parametrize("absurd", [-PRICE_SCALE, 0, UNDEF_PRICE, 10**18, -(2**63), PRICE // 2, PRICE * 2])
@pytest.mark.parametrize("same_minute", [True, False])
def test_a_single_absurd_price_is_counted_and_not_folded(absurd: int, same_minute: bool) -> None:
    builder = Builder()
    builder.trade(OPEN)
    if not same_minute:
        builder.it.on_time(OPEN + MINUTE_NS + SECOND)
        builder.closed.clear()
    at_ns = builder.it.minute_ns + SECOND
    builder.trade(at_ns, absurd)
    builder.trade(at_ns, PRICE + 1)
    builder.it.on_time(builder.it.minute_ns + MINUTE_NS + SECOND)
    assert builder.only().low >= PRICE
    assert builder.only().high == PRICE + 1
    assert builder.counts["absurd_price"] == 1


def test_a_market_that_really_moved_is_believed_with_the_second_trade() -> None:
    builder = Builder()
    builder.trade(OPEN)
    builder.trade(OPEN + SECOND, PRICE // 2)
    builder.trade(OPEN + 2 * SECOND, PRICE // 2 + 1)
    builder.trade(OPEN + 3 * SECOND, PRICE // 2 + 2)
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert builder.only().close == PRICE // 2 + 2
    assert builder.counts == {"built": 3, "absurd_price": 1}


def test_oil_may_fall_through_zero() -> None:
    """2020-04-20: CLK0 fell from 10 to -37.63 USD within the hour before its settlement."""
    builder = Builder()
    builder.it.map(1, Contract("CL", 2020, 5))
    cents = range(1000, -3764, -4)  # 4 cents from trade to trade, a hundred trades a minute
    for i, cent in enumerate(cents):
        builder.trade(OPEN + i * MINUTE_NS // 100, cent * PRICE_SCALE // 100)
    builder.it.on_time(builder.it.minute_ns + MINUTE_NS + SECOND)
    assert builder.counts.get("absurd_price", 0) <= 25  # of 1,191: one for each new band
    assert builder.closed[-1].contracts[0].close == cents[-1] * PRICE_SCALE // 100


@pytest.mark.parametrize("size", [2**32 - 1, 2**32 - 2, 2**31])
def test_a_size_near_2_to_the_32_is_no_volume(size: int) -> None:
    builder = Builder()
    builder.trade(OPEN, size=size)
    builder.trade(OPEN, size=0)
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert (builder.only().volume, builder.only().trades) == (0, 1)
    assert builder.counts == {"absurd_price": 1, "built": 1}


def test_near_zero_a_move_is_confirmed_by_a_trade_within_200_ticks_of_it() -> None:
    """A quarter of next to nothing is no distance: each of these trades once refused the one before it."""
    builder = Builder()
    builder.it.map(1, Contract("CL", 2020, 5))
    builder.trade(OPEN, 205 * PRICE_SCALE // 100)
    for i in range(40):
        builder.trade(OPEN + (i + 1) * SECOND, (2 + i % 2) * PRICE_SCALE // 100)
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert builder.counts == {"built": 40, "absurd_price": 1}


def test_far_from_zero_two_wrong_prices_about_zero_do_not_confirm_each_other() -> None:
    builder = Builder()
    builder.trade(OPEN)
    for price in (-PRICE_SCALE, 0, PRICE_SCALE, -PRICE_SCALE):
        builder.trade(OPEN + SECOND, price)
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert builder.counts == {"built": 1, "absurd_price": 4}


@pytest.mark.parametrize("price", [PRICE * 2, PRICE // 2, 0])
def test_the_first_trade_of_a_contract_is_judged_by_its_last_known_price(price: int) -> None:
    builder = Builder()
    builder.it.expect(ESH6, 6_800.0)
    builder.it.expect(ESM6, float("nan"))
    builder.trade(OPEN, price)
    builder.trade(OPEN + SECOND, PRICE + 1)
    builder.trade(OPEN + 2 * SECOND, price, instrument_id=2)  # of this contract no price is known
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert [(part.contract, part.open, part.trades) for part in builder.closed[0].contracts] == [
        (ESH6, PRICE + 1, 1),
        (ESM6, price, 1),
    ]


# ── what is in no bar ──


def bad_price(builder: Builder) -> None:
    builder.trade(OPEN + 3 * SECOND, UNDEF_PRICE)


def bad_size(builder: Builder) -> None:
    builder.trade(OPEN + 3 * SECOND, size=2**32 - 2)


def bad_clock(builder: Builder) -> None:
    builder.trade(OPEN + 10 * 24 * HOUR_NS)
    builder.trade(OPEN + MINUTE_NS + SECOND // 100, instrument_id=3)


def no_clock(builder: Builder) -> None:
    builder.trade(2**64 - 1)


def late(builder: Builder) -> None:
    builder.trade(OPEN - SECOND)


def late_before_its_mapping(builder: Builder) -> None:
    builder.trade(OPEN - SECOND, instrument_id=4)


def never_mapped(builder: Builder) -> None:
    builder.trade(OPEN + SECOND, instrument_id=4)


@pytest.mark.parametrize(
    ("drop", "contract"),
    [
        (bad_price, ESH6),
        (bad_size, ESH6),
        (bad_clock, ESH6),
        (no_clock, ESH6),
        (late, ESH6),
        (late_before_its_mapping, None),
        (never_mapped, None),
    ],
)
def test_whatever_is_dropped_flags_the_minute_in_which_that_shows_and_its_contract(
    drop: Callable[[Builder], None], contract: Contract | None
) -> None:
    builder = Builder(start_ns=OPEN - MINUTE_NS)
    builder.it.on_time(OPEN + SECOND)
    builder.trade(OPEN, instrument_id=2)
    drop(builder)
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    builder.it.on_time(OPEN + 2 * MINUTE_NS + SECOND)
    assert [minute.dropped for minute in builder.closed] == [{contract}, set()]
    assert sum(count for name, count in builder.counts.items() if name not in ("built", "spread")) == 1


@pytest.mark.parametrize("size", [1, 2**32 - 1])
def test_a_dropped_spread_flags_nothing(size: int) -> None:
    builder = Builder()
    builder.trade(OPEN, size=size, instrument_id=3)
    builder.trade(2**64 - 1, instrument_id=3)
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert builder.closed[0].dropped == set()


def test_what_is_dropped_out_of_session_flags_the_next_minute_there_is() -> None:
    builder = Builder(start_ns=CLOSE)
    builder.trade(CLOSE + SECOND, UNDEF_PRICE)
    opens = sessions.next_window("equity", CLOSE).open_ns
    for at_ns in (opens, opens + SECOND):
        builder.trade(at_ns)
    builder.it.on_time(opens + MINUTE_NS + SECOND)
    assert [(minute.ts_close, minute.dropped) for minute in builder.closed] == [(opens + MINUTE_NS, {ESH6})]


# ── a host clock that is wrong ──


@pytest.mark.parametrize("behind_s", [90, 3_600, 10 * 86_400])
@pytest.mark.parametrize("heartbeats", [False, True])
def test_a_host_clock_that_is_behind_drops_no_trade_and_makes_no_minute_quiet(behind_s: int, heartbeats: bool) -> None:
    """Also where the tape ended long before, and where the clock is put back in mid-session."""
    start = sessions.session_close_ns("equity", date(2026, 3, 6))
    builder = Builder(start_ns=start)
    now_ns = OPEN
    builder.it._wall_ns = lambda: now_ns - behind_s * SECOND * (1 + (now_ns > OPEN + 4 * MINUTE_NS))
    for second in range(8 * 60 + 3):
        now_ns = OPEN + second * SECOND
        builder.trade(now_ns)
        if heartbeats:
            builder.it.on_time(now_ns)
    traded = [minute for minute in builder.closed if minute.ts_close > OPEN]
    assert [part.trades for minute in traded for part in minute.contracts] == [60] * 8
    assert builder.counts == {"built": 480}
    assert not any(minute.dropped for minute in builder.closed)
    assert builder.it.behind_ns == pytest.approx(2 * behind_s * SECOND, abs=2 * SECOND)


def test_a_host_clock_that_is_put_right_is_no_longer_behind() -> None:
    builder = Builder()
    now_ns, behind_ns = OPEN, 90 * SECOND
    builder.it._wall_ns = lambda: now_ns - behind_ns
    seen = []
    for minute in range(1, 5):
        for second in (1, 2):
            now_ns = OPEN + minute * MINUTE_NS + second * SECOND
            builder.it.on_time(now_ns)
        seen.append(builder.it.behind_ns)
        behind_ns = 0 if minute >= 2 else behind_ns
    assert [behind // SECOND for behind in seen] == [90, 90, 0, 0]


def test_in_a_replay_a_host_clock_stays_as_far_behind_as_it_was_seen_to_be() -> None:
    builder = Builder(wall_ns=OPEN - 30 * SECOND)
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert builder.it.behind_ns == 91 * SECOND
    builder.it._wall_ns = lambda: OPEN + HOUR_NS
    builder.it.restart()
    builder.trade(OPEN + 2 * MINUTE_NS + SECOND)
    assert builder.it.behind_ns == 91 * SECOND
    builder.it.replay_completed(OPEN + 3 * MINUTE_NS)
    builder.it.on_time(OPEN + 4 * MINUTE_NS)
    assert builder.it.behind_ns == 0


# ── before the mapping ──


def test_trades_before_their_mapping_wait_for_it_and_are_the_first_of_their_bar() -> None:
    builder = Builder()
    for i in range(3):
        builder.trade(OPEN + i * SECOND, PRICE + i, instrument_id=4)
    assert builder.it.pending() == 3
    builder.it.map(4, ESH6)
    builder.trade(OPEN + 3 * SECOND, PRICE + 3, instrument_id=4)
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert builder.only() == ContractMinute(ESH6, PRICE, PRICE + 3, PRICE, PRICE + 3, 4, 4)
    assert builder.closed[0].dropped == set()


def test_trades_of_what_then_is_mapped_as_a_spread_are_its() -> None:
    builder = Builder()
    builder.trade(OPEN, instrument_id=4)
    builder.it.map(4, None)
    assert (builder.counts, builder.it.pending()) == ({"spread": 1}, 0)


def test_so_many_trades_wait_for_a_mapping_and_no_more() -> None:
    builder = Builder()
    for _ in range(MAX_UNMAPPED + 2):
        builder.trade(OPEN, instrument_id=4)
    assert (builder.it.pending(), builder.counts) == (MAX_UNMAPPED, {"unknown_instrument": 2})
    builder.it.map(4, ESH6)
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert builder.only().trades == MAX_UNMAPPED
    assert builder.closed[0].dropped == {None}


# ── sessions of the feed ──


def test_a_new_session_drops_the_open_minute_and_its_replay_is_counted() -> None:
    builder = Builder()
    builder.trade(OPEN)
    builder.trade(OPEN + MINUTE_NS + 50 * MS)
    builder.it.restart()
    builder.map()
    builder.trade(OPEN + 55 * SECOND)
    builder.trade(OPEN + MINUTE_NS + 50 * MS, size=7)
    builder.it.replay_completed(OPEN + MINUTE_NS + SECOND)
    builder.it.on_time(OPEN + 2 * MINUTE_NS + SECOND)
    assert builder.closed[1].contracts[0].volume == 7
    assert builder.counts == {"built": 2, "reread": 1, "replayed": 1}


def test_mappings_of_an_old_session_mean_nothing_in_the_new_one() -> None:
    builder = Builder()
    builder.it.restart()
    builder.trade(OPEN)
    builder.it.replay_completed(OPEN)
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert builder.counts == {"unknown_instrument": 1}


def test_only_minutes_that_were_over_before_the_replay_was_are_repaired() -> None:
    builder = Builder()
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    builder.it.restart()
    builder.map()
    builder.trade(OPEN + 90 * SECOND)
    builder.trade(OPEN + 130 * SECOND)  # closes the second minute, in the replay
    builder.it.replay_completed(OPEN + 3 * MINUTE_NS + SECOND // 2)  # the third is over as well by then
    builder.it.on_time(OPEN + 4 * MINUTE_NS + SECOND)
    assert [minute.repaired for minute in builder.closed] == [False, True, True, False]


def test_a_bar_says_that_a_part_of_its_minute_was_replayed_even_if_the_replay_had_no_trade_for_it() -> None:
    builder = Builder()
    builder.it.restart()
    builder.map()
    builder.it.replay_completed(OPEN + 30 * SECOND)
    builder.trade(OPEN + 40 * SECOND)
    builder.trade(OPEN + 70 * SECOND)
    builder.trade(OPEN + 130 * SECOND)
    assert [[part.replayed for part in minute.contracts] for minute in builder.closed] == [[True], [False]]


def test_a_heartbeat_in_the_midst_of_a_replay_says_nothing_about_the_past() -> None:
    builder = Builder()
    builder.it.restart()
    builder.map()
    for _ in range(3):
        builder.it.on_time(OPEN + 3 * HOUR_NS)
    builder.trade(OPEN + SECOND)
    builder.it.replay_completed(OPEN + MINUTE_NS)
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    assert builder.only().trades == 1


def test_what_cannot_be_replayed_is_one_gap() -> None:
    builder = Builder()
    assert builder.it.restart(OPEN + HOUR_NS + 1)
    builder.map()
    builder.it.replay_completed(OPEN + HOUR_NS + 1)
    for minutes in (2, 3):
        builder.it.on_time(OPEN + HOUR_NS + minutes * MINUTE_NS + SECOND)
    assert [(minute.ts_close - OPEN, minute.gap) for minute in builder.closed] == [
        (HOUR_NS + 2 * MINUTE_NS, True),
        (HOUR_NS + 3 * MINUTE_NS, False),
    ]


def test_a_weekend_that_cannot_be_replayed_is_no_gap() -> None:
    friday = sessions.session_close_ns("equity", date(2026, 3, 6))
    sunday = sessions.session_open_ns("equity", date(2026, 3, 9))
    builder = Builder(start_ns=friday)
    assert not builder.it.restart(sunday)
    assert builder.it.minute_ns == sunday


# ── hours and days ──


def bar(at_ns: int, price: float = 1.0, flags: int = 0, contract: str = "ESH6") -> Bar:
    return Bar("ES", contract, "1min", at_ns, at_ns + MINUTE_NS, price, price + 1, price - 1, price + 0.5, 2, 1, flags)


def run(group: str, opens: str, closes: str, traded: Callable[[int], bool] = lambda ns: True) -> list[Bar]:
    """Every minute from one Chicago time to another, a bar where `traded`; what closed."""
    coarse, found = Coarse(group), []
    for ns in range(chicago(opens), chicago(closes), MINUTE_NS):
        if sessions.window_at(group, ns) is not None and traded(ns):
            coarse.fold(bar(ns, price=float(ns // MINUTE_NS % 97)))
        found += coarse.close(ns + MINUTE_NS, 0)
    return found


def spans(bars: list[Bar], timeframe: str) -> list[tuple[str, str, int]]:
    def text(ns: int) -> str:
        return datetime.fromtimestamp(ns // SECOND, CHICAGO).strftime("%d %H:%M")

    return [(text(bar.ts_open), text(bar.ts_close), bar.volume // 2) for bar in bars if bar.timeframe == timeframe]


def test_a_day_of_index_futures_has_23_hours_and_one_day() -> None:
    found = run("equity", "2026-06-02 17:00", "2026-06-03 17:00")
    assert len(spans(found, "hourly")) == 23
    assert spans(found, "hourly")[0] == ("02 17:00", "02 18:00", 60)
    assert spans(found, "daily") == [("02 17:00", "03 16:00", 1380)]
    assert found[-2].timeframe == "hourly"  # at the same mark the hour comes before the day


@pytest.mark.parametrize(("day", "count"), [("2026-03-09", 1380), ("2026-11-02", 1380)])
def test_the_day_after_a_clock_change_is_as_long_as_any(day: str, count: int) -> None:
    sunday = f"{day[:-2]}{int(day[-2:]) - 1:02d}"
    found = run("equity", f"{sunday} 17:00", f"{day} 17:00")
    assert [(opens[3:], closes[3:], n) for opens, closes, n in spans(found, "daily")] == [("17:00", "16:00", count)]
    assert len(spans(found, "hourly")) == 23


def test_the_hour_of_the_halt_closes_at_its_full_end_without_the_halt() -> None:
    found = run("equity", "2020-06-02 17:00", "2020-06-03 17:00")
    assert spans(found, "hourly")[-1] == ("03 15:00", "03 16:00", 45)


def test_the_quarter_hour_before_the_old_close_is_an_hour_of_its_own() -> None:
    found = run("equity", "2013-10-06 17:00", "2013-10-07 17:00")
    assert spans(found, "hourly")[-2:] == [("07 15:00", "07 16:00", 45), ("07 16:00", "07 16:15", 15)]
    assert spans(found, "daily") == [("06 17:00", "07 16:15", 23 * 60)]


def test_grains_hours_end_with_the_night_and_with_the_day() -> None:
    found = run("grains", "2026-06-02 17:00", "2026-06-03 17:00")
    assert ("03 07:00", "03 07:45", 45) in spans(found, "hourly")
    assert ("03 08:00", "03 09:00", 30) in spans(found, "hourly")
    assert spans(found, "hourly")[-1] == ("03 13:00", "03 13:20", 20)
    assert spans(found, "daily") == [("02 19:00", "03 13:20", 12 * 60 + 45 + 290)]


def test_an_hour_closes_at_its_mark_although_its_last_minutes_are_quiet() -> None:
    opened = chicago("2026-06-02 17:00")
    found = run("equity", "2026-06-02 17:00", "2026-06-02 18:01", lambda ns: ns < opened + 5 * MINUTE_NS)
    assert spans(found, "hourly") == [("02 17:00", "02 18:00", 5)]
    assert run("equity", "2026-06-02 17:00", "2026-06-02 18:01", lambda ns: False) == []


def test_an_hour_folds_open_high_low_close_volume_and_trades() -> None:
    coarse = Coarse("equity")
    start = chicago("2026-06-02 17:00")
    for i, price in enumerate((5.0, 9.0, 2.0, 4.0)):
        coarse.fold(bar(start + i * MINUTE_NS, price))
    (hour,) = coarse.close(start + HOUR_NS, 0)
    assert (hour.open, hour.high, hour.low, hour.close, hour.volume, hour.trades) == (5.0, 10.0, 1.0, 4.5, 8, 4)


def test_bars_outside_the_session_belong_to_no_hour_or_day() -> None:
    coarse = Coarse("equity")
    coarse.fold(bar(chicago("2026-06-03 16:30"), flags=BarFlag.OFF_SESSION))
    assert coarse.close(chicago("2026-06-04 17:00"), 0) == []


def test_no_bar_mixes_two_contracts() -> None:
    coarse = Coarse("equity")
    start = chicago("2026-06-02 17:00")
    coarse.fold(bar(start, 1.0))
    coarse.fold(bar(start + MINUTE_NS, 50.0, contract="ESM6"))
    (hour,) = coarse.close(start + HOUR_NS, 0)
    assert (hour.contract, hour.open, hour.low, hour.trades) == ("ESM6", 50.0, 49.0, 1)


def test_an_hour_is_repaired_only_if_a_minute_of_its_own_was() -> None:
    coarse = Coarse("equity")
    start = chicago("2026-06-02 17:00")
    coarse.fold(bar(start, flags=BarFlag.REPAIRED))
    (first,) = coarse.close(start + HOUR_NS, 0)
    coarse.fold(bar(start + HOUR_NS))
    (second,) = coarse.close(start + 2 * HOUR_NS, 0)
    assert (first.flags, second.flags) == (BarFlag.REPAIRED, 0)
    (day,) = coarse.close(start + 23 * HOUR_NS, 0)
    assert day.flags == BarFlag.REPAIRED


def test_counts_know_every_fate_of_a_trade() -> None:
    """The demo's accounting and this file name the same fates."""
    builder = Builder()
    builder.trade(OPEN)
    builder.trade(OPEN, instrument_id=3)
    builder.trade(OPEN, instrument_id=4)
    builder.trade(OPEN, UNDEF_PRICE)
    builder.trade(OPEN - 1)
    builder.trade(2**64 - 1)
    builder.it.on_time(OPEN + MINUTE_NS + SECOND)
    builder.trade(OPEN)
    builder.trade(OPEN + MINUTE_NS)
    builder.it.restart()
    assert Counter(builder.counts) == Counter(TRADE_COUNTS)
