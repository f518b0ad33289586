"""History: whatever the files look like, the scan gets the bars the hub would have published, each once, in order."""

import math
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from research.history import sessions as calendar
from research.history.history import History, session_windows
from rooney.errors import ConfigError
from rooney.market import sessions
from rooney.market.instruments import group_of
from tests.support.paths import RECORDED_DATA, needs_recorded_data

MINUTE = sessions.MINUTE_NS
HOUR = sessions.HOUR_NS
OPEN = sessions.session_open_ns("fx", date(2026, 3, 10))  # 22:00Z on the 9th
ROOTS = ["ES", "GC"]
PRICES = ("open", "high", "low", "close", "volume")


def bar(ts: int, root: str = "ES", contract: str = "ESH6", price: float = 100.0, volume: int = 1, **more: Any) -> Any:
    row = {"ts_open": ts, "root": root, "contract": contract}
    return row | dict.fromkeys(PRICES[:4], price) | {"volume": volume} | more


def written(path: Path, rows: list[Any], **options: Any) -> Path:
    frame = pl.DataFrame(rows).with_columns(pl.col("ts_open").cast(pl.Datetime("ns", "UTC")))
    frame.write_parquet(path, **options)
    return path


def read(path: Path, roots: list[str] = ROOTS, **span: Any) -> Any:
    chunks = list(History(path, roots, **span).chunks())
    return np.concatenate(chunks)


def minutes_of(roots: list[str], count: int, step: int = 1) -> list[Any]:
    month = {"ES": "H", "GC": "J"}
    return [
        bar(OPEN + i * MINUTE, root, f"{root}{month[root]}6", 100.0 + i, i + 1)
        for i in range(0, count, step)
        for root in roots
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.randoms(use_true_random=False),
    group_rows=st.integers(1, 200),
    files=st.integers(1, 4),
    shuffled=st.booleans(),
)
def test_rows_files_and_row_groups_in_any_order_give_the_same_records(
    tmp_path: Path, order: Any, group_rows: int, files: int, shuffled: bool
) -> None:
    rows = [row | {"timeframe": "1min"} for row in minutes_of(ROOTS, 150)]  # of some, few are in a file
    expected = read(written(tmp_path / "plain.parquet", rows))
    assert len(expected) == len(rows)
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    if shuffled:
        order.shuffle(rows)
    else:
        rows.sort(key=lambda row: row["root"])
    for n in range(files):
        written(folder / f"{n}.parquet", rows[n::files], row_group_size=group_rows)
    assert read(folder).tobytes() == expected.tobytes()


def test_records_are_ordered_by_close_timeframe_and_instrument(tmp_path: Path) -> None:
    rows = minutes_of(ROOTS, 90)
    rows += [bar(OPEN + 30 * HOUR, timeframe="1h"), bar(OPEN + 31 * HOUR, "GC", "GCJ6", timeframe="hourly")]
    found = read(written(tmp_path / "a.parquet", rows))
    keys = [(int(r["ts_close"]), int(r["timeframe"]), int(r["instrument"])) for r in found]
    assert keys == sorted(keys)
    assert len(keys) == 182


def test_prices_and_contract_arrive_bit_for_bit(tmp_path: Path) -> None:
    rows = [bar(OPEN, price=1 / 3) | {"low": 0.1 + 0.2, "volume": 7}]
    found = read(written(tmp_path / "a.parquet", rows), ["ES"])[0]
    assert (found["open"], found["low"], found["volume"], found["contract"]) == (1 / 3, 0.1 + 0.2, 7.0, 202603)
    assert (found["ts_open"], found["ts_close"]) == (OPEN, OPEN + MINUTE)


def test_a_month_border_loses_and_doubles_nothing(tmp_path: Path) -> None:
    begin = int(datetime(2026, 3, 31, 22, tzinfo=UTC).timestamp()) * 10**9
    rows = [bar(begin + i * MINUTE, contract="ESM6") for i in range(300)]
    history = History(written(tmp_path / "a.parquet", rows), ["ES"])
    chunks = [len(chunk) for chunk in history.chunks()]
    assert chunks == [120, 180]
    assert history.bars == 300


def test_start_and_end_are_the_opens_from_and_before(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", minutes_of(["ES"], 100))
    at = datetime.fromtimestamp(OPEN // 10**9, UTC)
    found = read(path, start=at + timedelta(minutes=10), end=at + timedelta(minutes=20))
    assert found["ts_open"].tolist() == [OPEN + i * MINUTE for i in range(10, 20)]


@pytest.mark.parametrize(
    ("said", "start", "until_ns"),
    [
        (f"{OPEN + 2 * MINUTE}", None, OPEN + 2 * MINUTE),
        (f"{OPEN + 2 * MINUTE}", OPEN + MINUTE, 0),  # whoever names a start means it
        (f"{OPEN}", None, 0),
        (f"{OPEN + 9 * MINUTE}", None, 0),  # nothing would be left to trade
        ("yesterday", None, 0),
    ],
)
def test_a_file_says_up_to_when_its_bars_only_warm_up(
    said: str, start: int | None, until_ns: int, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.parquet", minutes_of(["ES"], 4))
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"warm_up_until_ns": said}), path)
    begin = datetime.fromtimestamp(start / 1e9, UTC) if start is not None else None
    assert History(path, ["ES"], begin).warm_up_until_ns == until_ns


def test_two_bars_of_one_minute_are_refused_with_their_time(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", [*minutes_of(["ES"], 5), bar(OPEN + MINUTE)])
    with pytest.raises(ConfigError, match=r"two bars of ESH6 at 2026-03-09T22:01"):
        read(path)


def test_stamps_in_another_unit_are_refused(tmp_path: Path) -> None:
    row = bar(OPEN // 1_000)
    pl.DataFrame([row]).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="no time in UTC ns"):
        History(tmp_path / "a.parquet", ["ES"])


@pytest.mark.parametrize(
    "named",
    [
        {"symbol": "ES"},
        {"symbol": "ESH6"},
        {"root": "ES", "symbol": "ESH6"},
        {"contract": "ESH2026"},
        {"root": "ES", "contract": "202603"},
    ],
)
def test_every_way_to_name_a_bar_is_read(tmp_path: Path, named: dict[str, str]) -> None:
    row = {key: value for key, value in bar(OPEN).items() if key not in ("root", "contract")} | named
    found = read(written(tmp_path / "a.parquet", [row]), ["ES"])
    assert found["contract"].tolist() == [0 if named == {"symbol": "ES"} else 202603]


def test_spreads_and_other_roots_are_left_out(tmp_path: Path) -> None:
    rows = [bar(OPEN), bar(OPEN, contract="ESH6-ESM6", price=-3.0), bar(OPEN, "NQ", "NQH6")]
    assert read(written(tmp_path / "a.parquet", rows), ["ES"])["close"].tolist() == [100.0]


def test_roots_without_bars_are_named(tmp_path: Path) -> None:
    assert History(written(tmp_path / "a.parquet", [bar(OPEN)]), ["ES", "ZW"]).missing == ["ZW"]


def test_hours_are_used_only_on_trade_dates_without_a_minute(tmp_path: Path) -> None:
    hours = [bar(OPEN + i * HOUR, timeframe="hourly", price=50.0) for i in range(40)]
    rows = [bar(OPEN + 5 * MINUTE, timeframe="1min"), *hours]
    history = History(written(tmp_path / "a.parquet", rows), ["ES"])
    found = np.concatenate(list(history.chunks()))
    assert found["timeframe"].tolist() == [0] + [1] * 16  # the 24 hours of the first trade date are not used
    assert history.finest == "1min"
    assert history.bars == 17


def test_days_are_used_only_where_nothing_finer_is(tmp_path: Path) -> None:
    rows = [bar(OPEN, timeframe="1h"), bar(OPEN, timeframe="1d"), bar(OPEN + 24 * HOUR, timeframe="daily")]
    history = History(written(tmp_path / "a.parquet", rows), ["ES"])
    assert [int(t) for t in np.concatenate(list(history.chunks()))["timeframe"]] == [1, 2]
    assert history.finest == "hourly"


def test_a_day_that_opens_with_its_session_is_known_at_the_close_and_any_other_after_24_hours(tmp_path: Path) -> None:
    midnight = OPEN + 26 * HOUR
    rows = [bar(OPEN, timeframe="1d"), bar(midnight, timeframe="1d")]
    found = read(written(tmp_path / "a.parquet", rows), ["ES"])
    close = sessions.session_close_ns("equity", date(2026, 3, 10))
    assert found["ts_close"].tolist() == [close, midnight + 24 * HOUR]


def test_a_file_that_is_no_parquet_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"a\.parquet: cannot be read"):
        History(tmp_path, ["ES"])


def test_an_unknown_timeframe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'5min' is none of"):
        History(written(tmp_path / "a.parquet", [bar(OPEN, timeframe="5min")]), ["ES"])


instants = st.integers(int(datetime(2011, 1, 1).timestamp()), int(datetime(2027, 1, 1).timestamp()))


@given(seconds=instants, root=st.sampled_from(["ES", "GC", "6E", "ZC", "CL"]))
def test_an_hour_closes_when_the_sessions_say(seconds: int, root: str) -> None:
    group, ts = group_of(root), seconds * 10**9
    windows = session_windows(group, ts - 10 * 24 * HOUR, ts + 10 * 24 * HOUR)
    inside = sessions.window_at(group, ts) is not None
    expected = sessions.hour_close_ns(group, ts) if inside else ts + HOUR
    assert calendar.hour_closes(np.array([ts]), windows).tolist() == [expected]


@given(seconds=instants)
def test_the_table_of_trade_dates_is_that_of_the_sessions(seconds: int) -> None:
    ts = seconds * 10**9
    assert calendar.EPOCH + timedelta(days=int(calendar.trade_date_of(np.array([ts]))[0])) == sessions.trade_date(ts)


def test_the_quarter_past_four_of_a_winter_before_2015_belongs_to_its_own_trade_date(tmp_path: Path) -> None:
    """22:05Z is still the session of the 10th, whose contract is traded; a roll waits for 23:00Z."""
    late = int(datetime(2014, 12, 10, 22, 5, tzinfo=UTC).timestamp()) * 10**9
    after = late + HOUR
    rows = [
        bar(late - HOUR, contract="ESZ4", volume=10),
        bar(late - HOUR, contract="ESH5", price=98.0, volume=20),
        bar(late, contract="ESZ4"),
        bar(late, contract="ESH5", price=98.0),
        bar(after, contract="ESH5", price=98.0),
    ]
    rows = [row | {"timeframe": "1min"} for row in rows]
    history = History(written(tmp_path / "a.parquet", rows), ["ES"])
    assert np.concatenate(list(history.chunks()))["contract"].tolist() == [201412, 201412, 201503]
    event = history.events[0]
    assert (event.ts, event.old_last, event.new_last) == (after - 4 * MINUTE, 100.0, 98.0)


def test_closes_alone_are_hours_known_an_hour_later_and_say_so(tmp_path: Path) -> None:
    rows = [
        {"ts_open": OPEN, "root": "ES", "close": 100.0, "close_adj": 90.0, "contract": "202603", "kind": "hour"},
        {"ts_open": OPEN + HOUR, "root": "ES", "close": 7.0, "close_adj": 7.0, "contract": "202603", "kind": "stamp23"},
        {"ts_open": OPEN + HOUR, "root": "ES", "close": 104.0, "close_adj": 92.0, "contract": "202606", "kind": "hour"},
    ]
    history = History(written(tmp_path / "a.parquet", rows), ["ES"])
    found = np.concatenate(list(history.chunks()))
    assert history.closes_only
    assert history.finest == "hourly"
    assert [[float(r[name]) for name in PRICES] for r in found] == [[100.0] * 4 + [0.0], [104.0] * 4 + [0.0]]
    assert found["ts_close"].tolist() == [OPEN + HOUR, OPEN + 2 * HOUR]
    event = history.events[0]  # the distance to the adjusted series grew from 10 to 12: June costs 2 more than March
    assert (event.ts, event.contract, event.old_last, event.new_last) == (OPEN + 2 * HOUR, 202606, 100.0, 102.0)


@needs_recorded_data
def test_years_of_real_closes_are_read_with_their_rolls() -> None:
    history = History(RECORDED_DATA / "close_1h", ["ES", "6C"])
    assert history.closes_only
    assert history.missing == []
    assert sum(len(chunk) for chunk in history.chunks()) == history.bars > 60_000
    assert all(math.isfinite(event.new_last) for event in history.events)
    assert {event.root for event in history.events} == {"ES"}  # of 6C only the adjusted closes are there


def test_a_root_that_has_adjusted_closes_alone_is_one_contract_of_them(tmp_path: Path) -> None:
    rows = [
        {"ts_open": OPEN + k * HOUR, "root": root, "close": close, "close_adj": 90.0 + k, "contract": contract}
        for root, close in (("ES", 100.0), ("NQ", None))
        for k, contract in enumerate(("202603", "202606"))
    ]
    history = History(written(tmp_path / "a.parquet", rows), ["ES", "NQ"])
    found = np.concatenate(list(history.chunks()))
    adjusted = found[found["instrument"] == 1]
    assert adjusted["close"].tolist() == [90.0, 91.0]
    assert adjusted["contract"].tolist() == [0, 0]
    assert [event.root for event in history.events] == ["ES"]


@needs_recorded_data
def test_real_hours_of_several_contracts_are_chosen_by_the_hubs_rule(tmp_path: Path) -> None:
    frame = pl.read_parquet(RECORDED_DATA / "bars_1h" / "ES_GC_lean.parquet").with_columns(
        pl.lit("1h").alias("timeframe")
    )
    frame.write_parquet(tmp_path / "hours.parquet")
    found = read(tmp_path / "hours.parquet", ["ES"])
    front = frame.filter(pl.col("symbol") == "ESZ3")
    assert found["contract"].tolist() == [201312] * len(front)
    assert found["close"].tolist() == front.sort("ts_event")["close"].to_list()


DBN = RECORDED_DATA / "dbn"


@needs_recorded_data
@pytest.mark.parametrize(("schema", "finest"), [("ohlcv-1m", "1min"), ("ohlcv-1h", "hourly"), ("ohlcv-1d", "daily")])
def test_databento_bars_are_those_of_its_own_reader(schema: str, finest: str) -> None:
    import databento

    file = DBN / f"dbpy_glbx_test_data.{schema}.dbn.zst"
    history = History(file, ["ES"])
    found = np.concatenate(list(history.chunks()))
    frame = databento.DBNStore.from_file(file).to_df()
    assert history.finest == finest
    assert found["close"].tolist() == frame["close"].tolist()
    assert found["ts_open"].tolist() == [stamp.value for stamp in frame.index]
    assert set(found["contract"].tolist()) == {202103}


@needs_recorded_data
def test_databento_trades_are_folded_into_minutes_of_their_arrival() -> None:
    import databento

    file = DBN / "dbpy_glbx_test_data.trades.dbn.zst"
    found = read(file, ["ES"])
    frame = databento.DBNStore.from_file(file).to_df()  # indexed by ts_recv
    assert found["ts_open"].tolist() == sorted({stamp.value // MINUTE * MINUTE for stamp in frame.index})
    assert found["volume"].sum() == frame["size"].sum()
    assert (found["high"].max(), found["low"].min()) == (frame["price"].max(), frame["price"].min())


@needs_recorded_data
def test_a_schema_without_bars_or_trades_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mbp-1.*taken are ohlcv-1m"):
        History(DBN / "dbpy_glbx_test_data.mbp-1.dbn.zst", ["ES"])
