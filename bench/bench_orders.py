"""An order's way out: decision → journal → first byte at the webhook, and everything closed at once.

Stands for: the delivery of a worker as it is, its ledger on the disk of the temporary directory, the real client, a
local TradersPost in a process of its own over plain loopback HTTP. The journal's share is the two commits before the
first byte: the intent with its mark, and "sending"; nearly all of it is the disk's sync.
Doubts: no TLS, no internet; one order at a time. "Sending" has a commit of its own although it follows the mark's at
once: written with the mark it would save a sync, and every kill between the two would leave an order of unknown fate.
"""

import json
import math
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench import data
from bench.measure import Row, percentile, report
from rooney.clock import Clock
from rooney.execution.delivery import Delivery
from rooney.execution.payload import payload_of
from rooney.execution.send_gates import Rules
from rooney.execution.traderspost import TradersPost
from rooney.ledger.writer import Ledger
from rooney.market.instruments import PRODUCTS, contract_from_number
from rooney.market.sessions import MINUTE_NS
from rooney.orders.decisions import Book
from rooney.orders.intents import Event, Intent, Payload, Role, Side, State, intent_id
from rooney.sim.processes import Part, python

ORDERS = 200
ROOTS = (*data.ROOTS, "MES")  # 19 contracts
P50_MS, P99_MS = 2.0, 10.0  # without the journal


class _Open(Clock):
    """Runs, and is set into a session, which the day of a measurement need not be in."""

    def __init__(self) -> None:
        self._offset_ns = data.START_NS - time.time_ns()

    def now_ns(self) -> int:
        return time.time_ns() + self._offset_ns


class _Timed(Ledger):
    """Notes how long each order waited for "sending" to be on the disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "bench")
        self.sending_ns: list[int] = []

    def record(self, intent: Intent, state: State, *args: Any, **fields: Any) -> Event:
        began_ns = time.time_ns()
        event = super().record(intent, state, *args, **fields)
        if state is State.SENDING:
            self.sending_ns.append(time.time_ns() - began_ns)
        return event


class _Bench(msgspec.Struct):
    ledger: _Timed
    delivery: Delivery
    clock: Clock
    log: Path

    def plan(self, root: str, role: Role, n: int) -> Intent:
        """An intent in the ledger, as a mark leaves it."""
        contract = contract_from_number(root, 202606)
        ts_mark = self.clock.now_ns()
        one = Intent(
            intent_id("bench", "paper", contract.raw, role, ts_mark, n),
            "bench",
            "paper",
            root,
            contract.raw,
            contract.ticker,
            role,
            Side.LONG,
            1,
            "rule",
            100.0,
            ts_mark,
            self.ledger.next_seq(),
        )
        planned = self.ledger.commit_mark(ts_mark, [one], [], [], [], n, 0, {}, Book("{}", b""))
        self.delivery.add(one, planned)
        return one

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def _place(rules: Rules, *options: str) -> Iterator[_Bench]:
    with tempfile.TemporaryDirectory(prefix="rooney-") as name:
        directory = Path(name)
        account = f"{uuid.uuid4()}/secret"
        ready, log = directory / "port", directory / "webhooks.jsonl"
        argv = python("rooney.sim.traderspost", "--ready-file", str(ready), "--log", str(log), *options)
        webhook = Part("traderspost", argv, directory, {"ROONEY_SIM_ACCOUNTS": f"bench={account}"})
        webhook.wait("listening", ready.exists, 20.0)
        client = TradersPost(f"http://127.0.0.1:{int(ready.read_text())}/trading/webhook/{account}")

        def payload(one: Intent, ts_decided_ns: int) -> Payload:
            tick = PRODUCTS[one.symbol].tick_size
            return payload_of(one, reject_after_s=15, tick_size=tick, ts_decided_ns=ts_decided_ns)

        clock, ledger = _Open(), _Timed(directory / "ledger.sqlite")
        delivery = Delivery(ledger, client.send, payload, clock, rules, list, lambda _: "")
        try:
            yield _Bench(ledger, delivery, clock, log)
        finally:
            delivery.close(15)
            ledger.close()
            webhook.stop()


def _one_by_one() -> tuple[list[float], list[float]]:
    """Milliseconds from the decision to the first byte, and those the journal took of them, per order."""
    free = Rules(requests_per_minute=10**6, requests_per_hour=10**6)
    total, journal = [], []
    with _place(free, "--no-rate-limit") as bench:
        for n in range(ORDERS):
            began_ns = time.time_ns()
            bench.plan(ROOTS[n % len(ROOTS)], Role.ENTRY, n)
            journal.append((time.time_ns() - began_ns) / 1e6)
            total.append(began_ns)
            bench.delivery.turn(math.inf)
        arrived = [request["ts_first_ns"] for request in bench.requests()]
        journal = [a + b / 1e6 for a, b in zip(journal, bench.ledger.sending_ns, strict=True)]
        return [(b - a) / 1e6 for a, b in zip(total, arrived, strict=True)], journal


def test_decision_to_first_byte(benchmark: Any) -> None:
    total, journal = benchmark.pedantic(_one_by_one, rounds=1, iterations=1)
    rest = [a - b for a, b in zip(total, journal, strict=True)]
    shares = sum(journal) / sum(total)
    p50, p99 = percentile(rest, 0.5), percentile(rest, 0.99)
    report(
        benchmark,
        [
            Row(
                "decision → journal → first byte at the webhook, p50 / p99",
                f"{percentile(total, 0.5):.2f} / {percentile(total, 0.99):.2f} ms, {shares:.0%} of it the journal",
            ),
            Row(
                "… without the journal, p50 / p99",
                f"{p50:.2f} / {p99:.2f} ms",
                f"≤ {P50_MS:g} / {P99_MS:g} ms",
                p50 <= P50_MS and p99 <= P99_MS,
            ),
        ],
    )


def _flatten() -> tuple[float, list[dict[str, Any]]]:
    """Seconds from 19 exits planned to 19 acknowledged, right after as many entries as the budget allows."""
    with _place(Rules()) as bench:
        for n in range(20):
            bench.plan(ROOTS[n % len(ROOTS)], Role.ENTRY, n)
        bench.delivery.turn(math.inf)
        began = time.monotonic()
        for n, root in enumerate(ROOTS):
            bench.plan(root, Role.EXIT, 100 + n)
        while bench.delivery.open_orders():
            bench.delivery.turn(math.inf)
            time.sleep(0.02)
        return time.monotonic() - began, bench.requests()


def test_everything_closed_at_once(benchmark: Any) -> None:
    """Beside a minute full of entries, 19 exits find their room: none is refused by the vendor's limit."""
    took_s, requests = benchmark.pedantic(_flatten, rounds=1, iterations=1)
    exits = [request for request in requests if request["payload"]["action"] == "exit"]
    limited = sum(request["status"] == 429 for request in requests)
    met = len(exits) == len(ROOTS) and limited == 0 and took_s < MINUTE_NS / 1e9
    text = f"{took_s:.1f} s, {limited} of {len(requests)} requests over the limit"
    report(benchmark, [Row(f"{len(ROOTS)} exits after a minute full of entries", text, "≤ 60 s, 0", met)])
