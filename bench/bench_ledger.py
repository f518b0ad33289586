"""Work of a worker's ledger after an event: one that is a year old against a new one, on the same disk.

Stands for: what a worker does with its ledger as it is: an exit that is acknowledged, and the look at what may be open
that the switch `flatten` makes after every event. The year has 14,500 orders of 18 instruments, all of one contract
month, so that an order's contract is as old as its ledger.
Doubts: the files are in the page cache, as they are in a worker that has written them.
"""

import time
from pathlib import Path
from typing import Any

import msgspec

from bench import data
from bench.measure import Row, percentile, report
from rooney.ledger.exposure import exposures
from rooney.ledger.snapshot import read_open
from rooney.ledger.writer import Ledger
from rooney.market.instruments import contract_from_number
from rooney.orders.decisions import Book
from rooney.orders.intents import Intent, Role, Side, State, intent_id

YEAR = 14_500  # orders of a busy strategy
TIMES = 50
AT_MOST = 3.0  # a deeper tree; reading all of it is 40 times and more


def flat_book() -> Book:
    """Flat in every instrument, in the form a worker writes."""
    account = "cash equity best_equity day_start_equity halted drawdown_halted gap_date"
    position = (
        "side quantity contract last_contract entry_ts entry_price bars_held stop_price target_price score costs"
        " last_price left_price pending pending_side pending_quantity pending_contract acknowledged"
    )
    forms = [[[name, "<i8"] for name in names.split()] for names in (account, position)]
    layout = {"symbols": data.ROOTS, "account": forms[0], "position": forms[1]}
    return Book(msgspec.json.encode(layout).decode(), bytes(8 * (len(forms[0]) + len(data.ROOTS) * len(forms[1]))))


def aged(path: Path, orders: int) -> Ledger:
    """Ledger with so many orders that are over, entries and exits by turns, each with its three events."""
    ledger = Ledger(path, "bench")
    intents = [_intent(ledger, n) for n in range(orders)]
    for start in range(0, max(orders, 1), 1_000):
        batch = intents[start : start + 1_000]
        ledger.commit_mark(start + 1, batch, [], [], [], start, 0, {}, flat_book())
    ends = (("sending", 0), ("acknowledged", 0))
    with ledger._transaction(durable=False) as db:
        db.executemany(
            "INSERT INTO event (intent, state, ts_wall, ts_clock, status, detail, remote_id, latency_ns, body)"
            " VALUES (?, ?, 0, 0, ?, '', '', 0, '')",
            [(intent.id, *end) for intent in intents for end in ends],
        )
    return ledger


def _intent(ledger: Ledger, n: int) -> Intent:
    root, role = data.ROOTS[n // 2 % len(data.ROOTS)], (Role.ENTRY, Role.EXIT)[n % 2]
    contract = contract_from_number(root, 202606)
    ts_mark, seq = data.START_NS + n, ledger.next_seq()
    id_ = intent_id("bench", "paper", contract.raw, role, ts_mark, 0)
    raw, ticker = contract.raw, contract.ticker
    return Intent(id_, "bench", "paper", root, raw, ticker, role, Side.LONG, 1, "rule", 1.0, ts_mark, seq)


def acknowledge(ledger: Ledger, n: int) -> None:
    """An exit planned, sent and acknowledged; `n` is even where the ledger holds an even number of orders."""
    exit_ = _intent(ledger, n | 1)
    ledger.commit_mark(exit_.ts_mark, [exit_], [], [], [], n, 0, {}, flat_book())
    ledger.record(exit_, State.SENDING, 0)
    ledger.record(exit_, State.ACKNOWLEDGED, 0)


def _measure(directory: Path) -> dict[str, tuple[float, float]]:
    """Milliseconds of both, new and old, by turns."""
    ledgers = [aged(directory / f"{orders}.sqlite", orders) for orders in (0, YEAR)]
    took: dict[str, tuple[list[float], list[float]]] = {"an exit acknowledged": ([], []), "what may be open": ([], [])}
    for n in range(TIMES):
        for k, ledger in enumerate(ledgers):
            began = time.perf_counter()
            acknowledge(ledger, YEAR + 2 * n)
            middle = time.perf_counter()
            assert exposures(read_open(ledger.path)) == []
            took["an exit acknowledged"][k].append((middle - began) * 1e3)
            took["what may be open"][k].append((time.perf_counter() - middle) * 1e3)
    for ledger in ledgers:
        ledger.close()
    return {what: (percentile(new, 0.5), percentile(old, 0.5)) for what, (new, old) in took.items()}


def test_a_year_of_orders(benchmark: Any, tmp_path: Path) -> None:
    medians = benchmark.pedantic(_measure, (tmp_path,), rounds=1, iterations=1)
    rows = [
        Row(
            f"ledger with {YEAR:,} orders / new: {what}",
            f"{old / new:.1f} × ({old:.2f} / {new:.2f} ms)",
            f"≤ {AT_MOST:g} ×",
            old <= AT_MOST * new,
        )
        for what, (new, old) in medians.items()
    ]
    report(benchmark, rows)
