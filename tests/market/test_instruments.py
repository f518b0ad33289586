"""Products and contracts: spellings, decades, deadlines; facts from the exchange's specifications."""

from datetime import date

import pytest

from rooney.market.instruments import PRODUCTS, Contract, contract_from_number, deadline, group_of, parse_contract

SEED_ROOTS = [
    "ES",
    "NQ",
    "RTY",
    "YM",
    "CL",
    "NG",
    "6A",
    "6B",
    "6C",
    "6M",
    "6N",
    "6S",
    "HG",
    "SI",
    "GC",
    "ZC",
    "ZS",
    "ZW",
]
ON = date(2025, 10, 1)


@pytest.mark.parametrize(
    ("root", "tick_value"),
    [
        ("ES", 12.5),
        ("NQ", 5),
        ("RTY", 5),
        ("YM", 5),
        ("CL", 10),
        ("NG", 10),
        ("6A", 5),
        ("6B", 6.25),
        ("6C", 5),
        ("6M", 5),
        ("6N", 5),
        ("6S", 6.25),
        ("HG", 12.5),
        ("SI", 25),
        ("GC", 10),
        ("ZC", 12.5),
        ("ZS", 12.5),
        ("ZW", 12.5),
    ],
)
def test_a_tick_is_worth_what_the_exchange_says(root: str, tick_value: float) -> None:
    assert PRODUCTS[root].point_value * PRODUCTS[root].tick_size == pytest.approx(tick_value, rel=1e-12)


def test_a_contract_is_spelled_as_each_party_does() -> None:
    contract = Contract("ES", 2025, 12)
    assert (contract.raw, contract.ticker, contract.number) == ("ESZ5", "ESZ2025", 202512)
    assert contract_from_number("ES", contract.number) == contract


@pytest.mark.parametrize("root", PRODUCTS)
def test_every_outright_of_every_product_is_read_back(root: str) -> None:
    for offset in range(119):
        contract = Contract(root, 2025 + (9 + offset) // 12, (9 + offset) % 12 + 1)
        assert parse_contract(contract.raw, ON) == contract


@pytest.mark.parametrize(
    "raw", ["ESZ5-ESH6", "ES:BF Z5-H6-M6", "ES", "Z5", "", "esz5", "UD:1V: 12345", "ESA5", "ESZ5 ", "ES.v.0"]
)
def test_spreads_combos_and_other_names_are_no_outrights(raw: str) -> None:
    assert parse_contract(raw, ON) is None


def test_a_one_digit_year_means_the_first_decade_in_which_the_month_is_not_over() -> None:
    assert parse_contract("ESZ3", date(2013, 10, 7)) == Contract("ES", 2013, 12)
    assert parse_contract("GCV3", date(2013, 10, 31)) == Contract("GC", 2013, 10)
    assert parse_contract("GCV3", date(2013, 11, 1)) == Contract("GC", 2023, 10)
    assert parse_contract("ESH0", date(2019, 12, 30)) == Contract("ES", 2020, 3)


def test_a_two_digit_year_is_read_too() -> None:
    assert parse_contract("ZCZ26", ON) == Contract("ZC", 2026, 12)
    assert parse_contract("6EH04", date(2003, 1, 1)) == Contract("6E", 2004, 3)


@pytest.mark.parametrize(
    ("contract", "day"),
    [
        (Contract("ES", 2026, 12), date(2026, 12, 18)),  # third Friday
        (Contract("6A", 2026, 12), date(2026, 12, 14)),  # two business days before the third Wednesday
        (Contract("6C", 2026, 12), date(2026, 12, 15)),  # one before it
        (Contract("CL", 2026, 12), date(2026, 11, 20)),  # three before November 25th
        (Contract("CL", 2026, 8), date(2026, 7, 21)),  # July 25th is a Saturday: three before the Friday
        (Contract("NG", 2026, 12), date(2026, 11, 25)),  # three before December 1st, and Thanksgiving is none
        (Contract("ES", 2008, 3), date(2008, 3, 20)),  # the third Friday was Good Friday
        (Contract("ES", 2026, 6), date(2026, 6, 18)),  # and here Juneteenth
        (Contract("6A", 2024, 6), date(2024, 6, 17)),  # Juneteenth is the third Wednesday itself: two before it
        (Contract("CL", 2023, 6), date(2023, 5, 22)),  # three before Thursday, 25 May
        (Contract("CL", 2025, 1), date(2024, 12, 19)),  # 25 December is a holiday: three before the 24th
        (Contract("NG", 2025, 6), date(2025, 5, 28)),  # three before Sunday, 1 June
        (Contract("GC", 2027, 6), date(2027, 5, 28)),  # 31 May 2027 is Memorial Day
        (Contract("GC", 2026, 12), date(2026, 11, 30)),  # first notice: last business day of the month before
        (Contract("HG", 2026, 9), date(2026, 8, 31)),
        (Contract("ZC", 2026, 3), date(2026, 2, 27)),
    ],
    ids=str,
)
def test_the_deadline_is_the_last_trading_or_first_notice_day(contract: Contract, day: date) -> None:
    assert deadline(contract) == day


def test_the_eighteen_of_the_seed_are_known_with_their_groups() -> None:
    assert [group_of(root) for root in SEED_ROOTS] == (
        ["equity"] * 4 + ["energy"] * 2 + ["fx"] * 6 + ["metals"] * 3 + ["grains"] * 3
    )
    assert group_of("XX") == "equity"
