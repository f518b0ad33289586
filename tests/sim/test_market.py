"""The synthetic market: deterministic, on the exchange's hours and tick grids, continuous through rolls."""

import time
from datetime import date

import numpy as np
import pytest

from rooney.market.instruments import PRODUCTS, parse_contract
from rooney.market.messages import Bar
from rooney.market.sessions import MINUTE_NS, previous_trade_date, session_close_ns, session_open_ns, window_at
from rooney.sim.characters import CHARACTERS, FIRST_SESSION
from rooney.sim.databento.wire import PRICE_SCALE, Trades
from rooney.sim.market import Market
from tests.support import market_bars

THURSDAY = date(2026, 3, 12)


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(seed=7)


@pytest.fixture(scope="module")
def session(market: Market) -> Trades:
    return everything(market)


def everything(market: Market, from_ns: int = 0) -> Trades:
    return np.concatenate(list(market.batches(from_ns)))


def of(market: Market, trades: Trades, raw: str) -> Trades:
    number = next(i.instrument_id for i in market.instruments if i.raw == raw)
    found: Trades = trades[trades["instrument_id"] == number]
    return found


def test_the_same_seed_gives_the_same_bytes(session: Trades) -> None:
    assert everything(Market(seed=7)).tobytes() == session.tobytes()
    assert everything(Market(seed=8)).tobytes() != session.tobytes()


def test_a_root_trades_the_same_whichever_others_are_made(market: Market, session: Trades) -> None:
    alone = Market(seed=7, roots=["ZW"])
    for field in ("ts_event", "price", "size", "side"):
        assert (of(alone, everything(alone), "ZWK6")[field] == of(market, session, "ZWK6")[field]).all()


def test_every_root_trades_in_two_months_and_more_and_in_spreads(market: Market, session: Trades) -> None:
    traded = set(np.unique(session["instrument_id"]).tolist())
    for root in CHARACTERS:
        raws = [i.raw for i in market.instruments if i.root == root and i.instrument_id in traded]
        assert sum("-" not in raw for raw in raws) == 3
        assert sum("-" in raw for raw in raws) == 2


def test_the_fronts_are_the_contracts_that_were_liquid_then(market: Market) -> None:
    fronts = {root: market_bars.leader(market, root, FIRST_SESSION).raw for root in CHARACTERS}
    assert fronts["ES"] == "ESH6"
    assert fronts["6A"] == "6AH6"
    assert fronts["CL"] == "CLJ6"
    assert fronts["GC"] == "GCJ6"
    assert fronts["SI"] == "SIK6"
    assert fronts["ZC"] == "ZCK6"


def test_prices_lie_on_the_tick_grid_near_the_usual_level(market: Market, session: Trades) -> None:
    for instrument in market.instruments:
        prices = session["price"][session["instrument_id"] == instrument.instrument_id]
        tick_e9 = round(PRODUCTS[instrument.root].tick_size * PRICE_SCALE)
        if instrument.outright:
            assert (prices % tick_e9 == 0).all()
            assert np.abs(prices / PRICE_SCALE / CHARACTERS[instrument.root].level - 1).max() < 0.2
        else:
            assert (prices % (tick_e9 // 5 if PRODUCTS[instrument.root].group == "equity" else tick_e9) == 0).all()


def test_spread_prices_are_differences_and_may_be_negative(market: Market, session: Trades) -> None:
    near, far, spread = (of(market, session, raw)["price"] for raw in ("ESH6", "ESM6", "ESH6-ESM6"))
    assert (spread < 0).all()
    assert abs(np.median(spread) - (np.median(near) - np.median(far))) < 10 * PRICE_SCALE


def test_trades_are_strictly_ordered_by_ts_recv_shortly_after_ts_event(session: Trades) -> None:
    assert (np.diff(session["ts_recv"].astype(np.int64)) > 0).all()
    latency = session["ts_recv"].astype(np.int64) - session["ts_event"].astype(np.int64)
    assert latency.min() >= 200_000
    assert latency.max() <= 2_001_000


def test_trades_come_only_while_their_group_is_open(market: Market, session: Trades) -> None:
    groups = {i.instrument_id: PRODUCTS[i.root].group for i in market.instruments}
    minutes = np.unique(np.stack((session["instrument_id"], session["ts_recv"] // MINUTE_NS), axis=1), axis=0)
    for number, minute in minutes.tolist():
        window = window_at(groups[number], minute * MINUTE_NS)
        assert window is not None
        assert window.trade_date == FIRST_SESSION


def test_a_default_session_has_some_hundred_thousand_trades(session: Trades) -> None:
    assert 300_000 < len(session) < 500_000


def test_trading_is_busy_by_day_quiet_by_night_and_thin_in_illiquid_roots(market: Market, session: Trades) -> None:
    opened = session_open_ns("equity", FIRST_SESSION)

    def per_minute(raw: str) -> np.ndarray:
        minute = (of(market, session, raw)["ts_recv"].astype(np.int64) - opened) // MINUTE_NS
        return np.bincount(minute, minlength=23 * 60)

    es, kiwi = per_minute("ESH6"), per_minute("6NH6")
    night, open_, noon, close = (es[int(h * 60) : int(h * 60) + 30].mean() for h in (4, 15.5, 18.5, 21.5))
    assert night < noon / 3
    assert noon < open_ / 1.5
    assert noon < close / 1.3
    assert (es == 0).sum() < 20
    assert (kiwi == 0).sum() > 200


def test_the_history_is_what_would_have_been_streamed() -> None:
    market = Market(seed=7, first=THURSDAY, roots=["ES", "6N", "ZW"])
    day_before = [bar for bar in market_bars.bars(market, FIRST_SESSION) if bar.symbol == "6N"]
    streamed = Market(seed=7, roots=["ES", "6N", "ZW"])
    trades = of(streamed, everything(streamed), "6NH6")
    minutes = trades["ts_recv"] // MINUTE_NS * MINUTE_NS
    expected = []
    for minute in np.unique(minutes).tolist():
        of_minute = trades[minutes == minute]
        prices = of_minute["price"] / PRICE_SCALE
        expected.append(
            Bar(
                "6N",
                "6NH6",
                "1min",
                minute,
                minute + MINUTE_NS,
                prices[0],
                prices.max(),
                prices.min(),
                prices[-1],
                int(of_minute["size"].sum()),
                len(of_minute),
            )
        )
    assert day_before == expected


def test_the_history_joins_the_stream_without_a_jump(market: Market, session: Trades) -> None:
    days = [previous_trade_date(previous_trade_date(FIRST_SESSION)), previous_trade_date(FIRST_SESSION)]
    history = [bar for day in days for bar in market_bars.bars(market, day)]
    assert {bar.symbol for bar in history} == set(CHARACTERS)
    assert [bar.ts_open for bar in history] == sorted(bar.ts_open for bar in history)
    for root, character in CHARACTERS.items():
        last = next(bar for bar in reversed(history) if bar.symbol == root)
        first = of(market, session, last.contract)["price"][0] / PRICE_SCALE
        assert last.ts_close <= session_close_ns(PRODUCTS[root].group, date(2026, 3, 10))
        assert abs(first / last.close - 1) < 0.3 * character.sigma + 3 * PRODUCTS[root].tick_size / last.close


def test_consecutive_sessions_join_over_a_weekend() -> None:
    market = Market(roots=["ES"], first=date(2026, 3, 6), sessions=2)
    assert market.days == [date(2026, 3, 6), date(2026, 3, 9)]
    trades = of(market, everything(market), "ESH6")
    gap = int(np.argmax(np.diff(trades["ts_recv"].astype(np.int64))))
    assert abs(int(trades["price"][gap + 1] - trades["price"][gap])) < 20 * PRICE_SCALE


def test_reading_from_a_later_time_gives_the_same_trades() -> None:
    market = Market(roots=["ES", "ZC"], sessions=2)
    whole = everything(market)
    middle = int(whole["ts_recv"][len(whole) * 2 // 3])
    assert everything(market, middle).tobytes() == whole[whole["ts_recv"] >= middle].tobytes()


def test_at_a_roll_the_volume_moves_to_the_next_contract_at_another_price_level() -> None:
    market = Market(roots=["ES", "CL"], sessions=2, rolls={"ES": THURSDAY})
    before, after = market.day_volumes(FIRST_SESSION), market.day_volumes(THURSDAY)
    assert before["ESH6"] > before["ESM6"]
    assert after["ESH6"] < after["ESM6"]
    assert after["CLJ6"] > after["CLK6"]
    trades = everything(market)
    step = int(of(market, trades, "ESM6")["price"][-1]) - int(of(market, trades, "ESH6")["price"][-1])
    assert step > 30 * PRICE_SCALE
    # The contract of a day is the leader of the day before: the roll comes one session after the volume.
    assert market_bars.held(market, "ES", THURSDAY).raw == "ESH6"
    assert market_bars.held(market, "ES", date(2026, 3, 13)).raw == "ESM6"


def test_without_a_chosen_date_each_root_rolls_before_its_deadline() -> None:
    market = Market(roots=["6A", "ES"], sessions=5)
    assert [market_bars.leader(market, "6A", day).raw for day in market.days] == [
        "6AH6",
        "6AM6",
        "6AM6",
        "6AM6",
        "6AM6",
    ]
    assert [market_bars.leader(market, "ES", day).raw for day in market.days] == [
        "ESH6",
        "ESH6",
        "ESH6",
        "ESM6",
        "ESM6",
    ]


def test_day_volumes_are_those_of_the_trades(market: Market, session: Trades) -> None:
    volumes = market.day_volumes(FIRST_SESSION)
    for raw in ("ESH6", "ESM6", "ESH6-ESM6", "ZWK6"):
        assert volumes[raw] == int(of(market, session, raw)["size"].sum())


def test_an_unknown_root_or_a_weekend_is_refused() -> None:
    with pytest.raises(ValueError, match="no synthetic market for ZB"):
        Market(roots=["ZB"])
    with pytest.raises(ValueError, match="no trade date"):
        Market(first=date(2026, 3, 7))


def test_every_raw_symbol_is_read_as_an_outright_or_contains_a_dash(market: Market) -> None:
    for instrument in market.instruments:
        assert (parse_contract(instrument.raw, FIRST_SESSION) is None) == ("-" in instrument.raw)


def test_a_session_of_all_roots_is_made_in_a_few_seconds() -> None:
    """Takes 0.4 s on an idle 2 GHz core; the limit only catches a loop that is no longer vectorised."""
    started = time.monotonic()
    everything(Market(seed=99))
    assert time.monotonic() - started < 10
