"""`rooney demo`: the whole system on one machine, without any account.

Private Redis, a local gateway that speaks Databento's live protocol, the real hub, one process per strategy, a local
TradersPost. Event time drives everything, so nothing but speed differs from live. What it says at the end is counted
from the outside: from the gateway, the tape, the ledgers and the requests the webhook received.
"""

import contextlib
import json
import secrets
import shutil
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import yaml

from rooney.bus.publisher import Publisher
from rooney.config.loader import load_config
from rooney.engine.build import build_engine
from rooney.errors import ConfigError
from rooney.format import iso_minute
from rooney.market import sessions
from rooney.market.bars import PRICE_SCALE
from rooney.market.instruments import PRODUCTS, group_of, parse_contract
from rooney.market.messages import TIMEFRAMES, Bar, Minute
from rooney.market.resample import Coarse
from rooney.market.sessions import MINUTE_NS
from rooney.market.tape import ContractCount
from rooney.sim.databento.gateway import DEMO_KEY
from rooney.sim.databento.sources import read
from rooney.sim.market import CHARACTERS, Market
from rooney.sim.processes import Part, python, start_redis

STRATEGIES = ("ibs", "breakout")
SESSION = date(2026, 3, 13)  # currencies roll at its open: five by the volume of the day before, 6C by its deadline
HISTORY_SESSIONS = 6
HOURS_OF_SESSION = 17  # hourly bars at least, of any instrument


class Options(msgspec.Struct, frozen=True):
    """What the command line asked for.

    speed: market seconds per second, 0 = as fast as the client reads
    bundles: folder with one of bundles for each strategy, by its name; without it nothing vetoes an entry
    """

    data: Path | None = None
    speed: float = 0.0
    minutes: int | None = None
    seed: int = 0
    out: Path | None = None
    as_json: bool = False
    bundles: Path | None = None


class Plan(msgspec.Struct, frozen=True):
    """The stretch of market that is streamed; end_ns is the end of its last minute."""

    roots: list[str]
    start_ns: int
    end_ns: int
    market_args: list[str]


def plan(options: Options) -> Plan:
    """What to stream. Raises ConfigError for data that cannot be."""
    if options.data is None:
        roots = list(CHARACTERS)
        start_ns = min(sessions.session_open_ns(group_of(root), SESSION) for root in roots)
        end_ns = max(sessions.session_close_ns(group_of(root), SESSION) for root in roots)
        market = ["--seed", str(options.seed), "--date", SESSION.isoformat()]
    else:
        recorded = read([options.data])
        found = {instrument.root for instrument in recorded.instruments}
        roots = [root for root in PRODUCTS if root in found]
        if not roots:
            raise ConfigError(f"{options.data}: none of its roots ({', '.join(sorted(found))}) is a known product")
        first, last = int(recorded.trades["ts_recv"].min()), int(recorded.trades["ts_recv"].max())
        start_ns = first - first % MINUTE_NS
        end_ns = last - last % MINUTE_NS + MINUTE_NS
        market = ["--data", str(options.data)]
    if options.minutes is not None:
        end_ns = min(end_ns, start_ns + options.minutes * MINUTE_NS)
    return Plan(roots, start_ns, end_ns, market)


def configuration(roots: list[str], directory: Path, gateway_port: int, bundles: Path | None = None) -> dict[str, Any]:
    """The demo's configuration; secrets come from the environment, as they would."""
    return {
        "databento": {"api_key": "${DATABENTO_API_KEY}", "gateway": "127.0.0.1", "port": gateway_port},
        "data_hub": {"redis_socket": str(directory / "redis.sock")},
        "instruments": {root: {} for root in roots},
        "strategies": {
            name: {
                "mode": "paper",
                "broker_account": f"${{TRADERSPOST_{name.upper()}_WEBHOOK}}",
                "instruments": roots,
                **({"bundle": str(bundles.absolute() / name)} if bundles is not None else {}),
            }
            for name in STRATEGIES
        },
    }


class Demo:
    """One run. `run()` gives the summary; every process it started is gone afterwards."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self.options = options
        self._say = say
        # A unix socket's path may be 107 characters long, so the run directory is a short one.
        self.directory = Path(tempfile.mkdtemp(prefix="rooney-"))
        self.parts: list[Part] = []
        self._bus: Publisher | None = None

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
        redis = start_redis(self.directory)
        self.parts.append(redis)
        self._bus = Publisher(socket=str(self.directory / "redis.sock"))
        self._load_history(what, max(HISTORY_SESSIONS, 1 + hours // HOURS_OF_SESSION))
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
        summary = self._summary(what, streamed_s, codes | {"hub": hub.process.returncode})
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

    def _load_history(self, what: Plan, count: int = HISTORY_SESSIONS) -> None:
        """Closed bars before the stream, so that the strategies are warm; a recording brings none."""
        if self.options.data is not None or self._bus is None:
            return
        day = sessions.trade_date(what.start_ns)
        history = Market(self.options.seed, SESSION).history(day, count)
        self._load_contracts(sessions.previous_trade_date(day))
        self._say(f"loading {len(history):,} one-minute bars of {count} earlier sessions")
        coarse = {root: Coarse(group_of(root)) for root in what.roots}
        kept: list[Bar] = []
        recent_ns = what.start_ns - 24 * sessions.HOUR_NS
        for bar in history:
            if bar.ts_open >= recent_ns:
                kept.append(bar)
            fold = coarse[bar.symbol]
            kept += fold.close(bar.ts_open, 0)
            fold.fold(bar)
        for root in what.roots:
            kept += coarse[root].close(what.start_ns, 0)
        kept.sort(key=lambda bar: (bar.ts_close, TIMEFRAMES.index(bar.timeframe)))
        self._bus.add_history(kept)

    def _load_contracts(self, day: date) -> None:
        """What the hub of the day before would have left: without its volumes there is no roll."""
        assert self._bus is not None
        market = Market(self.options.seed, day)
        trades = np.concatenate(list(market.batches(0)))
        counts = []
        for instrument in market.instruments:
            contract = parse_contract(instrument.raw, day)
            mine = trades[trades["instrument_id"] == instrument.instrument_id]
            if contract is not None and len(mine):
                last = int(mine["price"][-1]) / PRICE_SCALE
                counts.append(ContractCount(contract, day, int(mine["size"].sum()), last))
        self._bus.add_contracts(counts, [market.held(root, day) for root in market.roots])

    # ── streaming ──

    def _stream(self, what: Plan, progress: Callable[[float, str], None]) -> None:
        """Until the tape has its last minute and every worker has finished it."""
        assert self._bus is not None
        while True:
            for part in self.parts:
                part.listen()
                part.check()
            bounds = self._bus.tape_bounds()
            at = bounds[1] if bounds else what.start_ns
            share = (at - what.start_ns) / (what.end_ns - what.start_ns)
            progress(min(share, 1.0), f"tape {iso_minute(at)}  hub: {self.part('hub').status}")
            if bounds and at >= what.end_ns and all(self._position(name) >= at for name in STRATEGIES):
                return
            time.sleep(0.1)

    def _position(self, name: str) -> int:
        with self._ledger(name) as db:
            row = db.execute("SELECT ts_mark FROM status").fetchone()
        return 0 if row is None else int(row[0])

    @contextlib.contextmanager
    def _ledger(self, name: str) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(f"file:{self.directory / name / 'ledger.sqlite'}?mode=ro", uri=True, timeout=10)
        try:
            yield db
        finally:
            db.close()

    # ── counting ──

    def _summary(self, what: Plan, streamed_s: float, codes: dict[str, int]) -> dict[str, Any]:
        assert self._bus is not None
        minutes = [minute for _, minute in self._bus.tape(0)]
        status = self._bus.status()
        counts = dict(status.counts) if status is not None else {}
        sent = json.loads((self.directory / "gateway.json").read_text())["total"]
        requests = self._requests()
        per_strategy = {name: self._strategy(name, requests) for name in STRATEGIES}
        trades_in = counts.pop("trades_in", 0)
        pending = counts.pop("pending", 0)
        accounted = sum(counts.get(key, 0) for key in _TRADE_COUNTS) + pending
        bars = {tf: sum(bar.timeframe == tf for minute in minutes for bar in minute.bars) for tf in TIMEFRAMES}
        intents: dict[str, int] = {}
        for found in per_strategy.values():
            for state, number in found["intents"].items():
                intents[state] = intents.get(state, 0) + number
        checks = {
            "every trade sent was received": sent["trades"] == trades_in,
            "every trade received is accounted for": accounted == trades_in,
            "the tape is dense": _dense(minutes, what),
            "every worker finished every minute": all(
                found["position"] == minutes[-1].ts_close for found in per_strategy.values()
            )
            if minutes
            else False,
            "attempts equal requests received": all(
                found["attempts"] == found["requests"] for found in per_strategy.values()
            ),
            "acknowledged at most received": intents.get("acknowledged", 0) <= len(requests),
            "no worker saw the other's account": all(
                entry["payload"]["extras"]["strategy"] == entry["account"] for entry in requests
            ),
            "positions at the webhook are those of the ledgers": all(
                found["positions_webhook"] == found["positions_ledger"] for found in per_strategy.values()
            ),
            "all parts ended cleanly": all(code == 0 for code in codes.values()),
        }
        return {
            "ok": all(checks.values()),
            "checks": checks,
            "trades_in": trades_in,
            "trades": {**counts, "pending": pending},
            "minutes": len(minutes),
            "bars": bars,
            "rolls": {roll.symbol: roll.new_contract for minute in minutes for roll in minute.rolls},
            "intents": intents,
            "webhooks_received": len(requests),
            "latency_ms": {**_latency(requests, minutes, self._marks()), "label": "replay"},
            "streamed_s": round(streamed_s, 2),
            "per_strategy": per_strategy,
        }

    def _requests(self) -> list[dict[str, Any]]:
        path = self.directory / "webhooks.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _marks(self) -> dict[str, int]:
        """The mark that decided each intent."""
        marks: dict[str, int] = {}
        for name in STRATEGIES:
            with self._ledger(name) as db:
                marks |= dict(db.execute("SELECT id, ts_mark FROM intent").fetchall())
        return marks

    def _strategy(self, name: str, requests: list[dict[str, Any]]) -> dict[str, Any]:
        mine = [entry for entry in requests if entry["account"] == name]
        with self._ledger(name) as db:
            states = db.execute(
                "SELECT (SELECT state FROM event WHERE intent = i.id ORDER BY seq DESC LIMIT 1), count(*)"
                " FROM intent i GROUP BY 1"
            ).fetchall()
            attempts = db.execute("SELECT count(*) FROM event WHERE state = 'sending'").fetchone()[0]
            trades, pnl = db.execute("SELECT count(*), coalesce(sum(pnl_usd), 0) FROM trade").fetchone()
            position = db.execute("SELECT ts_mark FROM status").fetchone()
            judged = db.execute(
                "SELECT reason, count(*) FROM decision WHERE reason IN ('vetoed', 'no_score', 'no_model') GROUP BY 1"
            ).fetchall()
            believed: dict[str, int] = {}
            for ticker, role, side, quantity in db.execute(
                "SELECT ticker, role, side, quantity FROM intent i WHERE"
                " (SELECT state FROM event WHERE intent = i.id ORDER BY seq DESC LIMIT 1) = 'acknowledged' ORDER BY seq"
            ):
                believed[ticker] = side * quantity if role == 1 else 0
        return {
            "intents": dict(states),
            "attempts": attempts,
            "requests": len(mine),
            "trades": trades,
            "pnl_usd": round(pnl, 2),
            "held_back": dict(judged),
            "position": position[0] if position else 0,
            "positions_ledger": {ticker: size for ticker, size in sorted(believed.items()) if size},
            "positions_webhook": _held(mine),
        }

    def _keep(self, out: Path, summary: dict[str, Any]) -> None:
        """Results for people and for `rooney backtest`."""
        assert self._bus is not None
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


_TRADE_COUNTS = (
    "built",
    "spread",
    "unknown_instrument",
    "late",
    "replayed",
    "absurd_price",
    "bad_clock",
    "reread",
)


def _held(requests: list[dict[str, Any]]) -> dict[str, int]:
    """Positions the local TradersPost ended with, from the effect it wrote beside each request."""
    held: dict[str, int] = {}
    for entry in requests:
        if entry["status"] == 200 and "position" in entry:
            held[entry["payload"]["ticker"]] = entry["position"]
    return {ticker: size for ticker, size in sorted(held.items()) if size}


def _dense(minutes: list[Minute], what: Plan) -> bool:
    """Whether each minute in which a configured instrument was in session is on the tape, once and in order."""
    groups = {group_of(root) for root in what.roots}
    closes = [minute.ts_close for minute in minutes]
    if closes != sorted(set(closes)):
        return False
    wanted = range(what.start_ns, what.end_ns, MINUTE_NS)
    present = set(closes)
    return all(
        ts + MINUTE_NS in present for ts in wanted if any(sessions.window_at(group, ts) is not None for group in groups)
    )


def _latency(requests: list[dict[str, Any]], minutes: list[Minute], marks: dict[str, int]) -> dict[str, float | None]:
    """Milliseconds from the record at the hub's socket that closed a minute to the request at the webhook."""
    closed = {minute.ts_close: minute.ts_hub_ns for minute in minutes}
    found = []
    for entry in requests:
        ts_mark = marks.get(entry["payload"]["extras"]["intent"])
        if ts_mark in closed:
            found.append((entry["ts_read_ns"] - closed[ts_mark]) / 1e6)
    if not found:
        return {"p50": None, "p99": None, "max": None}
    ordered = sorted(found)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return {"p50": round(statistics.median(ordered), 3), "p99": round(p99, 3), "max": round(ordered[-1], 3)}
