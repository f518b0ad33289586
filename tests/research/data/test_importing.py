"""Bars from files: what is wrong with them is counted and named, what is right comes out bit for bit."""

import gzip
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from research.data.checks import check
from research.data.frame import READ, STORED
from research.data.sources import Reading, read
from research.data.store import Part, Store
from research.history.columns import scan
from research.history.dbn import points
from research.history.findings import KINDS
from research.history.history import History
from rooney.cli import cli
from rooney.errors import ConfigError
from rooney.market import sessions
from rooney.market.instruments import PRODUCTS, Contract, parse_contract
from rooney.market.sessions import MINUTE_NS
from tests.support.paths import RECORDED_DATA, needs_recorded_data

OPENS = datetime(2026, 3, 9, 22, 0, tzinfo=UTC)  # of the trade date 2026-03-10
COLUMNS = "ts_open,symbol,open,high,low,close,volume"


def bars(n: int = 1_380, root: str = "ES", contract: str = "ESM2026", start: datetime = OPENS) -> pl.DataFrame:
    """Good minutes, one after the other."""
    k = np.arange(n)
    open_ = 6800 + 0.25 * (k % 7)
    return pl.DataFrame(
        {
            "row": k + 1,
            "ts_open": [start + timedelta(minutes=int(i)) for i in k],
            "root": root,
            "contract": contract,
            "timeframe": "1min",
            "open": open_,
            "high": open_ + 1,
            "low": open_ - 1.25,
            "close": open_ + 0.5,
            "volume": 10.0 + k % 5,
        },
        schema=READ,
    )


def numbered(*frames: pl.DataFrame) -> pl.DataFrame:
    """One file of several pieces."""
    return pl.concat(frames).with_columns(row=pl.int_range(1, pl.len() + 1))


def found(frame: pl.DataFrame, **options: Any) -> dict[str, tuple[int, list[tuple[int | None, str]]]]:
    """kind → count and examples."""
    findings = check("f.csv", frame, **options).findings
    return {one.kind: (one.count, [(example.row, example.value) for example in one.examples]) for one in findings}


def changed(row: int, **values: Any) -> pl.DataFrame:
    """Good bars, but for one row, counted from 1."""
    here = pl.col("row") == row
    return bars().with_columns(
        pl.when(here).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name, value in values.items()
    )


def rooney(*arguments: object) -> Any:
    """(exit status, JSON) of a `rooney data` command."""
    done = CliRunner().invoke(cli, ["data", *map(str, arguments), "--json"])
    assert done.stdout, done.exception
    return done.exit_code, json.loads(done.stdout)


def test_good_bars_have_no_findings_and_come_out_as_they_are() -> None:
    checked = check("f", bars())
    assert checked.findings == []
    assert checked.bars.equals(bars().select(pl.col(name).cast(kind) for name, kind in STORED.items()))


@pytest.mark.parametrize(
    ("kind", "values", "shown"),
    [
        ("not_a_number", {"close": float("nan")}, "ESM2026 2026-03-09T22:03:00Z 6800.75 6801.75 6799.5 nan 13"),
        ("not_a_number", {"open": None}, "ESM2026 2026-03-09T22:03:00Z nothing 6801.75"),
        ("not_a_number", {"high": float("inf")}, "ESM2026 2026-03-09T22:03:00Z 6800.75 inf"),
        ("inconsistent", {"high": 6800.5}, "ESM2026 2026-03-09T22:03:00Z 6800.75 6800.5 6799.5 6801.25"),
        ("inconsistent", {"low": 6801.0}, "ESM2026 2026-03-09T22:03:00Z 6800.75 6801.75 6801 6801.25"),
        ("bad_volume", {"volume": -3.0}, "ESM2026 2026-03-09T22:03:00Z 6800.75 6801.75 6799.5 6801.25 -3"),
        ("bad_volume", {"volume": 2.5}, "ESM2026 2026-03-09T22:03:00Z 6800.75 6801.75 6799.5 6801.25 2.5"),
        ("bad_volume", {"volume": None}, "ESM2026 2026-03-09T22:03:00Z 6800.75 6801.75 6799.5 6801.25 nothing"),
        ("off_minute", {"ts_open": OPENS + timedelta(seconds=30)}, "ESM2026 2026-03-09T22:00:30Z"),
        ("no_time", {"ts_open": None}, "ESM2026 no time 6800.75"),
        ("not_outright", {"contract": "ESM6-ESU6"}, "ESM6-ESU6"),
        ("no_root", {"root": "../x"}, "ESM2026 in ../x"),
        ("wrong_root", {"root": "NQ"}, "ESM2026 in NQ"),
    ],
)
def test_what_cannot_be_a_bar_is_left_out_and_named(kind: str, values: dict[str, Any], shown: str) -> None:
    frame = changed(4, **values)
    count, examples = found(frame)[kind]
    assert count == 1
    assert examples[0][0] == 4
    assert examples[0][1].startswith(shown)
    assert len(check("f", frame).bars) == len(frame) - 1
    assert "left out" in KINDS[kind].done


def test_a_flat_bar_without_volume_is_no_bar() -> None:
    frame = changed(4, open=6800.0, high=6800.0, low=6800.0, close=6800.0, volume=0.0)
    assert found(frame)["no_trade"][0] == 1
    assert len(check("f", frame).bars) == len(frame) - 1


def test_the_same_bar_twice_is_kept_once_and_another_one_of_its_minute_is_left_out() -> None:
    frame = bars()
    twice = pl.concat(
        [
            frame,
            frame[10:12].with_columns(pl.col("row") + 10_000),
            frame[20:21].with_columns(pl.lit(6801.0).alias("close")),
        ]
    )
    assert found(twice)["duplicate"][0] == 2
    assert found(twice)["conflict"][0] == 1
    assert check("f", twice).bars.equals(check("f", frame).bars)


def test_a_price_between_two_ticks_is_kept_and_said() -> None:
    kinds = found(changed(4, close=6801.1))
    assert kinds == {"off_grid": (1, [(4, "6801.1, tick 0.25")])}
    assert len(check("f", changed(4, close=6801.1)).bars) == 1_380


def test_float_noise_is_no_price_between_two_ticks_and_does_not_stay() -> None:
    noisy = changed(4, close=6801.2500000003)
    assert found(noisy) == {}
    assert check("f", noisy).bars["close"][3] == 6801.25


def test_unsorted_rows_are_sorted_and_said() -> None:
    frame = numbered(bars()[:50], bars()[60:], bars()[50:60])
    assert found(frame)["unsorted"][0] == 10
    assert check("f", frame).bars.equals(check("f", bars()).bars)


def test_one_contract_after_the_other_is_not_unsorted() -> None:
    assert found(numbered(bars(), bars(contract="ESU2026"))) == {}


def test_an_hour_of_the_session_without_a_bar_is_a_gap_and_the_daily_break_is_none() -> None:
    two_days = numbered(bars(), bars(start=OPENS + timedelta(days=1)))
    assert found(two_days) == {}
    hole = two_days.filter(~pl.col("ts_open").is_between(OPENS + timedelta(hours=5), OPENS + timedelta(hours=6)))
    assert found(hole)["gap"] == (1, [(None, "ES 1min: 2026-03-10T03:00Z to 2026-03-10T04:01Z, 1.0 session hours")])


def test_a_bar_in_the_daily_break_is_kept_and_said() -> None:
    late = bars(1_381)
    assert found(late)["off_session"][0] == 1
    assert len(check("f", late).bars) == 1_381


def test_close_stamped_bars_are_noticed_and_taken_as_what_they_are_when_said_so() -> None:
    closing = bars().with_columns(pl.col("ts_open") + timedelta(minutes=1))
    assert "close_stamped" in found(closing)
    checked = check("f", closing, stamp="close")
    assert checked.findings == []
    assert checked.bars.equals(check("f", bars()).bars)


def test_open_stamped_bars_said_to_be_close_stamped_are_noticed() -> None:
    assert "open_stamped" in found(bars(), stamp="close")


def test_wall_time_that_passes_for_utc_is_noticed() -> None:
    days = numbered(*(bars(start=OPENS + timedelta(days=k)) for k in range(3)))
    local = days.with_columns(
        pl.col("ts_open").dt.convert_time_zone("America/Chicago").dt.replace_time_zone(None).dt.replace_time_zone("UTC")
    )
    text = found(local)["wrong_zone"][1][0][1]
    assert "America/Chicago" in text
    assert "wrong_zone" not in found(days)


def test_a_daily_bar_must_begin_at_the_open_of_its_trade_date() -> None:
    opens = sessions.session_open_ns("equity", datetime(2026, 3, 10).date())
    midnight = int(datetime(2026, 3, 10, tzinfo=UTC).timestamp()) * 1_000_000_000
    daily = bars(2).with_columns(
        pl.Series("ts_open", [opens, midnight]).cast(pl.Datetime("ns")).dt.replace_time_zone("UTC"),
        timeframe=pl.lit("daily"),
    )
    assert found(daily)["daily_stamp"] == (1, [(2, "2026-03-10 00:00:00.000000000+00:00")])
    assert len(check("f", daily).bars) == 1


def test_an_unknown_root_is_kept_and_a_note() -> None:
    findings = check("f", bars(root="XYZ", contract="XYZM2026")).findings
    assert [(one.kind, one.problem) for one in findings] == [("unknown_root", False)]


@given(st.lists(st.integers(-(10**12), 10**15), min_size=1, max_size=50))
def test_prices_are_divided_as_the_hub_divides_them(prices: list[int]) -> None:
    assert points(np.array(prices, np.int64)).tolist() == [price / 1_000_000_000 for price in prices]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_any_cut_of_the_input_into_files_gives_the_same_store(tmp_path: Path, seed: int, pieces: int) -> None:
    random = Random(seed)
    frame = pl.concat([bars(200), bars(150, contract="ESU2026"), bars(100, "GC", "GCJ2026")]).drop("row")
    whole = check("f", frame.with_row_index("row").select(pl.col(n).cast(k) for n, k in READ.items())).bars
    directory = tmp_path / f"{random.getrandbits(64)}"
    parts: list[list[int]] = [[] for _ in range(pieces)]
    for i in range(len(frame)):
        parts[random.randrange(pieces)].append(i)
        if random.random() < 0.1:
            parts[random.randrange(pieces)].append(i)
    for rows in parts:
        part = frame[rows].with_row_index("row").select(pl.col(n).cast(k) for n, k in READ.items())
        Store(directory).add(check("f", part).bars)
    stored = pl.concat([Store(directory).read(part) for part in Store(directory).parts()])
    assert stored.sort("root", "ts_open", "contract").equals(whole.sort("root", "ts_open", "contract"))


# ── files ──


def write_csv(path: Path, *lines: str, header: str = COLUMNS) -> Path:
    text = "\n".join((header, *lines)) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


ROW = "ESM6,6800,6801,6799.25,6800.5,12"


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-03-10T14:30:00Z",
        "2026-03-10 14:30Z",
        "2026-03-10T09:30-05:00",
        "2026-03-10 14:30:00.000+0000",
        "1773153000000000000",
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_times_with_a_zone_are_read_as_what_they_say(tmp_path: Path, stamp: str, name: str) -> None:
    frame = read(write_csv(tmp_path / name, f"{stamp},{ROW}"), Reading())
    assert frame["ts_open"].to_list() == [datetime(2026, 3, 10, 14, 30, tzinfo=UTC)]
    assert frame.drop("ts_open").row(0) == (1, "ES", "ESM2026", "1min", 6800.0, 6801.0, 6799.25, 6800.5, 12.0)


def test_times_without_a_zone_are_refused_unless_it_is_given(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", f"2026-03-10 09:30:00,{ROW}")
    with pytest.raises(ConfigError, match=r"a\.csv: ts_open has no time zone; say which one with --zone"):
        read(file, Reading())
    frame = read(file, Reading(zone="America/Chicago"))
    assert frame["ts_open"][0] == datetime(2026, 3, 10, 9, 30, tzinfo=ZoneInfo("America/Chicago"))


def test_a_naive_parquet_column_is_refused_unless_the_zone_is_given(tmp_path: Path) -> None:
    naive = bars(3).with_columns(pl.col("ts_open").dt.replace_time_zone(None)).drop("row")
    naive.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="no time zone"):
        read(tmp_path / "a.parquet", Reading())
    assert read(tmp_path / "a.parquet", Reading(zone="UTC"))["ts_open"][0] == OPENS


def test_a_parquet_column_in_a_fixed_offset_is_read(tmp_path: Path) -> None:
    table = bars(3).drop("row").to_arrow()
    column = pa.chunked_array(table["ts_open"].cast(pa.timestamp("ns", "+05:30")))
    table = table.set_column(0, "ts_open", column)
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", Reading())["ts_open"].to_list() == bars(3)["ts_open"].to_list()
    (found,) = History(tmp_path / "a.parquet", ["ES"]).chunks()
    assert found["ts_open"].tolist() == bars(3)["ts_open"].dt.timestamp("ns").to_list()
    with pytest.raises(ConfigError, match=r"is in the zone \+05:30: write it in UTC"):
        scan(tmp_path / "a.parquet")  # what has to be sorted first


def test_two_columns_of_one_meaning_are_refused(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", f"2026-03-10T14:30Z,{ROW},6800.75", header=f"{COLUMNS},C")
    with pytest.raises(ConfigError, match="of which two mean close"):
        read(file, Reading())


def dbn_of(records: int) -> bytes:
    """A DBN file of Databento's own, its first bar repeated so often, a minute apart."""
    packed = (RECORDED_DATA / "dbn/dbpy_glbx_test_data.ohlcv-1m.dbn.zst").read_bytes()
    data = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    begin = 8 + int.from_bytes(data[4:8], "little")
    first = data[begin : begin + 56]
    ts = int.from_bytes(first[8:16], "little")
    stamps = ((ts + k * 60_000_000_000).to_bytes(8, "little") for k in range(records))
    return data[:begin] + b"".join(first[:8] + stamp + first[16:] for stamp in stamps)


@needs_recorded_data
@pytest.mark.parametrize("taken", ["half the frame", "the frame but for a byte", "half a record", "its header alone"])
def test_a_dbn_file_that_ends_too_early_is_refused_whole(tmp_path: Path, taken: str) -> None:
    """A download that was cut off would be a shorter history, and nothing would say so."""
    plain = dbn_of(600)
    packed = zstandard.ZstdCompressor().compress(plain)
    assert len(read(written(tmp_path / "whole.dbn.zst", packed), Reading())) == 600
    cut = {
        "half the frame": packed[: len(packed) // 2],
        "the frame but for a byte": packed[:-1],
        "half a record": plain[:-28],
        "its header alone": plain[:8],
    }[taken]
    file = written(tmp_path / ("a.dbn" if cut[:3] == b"DBN" else "a.dbn.zst"), cut)
    with pytest.raises(ConfigError, match="not a readable DBN file"):
        read(file, Reading())
    with pytest.raises(ConfigError, match="not a readable DBN file"):
        History(file, ["ES"])


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("stamp", ["1773153000", "03/10/2026 14:30", "2026-03-10T14:30:00Z\n2026-03-10 14:31:00"])
def test_times_that_can_be_read_in_two_ways_are_refused(tmp_path: Path, stamp: str) -> None:
    lines = [f"{one},{ROW}" for one in stamp.split("\n")]
    with pytest.raises(ConfigError, match="nothing of it was taken"):
        read(write_csv(tmp_path / "a.csv", *lines), Reading())


def test_a_time_that_its_zone_has_twice_is_left_out(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", f"2025-11-02 01:30:00,{ROW}", f"2025-11-03 09:30:00,{ROW}")
    frame = read(file, Reading(zone="America/Chicago"))
    assert found(frame)["no_time"][0] == 1


@pytest.mark.parametrize("symbol", ["ESM6", "ESM26", "ESM2026", "202606"])
def test_a_contract_is_stored_with_four_digits_of_the_year(tmp_path: Path, symbol: str) -> None:
    line = f"2026-03-10T14:30Z,ES,{ROW.replace('ESM6', symbol)}"
    file = write_csv(tmp_path / "a.csv", line, header=COLUMNS.replace("symbol", "root,contract"))
    assert read(file, Reading()).select("root", "contract").row(0) == ("ES", "ESM2026")


@pytest.mark.parametrize("root", sorted(PRODUCTS))
def test_contracts_listed_ten_years_out_stay_apart(tmp_path: Path, root: str) -> None:
    day = date(2026, 3, 10)
    listed = [Contract(root, 2026 + i // 12, i % 12 + 1) for i in range(3, 132)]
    # The exchange gives the second digit to what the first one no longer tells apart.
    names = {contract: contract.raw for contract in listed if parse_contract(contract.raw, day) == contract}
    names |= {one: f"{one.raw[:-1]}{one.year % 100}" for one in listed if one not in names}
    assert len(set(names.values())) == len(listed)
    rows = [f"{day}T15:00Z,{name},70,70,70,70,{i + 1}" for i, name in enumerate(names.values())]
    code, said = rooney("import", write_csv(tmp_path / "a.csv", *rows), "--to", tmp_path / "s")
    stored = Store(tmp_path / "s").read(Part(root, "1min", 2026))
    assert (code, said["new"]) == (0, len(listed)), said
    assert dict(stored.select("contract", "volume").iter_rows()) == {
        contract.ticker: i + 1 for i, contract in enumerate(names)
    }


def test_a_store_with_one_digit_of_the_year_is_read_by_the_date_of_its_rows_and_goes_on(tmp_path: Path) -> None:
    part = Part("ES", "1min", 2026)
    (tmp_path / "s/ES").mkdir(parents=True)
    bars().select(list(STORED)).with_columns(
        contract=pl.lit("ESM6"), volume=pl.col("volume").cast(pl.Int64)
    ).write_parquet(tmp_path / "s" / part.name)
    assert set(Store(tmp_path / "s").read(part)["contract"]) == {"ESM2026"}
    file = write_csv(tmp_path / "a.csv", f"2026-03-09T22:00Z,{ROW}", f"2026-03-11T14:30Z,{ROW}")
    code, said = rooney("import", file, "--to", tmp_path / "s", "--replace")
    assert (code, said["new"], said["replaced"]) == (0, 1, 1), said
    assert set(pl.read_parquet(tmp_path / "s" / part.name)["contract"]) == {"ESM2026"}


def test_a_file_without_symbols_needs_to_be_told_its_root(tmp_path: Path) -> None:
    header = "time,open,high,low,close,vol"
    file = write_csv(tmp_path / "ES.csv", "2026-03-10T14:30Z,6800,6801,6799.25,6800.5,12", header=header)
    with pytest.raises(ConfigError, match=r"needs .* root, contract or symbol"):
        read(file, Reading())
    assert read(file, Reading(root="6M", contract="6MM6")).select("root", "contract").row(0) == ("6M", "6MM2026")


# ── the command ──


def test_strict_writes_nothing_and_exits_1_naming_file_row_and_value(tmp_path: Path) -> None:
    good = write_csv(tmp_path / "good.csv", f"2026-03-10T14:30Z,{ROW}")
    bad = write_csv(
        tmp_path / "bad.csv", f"2026-03-10T14:30Z,{ROW}", "2026-03-10T14:31Z,ESM6,6800,6801,6799.25,6800.5,-7"
    )
    code, said = rooney("import", good, bad, "--to", tmp_path / "s", "--strict")
    assert (code, said["exit"], said["written"]) == (1, 1, False)
    assert said["findings"][-1] == {
        "file": str(bad),
        "kind": "bad_volume",
        "count": 1,
        "examples": [{"row": 2, "value": "ESM2026 2026-03-10T14:31:00Z 6800 6801 6799.25 6800.5 -7"}],
    }
    assert Store(tmp_path / "s").parts() == []
    code, said = rooney("import", good, bad, "--to", tmp_path / "s")
    assert (code, said["new"], said["known"]) == (0, 1, 1)


def test_a_file_that_cannot_be_read_does_not_keep_the_others_out(tmp_path: Path) -> None:
    good = write_csv(tmp_path / "good.csv", f"2026-03-10T14:30Z,{ROW}")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    code, said = rooney("import", good, tmp_path / "torn.parquet", "--to", tmp_path / "s")
    assert (code, said["new"]) == (1, 1)
    assert said["findings"][0]["kind"] == "refused"


def test_nothing_imported_is_a_failure(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", f"2026-03-10T14:30:00,{ROW}")
    assert rooney("import", file, "--to", tmp_path / "s")[0] == 2


def test_a_bar_that_differs_from_the_stored_one_is_named_and_only_replaces_it_on_demand(tmp_path: Path) -> None:
    first = write_csv(tmp_path / "a.csv", f"2026-03-10T14:30Z,{ROW}")
    other = write_csv(tmp_path / "b.csv", f"2026-03-10T14:30Z,{ROW.replace('6800.5', '6800.75')}")
    rooney("import", first, "--to", tmp_path / "s")
    _, said = rooney("import", other, "--to", tmp_path / "s")
    assert said["findings"][0]["examples"][0]["value"] == (
        "ESM2026 2026-03-10T14:30Z: 6800 6801 6799.25 6800.75 12, stored is 6800 6801 6799.25 6800.5 12"
    )
    part = Part("ES", "1min", 2026)
    assert Store(tmp_path / "s").read(part)["close"].to_list() == [6800.5]
    assert rooney("import", other, "--to", tmp_path / "s", "--replace")[1]["replaced"] == 1
    assert Store(tmp_path / "s").read(part)["close"].to_list() == [6800.75]


def test_two_writers_of_one_store_are_refused(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", f"2026-03-10T14:30Z,{ROW}")
    with Store(tmp_path / "s").writing():
        done = CliRunner().invoke(cli, ["data", "import", str(file), "--to", str(tmp_path / "s")])
    assert isinstance(done.exception, ConfigError)
    assert "another import or download" in str(done.exception)


def test_check_finds_what_was_done_to_a_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    store.add(check("f", bars()).bars)
    assert rooney("check", tmp_path / "s")[0] == 0
    path = tmp_path / "s/ES/1min-2026.parquet"
    table = pl.read_parquet(path)
    pl.concat([table, table[:3]]).write_parquet(path)
    table.with_columns(root=pl.lit("NQ")).write_parquet(tmp_path / "s/ES/1min-2025.parquet")
    (tmp_path / "s/GC").mkdir()
    (tmp_path / "s/GC/1min-2026.parquet").write_bytes(b"torn")
    code, said = rooney("check", tmp_path / "s")
    kinds = {Path(one["file"]).relative_to(tmp_path / "s").as_posix(): one["kind"] for one in said["findings"]}
    assert code == 1
    assert kinds["ES/1min-2025.parquet"] == "misplaced"
    assert kinds["GC/1min-2026.parquet"] == "refused"
    assert "duplicate" in {one["kind"] for one in said["findings"]}
    assert said["coverage"][0]["bars"] == 1_380 * 2 + 3


def test_a_reader_sees_a_whole_file_or_none(tmp_path: Path) -> None:
    """A file is written beside the old one and takes its place: nothing unfinished bears its name."""
    store = Store(tmp_path)
    store.add(check("f", bars(10)).bars)
    handle = (tmp_path / "ES/1min-2026.parquet").open("rb")
    store.add(check("f", bars()).bars)
    assert len(pl.read_parquet(handle)) == 10
    assert len(store.read(Part("ES", "1min", 2026))) == 1_380
    assert [file.name for file in (tmp_path / "ES").iterdir()] == ["1min-2026.parquet"]


# ── real data ──


@needs_recorded_data
def test_real_minutes_are_taken_whole_and_come_out_as_they_went_in(tmp_path: Path) -> None:
    code, said = rooney("import", RECORDED_DATA / "bars_1m", "--to", tmp_path / "s")
    kinds = {one["kind"] for one in said["findings"]}
    assert (code, kinds) == (0, {"no_trade", "zero_volume", "gap"})
    assert said["new"] == 14_739 + 3_037 + 14_899 + 30 - 41 - 45
    file = RECORDED_DATA / "bars_1m/6EH4_2024-01a.parquet"
    before, after = pl.read_parquet(file), Store(tmp_path / "s").read(Part("6E", "1min", 2024))
    assert after["ts_open"].equals(before["ts_event"].rename("ts_open"))
    for name in ("open", "high", "low", "close", "volume"):
        assert after[name].to_list() == before[name].to_list()
    assert rooney("import", RECORDED_DATA / "bars_1m", "--to", tmp_path / "s")[1]["new"] == 0


@needs_recorded_data
def test_real_minutes_stamped_at_their_close_are_noticed(tmp_path: Path) -> None:
    frame = read(RECORDED_DATA / "bars_1m/6EH4_2024-01a.parquet", Reading())
    moved = frame.with_columns(pl.col("ts_open") + timedelta(minutes=1))
    assert "close_stamped" not in found(frame)
    assert "close_stamped" in found(moved)


@needs_recorded_data
def test_real_dbn_bars_equal_the_published_ones_and_other_schemas_are_refused_by_name(tmp_path: Path) -> None:
    code, said = rooney("import", RECORDED_DATA / "dbn", "--to", tmp_path / "s")
    assert code == 1
    refused = [one for one in said["findings"] if one["kind"] == "refused"]
    assert len(refused) == len(list((RECORDED_DATA / "dbn").iterdir())) - 5
    assert any("bars per UTC day" in one["examples"][0]["value"] for one in refused)
    expected = pl.read_parquet(RECORDED_DATA / "bars_1m/ES_NQ_databento.parquet")
    for root, year in (("ES", 2024), ("NQ", 2024), ("ES", 2026)):
        mine = expected.filter(pl.col("root") == root, pl.col("ts_event").dt.year() == year)
        stored = Store(tmp_path / "s").read(Part(root, "1min", year))
        assert (
            stored.select("open", "high", "low", "close", "volume").rows()
            == mine.select("open", "high", "low", "close", "volume").rows()
        )
        assert stored["contract"].to_list() == [f"{name[:-1]}{year}" for name in mine["symbol"]]


@needs_recorded_data
def test_a_backtest_reads_the_store_as_it_reads_the_files_and_leaves_raw_alone(tmp_path: Path) -> None:
    rooney("import", RECORDED_DATA / "bars_1m/ES_lean_2013.parquet", "--to", tmp_path / "s")
    (tmp_path / "s/raw").mkdir()
    pl.read_parquet(RECORDED_DATA / "bars_1m/ES_lean_2013.parquet").write_parquet(tmp_path / "s/raw/twice.parquet")
    stored, direct = History(tmp_path / "s", ["ES"]), History(RECORDED_DATA / "bars_1m/ES_lean_2013.parquet", ["ES"])
    assert stored.events == direct.events
    mine, theirs = (np.concatenate(list(history.chunks())) for history in (stored, direct))
    real = theirs[(theirs["volume"] > 0) | (theirs["high"] != theirs["low"])]
    assert mine.tobytes() == real.tobytes()
    assert len(mine) > 10_000
    assert int(mine["ts_open"][0]) % MINUTE_NS == 0
