"""What a strategy file imports is there without a compiler."""

import subprocess
import sys

import pytest

from tests.support.paths import ROOT


@pytest.mark.parametrize(
    "line",
    [
        "from rooney.strategy import Feature, Filter, Param, Strategy",
        "from rooney.features import Feature, catalogue",
        "import strategies.ibs, strategies.breakout",
    ],
)
def test_what_a_strategy_file_imports_loads_no_numba(line: str) -> None:
    code = f"import sys\n{line}\nprint('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_features_over_arrays_are_imported_by_name_as_before() -> None:
    from rooney.features import calculate_atr, calculate_ibs, calculate_rsi

    assert calculate_ibs([2.0], [0.0], [1.0])[0] == 0.5
    assert calculate_rsi.__name__ == "calculate_rsi"
    assert calculate_atr.__name__ == "calculate_atr"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    import rooney.features
    import rooney.strategy

    for module in (rooney.features, rooney.strategy):
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            module.nothing  # noqa: B018
