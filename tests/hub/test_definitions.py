"""Tick size and point value of the configuration against what the exchange's own records say."""

import time
from collections.abc import Callable
from typing import Any

import databento
import pytest
import yaml

from rooney.config.loader import load_config
from rooney.config.settings import Instrument
from rooney.hub.definitions import UNDEF, Definition, definition, difference
from rooney.market import sessions
from rooney.market.bars import MinuteBuilder
from rooney.market.instruments import PRODUCTS
from rooney.market.messages import InstrumentState
from rooney.market.sessions import MINUTE_NS
from rooney.sim.characters import CHARACTERS, FIRST_SESSION
from rooney.sim.databento.sources import Until
from rooney.sim.market import Market
from tests.support import gateway_faults as faults
from tests.support.faulty_gateway import FaultyGateway as Gateway
from tests.support.gateways import running
from tests.support.hub import HubThread, hub_thread, new_feed, parents
from tests.support.paths import RECORDED_DATA, needs_recorded_data
from tests.support.private_redis import private_redis
from tests.support.waiting import until

OPEN = sessions.session_open_ns("equity", FIRST_SESSION)
END = OPEN + 10 * MINUTE_NS
ES = ("ES", "ESH6", 250_000_000, 125_000_000, 10_000_000, 50_000_000_000)  # as recorded


def read(port: int, *roots: str) -> list[Definition]:
    """What a feed tells of before its first session."""
    told: list[Any] = []
    builder = MinuteBuilder(["equity"], OPEN, 50_000_000, lambda _: None, time.time_ns)
    feed = new_feed(builder, [f"{root}.FUT" for root in roots], told.append, port, definitions=True)
    feed.start()
    until(lambda: feed.sessions == 1)
    feed.stop()
    feed.join(10)
    return [one for one in told if isinstance(one, Definition)]


def test_the_definitions_of_all_eighteen_products_agree_with_the_table() -> None:
    market = Until(Market(trades_per_minute=20), END)
    with running(Gateway(market, begin_ns=OPEN)) as gateway:
        found = read(gateway.port, *CHARACTERS)
    assert {one.root for one in found} == set(CHARACTERS)
    assert all("-" not in one.raw for one in found)
    for one in found:
        product = PRODUCTS[one.root]
        assert difference(one, product.tick_size, product.point_value) is None


@needs_recorded_data
@pytest.mark.parametrize("path", sorted(RECORDED_DATA.glob("dbn/*definition*.zst")), ids=lambda path: path.name)
def test_recorded_definitions_of_outrights_agree_with_the_table(path: Any) -> None:
    for record in databento.DBNStore.from_file(path):
        if record.instrument_class != "F":
            continue
        found = definition(
            record.asset,
            record.raw_symbol,
            record.min_price_increment,
            record.min_price_increment_amount,
            record.display_factor,
            record.unit_of_measure_qty,
        )
        assert found is not None
        product = PRODUCTS[record.asset]
        assert difference(found, product.tick_size, product.point_value) is None
        assert found.point_values[0] == pytest.approx(product.point_value)


@pytest.mark.parametrize(
    ("tick_size", "point_value", "told"),
    [
        (0.25, 50.0, None),
        (0.5, 50.0, "ESH6 has tick size 0.25, configured is 0.5"),
        (0.25, 5.0, "ESH6 is worth 50 USD a point, configured is 5"),
    ],
)
def test_a_difference_is_told_with_both_numbers(tick_size: float, point_value: float, told: str | None) -> None:
    found = definition(*ES)
    assert found is not None
    assert difference(found, tick_size, point_value) == told


def test_grains_are_worth_a_hundredth_of_their_size_a_cent() -> None:
    corn = definition("ZC", "ZCK6", 250_000_000, UNDEF, 10_000_000, 5_000_000_000_000)
    assert corn is not None
    assert difference(corn, 0.25, 50.0) is None
    assert difference(corn, 0.25, 500.0) is not None


@pytest.mark.parametrize("change", [{2: UNDEF}, {2: 0}, {4: UNDEF}, {4: 0}])
def test_a_record_that_says_nothing_of_prices_is_no_definition(change: dict[int, int]) -> None:
    assert definition(*(change.get(i, value) for i, value in enumerate(ES))) is None  # type: ignore[arg-type]


# ── the hub ──


def facts(tmp_path: Any, *roots: str) -> dict[str, Instrument]:
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump({"instruments": {root: {} for root in roots}}))
    return load_config(path, environ={}).instruments()


def checked(tmp_path: Any, wait: Callable[[HubThread], None], **options: Any) -> tuple[Any, list[dict[str, int]]]:
    """Status and states on the tape of a hub that reads definitions."""
    roots = ("ES", "6N", "ZC")
    market = Until(Market(roots=list(roots), trades_per_minute=100), END)
    gateway = Gateway(market, until_ns=END + 2_000_000_000, **options)
    configured: dict[str, Any] = {"facts": facts(tmp_path, *roots), "definitions": True}
    with (
        private_redis() as redis,
        running(gateway),
        hub_thread(redis, gateway, parents(*roots), OPEN, **configured) as hub,
    ):
        hub.wait(END)
        wait(hub)
        return hub.bus.status(), [minute.states for _, minute in hub.bus.tape(0)]


def test_a_root_whose_definition_differs_is_refused_by_name_and_the_others_trade(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def told(hub: HubThread) -> None:
        until(lambda: (status := hub.bus.status()) is not None and status.ts_tape >= END)

    status, states = checked(tmp_path, told, facts={"6N": (0.0001, 100_000.0)})
    assert "6NH6 has tick size 0.0001, configured is 5e-05" in status.detail
    assert all(minute["6N"] == InstrumentState.REFUSED for minute in states)
    assert {minute["ES"] for minute in states} == {InstrumentState.OPEN}
    assert status.instruments["6N"] == "refused"
    assert status.instruments["ES"] in ("open", "quiet")
    (said,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert said.getMessage().startswith("instruments.6N: 6NH6 has tick size 0.0001, configured is 5e-05")


def test_without_definitions_the_hub_goes_on_and_says_so(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    status, states = checked(tmp_path, lambda hub: None, faults=[faults.RefuseAuth(error="too many connections")])
    assert "no definitions to compare the configuration with" in caplog.text
    assert not any(InstrumentState.REFUSED in minute.values() for minute in states)
    assert status.detail == ""
