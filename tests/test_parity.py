"""The strategy that trades, in profile v1, against the recorded trades of the system it replaces.

`python -m research.parity DIR` compares every list and column; the recordings say in their README how they were made.
"""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from research.parity import Harness, compare, main, recorded

RECORDED = Path(__file__).parent.parent.parent / "shared" / "parity"

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded runs of the old system are not here")


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


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_trade_of_every_list_is_equal() -> None:
    done = CliRunner().invoke(main, [str(RECORDED), "--json"], catch_exceptions=False)
    lists = json.loads(done.stdout)["lists"]
    assert sum(one["expected"] for one in lists.values()) > 80_000
    assert {name: (one["missing"], one["extra"]) for name, one in lists.items()} == dict.fromkeys(lists, (0, 0))
