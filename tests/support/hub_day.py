"""Part of a day as the hub lives it, and what a run of it leaves on Redis."""

import pytest

from rooney.bus.publisher import Publisher
from rooney.errors import EXIT_OK
from rooney.market.sessions import MINUTE_NS
from rooney.sim.characters import FIRST_SESSION
from rooney.sim.databento.gateway import Gateway
from rooney.sim.databento.sources import Until
from rooney.sim.market import Market
from tests.support.gateways import running
from tests.support.hub import hub_thread, parents, plain, plain_tape
from tests.support.private_redis import private_redis
from tests.support.times import chicago

ROOTS = parents("ES", "6N", "ZC")
MARKET = Market(roots=["ES", "6N", "ZC"], trades_per_minute=100)
MORNING = chicago("2026-03-11 07:00")  # before the break of the grains
AFTERNOON = chicago("2026-03-11 16:00")
DAY_PART = Until(MARKET, AFTERNOON)


class Result:
    """What a run left on Redis, up to the end of the market; its last heartbeats may go on for a while."""

    def __init__(self, bus: Publisher) -> None:
        self.tape = [minute for minute in plain_tape(bus) if minute.ts_close <= AFTERNOON]
        self.histories = {
            (root, timeframe): [plain(bar) for bar in bus.history(root, timeframe, 5_000)]
            for root, _, _ in ROOTS
            for timeframe in ("1min", "hourly", "daily")
        }
        self.volumes = {root: bus.volumes(root, FIRST_SESSION) for root, _, _ in ROOTS}
        self.last = {root: bus.last_prices(root) for root, _, _ in ROOTS}


@pytest.fixture(scope="module")
def undisturbed() -> Result:
    """The result of a run in which nothing went wrong."""
    with private_redis() as redis, running(Gateway(DAY_PART, begin_ns=MORNING, until_ns=AFTERNOON)) as gateway:
        with hub_thread(redis, gateway, ROOTS, MORNING) as hub:
            hub.wait(AFTERNOON)
        assert hub.code == EXIT_OK
        result = Result(hub.bus)
    dense = [minute.ts_close for minute in result.tape]
    assert dense == list(range(MORNING + MINUTE_NS, AFTERNOON + 1, MINUTE_NS))
    days = [bar for minute in result.tape for bar in minute.bars if bar.timeframe == "daily"]
    assert [bar.symbol for bar in days] == ["ZC", "ES", "6N"]
    return result


def assert_same_result(bus: Publisher, undisturbed: Result) -> None:
    """Assert that Redis holds what an undisturbed run left."""
    found = Result(bus)
    for mine, theirs in zip(found.tape, undisturbed.tape, strict=False):
        assert mine == theirs
    assert len(found.tape) == len(undisturbed.tape)
    assert found.histories == undisturbed.histories
    assert found.volumes == undisturbed.volumes
    assert found.last == undisturbed.last
