"""The front contract: by volume, never back, and never held on its deadline."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooney.market.instruments import MONTH_CODES, PRODUCTS, Contract, deadline
from rooney.market.rolls import STOP_DAYS, front

ROOTS = [root for root in PRODUCTS if root not in ("6E", "6J", "PL", "ZB", "MES", "MNQ")]
MONDAY = date(2026, 3, 9)
ESH6, ESM6, ESU6 = (Contract("ES", 2026, month) for month in (3, 6, 9))


def chain(root: str, first: int = 2024, last: int = 2031) -> list[Contract]:
    months = [MONTH_CODES.index(code) + 1 for code in PRODUCTS[root].months]
    return [Contract(root, year, month) for year in range(first, last) for month in months]


def weekdays(first: date, last: date) -> list[date]:
    days = [first + timedelta(days=i) for i in range((last - first).days)]
    return [day for day in days if day.weekday() < 5]


def test_the_larger_volume_of_the_day_before_decides() -> None:
    assert front(MONDAY, ESH6, {ESH6: 100, ESM6: 90}, [ESH6, ESM6]) == (ESH6, "volume")
    assert front(MONDAY, ESH6, {ESH6: 90, ESM6: 100}, [ESH6, ESM6]) == (ESM6, "volume")


def test_at_equal_volumes_the_nearer_contract_stays() -> None:
    assert front(MONDAY, ESH6, {ESH6: 100, ESM6: 100}, [ESH6, ESM6])[0] == ESH6


def test_a_contract_once_left_is_never_gone_back_to() -> None:
    assert front(MONDAY, ESM6, {ESH6: 1_000, ESM6: 1}, [ESH6, ESM6])[0] == ESM6


def test_without_any_volume_the_front_is_kept() -> None:
    assert front(MONDAY, ESM6, {}, [ESH6, ESM6, ESU6]) == (ESM6, "kept")


def test_at_the_very_first_the_nearest_contract_that_trades_is_taken() -> None:
    gold = [Contract("GC", 2013, month) for month in (10, 11, 12)] + [Contract("GC", 2014, 2)]
    assert front(date(2013, 10, 7), None, {}, gold) == (Contract("GC", 2013, 12), "calendar")


def test_serial_months_are_never_taken_for_their_volume() -> None:
    gold = [Contract("GC", 2026, month) for month in (5, 6)]
    assert front(date(2026, 4, 1), None, {gold[0]: 500, gold[1]: 1}, gold)[0] == gold[1]


def test_with_nothing_listed_there_is_no_front_yet() -> None:
    assert front(MONDAY, None, {}, []) == (None, "kept")


def test_the_stop_before_the_deadline_is_harder_than_volume() -> None:
    day = deadline(ESH6) - timedelta(days=STOP_DAYS)
    assert front(day, ESH6, {ESH6: 1_000, ESM6: 1}, [ESH6, ESM6])[0] == ESM6
    assert front(day, ESH6, {ESH6: 1_000}, [ESH6, ESM6, ESU6]) == (ESM6, "deadline")
    assert front(day - timedelta(days=1), ESH6, {ESH6: 1_000, ESM6: 1}, [ESH6, ESM6])[0] == ESH6


@pytest.mark.parametrize("root", ROOTS)
def test_no_position_is_in_a_contract_on_its_deadline_or_later_however_the_volume_lies(root: str) -> None:
    """A position lives in the front of the trade date; all volume stays in the oldest contract, the worst case."""
    contracts = chain(root)
    held: Contract | None = None
    seen = []
    for day in weekdays(date(2025, 1, 1), date(2030, 1, 1)):
        alive = [contract for contract in contracts if deadline(contract) > day - timedelta(days=10)]
        held, _ = front(day, held, {alive[0]: 1_000, alive[1]: 1}, alive)
        assert held is not None
        assert deadline(held) > day + timedelta(days=STOP_DAYS)
        # Two holidays in that week still leave a day: none of the exchange's dates is further from ours.
        between = weekdays(day + timedelta(days=1), deadline(held))
        assert len(between) >= 2
        if not seen or seen[-1] != held:
            seen.append(held)
    assert seen == [
        contract for contract in contracts if seen[0] <= contract <= seen[-1]
    ]  # each in turn, none left out


@given(st.sampled_from(ROOTS), st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=1, max_size=60))
def test_the_front_never_goes_back_and_deciding_again_changes_nothing(root: str, days: list[list[int]]) -> None:
    contracts = [contract for contract in chain(root) if deadline(contract) > date(2026, 1, 1)][:4]
    held: Contract | None = None
    for day, drawn in zip(weekdays(date(2026, 1, 1), date(2026, 4, 15)), days, strict=False):
        volumes = {contract: volume for contract, volume in zip(contracts, drawn, strict=True) if volume}
        new, _ = front(day, held, volumes, contracts)
        assert held is None or new is None or new >= held
        assert front(day, new, volumes, contracts)[0] == new
        held = new
