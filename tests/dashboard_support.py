"""What the tests of everything that looks share: a real dashboard process over real ledgers and a real Redis."""

import http.client
import json
import signal
from collections.abc import Mapping
from typing import Any

from operate_support import Bench
from support import free_port
from worker_support import Forked, wait_for

from rooney.view.system import Looker, System


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
        wait_for(lambda: self.answers(), 30.0, lambda: log.read_text()[-3000:])
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
    from rooney.config import load_config

    config = load_config(str(bench.rig.write()), (), environ=bench.rig.env)
    return Looker(config, bench.state, bench.control, replay=replay)


def look(bench: Bench, replay: bool = True) -> System:
    """Once."""
    one = looker(bench, replay)
    try:
        return one.look()
    finally:
        one.close()
