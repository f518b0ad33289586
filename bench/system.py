"""The whole system on this machine, real processes over loopback, and when each thing happened to each minute."""

import json
import secrets
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections import defaultdict
from pathlib import Path

import msgspec
import yaml

from bench import data, gateway
from rooney.bus.publisher import Publisher
from rooney.config.loader import load_config
from rooney.config.schema import DataHub
from rooney.engine.build import build_engine
from rooney.market.messages import Minute
from rooney.market.sessions import MINUTE_NS
from rooney.sim.processes import Part, python, start_redis

NAME = "often"
STRATEGY = Path(__file__).with_name("often.py")


class Load(msgspec.Struct, frozen=True):
    """What is streamed, and how much it makes the strategy order.

    per_minute: trades; clump: of them arrive together
    speed:      market seconds per wall second
    positions:  the strategy's max_positions, and so its orders at each mark
    """

    minutes: int
    per_minute: int
    clump: int
    speed: float
    positions: int


class Order(msgspec.Struct, frozen=True):
    """The life of one order, wall clock ns.

    written:  the gateway was about to write the record that closes the minute
    hub:      the hub's callback closed the minute with it
    sent:     the hub handed the minute to Redis
    decided:  the worker's step had decided
    planned:  the commit of the mark began
    sending:  the commit of "sending" began
    posting:  the request was begun
    received: its first byte was at the webhook
    synced_ns: how much of `written` to `received` went into commits of the ledger
    """

    ts_mark: int
    number: int
    written: int
    hub: int
    sent: int
    decided: int
    planned: int
    sending: int
    posting: int
    received: int
    synced_ns: int

    @property
    def total_ms(self) -> float:
        return (self.received - self.written) / 1e6

    @property
    def net_ms(self) -> float:
        """Without the commits."""
        return self.total_ms - self.synced_ns / 1e6


class Run(msgspec.Struct, frozen=True):
    """What one run left behind. orders: as their requests arrived; minute_s: wall seconds of a minute."""

    orders: list[Order]
    tape: list[Minute]
    counts: dict[str, int]
    minute_s: float


def run(load: Load) -> tuple[Run, data.Expected]:
    """Stream a load; the processes are gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="rooney-"))
    parts: list[Part] = []
    try:
        trades, instruments = data.stream(load.minutes, load.per_minute, load.clump)
        source = gateway.start(directory, trades, instruments, f"{load.speed:g}")
        parts.append(source.part)
        return _run(directory, parts, source, load), data.expected_bars(trades, instruments)
    finally:
        for part in reversed(parts):
            part.stop(timeout_s=5)
        shutil.rmtree(directory, ignore_errors=True)


def _run(directory: Path, parts: list[Part], source: gateway.Gateway, load: Load) -> Run:
    def start(name: str, argv: list[str], env: dict[str, str], notify: bool = False) -> Part:
        parts.append(Part(name, argv, directory, env, notify=notify))
        return parts[-1]

    account = f"{uuid.uuid4()}/{secrets.token_hex(16)}"
    ready, log = directory / "traderspost.port", directory / "webhooks.jsonl"
    argv = python("rooney.sim.traderspost", "--ready-file", str(ready), "--no-rate-limit", "--log", str(log))
    webhook = start("traderspost", argv, {"ROONEY_SIM_ACCOUNTS": f"{NAME}={account}"})
    webhook.wait("listening", ready.exists, 60.0)
    env = {
        "DATABENTO_API_KEY": gateway.KEY,
        "WEBHOOK": f"http://127.0.0.1:{int(ready.read_text())}/trading/webhook/{account}",
        "ROONEY_RUNTIME_DIRECTORY": str(directory),
        "ROONEY_CONTROL_DIRECTORY": str(directory / "control"),
    }
    config = directory / "config.yml"
    config.write_text(yaml.safe_dump(_configuration(directory, source.port, load.positions)))
    build_engine(load_config(config, environ=env).strategy(NAME)).compile()
    redis = start_redis(directory)
    parts.append(redis)
    common = ["--config", str(config)]
    argv = python("bench.worker", str(directory / "commits.json"), "worker", NAME, *common)
    worker = start("worker", argv + ["--clock", "replay", "--state", str(directory / NAME)], env, notify=True)
    worker.wait_ready()
    hub = start("hub", python("rooney", "hub", *common, "--start", "2026-03-11T13:30"), env, notify=True)
    hub.wait_ready()
    bus = Publisher(DataHub(redis_socket=str(directory / "redis.sock")))
    end_ns = data.START_NS + load.minutes * MINUTE_NS
    limit = time.monotonic() + 60 + 1.5 * load.minutes * 60 / load.speed
    while not ((bounds := bus.tape_bounds()) and bounds[1] >= end_ns and _position(directory) >= end_ns):
        for part in parts:
            part.listen()
            part.check()
        if time.monotonic() > limit:
            raise TimeoutError(f"the tape stands at {bounds}, the ledger at {_position(directory)}, not at {end_ns}")
        time.sleep(0.5)
    hub.stop()
    if worker.stop() != 0:
        raise RuntimeError(f"the worker ended with status {worker.process.returncode}:\n{worker.tail()}")
    written = source.stop()
    webhook.stop()
    tape = [minute for _, minute in bus.tape(0)]
    status = bus.status()
    ends = sorted(written)
    first, last = ends[1], ends[-2]
    minute_s = (written[last] - written[first]) / 1e9 / ((last - first) // MINUTE_NS)
    return Run(_orders(directory, tape, written), tape, dict(status.counts) if status else {}, minute_s)


def _configuration(directory: Path, gateway_port: int, positions: int) -> dict[str, object]:
    block = {
        "strategy": str(STRATEGY),
        "mode": "paper",
        "broker_account": "${WEBHOOK}",
        "instruments": list(data.ROOTS),
        "max_positions": positions,
        "daily_stop_loss": 1e12,
        "starting_cash": 1e12,
        "reentry_wait_s": 0,
        "requests_per_minute": 10**6,
        "requests_per_hour": 10**6,
    }
    return {
        "databento": {"api_key": "${DATABENTO_API_KEY}", "gateway": "127.0.0.1", "port": gateway_port},
        "data_hub": {"redis_socket": str(directory / "redis.sock")},
        "instruments": {root: {} for root in data.ROOTS},
        "strategies": {NAME: block},
    }


def _position(directory: Path) -> int:
    db = sqlite3.connect(f"file:{directory / NAME / 'ledger.sqlite'}?mode=ro", uri=True, timeout=10)
    try:
        row = db.execute("SELECT ts_mark FROM status").fetchone()
    finally:
        db.close()
    return 0 if row is None else int(row[0])


def _orders(directory: Path, tape: list[Minute], written: dict[int, int]) -> list[Order]:
    """Every order with its times, by the request's arrival."""
    db = sqlite3.connect(directory / NAME / "ledger.sqlite")
    marks = dict(db.execute("SELECT id, ts_mark FROM intent").fetchall())
    latency = dict(db.execute("SELECT ts_mark, max(latency_ns) FROM decision GROUP BY ts_mark").fetchall())
    events: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for intent, state, ts_wall, latency_ns in db.execute("SELECT intent, state, ts_wall, latency_ns FROM event"):
        events[intent][state] = (ts_wall, latency_ns)
    db.close()
    commits = sorted(tuple(pair) for pair in json.loads((directory / "commits.json").read_text()))
    minutes = {minute.ts_close: minute for minute in tape}
    found = []
    numbers: dict[int, int] = defaultdict(int)
    entries = [json.loads(line) for line in (directory / "webhooks.jsonl").read_text().splitlines()]
    at = 0
    for entry in sorted(entries, key=lambda entry: entry["ts_first_ns"]):
        intent = entry["payload"]["extras"]["intent"]
        mark, life, received = marks[intent], events[intent], entry["ts_first_ns"]
        minute = minutes[mark]
        while at < len(commits) and commits[at][1] < written[mark]:
            at += 1
        synced = 0
        for begun, ended in commits[at:]:
            if begun > received:
                break
            synced += min(ended, received) - max(begun, written[mark])
        done, took = life["acknowledged"]
        found.append(
            Order(
                mark,
                numbers[mark],
                written[mark],
                minute.ts_hub_ns,
                minute.ts_sent_ns,
                minute.ts_hub_ns + latency[mark],
                life["planned"][0],
                life["sending"][0],
                done - took,
                received,
                synced,
            )
        )
        numbers[mark] += 1
    return found
