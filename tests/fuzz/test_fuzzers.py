"""A reader of bytes from outside gives a value or its one named error, for 10,000 damaged contents of each."""

import pytest

from tests.fuzz import fuzzers

CASES = 10_000
SEED = 1


@pytest.mark.parametrize("name", fuzzers())
def test_no_damaged_content_gives_another_error_than_the_named_one_or_takes_a_second(name: str) -> None:
    tally = fuzzers()[name].run(CASES, SEED)
    assert sum(tally.values()) > 0
