"""Files of bars with something wrong in them: the same answer from every verb that reads them."""

import warnings
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from research.data.importing import import_file
from research.data.sources import Reading
from research.data.store import Store
from research.history import kernels
from research.history.findings import Finding
from research.history.history import History
from rooney.cli import cli
from rooney.errors import ConfigError, DataWarning
from rooney.hub.databento import received_ns
from rooney.market import sessions
from rooney.market.bars import ClosedMinute, MinuteBuilder
from rooney.market.instruments import PRODUCTS, Contract
from rooney.market.messages import Bar, bar_lack, price_floor
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.sim.databento import wire
from tests.support.dbn_files import write_dbn
from tests.support.paths import CONFIG

DAY = date(2026, 3, 10)
OPEN = sessions.session_open_ns("equity", DAY)
BAD = 7  # the row, from 0, of which something is wrong
PRICES = ("open", "high", "low", "close")


def market() -> pl.DataFrame:
    """Two contracts, 40 minutes."""
    k = np.arange(40)
    close = 6800 + 0.25 * (k % 5)
    frame = pl.DataFrame({"ts_open": OPEN + k * MINUTE_NS, "root": "ES", "contract": "ESH6"})
    frame = frame.with_columns(open=close, high=close + 1, low=close - 1, close=close + 0.25, volume=10 + k)
    other = frame.with_columns(contract=pl.lit("ESM6"), volume=pl.lit(1, pl.Int64))
    return pl.concat([frame, other]).with_columns(pl.col("ts_open").cast(pl.Datetime("ns", "UTC")))


def wrong(**values: Any) -> Callable[[], pl.DataFrame]:
    """The market with a row that says something else."""

    def made() -> pl.DataFrame:
        frame = market().with_row_index("at")
        for name, value in values.items():
            new = pl.lit(value).cast(frame.schema[name])
            frame = frame.with_columns(pl.when(pl.col("at") == BAD).then(new).otherwise(pl.col(name)).alias(name))
        return frame.drop("at")

    return made


FLAT = dict.fromkeys(PRICES, 6800.0)
ROWS: dict[str, tuple[str, Callable[[], pl.DataFrame]]] = {
    "close 1e300": ("not_a_number", wrong(close=1e300)),
    "a close of 0": ("not_a_number", wrong(close=0.0)),
    "a close below 0": ("not_a_number", wrong(close=-5.0)),
    "all prices 0": ("not_a_number", wrong(**dict.fromkeys(PRICES, 0.0))),
    "close NaN": ("not_a_number", wrong(close=float("nan"))),
    "close null": ("not_a_number", wrong(close=None)),
    "high null": ("not_a_number", wrong(high=None)),
    "open infinite": ("not_a_number", wrong(open=float("inf"))),
    "low minus infinity": ("not_a_number", wrong(low=float("-inf"))),
    "high below low": ("inconsistent", wrong(high=6790.0)),
    "close above high": ("inconsistent", wrong(close=6900.0)),
    "volume below 0": ("bad_volume", wrong(volume=-3)),
    "volume null": ("bad_volume", wrong(volume=None)),
    "flat without volume": ("no_trade", wrong(**FLAT, volume=0)),
    "another root's contract": ("wrong_root", wrong(contract="NQH6")),
    "no contract": ("wrong_root", wrong(contract="ESZZ")),
    "a contract that is over": ("wrong_root", wrong(contract="ESH2020")),
    "a contract not listed yet": ("wrong_root", wrong(contract="ESH2099")),
    "a spread": ("not_outright", wrong(contract="ESH6-ESM6")),
    "a butterfly": ("not_outright", wrong(contract="ES:BF H6-M6-U6")),
    "no time": ("no_time", wrong(ts_open=None)),
    "1965": ("no_time", wrong(ts_open=-157_000_000_000_000_000)),
    "a stamp at :30": ("off_minute", wrong(ts_open=OPEN + BAD * MINUTE_NS + 30_000_000_000)),
}


def imported(file: Path, to: Path) -> list[Finding]:
    """What an import into a new store finds and does not keep."""
    _, findings = import_file(Store(to), file, Reading())
    return [finding for finding in findings if "left out" in _done(finding) or finding.kind in ("refused", "empty")]


def _done(finding: Finding) -> str:
    from research.history.findings import KINDS

    return KINDS[finding.kind].done


def history(path: Path, **span: Any) -> History:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return History(path, ["ES"], **span)


def bars_of(one: History) -> bytes:
    return b"".join(chunk.tobytes() for chunk in one.chunks())


@pytest.mark.parametrize("row", ROWS)
def test_import_and_backtest_leave_out_the_same_rows_for_the_same_reason(tmp_path: Path, row: str) -> None:
    kind, made = ROWS[row]
    file = tmp_path / "bars.parquet"
    made().write_parquet(file)
    found = imported(file, tmp_path / "store")
    read = history(file)
    assert [(one.kind, one.count) for one in found] == [(kind, 1)]
    assert [(one.kind, one.count) for one in read.findings] == [(kind, 1)]
    assert [one.examples[0].row for one in (*found, *read.findings)] == [BAD + 1, BAD + 1]
    assert bars_of(read) == bars_of(history(tmp_path / "store"))
    assert read.bars == sum(len(chunk) for chunk in read.chunks()) == 39


VERBS = {
    "backtest": ["backtest", "breakout"],
    "backtest --verify": ["backtest", "breakout", "--verify"],
    "train": ["train", "breakout", "--out", "out"],
    "optimize": ["optimize", "breakout", "--out", "out"],
    "portfolio": ["portfolio", "breakout", "--out", "out"],
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("row", ["close 1e300", "high below low", "another root's contract", "no time"])
def test_strict_runs_nothing_and_says_which_row_it_is_in_every_verb(
    tmp_path: Path, verb: str, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ROWS[row][1]().write_parquet(tmp_path / "bars.parquet")
    monkeypatch.chdir(tmp_path)
    argv = [*VERBS[verb], "--data", "bars.parquet", "--symbols", "ES", "--config", str(CONFIG)]
    with warnings.catch_warnings():
        done = CliRunner().invoke(cli, [*argv, "--strict"])
    assert isinstance(done.exception, DataWarning), done.exception
    assert "bars.parquet: 1 × " in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("row", ["close 1e300", "a spread"])
def test_a_backtest_counts_what_it_left_out_in_its_summary_and_warns_of_what_is_wrong(tmp_path: Path, row: str) -> None:
    kind, made = ROWS[row]
    made().write_parquet(tmp_path / "bars.parquet")
    argv = ["backtest", "breakout", "--data", tmp_path / "bars.parquet", "--symbols", "ES", "--config", CONFIG]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DataWarning)
        done = CliRunner().invoke(cli, [*map(str, argv), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert f"1 {kind}" in done.output
    (found,) = pl.read_json(tmp_path / "out/summary.json")["findings"][0]
    assert (found["kind"], found["count"]) == (kind, 1)
    assert len([one for one in told if one.category is DataWarning]) == (kind != "not_outright")


@given(
    st.lists(st.one_of(st.floats(), st.sampled_from([0.0, 1.0, 2.0, 9.3e9, -1.0])), min_size=4, max_size=4),
    st.sampled_from([0, 1, 2**53 - 1, 2**53, -1]),
    st.sampled_from(["ES", "CL", "ZZ"]),
)
def test_rows_of_files_are_judged_as_bars_from_outside_are(prices: list[float], volume: int, root: str) -> None:
    bar = Bar(root, Contract(root, 2026, 6).raw, "1min", OPEN, OPEN + MINUTE_NS, *prices, volume, 1)
    lack = kernels.LACKS[kernels.bar_lack(price_floor(root), *prices, float(volume))]
    assert (lack in ("", "no_trade")) == (not bar_lack(bar)), (lack, bar_lack(bar))


def test_energy_may_be_sold_below_zero_and_nothing_else_that_is_known() -> None:
    below = {root for root in PRODUCTS if price_floor(root) < 0}
    assert below == {"CL", "NG"}


# ── whole files ──


def spaced(gap_ns: int, **more: Any) -> pl.DataFrame:
    """One contract, bars as far apart as said."""
    stamps = [OPEN + k * gap_ns for k in range(40)]
    if gap_ns == 24 * HOUR_NS:
        days = [DAY + timedelta(days=k) for k in range(40)]
        stamps = [sessions.session_open_ns("equity", day) for day in days if sessions.is_trade_date(day)]
    ts = pl.Series(stamps).cast(pl.Datetime("ns", "UTC"))
    frame = pl.DataFrame({"ts_open": ts, "symbol": "ESM6"} | dict.fromkeys(PRICES, 6800.0) | {"volume": 5})
    return frame.with_columns(**{name: pl.lit(value) for name, value in more.items()})


MINUTES_ = spaced(MINUTE_NS)
FILES: dict[str, tuple[pl.DataFrame, str]] = {  # → the timeframe, or what is said
    "minutes": (MINUTES_, "1min"),
    "hours by rtype": (spaced(HOUR_NS, rtype=34), "hourly"),
    "hours by rtype, a bar a day": (spaced(24 * HOUR_NS, rtype=34), "hourly"),
    "hours by their spacing": (spaced(HOUR_NS), "hourly"),
    "days by their spacing": (spaced(24 * HOUR_NS), "daily"),
    "5 minutes": (spaced(5 * MINUTE_NS), "bars are 5 min apart"),
    "4 hours": (spaced(4 * HOUR_NS), "bars are 240 min apart"),
    "5 minutes that say so": (spaced(5 * MINUTE_NS, timeframe="5m"), "timeframe '5m'"),
    "a continuous series": (MINUTES_.with_columns(symbol=pl.lit("ES.c.0")), "1min"),
    "uint64 stamps": (MINUTES_.with_columns(pl.col("ts_open").cast(pl.Int64).cast(pl.UInt64)), "1min"),
    "µs as integers": (MINUTES_.with_columns(pl.col("ts_open").cast(pl.Int64) // 1_000), "is no time in UTC n"),
    "lists for prices": (MINUTES_.with_columns(pl.concat_list("close")), "close is large_list<"),
    "truth for prices": (MINUTES_.with_columns(pl.col("close") > 0), "close is bool: it needs numbers"),
    "text for prices": (MINUTES_.with_columns(pl.col("close").cast(pl.String)), "1min"),
    "header only": (MINUTES_.clear(), "no rows in it"),
}


@pytest.mark.parametrize("name", ["bars.parquet", "BARS.PARQUET"])
@pytest.mark.parametrize("file", FILES)
def test_a_file_is_the_same_to_an_import_and_a_backtest(tmp_path: Path, file: str, name: str) -> None:
    frame, said = FILES[file]
    path = tmp_path / name
    frame.write_parquet(path)
    found = imported(path, tmp_path / "store")
    stored = [part.timeframe for part in Store(tmp_path / "store").parts()]
    if said not in ("1min", "hourly", "daily"):
        with pytest.raises(ConfigError) as refused:
            history(path)
        assert [one for finding in found for one in finding.lines() if said in one], found
        assert said in str(refused.value) or said == "no rows in it"
        assert stored == []
    else:
        read = history(path)
        assert set(stored) == {read.finest} == {said}
        assert bars_of(read) == bars_of(history(tmp_path / "store"))


def test_a_csv_file_in_capitals_is_imported_and_a_backtest_says_what_to_do_with_it(tmp_path: Path) -> None:
    path = tmp_path / "BARS.CSV"
    path.write_text(MINUTES_.with_columns(pl.col("ts_open").cast(pl.Int64)).write_csv())
    assert CliRunner().invoke(cli, ["data", "import", str(path), "--out", str(tmp_path / "s")]).exit_code == 0
    with pytest.raises(ConfigError, match="`rooney data import` makes a store of CSV files"):
        History(path, ["ES"])


def test_a_stored_file_that_was_changed_is_refused_by_name(tmp_path: Path) -> None:
    MINUTES_.write_parquet(tmp_path / "a.parquet")
    imported(tmp_path / "a.parquet", tmp_path / "s")
    (part,) = (tmp_path / "s").rglob("*.parquet")
    changed = pl.read_parquet(part).with_columns(high=pl.lit(1.0))
    changed.write_parquet(part, metadata={"rooney.checked": "1"})
    with pytest.raises(ConfigError, match=r"1min-2026\.parquet: high or low does not hold .* import it anew"):
        bars_of(history(tmp_path / "s"))


# ── Databento's own ──

NAMES = {
    1: ("ESM6", DAY - timedelta(days=1), DAY + timedelta(days=1)),
    2: ("ESM6-ESU6", DAY - timedelta(days=1), DAY + timedelta(days=1)),
}
NOON = OPEN + 14 * HOUR_NS


def trades_file(path: Path, *rows: tuple[int, int, int, int, int]) -> tuple[Path, Any]:
    """rows: instrument_id, ts_event, ts_recv, price in points, flags."""
    trades = wire.empty_trades(len(rows))
    for trade, (number, ts_event, ts_recv, price, flags) in zip(trades, rows, strict=True):
        trade["instrument_id"], trade["ts_event"], trade["ts_recv"] = number, ts_event, ts_recv
        trade["price"], trade["flags"], trade["size"] = price * wire.PRICE_SCALE, flags, 1
    return write_dbn(path, "trades", trades, NAMES, NOON), trades


def sound(count: int) -> list[tuple[int, int, int, int, int]]:
    """A trade a second."""
    ts = [NOON + k * 1_000_000_000 for k in range(count)]
    return [(1, at - 300_000, at, 6800 + k % 3, 0) for k, at in enumerate(ts)]


TRADES = {
    "an arrival not to be trusted": (sound(40) + [(1, NOON + 41_000_000_000, NOON + 90_000_000_000, 6790, 8)], {}),
    "an absurd price": (sound(200) + [(1, NOON + 200 * 10**9, NOON + 200 * 10**9, 68, 0)], {"absurd_price": 1}),
    "a row out of order": (sound(200) + [(1, NOON, NOON + 10**9, 6700, 0)], {"late": 1}),
    "a row out of order within its minute": (sound(100) + [(1, NOON + 98 * 10**9, NOON + 98 * 10**9, 6803, 0)], {}),
    "a spread": (sound(100) + [(2, NOON + 100 * 10**9, NOON + 100 * 10**9, -3, 0)], {"not_outright": 1}),
}


@pytest.mark.parametrize("case", TRADES)
def test_trades_of_a_file_make_the_bars_that_the_hub_makes_of_them(tmp_path: Path, case: str) -> None:
    rows, dropped = TRADES[case]
    file, trades = trades_file(tmp_path / "trades.dbn", *rows)
    closed: list[ClosedMinute] = []
    hub = MinuteBuilder([], NOON, 50_000_000, closed.append, lambda: 1 << 62)
    hub.map(1, Contract("ES", 2026, 6))
    hub.map(2, None)
    for row in trades:
        trade = SimpleNamespace(**{name: int(row[name]) for name in ("ts_recv", "ts_event", "flags")})
        hub.on_trade(int(row["instrument_id"]), received_ns(trade), int(row["price"]), int(row["size"]))
    hub.complete_until(NOON + HOUR_NS)
    wanted = [minute.contracts[0].bar(minute.ts_close - MINUTE_NS, 0, 0) for minute in closed if minute.contracts]
    read = history(file)
    (records,) = read.chunks()
    names = ("ts_open", *PRICES, "volume")
    assert [tuple(record[name] for name in names) for record in records] == [
        tuple(getattr(bar, name) for name in names) for bar in wanted
    ]
    assert {one.kind: one.count for one in read.findings} == dropped
    assert {one.kind: one.count for one in imported(file, tmp_path / "s")} == dropped
    assert bars_of(history(tmp_path / "s")) == bars_of(read)


def test_a_number_that_means_nothing_on_a_day_is_refused_by_import_and_backtest(tmp_path: Path) -> None:
    later = [(1, ts + 24 * HOUR_NS, ts + 24 * HOUR_NS, price, 0) for _, _, ts, price, _ in sound(5)]
    file, _ = trades_file(tmp_path / "trades.dbn", *sound(5), *later)
    said = "nothing in it says which contract instrument 1 was on 2026-03-11"
    with pytest.raises(ConfigError, match=said):
        History(file, ["ES"])
    (finding,) = imported(file, tmp_path / "s")
    assert (finding.kind, said in finding.lines()[1]) == ("refused", True)


def test_combinations_of_any_spelling_are_no_problem(tmp_path: Path) -> None:
    names = ["ESM6", "ESM6-ESU6", "ES:BF M6-U6-Z6", "ES:DF M6-U6-Z6-H7", "UD:1V: VT 120112345", "CL:C1 CLF7-CLG7"]
    pl.concat([MINUTES_.head(3).with_columns(symbol=pl.lit(name)) for name in names]).write_parquet(
        tmp_path / "a.parquet"
    )
    found = imported(tmp_path / "a.parquet", tmp_path / "s")
    assert [(one.kind, one.count, one.problem) for one in found] == [("not_outright", 15, False)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        assert History(tmp_path / "a.parquet", ["ES"]).bars == 3
