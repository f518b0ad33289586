"""Bars folded from real trades against bars that somebody else folded from them and published.

Databento's own minutes at hand are others than those its trades at hand are of: the second test looks at every file, so
that data added later has to be compared too. What stands in for it: gold's trades and minutes of one source, all of
them; for the closes of Databento's bars the last trade of each minute, which its bbo-1m records carry; and its seconds,
minutes and hours against the next coarser ones. Hours and days of the real ES and GC minutes are in test_sessions.py.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import databento
import pytest

from rooney.hub.databento import contract_at
from rooney.market.bars import PRICE_SCALE, ClosedMinute, ContractMinute, MinuteBuilder
from rooney.market.instruments import group_of
from rooney.market.messages import Bar
from rooney.market.resample import Coarse
from rooney.market.sessions import MINUTE_NS
from rooney.sim.databento.sources import read
from tests.support.paths import RECORDED_DATA, needs_recorded_data

pytestmark = needs_recorded_data
SECOND_NS = 1_000_000_000
DAY_NS = 24 * 60 * MINUTE_NS
LENGTH_NS = {"ohlcv-1s": SECOND_NS, "ohlcv-1m": MINUTE_NS, "ohlcv-1h": 60 * MINUTE_NS, "ohlcv-1d": DAY_NS}

Trade = tuple[str, int, int, int]  # raw symbol, ts_recv, price (1e-9), size
Prices = tuple[float, float, float, float, int]  # open, high, low, close, volume


def folded(trades: Iterable[Trade]) -> dict[tuple[str, int], Prices]:
    """(contract, start of its minute) → what the hub's builder makes of trades in the order they came."""
    trades = list(trades)
    begin = trades[0][1] - trades[0][1] % MINUTE_NS
    closed: list[ClosedMinute] = []
    ids = {raw: number for number, raw in enumerate(dict.fromkeys(trade[0] for trade in trades), start=1)}
    contracts = {raw: contract_at(raw, begin) for raw in ids}
    groups = {group_of(contract.root) for contract in contracts.values() if contract is not None}
    builder = MinuteBuilder(groups, begin, 50_000_000, closed.append, time.time_ns)
    for raw, number in ids.items():
        builder.map(number, contracts[raw])
    for raw, ts_recv, price, size in trades:
        builder.on_trade(ids[raw], ts_recv, price, size)
    builder.complete_until(trades[-1][1] + 2 * MINUTE_NS)
    return {
        (part.contract.raw, minute.ts_close - MINUTE_NS): prices(part, minute.ts_close)
        for minute in closed
        for part in minute.contracts
    }


def prices(part: ContractMinute, ts_close: int) -> Prices:
    bar = part.bar(ts_close - MINUTE_NS, 0, 0)
    return bar.open, bar.high, bar.low, bar.close, bar.volume


def begins(part: Prices, whole: Prices) -> bool:
    """Whether a bar may be the beginning of another."""
    return part[0] == whole[0] and part[1] <= whole[1] and part[2] >= whole[2] and part[4] <= whole[4]


# ── gold, 2013: trades and minutes of one source ──


def gold_trades() -> list[Trade]:
    source = read([RECORDED_DATA / "trades/GC_lean_2013-10-07_08.parquet"])
    raws = {one.instrument_id: one.raw for one in source.instruments}
    columns = source.trades[["instrument_id", "ts_recv", "price", "size"]].tolist()
    return [(raws[number], ts, price, size) for number, ts, price, size in columns]


def test_every_minute_of_all_eleven_gold_contracts_is_the_published_one_but_for_the_last_of_each_utc_day() -> None:
    """All five fields of 3,037 bars. The source closes its files at midnight UTC and loses trades of what is open then:
    thirteen bars, each the last one of its contract on its day, and each a beginning of the true one."""
    pl = pytest.importorskip("polars")
    table = pl.read_parquet(RECORDED_DATA / "bars_1m/GC_lean_2013.parquet").with_columns(
        pl.col("ts_event").cast(pl.Int64)
    )
    published: dict[tuple[str, int], Prices] = {
        (row["symbol"], row["ts_event"]): (row["open"], row["high"], row["low"], row["close"], row["volume"])
        for row in table.iter_rows(named=True)
    }
    found = folded(gold_trades())
    assert len(found) == len(published) == 3_037
    assert found.keys() == published.keys()
    last: dict[tuple[str, int], int] = defaultdict(int)
    for raw, ts in published:
        last[raw, ts // DAY_NS] = max(last[raw, ts // DAY_NS], ts)
    different = [key for key in found if found[key] != published[key]]
    assert len(different) == 13
    assert all(ts == last[raw, ts // DAY_NS] for raw, ts in different)
    assert all(begins(published[key], found[key]) for key in different)


# ── Databento's files ──


def stored(schema: str) -> Iterator[tuple[Path, Any]]:
    for path in sorted((RECORDED_DATA / "dbn").glob("*.dbn.zst")):
        store = databento.DBNStore.from_file(path)
        if str(store.schema) == schema:
            yield path, store


def bars(schema: str) -> dict[tuple[int, int], Prices]:
    """(instrument_id, start) → Databento's own bar, of all files."""
    return {
        (bar.instrument_id, bar.ts_event): (
            bar.open / PRICE_SCALE,
            bar.high / PRICE_SCALE,
            bar.low / PRICE_SCALE,
            bar.close / PRICE_SCALE,
            bar.volume,
        )
        for _, store in stored(schema)
        for bar in store
    }


def traded() -> dict[int, list[tuple[int, int, int]]]:
    """instrument_id → (ts_recv, price, size) of every trade in every file of Databento's."""
    found: dict[int, set[tuple[int, int, int, int]]] = defaultdict(set)
    for schema in ("trades", "tbbo", "mbo"):
        for _, store in stored(schema):
            for one in store:
                if one.action == "T":
                    found[one.instrument_id].add((one.ts_recv, one.sequence, one.price, one.size))
    return {number: [(ts, price, size) for ts, _, price, size in sorted(rows)] for number, rows in found.items()}


def test_no_trade_of_databento_lies_in_a_whole_minute_of_its_bars() -> None:
    """There is one common minute, and of it the first four trades: they begin its bar of a second, a minute, an hour
    and a day. A file that brings more has to be compared here bar by bar."""
    trades = traded()
    assert sum(map(len, trades.values())) > 2_900
    for schema, length_ns in LENGTH_NS.items():
        common: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
        for key in bars(schema):
            inside = [one for one in trades.get(key[0], ()) if key[1] <= one[0] < key[1] + length_ns]
            if inside:
                common[key] = inside
        assert [len(inside) for inside in common.values()] == [4], schema
        ((key, inside),) = common.items()
        ((_, made),) = folded(("ESH1", *one) for one in inside).items()
        assert begins(made, bars(schema)[key])


@pytest.mark.parametrize(
    ("name", "count"),
    [("nt_20240509_futures_bbo-1m_2024-05-09T09-55_2024-05-09T10-05", 18), ("dbpy_glbx_test_data.bbo-1m", 3)],
)
def test_the_last_trade_of_a_minute_makes_the_close_of_databento_s_own_bar(name: str, count: int) -> None:
    """A bbo-1m record holds the last trade before its minute's end: put into minutes as the hub does, by event time."""
    published, checked = bars("ohlcv-1m"), 0
    by_id: dict[int, list[Trade]] = defaultdict(list)
    for record in databento.DBNStore.from_file(RECORDED_DATA / "dbn" / f"{name}.dbn.zst"):
        # No raw symbols in these files: any contract of the root's own scale does, the number tells them apart.
        by_id[record.instrument_id].append(("ESM4", record.ts_event, record.price, record.size))
    for number, trades in by_id.items():
        for (_, minute), made in folded(trades).items():
            wanted = published.get((number, minute))
            if wanted is not None:
                assert made[3] == wanted[3]
                assert wanted[2] <= made[3] <= wanted[1]
                checked += 1
    assert checked == count


def test_databento_s_seconds_begin_its_minute_and_its_minutes_begin_its_hour() -> None:
    """Four of each, the first ones: folded by the hub's own classes they are a beginning of the next coarser bar."""
    seconds, minutes, hours, days = (bars(schema) for schema in LENGTH_NS)
    (number,) = {number for number, _ in seconds}
    begin = min(ts for _, ts in seconds)
    trades = [
        ("ESH1", ts + k, round(price * PRICE_SCALE), bar[4] if k == 3 else 0)
        for (_, ts), bar in sorted(seconds.items())
        for k, price in enumerate(bar[:4])
    ]
    assert folded(trades).keys() == {("ESH1", begin)}
    assert begins(folded(trades)["ESH1", begin], minutes[number, begin])
    coarse = Coarse("equity")
    own = sorted((ts, bar) for (of, ts), bar in minutes.items() if of == number)
    for ts, bar in own:
        coarse.fold(Bar("ES", "ESH1", "1min", ts, ts + MINUTE_NS, *bar, 1))
    (hour,) = [bar for bar in coarse.close(begin + 60 * MINUTE_NS, 0) if bar.timeframe == "hourly"]
    assert (hour.ts_open, len(own)) == (begin, 4)
    made = hour.open, hour.high, hour.low, hour.close, hour.volume
    assert begins(made, hours[number, begin])
    assert made[3] == own[-1][1][3]
    for whole in hours, days:
        assert begins(minutes[number, begin], whole[number, begin])
    morning = [bar for _, bar in sorted(hours.items())]
    highest, lowest = max(bar[1] for bar in morning), min(bar[2] for bar in morning)
    assert begins((morning[0][0], highest, lowest, morning[-1][3], sum(bar[4] for bar in morning)), days[number, begin])
