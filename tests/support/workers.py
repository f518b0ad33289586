"""What the tests of the worker side share: engines, minutes, tapes, ledgers to compare, and worker processes.

python -m tests.support.workers digest STRATEGY SEED    the frozen state after a random tape, for the JIT switched off
python -m tests.support.workers zygote                  forks workers: a real process each, without a second of imports
"""

import contextlib
import hashlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rooney.bus.keys import TAPE
from rooney.bus.publisher import Publisher
from rooney.config.schema import DataHub
from rooney.engine.engine import Engine
from rooney.engine.settings import EngineInstrument, Limits
from rooney.kernels.codes import OutcomeKind
from rooney.market.instruments import PRODUCTS
from rooney.market.messages import Bar, Minute, MinuteFlag, Roll
from rooney.market.sessions import HOUR_NS, MINUTE_NS
from rooney.market.tape import Published
from rooney.orders.decisions import Decisions, Outcome
from rooney.orders.intents import Role
from rooney.sim.traderspost import Account
from rooney.strategy.compiler import Compiled, compile_strategy
from rooney.strategy.loader import load
from tests.support.paths import ROOT, TESTS
from tests.support.times import chicago

SCRIPTED = str(TESTS / "strategies" / "scripted.py")
ALLOCATING = str(TESTS / "strategies" / "allocating.py")
BUY, SELL, LEAVE, QUIET = 101.0, 102.0, 103.0, 100.0
FRONT = {"ES": "ESM6", "NQ": "NQM6", "ZC": "ZCK6", "GC": "GCJ6"}
NEXT = {"ES": "ESU6", "NQ": "NQU6", "ZC": "ZCN6", "GC": "GCM6"}


def compiled(name: str = SCRIPTED, **params: Any) -> Compiled:
    """A strategy with its defaults and `params`."""
    declared = {key: param.default for key, param in load(name).declared().items()}
    return compile_strategy(name, declared | params)


def engine(symbols: Sequence[str] = ("ES",), name: str = SCRIPTED, **changes: Any) -> Engine:
    """No slippage, no commission, unless `changes`, which go to instruments, parameters or limits by their name."""
    params = {key: param.default for key, param in load(name).declared().items()}
    params |= {key: changes.pop(key) for key in list(changes) if key in params}
    fixed: dict[str, Any] = {"commission_usd": 0.0, "slippage_ticks": 0.0, "quantity": 1}
    fixed |= {key: changes.pop(key) for key in list(changes) if key in EngineInstrument.__struct_fields__}
    instruments = [
        EngineInstrument(
            symbol,
            PRODUCTS[symbol].group,
            PRODUCTS[symbol].tick_size,
            PRODUCTS[symbol].point_value,
            params=params,
            **fixed,
        )
        for symbol in symbols
    ]
    limits: dict[str, Any] = {"reentry_wait_s": 0.0, "close_margin_s": 0.0, "daily_stop_loss": 1e9} | changes
    return Engine(compile_strategy(name, params), instruments, Limits(**limits))


def bar(symbol: str, ts_close: int, close: float, open_: float | None = None, **fields: Any) -> Bar:
    """A bar that ends at `ts_close`; high and low from open and close unless given."""
    timeframe = fields.pop("timeframe", "1min")
    length = {"1min": MINUTE_NS, "hourly": HOUR_NS, "daily": 23 * HOUR_NS}[timeframe]
    first = close if open_ is None else open_
    high, low = fields.pop("high", max(first, close)), fields.pop("low", min(first, close))
    contract = fields.pop("contract", FRONT.get(symbol, ""))
    return Bar(symbol, contract, timeframe, ts_close - length, ts_close, first, high, low, close, 10, 5, **fields)


def minute(ts_close: int, *bars: Bar, rolls: Sequence[Roll] = (), gap: bool = False) -> Minute:
    """A tape entry."""
    return Minute(ts_close, list(rolls), list(bars), {}, int(MinuteFlag.GAP if gap else 0))


class Driver:
    """An engine that is told at once that every intent was acknowledged, as a backtest does it."""

    def __init__(self, engine_: Engine, start: str = "2026-03-11 10:00", answer: bool = True) -> None:
        self.engine = engine_
        self.now = chicago(start)
        self.answer = answer
        self.outcomes: list[Outcome] = []
        self.trades: list[Any] = []

    def mark(self, *bars: Bar, **fields: Any) -> Decisions:
        """Step one minute on."""
        self.now += MINUTE_NS
        decided = self.engine.on_minute(minute(self.now, *bars, **fields), self.outcomes)
        self.outcomes = [outcome(intent.symbol, intent.role, self.now) for intent in decided.intents if self.answer]
        self.trades += decided.trades
        return decided

    def close(self, **closes: float | tuple[float, float]) -> Decisions:
        """One minute with a bar per symbol: its close, or (open, close)."""
        bars = []
        for symbol, price in closes.items():
            open_, close = price if isinstance(price, tuple) else (price, price)
            bars.append(bar(symbol, self.now + MINUTE_NS, close, open_))
        return self.mark(*bars)


def outcome(
    symbol: str, role: Role, ts_mark: int, kind: OutcomeKind = OutcomeKind.ACKNOWLEDGED, ts: int = 0
) -> Outcome:
    """What became of the intent decided at `ts_mark`; known at once unless `ts`."""
    return Outcome(symbol, role, ts_mark, kind, ts or ts_mark)


def random_tape(
    seed: int, n: int, symbols: Sequence[str], start: str = "2026-03-11 09:30", gap: bool = True
) -> list[Minute]:
    """Minutes with hours, quiet instruments, one roll each and one gap. Prices walk on a grid of 100 to 103."""
    rng = np.random.default_rng(seed)
    now = chicago(start)
    price = dict.fromkeys(symbols, 100.0)
    contract = {symbol: FRONT[symbol] for symbol in symbols}
    hours: dict[str, list[Bar]] = {symbol: [] for symbol in symbols}
    tape = []
    for k in range(n):
        now += MINUTE_NS
        rolls, ones, coarse = [], [], []
        for symbol in symbols:
            if k == n // 2:
                rolls.append(Roll(symbol, contract[symbol], NEXT[symbol], price[symbol], price[symbol] + 1.0, now, "t"))
                contract[symbol] = NEXT[symbol]
                hours[symbol] = []
            if rng.random() < 0.85:
                open_ = price[symbol]
                price[symbol] = float(rng.integers(400, 413)) / 4.0
                high, low = max(open_, price[symbol]) + 0.25, min(open_, price[symbol]) - 0.25
                one = bar(symbol, now, price[symbol], open_, high=high, low=low, contract=contract[symbol])
                ones.append(one)
                hours[symbol].append(one)
            if now % HOUR_NS == 0 and hours[symbol]:
                found, hours[symbol] = hours[symbol], []
                coarse.append(
                    bar(
                        symbol,
                        now,
                        found[-1].close,
                        found[0].open,
                        high=max(b.high for b in found),
                        low=min(b.low for b in found),
                        timeframe="hourly",
                        contract=contract[symbol],
                    )
                )
        tape.append(minute(now, *ones, *coarse, rolls=rolls, gap=gap and k == n // 3))
    return tape


def run_random(engine_: Engine, tape: Iterable[Minute], seed: int, cuts: frozenset[int] = frozenset()) -> str:
    """Digest of everything decided and of the final state; frozen and thawed before the minutes in `cuts`.

    Outcomes come late, are refused, or stay unknown, by `seed`.
    """
    rng = np.random.default_rng(seed)
    kinds = [OutcomeKind.ACKNOWLEDGED] * 8 + [OutcomeKind.CANCELLED, OutcomeKind.UNCONFIRMED]
    waiting: list[tuple[int, Outcome]] = []
    digest = hashlib.sha256()
    for k, one in enumerate(tape):
        if k in cuts:
            frozen = engine_.freeze()
            engine_.restore(bytes(len(frozen)))
            engine_.restore(frozen)
        due = [item for when, item in waiting if when <= k]
        waiting = [(when, item) for when, item in waiting if when > k]
        decided = engine_.on_minute(one, due)
        for intent in decided.intents:
            late = int(rng.integers(1, 4))
            kind = kinds[int(rng.integers(len(kinds)))] if intent.role is Role.ENTRY else OutcomeKind.ACKNOWLEDGED
            ts = one.ts_close + (late - 1) * MINUTE_NS
            waiting.append((k + late, outcome(intent.symbol, intent.role, one.ts_close, kind, ts)))
        digest.update(repr(decided).encode())
    digest.update(engine_.freeze())
    return digest.hexdigest()


def warmed(symbols: Sequence[str], name: str, **changes: Any) -> Engine:
    """An engine with costs, limits and two days of history before the random tape."""
    free: dict[str, Any] = {"commission_usd": 4.0, "slippage_ticks": 1.0, "daily_stop_loss": 2500.0} | changes
    free |= {"min_channel_atr": 0.1} if name == "breakout" else {}
    e = engine(symbols, name, **free)
    rng = np.random.default_rng(0)
    hours = [chicago("2026-03-09 17:00") + k * HOUR_NS for k in range(1, 40)]
    history = [
        bar(symbol, at, float(rng.integers(406, 409)) / 4, high=101.75, low=101.5, timeframe=timeframe)
        for at in hours
        for symbol in symbols
        for timeframe in (("hourly", "daily") if at == hours[22] else ("hourly",))
    ]
    e.warm_up(history)
    return e


def digest_of(name: str, seed: int) -> str:
    """What `digest` prints."""
    symbols = ("ES", "NQ", "ZC")
    return run_random(warmed(symbols, name), random_tape(seed, 300, symbols), seed)


# ── processes ──


class Zygote:
    """Forks worker processes from one that has imported everything: a start costs milliseconds, a kill is real."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "zygote.sock"
        self.log = directory / "zygote.log"
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", "tests.support.workers", "zygote", str(self._path)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT,
            )  # fmt: skip
        end = time.monotonic() + 180  # it compiles, if nobody has yet
        while not self._path.exists():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)

    def start(self, argv: Sequence[str], log: Path, env: Mapping[str, str]) -> "Forked":
        """`rooney ARGV` in a process of its own."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self._path))
        connection.sendall(json.dumps({"argv": list(argv), "log": str(log), "env": dict(env)}).encode() + b"\n")
        return Forked(connection)

    def close(self) -> None:
        """End it; its children have gone before, or go now."""
        self._process.terminate()
        self._process.wait(10)


class Forked:
    """One forked worker."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("r")
        connection.close()
        self.pid = int(self._file.readline())
        self.code: int | None = None

    def wait(self, timeout_s: float = 60.0) -> int:
        """Its exit status, negative for a signal."""
        if self.code is None:
            end = time.monotonic() + timeout_s
            self._file.buffer.raw._sock.settimeout(timeout_s)  # type: ignore[union-attr]
            self.code = int(self._file.readline())
            assert time.monotonic() < end
            self._file.close()
        return self.code

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Signal it and wait; its exit status, also when it had ended before."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return self.wait()


def _zygote(path: str) -> None:
    """Serve forks until SIGTERM. A grandchild per worker, so that each is reaped by the child that reports on it."""
    import rooney.cli
    import rooney.worker.process  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for name in (SCRIPTED, "ibs"):
        engine(("ES", "NQ"), name).compile()
    server = socket.socket(socket.AF_UNIX)
    server.bind(path + ".tmp")
    server.listen(16)
    os.rename(path + ".tmp", path)
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            server.close()
            _supervise(connection)
            os._exit(0)
        connection.close()


def _supervise(connection: socket.socket) -> None:
    order = json.loads(connection.makefile("r").readline())
    pid = os.fork()
    if pid == 0:
        connection.close()
        out = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.environ.update(order["env"])
        from rooney import cli
        from rooney import failpoints as faults

        faults._place, _, faults._nth = order["env"].get("ROONEY_FAULT", "").partition(":")
        sys.argv = ["rooney", *order["argv"]]
        code: Any = 70
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        except BaseException:  # noqa: BLE001 - a fork must never return into the zygote's loop
            import traceback

            traceback.print_exc()
        os._exit(code if isinstance(code, int) else 0)
    connection.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


# ── a bench of Redis, webhook, configuration ──


class Rig:
    """One run: a tape on Redis, a webhook account per strategy, a configuration, ledgers."""

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
        self.control = directory / "control"
        self.env = {
            "ROONEY_RUNTIME_DIRECTORY": str(directory / "run"),
            "ROONEY_CONTROL_DIRECTORY": str(self.control),
        }
        self.started: list[Forked] = []
        self.label = "run"  # ledgers and logs of one run are kept apart by it
        self.bus._redis.flushall()

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
            wait_for(
                lambda name=name: self.said(name).count("ready:") >= starts, 120.0, lambda name=name: self.said(name)
            )  # type: ignore[misc]

    def wait_position(self, ts: int, name: str = "a", timeout_s: float = 30.0) -> None:
        """Until the worker has finished the mark `ts`."""
        wait_for(lambda: self.position(name) >= ts, timeout_s, lambda: self.log(name).read_text()[-3000:])

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


def read_only(path: Path) -> Any:
    """A ledger, as its readers open it."""
    from contextlib import closing

    return closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10))


def wait_for(done: Any, timeout_s: float = 30.0, said: Any = lambda: "") -> None:
    """Until `done()`."""
    end = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < end, f"not within {timeout_s} s: {said()}"
        time.sleep(0.01)


TABLES = {
    "intent": "*",
    "event": "seq, intent, state, ts_clock, status, said",
    "applied": "*",
    "operator": "seq, name, verb, who, reason, ts_clock, after_event, command",
    "obeyed": "*",
    "decision": "ts_mark, symbol, reason, features",
    "trade": "*",
    "status": "ts_mark, marks, layout, book",
    "checkpoint": "*",
}


def contents(path: Path) -> dict[str, list[Any]]:
    """All a ledger holds but wall times, and what the other side or the operating system made up."""
    with read_only(path) as db:
        return {
            table: db.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall()
            for table, columns in TABLES.items()
        }


if __name__ == "__main__":
    if sys.argv[1] == "digest":
        print(digest_of(sys.argv[2], int(sys.argv[3])))
    else:
        _zygote(sys.argv[2])
