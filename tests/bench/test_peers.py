"""The comparison with other engines: it refuses unequal work, and leaves out nothing in silence."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.peers import __main__ as peers
from bench.peers import bars as market
from bench.peers import stopwatch
from bench.peers.environments import UnavailableError, python_of
from bench.peers.trades import DifferentTradesError, require_equal

OURS = np.array([[0, 100, 5.25, 103, 5.5], [0, 110, 5.0, 111, 5.25], [1, 90, 7.0, 95, 6.75]])
FOUND = peers.Found("1.0", 200_000, 3, 0.02, 0.02, 100.0)
# Another engine as short as it can be: a loop over the same bars, by the same rules, nothing of ours in it.
LOOP = """
import sys
sys.path.insert(0, {here!r})
import stopwatch

def prepare(bars):
    def run():
        fills = []
        for i in range(bars["close"].shape[1]):
            ts, open_, high, low, close = (bars[n] if n == "ts_open" else bars[n][:, i]
                                           for n in ("ts_open", "open", "high", "low", "close"))
            side, wanted = 0, 0
            for k in range(len(ts)):
                if wanted != side:
                    side = wanted
                    fills.append((i, ts[k], open_[k]))
                if high[k] > low[k]:
                    ibs = (close[k] - low[k]) / (high[k] - low[k])
                    wanted = 1 if not side and ibs < 0.2 else 0 if side and ibs > 0.8 else side
        return stopwatch.pair(fills)
    return run

stopwatch.main(prepare, "loop")
"""


def _comparison(**changed: object) -> peers.Comparison:
    fields = {"minutes": 50_000, "trades": 3, "ours": FOUND, "peers": {}, "failed": {}, "different": {}}
    return peers.Comparison(**(fields | changed))  # type: ignore[arg-type]


def test_equal_trades_are_equal() -> None:
    require_equal("peer", OURS.copy(), OURS)


@given(st.integers(0, len(OURS) - 1), st.integers(0, 4), st.sampled_from([-1.0, 1e-9, 0.25, float("nan")]))
def test_one_number_of_one_trade_that_differs_is_refused_and_named(trade: int, field: int, by: float) -> None:
    theirs = OURS.copy()
    theirs[trade, field] += by
    with pytest.raises(DifferentTradesError, match=f"trade {trade} is"):
        require_equal("peer", theirs, OURS)


@pytest.mark.parametrize(("theirs", "ours"), [(OURS[:2], OURS), (OURS, OURS[:2]), (OURS[:0], OURS)])
def test_a_trade_that_only_one_of_both_has_is_refused(theirs: NDArray[np.float64], ours: NDArray[np.float64]) -> None:
    with pytest.raises(DifferentTradesError, match="the first that only"):
        require_equal("peer", theirs, ours)


def test_no_trades_at_all_are_no_agreement() -> None:
    with pytest.raises(DifferentTradesError, match="nothing is compared"):
        require_equal("peer", OURS[:0], OURS[:0])


def test_fills_become_trades_and_what_is_open_at_the_end_is_none() -> None:
    assert stopwatch.pair([(0, 60, 1.0), (1, 60, 7.0), (0, 120, 2.0), (0, 180, 3.0)]) == [(0, 60, 1.0, 120, 2.0)]


def test_an_engine_that_cannot_be_installed_says_why(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"nowhere: uv pip install .*no-such-project"):
        python_of("nowhere", (str(tmp_path / "no-such-project"),), tmp_path / "cache")


def test_an_engine_that_fails_is_reported_with_its_last_words(tmp_path: Path) -> None:
    script = tmp_path / "in_broken.py"
    script.write_text("raise ImportError('libbroken.so: no such file')\n")
    with pytest.raises(UnavailableError, match=r"broken: ImportError: libbroken\.so: no such file"):
        peers.run("broken", [sys.executable, str(script)], tmp_path / "bars.npz", tmp_path)


def test_a_peer_without_figures_has_its_line_and_its_reason() -> None:
    comparison = _comparison(failed={"vectorbt": "vectorbt: no wheel"}, different={"backtrader": "backtrader: trade 7"})
    shown = {row.what: row for row in peers.rows(comparison)}
    assert "no wheel" in shown["… faster than vectorbt"].measured and not shown["… faster than vectorbt"].met
    assert "trade 7" in shown["… faster than backtrader"].measured and not shown["… faster than backtrader"].met


def test_the_ratio_is_our_bars_per_second_over_theirs() -> None:
    slower = peers.Found("2.0", 200_000, 1, 5.0, 9.0, 100.0)
    assert peers.as_json(_comparison(peers={"vectorbt": slower}))["ratio"] == {"vectorbt": 250.0}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"peers": {"vectorbt": peers.Found("2.0", 200_000, 1, 5.0, 5.0, 100.0)}}, 0),
        ({"peers": {"vectorbt": peers.Found("2.0", 200_000, 1, 0.1, 0.1, 100.0)}}, 1),
        ({"failed": {"vectorbt": "no wheel"}}, 1),
        ({"different": {"vectorbt": "trade 7"}}, 2),
    ],
    ids=["met", "missed", "not installed", "other trades"],
)
def test_the_exit_status_says_whether_the_comparison_holds(changed: dict[str, object], expected: int) -> None:
    assert peers.status(_comparison(**changed)) == expected


@pytest.mark.slow
def test_a_plain_loop_over_the_bars_trades_as_our_engine_does(tmp_path: Path) -> None:
    arrays, _ = market.write(market.market(5_000), tmp_path)
    script = tmp_path / "loop.py"
    script.write_text(LOOP.format(here=str(peers.HERE)))
    _, ours = peers.run("rooney", [sys.executable, "-m", "bench.peers.in_rooney"], arrays, tmp_path)
    _, theirs = peers.run("loop", [sys.executable, str(script)], arrays, tmp_path)
    require_equal("loop", theirs, ours)
