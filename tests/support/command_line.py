"""The real command line beside a real worker with a real ledger."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rooney.ledger.snapshot import Snapshot, read_ledger
from rooney.market.messages import Minute
from rooney.orders.intents import State
from rooney.sim.processes import Part, start_redis
from tests.support.minutes import ENTERED, START, closes
from tests.support.paths import ROOT
from tests.support.rigs import Rig
from tests.support.waiting import until
from tests.support.webhook_faults import Fault
from tests.support.webhooks import Running, running
from tests.support.workers import Forked, Zygote


class Bench:
    """A rig, a local TradersPost, and the command line looking at both."""

    def __init__(self, rig: Rig, server: Running, requests: Path) -> None:
        self.rig = rig
        self.server = server
        self._requests = requests
        rig.env |= {"ROONEY_STATE_DIRECTORY": str(rig.directory / rig.label)}

    @property
    def control(self) -> Path:
        return self.rig.control

    @property
    def state(self) -> Path:
        return self.rig.directory / self.rig.label

    def rooney(self, *arguments: object, code: int | None = 0, answer: str = "", **env: str) -> str:
        """Run the command; what it printed. code: the exit status it must have, None for any."""
        done = self.run(*arguments, answer=answer, **env)
        if code is not None:
            assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def run(self, *arguments: object, answer: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command as an operator does, in a process of its own."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("ROONEY_", "WEBHOOK_"))}
        return subprocess.run(
            [sys.executable, "-m", "rooney", *map(str, arguments)],
            input=answer,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=ROOT,
            env=clean | self.rig.env | {"SUDO_USER": "ada", "ROONEY_CONFIG": str(self.rig.write())} | env,
        )

    def json(self, *arguments: object, code: int | None = 0, **env: str) -> Any:
        """The same with --json, decoded."""
        return json.loads(self.rooney(*arguments, "--json", code=code, **env))

    def begin(self, minutes: Sequence[Minute] = ENTERED, name: str = "a") -> Forked:
        """A worker that has finished these minutes and goes on."""
        worker = self.rig.begin(minutes, name=name)
        self._finished(minutes[-1].ts_close, name)
        return worker

    def _finished(self, ts: int, name: str) -> None:
        """A mark is in the ledger before its orders are sent: wait for both."""
        self.rig.wait_position(ts, name)
        until(lambda: not self.on_their_way(name), what=lambda: str(self.on_their_way(name)))

    def on_their_way(self, name: str = "a") -> list[str]:
        """Intents whose outcome is not known yet."""
        return [o.id for o in self.read(name).orders if o.state in (State.PLANNED, State.SENDING)]

    def obeyed(self, name: str = "a") -> None:
        """Wait until the worker has taken what was left for it."""
        until(lambda: not list((self.control / name / "commands").glob("*.json")))

    def more(self, *prices: float, name: str = "a") -> None:
        """Minutes that follow the last one, finished."""
        start = max(self.rig.position(name), START)
        minutes = closes(*prices, start=start)
        self.rig.publish(minutes)
        self._finished(minutes[-1].ts_close, name)

    def read(self, name: str = "a") -> Snapshot:
        return read_ledger(self.rig.ledger(name))

    def requests(self) -> list[dict[str, Any]]:
        """Payloads that arrived, in order."""
        if not self._requests.exists():
            return []
        return [json.loads(line)["payload"] for line in self._requests.read_text().splitlines()]

    def actions(self) -> list[str]:
        return [request["action"] for request in self.requests()]

    def broker(self, name: str = "a") -> Any:
        """Positions at the other side."""
        return self.server.state()["accounts"][name]["positions"]


@pytest.fixture(scope="session")
def operate_place() -> Iterator[Path]:
    """A short path: a unix socket's may have 107 characters."""
    directory = Path(tempfile.mkdtemp(prefix="ro-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def operate_redis(operate_place: Path) -> Iterator[Part]:
    part = start_redis(operate_place)
    yield part
    part.stop()


@pytest.fixture(scope="session")
def operate_zygote(operate_place: Path) -> Iterator[Zygote]:
    one = Zygote(operate_place)
    yield one
    one.close()


@contextlib.contextmanager
def benches(redis_socket: Path, zygote: Zygote, directory: Path) -> Iterator[Callable[..., Bench]]:
    """Makes a bench with strategies by name and a webhook that misbehaves as told."""
    with contextlib.ExitStack() as stack:

        def make(*names: str, faults: tuple[Fault, ...] = (), **block: Any) -> Bench:
            rig = Rig(directory, redis_socket, zygote, names or ("a",))
            stack.callback(rig.close)
            for one in rig.blocks.values():
                one |= block
            log = directory / "webhooks.jsonl"
            server = stack.enter_context(running(rig.accounts, log=log, faults=faults, rate_limit=False))
            rig.webhook({account.name: server.url(account.name) for account in rig.accounts})
            return Bench(rig, server, log)

        yield make


@pytest.fixture
def bench(
    operate_place: Path, operate_redis: Part, operate_zygote: Zygote, tmp_path: Path
) -> Iterator[Callable[..., Bench]]:
    """One on the Redis that tests share."""
    with benches(operate_place / "redis.sock", operate_zygote, tmp_path) as make:
        yield make


def hang(worker: Forked) -> None:
    """Stop its process where it stands: it keeps its lock and makes no turn."""
    os.kill(worker.pid, signal.SIGSTOP)
