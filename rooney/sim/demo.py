"""`rooney demo`: the whole system on one machine, without any account.

Private Redis, a local gateway that speaks Databento's live protocol, the real hub, one process per strategy, a local
TradersPost. Event time drives everything, so nothing but speed differs from live. What it says at the end is counted
from the outside: from the gateway, the tape, the ledgers and the requests the webhook received.
"""

import json
import secrets
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rooney.bus.publisher import Publisher
from rooney.config.loader import load_config
from rooney.config.schema import DataHub
from rooney.engine.build import build_engine
from rooney.format import iso_minute
from rooney.market import sessions
from rooney.market.bars import PRICE_SCALE
from rooney.market.instruments import group_of, parse_contract
from rooney.market.messages import TIMEFRAMES, Bar
from rooney.market.resample import Coarse
from rooney.market.tape import ContractCount
from rooney.sim.databento.gateway import DEMO_KEY
from rooney.sim.demo_plan import SESSION, STRATEGIES, Options, Plan, configuration, plan
from rooney.sim.demo_summary import position, summarize
from rooney.sim.market import Market
from rooney.sim.processes import Part, python, start_redis

HISTORY_SESSIONS = 6
HOURS_OF_SESSION = 17  # hourly bars at least, of any instrument


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
        what = plan(self.options)
        self._say(f"market: {len(what.roots)} instruments, {iso_minute(what.start_ns)} to {iso_minute(what.end_ns)}")
        gateway = self._start_gateway(what)
        webhooks = self._start_traderspost()
        environment = {
            "DATABENTO_API_KEY": DEMO_KEY,
            "ROONEY_RUNTIME_DIRECTORY": str(self.directory),
            "ROONEY_CONTROL_DIRECTORY": str(self.directory / "control"),
            **{f"TRADERSPOST_{name.upper()}_WEBHOOK": url for name, url in webhooks.items()},
        }
        config_path = self.directory / "config.multi_alpha.yml"
        ready = self.directory / "gateway.port"
        gateway.wait("listening", ready.exists, 60.0)
        port = int(ready.read_text())
        settings = configuration(what.roots, self.directory, port, self.options.bundles)
        config_path.write_text(yaml.safe_dump(settings, sort_keys=False))
        self._say("compiling the strategies' kernels (once; later runs load them)")
        config = load_config(config_path, environ=environment)
        hours = 0  # that the features of a bundle's models need
        for name in STRATEGIES:
            engine = build_engine(config.strategy(name))
            engine.compile()
            hours = max(hours, engine.history_bars(TIMEFRAMES.index("hourly")))
        self.parts.append(start_redis(self.directory))
        if self.options.data is None:  # a recording brings no history
            count = max(HISTORY_SESSIONS, 1 + hours // HOURS_OF_SESSION)
            load_history(self._bus, what, self.options.seed, count, self._say)
        common = ["--config", str(config_path)]
        for name in STRATEGIES:
            argv = python("rooney", "worker", name, *common, "--clock", "replay", "--state", str(self.directory / name))
            self.parts.append(Part(name, argv, self.directory, environment, notify=True))
        for name in STRATEGIES:
            self.part(name).wait_ready()
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
        codes = {name: self.part(name).stop() for name in STRATEGIES}
        gateway.stop()
        self.part("traderspost").stop()
        codes["hub"] = hub.process.returncode
        summary = summarize(self.directory, self._bus, what, streamed_s, codes)
        if self.options.out is not None:
            self._keep(self.options.out, summary)
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

    def _keep(self, out: Path, summary: dict[str, Any]) -> None:
        """Results for people and for `rooney backtest`."""
        import polars as pl

        out.mkdir(parents=True, exist_ok=True)
        rows = [bar for _, minute in self._bus.tape(0) for bar in minute.bars]
        columns = ("symbol", "timeframe", "ts_open", "open", "high", "low", "close", "volume", "trades", "contract")
        frame = pl.DataFrame({column: [getattr(bar, column) for bar in rows] for column in columns})
        frame.with_columns(pl.col("ts_open").cast(pl.Datetime("ns", "UTC"))).write_parquet(out / "bars.parquet")
        for name in STRATEGIES:
            shutil.copy(self.directory / name / "ledger.sqlite", out / f"{name}.sqlite")
        if (self.directory / "webhooks.jsonl").exists():
            shutil.copy(self.directory / "webhooks.jsonl", out / "webhooks.jsonl")
        else:
            (out / "webhooks.jsonl").write_text("")
        for part in self.parts:
            shutil.copy(part.log, out / part.log.name)
        (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")


def load_history(
    bus: Publisher,
    what: Plan,
    seed: int = 0,
    count: int = HISTORY_SESSIONS,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Add closed bars of `count` sessions before the stream, so that the strategies are warm."""
    day = sessions.trade_date(what.start_ns)
    history = Market(seed, SESSION).history(day, count)
    _load_contracts(bus, seed, sessions.previous_trade_date(day))
    say(f"loading {len(history):,} one-minute bars of {count} earlier sessions")
    coarse = {root: Coarse(group_of(root)) for root in what.roots}
    bars: list[Bar] = []
    recent_ns = what.start_ns - 24 * sessions.HOUR_NS
    for bar in history:
        if bar.ts_open >= recent_ns:
            bars.append(bar)
        fold = coarse[bar.symbol]
        bars += fold.close(bar.ts_open, 0)
        fold.fold(bar)
    for root in what.roots:
        bars += coarse[root].close(what.start_ns, 0)
    bars.sort(key=lambda bar: (bar.ts_close, TIMEFRAMES.index(bar.timeframe)))
    bus.add_history(bars)


def _load_contracts(bus: Publisher, seed: int, day: date) -> None:
    """Add what the hub of the day before would have left: without its volumes there is no roll."""
    market = Market(seed, day)
    trades = np.concatenate(list(market.batches(0)))
    counts = []
    for instrument in market.instruments:
        contract = parse_contract(instrument.raw, day)
        mine = trades[trades["instrument_id"] == instrument.instrument_id]
        if contract is not None and len(mine):
            last = int(mine["price"][-1]) / PRICE_SCALE
            counts.append(ContractCount(contract, day, int(mine["size"].sum()), last))
    bus.add_contracts(counts, [market.held(root, day) for root in market.roots])
