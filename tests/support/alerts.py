"""Stand-ins for Slack and Discord: real HTTP servers with their answers; ledgers with notices; the sender itself."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from rooney.alerts.process import Sender
from rooney.alerts.routing import Channel, Routes
from rooney.bus.publisher import Publisher
from rooney.config.loader import load_config
from rooney.config.schema import DataHub
from rooney.ledger.writer import Ledger
from rooney.monitor.system import Looker
from rooney.orders.notices import Notice, Turn
from rooney.secrets import Secret
from rooney.systemd import Notifier

Answer = tuple[int, dict[str, str], str]
TAKEN: Answer = (200, {}, "ok")


class Service:
    """Slack or Discord. script: answers to the first requests, `hang` for none in time; then all are taken."""

    def __init__(self, script: Sequence[Answer | str] = (), otherwise: Answer = TAKEN) -> None:
        self.script = list(script)
        self.otherwise = otherwise
        self.taken: list[str] = []
        self.requests: list[tuple[float, int]] = []
        self.bodies: list[dict[str, Any]] = []
        self.pings = 0
        self._lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.pings += 1
                self._answer(TAKEN)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with service._lock:
                    answer = service.script.pop(0) if service.script else service.otherwise
                    status = 0 if isinstance(answer, str) else answer[0]
                    service.requests.append((time.monotonic(), status))
                    service.bodies.append(body)
                    if 200 <= status < 300:
                        service.taken.append(body.get("text") or body.get("content"))
                if isinstance(answer, str):
                    time.sleep(3.0)
                    return
                self._answer(answer)

            def _answer(self, answer: Answer) -> None:
                status, headers, text = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                data = text.encode() if status != 204 else b""
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/services/T000/B000/s3cret"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def service(*script: Answer | str, otherwise: Answer = TAKEN) -> Iterator[Service]:
    """One that ends with the block."""
    with closing(Service(script, otherwise)) as one:
        yield one


def order(n: int, turn: Turn = Turn.BEGINS, level: int = 50, text: str = "") -> Notice:
    """What a ledger says of an order of unknown fate, and of its end."""
    said = text or ("entry ESM6 unconfirmed; it may be live" if turn is Turn.BEGINS else "entry ESM6 resolved")
    return Notice(f"order {n:016x}", turn, level, said, "ES" if n % 2 else "NQ", f"{n:016x}")


def ledger(state: Path, name: str = "ibs") -> Ledger:
    return Ledger(state / name / "ledger.sqlite", name)


def configuration(directory: Path, **strategies: dict[str, Any]) -> Path:
    """Strategies without accounts, and a Redis that is not there."""
    path = directory / "config.yml"
    blocks = {
        name: {"strategy": "ibs", "mode": "dry", "instruments": ["ES", "NQ"]} | block
        for name, block in strategies.items()
    }
    path.write_text(
        yaml.safe_dump(
            {
                "data_hub": {"redis_socket": str(directory / "no-redis")},
                "instruments": {"ES": {}, "NQ": {}},
                "strategies": blocks or {"ibs": {"mode": "dry", "instruments": ["ES", "NQ"]}},
            }
        )
    )
    return path


def routes(*common: Service, own: dict[str, Service] | None = None, kind: str = "slack") -> Routes:
    """Channels for services."""
    channels: dict[str, Channel] = {}

    def channel(one: Service) -> str:
        channels[one.url] = Channel(one.url[-40:], f"{kind} of test", kind, Secret(one.url))  # type: ignore[arg-type]
        return one.url[-40:]

    common_keys = tuple(channel(one) for one in common)
    own_keys = {name: (channel(one),) for name, one in (own or {}).items()}
    return Routes({one.key: one for one in channels.values()}, own_keys, common_keys)


def sender(
    directory: Path, routes_: Routes, ping: Service | None = None, level: int = 0, state: Path | None = None
) -> Sender:
    """The sender over ledgers in `state` or `directory`/state; its turns are taken by the test."""
    config = load_config(configuration(directory), (), environ={})
    looker = Looker(config, state or directory / "state", directory / "control")
    bus = Publisher(DataHub(redis_socket=str(directory / "no-redis")), timeout_s=0.2)
    url = Secret(ping.url) if ping else None
    places = directory / "control", directory / "reports", directory / "book"
    return Sender(routes_, [], url, level, looker, bus, *places, Notifier())


def turns(one: Sender, done: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Until `done()`."""
    end = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < end
        one.turn()
        time.sleep(0.01)


def process(directory: Path, service_: Service, log: Path, **environ: str) -> "subprocess.Popen[bytes]":
    """`rooney alert-sender` on its own, its pauses shortened, told of its channel by a credential."""
    credentials = directory / "credentials"
    credentials.mkdir(exist_ok=True)
    (credentials / "alert_slack").write_text(service_.url)
    code = (
        "import rooney.alerts.incidents as t, rooney.alerts.services as s, rooney.alerts.process as r\n"
        "t.GROUP_NS = t.GAP_NS = t.CRITICAL_GAP_NS = 20_000_000; r.TURN_S = 0.02\n"
        "s.LEAST_PAUSE_S['slack'] = 0.0; s.BACK_OFF_S = (0.05,)\n"
        "from rooney.cli import main; main()"
    )
    argv = [sys.executable, "-c", code, "alert-sender", "--config", str(configuration(directory))]
    argv += ["--state-directory", str(directory / "state"), "--book", str(directory / "book")]
    argv += ["--reports", str(directory / "reports")]
    env = {**os.environ, "CREDENTIALS_DIRECTORY": str(credentials)}
    with log.open("ab") as file:
        return subprocess.Popen(argv, stdout=file, stderr=file, env=env | environ)


def counted(texts: Sequence[str], words: str) -> int:
    """How many troubles messages tell of, in lines that begin with `words`: `9,997 × order` is so many."""
    total = 0
    for text in {re.findall(r"\[#(\w+)\]", text)[0]: text for text in texts}.values():
        for line in text.splitlines():
            if line.startswith(words):
                several = re.match(rf"{words} [^:]*: ([\d,]+) ×", line)
                total += int(several[1].replace(",", "")) if several else 1
    return total
