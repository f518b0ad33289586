"""The mutants and the list of those that may live; all of them are run by `python -m tests.mutants`, not here."""

import subprocess
import sys
from collections import Counter

import pytest

from tests.mutants.mutants import MOST, TARGETS, Target, mutants, survivors
from tests.support.paths import ROOT, TESTS

COUNTED = "np.array([trial.sharpe for trial in found.trials]), len(found.trials) + 1)"  # in a training's deflated one


def test_there_are_as_many_as_a_run_can_take_and_each_has_a_line_of_its_own() -> None:
    keys = Counter(each.key for each in mutants())
    assert 300 < len(keys) <= MOST
    assert max(keys.values()) == 1


def test_every_survivor_of_the_list_is_a_mutant_there_is() -> None:
    assert set(survivors()) <= {each.key for each in mutants()}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.module)
def test_every_name_of_a_target_has_mutants_and_its_tests_are_there(target: Target) -> None:
    own = [each.key.removeprefix(f"{target.module}.") for each in mutants() if each.target == target]
    assert own
    for name in target.names:
        assert any(key.startswith((f"{name}:", f"{name}.")) for key in own), name
    assert all((TESTS / name).is_file() for name in target.tests)


def test_the_code_is_unchanged_by_telling_its_mutants() -> None:
    first, second = mutants(), mutants()
    assert [each.key for each in first] == [each.key for each in second]


def test_a_deflated_sharpe_ratio_of_one_trial_more_than_there_were_is_noticed() -> None:
    """In a process of its own, because here all of the code has been read already."""
    code = f"""
from tests.mutants.mutants import mutants
from tests.mutants.runs import verdicts
(one,) = [each for each in mutants() if each.key.endswith({COUNTED!r})]
print([verdict for _, verdict in verdicts([(one.target, one)], 1)])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "['killed']\n", done.stderr
