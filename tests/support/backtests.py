"""Random bars, and what the hub and the worker make of them minute by minute."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from rooney.config.loader import load_config
from rooney.engine.engine import Engine
from rooney.kernels.codes import OutcomeKind
from rooney.market import sessions
from rooney.market.bars import ClosedMinute, ContractMinute
from rooney.market.instruments import PRODUCTS, Contract, group_of
from rooney.market.sessions import MINUTE_NS
from rooney.market.tape import MinuteAssembler, Published
from rooney.orders.decisions import Outcome, Trade
from tests.support.paths import ROOT

ROOTS = ["ES", "GC", "ZC"]
DAY = date(2026, 3, 10)
PARAMS = [
    "strategies.ibs.strategy_params={time_stop_bars: 3}",
    "strategies.breakout.strategy_params={breakout_lookback: 3, exit_lookback: 2, min_channel_atr: 0}",
]


def configured_strategy(name: str, roots: list[str] = ROOTS) -> Any:
    """A strategy of the shipped configuration that decides often."""
    overrides = [f"strategies.{name}.instruments=[{', '.join(roots)}]", "strategies.ibs.daily_stop_loss=800", *PARAMS]
    return load_config(ROOT / "config.multi_alpha.yml", overrides).strategy(name)


def random_minutes(seed: int, roots: list[str], days: int = 2, first: date = DAY) -> pl.DataFrame:
    """One-minute bars of some sessions; thin, with quiet hours, so that nothing is regular."""
    generator = np.random.default_rng(seed)
    start = sessions.session_open_ns("fx", first)
    rows = []
    for root in roots:
        tick, price = PRODUCTS[root].tick_size, 4000
        for ts in range(start, start + days * 24 * sessions.HOUR_NS, MINUTE_NS):
            if sessions.window_at(group_of(root), ts) is None or generator.random() < 0.8:
                continue
            o = price + int(generator.integers(-3, 4))
            c = o + int(generator.integers(-8, 9))
            h, low = max(o, c) + int(generator.integers(0, 3)), min(o, c) - int(generator.integers(0, 3))
            price = c
            # As the hub makes them: an integer of 1e-9 over 1e9.
            prices = [round(x * tick * 1e9) / 1e9 for x in (o, h, low, c)]
            rows.append((root, f"{root}{'J' if root == 'GC' else 'K' if root == 'ZC' else 'H'}6", ts, *prices, 5))
    names = ["root", "contract", "ts_open", "open", "high", "low", "close", "volume"]
    frame = pl.DataFrame(rows, schema=names, orient="row")
    return frame.with_columns(pl.col("ts_open").cast(pl.Datetime("ns", "UTC"))).sort("ts_open")


def assembled(bars: pl.DataFrame, roots: list[str]) -> Iterator[Published]:
    """What the hub's assembler makes of those bars: every minute of a session, and those in which something traded."""
    assembler = MinuteAssembler((root, group_of(root), False) for root in roots)
    by_minute: dict[int, list[ContractMinute]] = {}
    for row in bars.with_columns(pl.col("ts_open").dt.timestamp("ns")).iter_rows(named=True):
        month = "FGHJKMNQUVXZ".index(row["contract"][-2]) + 1
        contract = Contract(row["root"], 2026, month)
        assembler.list_contract(contract)
        prices = [round(row[name] * 1e9) for name in ("open", "high", "low", "close")]
        minute = ContractMinute(contract, *prices, int(row["volume"]), 1)
        by_minute.setdefault(row["ts_open"], []).append(minute)
    groups = {group_of(root) for root in roots}
    for ts in range(min(by_minute), max(by_minute) + MINUTE_NS, MINUTE_NS):
        if ts in by_minute or any(sessions.window_at(group, ts) for group in groups):
            closed = ClosedMinute(ts + MINUTE_NS, by_minute.get(ts, []), 0)
            yield assembler.assemble(closed, lambda: 0)


def live_trades(engine: Engine, bars: pl.DataFrame) -> list[Trade]:
    """The hub's assembler and the worker's engine, minute by minute; every intent acknowledged."""
    trades: list[Trade] = []
    outcomes: list[Outcome] = []
    for published in assembled(bars, [instrument.symbol for instrument in engine.instruments]):
        minute = published.minute
        decisions = engine.on_minute(minute, outcomes)
        trades += decisions.trades
        outcomes = [
            Outcome(intent.symbol, intent.role, minute.ts_close, OutcomeKind.ACKNOWLEDGED, minute.ts_close)
            for intent in decisions.intents
        ]
    return trades
