"""Rigs: a tape on a Redis, webhooks, a configuration and the ledgers of the workers that run with them."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from rooney.bus.keys import TAPE
from rooney.bus.publisher import Publisher
from rooney.config.schema import DataHub
from rooney.market.messages import Minute
from rooney.market.tape import Published
from rooney.sim.processes import Part, start_redis
from rooney.sim.traderspost import Account
from tests.support.engines import SCRIPTED
from tests.support.ledgers import contents, read_only
from tests.support.waiting import until
from tests.support.webhook_faults import Fault
from tests.support.webhooks import Running, running
from tests.support.workers import Forked, Zygote


class Rig:
    """One run: a tape on Redis, a webhook account per strategy, a configuration, ledgers."""

    requests: Path  # what reached the webhooks of `vendor`, which the fixture starts
    vendor: Running

    def __init__(self, directory: Path, redis_socket: Path, zygote: Zygote, names: Sequence[str] = ("a",)) -> None:
        self.directory = directory
        self.redis_socket = redis_socket
        self.zygote = zygote
        self.bus = Publisher(DataHub(redis_socket=str(redis_socket)))
        self.accounts = [Account(name, str(uuid.uuid4()), f"pw{uuid.uuid4().hex}") for name in names]
        self.blocks: dict[str, dict[str, Any]] = {
            name: {
                "strategy": SCRIPTED,
                "mode": "paper",
                "broker_account": f"${{WEBHOOK_{name.upper()}}}",
                "instruments": ["ES", "NQ"],
                "reentry_wait_s": 0,
                "strategy_params": {},
            }
            for name in names
        }
        self.env = {"ROONEY_RUNTIME_DIRECTORY": str(directory / "run")}
        self.started: list[Forked] = []
        self.label = "run"  # ledgers and logs of one run are kept apart by it
        self.bus._redis.flushall()

    @property
    def control(self) -> Path:
        """Directory of switches and commands, beside the ledgers."""
        return self.directory / self.label / "control"

    def webhook(self, url_of: Mapping[str, str]) -> None:
        """Where each strategy's orders go."""
        self.env |= {f"WEBHOOK_{name.upper()}": url for name, url in url_of.items()}

    def write(self) -> Path:
        """The configuration file."""
        path = self.directory / "config.yml"
        config = {
            "data_hub": {"redis_socket": str(self.redis_socket)},
            "instruments": {"ES": {}, "NQ": {}},
            "strategies": self.blocks,
        }
        # In one move: another worker of this bench may be reading it just now.
        draft = path.with_suffix(".draft")
        draft.write_text(yaml.safe_dump(config, sort_keys=False))
        os.replace(draft, path)
        return path

    def argv(self, name: str = "a", clock: str = "replay") -> list[str]:
        """Arguments of `rooney` that start a worker."""
        return ["worker", name, "--config", str(self.write()), "--clock", clock, "--state", str(self.state(name))]

    def start(self, name: str = "a", fault: str = "", **env: str) -> Forked:
        """A worker."""
        forked = self.zygote.start(self.argv(name), self.log(name), self.env | env | {"ROONEY_FAULT": fault})
        self.started.append(forked)
        return forked

    def state(self, name: str = "a") -> Path:
        """Directory of its ledger."""
        return self.directory / self.label / name

    def ledger(self, name: str = "a") -> Path:
        """Its ledger."""
        return self.state(name) / "ledger.sqlite"

    def log(self, name: str = "a") -> Path:
        """What it said."""
        return self.directory / f"{self.label}-{name}.log"

    def publish(self, minutes: Iterable[Minute]) -> None:
        """As the hub does it."""
        for one in minutes:
            self.bus.publish(Published(one, [], {}))

    def publish_raw(self, ts_close: int, data: bytes) -> None:
        """Something else, where a minute should be."""
        self.bus._redis.xadd(TAPE, {"m": data}, id=f"{ts_close // 1_000_000}-0")

    def position(self, name: str = "a") -> int:
        """Of the ledger; 0 without one."""
        try:
            with read_only(self.ledger(name)) as db:
                row = db.execute("SELECT ts_mark FROM status").fetchone()
        except sqlite3.OperationalError:
            return 0
        return row[0] if row else 0

    def said(self, name: str = "a") -> str:
        """What it said so far; nothing before its start."""
        return self.log(name).read_text() if self.log(name).exists() else ""

    def wait_ready(self, *names: str, starts: int = 1) -> None:
        """Until each of these has been ready so many times. A step that is compiled first takes its time."""
        for name in names:
            until(lambda name=name: self.said(name).count("ready:") >= starts, 120.0, lambda name=name: self.said(name))  # type: ignore[misc]

    def wait_position(self, ts: int, name: str = "a", timeout_s: float = 30.0) -> None:
        """Until the worker has finished the mark `ts`."""
        until(lambda: self.position(name) >= ts, timeout_s, lambda: self.log(name).read_text()[-3000:])

    def begin(self, minutes: Sequence[Minute], label: str = "run", name: str = "a", fault: str = "") -> Forked:
        """A worker's very first start, on an empty Redis, to which the minutes come then."""
        self.label = label
        self.bus._redis.flushall()
        forked = self.start(name, fault)
        self.wait_ready(name)
        self.publish(minutes)
        return forked

    def finish(self, forked: Forked, ts: int, name: str = "a") -> dict[str, list[Any]]:
        """Wait for a mark and stop; what the ledger holds then."""
        self.wait_position(ts, name)
        assert forked.kill(signal.SIGTERM) == 0, self.log(name).read_text()[-3000:]
        return contents(self.ledger(name))

    def run(self, minutes: Sequence[Minute], label: str = "run") -> dict[str, list[Any]]:
        """A first start, all the minutes, and a stop; what the ledger holds then."""
        return self.finish(self.begin(minutes, label), minutes[-1].ts_close)

    def resume(self, ts: int) -> dict[str, list[Any]]:
        """A later start, up to a mark, and a stop."""
        return self.finish(self.start(), ts)

    def close(self) -> None:
        """End what still runs."""
        for forked in self.started:
            if forked.code is None:
                forked.kill()
        self.bus.close()


@pytest.fixture(scope="module")
def rig_place() -> Iterator[Path]:
    """A short path: a unix socket's may have 107 characters."""
    directory = Path(tempfile.mkdtemp(prefix="rw-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def rig_redis(rig_place: Path) -> Iterator[Part]:
    part = start_redis(rig_place)
    yield part
    part.stop()


@pytest.fixture
def rig(rig_place: Path, rig_redis: Part, zygote: Zygote, tmp_path: Path) -> Iterator[Any]:
    """Makes a rig with strategies by name and a webhook that misbehaves as told."""
    with contextlib.ExitStack() as stack:

        def make(*names: str, faults: tuple[Fault, ...] = ()) -> Rig:
            one = Rig(tmp_path, rig_place / "redis.sock", zygote, names or ("a",))
            stack.callback(one.close)
            log = tmp_path / f"webhooks{len(list(tmp_path.iterdir()))}.jsonl"
            server = stack.enter_context(running(one.accounts, log=log, faults=faults, rate_limit=False))
            one.webhook({account.name: server.url(account.name) for account in one.accounts})
            one.requests, one.vendor = log, server
            return one

        yield make


def requests(one: Any) -> list[dict[str, Any]]:
    """Requests that reached the webhooks, in order."""
    return [json.loads(line) for line in one.requests.read_text().splitlines()]


def states(one: Rig, name: str = "a") -> list[str]:
    """States that orders went through, in order."""
    with read_only(one.ledger(name)) as db:
        return [state for (state,) in db.execute("SELECT state FROM event ORDER BY seq")]
