"""A real dashboard process over real ledgers and a real Redis, and what else looks at them."""

import contextlib
import http.client
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rooney.market.messages import HubStatus
from rooney.monitor.system import Looker, System
from tests.support.command_line import Bench, benches
from tests.support.minutes import BUY, ENTERED, LEAVE, QUIET, closes
from tests.support.private_redis import PrivateRedis, free_port, private_redis
from tests.support.waiting import until
from tests.support.webhook_faults import Fault
from tests.support.workers import Forked, Zygote


class Site:
    """A bench and a dashboard that shows it; it can be killed and started again on the same port."""

    def __init__(self, bench: Bench, clock: str = "replay") -> None:
        self.bench = bench
        self.port = free_port()
        self._clock = clock
        self.process: Forked | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "Site":
        rig = self.bench.rig
        argv = ["dashboard", "--config", str(rig.write()), "--set", f"dashboard.port={self.port}"]
        log = rig.directory / "dashboard.log"
        self.process = rig.zygote.start([*argv, "--clock", self._clock], log, rig.env)
        rig.started.append(self.process)
        until(lambda: self.answers(), 30.0, lambda: log.read_text()[-3000:])
        return self

    def answers(self) -> bool:
        try:
            return self.get("/favicon.svg")[0] == 200
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        return self.process.kill(number)

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Mapping[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, headers={"Host": "localhost"} | headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text

    def json(self, path: str) -> Any:
        return json.loads(self.get(path)[2])


def two_strategies(make: Callable[..., Bench]) -> Bench:
    """`a` has closed a trade and holds another position, `b` has an order of unknown fate."""
    one = make("a", "b", faults=(Fault("close", at=(1,), account="b"),), on_unconfirmed_entry="hold")
    one.begin(ENTERED[:1])
    one.rig.start("b")
    one.rig.wait_ready("b")
    later = [*ENTERED[1:], *closes(LEAVE, 105.0, QUIET, BUY, 101.25, 101.75, start=ENTERED[-1].ts_close)]
    for minute in later:  # one at a time, as they come: a request of one is not overtaken by the next
        one.rig.publish([minute])
        for name in ("a", "b"):
            one.rig.wait_position(minute.ts_close, name)
    return one


@contextlib.contextmanager
def standing(zygote: Zygote, directory: Path) -> Iterator[tuple[Site, PrivateRedis]]:
    """A site with a Redis of its own, for several tests."""
    with private_redis() as redis, benches(Path(redis.socket), zygote, directory) as make:
        yield Site(two_strategies(make)).start(), redis


def say_live(bench: Bench, state: str = "live") -> None:
    """A hub has just said so."""
    bounds = bench.rig.bus.tape_bounds()
    end_ns = bounds[1] if bounds else 0
    status = HubStatus(state, time.time_ns(), end_ns, end_ns, 1, 0, {"trades_in": 5}, {"ES": "ESM6"}, instruments={})
    bench.rig.bus.set_status(status)


def rooney(bench: Bench, *arguments: object, code: int | None = 0) -> str:
    """`rooney ARGUMENTS` in a forked process, which has the imports already; what it printed, errors too."""
    rig = bench.rig
    log = rig.directory / "printed.log"
    log.unlink(missing_ok=True)
    env = rig.env | {"ROONEY_CONFIG": str(rig.write()), "SUDO_USER": "ada"}
    found = rig.zygote.start([*map(str, arguments)], log, env).wait()
    text = log.read_text()
    if code is not None:
        assert found == code, f"{found}\n{text}"
    return text


def looker(bench: Bench, replay: bool = True) -> Looker:
    """As the command line makes one."""
    from rooney.config.loader import load_config

    config = load_config(str(bench.rig.write()), (), environ=bench.rig.env)
    return Looker(config, bench.state, bench.control, replay=replay)


def look(bench: Bench, replay: bool = True) -> System:
    """Once."""
    one = looker(bench, replay)
    try:
        return one.look()
    finally:
        one.close()
