"""What surrounds the installed units in the container: a configuration, a market, a TradersPost, and eyes."""

import json
import sys
import uuid
from contextlib import closing
from typing import Any

import yaml

from rooney.bus.publisher import Publisher
from rooney.config.schema import DataHub
from rooney.market.sessions import MINUTE_NS
from rooney.sim.databento.gateway import DEMO_KEY
from rooney.sim.demo import HISTORY_SESSIONS
from rooney.sim.demo_bars import history, load_history
from rooney.sim.demo_plan import Options, Plan, plan
from rooney.sim.demo_summary import held_at_webhook
from tests.support.systemd_machine import Machine

GATEWAY_PORT, WEBHOOK_PORT = 13_000, 8_181
SPEED = 200  # market seconds per second: slow enough for all that has to happen on this day; its rest goes faster
TRADING = ("ibs", "breakout")
LATER = ("third", "scripted", "hostile")  # strategies that come in the course of the tests
CONFIG = "/etc/rooney/config.multi_alpha.yml"
HUB = "rooney-hub.service"
_QUERY = """
import json, pathlib, sys
from rooney.ledger.reader import opened
with opened(pathlib.Path(sys.argv[1])) as ask:
    print(json.dumps(ask.rows(sys.argv[2])))
"""


def worker(name: str) -> str:
    """Unit of a strategy."""
    return f"rooney-worker@{name}.service"


class World:
    """One container's."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.accounts = {name: (str(uuid.uuid4()), f"pw{uuid.uuid4().hex}") for name in (*TRADING, *LATER)}
        self.what: Plan = plan(Options())

    def url(self, name: str) -> str:
        """A strategy's webhook, which is its secret."""
        return f"http://127.0.0.1:{WEBHOOK_PORT}/trading/webhook/{'/'.join(self.accounts[name])}"

    def secrets(self) -> dict[str, str]:
        """Name of each credential of the guide and its value, as typed."""
        return {"databento_api_key": f"{DEMO_KEY}\n"} | {f"{n}.broker_account": f"{self.url(n)}\n" for n in TRADING}

    def configure(self) -> None:
        """The shipped configuration, edited: the local gateway, and every instrument for both strategies."""
        config = yaml.safe_load(self.machine.path(CONFIG).read_text())
        config["databento"] |= {"gateway": "127.0.0.1", "port": GATEWAY_PORT}
        config["instruments"] = {root: {} for root in self.what.roots}
        for name in TRADING:
            del config["strategies"][name]["broker_account"], config["strategies"][name]["models_path"]
            config["strategies"][name]["instruments"] = self.what.roots
        self.machine.path(CONFIG).write_text(yaml.safe_dump(config, sort_keys=False))
        # A replayed day needs replay's clock, and an empty tape its beginning; live, the units are used as they are.
        begin = self.what.start_ns // 1_000_000_000
        start = self.machine.run("date", "-u", "-d", f"@{begin}", "+%Y-%m-%dT%H:%M").stdout.strip()
        self.exec(HUB, f"rooney hub --start {start}")
        self.exec("rooney-worker@.service", "rooney worker %i --state-directory %S/rooney --clock replay")

    def exec(self, unit: str, command: str) -> None:
        """Another command line for a unit."""
        self.machine.drop_in(unit, f"[Service]\nExecStart=\nExecStart=/opt/rooney/current/bin/{command}\n", "80-replay")

    def add_strategy(self, name: str, **block: Any) -> None:
        """One block more."""
        config = yaml.safe_load(self.machine.path(CONFIG).read_text())
        config["strategies"][name] = {"mode": "paper", "instruments": ["ES", "NQ"]} | block
        self.machine.path(CONFIG).write_text(yaml.safe_dump(config, sort_keys=False))

    def give_account(self, name: str) -> None:
        """Its credential, as an operator does it."""
        self.machine.run("rooney", "credentials", "set", f"{name}.broker_account", text=f"{self.url(name)}\n")

    def listen(self) -> None:
        """Start the local TradersPost. To `scripted` it misbehaves: what it does with each order is counted on."""
        faults = [
            {"do": "hang", "account": "scripted", "at": [2]},
            {"do": "delay", "account": "scripted", "at": [4], "seconds": 3.0},
        ]
        self.machine.write("/run/sim/faults.json", json.dumps(faults))
        accounts = ",".join(f"{name}={'/'.join(path)}" for name, path in self.accounts.items())
        options = ["--log", "/run/sim/webhooks.jsonl", "--no-rate-limit", "--faults", "/run/sim/faults.json"]
        self._part(
            "traderspost",
            "tests.support.faulty_webhook",
            ["--port", str(WEBHOOK_PORT), *options],
            {"ROONEY_SIM_ACCOUNTS": accounts},
        )

    def stream(self) -> None:
        """Start the gateway, and give Redis the sessions before. The market's clock starts with the hub."""
        self._gateway("--speed", str(SPEED))
        with closing(self.bus()) as bus:
            load_history(bus, self.what, history(self.what, HISTORY_SESSIONS))

    def hurry(self) -> None:
        """The rest of the session as fast as it is read, from a gateway that was started anew."""
        self.machine.systemctl("stop", "sim-gateway")
        self.machine.path("/run/sim/gateway.port").unlink()
        self._gateway("--speed", "max", "--begin", str(self.tape_end()))

    def _gateway(self, *clock: str) -> None:
        what = self.what
        span = ["--end", str(what.end_ns), "--until", str(what.end_ns + 2_000_000_000)]
        options = ["--port", str(GATEWAY_PORT), *clock, *what.market_args, *span]
        self._part("gateway", "rooney.sim.databento.gateway", options, {"DATABENTO_API_KEY": DEMO_KEY})

    def _part(self, name: str, module: str, options: list[str], env: dict[str, str]) -> None:
        """A part of the outside, listening."""
        ready = f"/run/sim/{name}.port"
        self.machine.run(
            "systemd-run",
            "--quiet",
            f"--unit=sim-{name}",
            *(f"--setenv={key}={value}" for key, value in env.items()),
            sys.executable,
            "-m",
            module,
            *options,
            "--ready-file",
            ready,
        )
        self.machine.until(self.machine.path(ready).exists, f"the local {name} listens")

    # ── eyes ──

    def bus(self) -> Publisher:
        """A connection of our own to the container's Redis, past its network."""
        return Publisher(DataHub(redis_socket=str(self.machine.path("/run/redis/redis-server.sock"))))

    def tape_end(self) -> int:
        """End of the newest minute, UTC ns; 0 before the first."""
        with closing(self.bus()) as bus:
            bounds = bus.tape_bounds()
        return bounds[1] if bounds else 0

    def wait_minutes(self, minutes: int, timeout_s: float = 60.0) -> None:
        """Until the tape has gone on by so many minutes."""
        goal = self.tape_end() + minutes * MINUTE_NS
        self.machine.until(lambda: self.tape_end() >= goal, f"{minutes} minutes more on the tape", timeout_s)

    def query(self, name: str, sql: str) -> list[Any]:
        """Rows of a strategy's ledger, read in the container: SQLite would lose its way through /proc."""
        path = f"/var/lib/rooney/{name}/ledger.sqlite"
        if not self.machine.path(path).exists():
            return []
        # the launcher's own interpreter, so that the reader is the one users have
        python = "/opt/rooney/current/bin/python"
        return list(json.loads(self.machine.run(python, "-I", "-c", _QUERY, path, sql).stdout))

    def position(self, name: str) -> int:
        """End of the last minute a worker has finished; 0 before the first."""
        rows = self.query(name, "SELECT ts_mark FROM status")
        return int(rows[0][0]) if rows else 0

    def wait_position(self, name: str, ts: int, timeout_s: float = 60.0) -> None:
        """Until a worker has finished a minute."""
        self.machine.until(lambda: self.position(name) >= ts, f"{name} finished {ts}", timeout_s)

    def states(self, name: str) -> list[str]:
        """Every step in the life of every order, in order."""
        return [state for (state,) in self.query(name, "SELECT state FROM event ORDER BY seq")]

    def requests(self, name: str) -> list[dict[str, Any]]:
        """What the local TradersPost received for a strategy."""
        path = self.machine.path("/run/sim/webhooks.jsonl")
        entries = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [entry for entry in entries if entry["account"] == name]

    def held(self, name: str) -> dict[str, int]:
        """Positions at the local TradersPost."""
        return held_at_webhook(self.requests(name))

    def believed(self, name: str) -> dict[str, int]:
        """Positions by the ledger's acknowledged orders."""
        found: dict[str, int] = {}
        for ticker, role, side, quantity in self.query(
            name,
            "SELECT ticker, role, side, quantity FROM intent i WHERE"
            " (SELECT state FROM event WHERE intent = i.id ORDER BY seq DESC LIMIT 1) = 'acknowledged' ORDER BY seq",
        ):
            found[ticker] = side * quantity if role == 1 else 0
        return {ticker: size for ticker, size in sorted(found.items()) if size}

    def pids(self, *names: str) -> dict[str, int]:
        """Main PIDs of the hub and of workers."""
        return {unit: self.machine.pid_of(unit) for unit in (HUB, *map(worker, names or TRADING))}
