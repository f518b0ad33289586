"""The table from the old system to the default profile: each trade in one pair, no trade lost, stamps as they were."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.legacy import profiles
from rooney.market.sessions import HOUR_NS
from tests.support.paths import ROOT

PARITY = ROOT.parent / "shared" / "parity"
needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason=f"the recorded runs are not at {PARITY}")
MINUTES = st.lists(st.tuples(st.integers(0, 3000), st.sampled_from((-1, 1))), max_size=30)


def trades(entries: list[tuple[int, int]]) -> pl.DataFrame:
    """entries: (minute, side)"""
    rows = sorted(entries)
    at = pl.Series([minute * 60_000_000_000 for minute, _ in rows], dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))
    return pl.DataFrame({"entry_ts": at, "side": pl.Series([side for _, side in rows], dtype=pl.Int64)})


@given(old=MINUTES, new=MINUTES)
def test_a_trade_is_in_one_pair_at_most_with_one_of_its_side_an_hour_away_at_most(
    old: list[tuple[int, int]], new: list[tuple[int, int]]
) -> None:
    theirs, ours = trades(old), trades(new)
    pairs = profiles.match(theirs, ours)
    for side in (0, 1):
        assert len({pair[side] for pair in pairs}) == len(pairs)
    for i, j in pairs:
        assert abs((theirs["entry_ts"][i] - ours["entry_ts"][j]).total_seconds()) <= HOUR_NS / 1e9
        assert theirs["side"][i] == ours["side"][j]


@given(MINUTES)
def test_the_same_trades_are_all_matched(entries: list[tuple[int, int]]) -> None:
    distinct = list(dict(entries).items())
    assert len(profiles.match(trades(distinct), trades(distinct))) == len(distinct)


@needs_parity
def test_naive_stamps_become_utc_by_the_exchange_of_each_instrument(tmp_path: Path) -> None:
    windows = profiles.convert(PARITY, tmp_path)
    assert [datetime.fromtimestamp(begin / 1e9, UTC).date().isoformat() for begin, _ in windows] == [
        "2025-03-09",
        "2025-05-11",
        "2025-08-03",
    ]
    bars = pl.read_parquet(tmp_path / "bars_1min.parquet")
    # Sunday 17:00 in Chicago, 18:00 in New York: one instant, summer time.
    first = dict(bars.group_by("root").agg(pl.col("ts_open").min()).rows())
    assert {root: at.strftime("%d %H") for root, at in first.items()} == dict.fromkeys(
        ("6A", "6E", "GC", "SI"), "09 22"
    )


def _rows(data: Path) -> list[dict[str, Any]]:
    command = [
        sys.executable,
        "-m",
        "research.legacy.profiles",
        str(data),
        "--json",
        "--config",
        "config.multi_alpha.yml",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    assert all(row["matched"] <= min(row["trades_v1"], row["trades"]) for row in rows)
    return rows


@needs_parity
def test_the_command_counts_every_trade_of_gold_once(tmp_path: Path) -> None:
    for path in PARITY.glob("bars_*.parquet"):
        pl.read_parquet(path).filter(pl.col("symbol") == "GC").write_parquet(tmp_path / path.name)
    rows = _rows(tmp_path)
    assert {row["symbol"] for row in rows} == {"GC"}
    assert len(rows) == 3
    assert sum(row["matched"] for row in rows) > 25


@needs_parity
@pytest.mark.slow
def test_the_command_counts_every_trade_once() -> None:
    rows = _rows(PARITY)
    assert {row["symbol"] for row in rows} == {"6A", "6E", "GC", "SI"}
    assert len(rows) == 12
    assert sum(row["matched"] for row in rows) > 100
