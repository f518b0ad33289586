"""Redis goes: what waits, what is said, what is lost; and a strategy that is given a Redis of its own."""

import contextlib
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from rooney.bus import outage
from rooney.bus.publisher import Publisher
from rooney.config.schema import DataHub
from rooney.errors import EXIT_FAILURE, BusError
from rooney.market import sessions
from rooney.market.messages import Bar, HubStatus
from rooney.market.sessions import MINUTE_NS
from rooney.sim.characters import FIRST_SESSION
from rooney.sim.databento.gateway import Gateway
from rooney.sim.databento.sources import Until
from rooney.sim.market import Market
from rooney.sim.processes import Part, redis_server
from tests.support.gateways import running
from tests.support.hub import HubThread, hub_thread, parents, plain
from tests.support.hub_by_hand import ByHand, redis_tape
from tests.support.ledgers import read_only
from tests.support.minutes import BUY, LEAVE
from tests.support.private_redis import PrivateRedis, free_port
from tests.support.rigs import Rig
from tests.support.two_instruments import END, SPEED, START, market
from tests.support.waiting import until
from tests.support.workers import Zygote


def test_at_the_bound_the_ring_says_so_once_and_the_status_tells_it_when_redis_is_back(
    redis: PrivateRedis, caplog: pytest.LogCaptureFixture
) -> None:
    hub = ByHand(redis.bus(timeout_s=0.3), ring=10)
    hub.feed.minute(0)
    reader = redis.bus()
    until(lambda: reader.tape_bounds() is not None, 5)
    redis.stop()
    for i in range(1, 30):
        hub.feed.minute(i)
    until(lambda: "all 10 wait for Redis" in caplog.text, 10)
    redis.start()
    hub.thread.join(10)
    assert hub.codes == [EXIT_FAILURE]
    said = [record.getMessage() for record in caplog.records if "ring_minutes" in record.getMessage()]
    assert len(said) == 1
    assert "the hub starts again from the tape's end" in said[0]
    status = redis.bus().status()
    assert status is not None
    assert status.state == "ring overrun"
    assert "before the ring of 10 minutes" in status.detail
    assert len(redis_tape(redis)) == 1  # and no hole


def test_an_outage_that_lasts_is_an_alert_said_once(
    redis: PrivateRedis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "ALERT_S", 2.5)
    hub = ByHand(redis.bus(timeout_s=0.3))
    statuses: list[str] = []
    monkeypatch.setattr(hub.hub._notifier, "status", lambda text: statuses.append(text) is None)
    hub.feed.minute(0)
    reader = redis.bus()
    until(lambda: reader.tape_bounds() is not None, 5)
    redis.stop()
    began = time.monotonic()
    hub.feed.minute(1)
    until(lambda: any(text.startswith("ALERT redis away") for text in statuses), 10)
    assert time.monotonic() - began >= 2.0
    time.sleep(1.0)
    redis.start()
    until(lambda: len(redis_tape(redis)) == 2, 10)
    until(lambda: statuses[-1].startswith("live"), 10)
    hub.stop()
    assert sum("Redis has been away" in record.getMessage() for record in caplog.records) == 1
    assert any(text.startswith("redis away") for text in statuses)


# ── a strategy moves to a hub and a Redis of its own ──


class TcpRedis:
    """A Redis at a host and port, as two keys of the configuration name it."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        argv = [redis_server(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
        self.part = Part(f"redis{self.port}", argv, directory)
        until(self._answers, 10, self.part.tail)

    def _answers(self) -> bool:
        with contextlib.suppress(Exception):
            self.bus().ping()
            return True
        return False

    def bus(self, timeout_s: float = 3.0) -> Publisher:
        return Publisher(DataHub(redis_host="127.0.0.1", redis_port=self.port), timeout_s=timeout_s)

    def env(self) -> dict[str, str]:
        """What the drop-in of a moved worker says."""
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.port)}


class MovableRig(Rig):
    """Its configuration takes Redis from two variables, as the shipped one does."""

    def write(self) -> Path:
        path = self.directory / "config.yml"
        hub = {"redis_host": "${REDIS_HOST:-localhost}", "redis_port": "${REDIS_PORT:-6379}"}
        config = {"data_hub": hub, "instruments": {"ES": {}, "NQ": {}}, "strategies": self.blocks}
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return path

    def decided(self, name: str) -> list[Any]:
        """Everything but what names the strategy."""
        with read_only(self.ledger(name)) as db:
            lives = db.execute(
                "SELECT i.ts_mark, i.contract, i.role, i.side, i.signal_price, e.state FROM intent i"
                " JOIN event e ON e.intent = i.id ORDER BY e.seq"
            ).fetchall()
            marks = db.execute("SELECT ts_mark, marks FROM status").fetchall()
            return [*lives, *marks, *db.execute("SELECT * FROM trade").fetchall()]


@pytest.mark.slow
def test_a_worker_moves_to_its_own_hub_and_redis_by_two_keys_while_the_other_trades(
    redis: PrivateRedis, tmp_path: Path
) -> None:
    source = market({5: BUY, 12: LEAVE, 20: BUY, 31: LEAVE, 45: BUY, 55: LEAVE})
    with contextlib.ExitStack() as stack:
        short = Path(tempfile.mkdtemp(prefix="rw-"))
        stack.callback(shutil.rmtree, short)
        zygote = Zygote(short)
        stack.callback(zygote.close)
        common, own = TcpRedis(short), TcpRedis(short)
        stack.callback(common.part.stop)
        stack.callback(own.part.stop)
        rig = MovableRig(tmp_path, Path(redis.socket), zygote, ("a", "b"))
        stack.callback(rig.close)
        for block in rig.blocks.values():
            block.update({"mode": "dry", "broker_account": None})
        a, b = rig.start("a", **common.env()), rig.start("b", **common.env())
        rig.wait_ready("a", "b")
        gateway = stack.enter_context(running(Gateway(source, speed=SPEED / 4, begin_ns=START, until_ns=END)))
        first = HubThread(common, gateway, parents("ES", "NQ"), START)  # type: ignore[arg-type]
        stack.callback(first.stop)
        rig.wait_position(START + 8 * MINUTE_NS, "b")
        assert b.kill(15) == 0  # with a position open
        second = HubThread(own, gateway, parents("ES", "NQ"), START)  # type: ignore[arg-type]
        stack.callback(second.stop)
        second.wait(START + 8 * MINUTE_NS)
        b = rig.start("b", **own.env())
        rig.wait_position(START + 25 * MINUTE_NS, "b")
        reached = rig.position("a")
        assert reached > START + 8 * MINUTE_NS
        rig.wait_position(START + 50 * MINUTE_NS, "b")
        rig.finish(a, END, "a")
        common.part.stop(0.0)  # what happens over there is no longer b's business
        rig.finish(b, END, "b")
        assert "b" in str(rig.ledger("b"))
        assert rig.decided("a") == rig.decided("b")
        assert len([row for row in rig.decided("b") if len(row) == 6 and row[5] == "acknowledged"]) == 6
        assert "lost" not in rig.log("b").read_text()


def test_the_status_of_a_hub_without_the_newer_fields_is_still_read(redis: PrivateRedis) -> None:
    """A worker may be newer than the hub, and the other way round."""
    import msgspec

    old = {
        name: value
        for name, value in msgspec.structs.asdict(HubStatus("live", 1, 2, 3, 4, 5, {}, {"ES": "ESZ5"})).items()
        if name != "instruments"
    }
    bus = redis.bus()
    bus._redis.set("hub:status", msgspec.msgpack.encode(old | {"later": [1]}))
    status = bus.status()
    assert status is not None
    assert (status.state, status.instruments) == ("live", {})


class Faltering(Publisher):
    """Its connection is lost once, in the midst of what a hub reads at its start: after the first instrument."""

    lost = False

    def last_prices(self, root: str) -> dict[int, float]:
        if root == "6N" and not self.lost:
            self.lost = True
            self.close()
            raise BusError("lost")
        return super().last_prices(root)


def test_a_start_that_redis_interrupts_counts_nothing_twice(redis: PrivateRedis) -> None:
    """Found by the machine of test_hub_random_failures: the hour in progress was folded once per attempt."""
    begin = sessions.session_open_ns("equity", FIRST_SESSION)
    source = Until(Market(roots=["ES", "6N"], trades_per_minute=200), begin + 70 * MINUTE_NS)
    roots = parents("ES", "6N")

    def hours() -> list[Bar]:
        bus = redis.bus()
        return [plain(bar) for root in ("ES", "6N") for bar in bus.history(root, "hourly", 10)]

    first = Gateway(source, begin_ns=begin, until_ns=begin + 71 * MINUTE_NS)
    with running(first), hub_thread(redis, first, roots, begin) as hub:
        hub.wait(begin + 61 * MINUTE_NS)
    expected = hours()
    assert len(expected) == 2
    redis.clear()
    early = Gateway(Until(source, begin + 30 * MINUTE_NS), begin_ns=begin)
    with running(early), hub_thread(redis, early, roots, begin) as hub:
        hub.wait(begin + 29 * MINUTE_NS)
    bus = Faltering(DataHub(redis_socket=redis.socket))
    gateway = Gateway(source, begin_ns=begin, until_ns=begin + 71 * MINUTE_NS)
    with running(gateway), hub_thread(redis, gateway, roots, begin, bus=bus) as hub:
        hub.wait(begin + 61 * MINUTE_NS)
    assert bus.lost
    assert hours() == expected
