"""`rooney orders`: what a strategy wanted, and what became of it."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rooney.errors import ConfigError
from rooney.format import minute_text, size_text, table
from rooney.ledger.snapshot import Snapshot
from rooney.orders.intents import Role, State
from rooney.orders.lifecycle import Order

ID_DIGITS_LEAST = 4  # of an order's id, so that a person need not type all of it


def find_order(snapshots: Iterable[Snapshot], wanted: str) -> tuple[Snapshot, Order]:
    """The one order whose id begins with `wanted`, and its strategy's snapshot. Raises ConfigError."""
    orders = [(snapshot, order) for snapshot in snapshots for order in snapshot.orders if order.id.startswith(wanted)]
    if len(orders) != 1 or len(wanted) < ID_DIGITS_LEAST:
        what = f"{len(orders)} orders begin so" if len(wanted) >= ID_DIGITS_LEAST else "that is too short"
        raise ConfigError(
            f"{wanted}: expected the id of one order, at least its first {ID_DIGITS_LEAST} digits; {what}. Nothing done"
        )
    return orders[0]


def needs_attention(order: Order) -> bool:
    """True if a person has to look: its fate is unknown, or it is an exit that was refused."""
    return order.is_open and order.state in (State.UNCONFIRMED, State.SENDING, State.REFUSED)


def lines(snapshot: Snapshot, orders: Sequence[Order]) -> list[str]:
    """Orders of a strategy for a terminal, oldest first, and the commands that end what is unclear."""
    mode = snapshot.mode or "no order yet"
    found = [f"{snapshot.name}  {mode}  last mark {minute_text(snapshot.ts_mark)}"]
    if not orders:
        return [*found, "  no orders"]
    rows = [("decided", "id", "order", "size", "cause", "state", "")]
    for order in orders:
        last = order.events[-1]
        status = f"HTTP {last.status}" if last.status and last.status != 200 else ""
        rows.append(
            (
                minute_text(order.ts_mark),
                order.id,
                f"{order.role.name.lower()} {order.ticker}",
                size_text(order.side, order.quantity) if order.role is Role.ENTRY else "all",
                order.cause,
                str(order.state),
                " ".join(f"{status} {last.detail}".split()),
            )
        )
    found += table(rows)
    for order in orders:
        if needs_attention(order) and order.role is Role.ENTRY:
            found.append(f"  {order.id} may be open at the broker. Look there, then one of:")
            found.append(f"    rooney resolve {order.id} --filled PRICE")
            found.append(f"    rooney resolve {order.id} --not-filled")
            found.append(f"    rooney flatten {snapshot.name} {order.symbol}")
        elif needs_attention(order):
            found.append(
                f"  {order.id} has not closed {order.ticker} as far as is known. Look at the broker, then one of:"
            )
            found.append(f"    rooney flatten {snapshot.name} {order.symbol}")
            found.append(f"    rooney resolve {order.id} --filled PRICE")
    return found


def as_json(snapshot: Snapshot, orders: Sequence[Order]) -> dict[str, Any]:
    """The same for programs; times UTC ns, an absent price null."""
    return {
        "strategy": snapshot.name,
        "mode": snapshot.mode,
        "ts_mark_ns": snapshot.ts_mark,
        "orders": [
            {
                "id": order.id,
                "mode": order.mode,
                "symbol": order.symbol,
                "contract": order.contract,
                "ticker": order.ticker,
                "role": order.role.name.lower(),
                "side": int(order.side),
                "quantity": order.quantity,
                "cause": order.cause,
                "signal_price": order.signal_price if math.isfinite(order.signal_price) else None,
                "ts_mark_ns": order.ts_mark,
                "state": str(order.state),
                "is_open": order.is_open,
                "events": [
                    {
                        "state": str(step.state),
                        "ts_ns": step.ts_wall,
                        "status": step.status,
                        "detail": step.detail,
                        "remote_id": step.remote_id,
                    }
                    for step in order.events
                ],
            }
            for order in orders
        ],
    }


def export(snapshot: Snapshot, target: Path) -> int:
    """Write the closed trades as a backtest writes its `trades.parquet`; returns how many. Raises ConfigError."""
    try:
        import polars as pl
    except ImportError:
        raise ConfigError(
            f"--export {target}: Parquet needs polars, which is not installed (pip install 'rooney[research]'); "
            "nothing was written"
        ) from None

    trades = snapshot.trades
    time_type, text, number, whole = pl.Datetime("ns", "UTC"), pl.String, pl.Float64, pl.Int64
    columns: list[tuple[str, Any, list[Any]]] = [
        ("symbol", text, [t.symbol for t in trades]),
        ("contract", text, [t.contract for t in trades]),
        ("side", whole, [t.side for t in trades]),
        ("quantity", whole, [t.quantity for t in trades]),
        ("entry_ts", whole, [t.entry_ts for t in trades]),
        ("entry_price", number, [t.entry_price for t in trades]),
        ("exit_ts", whole, [t.exit_ts for t in trades]),
        ("exit_price", number, [t.exit_price for t in trades]),
        ("exit_reason", text, [t.cause for t in trades]),
        ("pnl_usd", number, [t.pnl_usd for t in trades]),
        ("costs_usd", number, [t.costs_usd for t in trades]),
        ("bars_held", whole, [t.bars_held for t in trades]),
        ("ml_score", number, [t.score for t in trades]),
    ]
    frame = pl.DataFrame([pl.Series(name, values, dtype=kind) for name, kind, values in columns])
    frame = frame.with_columns(pl.col("entry_ts", "exit_ts").cast(time_type))
    try:
        frame.write_parquet(target)
    except OSError as error:
        raise ConfigError(f"--export {target}: {error.strerror or error}; nothing was written") from None
    return len(trades)
