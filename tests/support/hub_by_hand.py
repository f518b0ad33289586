"""A hub whose feed is a test."""

import threading
import time
from collections.abc import Callable
from typing import Any

from rooney.bus.publisher import Publisher
from rooney.config.schema import DataHub
from rooney.hub.process import Hub
from rooney.market import sessions
from rooney.market.bars import PRICE_SCALE, ClosedMinute, ContractMinute
from rooney.market.instruments import Contract
from rooney.market.messages import Minute
from rooney.market.sessions import MINUTE_NS
from rooney.sim.characters import FIRST_SESSION
from tests.support.hub import parents, plain_tape
from tests.support.private_redis import PrivateRedis
from tests.support.waiting import until

OPEN = sessions.session_open_ns("equity", FIRST_SESSION)


class Stub:
    """A feed from which a test sends minutes by hand."""

    state, trades, sessions, last_record_ns = "live", 0, 1, OPEN
    gap, gap_day = "", None
    turns = True

    def __init__(self, inbox: Callable[[Any], None]) -> None:
        self.send = inbox

    def alive(self) -> bool:
        return True

    def turning(self) -> bool:
        return self.turns

    def now_ns(self) -> int:
        return self.last_record_ns

    def start(self) -> None:
        self.send(Contract("ES", 2026, 3))

    def stop(self) -> None:
        pass

    def join(self, timeout: float) -> None:
        pass

    def minute(self, i: int) -> None:
        price = (6_800 + i) * PRICE_SCALE
        part = ContractMinute(Contract("ES", 2026, 3), price, price, price, price, 1, 1)
        self.send(ClosedMinute(OPEN + (i + 1) * MINUTE_NS, [part], time.time_ns()))


class ByHand:
    """A hub in a thread, and the feed by which a test tells it of minutes."""

    def __init__(self, bus: Publisher, ring: int = 100) -> None:
        self.feeds: list[Stub] = []

        def make(builder: Any, tell: Any) -> Any:
            self.feeds.append(Stub(tell))
            return self.feeds[0]

        self.hub = Hub(parents("ES"), bus, make, DataHub(ring_minutes=ring), start_ns=OPEN)
        self.codes: list[int] = []
        self.thread = threading.Thread(target=lambda: self.codes.append(self.hub.run()), daemon=True)
        self.thread.start()
        until(lambda: bool(self.feeds), 10)
        self.feed = self.feeds[0]

    def stop(self) -> int:
        self.hub.stop()
        self.thread.join(15)
        assert not self.thread.is_alive()
        return self.codes[0]


def redis_tape(redis: PrivateRedis) -> list[Minute]:
    """Every minute on the tape, plain."""
    bus = redis.bus()
    try:
        return plain_tape(bus)
    finally:
        bus.close()
