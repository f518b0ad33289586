"""A worker's STATUS line, part by part."""

import pytest

from rooney.kernels.codes import Pending
from rooney.orders.decisions import Position
from rooney.worker import status

VALUES = {"ES": 50.0, "NQ": 20.0, "6A": 100_000.0}


def held(symbol: str, side: int, entry: float, last: float, quantity: int = 1) -> Position:
    return Position(symbol, f"{symbol}M6", side, quantity, entry, last, Pending(0))


@pytest.mark.parametrize(
    ("positions", "text"),
    [
        ([], "flat"),
        ([held("ES", 0, 0.0, 0.0)], "flat"),  # its entry is on the way
        ([held("ES", 1, 5321.25, 5322.5)], "ES +1 @5321.25 open +62.50"),
        (
            [held("ES", 1, 5321.25, 5322.5), held("NQ", -1, 20_000.0, 20_010.0, 2)],
            "ES +1 @5321.25 NQ -2 @20000 open -337.50",
        ),
        ([held("ES", 1, 1.0, 1.0), held("NQ", 1, 1.0, 1.0), held("6A", -1, 0.65, 0.64995)], "3 positions open +5.00"),
    ],
)
def test_positions_are_named_with_entry_and_estimated_open_result(positions: list[Position], text: str) -> None:
    assert status.holdings(positions, VALUES) == text


@pytest.mark.parametrize(
    ("unconfirmed", "is_sending", "text"),
    [(0, False, "orders ok"), (0, True, "orders sending"), (1, True, "orders 1 UNCONFIRMED")],
)
def test_an_order_that_may_be_live_is_said_before_one_on_its_way(unconfirmed: int, is_sending: bool, text: str) -> None:
    assert status.orders(unconfirmed, is_sending) == text


@pytest.mark.parametrize(
    ("states", "is_open", "age_s", "text"),
    [
        ({}, True, 12.4, "data 12s"),
        ({}, True, None, "data none"),
        ({}, False, 7_200.0, "data closed"),
        ({"NQ": "dead", "ES": "dead"}, True, 40.0, "data dead ES NQ"),
        ({"NQ": "dead", "ES": "refused"}, True, 1.0, "data dead NQ refused ES"),
    ],
)
def test_data_is_as_old_as_it_is_or_not_to_be_trusted(
    states: dict[str, str], is_open: bool, age_s: float | None, text: str
) -> None:
    assert status.data(states, is_open, age_s) == text
