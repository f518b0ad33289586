"""The strategy that trades, in profile v1, against the recorded trades of the system it replaces.

`python -m research.legacy.parity DIR` compares every list and column; the recordings say in their README how they were
made.
"""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from research.legacy.harness import Harness
from research.legacy.parity import compare, main, recorded
from tests.support.paths import RECORDED_RUNS

RECORDED = RECORDED_RUNS

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded runs of the old system are not here")


def compared(folder: Path) -> tuple[int, dict[str, Any]]:
    """Exit status and JSON of the command."""
    with redirect_stdout(io.StringIO()) as said:
        code = main([str(folder), "--json"])
    return code, json.loads(said.getvalue())


@pytest.fixture(scope="module")
def harness() -> Harness:
    return Harness(RECORDED)


@pytest.mark.parametrize("name", ["default", "coc_slip1"])
@pytest.mark.parametrize("symbol", ["6A", "GC"])
def test_every_recorded_trade_is_made_again_and_no_other(harness: Harness, name: str, symbol: str) -> None:
    expected = recorded(RECORDED)[name, symbol]
    found = compare(expected, harness.run(name, symbol))
    assert len(expected) > 500
    assert (found.equal, found.missing, found.extra) == (len(expected), [], [])


def test_other_instruments_in_another_period_are_compared_the_same_way(tmp_path: Path) -> None:
    """A folder with fewer lists: metals of 2025 as if they were energy of 2015, weekdays as they were."""
    roots, shift = {"GC": "CL", "SI": "NG", "TLT": "TLT"}, pl.duration(days=-3640)
    for name in ("bars_hourly", "bars_daily"):
        frame = pl.read_parquet(RECORDED / f"{name}.parquet").filter(pl.col("symbol").is_in(list(roots)))
        frame.with_columns(pl.col("symbol").replace(roots), pl.col("datetime") + shift).write_parquet(
            tmp_path / f"{name}.parquet"
        )
    stamps = [f"{kind}_{what}" for kind in ("entry", "exit") for what in ("signal_time", "time")]
    trades = pl.read_csv(RECORDED / "trades.csv").filter(pl.col("symbol").is_in(list(roots)))
    moved = [(pl.col(name).str.to_datetime() + shift).dt.strftime("%Y-%m-%d %H:%M:%S") for name in stamps]
    trades.with_columns(pl.col("symbol").replace(roots), *moved).write_csv(tmp_path / "trades.csv")
    code, found = compared(tmp_path)
    whole = {"expected": len(trades), "equal": len(trades), "missing": 0, "extra": 0}
    (trades_of,) = found["lists"].values()
    assert {name: trades_of[name] for name in whole} == whole
    assert set(trades_of["symbols"]) == {"CL", "NG"}
    assert code == 0


# They hang on where the run that recorded them held a position, not on bars (README of the recordings).
OF_ANOTHER_RUN = {"prev_ibs", "prev_ibs_pct", "rsi_pct", "rsi_len2_pct", "rsi2_pct"}
# Ranks move where rounding decides a tie, and where that run had an order waiting and looked at nothing.
RANKS = {"daily_rsi_pct", "mom3_z_pct", "pair_ibs_pct", "pair_z_pct"}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return compared(RECORDED)[1]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_trade_of_every_list_is_equal(report: dict[str, Any]) -> None:
    lists = report["lists"]
    assert sum(one["expected"] for one in lists.values()) > 80_000
    assert {name: (one["missing"], one["extra"]) for name, one in lists.items()} == dict.fromkeys(lists, (0, 0))
    assert all(one["equal"] == one["expected"] for one in lists.values())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_value_is_as_near_as_its_recording_allows(report: dict[str, Any]) -> None:
    """Features were recorded as float32."""
    assert all(difference <= (1e-7 if "std" in name else 1e-9) for name, difference in report["indicators"].items())
    features = {name: report["features"][name] for name in report["features"].keys() - OF_ANOTHER_RUN}
    assert len(features) > 70
    assert {name for name, difference in features.items() if difference > 1e-6} <= RANKS
    assert max(features[name] for name in RANKS) < 0.05
    assert max(report["scores"].values()) <= 1e-12
    assert max(report["scores of our values"].values()) <= 1e-9
