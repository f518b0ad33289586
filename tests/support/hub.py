"""Hubs and feeds from a local gateway, in a thread or a process, and what they leave on Redis."""

import contextlib
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import yaml

from rooney.bus.keys import market_key
from rooney.bus.publisher import Publisher
from rooney.config.schema import Databento, DataHub
from rooney.config.settings import Instrument
from rooney.errors import BusError
from rooney.hub.databento import Subscription
from rooney.hub.feed import Feed, News
from rooney.hub.process import Hub
from rooney.market.bars import ClosedMinute, MinuteBuilder
from rooney.market.instruments import group_of
from rooney.market.messages import Bar, InstrumentState, Minute, decode_bar
from rooney.market.timeframes import TIMEFRAMES
from rooney.secrets import Secret
from rooney.sim.databento.gateway import DEMO_KEY, Gateway
from rooney.sim.processes import Part, python
from tests.support.private_redis import PrivateRedis
from tests.support.waiting import until

Root = tuple[str, str, str]


def new_feed(
    builder: MinuteBuilder,
    products: Sequence[str],
    tell: Callable[[News], None],
    port: int,
    *,
    host: str = "127.0.0.1",
    key: str = DEMO_KEY,
    definitions: bool = False,
    dead_s: float = 15.0,
    gap_limit_s: float = 300.0,
    **options: Any,
) -> Feed:
    """A feed from a local gateway."""
    subscription = Subscription(Databento(Secret(key), gateway=host, port=port), products, definitions)
    return Feed(builder, subscription, tell, DataHub(feed_dead_s=dead_s, gap_limit_s=gap_limit_s), **options)


def parents(*roots: str) -> list[Root]:
    return [(root, group_of(root), f"{root}.FUT") for root in roots]


def stacks() -> str:
    """Where every thread of this process is."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"-- {names.get(ident)}\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    )


class HubThread:
    """The real hub with the real client in a thread of this process."""

    def __init__(
        self,
        redis: PrivateRedis,
        gateway: Gateway,
        roots: list[Root],
        start_ns: int,
        *,
        key: str = DEMO_KEY,
        ring: int = 3_000,
        bus: Publisher | None = None,
        facts: Mapping[str, Instrument] | None = None,
        **feed_options: Any,
    ) -> None:
        self.bus = redis.bus()
        self.feed: Feed | None = None
        self.builder: MinuteBuilder | None = None
        self.code: int | None = None
        options: dict[str, Any] = {"pauses_s": (0.05,), "dead_s": 3.0} | feed_options
        products = [product for _, _, product in roots]

        def make_feed(builder: MinuteBuilder, tell: Callable[[News], None]) -> Feed:
            self.builder = builder
            self.feed = new_feed(builder, products, tell, gateway.port, host=gateway.host, key=key, **options)
            return self.feed

        data_hub = DataHub(ring_minutes=ring)
        self.hub = Hub(roots, bus or redis.bus(), make_feed, data_hub, start_ns=start_ns, facts=facts)
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.code = self.hub.run()

    def end_ns(self) -> int:
        with contextlib.suppress(BusError):
            bounds = self.bus.tape_bounds()
            return bounds[1] if bounds else 0
        return 0

    def wait(self, end_ns: int, timeout_s: float = 60.0) -> None:
        until(lambda: self.end_ns() >= end_ns or self.code is not None, timeout_s, lambda: (self.end_ns(), end_ns))
        assert self.end_ns() >= end_ns, f"the hub ended with {self.code}"

    def stop(self) -> int:
        self.hub.stop()
        self._thread.join(20)
        assert self.code is not None, f"the hub did not stop:\n{stacks()}"
        return self.code

    def counts(self) -> dict[str, int]:
        status = self.bus.status()
        assert status is not None
        return status.counts


@contextlib.contextmanager
def hub_thread(redis: PrivateRedis, gateway: Gateway, roots: list[Root], start_ns: int, **named: Any) -> Iterator[Any]:
    hub = HubThread(redis, gateway, roots, start_ns, **named)
    try:
        yield hub
    finally:
        hub.stop()


def hub_process(
    redis: PrivateRedis,
    port: int,
    roots: list[Root],
    start: str,
    *,
    key: str = DEMO_KEY,
    name: str = "hub",
    data_hub: Mapping[str, Any] | None = None,
) -> Part:
    """`rooney hub` as a unit would start it."""
    config = redis.directory / "config.multi_alpha.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "databento": {"api_key": "${DATABENTO_API_KEY}", "gateway": "127.0.0.1", "port": port},
                "data_hub": {"redis_socket": redis.socket, **(data_hub or {})},
                "instruments": {root: {"databento_product_id": product} for root, _, product in roots},
                "strategies": {},
            },
            sort_keys=False,
        )
    )
    argv = python("rooney", "hub", "--config", str(config), "--start", start)
    (redis.directory / f"{name}.notify").unlink(missing_ok=True)
    return Part(name, argv, redis.directory, {"DATABENTO_API_KEY": key}, notify=True)


def plain(bar: Bar) -> Bar:
    """Without what may differ between two runs: flags and stamps."""
    return msgspec.structs.replace(bar, flags=0, ts_hub_ns=0)


def plain_minutes(closed: Iterable[ClosedMinute], end_ns: int) -> list[ClosedMinute]:
    """What was built up to an instant, without flags and stamps; contracts in their order."""
    return [
        msgspec.structs.replace(
            minute,
            contracts=sorted(
                (msgspec.structs.replace(part, replayed=False) for part in minute.contracts),
                key=lambda part: part.contract,
            ),
            ts_hub_ns=0,
            repaired=False,
            dropped=frozenset(),
        )
        for minute in closed
        if minute.ts_close <= end_ns
    ]


def plain_tape(bus: Publisher) -> list[Minute]:
    """Every minute without flags and stamps, its states as a living feed would have told them."""
    return [
        Minute(minute.ts_close, minute.rolls, [plain(bar) for bar in minute.bars], _alive(minute))
        for _, minute in bus.tape(0)
    ]


def latest_agree(bus: Publisher, roots: list[Root]) -> None:
    """What `:latest` holds of each instrument and timeframe is the end of its history."""
    for root, _, _ in roots:
        for timeframe in TIMEFRAMES:
            latest: Any = bus._redis.get(f"{market_key(root, timeframe)}:latest")
            assert ([decode_bar(latest)] if latest is not None else []) == bus.history(root, timeframe, 1)


def _alive(minute: Minute) -> dict[str, int]:
    """Its states as a feed tells them that lives and sends nothing wrong."""
    traded = {bar.symbol for bar in minute.bars if bar.timeframe == "1min"}
    told = {True: int(InstrumentState.OPEN), False: int(InstrumentState.QUIET)}
    return {
        root: told[root in traded] if state in (InstrumentState.DEAD, InstrumentState.INCOMPLETE) else state
        for root, state in minute.states.items()
    }
