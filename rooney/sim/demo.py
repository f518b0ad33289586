"""`rooney demo`: the whole system on one machine, without any account.

Private Redis, a local gateway that speaks Databento's live protocol, the real hub, one process per strategy, a local
TradersPost. Event time drives everything, so nothing but speed differs from live. What it says at the end is counted
from the outside: from the gateway, the tape, the ledgers and the requests the webhook received.
"""

import functools
import json
import secrets
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from numba.core.event import Event, Listener, install_listener

from rooney.bus.publisher import Publisher
from rooney.config.loader import load_config
from rooney.config.schema import DataHub
from rooney.engine.build import build_engine
from rooney.errors import ConfigError
from rooney.format import iso_minute
from rooney.market.timeframes import TIMEFRAMES
from rooney.paths import CONFIG, ledger_path
from rooney.sim import demo_bars
from rooney.sim.databento.gateway import DEMO_KEY
from rooney.sim.demo_plan import STRATEGIES, Options, Plan, configuration, plan
from rooney.sim.demo_summary import position, summarize
from rooney.sim.processes import Part, python, start_redis

HISTORY_SESSIONS = 6
HOURS_OF_SESSION = 17  # hourly bars at least, of any instrument


class Compiling(Listener):  # type: ignore[misc]  # numba has no types
    """Says once that something is compiled, which takes its time; what the cache has is not."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say_once = functools.cache(say)

    def on_start(self, event: Event) -> None:
        self._say_once("compiling the strategies' kernels (once; later runs load them)")

    def on_end(self, event: Event) -> None:
        """Nothing is said."""


class Demo:
    """One run. `run()` gives the summary; every process it started is gone afterwards."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self.options = options
        self._say = say
        # A unix socket's path may be 107 characters long, so the run directory is a short one.
        self.directory = Path(tempfile.mkdtemp(prefix="rooney-"))
        self.parts: list[Part] = []
        self._bus = Publisher(DataHub(redis_socket=str(self.directory / "redis.sock")))

    def run(self, progress: Callable[[float, str], None]) -> dict[str, Any]:
        """Start everything, stream, stop, count."""
        out = self.options.out
        if (
            out is not None
            and out.exists()
            and not (out / "webhooks.jsonl").exists()
            and (out.is_file() or any(out.iterdir()))
        ):
            raise ConfigError(f"--out {out}: expected a new folder or an earlier demo's; nothing was started")
        what = plan(self.options)
        self._say(f"market: {len(what.roots)} instruments, {iso_minute(what.start_ns)} to {iso_minute(what.end_ns)}")
        gateway = self._start_gateway(what)
        webhooks = self._start_traderspost()
        environment = {
            "DATABENTO_API_KEY": DEMO_KEY,
            "ROONEY_RUNTIME_DIRECTORY": str(self.directory),
            **{f"TRADERSPOST_{name.upper()}_WEBHOOK": url for name, url in webhooks.items()},
        }
        config_path = self.directory / CONFIG
        (self.directory / "control").mkdir()
        ready = self.directory / "gateway.port"
        gateway.wait("listening", ready.exists, 60.0)
        port = int(ready.read_text())
        settings = configuration(what.roots, self.directory, port, self.options.bundles)
        config_path.write_text(yaml.safe_dump(settings, sort_keys=False))
        config = load_config(config_path, environ=environment)
        engines = [build_engine(config.strategy(name)) for name in STRATEGIES]
        with install_listener("numba:compile", Compiling(self._say)):
            for engine in engines:
                engine.compile()
        self.parts.append(start_redis(self.directory))
        before = None
        if self.options.data is None:  # a recording brings no history
            hours = max(engine.history_bars(TIMEFRAMES.index("hourly")) for engine in engines)  # a bundle's models need
            count = max(HISTORY_SESSIONS, 1 + hours // HOURS_OF_SESSION)
            before = demo_bars.history(what, count, self.options.seed)
            self._say(f"loading {len(before):,} one-minute bars of {count} earlier sessions")
            demo_bars.load_history(self._bus, what, before)
        common = ["--config", str(config_path)]
        replay = [*common, "--clock", "replay", "--state-directory", str(self.directory)]
        argvs = {name: python("rooney", "worker", name, *replay) for name in STRATEGIES}
        if self.options.dashboard:
            argvs["dashboard"] = python("rooney", "dashboard", *replay)
        for name, argv in argvs.items():
            self.parts.append(Part(name, argv, self.directory, environment, notify=True))
        for name in argvs:
            self.part(name).wait_ready()
        if self.options.dashboard:
            self._say(f"dashboard, until the demo ends: http://127.0.0.1:{config.dashboard().port}/")
        hub_argv = python("rooney", "hub", *common, "--start", iso_minute(what.start_ns))
        hub = Part("hub", hub_argv, self.directory, environment, notify=True)
        self.parts.append(hub)
        hub.wait_ready()
        self._say("all parts are ready; streaming")
        began = time.monotonic()
        self._stream(what, progress)
        streamed_s = time.monotonic() - began
        # The hub's counts are final once it has stopped; the workers' once they have finished every mark.
        hub.stop()
        codes = {name: self.part(name).stop() for name in argvs}
        gateway.stop()
        self.part("traderspost").stop()
        codes["hub"] = hub.process.returncode
        summary = summarize(self.directory, self._bus, what, streamed_s, codes, self.options)
        if self.options.out is not None:
            self._keep(self.options.out, summary, what, before)
        return summary

    def part(self, name: str) -> Part:
        """A running part by name."""
        return next(part for part in self.parts if part.name == name)

    def close(self) -> None:
        """End what is still running, in the order of the data's way; remove the run directory."""
        for part in reversed(self.parts):
            part.stop(timeout_s=5)
        shutil.rmtree(self.directory, ignore_errors=True)

    # ── starting ──

    def _start_traderspost(self) -> dict[str, str]:
        """Webhook per strategy."""
        accounts = {name: f"{uuid.uuid4()}/{secrets.token_hex(16)}" for name in STRATEGIES}
        ready = self.directory / "traderspost.port"
        argv = python("rooney.sim.traderspost", "--ready-file", str(ready), "--no-rate-limit")
        argv += ["--log", str(self.directory / "webhooks.jsonl")]
        env = {"ROONEY_SIM_ACCOUNTS": ",".join(f"{name}={path}" for name, path in accounts.items())}
        part = Part("traderspost", argv, self.directory, env)
        self.parts.append(part)
        part.wait("listening", ready.exists, 20.0)
        base = f"http://127.0.0.1:{int(ready.read_text())}"
        return {name: f"{base}/trading/webhook/{path}" for name, path in accounts.items()}

    def _start_gateway(self, what: Plan) -> Part:
        ready = self.directory / "gateway.port"
        speed = "max" if self.options.speed <= 0 else str(self.options.speed)
        argv = python("rooney.sim.databento.gateway", "--ready-file", str(ready), "--speed", speed, *what.market_args)
        argv += ["--end", str(what.end_ns), "--until", str(what.end_ns + 2_000_000_000)]
        argv += ["--stats", str(self.directory / "gateway.json")]
        part = Part("gateway", argv, self.directory, {"DATABENTO_API_KEY": DEMO_KEY})
        self.parts.append(part)
        return part

    # ── streaming ──

    def _stream(self, what: Plan, progress: Callable[[float, str], None]) -> None:
        """Until the tape has its last minute and every worker has finished it."""
        while True:
            for part in self.parts:
                part.listen()
                part.check()
            bounds = self._bus.tape_bounds()
            at = bounds[1] if bounds else what.start_ns
            share = (at - what.start_ns) / (what.end_ns - what.start_ns)
            progress(min(share, 1.0), f"tape {iso_minute(at)}  hub: {self.part('hub').status}")
            if bounds and at >= what.end_ns and all(position(self.directory, name) >= at for name in STRATEGIES):
                return
            time.sleep(0.1)

    def _keep(self, out: Path, summary: dict[str, Any], what: Plan, before: Any) -> None:
        """Leave a state folder: every verb finds in it what it reads. before: bars from before the stream."""
        out.mkdir(parents=True, exist_ok=True)
        demo_bars.write_bars(out / "bars.parquet", self._bus, what, before)
        for name in STRATEGIES:
            shutil.rmtree(out / name, ignore_errors=True)  # with the journal of an earlier demo's ledger
            (out / name).mkdir()
            shutil.copy(ledger_path(self.directory, name), ledger_path(out, name))
        shutil.rmtree(out / "control", ignore_errors=True)
        shutil.copytree(self.directory / "control", out / "control")
        (self.directory / "webhooks.jsonl").touch()
        for path in ("webhooks.jsonl", CONFIG, *(part.log.name for part in self.parts)):
            shutil.copy(self.directory / path, out)
        (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
