"""Where the repository, its tests and recorded data are."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
CONFIG = ROOT / "config.multi_alpha.yml"
GOLDEN = TESTS / "golden"
RECORDED_DATA = ROOT.parent / "shared/data"
RECORDED_RUNS = ROOT.parent / "shared/parity"

needs_recorded_data = pytest.mark.skipif(
    not RECORDED_DATA.is_dir(), reason=f"recorded market data is not at {RECORDED_DATA}"
)
