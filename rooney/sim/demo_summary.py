"""Summary of a demo, counted from the outside: from the gateway, the tape, the ledgers, the requests at the webhook."""

import json
import logging
import os
import shlex
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rooney.bus.reader import Reader
from rooney.format import iso_minute
from rooney.ledger.reader import opened
from rooney.market.instruments import group_of
from rooney.market.messages import Minute
from rooney.market.sessions import MINUTE_NS, trade_date, window_at
from rooney.market.timeframes import TIMEFRAMES
from rooney.paths import CONFIG, LEDGER, ledger_path
from rooney.sim.demo_plan import STRATEGIES, Options, Plan

_TRADE_COUNTS = ("built", "spread", "unknown_instrument", "late", "replayed", "absurd_price", "bad_clock", "reread")
MEASURED_SPEED = 300.0  # a minute every 200 ms; beyond it they wait for one another, and a latency is their queue's
_UNMEASURED = f"not told: minutes queue up at this speed; --speed {MEASURED_SPEED:g} or less"
_LAST_STATE = "(SELECT state FROM event WHERE intent = i.id ORDER BY seq DESC LIMIT 1)"


def summarize(
    directory: Path, bus: Reader, what: Plan, streamed_s: float, codes: dict[str, int], options: Options
) -> dict[str, Any]:
    """The summary of a run whose parts have ended. directory: of the run; codes: exit status by part."""
    minutes = [minute for _, minute in bus.tape(0)]
    status = bus.status()
    counts = dict(status.counts) if status is not None else {}
    sent = json.loads((directory / "gateway.json").read_text())["total"]
    requests = _requests(directory)
    per_strategy = {name: _strategy(directory, name, requests) for name in STRATEGIES}
    trades_in = counts.pop("trades_in", 0)
    pending = counts.pop("pending", 0)
    accounted = sum(counts.get(key, 0) for key in _TRADE_COUNTS) + pending
    intents = sum((Counter(counted["intents"]) for counted in per_strategy.values()), Counter[str]())

    marks = {intent: mark for found in per_strategy.values() for intent, mark in found.pop("marks")}
    events = [(iso_minute(ts), name, text) for name, found in per_strategy.items() for ts, text in found.pop("events")]
    is_measured = 0 < options.speed <= MEASURED_SPEED

    def agree(a: str, b: str) -> bool:
        return all(counted[a] == counted[b] for counted in per_strategy.values())

    checks = {
        "every trade sent was received": sent["trades"] == trades_in,
        "every trade received is accounted for": accounted == trades_in,
        "the tape is dense": is_dense(minutes, what),
        "every worker finished every minute": bool(minutes)
        and all(counted["position"] == minutes[-1].ts_close for counted in per_strategy.values()),
        "attempts equal requests received": agree("attempts", "requests"),
        "acknowledged at most received": intents["acknowledged"] <= len(requests),
        "no worker saw the other's account": all(
            entry["payload"]["extras"]["strategy"] == entry["account"] for entry in requests
        ),
        "positions at the webhook are those of the ledgers": agree("positions_webhook", "positions_ledger"),
        "all parts ended cleanly": not any(codes.values()),
    }
    return {
        "ok": all(checks.values()),
        "checks": checks,
        "trades_in": trades_in,
        "trades": {**counts, "pending": pending},
        "minutes": len(minutes),
        "bars": {tf: sum(bar.timeframe == tf for minute in minutes for bar in minute.bars) for tf in TIMEFRAMES},
        "rolls": {roll.symbol: roll.new_contract for minute in minutes for roll in minute.rolls},
        "intents": dict(intents),
        "webhooks_received": len(requests),
        "latency_ms": {
            **_latency(requests if is_measured else [], minutes, marks),
            "label": "replay" if is_measured else _UNMEASURED,
        },
        "streamed_s": round(streamed_s, 2),
        "per_strategy": per_strategy,
        "events": sorted(events),
        "next": _next(options.out, what, requests, marks),
    }


def position(directory: Path, name: str) -> int:
    """End of the last minute a worker has finished, UTC ns; 0 before the first."""
    with opened(ledger_path(directory, name)) as ask:
        finished = ask.finished()
    return finished.ts_mark if finished else 0


def is_dense(minutes: Sequence[Minute], what: Plan) -> bool:
    """True if each minute in which a configured instrument was in session is on the tape, once and in order."""
    groups = {group_of(root) for root in what.roots}
    closes = [minute.ts_close for minute in minutes]
    if closes != sorted(set(closes)):
        return False
    present = set(closes)
    return all(
        ts + MINUTE_NS in present
        for ts in range(what.start_ns, what.end_ns, MINUTE_NS)
        if any(window_at(group, ts) is not None for group in groups)
    )


def held_at_webhook(requests: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Positions the local TradersPost ended with, from the effect it wrote beside each request."""
    sizes = {
        entry["payload"]["ticker"]: entry["position"]
        for entry in requests
        if entry["status"] == 200 and "position" in entry
    }
    return _open(sizes)


def _open(sizes: dict[str, int]) -> dict[str, int]:
    return {ticker: size for ticker, size in sorted(sizes.items()) if size}


def _requests(directory: Path) -> list[dict[str, Any]]:
    path = directory / "webhooks.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _strategy(directory: Path, name: str, requests: list[dict[str, Any]]) -> dict[str, Any]:
    mine = [entry for entry in requests if entry["account"] == name]
    with opened(ledger_path(directory, name)) as ask:
        states = ask.rows(f"SELECT {_LAST_STATE}, count(*) FROM intent i GROUP BY 1")
        attempts = len(ask.rows("SELECT seq FROM event WHERE state = 'sending'"))
        gains = [trade.pnl_usd for trade in ask.trades()]
        judged = ask.rows(
            "SELECT reason, count(*) FROM decision WHERE reason IN ('vetoed', 'no_score', 'no_model') GROUP BY 1"
        )
        # Of these two the summary makes something else.
        marks = ask.rows("SELECT id, ts_mark FROM intent")
        events = ask.rows("SELECT ts_clock, text FROM notice WHERE level >= ?", (logging.WARNING,))
        believed = {
            ticker: side * quantity if role == 1 else 0
            for ticker, role, side, quantity in ask.rows(
                f"SELECT ticker, role, side, quantity FROM intent i WHERE {_LAST_STATE} = 'acknowledged' ORDER BY seq"
            )
        }
    return {
        "intents": dict(states),
        "attempts": attempts,
        "requests": len(mine),
        "trades": len(gains),
        "pnl_usd": round(sum(gains), 2),
        "held_back": dict(judged),
        "position": position(directory, name),
        "positions_ledger": _open(believed),
        "positions_webhook": held_at_webhook(mine),
        "marks": marks,
        "events": events,
    }


def _next(out: Path | None, what: Plan, requests: list[dict[str, Any]], marks: dict[str, int]) -> list[str]:
    """Commands on the folder that is left, for what happened in this run; without one, that which leaves one."""
    python = shlex.quote(sys.executable)
    rooney = "uv run --all-extras rooney" if "UV_RUN_RECURSION_DEPTH" in os.environ else f"{python} -m rooney"
    if out is None:
        return [f"{rooney} demo --out demo-out"]
    folder = shlex.quote(str(out))
    state = f"--state-directory {folder}"
    commands = [f"status {state}"]
    for order in requests[-1:]:
        root = next(root for root in what.roots if order["payload"]["ticker"].startswith(root))
        at = iso_minute(marks[order["payload"]["extras"]["intent"]])
        commands.append(f"why {order['account']} {root} --at {at} {state}")
    bars = f"--config {folder}/{CONFIG} --data {folder}/bars.parquet"
    commands += [f"backtest {name} {bars} --outcomes {folder}/{name}/{LEDGER}" for name in STRATEGIES]
    commands += [f"report --day {trade_date(what.end_ns - 1)} {state}", f"dashboard {state}"]
    return [f"{rooney} {command}" for command in commands]


def _latency(requests: list[dict[str, Any]], minutes: list[Minute], marks: dict[str, int]) -> dict[str, float | None]:
    """Milliseconds from the record at the hub's socket that closed a minute to the request at the webhook."""
    closed_ns = {minute.ts_close: minute.ts_hub_ns for minute in minutes}
    decided = [(entry["ts_read_ns"], marks.get(entry["payload"]["extras"]["intent"])) for entry in requests]
    latencies = sorted((ts_ns - closed_ns[mark]) / 1e6 for ts_ns, mark in decided if mark in closed_ns)
    if not latencies:
        return {"p50": None, "p99": None, "max": None}
    p99 = latencies[min(len(latencies) - 1, int(0.99 * len(latencies)))]
    return {"p50": round(statistics.median(latencies), 3), "p99": round(p99, 3), "max": round(latencies[-1], 3)}
